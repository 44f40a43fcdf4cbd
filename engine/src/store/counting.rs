//! What a shard counts of its items as they come, are met, and go.
//!
//! Must not decide anything: `shard`, `evict` and `walk` do, and tell it.

use memring_protocol::entry::UnixMillis;

use super::classes::{CLASSES, ClassStats};
use super::record::{Place, Record};
use super::shard::{Moment, Shard};
use super::slab::{Queue, SLOT_BYTES};
use super::stats::StoreStats;

/// Items at the tail of each queue whose ages are looked at: old items are there, and the lock is held.
const AGES_MAX: usize = 64;

impl Shard {
    pub(super) fn stats(&self) -> StoreStats {
        StoreStats {
            curr_items: (self.small.len() + self.main.len()) as u64,
            tombstones: self.tombstones.len() as u64,
            used_bytes: self.used() as u64,
            index_bytes: self.index.bytes() as u64,
            ..self.stats
        }
    }

    /// Sums start over; what is held stays.
    pub(super) fn reset_stats(&mut self) {
        self.stats = StoreStats { bytes: self.stats.bytes, ..StoreStats::default() };
        self.classes.reset();
    }

    /// A client's command met a dead item.
    pub(super) fn count_dead(&mut self, moment: Moment, id: u32) {
        let record = self.slab.record(id);
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
    pub(super) fn count_in(&mut self, id: u32) {
        let record = self.slab.record(id);
        let bytes = item_bytes(record);
        if bytes > 0 {
            self.stats.bytes += bytes;
            let class = self.classes.of(record);
            class.number += 1;
            class.small += u64::from(record.place() == Place::Small);
            class.bytes += bytes;
            class.used = 1;
        }
    }

    /// Counts an item out that is held still.
    pub(super) fn count_out(&mut self, id: u32) {
        let record = self.slab.record(id);
        let (bytes, small) = (item_bytes(record), u64::from(record.place() == Place::Small));
        if bytes > 0 {
            self.stats.bytes -= bytes;
            let class = self.classes.of(record);
            class.number -= 1;
            class.small -= small;
            class.bytes -= bytes;
        }
    }

    /// Counts an item that leaves the small queue for the main one, or goes round that once more.
    pub(super) fn count_move(&mut self, from: Place, id: u32) {
        self.stats.moves += 1;
        let class = self.classes.of(self.slab.record(id));
        if from == Place::Small {
            self.stats.moves_to_main += 1;
            class.moves_to_main += 1;
            class.small -= 1;
        } else {
            class.moves_within_main += 1;
        }
    }

    /// Counts a live item that is about to be dropped for room.
    pub(super) fn count_eviction(&mut self, moment: Moment, id: u32) {
        let record = self.slab.record(id);
        let (unfetched, active) = (u64::from(!record.was_fetched()), u64::from(record.frequency() > 0));
        self.stats.evictions += 1;
        self.stats.evicted_unfetched += unfetched;
        self.stats.evicted_active += active;
        let class = self.classes.of(record);
        class.evicted += 1;
        class.evicted_nonzero += u64::from(record.expiry().unix_seconds().is_some());
        class.evicted_unfetched += unfetched;
        class.evicted_active += active;
        class.evicted_time_s = u64::from(record.seen(moment.now).idle_s);
    }

    /// Counts a dead record that is about to be dropped for room.
    pub(super) fn count_reclaim_for_room(&mut self, id: u32) {
        let record = self.slab.record(id);
        if !record.is_tombstone() {
            self.stats.reclaimed_for_room += 1;
            self.classes.of(record).reclaimed += 1;
        }
    }

    /// The counts of each class, with the ages of what is oldest now.
    pub(super) fn class_stats(&self, now: UnixMillis) -> [ClassStats; CLASSES as usize] {
        let mut all = *self.classes.all();
        for (queue, is_small) in [(&self.small, true), (&self.main, false)] {
            let from_tail = std::iter::successors(queue.oldest(), |&id| Queue::newer_than(&self.slab, id));
            for id in from_tail.take(AGES_MAX) {
                let record = self.slab.record(id);
                let age = u64::from(record.seen(now).idle_s);
                let class = &mut all[super::class_of(record.item_size()) as usize - 1];
                let oldest = if is_small { &mut class.age_small_s } else { &mut class.age_main_s };
                *oldest = age.max(*oldest);
            }
        }
        all
    }
}

/// Bytes of an item as `stats` tells them; a tombstone is none.
fn item_bytes(record: &Record) -> u64 {
    if record.is_tombstone() { 0 } else { (SLOT_BYTES + record.len()) as u64 }
}
