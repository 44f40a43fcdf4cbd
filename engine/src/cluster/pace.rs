//! Which peers answer much later than the others do: they are asked last, without being taken for failed.
//!
//! Each peer's times are smoothed over windows and compared with the median of the others' (as in "Gray failure", Huang et
//! al., HotOS 2017: what matters is how its users see it). Slow is who takes `SLOW_FACTOR` times as long, and no less
//! than `SLOW_MIN`: a difference that clients notice. It ceases to be slow well below that. Must not know who measures,
//! nor what is done about it.

use std::collections::BTreeMap;
use std::time::Duration;

/// How long replies are gathered before they are judged.
pub const WINDOW: Duration = Duration::from_millis(500);

/// A peer is slow that takes so many times as long as the median of the others …
const SLOW_FACTOR: u64 = 5;

/// … and at least so long: below that nobody minds.
const SLOW_MIN: Duration = Duration::from_millis(5);

/// It ceases to be slow below these parts of both.
const WELL_DIVISOR: u64 = 2;

/// In so many windows in a row it must have been one or the other.
const WINDOWS: u8 = 2;

/// One peer's pace.
#[derive(Clone, Copy, Debug)]
struct PeerPace {
    smoothed_us: u64,
    is_slow: bool,
    /// Windows in a row that say the opposite.
    against: u8,
}

/// All peers' paces.
#[derive(Clone, Debug)]
pub struct Pace<K> {
    peers: BTreeMap<K, PeerPace>,
}

impl<K: Ord + Copy> Default for Pace<K> {
    fn default() -> Self {
        Self { peers: BTreeMap::new() }
    }
}

impl<K: Ord + Copy> Pace<K> {
    /// In the window that ends a peer has taken so long on average: to be told before [`Pace::judge`].
    pub fn note(&mut self, peer: K, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX / 2);
        let fresh = PeerPace { smoothed_us: took_us, is_slow: false, against: 0 };
        let pace = self.peers.entry(peer).or_insert(fresh);
        pace.smoothed_us = pace.smoothed_us / 2 + took_us / 2;
    }

    /// Keeps what is known of these peers only.
    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        self.peers.retain(|peer, _| keep(peer));
    }

    /// Once a window: compares all peers. Who is slow is told by [`Pace::slow`].
    pub fn judge(&mut self) {
        let mut sorted: Vec<u64> = self.peers.values().map(|pace| pace.smoothed_us).collect();
        sorted.sort_unstable();
        for pace in self.peers.values_mut() {
            let Some(median_us) = median_without(&sorted, pace.smoothed_us) else {
                // Slower than whom?
                pace.is_slow = false;
                continue;
            };
            let limit_us = (SLOW_FACTOR * median_us).max(SLOW_MIN.as_micros() as u64);
            let limit_us = if pace.is_slow { limit_us / WELL_DIVISOR } else { limit_us };
            if (pace.smoothed_us >= limit_us) == pace.is_slow {
                pace.against = 0;
                continue;
            }
            pace.against += 1;
            if pace.against >= WINDOWS {
                (pace.is_slow, pace.against) = (!pace.is_slow, 0);
            }
        }
    }

    /// The slow ones.
    pub fn slow(&self) -> impl Iterator<Item = K> {
        self.peers.iter().filter(|(_, pace)| pace.is_slow).map(|(peer, _)| *peer)
    }
}

/// The median of sorted numbers but for one that is equal to `own`; the lower of two in the middle.
fn median_without(sorted: &[u64], own: u64) -> Option<u64> {
    let others = sorted.len().checked_sub(1).filter(|others| *others > 0)?;
    let at = (others - 1) / 2;
    let own_at = sorted.partition_point(|number| *number < own);
    Some(sorted[if at < own_at { at } else { at + 1 }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(pace: &mut Pace<u8>, times: &[(u8, u64)], count: usize) -> Vec<u8> {
        for _ in 0..count {
            times.iter().for_each(|(peer, us)| pace.note(*peer, Duration::from_micros(*us)));
            pace.judge();
        }
        pace.slow().collect()
    }

    #[test]
    fn who_takes_ten_times_as_long_is_slow_and_is_not_when_it_is_well_again() {
        let mut pace = Pace::default();
        assert_eq!(windows(&mut pace, &[(1, 1_000), (2, 1_100), (3, 10_500)], 1), [], "one window is not enough");
        assert_eq!(windows(&mut pace, &[(1, 1_000), (2, 1_100), (3, 10_500)], 1), [3]);
        // Less slow than it had to be to become so, and still slow.
        assert_eq!(windows(&mut pace, &[(1, 1_000), (2, 1_100), (3, 4_000)], 20), [3]);
        assert_eq!(windows(&mut pace, &[(1, 1_000), (2, 1_100), (3, 1_000)], 6), []);
    }

    #[test]
    fn what_nobody_minds_and_what_all_have_in_common_is_not_slow() {
        let mut pace = Pace::default();
        assert_eq!(windows(&mut pace, &[(1, 100), (2, 120), (3, 4_000)], 20), [], "four milliseconds");
        let mut pace = Pace::default();
        assert_eq!(windows(&mut pace, &[(1, 50_000), (2, 80_000), (3, 60_000)], 20), [], "a network far away");
        let mut pace = Pace::default();
        assert_eq!(windows(&mut pace, &[(1, 50_000)], 20), [], "nobody to compare it with");
        assert_eq!(windows(&mut pace, &[(1, 50_000), (2, 100)], 3), [1], "of two the other is the measure");
        pace.retain(|peer| *peer == 1);
        assert_eq!(windows(&mut pace, &[(1, 50_000)], 1), []);
    }

    #[test]
    fn the_median_leaves_out_the_one_that_is_compared() {
        for (sorted, own, expected) in [
            (&[1, 2][..], 1, Some(2)),
            (&[1, 2], 2, Some(1)),
            (&[1, 2, 3], 3, Some(1)),
            (&[1, 2, 3, 4], 1, Some(3)),
            (&[1, 2, 3, 4], 4, Some(2)),
            (&[5, 5, 5], 5, Some(5)),
            (&[1], 1, None),
        ] {
            assert_eq!(median_without(sorted, own), expected, "{sorted:?} without {own}");
        }
    }
}
