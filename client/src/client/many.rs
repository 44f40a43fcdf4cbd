//! Reads of many keys: each goes to its own server, those of one server together, all at once.
//!
//! Must not know how a line of keys is made (`link`). What one server fails to answer is asked of the next home of each key,
//! and keys of other servers never wait for it longer than that.

use std::collections::BTreeMap;

use bytes::Bytes;
use memring_protocol::text::is_sendable_key;

use super::Client;
use super::attempts::{Call, NOBODY, may_turn_back, understood};
use super::view::View;
use crate::answer::{Answer, Value};
use crate::error::Error;
use crate::link::{Asking, LINE_KEYS_MAX};
use crate::routing::{Purpose, Route};

/// Some keys of a read could not be read. The others' values are here.
#[derive(Debug, thiserror::Error)]
#[error("{} of {} keys could not be read: {source}", unread.len(), values.len())]
pub struct ManyError {
    /// By the place of the key: values of those that were read and found.
    pub values: Vec<Option<Value>>,
    /// Places of the keys of which nothing is known, in order.
    pub unread: Vec<usize>,
    /// Why, for one of them.
    pub source: Error,
}

/// Keys on their way to one server.
type Group = Vec<(usize, Route)>;

impl Client {
    /// The values of keys, by their places; `None` where there is none.
    ///
    /// # Errors
    /// If some keys could not be read; the error has the values of the others.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>, ManyError> {
        self.read_many(keys, false).await
    }

    /// As [`Client::get_many`], with cas tokens.
    pub async fn gets_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Value>>, ManyError> {
        self.read_many(keys, true).await
    }

    async fn read_many<K: AsRef<[u8]>>(&self, keys: &[K], with_cas: bool) -> Result<Vec<Option<Value>>, ManyError> {
        let mut values = vec![None; keys.len()];
        if keys.iter().any(|key| !is_sendable_key(key.as_ref())) {
            return Err(ManyError { values, unread: (0..keys.len()).collect(), source: Error::InvalidKey });
        }
        let shared = &*self.shared;
        shared.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let view = shared.view.load_full();
        let call = self.begin_call(&view, Purpose::Read);
        let way = |place: usize| {
            (place, Route::of(&view.topology, &shared.options.zone, keys[place].as_ref(), Purpose::Read))
        };
        let mut left: Group = (0..keys.len()).map(way).collect();
        let mut unread = Vec::new();
        let mut failure = Error::NotSent(NOBODY);
        let mut is_second_round = false;
        while !left.is_empty() {
            let (groups, lost) = by_server(&view, left);
            left = Group::new();
            if !lost.is_empty() && !is_second_round && may_turn_back(&failure) {
                is_second_round = true;
                left.extend(lost.into_iter().map(way));
            } else {
                unread.extend(lost);
            }
            for (group, outcome) in self.ask_groups(&view, &call, keys, with_cas, groups).await {
                match outcome {
                    Ok(found) => give_out(keys, &group, found, &mut values),
                    Err(error) => {
                        let goes_on = call.goes_on_after(shared, &error);
                        failure = error;
                        if goes_on { left.extend(group) } else { unread.extend(group.iter().map(|(place, _)| *place)) }
                    }
                }
            }
        }
        if unread.is_empty() {
            return Ok(values);
        }
        unread.sort_unstable();
        Err(ManyError { values, unread, source: failure })
    }

    /// Asks for all groups at once.
    async fn ask_groups<K: AsRef<[u8]>>(
        &self,
        view: &View,
        call: &Call,
        keys: &[K],
        with_cas: bool,
        groups: Vec<(usize, Group)>,
    ) -> Vec<(Group, Result<Vec<Value>, Error>)> {
        let until = call.attempt_until();
        let mut begun = Vec::with_capacity(groups.len());
        for (server, group) in groups {
            let link = view.link(server).expect("a server that may be asked has a link");
            // Keys at a level of their own are asked for one by one, and wait for each other only here.
            let size = if self.terms.level.is_some() { 1 } else { LINE_KEYS_MAX };
            let mut group = group.into_iter().peekable();
            while group.peek().is_some() {
                let part: Group = group.by_ref().take(size).collect();
                let asking = self.asking(keys, with_cas, &part);
                let started = match asking {
                    Ok(asking) => link.begin(asking, until).await,
                    Err(error) => Err(error),
                };
                begun.push((part, started));
            }
        }
        let mut outcomes = Vec::with_capacity(begun.len());
        for (group, started) in begun {
            let answer = match started {
                Ok(started) => started.answer(until, call.within).await,
                Err(error) => Err(error),
            };
            outcomes.push((group, answer.and_then(|answer| understood(answer, values_of))));
        }
        outcomes
    }

    fn asking<K: AsRef<[u8]>>(&self, keys: &[K], with_cas: bool, group: &Group) -> Result<Asking, Error> {
        if let ([(place, _)], true) = (&group[..], self.terms.level.is_some()) {
            return Ok(self.reading(keys[*place].as_ref(), with_cas)?());
        }
        let keys = group.iter().map(|(place, _)| Bytes::copy_from_slice(keys[*place].as_ref()));
        Ok(Asking::Read { keys: keys.collect(), with_cas })
    }
}

/// Keys by the next server of each, and the places of those for which there is none.
fn by_server(view: &View, keys: Group) -> (Vec<(usize, Group)>, Vec<usize>) {
    let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
    let mut lost = Vec::new();
    for (place, mut route) in keys {
        match route.next(&view.topology, |server| view.may_ask(server)) {
            Some(server) => groups.entry(server).or_default().push((place, route)),
            None => lost.push(place),
        }
    }
    (groups.into_iter().collect(), lost)
}

fn values_of(answer: Answer) -> Option<Vec<Value>> {
    match answer {
        Answer::Values(values) => Some(values),
        _ => None,
    }
}

/// Hits come in the order of the keys, each as often as it was asked for.
fn give_out<K: AsRef<[u8]>>(keys: &[K], group: &Group, found: Vec<Value>, values: &mut [Option<Value>]) {
    let mut found = found.into_iter().peekable();
    for (place, _) in group {
        values[*place] = found.next_if(|value| value.key == keys[*place].as_ref());
    }
}
