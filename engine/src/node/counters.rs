//! What a node counts of its clients' commands and of the cluster, for `stats`.
//!
//! Relaxed atomics shared by the threads. Must not be read back by any decision.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::{CLASSES, class_of};

macro_rules! counters {
    ($(#[$type_doc:meta])* $type:ident {
        $($(#[$doc:meta])* $name:ident,)*
    } beside {
        $($(#[$other_doc:meta])* $other:ident: $other_type:ty,)*
    }) => {
        $(#[$type_doc])*
        #[derive(Debug, Default)]
        pub struct $type {
            $($(#[$doc])* pub $name: Counter,)*
            $($(#[$other_doc])* pub $other: $other_type,)*
        }

        impl $type {
            /// The counters of clients' commands start over.
            fn zero(&self) {
                $(self.$name.0.store(0, Ordering::Relaxed);)*
            }
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
    /// Counters since the start, or since `stats reset` where clients' commands are counted.
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
    } beside {
        /// Reads that too few replicas could answer.
        reads_unmet: Counter,
        /// Writes that too few replicas acknowledged.
        writes_unmet: Counter,
        /// Reads whose replicas differed and were made to agree.
        read_repairs: Counter,
        /// Partitions taken over by this node as their serializer.
        takeovers: Counter,
        /// Partitions declared synced although fewer homes than needed could give them.
        partitions_refounded: Counter,
        /// Hints replayed.
        hints_replayed: Counter,
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

    /// What clients' commands came to starts over.
    pub(crate) fn reset(&self) {
        self.zero();
        for class in &self.classes {
            class.zero();
        }
    }
}
