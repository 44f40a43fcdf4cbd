//! The one place that reads clocks.
//!
//! Must not know what time is used for. The wall clock is read once, at the start; from then on time is that reading
//! plus what the monotonic clock has counted, so that a wall clock set back or forth changes nothing in a running node.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use memring_engine::now::{Mono, Now};
use memring_protocol::entry::UnixMillis;

/// Both clocks of this process. A copy reads the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    wall_at_start: UnixMillis,
}

impl Clock {
    /// Starts counting: once a process.
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads clocks")]
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), wall_at_start: UnixMillis(millis(wall)) }
    }

    /// Both clocks, now.
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads clocks")]
    pub(crate) fn now(&self) -> Now {
        self.at(Instant::now().saturating_duration_since(self.start))
    }

    /// Wall clock time in microseconds since 1970.
    pub(crate) fn unix_us(&self) -> u64 {
        self.wall_at_start.0.saturating_mul(1000).saturating_add(self.now().mono.0)
    }

    /// The wall clock's reading at the start: the generation of this life of the node.
    pub(crate) fn wall_at_start(&self) -> UnixMillis {
        self.wall_at_start
    }

    /// How long to wait for a moment; zero if it is past.
    pub(crate) fn until(&self, moment: Mono) -> Duration {
        moment.since(self.now().mono)
    }

    fn at(&self, elapsed: Duration) -> Now {
        Now {
            mono: Mono(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)),
            cluster: UnixMillis(self.wall_at_start.0.saturating_add(millis(elapsed))),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_advance_together() {
        let clock = Clock::start();
        let now = clock.at(Duration::from_millis(1500));
        assert_eq!(now.mono, Mono(1_500_000));
        assert_eq!(now.cluster.0, clock.wall_at_start().0 + 1500);
    }
}
