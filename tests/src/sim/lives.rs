//! Runs of whole clusters through faults, with clients at work all the time, and what is asked of them in the end.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cluster::{Cluster, ClusterOptions};
use super::contest::Contest;
use super::faults::{Troubles, Work};
use super::leases::Leases;
use super::network::Met;
use super::workload::Workload;
use crate::check::checks::{Outcome, Violation, check_counter, check_monotonic, check_registers};
use crate::check::key_order::{Outcome as KeyOutcome, check_keys};
use crate::check::lease_order::{Operation as LeaseOperation, Outcome as LeaseOutcome, check_leases};

/// Longer than any operation lives.
const QUIET: Duration = Duration::from_secs(6);

/// How long after the last fault all copies must be equal. Every key has been read through every node by then: what a home
/// was told neither by its serializer nor by a hint, it learns because it differs from another.
const CONVERGES_WITHIN: Duration = Duration::from_secs(10);

/// A hint memory that a short fault fills.
const FEW_HINTS_BYTES: usize = 600;

/// A disk that such a memory's overflow fills.
const SMALL_DISK_BYTES: u64 = 2_000;

/// Clocks do not differ more in speed, in millionths.
const DRIFT_PPM_MAX: i64 = 500;

/// How long clients contend for keys in each part of [`contest_through_splits`]; longer than it takes to find a split.
const PHASE: Duration = Duration::from_millis(1500);

/// How often two homes take each other for dead.
const RIVALRIES: usize = 8;

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
    /// What went wrong.
    pub met: Met,
}

/// A cluster after its last fault, for its checkers.
pub(super) struct Ending {
    /// Who is to be a member.
    pub members: Vec<usize>,
    /// Whether tombstones count where copies are compared: each home forgets them when it may, ten minutes on.
    pub with_tombstones: bool,
    /// What has happened, for who looks for a bug.
    pub past: String,
    /// How often what went wrong.
    pub met: Met,
}

impl Ending {
    fn of(troubles: &Troubles) -> Self {
        let (members, past) = (troubles.members(), format!("{:?}", troubles.past));
        Self { members, with_tombstones: true, past, met: troubles.met.clone() }
    }
}

/// A cluster of a size and with limits that `random` chooses.
fn begin(random: &mut StdRng, seed: u64) -> (Cluster, Troubles) {
    // A larger one takes longer to simulate.
    let (nodes, replicas) = [(3, 3), (3, 3), (4, 3), (5, 3), (5, 5)][random.random_range(0..5)];
    let hint_memory_bytes = if random.random_bool(0.3) { FEW_HINTS_BYTES } else { 1 << 20 };
    // One may be there to join later.
    let members = nodes - usize::from(nodes > usize::from(replicas) && random.random_bool(0.5));
    // Drawn apart, so that a seed tells the same story with a disk as without.
    let mut disks = StdRng::seed_from_u64(seed ^ 0x6469_736b);
    let hint_disk_bytes = if disks.random_bool(0.3) { SMALL_DISK_BYTES } else { 1 << 20 };
    let options = ClusterOptions {
        nodes,
        replicas,
        expect: Some(members),
        hint_memory_bytes,
        hint_disk_bytes,
        ..ClusterOptions::default()
    };
    let mut cluster = Cluster::new(options, seed);
    for disk in &mut cluster.disks {
        disk.take_if(|_| disks.random_bool(0.5));
    }
    for node in 0..members {
        cluster.drift_ppm[node] = random.random_range(-DRIFT_PPM_MAX..=DRIFT_PPM_MAX);
        cluster.skew_ms[node] = random.random_range(-50..=50);
        cluster.start(node);
    }
    let all: Vec<usize> = (0..members).collect();
    assert!(cluster.run_until(Duration::from_secs(60), |cluster| cluster.is_whole(&all)), "no whole ring at the start");
    let troubles = Troubles::new(&mut cluster, all, usize::from(replicas));
    (cluster, troubles)
}

/// Runs a cluster through a handful of faults chosen by `seed`, with clients at work all the time.
pub fn live_through_faults(seed: u64) -> Report {
    let mut random = StdRng::seed_from_u64(seed ^ 0x0066_6175_6c74);
    let (mut cluster, mut troubles) = begin(&mut random, seed);
    let mut clients = Clients::new(seed);
    clients.workload.create_counters(&mut cluster);
    live(&mut cluster, &mut troubles, &mut random, &mut |cluster, time| clients.run(cluster, time));
    conclude(seed, &mut cluster, &Ending::of(&troubles), &mut clients)
}

/// Clients of registers, counters and contested keys.
pub(super) struct Clients {
    random: StdRng,
    pub(super) workload: Workload,
    contest: Contest,
}

impl Clients {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed ^ 0x0061_736b),
            workload: Workload::new(5, 2, seed ^ 0x776f_726b),
            contest: Contest::new(seed ^ 0x6b65_7973),
        }
    }

    pub(super) fn run(&mut self, cluster: &mut Cluster, time: Duration) {
        let until = cluster.now_us() + time.as_micros() as u64;
        while cluster.now_us() < until {
            if self.random.random_bool(0.7) {
                self.workload.issue(cluster);
            } else {
                self.contest.issue(cluster);
            }
            let left = until - cluster.now_us();
            cluster.run_for(Duration::from_micros(self.random.random_range(500..6_000).min(left)));
            self.workload.collect(cluster);
            self.contest.collect(cluster);
        }
    }
}

/// The same with clients of leases.
pub fn lease_through_faults(seed: u64) -> Report {
    let mut random = StdRng::seed_from_u64(seed ^ 0x006c_6561_7365);
    let (mut cluster, mut troubles) = begin(&mut random, seed);
    let mut leases = Leases::new(seed ^ 0x776f_726b);
    live(&mut cluster, &mut troubles, &mut random, &mut |cluster, time| leases.run(cluster, time));
    conclude_leases(seed, &mut cluster, &Ending::of(&troubles), &mut leases)
}

/// Lets clients contest keys in a stable cluster, then through the majority's side of a split, then, with clients on both
/// sides, while several homes at a time take themselves for the serializer. Where a cluster is stable nothing is in doubt.
pub fn contest_through_splits(seed: u64) -> Report {
    let mut random = StdRng::seed_from_u64(seed ^ 0x0073_706c_6974);
    let nodes = [3, 3, 5][random.random_range(0..3)];
    let options = ClusterOptions { nodes, replicas: nodes as u8, expect: Some(nodes), ..ClusterOptions::default() };
    let mut cluster = Cluster::started(options, seed);
    let mut contest = Contest::new(seed ^ 0x6b65_7973);
    let all: Vec<usize> = (0..nodes).collect();
    let first = random.random_range(0..nodes);
    let (minority, side): (Vec<usize>, Vec<usize>) =
        all.iter().partition(|node| (**node + nodes - first) % nodes < nodes.div_ceil(2) - 1);
    contend(&mut contest, &mut cluster, &mut random, &all, PHASE);
    contest.finish(&mut cluster);
    let mut violations = undecided(&contest, 0, "a stable cluster");
    cluster.network.split(&minority, &side);
    contend(&mut contest, &mut cluster, &mut random, &all, PHASE);
    contest.finish(&mut cluster);
    let settled = contest.history.len();
    contend(&mut contest, &mut cluster, &mut random, &side, PHASE);
    contest.finish(&mut cluster);
    violations.extend(undecided(&contest, settled, "the majority's side"));
    cluster.network.heal();
    for _ in 0..RIVALRIES {
        let one = random.random_range(0..nodes);
        let other = (one + random.random_range(1..nodes)) % nodes;
        cluster.network.heal();
        cluster.network.slow_way(one, other, random.random_range(0..50_000));
        cluster.reset_links(one, other);
        contend(&mut contest, &mut cluster, &mut random, &all, PHASE / 4);
    }
    cluster.network.heal();
    contest.finish(&mut cluster);
    contest.read_everything(&mut cluster);
    let (disordered, unjudged) = check_keys(&contest.history, contest.keys());
    violations.extend(disordered);
    violations.extend(check_bounds(&mut cluster, &all));
    violations.iter().for_each(|violation| eprintln!("seed {seed}: {}", violation.0));
    let failed = contest.history.iter().filter(|operation| operation.outcome == KeyOutcome::InDoubt).count();
    let done = contest.history.len() - failed;
    Report { violations, done, failed, searched: contest.keys(), unjudged, met: cluster.network.met.clone() }
}

fn contend(contest: &mut Contest, cluster: &mut Cluster, random: &mut StdRng, nodes: &[usize], time: Duration) {
    let until = cluster.now_us() + time.as_micros() as u64;
    while cluster.now_us() < until {
        contest.issue_through(cluster, nodes);
        cluster.run_for(Duration::from_micros(random.random_range(500..8_000)));
        contest.collect(cluster);
    }
}

/// Operations from `first` on that were not answered where all had to be.
fn undecided(contest: &Contest, first: usize, place: &str) -> Vec<Violation> {
    let doubtful = contest.history[first..].iter().filter(|operation| operation.outcome == KeyOutcome::InDoubt);
    doubtful.map(|operation| Violation(format!("{place} did not answer: {operation:?}"))).collect()
}

fn live(cluster: &mut Cluster, troubles: &mut Troubles, random: &mut StdRng, work: &mut Work<'_>) {
    for _ in 0..random.random_range(1..4) {
        work(cluster, Duration::from_millis(random.random_range(200..1500)));
        troubles.suffer(cluster, random, work);
    }
}

/// What is asked of a cluster in the end: every answer its clients ever got, all they can read now, what each node keeps,
/// and whether copies are equal.
pub(super) fn conclude(seed: u64, cluster: &mut Cluster, ending: &Ending, clients: &mut Clients) -> Report {
    let Clients { workload, contest, .. } = clients;
    workload.finish(cluster);
    contest.finish(cluster);
    let (before, contest_before) = (workload.history.len(), contest.history.len());
    workload.read_everything(cluster);
    contest.read_everything(cluster);
    let mut violations = check_registers(&workload.history, workload.registers());
    violations.extend(check_monotonic(&workload.history, workload.read_by_quorum()));
    let (disordered, unjudged) = check_keys(&contest.history, contest.keys());
    violations.extend(disordered);
    violations.extend(check_bounds(cluster, &ending.members));
    violations.extend(check_convergence(cluster, ending, CONVERGES_WITHIN));
    for operation in &workload.history[before..] {
        match operation.outcome {
            Outcome::Saw(Some(finally)) if operation.key >= workload.registers() => {
                violations.extend(check_counter(&workload.history, operation.key, finally));
            }
            Outcome::Saw(_) if operation.key < workload.registers() => {}
            _ => violations.push(Violation(format!("a calm cluster did not answer: {operation:?}"))),
        }
    }
    let unanswered = contest.history[contest_before..].iter().filter(|asked| asked.outcome == KeyOutcome::InDoubt);
    violations.extend(unanswered.map(|asked| Violation(format!("a calm cluster did not answer: {asked:?}"))));
    tell(seed, &violations, ending);
    let doubtful = |outcome: Outcome| matches!(outcome, Outcome::InDoubt | Outcome::Unread);
    let failed = workload.history.iter().filter(|operation| doubtful(operation.outcome)).count()
        + contest.history.iter().filter(|operation| operation.outcome == KeyOutcome::InDoubt).count();
    let done = workload.history.len() + contest.history.len() - failed;
    let (searched, met) = (contest.keys(), met(cluster, ending));
    Report { violations, done, failed, searched, unjudged, met }
}

fn conclude_leases(seed: u64, cluster: &mut Cluster, ending: &Ending, leases: &mut Leases) -> Report {
    leases.finish(cluster);
    // The first readers settle who is serializer, in each other's way: one that may have won meanwhile is not answered.
    leases.read_everything(cluster);
    let before = leases.history.len();
    leases.read_everything(cluster);
    let (mut violations, unjudged) = check_leases(&leases.history, leases.keys());
    violations.extend(check_bounds(cluster, &ending.members));
    let doubtful = |operation: &&LeaseOperation| operation.outcome == LeaseOutcome::InDoubt;
    for operation in leases.history[before..].iter().filter(doubtful) {
        violations.push(Violation(format!("a calm cluster did not answer: {operation:?}")));
    }
    tell(seed, &violations, ending);
    let failed = leases.history.iter().filter(doubtful).count();
    let (done, searched, met) = (leases.history.len() - failed, leases.keys(), met(cluster, ending));
    Report { violations, done, failed, searched, unjudged, met }
}

/// What went wrong, with the hints that found no room on nodes that have not restarted since.
fn met(cluster: &mut Cluster, ending: &Ending) -> Met {
    let dropped = ending.members.iter().filter_map(|node| cluster.stat(*node, "hints_dropped")).sum();
    let dropped = [("hints dropped", dropped)];
    ending.met.clone().into_iter().chain(cluster.network.met.clone()).chain(dropped).collect()
}

/// Homes hold the same some time after the last fault.
fn check_convergence(cluster: &mut Cluster, ending: &Ending, within: Duration) -> Vec<Violation> {
    let differing = |cluster: &Cluster| match ending.with_tombstones {
        true => cluster.differing(&ending.members),
        false => cluster.differing_items(&ending.members),
    };
    if cluster.run_until(within, |cluster| differing(cluster) == 0) {
        return Vec::new();
    }
    let (differing, what) = (differing(cluster), if ending.with_tombstones { "partitions" } else { "items" });
    vec![Violation(format!("{differing} {what} differ between their homes {within:?} after the last fault"))]
}

/// After some quiet no node has anything under way, and each keeps within its limits.
fn check_bounds(cluster: &mut Cluster, members: &[usize]) -> Vec<Violation> {
    cluster.run_for(QUIET);
    let left: Vec<usize> = members.iter().map(|node| cluster.operations(*node)).collect();
    let mut violations = Vec::new();
    if left.iter().any(|operations| *operations > 0) {
        violations.push(Violation(format!("operations never forgotten, by node: {left:?}")));
    }
    for node in members.iter().copied() {
        let (hints, most) = (cluster.stat(node, "hint_bytes"), cluster.options().hint_memory_bytes as u64);
        let (disk, disk_most) = (cluster.stat(node, "hint_disk_bytes"), cluster.options().hint_disk_bytes);
        if disk.is_none_or(|bytes| bytes > disk_most) {
            violations.push(Violation(format!("node {node} keeps {disk:?} bytes of hints on a disk of {disk_most}")));
        }
        let (bytes, limit) = (cluster.stat(node, "bytes"), cluster.stat(node, "limit_maxbytes"));
        if hints.is_none_or(|hints| hints > most) || bytes.zip(limit).is_none_or(|(bytes, limit)| bytes > limit) {
            let text = format!("node {node} keeps {hints:?} bytes of hints of {most}, {bytes:?} of items of {limit:?}");
            violations.push(Violation(text));
        }
    }
    violations
}

fn tell(seed: u64, violations: &[Violation], ending: &Ending) {
    if !violations.is_empty() {
        eprintln!("seed {seed} met {}", ending.past);
    }
    for violation in violations {
        eprintln!("seed {seed}: {}", violation.0);
    }
}
