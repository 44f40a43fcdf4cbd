//! The cluster: nodes, their threads' machines, and the queue of what happens next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use memring_engine::cluster::hints::DiskAnswer;
use memring_engine::node::{
    ClusterView, Control, DumpCursor, Effect, LinkId, Namespace, Node, Settings, Shared, Ticket, Unmet,
};
use memring_engine::now::{ClusterTime, Mono, Now};
use memring_protocol::entry::{Expiry, Item, Marks, UnixMillis};
use memring_protocol::frame::{self, Batch, InPlace};
use memring_protocol::key::{Key, Partition};
use memring_protocol::level::Level;
use memring_protocol::message::{Message, Request};
use memring_protocol::ring::NodeName;
use memring_protocol::text::{Command, ReplyLine, ReplyStep, Response, Step, TextLimits, parse, parse_reply};
use memring_protocol::version::{Slot, Version};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::disk::Disk;
use super::network::{Fate, Network};

/// The wall clock when a simulation begins: 2026-01-01.
const WALL_MS: u64 = 1_767_225_600_000;

const MILLION: i64 = 1_000_000;

/// The control thread's place among a node's threads.
const CONTROL: usize = usize::MAX;

const LIMITS: TextLimits = TextLimits { item_bytes_max: 10_240, get_line_bytes_max: 8 << 20 };

/// Items that are looked at together where nodes are compared.
const PAGE_ITEMS: usize = 1000;

/// How often a node that is to stop looks whether it may, in microseconds; and how long it serves once it has said goodbye.
const STOP_POLL_US: u64 = 20_000;
const FAREWELL_US: u64 = 100_000;

/// Operations of [`Cluster::ask`] are numbered from here on, apart from those of workloads.
const ASKED_FROM: u64 = 1 << 62;

/// What all nodes of a cluster are told.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How many nodes there can be.
    pub nodes: usize,
    /// Worker threads of each.
    pub workers: usize,
    /// N.
    pub replicas: u8,
    /// `--expect`.
    pub expect: Option<usize>,
    /// `-m`, in bytes.
    pub memory_limit_bytes: usize,
    /// `--hint-memory`, in bytes.
    pub hint_memory_bytes: usize,
    /// `--hint-disk` in bytes, for nodes that have a disk; none has one if 0.
    pub hint_disk_bytes: u64,
    /// What else they are told.
    pub adjust: fn(&mut Settings),
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            nodes: 3,
            workers: 2,
            replicas: 3,
            expect: Some(3),
            memory_limit_bytes: 4 << 20,
            hint_memory_bytes: 1 << 20,
            hint_disk_bytes: 0,
            adjust: |_| {},
        }
    }
}

struct Running {
    shared: Arc<Shared>,
    control: Control,
    workers: Vec<Node>,
    started_us: u64,
    time: ClusterTime,
    /// How much faster than time its monotonic clock goes, in millionths.
    drift_ppm: i64,
}

impl Running {
    /// Its monotonic clock.
    fn mono(&self, now_us: u64) -> Mono {
        let elapsed = (now_us - self.started_us) as i64;
        Mono((elapsed + elapsed * self.drift_ppm / MILLION) as u64)
    }

    /// When its monotonic clock will have reached `at`.
    fn reaches(&self, at: Mono) -> u64 {
        let elapsed = at.0 as i64 * MILLION / (MILLION + self.drift_ppm);
        self.started_us + elapsed as u64 + u64::from(self.drift_ppm != 0)
    }
}

struct Place {
    life: u64,
    running: Option<Running>,
    paused: bool,
    /// Frozen: what reaches it is lost, not only late.
    frozen: bool,
    /// When it will be looked after next, to keep one timer event a node.
    wakes_us: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Thread {
    node: usize,
    life: u64,
    thread: usize,
}

enum Event {
    Wake { node: usize, life: u64 },
    Frame { link: LinkId, from: Thread, to: usize, to_life: u64, bytes: BytesMut },
    Answer { to: Thread, from: usize, bytes: BytesMut },
    Packet { from: usize, to: usize, bytes: Vec<u8> },
    Lost { to: Thread, peer: usize },
    Join { node: usize, life: u64 },
    HintDisk { node: usize, life: u64, answer: DiskAnswer },
    Depart { node: usize, life: u64 },
    End { node: usize, life: u64 },
}

/// An answer to a client.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The node that answered.
    pub node: usize,
    /// What it was asked, by [`Cluster::request`].
    pub operation: u64,
    /// What it said.
    pub response: Response,
}

/// A cluster in virtual time.
pub struct Cluster {
    options: ClusterOptions,
    now_us: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    places: Vec<Place>,
    links: BTreeMap<Thread, LinkId>,
    ends: BTreeMap<LinkId, Thread>,
    /// The network, for faults to play with.
    pub network: Network,
    random: StdRng,
    answers: Vec<Answered>,
    asked: u64,
    read_messages: u64,
    comparisons: u64,
    sent_bytes: u64,
    /// Packets of gossip and their bytes.
    gossip: (u64, u64),
    /// How often each version of a key has come to a node, once somebody wants to know.
    arrivals: Option<BTreeMap<(Key, Version, usize), u32>>,
    /// How far each node's wall clock is off, in milliseconds: it matters at the node's next start.
    pub skew_ms: Vec<i64>,
    /// How much faster than time each node's monotonic clock goes, in millionths, from its next start on.
    pub drift_ppm: Vec<i64>,
    /// Each node's share of the ring in hundredths, from when it next joins on.
    pub weights: Vec<u32>,
    /// What nodes keep from one life to the next; without one a node is told of none, from its next start on.
    pub disks: Vec<Option<Disk>>,
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1 + node as u8)), 11212)
}

fn node_at(address: SocketAddr) -> Option<usize> {
    match address.ip() {
        IpAddr::V4(ip) => usize::from(ip.octets()[3]).checked_sub(1),
        IpAddr::V6(_) => None,
    }
}

impl Cluster {
    /// A cluster of which no node runs yet.
    pub fn new(options: ClusterOptions, seed: u64) -> Self {
        let place = || Place { life: 0, running: None, paused: false, frozen: false, wakes_us: u64::MAX };
        Self {
            now_us: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            places: (0..options.nodes).map(|_| place()).collect(),
            links: BTreeMap::new(),
            ends: BTreeMap::new(),
            network: Network::new(seed ^ 0x006e_6574),
            random: StdRng::seed_from_u64(seed),
            answers: Vec::new(),
            asked: 0,
            read_messages: 0,
            comparisons: 0,
            sent_bytes: 0,
            gossip: (0, 0),
            arrivals: None,
            skew_ms: vec![0; options.nodes],
            drift_ppm: vec![0; options.nodes],
            weights: vec![100; options.nodes],
            disks: (0..options.nodes as u64).map(|node| disk(&options, seed, node)).collect(),
            options,
        }
    }

    /// A cluster whose nodes all run, synced, as one ring.
    pub fn started(options: ClusterOptions, seed: u64) -> Self {
        let mut cluster = Self::new(options, seed);
        for node in 0..cluster.places.len() {
            cluster.start(node);
        }
        let all: Vec<usize> = (0..cluster.places.len()).collect();
        assert!(
            cluster.run_until(Duration::from_secs(60), |cluster| cluster.is_whole(&all)),
            "no whole ring at the start"
        );
        cluster
    }

    /// Microseconds since the simulation began.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// What all nodes are told.
    pub fn options(&self) -> &ClusterOptions {
        &self.options
    }

    /// How many nodes there can be.
    pub fn size(&self) -> usize {
        self.places.len()
    }

    /// Starts a node, empty.
    pub fn start(&mut self, node: usize) {
        let now_us = self.now_us;
        let place = &mut self.places[node];
        assert!(place.running.is_none(), "node {node} runs already");
        place.life += 1;
        (place.paused, place.frozen) = (false, false);
        place.wakes_us = u64::MAX;
        let settings = self.settings(node);
        let wall_ms = settings.generation;
        let shared = Shared::new(settings);
        let workers = (0..self.options.workers).map(|worker| Node::new(Arc::clone(&shared), worker as u16)).collect();
        let control = Control::new(Arc::clone(&shared));
        let drift_ppm = self.drift_ppm[node];
        let place = &mut self.places[node];
        let time = ClusterTime::of_base(wall_ms);
        place.running = Some(Running { shared, control, workers, started_us: now_us, time, drift_ppm });
        let life = place.life;
        self.push(0, Event::Join { node, life });
        self.wake(node, now_us);
    }

    fn settings(&mut self, node: usize) -> Settings {
        let mut settings = Settings {
            replicas: self.options.replicas,
            vnodes: 64,
            // Keys of these prefixes are written to one copy or to all, and read from one.
            namespaces: [("fast:", Level::One), ("all:", Level::All)]
                .map(|(prefix, write)| Namespace {
                    prefix: prefix.as_bytes().to_vec(),
                    read: Some(Level::One),
                    write: Some(write),
                })
                .into(),
            unmet: Unmet::Error,
            memory_limit_bytes: self.options.memory_limit_bytes,
            item_bytes_max: 10 * 1024,
            joining: true,
            expect: self.options.expect,
            hint_memory_bytes: self.options.hint_memory_bytes,
            hint_disk_bytes: self.disks[node].as_ref().map_or(0, |_| self.options.hint_disk_bytes),
            listen: "127.0.0.1".to_owned(),
            peer: address(node),
            generation: (WALL_MS + self.now_us / 1000).saturating_add_signed(self.skew_ms[node]),
            seed: self.random.random(),
            workers: self.options.workers as u16,
            weight: self.weights[node],
            ..Settings::alone(NodeName::new(&format!("n{}", node + 1)).expect("a legal name"))
        };
        (self.options.adjust)(&mut settings);
        settings
    }

    /// Kills a node: its memory is gone, and its peers' links are reset if they hear it.
    pub fn crash(&mut self, node: usize) {
        if let Some(disk) = &mut self.disks[node] {
            disk.crash();
        }
        self.end(node);
    }

    /// Ends a node that was told to stop: what it would lose goes to its disk first, if it has one.
    pub fn shut_down(&mut self, node: usize) {
        let life = self.places[node].life;
        self.on_thread(Thread { node, life, thread: CONTROL }, |machine, now, effects| {
            if let Machine::Control(control) = machine {
                control.save_hints(now, effects);
            }
        });
        let saved = |cluster: &Self| cluster.shared(node).is_none_or(|shared| !shared.has_unsaved_hints());
        self.run_until(Duration::from_secs(5), saved);
        self.end(node);
    }

    fn end(&mut self, node: usize) {
        self.places[node].running = None;
        self.reset_links_to(node);
    }

    fn reset_links_to(&mut self, node: usize) {
        let threads: Vec<Thread> = self.links.keys().copied().filter(|thread| thread.node != node).collect();
        for to in threads {
            if self.network.hears(node, to.node) {
                let delay = self.network.delay();
                self.push(delay, Event::Lost { to, peer: node });
            }
        }
    }

    /// Takes a node's machine from under it: it keeps its memory, its links are reset, and what reaches it is lost.
    pub fn freeze(&mut self, node: usize) {
        (self.places[node].paused, self.places[node].frozen) = (true, true);
        self.reset_links_to(node);
    }

    /// Gives it back: none of its own links has outlived that.
    pub fn thaw(&mut self, node: usize) {
        let life = self.places[node].life;
        let threads: Vec<Thread> =
            self.links.keys().copied().filter(|thread| (thread.node, thread.life) == (node, life)).collect();
        for to in threads {
            for peer in (0..self.places.len()).filter(|peer| *peer != node) {
                self.push(0, Event::Lost { to, peer });
            }
        }
        self.places[node].frozen = false;
        self.resume(node);
    }

    /// Stops a node as SIGSTOP does: it keeps its memory, and what reaches it waits.
    pub fn pause(&mut self, node: usize) {
        self.places[node].paused = true;
    }

    /// Lets a paused node go on.
    pub fn resume(&mut self, node: usize) {
        self.places[node].paused = false;
        self.wake(node, self.now_us);
    }

    /// Tells a node that it will be stopped: it says so to the others.
    pub fn stop(&mut self, node: usize) {
        let life = self.places[node].life;
        self.on_thread(Thread { node, life, thread: CONTROL }, |machine, now, effects| {
            if let Machine::Control(control) = machine {
                control.stop(now, effects);
            }
        });
    }

    /// Tells a node to stop as SIGTERM does: it goes on until its copies are safe, for so long at most, says goodbye, and
    /// ends.
    pub fn terminate(&mut self, node: usize, wait: Duration) {
        let life = self.places[node].life;
        self.on_thread(Thread { node, life, thread: CONTROL }, |machine, now, effects| {
            if let Machine::Control(control) = machine {
                control.depart(now, wait, effects);
            }
        });
        self.push(0, Event::Depart { node, life });
    }

    fn on_depart(&mut self, node: usize, life: u64) {
        if self.places[node].life != life || !self.is_running(node) {
            return;
        }
        if !self.shared(node).is_some_and(|shared| shared.may_stop()) {
            return self.push(STOP_POLL_US, Event::Depart { node, life });
        }
        self.on_thread(Thread { node, life, thread: CONTROL }, |machine, now, effects| {
            if let Machine::Control(control) = machine {
                control.stop(now, effects);
            }
        });
        self.push(FAREWELL_US, Event::End { node, life });
    }

    /// Asks a node to leave the ring.
    pub fn drain(&mut self, node: usize) {
        let life = self.places[node].life;
        self.on_thread(Thread { node, life, thread: CONTROL }, |machine, now, effects| {
            if let Machine::Control(control) = machine {
                control.drain(now, effects);
            }
        });
    }

    /// Asks a node one thing and waits for its answer; `None` if none comes within five seconds.
    pub fn ask(&mut self, node: usize, line: &str) -> Option<Response> {
        self.asked += 1;
        let operation = ASKED_FROM + self.asked;
        if !self.request_line(node, operation, line) {
            return None;
        }
        let until = self.now_us + 5_000_000;
        loop {
            if let Some(place) = self.answers.iter().position(|answer| answer.operation == operation) {
                return Some(self.answers.swap_remove(place).response);
            }
            if !self.step(until) {
                return None;
            }
        }
    }

    /// How many operations a node has under way: none when all is quiet.
    pub fn operations(&self, node: usize) -> usize {
        let workers = self.places[node].running.iter().flat_map(|running| &running.workers);
        workers.map(Node::operations).sum()
    }

    /// What a running node takes for the time.
    pub fn cluster_time(&self, node: usize) -> UnixMillis {
        self.node_now(node).cluster
    }

    /// The true time.
    pub fn true_time(&self) -> UnixMillis {
        UnixMillis(WALL_MS + self.now_us / 1000)
    }

    /// The homes of a key, as `viewer` sees them: the first orders its writes while nobody else has had to.
    pub fn homes(&self, viewer: usize, key: &str) -> Vec<usize> {
        let key = Key::copy_from(key.as_bytes()).expect("a legal key");
        let topology = self.shared(viewer).expect("the viewer runs").topology();
        let Some(layout) = topology.layout() else { return Vec::new() };
        let place = |slot: &Slot| {
            let name = layout.config.member(*slot).map(|member| member.name.as_str().to_owned());
            (0..self.places.len()).find(|node| Some(format!("n{}", node + 1)) == name).expect("a node of this cluster")
        };
        layout.homes(key.partition()).iter().map(place).collect()
    }

    /// How many partitions have homes, of these nodes, whose copies differ.
    pub fn differing(&self, nodes: &[usize]) -> usize {
        let differs = |partition: &Partition| {
            let mut digests = nodes.iter().filter_map(|node| self.shared(*node)?.digest(*partition));
            let first = digests.next();
            digests.any(|digest| Some(digest) != first)
        };
        Partition::all().filter(differs).count()
    }

    /// How many keys have homes, of these nodes, that do not hold the same item.
    pub fn differing_items(&self, nodes: &[usize]) -> usize {
        let held: BTreeMap<usize, BTreeMap<Bytes, _>> = nodes.iter().map(|node| (*node, self.items(*node))).collect();
        let keys: BTreeSet<&Bytes> = held.values().flat_map(BTreeMap::keys).collect();
        let differs = |key: &&&Bytes| {
            let name = std::str::from_utf8(key).expect("tests name keys in ASCII");
            let homes = self.homes(nodes[0], name);
            let mut copies = homes.iter().filter_map(|home| held.get(home)).map(|items| items.get(**key));
            let first = copies.next();
            copies.any(|copy| Some(copy) != first)
        };
        keys.iter().filter(differs).count()
    }

    /// What a node holds of live items: of each its token, its end and its marks.
    fn items(&self, node: usize) -> BTreeMap<Bytes, (u64, Expiry, Marks)> {
        let (mut items, mut cursor) = (BTreeMap::new(), Some(DumpCursor::default()));
        let Some(running) = &self.places[node].running else { return items };
        while let Some(from) = cursor {
            let (page, next) = running.workers[0].dump(self.node_now(node), from, PAGE_ITEMS);
            items.extend(page.into_iter().map(|item| (item.key, (item.cas, item.expiry, item.marks))));
            cursor = next;
        }
        items
    }

    /// Resets all links between two nodes: each avoids the other until it has heard from it again.
    pub fn reset_links(&mut self, one: usize, other: usize) {
        for (node, peer) in [(one, other), (other, one)] {
            let life = self.places[node].life;
            let threads = std::iter::once(CONTROL).chain(0..self.options.workers);
            for thread in threads {
                self.happen(Event::Lost { to: Thread { node, life, thread }, peer });
            }
        }
    }

    /// One of a running node's figures, as `stats` names it.
    pub fn stat(&mut self, node: usize, name: &str) -> Option<u64> {
        let Some(Response::Stats(lines)) = self.ask(node, "stats") else { return None };
        lines.iter().find(|(line, _)| line == name).and_then(|(_, value)| value.parse().ok())
    }

    /// Whether the node runs.
    pub fn is_running(&self, node: usize) -> bool {
        self.places[node].running.is_some()
    }

    /// Whether the node runs and is not paused.
    pub fn is_up(&self, node: usize) -> bool {
        self.is_running(node) && !self.places[node].paused
    }

    /// What all threads of a running node share.
    pub fn shared(&self, node: usize) -> Option<&Arc<Shared>> {
        self.places[node].running.as_ref().map(|running| &running.shared)
    }

    /// A running node's view of the cluster.
    pub fn view(&self, node: usize) -> Option<ClusterView> {
        self.shared(node).map(|shared| shared.cluster_view())
    }

    /// Whether these nodes run as one ring, each sees all others alive, and all are synced.
    pub fn is_whole(&self, nodes: &[usize]) -> bool {
        let views: Vec<Option<ClusterView>> = nodes.iter().map(|node| self.view(*node)).collect();
        let Some(Some(first)) = views.first() else { return false };
        let (ring, epoch) = (first.ring_id.clone(), first.epoch);
        views.iter().zip(nodes).all(|(view, node)| {
            let Some(view) = view else { return false };
            let alive = view.members.iter().filter(|member| member.state == "alive").count();
            view.ring_id == ring
                && view.epoch == epoch
                && alive == nodes.len()
                && self.shared(*node).is_some_and(|shared| shared.is_synced())
        })
    }

    /// Sends a client's command to a node; the answer comes by [`Cluster::take_answers`], if it comes.
    pub fn request(&mut self, node: usize, operation: u64, command: &Command<'_>) -> bool {
        if !self.is_up(node) {
            return false;
        }
        let worker = self.random.random_range(0..self.options.workers);
        let now = self.node_now(node);
        let ticket = Ticket { connection: operation, sequence: 0 };
        let mut effects = Vec::new();
        let Some(running) = &mut self.places[node].running else { return false };
        running.workers[worker].on_request(now, ticket, command, &mut effects);
        self.perform(node, worker, effects);
        true
    }

    /// Sends many clients' commands to one worker of a node as it would take them from its sockets at once: what they ask of
    /// peers goes out together. Operations are numbered from `first` on.
    pub fn request_together(&mut self, node: usize, first: u64, lines: &[String]) -> bool {
        if !self.is_up(node) {
            return false;
        }
        let worker = self.random.random_range(0..self.options.workers);
        let now = self.node_now(node);
        let mut effects = Vec::new();
        let Some(running) = &mut self.places[node].running else { return false };
        let machine = &mut running.workers[worker];
        machine.hold_asks();
        for (operation, line) in (first..).zip(lines) {
            let line = format!("{line}\r\n");
            let Step::Command { command, .. } = parse(line.as_bytes(), &LIMITS) else {
                panic!("not a command: {line:?}")
            };
            machine.on_request(now, Ticket { connection: operation, sequence: 0 }, &command, &mut effects);
        }
        machine.release_asks(now, &mut effects);
        self.perform(node, worker, effects);
        true
    }

    /// How many read messages nodes have sent to each other so far.
    pub fn read_messages(&self) -> u64 {
        self.read_messages
    }

    /// How many comparisons nodes have sent to each other so far.
    pub fn comparisons(&self) -> u64 {
        self.comparisons
    }

    /// How many bytes of frames nodes have sent to each other so far.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// How many packets of gossip nodes have sent to each other so far, and how many bytes of it.
    pub fn gossip(&self) -> (u64, u64) {
        self.gossip
    }

    /// Counts from now on how often each version of a key comes to a node.
    pub fn note_arrivals(&mut self) {
        self.arrivals = Some(BTreeMap::new());
    }

    /// The counts since [`Cluster::note_arrivals`].
    pub fn arrivals(&self) -> impl Iterator<Item = (&Key, Version, usize, u32)> {
        let counted = self.arrivals.iter().flatten();
        counted.map(|((key, version, node), count)| (key, *version, *node, *count))
    }

    /// As [`Cluster::request`], with the command as a client would send it, but for the last CR LF.
    pub fn request_line(&mut self, node: usize, operation: u64, line: &str) -> bool {
        let line = format!("{line}\r\n");
        let Step::Command { command, .. } = parse(line.as_bytes(), &LIMITS) else { panic!("not a command: {line:?}") };
        self.request(node, operation, &command)
    }

    /// What clients were answered since the last call.
    pub fn take_answers(&mut self) -> Vec<Answered> {
        std::mem::take(&mut self.answers)
    }

    /// Those of them to operations with these numbers.
    pub fn take_answers_to(&mut self, operations: std::ops::Range<u64>) -> Vec<Answered> {
        self.answers.extract_if(.., |answer| operations.contains(&answer.operation)).collect()
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now_us + time.as_micros() as u64;
        while self.step(until) {}
        self.now_us = until;
    }

    /// Lets time pass until `done`, at most so long; false if it never was.
    pub fn run_until(&mut self, time: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let until = self.now_us + time.as_micros() as u64;
        let mut look_at = self.now_us;
        loop {
            if self.now_us >= look_at {
                if done(self) {
                    return true;
                }
                look_at = self.now_us + 20_000;
            }
            if !self.step(until) {
                self.now_us = until;
                return done(self);
            }
        }
    }

    /// The next event up to `until`; false if there is none.
    pub fn step(&mut self, until: u64) -> bool {
        let Some(((at, _), _)) = self.queue.first_key_value() else { return false };
        if *at > until {
            return false;
        }
        let ((at, _), event) = self.queue.pop_first().expect("just looked at");
        self.now_us = self.now_us.max(at);
        self.happen(event);
        true
    }

    fn happen(&mut self, event: Event) {
        let receiver = match &event {
            Event::Wake { node, .. }
            | Event::Join { node, .. }
            | Event::HintDisk { node, .. }
            | Event::Depart { node, .. }
            | Event::End { node, .. } => *node,
            Event::Frame { to, .. } | Event::Packet { to, .. } => *to,
            Event::Answer { to, .. } | Event::Lost { to, .. } => to.node,
        };
        if self.places[receiver].paused {
            if !self.places[receiver].frozen && !matches!(event, Event::Wake { .. } | Event::Packet { .. }) {
                self.push(5_000, event);
            }
            return;
        }
        match event {
            Event::Wake { node, life } => self.on_wake(node, life),
            Event::Join { node, life } => self.on_join(node, life),
            Event::HintDisk { node, life, answer } => {
                self.on_thread(Thread { node, life, thread: CONTROL }, |machine, now, effects| {
                    if let Machine::Control(control) = machine {
                        control.on_hint_disk(now, answer, effects);
                    }
                });
            }
            Event::Depart { node, life } => self.on_depart(node, life),
            Event::End { node, life } if self.places[node].life == life => self.shut_down(node),
            Event::End { .. } => {}
            Event::Frame { link, from, to, to_life, bytes } => self.on_frame(link, from, to, to_life, bytes),
            Event::Answer { to, from, bytes } => self.on_answer(to, from, bytes),
            Event::Packet { from, to, bytes } => {
                let thread = Thread { node: to, life: self.places[to].life, thread: CONTROL };
                self.on_thread(thread, |machine, now, effects| {
                    if let Machine::Control(control) = machine {
                        control.on_packet(now, address(from), &bytes, effects);
                    }
                });
            }
            Event::Lost { to, peer } => self.on_thread(to, |machine, now, effects| match machine {
                Machine::Control(control) => control.on_peer_lost(now, address(peer), effects),
                Machine::Worker(node) => node.on_peer_lost(now, address(peer), effects),
            }),
        }
    }

    fn on_wake(&mut self, node: usize, life: u64) {
        if self.places[node].life != life || self.places[node].wakes_us > self.now_us {
            return;
        }
        self.places[node].wakes_us = u64::MAX;
        for thread in std::iter::once(CONTROL).chain(0..self.options.workers) {
            self.on_thread(Thread { node, life, thread }, |machine, now, effects| match machine {
                Machine::Control(control) => {
                    if control.next_deadline().is_some_and(|at| at <= now.mono) {
                        control.on_timer(now, effects);
                    }
                }
                Machine::Worker(worker) => {
                    if worker.next_deadline().is_some_and(|at| at <= now.mono) {
                        worker.on_timer(now, effects);
                    }
                }
            });
        }
    }

    fn on_join(&mut self, node: usize, life: u64) {
        let all: Vec<SocketAddr> = (0..self.places.len()).map(address).collect();
        self.on_thread(Thread { node, life, thread: CONTROL }, |machine, now, effects| {
            if let Machine::Control(control) = machine {
                control.join(now, &all, effects);
            }
        });
    }

    fn on_frame(&mut self, link: LinkId, from: Thread, to: usize, to_life: u64, mut bytes: BytesMut) {
        if self.places[to].life != to_life || self.places[to].running.is_none() {
            // The connection died with the process.
            return;
        }
        let thread = if from.thread == CONTROL { CONTROL } else { from.thread % self.options.workers };
        if let Ok(Some((InPlace::Replicate(id, replicate), _))) = frame::read_in_place(&bytes) {
            if let (Some(arrivals), Some(entry)) = (&mut self.arrivals, &replicate.entry) {
                *arrivals.entry((replicate.key.to_key(), entry.version, to)).or_default() += 1;
            }
            return self.on_thread(Thread { node: to, life: to_life, thread }, |machine, now, effects| match machine {
                Machine::Control(_) => panic!("a control thread replicates nothing"),
                Machine::Worker(node) => node.on_peer_replicate(now, link, id, &replicate, effects),
            });
        }
        if let Ok(Some((InPlace::Compare(id, compare), _))) = frame::read_in_place(&bytes) {
            let asked = (compare.epoch, compare.noticed);
            return self.on_thread(Thread { node: to, life: to_life, thread }, |machine, now, effects| match machine {
                Machine::Control(_) => panic!("a control thread reads nothing"),
                Machine::Worker(node) => node.on_peer_compare(now, link, id, asked, compare.holdings(), effects),
            });
        }
        let Ok(Some(Message::Request(id, request))) = frame::decode(&mut bytes) else {
            panic!("a request that does not decode")
        };
        self.on_thread(Thread { node: to, life: to_life, thread }, |machine, now, effects| match machine {
            Machine::Control(control) => control.on_peer_request(now, link, id, request, effects),
            Machine::Worker(node) => node.on_peer_request(now, link, id, request, effects),
        });
    }

    fn on_answer(&mut self, to: Thread, from: usize, mut bytes: BytesMut) {
        if let Ok(Some((InPlace::Acknowledgements(said), _))) = frame::read_in_place(&bytes) {
            return self.on_thread(to, |machine, now, effects| match machine {
                Machine::Control(_) => panic!("a control thread replicates nothing"),
                Machine::Worker(node) => node.on_peer_acknowledgements(now, address(from), said, effects),
            });
        }
        let Ok(Some(Message::Reply(id, reply))) = frame::decode(&mut bytes) else {
            panic!("a reply that does not decode")
        };
        self.on_thread(to, |machine, now, effects| match machine {
            Machine::Control(control) => control.on_peer_reply(now, address(from), id, reply, effects),
            Machine::Worker(node) => node.on_peer_reply(now, address(from), id, reply, effects),
        });
    }

    fn on_thread(&mut self, thread: Thread, turn: impl FnOnce(Machine<'_>, Now, &mut Vec<Effect>)) {
        let now = self.node_now(thread.node);
        let place = &mut self.places[thread.node];
        let Some(running) = place.running.as_mut().filter(|_| place.life == thread.life) else { return };
        let mut effects = Vec::new();
        match thread.thread {
            CONTROL => turn(Machine::Control(&mut running.control), now, &mut effects),
            worker => turn(Machine::Worker(&mut running.workers[worker]), now, &mut effects),
        }
        self.perform(thread.node, thread.thread, effects);
    }

    /// A node's clocks: cluster time is its wall clock at the start, and monotonic time since, until it is told better.
    fn node_now(&self, node: usize) -> Now {
        let Some(running) = &self.places[node].running else {
            return Now { mono: Mono(0), cluster: self.true_time() };
        };
        let mono = running.mono(self.now_us);
        Now { mono, cluster: running.time.at(mono) }
    }

    fn perform(&mut self, node: usize, thread: usize, effects: Vec<Effect>) {
        let life = self.places[node].life;
        let from = Thread { node, life, thread };
        for effect in effects {
            match effect {
                Effect::Respond(ticket, response) => {
                    let response = as_told(response);
                    self.answers.push(Answered { node, operation: ticket.connection, response });
                }
                Effect::Send(peer, message) => self.send(from, peer, &message),
                Effect::Answer(link, message) => self.answer(node, link, &encode(&message)),
                Effect::Replicate(receivers, replicate) => {
                    for (peer, id) in receivers {
                        self.send(from, peer, &Message::Request(id, Request::Replicate(replicate.clone())));
                    }
                }
                Effect::Acknowledge(link, id, said) => {
                    let (mut batch, mut bytes) = (Batch::default(), BytesMut::new());
                    batch.push(id, said, &mut bytes);
                    batch.end(&mut bytes);
                    self.answer(node, link, &bytes);
                }
                Effect::HintDisk(call) => {
                    let disk = self.disks[node].as_mut().expect("a node that was told of no disk asks nothing of it");
                    let (takes, answer) = disk.perform(call);
                    self.push(takes, Event::HintDisk { node, life, answer });
                }
                Effect::Time(time) => {
                    if let Some(running) = &mut self.places[node].running {
                        running.time = time;
                    }
                }
                Effect::Event(event) => panic!("nobody watches, and yet: {event:?}"),
                Effect::Packet(to, bytes) => {
                    self.gossip = (self.gossip.0 + 1, self.gossip.1 + bytes.len() as u64);
                    let Some(to) = node_at(to).filter(|to| *to < self.places.len()) else { continue };
                    if let Fate::Arrives(delays) = self.network.packet(node, to) {
                        for delay in delays {
                            self.push(delay, Event::Packet { from: node, to, bytes: bytes.clone() });
                        }
                    }
                }
            }
        }
        self.schedule(node);
    }

    fn answer(&mut self, node: usize, link: LinkId, bytes: &BytesMut) {
        let Some(to) = self.ends.get(&link).copied() else { return };
        match self.network.frame(node, to.node) {
            Fate::Arrives(delays) => {
                for delay in delays {
                    self.sent_bytes += bytes.len() as u64;
                    self.push(delay, Event::Answer { to, from: node, bytes: bytes.clone() });
                }
            }
            Fate::Vanishes => {}
            Fate::Resets(delay) => self.push(delay, Event::Lost { to, peer: node }),
        }
    }

    fn send(&mut self, from: Thread, peer: SocketAddr, message: &Message) {
        self.read_messages += u64::from(matches!(message, Message::Request(_, Request::Read(_))));
        self.comparisons += u64::from(matches!(message, Message::Request(_, Request::Compare(_))));
        let Some(to) = node_at(peer).filter(|to| *to < self.places.len()) else { return };
        let link = self.link(from, to);
        let fate = self.network.frame(from.node, to);
        if self.places[to].running.is_none() {
            // Refused, if the refusal finds its way back.
            if fate != Fate::Vanishes {
                let delay = self.network.delay();
                self.push(delay, Event::Lost { to: from, peer: to });
            }
            return;
        }
        let to_life = self.places[to].life;
        match fate {
            Fate::Arrives(mut delays) => {
                if matches!(message, Message::Request(_, Request::Write(_))) {
                    // A TCP stream gives nothing twice, and a write is the one frame that could not bear it.
                    delays.truncate(1);
                }
                for delay in delays {
                    self.network.note_arrival(from.node, to, self.now_us + delay);
                    let bytes = encode(message);
                    self.sent_bytes += bytes.len() as u64;
                    self.push(delay, Event::Frame { link, from, to, to_life, bytes });
                }
            }
            Fate::Vanishes => {}
            Fate::Resets(delay) => self.push(delay, Event::Lost { to: from, peer: to }),
        }
    }

    fn link(&mut self, from: Thread, _to: usize) -> LinkId {
        let next = LinkId(self.links.len() as u64 + 1);
        let link = *self.links.entry(from).or_insert(next);
        self.ends.insert(link, from);
        link
    }

    fn schedule(&mut self, node: usize) {
        let Some(running) = &self.places[node].running else { return };
        let deadlines = running.workers.iter().map(Node::next_deadline).chain([running.control.next_deadline()]);
        let Some(at) = deadlines.flatten().min() else { return };
        let at_us = running.reaches(at).max(self.now_us + 1);
        if at_us < self.places[node].wakes_us {
            self.wake(node, at_us);
        }
    }

    fn wake(&mut self, node: usize, at_us: u64) {
        let at_us = at_us.max(self.now_us);
        self.places[node].wakes_us = at_us;
        let life = self.places[node].life;
        self.push(at_us - self.now_us, Event::Wake { node, life });
    }

    fn push(&mut self, delay_us: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now_us + delay_us, self.sequence), event);
    }
}

/// What a client is told: no tokens but by `gets`, and of blocks the values, so that checkers need not read them.
fn as_told(response: Response) -> Response {
    match response {
        Response::Blocks(blocks) => values_of(blocks),
        Response::Values { with_cas: false, mut values } => {
            values.iter_mut().for_each(|(_, item)| item.cas = 0);
            Response::Values { with_cas: false, values }
        }
        response => response,
    }
}

fn values_of(mut blocks: Bytes) -> Response {
    let (mut values, mut with_cas) = (Vec::new(), false);
    while !blocks.is_empty() {
        let ReplyStep::Reply { consumed, reply: ReplyLine::Value { key, flags, cas, value } } = parse_reply(&blocks)
        else {
            panic!("not the blocks of a get: {blocks:?}")
        };
        let item = Item {
            value: Bytes::copy_from_slice(value),
            flags,
            cas: cas.unwrap_or(0),
            expiry: Expiry::NEVER,
            marks: Marks::NONE,
        };
        with_cas = cas.is_some();
        values.push((Bytes::copy_from_slice(key), item));
        blocks.advance(consumed);
    }
    Response::Values { with_cas, values }
}

fn disk(options: &ClusterOptions, seed: u64, node: u64) -> Option<Disk> {
    (options.hint_disk_bytes > 0).then(|| Disk::new(seed ^ 0x6469_736b ^ node << 48))
}

enum Machine<'a> {
    Control(&'a mut Control),
    Worker(&'a mut Node),
}

fn encode(message: &Message) -> BytesMut {
    let mut bytes = BytesMut::new();
    frame::encode(message, &mut bytes).expect("every message of a machine fits its frame");
    bytes
}
