//! One shard: the records of its partitions in their queues, and the index that finds them.
//!
//! Must not know other shards or locks. `reading` says what a record holds, `writing` keeps entries, `evict` makes room,
//! `walk` pages, `sweep` finds what is over; this file finds, moves, removes.

use memring_protocol::entry::{BodyRef, EntryRef, UnixMillis};
use memring_protocol::key::{KeyRef, Partition};
use memring_protocol::version::{Ballot, Stamp};

use super::classes::Classes;
use super::flush::Floors;
use super::ghost::Ghost;
use super::hash::table_hash;
use super::hot::HotKeys;
use super::index::Index;
use super::large::Larges;
use super::listing::Evictions;
use super::log::Log;
use super::proofs::Proofs;
use super::record::{Record, Term, note_fetch, second_of};
use super::segments::Segments;
use super::stats::StoreStats;
use super::sweep::Cursor;
use super::sync::Mutex;
use super::terms::Terms;
use super::{Applied, HOT_SAMPLE, StoreConfig};

/// The part of a shard's memory up to which a value lies in the log: room for moving some is kept free.
const LOG_VALUE_SHARE: usize = 256;

/// … and within these bounds, in bytes: a small value beside the log costs more than it is worth, a large one in it is
/// copied under the lock.
const LOG_VALUE_BYTES: std::ops::Range<usize> = 16 << 10..256 << 10;

/// Which queue a record waits in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Queue {
    /// On probation.
    Small,
    /// Proven.
    Main,
    /// The queue of tombstones.
    Tombstones,
}

impl Queue {
    pub(super) const ALL: [Self; 3] = [Self::Small, Self::Main, Self::Tombstones];
}

/// What decides whether a record is gone.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Cluster time.
    pub(super) now: UnixMillis,
    /// What is flushed.
    pub(super) floors: Floors,
    /// Whether somebody wants to be told what is evicted.
    pub(super) notes_evictions: bool,
}

impl Moment {
    #[inline]
    pub(super) fn is_flushed(self, record: Record<'_>) -> bool {
        let stamp = record.stamp();
        stamp <= self.floors.highest && self.flushes_in(record.partition(), stamp)
    }

    /// Whether what is stamped so in a partition is flushed.
    #[inline]
    pub(super) fn flushes(self, partition: Partition, stamp: Stamp) -> bool {
        stamp <= self.floors.highest && self.flushes_in(partition, stamp)
    }

    #[cold]
    fn flushes_in(self, partition: Partition, stamp: Stamp) -> bool {
        stamp <= self.floors.everywhere || partition.index() < self.floors.reached
    }

    /// Flushed or expired: absent for every reader, there only until it is reclaimed.
    pub(super) fn is_dead(self, record: Record<'_>) -> bool {
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
    pub(super) segments: Segments,
    pub(super) logs: [Log; 3],
    pub(super) larges: Larges,
    /// Bytes of large values in each queue.
    pub(super) large_bytes: [usize; 3],
    pub(super) terms: Terms,
    pub(super) proofs: Proofs,
    pub(super) index: Index,
    pub(super) ghost: Ghost,
    pub(super) hot: HotKeys,
    /// After so many reads the next one is sampled.
    hot_in: u64,
    /// When the counts of hot keys are to be halved, in unix seconds.
    pub(super) hot_age_at_s: u32,
    pub(super) stats: StoreStats,
    pub(super) classes: Classes,
    /// The highest stamp of an item that was evicted: what is younger and not held never was here.
    pub(super) evicted_upto: Stamp,
    /// Evicted and not told yet.
    pub(super) evictions: Evictions,
    /// Where the next sweep goes on.
    pub(super) sweep_from: Cursor,
    /// The segment that the next tidying starts from.
    pub(super) tidy_from: u32,
    /// Bytes that this shard may use.
    pub(super) budget: usize,
    /// Whether live items are dropped for room.
    pub(super) evicts: bool,
    pub(super) item_bytes_max: usize,
    /// See [`Shard::fixed`].
    fixed_bytes: usize,
    /// The largest value that lies in the log.
    pub(super) log_value_max: usize,
    /// The bytes of the largest record that was ever in the log.
    pub(super) largest: usize,
}

impl Shard {
    /// One of `shards` equal shards of a store whose limit is `memory_bytes`.
    pub(super) fn new(config: &StoreConfig, memory_bytes: usize, shards: usize) -> Self {
        let budget = memory_bytes / shards;
        let (index, hot) = (Index::new(shards, memory_bytes, config.hash_seed), HotKeys::new());
        let fixed_bytes = size_of::<Mutex<Self>>() + index.fixed_bytes() + hot.bytes();
        Self {
            segments: Segments::new(budget),
            logs: Queue::ALL.map(|queue| Log::new(queue as u8)),
            larges: Larges::new(),
            large_bytes: [0; 3],
            terms: Terms::new(),
            proofs: Proofs::default(),
            index,
            ghost: Ghost::new(),
            hot,
            hot_in: HOT_SAMPLE,
            hot_age_at_s: 0,
            stats: StoreStats::default(),
            classes: Classes::new(),
            evicted_upto: Stamp::ZERO,
            evictions: Evictions::default(),
            sweep_from: Cursor::default(),
            tidy_from: 0,
            budget,
            evicts: config.evict,
            item_bytes_max: config.item_bytes_max,
            fixed_bytes,
            log_value_max: (budget / LOG_VALUE_SHARE).clamp(LOG_VALUE_BYTES.start, LOG_VALUE_BYTES.end),
            largest: 0,
        }
    }

    /// Everything that the limit covers, in bytes.
    pub(super) fn used(&self) -> usize {
        self.overhead() + self.segments.bytes() + self.larges.bytes()
    }

    /// What is used beside the memory of records.
    pub(super) fn overhead(&self) -> usize {
        self.fixed() + self.index.tables_bytes() + self.ghost.bytes() + self.terms.bytes() + self.proofs.bytes()
    }

    /// What is used whatever it holds.
    pub(super) fn fixed(&self) -> usize {
        self.fixed_bytes
    }

    pub(super) fn log(&self, queue: Queue) -> &Log {
        &self.logs[queue as usize]
    }

    /// Items held: not tombstones.
    pub(super) fn items(&self) -> usize {
        self.log(Queue::Small).len() + self.log(Queue::Main).len()
    }

    pub(super) fn queue(&self, place: u32) -> Queue {
        Queue::ALL[usize::from(self.segments.queue(place))]
    }

    /// The record of a key, dead or alive.
    pub(super) fn find(&self, key: &KeyRef<'_>) -> Option<u32> {
        self.index.find(&self.segments, key)
    }

    /// The record of a key unless it is dead: then it is reclaimed, and counted if a client asked. What others may have
    /// missed leaves a tombstone, which is found instead.
    pub(super) fn find_live(&mut self, moment: Moment, key: &KeyRef<'_>, counts: bool) -> Option<u32> {
        let place = self.find(key)?;
        if moment.is_dead(self.record(place)) {
            if counts {
                self.count_dead(moment, place);
            }
            return self.reclaim(moment, place);
        }
        Some(place)
    }

    /// A client's read: counts, but a hit, which is [`Shard::count_hit`]'s.
    #[inline(always)]
    pub(super) fn fetch(&mut self, moment: Moment, key: &KeyRef<'_>) -> Option<u32> {
        let Some(place) = self.index.find(&self.segments, key) else {
            self.stats.get_misses += 1;
            return None;
        };
        let record = self.record(place);
        if record.is_tombstone() {
            self.stats.get_misses += 1;
            return None;
        }
        if moment.is_dead(record) {
            self.miss_dead(moment, place);
            return None;
        }
        Some(place)
    }

    pub(super) fn count_hit(&mut self) {
        self.stats.get_hits += 1;
    }

    #[cold]
    fn miss_dead(&mut self, moment: Moment, place: u32) {
        self.stats.get_misses += 1;
        self.count_dead(moment, place);
        self.reclaim(moment, place);
    }

    /// Takes note that an item was read, for eviction and for what meta commands tell.
    pub(super) fn notice(&mut self, moment: Moment, place: u32) {
        if !self.record(place).is_tombstone() {
            self.notice_item(moment, place, self.item_size(place));
        }
    }

    /// [`Shard::notice`] of what is an item, of a size.
    #[inline]
    pub(super) fn notice_item(&mut self, moment: Moment, place: u32, size: usize) {
        self.hot_in -= 1;
        if self.hot_in == 0 {
            self.sample(place);
        }
        let (number, offset) = self.segments.split(place);
        let segment = self.segments.get_mut(number);
        let is_main = segment.queue == Queue::Main as u8;
        note_fetch(&mut segment.bytes_mut()[offset as usize..], moment.now);
        let class = self.classes.of_size(size);
        if is_main {
            class.hits_to_main += 1;
        } else {
            class.hits_to_small += 1;
        }
    }

    /// Takes a read for the sketch of hot keys, and says when the next one is: at irregular intervals, so that no rhythm of
    /// a client's falls in with them.
    #[cold]
    fn sample(&mut self, place: u32) {
        self.hot.note(self.segments.record(place).key());
        let noise = table_hash(self.stats.get_hits, 0);
        self.hot_in = HOT_SAMPLE / 2 + noise % HOT_SAMPLE;
    }

    /// Keeps an entry if it is newer than what is held and its term still stands.
    pub(super) fn apply(
        &mut self,
        moment: Moment,
        key: &KeyRef<'_>,
        fence: Option<Ballot>,
        entry: &EntryRef<'_>,
    ) -> Applied {
        if let Some(ballot) = fence
            && let Err(promised) = self.promise(key.partition(), ballot)
        {
            return Applied::Fenced(promised);
        }
        let held = self.find(key).map(|place| (place, self.version(place)));
        if held.map(|(_, version)| version) >= Some(entry.version)
            || moment.flushes(key.partition(), entry.version.stamp)
        {
            return Applied::Superseded;
        }
        self.note_late(moment, key, entry);
        // The same cas token: the same value.
        let amends = held.is_some_and(|(place, _)| same_value(self.record(place), entry));
        match self.keep(moment, key, held, entry, amends) {
            Ok(_) => Applied::Stored,
            Err(why) => {
                // What is held is older than a write that others have: absent is right in a cache, stale is not.
                if let Some(place) = self.find(key) {
                    self.remove(place);
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

    /// Removes a dead record, and counts it. Where another home may have missed an item that has expired here, a tombstone
    /// takes its place, which this returns: the other's older copy may not have expired.
    pub(super) fn reclaim(&mut self, moment: Moment, place: u32) -> Option<u32> {
        let record = self.record(place);
        let (is_item, is_flushed) = (!record.is_tombstone(), moment.is_flushed(record));
        if is_item {
            let unfetched = u64::from(!record.was_fetched() && !is_flushed);
            let size = self.item_size(place);
            self.stats.reclaimed += 1;
            self.stats.expired_unfetched += unfetched;
            self.classes.of_size(size).expired_unfetched += unfetched;
        }
        if is_item && !is_flushed && !self.is_settled(self.record(place)) {
            return self.entomb(moment, place);
        }
        self.remove(place);
        None
    }

    /// Removes a record, whatever it is.
    pub(super) fn remove(&mut self, place: u32) {
        self.count_out(place);
        self.index.note_change(self.record(place).token(), self.version(place));
        self.index.remove(&self.segments, place);
        self.bury(place);
    }

    /// Moves a record to the head of a queue, and says where it is now. Room is there, as for an append.
    pub(super) fn relocate(&mut self, moment: Moment, place: u32, to: Queue) -> u32 {
        let from = self.queue(place);
        let moved = self.logs[to as usize].append_copy(&mut self.segments, moment.floors.everywhere, place);
        self.index.replace(&self.segments, place, moved);
        self.note_expiry(moved, second_of(moment.now));
        if let Some(number) = self.record(moved).large() {
            let weight = self.larges.weight(number);
            self.large_bytes[from as usize] -= weight;
            self.large_bytes[to as usize] += weight;
        }
        self.logs[from as usize].kill(&mut self.segments, place);
        moved
    }

    /// Gives up the bytes of a record that the index does not know any more.
    pub(super) fn bury(&mut self, place: u32) {
        let queue = usize::from(self.segments.queue(place));
        if let Some(number) = self.record(place).large() {
            self.large_bytes[queue] -= self.larges.weight(number);
            self.larges.remove(number);
        }
        self.leave_term(place);
        self.logs[queue].kill(&mut self.segments, place);
    }

    pub(super) fn leave_term(&mut self, place: u32) {
        if let Term::Number(number) = self.record(place).term() {
            self.terms.leave(number);
        }
    }
}

/// Whether an entry is the held item with its value unchanged.
fn same_value(held: Record<'_>, entry: &EntryRef<'_>) -> bool {
    match &entry.body {
        BodyRef::Item(item) => held.cas() == Some(item.cas),
        BodyRef::Tombstone => false,
    }
}
