//! The made-up network: how late a message comes, if it comes.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How often what went wrong.
pub type Met = BTreeMap<&'static str, u64>;

/// What the network does to messages at the moment.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Shortest way, in microseconds.
    pub delay_min_us: u64,
    /// Longest ordinary way.
    pub delay_max_us: u64,
    /// Chance of a much longer way.
    pub straggler: f64,
    /// Chance that a packet of gossip is lost.
    pub packet_loss: f64,
    /// Chance that a frame is lost, its link with it.
    pub reset: f64,
    /// Chance that a frame silently never arrives.
    pub frame_loss: f64,
    /// Chance that a frame arrives twice.
    pub duplicate: f64,
}

impl Weather {
    /// A good day in one data centre.
    pub fn fair() -> Self {
        Self {
            delay_min_us: 100,
            delay_max_us: 800,
            straggler: 0.0,
            packet_loss: 0.0,
            reset: 0.0,
            frame_loss: 0.0,
            duplicate: 0.0,
        }
    }

    /// A bad day.
    pub fn foul() -> Self {
        Self {
            delay_min_us: 100,
            delay_max_us: 4_000,
            straggler: 0.02,
            packet_loss: 0.05,
            reset: 0.001,
            frame_loss: 0.003,
            duplicate: 0.01,
        }
    }
}

/// What becomes of one message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It arrives after so many microseconds, once for each.
    Arrives(Vec<u64>),
    /// It never arrives, and nobody is told.
    Vanishes,
    /// It never arrives, and the sender's link is reset after so many microseconds.
    Resets(u64),
}

/// Who hears whom.
pub struct Network {
    /// How messages fare.
    pub weather: Weather,
    cut: BTreeSet<(usize, usize)>,
    /// Nodes whose every message takes so many microseconds longer.
    slow: BTreeMap<usize, u64>,
    /// The same for messages from one node to one other.
    slow_ways: BTreeMap<(usize, usize), u64>,
    /// When the last frame from one node to another arrives.
    arrivals_us: BTreeMap<(usize, usize), u64>,
    /// What has gone wrong so far, though nobody was cut off.
    pub met: Met,
    random: StdRng,
}

impl Network {
    /// A network in which everyone hears everyone.
    pub fn new(seed: u64) -> Self {
        Self {
            weather: Weather::fair(),
            cut: BTreeSet::new(),
            slow: BTreeMap::new(),
            slow_ways: BTreeMap::new(),
            arrivals_us: BTreeMap::new(),
            met: Met::new(),
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Node `to` does not hear node `from` any more.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut.insert((from, to));
    }

    /// No node of one side hears one of the other.
    pub fn split(&mut self, one: &[usize], other: &[usize]) {
        for from in one {
            for to in other {
                self.cut(*from, *to);
                self.cut(*to, *from);
            }
        }
    }

    /// What a node says, and what is said to it, takes so many microseconds longer.
    pub fn slow_down(&mut self, node: usize, extra_us: u64) {
        self.slow.insert(node, extra_us);
    }

    /// What node `from` says to node `to` takes so many microseconds longer.
    pub fn slow_way(&mut self, from: usize, to: usize, extra_us: u64) {
        self.slow_ways.insert((from, to), extra_us);
    }

    /// Everyone hears everyone again, and no node is slower than another.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.slow_ways.clear();
        self.slow.clear();
    }

    /// Whether `to` hears `from`.
    pub fn hears(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// What becomes of a gossip packet.
    pub fn packet(&mut self, from: usize, to: usize) -> Fate {
        if !self.hears(from, to) || self.random.random_bool(self.weather.packet_loss) {
            return Fate::Vanishes;
        }
        let delay = self.delay_between(from, to);
        if self.random.random_bool(self.weather.duplicate) {
            self.note("messages doubled");
            return Fate::Arrives(vec![delay, self.delay_between(from, to)]);
        }
        Fate::Arrives(vec![delay])
    }

    /// What becomes of a frame.
    pub fn frame(&mut self, from: usize, to: usize) -> Fate {
        let weather = self.weather.clone();
        if !self.hears(from, to) {
            return Fate::Vanishes;
        }
        if self.random.random_bool(weather.frame_loss) {
            self.note("frames lost");
            return Fate::Vanishes;
        }
        let delay = self.delay_between(from, to);
        if self.random.random_bool(weather.reset) {
            self.note("links reset");
            return Fate::Resets(delay);
        }
        if self.random.random_bool(weather.duplicate) {
            self.note("messages doubled");
            return Fate::Arrives(vec![delay, self.delay_between(from, to)]);
        }
        Fate::Arrives(vec![delay])
    }

    /// A frame from one node to another is on its way, and will be there at this moment.
    pub(super) fn note_arrival(&mut self, from: usize, to: usize, at_us: u64) {
        let last_us = self.arrivals_us.entry((from, to)).or_default();
        let overtakes = at_us < *last_us;
        *last_us = at_us.max(*last_us);
        if overtakes {
            self.note("frames overtaken");
        }
    }

    fn note(&mut self, what: &'static str) {
        *self.met.entry(what).or_default() += 1;
    }

    fn delay_between(&mut self, from: usize, to: usize) -> u64 {
        let slower = [from, to].map(|node| self.slow.get(&node).copied().unwrap_or(0));
        let way = self.slow_ways.get(&(from, to)).copied().unwrap_or(0);
        self.delay() + slower[0] + slower[1] + way
    }

    /// One way's time, in microseconds.
    pub fn delay(&mut self) -> u64 {
        let weather = self.weather.clone();
        let delay = self.random.random_range(weather.delay_min_us..=weather.delay_max_us);
        if self.random.random_bool(weather.straggler) { delay * 50 } else { delay }
    }
}
