//! What operators do to a cluster, and what happens to it every month: nodes are killed, stopped, restarted in turn, added,
//! taken away, absent for minutes or gone for good. Each of these while something else is wrong too, with clients at work
//! all the time.
//!
//! They stay within what the cluster promises to survive: fewer than a majority of the copies of anything lose their memory
//! until all copies are whole again. Must not know what clients do meanwhile.

use std::collections::BTreeSet;
use std::time::Duration;

use memring_engine::node::Settings;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cluster::{Cluster, ClusterOptions};
use super::lives::{Clients, Ending, Report, conclude};
use super::network::{Met, Weather};

/// A cluster of which every node is a home of half the keys.
const SIX: usize = 6;

/// A large one.
const THIRTY: usize = 30;

/// A node that is gone for good is removed after this time, in the stories that tell of one.
const REMOVE_AFTER: Duration = Duration::from_secs(20);

/// The other thing that goes wrong lasts no longer: well before a missing home is given up after 30 s.
const LASTS_MS: std::ops::Range<u64> = 300..9_000;

/// It begins within this time of the event.
const BEGINS_MAX_MS: u64 = 4_000;

/// The most that a node which is told to stop waits for other copies.
const STOP_WAIT: Duration = Duration::from_secs(60);

/// How often is looked whether it has stopped.
const GOODBYE: Duration = Duration::from_millis(50);

/// How long an orchestrator needs to start a node's process again.
const STARTS_WITHIN_MS: std::ops::Range<u64> = 100..3_000;

/// How long it may take, after anything that a story tells, until the ring is whole.
const WHOLE_WITHIN: Duration = Duration::from_secs(120);

/// How many are restarted in turn: all of a small cluster, these of a large one.
const ROLLED_MAX: usize = 6;

/// How long a node is away in an outage: ten minutes; one minute where each of thirty nodes goes on pinging all others.
const OUTAGE: [(usize, Duration); 2] = [(SIX, Duration::from_secs(600)), (THIRTY, Duration::from_secs(60))];

/// Of an outage, clients are at work in one part of so many: they have written everything again and again by then.
const OUTAGE_IDLE_PARTS: u32 = 20;

/// What is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    /// A node is killed, and starts again empty.
    Kill,
    /// A node is stopped for up to half a minute, and goes on.
    Pause,
    /// One node after the other is told to stop, waits until its copies are safe, and starts again empty.
    Roll,
    /// Nodes join, one after the other or at once.
    ScaleOut,
    /// Nodes leave, one after the other.
    ScaleIn,
    /// A node is away for minutes with its memory, and comes back with it.
    Outage,
    /// A node is killed and never seen again.
    Gone,
}

const EVENTS: [Event; 7] =
    [Event::Kill, Event::Pause, Event::Roll, Event::ScaleOut, Event::ScaleIn, Event::Outage, Event::Gone];

impl Event {
    fn kind(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Roll => "rolling restart",
            Self::ScaleOut => "scale-out",
            Self::ScaleIn => "scale-in",
            Self::Outage => "outage",
            Self::Gone => "gone for good",
        }
    }
}

/// What else is wrong meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    Nothing,
    Storm,
    Slow(usize, u64),
    Isolated(usize),
    Bridge(usize, usize),
    OneWay(usize, usize),
    Frozen(usize),
}

impl Trouble {
    fn kind(self) -> &'static str {
        match self {
            Self::Nothing => "nothing else",
            Self::Storm => "storm",
            Self::Slow(..) => "slow node",
            Self::Isolated(_) => "isolation",
            Self::Bridge(..) => "bridge",
            Self::OneWay(..) => "one way",
            Self::Frozen(_) => "freeze",
        }
    }
}

/// What a long run of seeds has met, each at least once.
pub const KINDS: [&str; 14] = [
    "kill",
    "pause",
    "rolling restart",
    "scale-out",
    "scale-in",
    "outage",
    "gone for good",
    "nothing else",
    "storm",
    "slow node",
    "isolation",
    "bridge",
    "one way",
    "freeze",
];

/// Six nodes through two events.
pub fn six_nodes(seed: u64) -> Report {
    live_through_events(SIX, 2, seed)
}

/// Thirty nodes through one event.
pub fn thirty_nodes(seed: u64) -> Report {
    live_through_events(THIRTY, 1, seed)
}

fn live_through_events(nodes: usize, count: usize, seed: u64) -> Report {
    let mut random = StdRng::seed_from_u64(seed ^ 0x6576_656e_7473);
    let events: Vec<Event> = (0..count).map(|_| EVENTS[random.random_range(0..EVENTS.len())]).collect();
    // Tombstones are forgotten after ten minutes.
    let with_tombstones = !events.contains(&Event::Outage);
    let mut scene = Scene::new(nodes, &events, random, seed);
    for event in events {
        scene.pass(Duration::from_millis(500));
        scene.plan_trouble();
        scene.happen(event);
        scene.until_whole();
        scene.end_trouble();
    }
    let Scene { mut cluster, mut clients, members, past, met, .. } = scene;
    let ending = Ending { members: members.into_iter().collect(), with_tombstones, past: format!("{past:?}"), met };
    conclude(seed, &mut cluster, &ending, &mut clients)
}

fn removed_soon(settings: &mut Settings) {
    settings.remove_after = Some(REMOVE_AFTER);
}

/// A cluster with its clients, and what is wrong with it.
struct Scene {
    cluster: Cluster,
    clients: Clients,
    random: StdRng,
    members: BTreeSet<usize>,
    /// What else goes wrong, from and until when, in microseconds.
    trouble: Option<(u64, u64, Trouble)>,
    in_trouble: bool,
    past: Vec<(u64, String)>,
    met: Met,
}

impl Scene {
    /// A whole ring with clients. Where nodes are to join, they are there but do not run yet.
    fn new(nodes: usize, events: &[Event], mut random: StdRng, seed: u64) -> Self {
        let joiners = if events.contains(&Event::ScaleOut) { 1 + nodes / 15 } else { 0 };
        let replicas = if nodes == SIX && random.random_bool(0.2) { 5 } else { 3 };
        let adjust: fn(&mut Settings) = if events.contains(&Event::Gone) { removed_soon } else { |_| {} };
        let members: BTreeSet<usize> = (0..nodes - joiners).collect();
        let options = ClusterOptions {
            nodes,
            replicas,
            expect: Some(members.len()),
            hint_disk_bytes: 1 << 20,
            adjust,
            ..ClusterOptions::default()
        };
        let mut cluster = Cluster::new(options, seed);
        // Every other node has a disk.
        cluster.disks.iter_mut().skip(seed as usize % 2).step_by(2).for_each(|disk| *disk = None);
        members.iter().for_each(|node| cluster.start(*node));
        let mut scene = Self {
            cluster,
            clients: Clients::new(seed),
            random,
            members,
            trouble: None,
            in_trouble: false,
            past: Vec::new(),
            met: Met::new(),
        };
        let all = scene.all();
        assert!(scene.cluster.run_until(WHOLE_WITHIN, |cluster| cluster.is_whole(&all)), "no whole ring at the start");
        scene.clients.workload.create_counters(&mut scene.cluster);
        scene
    }

    fn all(&self) -> Vec<usize> {
        self.members.iter().copied().collect()
    }

    fn any_member(&mut self) -> usize {
        let all = self.all();
        all[self.random.random_range(0..all.len())]
    }

    fn note(&mut self, what: &'static str, text: String) {
        *self.met.entry(what).or_default() += 1;
        self.past.push((self.cluster.now_us() / 1000, text));
    }

    /// Chooses what else goes wrong, and when.
    fn plan_trouble(&mut self) {
        let node = self.any_member();
        let others: Vec<usize> = self.all().into_iter().filter(|other| *other != node).collect();
        let other = others[self.random.random_range(0..others.len())];
        let trouble = match self.random.random_range(0..8) {
            0 => Trouble::Nothing,
            1 | 2 => Trouble::Storm,
            3 => Trouble::Slow(node, self.random.random_range(1_000..300_000)),
            4 => Trouble::Isolated(node),
            5 => Trouble::Bridge(node, other),
            6 => Trouble::OneWay(node, other),
            _ => Trouble::Frozen(node),
        };
        let begins = self.cluster.now_us() + self.random.random_range(0..BEGINS_MAX_MS) * 1000;
        let ends = begins + self.random.random_range(LASTS_MS) * 1000;
        self.trouble = Some((begins, ends, trouble));
    }

    /// Lets clients work for so long; what else goes wrong begins and ends in its time.
    fn pass(&mut self, time: Duration) {
        let until = self.cluster.now_us() + time.as_micros() as u64;
        while self.cluster.now_us() < until {
            let now = self.cluster.now_us();
            let next = match self.trouble {
                Some((begins, ..)) if !self.in_trouble => begins,
                Some((_, ends, _)) => ends,
                None => until,
            };
            if next > now {
                self.clients.run(&mut self.cluster, Duration::from_micros(next.min(until) - now));
            } else if self.in_trouble {
                self.end_trouble();
            } else {
                self.begin_trouble();
            }
        }
    }

    fn begin_trouble(&mut self) {
        let Some((_, _, trouble)) = self.trouble else { return };
        self.in_trouble = true;
        let everyone: Vec<usize> = (0..self.cluster.size()).collect();
        let network = &mut self.cluster.network;
        match trouble {
            Trouble::Nothing => {}
            Trouble::Storm => network.weather = Weather::foul(),
            Trouble::Slow(node, extra_us) => network.slow_down(node, extra_us),
            Trouble::Isolated(node) => {
                let others: Vec<usize> = everyone.into_iter().filter(|other| *other != node).collect();
                network.split(&[node], &others);
            }
            Trouble::Bridge(node, other) => network.split(&[node], &[other]),
            Trouble::OneWay(node, other) => network.cut(other, node),
            // Unless it is down already: then this is an event alone.
            Trouble::Frozen(node) if self.cluster.is_up(node) => self.cluster.freeze(node),
            Trouble::Frozen(_) => self.trouble = None,
        }
        if let Some((_, _, trouble)) = self.trouble {
            self.note(trouble.kind(), format!("{trouble:?}"));
        } else {
            self.in_trouble = false;
        }
    }

    fn end_trouble(&mut self) {
        let Some((_, _, trouble)) = self.trouble.take() else { return };
        if !std::mem::take(&mut self.in_trouble) {
            return;
        }
        self.cluster.network.heal();
        self.cluster.network.weather = Weather::fair();
        if let Trouble::Frozen(node) = trouble
            && self.cluster.is_running(node)
        {
            self.cluster.thaw(node);
        }
        self.past.push((self.cluster.now_us() / 1000, format!("{trouble:?} ends")));
    }

    /// Whether the other thing that is wrong, or will be, is about this node's process.
    fn is_troubled(&self, node: usize) -> bool {
        matches!(self.trouble, Some((_, _, Trouble::Frozen(frozen))) if frozen == node)
    }

    /// A member whose process nothing else happens to.
    fn victim(&mut self) -> usize {
        loop {
            let node = self.any_member();
            if !self.is_troubled(node) {
                return node;
            }
        }
    }

    fn happen(&mut self, event: Event) {
        self.note(event.kind(), format!("{event:?}"));
        match event {
            Event::Kill => self.kill(),
            Event::Pause => self.pause(),
            Event::Roll => self.roll(),
            Event::ScaleOut => self.scale_out(),
            Event::ScaleIn => self.scale_in(),
            Event::Outage => self.outage(),
            Event::Gone => self.lose(),
        }
    }

    fn told(&mut self, what: &str, node: usize) {
        self.past.push((self.cluster.now_us() / 1000, format!("{what} {node}")));
    }

    fn kill(&mut self) {
        let node = self.victim();
        self.told("kill", node);
        self.cluster.crash(node);
        let away = self.random.random_range(300..9_000);
        self.pass(Duration::from_millis(away));
        self.start(node);
    }

    fn start(&mut self, node: usize) {
        self.told("start", node);
        self.cluster.start(node);
        self.pass(Duration::from_millis(200));
    }

    fn pause(&mut self) {
        let node = self.victim();
        let away = self.random.random_range(1_000..30_000);
        self.told("pause", node);
        self.cluster.pause(node);
        self.pass(Duration::from_millis(away));
        self.cluster.resume(node);
    }

    fn roll(&mut self) {
        for node in self.all().into_iter().take(ROLLED_MAX) {
            self.until_whole();
            if self.is_troubled(node) && self.in_trouble {
                self.end_trouble();
            }
            self.told("stop", node);
            self.cluster.terminate(node, STOP_WAIT);
            while self.cluster.is_running(node) {
                self.pass(GOODBYE);
            }
            let away = self.random.random_range(STARTS_WITHIN_MS);
            self.pass(Duration::from_millis(away));
            self.start(node);
        }
    }

    fn scale_out(&mut self) {
        let together = self.random.random_bool(0.5);
        let absent: Vec<usize> = (0..self.cluster.size()).filter(|node| !self.members.contains(node)).collect();
        for node in absent.into_iter().filter(|node| !self.cluster.is_running(*node)).collect::<Vec<_>>() {
            self.members.insert(node);
            self.start(node);
            if !together {
                self.until_whole();
            }
        }
    }

    fn scale_in(&mut self) {
        for _ in 0..1 + self.members.len() / 15 {
            if self.members.len() <= usize::from(self.cluster.options().replicas) {
                return;
            }
            let node = self.victim();
            self.told("drain", node);
            self.members.remove(&node);
            self.cluster.drain(node);
            // It goes on answering until it is out.
            self.until_whole();
            self.cluster.crash(node);
        }
    }

    fn outage(&mut self) {
        let node = self.victim();
        let away =
            OUTAGE.iter().find(|(nodes, _)| *nodes == self.cluster.size()).map_or(WHOLE_WITHIN, |(_, away)| *away);
        self.told("outage", node);
        self.cluster.freeze(node);
        let until = self.cluster.now_us() + away.as_micros() as u64;
        // All of what else goes wrong falls into it.
        self.pass(Duration::from_secs(15));
        while self.cluster.now_us() < until {
            self.pass(Duration::from_secs(1));
            self.cluster.run_for(Duration::from_secs(1) * OUTAGE_IDLE_PARTS);
        }
        self.told("outage ends", node);
        self.cluster.thaw(node);
    }

    fn lose(&mut self) {
        if self.members.len() <= usize::from(self.cluster.options().replicas) {
            return;
        }
        let node = self.victim();
        self.told("lose", node);
        self.cluster.crash(node);
        self.members.remove(&node);
    }

    /// Clients work until all members are one ring again and whole.
    fn until_whole(&mut self) {
        let members = self.all();
        let until = self.cluster.now_us() + WHOLE_WITHIN.as_micros() as u64;
        while !(self.cluster.is_whole(&members) && self.has_members(&members)) {
            self.pass(Duration::from_millis(100));
            let views: Vec<_> = members.iter().map(|node| self.cluster.view(*node)).collect();
            assert!(self.cluster.now_us() < until, "not whole in time after {:?}: {views:#?}", self.past);
        }
    }

    /// Whether the ring has these members and no others.
    fn has_members(&self, members: &[usize]) -> bool {
        self.cluster.view(members[0]).is_some_and(|view| view.members.len() == members.len())
    }
}
