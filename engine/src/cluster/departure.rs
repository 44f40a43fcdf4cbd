//! Departure: when a node that was told to stop, or to leave the ring, may go.
//!
//! One that comes back soon goes once every partition that it holds has a quorum of other complete copies. Where it is the
//! only home, no waiting helps: it leaves the ring, and so lends its share to the others until it is back. What others hold
//! is known by their word, partition by partition, in one ring config. Must not know how they are asked, nor messages.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use memring_protocol::key::Partition;
use memring_protocol::level::majority;
use memring_protocol::limits::LISTED_PARTITIONS_MAX;
use memring_protocol::ring::Epoch;
use memring_protocol::version::Slot;

use super::quorum::Slots;
use crate::now::Mono;

/// How long to wait until homes are asked again for what they did not hold.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How long an answer is waited for.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// A partition that this node holds, and who is to hold it when it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Which.
    pub partition: Partition,
    /// Those of its homes, without this node, that can be counted on.
    pub others: Slots,
    /// How many of them must have a complete copy.
    pub needed: usize,
}

impl Claim {
    /// Of a node that comes back: a majority of the homes must hold it meanwhile, or all others where those are fewer. Homes
    /// that are down, or stop too, are not among `others`, and not waited for.
    pub fn of_stop(partition: Partition, homes: usize, others: Slots) -> Self {
        let needed = majority(homes).min(others.len());
        Self { partition, others, needed }
    }

    /// Of a node that leaves the ring: all who have it then must hold it.
    pub fn of_leave(partition: Partition, heirs: Slots) -> Self {
        let needed = heirs.len();
        Self { partition, others: heirs, needed }
    }
}

/// What one home has said that it holds.
#[derive(Clone, Debug, Default)]
struct Held {
    partitions: BTreeSet<Partition>,
    /// It holds everything that it should.
    all: bool,
    /// Where to go on asking.
    next: Option<Partition>,
    ask_at: Mono,
}

/// The copies of others, as far as they have told in one ring config.
#[derive(Debug, Default)]
pub struct OtherCopies {
    epoch: Epoch,
    held: BTreeMap<Slot, Held>,
}

impl OtherCopies {
    /// What was said about another ring config says nothing about this one.
    pub fn go_by(&mut self, epoch: Epoch) {
        if self.epoch != epoch {
            *self = Self { epoch, held: BTreeMap::new() };
        }
    }

    /// A home holds all that is its own, by its own word about this ring config.
    pub fn note_all(&mut self, slot: Slot, all: bool) {
        self.held.entry(slot).or_default().all = all;
    }

    fn holds(&self, slot: Slot, partition: Partition) -> bool {
        self.held.get(&slot).is_some_and(|held| held.all || held.partitions.contains(&partition))
    }

    /// How many of the claims are not met yet.
    pub fn unmet(&self, claims: &[Claim]) -> usize {
        claims.iter().filter(|claim| !self.is_met(claim)).count()
    }

    fn is_met(&self, claim: &Claim) -> bool {
        claim.others.iter().filter(|slot| self.holds(**slot, claim.partition)).count() >= claim.needed
    }

    /// What to ask whom for now: at most one question a home at a time.
    pub fn questions(&mut self, now: Mono, claims: &[Claim]) -> Vec<(Slot, Vec<Partition>)> {
        let mut open: BTreeMap<Slot, Vec<Partition>> = BTreeMap::new();
        for claim in claims.iter().filter(|claim| !self.is_met(claim)) {
            for slot in claim.others.iter().filter(|slot| !self.holds(**slot, claim.partition)) {
                open.entry(*slot).or_default().push(claim.partition);
            }
        }
        let mut questions = Vec::new();
        for (slot, partitions) in open {
            let held = self.held.entry(slot).or_default();
            if held.ask_at > now {
                continue;
            }
            let from = held.next;
            let is_next = |partition: &Partition| from.is_none_or(|from| *partition >= from);
            let batch: Vec<Partition> = partitions.into_iter().filter(is_next).take(LISTED_PARTITIONS_MAX).collect();
            if batch.is_empty() {
                (held.next, held.ask_at) = (None, now.after(ASK_AGAIN_AFTER));
                continue;
            }
            held.ask_at = now.after(ANSWER_PATIENCE);
            questions.push((slot, batch));
        }
        questions
    }

    /// A home's answer about each of these.
    pub fn on_answer(&mut self, now: Mono, epoch: Epoch, slot: Slot, answers: &[(Partition, bool)]) {
        let Some(held) = self.held.get_mut(&slot).filter(|_| epoch == self.epoch) else { return };
        held.partitions.extend(answers.iter().filter(|(_, holds)| *holds).map(|(partition, _)| *partition));
        held.next = answers.last().and_then(|(last, _)| Partition::new(last.number() + 1));
        held.ask_at = if held.next.is_some() { now } else { now.after(ASK_AGAIN_AFTER) };
    }

    /// A question was lost, or not understood.
    pub fn on_lost(&mut self, now: Mono, slot: Slot) {
        if let Some(held) = self.held.get_mut(&slot) {
            held.ask_at = now.after(ASK_AGAIN_AFTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(numbers: &[u16]) -> Slots {
        numbers.iter().filter_map(|number| Slot::new(*number)).collect()
    }

    fn partition(number: u16) -> Partition {
        Partition::new(number).unwrap()
    }

    #[test]
    fn a_stop_needs_a_majority_of_others_or_all_there_are() {
        let needed = |homes, others: &[u16]| Claim::of_stop(partition(1), homes, slots(others)).needed;
        assert_eq!([needed(3, &[1, 2]), needed(2, &[1]), needed(5, &[1, 2, 3, 4]), needed(1, &[])], [2, 1, 3, 0]);
        assert_eq!([needed(3, &[1]), needed(3, &[]), needed(5, &[1, 2])], [1, 0, 2], "those that are gone or going");
    }

    #[test]
    fn each_partition_counts_by_itself_and_what_is_held_is_not_asked_again() {
        let claims = [1, 2].map(|number| Claim::of_stop(partition(number), 3, slots(&[1, 2])));
        let mut copies = OtherCopies::default();
        copies.go_by(Epoch(4));
        let both = vec![partition(1), partition(2)];
        let asked = copies.questions(Mono(0), &claims);
        assert_eq!(asked.iter().map(|(_, partitions)| partitions).collect::<Vec<_>>(), [&both, &both]);
        assert_eq!(copies.questions(Mono(0), &claims), [], "one question at a time");
        let [one, two] = [1, 2].map(|number| Slot::new(number).unwrap());
        copies.on_answer(Mono(1), Epoch(4), one, &[(partition(1), true), (partition(2), false)]);
        copies.on_answer(Mono(1), Epoch(3), two, &[(partition(1), true), (partition(2), true)]);
        assert_eq!(copies.unmet(&claims), 2, "an answer about another config counts for nothing");
        copies.on_answer(Mono(1), Epoch(4), two, &[(partition(1), true), (partition(2), true)]);
        assert_eq!(copies.unmet(&claims), 1);
        let later = Mono(2).after(ASK_AGAIN_AFTER);
        let asked: Vec<_> = [Mono(2), later].into_iter().flat_map(|now| copies.questions(now, &claims)).collect();
        assert_eq!(asked, [(one, vec![partition(2)])]);
        copies.note_all(one, true);
        assert_eq!(copies.unmet(&claims), 0);
        copies.go_by(Epoch(5));
        assert_eq!(copies.unmet(&claims), 2);
    }

    #[test]
    fn many_partitions_are_asked_for_in_turn() {
        let many = LISTED_PARTITIONS_MAX as u16 + 10;
        let claims: Vec<Claim> = (0..many).map(|number| Claim::of_leave(partition(number), slots(&[1]))).collect();
        let mut copies = OtherCopies::default();
        let (one, mut asked) = (Slot::new(1).unwrap(), 0);
        for turn in 0..3 {
            for (_, partitions) in copies.questions(Mono(turn), &claims) {
                asked += partitions.len();
                let answers: Vec<_> = partitions.into_iter().map(|partition| (partition, false)).collect();
                copies.on_answer(Mono(turn), Epoch(0), one, &answers);
            }
        }
        assert_eq!(asked, usize::from(many), "and then not at once again");
    }
}
