//! Counting answers of home replicas: has a level been reached, can it still be?
//!
//! Must not know what was asked. While the ring changes, a level must be reached in the current *and* in the next home
//! set (joint consensus: Ongaro, "Consensus: Bridging Theory and Practice", 2014, section 4.3).

use memring_protocol::level::majority;
use memring_protocol::message::COPIES_ALL;
use memring_protocol::version::Slot;
use smallvec::SmallVec;

/// A few slots: the homes of a partition, usually three.
pub type Slots = SmallVec<[Slot; 4]>;

/// The most home replicas a partition can have: what the masks below hold, and far beyond use.
pub const REPLICAS_MAX: usize = 64;

/// Where a count stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// More answers may still decide it.
    Pending,
    /// Enough said yes.
    Reached,
    /// Too many said no.
    Impossible,
}

#[derive(Clone, Debug)]
struct HomeSet {
    homes: Slots,
    needed: usize,
    yes: u64,
    no: u64,
    /// Who said yes, counted or not.
    held: u64,
}

impl HomeSet {
    fn new(homes: &[Slot], needed: usize) -> Self {
        assert!(homes.len() <= REPLICAS_MAX, "a preference list of {} homes", homes.len());
        Self { homes: Slots::from_slice(homes), needed, yes: 0, no: 0, held: 0 }
    }

    fn bit(&self, slot: Slot) -> u64 {
        self.homes.iter().position(|home| *home == slot).map_or(0, |index| 1 << index)
    }

    fn verdict(&self) -> Verdict {
        let (yes, no) = (self.yes.count_ones() as usize, (self.no & !self.yes).count_ones() as usize);
        if yes >= self.needed {
            Verdict::Reached
        } else if self.homes.len() - no < self.needed {
            Verdict::Impossible
        } else {
            Verdict::Pending
        }
    }
}

/// A count over the home replicas of one partition.
#[derive(Clone, Debug)]
pub struct Quorum {
    current: HomeSet,
    /// Only while the ring changes.
    next: Option<Box<HomeSet>>,
}

impl Quorum {
    /// Needs `copies` of `current`, at least a majority; and while a move is under way as much of `next`. With
    /// [`COPIES_ALL`], all of each.
    pub fn of_writes(current: &[Slot], next: Option<&[Slot]>, copies: u8) -> Self {
        let wanted = |homes: &[Slot]| if copies == COPIES_ALL { homes.len() } else { usize::from(copies) };
        let needed = wanted(current).max(majority(current.len()));
        let next = next.map(|homes| {
            let needed = wanted(homes).min(homes.len()).max(majority(homes.len()));
            Box::new(HomeSet::new(homes, needed))
        });
        Self { current: HomeSet::new(current, needed), next }
    }

    /// Needs a majority of `current`; and while a move is under way a majority of `next`.
    pub fn of_promises(current: &[Slot], next: Option<&[Slot]>) -> Self {
        Self::of_writes(current, next, 0)
    }

    /// A home holds it, or agrees. A home whose copy is not `synced` counts only in the next set: in the current one its
    /// lost memory may have held a promise or a copy that others counted.
    pub fn yes(&mut self, slot: Slot, synced: bool) {
        let bit = self.current.bit(slot);
        self.current.held |= bit;
        if synced {
            self.current.yes |= bit;
        } else {
            self.current.no |= bit;
        }
        if let Some(next) = &mut self.next {
            let bit = next.bit(slot);
            next.yes |= bit;
            next.held |= bit;
        }
    }

    /// A home refused or was lost; a later yes still counts.
    pub fn no(&mut self, slot: Slot) {
        self.current.no |= self.current.bit(slot);
        if let Some(next) = &mut self.next {
            next.no |= next.bit(slot);
        }
    }

    /// Where the count stands.
    pub fn verdict(&self) -> Verdict {
        match (self.current.verdict(), self.next.as_deref().map(HomeSet::verdict)) {
            (Verdict::Impossible, _) | (_, Some(Verdict::Impossible)) => Verdict::Impossible,
            (Verdict::Reached, None | Some(Verdict::Reached)) => Verdict::Reached,
            _ => Verdict::Pending,
        }
    }

    /// How many counted yes in the current set.
    pub fn acknowledged(&self) -> usize {
        self.current.yes.count_ones() as usize
    }

    /// How many the current set needs.
    pub fn needed(&self) -> usize {
        self.current.needed
    }

    /// Whether this home said yes, counted or not.
    pub fn is_held_by(&self, slot: Slot) -> bool {
        self.sets().any(|set| set.held & set.bit(slot) != 0)
    }

    /// Whether this home refused or was lost, or did not count.
    pub fn is_refused_by(&self, slot: Slot) -> bool {
        self.sets().any(|set| set.no & set.bit(slot) != 0)
    }

    /// Whether every home said yes, counted or not.
    pub fn is_held_by_all(&self) -> bool {
        self.sets().all(|set| set.held.count_ones() as usize == set.homes.len())
    }

    fn sets(&self) -> impl Iterator<Item = &HomeSet> {
        std::iter::once(&self.current).chain(self.next.as_deref())
    }

    /// All homes of both sets, each once.
    pub fn homes(&self) -> Slots {
        let mut all = self.current.homes.clone();
        for home in self.next.iter().flat_map(|next| &next.homes) {
            if !all.contains(home) {
                all.push(*home);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(numbers: &[u16]) -> Vec<Slot> {
        numbers.iter().map(|number| Slot::new(*number).unwrap()).collect()
    }

    /// `answers` is a word of slot digits with + (synced yes), ~ (yes, not synced) or - behind each.
    fn check(current: &[u16], next: Option<&[u16]>, copies: u8, answers: &str, expected: Verdict) {
        let mut quorum = Quorum::of_writes(&slots(current), next.map(slots).as_deref(), copies);
        for pair in answers.as_bytes().chunks(2) {
            let slot = Slot::new(u16::from(pair[0] - b'0')).unwrap();
            match pair[1] {
                b'+' => quorum.yes(slot, true),
                b'~' => quorum.yes(slot, false),
                _ => quorum.no(slot),
            }
        }
        assert_eq!(quorum.verdict(), expected, "{current:?} {next:?} copies {copies}: {answers}");
    }

    #[test]
    fn a_level_is_at_least_a_majority_and_each_home_counts_once() {
        use Verdict::{Impossible, Pending, Reached};
        check(&[0, 1, 2], None, 1, "0+", Pending);
        check(&[0, 1, 2], None, 1, "0+0+", Pending);
        check(&[0, 1, 2], None, 1, "0+1+", Reached);
        check(&[0, 1, 2], None, 3, "0+1+", Pending);
        check(&[0, 1, 2], None, 3, "0+1+2-", Impossible);
        check(&[0, 1, 2], None, 2, "1-2-", Impossible);
        check(&[0, 1, 2], None, 2, "1-2-1+0+", Reached);
        check(&[0, 1, 2], None, 2, "0+7+", Pending);
        check(&[0], None, 1, "0+", Reached);
    }

    #[test]
    fn all_are_all_of_each_set() {
        use Verdict::{Impossible, Pending, Reached};
        check(&[0, 1, 2], None, COPIES_ALL, "0+1+", Pending);
        check(&[0, 1, 2], None, COPIES_ALL, "0+1+2+", Reached);
        check(&[0, 1, 2], Some(&[0, 1, 2, 3]), COPIES_ALL, "0+1+2+", Pending);
        check(&[0, 1, 2], Some(&[0, 1, 2, 3]), COPIES_ALL, "0+1+2+3~", Reached);
        check(&[0, 1, 2], Some(&[0, 1, 2, 3]), COPIES_ALL, "0+1+2+3-", Impossible);
        check(&[0, 1, 2], Some(&[0, 1]), COPIES_ALL, "0+1+", Pending);
    }

    #[test]
    fn a_home_that_is_not_synced_counts_only_in_the_next_set() {
        use Verdict::{Impossible, Pending, Reached};
        check(&[0, 1, 2], None, 2, "0+1~", Pending);
        check(&[0, 1, 2], None, 2, "0+1~2~", Impossible);
        check(&[0], Some(&[0, 1]), 1, "0+", Pending);
        check(&[0], Some(&[0, 1]), 1, "0+1~", Reached);
        check(&[0, 1, 2], Some(&[0, 1, 3]), 2, "0+2+", Pending);
        check(&[0, 1, 2], Some(&[0, 1, 3]), 2, "0+2+3~", Reached);
        check(&[0, 1, 2], Some(&[0, 1, 3]), 2, "0+2+3-1-", Impossible);
    }
}
