//! Cluster time: which reading all nodes agree on, from what each tells of its own.
//!
//! A node's time is told as a *base*: what it would have shown when this process's monotonic clock began. Bases of clocks
//! that run alike stay the same, so that answers that came at different moments compare. A reading is taken for the moment
//! half way between a question and its answer (Cristian, "Probabilistic Clock Synchronization", 1989), so it is off by
//! half of the way there and back at most; of several, the quickest counts.
//!
//! Each node follows the median of all members' clocks, its own included; of an even number the later of the two in the
//! middle, because what goes wrong with clocks (a machine that was suspended) sets them back. Must not move any clock: see
//! [`ClusterTime`](crate::now::ClusterTime).

use std::collections::BTreeMap;
use std::time::Duration;

use memring_protocol::entry::UnixMillis;
use memring_protocol::ring::NodeName;

use crate::now::Mono;

/// How far apart clocks may be, in milliseconds: above it a node's own clock is warned of, and no ring is founded by it.
pub const APART_MAX_MS: u64 = 2000;

/// How far a node's time may be from the median before it follows, in milliseconds: above what delays on the way make one
/// believe, well below what an expiry may be off.
const FOLLOW_ABOVE_MS: u64 = 100;

/// How long a reading is good: a few pings.
const READING_LIFE: Duration = Duration::from_secs(3);

/// How long a node that starts listens to more clocks after the first one.
const LISTEN_FOR: Duration = Duration::from_millis(300);

/// How long a node that starts waits for the clock of one that it sees and that does not answer.
const SILENT_FOR: Duration = Duration::from_secs(2);

/// One node's clock, as it was heard last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Reading {
    base_ms: u64,
    /// Whether it is the cluster's time and not just what that node's own clock says.
    settled: bool,
    way_ms: u64,
    at: Mono,
}

/// What a node that starts may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// Too few clocks have been heard.
    Listen,
    /// Go by this base.
    Settle(u64),
    /// No ring may be founded by these clocks: why, in words.
    Apart(String),
}

/// The clocks of other nodes.
#[derive(Clone, Debug, Default)]
pub struct Clocks {
    readings: BTreeMap<NodeName, Reading>,
    /// When the first settled clock was heard.
    heard_at: Option<Mono>,
    /// Since when nodes are seen.
    seen_since: BTreeMap<NodeName, Mono>,
}

impl Clocks {
    /// A node has answered at `now` what it was asked at `sent`, and showed this time.
    pub fn hear(&mut self, name: &NodeName, shows: UnixMillis, settled: bool, sent: Mono, now: Mono) {
        let way_ms = now.since(sent).as_millis() as u64;
        let base_ms = (shows.0.saturating_add(way_ms / 2)).saturating_sub(now.0 / 1000);
        let reading = Reading { base_ms, settled, way_ms, at: now };
        let known = self.readings.get(name).filter(|known| known.settled == settled && is_fresh(known, now));
        if known.is_none_or(|known| way_ms <= known.way_ms) {
            self.readings.insert(name.clone(), reading);
        }
        if settled {
            self.heard_at.get_or_insert(now);
        }
    }

    /// These other nodes are seen now, and no others.
    pub fn see<'a>(&mut self, now: Mono, names: impl Iterator<Item = &'a NodeName>) {
        let before = std::mem::take(&mut self.seen_since);
        self.seen_since = names.map(|name| (name.clone(), before.get(name).copied().unwrap_or(now))).collect();
        self.readings.retain(|name, _| self.seen_since.contains_key(name));
    }

    /// Whether the time of a ring was heard.
    pub fn has_settled(&self) -> bool {
        self.heard_at.is_some()
    }

    /// Whether no other clock has been heard lately.
    pub fn is_silent(&self, now: Mono) -> bool {
        self.fresh(now).next().is_none()
    }

    /// What a node that starts may do; `own` is its own clock's base. With a ring in sight it goes by the ring's time,
    /// whatever its own clock shows. Without one, more than half of all must be near their median, for nobody can tell
    /// which of two clocks is right.
    pub fn start(&self, now: Mono, own: u64) -> Start {
        if let Some(heard_at) = self.heard_at {
            let settled: Vec<u64> = self.fresh(now).filter(|reading| reading.settled).map(|r| r.base_ms).collect();
            return match median(settled) {
                Some(base) if now.since(heard_at) >= LISTEN_FOR => Start::Settle(base),
                _ => Start::Listen,
            };
        }
        let is_awaited = |(name, since): (&NodeName, &Mono)| {
            let heard = self.readings.get(name).is_some_and(|reading| is_fresh(reading, now));
            !heard && now.since(*since) < SILENT_FOR
        };
        if self.seen_since.iter().any(is_awaited) {
            return Start::Listen;
        }
        let all: Vec<u64> = self.fresh(now).map(|reading| reading.base_ms).chain([own]).collect();
        let count = all.len();
        let Some(base) = median(all.clone()) else { return Start::Settle(own) };
        let near = all.iter().filter(|other| other.abs_diff(base) <= APART_MAX_MS).count();
        if near * 2 > count { Start::Settle(base) } else { Start::Apart(self.told_apart(now, own)) }
    }

    /// Whether a base may be right that `start` has not settled on: what a node goes by that has settled. `None`: stay.
    pub fn follow(&self, now: Mono, own: u64) -> Option<u64> {
        let settled = self.fresh(now).filter(|reading| reading.settled).map(|reading| reading.base_ms);
        median(settled.chain([own]).collect()).filter(|base| base.abs_diff(own) > FOLLOW_ABOVE_MS)
    }

    fn fresh(&self, now: Mono) -> impl Iterator<Item = &Reading> {
        self.readings.values().filter(move |reading| is_fresh(reading, now))
    }

    fn told_apart(&self, now: Mono, own: u64) -> String {
        let apart = self.readings.iter().filter(|(_, reading)| is_fresh(reading, now));
        let apart: Vec<String> = apart
            .map(|(name, reading)| {
                let seconds = (reading.base_ms as f64 - own as f64) / 1000.0;
                format!("{name} {:.1} s {}", seconds.abs(), if seconds < 0.0 { "behind" } else { "ahead" })
            })
            .collect();
        format!(
            "no ring is founded while clocks are more than {} s apart (seen from here: {}); set them, best by NTP",
            APART_MAX_MS / 1000,
            apart.join(", ")
        )
    }
}

fn is_fresh(reading: &Reading, now: Mono) -> bool {
    now.since(reading.at) < READING_LIFE
}

/// Of an even number the later one.
fn median(mut bases: Vec<u64>) -> Option<u64> {
    bases.sort_unstable();
    bases.get(bases.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    const OWN: u64 = 1_800_000_000_000;

    fn name(number: usize) -> NodeName {
        NodeName::new(&format!("n{number}")).expect("a legal name")
    }

    /// Other nodes whose clocks are off by so much, heard at a second.
    fn heard(offsets: &[i64], settled: bool) -> Clocks {
        let mut clocks = Clocks::default();
        let names: Vec<NodeName> = (1..=offsets.len()).map(name).collect();
        clocks.see(Mono(0), names.iter());
        for (name, offset) in names.iter().zip(offsets) {
            let shows = UnixMillis((OWN + 1000).saturating_add_signed(*offset));
            clocks.hear(name, shows, settled, Mono(1_000_000), Mono(1_000_000));
        }
        clocks
    }

    #[test]
    fn a_node_that_starts_goes_by_the_median_of_a_ring() {
        let late = Mono(1_300_000);
        for (offsets, base) in [
            (&[0][..], OWN),
            (&[3_600_000], OWN + HOUR_MS),
            (&[-3_600_000, -3_600_010], OWN - HOUR_MS),
            (&[0, 5, 3_600_000], OWN + 5),
        ] {
            let clocks = heard(offsets, true);
            assert_eq!(clocks.start(Mono(1_299_999), OWN), Start::Listen, "{offsets:?}: others may answer yet");
            assert_eq!(clocks.start(late, OWN), Start::Settle(base), "{offsets:?}");
        }
        assert_eq!(heard(&[0], true).start(Mono(4_100_000), OWN), Start::Listen, "what it heard is too old");
    }

    #[test]
    fn without_a_ring_most_clocks_must_be_near_each_other() {
        let now = Mono(1_000_000);
        for (offsets, base) in [
            (&[][..], Some(OWN)),
            (&[1_900], Some(OWN + 1_900)),
            (&[-1_900], Some(OWN)),
            (&[2_100], None),
            (&[-3_600_000], None),
            (&[3_600_000, 0], Some(OWN)),
            // This node's own clock is the one that is off.
            (&[-3_600_000, -3_600_500], Some(OWN - HOUR_MS)),
            (&[-3_600_000, 3_600_000], None),
            (&[0, 3_600_000, 3_600_000], None),
        ] {
            let start = heard(offsets, false).start(now, OWN);
            match base {
                Some(base) => assert_eq!(start, Start::Settle(base), "{offsets:?}"),
                None => assert!(matches!(start, Start::Apart(_)), "{offsets:?}: {start:?}"),
            }
        }
        let Start::Apart(why) = heard(&[-3_600_000], false).start(now, OWN) else { panic!("an hour apart") };
        assert_eq!(
            why,
            "no ring is founded while clocks are more than 2 s apart (seen from here: n1 3600.0 s behind); set them, \
             best by NTP"
        );
    }

    #[test]
    fn a_node_that_is_seen_is_listened_to_for_a_while() {
        let mut clocks = Clocks::default();
        clocks.see(Mono(0), [name(1), name(2)].iter());
        clocks.hear(&name(1), UnixMillis(OWN + 1000), false, Mono(1_000_000), Mono(1_000_000));
        assert_eq!(clocks.start(Mono(1_999_999), OWN), Start::Listen);
        assert_eq!(clocks.start(Mono(2_000_000), OWN), Start::Settle(OWN), "n2 may never answer");
        clocks.see(Mono(1_000_000), [name(1)].iter());
        assert_eq!(clocks.start(Mono(1_000_000), OWN), Start::Settle(OWN), "n2 is not seen any more");
    }

    #[test]
    fn a_node_follows_the_median_and_not_what_is_near_it_anyway() {
        let now = Mono(1_000_000);
        for (offsets, base) in [
            (&[][..], None),
            (&[100], None),
            (&[101], Some(OWN + 101)),
            // Of two the later one is right.
            (&[-5_000], None),
            (&[-5_000, -6_000], Some(OWN - 5_000)),
            (&[-5_000, 6_000], None),
            (&[300, 400, 500], Some(OWN + 400)),
        ] {
            assert_eq!(heard(offsets, true).follow(now, OWN), base, "{offsets:?}");
            assert_eq!(heard(offsets, false).follow(now, OWN), None, "{offsets:?}: no cluster's time");
        }
    }

    #[test]
    fn the_quickest_of_several_readings_counts_until_it_is_old() {
        let mut clocks = Clocks::default();
        clocks.see(Mono(0), [name(1)].iter());
        let base = |clocks: &Clocks| clocks.readings[&name(1)].base_ms;
        clocks.hear(&name(1), UnixMillis(OWN + 1000), true, Mono(1_000_000), Mono(1_020_000));
        assert_eq!(base(&clocks), OWN - 10);
        clocks.hear(&name(1), UnixMillis(OWN + 1100), true, Mono(1_100_000), Mono(1_500_000));
        assert_eq!(base(&clocks), OWN - 10, "this one was long on its way");
        clocks.hear(&name(1), UnixMillis(OWN + 1602), true, Mono(1_600_000), Mono(1_604_000));
        assert_eq!(base(&clocks), OWN);
        clocks.hear(&name(1), UnixMillis(OWN + 9000), true, Mono(9_000_000), Mono(9_400_000));
        assert_eq!(base(&clocks), OWN - 200);
    }
}
