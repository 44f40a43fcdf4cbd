//! The hybrid logical clock of a process: one for all its threads.
//!
//! Must not read a clock: callers pass cluster time. After Kulkarni et al., "Logical Physical Clocks" (2014): a stamp is
//! never below the wall clock, never below anything seen, and never given twice.

use std::sync::atomic::{AtomicU64, Ordering};

use memring_protocol::entry::UnixMillis;
use memring_protocol::version::{Slot, Stamp};

/// Makes stamps that only rise.
///
/// One word for all threads, although every write changes it: stamps tell nodes apart but no threads, so two clocks of one
/// process could give a key the same stamp twice; and a flush, which asks for the latest, must be above every stamp given
/// before and below every one given after. It has a cache line of its own, so that only writes meet there.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct HybridClock {
    latest: AtomicU64,
}

impl HybridClock {
    /// A new stamp for `slot`, above every stamp made or observed, above `floor`, and not before `now`.
    pub fn stamp(&self, now: UnixMillis, slot: Slot, floor: Stamp) -> Stamp {
        let next = |latest: u64| Stamp(latest).max(floor).next(slot).max(Stamp::at(now.0, slot));
        let previous = self
            .latest
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |latest| Some(next(latest).0))
            .expect("the update always gives a value");
        next(previous)
    }

    /// Takes note of a stamp made elsewhere.
    pub fn observe(&self, stamp: Stamp) {
        // One that is no news is worth no locked instruction.
        if self.latest() < stamp {
            self.latest.fetch_max(stamp.0, Ordering::Relaxed);
        }
    }

    /// The highest stamp made or seen.
    pub fn latest(&self) -> Stamp {
        Stamp(self.latest.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_rise_above_time_floor_and_what_was_seen() {
        let (clock, slot) = (HybridClock::default(), Slot::new(5).unwrap());
        let now = UnixMillis(1_800_000_000_000);
        let first = clock.stamp(now, slot, Stamp::ZERO);
        assert_eq!(first.unix_ms(), now.0);
        let second = clock.stamp(UnixMillis(0), slot, Stamp::ZERO);
        assert!(second > first && second.slot() == slot);
        clock.observe(Stamp(second.0 + 5_000_000));
        assert!(clock.stamp(now, slot, Stamp::ZERO).0 > second.0 + 5_000_000);
        let floor = Stamp(clock.latest().0 + (1 << 40));
        assert!(clock.stamp(now, slot, floor) > floor);
    }
}
