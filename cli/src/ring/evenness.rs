//! The share of each member of a ring, beside what would be fair.
//!
//! Must not know who told the ring. Counts partitions, of which a member has a copy or is the first home.

use std::fmt::Write as _;

use memring_client::{MemberState, Partition, Ring, RingMember, Standing, ToldMember};
use serde::Serialize;

use super::Paint;

/// So far from fair a share is shown as odd.
const ODD: f64 = 0.1;

/// How a ring is dealt out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Evenness {
    cluster: String,
    epoch: u64,
    partitions: usize,
    /// Of each partition.
    copies: usize,
    is_moving: bool,
    members: Vec<Share>,
    of_fair_copies: Spread,
    of_fair_first: Spread,
}

/// What one member has.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Share {
    name: String,
    zone: String,
    weight: f64,
    standing: &'static str,
    state: String,
    #[serde(skip)]
    known: MemberState,
    synced: f64,
    client: Option<String>,
    /// Partitions of which it has a copy, and of which it is the first home.
    copies: usize,
    first: usize,
    /// The same over what is fair by weight.
    of_fair_copies: f64,
    of_fair_first: f64,
}

/// How far shares lie apart, over what is fair: 1 is fair.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
struct Spread {
    min: f64,
    max: f64,
    stddev: f64,
}

impl Evenness {
    pub(super) fn of(ring: &Ring) -> Self {
        let config = ring.config();
        let slots = config.members.iter().map(|member| member.slot.index() + 1).max().unwrap_or(0);
        let (mut copies, mut first) = (vec![0; slots], vec![0; slots]);
        for partition in Partition::all() {
            for (place, home) in ring.homes(partition).enumerate() {
                copies[home.slot.index()] += 1;
                first[home.slot.index()] += usize::from(place == 0);
            }
        }
        let (all_copies, all_first) = (copies.iter().sum::<usize>(), first.iter().sum::<usize>());
        let owns = |member: &RingMember| member.standing != Standing::Joining;
        let weights: f64 =
            config.members.iter().filter(|member| owns(member)).map(|member| f64::from(member.share.weight)).sum();
        let share = |(member, told): (&RingMember, &ToldMember)| {
            let (copies, first) = (copies[member.slot.index()], first[member.slot.index()]);
            let fair = if owns(member) { f64::from(member.share.weight) / weights } else { 0.0 };
            Share {
                name: member.name.to_string(),
                zone: member.share.zone.clone(),
                weight: f64::from(member.share.weight) / 100.0,
                standing: standing(&member.standing),
                state: told.state.to_string(),
                known: told.state,
                synced: f64::from(told.synced_permille) / 1000.0,
                client: told.client.map(|client| client.to_string()),
                copies,
                first,
                of_fair_copies: over(copies, all_copies as f64 * fair),
                of_fair_first: over(first, all_first as f64 * fair),
            }
        };
        let members: Vec<Share> = ring.members().map(share).collect();
        let spread = |of_fair: fn(&Share) -> f64| {
            Spread::of(&members.iter().filter(|share| share.standing != "joining").map(of_fair).collect::<Vec<_>>())
        };
        Self {
            cluster: config.cluster.clone(),
            epoch: config.epoch.0,
            partitions: Partition::all().len(),
            copies: ring.placement().replicas(),
            is_moving: config.is_in_transition(),
            of_fair_copies: spread(|share| share.of_fair_copies),
            of_fair_first: spread(|share| share.of_fair_first),
            members,
        }
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    pub(super) fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write(paint, &mut out);
        out
    }

    fn write(&self, paint: Paint, out: &mut String) -> std::fmt::Result {
        let Self { cluster, epoch, partitions, copies, members, .. } = self;
        writeln!(
            out,
            "cluster {cluster}: epoch {epoch}, {partitions} partitions, {copies} copies, {} members",
            members.len()
        )?;
        if self.is_moving {
            writeln!(out, "a move is under way: shares are those before it")?;
        }
        let width = |of: fn(&Share) -> &str, least: usize| {
            members.iter().map(|share| of(share).chars().count()).max().unwrap_or(0).max(least)
        };
        let (name, zone) = (width(|share| &share.name, 4), width(|share| &share.zone, 4));
        let head = ["WEIGHT", "STANDING", "STATE", "COPIES", "OF FAIR", "FIRST", "OF FAIR"];
        writeln!(
            out,
            "\n{:name$}  {:zone$}  {:>6}  {:8}  {:10}  {:>6}  {:>7}  {:>6}  {:>7}",
            "NAME", "ZONE", head[0], head[1], head[2], head[3], head[4], head[5], head[6]
        )?;
        for share in members {
            let state = paint.state(share.known, &format!("{:10}", share.state));
            let of_fair = |of_fair: f64| {
                let text = format!("{:>5.1} %", of_fair * 100.0);
                if share.standing != "joining" && (of_fair - 1.0).abs() > ODD { paint.yellow(&text) } else { text }
            };
            writeln!(
                out,
                "{:name$}  {:zone$}  {:>6.2}  {:8}  {state}  {:>6}  {}  {:>6}  {}",
                share.name,
                if share.zone.is_empty() { "-" } else { &share.zone },
                share.weight,
                share.standing,
                share.copies,
                of_fair(share.of_fair_copies),
                share.first,
                of_fair(share.of_fair_first)
            )?;
        }
        writeln!(out)?;
        for (what, spread) in [("copies", self.of_fair_copies), ("first homes", self.of_fair_first)] {
            let [min, max, stddev] = [spread.min, spread.max, spread.stddev].map(|part| part * 100.0);
            writeln!(out, "{what:11}  {min:.1} % to {max:.1} % of a fair share, standard deviation {stddev:.1} %")?;
        }
        Ok(())
    }
}

impl Spread {
    fn of(shares: &[f64]) -> Self {
        if shares.is_empty() {
            return Self::default();
        }
        let count = shares.len() as f64;
        let mean = shares.iter().sum::<f64>() / count;
        let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / count;
        let min = shares.iter().copied().fold(f64::INFINITY, f64::min);
        let max = shares.iter().copied().fold(0.0, f64::max);
        Self { min, max, stddev: rounded(variance.sqrt()) }
    }
}

pub(super) fn standing(standing: &Standing) -> &'static str {
    match standing {
        Standing::Joining => "joining",
        Standing::Active => "active",
        Standing::Leaving => "leaving",
        Standing::Changing(_) => "changing",
    }
}

fn over(count: usize, fair: f64) -> f64 {
    if fair > 0.0 { rounded(count as f64 / fair) } else { 0.0 }
}

/// Four digits after the point: a partition of 16,384 can be told.
fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::super::tests::{COLOURED, PLAIN, ring};
    use super::*;

    #[test]
    fn shares_go_by_weight_and_all_partitions_are_dealt_out() {
        let ring = ring(
            3,
            &[
                "n1 - 100 active alive 1000",
                "n2 - 100 active alive 1000",
                "n3 - 100 active failed 500",
                "n4 - 50 active alive 1000",
                "n5 - 100 joining alive 0",
            ],
        );
        let evenness = Evenness::of(&ring);
        assert_eq!(evenness.members.iter().map(|share| share.copies).sum::<usize>(), 3 * 16_384);
        assert_eq!(evenness.members.iter().map(|share| share.first).sum::<usize>(), 16_384);
        let joiner = &evenness.members[4];
        assert_eq!((joiner.copies, joiner.of_fair_copies, joiner.standing), (0, 0.0, "joining"));
        assert!(evenness.is_moving && evenness.of_fair_first.min > 0.8, "{evenness:?}");
        assert!(evenness.of_fair_first.max < 1.25 && evenness.of_fair_first.stddev > 0.0, "{evenness:?}");

        let json: serde_json::Value = serde_json::from_str(&evenness.json()).expect("JSON");
        assert_eq!(
            (&json["epoch"], &json["copies"], &json["members"][3]["weight"]),
            (&7.into(), &3.into(), &0.5.into())
        );
        assert_eq!((&json["members"][2]["state"], &json["members"][2]["synced"]), (&"failed".into(), &0.5.into()));
    }

    #[test]
    fn members_that_all_have_everything_have_fair_copies() {
        let all = ring(3, &["n1 a 100 active alive 1000", "n2 b 100 active alive 1000", "n3 c 100 active failed 0"]);
        let evenness = Evenness::of(&all);
        assert_eq!(evenness.of_fair_copies, Spread { min: 1.0, max: 1.0, stddev: 0.0 });
        let text = evenness.text(PLAIN);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "cluster memring: epoch 7, 16384 partitions, 3 copies, 3 members");
        assert_eq!(lines[2], "NAME  ZONE  WEIGHT  STANDING  STATE       COPIES  OF FAIR   FIRST  OF FAIR");
        assert!(lines[5].starts_with("n3    c       1.00  active    failed       16384  100.0 %  "), "{text}");
        assert!(lines.iter().skip(3).take(3).all(|line| line.len() == lines[2].len()), "{text}");
        assert_eq!(lines[7], "copies       100.0 % to 100.0 % of a fair share, standard deviation 0.0 %");
        assert!(lines[8].starts_with("first homes  "), "{text}");
        assert!(!text.contains('\x1b') && evenness.text(COLOURED).contains("\x1b[31mfailed    \x1b[0m"));
    }

    #[test]
    fn a_spread_is_min_max_and_deviation() {
        assert_eq!(Spread::of(&[0.9, 1.1]), Spread { min: 0.9, max: 1.1, stddev: 0.1 });
        assert_eq!(Spread::of(&[]), Spread::default());
    }
}
