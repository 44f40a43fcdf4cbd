//! Recovery: how a restarted or joining home becomes synced again, partition by partition.
//!
//! A home is synced for a partition once it has copied it from so many synced homes that one of them must hold any
//! acknowledged write, and must know any promised ballot: N − majority + 1. If all homes have answered and too few of them
//! are synced, or the missing ones are gone for good, the synced remainder, possibly empty, is the truth (a re-founding).
//! Must not know entries or messages: the node fetches and applies.

use std::collections::BTreeMap;
use std::time::Duration;

use memring_protocol::key::Partition;
use memring_protocol::level::majority;
use memring_protocol::limits::FETCH_PARTITIONS_MAX;
use memring_protocol::message::{FetchedPartition, Refusal};
use memring_protocol::version::Slot;
use smallvec::SmallVec;

use crate::now::Mono;

/// How long to wait before asking a home again that could not answer.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// How long to wait before looking again for something to ask a home for.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How long a fetch may take, or not move, before its home may be asked again.
const FETCH_PATIENCE: Duration = Duration::from_secs(3);

/// What a home has given of a partition so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Given {
    /// Nothing yet, or a part: go on at this cursor.
    Upto(u64),
    /// All of it.
    All,
    /// It is recovering itself.
    Nothing,
}

#[derive(Clone, Debug)]
struct Source {
    slot: Slot,
    given: Given,
    ask_at: Mono,
}

impl Source {
    /// Where to go on; `None` when it has given all.
    fn wanted_from(&self) -> Option<u64> {
        match self.given {
            Given::Upto(cursor) => Some(cursor),
            Given::Nothing => Some(0),
            Given::All => None,
        }
    }
}

#[derive(Clone, Debug)]
struct Progress {
    needed: usize,
    /// What is held of it is from before this node was away.
    is_old: bool,
    /// This node is no home yet: what is true without a complete copy is for those who are to say, and it waits for them.
    is_to_come: bool,
    sources: SmallVec<[Source; 4]>,
}

/// How a source stands, as the node sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceStanding {
    /// Can be asked.
    Reachable,
    /// Cannot be asked now; wait for it.
    Away,
    /// Failed for so long that it is not waited for.
    Gone,
}

/// A partition that is synced from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recovered {
    /// Which.
    pub partition: Partition,
    /// Whether fewer homes than needed could give it.
    pub refounded: bool,
    /// How many homes gave it.
    pub sources: usize,
}

/// The partitions of a node that are not synced yet.
#[derive(Debug, Default)]
pub struct Recovery {
    pending: BTreeMap<Partition, Progress>,
    /// How much each partition is wanted, by its number; nothing is known at first.
    wanted: Vec<u32>,
    /// The order in which partitions are asked for: those that are wanted most first.
    order: Vec<Partition>,
    /// Others have come since it was made.
    order_is_old: bool,
    busy_until: BTreeMap<Slot, Mono>,
    /// Where in that order each home was asked last: what is before has been looked through.
    asked_from: BTreeMap<Slot, usize>,
}

impl Recovery {
    /// How many homes a partition must be copied from, when it has `homes` current homes.
    pub fn needed(homes: usize) -> usize {
        homes - majority(homes) + 1
    }

    /// Starts, or goes on with other sources: `sources` are the current homes without this node. What was copied from a
    /// home that stays is kept. `is_to_come`: this node is a home after the move under way only.
    pub fn begin(&mut self, partition: Partition, sources: &[Slot], needed: usize, is_to_come: bool) {
        let before = self.pending.remove(&partition);
        let is_old = before.as_ref().is_some_and(|progress| progress.is_old);
        let known =
            |slot: Slot| before.iter().flat_map(|progress| &progress.sources).find(|source| source.slot == slot);
        let sources = sources
            .iter()
            .map(|slot| known(*slot).cloned().unwrap_or(Source { slot: *slot, given: Given::Upto(0), ask_at: Mono(0) }))
            .collect();
        self.order_is_old |= before.is_none();
        self.pending.insert(partition, Progress { needed, is_old, is_to_come, sources });
    }

    /// What is held of a pending partition is from before this node was away: the others may have forgotten what they
    /// deleted of it.
    pub fn distrust(&mut self, partition: Partition) {
        if let Some(progress) = self.pending.get_mut(&partition) {
            progress.is_old = true;
        }
    }

    /// A home has forgotten what it deleted while this node was away, maybe: whether the copy must be emptied therefore. All
    /// of it is fetched anew then.
    pub fn must_empty(&mut self, partition: Partition) -> bool {
        let Some(progress) = self.pending.get_mut(&partition).filter(|progress| progress.is_old) else { return false };
        progress.is_old = false;
        for source in &mut progress.sources {
            if source.given != Given::Nothing {
                source.given = Given::Upto(0);
            }
        }
        true
    }

    /// The partition is no longer this node's.
    pub fn forget(&mut self, partition: Partition) {
        self.pending.remove(&partition);
    }

    /// How many partitions are not synced.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether all are synced.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Asks from now on for the partitions with the highest count first, which are given by number.
    pub fn prefer(&mut self, counts: Vec<u32>) {
        self.wanted = counts;
        self.put_in_order();
    }

    fn put_in_order(&mut self) {
        let wanted = |partition: &Partition| self.wanted.get(partition.index()).copied().unwrap_or(0);
        self.order.clear();
        self.order.extend(self.pending.keys());
        self.order.sort_by_cached_key(|partition| (std::cmp::Reverse(wanted(partition)), *partition));
        self.order_is_old = false;
        self.asked_from.clear();
    }

    /// What to fetch now from these homes, which can be asked: at most one request a home at a time.
    pub fn fetches(
        &mut self,
        now: Mono,
        reachable: impl IntoIterator<Item = Slot>,
    ) -> Vec<(Slot, Vec<(Partition, u64)>)> {
        if self.order_is_old {
            self.put_in_order();
        }
        let mut fetches = Vec::new();
        for slot in reachable {
            if self.busy_until.get(&slot).is_some_and(|until| *until > now) {
                continue;
            }
            // Thousands of partitions that were asked for already are not looked through for every page.
            if self.pending.is_empty() {
                break;
            }
            let first = self.asked_from.get(&slot).copied().filter(|first| *first < self.order.len()).unwrap_or(0);
            let round = (first..self.order.len()).chain(0..first);
            let missing = round.filter_map(|place| {
                let partition = self.order[place];
                let source = self.pending.get(&partition)?.sources.iter().find(|source| source.slot == slot)?;
                let cursor = source.wanted_from()?;
                (source.ask_at <= now).then_some((place, (partition, cursor)))
            });
            let (places, batch): (Vec<usize>, Vec<_>) = missing.take(FETCH_PARTITIONS_MAX).unzip();
            // Looking through thousands of partitions in vain is not to be repeated at once.
            let wait = if batch.is_empty() { LOOK_AGAIN_AFTER } else { FETCH_PATIENCE };
            self.busy_until.insert(slot, now.after(wait));
            if let Some(first) = places.first() {
                self.asked_from.insert(slot, *first);
            }
            if !batch.is_empty() {
                fetches.push((slot, batch));
            }
        }
        fetches
    }

    /// A page came.
    pub fn on_page(&mut self, now: Mono, from: Slot, partitions: &[FetchedPartition]) {
        self.busy_until.remove(&from);
        for fetched in partitions {
            let Some(progress) = self.pending.get_mut(&fetched.partition) else { continue };
            let Some(source) = progress.sources.iter_mut().find(|source| source.slot == from) else { continue };
            match (fetched.state, fetched.cursor) {
                (Ok(_), None) => source.given = Given::All,
                (Ok(_), Some(cursor)) => source.given = Given::Upto(cursor),
                (Err(refusal), _) => {
                    if refusal == Refusal::Recovering {
                        source.given = Given::Nothing;
                    }
                    source.ask_at = now.after(RETRY_AFTER);
                }
            }
        }
    }

    /// A page with something large is on its way from there.
    pub fn on_moved(&mut self, now: Mono, from: Slot) {
        if let Some(until) = self.busy_until.get_mut(&from) {
            *until = now.after(FETCH_PATIENCE).max(*until);
        }
    }

    /// A fetch failed.
    pub fn on_lost(&mut self, now: Mono, from: Slot) {
        self.busy_until.insert(from, now.after(RETRY_AFTER));
    }

    /// Takes out what is synced by now.
    pub fn settle(&mut self, standing: impl Fn(Slot) -> SourceStanding) -> Vec<Recovered> {
        let mut recovered = Vec::new();
        self.pending.retain(|partition, progress| {
            let complete = progress.sources.iter().filter(|source| source.given == Given::All).count();
            let none_to_come = progress.sources.iter().all(|source| {
                let has_answered = match source.given {
                    Given::All => true,
                    Given::Nothing => !progress.is_to_come,
                    Given::Upto(_) => false,
                };
                has_answered || standing(source.slot) == SourceStanding::Gone
            });
            let done = complete >= progress.needed || none_to_come;
            if done {
                recovered.push(Recovered {
                    partition: *partition,
                    refounded: complete < progress.needed,
                    sources: complete,
                });
            }
            !done
        });
        recovered
    }
}

#[cfg(test)]
mod tests {
    use memring_protocol::message::PartitionState;
    use memring_protocol::version::{Ballot, Stamp};

    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    fn partition() -> Partition {
        Partition::new(7).unwrap()
    }

    fn page(recovery: &mut Recovery, from: u16, state: Result<(), Refusal>, cursor: Option<u64>) {
        let state = state.map(|()| PartitionState { promised: Ballot::NONE, digest: 0, dropped: Stamp::ZERO });
        recovery.on_page(Mono(1), slot(from), &[FetchedPartition { partition: partition(), state, cursor }]);
    }

    fn recovery_of_three() -> Recovery {
        let mut recovery = Recovery::default();
        recovery.begin(partition(), &[slot(1), slot(2)], Recovery::needed(3), false);
        recovery
    }

    fn reachable(_: Slot) -> SourceStanding {
        SourceStanding::Reachable
    }

    #[test]
    fn three_homes_need_two_sources() {
        assert_eq!([1, 2, 3, 4, 5].map(Recovery::needed), [1, 1, 2, 2, 3]);
        let mut recovery = recovery_of_three();
        assert_eq!(recovery.fetches(Mono(0), [slot(1), slot(2)]).len(), 2);
        assert_eq!(recovery.fetches(Mono(0), [slot(1), slot(2)]).len(), 0, "one request a home at a time");
        page(&mut recovery, 1, Ok(()), Some(9));
        assert_eq!(recovery.fetches(Mono(2), [slot(1), slot(2)]), [(slot(1), vec![(partition(), 9)])]);
        page(&mut recovery, 1, Ok(()), None);
        assert_eq!(recovery.settle(reachable), []);
        page(&mut recovery, 2, Ok(()), None);
        assert_eq!(recovery.settle(reachable), [Recovered { partition: partition(), refounded: false, sources: 2 }]);
    }

    #[test]
    fn when_all_have_answered_and_too_few_are_synced_the_remainder_is_the_truth() {
        for (first, sources) in [(Ok(()), 1), (Err(Refusal::Recovering), 0)] {
            let mut recovery = recovery_of_three();
            page(&mut recovery, 1, first, None);
            assert_eq!(recovery.settle(reachable), []);
            page(&mut recovery, 2, Err(Refusal::Recovering), None);
            let expected = Recovered { partition: partition(), refounded: true, sources };
            assert_eq!(recovery.settle(reachable), [expected]);
        }
    }

    #[test]
    fn a_home_to_come_takes_nothing_for_the_truth_that_a_home_has_not_said() {
        let mut recovery = Recovery::default();
        recovery.begin(partition(), &[slot(1)], 1, true);
        page(&mut recovery, 1, Err(Refusal::Recovering), None);
        assert_eq!(recovery.settle(reachable), [], "the only home is about to know what it has");
        assert_eq!(recovery.fetches(Mono(2).after(RETRY_AFTER), [slot(1)]).len(), 1, "it is asked again");
        page(&mut recovery, 1, Ok(()), None);
        assert_eq!(recovery.settle(reachable), [Recovered { partition: partition(), refounded: false, sources: 1 }]);
        recovery.begin(partition(), &[slot(1)], 1, true);
        page(&mut recovery, 1, Err(Refusal::Recovering), None);
        assert_eq!(recovery.settle(|_| SourceStanding::Gone).len(), 1, "it is gone for good");
    }

    #[test]
    fn what_is_wanted_most_is_asked_for_first() {
        let mut recovery = Recovery::default();
        let partitions: Vec<Partition> = (0..5).filter_map(Partition::new).collect();
        partitions.iter().for_each(|partition| recovery.begin(*partition, &[slot(1)], 1, false));
        recovery.prefer(vec![0, 7, 0, 9, 7]);
        let fetches = recovery.fetches(Mono(0), [slot(1)]);
        let order: Vec<usize> = fetches[0].1.iter().map(|(partition, _)| partition.index()).collect();
        assert_eq!(order, [3, 1, 4, 0, 2]);
    }

    #[test]
    fn a_home_that_is_away_is_waited_for_until_it_is_gone() {
        let mut recovery = recovery_of_three();
        page(&mut recovery, 1, Ok(()), None);
        assert_eq!(recovery.settle(|_| SourceStanding::Away), []);
        let recovered = recovery.settle(|_| SourceStanding::Gone);
        assert_eq!(recovered, [Recovered { partition: partition(), refounded: true, sources: 1 }]);
    }

    #[test]
    fn a_home_whose_page_moves_is_not_asked_again() {
        let mut recovery = recovery_of_three();
        assert_eq!(recovery.fetches(Mono(0), [slot(1)]).len(), 1);
        let mut now = Mono(0);
        for _ in 0..3 {
            now = now.after(FETCH_PATIENCE / 2);
            recovery.on_moved(now, slot(1));
            assert_eq!(recovery.fetches(now, [slot(1)]), []);
        }
        assert_eq!(recovery.fetches(now.after(FETCH_PATIENCE), [slot(1)]).len(), 1);
    }

    #[test]
    fn what_was_passed_over_is_asked_for_in_the_next_round() {
        let mut recovery = Recovery::default();
        let partitions = |range: std::ops::Range<u16>| range.filter_map(Partition::new);
        let all = 0..FETCH_PARTITIONS_MAX as u16 + 2;
        partitions(all.clone()).for_each(|partition| recovery.begin(partition, &[slot(1)], 1, false));
        let asked = |recovery: &mut Recovery, now| {
            let fetches = recovery.fetches(now, [slot(1)]);
            fetches.into_iter().flat_map(|(_, wants)| wants).map(|(partition, _)| partition).collect::<Vec<_>>()
        };
        let give = |recovery: &mut Recovery, now, partitions: &[Partition], state| {
            let page = |partition: &Partition| FetchedPartition { partition: *partition, state, cursor: None };
            recovery.on_page(now, slot(1), &partitions.iter().map(page).collect::<Vec<_>>());
        };
        let given = Ok(PartitionState { promised: Ballot::NONE, digest: 0, dropped: Stamp::ZERO });
        let first = asked(&mut recovery, Mono(0));
        assert_eq!(first, partitions(0..FETCH_PARTITIONS_MAX as u16).collect::<Vec<_>>());
        give(&mut recovery, Mono(1), &first[..1], Err(Refusal::Busy));
        give(&mut recovery, Mono(1), &first[1..], given);
        let rest = asked(&mut recovery, Mono(2));
        assert_eq!(rest, partitions(all.end - 2..all.end).collect::<Vec<_>>(), "the first is refused still");
        give(&mut recovery, Mono(3), &rest, given);
        assert_eq!(asked(&mut recovery, Mono(4).after(RETRY_AFTER)), first[..1]);
    }

    #[test]
    fn a_refusal_for_another_epoch_says_nothing_about_the_copy() {
        let mut recovery = recovery_of_three();
        page(&mut recovery, 1, Err(Refusal::Recovering), None);
        page(&mut recovery, 2, Err(Refusal::NotHome), None);
        assert_eq!(recovery.settle(reachable), []);
        assert_eq!(recovery.fetches(Mono(2), [slot(1), slot(2)]), [], "asked again only after a while");
    }
}
