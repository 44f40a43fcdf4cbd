//! `hits`: every server and both offline policies read through the same five traces; the table shows their hit rates.
//!
//! Must not know how a trace is made, nor how a table is laid out.

use std::io::{Error, Result};
use std::time::Duration;

use crate::clock::{Deadline, Stopwatch};
use crate::items::{KEY_BYTES, Sizes};
use crate::policies::{Lru, Policy, S3Fifo};
use crate::report::{Table, percent, points};
use crate::servers::{Contestant, Settings};
use crate::traces::{GENERATORS, Scale, Trace};
use crate::wire::{Client, Stored};

/// Keys that one get asks for, before the sets of those that missed: so few that what a step misses twice hardly counts.
const STEP_KEYS: usize = 32;

/// A replay that takes longer is given up, so that five traces on three servers end within twelve minutes.
const REPLAY_TIME_MAX: Duration = Duration::from_secs(45);

/// Points that memring must be above memcached, in the traces' order, in the second half of the requests.
const ABOVE_MEMCACHED: [f64; 5] = [3.0, 3.5, 1.5, 6.0, 0.0];

/// Points that memring may be below the offline S3-FIFO, which has no overhead.
const BELOW_S3_FIFO_MAX: f64 = 1.5;

/// Hits as shares of the requests.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rates {
    whole: f64,
    second_half: f64,
}

/// What a trace is read through.
trait Cache {
    /// Gets all keys of a step, then sets each that was missed, once; gives the number of hits.
    fn step(&mut self, keys: &[u32]) -> Result<u64>;
}

struct Offline<P> {
    policy: P,
    sizes: Sizes,
    missed: Vec<u32>,
}

impl<P: Policy> Offline<P> {
    fn new(policy: P, sizes: Sizes) -> Self {
        Self { policy, sizes, missed: Vec::new() }
    }
}

impl<P: Policy> Cache for Offline<P> {
    fn step(&mut self, keys: &[u32]) -> Result<u64> {
        let mut hits = 0;
        for key in keys {
            if self.policy.get(*key) {
                hits += 1;
            } else if !self.missed.contains(key) {
                self.missed.push(*key);
            }
        }
        for key in self.missed.drain(..) {
            self.policy.set(key, (KEY_BYTES + self.sizes.of(u64::from(key))) as u32);
        }
        Ok(hits)
    }
}

struct Online {
    client: Client,
    sizes: Sizes,
    missed: Vec<u32>,
    stored: Stored,
    deadline: Deadline,
}

impl Cache for Online {
    /// The sets go out together with the next step's gets, before them: nobody sees the difference.
    fn step(&mut self, keys: &[u32]) -> Result<u64> {
        if self.deadline.is_over() {
            return Err(Error::other(format!("not through after {} s", REPLAY_TIME_MAX.as_secs())));
        }
        let sets = std::mem::take(&mut self.missed);
        let (hits, stored) = self.client.read_through(keys, self.sizes, &sets, &mut self.missed)?;
        self.stored += stored;
        Ok(hits)
    }
}

fn replay(requests: &[u32], cache: &mut impl Cache) -> Result<Rates> {
    let half = requests.len() / 2;
    let (first, second) = requests.split_at(half);
    let mut hits = [0; 2];
    for (part, hits) in [first, second].into_iter().zip(&mut hits) {
        for keys in part.chunks(STEP_KEYS) {
            *hits += cache.step(keys)?;
        }
    }
    let share = |hits: u64, requests: usize| hits as f64 / requests as f64;
    Ok(Rates { whole: share(hits[0] + hits[1], requests.len()), second_half: share(hits[1], requests.len() - half) })
}

fn replay_on(contestant: &Contestant, trace: &Trace, cap_mib: u64) -> Result<Rates> {
    let server = contestant.start(&Settings::of_cap(cap_mib))?;
    let client = Client::new(server.connect()?, trace.sizes.most())?;
    let deadline = Deadline::after(REPLAY_TIME_MAX);
    let mut cache = Online { client, sizes: trace.sizes, missed: Vec::new(), stored: Stored::default(), deadline };
    let watch = Stopwatch::start();
    let rates = replay(&trace.requests, &mut cache)?;
    let refused = cache.stored.refused;
    eprintln!(
        "side-by-side: {}, {}: {} % in {:.0} s, {refused} sets refused",
        trace.name,
        contestant.name,
        percent(rates.second_half),
        watch.seconds()
    );
    Ok(rates)
}

/// What the comparison is made with.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    cap_mib: u64,
    scale: Scale,
}

impl Plan {
    pub(crate) const FULL: Self = Self { cap_mib: 128, scale: Scale { requests: 3_000_000, divisor: 1 } };
    /// For trying it out: the bars are for the full one.
    pub(crate) const QUICK: Self = Self { cap_mib: 32, scale: Scale { requests: 600_000, divisor: 4 } };
}

/// The first contestant is memring and the second the memcached that it is held against.
pub(crate) fn run(contestants: &[Contestant], plan: Plan) -> Result<()> {
    let capacity_bytes = plan.cap_mib << 20;
    let mut header = vec!["trace".to_owned()];
    header.extend(contestants.iter().map(|contestant| contestant.name.clone()));
    header.extend(["LRU offline", "S3-FIFO offline", "above memcached", "above S3-FIFO"].map(str::to_owned));
    let (mut table, mut recipes) = (Table::new(header), Vec::new());
    for (generate, above) in GENERATORS.into_iter().zip(ABOVE_MEMCACHED) {
        let trace = generate(plan.scale);
        recipes.push(format!("{}: {}; seed {}", trace.name, trace.recipe, trace.seed));
        let mut columns = Vec::new();
        for contestant in contestants {
            let rates = replay_on(contestant, &trace, plan.cap_mib);
            if let Err(error) = &rates {
                eprintln!("side-by-side: {}, {}: {error}", trace.name, contestant.name);
            }
            columns.push(rates);
        }
        let mut lru = Offline::new(Lru::new(trace.keys, capacity_bytes), trace.sizes);
        columns.push(replay(&trace.requests, &mut lru));
        let mut s3_fifo = Offline::new(S3Fifo::new(trace.keys, capacity_bytes), trace.sizes);
        columns.push(replay(&trace.requests, &mut s3_fifo));
        table.row(row(&trace, &columns, above));
    }
    println!(
        "Hit rates at -m {}, {} requests, read-through in steps of {STEP_KEYS} keys: % of all requests / of the second half.\n\
         Offline policies keep {} MiB of keys and values and have no overhead. \"Above\" is memring's second half less the\n\
         other's, in points, and the bar that it must reach.\n",
        plan.cap_mib, plan.scale.requests, plan.cap_mib
    );
    println!("{table}");
    recipes.iter().for_each(|recipe| println!("{recipe}"));
    Ok(())
}

fn row(trace: &Trace, columns: &[Result<Rates>], above: f64) -> Vec<String> {
    let mut cells = vec![trace.name.to_owned()];
    for column in columns {
        cells.push(match column {
            Ok(rates) => format!("{} / {}", percent(rates.whole), percent(rates.second_half)),
            Err(error) => error.to_string(),
        });
    }
    let second = |at: usize| columns[at].as_ref().ok().map(|rates| rates.second_half);
    cells.push(points(second(0), second(1), above));
    cells.push(points(second(0), second(columns.len() - 1), -BELOW_S3_FIFO_MAX));
    cells
}

#[cfg(test)]
mod tests {
    use std::io::Result;

    use super::{Cache, Offline, Rates, replay};
    use crate::items::Sizes;
    use crate::policies::Lru;

    /// Hits whatever is even.
    struct Even;

    impl Cache for Even {
        fn step(&mut self, keys: &[u32]) -> Result<u64> {
            Ok(keys.iter().filter(|key| **key % 2 == 0).count() as u64)
        }
    }

    #[test]
    fn the_halves_are_counted_apart() {
        let requests: Vec<u32> = (0..1000).map(|at| if at < 500 { 1 } else { at % 4 }).collect();
        let rates = replay(&requests, &mut Even).expect("offline");
        assert_eq!(rates, Rates { whole: 0.25, second_half: 0.5 });
    }

    #[test]
    fn a_step_gets_before_it_sets() {
        let lru = Lru::new(10, 1000);
        let mut cache = Offline::new(lru, Sizes::Fixed(70));
        assert_eq!(cache.step(&[1, 1, 2]).expect("offline"), 0, "a key that was missed twice is set once");
        assert_eq!(cache.step(&[1, 2, 3]).expect("offline"), 2);
    }
}
