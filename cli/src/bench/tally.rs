//! What is counted and timed: by a thread over a second, and put together.
//!
//! Must not know clocks, sockets or how figures are shown.

use hdrhistogram::Histogram;

use super::replies::{Outcome, Waiting};
use super::schedule::Timeline;
use super::workload::Request;

/// Latencies are in nanoseconds, told apart from 64 ns on, with three digits …
const LATENCY_MIN_NS: u64 = 100;

/// … up to a minute; what takes longer counts as a minute.
const LATENCY_MAX_NS: u64 = 60_000_000_000;

const LATENCY_DIGITS: u8 = 3;

/// The longest words of a server that are kept.
const WORDS_BYTES_MAX: usize = 200;

/// Why a request was not answered as it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ErrorKind {
    /// A broken connection could not be made again: one for each try.
    Connect,
    /// It was due when no connection was there.
    Unsent,
    /// The connection broke before the answer.
    Lost,
    /// No answer came in time.
    Timeout,
    /// `ERROR` or `CLIENT_ERROR`.
    Refused,
    /// `SERVER_ERROR`.
    Failed,
    /// Another answer than was due.
    Protocol,
}

impl ErrorKind {
    pub(super) const ALL: [Self; 7] =
        [Self::Connect, Self::Unsent, Self::Lost, Self::Timeout, Self::Refused, Self::Failed, Self::Protocol];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Unsent => "unsent",
            Self::Lost => "lost",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Protocol => "protocol",
        }
    }
}

/// Counts.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Tally {
    /// Gets and sets that were answered as they should.
    pub(super) gets: u64,
    pub(super) sets: u64,
    /// Keys of these gets that had a value, and that had none.
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) errors: [u64; ErrorKind::ALL.len()],
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    /// What a server said when it first refused or failed.
    pub(super) words: Option<String>,
}

impl Tally {
    pub(super) fn operations(&self) -> u64 {
        self.gets + self.sets
    }

    pub(super) fn errors(&self) -> u64 {
        self.errors.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        self.gets += other.gets;
        self.sets += other.sets;
        self.hits += other.hits;
        self.misses += other.misses;
        self.errors.iter_mut().zip(other.errors).for_each(|(sum, count)| *sum += count);
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.words = self.words.take().or_else(|| other.words.clone());
    }
}

/// How long gets and sets took.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Latencies {
    pub(super) gets: Histogram<u64>,
    pub(super) sets: Histogram<u64>,
}

impl Latencies {
    fn new() -> Self {
        let none = Histogram::new_with_bounds(LATENCY_MIN_NS, LATENCY_MAX_NS, LATENCY_DIGITS).expect("legal bounds");
        Self { gets: none.clone(), sets: none }
    }

    fn record(&mut self, request: Request, nanos: u64) {
        match request {
            Request::Get { .. } => self.gets.saturating_record(nanos),
            Request::Set => self.sets.saturating_record(nanos),
        }
    }

    fn add(&mut self, other: &Self) {
        self.gets.add(&other.gets).expect("the same bounds");
        self.sets.add(&other.sets).expect("the same bounds");
    }

    /// Gets and sets together.
    pub(super) fn all(&self) -> Histogram<u64> {
        let mut all = self.gets.clone();
        all.add(&self.sets).expect("the same bounds");
        all
    }
}

/// What happened in a stretch of time.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Interval {
    pub(super) tally: Tally,
    /// From when a request was sent to its answer.
    pub(super) from_sent: Latencies,
    /// From when it was due, where that is another time.
    pub(super) from_due: Option<Latencies>,
}

impl Interval {
    pub(super) fn new(has_due_times: bool) -> Self {
        Self { tally: Tally::default(), from_sent: Latencies::new(), from_due: has_due_times.then(Latencies::new) }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        self.from_sent.add(&other.from_sent);
        if let (Some(sum), Some(other)) = (&mut self.from_due, &other.from_due) {
            sum.add(other);
        }
    }

    /// What a client feels: from when a request was due, if it was due at a time.
    pub(super) fn felt(&self) -> &Latencies {
        self.from_due.as_ref().unwrap_or(&self.from_sent)
    }
}

/// One thread's record.
#[derive(Debug)]
pub(super) struct Recorder {
    timeline: Timeline,
    interval: Interval,
    second: u32,
    /// When the last answer that counts came.
    pub(super) last_answer: u64,
}

impl Recorder {
    pub(super) fn new(timeline: Timeline, has_due_times: bool) -> Self {
        Self { timeline, interval: Interval::new(has_due_times), second: 0, last_answer: 0 }
    }

    /// An answer has come.
    pub(super) fn answered(&mut self, waiting: Waiting, outcome: Outcome<'_>, now: u64) {
        if !self.timeline.counts(waiting.due) {
            return;
        }
        self.last_answer = now;
        let tally = &mut self.interval.tally;
        match (outcome, waiting.request) {
            (Outcome::Values { hits }, Request::Get { keys }) => {
                tally.gets += 1;
                tally.hits += u64::from(hits);
                tally.misses += u64::from(keys.saturating_sub(hits));
            }
            (Outcome::Stored, Request::Set) => tally.sets += 1,
            (Outcome::Refused(words), _) => return self.said(ErrorKind::Refused, words),
            (Outcome::Failed(words), _) => return self.said(ErrorKind::Failed, words),
            (Outcome::Values { .. }, Request::Set) | (Outcome::Stored, Request::Get { .. }) => {
                return self.failed(ErrorKind::Protocol, waiting.due);
            }
        }
        self.interval.from_sent.record(waiting.request, now.saturating_sub(waiting.sent));
        if let Some(from_due) = &mut self.interval.from_due {
            from_due.record(waiting.request, now.saturating_sub(waiting.due));
        }
    }

    fn said(&mut self, kind: ErrorKind, words: &[u8]) {
        self.interval.tally.errors[kind as usize] += 1;
        let words = &words[..words.len().min(WORDS_BYTES_MAX)];
        self.interval.tally.words.get_or_insert_with(|| words.escape_ascii().to_string());
    }

    /// What was due at this time got no answer.
    pub(super) fn failed(&mut self, kind: ErrorKind, due: u64) {
        if self.timeline.counts(due) {
            self.interval.tally.errors[kind as usize] += 1;
        }
    }

    pub(super) fn moved(&mut self, sent: usize, received: usize, now: u64) {
        if self.timeline.counts(now) {
            self.interval.tally.bytes_sent += sent as u64;
            self.interval.tally.bytes_received += received as u64;
        }
    }

    /// The next second that is complete, oldest first, if one is.
    pub(super) fn next_complete(&mut self, now: u64) -> Option<(u32, Interval)> {
        (self.timeline.second(now) > self.second).then(|| {
            let complete = self.take();
            self.second += 1;
            complete
        })
    }

    /// Nothing counts from now on but what is on its way.
    pub(super) fn ends_at(&mut self, now: u64) {
        self.timeline.ends_at = Some(self.timeline.ends_at.map_or(now, |end| end.min(now)));
    }

    /// What is left at the end.
    pub(super) fn take(&mut self) -> (u32, Interval) {
        let next = Interval::new(self.interval.from_due.is_some());
        (self.second, std::mem::replace(&mut self.interval, next))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn get(keys: u16, due: u64, sent: u64) -> Waiting {
        Waiting { request: Request::Get { keys }, due, sent }
    }

    fn set(due: u64) -> Waiting {
        Waiting { request: Request::Set, due, sent: due }
    }

    #[test]
    fn answers_are_counted_and_timed_from_both_times() {
        let mut recorder = Recorder::new(Timeline::new(Duration::from_secs(1), None), true);
        recorder.answered(get(1, SECOND - 1, SECOND), Outcome::Values { hits: 1 }, SECOND + 5);
        recorder.answered(get(3, SECOND, SECOND + 40_000), Outcome::Values { hits: 2 }, SECOND + 100_000);
        recorder.answered(set(SECOND), Outcome::Stored, SECOND + 20_000);
        recorder.answered(set(SECOND), Outcome::Failed(b"quorum\xff"), SECOND + 20_000);
        recorder.answered(set(SECOND), Outcome::Refused(b"later"), SECOND + 20_000);
        recorder.answered(set(SECOND), Outcome::Values { hits: 0 }, SECOND + 20_000);
        recorder.failed(ErrorKind::Lost, SECOND - 1);
        recorder.failed(ErrorKind::Timeout, SECOND);
        let (_, interval) = recorder.take();
        let tally = &interval.tally;
        assert_eq!((tally.gets, tally.sets, tally.hits, tally.misses), (1, 1, 2, 1));
        assert_eq!((tally.operations(), tally.errors(), tally.errors), (2, 4, [0, 0, 0, 1, 1, 1, 1]));
        assert_eq!(tally.words.as_deref(), Some("quorum\\xff"));
        let max = |latencies: &Latencies| (latencies.gets.max() / 1000, latencies.sets.max() / 1000);
        assert_eq!(max(&interval.from_sent), (60, 20));
        assert_eq!(interval.from_due.as_ref().map(max), Some((100, 20)));
        assert_eq!(interval.felt().all().len(), 2);
    }

    #[test]
    fn every_second_is_handed_over_once_and_in_order() {
        let mut recorder = Recorder::new(Timeline::new(Duration::ZERO, None), false);
        recorder.answered(set(0), Outcome::Stored, 10);
        assert!(recorder.next_complete(SECOND - 1).is_none());
        let complete: Vec<(u32, u64)> = std::iter::from_fn(|| recorder.next_complete(3 * SECOND))
            .map(|(second, interval)| (second, interval.tally.sets))
            .collect();
        assert_eq!(complete, [(0, 1), (1, 0), (2, 0)]);
        recorder.answered(set(3 * SECOND), Outcome::Stored, 3 * SECOND + 1);
        recorder.ends_at(3 * SECOND + 2);
        // What comes late belongs to the last second.
        assert!(recorder.next_complete(9 * SECOND).is_none());
        let (second, interval) = recorder.take();
        assert_eq!((second, interval.tally.sets, recorder.last_answer), (3, 1, 3 * SECOND + 1));
    }

    #[test]
    fn intervals_add_up() {
        let timeline = Timeline::new(Duration::ZERO, None);
        let (mut one, mut other) = (Recorder::new(timeline, true), Recorder::new(timeline, true));
        one.answered(get(1, 0, 0), Outcome::Values { hits: 0 }, 1_000_000);
        other.answered(get(1, 0, 0), Outcome::Values { hits: 1 }, 3_000_000);
        other.answered(set(0), Outcome::Failed(b"no"), 1);
        other.moved(7, 8, 1);
        let mut sum = Interval::new(true);
        sum.add(&one.take().1);
        sum.add(&other.take().1);
        let Tally { gets, hits, misses, bytes_sent, bytes_received, words, .. } = &sum.tally;
        assert_eq!((*gets, *hits, *misses, *bytes_sent, *bytes_received), (2, 1, 1, 7, 8));
        assert_eq!((words.as_deref(), sum.tally.errors()), (Some("no"), 1));
        assert_eq!((sum.felt().gets.len(), sum.felt().gets.max() / 100_000), (2, 30));
    }

    #[test]
    fn what_takes_longer_than_a_minute_counts_as_a_minute() {
        let mut latencies = Latencies::new();
        latencies.record(Request::Set, u64::MAX);
        assert!(latencies.sets.max() >= LATENCY_MAX_NS);
    }
}
