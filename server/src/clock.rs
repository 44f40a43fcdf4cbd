//! The one place that reads clocks.
//!
//! Must not know what time is used for. The wall clock is read once, at the start; from then on time is that reading
//! plus what the monotonic clock has counted, so that a wall clock set back or forth changes nothing in a running node.
//! What of that is cluster time, the engine says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memring_engine::now::{ClusterTime, Mono, Now};
use memring_protocol::entry::UnixMillis;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

/// Both clocks of this process. A copy reads the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// What the monotonic clock showed then, in microseconds.
    start_us: u64,
    wall_at_start: UnixMillis,
    /// Lives as long as the process, as its clocks do.
    cluster: &'static Cluster,
}

/// Cluster time, as all threads count it.
#[derive(Debug)]
struct Cluster {
    /// The base while it runs at full speed, which is nearly always; 0 while it is slowed.
    steady_base: AtomicU64,
    slowed: Mutex<ClusterTime>,
}

impl Clock {
    /// Starts counting: once a process.
    #[expect(clippy::disallowed_methods, reason = "this is the module that reads clocks")]
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_at_start = UnixMillis(millis(wall).max(1));
        let cluster = Cluster {
            steady_base: AtomicU64::new(wall_at_start.0),
            slowed: Mutex::new(ClusterTime::of_base(wall_at_start.0)),
        };
        Self { start_us: monotonic_us(), wall_at_start, cluster: Box::leak(Box::new(cluster)) }
    }

    /// Both clocks, now.
    pub(crate) fn now(&self) -> Now {
        self.at(self.mono())
    }

    /// The monotonic clock alone, which is the cheaper one.
    pub(crate) fn mono(&self) -> Mono {
        Mono(monotonic_us().saturating_sub(self.start_us))
    }

    /// From now on cluster time is this.
    pub(crate) fn set_time(&self, time: ClusterTime) {
        // In this order: who sees that it is slowed finds by how much.
        *self.cluster.slowed.lock() = time;
        self.cluster.steady_base.store(time.steady_base().unwrap_or(0), Ordering::Release);
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

    fn at(&self, mono: Mono) -> Now {
        let cluster = match self.cluster.steady_base.load(Ordering::Acquire) {
            0 => self.cluster.slowed.lock().at(mono),
            base => UnixMillis(base.saturating_add(mono.0 / 1000)),
        };
        Now { mono, cluster }
    }
}

/// The clock behind `std::time::Instant`, whose arithmetic costs three times what reading it does: a get reads it twice.
#[expect(clippy::disallowed_methods, reason = "this is the module that reads clocks")]
fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // It counts from the machine's start, and in 64 bits microseconds last for half a million years.
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
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
        let now = clock.at(Mono(1_500_000));
        assert_eq!(now.mono, Mono(1_500_000));
        assert_eq!(now.cluster.0, clock.wall_at_start().0 + 1500);
    }

    #[test]
    fn every_copy_counts_the_time_it_is_given() {
        let clock = Clock::start();
        let (copy, wall) = (clock, clock.wall_at_start().0);
        let shows = |ms: u64| copy.at(Mono(ms * 1000)).cluster.0 - wall;
        let ahead = ClusterTime::of_base(wall + 5000);
        clock.set_time(ahead);
        assert_eq!(shows(1000), 6000);
        let slowed = ahead.moved_to(wall + 4000, Mono(1_000_000));
        clock.set_time(slowed);
        assert_eq!((shows(1100), shows(2100), shows(3100), shows(5000)), (6100, 6600, 7100, 9000));
        clock.set_time(slowed.met(Mono(5_000_000)));
        assert_eq!(shows(6000), 10_000);
    }
}
