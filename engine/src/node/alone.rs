//! Commands that this node answers alone and at once: from the store straight into the bytes of the reply.
//!
//! A read for which one copy is enough, where this node has one; a plain set of a key that has no other home. These are
//! what a node alone, or a cluster at level `one`, is asked most, so nothing is kept for them: no operation, no copy but
//! the store's own. Whatever is rarer is declined before anything was done, and takes the long way, which answers the
//! same. Must not wait for anyone.

use bytes::{BufMut, BytesMut};
use memring_protocol::entry::{BodyRef, EntryRef, Expiry, ItemRef, Marks, UnixMillis, ValueRef};
use memring_protocol::key::{KeyRef, Partition};
use memring_protocol::limits::COPIED_VALUE_BYTES_MAX;
use memring_protocol::message::StoreMode;
use memring_protocol::text::{
    Command, ErrorReply, Keys, MetaCode, MetaFacts, MetaRequest, Response, StoreVerb, VALUE_OVERHEAD, WatchKinds,
    put_end, put_meta_line, put_value_line,
};
use memring_protocol::version::{Slot, Version};
use smallvec::SmallVec;

use super::Node;
use super::meta_answers::ttl;
use super::topology::{Layout, Topology};
use crate::now::Now;
use crate::store::{self, ItemView, Look, Updated, WARMED_MAX};

/// Flags of mg that may change the item, or ask for more than its copy here.
const RARE_GET_FLAGS: &[u8] = b"NRTCL";

/// Flags of ms that make it more than a set.
const RARE_SET_FLAGS: &[u8] = b"CEILN";

/// What all commands that are answered together share.
struct Moment<'a> {
    topology: &'a Topology,
    now: UnixMillis,
    reply_bytes_max: usize,
}

/// What a get came to.
#[derive(Default)]
struct Counts {
    hits: u64,
    misses: u64,
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
    /// `out` has more.
    pub fn answer_together(
        &mut self,
        now: Now,
        commands: &[Command<'_>],
        reply_bytes_max: usize,
        out: &mut BytesMut,
    ) -> usize {
        if self.shared.watched() != WatchKinds::NONE || self.shared.details.is_on() {
            return 0;
        }
        let mut view = self.view.take().unwrap_or_else(|| self.shared.follow_topology());
        let moment = Moment { topology: view.load(), now: now.cluster, reply_bytes_max };
        let answered = if self.may_alone(moment.topology) { self.answer_all(&moment, commands, out) } else { 0 };
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
        self.answer_one(&moment, command, only_key(command), out)
    }

    fn answer_all(&self, moment: &Moment<'_>, commands: &[Command<'_>], out: &mut BytesMut) -> usize {
        let keys: SmallVec<[Option<KeyRef<'_>>; WARMED_MAX]> = commands.iter().map(only_key).collect();
        if commands.len() > 1 {
            let known: SmallVec<[KeyRef<'_>; WARMED_MAX]> = keys.iter().copied().flatten().collect();
            self.shared.store.warm(&known);
        }
        let mut answered = 0;
        for (command, key) in commands.iter().zip(keys) {
            let start = out.len();
            if start > moment.reply_bytes_max || !self.answer_one(moment, command, key, out) {
                break;
            }
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
    ) -> bool {
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
                true
            }
            _ => false,
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
    ) -> bool {
        let start = out.len();
        let mut counts = Counts::default();
        if let Some(key) = only {
            if !self.put_value(moment, key, with_cas, start, out, &mut counts) {
                return false;
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
                    if !self.put_value(moment, key, with_cas, start, out, &mut counts) {
                        // Those before it were read, and are read again.
                        out.truncate(start);
                        return false;
                    }
                }
            }
        }
        put_end(out);
        self.count_reads(false, counts.hits, counts.misses);
        true
    }

    /// One value of a get whose reply begins at `start`, unless it is a miss. False if this node cannot tell.
    fn put_value(
        &self,
        moment: &Moment<'_>,
        key: KeyRef<'_>,
        with_cas: bool,
        start: usize,
        out: &mut BytesMut,
        counts: &mut Counts,
    ) -> bool {
        if !self.shared.reads_alone(moment.topology, key, None) {
            return false;
        }
        let put = |item: &ItemView<'_>| {
            let (value_len, before) = (item.value_len(), out.len() - start);
            let is_too_much = before > 0 && before + value_len > moment.reply_bytes_max;
            if value_len > COPIED_VALUE_BYTES_MAX || is_too_much {
                return None;
            }
            out.reserve(VALUE_OVERHEAD + key.len() + value_len);
            put_value_line(key.as_bytes(), item.flags(), value_len, with_cas.then(|| item.cas()), out);
            item.copy_value(out);
            out.put_slice(b"\r\n");
            Some(value_len)
        };
        match self.shared.store.look(moment.now, key, true, put) {
            Look::Found(value_len) => {
                counts.hits += 1;
                self.count_hit(false, key.len(), value_len);
            }
            Look::Absent => counts.misses += 1,
            Look::Declined => return false,
        }
        true
    }

    fn meta_get_alone(
        &self,
        moment: &Moment<'_>,
        request: &MetaRequest<'_>,
        key: KeyRef<'_>,
        out: &mut BytesMut,
    ) -> bool {
        let now = moment.now;
        if request.has_any(RARE_GET_FLAGS) || !self.shared.reads_alone(moment.topology, key, None) {
            return false;
        }
        let put = |item: &ItemView<'_>| {
            let (value_len, marks) = (item.value_len(), item.marks());
            // A stale item, or one whose lease is out, is for its serializer to serve.
            let is_plain = !marks.has(Marks::STALE) && !marks.has(Marks::WON);
            if value_len > COPIED_VALUE_BYTES_MAX || !is_plain {
                return None;
            }
            let seen = item.seen();
            let facts = MetaFacts {
                key: key.as_bytes(),
                binary_key: Some(marks.has(Marks::BINARY_KEY)),
                size: Some(value_len),
                ttl: Some(ttl(item.expiry(), now)),
                token: Some(item.cas()),
                flags: Some(item.flags()),
                idle: Some(seen.idle_s),
                fetched: Some(seen.fetched),
                ..MetaFacts::default()
            };
            if request.wants_value() {
                out.reserve(VALUE_OVERHEAD + 2 * key.len() + value_len);
                put_meta_line(MetaCode::Value(value_len), request, &facts, out);
                item.copy_value(out);
                out.put_slice(b"\r\n");
            } else {
                put_meta_line(MetaCode::Done, request, &facts, out);
            }
            Some(value_len)
        };
        match self.shared.store.look(now, key, !request.is_unnoticed(), put) {
            Look::Declined => return false,
            Look::Found(value_len) => {
                self.count_reads(false, 1, 0);
                self.count_hit(false, key.len(), value_len);
            }
            Look::Absent => {
                self.count_reads(false, 0, 1);
                if !request.is_quiet() {
                    let facts = MetaFacts { key: key.as_bytes(), ..MetaFacts::default() };
                    put_meta_line(MetaCode::Miss, request, &facts, out);
                }
            }
        }
        true
    }

    fn set_alone(&self, moment: &Moment<'_>, key: KeyRef<'_>, new: &NewValue<'_>, out: &mut BytesMut) -> bool {
        match self.put_alone(moment, key, new) {
            Ok(_) => Response::Stored.encode(out),
            Err(Unset::Declined) => return false,
            Err(Unset::Refused(error)) => Response::Failed(error).encode(out),
        }
        true
    }

    fn meta_set_alone(
        &self,
        moment: &Moment<'_>,
        request: &MetaRequest<'_>,
        key: KeyRef<'_>,
        value: &[u8],
        out: &mut BytesMut,
    ) -> bool {
        if request.has_any(RARE_SET_FLAGS) {
            return false;
        }
        let expiry = request.exptime().map_or(Expiry::NEVER, |exptime| Expiry::from_exptime(exptime, moment.now));
        let new = NewValue { value, flags: request.flags(), expiry };
        match self.put_alone(moment, key, &new) {
            Ok(_) if request.is_quiet() => {}
            Ok(token) => {
                let (size, token) = (Some(value.len()), Some(token));
                let facts = MetaFacts { key: key.as_bytes(), size, token, ..MetaFacts::default() };
                put_meta_line(MetaCode::Done, request, &facts, out);
            }
            Err(Unset::Declined) => return false,
            Err(Unset::Refused(error)) => Response::Failed(error).encode(out),
        }
        true
    }

    /// Sets a value as a write at level one does, if this node is the key's only home; the cas token it got.
    fn put_alone(&self, moment: &Moment<'_>, key: KeyRef<'_>, new: &NewValue<'_>) -> Result<u64, Unset> {
        let Moment { topology, now, .. } = *moment;
        let partition = key.partition();
        let (Some(layout), Some(me)) = (topology.layout(), topology.me()) else { return Err(Unset::Declined) };
        let is_ours = is_only_home(layout, me, partition)
            && self.shared.write_level(topology, key.as_bytes()).needed(1) == 1
            && self.shared.standings.is_synced(partition);
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
