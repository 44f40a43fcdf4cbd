//! The five traces whose hit rates are compared: invented, each from one seed, the same for every column.
//!
//! Their parameters are tuned so that offline LRU on 128 MiB of keys and values lands near these hit rates, in % of all
//! requests and of the second half: zipf 65.9 / 66.8, scans 47.7 / 47.6, mixed 71.8 / 72.4, one-hit 40.1 / 40.6, shifting
//! 71.5 / 72.6; the bars were set for traces of that pressure. Must not know caches.

use crate::chance::Chance;
use crate::items::Sizes;
use crate::zipf::Zipf;

/// Zipf's exponent, where a trace has no reason for another.
const EXPONENT: f64 = 0.9;

const KILOBYTE: Sizes = Sizes::Fixed(1024);

/// Requests for keys, in their order.
pub(crate) struct Trace {
    pub(crate) name: &'static str,
    /// The generator and its parameters, for people.
    pub(crate) recipe: String,
    pub(crate) seed: u64,
    /// Keys are numbers below this.
    pub(crate) keys: u32,
    /// The length of a key's value is a function of the key.
    pub(crate) sizes: Sizes,
    pub(crate) requests: Vec<u32>,
}

/// How long a trace is, and how large the memory that it is made for.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) requests: u32,
    /// Key counts are divided by this, as the memory is.
    pub(crate) divisor: u32,
}

/// Makes one trace; made one at a time, since each takes tens of megabytes.
pub(crate) type Generator = fn(Scale) -> Trace;

/// In the order of the bars.
pub(crate) const GENERATORS: [Generator; 5] = [zipf, scans, mixed, one_hit, shifting];

fn zipf(scale: Scale) -> Trace {
    let keys = 1_000_000 / scale.divisor;
    let (seed, ranks) = (1, Zipf::new(keys, EXPONENT));
    let mut chance = Chance::new(seed);
    Trace {
        name: "zipf",
        recipe: format!("zipf {EXPONENT} over {keys} keys of 1 KB"),
        seed,
        keys,
        sizes: KILOBYTE,
        requests: (0..scale.requests).map(|_| ranks.rank(chance.unit())).collect(),
    }
}

fn scans(scale: Scale) -> Trace {
    /// Of a hundred requests so many belong to a scan.
    const SHARE: u64 = 30;
    const RUN: u32 = 6000;
    let keys = 1_000_000 / scale.divisor;
    // So many that LRU's hits come out right: some runs meet what an earlier one has left.
    let scanned = 220_000 / scale.divisor;
    let (seed, ranks) = (2, Zipf::new(keys, EXPONENT));
    let mut chance = Chance::new(seed);
    let (mut next, mut left) = (0, 0);
    let draw = |_| {
        if chance.below(100) >= SHARE {
            return ranks.rank(chance.unit());
        }
        if left == 0 {
            next = keys + chance.below(u64::from(scanned - RUN)) as u32;
            left = RUN;
        }
        left -= 1;
        next += 1;
        next - 1
    };
    let requests = (0..scale.requests).map(draw).collect();
    let recipe = format!(
        "zipf {EXPONENT} over {keys} keys of 1 KB, mixed with {SHARE} % of requests that walk runs of {RUN} neighbours from \
         random places of {scanned} other keys"
    );
    Trace { name: "scans", recipe, seed, keys: keys + scanned, sizes: KILOBYTE, requests }
}

fn mixed(scale: Scale) -> Trace {
    let keys = 290_000 / scale.divisor;
    let (seed, ranks) = (3, Zipf::new(keys, EXPONENT));
    let mut chance = Chance::new(seed);
    Trace {
        name: "mixed",
        recipe: format!("zipf {EXPONENT} over {keys} keys of 100 B to 10 KB, log-uniform, a function of the key"),
        seed,
        keys,
        sizes: Sizes::LogUniform { least: 100, most: 10 << 10 },
        requests: (0..scale.requests).map(|_| ranks.rank(chance.unit())).collect(),
    }
}

fn one_hit(scale: Scale) -> Trace {
    /// Of a hundred requests so many are for a key that was never asked for and never will be again.
    const SHARE: u64 = 30;
    /// Flatter than the others: else many of the keys that come again are seen once as well.
    const EXPONENT: f64 = 0.75;
    let keys = 300_000 / scale.divisor;
    let (seed, ranks) = (4, Zipf::new(keys, EXPONENT));
    let mut chance = Chance::new(seed);
    let mut fresh = keys;
    let draw = |_| {
        if chance.below(100) >= SHARE {
            return ranks.rank(chance.unit());
        }
        fresh += 1;
        fresh - 1
    };
    let requests: Vec<u32> = (0..scale.requests).map(draw).collect();
    let once = once_share(&requests, fresh);
    let recipe = format!(
        "{SHARE} % of requests for fresh keys of 1 KB, the others zipf {EXPONENT} over {keys} keys: {:.0} % of the keys are \
         seen once",
        100.0 * once
    );
    Trace { name: "one-hit", recipe, seed, keys: fresh, sizes: KILOBYTE, requests }
}

fn shifting(scale: Scale) -> Trace {
    /// Of a hundred requests so many are for the hot set.
    const SHARE: u64 = 80;
    /// Each is hot again after the others were.
    const SETS: u32 = 6;
    // A fifth of the items that 128 MiB hold.
    let hot = 25_000 / scale.divisor;
    let stay = 230_000 / scale.divisor;
    let cold = 1_000_000 / scale.divisor;
    let (seed, ranks) = (5, Zipf::new(hot, EXPONENT));
    let mut chance = Chance::new(seed);
    let draw = |request: u32| {
        if chance.below(100) >= SHARE {
            return SETS * hot + chance.below(u64::from(cold)) as u32;
        }
        request / stay % SETS * hot + ranks.rank(chance.unit())
    };
    let requests = (0..scale.requests).map(draw).collect();
    let recipe = format!(
        "{SHARE} % of requests for a hot set, zipf {EXPONENT} over {hot} keys of 1 KB, that gives way to the next of {SETS} \
         such sets every {stay} requests; the others evenly for {cold} cold keys"
    );
    Trace { name: "shifting", recipe, seed, keys: SETS * hot + cold, sizes: KILOBYTE, requests }
}

/// The share of the keys asked for that were asked for once.
fn once_share(requests: &[u32], keys: u32) -> f64 {
    let mut times = vec![0u8; keys as usize];
    for request in requests {
        let seen = &mut times[*request as usize];
        *seen = seen.saturating_add(1);
    }
    let once = times.iter().filter(|seen| **seen == 1).count();
    let all = times.iter().filter(|seen| **seen > 0).count();
    once as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::{GENERATORS, Scale, Trace, once_share};

    const SCALE: Scale = Scale { requests: 300_000, divisor: 10 };

    fn named(name: &str) -> Trace {
        let mut traces = GENERATORS.into_iter().map(|generate| generate(SCALE));
        traces.find(|trace| trace.name == name).expect("one of the five")
    }

    #[test]
    fn one_seed_gives_one_trace_and_every_trace_has_its_own() {
        let traces = || GENERATORS.into_iter().map(|generate| generate(SCALE)).collect::<Vec<_>>();
        let (once, again) = (traces(), traces());
        for (at, trace) in once.iter().enumerate() {
            assert_eq!(trace.requests, again[at].requests, "{}", trace.name);
            assert_eq!(trace.requests.len(), SCALE.requests as usize);
            assert!(trace.requests.iter().all(|key| *key < trace.keys), "{}: a key beyond the last", trace.name);
            assert!(once[..at].iter().all(|other| other.requests != trace.requests && other.seed != trace.seed));
        }
    }

    #[test]
    fn three_tenths_of_the_scans_requests_walk_neighbours() {
        let trace = named("scans");
        let scanned: Vec<u32> = trace.requests.iter().copied().filter(|key| *key >= 100_000).collect();
        let share = scanned.len() as f64 / trace.requests.len() as f64;
        assert!((0.295..0.305).contains(&share), "{share}");
        let breaks = scanned.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        assert!((scanned.len() / 6000 - 1..=scanned.len() / 6000).contains(&breaks), "{breaks}");
    }

    #[test]
    fn four_fifths_of_the_one_hit_keys_are_seen_once() {
        let trace = named("one-hit");
        let share = once_share(&trace.requests, trace.keys);
        assert!((0.78..0.82).contains(&share), "{share}");
    }

    #[test]
    fn the_hot_set_moves_and_comes_round() {
        let trace = named("shifting");
        let hottest = |from: usize| {
            let mut counts = [0u32; 7];
            trace.requests[from..from + 10_000].iter().for_each(|key| counts[(*key / 2_500).min(6) as usize] += 1);
            (0..6).find(|set| counts[*set] > 7_800)
        };
        let stays: Vec<Option<usize>> = (0..8).map(|stay| hottest(stay * 23_000)).collect();
        assert_eq!(stays, [0, 1, 2, 3, 4, 5, 0, 1].map(Some));
    }

    #[test]
    fn mixed_sizes_belong_to_the_keys() {
        let trace = named("mixed");
        let lengths: Vec<usize> = (0..1000).map(|key| trace.sizes.of(key)).collect();
        assert!(lengths.iter().all(|length| (100..=10 << 10).contains(length)));
        assert_eq!(lengths, (0..1000).map(|key| trace.sizes.of(key)).collect::<Vec<_>>());
        assert!(lengths.iter().any(|length| *length < 200) && lengths.iter().any(|length| *length > 8000));
    }
}
