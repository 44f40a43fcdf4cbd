//! Stories told for many seeds, on all cores, and what they measured.
//!
//! Must not know what a story is about.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// The inner loop runs a tenth of the seeds; `SIM_SEEDS`, set to whatever number, asks for all of them.
pub fn seeds(count: u64) -> u64 {
    if std::env::var_os("SIM_SEEDS").is_some() { count } else { count.div_ceil(10) }
}

/// Tells a story for each seed, on all cores, and gives what each came to, in the order of the seeds.
///
/// # Panics
///
/// When a story does: the seeds are named.
pub fn for_seeds<T: Send>(count: u64, story: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let count = seeds(count);
    let next = AtomicU64::new(0);
    let (told, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    match catch_unwind(AssertUnwindSafe(|| story(seed))) {
                        Ok(result) => told.lock().push((seed, result)),
                        Err(_) => failed.lock().push(seed),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    assert!(failed.is_empty(), "seeds {failed:?} of {count} failed");
    let mut told = told.into_inner();
    told.sort_by_key(|(seed, _)| *seed);
    told.into_iter().map(|(_, result)| result).collect()
}

/// Median, 99th percentile and longest of some times, none of which is an empty list.
pub fn percentiles(mut times: Vec<Duration>) -> [Duration; 3] {
    times.sort_unstable();
    let last = times.len() - 1;
    [times.len() / 2, times.len() * 99 / 100, last].map(|place| times[place.min(last)])
}
