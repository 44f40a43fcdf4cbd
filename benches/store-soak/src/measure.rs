//! The clock, the process's memory, and what many durations come to.
//!
//! Must not know the store. This is the one place here that reads the clock.

use std::fs;
use std::time::{Duration, Instant};

/// Parts of an octave: percentiles are at most a 32nd too high.
const PARTS: u64 = 32;

/// Durations that are kept one by one.
const SLOWEST_MAX: usize = 10;

/// Calls longer than this are looked into.
const SLOW: Duration = Duration::from_micros(100);

/// The moment.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
pub(crate) fn moment() -> Instant {
    Instant::now()
}

/// The process's resident memory, in bytes.
pub(crate) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells a process of itself");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is among the lines");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kib * 1024
}

/// How long this thread has waited for a processor although it could run.
pub(crate) fn waited() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// A call that took long.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slow {
    /// How long without waiting for a processor.
    pub(crate) net: Duration,
    pub(crate) took: Duration,
    /// Items that it evicted and moved.
    pub(crate) evicted: u64,
    pub(crate) moved: u64,
}

/// What the calls of one kind took.
pub(crate) struct Calls {
    pub(crate) name: &'static str,
    /// By octave and its part, of nanoseconds.
    counts: Vec<u64>,
    calls: u64,
    longest: Duration,
    slowest: Vec<Slow>,
    /// The most items that one call evicted and moved together.
    work_max: u64,
}

impl Calls {
    pub(crate) fn new(name: &'static str) -> Self {
        let counts = vec![0; place(u64::MAX) + 1];
        Self { name, counts, calls: 0, longest: Duration::ZERO, slowest: Vec::new(), work_max: 0 }
    }

    /// Takes in a call and the items that it evicted and moved.
    pub(crate) fn add(&mut self, took: Duration, patience: &mut Patience, evicted: u64, moved: u64) {
        self.counts[place(took.as_nanos() as u64)] += 1;
        self.calls += 1;
        self.longest = self.longest.max(took);
        self.work_max = self.work_max.max(evicted + moved);
        let waited = patience.since_last(took > SLOW).min(took);
        let slow = Slow { net: took - waited, took, evicted, moved };
        if self.slowest.len() < SLOWEST_MAX || self.slowest.last() < Some(&slow) {
            let at = self.slowest.partition_point(|other| *other > slow);
            self.slowest.insert(at, slow);
            self.slowest.truncate(SLOWEST_MAX);
        }
    }

    /// The duration that so many of a thousand calls do not exceed.
    pub(crate) fn per_mille(&self, per_mille: u64) -> Duration {
        let wanted = (self.calls * per_mille).div_ceil(1000);
        let mut passed = 0;
        let at = self.counts.iter().position(|&count| {
            passed += count;
            passed >= wanted
        });
        Duration::from_nanos(end_of(at.expect("all calls are counted"))).min(self.longest)
    }

    /// The tenth longest, without waiting for a processor: what happens ten times is seldom the machine's doing.
    pub(crate) fn tenth_longest(&self) -> Duration {
        self.slowest.last().map_or(Duration::ZERO, |slow| slow.net)
    }

    pub(crate) fn print(&self) {
        let [p50, p99, p999] = [500, 990, 999].map(|per_mille| micros(self.per_mille(per_mille)));
        println!(
            "  {}: {} calls, µs: p50 {p50:.2}, p99 {p99:.2}, p99.9 {p999:.2}, longest {:.1}; at most {} evicted or moved",
            self.name,
            self.calls,
            micros(self.longest),
            self.work_max
        );
        let slow =
            |slow: &Slow| format!("{:.0}/{:.0} ({}+{})", micros(slow.net), micros(slow.took), slow.evicted, slow.moved);
        let slowest: Vec<String> = self.slowest.iter().map(slow).collect();
        println!("    slowest, µs running/in all (evicted+moved): {}", slowest.join(", "));
    }
}

/// Tells how much of a call was waiting for a processor that others had.
pub(crate) struct Patience {
    waited: Duration,
    calls: u32,
}

impl Patience {
    /// Calls after which it looks even if none was slow: what others had in between is not to count for the next slow
    /// one. Looking takes a few microseconds.
    const CALLS: u32 = 128;

    pub(crate) fn new() -> Self {
        Self { waited: waited(), calls: 0 }
    }

    fn since_last(&mut self, is_slow: bool) -> Duration {
        self.calls += 1;
        if !is_slow && self.calls < Self::CALLS {
            return Duration::ZERO;
        }
        let before = std::mem::replace(&mut self.waited, waited());
        self.calls = 0;
        if is_slow { self.waited - before } else { Duration::ZERO }
    }
}

/// What the machine does to a thread that only looks at the clock: how much of what is slow is not the store's.
pub(crate) fn machine(look_for: Duration) -> Calls {
    let (mut calls, mut patience, begin) = (Calls::new("nothing at all"), Patience::new(), moment());
    let mut last = begin;
    while last - begin < look_for {
        let next = moment();
        calls.add(next - last, &mut patience, 0, 0);
        // What adding it took is not part of the next.
        last = moment();
    }
    calls
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}

/// The middle one of an odd number of figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn place(nanos: u64) -> usize {
    if nanos < PARTS {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - PARTS.ilog2();
    (u64::from(shift) * PARTS + (nanos >> shift)) as usize
}

/// The last nanosecond of a place.
fn end_of(place: usize) -> u64 {
    let place = place as u64;
    if place < PARTS {
        return place;
    }
    let shift = place / PARTS - 1;
    (((place % PARTS) + PARTS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_durations_follow_one_another_and_hold_what_they_say() {
        for at in 0..1000 {
            let end = end_of(at);
            assert_eq!((place(end), place(end + 1)), (at, at + 1), "{end} ns");
        }
    }

    #[test]
    fn percentiles_are_the_calls_they_say() {
        let (mut calls, mut patience) = (Calls::new("some"), Patience::new());
        (1..=1000).rev().for_each(|nanos| calls.add(Duration::from_nanos(nanos), &mut patience, nanos, 1));
        for (per_mille, nanos) in [(1, 1), (500, 500), (990, 990), (1000, 1000)] {
            let told = calls.per_mille(per_mille).as_nanos() as u64;
            assert!((nanos..=nanos + nanos / PARTS).contains(&told), "{per_mille}: {told}");
        }
        let slowest: Vec<u64> = calls.slowest.iter().map(|slow| slow.evicted).collect();
        assert_eq!(slowest, (991..=1000).rev().collect::<Vec<_>>());
        assert_eq!(calls.work_max, 1001);
    }
}
