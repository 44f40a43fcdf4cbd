//! One shard: the records of its partitions in their queues, and the index that finds them.
//!
//! Must not know other shards or locks. `evict` makes room and `walk` pages and sweeps; this file puts, finds, removes.

use memring_protocol::entry::{Body, Entry, UnixMillis};
use memring_protocol::key::{Key, Partition};
use memring_protocol::version::{Ballot, Stamp};
use parking_lot::Mutex;

use super::accounting::allocation;
use super::classes::Classes;
use super::ghost::Ghost;
use super::index::Index;
use super::listing::Evictions;
use super::record::{Place, Record, record_len};
use super::slab::{Queue, SLOT_BYTES, Slab};
use super::stats::StoreStats;
use super::{Applied, StoreConfig};

/// The part of a shard's memory that tombstones may take: 2 %.
const TOMBSTONES_SHARE: usize = 50;

/// What decides whether a record is gone.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Cluster time.
    pub(super) now: UnixMillis,
    /// Records stamped at or below it are flushed.
    pub(super) floor: Stamp,
    /// Whether somebody wants to be told what is evicted.
    pub(super) notes_evictions: bool,
}

impl Moment {
    pub(super) fn is_flushed(self, record: &Record) -> bool {
        record.version().stamp <= self.floor
    }

    /// Flushed or expired: absent for every reader, there only until it is reclaimed.
    pub(super) fn is_dead(self, record: &Record) -> bool {
        self.is_flushed(record) || record.is_expired(self.now)
    }
}

/// Why a record was not kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoRoom {
    /// Key and value exceed the item limit.
    TooLarge,
    /// Nothing can be dropped for it.
    OutOfMemory,
}

/// See the top of the file.
pub(super) struct Shard {
    pub(super) slab: Slab,
    pub(super) index: Index,
    pub(super) small: Queue,
    pub(super) main: Queue,
    pub(super) tombstones: Queue,
    pub(super) ghost: Ghost,
    pub(super) stats: StoreStats,
    pub(super) classes: Classes,
    /// Evicted and not told yet.
    pub(super) evictions: Evictions,
    /// The slot that the next sweep starts from.
    pub(super) sweep_from: u32,
    /// Bytes that this shard may use.
    pub(super) budget: usize,
    /// Whether live items are dropped for room.
    pub(super) evicts: bool,
    item_bytes_max: usize,
}

impl Shard {
    /// One of `shards` equal shards of a store whose limit is `memory_bytes`.
    pub(super) fn new(config: &StoreConfig, memory_bytes: usize, shards: usize) -> Self {
        Self {
            slab: Slab::new(),
            index: Index::new(shards, memory_bytes, config.hash_seed),
            small: Queue::new(),
            main: Queue::new(),
            tombstones: Queue::new(),
            ghost: Ghost::new(),
            stats: StoreStats::default(),
            classes: Classes::new(),
            evictions: Evictions::default(),
            sweep_from: 0,
            budget: memory_bytes / shards,
            evicts: config.evict,
            item_bytes_max: config.item_bytes_max,
        }
    }

    /// Everything that the limit covers, in bytes.
    pub(super) fn used(&self) -> usize {
        self.overhead() + self.small.bytes() + self.main.bytes() + self.tombstones.bytes()
    }

    /// What is used beside the records themselves: dropping records does not give all of it back.
    pub(super) fn overhead(&self) -> usize {
        size_of::<Mutex<Self>>() + self.slab.bytes() + self.index.bytes() + self.ghost.bytes()
    }

    /// The record of a key, dead or alive.
    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        self.index.find(&self.slab, key)
    }

    /// The record of a key unless it is dead: then it is reclaimed, and counted if a client asked.
    pub(super) fn find_live(&mut self, moment: Moment, key: &Key, counts: bool) -> Option<u32> {
        let id = self.find(key)?;
        if moment.is_dead(self.slab.record(id)) {
            if counts {
                self.count_dead(moment, id);
            }
            self.reclaim(moment, id);
            return None;
        }
        Some(id)
    }

    /// A client's read: counts.
    pub(super) fn fetch(&mut self, moment: Moment, key: &Key) -> Option<u32> {
        let found = self.find(key).filter(|&id| !self.slab.record(id).is_tombstone());
        let Some(id) = found else {
            self.stats.get_misses += 1;
            return None;
        };
        if moment.is_dead(self.slab.record(id)) {
            self.stats.get_misses += 1;
            self.count_dead(moment, id);
            self.reclaim(moment, id);
            return None;
        }
        self.stats.get_hits += 1;
        Some(id)
    }

    /// Takes note that an item was read, for eviction and for what meta commands tell.
    pub(super) fn notice(&mut self, moment: Moment, id: u32) {
        let record = self.slab.record_mut(id);
        if !record.is_tombstone() {
            record.note_fetch(moment.now);
            let class = self.classes.of(record);
            if record.place() == Place::Main {
                class.hits_to_main += 1;
            } else {
                class.hits_to_small += 1;
            }
        }
    }

    /// Keeps an entry that is a held item changed in place: how that was read goes on.
    pub(super) fn amend(
        &mut self,
        moment: Moment,
        key: &Key,
        held: &mut Option<u32>,
        entry: &Entry,
    ) -> Result<(), NoRoom> {
        let is_there = |id: &u32| {
            let record = self.slab.record(*id);
            !record.is_tombstone() && !moment.is_dead(record)
        };
        let earlier = held.filter(is_there).map(|id| self.slab.record(id).seen_bytes());
        self.keep(moment, key, held, entry, earlier.is_none())?;
        if let (Some(earlier), Some(id)) = (earlier, self.find(key)) {
            self.slab.record_mut(id).inherit(earlier);
        }
        Ok(())
    }

    /// Keeps an entry if it is newer than what is held and its term still stands.
    pub(super) fn apply(&mut self, moment: Moment, key: &Key, fence: Option<Ballot>, entry: &Entry) -> Applied {
        if let Some(ballot) = fence
            && let Err(promised) = self.promise(key.partition(), ballot)
        {
            return Applied::Fenced(promised);
        }
        let mut held = self.find(key);
        let version = held.map(|id| self.slab.record(id).version());
        if version >= Some(entry.version) || entry.version.stamp <= moment.floor {
            return Applied::Superseded;
        }
        // The same cas token: the same value.
        let amends = held.is_some_and(|id| same_value(self.slab.record(id), entry));
        let kept =
            if amends { self.amend(moment, key, &mut held, entry) } else { self.put(moment, key, &mut held, entry) };
        match kept {
            Ok(()) => Applied::Stored,
            Err(why) => {
                // What is held is older than a write that others have: absent is right in a cache, stale is not.
                if let Some(id) = held {
                    self.remove(id);
                }
                match why {
                    NoRoom::TooLarge => Applied::TooLarge,
                    NoRoom::OutOfMemory => Applied::OutOfMemory,
                }
            }
        }
    }

    /// Raises a partition's promised ballot, or says the higher one.
    pub(super) fn promise(&mut self, partition: Partition, ballot: Ballot) -> Result<(), Ballot> {
        let promised = self.index.promised(partition);
        if promised > ballot {
            return Err(promised);
        }
        self.index.set_promised(partition, ballot);
        Ok(())
    }

    /// Keeps an entry in place of `held`, the record of its key. On an error nothing is changed but what had to go for
    /// room; if that was `held` itself, it is `None` then.
    pub(super) fn put(
        &mut self,
        moment: Moment,
        key: &Key,
        held: &mut Option<u32>,
        entry: &Entry,
    ) -> Result<(), NoRoom> {
        self.keep(moment, key, held, entry, true)
    }

    /// [`Shard::put`]; `is_new`: an item counts as stored, it is not one that changes in place.
    fn keep(
        &mut self,
        moment: Moment,
        key: &Key,
        held: &mut Option<u32>,
        entry: &Entry,
        is_new: bool,
    ) -> Result<(), NoRoom> {
        let is_item = matches!(entry.body, Body::Item(_));
        if is_item && key.len() + entry.value_len() > self.item_bytes_max {
            self.stats.too_large += 1;
            return Err(NoRoom::TooLarge);
        }
        let bytes = allocation(record_len(key, entry));
        if !self.make_room(moment, key.partition(), held, bytes, !is_item) {
            self.stats.out_of_memory += 1;
            if is_item {
                self.classes.of_size(super::item_size(key.len(), entry.value_len())).out_of_memory += 1;
            }
            return Err(NoRoom::OutOfMemory);
        }
        let record = Record::encode(key, entry, moment.now);
        self.stats.total_items += u64::from(is_item && is_new);
        match held {
            Some(id) => self.overwrite(*id, record),
            None => self.insert(record),
        }
        self.cap_tombstones();
        assert!(self.used() <= self.budget, "room was made for all that a write adds");
        Ok(())
    }

    /// Removes a dead record, and counts it.
    pub(super) fn reclaim(&mut self, moment: Moment, id: u32) {
        let record = self.slab.record(id);
        if !record.is_tombstone() {
            self.stats.reclaimed += 1;
            let unfetched = u64::from(!record.was_fetched() && !moment.is_flushed(record));
            self.stats.expired_unfetched += unfetched;
            self.classes.of(record).expired_unfetched += unfetched;
        }
        self.remove(id);
    }

    /// Removes a record, whatever it is.
    pub(super) fn remove(&mut self, id: u32) {
        self.count_out(id);
        let place = self.slab.record(id).place();
        let (queue, slab) = self.queue_and_slab(place);
        queue.unlink(slab, id);
        self.index.remove(&self.slab, id);
        self.slab.remove(id);
    }

    pub(super) fn queue_and_slab(&mut self, place: Place) -> (&mut Queue, &mut Slab) {
        let queue = match place {
            Place::Small => &mut self.small,
            Place::Main => &mut self.main,
            Place::Tombstones => &mut self.tombstones,
        };
        (queue, &mut self.slab)
    }

    fn insert(&mut self, record: Record) {
        let place = self.place_for(&record);
        let id = self.slab.insert(record);
        self.index.insert(&self.slab, id);
        self.push(place, id);
    }

    /// An item that stays an item keeps its place and its frequency: how often it is read says more than when it was
    /// last written.
    fn overwrite(&mut self, id: u32, mut record: Record) {
        let held = self.slab.record(id);
        let (place, frequency) = (held.place(), held.frequency());
        self.index.note_change(&self.slab, id);
        self.count_out(id);
        if place == Place::Tombstones || record.is_tombstone() {
            let place_after = self.place_for(&record);
            let (queue, slab) = self.queue_and_slab(place);
            queue.unlink(slab, id);
            *slab.record_mut(id) = record;
            self.push(place_after, id);
        } else {
            record.put_in(place);
            record.set_frequency(frequency);
            let (queue, slab) = self.queue_and_slab(place);
            queue.replace(slab, id, record);
            self.count_in(id);
        }
        self.index.note_change(&self.slab, id);
    }

    fn push(&mut self, place: Place, id: u32) {
        self.slab.record_mut(id).put_in(place);
        let (queue, slab) = self.queue_and_slab(place);
        queue.push(slab, id);
        self.count_in(id);
    }

    /// Where a record starts: an item on probation, unless the ghost queue remembers its key.
    fn place_for(&mut self, record: &Record) -> Place {
        if record.is_tombstone() {
            Place::Tombstones
        } else if self.ghost.take(self.index.hash(record.token().0)) {
            Place::Main
        } else {
            Place::Small
        }
    }

    /// Drops the oldest tombstones over their share; the last one stays.
    fn cap_tombstones(&mut self) {
        while self.tombstones.len() > 1
            && self.tombstones.bytes() + self.tombstones.len() * SLOT_BYTES > self.budget / TOMBSTONES_SHARE
        {
            let oldest = self.tombstones.oldest().expect("it has more than one");
            self.stats.tombstones_dropped += 1;
            self.remove(oldest);
        }
    }
}

/// Whether an entry is the held item with its value unchanged.
fn same_value(held: &Record, entry: &Entry) -> bool {
    match &entry.body {
        Body::Item(item) => held.cas() == Some(item.cas),
        Body::Tombstone => false,
    }
}
