//! Planned departures and returns: what a node that is told to stop waits for, what it lends, and that nothing is lost by it.

use std::time::Duration;

use memring_engine::node::DrainState;
use memring_protocol::text::Response;
use memring_tests::sim::{Cluster, ClusterOptions};

const ALL: [usize; 3] = [0, 1, 2];

/// Keys of a story.
const KEYS: usize = 300;

/// `--stop-wait`.
const STOP_WAIT: Duration = Duration::from_secs(60);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The inner loop tells each story with one seed; `SIM_SEEDS`, set to whatever number, asks for some more.
fn for_seeds(story: impl Fn(u64)) {
    let count = if std::env::var_os("SIM_SEEDS").is_some() { 6 } else { 1 };
    for seed in 0..count {
        println!("seed {seed}");
        story(seed);
    }
}

fn with_copies(replicas: u8) -> ClusterOptions {
    ClusterOptions { replicas, ..ClusterOptions::default() }
}

fn whole(cluster: &mut Cluster, nodes: &[usize]) {
    let settled = |cluster: &Cluster| {
        cluster.is_whole(nodes)
            && nodes.iter().all(|node| cluster.shared(*node).is_some_and(|shared| shared.is_settled()))
    };
    let is_settled = cluster.run_until(seconds(90), settled);
    assert!(
        is_settled,
        "nodes {nodes:?} are not whole: {:#?}",
        nodes.iter().map(|node| cluster.view(*node)).collect::<Vec<_>>()
    );
}

fn set(cluster: &mut Cluster, node: usize, key: &str, value: usize) -> Option<Response> {
    let value = value.to_string();
    cluster.ask(node, &format!("set {key} 0 0 {}\r\n{value}", value.len()))
}

fn get(cluster: &mut Cluster, node: usize, key: &str) -> Option<usize> {
    match cluster.ask(node, &format!("get {key}")) {
        Some(Response::Values { values, .. }) => {
            let (_, item) = values.first()?;
            std::str::from_utf8(&item.value).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// Every second key is written at level one.
fn name_of(key: usize) -> String {
    if key.is_multiple_of(2) { format!("key-{key}") } else { format!("fast:{key}") }
}

fn fill(cluster: &mut Cluster) {
    for key in 0..KEYS {
        assert_eq!(set(cluster, key % 3, &name_of(key), key), Some(Response::Stored), "key {key}");
    }
}

/// How many of the keys are there with their values, asked through a node.
fn held(cluster: &mut Cluster, node: usize) -> usize {
    (0..KEYS).filter(|key| get(cluster, node, &name_of(*key)) == Some(*key)).count()
}

fn until_ended(cluster: &mut Cluster, node: usize, within: Duration) {
    let ended = cluster.run_until(within, |cluster| !cluster.is_running(node));
    assert!(ended, "node {node} has not ended: {:?}", cluster.shared(node).map(|shared| shared.drain_view()));
}

/// Reads and writes through the nodes that stay while a node goes and comes: how many of either were not answered as they
/// should be.
struct Load {
    next: usize,
    values: Vec<usize>,
    reads_missed: usize,
    writes_failed: usize,
    asked: usize,
}

impl Load {
    fn new() -> Self {
        Self { next: 0, values: (0..KEYS).collect(), reads_missed: 0, writes_failed: 0, asked: 0 }
    }

    fn run(&mut self, cluster: &mut Cluster, through: &[usize], until: impl Fn(&Cluster) -> bool, within: Duration) {
        let end = cluster.now_us() + within.as_micros() as u64;
        while !until(cluster) {
            assert!(cluster.now_us() < end, "still not after {within:?}");
            let (key, node) = (self.next * 7919 % KEYS, through[self.next % through.len()]);
            self.next += 1;
            self.asked += 1;
            let name = name_of(key);
            if self.next.is_multiple_of(3) {
                let value = KEYS + self.next;
                match set(cluster, node, &name, value) {
                    Some(Response::Stored) => self.values[key] = value,
                    answer => {
                        println!("set of {name} through {node}: {answer:?} at {} ms", cluster.now_us() / 1000);
                        self.writes_failed += 1;
                        // In doubt: whatever is there is right from now on.
                        self.values[key] = usize::MAX;
                    }
                }
            } else {
                let seen = get(cluster, node, &name);
                if self.values[key] == usize::MAX {
                    continue;
                }
                if seen != Some(self.values[key]) {
                    println!("get of {name} through {node}: {seen:?} at {} ms", cluster.now_us() / 1000);
                    self.reads_missed += 1;
                }
            }
            cluster.run_for(millis(3));
        }
    }

    fn check(&self, cluster: &mut Cluster, nodes: &[usize]) {
        for node in nodes {
            for (key, value) in self.values.iter().enumerate().filter(|(_, value)| **value != usize::MAX) {
                assert_eq!(get(cluster, *node, &name_of(key)), Some(*value), "key {key} through node {node}");
            }
        }
    }
}

fn rolling_restart_keeps_all(replicas: u8) {
    for_seeds(|seed| {
        let mut cluster = Cluster::started(with_copies(replicas), seed);
        fill(&mut cluster);
        let mut load = Load::new();
        for node in ALL {
            let others: Vec<usize> = ALL.into_iter().filter(|other| *other != node).collect();
            cluster.terminate(node, STOP_WAIT);
            load.run(&mut cluster, &others, |cluster| !cluster.is_running(node), STOP_WAIT / 2);
            let back = cluster.now_us() + 500_000;
            load.run(&mut cluster, &others, |cluster| cluster.now_us() >= back, seconds(1));
            cluster.start(node);
            let settled = |cluster: &Cluster| cluster.shared(node).is_some_and(|shared| shared.is_settled());
            load.run(&mut cluster, &others, settled, seconds(60));
        }
        let Load { asked, reads_missed, writes_failed, .. } = load;
        assert_eq!((reads_missed, writes_failed), (0, 0), "of {asked}");
        whole(&mut cluster, &ALL);
        load.check(&mut cluster, &ALL);
    });
}

#[test]
fn a_rolling_restart_keeps_every_item_where_there_is_one_copy() {
    rolling_restart_keeps_all(1);
}

#[test]
fn a_rolling_restart_keeps_every_item_where_there_are_two_copies() {
    rolling_restart_keeps_all(2);
}

#[test]
fn a_rolling_restart_keeps_every_item_where_there_are_three_copies() {
    rolling_restart_keeps_all(3);
}

#[test]
fn a_drained_node_loses_nothing_forwards_clients_and_joins_anew() {
    for replicas in [1, 2, 3] {
        for_seeds(|seed| {
            let mut cluster = Cluster::started(with_copies(replicas), seed);
            fill(&mut cluster);
            let (node, rest) = ((seed % 3) as usize, [(seed as usize + 1) % 3, (seed as usize + 2) % 3]);
            cluster.drain(node);
            let state = |cluster: &Cluster| cluster.shared(node).map(|shared| shared.drain_view().state);
            assert_eq!(state(&cluster), Some(DrainState::Draining));
            let mut load = Load::new();
            load.run(&mut cluster, &ALL, |cluster| state(cluster) == Some(DrainState::Drained), seconds(30));
            let view = cluster.shared(node).expect("it runs on").drain_view();
            assert!(view.partitions_total > 1000 && view.partitions_left == 0, "{view:?}");
            whole(&mut cluster, &rest);
            assert_eq!((load.reads_missed, load.writes_failed), (0, 0), "N={replicas}");
            load.check(&mut cluster, &ALL);
            cluster.terminate(node, STOP_WAIT);
            until_ended(&mut cluster, node, seconds(1));
            load.check(&mut cluster, &rest);
            cluster.start(node);
            whole(&mut cluster, &ALL);
            load.check(&mut cluster, &ALL);
        });
    }
}

/// A cluster of three copies in which one node has not its copies back, for it cannot ask one of the two that have them.
fn with_one_behind(seed: u64) -> Cluster {
    let mut cluster = Cluster::started(with_copies(3), seed);
    fill(&mut cluster);
    cluster.crash(2);
    cluster.run_for(millis(500));
    cluster.network.split(&[1], &[2]);
    cluster.start(2);
    let joined = |cluster: &Cluster| {
        cluster.shared(2).is_some_and(|shared| !shared.is_synced())
            && cluster.view(0).is_some_and(|view| view.members.iter().all(|member| member.state == "alive"))
    };
    assert!(cluster.run_until(seconds(20), joined), "node 2 is not back");
    cluster.run_for(seconds(2));
    cluster
}

#[test]
fn a_stop_waits_until_a_quorum_of_other_homes_holds_each_partition() {
    for_seeds(|seed| {
        let mut cluster = with_one_behind(seed);
        cluster.terminate(0, STOP_WAIT);
        cluster.run_for(millis(300));
        assert!(cluster.is_running(0), "node 2 has not its copies yet");
        cluster.network.heal();
        until_ended(&mut cluster, 0, seconds(40));
        assert!(cluster.shared(2).is_some_and(|shared| shared.is_synced()));
        assert_eq!(held(&mut cluster, 1), KEYS);
    });
}

#[test]
fn a_stop_waits_no_longer_than_it_is_told() {
    for_seeds(|seed| {
        let mut cluster = with_one_behind(seed);
        cluster.terminate(0, millis(400));
        cluster.run_for(millis(350));
        assert!(cluster.is_running(0));
        until_ended(&mut cluster, 0, millis(300));
    });
}

#[test]
fn a_home_that_is_down_or_stops_too_is_not_waited_for() {
    for_seeds(|seed| {
        let mut cluster = with_one_behind(seed);
        cluster.terminate(2, STOP_WAIT);
        until_ended(&mut cluster, 2, seconds(3));
        cluster.terminate(0, STOP_WAIT);
        until_ended(&mut cluster, 0, seconds(3));
        let mut cluster = with_one_behind(seed + 100);
        ALL.into_iter().for_each(|node| cluster.terminate(node, STOP_WAIT));
        ALL.into_iter().for_each(|node| until_ended(&mut cluster, node, seconds(5)));
    });
}

#[test]
fn where_all_stop_nobody_lends() {
    for_seeds(|seed| {
        let mut cluster = Cluster::started(with_copies(1), seed);
        fill(&mut cluster);
        ALL.into_iter().for_each(|node| cluster.terminate(node, STOP_WAIT));
        ALL.into_iter().for_each(|node| until_ended(&mut cluster, node, seconds(5)));
    });
}

#[test]
fn the_only_node_of_a_ring_just_stops() {
    let options = ClusterOptions { nodes: 1, expect: Some(1), ..with_copies(1) };
    let mut cluster = Cluster::started(options, 0);
    cluster.terminate(0, STOP_WAIT);
    until_ended(&mut cluster, 0, millis(300));
}

#[test]
fn what_could_not_be_lent_in_time_costs_no_more_than_that() {
    for_seeds(|seed| {
        let mut cluster = Cluster::started(with_copies(1), seed);
        fill(&mut cluster);
        cluster.terminate(0, millis(60));
        until_ended(&mut cluster, 0, millis(300));
        cluster.start(0);
        whole(&mut cluster, &ALL);
        let kept = held(&mut cluster, 1);
        assert!(kept >= KEYS / 2, "{kept} of {KEYS}");
        assert_eq!(set(&mut cluster, 0, "key-0", 0), Some(Response::Stored));
        assert_eq!(get(&mut cluster, 2, "key-0"), Some(0));
    });
}
