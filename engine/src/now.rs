//! Time as the engine sees it: an argument.
//!
//! Must not read a clock. The server reads them once a turn and hands the readings in; a simulator makes them up.

use std::time::Duration;

use memring_protocol::entry::UnixMillis;

/// A moment on this process's monotonic clock: microseconds since it started.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// The moment `wait` later; stops at the end of time.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// For waiting: never goes back.
    pub mono: Mono,
    /// For stamps, expiry and flush: the cluster's agreed time.
    pub cluster: UnixMillis,
}
