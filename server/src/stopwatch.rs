//! How long clients wait for answers: histograms by command, level and outcome.
//!
//! A command is timed from the turn of the loop in which its bytes were read, or in which it could start, to the one in which
//! its answer was ready. What is answered in the turn it came in shares one more reading of the clock, however many commands
//! that are. Each worker counts in a set of its own, without locked instructions; who reads adds the sets up. Must not know
//! sockets, nor how a histogram is shown.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use memring_engine::node::{Answered, Counter, Upshot};
use memring_engine::now::Mono;
use memring_protocol::level::Level;
use memring_protocol::text::{Command, Direction, Response, StoreVerb};
use smallvec::SmallVec;

/// The upper bounds of all buckets but the last, in microseconds: from a local hit to what no client waits for.
pub(crate) const BOUNDS_US: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// The commands that are timed, as they are told.
pub(crate) const COMMANDS: [&str; 17] = [
    "get",
    "gat",
    "set",
    "add",
    "replace",
    "append",
    "prepend",
    "cas",
    "incr",
    "decr",
    "touch",
    "delete",
    "mg",
    "ms",
    "md",
    "ma",
    "flush_all",
];

/// The levels they ask for, as they are told.
pub(crate) const LEVELS: [&str; 5] = ["one", "quorum", "all", "count", "none"];

/// What comes of them, as it is told.
pub(crate) const OUTCOMES: [&str; 5] = ["hit", "miss", "error", "refused", "unmet"];

/// The first bucket that a time of so many bits may be in: its own is that one or one of the two behind it.
const FIRST_BUCKETS: [u8; 65] = first_buckets();

/// Kinds of commands that one turn answers, before memory is asked for to tell them apart.
const KINDS_AT_ONCE: usize = 8;

/// No turn is under way.
const NO_TURN: Mono = Mono(u64::MAX);

/// A command and its level, of those that are timed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asked(u16);

impl Asked {
    /// `None` for a command that is not timed: what is about the server itself.
    pub(crate) fn of(command: &Command<'_>, level: Option<Level>) -> Option<Self> {
        let command = match command {
            Command::Get { .. } => 0,
            Command::GetAndTouch { .. } => 1,
            Command::Store { verb, .. } => match verb {
                StoreVerb::Set => 2,
                StoreVerb::Add => 3,
                StoreVerb::Replace => 4,
                StoreVerb::Append => 5,
                StoreVerb::Prepend => 6,
                StoreVerb::Cas(_) => 7,
            },
            Command::Arithmetic { direction: Direction::Increase, .. } => 8,
            Command::Arithmetic { direction: Direction::Decrease, .. } => 9,
            Command::Touch { .. } => 10,
            Command::Delete { .. } => 11,
            Command::MetaGet(_) => 12,
            Command::MetaSet { .. } => 13,
            Command::MetaDelete(_) => 14,
            Command::MetaArithmetic { .. } => 15,
            Command::FlushAll { .. } | Command::FlushOver { .. } => 16,
            _ => return None,
        };
        let level = match level {
            Some(Level::One) => 0,
            Some(Level::Quorum) => 1,
            Some(Level::All) => 2,
            Some(Level::Count(_)) => 3,
            None => 4,
        };
        Some(Self(command * LEVELS.len() as u16 + level))
    }

    fn kind(self, outcome: Outcome) -> Kind {
        Kind(self.0 * OUTCOMES.len() as u16 + outcome as u16)
    }
}

/// What came of a command: a place in [`OUTCOMES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Something was found, or done.
    Hit,
    /// There was nothing; also a read that too few copies could answer, where that is told as a miss.
    Miss,
    Error,
    /// What there is is not what was asked for: NOT_STORED, EXISTS.
    Refused,
    /// Too few copies took part.
    Unmet,
}

impl Outcome {
    /// What a response tells.
    pub(crate) fn of(response: &Response) -> Self {
        match response {
            Response::Values { values, .. } if values.is_empty() => Self::Miss,
            Response::Blocks(blocks) if blocks.is_empty() => Self::Miss,
            Response::NotFound => Self::Miss,
            Response::NotStored | Response::Exists => Self::Refused,
            Response::Meta(line, None) if line.starts_with(b"EN") || line.starts_with(b"NF") => Self::Miss,
            Response::Meta(line, None) if line.starts_with(b"NS") || line.starts_with(b"EX") => Self::Refused,
            Response::ServerError(text) if text.starts_with("quorum not reached") => Self::Unmet,
            Response::ServerError(_) | Response::Failed(_) => Self::Error,
            _ => Self::Hit,
        }
    }
}

impl From<Upshot> for Outcome {
    fn from(upshot: Upshot) -> Self {
        match upshot {
            Upshot::Hit => Self::Hit,
            Upshot::Miss => Self::Miss,
            Upshot::Error => Self::Error,
        }
    }
}

/// A command, its level and what came of it: a place among all histograms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Kind(u16);

/// How many kinds there are: what bounds the series.
const KINDS: usize = COMMANDS.len() * LEVELS.len() * OUTCOMES.len();

/// The histograms of one worker; only its thread adds to them.
#[derive(Debug)]
pub(crate) struct Latencies {
    each: Box<[Histogram]>,
}

#[derive(Debug, Default)]
struct Histogram {
    /// By bucket; the last one has no bound.
    counts: [Counter; BOUNDS_US.len() + 1],
    sum_us: Counter,
}

/// One histogram, summed up over all workers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Summed {
    pub(crate) command: &'static str,
    pub(crate) level: &'static str,
    pub(crate) outcome: &'static str,
    /// By bucket; the last one has no bound.
    pub(crate) counts: [u64; BOUNDS_US.len() + 1],
    pub(crate) sum_us: u64,
}

const fn first_buckets() -> [u8; 65] {
    let mut first = [0; 65];
    let (mut bits, mut bucket) = (1, 0);
    while bits <= 64 {
        while bucket < BOUNDS_US.len() && BOUNDS_US[bucket] < 1 << (bits - 1) {
            bucket += 1;
        }
        first[bits] = bucket as u8;
        bits += 1;
    }
    first
}

/// The bucket of a time.
fn bucket_of(us: u64) -> usize {
    let bits = u64::BITS - us.leading_zeros();
    let mut bucket = usize::from(FIRST_BUCKETS[bits as usize]);
    while BOUNDS_US.get(bucket).is_some_and(|bound| us > *bound) {
        bucket += 1;
    }
    bucket
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self { each: (0..KINDS).map(|_| Histogram::default()).collect() }
    }

    fn add(&self, kind: Kind, us: u64, count: u64) {
        let histogram = &self.each[usize::from(kind.0)];
        histogram.counts[bucket_of(us)].add(count);
        histogram.sum_us.add(us * count);
    }

    /// Those that are not empty, of all workers together.
    pub(crate) fn sums(workers: &[Arc<Self>]) -> Vec<Summed> {
        let mut sums = Vec::new();
        for kind in 0..KINDS {
            let (rest, outcome) = (kind / OUTCOMES.len(), kind % OUTCOMES.len());
            let mut sum = Summed {
                command: COMMANDS[rest / LEVELS.len()],
                level: LEVELS[rest % LEVELS.len()],
                outcome: OUTCOMES[outcome],
                ..Summed::default()
            };
            for histogram in workers.iter().map(|worker| &worker.each[kind]) {
                for (total, count) in sum.counts.iter_mut().zip(&histogram.counts) {
                    *total += count.value();
                }
                sum.sum_us += histogram.sum_us.value();
            }
            if sum.counts.iter().any(|count| *count > 0) {
                sums.push(sum);
            }
        }
        sums
    }
}

/// A worker's.
pub(crate) struct Stopwatch {
    /// `None` measures nothing.
    latencies: Option<Arc<Latencies>>,
    /// When the turn began that is under way.
    turn: Cell<Mono>,
    /// What was answered in it last, and how often in a row: those that come together are mostly alike.
    last: Cell<(Kind, u32)>,
    /// What was answered before that, if anything was.
    has_before: Cell<bool>,
    before: RefCell<SmallVec<[(Kind, u32); KINDS_AT_ONCE]>>,
}

impl Stopwatch {
    pub(crate) fn new(latencies: Option<Arc<Latencies>>) -> Self {
        let (turn, last) = (Cell::new(NO_TURN), Cell::new((Kind(0), 0)));
        Self { latencies, turn, last, has_before: Cell::new(false), before: RefCell::default() }
    }

    /// Whether anything is measured.
    pub(crate) fn is_on(&self) -> bool {
        self.latencies.is_some()
    }

    /// A client's commands are run, as of this moment.
    pub(crate) fn begin_turn(&self, now: Mono) {
        self.turn.set(now);
    }

    /// They have run as far as they can: what was answered has taken until now.
    pub(crate) fn end_turn(&self, now: impl FnOnce() -> Mono) {
        let begun = self.turn.replace(NO_TURN);
        let (kind, count) = self.last.get();
        if count == 0 {
            return;
        }
        let Some(latencies) = &self.latencies else { return };
        let us = now().0.saturating_sub(begun.0);
        latencies.add(kind, us, count.into());
        self.last.set((kind, 0));
        if self.has_before.replace(false) {
            self.before.borrow_mut().drain(..).for_each(|(kind, count)| latencies.add(kind, us, count.into()));
        }
    }

    /// A command was answered by the node alone, in the turn that is under way.
    #[inline]
    pub(crate) fn answered_alone(&self, command: &Command<'_>, answered: Answered) {
        if self.is_on()
            && let Some(asked) = Asked::of(command, answered.level)
        {
            self.note(asked.kind(answered.upshot.into()));
        }
    }

    /// A command that was begun at `begun` is answered now.
    pub(crate) fn answered(&self, asked: Option<Asked>, outcome: Outcome, begun: Mono, now: Mono) {
        let (Some(latencies), Some(asked)) = (&self.latencies, asked) else { return };
        let kind = asked.kind(outcome);
        if self.turn.get() == begun {
            self.note(kind);
        } else {
            latencies.add(kind, now.0.saturating_sub(begun.0), 1);
        }
    }

    #[inline]
    fn note(&self, kind: Kind) {
        let (last, count) = self.last.get();
        if last == kind || count == 0 {
            self.last.set((kind, count + 1));
        } else {
            self.note_before(last, count);
            self.last.set((kind, 1));
        }
    }

    fn note_before(&self, kind: Kind, count: u32) {
        self.has_before.set(true);
        let mut before = self.before.borrow_mut();
        match before.iter_mut().rev().find(|(known, _)| *known == kind) {
            Some((_, known)) => *known += count,
            None => before.push((kind, count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command<'static> {
        Command::Delete { key: b"k", quiet: false }
    }

    fn told(latencies: &Arc<Latencies>) -> Vec<(String, Vec<u64>, u64)> {
        let tell = |sum: Summed| {
            let name = format!("{} {} {}", sum.command, sum.level, sum.outcome);
            (name, sum.counts.to_vec(), sum.sum_us)
        };
        Latencies::sums(&[Arc::clone(latencies), Arc::new(Latencies::new())]).into_iter().map(tell).collect()
    }

    fn counts(of: &[(usize, u64)]) -> Vec<u64> {
        let mut counts = vec![0; BOUNDS_US.len() + 1];
        for (bucket, count) in of {
            counts[*bucket] = *count;
        }
        counts
    }

    #[test]
    fn a_time_is_in_the_first_bucket_that_holds_it() {
        let edges = BOUNDS_US.iter().flat_map(|bound| [bound - 1, *bound, bound + 1]);
        let powers = (0..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        for us in edges.chain(powers).chain([u64::MAX]) {
            let expected = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BOUNDS_US.len());
            assert_eq!(bucket_of(us), expected, "{us}");
        }
    }

    #[test]
    fn what_one_turn_answers_shares_its_end() {
        let latencies = Arc::new(Latencies::new());
        let watch = Stopwatch::new(Some(Arc::clone(&latencies)));
        watch.begin_turn(Mono(1000));
        for upshot in [Upshot::Hit, Upshot::Miss, Upshot::Hit] {
            watch.answered_alone(&command(), Answered { upshot, level: Some(Level::One) });
        }
        let asked = Asked::of(&command(), Some(Level::One));
        watch.answered(asked, Outcome::Hit, Mono(1000), Mono(1000));
        watch.answered_alone(&Command::MetaNoop, Answered { upshot: Upshot::Hit, level: None });
        watch.end_turn(|| Mono(1051));
        let (hits, misses) = (counts(&[(1, 3)]), counts(&[(1, 1)]));
        let expected = [("delete one hit".to_owned(), hits, 153), ("delete one miss".to_owned(), misses, 51)];
        assert_eq!(told(&latencies), expected);
        watch.begin_turn(Mono(2000));
        watch.end_turn(|| panic!("nothing was answered: the clock need not be read"));
    }

    #[test]
    fn what_waits_for_others_has_its_own_time() {
        let latencies = Arc::new(Latencies::new());
        let watch = Stopwatch::new(Some(Arc::clone(&latencies)));
        let asked = Asked::of(&command(), None);
        watch.answered(asked, Outcome::Unmet, Mono(1000), Mono(1050));
        watch.begin_turn(Mono(11_001_001));
        watch.answered(asked, Outcome::Unmet, Mono(1000), Mono(11_001_001));
        watch.end_turn(|| panic!("nothing of this turn was answered"));
        let expected = [("delete none unmet".to_owned(), counts(&[(0, 1), (17, 1)]), 11_000_051)];
        assert_eq!(told(&latencies), expected);
    }

    #[test]
    fn off_it_measures_nothing() {
        let watch = Stopwatch::new(None);
        watch.begin_turn(Mono(0));
        watch.answered_alone(&command(), Answered { upshot: Upshot::Hit, level: None });
        watch.answered(Asked::of(&command(), None), Outcome::Hit, Mono(0), Mono(0));
        watch.end_turn(|| panic!("the clock need not be read"));
        assert!(!watch.is_on());
    }

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        let mut places: Vec<u16> = Vec::new();
        let (flush, level) = (Command::FlushAll { exptime: None, quiet: false }, None);
        for (command, level) in [(command(), Some(Level::One)), (flush, level)] {
            let asked = Asked::of(&command, level).expect("it is timed");
            for outcome in [Outcome::Hit, Outcome::Miss, Outcome::Error, Outcome::Refused, Outcome::Unmet] {
                places.push(asked.kind(outcome).0);
            }
        }
        places.sort_unstable();
        places.dedup();
        assert_eq!((places.len(), usize::from(places[9])), (10, KINDS - 1));
    }
}
