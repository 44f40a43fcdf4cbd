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

/// Cluster time as this process counts it: its monotonic clock and a base. It never runs backwards: where it is ahead of
/// what is right, it runs at half speed until it is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClusterTime {
    /// What it shows at the monotonic clock's zero when it runs at full speed.
    base_ms: u64,
    slowed: Option<Slowed>,
}

/// A time that is ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slowed {
    since: Mono,
    /// The base until then.
    base_ms: u64,
}

/// A time is slowed this long after it was said so: by then no thread reads it as it was before.
const SLOWED_AFTER: Duration = Duration::from_millis(100);

impl ClusterTime {
    /// One that shows `base_ms`, in unix milliseconds, at the monotonic clock's zero.
    pub fn of_base(base_ms: u64) -> Self {
        Self { base_ms, slowed: None }
    }

    /// What it shows.
    pub fn at(self, now: Mono) -> UnixMillis {
        let steady = self.base_ms.saturating_add(millis(now));
        UnixMillis(match self.slowed {
            None => steady,
            Some(slowed) if now < slowed.since => slowed.base_ms.saturating_add(millis(now)),
            Some(slowed) => {
                let since = millis(slowed.since);
                steady.max(slowed.base_ms.saturating_add(since + (millis(now) - since) / 2))
            }
        })
    }

    /// Its base, as it shows now.
    pub fn base(self, now: Mono) -> u64 {
        self.at(now).0.saturating_sub(millis(now))
    }

    /// The base it runs by at full speed; `None` while it is slowed.
    pub fn steady_base(self) -> Option<u64> {
        self.slowed.is_none().then_some(self.base_ms)
    }

    /// The same time, brought to another base: at once if that is later, else as slowly as it must.
    pub fn moved_to(self, base_ms: u64, now: Mono) -> Self {
        let shown = self.base(now);
        match self.met(now) {
            _ if base_ms >= shown => Self::of_base(base_ms),
            Self { slowed: Some(slowed), .. } => Self { base_ms, slowed: Some(slowed) },
            _ => Self { base_ms, slowed: Some(Slowed { since: now.after(SLOWED_AFTER), base_ms: shown }) },
        }
    }

    /// The same time, at full speed if it is right again.
    pub fn met(self, now: Mono) -> Self {
        let is_met = self.slowed.is_some_and(|slowed| now >= slowed.since) && self.base(now) == self.base_ms;
        if is_met { Self::of_base(self.base_ms) } else { self }
    }
}

fn millis(moment: Mono) -> u64 {
    moment.0 / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_moves_forward_at_once_and_back_at_half_speed() {
        let second = |count: u64| Mono(count * 1_000_000);
        let time = ClusterTime::of_base(50_000);
        assert_eq!(time.at(second(3)), UnixMillis(53_000));
        let forward = time.moved_to(60_000, second(3));
        assert_eq!((forward.at(second(3)), forward.steady_base()), (UnixMillis(63_000), Some(60_000)));
        let back = forward.moved_to(58_000, second(4));
        for (ms, shows) in [(4_000, 64_000), (4_100, 64_100), (5_100, 64_600), (8_100, 66_100), (9_000, 67_000)] {
            assert_eq!(back.at(Mono(ms * 1000)), UnixMillis(shows), "after {ms} ms");
        }
        assert_eq!((back.steady_base(), back.met(second(8)).steady_base()), (None, None));
        assert_eq!(back.met(second(9)), ClusterTime::of_base(58_000));
        // Further back, on the way; and forward again.
        let further = back.moved_to(57_000, second(6));
        assert_eq!((further.at(second(6)), further.at(second(7))), (back.at(second(6)), UnixMillis(65_550)));
        assert_eq!(further.moved_to(61_000, second(7)), ClusterTime::of_base(61_000));
    }

    #[test]
    fn no_time_runs_backwards_wherever_it_is_moved() {
        let (mut time, mut shown, mut seed) = (ClusterTime::of_base(1_000_000), UnixMillis(0), 7_u64);
        for step in 0..20_000_u64 {
            let now = Mono(step * 10_000);
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match seed >> 59 {
                0 => time = time.moved_to(1_000_000 + (seed >> 40) % 4_000, now),
                1 => time = time.met(now),
                _ => {}
            }
            assert!(time.at(now) >= shown, "{shown:?}, then {:?} at {now:?}", time.at(now));
            shown = time.at(now);
        }
    }
}
