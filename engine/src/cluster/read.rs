//! One key's read: ask as many homes as the level needs, one for the value and the others for the version alone, and
//! answer when they agree. (Digest reads as in Cassandra; write-back before the answer as in Attiya, Bar-Noy and Dolev,
//! "Sharing Memory Robustly in Message-Passing Systems", 1995.)
//!
//! Must not know messages' ways or time: the node asks for it and tells it what came.

use memring_protocol::entry::{Entry, Seen};
use memring_protocol::message::{ReadResult, Refusal, Want};
use memring_protocol::version::{Slot, Version};
use smallvec::SmallVec;

use super::quorum::Slots;

/// What a read wants next.
#[derive(Clone, PartialEq, Debug)]
pub enum ReadStep {
    /// Ask this home.
    Ask(Slot, Want),
    /// The level is met: this is the newest entry (a tombstone or nothing is a miss), and how that copy had been read.
    Answer(Option<(Entry, Seen)>),
    /// The homes differ: let the serializer make the newest version the majority's, and answer with that.
    Confirm,
    /// Too few homes can answer.
    Unmet,
}

/// Steps in the order to be taken.
pub type ReadSteps = SmallVec<[ReadStep; 4]>;

/// The read of one key at one level.
#[derive(Clone, Debug)]
pub struct ReadOp {
    candidates: Slots,
    asked: usize,
    needed: usize,
    waiting: SmallVec<[(Slot, Want); 4]>,
    answers: SmallVec<[(Slot, Option<Version>); 4]>,
    /// The newest value answer so far; the inner `None` is a home's "nothing there".
    value: Option<Option<(Entry, Seen)>>,
    finished: bool,
}

impl ReadOp {
    /// Reads from `candidates` (homes, best first) until `needed` of them have answered.
    pub fn new(candidates: Slots, needed: usize) -> Self {
        Self {
            candidates,
            asked: 0,
            needed: needed.max(1),
            waiting: SmallVec::new(),
            answers: SmallVec::new(),
            value: None,
            finished: false,
        }
    }

    /// The first questions; afterwards, what follows from the answers.
    pub fn advance(&mut self, steps: &mut ReadSteps) {
        if self.finished {
            return;
        }
        if self.answers.len() >= self.needed {
            self.conclude(steps);
            return;
        }
        while self.answers.len() + self.waiting.len() < self.needed {
            let Some(slot) = self.next_candidate() else {
                self.finish(ReadStep::Unmet, steps);
                return;
            };
            self.ask(slot, steps);
        }
    }

    /// A home answered, or refused.
    pub fn on_result(&mut self, from: Slot, result: ReadResult, steps: &mut ReadSteps) {
        let Some(position) = self.waiting.iter().position(|(slot, _)| *slot == from) else { return };
        let (_, want) = self.waiting.remove(position);
        let version = match &result {
            ReadResult::Refused(_) => {
                self.advance(steps);
                return;
            }
            ReadResult::Absent => None,
            ReadResult::Digest(version) => Some(*version),
            ReadResult::Found(entry, _) => Some(entry.version),
        };
        match result {
            ReadResult::Found(entry, seen) => self.keep_newest(Some((entry, seen))),
            _ if want == Want::Value => self.keep_newest(None),
            _ => {}
        }
        self.answers.push((from, version));
        self.advance(steps);
    }

    /// A home could not be asked, or will not answer.
    pub fn on_lost(&mut self, from: Slot, steps: &mut ReadSteps) {
        self.on_result(from, ReadResult::Refused(Refusal::Busy), steps);
    }

    /// The homes asked are slow: ask one more (a hedged read), if there is one.
    pub fn on_slow(&mut self, steps: &mut ReadSteps) {
        if !self.finished
            && let Some(slot) = self.next_candidate()
        {
            self.waiting.push((slot, Want::Value));
            steps.push(ReadStep::Ask(slot, Want::Value));
        }
    }

    fn next_candidate(&mut self) -> Option<Slot> {
        let slot = self.candidates.get(self.asked).copied();
        self.asked += usize::from(slot.is_some());
        slot
    }

    fn ask(&mut self, slot: Slot, steps: &mut ReadSteps) {
        let value_is_coming = self.value.is_some() || self.waiting.iter().any(|(_, want)| *want == Want::Value);
        let want = if value_is_coming { Want::Digest } else { Want::Value };
        self.waiting.push((slot, want));
        steps.push(ReadStep::Ask(slot, want));
    }

    fn keep_newest(&mut self, found: Option<(Entry, Seen)>) {
        let held = self.value.take().flatten();
        let version = |found: &Option<(Entry, Seen)>| found.as_ref().map(|(entry, _)| entry.version);
        self.value = Some(if version(&found) >= version(&held) { found } else { held });
    }

    fn conclude(&mut self, steps: &mut ReadSteps) {
        let first = self.answers[0].1;
        if self.answers.iter().any(|(_, version)| *version != first) {
            self.finish(ReadStep::Confirm, steps);
            return;
        }
        match &self.value {
            _ if first.is_none() => self.finish(ReadStep::Answer(None), steps),
            Some(Some((entry, seen))) if Some(entry.version) == first => {
                let found = (entry.clone(), *seen);
                self.finish(ReadStep::Answer(Some(found)), steps);
            }
            _ if self.waiting.iter().any(|(_, want)| *want == Want::Value) => {}
            _ => {
                // All agree on a version whose value was lost on the way: one of them has it.
                let (slot, _) = self.answers.remove(0);
                self.waiting.push((slot, Want::Value));
                steps.push(ReadStep::Ask(slot, Want::Value));
            }
        }
    }

    fn finish(&mut self, step: ReadStep, steps: &mut ReadSteps) {
        self.finished = true;
        steps.push(step);
    }
}

#[cfg(test)]
mod tests {
    use memring_protocol::entry::Body;
    use memring_protocol::version::{Ballot, Stamp};

    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    fn entry(stamp: u64) -> Entry {
        Entry { version: Version { ballot: Ballot(1), stamp: Stamp(stamp) }, body: Body::Tombstone }
    }

    fn found(stamp: u64) -> ReadResult {
        ReadResult::Found(entry(stamp), Seen::default())
    }

    fn read(needed: usize) -> (ReadOp, Vec<ReadStep>) {
        let mut op = ReadOp::new([slot(0), slot(1), slot(2)].into_iter().collect(), needed);
        let mut steps = ReadSteps::new();
        op.advance(&mut steps);
        (op, steps.to_vec())
    }

    fn answer(op: &mut ReadOp, from: u16, result: ReadResult) -> Vec<ReadStep> {
        let mut steps = ReadSteps::new();
        op.on_result(slot(from), result, &mut steps);
        steps.to_vec()
    }

    #[test]
    fn a_quorum_that_agrees_answers_with_one_value_and_one_digest() {
        let (mut op, first) = read(2);
        assert_eq!(first, [ReadStep::Ask(slot(0), Want::Value), ReadStep::Ask(slot(1), Want::Digest)]);
        assert_eq!(answer(&mut op, 1, ReadResult::Digest(entry(5).version)), []);
        assert_eq!(answer(&mut op, 0, found(5)), [ReadStep::Answer(Some((entry(5), Seen::default())))]);
        assert_eq!(answer(&mut op, 0, found(5)), [], "a duplicate changes nothing");
    }

    #[test]
    fn homes_that_differ_are_confirmed() {
        for (value, digest) in [(found(5), 6), (found(6), 5), (ReadResult::Absent, 5)] {
            let (mut op, _) = read(2);
            answer(&mut op, 0, value);
            assert_eq!(answer(&mut op, 1, ReadResult::Digest(entry(digest).version)), [ReadStep::Confirm]);
        }
    }

    #[test]
    fn a_refusal_goes_to_the_next_home_until_there_is_none() {
        let (mut op, _) = read(2);
        let refused = || ReadResult::Refused(Refusal::Recovering);
        assert_eq!(answer(&mut op, 0, refused()), [ReadStep::Ask(slot(2), Want::Value)]);
        assert_eq!(answer(&mut op, 1, refused()), [ReadStep::Unmet]);
    }

    #[test]
    fn one_answer_is_enough_at_level_one() {
        let (mut op, first) = read(1);
        assert_eq!(first, [ReadStep::Ask(slot(0), Want::Value)]);
        assert_eq!(answer(&mut op, 0, ReadResult::Absent), [ReadStep::Answer(None)]);
    }

    #[test]
    fn a_slow_value_is_hedged_with_a_value() {
        let (mut op, _) = read(2);
        answer(&mut op, 1, ReadResult::Digest(entry(5).version));
        let mut steps = ReadSteps::new();
        op.on_slow(&mut steps);
        assert_eq!(steps.to_vec(), [ReadStep::Ask(slot(2), Want::Value)]);
        assert_eq!(answer(&mut op, 2, found(5)), [ReadStep::Answer(Some((entry(5), Seen::default())))]);
    }
}
