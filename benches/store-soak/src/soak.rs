//! A full store that is overwritten at random for minutes: what becomes of its memory, and of its slowest calls.
//!
//! Must not know how the store makes room. Sizes of values are flipped half way, from large to small: what was laid out
//! for the ones must serve the others.

use std::time::Duration;

use memring_engine::store::{Store, StoreStats};
use memring_protocol::entry::{Expiry, UnixMillis};

use super::Bars;
use super::load::{BEGIN, Chance, VALUE_BYTES_MAX, Writer, get, key, set, store_of};
use super::measure::{Calls, Patience, machine, micros, moment, resident_bytes};

/// Sizes of values, in bytes: every order of magnitude as likely.
struct Sizes {
    name: &'static str,
    least: usize,
    most: usize,
    /// Keys for each MiB of the store: about twice as many as fit.
    keys_per_mib: u64,
}

const MIXED: Sizes = Sizes { name: "10 B to 10 KB", least: 10, most: VALUE_BYTES_MAX, keys_per_mib: 1_400 };

const SMALL: Sizes = Sizes { name: "10 B to 200 B", least: 10, most: 200, keys_per_mib: 18_000 };

/// One in so many operations reads, so that items move to the main queue too.
const READS_ONE_IN: u64 = 5;

/// One in so many items ends, after 10 to 600 seconds.
const ENDS_ONE_IN: u64 = 8;

/// The store's clock runs so many times as fast: at full speed an item is evicted after seconds, and some are to end first.
const CLOCK_RATE: u128 = 60;

/// Sets between two sweeps and steps of the limit.
const UPKEEP_EVERY: u64 = 4096;

/// As the node's own upkeep.
const SWEEP_ENTRIES: usize = 4096;

/// As the node's own steps towards another limit.
const FIT_RECORDS: usize = 32;

/// In the middle fifth of each phase the limit is lowered by this part again and again, and raised.
const LOWERED_BY: usize = 16;

/// Upkeeps from one such time to the next: enough to fill the store again.
const LOWERED_EVERY: u64 = 32;

/// How much the memory may grow while the store stays full: more would not stop at some time.
const GROWTH_MAX_PERCENT: f64 = 3.0;

/// What a client that waits for it would notice beside a network's own time. Of the longest calls the tenth is held against
/// it, and may be so much longer than the tenth longest get, which does no work that others wait for: both met the
/// machine's own pauses.
const STEP_MAX_MS: f64 = 1.0;

/// How long the machine is looked at alone.
const LOOK: Duration = Duration::from_secs(5);

struct Soak {
    store: Store,
    memory_bytes: usize,
    writer: Writer,
    chance: Chance,
    reply: Vec<u8>,
    begin: std::time::Instant,
}

/// What a phase measures.
struct Phase {
    sets: Calls,
    gets: Calls,
    sweeps: Calls,
    fits: Calls,
    patience: Patience,
    /// What the store had counted after the last call.
    counted: StoreStats,
    upkeeps: u64,
    /// Whether the store is on its way to a lower limit.
    is_lowering: bool,
}

pub(crate) fn run(memory_bytes: usize, minutes: usize, bars: &mut Bars) {
    let mut soak = Soak {
        store: store_of(memory_bytes),
        memory_bytes,
        writer: Writer::new(),
        chance: Chance(1),
        reply: Vec::with_capacity(VALUE_BYTES_MAX),
        begin: moment(),
    };
    let phase = Duration::from_secs(minutes as u64 * 60);
    soak.fill(&MIXED);
    let full = resident_bytes();
    println!("soak: {} MiB, {minutes} minutes of {}, then of {}", memory_bytes >> 20, MIXED.name, SMALL.name);
    for sizes in [&MIXED, &SMALL] {
        soak.tell(&format!("before values of {}", sizes.name));
        let measured = soak.phase(sizes, phase);
        soak.tell(&format!("after values of {}", sizes.name));
        for calls in [&measured.sets, &measured.gets, &measured.sweeps, &measured.fits] {
            calls.print();
        }
        let growth = (resident_bytes() as f64 / full as f64 - 1.0) * 100.0;
        bars.at_most(&format!("{}: growth of resident memory, %", sizes.name), growth, GROWTH_MAX_PERCENT);
        bars.at_most(
            &format!("{}: p99.9 of a set, ms", sizes.name),
            micros(measured.sets.per_mille(999)) / 1e3,
            STEP_MAX_MS,
        );
        let machine_ms = micros(measured.gets.tenth_longest()) / 1e3;
        for calls in [&measured.sets, &measured.sweeps, &measured.fits] {
            let name = format!("{}: tenth longest running {}, ms", sizes.name, calls.name);
            bars.at_most(&name, micros(calls.tenth_longest()) / 1e3, STEP_MAX_MS + machine_ms);
        }
    }
    println!("  for comparison, a thread that only looks at the clock:");
    machine(LOOK).print();
}

impl Soak {
    /// Writes until the store has evicted as much as it holds.
    fn fill(&mut self, sizes: &Sizes) {
        let (now, keys) = (self.now(), self.keys(sizes));
        loop {
            for _ in 0..UPKEEP_EVERY {
                let (key, bytes) = (key(self.chance.below(keys)), self.chance.size(sizes.least, sizes.most));
                set(&self.store, now, &key, self.writer.entry(bytes, Expiry::NEVER));
            }
            let stats = self.store.stats();
            if stats.evictions > stats.curr_items {
                return;
            }
        }
    }

    fn phase(&mut self, sizes: &Sizes, lasts: Duration) -> Phase {
        let (begin, keys) = (moment(), self.keys(sizes));
        let mut phase = Phase {
            sets: Calls::new("set"),
            gets: Calls::new("get"),
            sweeps: Calls::new("sweep"),
            fits: Calls::new("fit"),
            patience: Patience::new(),
            counted: self.store.stats(),
            upkeeps: 0,
            is_lowering: false,
        };
        loop {
            for _ in 0..UPKEEP_EVERY {
                self.one_operation(sizes, keys, &mut phase);
            }
            let passed = begin.elapsed();
            if passed >= lasts {
                return phase;
            }
            self.upkeep(&mut phase, passed > lasts * 2 / 5 && passed < lasts * 3 / 5);
        }
    }

    fn one_operation(&mut self, sizes: &Sizes, keys: u64, phase: &mut Phase) {
        let (now, key) = (self.now(), key(self.chance.below(keys)));
        if self.chance.below(READS_ONE_IN) == 0 {
            let begin = moment();
            get(&self.store, now, &key, &mut self.reply);
            phase.gets.add(begin.elapsed(), &mut phase.patience, 0, 0);
            return;
        }
        let expiry = match self.chance.below(ENDS_ONE_IN) {
            0 => Expiry::at((now.seconds() + 10 + self.chance.below(591)) as u32),
            _ => Expiry::NEVER,
        };
        let entry = self.writer.entry(self.chance.size(sizes.least, sizes.most), expiry);
        let begin = moment();
        set(&self.store, now, &key, entry);
        let took = begin.elapsed();
        let (evicted, moved) = self.work(&mut phase.counted);
        phase.sets.add(took, &mut phase.patience, evicted, moved);
    }

    fn upkeep(&mut self, phase: &mut Phase, may_lower: bool) {
        let now = self.now();
        let begin = moment();
        self.store.sweep(now, SWEEP_ENTRIES);
        let took = begin.elapsed();
        let (evicted, moved) = self.work(&mut phase.counted);
        phase.sweeps.add(took, &mut phase.patience, evicted, moved);
        phase.upkeeps += 1;
        if may_lower && phase.upkeeps.is_multiple_of(LOWERED_EVERY) {
            assert!(self.store.set_limit(self.memory_bytes - self.memory_bytes / LOWERED_BY), "items give way");
            phase.is_lowering = true;
        }
        let begin = moment();
        let fits = self.store.fit(now, FIT_RECORDS);
        let took = begin.elapsed();
        let (evicted, moved) = self.work(&mut phase.counted);
        phase.fits.add(took, &mut phase.patience, evicted, moved);
        if phase.is_lowering && fits {
            assert!(self.store.set_limit(self.memory_bytes), "more is always possible");
            phase.is_lowering = false;
        }
    }

    /// Items evicted or reclaimed, and moved, since this was asked last.
    fn work(&self, counted: &mut StoreStats) -> (u64, u64) {
        let stats = self.store.stats();
        let before = std::mem::replace(counted, stats);
        let gone = |stats: &StoreStats| stats.evictions + stats.reclaimed;
        (gone(&stats) - gone(&before), stats.moves - before.moves)
    }

    fn tell(&self, when: &str) {
        let stats = self.store.stats();
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "  {when}: resident {:.1} MiB, used {:.1} of {:.1}, {} items of {:.1} MiB, {} evicted",
            mib(resident_bytes()),
            mib(stats.used_bytes),
            mib(stats.limit_maxbytes),
            stats.curr_items,
            mib(stats.bytes),
            stats.evictions
        );
    }

    fn keys(&self, sizes: &Sizes) -> u64 {
        (self.memory_bytes >> 20) as u64 * sizes.keys_per_mib
    }

    /// The moment as the store is told it.
    fn now(&self) -> UnixMillis {
        UnixMillis(BEGIN.0 + (self.begin.elapsed().as_millis() * CLOCK_RATE) as u64)
    }
}
