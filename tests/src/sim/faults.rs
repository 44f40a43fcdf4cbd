//! What goes wrong in a simulated cluster, chosen by seed, and the run that lives through it.
//!
//! The faults stay within what the cluster promises to survive: one node at a time loses its memory, and the next only
//! when all are synced again; partitions are shorter than the time after which a missing home is given up.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::checks::{Violation, check_counter, check_monotonic, check_registers};
use super::cluster::{Cluster, ClusterOptions};
use super::lease_order::{Operation as LeaseOperation, Outcome as LeaseOutcome, check_leases};
use super::leases::Leases;
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
    /// Keys whose histories were searched for an order.
    pub searched: usize,
    /// Those of them with too many operations in doubt to be judged.
    pub unjudged: usize,
}

/// Runs a cluster of three through a handful of faults chosen by `seed`, with clients at work all the time.
pub fn live_through_faults(seed: u64) -> Report {
    let mut random = StdRng::seed_from_u64(seed ^ 0x0066_6175_6c74);
    let mut cluster = Cluster::started(ClusterOptions::default(), seed);
    let mut workload = Workload::new(5, 2, 3, seed ^ 0x776f_726b);
    workload.create_counters(&mut cluster);
    suffer_some(&mut cluster, &mut random, &mut |cluster, time| workload.run(cluster, time));
    conclude(seed, &mut cluster, &mut workload)
}

/// The same with clients of leases.
pub fn lease_through_faults(seed: u64) -> Report {
    let mut random = StdRng::seed_from_u64(seed ^ 0x006c_6561_7365);
    let mut cluster = Cluster::started(ClusterOptions::default(), seed);
    let mut leases = Leases::new(seed ^ 0x776f_726b);
    suffer_some(&mut cluster, &mut random, &mut |cluster, time| leases.run(cluster, time));
    conclude_leases(seed, &mut cluster, &mut leases)
}

/// Lets clients work for some time.
type Work<'a> = dyn FnMut(&mut Cluster, Duration) + 'a;

fn suffer_some(cluster: &mut Cluster, random: &mut StdRng, work: &mut Work<'_>) {
    for _ in 0..random.random_range(2..5) {
        work(cluster, Duration::from_millis(random.random_range(200..1500)));
        let fault = choose(random, cluster.size());
        suffer(cluster, work, random, fault);
    }
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

fn suffer(cluster: &mut Cluster, work: &mut Work<'_>, random: &mut StdRng, fault: Fault) {
    let time = Duration::from_millis(random.random_range(300..9_000));
    let others = |node: usize| (0..3).filter(|other| *other != node).collect::<Vec<_>>();
    match fault {
        Fault::Crash(node) => {
            cluster.crash(node);
            work(cluster, time);
            cluster.start(node);
        }
        Fault::Pause(node) => {
            cluster.pause(node);
            work(cluster, time.min(Duration::from_secs(4)));
            cluster.resume(node);
        }
        Fault::Isolate(node) => {
            cluster.network.split(&[node], &others(node));
            work(cluster, time);
        }
        Fault::OneWay(node, other) => {
            cluster.network.cut(other, node);
            work(cluster, time);
        }
        Fault::Bridge(node, other) => {
            cluster.network.split(&[node], &[other]);
            work(cluster, time);
        }
        Fault::Storm => {
            cluster.network.weather = Weather::foul();
            work(cluster, time);
        }
    }
    cluster.network.heal();
    cluster.network.weather = Weather::fair();
    // The next fault may take another node's memory: all copies must be whole before it.
    let all: Vec<usize> = (0..cluster.size()).collect();
    let mut waited = Duration::ZERO;
    while !cluster.is_whole(&all) {
        work(cluster, Duration::from_millis(200));
        waited += Duration::from_millis(200);
        assert!(waited < Duration::from_secs(90), "not whole 90 s after {fault:?}: {:#?}", cluster.view(0));
    }
}

fn conclude(seed: u64, cluster: &mut Cluster, workload: &mut Workload) -> Report {
    workload.finish(cluster);
    let before = workload.history.len();
    workload.read_everything(cluster);
    let mut violations = check_registers(&workload.history, workload.registers());
    violations.extend(check_monotonic(&workload.history, workload.registers()));
    violations.extend(check_races(&workload.history, workload.races()));
    violations.extend(check_forgotten(cluster));
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
    tell(seed, &violations);
    let failed = workload
        .history
        .iter()
        .filter(|operation| matches!(operation.outcome, Outcome::InDoubt | Outcome::Unread))
        .count();
    Report { violations, done: workload.history.len() - failed, failed, searched: 0, unjudged: 0 }
}

fn conclude_leases(seed: u64, cluster: &mut Cluster, leases: &mut Leases) -> Report {
    leases.finish(cluster);
    // The first readers settle who is serializer, in each other's way: one that may have won meanwhile is not answered.
    leases.read_everything(cluster);
    let before = leases.history.len();
    leases.read_everything(cluster);
    let (mut violations, unjudged) = check_leases(&leases.history, leases.keys());
    violations.extend(check_forgotten(cluster));
    let doubtful = |operation: &&LeaseOperation| operation.outcome == LeaseOutcome::InDoubt;
    for operation in leases.history[before..].iter().filter(doubtful) {
        violations.push(Violation(format!("a calm cluster did not answer: {operation:?}")));
    }
    tell(seed, &violations);
    let failed = leases.history.iter().filter(doubtful).count();
    Report { violations, done: leases.history.len() - failed, failed, searched: leases.keys(), unjudged }
}

/// After some quiet no node has anything under way.
fn check_forgotten(cluster: &mut Cluster) -> Vec<Violation> {
    cluster.run_for(QUIET);
    let left: Vec<usize> = (0..cluster.size()).map(|node| cluster.operations(node)).collect();
    let forgotten = left.iter().all(|operations| *operations == 0);
    if forgotten { Vec::new() } else { vec![Violation(format!("operations never forgotten, by node: {left:?}"))] }
}

fn tell(seed: u64, violations: &[Violation]) {
    for violation in violations {
        eprintln!("seed {seed}: {}", violation.0);
    }
}
