//! What the store counts by size class: one class for each doubling of an item's size.
//!
//! Must not know how a client asks for it, nor its name in `stats`. The store has no slabs: a class is a word of
//! memcached's for items of about a size, and costs nothing but these counts.

use std::ops::AddAssign;

/// How many classes there are: the last one holds whatever is larger than 32 MiB, above the largest frame.
pub const CLASSES: u32 = 20;

/// The largest item of class 1, in bytes.
const FIRST_CLASS_BYTES: usize = 64;

/// The size class of an item of so many bytes: 1 for up to 64, and one for each doubling, up to [`CLASSES`].
pub fn class_of(item_size: usize) -> u32 {
    let doublings = item_size.max(FIRST_CLASS_BYTES).next_power_of_two() / FIRST_CLASS_BYTES;
    (doublings.trailing_zeros() + 1).min(CLASSES)
}

/// The largest item of a class, in bytes: class 1 to [`CLASSES`].
pub fn class_bytes(class: u32) -> usize {
    FIRST_CLASS_BYTES << (class.clamp(1, CLASSES) - 1)
}

macro_rules! class_stats {
    (sums { $($(#[$sum_doc:meta])* $sum:ident,)* } maxima { $($(#[$max_doc:meta])* $max:ident,)* }) => {
        /// Counts of one class. Sums start at 0 with the store and at a reset; what is held is never reset.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct ClassStats {
            $($(#[$sum_doc])* pub $sum: u64,)*
            $($(#[$max_doc])* pub $max: u64,)*
        }

        impl AddAssign for ClassStats {
            fn add_assign(&mut self, other: Self) {
                $(self.$sum += other.$sum;)*
                $(self.$max = self.$max.max(other.$max);)*
            }
        }
    };
}

class_stats! {
    sums {
        /// Items held.
        number,
        /// Those of them that are on probation, in the small queue.
        small,
        /// Bytes of these items, as in [`super::StoreStats::bytes`].
        bytes,
        /// Items dropped for room while they were live.
        evicted,
        /// Those of them that had an expiry.
        evicted_nonzero,
        /// Those of them that no client had read.
        evicted_unfetched,
        /// Those of them that had been read since they were last moved.
        evicted_active,
        /// Expired items reclaimed without ever being read by a client.
        expired_unfetched,
        /// Expired and flushed items dropped to make room.
        reclaimed,
        /// Expired and flushed items that a sweep removed.
        crawler_reclaimed,
        /// Items that sweeps have looked at.
        crawler_items_checked,
        /// Items refused for want of room.
        out_of_memory,
        /// Items that were proven and left the small queue for the main one.
        moves_to_main,
        /// Items that went round the main queue once more.
        moves_within_main,
        /// Noticed reads of items in the small queue.
        hits_to_small,
        /// Noticed reads of items in the main queue.
        hits_to_main,
    }
    maxima {
        /// Seconds for which the item that was evicted last, in any one shard, had not been read.
        evicted_time_s,
        /// Seconds for which the oldest items of the small queue have not been read.
        age_small_s,
        /// Seconds for which the oldest items of the main queue have not been read.
        age_main_s,
        /// 1 once the class has held an item.
        used,
    }
}

/// The counts of one shard.
#[derive(Debug)]
pub(super) struct Classes([ClassStats; CLASSES as usize]);

impl Classes {
    pub(super) fn new() -> Self {
        Self([ClassStats::default(); CLASSES as usize])
    }

    /// The counts of the class of items of a size.
    pub(super) fn of_size(&mut self, item_size: usize) -> &mut ClassStats {
        &mut self.0[class_of(item_size) as usize - 1]
    }

    pub(super) fn all(&self) -> &[ClassStats; CLASSES as usize] {
        &self.0
    }

    /// Sums start over; what is held stays.
    pub(super) fn reset(&mut self) {
        for class in &mut self.0 {
            let ClassStats { number, small, bytes, used, .. } = *class;
            *class = ClassStats { number, small, bytes, used, ..ClassStats::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_sizes_up_to_twice_those_of_the_class_before() {
        for (size, class) in [(0, 1), (1, 1), (64, 1), (65, 2), (128, 2), (129, 3), (1 << 20, 15), (usize::MAX / 4, 20)]
        {
            assert_eq!(class_of(size), class, "{size} bytes");
        }
        for class in 1..CLASSES {
            assert_eq!((class_of(class_bytes(class)), class_of(class_bytes(class) + 1)), (class, class + 1));
        }
    }
}
