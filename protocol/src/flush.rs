//! The flush state of a node, which travels in pings, pages and commits.
//!
//! Must not know how a flush is agreed on (the node) or applied (the store).

use serde::{Deserialize, Serialize};

use crate::entry::UnixMillis;
use crate::key::{PARTITIONS, Partition};
use crate::version::Stamp;

/// The longest that a paced flush may take: a week.
pub const FLUSH_OVER_MAX_S: u32 = 7 * 24 * 60 * 60;

/// The flush state of a node: ring state that joiners and returners apply before serving. Each part is merged with another
/// node's by itself, and nothing is ever taken back, so any order of merges ends the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FlushState {
    /// Every entry stamped at or below this is gone.
    pub floor: Stamp,
    /// The last flush that was asked for, other than a paced one: when asked (its identity: the later one replaces), and at
    /// which moment. It stays when it has happened, so that none that it replaced comes back.
    pub pending: Option<(Stamp, UnixMillis)>,
    /// The last paced flush. It stays, too, when it is over.
    pub paced: Option<PacedFlush>,
}

/// A flush that goes through the partitions one after the other, evenly over a time, on all nodes alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PacedFlush {
    /// Entries stamped at or below this go. Its identity, too: the later one replaces.
    pub stamp: Stamp,
    /// When it begins, in cluster time.
    pub from: UnixMillis,
    /// How long it takes, in milliseconds.
    pub over_ms: u64,
}

impl FlushState {
    /// The highest stamp in it: who applies the state makes stamps above this from then on.
    pub fn latest(&self) -> Stamp {
        let pending = self.pending.map_or(Stamp::ZERO, |(identity, _)| identity);
        self.floor.max(pending).max(self.paced.map_or(Stamp::ZERO, |paced| paced.stamp))
    }

    /// The paced flush that is not over, nor overtaken by another flush.
    pub fn running(&self, now: UnixMillis) -> Option<PacedFlush> {
        self.paced.filter(|paced| paced.stamp > self.floor && paced.reached(now) < PARTITIONS)
    }

    /// How many partitions the last paced flush has been through; 0 if there was none.
    pub fn paced_partitions(&self, now: UnixMillis) -> u16 {
        let reached = self.running(now).map(|paced| paced.reached(now));
        reached.unwrap_or(if self.paced.is_some() { PARTITIONS } else { 0 })
    }
}

impl PacedFlush {
    /// How many partitions it has been through: those of the lowest numbers.
    pub fn reached(&self, now: UnixMillis) -> u16 {
        let elapsed = now.0.saturating_sub(self.from.0);
        if elapsed >= self.over_ms {
            return PARTITIONS;
        }
        // Below PARTITIONS, since the quotient is below one.
        (u128::from(elapsed) * u128::from(PARTITIONS) / u128::from(self.over_ms)) as u16
    }

    /// When it has been through so many partitions.
    pub fn reaches(&self, partitions: u16) -> UnixMillis {
        let part = (u128::from(self.over_ms) * u128::from(partitions)).div_ceil(u128::from(PARTITIONS));
        UnixMillis(self.from.0.saturating_add(u64::try_from(part).unwrap_or(u64::MAX)))
    }

    /// Whether it has been through this partition.
    pub fn has_reached(&self, partition: Partition, now: UnixMillis) -> bool {
        partition.index() < usize::from(self.reached(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paced_flush_goes_through_all_partitions_evenly() {
        let minute = PacedFlush { stamp: Stamp(9), from: UnixMillis(1000), over_ms: 60_000 };
        for (now, reached) in [(0, 0), (1000, 0), (1003, 0), (1004, 1), (31_000, 8192), (60_999, 16_383)] {
            assert_eq!(minute.reached(UnixMillis(now)), reached, "{now}");
        }
        assert_eq!(minute.reached(UnixMillis(61_000)), PARTITIONS);
        for over_ms in [0, 1, 7, 60_000, 604_800_000] {
            let paced = PacedFlush { over_ms, ..minute };
            for partitions in [1, 2, 100, 16_383, PARTITIONS] {
                let at = paced.reaches(partitions);
                assert!(paced.reached(at) >= partitions, "{over_ms} {partitions}");
                let before = UnixMillis(at.0 - 1);
                assert!(at == paced.from || paced.reached(before) < partitions, "{over_ms} {partitions}");
            }
        }
    }

    #[test]
    fn a_paced_flush_is_over_when_its_time_is_or_a_later_flush_has_come() {
        let paced = PacedFlush { stamp: Stamp(9), from: UnixMillis(1000), over_ms: 1000 };
        let state = |floor| FlushState { floor: Stamp(floor), pending: None, paced: Some(paced) };
        for (floor, now, partitions, runs) in [
            (8, 1500, 8192, true),
            (8, 2000, PARTITIONS, false),
            (9, 1500, PARTITIONS, false),
            (10, 900, PARTITIONS, false),
        ] {
            let (state, now) = (state(floor), UnixMillis(now));
            assert_eq!(
                (state.paced_partitions(now), state.running(now).is_some()),
                (partitions, runs),
                "{floor} {now:?}"
            );
        }
        assert_eq!(FlushState::default().paced_partitions(UnixMillis(5)), 0);
        assert_eq!(state(10).latest(), Stamp(10));
        assert_eq!(FlushState { pending: Some((Stamp(11), UnixMillis(0))), ..state(10) }.latest(), Stamp(11));
        assert_eq!(state(3).latest(), Stamp(9));
    }
}
