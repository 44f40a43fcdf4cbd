//! The ring keeper in a world of its own: virtual time, lossy links, partitions, restarts that forget everything.
//!
//! Every config that anyone adopts goes through one check: per ring and epoch there is one config.

mod rules;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use memring_protocol::ring::{Epoch, NodeName, RingConfig, RingId, Share, Standing};
use memring_protocol::ring_message::{RingBallot, RingMessage, VoteStep};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::acceptor::Franchise;
use super::{KeeperConfig, RingEffect, RingKeeper, VisibleNode};
use crate::now::Mono;

const MS: u64 = 1000;
const SECOND: u64 = 1000 * MS;

/// How often a node's view of the others is brought up to date, and how long an unreachable one counts as alive.
const VIEW_PERIOD: u64 = 100 * MS;
const FAILED_AFTER: u64 = 2 * SECOND;

struct Host {
    config: KeeperConfig,
    keeper: Option<RingKeeper>,
    /// Other node: whether it can be reached, and since when that is so.
    reach: BTreeMap<NodeName, (bool, u64)>,
    view: Vec<VisibleNode>,
    fatal: Vec<String>,
    warnings: Vec<String>,
    /// Whether the node copies what it is to own.
    copies: bool,
}

enum Event {
    Deliver { from: NodeName, to: NodeName, message: RingMessage },
    View(NodeName),
    Synced { name: NodeName, generation: u64, epoch: Epoch },
}

struct World {
    now: u64,
    random: StdRng,
    loss_percent: u64,
    latency_max: u64,
    hosts: BTreeMap<NodeName, Host>,
    group: BTreeMap<NodeName, u8>,
    events: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    decided: BTreeMap<(RingId, Epoch), Arc<RingConfig>>,
    seed: u64,
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("a legal name")
}

/// A share without a zone.
fn share(weight: u32) -> Share {
    Share { zone: String::new(), weight }
}

fn config(text: &str, joining: bool) -> KeeperConfig {
    KeeperConfig {
        name: name(text),
        generation: 1,
        cluster: "memring".to_owned(),
        share: share(100),
        replicas: 3,
        vnodes: 256,
        joining,
        expect: None,
        rejoin_empty: false,
        remove_after: None,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            now: 0,
            random: StdRng::seed_from_u64(seed),
            loss_percent: 10,
            latency_max: 50 * MS,
            hosts: BTreeMap::new(),
            group: BTreeMap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            decided: BTreeMap::new(),
            seed,
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.next_u64() % limit.max(1)
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    /// Starts a node, or starts it again without its memory.
    fn start(&mut self, mut config: KeeperConfig) {
        let node = config.name.clone();
        if let Some(old) = self.hosts.get(&node) {
            config.generation = config.generation.max(old.config.generation + 1);
        }
        let keeper = RingKeeper::new(config.clone(), Mono(self.now), self.random.next_u64());
        if let Some(ring) = keeper.config() {
            self.check(Arc::clone(ring));
        }
        let (reach, view) = (BTreeMap::new(), Vec::new());
        let (fatal, warnings) = (Vec::new(), Vec::new());
        let host = Host { config, keeper: Some(keeper), reach, view, fatal, warnings, copies: true };
        if self.hosts.insert(node.clone(), host).is_none() {
            self.schedule(self.now, Event::View(node));
        }
    }

    fn crash(&mut self, node: &str) {
        self.host(node).keeper = None;
    }

    fn restart(&mut self, node: &str) {
        let config = KeeperConfig { joining: true, ..self.host(node).config.clone() };
        self.start(config);
    }

    fn host(&mut self, node: &str) -> &mut Host {
        self.hosts.get_mut(&name(node)).expect("a node of this world")
    }

    fn keeper(&self, node: &str) -> &RingKeeper {
        self.hosts[&name(node)].keeper.as_ref().expect("a running node")
    }

    fn act(&mut self, node: &str, act: impl FnOnce(&mut RingKeeper, Mono, &mut Vec<RingEffect>)) {
        let (now, mut out) = (Mono(self.now), Vec::new());
        act(self.host(node).keeper.as_mut().expect("a running node"), now, &mut out);
        self.perform(&name(node), out);
    }

    fn can_reach(&self, a: &NodeName, b: &NodeName) -> bool {
        let up = |node| self.hosts.get(node).is_some_and(|host| host.keeper.is_some());
        let group = |node| self.group.get(node).copied().unwrap_or(0);
        up(a) && up(b) && group(a) == group(b)
    }

    fn split(&mut self, apart: &[&str]) {
        self.group = apart.iter().map(|node| (name(node), 1)).collect();
    }

    fn heal(&mut self) {
        self.group.clear();
    }

    /// Per ring and epoch there is one config, and each is one move after the one before.
    fn check(&mut self, config: Arc<RingConfig>) {
        assert_eq!(config.check(), Ok(()), "seed {}", self.seed);
        let known = self.decided.entry((config.ring_id, config.epoch)).or_insert_with(|| Arc::clone(&config));
        assert_eq!(*known, config, "seed {}: two configs of one epoch", self.seed);
        if let Some(before) = self.decided.get(&(config.ring_id, Epoch(config.epoch.0 - 1))) {
            assert!(super::change::is_step(before, &config), "seed {}: {before:?} -> {config:?}", self.seed);
        }
    }

    fn perform(&mut self, node: &NodeName, effects: Vec<RingEffect>) {
        for effect in effects {
            match effect {
                RingEffect::Send { to, message } => self.send(node, to, message),
                RingEffect::Adopted(config) => {
                    self.check(Arc::clone(&config));
                    let owns_next =
                        config.member_named(node).is_some_and(|member| member.standing != Standing::Leaving);
                    if config.is_in_transition() && owns_next {
                        self.copy_later(node, config.epoch);
                    }
                }
                RingEffect::Fatal(text) => self.host(node.as_str()).fatal.push(text),
                RingEffect::Warn(text) => self.host(node.as_str()).warnings.push(text),
            }
        }
    }

    fn copy_later(&mut self, node: &NodeName, epoch: Epoch) {
        let at = self.now + 100 * MS + self.below(SECOND);
        let generation = self.host(node.as_str()).config.generation;
        if self.host(node.as_str()).copies {
            self.schedule(at, Event::Synced { name: node.clone(), generation, epoch });
        }
    }

    fn send(&mut self, from: &NodeName, to: NodeName, message: RingMessage) {
        assert_ne!(*from, to);
        let copies = match self.below(100) {
            roll if roll < self.loss_percent => 0,
            roll if roll >= 95 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            // One in fifty is very late: it comes from another time.
            let late = if self.below(50) == 0 { 5 * SECOND } else { self.latency_max };
            let at = self.now + MS + self.below(late);
            let (from, to, message) = (from.clone(), to.clone(), message.clone());
            self.schedule(at, Event::Deliver { from, to, message });
        }
    }

    fn look(&mut self, node: &NodeName) {
        let others: Vec<NodeName> = self.hosts.keys().filter(|other| *other != node).cloned().collect();
        let now = self.now;
        let mut view = Vec::new();
        for other in others {
            let reachable = self.can_reach(node, &other);
            let generation = self.hosts[&other].config.generation;
            let found_after = 50 * MS + self.below(400 * MS);
            let host = self.host(node.as_str());
            let (was, since) = *host.reach.entry(other.clone()).or_insert((reachable, now));
            if was != reachable {
                host.reach.insert(other.clone(), (reachable, now));
                continue;
            }
            let old = host.view.iter().find(|seen| seen.name == other).cloned();
            let peer = "127.0.0.1:1".parse().expect("an address");
            let seen = |alive, generation| VisibleNode { name: other.clone(), peer, generation, alive };
            match (reachable, old) {
                (true, Some(old)) if old.alive => view.push(seen(true, generation)),
                (true, _) if now >= since + found_after => view.push(seen(true, generation)),
                (false, Some(old)) if now >= since + FAILED_AFTER => view.push(seen(false, old.generation)),
                (_, Some(old)) => view.push(old),
                _ => {}
            }
        }
        if self.host(node.as_str()).view != view {
            self.host(node.as_str()).view.clone_from(&view);
            self.act(node.as_str(), |keeper, now, out| keeper.on_members(now, &view, out));
        }
    }

    fn is_up(&self, node: &NodeName) -> bool {
        self.hosts.get(node).is_some_and(|host| host.keeper.is_some())
    }

    fn run(&mut self, micros: u64) {
        let end = self.now + micros;
        loop {
            let deadline =
                |(name, host): (&NodeName, &Host)| Some((host.keeper.as_ref()?.next_deadline()?.0, name.clone()));
            let timer = self.hosts.iter().filter_map(deadline).min();
            let event = self.events.keys().next().copied();
            let at = timer.iter().map(|(at, _)| *at).chain(event.map(|(at, _)| at)).min().unwrap_or(end + 1);
            if at > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(at);
            match timer {
                Some((due, node)) if due <= at => self.act(node.as_str(), RingKeeper::on_timer),
                _ => self.happen(event.expect("the earlier one")),
            }
        }
    }

    fn happen(&mut self, key: (u64, u64)) {
        match self.events.remove(&key).expect("a scheduled event") {
            Event::Deliver { from, to, message } => {
                let group = |node| self.group.get(node).copied().unwrap_or(0);
                if self.is_up(&to) && group(&from) == group(&to) {
                    self.act(to.as_str(), |keeper, now, out| keeper.on_message(now, &from, message, out));
                }
            }
            Event::View(node) => {
                if self.is_up(&node) {
                    self.look(&node);
                }
                let at = self.now + VIEW_PERIOD / 2 + self.below(VIEW_PERIOD);
                self.schedule(at, Event::View(node));
            }
            Event::Synced { name, generation, epoch } => {
                if self.is_up(&name) && self.hosts[&name].config.generation == generation {
                    self.act(name.as_str(), |keeper, now, out| keeper.on_synced(now, epoch, out));
                }
            }
        }
    }

    /// Runs until something holds.
    fn run_until(&mut self, limit: u64, what: &str, holds: impl Fn(&Self) -> bool) -> u64 {
        let start = self.now;
        while !holds(self) {
            assert!(self.now < start + limit, "seed {}: {what}; {}", self.seed, self.describe());
            self.run(100 * MS);
        }
        self.now - start
    }

    /// Whether all these nodes have one config, whose members are exactly they, none of them moving.
    fn is_one_ring(&self, nodes: &[&str]) -> bool {
        let first = self.keeper(nodes[0]).config();
        first.is_some_and(|config| {
            !config.is_in_transition()
                && config.members.iter().map(|member| member.name.as_str()).eq(nodes.iter().copied())
                && nodes.iter().all(|node| self.keeper(node).config() == Some(config))
        })
    }

    fn may_vote(&self, node: &str) -> bool {
        let ring = self.keeper(node).ring.as_ref();
        ring.is_some_and(|ring| matches!(ring.franchise, Franchise::Voting { .. }))
    }

    fn describe(&self) -> String {
        let describe = |(name, host): (&NodeName, &Host)| {
            let Some(keeper) = &host.keeper else { return format!("{name}: down") };
            let Some(ring) = &keeper.ring else { return format!("{name}: no ring, sees {:?}", keeper.visible) };
            let members: Vec<String> =
                ring.config.members.iter().map(|m| format!("{}{:?}", m.name, m.standing)).collect();
            let (id, epoch) = (ring.config.ring_id, ring.config.epoch.0);
            format!("{name}: ring {id} epoch {epoch} {members:?} {:?} synced {:?}", ring.franchise, ring.synced)
        };
        self.hosts.iter().map(describe).collect::<Vec<_>>().join("\n")
    }
}

/// A ring of these nodes, founded together.
fn ring_of(seed: u64, nodes: &[&str]) -> World {
    founded(seed, nodes, false)
}

fn founded(seed: u64, nodes: &[&str], rejoin_empty: bool) -> World {
    let mut world = World::new(seed);
    for node in nodes {
        world.start(KeeperConfig { expect: Some(nodes.len()), rejoin_empty, ..config(node, true) });
    }
    world.run_until(30 * SECOND, "founding", |world| world.is_one_ring(nodes));
    world.run_until(5 * SECOND, "founders vote", |world| nodes.iter().all(|node| world.may_vote(node)));
    world
}

#[test]
fn three_that_start_together_become_one_ring() {
    for expect in [Some(3), None] {
        let mut longest = 0;
        for seed in 0..100 {
            let mut world = World::new(seed);
            let mut starts: Vec<(u64, &str)> = ["n1", "n2", "n3"].map(|node| (world.below(2 * SECOND), node)).into();
            starts.sort_unstable();
            for (at, node) in starts {
                world.run(at - world.now);
                world.start(KeeperConfig { expect, ..config(node, true) });
            }
            world.run_until(40 * SECOND, "one ring", |world| world.is_one_ring(&["n1", "n2", "n3"]));
            longest = longest.max(world.now);
            world.run(15 * SECOND);
            assert_eq!(world.decided.keys().map(|(ring, _)| ring).collect::<std::collections::BTreeSet<_>>().len(), 1);
        }
        println!(
            "three joiners, expect {expect:?}: one ring in 100 of 100 runs, the slowest after {} ms",
            longest / MS
        );
    }
}

#[test]
fn joiners_come_into_a_founders_ring_one_at_a_time() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.start(config("n1", false));
        assert!(world.is_one_ring(&["n1"]));
        world.start(config("n2", true));
        world.run_until(20 * SECOND, "the second", |world| world.is_one_ring(&["n1", "n2"]));
        world.start(KeeperConfig { replicas: 2, ..config("n3", true) });
        world.run_until(20 * SECOND, "the third", |world| world.is_one_ring(&["n1", "n2", "n3"]));
        assert_eq!(world.keeper("n3").config().expect("a ring").epoch, Epoch(5));
        assert_eq!(world.host("n3").warnings, ["replicas 2 is ignored: the ring has 3"]);
        assert!(world.host("n2").warnings.is_empty() && world.host("n2").fatal.is_empty());
    }
}

#[test]
fn joins_at_the_same_time_happen_one_after_the_other() {
    for seed in 0..50 {
        let mut world = ring_of(seed, &["n1", "n2", "n3"]);
        world.start(config("n4", true));
        world.start(config("n5", true));
        let all = ["n1", "n2", "n3", "n4", "n5"];
        world.run_until(30 * SECOND, "all in", |world| world.is_one_ring(&all));
        assert_eq!(world.keeper("n1").config().expect("a ring").epoch, Epoch(5), "seed {seed}");
        world.run_until(5 * SECOND, "all vote", |world| all.iter().all(|node| world.may_vote(node)));
    }
}

#[test]
fn a_minority_never_changes_the_ring_and_a_majority_can() {
    for seed in 0..20 {
        let mut world = ring_of(seed, &["n1", "n2", "n3", "n4", "n5"]);
        world.split(&["n4", "n5"]);
        world.start(config("n6", true));
        world.split(&["n4", "n5", "n6"]);
        world.act("n4", RingKeeper::leave);
        world.run(30 * SECOND);
        assert_eq!(world.keeper("n4").config().expect("a ring").epoch, Epoch(1), "seed {seed}");

        world.act("n1", RingKeeper::leave);
        world.run_until(60 * SECOND, "n1 leaves without n4 and n5", |world| {
            world.keeper("n2").config().is_some_and(|config| config.epoch == Epoch(3) && config.members.len() == 4)
        });
        world.heal();
        let rest = ["n2", "n3", "n5", "n6"];
        world.run_until(60 * SECOND, "n4 leaves, n6 comes", |world| world.is_one_ring(&rest));
        assert!(world.hosts.values().all(|host| host.fatal.is_empty()));
    }
}

#[test]
fn a_restarted_member_votes_only_when_it_knows_what_it_forgot() {
    let mut world = ring_of(1, &["n1", "n2", "n3"]);
    world.crash("n3");
    world.run(SECOND);
    world.restart("n3");
    // n3 meets n1 alone: two others of three voters are needed, since n2 may hold what n3 had helped to decide.
    world.crash("n2");
    world.run(10 * SECOND);
    assert!(world.is_one_ring(&["n1", "n3"]) || world.keeper("n3").config() == world.keeper("n1").config());
    assert!(!world.may_vote("n3"));
    let step = VoteStep::Prepare(RingBallot { round: 99, slot: 0, life: 1 });
    let ring = world.keeper("n3").config().expect("adopted").ring_id;
    let (mut out, message) = (Vec::new(), RingMessage::Vote { ring, epoch: Epoch(1), step });
    let now = Mono(world.now);
    world.host("n3").keeper.as_mut().expect("up").on_message(now, &name("n1"), message, &mut out);
    assert!(out.is_empty(), "{out:?}");
    // Two of three have lost their memory: more than promised, and what n1 knows is the truth.
    world.restart("n2");
    world.run_until(10 * SECOND, "both vote", |world| world.may_vote("n2") && world.may_vote("n3"));
}

#[test]
fn when_all_have_forgotten_they_found_a_new_ring() {
    let nodes = ["n1", "n2", "n3"];
    let mut world = ring_of(3, &nodes);
    let old = world.keeper("n1").config().expect("a ring").ring_id;
    nodes.iter().for_each(|node| world.crash(node));
    world.run(3 * SECOND);
    nodes.iter().for_each(|node| world.restart(node));
    world.run_until(30 * SECOND, "a new ring", |world| world.is_one_ring(&nodes));
    assert_ne!(world.keeper("n1").config().expect("a ring").ring_id, old);
}

#[test]
fn a_joiner_that_dies_is_taken_out_again() {
    for seed in 0..10 {
        let mut world = ring_of(seed, &["n1", "n2", "n3"]);
        world.start(config("n4", true));
        world.host("n4").copies = false;
        let is_coming = |world: &World| world.keeper("n1").config().is_some_and(|config| config.is_in_transition());
        world.run_until(10 * SECOND, "n4 is coming", is_coming);
        world.crash("n4");
        world.run_until(40 * SECOND, "n4 is out", |world| world.is_one_ring(&["n1", "n2", "n3"]));
        world.restart("n4");
        world.run_until(20 * SECOND, "n4 is in", |world| world.is_one_ring(&["n1", "n2", "n3", "n4"]));
    }
}

#[test]
fn a_member_that_leaves_is_out_and_its_slot_rests() {
    for seed in 0..10 {
        let mut world = ring_of(seed, &["n1", "n2", "n3"]);
        world.act("n1", RingKeeper::leave);
        world.run_until(20 * SECOND, "n1 is out", |world| world.is_one_ring(&["n2", "n3"]));
        world.start(config("n4", true));
        world.run_until(20 * SECOND, "n4 is in", |world| world.is_one_ring(&["n2", "n3", "n4"]));
        let slot = |node| {
            let config = world.keeper("n4").config().expect("a ring");
            config.member_named(&name(node)).expect("a member").slot.number()
        };
        assert_eq!([slot("n2"), slot("n3"), slot("n4")], [1, 2, 3], "seed {seed}: slot 0 was freed just before");
        let n1 = world.keeper("n1");
        assert!(n1.config().is_some_and(|config| config.member_named(&name("n1")).is_none()));
    }
}

#[test]
fn a_member_that_comes_back_with_another_share_gets_it() {
    let mut world = ring_of(7, &["n1", "n2", "n3"]);
    let has = |world: &World, wanted: [u32; 3]| {
        let config = world.keeper("n1").config().filter(|config| !config.is_in_transition());
        config.is_some_and(|config| config.members.iter().map(|member| member.share.weight).eq(wanted))
    };
    world.run_until(20 * SECOND, "all are in", |world| has(world, [100, 100, 100]));
    world.host("n2").config.share = share(250);
    world.restart("n2");
    world.run_until(20 * SECOND, "n2 has its new share", |world| has(world, [100, 250, 100]));

    // It dies before it has copied what is to be its own, and comes back as it was: the ring has not waited for it.
    world.host("n2").config.share = share(40);
    world.host("n2").copies = false;
    world.restart("n2");
    let is_changing = |world: &World| world.keeper("n1").config().is_some_and(|config| config.is_in_transition());
    world.run_until(20 * SECOND, "n2 is about to shrink", is_changing);
    world.crash("n2");
    world.run_until(30 * SECOND, "the change is taken back", |world| has(world, [100, 250, 100]));
}

#[test]
fn a_failed_member_can_be_removed() {
    let mut world = ring_of(5, &["n1", "n2", "n3"]);
    world.crash("n2");
    world.run(5 * SECOND);
    world.act("n3", |keeper, now, out| keeper.remove(now, name("n2"), out));
    world.run_until(20 * SECOND, "n2 is out", |world| world.is_one_ring(&["n1", "n3"]));
}

/// Who sees nobody, or was stopped, has missed the others for long, and they are there.
#[test]
fn who_was_out_of_touch_removes_nobody_for_having_missed_them() {
    let names = ["n1", "n2", "n3", "n4", "n5"];
    for seed in 0..20 {
        let mut world = ring_of(seed, &names);
        for host in world.hosts.values_mut() {
            host.keeper.as_mut().expect("all run").own.remove_after = Some(Duration::from_secs(60));
        }
        let config = world.keeper("n1").config().cloned();
        for (group, node) in (1..).zip(names) {
            world.group.insert(name(node), group);
        }
        world.run(90 * SECOND);
        world.heal();
        world.run(30 * SECOND);
        assert_eq!(world.keeper("n1").config(), config.as_ref(), "seed {seed}");

        // n2 is away; then n1 is stopped for long, and goes on before it hears that n2 is back.
        world.split(&["n2"]);
        world.run(30 * SECOND);
        let mut stopped = world.host("n1").keeper.take();
        world.heal();
        world.run(45 * SECOND);
        std::mem::swap(&mut world.host("n1").keeper, &mut stopped);
        world.act("n1", RingKeeper::on_timer);
        world.run(30 * SECOND);
        assert_eq!(world.keeper("n1").config(), config.as_ref(), "seed {seed}");
    }
}

/// Else the ring could neither complete the move nor begin to remove the one that failed.
#[test]
fn a_move_does_not_wait_for_ever_for_a_member_that_failed() {
    let mut world = ring_of(6, &["n1", "n2", "n3"]);
    world.crash("n2");
    world.run(5 * SECOND);
    world.start(config("n4", true));
    world.run(20 * SECOND);
    assert!(world.keeper("n1").config().is_some_and(|config| config.is_in_transition()));
    let is_in = |world: &World| world.keeper("n1").config().is_some_and(|config| !config.is_in_transition());
    world.run_until(30 * SECOND, "n4 is in", is_in);
    world.restart("n2");
    world.run_until(20 * SECOND, "n2 is back", |world| world.is_one_ring(&["n1", "n2", "n3", "n4"]));
}

#[test]
fn nodes_of_different_rings_stay_apart_and_say_so_once() {
    let mut world = World::new(7);
    world.start(config("n1", false));
    world.start(config("n2", false));
    world.run(20 * SECOND);
    assert!(world.is_one_ring(&["n1"]) && world.is_one_ring(&["n2"]));
    for node in ["n1", "n2"] {
        assert_eq!(world.host(node).fatal.len(), 1);
        assert!(world.host(node).fatal[0].contains("rings never merge"), "{:?}", world.host(node).fatal);
    }
    world.crash("n2");
    world.start(KeeperConfig { rejoin_empty: true, ..config("n2", false) });
    world.run_until(20 * SECOND, "n2 gives way", |world| world.is_one_ring(&["n1", "n2"]));
}

#[test]
fn two_that_give_way_to_each_other_end_in_one_ring() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        for node in ["n1", "n2"] {
            world.start(KeeperConfig { rejoin_empty: true, ..config(node, false) });
        }
        world.run_until(60 * SECOND, "one ring", |world| world.is_one_ring(&["n1", "n2"]));
    }
}

#[test]
fn a_node_of_another_cluster_is_refused() {
    let mut world = ring_of(9, &["n1", "n2"]);
    world.start(KeeperConfig { cluster: "other".to_owned(), ..config("n0", true) });
    world.run(8 * SECOND);
    assert!(world.is_one_ring(&["n1", "n2"]) && world.keeper("n0").config().is_none());
    assert!(world.host("n0").fatal[0].contains("of cluster \"memring\", this node of \"other\""));
}

/// Crashes, restarts without memory, partitions, joins and leaves at random, with never more than a minority of the
/// newest config's voters down or forgetful at a time.
fn chaos(seed: u64) -> World {
    let founders = ["n1", "n2", "n3", "n4", "n5"];
    let count = 3 + (seed % 3) as usize;
    let mut world = founded(seed, &founders[..count], true);
    for joiner in ["n6", "n7"] {
        world.start(KeeperConfig { rejoin_empty: true, ..config(joiner, true) });
    }
    world.loss_percent = 5 + 10 * (seed % 4);
    // A restarted node that is cut off for longer than the silence founds a ring of its own, by design. In even seeds no
    // split lasts that long and there must be one ring for ever; in odd seeds it gives way in the end.
    let split_max = if seed.is_multiple_of(2) { 6 * SECOND } else { u64::MAX };
    let mut split_at = 0;
    let mut gone = Vec::new();
    for _ in 0..40 {
        let nodes: Vec<String> = world.hosts.keys().map(ToString::to_string).collect();
        let node = nodes[world.below(nodes.len() as u64) as usize].clone();
        let up = world.is_up(&name(&node));
        match world.below(10) {
            0..=3 if !up => world.restart(&node),
            0..=2 if up && can_lose(&world, &node) => {
                world.crash(&node);
                if world.below(2) == 0 {
                    world.restart(&node);
                }
            }
            4 => {
                let apart: Vec<String> =
                    nodes.into_iter().filter(|_| world.random.next_u64().is_multiple_of(3)).collect();
                world.split(&apart.iter().map(String::as_str).collect::<Vec<_>>());
                split_at = world.now;
            }
            5 | 6 => world.heal(),
            _ if world.now - split_at > split_max => world.heal(),
            7 if up && gone.is_empty() => {
                world.act(&node, RingKeeper::leave);
                gone.push(node);
            }
            // Two who want different things at the same time; the removed ones come back.
            8 => {
                for voter in
                    nodes.iter().filter(|node| world.hosts[&name(node)].keeper.is_some()).cloned().collect::<Vec<_>>()
                {
                    let other = name(&nodes[world.below(nodes.len() as u64) as usize]);
                    if world.below(2) == 0 {
                        world.act(&voter, |keeper, now, out| keeper.remove(now, other, out));
                    }
                }
            }
            _ => {}
        }
        let pause = world.below(1500 * MS);
        world.run(pause);
    }
    world.heal();
    world.loss_percent = 10;
    let down: Vec<String> =
        world.hosts.iter().filter(|(_, host)| host.keeper.is_none()).map(|(name, _)| name.to_string()).collect();
    down.iter().for_each(|node| world.restart(node));
    world
}

/// Whether a majority of the newest config's voters remains that has forgotten nothing.
fn can_lose(world: &World, node: &str) -> bool {
    let Some(newest) = world.decided.values().max_by_key(|config| (config.epoch, config.members.len())) else {
        return false;
    };
    let voters: Vec<&str> = newest.voters().map(|member| member.name.as_str()).collect();
    let remembers = |voter: &&&str| {
        **voter != node
            && world.hosts[&name(voter)].keeper.as_ref().and_then(|keeper| keeper.ring.as_ref()).is_some_and(|ring| {
                ring.franchise == Franchise::Voting { for_good: true }
                    || (world.may_vote(voter) && ring.config.epoch == newest.epoch)
            })
    };
    voters.iter().filter(remembers).count() > voters.len() / 2
}

#[test]
fn one_config_is_decided_per_epoch_whatever_happens() {
    survive(0..300);
}

#[test]
#[ignore = "minutes; for the nightly run"]
fn one_config_is_decided_per_epoch_whatever_happens_for_long() {
    survive(300..3_000);
}

fn survive(seeds: Range<u64>) {
    let (mut epochs, mut slowest) = (0, 0);
    for seed in seeds.clone() {
        let mut world = chaos(seed);
        let settled = |world: &World| {
            let members: Vec<&str> = world
                .decided
                .values()
                .max_by_key(|config| (config.epoch, config.members.len()))
                .map(|config| config.members.iter().map(|member| member.name.as_str()).collect())
                .unwrap_or_default();
            world.is_one_ring(&members) && members.iter().all(|node| world.may_vote(node))
        };
        slowest = slowest.max(world.run_until(120 * SECOND, "it settles", settled));
        epochs += world.decided.len();
        let rings = world.decided.keys().map(|(ring, _)| ring).collect::<std::collections::BTreeSet<_>>().len();
        assert!(rings == 1 || !seed.is_multiple_of(2), "seed {seed}: {}", world.describe());
    }
    println!("{seeds:?}: {epochs} configs decided, settled at most {} ms after the last fault", slowest / MS);
}

/// Slow links, and voters that forget and return while opposite wishes are voted on: what the recovery of voters is for.
#[test]
fn forgetful_voters_never_help_to_decide_twice() {
    let mut decided = 0;
    for seed in 0..150_u64 {
        let nodes = ["n1", "n2", "n3", "n4", "n5"];
        let nodes = &nodes[..if seed.is_multiple_of(2) { 3 } else { 5 }];
        let mut world = founded(seed, nodes, true);
        (world.latency_max, world.loss_percent) = (300 * MS, 15);
        for _ in 0..150 {
            let node = nodes[world.below(nodes.len() as u64) as usize];
            let other = nodes[world.below(nodes.len() as u64) as usize];
            if world.below(2) == 0 && can_lose(&world, node) {
                world.crash(node);
                world.restart(node);
            } else if node != other {
                world.act(node, |keeper, now, out| keeper.remove(now, name(other), out));
            }
            let pause = world.below(250 * MS);
            world.run(pause);
        }
        decided += world.decided.len();
    }
    println!("{decided} configs decided by forgetful voters");
}
