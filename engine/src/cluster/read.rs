//! One key's read: ask as many homes as the level needs, one for the value and the others for the version alone, and
//! answer when they agree. (Digest reads as in Cassandra; write-back before the answer as in Attiya, Bar-Noy and Dolev,
//! "Sharing Memory Robustly in Message-Passing Systems", 1995.)
//!
//! Must not know messages' ways or time: the node asks for it and tells it what came.

use memring_protocol::entry::{Body, Entry, Seen};
use memring_protocol::level::majority;
use memring_protocol::message::{ReadResult, Refusal, Want};
use memring_protocol::version::{Slot, Version};

use super::quorum::{REPLICAS_MAX, Slots};

/// What a read wants next.
#[derive(Clone, PartialEq, Debug)]
pub enum ReadStep {
    /// Ask this home.
    Ask(Slot, Want),
    /// The level is met: this is the newest entry (a tombstone or nothing is a miss), and how that copy had been read.
    Answer(Option<(Entry, Seen)>),
    /// The homes differ, or need not know the newest: let the serializer make the newest version the majority's, and answer with that.
    Confirm,
    /// Too few homes can answer.
    Unmet,
}

/// What the homes that were asked for the value have said.
#[derive(Clone, Debug)]
enum Newest {
    Unknown,
    Absent,
    Found(Entry, Seen),
}

impl Newest {
    fn version(&self) -> Option<Version> {
        match self {
            Self::Found(entry, _) => Some(entry.version),
            Self::Unknown | Self::Absent => None,
        }
    }
}

/// The read of one key at one level. Homes are bits, by their place among the candidates.
#[derive(Clone, Debug)]
pub struct ReadOp {
    candidates: Slots,
    asked: usize,
    needed: u32,
    /// Those that have not answered; and of them, those that were asked for the value.
    waiting: u64,
    waiting_for_value: u64,
    answered: u64,
    /// How many of them have answered, and how many may yet.
    answers: u32,
    pending: u32,
    /// The version of the first answer, and whether another one differs from it.
    version: Option<Version>,
    differs: bool,
    newest: Newest,
    finished: bool,
    /// While a move is under way: the candidates that are homes after it too, and how many of them must have answered.
    stay: u64,
    stay_needed: u32,
    /// A home places the key differently: one of the two does not know the newest ring config.
    is_disputed: bool,
    /// Who may be asked where the only home cannot: those that it leaves the key to.
    heirs: Slots,
}

impl ReadOp {
    /// Reads from `candidates` (homes, best first) until `needed` of them have answered.
    ///
    /// # Panics
    ///
    /// With more than [`REPLICAS_MAX`] candidates.
    pub fn new(candidates: Slots, needed: usize) -> Self {
        assert!(candidates.len() <= REPLICAS_MAX, "a preference list of {} homes", candidates.len());
        Self {
            candidates,
            asked: 0,
            needed: needed.clamp(1, REPLICAS_MAX + 1) as u32,
            waiting: 0,
            waiting_for_value: 0,
            answered: 0,
            answers: 0,
            pending: 0,
            version: None,
            differs: false,
            newest: Newest::Unknown,
            finished: false,
            stay: 0,
            stay_needed: 0,
            is_disputed: false,
            heirs: Slots::new(),
        }
    }

    /// The same of a key whose only home leaves it to these. It orders no write that they do not take, and nothing comes
    /// after such a move but its end: so a complete copy of theirs is as good as its own, where it cannot answer.
    pub fn with_heirs(mut self, heirs: &[Slot]) -> Self {
        if self.candidates.len() == 1 {
            self.heirs = heirs.iter().copied().filter(|slot| !self.candidates.contains(slot)).take(1).collect();
        }
        self
    }

    /// The same while a move is under way, after which these are the homes. Who asks, and the homes it asks, may not have
    /// heard yet that the move has ended, and then a write need reach none of them that does not stay: so many must
    /// answer that stay that one has the write, and refuses. If fewer do, the serializer is asked, who needs both sets.
    pub fn through_move(mut self, next: &[Slot]) -> Self {
        let stays = (0..self.candidates.len()).filter(|place| next.contains(&self.candidates[*place]));
        self.stay = stays.fold(0, |stay, place| stay | 1 << place);
        self.stay_needed = self.needed.min((next.len() + 1 - majority(next.len())) as u32);
        self
    }

    /// What is to be done now, one step at a time: to be asked until it is `None`, at first and after every answer.
    pub fn next_step(&mut self) -> Option<ReadStep> {
        if self.finished {
            return None;
        }
        if self.answers >= self.needed {
            return self.conclude();
        }
        if self.answers + self.pending >= self.needed {
            return None;
        }
        let Some(place) = self.next_candidate().or_else(|| self.next_heir()) else {
            // Whoever is behind hears of the newest config in a moment: the serializer is asked by it then.
            let step = if self.is_disputed { ReadStep::Confirm } else { ReadStep::Unmet };
            return Some(self.finish(step));
        };
        let value_is_coming = self.waiting_for_value != 0 || !matches!(self.newest, Newest::Unknown);
        Some(self.ask(place, if value_is_coming { Want::Digest } else { Want::Value }))
    }

    /// A home answered, or refused.
    pub fn on_result(&mut self, from: Slot, result: ReadResult) {
        let Some(place) = self.candidates.iter().position(|slot| *slot == from) else { return };
        let bit = 1 << place;
        if self.waiting & bit == 0 {
            return;
        }
        let wanted_value = self.waiting_for_value & bit != 0;
        self.waiting &= !bit;
        self.pending -= 1;
        self.waiting_for_value &= !bit;
        let version = match result {
            ReadResult::Refused(refusal) => {
                self.is_disputed |= matches!(refusal, Refusal::Epoch(_) | Refusal::NotHome);
                return;
            }
            // Whoever carries messages asks again for what comes later.
            ReadResult::Later => return,
            ReadResult::Absent => None,
            ReadResult::Digest(version) => Some(version),
            ReadResult::Found(entry, seen) => {
                let version = Some(entry.version);
                if version >= self.newest.version() {
                    self.newest = Newest::Found(entry, seen);
                }
                version
            }
        };
        if wanted_value && matches!(self.newest, Newest::Unknown) {
            self.newest = Newest::Absent;
        }
        if self.answers == 0 {
            (self.version, self.differs) = (version, false);
        } else {
            self.differs |= self.version != version;
        }
        self.answered |= bit;
        self.answers += 1;
    }

    /// A home could not be asked, or will not answer.
    pub fn on_lost(&mut self, from: Slot) {
        self.on_result(from, ReadResult::Refused(Refusal::Busy));
    }

    /// Whom [`ReadOp::on_slow`] would ask.
    pub fn spare(&self) -> Option<Slot> {
        self.candidates.get(self.asked).copied().filter(|_| !self.finished)
    }

    /// The homes asked are slow: ask one more (a hedged read), if there is one.
    pub fn on_slow(&mut self) -> Option<ReadStep> {
        if self.finished {
            return None;
        }
        let place = self.next_candidate()?;
        Some(self.ask(place, Want::Value))
    }

    /// The newest value that came, by its cas token, and how its copy had been read before this read.
    pub fn seen_before(&self) -> Option<(u64, Seen)> {
        match &self.newest {
            Newest::Found(Entry { body: Body::Item(item), .. }, seen) => Some((item.cas, *seen)),
            _ => None,
        }
    }

    fn next_candidate(&mut self) -> Option<usize> {
        let place = self.asked;
        self.asked += usize::from(place < self.candidates.len());
        (place < self.candidates.len()).then_some(place)
    }

    fn next_heir(&mut self) -> Option<usize> {
        let heir = self.heirs.pop().filter(|_| !self.is_disputed)?;
        self.candidates.push(heir);
        (self.stay, self.stay_needed) = (0, 0);
        self.next_candidate()
    }

    fn ask(&mut self, place: usize, want: Want) -> ReadStep {
        self.waiting |= 1 << place;
        self.pending += 1;
        if want == Want::Value {
            self.waiting_for_value |= 1 << place;
        }
        ReadStep::Ask(self.candidates[place], want)
    }

    fn conclude(&mut self) -> Option<ReadStep> {
        if self.differs || (self.answered & self.stay).count_ones() < self.stay_needed {
            return Some(self.finish(ReadStep::Confirm));
        }
        if self.version.is_none() {
            return Some(self.finish(ReadStep::Answer(None)));
        }
        if self.newest.version() == self.version
            && let Newest::Found(entry, seen) = std::mem::replace(&mut self.newest, Newest::Unknown)
        {
            return Some(self.finish(ReadStep::Answer(Some((entry, seen)))));
        }
        if self.waiting_for_value != 0 {
            return None;
        }
        // All agree on a version whose value was lost on the way: one of them has it.
        let place = self.answered.trailing_zeros() as usize;
        self.answered &= !(1 << place);
        self.answers -= 1;
        Some(self.ask(place, Want::Value))
    }

    fn finish(&mut self, step: ReadStep) -> ReadStep {
        self.finished = true;
        step
    }
}

#[cfg(test)]
mod tests {
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
        let first = steps(&mut op);
        (op, first)
    }

    fn answer(op: &mut ReadOp, from: u16, result: ReadResult) -> Vec<ReadStep> {
        op.on_result(slot(from), result);
        steps(op)
    }

    fn steps(op: &mut ReadOp) -> Vec<ReadStep> {
        std::iter::from_fn(|| op.next_step()).collect()
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
    fn homes_that_place_the_key_differently_are_no_miss() {
        let (mut op, _) = read(2);
        let refused = |refusal| ReadResult::Refused(refusal);
        answer(&mut op, 0, refused(Refusal::Epoch(memring_protocol::ring::Epoch(2))));
        assert_eq!(
            answer(&mut op, 1, refused(Refusal::Busy)),
            [ReadStep::Confirm],
            "the one that is left is not enough"
        );
    }

    #[test]
    fn an_only_home_that_is_lost_on_its_way_out_is_stood_in_for_by_its_heir() {
        for (heir, expected) in [
            (found(5), ReadStep::Answer(Some((entry(5), Seen::default())))),
            (ReadResult::Refused(Refusal::Recovering), ReadStep::Unmet),
        ] {
            let op = ReadOp::new([slot(0)].into_iter().collect(), 1).through_move(&[slot(1)]);
            let mut op = op.with_heirs(&[slot(1)]);
            assert_eq!(steps(&mut op), [ReadStep::Ask(slot(0), Want::Value)]);
            op.on_lost(slot(0));
            assert_eq!(steps(&mut op), [ReadStep::Ask(slot(1), Want::Value)]);
            assert_eq!(answer(&mut op, 1, heir), [expected]);
        }
        let op = ReadOp::new([slot(0)].into_iter().collect(), 1).through_move(&[slot(1)]);
        let mut op = op.with_heirs(&[slot(1)]);
        steps(&mut op);
        assert_eq!(answer(&mut op, 0, found(5)), [ReadStep::Confirm], "while it answers it is asked as ever");
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
        assert_eq!(op.spare(), Some(slot(2)));
        assert_eq!(op.on_slow(), Some(ReadStep::Ask(slot(2), Want::Value)));
        assert_eq!((op.spare(), op.on_slow()), (None, None), "there is no other home");
        assert_eq!(answer(&mut op, 2, found(5)), [ReadStep::Answer(Some((entry(5), Seen::default())))]);
    }

    #[test]
    fn a_value_that_was_lost_is_asked_for_again_where_all_agree() {
        let (mut op, _) = read(2);
        assert_eq!(answer(&mut op, 0, ReadResult::Refused(Refusal::Busy)), [ReadStep::Ask(slot(2), Want::Value)]);
        answer(&mut op, 1, ReadResult::Digest(entry(5).version));
        // A home that answers the question for its value with the version alone does not know better.
        assert_eq!(
            answer(&mut op, 2, ReadResult::Digest(entry(5).version)),
            [ReadStep::Ask(slot(1), Want::Value)],
            "it is one of those that have it"
        );
        assert_eq!(answer(&mut op, 1, found(5)), [ReadStep::Answer(Some((entry(5), Seen::default())))]);
        let (mut op, _) = read(1);
        let again = answer(&mut op, 0, ReadResult::Digest(entry(5).version));
        assert_eq!(again, [ReadStep::Ask(slot(0), Want::Value)]);
        assert_eq!(answer(&mut op, 0, found(6)), [ReadStep::Answer(Some((entry(6), Seen::default())))]);
    }
}
