//! The store as a whole: its limit, which may change, what it has counted, and listings of it.
//!
//! Must not know what a client calls these things.

use memring_protocol::entry::UnixMillis;

use super::classes::{CLASSES, ClassStats};
use super::shard::Shard;
use super::sync::Ordering;
use super::{Listing, MEMORY_LIMIT_MIN_BYTES, Store, StoreStats};

impl Store {
    /// Sets another memory limit, in bytes; the shards stay as many as they are. False, and nothing is changed, if what
    /// is kept beside the items leaves no room under it, or without eviction, what is kept at all.
    ///
    /// [`Store::fit`] carries it out: until that is done, a limit that was lowered may be exceeded.
    pub fn set_limit(&self, limit_bytes: usize) -> bool {
        let limit_bytes = limit_bytes.max(MEMORY_LIMIT_MIN_BYTES);
        let budget = limit_bytes / self.shards.len();
        if !self.shards.iter().all(|shard| shard.lock().can_fit(budget)) {
            return false;
        }
        self.limit_bytes.store(limit_bytes, Ordering::Relaxed);
        // Writes keep to what is used until a lower limit is carried out.
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.budget = shard.budget.min(budget.max(shard.used()));
        }
        true
    }

    /// The memory limit, in bytes.
    pub fn limit_bytes(&self) -> usize {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    /// Goes towards the limit: drops up to `records_max` records of each shard that is over its share. True when all
    /// keep to it.
    pub fn fit(&self, now: UnixMillis, records_max: usize) -> bool {
        let (moment, budget) = (self.moment(now), self.limit_bytes() / self.shards.len());
        let mut fits = true;
        for shard in &self.shards {
            let mut shard = shard.lock();
            fits &= shard.fit(moment, budget, records_max);
            self.heed_evictions(&shard);
        }
        fits
    }

    /// Counts and sizes, summed shard by shard: not of one moment while other threads write.
    pub fn stats(&self) -> StoreStats {
        let mut sum = StoreStats { limit_maxbytes: self.limit_bytes() as u64, ..StoreStats::default() };
        for shard in &self.shards {
            sum += shard.lock().stats();
        }
        sum
    }

    /// The counts of each size class, from class 1 on, summed shard by shard. The ages are those of the items nearest to
    /// the end of their queues.
    pub fn class_stats(&self, now: UnixMillis) -> [ClassStats; CLASSES as usize] {
        let mut sum = [ClassStats::default(); CLASSES as usize];
        for shard in &self.shards {
            let of_shard = shard.lock().class_stats(now);
            for (sum, class) in sum.iter_mut().zip(of_shard) {
                *sum += class;
            }
        }
        sum
    }

    /// Counters start over; what is held stays.
    pub fn reset_stats(&self) {
        self.laps.store(0, Ordering::Relaxed);
        for shard in &self.shards {
            shard.lock().reset_stats();
        }
    }

    /// How often sweeps have come round the whole store.
    pub fn laps(&self) -> u64 {
        self.laps.load(Ordering::Relaxed)
    }

    /// Up to `items_max` live items of a class, those written last in each shard first.
    pub fn newest_of_class(&self, now: UnixMillis, class: u32, items_max: usize) -> Vec<Listing> {
        let moment = self.moment(now);
        let mut listed = Vec::new();
        for shard in &self.shards {
            listed.extend(shard.lock().newest_of_class(moment, class, items_max - listed.len()));
        }
        listed
    }

    /// So many places as a sweep of all of them looks at, at most: segments, and the records in them.
    pub fn places(&self) -> usize {
        let places = |shard: &Shard| shard.logs.iter().map(|log| log.segments() + log.records()).sum::<usize>();
        self.shards.iter().map(|shard| places(&shard.lock())).sum()
    }
}
