//! How many requests may be asked a second time: a token bucket, filled by calls and, slowly, by time.
//!
//! Without it clients that repeat what failed multiply the load of servers that fail because of their load (Google's "Site
//! Reliability Engineering", chapter 22). Must not know clocks or calls: both are told as numbers.

use std::time::Duration;

/// What a client may repeat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryBudget {
    /// Repeats for every hundred calls. 10.
    pub percent: u32,
    /// Repeats a second that may be made however few calls there are. 10.
    pub floor_per_second: u32,
    /// Repeats saved up at most, and there at the start. 1,000: all that is on its way to a server that dies is asked again.
    pub saved_max: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 10, floor_per_second: 10, saved_max: 1000 }
    }
}

/// One repeat, in the unit that is counted in: a hundredth of it is what a call at one percent brings.
const REPEAT: u64 = 100;

/// What is left of a budget.
#[derive(Debug)]
pub(crate) struct Budget {
    terms: RetryBudget,
    left: u64,
    calls: u64,
    filled_at: Duration,
}

impl Budget {
    /// All of it.
    pub(crate) fn new(terms: RetryBudget) -> Self {
        Self { terms, left: u64::from(terms.saved_max) * REPEAT, calls: 0, filled_at: Duration::ZERO }
    }

    /// Takes one repeat, if there is one. `now` is the time since some fixed moment, `calls` how many calls there have been
    /// in all.
    pub(crate) fn take(&mut self, now: Duration, calls: u64) -> bool {
        let by_calls = calls.saturating_sub(self.calls).saturating_mul(u64::from(self.terms.percent));
        self.calls = calls;
        let waited_ms = u64::try_from(now.saturating_sub(self.filled_at).as_millis()).unwrap_or(u64::MAX);
        let by_time = waited_ms.saturating_mul(u64::from(self.terms.floor_per_second) * REPEAT) / 1000;
        // What time has brought is too little to be counted yet: it goes on to be waited for.
        if by_time > 0 {
            self.filled_at = now;
        }
        let most = u64::from(self.terms.saved_max) * REPEAT;
        self.left = self.left.saturating_add(by_calls).saturating_add(by_time).min(most);
        match self.left.checked_sub(REPEAT) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: RetryBudget = RetryBudget { percent: 10, floor_per_second: 5, saved_max: 20 };

    fn granted(budget: &mut Budget, tries: usize, at_ms: u64, calls: u64) -> usize {
        (0..tries).filter(|_| budget.take(Duration::from_millis(at_ms), calls)).count()
    }

    #[test]
    fn what_is_saved_is_granted_then_a_share_of_the_calls_then_a_floor() {
        let mut budget = Budget::new(TERMS);
        assert_eq!(granted(&mut budget, 100, 0, 0), 20, "saved up at the start");
        assert_eq!(granted(&mut budget, 100, 0, 90), 9, "a tenth of the calls");
        assert_eq!(granted(&mut budget, 100, 0, 95), 0);
        assert_eq!(granted(&mut budget, 100, 0, 100), 1, "halves add up");
        assert_eq!(granted(&mut budget, 100, 1000, 100), 5, "a second's floor");
        assert_eq!(granted(&mut budget, 100, 1_000_000, 1_000_000), 20, "no more is saved");
    }

    #[test]
    fn a_floor_that_is_asked_for_often_still_fills() {
        let mut budget = Budget::new(TERMS);
        granted(&mut budget, 100, 0, 0);
        let all: usize = (0..2000).map(|at_ms| granted(&mut budget, 1, at_ms, 0)).sum();
        assert!((9..=10).contains(&all), "{all} in two seconds at five a second");
    }

    #[test]
    fn no_budget_repeats_nothing() {
        let mut budget = Budget::new(RetryBudget { percent: 0, floor_per_second: 0, saved_max: 0 });
        assert_eq!(granted(&mut budget, 10, 1_000_000, 1_000_000), 0);
    }
}
