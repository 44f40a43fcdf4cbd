//! Repair: which copies are compared when, what of their differences is missing, and what has merely been evicted.
//!
//! Two homes of a partition compare their copies in three steps, each for what differed at the one before: digests of
//! partitions, digests of their buckets, versions of entries. What one of them lacks the other sends it, as the write that
//! it missed. Of each pair the home with the lower slot asks, so that a pair compares once.
//!
//! An entry that one home holds and the other does not was either missed there or dropped for room, and an evicted entry
//! that came back would be evicted again, for ever. Two stamps tell them apart, and what is not above both is left alone:
//!
//! - A home knows the highest stamp of anything that it ever evicted. What is younger and absent was never there. A home
//!   that misses writes evicts nothing for them meanwhile, so what it missed is above that stamp.
//! - A pair knows, for each partition, the stamp up to which everything was once offered (*agreed*): it is not offered
//!   again, whatever became of it.
//!
//! Where three homes hold what a fourth lacks, three would send it. So the one that stamped it does, and the others look
//! again later.
//!
//! What is too young to have arrived everywhere waits for the next comparison. No clock is trusted for it: each answer
//! names a stamp that neither of the two goes below afterwards, and every write is held by the home that stamps it before
//! anyone else hears of it. So whatever one of the two has stamped up to there is in the lists that are made later, and is
//! judged by one comparison and no other. Must not know the store, nor how messages travel.

mod agreements;
mod answers;
mod difference;
mod pair;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use memring_protocol::key::Partition;
use memring_protocol::version::Slot;

pub use self::agreements::Agreements;
pub use self::difference::{Differing, differing};
pub use self::pair::{Owed, Pair, Question, Wanted};
use crate::now::Mono;

/// How old an entry must be, at least, to be missing where it is absent: longer than a write is under way, and than it
/// takes until its hint is delivered.
pub const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// The pairs that this node asks in.
#[derive(Debug, Default)]
pub struct Repair {
    pairs: BTreeMap<Slot, Pair>,
}

impl Repair {
    /// The partitions that this node shares with each home that it asks, from now on. What was agreed upon stays where a
    /// pair goes on.
    pub fn share(&mut self, now: Mono, shared: BTreeMap<Slot, BTreeSet<Partition>>) {
        self.pairs.retain(|slot, _| shared.contains_key(slot));
        for (slot, partitions) in shared {
            self.pairs.entry(slot).or_default().share(now, &partitions);
        }
    }

    /// The homes that this node asks.
    pub fn peers(&self) -> Vec<Slot> {
        self.pairs.keys().copied().collect()
    }

    /// The pair with this home, if this node asks in it.
    pub fn pair(&mut self, peer: Slot) -> Option<&mut Pair> {
        self.pairs.get_mut(&peer)
    }

    /// This node's copy was made anew: nothing is agreed upon.
    pub fn copied(&mut self, partition: Partition) {
        self.pairs.values_mut().for_each(|pair| pair.forget_agreed(partition));
    }

    /// How many partitions are waiting to be compared for a reason, or being compared closely: once for each pair.
    pub fn pending(&self) -> usize {
        self.pairs.values().map(Pair::pending).sum()
    }
}
