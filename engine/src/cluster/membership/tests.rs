//! Stories of small clusters in virtual time: crashes, cuts, losses, restarts, goodbyes, and packets made to hurt.
//!
//! Every story is a function of its seed; a failure names it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use foca::Codec;
use memring_protocol::gossip::{Envelope, GossipCodec, NodeId, PACKET_BYTES_MAX, Packet, Rumour};
use memring_protocol::ring::NodeName;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{MEMBERS_MAX, MemberState, Membership, MembershipConfig, MembershipEffect};
use crate::now::Mono;

/// How often a story is told. Without optimisation the long ones are told less often.
const SEEDS: u64 = 200;
const SEEDS_OF_LONG: u64 = if cfg!(debug_assertions) { 25 } else { SEEDS };

fn at(seconds: f64) -> Mono {
    Mono((seconds * 1e6) as u64)
}

fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 7946))
}

fn name(node: usize) -> NodeName {
    NodeName::new(&format!("node-{node}")).expect("legal")
}

fn id(node: usize, generation: u64, peer: SocketAddr) -> NodeId {
    NodeId { name: name(node), generation, peer, client_port: 11211, admin_port: 8080 }
}

/// What a node learned, and when.
struct Learned {
    at: Mono,
    id: NodeId,
    state: MemberState,
}

struct Node {
    /// `None` while its process is dead.
    machine: Option<Membership>,
    address: SocketAddr,
    log: Vec<Learned>,
    renewed: usize,
}

/// The chance that a packet from one node to another is lost at a moment.
type Loss = Box<dyn Fn(Mono, usize, usize) -> f64>;

/// A network in virtual time, with 1 to 5 ms of latency.
struct World {
    seed: u64,
    now: Mono,
    sent: u64,
    packets: BTreeMap<(Mono, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    nodes: Vec<Node>,
    loss: Loss,
    rng: StdRng,
    config: MembershipConfig,
}

impl World {
    /// Nodes that all greet the first one, 10 ms apart.
    fn new(count: usize, seed: u64, loss: Loss) -> Self {
        Self::with(MembershipConfig::default(), count, seed, loss)
    }

    fn with(config: MembershipConfig, count: usize, seed: u64, loss: Loss) -> Self {
        let mut world = Self {
            seed,
            now: Mono(0),
            sent: 0,
            packets: BTreeMap::new(),
            nodes: Vec::new(),
            loss,
            rng: StdRng::seed_from_u64(seed),
            config,
        };
        for node in 0..count {
            let address = address(node as u16 + 1);
            world.nodes.push(Node { machine: None, address, log: Vec::new(), renewed: 0 });
            world.start(node, 1000 + node as u64, address);
            world.run_until(Mono(world.now.0 + 10_000));
        }
        world
    }

    fn start(&mut self, node: usize, generation: u64, address: SocketAddr) {
        let seed = self.seed ^ generation.wrapping_mul(7919) ^ (node as u64) << 32;
        let machine = Membership::new(id(node, generation, address), "test", self.config.clone(), seed);
        self.nodes[node].machine = Some(machine);
        self.nodes[node].address = address;
        let first = self.nodes[0].address;
        self.act(node, |machine, now, out| machine.announce(now, first, out));
    }

    fn act(&mut self, node: usize, act: impl FnOnce(&mut Membership, Mono, &mut Vec<MembershipEffect>)) {
        let Some(machine) = self.nodes[node].machine.as_mut() else {
            return;
        };
        let mut effects = Vec::new();
        act(machine, self.now, &mut effects);
        for effect in effects {
            match effect {
                MembershipEffect::Send { to, packet } => self.carry(node, to, packet),
                MembershipEffect::Changed(id, state) => {
                    self.nodes[node].log.push(Learned { at: self.now, id, state });
                }
                MembershipEffect::Renewed(_) => self.nodes[node].renewed += 1,
            }
        }
    }

    fn carry(&mut self, node: usize, to: SocketAddr, packet: Vec<u8>) {
        assert!(packet.len() <= PACKET_BYTES_MAX);
        let target = self.node_at(to);
        if target.is_some_and(|target| self.rng.random_bool((self.loss)(self.now, node, target))) {
            return;
        }
        let arrival = Mono(self.now.0 + self.rng.random_range(1_000..5_000));
        self.sent += 1;
        self.packets.insert((arrival, self.sent), (self.nodes[node].address, to, packet));
    }

    fn node_at(&self, address: SocketAddr) -> Option<usize> {
        self.nodes.iter().position(|node| node.machine.is_some() && node.address == address)
    }

    fn run_until(&mut self, end: Mono) {
        loop {
            let packet = self.packets.keys().next().map(|(arrival, _)| *arrival);
            let deadline = |node: &Node| node.machine.as_ref().and_then(Membership::next_deadline);
            let timer = (0..self.nodes.len()).filter_map(|node| Some((deadline(&self.nodes[node])?, node))).min();
            let next = packet.into_iter().chain(timer.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            if packet == Some(next) {
                let (_, (from, to, bytes)) = self.packets.pop_first().expect("seen above");
                if let Some(target) = self.node_at(to) {
                    self.act(target, |machine, now, out| machine.on_packet(now, from, &bytes, out));
                }
            } else if let Some((_, node)) = timer {
                self.act(node, |machine, now, out| machine.on_timer(now, out));
            }
        }
        self.now = end;
    }

    fn state(&self, node: usize, of: usize) -> Option<MemberState> {
        let mut members = self.nodes[node].machine.as_ref()?.members();
        members.find(|member| member.id.name == name(of)).map(|member| member.state)
    }

    fn is_whole(&self) -> bool {
        let count = self.nodes.len();
        (0..count).all(|node| {
            (0..count).all(|of| node == of || self.state(node, of) == Some(MemberState::Alive))
                && self.nodes[node].machine.as_ref().is_some_and(|machine| machine.members().count() == count - 1)
        })
    }

    /// When `node` learned that `of` is in `state`, first.
    fn learned(&self, node: usize, of: usize, state: MemberState) -> Option<Mono> {
        let is_it = |learned: &&Learned| learned.id.name == name(of) && learned.state == state;
        self.nodes[node].log.iter().find(is_it).map(|learned| learned.at)
    }

    fn verdicts(&self, node: usize, of: usize) -> usize {
        let is_it = |learned: &&Learned| learned.id.name == name(of) && learned.state == MemberState::Failed;
        self.nodes[node].log.iter().filter(is_it).count()
    }
}

fn lossless() -> Loss {
    Box::new(|_, _, _| 0.0)
}

fn print_figures(story: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let (p50, max) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{story}: p50 {:.2} s, max {:.2} s of {}", p50.as_secs_f64(), max.as_secs_f64(), times.len());
}

/// How long after a crash of the last of `count` nodes every other knows of it.
fn detection(count: usize, seed: u64, loss: f64) -> Duration {
    let mut world = World::new(count, seed, Box::new(move |_, _, _| loss));
    world.run_until(at(20.0));
    assert!(world.is_whole(), "seed {seed}");
    let crash = Mono(world.now.0 + world.rng.random_range(0..3_000_000));
    world.run_until(crash);
    let victim = count - 1;
    world.nodes[victim].machine = None;
    world.run_until(crash.after(Duration::from_secs(30)));
    let known = |node| world.learned(node, victim, MemberState::Failed);
    let all =
        (0..victim).map(|node| known(node).unwrap_or_else(|| panic!("node {node} never knew, seed {seed}"))).max();
    for (node, of) in pairs(count).filter(|(node, of)| *node != victim && *of != victim) {
        assert_eq!(world.verdicts(node, of), 0, "node {node} judged the healthy {of}, seed {seed}");
    }
    all.expect("some node lives").since(crash)
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |node| (0..count).filter(move |of| *of != node).map(move |of| (node, of)))
}

#[test]
fn a_crash_among_three_is_known_to_all_within_four_seconds() {
    let times: Vec<Duration> = (0..SEEDS).map(|seed| detection(3, seed, 0.0)).collect();
    assert!(times.iter().all(|time| *time <= Duration::from_secs(4)), "{times:?}");
    print_figures("crash of one in 3, known to all", times);
}

#[test]
fn a_crash_is_known_in_clusters_of_other_sizes_and_with_loss() {
    for (count, loss) in [(2, 0.0), (5, 0.0), (10, 0.0), (3, 0.05), (5, 0.05)] {
        let times: Vec<Duration> = (0..SEEDS_OF_LONG).map(|seed| detection(count, seed, loss)).collect();
        print_figures(&format!("crash of one in {count}, loss {loss}"), times);
    }
}

#[test]
fn an_isolated_node_judges_nobody_and_comes_back_after_the_cut() {
    let mut times = Vec::new();
    for (seed, count) in (0..SEEDS_OF_LONG).flat_map(|seed| [(seed, 3), (seed, 5)]) {
        let lone = count - 1;
        let cut = at(20.0)..at(50.0);
        let loss = move |now, a, b| if cut.contains(&now) && (a == lone || b == lone) { 1.0 } else { 0.0 };
        let mut world = World::new(count, seed, Box::new(loss));
        world.run_until(at(50.0));
        for (node, of) in pairs(count) {
            let expected = usize::from(of == lone);
            assert_eq!(world.verdicts(node, of), expected, "node {node} on {of} of {count}, seed {seed}");
        }
        while !world.is_whole() {
            assert!(world.now < at(80.0), "not whole 30 s after the heal, seed {seed}");
            world.run_until(Mono(world.now.0 + 10_000));
        }
        times.push(world.now.since(at(50.0)));
        world.run_until(at(120.0));
        assert!(world.is_whole(), "seed {seed}");
        assert_eq!(world.nodes[lone].renewed, 1, "seed {seed}");
        for (node, of) in pairs(count).filter(|(_, of)| *of != lone) {
            assert_eq!(world.verdicts(node, of), 0, "node {node} on {of}, after the heal, seed {seed}");
        }
    }
    print_figures("30 s of isolation: whole again after the heal", times);
}

#[test]
fn the_last_of_three_suspects_until_a_second_reporter_is_back() {
    for seed in 0..SEEDS_OF_LONG {
        let mut world = World::new(3, seed, lossless());
        world.run_until(at(20.0));
        world.nodes[1].machine = None;
        world.nodes[2].machine = None;
        world.run_until(at(50.0));
        // From here it looks the same as being cut off, and then they would be healthy.
        assert_eq!(world.state(0, 1), Some(MemberState::Suspect), "seed {seed}");
        assert_eq!(world.state(0, 2), Some(MemberState::Suspect), "seed {seed}");
        world.start(1, 9_000, address(2));
        world.run_until(at(60.0));
        for node in 0..2 {
            assert_eq!(world.state(node, 1 - node), Some(MemberState::Alive), "seed {seed}");
            assert_eq!(world.state(node, 2), Some(MemberState::Failed), "node {node}, seed {seed}");
        }
    }
}

#[test]
fn one_reporter_would_let_an_isolated_node_condemn_the_healthy() {
    let config = MembershipConfig { reporters_needed: 1, ..MembershipConfig::default() };
    let cut = at(20.0)..at(50.0);
    let loss = move |now, a, b| if cut.contains(&now) && (a == 2 || b == 2) { 1.0 } else { 0.0 };
    let mut world = World::with(config, 3, 1, Box::new(loss));
    world.run_until(at(50.0));
    assert_eq!((world.verdicts(2, 0), world.verdicts(2, 1)), (1, 1), "the rule is not what keeps the peace");
}

#[test]
fn two_halves_find_each_other_again() {
    let mut times = Vec::new();
    for seed in 0..SEEDS_OF_LONG {
        let cut = at(20.0)..at(60.0);
        let loss = move |now, a, b| if cut.contains(&now) && (a < 2) != (b < 2) { 1.0 } else { 0.0 };
        let mut world = World::new(5, seed, Box::new(loss));
        world.run_until(at(60.0));
        assert_eq!(world.state(0, 4), Some(MemberState::Failed), "seed {seed}");
        while !world.is_whole() {
            assert!(world.now < at(120.0), "not whole a minute after the heal, seed {seed}");
            world.run_until(Mono(world.now.0 + 10_000));
        }
        times.push(world.now.since(at(60.0)));
    }
    print_figures("2 | 3 for 40 s: whole again after the heal", times);
}

#[test]
fn clusters_that_started_apart_merge() {
    for seed in 0..20 {
        let cut = Mono(0)..at(30.0);
        let loss = move |now, a, b| if cut.contains(&now) && (a < 2) != (b < 2) { 1.0 } else { 0.0 };
        let mut world = World::new(4, seed, Box::new(loss));
        for node in 0..4 {
            for to in 0..4 {
                let to = world.nodes[to].address;
                world.act(node, |machine, now, out| machine.announce(now, to, out));
            }
        }
        world.run_until(at(30.0));
        assert_eq!((world.state(2, 3), world.state(2, 0)), (Some(MemberState::Alive), None), "seed {seed}");
        world.run_until(at(50.0));
        assert!(world.is_whole(), "seed {seed}");
    }
}

#[test]
fn a_node_behind_a_bad_link_does_not_condemn_the_healthy() {
    let mut on_the_sick = 0;
    for (seed, count) in (0..SEEDS_OF_LONG).flat_map(|seed| [(seed, 3), (seed, 5)]) {
        let loss = move |now, a, b| if now > at(10.0) && (a == 0 || b == 0) { 0.6 } else { 0.0 };
        let mut world = World::new(count, seed, Box::new(loss));
        world.run_until(at(120.0));
        for (node, of) in pairs(count) {
            if of == 0 {
                on_the_sick += world.verdicts(node, of);
            } else {
                assert_eq!(world.verdicts(node, of), 0, "node {node} on the healthy {of} of {count}, seed {seed}");
            }
        }
    }
    println!("60 % loss at one node, 110 s, {} runs: {on_the_sick} verdicts on that node itself", 2 * SEEDS_OF_LONG);
}

#[test]
fn a_restart_at_another_address_takes_the_old_place() {
    for seed in 0..SEEDS_OF_LONG {
        let mut world = World::new(3, seed, lossless());
        world.run_until(at(20.0));
        // Quicker than detection, slower than detection, and with a clock that has been set back.
        for (life, (pause, generation)) in [(0.5, 5_000), (15.0, 9_000_000), (1.0, 400_000)].into_iter().enumerate() {
            world.nodes[2].machine = None;
            world.run_until(world.now.after(Duration::from_secs_f64(pause)));
            let moved = address(100 + life as u16);
            world.start(2, generation, moved);
            world.run_until(world.now.after(Duration::from_secs(10)));
            assert!(world.is_whole(), "life {life}, seed {seed}");
            let machine = world.nodes[2].machine.as_ref().expect("started");
            for node in 0..2 {
                let members = world.nodes[node].machine.as_ref().expect("lives").members();
                let seen = members.map(|member| member.id).find(|id| id.name == name(2));
                assert_eq!(seen.as_ref(), Some(machine.me()), "life {life}, seed {seed}");
            }
        }
    }
}

#[test]
fn who_leaves_is_restarting_not_failed_and_is_not_called_back() {
    for (seed, count) in (0..SEEDS_OF_LONG).flat_map(|seed| [(seed, 2), (seed, 3), (seed, 12)]) {
        let mut world = World::new(count, seed, lossless());
        world.run_until(at(20.0));
        assert!(world.is_whole(), "seed {seed}");
        let gone = count - 1;
        world.act(gone, |machine, now, out| machine.leave(now, out));
        world.run_until(at(20.5));
        let machine = world.nodes[gone].machine.as_ref().expect("still a process");
        assert_eq!(machine.next_deadline(), None);
        for node in 0..gone {
            assert_eq!(world.state(node, gone), Some(MemberState::Restarting), "node {node}, seed {seed}");
            assert_eq!(world.verdicts(node, gone), 0, "node {node}, seed {seed}");
        }
        world.nodes[gone].machine = None;
        world.run_until(at(40.0));
        assert_eq!(world.state(0, gone), Some(MemberState::Restarting), "seed {seed}");
        world.start(gone, 9_000, address(200));
        world.run_until(at(45.0));
        assert!(world.is_whole(), "seed {seed}");
    }
}

#[test]
fn a_goodbye_that_was_lost_can_be_repeated() {
    let mut world = World::new(2, 1, lossless());
    world.run_until(at(5.0));
    world.loss = Box::new(|_, _, _| 1.0);
    world.act(1, |machine, now, out| machine.leave(now, out));
    world.loss = lossless();
    world.act(1, |machine, now, out| machine.leave(now, out));
    world.run_until(at(5.1));
    assert_eq!(world.state(0, 1), Some(MemberState::Restarting));
}

#[test]
fn two_nodes_detect_each_other_and_come_back() {
    for seed in 0..SEEDS {
        let cut = at(20.0)..at(50.0);
        let loss = move |now, _, _| if cut.contains(&now) { 1.0 } else { 0.0 };
        let mut world = World::new(2, seed, Box::new(loss));
        world.run_until(at(28.0));
        for (node, of) in pairs(2) {
            assert_eq!(world.state(node, of), Some(MemberState::Failed), "seed {seed}");
        }
        world.run_until(at(53.0));
        assert!(world.is_whole(), "seed {seed}");
    }
}

#[test]
fn a_node_that_slept_listens_before_it_judges() {
    for seed in 0..SEEDS_OF_LONG {
        let cut = at(20.0)..at(21.2);
        let loss = move |now, _, _| if cut.contains(&now) { 1.0 } else { 0.0 };
        let mut world = World::new(2, seed, Box::new(loss));
        world.run_until(at(21.2));
        assert_eq!(world.state(1, 0), Some(MemberState::Suspect), "seed {seed}");
        // It suspects the other, and falls asleep until long after the verdict is due: neither timers nor packets reach it.
        let mut sleeper = world.nodes[1].machine.take();
        world.run_until(at(27.0));
        std::mem::swap(&mut world.nodes[1].machine, &mut sleeper);
        world.run_until(at(40.0));
        assert!(world.is_whole(), "seed {seed}");
        assert_eq!(world.verdicts(1, 0), 0, "seed {seed}");
    }
}

#[test]
fn clusters_with_other_names_do_not_meet() {
    let mut world = World::new(1, 1, lossless());
    world.nodes.push(Node { machine: None, address: address(2), log: Vec::new(), renewed: 0 });
    let other = Membership::new(id(1, 1, address(2)), "other", MembershipConfig::default(), 1);
    world.nodes[1].machine = Some(other);
    world.act(1, |machine, now, out| machine.announce(now, address(1), out));
    world.run_until(at(10.0));
    assert_eq!((world.state(0, 1), world.state(1, 0)), (None, None));
    assert!(world.nodes[0].machine.as_ref().is_some_and(|machine| machine.packets_refused() > 0));
}

#[test]
fn two_processes_of_one_name_quarrel_without_a_storm() {
    let mut world = World::new(3, 1, lossless());
    world.run_until(at(20.0));
    let sent_in_peace = world.sent;
    let mut twin = Membership::new(id(2, 5_000, address(9)), "test", MembershipConfig::default(), 9);
    twin.announce(world.now, address(1), &mut Vec::new());
    world.nodes.push(Node { machine: Some(twin), address: address(9), log: Vec::new(), renewed: 0 });
    world.run_until(at(40.0));
    let renewals = world.nodes[2].renewed + world.nodes[3].renewed;
    assert!(renewals < 200, "{renewals} renewals in 20 s");
    assert!(world.sent < 10 * sent_in_peace, "{} packets after {sent_in_peace}", world.sent);
    assert_eq!((world.state(0, 1), world.state(1, 0)), (Some(MemberState::Alive), Some(MemberState::Alive)));
    println!(
        "a quarrel of 20 s: {renewals} renewals, {} packets; {sent_in_peace} in peace",
        world.sent - sent_in_peace
    );
}

#[test]
fn one_seed_gives_one_story() {
    let story = |seed| {
        let mut world = World::new(4, seed, Box::new(|_, _, _| 0.2));
        world.run_until(at(60.0));
        let log = world.nodes.iter().flat_map(|node| &node.log);
        (world.sent, log.map(|learned| (learned.at, learned.id.clone(), learned.state)).collect::<Vec<_>>())
    };
    assert_eq!(story(7), story(7));
    assert_ne!(story(7), story(8));
}

#[test]
fn a_failed_member_is_forgotten_in_the_end_or_when_asked() {
    let mut world = World::new(3, 1, lossless());
    world.run_until(at(20.0));
    world.nodes[2].machine = None;
    world.run_until(at(40.0));
    assert_eq!(world.state(0, 2), Some(MemberState::Failed));
    world.act(0, |machine, now, out| machine.forget(now, &name(2), out));
    world.act(0, |machine, now, out| machine.forget(now, &name(1), out));
    assert_eq!((world.state(0, 2), world.state(0, 1)), (None, Some(MemberState::Alive)), "only the failed one");
    world.act(1, |machine, now, out| machine.on_timer(now.after(Duration::from_secs(25 * 3600)), out));
    assert_eq!(world.state(1, 2), None);
}

/// How many hostile packets to try.
#[expect(clippy::disallowed_methods, reason = "a test may be asked to try harder")]
fn cases(default: u64) -> u64 {
    std::env::var("MEMRING_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default)
}

/// Everything three nodes say to each other while one of them crashes, another leaves, and the first comes back.
fn real_packets() -> Vec<Vec<u8>> {
    let mut world = World::new(4, 1, Box::new(|_, _, _| 0.1));
    let mut heard = Vec::new();
    for step in 0..4_000 {
        world.run_until(Mono(world.now.0 + 5_000));
        heard.extend(world.packets.values().map(|(_, _, bytes)| bytes.clone()));
        match step {
            1_000 => world.nodes[2].machine = None,
            2_000 => world.act(3, |machine, now, out| machine.leave(now, out)),
            3_000 => world.start(2, 9_000, address(50)),
            _ => {}
        }
    }
    heard.sort_unstable();
    heard.dedup();
    heard
}

fn mutate(rng: &mut StdRng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[rng.random_range(0..corpus.len())].clone();
    for _ in 0..rng.random_range(1..6) {
        // Mostly behind the envelope, which refuses everything else.
        let from = if rng.random_bool(0.9) { bytes.len().min(11) } else { 0 };
        let spot = rng.random_range(from..=bytes.len());
        match rng.random_range(0..5) {
            0 => bytes.truncate(spot),
            1 => bytes.insert(spot, rng.random()),
            2 if spot < bytes.len() => bytes[spot] ^= 1 << rng.random_range(0..8),
            3 if spot < bytes.len() => bytes[spot] = rng.random(),
            _ => {
                let other = &corpus[rng.random_range(0..corpus.len())];
                let cut = rng.random_range(0..other.len());
                bytes.truncate(spot);
                bytes.extend_from_slice(&other[cut..]);
            }
        }
    }
    bytes
}

/// A well-formed packet to this very node, from someone who says what it likes: the deepest a stranger can reach.
fn lie(rng: &mut StdRng, me: &NodeId, era: u64) -> Vec<u8> {
    let anyone = |rng: &mut StdRng| {
        if rng.random_bool(0.1) {
            return me.clone();
        }
        let node = if rng.random_bool(0.95) { rng.random_range(0..8) } else { rng.random_range(0..3_000) };
        let generation = if rng.random_bool(0.999) { era + rng.random_range(0..4) } else { rng.random() };
        id(node, generation, address(rng.random_range(1..12)))
    };
    let incarnation = |rng: &mut StdRng| if rng.random_bool(0.98) { rng.random_range(0..4) } else { rng.random() };
    let envelope = Envelope::new("test");
    match rng.random_range(0..20) {
        0 => return envelope.seal(&Packet::Hello(anyone(rng))),
        1 => return envelope.seal(&Packet::Welcome { from: anyone(rng), yours: Some(anyone(rng)) }),
        2 => return envelope.seal(&Packet::Doubt { of: anyone(rng), incarnation: incarnation(rng) }),
        _ => {}
    }
    let (probe_number, target) = (rng.random(), anyone(rng));
    let message = match rng.random_range(0..11) {
        0 => foca::Message::Ping(probe_number),
        1 => foca::Message::Ack(probe_number),
        2 => foca::Message::PingReq { target, probe_number },
        3 => foca::Message::IndirectPing { origin: target, probe_number },
        4 => foca::Message::IndirectAck { target, probe_number },
        5 => foca::Message::ForwardedAck { origin: target, probe_number },
        6 => foca::Message::Announce,
        7 => foca::Message::Feed,
        8 => foca::Message::Broadcast,
        9 if rng.random_bool(0.1) => foca::Message::TurnUndead,
        _ => foca::Message::Gossip,
    };
    let has_updates = !matches!(message, foca::Message::Announce | foca::Message::Broadcast);
    let header = foca::Header { src: anyone(rng), src_incarnation: incarnation(rng), dst: me.clone(), message };
    let mut body = Vec::new();
    GossipCodec.encode_header(&header, &mut body).expect("fits");
    if has_updates {
        let updates = rng.random_range(0..6_u16);
        body.extend_from_slice(&updates.to_be_bytes());
        for _ in 0..updates {
            let states = [foca::State::Alive, foca::State::Suspect, foca::State::Suspect, foca::State::Down];
            let state = states[rng.random_range(0..states.len())];
            let member = foca::Member::new(anyone(rng), incarnation(rng), state);
            GossipCodec.encode_member(&member, &mut body).expect("fits");
        }
    }
    for _ in 0..rng.random_range(0..4) {
        let NodeId { name: subject, generation, .. } = anyone(rng);
        let rumour = if rng.random_bool(0.8) {
            Rumour::Report { subject, generation, incarnation: incarnation(rng), reporter: anyone(rng).name }
        } else {
            Rumour::BackSoon { subject, generation }
        };
        let rumour = rumour.to_bytes();
        body.extend_from_slice(&(rumour.len() as u16).to_be_bytes());
        body.extend_from_slice(&rumour);
    }
    envelope.seal(&Packet::Gossip(&body))
}

#[test]
fn hostile_packets_do_no_harm_beyond_their_limits() {
    let corpus = real_packets();
    let mut rng = StdRng::seed_from_u64(3);
    let fresh = || Membership::new(id(0, 1000, address(1)), "test", MembershipConfig::default(), 1);
    let mut machine = fresh();
    let mut out = Vec::new();
    let mut now = Mono(0);
    let (mut changes, mut sends, mut most_rumours) = (0_u64, 0_u64, 0);
    let lives = 3_000;
    for case in 0..cases(20_000) {
        if case % lives == 0 {
            machine = fresh();
        }
        let bytes = match case % 8 {
            0 => (0..rng.random_range(0..200)).map(|_| rng.random()).collect(),
            1 => corpus[rng.random_range(0..corpus.len())].clone(),
            2..4 => mutate(&mut rng, &corpus),
            4 => {
                let lie = lie(&mut rng, machine.me(), case / 8);
                mutate(&mut rng, &[lie])
            }
            _ => lie(&mut rng, machine.me(), case / 8),
        };
        now = Mono(now.0 + rng.random_range(0..3_000));
        machine.on_packet(now, address(9), &bytes, &mut out);
        if machine.next_deadline().is_some_and(|deadline| deadline <= now) {
            machine.on_timer(now, &mut out);
        }
        for effect in out.drain(..) {
            match effect {
                MembershipEffect::Send { packet, .. } => {
                    assert!(packet.len() <= PACKET_BYTES_MAX);
                    sends += 1;
                }
                MembershipEffect::Changed(..) | MembershipEffect::Renewed(_) => changes += 1,
            }
        }
        assert!(machine.members().count() <= MEMBERS_MAX && machine.timers.len() <= 7 + MEMBERS_MAX);
        most_rumours = most_rumours.max(machine.foca.custom_broadcast_backlog());
    }
    println!("{sends} packets sent, {changes} changes, at most {most_rumours} rumours");
    assert!(changes > 0 && sends > 0 && machine.packets_refused() > 0);
}

#[test]
fn invented_members_stay_within_the_limit_and_the_real_ones_work_on() {
    let mut machine = Membership::new(id(0, 1000, address(1)), "test", MembershipConfig::default(), 1);
    let envelope = Envelope::new("test");
    let mut out = Vec::new();
    for node in 1..3_000_usize {
        let mut liar = Membership::new(id(node, 1, address(node as u16 + 1)), "test", MembershipConfig::default(), 1);
        let welcome = Packet::Welcome { from: machine.me().clone(), yours: None };
        let mut words = Vec::new();
        liar.on_packet(Mono(0), address(1), &envelope.seal(&welcome), &mut words);
        for effect in words {
            if let MembershipEffect::Send { packet, .. } = effect {
                machine.on_packet(Mono(0), address(node as u16 + 1), &packet, &mut out);
            }
        }
    }
    assert_eq!(machine.members().count(), MEMBERS_MAX);
    assert_eq!(machine.packets_refused(), 2_999 - MEMBERS_MAX as u64);
}
