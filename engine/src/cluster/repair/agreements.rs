//! Up to which stamp each other home of a partition is known to hold what this one does.
//!
//! Must not know what follows from it: the store may forget what all of them have.

use std::collections::BTreeMap;

use memring_protocol::key::Partition;
use memring_protocol::version::{Slot, Stamp};
use smallvec::SmallVec;

/// See the top of the file. Partitions without another home are not in it.
#[derive(Debug, Default)]
pub struct Agreements {
    partitions: BTreeMap<Partition, SmallVec<[(Slot, Stamp); 2]>>,
}

impl Agreements {
    /// The other homes of a partition from now on; none, if this node is no home. Says up to where all of them agree. Of
    /// one that is new nothing is known.
    pub fn share(&mut self, partition: Partition, others: impl Iterator<Item = Slot>) -> Stamp {
        let before = self.partitions.remove(&partition).unwrap_or_default();
        let known = |slot: Slot| before.iter().find(|(of, _)| *of == slot).map_or(Stamp::ZERO, |(_, upto)| *upto);
        let others: SmallVec<[(Slot, Stamp); 2]> = others.map(|slot| (slot, known(slot))).collect();
        let all = least(&others);
        if !others.is_empty() {
            self.partitions.insert(partition, others);
        }
        all
    }

    /// Up to where one of them agrees now, which may be less than before. Says up to where all of them do; `None` if it is
    /// none of them.
    pub fn note(&mut self, partition: Partition, other: Slot, upto: Stamp) -> Option<Stamp> {
        let others = self.partitions.get_mut(&partition)?;
        others.iter_mut().find(|(slot, _)| *slot == other)?.1 = upto;
        Some(least(others))
    }
}

fn least(others: &[(Slot, Stamp)]) -> Stamp {
    others.iter().map(|(_, upto)| *upto).min().unwrap_or(Stamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_agree_upon_is_what_the_last_of_them_does() {
        let (mut agreements, partition) = (Agreements::default(), Partition::new(7).unwrap());
        let [one, two, three] = [1, 2, 3].map(|slot| Slot::new(slot).unwrap());
        assert_eq!(agreements.share(partition, [].into_iter()), Stamp::MAX, "there is nobody else");
        assert_eq!(agreements.note(partition, one, Stamp(5)), None);
        assert_eq!(agreements.share(partition, [one, two].into_iter()), Stamp::ZERO);
        assert_eq!(agreements.note(partition, one, Stamp(5)), Some(Stamp::ZERO));
        assert_eq!(agreements.note(partition, two, Stamp(3)), Some(Stamp(3)));
        assert_eq!(agreements.note(partition, three, Stamp(9)), None);
        assert_eq!(agreements.share(partition, [one, three].into_iter()), Stamp::ZERO, "the third is new");
        assert_eq!(agreements.share(partition, [one].into_iter()), Stamp(5));
        assert_eq!(agreements.note(partition, one, Stamp(2)), Some(Stamp(2)), "its copy was made anew");
    }
}
