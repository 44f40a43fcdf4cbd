//! The runs: what is done to three real nodes while clients work, and what must hold in the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::clock::{Deadline, now_us, pause, seconds_since, wait_for};
use super::cluster::{Cluster, NODES, Place};
use super::contest::{Contest, RIVALS};
use super::copies::{create_counters, read_everything, values_that_differ, wait_equal};
use super::history::Findings;
use super::minority;
use super::namespaces::Namespaces;
use super::registers::{CLIENTS, Client, Seen};
use super::relay::{self, Switch, Weather};
use super::scene::{Scene, Unmet};
use crate::check::key_order::Operation as Contested;

const MIB: u64 = 1024 * 1024;

/// Resident memory a node may have at `-m 64m`, the default: its items and what belongs to them, hints up to their limit of
/// 64 MB, and the program with its connections and queues.
const RESIDENT_BYTES_MAX: u64 = (64 + 64 + 32) * MIB;

/// Hints a node may keep by default.
const HINT_BYTES_MAX: u64 = 64 * MIB;

/// A loop of kills has so many at least, …
const KILLS_MIN: u64 = 5;

/// … and one for so many of the writes that are asked for.
const WRITES_A_KILL: u64 = 50_000;

/// Writes a second in the loop of kills, so that a history of many kills can be searched. Without a limit two cores do twice
/// as many.
const KILLS_WRITES_PER_S: u64 = 30_000;

/// How often nodes' gauges are read.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a calm may take in which no read is unmet.
const CALM_WITHIN: Duration = Duration::from_secs(10);

/// No run takes longer.
const RUN_MAX: Duration = Duration::from_secs(45 * 60);

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program `memring`.
    pub binary: String,
    /// From which all choices follow; real processes and clocks do not repeat themselves, however.
    pub seed: u64,
    /// Writes to be acknowledged in the loop of kills.
    pub writes: u64,
    /// How long each of the shorter faults lasts.
    pub fault: Duration,
    /// Where logs go, a folder for each run.
    pub logs: PathBuf,
}

impl Options {
    fn cluster(&self, name: &str, place: Place<'_>, unmet: Unmet) -> Result<Cluster, String> {
        let more: &[&str] = if unmet == Unmet::Error { &["--unmet", "error"] } else { &[] };
        let mut random = StdRng::seed_from_u64(self.seed ^ u64::from(std::process::id()));
        let mut cluster = Cluster::new(&self.binary, place, more, &self.logs.join(name), &mut random)?;
        cluster.start()?;
        Ok(cluster)
    }

    fn random(&self, name: &str) -> StdRng {
        let salt = name.bytes().fold(0u64, |salt, byte| salt.wrapping_mul(31) + u64::from(byte));
        StdRng::seed_from_u64(self.seed ^ salt)
    }
}

/// What nodes' gauges have shown since the first look.
#[derive(Debug, Default)]
struct Gauges {
    resident_bytes: u64,
    hint_bytes: u64,
    evictions: u64,
    unmet: [Counter; NODES],
    refounded: [Counter; NODES],
}

/// A counter that starts again with its process.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    last: u64,
    sum: u64,
}

impl Counter {
    fn read(&mut self, now: u64) {
        self.sum += now.checked_sub(self.last).unwrap_or(now);
        self.last = now;
    }
}

impl Gauges {
    /// Of a cluster that has just begun: what its start has counted is not counted here.
    fn of(cluster: &Cluster) -> Self {
        let mut gauges = Self::default();
        gauges.look(cluster);
        for counter in gauges.unmet.iter_mut().chain(&mut gauges.refounded) {
            counter.sum = 0;
        }
        gauges
    }

    fn look(&mut self, cluster: &Cluster) {
        for number in 0..NODES {
            self.look_at(cluster, number);
        }
    }

    /// A node that does not answer now is looked at the next time.
    fn look_at(&mut self, cluster: &Cluster, number: usize) {
        let node = &cluster.nodes[number];
        self.resident_bytes = self.resident_bytes.max(node.resident_bytes());
        let Ok(stats) = node.stats() else { return };
        let stat = |name: &str| stats.get(name).copied().unwrap_or_default();
        self.hint_bytes = self.hint_bytes.max(stat("hint_bytes"));
        self.evictions = self.evictions.max(stat("evictions"));
        self.unmet[number].read(stat("reads_unmet"));
        self.refounded[number].read(stat("partitions_refounded"));
    }

    /// The last look before a node's process ends.
    fn look_last(&mut self, cluster: &Cluster, number: usize) {
        self.look_at(cluster, number);
        self.unmet[number].last = 0;
        self.refounded[number].last = 0;
    }

    fn unmet(&self) -> u64 {
        self.unmet.iter().map(|counter| counter.sum).sum()
    }

    fn refounded(&self) -> u64 {
        self.refounded.iter().map(|counter| counter.sum).sum()
    }
}

/// What clients saw.
struct Tale {
    seen: Vec<Seen>,
    contested: Vec<Contested>,
    keys: usize,
}

/// Lets clients work while `faults` happen.
fn play<T>(scene: &Scene, faults: impl FnOnce() -> Result<T, String>) -> Result<(Tale, T), String> {
    let contest = Contest::default();
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|number| scope.spawn(move || Client::new(scene, number).work())).collect();
        let contest = &contest;
        let rivals: Vec<_> = (0..RIVALS).map(|rival| scope.spawn(move || contest.work(scene, rival))).collect();
        let outcome = faults();
        scene.end();
        let seen = clients.into_iter().map(|client| client.join().expect("a client does not panic")).collect();
        let contested = rivals.into_iter().flat_map(|rival| rival.join().expect("a rival does not panic")).collect();
        Ok((Tale { seen, contested, keys: contest.keys() }, outcome?))
    })
}

/// Judges a run after its last fault.
fn conclude(
    name: &str,
    cluster: &mut Cluster,
    scene: &Scene,
    mut tale: Tale,
    mut gauges: Gauges,
) -> Result<(), String> {
    cluster.wait_whole()?;
    let nodes = cluster.clients();
    let (seconds, items) = wait_equal(&nodes)?;
    println!("{name}: {items} items equal on {NODES} nodes {seconds:.1} s after the last client");
    gauges.look(cluster);
    let unmet = gauges.unmet();
    let (calm_us, finally) = wait_for(CALM_WITHIN, || {
        let before = unmet_now(cluster)?;
        let (calm_us, finally) = (now_us(), read_everything(&nodes)?);
        let more = unmet_now(cluster)? - before;
        if more == 0 { Ok((calm_us, finally)) } else { Err(format!("{more} reads of a calm cluster were unmet")) }
    })?;
    let differing = values_that_differ(&nodes)?;
    tale.seen.push(finally);
    let found = Findings::of(tale.seen, &tale.contested, tale.keys, scene.unmet, calm_us);
    println!("{name}: {found}");
    if scene.unmet == Unmet::Miss {
        println!(
            "{name}: {} misses during faults; nodes counted {unmet} reads that too few copies answered",
            found.misses
        );
    }
    let (resident, hints) = (gauges.resident_bytes / MIB, gauges.hint_bytes);
    println!(
        "{name}: at most {resident} MiB resident and {hints} bytes of hints a node, {} evictions, {} partitions founded anew",
        gauges.evictions,
        gauges.refounded()
    );
    let mut broken = Vec::new();
    if found.violations() > 0 {
        broken.push(format!("{} promises broken:\n{}", found.violations(), found.told()));
    }
    if found.misses > unmet {
        broken.push(format!("{} reads missed what was acknowledged, and only {unmet} were unmet", found.misses));
    }
    if differing > 0 {
        broken.push(format!("{differing} keys have different values on different nodes"));
    }
    if gauges.resident_bytes > RESIDENT_BYTES_MAX || hints > HINT_BYTES_MAX || gauges.evictions > 0 {
        broken.push("a node went beyond its limits, or evicted, which this run leaves no cause for".to_owned());
    }
    if gauges.refounded() > 0 {
        broken.push("partitions were founded anew, though no two nodes were away at once".to_owned());
    }
    if broken.is_empty() {
        println!("{name}: ok");
        return Ok(());
    }
    Err(format!("{}; logs: {}", broken.join("; "), cluster.logs.display()))
}

fn unmet_now(cluster: &Cluster) -> Result<u64, String> {
    let of = |stats: std::collections::BTreeMap<String, u64>| stats.get("reads_unmet").copied().unwrap_or_default();
    cluster.nodes.iter().map(|node| node.stats().map(of)).sum()
}

fn rest(cluster: &Cluster, gauges: &mut Gauges, time: Duration) {
    let deadline = Deadline::after(time);
    while !deadline.is_over() {
        gauges.look(cluster);
        pause(LOOK_EVERY.min(time));
    }
}

fn between(random: &mut StdRng, from_ms: u64, to_ms: u64) -> Duration {
    Duration::from_millis(random.random_range(from_ms..to_ms))
}

/// Nodes at the defaults without any fault: how fast, and how many doubts there are when the machine is full.
pub fn calm(options: &Options) -> Result<(), String> {
    let mut cluster = options.cluster("calm", Place::Loopback, Unmet::Miss)?;
    let scene = Scene::new(cluster.clients(), Unmet::Miss, options.seed);
    create_counters(scene.clients[0])?;
    let (mut gauges, begin_us) = (Gauges::of(&cluster), now_us());
    let (tale, seconds) = play(&scene, || {
        rest(&cluster, &mut gauges, options.fault * 2);
        Ok(seconds_since(begin_us))
    })?;
    tell_speed("calm", &scene, seconds);
    conclude("calm", &mut cluster, &scene, tale, gauges)
}

/// Nodes at level one, which promises less: if no read is found to be stale or to miss anything there, nothing would be.
pub fn weak(options: &Options) -> Result<(), String> {
    let mut random = options.random("weak");
    let more = ["--read", "one", "--write", "one", "--unmet", "error"];
    let folder = options.logs.join("weak");
    let mut cluster = Cluster::new(&options.binary, Place::Loopback, &more, &folder, &mut random)?;
    cluster.start()?;
    let scene = Scene::new(cluster.clients(), Unmet::Error, options.seed);
    create_counters(scene.clients[0])?;
    let (tale, ()) = play(&scene, || {
        for node in &mut cluster.nodes {
            pause(Duration::from_millis(1000));
            node.kill();
            pause(Duration::from_millis(200));
            node.start()?;
        }
        Ok(())
    })?;
    let found = Findings::of(tale.seen, &tale.contested, tale.keys, scene.unmet, now_us());
    println!("weak: {found}");
    if found.stale == 0 || found.lost == 0 || found.backward == 0 || found.resurrected == 0 {
        return Err("the checkers see nothing where less is promised".to_owned());
    }
    println!("weak: ok, the checkers see what level one does not promise");
    Ok(())
}

fn tell_speed(name: &str, scene: &Scene, seconds: f64) {
    let acknowledged = scene.acknowledged.load(Ordering::Relaxed);
    let doubts = scene.in_doubt.load(Ordering::Relaxed);
    let rate = acknowledged as f64 / seconds;
    println!("{name}: {acknowledged} writes acknowledged in {seconds:.1} s, {rate:.0} a second; {doubts} in doubt");
}

/// What has been done to nodes in the loop of kills.
#[derive(Debug, Default)]
struct Strikes {
    rounds: u64,
    kills: u64,
    /// Of a node that had not yet copied everything from the others.
    again: u64,
    /// With another one frozen meanwhile, so that there was no majority.
    beside: u64,
    freezes: u64,
    longest_return_s: f64,
}

impl Strikes {
    fn freeze(&mut self, cluster: &Cluster, random: &mut StdRng) -> Result<(), String> {
        let node = &cluster.nodes[random.random_range(0..NODES)];
        node.freeze()?;
        pause(between(random, 300, 4000));
        self.freezes += 1;
        node.go_on()
    }

    /// Kills a node, and waits until it is whole again. No other one dies meanwhile: that is more than is promised for.
    fn kill(&mut self, cluster: &mut Cluster, gauges: &mut Gauges, random: &mut StdRng) -> Result<(), String> {
        let victim = random.random_range(0..NODES);
        let other = (victim + random.random_range(1..NODES)) % NODES;
        let (again, beside) = (self.rounds % 3 == 1, self.rounds % 3 == 2);
        self.rounds += 1;
        gauges.look_last(cluster, victim);
        if beside {
            cluster.nodes[other].freeze()?;
        }
        cluster.nodes[victim].kill();
        pause(between(random, 100, 3000));
        if beside {
            cluster.nodes[other].go_on()?;
        }
        cluster.nodes[victim].start()?;
        if again {
            pause(between(random, 20, 600));
            cluster.nodes[victim].kill();
            cluster.nodes[victim].start()?;
        }
        self.kills += 1 + u64::from(again);
        self.again += u64::from(again);
        self.beside += u64::from(beside);
        let started_us = now_us();
        cluster.wait_whole()?;
        self.longest_return_s = self.longest_return_s.max(seconds_since(started_us));
        Ok(())
    }
}

/// Nodes at the defaults, killed and started again one after the other, and stopped for a while in between.
pub fn kills(options: &Options) -> Result<(), String> {
    let mut cluster = options.cluster("kills", Place::Loopback, Unmet::Miss)?;
    let scene = Scene::new(cluster.clients(), Unmet::Miss, options.seed).paced(KILLS_WRITES_PER_S);
    create_counters(scene.clients[0])?;
    let kills_min = KILLS_MIN.max(options.writes / WRITES_A_KILL);
    let (mut random, mut gauges, begin_us) = (options.random("kills"), Gauges::of(&cluster), now_us());
    let mut strikes = Strikes::default();
    let (tale, ()) = play(&scene, || {
        let deadline = Deadline::after(RUN_MAX);
        while scene.acknowledged.load(Ordering::Relaxed) < options.writes || strikes.kills < kills_min {
            if deadline.is_over() {
                return Err(format!("only {} writes", scene.acknowledged.load(Ordering::Relaxed)));
            }
            rest(&cluster, &mut gauges, between(&mut random, 300, 1500));
            strikes.freeze(&cluster, &mut random)?;
            rest(&cluster, &mut gauges, between(&mut random, 300, 1500));
            strikes.kill(&mut cluster, &mut gauges, &mut random)?;
        }
        Ok(())
    })?;
    tell_speed("kills", &scene, seconds_since(begin_us));
    let Strikes { kills, freezes, longest_return_s, .. } = strikes;
    println!(
        "kills: {kills} kills, {} of them of a node that was coming back, {} with another one frozen; {freezes} nodes frozen alone",
        strikes.again, strikes.beside
    );
    println!("kills: a node was whole again {longest_return_s:.1} s after its start at most");
    conclude("kills", &mut cluster, &scene, tale, gauges)
}

/// One node cut off: what both sides answer, and how soon all is equal again.
pub fn minority(options: &Options, namespaces: &Namespaces) -> Result<(), String> {
    let mut cluster = options.cluster("minority", Place::Apart(namespaces), Unmet::Miss)?;
    let logs = cluster.logs.clone();
    minority::tell(&mut cluster, namespaces).map_err(|why| format!("{why}; logs: {}", logs.display()))
}

/// Links that fail in part: one way, between two of three, and for one packet in ten.
pub fn partitions(options: &Options, namespaces: &Namespaces) -> Result<(), String> {
    namespaces.heal()?;
    let mut cluster = options.cluster("partitions", Place::Apart(namespaces), Unmet::Error)?;
    let scene = Scene::new(cluster.clients(), Unmet::Error, options.seed);
    create_counters(scene.clients[0])?;
    let (mut random, mut gauges) = (options.random("partitions"), Gauges::of(&cluster));
    let (tale, ()) = play(&scene, || {
        for fault in ["a one-way cut", "a bridge", "10 % loss"] {
            let from = random.random_range(0..NODES);
            let to = (from + random.random_range(1..NODES)) % NODES;
            let before = [&scene.acknowledged, &scene.in_doubt].map(|count| count.load(Ordering::Relaxed));
            match fault {
                "a one-way cut" => namespaces.cut_one_way(from, to)?,
                "a bridge" => namespaces.cut(from, to)?,
                _ => namespaces.lose(10)?,
            }
            rest(&cluster, &mut gauges, options.fault);
            let dropped = namespaces.heal()?;
            if dropped == 0 {
                return Err(format!("{fault} dropped nothing"));
            }
            let after = [&scene.acknowledged, &scene.in_doubt].map(|count| count.load(Ordering::Relaxed));
            let [acknowledged, doubts] = [after[0] - before[0], after[1] - before[1]];
            let between = if fault == "10 % loss" { String::new() } else { format!(" (n{}, n{})", from + 1, to + 1) };
            let seconds = options.fault.as_secs();
            println!(
                "partitions: {fault}{between} for {seconds} s: {acknowledged} writes acknowledged, {doubts} in doubt, {dropped} packets dropped"
            );
            rest(&cluster, &mut gauges, options.fault / 3);
        }
        Ok(())
    })?;
    conclude("partitions", &mut cluster, &scene, tale, gauges)
}

/// A relay between the nodes: late, jittery, doubled, reordered; and silent towards one node for a while.
pub fn relayed(options: &Options) -> Result<(), String> {
    let weather = Weather {
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(8),
        doubled_percent: 20,
        held_back_percent: 20,
    };
    let mut random = options.random("relay");
    let more = ["--unmet", "error"];
    let folder = options.logs.join("relay");
    let mut ports = StdRng::seed_from_u64(options.seed ^ u64::from(std::process::id()));
    let mut cluster = Cluster::new(&options.binary, Place::Relayed, &more, &folder, &mut ports)?;
    let (switch, is_over, is_ready) = (Arc::new(Switch::new(NODES)), AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (peer_ports, seed, ready, over) = (cluster.peer_ports.clone(), options.seed, &is_ready, &is_over);
        let switch_of_relay = Arc::clone(&switch);
        let relay = scope.spawn(move || {
            relay::run(&peer_ports, weather, seed, &switch_of_relay, over, || ready.store(true, Ordering::Relaxed))
        });
        let outcome = wait_for(CALM_WITHIN, || {
            if is_ready.load(Ordering::Relaxed) { Ok(()) } else { Err("the relay has no addresses".to_owned()) }
        })
        .and_then(|()| cluster.start())
        .and_then(|()| live_with_relay(options, &mut cluster, &switch, &mut random));
        is_over.store(true, Ordering::Relaxed);
        let relayed = relay.join().expect("the relay does not panic").map_err(|error| format!("relay: {error}"));
        outcome.and(relayed)
    })
}

fn live_with_relay(
    options: &Options,
    cluster: &mut Cluster,
    switch: &Switch,
    random: &mut StdRng,
) -> Result<(), String> {
    let scene = Scene::new(cluster.clients(), Unmet::Error, options.seed);
    create_counters(scene.clients[0])?;
    let mut gauges = Gauges::of(cluster);
    let begin_us = now_us();
    let (tale, ()) = play(&scene, || {
        rest(cluster, &mut gauges, options.fault);
        let silent = random.random_range(0..NODES);
        switch.silence(silent, true);
        println!("relay: nothing arrives at n{} for {} s", silent + 1, (options.fault / 4).as_secs_f64());
        rest(cluster, &mut gauges, options.fault / 4);
        switch.silence(silent, false);
        rest(cluster, &mut gauges, options.fault / 2);
        Ok(())
    })?;
    tell_speed("relay", &scene, seconds_since(begin_us));
    let [bytes, datagrams, doubled, held_back] = [&switch.bytes, &switch.datagrams, &switch.doubled, &switch.held_back]
        .map(|count| count.load(Ordering::Relaxed));
    println!(
        "relay: {bytes} bytes of connections, {datagrams} datagrams, {doubled} of them doubled, {held_back} held back"
    );
    if [bytes, doubled, held_back].contains(&0) {
        return Err("the relay did nothing to what it passed on".to_owned());
    }
    conclude("relay", cluster, &scene, tale, gauges)
}
