//! What goes wrong in a simulated cluster, chosen by seed, and the run that lives through it.
//!
//! The faults stay within what the cluster promises to survive: one node at a time loses its memory, and the next only
//! when all are synced again; partitions are shorter than the time after which a missing home is given up.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::checks::{Violation, check_counter, check_monotonic, check_registers};
use super::cluster::{Cluster, ClusterOptions};
use super::network::Weather;
use super::races::check_races;
use super::workload::{Outcome, Workload};

/// Longer than any operation lives.
const QUIET: Duration = Duration::from_secs(6);

/// One thing that goes wrong, and then right again.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A node is killed, and starts again empty.
    Crash(usize),
    /// A node is stopped for a while.
    Pause(usize),
    /// A node hears nobody and is heard by nobody.
    Isolate(usize),
    /// A node is heard by all but hears one other no more.
    OneWay(usize, usize),
    /// Two nodes do not hear each other; both hear the third.
    Bridge(usize, usize),
    /// The network gets worse.
    Storm,
}

/// What a run showed.
#[derive(Debug)]
pub struct Report {
    /// Promises broken.
    pub violations: Vec<Violation>,
    /// Operations that were answered well.
    pub done: usize,
    /// Operations that were not.
    pub failed: usize,
}

/// Runs a cluster of three through a handful of faults chosen by `seed`, with clients at work all the time.
pub fn live_through_faults(seed: u64) -> Report {
    let mut random = StdRng::seed_from_u64(seed ^ 0x0066_6175_6c74);
    let mut cluster = Cluster::started(ClusterOptions::default(), seed);
    let mut workload = Workload::new(5, 2, 3, seed ^ 0x776f_726b);
    workload.create_counters(&mut cluster);
    for _ in 0..random.random_range(2..5) {
        workload.run(&mut cluster, Duration::from_millis(random.random_range(200..1500)));
        let fault = choose(&mut random, cluster.size());
        suffer(&mut cluster, &mut workload, &mut random, fault);
    }
    conclude(seed, &mut cluster, &mut workload)
}

fn choose(random: &mut StdRng, nodes: usize) -> Fault {
    let node = random.random_range(0..nodes);
    let other = (node + random.random_range(1..nodes)) % nodes;
    match random.random_range(0..9) {
        0..=2 => Fault::Crash(node),
        3 => Fault::Pause(node),
        4 => Fault::Isolate(node),
        5 => Fault::OneWay(node, other),
        6 => Fault::Bridge(node, other),
        _ => Fault::Storm,
    }
}

fn suffer(cluster: &mut Cluster, workload: &mut Workload, random: &mut StdRng, fault: Fault) {
    let time = Duration::from_millis(random.random_range(300..9_000));
    let others = |node: usize| (0..3).filter(|other| *other != node).collect::<Vec<_>>();
    match fault {
        Fault::Crash(node) => {
            cluster.crash(node);
            workload.run(cluster, time);
            cluster.start(node);
        }
        Fault::Pause(node) => {
            cluster.pause(node);
            workload.run(cluster, time.min(Duration::from_secs(4)));
            cluster.resume(node);
        }
        Fault::Isolate(node) => {
            cluster.network.split(&[node], &others(node));
            workload.run(cluster, time);
        }
        Fault::OneWay(node, other) => {
            cluster.network.cut(other, node);
            workload.run(cluster, time);
        }
        Fault::Bridge(node, other) => {
            cluster.network.split(&[node], &[other]);
            workload.run(cluster, time);
        }
        Fault::Storm => {
            cluster.network.weather = Weather::foul();
            workload.run(cluster, time);
        }
    }
    cluster.network.heal();
    cluster.network.weather = Weather::fair();
    // The next fault may take another node's memory: all copies must be whole before it.
    let all: Vec<usize> = (0..cluster.size()).collect();
    let mut waited = Duration::ZERO;
    while !cluster.is_whole(&all) {
        workload.run(cluster, Duration::from_millis(200));
        waited += Duration::from_millis(200);
        assert!(waited < Duration::from_secs(90), "not whole 90 s after {fault:?}: {:#?}", cluster.view(0));
    }
}

fn conclude(seed: u64, cluster: &mut Cluster, workload: &mut Workload) -> Report {
    workload.finish(cluster);
    let before = workload.history.len();
    workload.read_everything(cluster);
    cluster.run_for(QUIET);
    let left: Vec<usize> = (0..cluster.size()).map(|node| cluster.operations(node)).collect();
    let mut violations = check_registers(&workload.history, workload.registers());
    violations.extend(check_monotonic(&workload.history, workload.registers()));
    violations.extend(check_races(&workload.history, workload.races()));
    if left.iter().any(|operations| *operations > 0) {
        violations.push(Violation(format!("operations never forgotten, by node: {left:?}")));
    }
    for operation in &workload.history[before..] {
        match operation.outcome {
            Outcome::Saw(_) if workload.races().contains(&operation.key) => {}
            Outcome::Saw(Some(finally)) if operation.key >= workload.registers() => {
                violations.extend(check_counter(&workload.history, operation.key, finally));
            }
            Outcome::Saw(_) if operation.key < workload.registers() => {}
            _ => violations.push(Violation(format!("a calm cluster did not answer: {operation:?}"))),
        }
    }
    for violation in &violations {
        eprintln!("seed {seed}: {}", violation.0);
    }
    let failed = workload
        .history
        .iter()
        .filter(|operation| matches!(operation.outcome, Outcome::InDoubt | Outcome::Unread))
        .count();
    Report { violations, done: workload.history.len() - failed, failed }
}
