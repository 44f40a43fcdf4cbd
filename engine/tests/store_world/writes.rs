//! The calls that write, and what each must do to the counts.
//!
//! Must not know the order in which calls come.

use bytes::Bytes;
use memring_engine::store::{Applied, Change, Missing, Updated};
use memring_protocol::entry::{Body, Entry, EntryRef, Expiry, Item, Marks};
use memring_protocol::version::{Slot, Stamp, Version};

use super::flow::Flow;
use super::model::Record;
use super::names::{name, partition_of};
use super::op::{HOT_KEYS, ITEM_BYTES_MAX, What};
use super::{SHARD_BYTES_MIN, SURE_BYTES, World, ballot};

/// Bits of a stamp below its milliseconds.
const LOW_BITS: u64 = (1 << 22) - 1;

/// A divisor of nothing that a store may cut its memory into: a block in the wrong place shows.
const BLOCK_BYTES: usize = 1500;

/// What was held of a key before it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Before {
    Item,
    DeadItem(Version),
    Tombstone,
    /// Flushed: perhaps held still.
    DeadTombstone,
    Nothing,
}

/// How a write ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Stored,
    /// Refused, and what was held is not held any more.
    Dropped,
    /// Refused or superseded: what was held is held.
    Kept,
}

impl World {
    pub(crate) fn apply(&mut self, key: u16, fence: Option<u64>, round: u64, age_ms: u64, what: What) {
        let version = Version { ballot: ballot(round), stamp: self.stamp(age_ms) };
        let entry = self.entry(key, version, what);
        self.apply_entry(key, fence, entry);
    }

    pub(crate) fn apply_again(&mut self, key: u16) {
        match self.taken.get(usize::from(key)).cloned() {
            Some(Some(entry)) => self.apply_entry(key, None, entry),
            _ => self.check_listing(key),
        }
    }

    pub(crate) fn apply_touch(&mut self, key: u16, seconds: Option<i64>) {
        let Some(Some(Entry { version, body: Body::Item(mut item) })) = self.taken.get(usize::from(key)).cloned()
        else {
            return self.check_listing(key);
        };
        item.expiry = self.expiry(seconds);
        let version = Version { stamp: self.stamp(0), ..version };
        self.apply_entry(key, None, Entry { version, body: Body::Item(item) });
    }

    pub(crate) fn put(&mut self, key: u16, what: What) {
        self.update(key, |world, version| Change::Put(world.entry(key, version, what)));
    }

    pub(crate) fn resize(&mut self, key: u16, by: i32) {
        let len = self.model.live_item(self.now, key).map_or(0, |record| record.entry.value_len());
        let len = len.saturating_add_signed(by as isize);
        self.put(key, What::Item { len, flags: 0, seconds: None });
    }

    pub(crate) fn amend(&mut self, key: u16, seconds: Option<i64>, marks: u8, noticed: bool) {
        let now = self.now;
        let live = self.model.live_item(now, key).and_then(|record| record.entry.live_item(now)).cloned();
        let Some(mut item) = live else { return self.check_listing(key) };
        item.expiry = self.expiry(seconds);
        item.marks = Marks::from_bits(marks).expect("two marks");
        let amended = |version| Entry { version, body: Body::Item(item) };
        self.update(key, move |_, version| Change::Amend { entry: amended(version), noticed });
    }

    fn apply_entry(&mut self, key: u16, fence: Option<u64>, entry: Entry) {
        let (now, before) = (self.now, self.before(key));
        let fence = fence.map(ballot);
        let promised = fence.map_or(Ok(()), |fence| self.model.promise(partition_of(key), fence));
        let amends = self.model.live_item(now, key).is_some_and(|held| held.cas() == item_of(&entry).map(|i| i.cas));
        let held = match before {
            Before::Item | Before::Tombstone => self.model.records.get(&key).map(|record| record.entry.version),
            Before::DeadItem(version) => Some(version),
            Before::DeadTombstone | Before::Nothing => None,
        };
        let is_late = held >= Some(entry.version) || entry.version.stamp <= self.model.flush.floor;
        let (applied, flow) = self.call(Some(key), |store| store.apply(now, name(key), fence, &entry));
        let end = match applied {
            Applied::Fenced(above) => {
                assert_eq!(promised, Err(above), "fenced, key {key}");
                End::Kept
            }
            Applied::Superseded => {
                let perhaps = before == Before::DeadTombstone;
                assert!(is_late || perhaps, "key {key}: {entry:?} is superseded, {before:?}");
                End::Kept
            }
            Applied::Stored => {
                assert!(!is_late && fits(key, &entry), "key {key}: {entry:?} is stored over {held:?}");
                End::Stored
            }
            Applied::TooLarge => {
                assert!(!is_late && !fits(key, &entry), "key {key}: {} bytes are too many", entry.value_len());
                End::Dropped
            }
            Applied::OutOfMemory => {
                assert!(!is_late && !self.is_sure(key, &entry), "key {key}: no room for {} bytes", entry.value_len());
                End::Dropped
            }
        };
        assert_eq!(promised.is_err(), matches!(applied, Applied::Fenced(_)), "key {key}: {applied:?}");
        let refused = (i64::from(applied == Applied::TooLarge), i64::from(applied == Applied::OutOfMemory));
        assert_eq!((flow.too_large, flow.out_of_memory), refused, "refusals counted, key {key}: {applied:?}");
        self.settle(key, before, &entry, end, amends, flow);
    }

    /// One read-modify-write: the map says what it must see, `change` what it does with a version above.
    pub(crate) fn update(&mut self, key: u16, change: impl FnOnce(&mut Self, Version) -> Change<'static>) {
        let (now, before) = (self.now, self.before(key));
        let record = self.model.records.get(&key);
        let (version, live) = (record.map(|record| record.entry.version), self.model.live(now, key).cloned());
        let top = ballot(1).max(version.unwrap_or_default().ballot);
        let above = version.map_or(Stamp::ZERO, |version| Stamp(version.stamp.0 + 1));
        let stamp = self.stamp(0).max(above);
        let change = change(self, Version { ballot: top, stamp });
        let wanted = change.clone();
        // Every other key's value is copied from where it lies.
        let change = match &wanted {
            Change::Put(entry) if key % 2 == 1 => Change::Write(EntryRef::from(entry)),
            _ => change,
        };
        let ((updated, seen), flow) = self.call(Some(key), |store| {
            store.update(now, name(key), |held| (change, (held.version(), held.entry(), held.seen(), held.promised())))
        });
        let held_for_certain = matches!(before, Before::Item | Before::Tombstone | Before::DeadItem(_));
        let perhaps = before == Before::DeadTombstone && seen.0.is_none();
        assert!(seen.0 == version || perhaps, "key {key}: held {:?}, not {version:?}, {before:?}", seen.0);
        assert!(!held_for_certain || seen.0.is_some(), "key {key}: {before:?} is not seen");
        assert_eq!(seen.1, live.as_ref().map(|record| record.entry.clone()), "held of key {key}");
        if let Some(record) = live.as_ref().filter(|record| record.is_item()) {
            assert_eq!(seen.2, record.seen(now), "how key {key} was seen");
        }
        assert_eq!(seen.3, self.model.promised(partition_of(key)), "promised for key {key}");
        let (entry, amends, noticed) = match wanted {
            Change::Keep | Change::Notice => {
                assert_eq!((updated, flow), (Updated::Kept, Flow::default()), "keeping key {key}");
                return;
            }
            Change::Put(entry) => (entry, false, false),
            Change::Write(entry) => (entry.to_entry(), false, false),
            Change::Amend { entry, noticed } => (entry, before == Before::Item, noticed),
        };
        let end = match updated {
            Updated::Put => {
                assert!(fits(key, &entry), "key {key}: {} bytes are put", entry.value_len());
                End::Stored
            }
            Updated::TooLarge => {
                assert!(!fits(key, &entry), "key {key}: {} bytes are too many", entry.value_len());
                End::Kept
            }
            Updated::OutOfMemory => {
                assert!(!self.is_sure(key, &entry), "key {key}: no room for {} bytes", entry.value_len());
                End::Kept
            }
            Updated::Kept => panic!("key {key}: {entry:?} was kept out"),
        };
        let refused = (i64::from(updated == Updated::TooLarge), i64::from(updated == Updated::OutOfMemory));
        assert_eq!((flow.too_large, flow.out_of_memory), refused, "refusals counted, key {key}: {updated:?}");
        self.settle(key, before, &entry, end, amends, flow);
        if noticed
            && end == End::Stored
            && let Some(record) = self.model.records.get_mut(&key)
        {
            record.notice(now);
        }
    }

    /// What the map comes to after a write, and what the counts must have come to.
    fn settle(&mut self, key: u16, before: Before, entry: &Entry, end: End, amends: bool, flow: Flow) {
        let stored = i64::from(end == End::Stored);
        let is_item = item_of(entry).is_some();
        let (items, tombstones) = if is_item { (stored, 0) } else { (0, stored) };
        // Items that went because of this very write, neither evicted nor reclaimed.
        let gone = items - flow.evicted - flow.reclaimed - flow.items;
        let may_go: &[i64] = match before {
            Before::Item if end == End::Kept || flow.own_evicted => &[0],
            Before::Item => &[1],
            // Reclaimed for room, or written over.
            Before::DeadItem(_) if end != End::Kept => &[0, 1],
            _ => &[0],
        };
        assert!(may_go.contains(&gone), "key {key}: {gone} items gone, {before:?}, {end:?}: {flow:?}");
        // What is amended in place went and came, but does not count as stored.
        self.gone += gone - (items - flow.total);
        let total_range = if amends && flow.own_evicted {
            0..=items
        } else if amends {
            0..=0
        } else {
            items..=items
        };
        assert!(total_range.contains(&flow.total), "key {key}: stored, amends {amends}, {end:?}: {flow:?}");
        // The one that is written over may have been dropped first; dead ones may go unseen.
        let own = i64::from(matches!(before, Before::Tombstone | Before::DeadTombstone));
        let most = tombstones - flow.tombstones_dropped;
        let dead = self.model.count(self.now).3 as i64;
        let is_exact = before == Before::Tombstone && end != End::Kept && flow.tombstones_dropped == 0;
        let least = most - own - dead;
        let most = if is_exact { most - 1 } else { most };
        assert!((least..=most).contains(&flow.tombstones), "key {key}: tombstones, {before:?}, {end:?}: {flow:?}");
        let may_be_dropped = before == Before::Tombstone && end == End::Kept && flow.tombstones_dropped > 0;
        if may_be_dropped && self.store.version(self.now, name(key), false).is_none() {
            self.model.records.remove(&key);
        }
        self.record(key, entry, end, amends);
    }

    fn record(&mut self, key: u16, entry: &Entry, end: End, amends: bool) {
        let earlier = self.model.records.get(&key).filter(|_| amends).cloned();
        match end {
            End::Kept => return,
            End::Dropped => drop(self.model.records.remove(&key)),
            End::Stored => {
                let mut record = Record::new(entry.clone(), self.now);
                if let Some(earlier) = earlier {
                    (record.fetched, record.accessed_s) = (earlier.fetched, earlier.accessed_s);
                }
                self.model.records.insert(key, record);
                if key < HOT_KEYS {
                    self.taken[usize::from(key)] = Some(entry.clone());
                }
            }
        }
        match self.model.live(self.now, key).map(|record| record.entry.version) {
            None => self.check_listing(key),
            held => assert_eq!(self.store.version(self.now, name(key), false), held, "key {key} right after {end:?}"),
        }
    }

    /// What is held of a key now.
    fn before(&mut self, key: u16) -> Before {
        let (listing, record) = (self.listing(key), self.model.records.get(&key));
        let is_live = record.is_some_and(|record| self.model.is_live(self.now, record));
        match (listing, record) {
            (Ok(listing), Some(record)) if is_live => {
                super::flow::assert_same(&listing, record, self.now);
                Before::Item
            }
            (Err(Missing::Expired | Missing::Flushed), Some(record)) if !is_live && record.is_item() => {
                Before::DeadItem(record.entry.version)
            }
            (Err(Missing::Absent), Some(record)) if record.is_item() && !is_live => {
                self.model.records.remove(&key);
                Before::Nothing
            }
            (Err(Missing::Absent), Some(record)) if !record.is_item() => {
                if is_live {
                    Before::Tombstone
                } else {
                    Before::DeadTombstone
                }
            }
            (Err(Missing::Absent), None) => Before::Nothing,
            (listing, record) => panic!("key {key} is listed as {listing:?}, and is {record:?}"),
        }
    }

    /// A stamp of so long ago that no other write has.
    fn stamp(&mut self, age_ms: u64) -> Stamp {
        self.writes += 1;
        let slot = Slot::new(1).expect("a slot");
        Stamp(Stamp::at(self.now.0 - age_ms, slot).0 & !LOW_BITS | self.writes & LOW_BITS)
    }

    fn expiry(&self, seconds: Option<i64>) -> Expiry {
        seconds.map_or(Expiry::NEVER, |seconds| Expiry::from_exptime(seconds, self.now))
    }

    /// An entry whose value follows from key and version, so that a mixture of two would show.
    fn entry(&self, key: u16, version: Version, what: What) -> Entry {
        let What::Item { len, flags, seconds } = what else { return Entry { version, body: Body::Tombstone } };
        let expiry = self.expiry(seconds);
        let (cas, value) = (version.stamp.0, value_of(key, version.stamp, len));
        Entry { version, body: Body::Item(Item { value, flags, cas, expiry, marks: Marks::NONE }) }
    }

    /// Whether the store must take an entry.
    fn is_sure(&self, key: u16, entry: &Entry) -> bool {
        let roomy = self.evicts && self.store.limit_bytes() / self.shards >= SHARD_BYTES_MIN;
        roomy && name(key).len() + entry.value_len() <= SURE_BYTES
    }
}

fn item_of(entry: &Entry) -> Option<&Item> {
    match &entry.body {
        Body::Item(item) => Some(item),
        Body::Tombstone => None,
    }
}

fn fits(key: u16, entry: &Entry) -> bool {
    entry.body == Body::Tombstone || name(key).len() + entry.value_len() <= ITEM_BYTES_MAX
}

/// Bytes of which no block is like the next, nor like one of another value. A block is made once: a fuzzer's build is slow.
fn value_of(key: u16, stamp: Stamp, len: usize) -> Bytes {
    let mut word = stamp.0 ^ u64::from(key) << 48 | 1;
    let mut block = [0; BLOCK_BYTES];
    for bytes in block[..len.min(BLOCK_BYTES)].chunks_mut(8) {
        // Marsaglia, "Xorshift RNGs" (2003).
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
    }
    let mut value = vec![0; len];
    for (bytes, number) in value.chunks_mut(BLOCK_BYTES).zip(0u8..) {
        bytes.copy_from_slice(&block[..bytes.len()]);
        bytes[0] ^= number;
    }
    Bytes::from(value)
}
