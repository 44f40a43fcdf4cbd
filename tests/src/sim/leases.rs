//! Clients of keys that go stale: readers of whom one is told to fetch the value anew, others who store, invalidate and
//! delete, several at a time, each through a node of its own choice. Says what they were told: see `lease_order`.
//!
//! No item of theirs lives to its end: a simulation is over sooner.

use std::collections::BTreeMap;
use std::time::Duration;

use memring_protocol::text::Response;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cluster::Cluster;
use super::meta::MetaAnswer;
use crate::check::lease_order::{Action, Operation, Outcome, Reader, Saw};

/// How long a client waits before it counts its operation as in doubt; longer than any node tries.
const PATIENCE_US: u64 = 6_000_000;

/// Keys in use at a time.
const KEYS: usize = 4;

/// A key gives way to a new one after so many operations …
const OPERATIONS_A_KEY: usize = 60;

/// … or so many in doubt: each may take effect at any later time, so that explaining a history gets harder.
const DOUBTS_A_KEY: usize = 2;

/// So many tokens of a key are remembered, to be compared with.
const TOKENS_A_KEY: usize = 4;

#[derive(Default)]
struct Key {
    number: usize,
    operations: usize,
    doubts: usize,
    tokens: Vec<u64>,
}

/// Clients at work.
pub struct Leases {
    random: StdRng,
    next: u64,
    keys: Vec<Key>,
    keys_made: usize,
    open: BTreeMap<u64, Operation>,
    /// All ended operations.
    pub history: Vec<Operation>,
}

impl Leases {
    /// Clients whose choices follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let keys = (0..KEYS).map(|number| Key { number, ..Key::default() }).collect();
        let random = StdRng::seed_from_u64(seed);
        Self { random, next: 0, keys, keys_made: KEYS, open: BTreeMap::new(), history: Vec::new() }
    }

    /// How many keys there have been; they are numbered from 0.
    pub fn keys(&self) -> usize {
        self.keys_made
    }

    /// Lets clients work for so long.
    pub fn run(&mut self, cluster: &mut Cluster, time: Duration) {
        let until = cluster.now_us() + time.as_micros() as u64;
        while cluster.now_us() < until {
            let key = self.random.random_range(0..self.keys.len());
            for _ in 0..self.random.random_range(1..6) {
                let node = self.random.random_range(0..cluster.size());
                let action = self.choose(key);
                self.start(cluster, self.keys[key].number, action, node);
                self.keys[key].operations += 1;
            }
            cluster.run_for(Duration::from_micros(self.random.random_range(500..20_000)));
            self.collect(cluster);
        }
    }

    /// Lets open operations end.
    pub fn finish(&mut self, cluster: &mut Cluster) {
        let until = cluster.now_us() + PATIENCE_US + 1_000_000;
        while !self.open.is_empty() && cluster.now_us() < until {
            cluster.run_for(Duration::from_millis(50));
            self.collect(cluster);
        }
    }

    /// Reads every key there has been through every node, and waits for the answers.
    pub fn read_everything(&mut self, cluster: &mut Cluster) {
        for key in 0..self.keys_made {
            for node in 0..cluster.size() {
                self.start(cluster, key, Action::Read(Reader::Plain), node);
            }
            cluster.run_for(Duration::from_millis(5));
            self.collect(cluster);
        }
        self.finish(cluster);
    }

    fn choose(&mut self, key: usize) -> Action {
        let number = self.next + 1;
        let expires = self.random.random_bool(0.5);
        let tokens = &self.keys[key].tokens;
        let token = tokens.get(self.random.random_range(0..TOKENS_A_KEY)).or(tokens.last()).copied();
        match (self.random.random_range(0..100), token) {
            (0..30, _) => Action::Read(Reader::Plain),
            (30..55, _) => Action::Read(Reader::Creates),
            (55..62, _) => Action::Read(Reader::Recaches),
            (62..64, _) => Action::Read(Reader::Classic),
            (64..66, _) => Action::Read(Reader::Touches),
            (66..78, Some(token)) => Action::StoreIf { number, token, older: expires, expires },
            (78..82, _) => Action::Store { number, classic: expires, expires: false },
            (82..86, _) => Action::Store { number, classic: false, expires },
            (86..89, _) => Action::Add { number },
            (89..92, _) => Action::Remove,
            _ => Action::Invalidate { expires },
        }
    }

    fn start(&mut self, cluster: &mut Cluster, key: usize, action: Action, node: usize) {
        self.next += 1;
        let begun_us = cluster.now_us();
        let operation = Operation { key, action, node, begun_us, ended_us: u64::MAX, outcome: Outcome::InDoubt };
        if cluster.request_line(node, self.next, &line(&format!("lease-{key}"), action)) {
            self.open.insert(self.next, operation);
        }
    }

    fn collect(&mut self, cluster: &mut Cluster) {
        for answer in cluster.take_answers() {
            let Some(mut operation) = self.open.remove(&answer.operation) else { continue };
            operation.outcome = outcome_of(operation.action, &answer.response);
            if operation.outcome != Outcome::InDoubt {
                operation.ended_us = cluster.now_us();
            }
            self.end(operation);
        }
        let now = cluster.now_us();
        let is_lost =
            |operation: &Operation| now - operation.begun_us > PATIENCE_US || !cluster.is_running(operation.node);
        let lost: Vec<u64> =
            self.open.iter().filter(|(_, operation)| is_lost(operation)).map(|(number, _)| *number).collect();
        for number in lost {
            let operation = self.open.remove(&number).expect("just listed");
            self.end(operation);
        }
    }

    fn end(&mut self, operation: Operation) {
        if let Some(key) = self.keys.iter_mut().find(|key| key.number == operation.key) {
            key.doubts += usize::from(operation.outcome == Outcome::InDoubt);
            if let Some(token) = operation.outcome.token().filter(|token| !key.tokens.contains(token)) {
                key.tokens.push(token);
                let surplus = key.tokens.len().saturating_sub(TOKENS_A_KEY);
                key.tokens.drain(..surplus);
            }
            if key.operations >= OPERATIONS_A_KEY || key.doubts >= DOUBTS_A_KEY {
                *key = Key { number: self.keys_made, ..Key::default() };
                self.keys_made += 1;
            }
        }
        self.history.push(operation);
    }
}

/// What is sent. The times are beyond the end of the simulation, and what ends after 8,000 s ends before 90,000 s by every clock.
fn line(key: &str, action: Action) -> String {
    let ttl = |expires: bool| if expires { " T8000" } else { "" };
    let (first, value) = match action {
        Action::Read(Reader::Plain) => (format!("mg {key} v c"), None),
        Action::Read(Reader::Creates) => (format!("mg {key} v c N8000"), None),
        Action::Read(Reader::Recaches) => (format!("mg {key} v c R90000"), None),
        Action::Read(Reader::Classic) => (format!("gets {key}"), None),
        Action::Read(Reader::Touches) => (format!("gats 8000 {key}"), None),
        Action::Invalidate { expires } => (format!("md {key} I{}", ttl(expires)), None),
        Action::Remove => (format!("md {key}"), None),
        Action::Store { number, classic: true, .. } => {
            let value = spelled(number);
            (format!("set {key} 0 0 {}", value.len()), Some(value))
        }
        Action::Store { number, expires, .. } => {
            let value = spelled(number);
            (format!("ms {key} {} c{}", value.len(), ttl(expires)), Some(value))
        }
        Action::StoreIf { number, token, older, expires } => {
            let value = spelled(number);
            let older = if older { " I" } else { "" };
            (format!("ms {key} {} c C{token}{older}{}", value.len(), ttl(expires)), Some(value))
        }
        Action::Add { number } => {
            let value = spelled(number);
            (format!("ms {key} {} c ME", value.len()), Some(value))
        }
    };
    value.map_or(first.clone(), |value| format!("{first}\r\n{value}"))
}

/// A value of which a part, or a mixture of two, is no value.
fn spelled(number: u64) -> String {
    let word = format!("{number}.");
    format!("{}{word}", word.len()).repeat(1 + number as usize % 60)
}

/// The number in a value; 0 for the empty one of an item that a reader created; `None` if it is torn.
fn number_of(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return Some(0);
    }
    let text = std::str::from_utf8(value).ok()?;
    let number = text.get(1..)?.split('.').next()?.parse().ok()?;
    (spelled(number) == text).then_some(number)
}

fn outcome_of(action: Action, response: &Response) -> Outcome {
    let saw = |value: &[u8], token, answer: &MetaAnswer| match number_of(value) {
        Some(number) => Outcome::Saw(Saw { number, token, won: answer.won, stale: answer.stale, lost: answer.lost }),
        None => Outcome::Odd,
    };
    if let Response::ServerError(_) = response {
        return Outcome::InDoubt;
    }
    if let Response::Values { values, .. } = response {
        return values.first().map_or(Outcome::Missing, |(_, item)| saw(&item.value, item.cas, &MetaAnswer::default()));
    }
    if *response == Response::Stored {
        return Outcome::Done(None);
    }
    let Some(answer) = MetaAnswer::read(response) else { return Outcome::Odd };
    match (action, answer.code.as_str()) {
        (Action::Read(_), "VA") => match (&answer.value, answer.token) {
            (Some(value), Some(token)) => saw(value, token, &answer),
            _ => Outcome::Odd,
        },
        (Action::Read(_), "EN") | (_, "NF") => Outcome::Missing,
        (Action::Read(_), _) => Outcome::Odd,
        (_, "HD") => Outcome::Done(answer.token),
        (_, "EX" | "NS") => Outcome::Differs,
        _ => Outcome::Odd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_value_is_no_number() {
        for number in [1, 59, 60, 12_345] {
            let value = spelled(number);
            assert_eq!(number_of(value.as_bytes()), Some(number));
            assert_eq!(number_of(&value.as_bytes()[1..]), None);
            assert_eq!(number_of(format!("{value}{}", spelled(number + 1)).as_bytes()), None);
        }
        assert_eq!((number_of(b""), number_of(b"x")), (Some(0), None));
    }
}
