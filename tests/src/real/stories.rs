//! The runs: what is done to three real nodes while clients work, and what must hold in the end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::clock::{now_us, pause, seconds_since, wait_for};
use super::cluster::{Cluster, NODES, Place};
use super::contest::{Contest, RIVALS};
use super::copies::{Equal, create_counters, read_everything, values_that_differ, wait_equal};
use super::gauges::{Gauges, MIB};
use super::history::Findings;
use super::minority;
use super::namespaces::Namespaces;
use super::registers::{CLIENTS, Client, Seen};
use super::relay::{self, Switch, Weather};
use super::scene::{Scene, Unmet};
use crate::check::key_order::Operation as Contested;

/// How long a calm may take in which no read is unmet.
const CALM_WITHIN: Duration = Duration::from_secs(10);

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program `memring`.
    pub binary: String,
    /// Another release of it, and how many nodes run that, from the first on.
    pub older: Option<(String, usize)>,
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
    pub(super) fn cluster(&self, name: &str, place: Place<'_>, unmet: Unmet) -> Result<Cluster, String> {
        let more: &[&str] = if unmet == Unmet::Error { &["--unmet", "error"] } else { &[] };
        let mut random = StdRng::seed_from_u64(self.seed ^ u64::from(std::process::id()));
        let mut cluster = Cluster::new(self.programs(), place, more, &self.logs.join(name), &mut random)?;
        cluster.start()?;
        Ok(cluster)
    }

    /// What each node runs.
    fn programs(&self) -> [&str; NODES] {
        std::array::from_fn(|node| match &self.older {
            Some((older, count)) if node < *count => older.as_str(),
            _ => self.binary.as_str(),
        })
    }

    pub(super) fn random(&self, name: &str) -> StdRng {
        let salt = name.bytes().fold(0u64, |salt, byte| salt.wrapping_mul(31) + u64::from(byte));
        StdRng::seed_from_u64(self.seed ^ salt)
    }
}

/// What clients saw.
pub(super) struct Tale {
    seen: Vec<Seen>,
    contested: Vec<Contested>,
    keys: usize,
}

/// Lets clients work while `faults` happen.
pub(super) fn play<T>(scene: &Scene, faults: impl FnOnce() -> Result<T, String>) -> Result<(Tale, T), String> {
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
pub(super) fn conclude(
    name: &str,
    cluster: &mut Cluster,
    scene: &Scene,
    mut tale: Tale,
    mut gauges: Gauges,
) -> Result<(), String> {
    cluster.wait_whole()?;
    let nodes = cluster.clients();
    let Equal { seconds, items, differed } = wait_equal(&nodes)?;
    println!(
        "{name}: {items} items equal on {NODES} nodes {seconds:.1} s after the last client, {} of them not at once",
        differed.len()
    );
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
    if gauges.is_beyond() {
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

pub(super) fn between(random: &mut StdRng, from_ms: u64, to_ms: u64) -> Duration {
    Duration::from_millis(random.random_range(from_ms..to_ms))
}

/// Nodes at the defaults without any fault: how fast, and how many doubts there are when the machine is full.
pub fn calm(options: &Options) -> Result<(), String> {
    let mut cluster = options.cluster("calm", Place::Loopback, Unmet::Miss)?;
    let scene = Scene::new(cluster.clients(), Unmet::Miss, options.seed);
    create_counters(scene.clients[0])?;
    let (mut gauges, begin_us) = (Gauges::of(&cluster), now_us());
    let (tale, seconds) = play(&scene, || {
        gauges.watch(&cluster, options.fault * 2);
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
    let mut cluster = Cluster::new(options.programs(), Place::Loopback, &more, &folder, &mut random)?;
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

pub(super) fn tell_speed(name: &str, scene: &Scene, seconds: f64) {
    let acknowledged = scene.acknowledged.load(Ordering::Relaxed);
    let doubts = scene.in_doubt.load(Ordering::Relaxed);
    let rate = acknowledged as f64 / seconds;
    println!("{name}: {acknowledged} writes acknowledged in {seconds:.1} s, {rate:.0} a second; {doubts} in doubt");
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
            gauges.watch(&cluster, options.fault);
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
            gauges.watch(&cluster, options.fault / 3);
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
    let mut cluster = Cluster::new(options.programs(), Place::Relayed, &more, &folder, &mut ports)?;
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
        gauges.watch(cluster, options.fault);
        let silent = random.random_range(0..NODES);
        switch.silence(silent, true);
        println!("relay: nothing arrives at n{} for {} s", silent + 1, (options.fault / 4).as_secs_f64());
        gauges.watch(cluster, options.fault / 4);
        switch.silence(silent, false);
        gauges.watch(cluster, options.fault / 2);
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
