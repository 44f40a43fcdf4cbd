//! What a node counts of its clients' commands and of the cluster, for `stats`.
//!
//! Relaxed atomics shared by the threads. Must not be read back by any decision.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters since the start.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: Counter,)*
        }
    };
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// `me` commands.
    cmd_meta,
    /// Keys asked for by get, gets and mg.
    cmd_get,
    /// Values accepted for reading by storage commands.
    cmd_set,
    /// flush_all commands.
    cmd_flush,
    /// Keys touched by touch, gat and gats.
    cmd_touch,
    /// Keys found by get.
    get_hits,
    /// Keys not found by get.
    get_misses,
    /// Deletes that found the key.
    delete_hits,
    /// Deletes that did not.
    delete_misses,
    /// incr that found the key.
    incr_hits,
    /// incr that did not.
    incr_misses,
    /// decr that found the key.
    decr_hits,
    /// decr that did not.
    decr_misses,
    /// cas that stored.
    cas_hits,
    /// cas that found no key.
    cas_misses,
    /// cas with another token.
    cas_badval,
    /// Touches that found the key.
    touch_hits,
    /// Touches that did not.
    touch_misses,
    /// Values over the limit.
    store_too_large,
    /// Values that found no memory.
    store_no_memory,
    /// Reads that too few replicas could answer.
    reads_unmet,
    /// Writes that too few replicas acknowledged.
    writes_unmet,
    /// Reads whose replicas differed and were made to agree.
    read_repairs,
    /// Partitions taken over by this node as their serializer.
    takeovers,
    /// Partitions declared synced although fewer homes than needed could give them.
    partitions_refounded,
    /// Hints replayed.
    hints_replayed,
}
