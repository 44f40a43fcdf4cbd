//! What a shard counts of its items as they come, are met, and go.
//!
//! Must not decide anything: `shard`, `evict` and `walk` do, and tell it.

use memring_protocol::entry::UnixMillis;

use super::classes::{CLASSES, ClassStats};
use super::record::FIXED_BYTES;
use super::shard::{Moment, Queue, Shard};
use super::stats::StoreStats;

/// Items at the tail of each queue whose ages are looked at: old items are there, and the lock is held.
const AGES_MAX: usize = 64;

impl Shard {
    pub(super) fn stats(&self) -> StoreStats {
        StoreStats {
            curr_items: self.items() as u64,
            tombstones: self.log(Queue::Tombstones).len() as u64,
            used_bytes: self.used() as u64,
            index_bytes: self.index.bytes() as u64,
            dead_bytes: self.logs.iter().map(|log| log.dead() as u64).sum(),
            ..self.stats
        }
    }

    /// Sums start over; what is held stays.
    pub(super) fn reset_stats(&mut self) {
        self.stats = StoreStats { bytes: self.stats.bytes, ..StoreStats::default() };
        self.classes.reset();
    }

    /// A client's command met a dead item.
    pub(super) fn count_dead(&mut self, moment: Moment, place: u32) {
        let record = self.record(place);
        if record.is_tombstone() {
            return;
        }
        if moment.is_flushed(record) {
            self.stats.get_flushed += 1;
        } else {
            self.stats.get_expired += 1;
        }
    }

    /// Counts an item that has its place.
    pub(super) fn count_in(&mut self, place: u32) {
        let Some(counted) = self.counted(place) else { return };
        self.stats.bytes += counted.bytes;
        let class = self.classes.of_size(counted.size);
        class.number += 1;
        class.small += counted.small;
        class.bytes += counted.bytes;
        class.used = 1;
    }

    /// Counts an item out that is held still.
    pub(super) fn count_out(&mut self, place: u32) {
        let Some(counted) = self.counted(place) else { return };
        self.stats.bytes -= counted.bytes;
        let class = self.classes.of_size(counted.size);
        class.number -= 1;
        class.small -= counted.small;
        class.bytes -= counted.bytes;
    }

    /// Counts an item that is another one where it stands.
    pub(super) fn recount(&mut self, from: &Counted, to: &Counted) {
        self.stats.bytes = self.stats.bytes + to.bytes - from.bytes;
        let class = self.classes.of_size(from.size);
        class.number -= 1;
        class.small -= from.small;
        class.bytes -= from.bytes;
        let class = self.classes.of_size(to.size);
        class.number += 1;
        class.small += to.small;
        class.bytes += to.bytes;
        class.used = 1;
    }

    /// Counts a record that is about to leave the small queue for the main one, or to go round its queue once more.
    pub(super) fn count_move(&mut self, place: u32, to: Queue) {
        let (size, len, from) = (self.item_size(place), self.record(place).len(), self.queue(place));
        self.stats.moves += 1;
        self.stats.moved_bytes += len as u64;
        let class = self.classes.of_size(size);
        if from == Queue::Small && to == Queue::Main {
            self.stats.moves_to_main += 1;
            class.moves_to_main += 1;
            class.small -= 1;
        } else {
            class.moves_within_main += 1;
        }
    }

    /// Counts a live item that is about to be dropped for room.
    pub(super) fn count_eviction(&mut self, moment: Moment, place: u32, queue: Queue) {
        let record = self.record(place);
        let (unfetched, active) = (u64::from(!record.was_fetched()), u64::from(record.frequency() > 0));
        let (expires, idle_s) = (record.expiry().unix_seconds().is_some(), record.seen(moment.now).idle_s);
        let size = self.item_size(place);
        self.stats.evictions += 1;
        self.stats.evictions_small += u64::from(queue == Queue::Small);
        self.stats.evicted_unfetched += unfetched;
        self.stats.evicted_active += active;
        let class = self.classes.of_size(size);
        class.evicted += 1;
        class.evicted_nonzero += u64::from(expires);
        class.evicted_unfetched += unfetched;
        class.evicted_active += active;
        class.evicted_time_s = u64::from(idle_s);
    }

    /// Counts a dead record that is about to be dropped for room.
    pub(super) fn count_reclaim_for_room(&mut self, place: u32) {
        if !self.record(place).is_tombstone() {
            let size = self.item_size(place);
            self.stats.reclaimed_for_room += 1;
            self.classes.of_size(size).reclaimed += 1;
        }
    }

    /// Counts an item that a sweep looks at; `over`, which it returns: and removes.
    pub(super) fn count_look(&mut self, place: u32, over: bool) -> bool {
        if !self.record(place).is_tombstone() {
            let size = self.item_size(place);
            let class = self.classes.of_size(size);
            class.crawler_items_checked += 1;
            class.crawler_reclaimed += u64::from(over);
            self.stats.crawler_items_checked += 1;
            self.stats.crawler_reclaimed += u64::from(over);
        }
        over
    }

    /// The counts of each class, with the ages of what is oldest now.
    pub(super) fn class_stats(&self, now: UnixMillis) -> [ClassStats; CLASSES as usize] {
        let mut all = *self.classes.all();
        for queue in [Queue::Small, Queue::Main] {
            for place in self.log(queue).oldest_first(&self.segments).take(AGES_MAX) {
                let record = self.record(place);
                if record.is_dead() {
                    continue;
                }
                let age = u64::from(record.seen(now).idle_s);
                let class = &mut all[super::class_of(self.item_size(place)) as usize - 1];
                let oldest = if queue == Queue::Small { &mut class.age_small_s } else { &mut class.age_main_s };
                *oldest = age.max(*oldest);
            }
        }
        all
    }

    /// What is counted of an item; a tombstone is nothing.
    #[inline]
    pub(super) fn counted(&self, place: u32) -> Option<Counted> {
        let (number, offset) = self.segments.split(place);
        let segment = self.segments.get(number);
        let record = segment.record(offset);
        if record.is_tombstone() {
            return None;
        }
        let value_len = record.large().map_or_else(|| record.value_len(), |number| self.larges.get(number).len());
        Some(Counted {
            size: FIXED_BYTES + record.key_len() + value_len,
            bytes: (record.head_len() + value_len) as u64,
            small: u64::from(segment.queue == Queue::Small as u8),
        })
    }
}

/// What is counted of an item.
pub(super) struct Counted {
    /// Its bytes as its class is told by.
    pub(super) size: usize,
    /// Its bytes as `stats` tells them.
    pub(super) bytes: u64,
    /// 1 if it is in the small queue.
    pub(super) small: u64,
}
