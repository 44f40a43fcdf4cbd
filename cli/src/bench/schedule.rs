//! When what is due, and which part of a load counts: numbers of nanoseconds since its start.
//!
//! Must not know clocks or connections.

use std::time::Duration;

const NANOS: u64 = 1_000_000_000;

/// How many seconds a series may have; what comes later is added to the last.
pub(super) const SERIES_MAX: u32 = 24 * 60 * 60;

/// The times at which requests of one thread are due: every thread's together are evenly spaced.
#[derive(Clone, Debug)]
pub(super) struct Arrivals {
    /// Requests a second, of all threads.
    rate: u64,
    step: u64,
    next: u64,
}

impl Arrivals {
    /// Those of a thread, of so many.
    pub(super) fn new(rate: u64, thread: u64, threads: u64) -> Self {
        Self { rate, step: threads, next: thread }
    }

    /// When the next request is due.
    pub(super) fn due(&self) -> u64 {
        (u128::from(self.next) * u128::from(NANOS) / u128::from(self.rate)) as u64
    }

    /// The next one has been dealt with.
    pub(super) fn advance(&mut self) {
        self.next += self.step;
    }
}

/// What part of a load counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timeline {
    /// What is due earlier does not count.
    pub(super) counts_from: u64,
    /// Nothing is sent from here on, if that is known.
    pub(super) ends_at: Option<u64>,
}

impl Timeline {
    pub(super) fn new(warm_up: Duration, length: Option<Duration>) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let counts_from = nanos(warm_up);
        Self { counts_from, ends_at: length.map(|length| counts_from.saturating_add(nanos(length))) }
    }

    pub(super) fn counts(&self, due: u64) -> bool {
        due >= self.counts_from
    }

    pub(super) fn is_over(&self, now: u64) -> bool {
        self.ends_at.is_some_and(|end| now >= end)
    }

    /// Which second of the series something belongs to that was answered at this time. Answers that come after the end
    /// belong to its last second.
    pub(super) fn second(&self, now: u64) -> u32 {
        let within = |time: u64| (time.saturating_sub(self.counts_from) / NANOS).min(u64::from(SERIES_MAX - 1)) as u32;
        let last = self.ends_at.map_or(u32::MAX, |end| within(end.saturating_sub(1)));
        within(now).min(last)
    }
}

/// A share of `whole` for one of several, so that all of it is dealt out.
pub(super) fn share(whole: u64, part: u64, parts: u64) -> u64 {
    whole / parts + u64::from(part < whole % parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_threads_together_keep_the_rate() {
        let mut due = Vec::new();
        for thread in 0..3 {
            let mut arrivals = Arrivals::new(20_000, thread, 3);
            while arrivals.due() < NANOS {
                due.push(arrivals.due());
                arrivals.advance();
            }
        }
        due.sort_unstable();
        assert_eq!(due.len(), 20_000);
        assert!(due.windows(2).all(|pair| pair[1] - pair[0] == 50_000));
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        let mut arrivals = Arrivals::new(3, 0, 1);
        let mut due = || {
            arrivals.advance();
            arrivals.due()
        };
        assert_eq!([due(), due(), due()], [333_333_333, 666_666_666, NANOS]);
        // After thirty years at a million a second.
        let far = Arrivals { rate: 1_000_000, step: 1, next: 1_000_000 * 1_000_000_000 };
        assert_eq!(far.due(), 1_000_000_000 * NANOS);
    }

    #[test]
    fn only_what_is_due_after_the_warm_up_counts() {
        let timeline = Timeline::new(Duration::from_secs(1), Some(Duration::from_millis(2500)));
        assert!(!timeline.counts(NANOS - 1) && timeline.counts(NANOS));
        assert!(!timeline.is_over(3 * NANOS) && timeline.is_over(3 * NANOS + NANOS / 2));
        let seconds = [0, NANOS, 2 * NANOS - 1, 2 * NANOS, 3 * NANOS, 9 * NANOS].map(|now| timeline.second(now));
        assert_eq!(seconds, [0, 0, 0, 1, 2, 2]);
        let endless = Timeline::new(Duration::ZERO, None);
        assert!(!endless.is_over(u64::MAX) && endless.second(u64::MAX) == SERIES_MAX - 1);
        // A whole number of seconds has no second beyond it.
        assert_eq!(Timeline::new(Duration::ZERO, Some(Duration::from_secs(2))).second(2 * NANOS), 1);
    }

    #[test]
    fn shares_add_up() {
        assert_eq!([0, 1, 2].map(|part| share(11, part, 3)), [4, 4, 3]);
        assert_eq!([0, 1].map(|part| share(1, part, 2)), [1, 0]);
    }
}
