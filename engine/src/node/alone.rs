//! Commands that this node answers alone and at once: from the store straight into the bytes of the reply.
//!
//! A read for which one copy is enough, where this node has one; a plain set of a key that has no other home. These are
//! what a node alone, or a cluster at level `one`, is asked most, so nothing is kept for them: no operation, no copy but
//! the store's own. Whatever is rarer is declined before anything was done, and takes the long way, which answers the
//! same. Must not wait for anyone.

use bytes::{BufMut, BytesMut};
use memring_protocol::entry::{BodyRef, EntryRef, Expiry, ItemRef, Marks, UnixMillis, ValueRef};
use memring_protocol::key::{KEY_BYTES_MAX, KeyRef, Partition};
use memring_protocol::limits::COPIED_VALUE_BYTES_MAX;
use memring_protocol::message::StoreMode;
use memring_protocol::text::{
    Command, ErrorReply, Keys, MetaCode, MetaFacts, MetaRequest, Response, StoreVerb, VALUE_OVERHEAD, WatchKinds,
    put_end, put_meta_line, put_value_line,
};
use memring_protocol::version::{Slot, Version};

use super::Node;
use super::meta_answers::ttl;
use super::topology::{Layout, Topology};
use crate::now::Now;
use crate::store::{self, ItemView, Look, Updated};

/// Flags of mg that may change the item, or ask for more than its copy here.
const RARE_GET_FLAGS: &[u8] = b"NRTCL";

/// Flags of ms that make it more than a set.
const RARE_SET_FLAGS: &[u8] = b"CEILN";

/// A value to be set.
struct NewValue<'a> {
    value: &'a [u8],
    flags: u32,
    expiry: Expiry,
    marks: Marks,
}

/// Why a set was not done here and now.
enum Unset {
    Declined,
    Refused(ErrorReply),
}

impl Node {
    /// Answers a command here and now, if no other node is needed for it: appends the whole reply to `out`, if any is
    /// due. False if it is to be asked by [`Node::on_request`]: then nothing was done, and `out` is as it was.
    ///
    /// A reply of several values that comes to more than `reply_bytes_max` is declined. The reply to a command that is
    /// quiet (`noreply`) is the caller's to drop.
    pub fn answer_alone(
        &mut self,
        now: Now,
        command: &Command<'_>,
        reply_bytes_max: usize,
        out: &mut BytesMut,
    ) -> bool {
        if self.shared.watched() != WatchKinds::NONE || self.shared.details.is_on() {
            return false;
        }
        match command {
            Command::Get { keys, with_cas } => self.get_alone(now.cluster, keys, *with_cas, reply_bytes_max, out),
            Command::MetaGet(request) => self.meta_get_alone(now.cluster, request, out),
            Command::Store { verb: StoreVerb::Set, key, flags, exptime, value, .. } => {
                let expiry = Expiry::from_exptime(*exptime, now.cluster);
                self.set_alone(now.cluster, key, &NewValue { value, flags: *flags, expiry, marks: Marks::NONE }, out)
            }
            Command::MetaSet { request, mode: StoreMode::Set, value } => {
                self.meta_set_alone(now.cluster, request, value, out)
            }
            Command::MetaNoop => {
                Response::MetaNoop.encode(out);
                true
            }
            _ => false,
        }
    }

    fn get_alone(
        &self,
        now: UnixMillis,
        keys: &Keys<'_>,
        with_cas: bool,
        reply_bytes_max: usize,
        out: &mut BytesMut,
    ) -> bool {
        let topology = self.shared.topology();
        let start = out.len();
        let (mut hits, mut misses) = (0, 0);
        for key in keys.iter() {
            let key = key_of(key);
            let put = |item: &ItemView<'_>| {
                let value_len = item.value_len();
                let is_first = out.len() == start;
                if value_len > COPIED_VALUE_BYTES_MAX || (!is_first && out.len() - start + value_len > reply_bytes_max)
                {
                    return None;
                }
                out.reserve(VALUE_OVERHEAD + key.len() + value_len);
                put_value_line(key.as_bytes(), item.flags(), value_len, with_cas.then(|| item.cas()), out);
                item.copy_value(out);
                out.put_slice(b"\r\n");
                Some(value_len)
            };
            let found = if self.reads_alone(&topology, key) {
                self.shared.store.look(now, key, true, put)
            } else {
                Look::Declined
            };
            match found {
                Look::Found(value_len) => {
                    hits += 1;
                    self.count_hit(false, key.len(), value_len);
                }
                Look::Absent => misses += 1,
                Look::Declined => {
                    // Those before it were read, and are read again.
                    out.truncate(start);
                    return false;
                }
            }
        }
        put_end(out);
        self.count_reads(false, hits, misses);
        true
    }

    fn meta_get_alone(&self, now: UnixMillis, request: &MetaRequest<'_>, out: &mut BytesMut) -> bool {
        let mut scratch = [0; KEY_BYTES_MAX];
        let key = key_of(request.key().bytes(&mut scratch));
        if request.has_any(RARE_GET_FLAGS) || !self.reads_alone(&self.shared.topology(), key) {
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

    fn set_alone(&self, now: UnixMillis, key: &[u8], new: &NewValue<'_>, out: &mut BytesMut) -> bool {
        match self.put_alone(now, key_of(key), new) {
            Ok(_) => Response::Stored.encode(out),
            Err(Unset::Declined) => return false,
            Err(Unset::Refused(error)) => Response::Failed(error).encode(out),
        }
        true
    }

    fn meta_set_alone(&self, now: UnixMillis, request: &MetaRequest<'_>, value: &[u8], out: &mut BytesMut) -> bool {
        if request.has_any(RARE_SET_FLAGS) {
            return false;
        }
        let mut scratch = [0; KEY_BYTES_MAX];
        let key = key_of(request.key().bytes(&mut scratch));
        let expiry = request.exptime().map_or(Expiry::NEVER, |exptime| Expiry::from_exptime(exptime, now));
        let marks = if request.key().is_base64() { Marks::BINARY_KEY } else { Marks::NONE };
        match self.put_alone(now, key, &NewValue { value, flags: request.flags(), expiry, marks }) {
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

    /// Whether one copy is enough for a read of the key, and this node has one that is complete.
    fn reads_alone(&self, topology: &Topology, key: KeyRef<'_>) -> bool {
        let (Some(layout), Some(me)) = (topology.layout(), topology.me()) else { return false };
        let homes = layout.homes(key.partition());
        homes.contains(&me)
            && self.shared.read_level(topology, key.as_bytes()).needed(homes.len()) == 1
            && self.shared.standings.is_synced(key.partition())
    }

    /// Sets a value as a write at level one does, if this node is the key's only home; the cas token it got.
    fn put_alone(&self, now: UnixMillis, key: KeyRef<'_>, new: &NewValue<'_>) -> Result<u64, Unset> {
        let (topology, partition) = (self.shared.topology(), key.partition());
        let (Some(layout), Some(me)) = (topology.layout(), topology.me()) else { return Err(Unset::Declined) };
        let is_ours = is_only_home(layout, me, partition)
            && self.shared.write_level(&topology, key.as_bytes()).needed(1) == 1
            && self.shared.standings.is_synced(partition);
        if !is_ours || key.len() + new.value.len() > self.shared.settings().item_bytes_max {
            return Err(Unset::Declined);
        }
        let (updated, token) = self.shared.store.update(now, key, |held| {
            let before = held.version().unwrap_or_default();
            let stamp = self.shared.clock.stamp(now, me, before.stamp);
            let version = Version { ballot: held.promised().max(before.ballot), stamp };
            let NewValue { value, flags, expiry, marks } = *new;
            let item = ItemRef { value: ValueRef::Part(value), flags, cas: stamp.0, expiry, marks };
            (store::Change::Write(EntryRef { version, body: BodyRef::Item(item) }), stamp.0)
        });
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

fn key_of(bytes: &[u8]) -> KeyRef<'_> {
    KeyRef::new(bytes).expect("the grammar lets only keys of 1 to 250 bytes pass")
}
