//! Commands that this node answers alone and at once: from the store straight into the bytes of the reply.
//!
//! A read for which one copy is enough, where this node has one; a plain set of a key that has no other home. These are
//! what a node alone, or a cluster at level `one`, is asked most, so nothing is kept for them: no operation, no copy but
//! the store's own. Whatever is rarer is declined before anything was done, and takes the long way, which answers the
//! same. Must not wait for anyone.

mod meta;

use bytes::{BufMut, BytesMut};
use memring_protocol::entry::{BodyRef, EntryRef, Expiry, ItemRef, Marks, UnixMillis, ValueRef};
use memring_protocol::key::{KeyRef, Partition};
use memring_protocol::level::Level;
use memring_protocol::limits::COPIED_VALUE_BYTES_MAX;
use memring_protocol::message::StoreMode;
use memring_protocol::text::{
    Command, ErrorReply, Keys, Response, StoreVerb, VALUE_OVERHEAD, WatchKinds, put_end, put_value_line,
};
use memring_protocol::version::{Slot, Version};
use smallvec::SmallVec;

use super::Node;
use super::topology::{Layout, Topology};
use crate::now::Now;
use crate::store::{self, ItemView, Look, Updated, WARMED_MAX};

/// What all commands that are answered together share.
struct Moment<'a> {
    topology: &'a Topology,
    now: UnixMillis,
    reply_bytes_max: usize,
}

/// What a command that was answered came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Upshot {
    /// Something was found, or done.
    Hit,
    /// There was nothing.
    Miss,
    /// An error was answered.
    Error,
}

/// A command that was answered here and now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answered {
    /// What came of it.
    pub upshot: Upshot,
    /// The level that it was answered at; `None` where levels mean nothing.
    pub level: Option<Level>,
}

/// A get that is being answered, and what it has come to.
struct Answering {
    with_cas: bool,
    /// Where its reply begins.
    start: usize,
    /// That of all its keys, where they have the same.
    level: Option<Level>,
    hits: u64,
    misses: u64,
    /// The same by namespace, where there are some.
    of_namespaces: Vec<(usize, bool)>,
}

/// A value to be set.
struct NewValue<'a> {
    value: &'a [u8],
    flags: u32,
    expiry: Expiry,
}

/// Why a set was not done here and now.
enum Unset {
    Declined,
    Refused(ErrorReply),
}

impl Node {
    /// Answers commands that came together here and now, as far as no other node is needed for them: appends their
    /// replies to `out` in their order, those that are due, and returns how many commands, from the first on, were
    /// answered. With the one behind them nothing was done: it is to be asked by [`Node::on_request`].
    ///
    /// A reply of several values that comes to more than `reply_bytes_max` is declined, and so is all that comes when
    /// `out` has more. `told` hears of each command that is answered.
    pub fn answer_together<'c>(
        &mut self,
        now: Now,
        commands: &[Command<'c>],
        reply_bytes_max: usize,
        out: &mut BytesMut,
        told: impl FnMut(&Command<'c>, Answered),
    ) -> usize {
        if self.shared.watched() != WatchKinds::NONE || self.shared.details.is_on() {
            return 0;
        }
        let mut view = self.view.take().unwrap_or_else(|| self.shared.follow_topology());
        let moment = Moment { topology: view.load(), now: now.cluster, reply_bytes_max };
        let answered = if self.may_alone(moment.topology) { self.answer_all(&moment, commands, out, told) } else { 0 };
        self.view = Some(view);
        answered
    }

    /// Whether there are commands that this node answers alone: else nobody need ask.
    pub fn answers_alone(&mut self) -> bool {
        let mut view = self.view.take().unwrap_or_else(|| self.shared.follow_topology());
        let may = self.may_alone(view.load());
        self.view = Some(view);
        may
    }

    fn may_alone(&self, topology: &Topology) -> bool {
        topology.layout().is_some_and(|layout| {
            let replicas = layout.replicas();
            replicas == 1
                || !self.shared.settings().namespaces.is_empty()
                || self.shared.read_level(topology, b"").needed(replicas) == 1
        })
    }

    /// As [`Node::answer_together`] for one command, by a view that may be old.
    #[cfg(test)]
    pub(super) fn answers_by(&self, topology: &Topology, now: Now, command: &Command<'_>, out: &mut BytesMut) -> bool {
        let moment = Moment { topology, now: now.cluster, reply_bytes_max: usize::MAX };
        self.answer_one(&moment, command, only_key(command), out).is_some()
    }

    fn answer_all<'c>(
        &self,
        moment: &Moment<'_>,
        commands: &[Command<'c>],
        out: &mut BytesMut,
        mut told: impl FnMut(&Command<'c>, Answered),
    ) -> usize {
        let keys: SmallVec<[Option<KeyRef<'_>>; WARMED_MAX]> = commands.iter().map(only_key).collect();
        if commands.len() > 1 {
            let known: SmallVec<[KeyRef<'_>; WARMED_MAX]> = keys.iter().copied().flatten().collect();
            self.shared.store.warm(&known);
        }
        let mut answered = 0;
        for (command, key) in commands.iter().zip(keys) {
            let start = out.len();
            if start > moment.reply_bytes_max {
                break;
            }
            let Some(answer) = self.answer_one(moment, command, key, out) else { break };
            told(command, answer);
            if command.is_quiet() {
                out.truncate(start);
            }
            answered += 1;
        }
        answered
    }

    fn answer_one(
        &self,
        moment: &Moment<'_>,
        command: &Command<'_>,
        key: Option<KeyRef<'_>>,
        out: &mut BytesMut,
    ) -> Option<Answered> {
        match (command, key) {
            (Command::Get { keys, with_cas }, _) => self.get_alone(moment, keys, key, *with_cas, out),
            (Command::MetaGet(request), Some(key)) => self.meta_get_alone(moment, request, key, out),
            (Command::Store { flags, exptime, value, .. }, Some(key)) => {
                let expiry = Expiry::from_exptime(*exptime, moment.now);
                self.set_alone(moment, key, &NewValue { value, flags: *flags, expiry }, out)
            }
            (Command::MetaSet { request, value, .. }, Some(key)) => {
                self.meta_set_alone(moment, request, key, value, out)
            }
            (Command::MetaNoop, _) => {
                Response::MetaNoop.encode(out);
                Some(Answered { upshot: Upshot::Hit, level: None })
            }
            _ => None,
        }
    }

    /// `only` is the key, hashed, if there is but one.
    fn get_alone(
        &self,
        moment: &Moment<'_>,
        keys: &Keys<'_>,
        only: Option<KeyRef<'_>>,
        with_cas: bool,
        out: &mut BytesMut,
    ) -> Option<Answered> {
        let start = out.len();
        let level = self.shared.read_level(moment.topology, keys.iter().next().unwrap_or_default());
        let is_shared = only.is_some() || self.namespace_reads.is_empty();
        let (hits, misses, of_namespaces) = (0, 0, Vec::new());
        let mut get = Answering { with_cas, start, level: is_shared.then_some(level), hits, misses, of_namespaces };
        if let Some(key) = only {
            if !self.put_value(moment, &mut get, key, out) {
                return None;
            }
        } else {
            let mut rest = keys.iter();
            loop {
                let together: SmallVec<[KeyRef<'_>; WARMED_MAX]> = rest.by_ref().take(WARMED_MAX).map(key_of).collect();
                if together.is_empty() {
                    break;
                }
                self.shared.store.warm(&together);
                for key in together {
                    if !self.put_value(moment, &mut get, key, out) {
                        // Those before it were read, and are read again.
                        out.truncate(start);
                        return None;
                    }
                }
            }
        }
        put_end(out);
        self.count_reads(false, get.hits, get.misses);
        for (place, is_hit) in get.of_namespaces {
            self.namespace_reads.count(place, is_hit);
        }
        Some(Answered { upshot: if get.hits > 0 { Upshot::Hit } else { Upshot::Miss }, level: Some(level) })
    }

    /// One value of a get, unless it is a miss. False if this node cannot tell.
    fn put_value(&self, moment: &Moment<'_>, get: &mut Answering, key: KeyRef<'_>, out: &mut BytesMut) -> bool {
        if !self.shared.reads_alone(moment.topology, key, get.level) {
            return false;
        }
        let put = |item: &ItemView<'_>| {
            let (value_len, before) = (item.value_len(), out.len() - get.start);
            let is_too_much = before > 0 && before + value_len > moment.reply_bytes_max;
            if value_len > COPIED_VALUE_BYTES_MAX || is_too_much {
                return None;
            }
            out.reserve(VALUE_OVERHEAD + key.len() + value_len);
            put_value_line(key.as_bytes(), item.flags(), value_len, get.with_cas.then(|| item.cas()), out);
            item.copy_value(out);
            out.put_slice(b"\r\n");
            Some(value_len)
        };
        let is_hit = match self.shared.store.look(moment.now, key, true, put) {
            Look::Found(value_len) => {
                get.hits += 1;
                self.count_hit(false, key.len(), value_len);
                true
            }
            Look::Absent => {
                get.misses += 1;
                false
            }
            Look::Declined => return false,
        };
        if !self.namespace_reads.is_empty() {
            get.of_namespaces.push((self.shared.namespace_place(key.as_bytes()), is_hit));
        }
        true
    }

    fn set_alone(
        &self,
        moment: &Moment<'_>,
        key: KeyRef<'_>,
        new: &NewValue<'_>,
        out: &mut BytesMut,
    ) -> Option<Answered> {
        let level = self.shared.write_level(moment.topology, key.as_bytes());
        match self.put_alone(moment, key, level, new) {
            Ok(_) => Response::Stored.encode(out),
            Err(Unset::Declined) => return None,
            Err(Unset::Refused(error)) => {
                Response::Failed(error).encode(out);
                return Some(Answered { upshot: Upshot::Error, level: Some(level) });
            }
        }
        Some(Answered { upshot: Upshot::Hit, level: Some(level) })
    }

    /// Sets a value as a write at level one does, if this node is the key's only home; the cas token it got.
    fn put_alone(&self, moment: &Moment<'_>, key: KeyRef<'_>, level: Level, new: &NewValue<'_>) -> Result<u64, Unset> {
        let Moment { topology, now, .. } = *moment;
        let partition = key.partition();
        let (Some(layout), Some(me)) = (topology.layout(), topology.me()) else { return Err(Unset::Declined) };
        let is_ours =
            is_only_home(layout, me, partition) && level.needed(1) == 1 && self.shared.standings.is_synced(partition);
        if !is_ours || key.len() + new.value.len() > self.shared.settings().item_bytes_max {
            return Err(Unset::Declined);
        }
        let (updated, token) = self.shared.store.update(now, key, |held| {
            let before = held.version().unwrap_or_default();
            let stamp = self.shared.clock.stamp(now, me, before.stamp);
            let version = Version { ballot: held.promised().max(before.ballot), stamp };
            let NewValue { value, flags, expiry } = *new;
            let item = ItemRef { value: ValueRef::Part(value), flags, cas: stamp.0, expiry, marks: Marks::NONE };
            (store::Change::Write(EntryRef { version, body: BodyRef::Item(item) }), stamp.0)
        });
        if !self.shared.is_current(topology) {
            // A home to come may have copied the partition before this: the long way brings it there.
            return Err(Unset::Declined);
        }
        self.count_store(key.len(), new.value.len());
        match updated {
            Updated::Put | Updated::Kept => Ok(token),
            Updated::TooLarge => Err(Unset::Refused(ErrorReply::ObjectTooLarge)),
            Updated::OutOfMemory => {
                self.counters.store_no_memory.increment();
                Err(Unset::Refused(ErrorReply::OutOfMemoryStoring))
            }
        }
    }
}

/// Whether the key's partition has no other home, nor will have when a move that is under way is done.
fn is_only_home(layout: &Layout, me: Slot, partition: Partition) -> bool {
    layout.homes(partition) == [me] && layout.next_homes(partition).is_none()
}

/// The key of a command that has but one, if the node may answer it alone. A key in base64 takes the long way.
fn only_key<'a>(command: &Command<'a>) -> Option<KeyRef<'a>> {
    match command {
        Command::Get { keys, .. } if keys.count() == 1 => keys.iter().next().map(key_of),
        Command::Store { verb: StoreVerb::Set, key, .. } => Some(key_of(key)),
        Command::MetaGet(request) | Command::MetaSet { request, mode: StoreMode::Set, .. } => {
            request.key().plain_bytes().map(key_of)
        }
        _ => None,
    }
}

fn key_of(bytes: &[u8]) -> KeyRef<'_> {
    KeyRef::new(bytes).expect("the grammar lets only keys of 1 to 250 bytes pass")
}
