//! What goes wrong in a simulated cluster, chosen by seed: faults that begin while others last.
//!
//! They stay within what the cluster promises to survive. Of N copies of anything fewer than a majority lose their memory
//! until all copies are whole again; and no fault lasts as long as the time after which a missing home is given up. All
//! else may overlap: a partition while a node recovers, a crash while another node is slow, a join in a storm.
//!
//! Must not know what clients do meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use memring_protocol::level::majority;
use rand::RngExt;
use rand::rngs::StdRng;

use super::cluster::Cluster;
use super::network::{Met, Weather};

/// Faults of one episode begin within this time …
const BEGINS_MAX_MS: u64 = 6_000;

/// … and each ends within this time: well before a missing home is given up after 30 s.
const LASTS_MS: std::ops::Range<u64> = 300..9_000;

/// How long a node that is told to stop may wait: longer than some of those that tell it do.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// A wall clock that jumps, jumps so far: farther than tombstones are kept.
const JUMP_MS: i64 = 60 * 60_000;

/// The weight of a node that was told of none …
const USUAL_WEIGHT: u32 = 100;

/// … and those that a node joins or comes back with.
const WEIGHTS: [u32; 4] = [USUAL_WEIGHT, USUAL_WEIGHT, 40, 250];

/// One thing that goes wrong, and then right again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A node is killed, and starts again empty, its wall clock off by so many milliseconds.
    Crash(usize, i64),
    /// A node is killed, and starts again empty with so much weight: its share of the ring changes.
    Reweigh(usize, u32),
    /// A node is told to stop, as for a restart, and starts again empty.
    Restart(usize),
    /// A node is stopped for a while.
    Pause(usize),
    /// A node's machine is stopped for a while: it keeps its memory, and its links are reset.
    Freeze(usize),
    /// A node hears nobody and is heard by nobody.
    Isolate(usize),
    /// A node is heard by all but hears one other no more.
    OneWay(usize, usize),
    /// Two nodes do not hear each other; both hear the others.
    Bridge(usize, usize),
    /// All that a node says and is told takes so many microseconds longer.
    Slow(usize, u64),
    /// The network gets worse.
    Storm,
    /// A node leaves the ring, and stops when it is out.
    Leave(usize),
    /// A node that is not in the ring starts, and joins it with so much weight.
    Join(usize, u32),
}

/// What a long run of seeds has met, each at least once: the faults here, and what networks and full hint logs did.
pub const KINDS: [&str; 20] = [
    "crash",
    "crash, clock behind",
    "crash, clock ahead",
    "weight change",
    "planned restart",
    "pause",
    "freeze",
    "isolation",
    "one way",
    "bridge",
    "slow node",
    "storm",
    "leave",
    "join",
    "join, other weight",
    "frames lost",
    "links reset",
    "messages doubled",
    "frames overtaken",
    "hints dropped",
];

impl Fault {
    fn kind(self) -> &'static str {
        match self {
            Self::Crash(_, 0) => "crash",
            Self::Crash(_, skew_ms) if skew_ms < 0 => "crash, clock behind",
            Self::Crash(..) => "crash, clock ahead",
            Self::Reweigh(..) => "weight change",
            Self::Restart(_) => "planned restart",
            Self::Pause(_) => "pause",
            Self::Freeze(_) => "freeze",
            Self::Isolate(_) => "isolation",
            Self::OneWay(..) => "one way",
            Self::Bridge(..) => "bridge",
            Self::Slow(..) => "slow node",
            Self::Storm => "storm",
            Self::Leave(_) => "leave",
            Self::Join(_, USUAL_WEIGHT) => "join",
            Self::Join(..) => "join, other weight",
        }
    }

    /// The node whose process it is about, if it is about one.
    fn process(self) -> Option<usize> {
        match self {
            Self::Crash(node, _) | Self::Reweigh(node, _) | Self::Join(node, _) => Some(node),
            Self::Restart(node) | Self::Pause(node) | Self::Freeze(node) | Self::Leave(node) => Some(node),
            _ => None,
        }
    }
}

/// Lets clients work for some time.
pub type Work<'a> = dyn FnMut(&mut Cluster, Duration) + 'a;

/// A cluster's faults, and which nodes are to be its members.
pub struct Troubles {
    members: BTreeSet<usize>,
    /// N.
    replicas: usize,
    active: Vec<Fault>,
    /// Nodes that have lost their memory in this episode.
    emptied: BTreeSet<usize>,
    /// Copies that each node gave up when the ring was new and nobody had any.
    given_up_at_first: Vec<u64>,
    /// All faults so far, each with the times when it began and ended, in milliseconds.
    pub past: Vec<(u64, u64, Fault)>,
    /// Those that have begun: not all that is planned can.
    pub met: Met,
}

impl Troubles {
    /// None yet, in a cluster with these members, and with so many copies.
    pub fn new(cluster: &mut Cluster, members: Vec<usize>, replicas: usize) -> Self {
        let mut given_up_at_first = vec![0; cluster.size()];
        members.iter().for_each(|node| given_up_at_first[*node] = given_up(cluster, *node));
        Self {
            members: members.into_iter().collect(),
            replicas,
            active: Vec::new(),
            emptied: BTreeSet::new(),
            given_up_at_first,
            past: Vec::new(),
            met: Met::new(),
        }
    }

    /// The nodes that are to be members.
    pub fn members(&self) -> Vec<usize> {
        self.members.iter().copied().collect()
    }

    /// One to four faults that may overlap, and then peace, until all copies are whole.
    pub fn suffer(&mut self, cluster: &mut Cluster, random: &mut StdRng, work: &mut Work<'_>) {
        self.emptied.clear();
        let plan = self.plan(random, cluster.size());
        let began = cluster.now_us() / 1000;
        self.past.extend(plan.iter().map(|(begins, ends, fault)| (began + begins, began + ends, *fault)));
        let mut events: Vec<(u64, bool, Fault)> = Vec::new();
        for (begins, ends, fault) in &plan {
            events.push((*begins, true, *fault));
            events.push((*ends, false, *fault));
        }
        events.sort_by_key(|(at, ..)| *at);
        let mut now = 0;
        for (at, begins, fault) in events {
            if at > now {
                work(cluster, Duration::from_millis(at - now));
                now = at;
            }
            if begins { self.begin(cluster, fault) } else { self.end(cluster, fault) }
        }
        self.recover(cluster, work, &plan);
    }

    fn plan(&self, random: &mut StdRng, nodes: usize) -> Vec<(u64, u64, Fault)> {
        let mut victims = Vec::new();
        while victims.len() < self.replicas - majority(self.replicas) {
            let node = random.random_range(0..nodes);
            if !victims.contains(&node) {
                victims.push(node);
            }
        }
        let count = random.random_range(1..5);
        let mut plan = Vec::new();
        for _ in 0..count {
            let fault = self.choose(random, nodes, &victims);
            let begins = random.random_range(0..BEGINS_MAX_MS);
            plan.push((begins, begins + random.random_range(LASTS_MS), fault));
        }
        plan
    }

    fn choose(&self, random: &mut StdRng, nodes: usize, victims: &[usize]) -> Fault {
        let node = random.random_range(0..nodes);
        let other = (node + random.random_range(1..nodes)) % nodes;
        let victim = victims[random.random_range(0..victims.len())];
        let weight = WEIGHTS[random.random_range(0..WEIGHTS.len())];
        match random.random_range(0..20) {
            4 => Fault::Reweigh(victim, weight),
            0..=3 => Fault::Crash(victim, [0, -JUMP_MS, JUMP_MS][random.random_range(0..3)]),
            5 => Fault::Restart(victim),
            6 => Fault::Pause(node),
            7 | 8 => Fault::Freeze(node),
            9 => Fault::Isolate(node),
            10 => Fault::OneWay(node, other),
            11 => Fault::Bridge(node, other),
            12 | 13 => Fault::Slow(node, random.random_range(1_000..300_000)),
            14 if !self.members.contains(&node) => Fault::Join(node, weight),
            // Three copies want three members.
            14..=17 if nodes > 3 => match (0..nodes).find(|node| !self.members.contains(node)) {
                Some(absent) => Fault::Join(absent, weight),
                None => Fault::Leave(node),
            },
            _ => Fault::Storm,
        }
    }

    /// Does nothing if the node is troubled otherwise.
    fn begin(&mut self, cluster: &mut Cluster, fault: Fault) {
        let busy = |node: usize| self.active.iter().any(|active| active.process() == Some(node));
        if fault.process().is_some_and(busy) || self.active.contains(&fault) {
            return;
        }
        match fault {
            Fault::Join(node, _) if self.members.contains(&node) => return,
            Fault::Leave(_) if self.members.len() <= 3 || self.is_too_much(&[], self.members.len() - 1) => return,
            Fault::Crash(node, _) | Fault::Reweigh(node, _) | Fault::Restart(node)
                if self.is_too_much(&[node], self.members.len()) =>
            {
                return;
            }
            Fault::Reweigh(node, weight) if cluster.weights[node] == weight => return,
            Fault::Leave(node) | Fault::Crash(node, _) | Fault::Reweigh(node, _) | Fault::Restart(node)
                if !self.members.contains(&node) =>
            {
                return;
            }
            Fault::Pause(node) | Fault::Freeze(node) if !cluster.is_up(node) => return,
            Fault::Crash(node, _) | Fault::Reweigh(node, _) => {
                self.emptied.insert(node);
                cluster.crash(node);
            }
            Fault::Restart(node) => {
                self.emptied.insert(node);
                cluster.terminate(node, STOP_WAIT);
            }
            Fault::Pause(node) => cluster.pause(node),
            Fault::Freeze(node) => cluster.freeze(node),
            Fault::Leave(node) => {
                self.members.remove(&node);
                cluster.drain(node);
            }
            Fault::Join(node, weight) => {
                self.members.insert(node);
                cluster.weights[node] = weight;
                self.given_up_at_first[node] = 0;
                cluster.start(node);
            }
            _ => {}
        }
        *self.met.entry(fault.kind()).or_default() += 1;
        self.active.push(fault);
        self.apply(cluster);
    }

    /// Whether a minority of the copies would not be all that lose their memory, were these emptied too and the ring of so
    /// many members: one that has fewer than N has as many copies.
    fn is_too_much(&self, also: &[usize], members: usize) -> bool {
        let emptied: BTreeSet<usize> = self.emptied.iter().chain(also).copied().collect();
        let copies = self.replicas.min(members);
        emptied.len() > copies - majority(copies)
    }

    fn end(&mut self, cluster: &mut Cluster, fault: Fault) {
        let Some(place) = self.active.iter().position(|active| *active == fault) else { return };
        match fault {
            // These go on.
            Fault::Leave(_) | Fault::Join(..) => return,
            Fault::Crash(node, skew_ms) => {
                cluster.skew_ms[node] = skew_ms;
                self.given_up_at_first[node] = 0;
                cluster.start(node);
            }
            Fault::Reweigh(node, weight) => {
                cluster.weights[node] = weight;
                self.given_up_at_first[node] = 0;
                cluster.start(node);
            }
            Fault::Restart(node) => {
                // One that still waits has waited for as long as whoever told it to stop does.
                if cluster.is_running(node) {
                    cluster.crash(node);
                }
                self.given_up_at_first[node] = 0;
                cluster.start(node);
            }
            Fault::Pause(node) => cluster.resume(node),
            Fault::Freeze(node) => cluster.thaw(node),
            _ => {}
        }
        self.active.remove(place);
        self.apply(cluster);
    }

    /// Gives the network the faults that last.
    fn apply(&self, cluster: &mut Cluster) {
        cluster.network.heal();
        cluster.network.weather = Weather::fair();
        for fault in &self.active {
            match *fault {
                Fault::Isolate(node) => {
                    let others: Vec<usize> = (0..cluster.size()).filter(|other| *other != node).collect();
                    cluster.network.split(&[node], &others);
                }
                Fault::OneWay(node, other) => cluster.network.cut(other, node),
                Fault::Bridge(node, other) => cluster.network.split(&[node], &[other]),
                Fault::Slow(node, extra_us) => cluster.network.slow_down(node, extra_us),
                Fault::Storm => cluster.network.weather = Weather::foul(),
                _ => {}
            }
        }
    }

    /// The next fault may take another node's memory: all copies must be whole before it.
    fn recover(&mut self, cluster: &mut Cluster, work: &mut Work<'_>, plan: &[(u64, u64, Fault)]) {
        let members = self.members();
        let mut waited = Duration::ZERO;
        let step = Duration::from_millis(200);
        while !(cluster.is_whole(&members) && has_its_shares(cluster, &members)) {
            work(cluster, step);
            waited += step;
            let views: BTreeMap<usize, _> = members.iter().map(|node| (*node, cluster.view(*node))).collect();
            assert!(waited < Duration::from_secs(90), "not whole 90 s after {plan:?}: {views:#?}");
        }
        for fault in self.active.drain(..) {
            if let Fault::Leave(node) = fault {
                cluster.crash(node);
            }
        }
        for node in members {
            let more = given_up(cluster, node) - self.given_up_at_first[node];
            assert_eq!(more, 0, "node {node} gave up copies though {plan:?} is within the promise");
        }
    }
}

/// Whether the ring has these members, each with the weight that it was started with.
fn has_its_shares(cluster: &Cluster, members: &[usize]) -> bool {
    let wanted: Vec<f64> = members.iter().map(|node| f64::from(cluster.weights[*node]) / 100.0).collect();
    let view = cluster.view(members[0]);
    view.is_some_and(|view| view.members.iter().map(|member| member.weight).eq(wanted))
}

/// How many partitions a node has taken for complete though too few homes had them.
fn given_up(cluster: &mut Cluster, node: usize) -> u64 {
    cluster.stat(node, "partitions_refounded").expect("a whole cluster answers")
}
