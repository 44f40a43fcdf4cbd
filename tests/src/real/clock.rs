//! Reads the clock and waits: real processes take real time.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Ends after a time.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(u64);

impl Deadline {
    /// Over in so long.
    pub fn after(time: Duration) -> Self {
        Self(now_us() + time.as_micros() as u64)
    }

    /// Whether it is over.
    pub fn is_over(self) -> bool {
        now_us() >= self.0
    }
}

/// Microseconds since this process first asked: the clock of all histories.
#[expect(clippy::disallowed_methods, reason = "a history of real processes has real times")]
pub fn now_us() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_micros() as u64
}

/// Seconds since a moment of [`now_us`].
pub fn seconds_since(begin_us: u64) -> f64 {
    (now_us() - begin_us) as f64 / 1e6
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "a fault lasts its time, and a state that is polled needs a pause")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Asks again and again until `wanted` has an answer; after `most` its last reason why not.
pub fn wait_for<T>(most: Duration, mut wanted: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let deadline = Deadline::after(most);
    loop {
        match wanted() {
            Ok(answer) => return Ok(answer),
            Err(why) if deadline.is_over() => return Err(format!("not within {} s: {why}", most.as_secs())),
            Err(_) => pause(Duration::from_millis(20)),
        }
    }
}
