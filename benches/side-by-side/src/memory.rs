//! `memory`: how much of its memory a server spends on what it keeps, under loads that age a cache.
//!
//! What is held is counted by asking for every key, since only that is true of every server. Must not know how a table is
//! laid out; [`crate::memory_report`] does.

use std::io::Result;
use std::time::Duration;

use crate::chance::{Chance, mix};
use crate::clock::{Deadline, Stopwatch, pause};
use crate::items::{KEY_BYTES, Sizes};
use crate::servers::{Contestant, Server, Settings};
use crate::wire::{Client, Held, Store, Stored};

/// How much of the cap is written when the figures of a store that is not full are taken: every server takes that.
const PARTLY: f64 = 0.6;

/// How many times what would fit is written to fill a store.
const FILL: f64 = 1.3;

/// How many times the cap is written with the other size.
const FLIP: f64 = 2.0;

/// Overwriting that takes longer is ended, and the notes say how far it came: so all is done within twelve minutes.
const OVERWRITING_TIME_MAX: Duration = Duration::from_secs(22);

/// Filling that takes longer is ended, and the share held is then too low: for a server that does not get on.
const FILLING_TIME_MAX: Duration = Duration::from_secs(120);

/// Between two looks at the resident memory, which is taken for settled when they agree to within a hundredth.
const SETTLE_TIME: Duration = Duration::from_millis(300);

/// Looks at most.
const LOOKS_MAX: usize = 10;

/// Keys of the size flip have numbers of their own above these.
const FLIPPED_KEYS: [u64; 2] = [1 << 32, 1 << 33];

/// A distribution of sizes, and what is done with it.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) sizes: Sizes,
    pub(crate) overwrites: u64,
    /// The share of the cap that a static fill must keep.
    pub(crate) share_bar: f64,
    /// Bytes an item beyond key and value, if there is a bar.
    pub(crate) overhead_bar: Option<f64>,
}

/// What the comparison is made with.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) cap_mib: u64,
    /// Overwrites of values of 100 B and 1 KB.
    overwrites_small: u64,
    /// Overwrites of values of 10 KB and of mixed sizes, ten times as large.
    overwrites_large: u64,
}

impl Plan {
    pub(crate) const FULL: Self = Self { cap_mib: 256, overwrites_small: 10_000_000, overwrites_large: 1_000_000 };
    /// For trying it out: the bars are for the full one.
    pub(crate) const QUICK: Self = Self { cap_mib: 64, overwrites_small: 1_000_000, overwrites_large: 100_000 };

    pub(crate) fn cap_bytes(self) -> u64 {
        self.cap_mib << 20
    }

    pub(crate) fn loads(self) -> [Load; 4] {
        let load = |name, sizes, overwrites, share_bar, overhead_bar| Load {
            name,
            sizes,
            overwrites,
            share_bar,
            overhead_bar,
        };
        let mixed = Sizes::LogUniform { least: 100, most: 10 << 10 };
        [
            load("100 B", Sizes::Fixed(100), self.overwrites_small, 0.75, Some(43.0)),
            load("1 KB", Sizes::Fixed(1024), self.overwrites_small, 0.93, Some(75.0)),
            load("10 KB", Sizes::Fixed(10 << 10), self.overwrites_large, 0.94, Some(400.0)),
            load("mixed", mixed, self.overwrites_large, 0.92, None),
        ]
    }
}

/// What was seen at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sight {
    pub(crate) held: Held,
    pub(crate) resident_bytes: u64,
    /// The writes since the sight before.
    pub(crate) stored: Stored,
}

/// What was seen of one server under one load.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Aged {
    pub(crate) idle_bytes: u64,
    pub(crate) partly: Sight,
    pub(crate) filled: Sight,
    pub(crate) overwritten: Sight,
    pub(crate) expiring: Sight,
}

/// What was seen of one server whose items changed their size. Also of the newest keys alone: a store that keeps the old
/// ones and has hardly room for the new ones is full as well.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flipped {
    pub(crate) idle_bytes: u64,
    pub(crate) large: Sight,
    pub(crate) small: Sight,
    pub(crate) small_alone: Sight,
    pub(crate) back: Sight,
    pub(crate) back_alone: Sight,
}

/// A server, a connection to it, and what to say on standard error.
struct Session<'a> {
    server: Server,
    client: Client,
    label: String,
    plan: &'a Plan,
}

impl Session<'_> {
    fn fill(&mut self, writes: impl Iterator<Item = Store>) -> Result<Stored> {
        self.write(writes, FILLING_TIME_MAX)
    }

    fn write(&mut self, writes: impl Iterator<Item = Store>, time: Duration) -> Result<Stored> {
        let watch = Stopwatch::start();
        let stored = self.client.store(writes, Deadline::after(time))?;
        let (writes, refused) = (stored.writes, stored.refused);
        eprintln!("side-by-side: {}: {writes} writes in {:.0} s, {refused} refused", self.label, watch.seconds());
        Ok(stored)
    }

    fn look(&mut self, stored: Stored, keys: impl Iterator<Item = u64>) -> Result<Sight> {
        let held = self.client.held(keys)?;
        let resident_bytes = settled_bytes(&self.server)?;
        let share = held.bytes as f64 / self.plan.cap_bytes() as f64;
        eprintln!("side-by-side: {}: holds {:.3} of the cap, {} MB", self.label, share, resident_bytes >> 20);
        Ok(Sight { held, resident_bytes, stored })
    }
}

fn begin<'a>(contestant: &Contestant, plan: &'a Plan, load: &str, sizes: Sizes) -> Result<Session<'a>> {
    let server = contestant.start(&Settings::of_cap(plan.cap_mib))?;
    let client = Client::new(server.connect()?, sizes.most())?;
    Ok(Session { server, client, label: format!("{load}, {}", contestant.name), plan })
}

/// Fills a store, overwrites it at random, and does so again with half of the writes short-lived.
pub(crate) fn age(contestant: &Contestant, plan: &Plan, load: &Load) -> Result<Aged> {
    let mut session = begin(contestant, plan, load.name, load.sizes)?;
    let idle_bytes = settled_bytes(&session.server)?;
    let [partly, all] = [PARTLY, FILL].map(|times| keys_within(load.sizes, times * plan.cap_bytes() as f64));
    let fill = |key| Store { key, bytes: load.sizes.of(key), seconds: 0 };
    let stored = session.fill((0..partly).map(fill))?;
    let partly_seen = session.look(stored, 0..partly)?;
    let stored = session.fill((partly..all).map(fill))?;
    let filled = session.look(stored, 0..all)?;
    let stored = session.write(overwrites(load, all, false), OVERWRITING_TIME_MAX)?;
    let overwritten = session.look(stored, 0..all)?;
    let stored = session.write(overwrites(load, all, true), OVERWRITING_TIME_MAX)?;
    let expiring = session.look(stored, 0..all)?;
    Ok(Aged { idle_bytes, partly: partly_seen, filled, overwritten, expiring })
}

/// Fills a store with items of 10 KB, then writes new ones of 100 B, then of 10 KB again.
pub(crate) fn flip(contestant: &Contestant, plan: &Plan) -> Result<Flipped> {
    let (large, small) = (Sizes::Fixed(10 << 10), Sizes::Fixed(100));
    let mut session = begin(contestant, plan, "size flip", large)?;
    let idle_bytes = settled_bytes(&session.server)?;
    let keys = |sizes, times: f64| keys_within(sizes, times * plan.cap_bytes() as f64);
    let (filled, flipped, back) = (keys(large, FILL), keys(small, FLIP), keys(large, FLIP));
    let [small_from, back_from] = FLIPPED_KEYS;
    let write = |sizes: Sizes| move |key| Store { key, bytes: sizes.of(key), seconds: 0 };
    let stored = session.fill((0..filled).map(write(large)))?;
    let large_seen = session.look(stored, 0..filled)?;
    let stored = session.fill((small_from..small_from + flipped).map(write(small)))?;
    let small_alone = session.look(stored, small_from..small_from + flipped)?;
    let older = || (0..filled).chain(small_from..small_from + flipped);
    let small_seen = session.look(stored, older())?;
    let stored = session.fill((back_from..back_from + back).map(write(large)))?;
    let back_alone = session.look(stored, back_from..back_from + back)?;
    let back_seen = session.look(stored, older().chain(back_from..back_from + back))?;
    Ok(Flipped { idle_bytes, large: large_seen, small: small_seen, small_alone, back: back_seen, back_alone })
}

/// How many keys, from 0 on, come to so many bytes of keys and values.
fn keys_within(sizes: Sizes, bytes: f64) -> u64 {
    let (mut total, mut keys) = (0.0, 0);
    while total < bytes {
        total += (KEY_BYTES + sizes.of(keys)) as f64;
        keys += 1;
    }
    keys
}

/// Writes to keys drawn evenly from 0 .. `keys`, of sizes drawn anew; the same ones with and without expiry.
fn overwrites(load: &Load, keys: u64, is_expiring: bool) -> impl Iterator<Item = Store> {
    let (sizes, mut chance) = (load.sizes, Chance::new(6));
    (0..load.overwrites).map(move |_| {
        let (key, drawn) = (chance.below(keys), chance.next());
        // Half of the writes, to live for 10 to 600 seconds.
        let seconds = if is_expiring && drawn & 1 == 0 { 10 + (mix(drawn) % 591) as u32 } else { 0 };
        Store { key, bytes: sizes.of(drawn), seconds }
    })
}

/// The resident memory, once it has stopped moving.
pub(crate) fn settled_bytes(server: &Server) -> Result<u64> {
    let mut last = server.resident_bytes()?;
    for _ in 0..LOOKS_MAX {
        pause(SETTLE_TIME);
        let now = server.resident_bytes()?;
        if now.abs_diff(last) * 100 <= now {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

/// The figures that are made of what was seen.
impl Sight {
    /// Bytes of keys and values that are held, as a share of the cap.
    pub(crate) fn share(&self, plan: &Plan) -> f64 {
        self.held.bytes as f64 / plan.cap_bytes() as f64
    }

    /// What of a full store's cap is not keys and values, in bytes an item.
    pub(crate) fn overhead_of_cap(&self, plan: &Plan) -> f64 {
        (plan.cap_bytes() as f64 - self.held.bytes as f64) / self.held.items as f64
    }

    /// What of the growth from idle is not keys and values, in bytes an item.
    pub(crate) fn overhead_of_growth(&self, idle_bytes: u64) -> f64 {
        (self.resident_bytes as f64 - idle_bytes as f64 - self.held.bytes as f64) / self.held.items as f64
    }

    /// The growth from idle as a share of the cap.
    pub(crate) fn growth_share(&self, idle_bytes: u64, plan: &Plan) -> f64 {
        (self.resident_bytes as f64 - idle_bytes as f64) / plan.cap_bytes() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{Plan, Sight, keys_within, overwrites};
    use crate::items::Sizes;
    use crate::wire::{Held, Stored};

    const PLAN: Plan = Plan { cap_mib: 1, overwrites_small: 10_000, overwrites_large: 10_000 };

    #[test]
    fn a_share_is_of_the_cap_and_an_overhead_of_an_item() {
        let held = Held { items: 4096, bytes: 4096 * 130 };
        let sight = Sight { held, resident_bytes: (1 << 20) + 4096 * 200, stored: Stored::default() };
        assert_eq!(sight.share(&PLAN), 130.0 / 256.0);
        assert_eq!(sight.overhead_of_cap(&PLAN), 256.0 - 130.0);
        assert_eq!(sight.overhead_of_growth(1 << 20), 200.0 - 130.0);
        assert_eq!(sight.growth_share(1 << 20, &PLAN), 200.0 / 256.0);
    }

    #[test]
    fn as_many_keys_are_written_as_reach_the_bytes() {
        assert_eq!(keys_within(Sizes::Fixed(100), 1300.0), 10);
        assert_eq!(keys_within(Sizes::Fixed(100), 1301.0), 11);
        let mixed = Sizes::LogUniform { least: 100, most: 10 << 10 };
        let keys = keys_within(mixed, 1e7);
        let bytes: usize = (0..keys).map(|key| 30 + mixed.of(key)).sum();
        assert!((10_000_000..10_000_000 + (10 << 10) + 30).contains(&bytes), "{bytes}");
    }

    #[test]
    fn half_of_the_expiring_overwrites_live_for_ten_to_six_hundred_seconds() {
        let load = &PLAN.loads()[3];
        let (lasting, expiring): (Vec<_>, Vec<_>) =
            (overwrites(load, 500, false).collect(), overwrites(load, 500, true).collect());
        assert!(lasting.iter().all(|write| write.seconds == 0 && write.key < 500));
        let short: Vec<u32> = expiring.iter().map(|write| write.seconds).filter(|seconds| *seconds > 0).collect();
        assert!((4_800..5_200).contains(&short.len()), "{}", short.len());
        assert_eq!((short.iter().min(), short.iter().max()), (Some(&10), Some(&600)));
        let what = |writes: &[super::Store]| writes.iter().map(|write| (write.key, write.bytes)).collect::<Vec<_>>();
        assert_eq!(what(&lasting), what(&expiring), "the same writes");
    }
}
