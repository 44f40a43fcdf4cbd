//! Reads the clock and waits: for limits of time, never for what is measured.

use std::time::{Duration, Instant};

/// Ends after a time.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    pub(crate) fn after(time: Duration) -> Self {
        Self(now() + time)
    }

    pub(crate) fn is_over(self) -> bool {
        now() >= self.0
    }
}

/// Since when something goes on.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(now())
    }

    pub(crate) fn seconds(&self) -> f64 {
        (now() - self.0).as_secs_f64()
    }
}

#[expect(clippy::disallowed_methods, reason = "a program of its own that waits for other processes")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, whose runs are bounded in time")]
fn now() -> Instant {
    Instant::now()
}
