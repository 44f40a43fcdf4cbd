//! Whether a server is to be asked: a circuit breaker with hysteresis.
//!
//! Opens at once where no connection comes about, and after several calls in a row that were not answered. While it is open
//! callers go elsewhere, and trials of the client's own find out whether the server is back: several must succeed in a row
//! before it closes, and each one that fails makes the next one come later, at a random moment. How long it waits is
//! forgotten only when it has stayed closed for a while, so a server that flaps is let back ever later. Must not know
//! clocks, connections or calls: `now` and chance are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// Calls in a row without an answer that open it: one slow reply is no failure of the server.
const SILENT_CALLS_MAX: u32 = 5;

/// Trials in a row that must succeed: one lucky answer is no return.
const TRIALS_TO_CLOSE: u32 = 3;

/// Between a trial that succeeded and the next.
const NEXT_TRIAL_AFTER: Duration = Duration::from_millis(20);

/// The first wait; each further one in a row is twice as long.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// The longest wait, so that a server that is back is found within some seconds.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// After so long without a failure earlier ones are forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(30);

/// What a server did wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failure {
    /// No connection came about.
    Unreachable,
    /// A call was not answered in its time.
    Silent,
}

/// The breaker of one server.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    /// Times in a row that it was opened, or a trial failed.
    opened: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The server is asked.
    Closed { silent_calls: u32, since: Option<Instant> },
    /// It is not; a trial is due then.
    Open { trial_at: Instant, succeeded: u32 },
}

impl Breaker {
    /// Closed: a server is trusted until it fails.
    pub(crate) fn new() -> Self {
        Self { state: State::Closed { silent_calls: 0, since: None }, opened: 0 }
    }

    /// Whether callers may ask the server.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// When the next trial is due; `None` if none is.
    pub(crate) fn trial_at(&self) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { trial_at, .. } => Some(trial_at),
        }
    }

    /// A call, or a trial, was answered.
    pub(crate) fn on_success(&mut self, now: Instant) {
        self.state = match self.state {
            State::Closed { since, .. } => State::Closed { silent_calls: 0, since },
            State::Open { succeeded, .. } if succeeded + 1 >= TRIALS_TO_CLOSE => {
                State::Closed { silent_calls: 0, since: Some(now) }
            }
            State::Open { succeeded, .. } => State::Open { trial_at: now + NEXT_TRIAL_AFTER, succeeded: succeeded + 1 },
        };
    }

    /// A call, or a trial, failed. `chance` is random, from 0 to 1.
    pub(crate) fn on_failure(&mut self, failure: Failure, now: Instant, chance: f64) {
        // A call that was on its way when it opened says nothing new.
        if self.trial_at().is_some_and(|trial_at| now < trial_at) {
            return;
        }
        if let State::Closed { silent_calls, since } = self.state {
            if since.is_some_and(|since| now.duration_since(since) >= FORGET_AFTER) {
                self.opened = 0;
            }
            if failure == Failure::Silent && silent_calls + 1 < SILENT_CALLS_MAX {
                self.state = State::Closed { silent_calls: silent_calls + 1, since };
                return;
            }
        }
        let wait = WAIT_MIN.saturating_mul(1 << self.opened.min(16)).min(WAIT_MAX);
        self.opened += 1;
        // Half of it is left to chance, so that many clients do not come back at the same moment.
        self.state = State::Open { trial_at: now + wait.mul_f64(0.5 + chance / 2.0), succeeded: 0 };
    }

    /// Whether something is remembered that a success would change.
    pub(crate) fn is_troubled(&self) -> bool {
        !matches!(self.state, State::Closed { silent_calls: 0, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps: milliseconds since the last one, what happens, and whether it is closed afterwards.
    fn check(steps: &[(u64, &str, bool)]) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new();
        for (number, (after_ms, what, closed)) in steps.iter().enumerate() {
            now += Duration::from_millis(*after_ms);
            match *what {
                "success" => breaker.on_success(now),
                "silent" => breaker.on_failure(Failure::Silent, now, 1.0),
                "unreachable" => breaker.on_failure(Failure::Unreachable, now, 1.0),
                other => panic!("{other}"),
            }
            assert_eq!(breaker.is_closed(), *closed, "step {number}: {what}");
        }
    }

    #[test]
    fn it_opens_at_once_when_nobody_is_there_and_late_when_a_call_is_slow() {
        check(&[(0, "success", true), (0, "unreachable", false)]);
        let slow = [(0, "silent", true); 4];
        check(&[&slow[..], &[(0, "silent", false)]].concat());
        check(&[&slow[..], &[(0, "success", true)], &slow[..], &[(0, "silent", false)]].concat());
    }

    #[test]
    fn it_closes_after_three_trials_in_a_row() {
        check(&[
            (0, "unreachable", false),
            (100, "success", false),
            (20, "success", false),
            (20, "unreachable", false),
            (200, "success", false),
            (20, "success", false),
            (20, "success", true),
            (0, "silent", true),
        ]);
    }

    #[test]
    fn each_failure_in_a_row_makes_the_next_trial_later_and_chance_spreads_them() {
        let waits = |chance: f64, failures: usize| {
            let (mut breaker, mut now) = (Breaker::new(), Instant::now());
            let wait = |_| {
                breaker.on_failure(Failure::Unreachable, now, chance);
                let trial_at = breaker.trial_at().expect("it is open");
                let waited = trial_at.duration_since(now).as_millis();
                now = trial_at;
                waited
            };
            (0..failures).map(wait).collect::<Vec<_>>()
        };
        assert_eq!(waits(1.0, 8), [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(waits(0.0, 8), [50, 100, 200, 400, 800, 1600, 2500, 2500]);
        assert_eq!(waits(1.0, 100)[99], 5000);
    }

    #[test]
    fn a_server_that_flaps_is_let_back_later_and_one_that_stays_is_forgiven() {
        let back_after = |stays: Duration| {
            let (mut breaker, now) = (Breaker::new(), Instant::now());
            breaker.on_failure(Failure::Unreachable, now, 1.0);
            (0..TRIALS_TO_CLOSE).for_each(|_| breaker.on_success(now));
            assert!(breaker.is_closed() && breaker.trial_at().is_none());
            breaker.on_failure(Failure::Unreachable, now + stays, 1.0);
            breaker.trial_at().expect("it is open").duration_since(now + stays)
        };
        assert_eq!(back_after(Duration::from_secs(1)), 2 * WAIT_MIN);
        assert_eq!(back_after(FORGET_AFTER), WAIT_MIN);
    }

    #[test]
    fn calls_that_end_while_it_is_open_do_not_put_the_trial_off() {
        let (mut breaker, now) = (Breaker::new(), Instant::now());
        breaker.on_failure(Failure::Unreachable, now, 1.0);
        let trial_at = breaker.trial_at();
        (0..10).for_each(|_| breaker.on_failure(Failure::Silent, now + WAIT_MIN / 2, 1.0));
        assert_eq!(breaker.trial_at(), trial_at);
    }

    #[test]
    fn trouble_is_what_a_success_would_change() {
        let (mut breaker, now) = (Breaker::new(), Instant::now());
        assert!(!breaker.is_troubled());
        breaker.on_failure(Failure::Silent, now, 0.0);
        assert!(breaker.is_troubled());
        breaker.on_success(now);
        assert!(!breaker.is_troubled());
    }
}
