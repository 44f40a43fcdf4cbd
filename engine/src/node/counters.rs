//! What a node counts of its clients' commands and of the cluster, for `stats`.
//!
//! Each thread counts in a set of its own, so that no two of them write to one cache line; who reads adds the sets up.
//! Must not be read back by any decision.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::store::{CLASSES, class_of};

macro_rules! counters {
    ($(#[$type_doc:meta])* $type:ident {
        $($(#[$doc:meta])* $name:ident,)*
    } kept {
        $($(#[$kept_doc:meta])* $kept:ident,)*
    } beside {
        $($(#[$other_doc:meta])* $other:ident: $other_type:ty,)*
    }) => {
        $(#[$type_doc])*
        #[derive(Debug, Default)]
        pub struct $type {
            $($(#[$doc])* pub $name: Counter,)*
            $($(#[$kept_doc])* pub $kept: Counter,)*
            $($(#[$other_doc])* pub $other: $other_type,)*
        }

        impl $type {
            /// All that another set has counted is counted here too.
            fn take_in(&self, other: &Self) {
                $(self.$name.add(other.$name.value());)*
                $(self.$kept.add(other.$kept.value());)*
            }

            /// What had been counted at the last reset is not counted, but for what is kept.
            fn leave_out(&self, before: &Self) {
                $(self.$name.subtract(before.$name.value());)*
            }
        }
    };
}

/// One counter. Only one thread may add to it, since it does so without a locked instruction: of what two add at a time
/// one's share may be lost. Any thread may read it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.store(self.value() + count, Ordering::Relaxed);
    }

    /// The count.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn subtract(&self, count: u64) {
        self.0.store(self.value() - count, Ordering::Relaxed);
    }
}

counters! {
    /// The counters of one thread, or the sums of all of them.
    #[repr(align(128))]
    Counters {
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
    } kept {
        /// Reads that too few replicas could answer.
        reads_unmet,
        /// Keys read for clients that this node is no home of.
        reads_forwarded,
        /// Reads that asked one more replica than they needed, since those that were asked took long.
        hedged_reads,
        /// Reads that would have, had there not been too many.
        hedges_refused,
        /// Requests to peers that fell silent, which were given up or taken elsewhere.
        calls_rerouted,
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
        /// Partitions whose digests were compared with another home's.
        partitions_compared,
        /// Those of them that were then compared entry by entry.
        partitions_differing,
        /// Copies of partitions emptied on return, for others had no room for what they deleted meanwhile.
        partitions_emptied,
        /// Entries sent to homes that were found to lack them.
        repairs_sent,
        /// Bytes of their keys and values.
        repair_bytes,
        /// Messages with reads that homes were sent, by this node as coordinator.
        hops_read,
        /// Messages with versions that homes were to compare.
        hops_compare,
        /// Questions for a key's newest version on a majority, by a new serializer.
        hops_look,
        /// Writes passed on to their serializer.
        hops_forward,
        /// Writes sent to other homes by this node as serializer.
        hops_replicate,
        /// Promises asked for in a takeover.
        hops_promise,
        /// Questions and orders of a flush.
        hops_flush,
        /// Questions of `stats cluster`.
        hops_stats,
        /// Hints and repairs sent to homes that had missed something.
        hops_replay,
    } beside {
        /// By size class, from class 1 on.
        classes: [Class; CLASSES as usize],
    }
}

counters! {
    /// What clients' commands met in one size class.
    Class {
        /// Reads that found an item.
        get_hits,
        /// Values accepted for reading by storage commands.
        cmd_set,
        /// Deletes that found the item: counted where they were ordered, as are the counts up, down and of touch.
        delete_hits,
        /// incr that found the item.
        incr_hits,
        /// decr that found the item.
        decr_hits,
        /// cas that stored a value.
        cas_hits,
        /// cas with another token than the item's.
        cas_badval,
        /// Touches that found the item.
        touch_hits,
    } kept {
    } beside {
    }
}

impl Counters {
    /// The counters of the class of items of so many bytes.
    pub(crate) fn class_of(&self, item_size: usize) -> &Class {
        self.class(class_of(item_size))
    }

    /// The counters of a class, from 1 on.
    pub(crate) fn class(&self, class: u32) -> &Class {
        &self.classes[class as usize - 1]
    }

    fn take_in_all(&self, other: &Self) {
        self.take_in(other);
        for (mine, others) in self.classes.iter().zip(&other.classes) {
            mine.take_in(others);
        }
    }

    fn leave_out_all(&self, before: &Self) {
        self.leave_out(before);
        for (mine, before) in self.classes.iter().zip(&before.classes) {
            mine.leave_out(before);
        }
    }
}

/// The counters of all threads of a process: one set a worker, and the control thread's.
#[derive(Debug, Default)]
pub(crate) struct CounterSets {
    /// Only the control thread adds to these.
    pub(crate) control: Counters,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    /// By number: as many as there are workers.
    workers: BTreeMap<u16, Arc<Counters>>,
    /// What all had counted at the last reset. Counting goes on meanwhile, so that the counters themselves are written by
    /// nobody but those whose they are.
    at_reset: Counters,
}

impl CounterSets {
    /// The set of a worker; only its thread may add to it.
    pub(crate) fn of_worker(&self, worker: u16) -> Arc<Counters> {
        Arc::clone(self.ledger.lock().workers.entry(worker).or_default())
    }

    /// The sums since the start, or since the last reset where clients' commands are counted.
    pub(crate) fn sums(&self) -> Counters {
        let ledger = self.ledger.lock();
        let sums = self.since_the_start(&ledger);
        // Never below zero: the lock orders this reading of each counter behind that of the reset.
        sums.leave_out_all(&ledger.at_reset);
        sums
    }

    /// What clients' commands came to starts over.
    pub(crate) fn reset(&self) {
        let mut ledger = self.ledger.lock();
        ledger.at_reset = self.since_the_start(&ledger);
    }

    fn since_the_start(&self, ledger: &Ledger) -> Counters {
        let sums = Counters::default();
        sums.take_in_all(&self.control);
        for worker in ledger.workers.values() {
            sums.take_in_all(worker);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_is_summed_and_a_reset_keeps_what_the_cluster_came_to() {
        let sets = CounterSets::default();
        let (first, second) = (sets.of_worker(0), sets.of_worker(1));
        first.cmd_get.add(3);
        second.cmd_get.add(4);
        first.class(2).get_hits.increment();
        second.class(2).get_hits.increment();
        second.takeovers.increment();
        sets.control.partitions_refounded.add(5);
        let told = || {
            let sums = sets.sums();
            let classes = (sums.class(1).get_hits.value(), sums.class(2).get_hits.value());
            (sums.cmd_get.value(), classes, sums.takeovers.value(), sums.partitions_refounded.value())
        };
        assert_eq!(told(), (7, (0, 2), 1, 5));
        sets.reset();
        assert_eq!(told(), (0, (0, 0), 1, 5));
        first.cmd_get.increment();
        first.class(1).get_hits.increment();
        assert_eq!(told(), (1, (1, 0), 1, 5));
        sets.reset();
        second.cmd_get.add(2);
        assert_eq!(told(), (2, (0, 0), 1, 5));
    }

    #[test]
    fn a_worker_has_one_set() {
        let sets = CounterSets::default();
        sets.of_worker(7).cmd_set.increment();
        sets.of_worker(7).cmd_set.increment();
        assert_eq!(sets.sums().cmd_set.value(), 2);
    }
}
