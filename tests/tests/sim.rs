//! Whole clusters through seeded faults. `SIM_SEEDS=n` chooses how many, `SIM_SEED=x` replays one.

use std::sync::atomic::{AtomicU64, Ordering};

use memring_tests::sim::faults::live_through_faults;

#[expect(clippy::disallowed_methods, reason = "a test's own knobs")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_acknowledged_write_is_lost_and_no_quorum_read_is_stale_under_faults() {
    let (first, count) = match number("SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("SIM_SEEDS").unwrap_or(20)),
    };
    let (next, done, failed) = (AtomicU64::new(first), AtomicU64::new(0), AtomicU64::new(0));
    let broken = AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || broken.load(Ordering::Relaxed) != u64::MAX {
                        return;
                    }
                    let report = std::panic::catch_unwind(|| live_through_faults(seed));
                    match report {
                        Ok(report) if report.violations.is_empty() => {
                            done.fetch_add(report.done as u64, Ordering::Relaxed);
                            failed.fetch_add(report.failed as u64, Ordering::Relaxed);
                        }
                        _ => {
                            broken.fetch_min(seed, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let seed = broken.into_inner();
    assert!(seed == u64::MAX, "seed {seed} failed; replay: SIM_SEED={seed} cargo test -p memring-tests --test sim");
    let (done, failed) = (done.into_inner(), failed.into_inner());
    println!("sim: {count} seeds: {done} operations answered, {failed} in doubt or unread, 0 violations");
}
