//! Which partitions clients want: counted while this node has not copied all it owns, so that it copies those first that it
//! has to ask others for most.
//!
//! Counts are halved as they are looked at, so that they tell of lately. Must not know how copies are made.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use memring_protocol::key::{PARTITIONS, Partition};

/// Reads of keys that this node owns, or will, and passed on to others.
#[derive(Debug)]
pub(crate) struct Wanted {
    counting: AtomicBool,
    counts: Box<[AtomicU32]>,
}

impl Wanted {
    pub(crate) fn new() -> Self {
        let counts = (0..PARTITIONS).map(|_| AtomicU32::new(0)).collect();
        Self { counting: AtomicBool::new(false), counts }
    }

    /// Counts from now on, or no longer.
    pub(crate) fn set_counting(&self, counting: bool) {
        self.counting.store(counting, Ordering::Relaxed);
    }

    /// A client's read of the partition is passed on.
    #[inline]
    pub(crate) fn note(&self, partition: Partition) {
        if self.counting.load(Ordering::Relaxed) {
            self.counts[partition.index()].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The count of each partition, which counts half from now on.
    pub(crate) fn look(&self) -> Vec<u32> {
        let look = |count: &AtomicU32| {
            let seen = count.load(Ordering::Relaxed);
            // One that is counted in between is lost: it is a guess either way.
            count.store(seen / 2, Ordering::Relaxed);
            seen
        };
        self.counts.iter().map(look).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wanted_counts_less_and_less() {
        let (wanted, partition) = (Wanted::new(), Partition::new(7).unwrap());
        wanted.note(partition);
        assert_eq!(wanted.look()[7], 0, "nobody asks for it");
        wanted.set_counting(true);
        (0..4).for_each(|_| wanted.note(partition));
        assert_eq!([0; 4].map(|_| wanted.look()[7]), [4, 2, 1, 0]);
    }
}
