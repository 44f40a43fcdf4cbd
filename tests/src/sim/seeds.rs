//! Many seeds of one story on all cores: what a test of the simulator does. `SIM_SEED=x` replays one, and `SIM_FROM=x`
//! leaves out those before it.
//!
//! Must not know what a story tells.

use std::sync::atomic::{AtomicU64, Ordering};

use super::lives::Report;
use super::network::Met;

/// The number that an environment variable says.
#[expect(clippy::disallowed_methods, reason = "a test's own knobs")]
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A long run says how far it is after so many.
const TOLD_EVERY: u64 = 500;

/// Lives through so many seeds on all cores; with `SIM_SEED` through that one. Prints one line, which begins with `name`,
/// and gives back what the seeds met.
pub fn live(name: &str, count: u64, story: fn(u64) -> Report) -> Met {
    let from = number("SIM_FROM").unwrap_or(0).min(count);
    let (first, count) = number("SIM_SEED").map_or((from, count - from), |seed| (seed, 1));
    let next = AtomicU64::new(first);
    let broken = AtomicU64::new(u64::MAX);
    let worker = || {
        let (mut sums, mut met) = ([0; 4], Met::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count || broken.load(Ordering::Relaxed) != u64::MAX {
                return (sums, met);
            }
            if seed > first && (seed - first).is_multiple_of(TOLD_EVERY) {
                eprintln!("{name}: {} of {count} seeds begun", seed - first);
            }
            match std::panic::catch_unwind(|| story(seed)) {
                Ok(report) if report.violations.is_empty() => {
                    let more = [report.done, report.failed, report.searched, report.unjudged];
                    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                    add(&mut met, report.met);
                }
                _ => {
                    broken.fetch_min(seed, Ordering::Relaxed);
                }
            }
        }
    };
    let (mut sums, mut met) = ([0; 4], Met::new());
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            let (more, met_by_it) = worker.join().expect("a story's panic is caught");
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
            add(&mut met, met_by_it);
        }
    });
    let seed = broken.into_inner();
    assert!(seed == u64::MAX, "{name}: seed {seed} failed; SIM_SEED={seed} and this test's name replay it");
    let [done, failed, searched, unjudged] = sums;
    println!(
        "{name}: {count} seeds: {done} operations answered, {failed} in doubt or unread, 0 violations, \
         {unjudged} of {searched} keys not judged"
    );
    met
}

fn add(met: &mut Met, more: Met) {
    more.into_iter().for_each(|(what, count)| *met.entry(what).or_default() += count);
}

/// Prints what seeds have met, and asserts that `all` of it is there, if they are `enough` for that.
pub fn must_have_met(name: &str, met: &Met, all: &[&str], enough: bool) {
    let told: Vec<String> = met.iter().map(|(what, count)| format!("{what} {count}")).collect();
    println!("{name} met: {}", told.join("; "));
    let unmet: Vec<&&str> = all.iter().filter(|kind| met.get(**kind).is_none_or(|count| *count == 0)).collect();
    assert!(!enough || number("SIM_SEED").is_some() || unmet.is_empty(), "no seed has met {unmet:?}");
}
