//! Nodes whose clocks are wrong: they go by the cluster's time, which never runs backwards.

use std::time::Duration;

use memring_protocol::text::Response;
use memring_protocol::version::Stamp;
use memring_tests::sim::{Cluster, ClusterOptions};

const ALL: [usize; 3] = [0, 1, 2];

const HOUR_MS: i64 = 3_600_000;

/// How far apart nodes' times may be while nothing changes: what is followed, and what delays make of it.
const TOGETHER_MS: u64 = 150;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The inner loop runs a fifth of the seeds; `SIM_SEEDS`, set to whatever number, asks for all of them.
fn seeds(count: u64) -> std::ops::Range<u64> {
    0..if std::env::var_os("SIM_SEEDS").is_some() { count } else { count.div_ceil(5) }
}

fn make_whole(cluster: &mut Cluster) {
    assert!(cluster.run_until(seconds(90), |cluster| cluster.is_whole(&ALL)), "not whole");
}

/// Three nodes of which one's clock is off.
fn with_one_off(seed: u64, off_ms: i64) -> Cluster {
    let mut cluster = Cluster::new(ClusterOptions::default(), seed);
    cluster.skew_ms[(seed % 3) as usize] = off_ms;
    ALL.iter().for_each(|node| cluster.start(*node));
    make_whole(&mut cluster);
    cluster
}

fn hour_either_way(seed: u64) -> i64 {
    if (seed / 3).is_multiple_of(2) { HOUR_MS } else { -HOUR_MS }
}

#[track_caller]
fn assert_together(cluster: &Cluster, off_ms: u64) {
    let truth = cluster.true_time().0;
    for node in ALL {
        let shows = cluster.cluster_time(node).0;
        assert!(shows.abs_diff(truth) <= off_ms, "node {node} is off by {} ms", shows as i64 - truth as i64);
    }
}

/// Whether a node's own copy of a key is there.
fn is_held(cluster: &mut Cluster, node: usize, key: &str) -> bool {
    match cluster.ask(node, &format!("mg {key} v Lone")) {
        Some(Response::Meta(line, _)) => line.starts_with(b"VA "),
        answer => panic!("{key} through node {node}: {answer:?}"),
    }
}

#[test]
fn a_node_whose_clock_is_an_hour_off_goes_by_the_others_time() {
    for seed in seeds(30) {
        let mut cluster = with_one_off(seed, hour_either_way(seed));
        assert_together(&cluster, TOGETHER_MS);
        // What it stamps is of the cluster's time from the first write on.
        for node in ALL {
            assert_eq!(cluster.ask(node, &format!("set key-{node} 0 0 1\r\nv")), Some(Response::Stored));
            let Some(Response::Values { values, .. }) = cluster.ask(node, &format!("gets key-{node}")) else {
                panic!("no values")
            };
            let stamped = Stamp(values[0].1.cas).unix_ms();
            let truth = cluster.true_time().0;
            assert!(stamped.abs_diff(truth) <= 1000, "stamped {} ms off", stamped as i64 - truth as i64);
        }
        let Some(Response::Stats(lines)) = cluster.ask((seed % 3) as usize, "stats") else { panic!("no stats") };
        let offset = lines.iter().find(|(name, _)| name == "clock_offset_ms").map(|(_, value)| value.as_str());
        let offset: i64 = offset.and_then(|value| value.parse().ok()).expect("a count");
        assert!((offset + hour_either_way(seed)).abs() <= TOGETHER_MS as i64, "it tells {offset}");
    }
}

#[test]
fn a_node_that_hears_of_a_ring_before_it_hears_a_clock_waits_for_one() {
    for seed in seeds(30) {
        let mut cluster = Cluster::new(ClusterOptions { nodes: 4, ..ClusterOptions::default() }, seed);
        ALL.iter().for_each(|node| cluster.start(*node));
        make_whole(&mut cluster);
        let late = (seed % 3) as usize;
        cluster.crash(late);
        cluster.skew_ms[late] = hour_either_way(seed);
        cluster.run_for(seconds(1));
        // It hears what the others say when a fourth joins, and nobody hears it: no clock is told to it.
        for other in (0..4).filter(|other| *other != late) {
            cluster.network.cut(late, other);
        }
        cluster.start(late);
        cluster.start(3);
        cluster.run_for(seconds(6));
        cluster.network.heal();
        let four = [0, 1, 2, 3];
        assert!(cluster.run_until(seconds(90), |cluster| cluster.is_whole(&four)), "not whole");
        assert_together(&cluster, TOGETHER_MS);
    }
}

#[test]
fn an_expiry_comes_on_every_copy_within_a_second_whatever_the_clocks_show() {
    for seed in seeds(30) {
        let mut cluster = with_one_off(seed, hour_either_way(seed));
        let victim = (seed as usize / 2) % 3;
        let deadlines: Vec<(String, u64)> = (0..12_u64)
            .map(|number| {
                let (key, ttl) = (format!("key-{number}"), 20 + 2 * number);
                let node = number as usize % 3;
                // Half of them get their expiry later, through another node.
                let exptime = if number.is_multiple_of(2) { ttl } else { 0 };
                assert_eq!(cluster.ask(node, &format!("set {key} 0 {exptime} 1\r\nv")), Some(Response::Stored));
                if exptime == 0 {
                    assert_eq!(cluster.ask((node + 1) % 3, &format!("touch {key} {ttl}")), Some(Response::Touched));
                }
                (key, cluster.true_time().0 + ttl * 1000)
            })
            .collect();
        // A node comes back with another clock, and copies what it lacks.
        cluster.crash(victim);
        cluster.run_for(seconds(1));
        cluster.skew_ms[victim] = -hour_either_way(seed);
        cluster.start(victim);
        make_whole(&mut cluster);
        assert!(cluster.true_time().0 < deadlines[0].1 - 1000, "whole again before the first of them ends");
        while cluster.true_time().0 < deadlines[11].1 + 2000 {
            for (key, deadline) in &deadlines {
                for node in ALL {
                    let held = is_held(&mut cluster, node, key);
                    let early = *deadline as i64 - cluster.true_time().0 as i64;
                    assert!(held || early <= 1000, "{key} is gone on node {node} {early} ms too early");
                    assert!(!held || early >= -1000, "{key} is there on node {node} {} ms too long", -early);
                }
            }
            cluster.run_for(Duration::from_millis(300));
        }
    }
}

#[test]
fn a_delayed_flush_comes_at_its_moment_though_a_node_starts_with_a_clock_an_hour_ahead() {
    for seed in seeds(10) {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        assert_eq!(cluster.ask(0, "set key 0 0 1\r\nv"), Some(Response::Stored));
        assert_eq!(cluster.ask(0, "flush_all 60"), Some(Response::Ok));
        let due = cluster.true_time().0 + 60_000;
        let victim = (seed % 3) as usize;
        cluster.crash(victim);
        cluster.run_for(seconds(1));
        cluster.skew_ms[victim] = HOUR_MS;
        cluster.start(victim);
        make_whole(&mut cluster);
        while cluster.true_time().0 < due + 2000 {
            for node in ALL {
                let early = due as i64 - cluster.true_time().0 as i64;
                let held = is_held(&mut cluster, node, "key");
                assert!(
                    (held || early <= 1000) && (!held || early >= -1000),
                    "{held} on node {node}, {early} ms to go"
                );
            }
            cluster.run_for(Duration::from_millis(500));
        }
    }
}

#[test]
fn two_nodes_with_clocks_an_hour_apart_found_no_ring_until_one_is_set() {
    for seed in seeds(10) {
        let options = ClusterOptions { nodes: 2, replicas: 2, expect: Some(2), ..ClusterOptions::default() };
        let mut cluster = Cluster::new(options, seed);
        let off = (seed % 2) as usize;
        cluster.skew_ms[off] = hour_either_way(seed);
        cluster.start(0);
        cluster.start(1);
        cluster.run_for(seconds(30));
        for node in [0, 1] {
            assert_eq!(cluster.view(node).map(|view| view.epoch), Some(0), "node {node} is in a ring");
            let answer = cluster.ask(node, "set key 0 0 1\r\nv");
            assert!(matches!(answer, Some(Response::ServerError(_))), "{answer:?} through node {node}");
        }
        cluster.crash(off);
        cluster.run_for(seconds(1));
        cluster.skew_ms[off] = 500;
        cluster.start(off);
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&[0, 1])), "no ring with good clocks");
        assert_eq!(cluster.ask(off, "set key 0 0 1\r\nv"), Some(Response::Stored));
    }
}

#[test]
fn a_nodes_time_never_runs_backwards_and_stays_with_the_others_while_clocks_drift() {
    for seed in seeds(10) {
        let mut cluster = Cluster::new(ClusterOptions::default(), seed);
        for node in ALL {
            cluster.skew_ms[node] = [0, 900, -900][(seed as usize + node) % 3];
            // Ten times what a bad oscillator does.
            cluster.drift_ppm[node] = [0, 1000, -1000][(seed as usize / 3 + node) % 3];
        }
        ALL.iter().for_each(|node| cluster.start(*node));
        make_whole(&mut cluster);
        let mut shown = [0; 3];
        for step in 0..6000 {
            cluster.run_for(Duration::from_millis(100));
            let times = ALL.map(|node| cluster.cluster_time(node).0);
            for node in ALL {
                assert!(times[node] >= shown[node], "node {node} showed {} and then {}", shown[node], times[node]);
                let apart = times[node].abs_diff(times[(node + 1) % 3]);
                assert!(step < 100 || apart <= 2 * TOGETHER_MS, "{apart} ms apart after {step} steps");
            }
            shown = times;
        }
    }
}

#[test]
fn nodes_that_restart_one_after_the_other_with_wrong_clocks_keep_the_clusters_time() {
    for seed in seeds(15) {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        assert_eq!(cluster.ask(0, "set count 0 0 1\r\n0"), Some(Response::Stored));
        for round in 1..=6 {
            let victim = (seed as usize + round) % 3;
            cluster.crash(victim);
            cluster.run_for(seconds(8));
            cluster.skew_ms[victim] = if (seed as usize + round).is_multiple_of(2) { HOUR_MS } else { -HOUR_MS };
            cluster.start(victim);
            make_whole(&mut cluster);
            assert_together(&cluster, TOGETHER_MS);
            let answer = cluster.ask(victim, "incr count 1");
            assert_eq!(answer, Some(Response::Number(round as u64)), "through the one that came back");
        }
    }
}
