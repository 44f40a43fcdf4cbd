//! How soon a cluster knows that a member has failed, and what that costs: false verdicts, and bytes of gossip.
//!
//! Must not test what follows from a verdict: see `scenarios` and `slowness`.

use std::time::Duration;

use memring_tests::sim::network::Weather;
use memring_tests::sim::stories::{for_seeds, percentiles, seeds};
use memring_tests::sim::{Cluster, ClusterOptions};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn options(nodes: usize) -> ClusterOptions {
    ClusterOptions { nodes, expect: Some(nodes), workers: 1, ..ClusterOptions::default() }
}

fn state_of(cluster: &Cluster, viewer: usize, member: usize) -> &'static str {
    let view = cluster.view(viewer).expect("the viewer runs");
    let name = format!("n{}", member + 1);
    view.members.iter().find(|row| row.name == name).map_or("unknown", |row| row.state)
}

/// How many of these nodes count one of the others among them as failed.
fn verdicts_among(cluster: &Cluster, nodes: &[usize]) -> usize {
    let pairs = nodes.iter().flat_map(|viewer| nodes.iter().map(move |member| (*viewer, *member)));
    pairs.filter(|(viewer, member)| viewer != member && state_of(cluster, *viewer, *member) == "failed").count()
}

#[test]
fn a_killed_node_is_known_to_all_within_three_seconds() {
    let times = for_seeds(200, |seed| {
        let nodes = 5 + seed as usize % 2;
        let mut cluster = Cluster::started(options(nodes), seed);
        cluster.run_for(Duration::from_millis(1000 + seed * 37 % 2000));
        let victim = seed as usize % nodes;
        cluster.crash(victim);
        let began_us = cluster.now_us();
        let others: Vec<usize> = (0..nodes).filter(|node| *node != victim).collect();
        let known = |cluster: &Cluster| others.iter().all(|node| state_of(cluster, *node, victim) == "failed");
        assert!(cluster.run_until(seconds(4), known), "not known to all after 4 s");
        let took = Duration::from_micros(cluster.now_us() - began_us);
        cluster.run_for(seconds(2));
        assert_eq!(verdicts_among(&cluster, &others), 0, "a healthy one was judged with it");
        took
    });
    let [half, most, all] = percentiles(times);
    println!("sim: a killed node of five or six is known to all: p50 {half:?}, p99 {most:?}, at most {all:?}");
    assert!(most <= seconds(3), "p99 {most:?}");
}

#[test]
fn a_network_that_loses_a_twentieth_of_all_packets_makes_no_false_verdict() {
    let minutes = 2;
    for nodes in [3, 6] {
        let verdicts: usize = for_seeds(30, |seed| {
            let mut cluster = Cluster::started(options(nodes), seed);
            cluster.network.weather = Weather { packet_loss: 0.05, ..Weather::fair() };
            let all: Vec<usize> = (0..nodes).collect();
            let looks = (0..minutes * 60 * 4).map(|_| {
                cluster.run_for(Duration::from_millis(250));
                verdicts_among(&cluster, &all)
            });
            looks.filter(|verdicts| *verdicts > 0).count()
        })
        .into_iter()
        .sum();
        let minutes = seeds(30) * minutes * nodes as u64;
        println!(
            "sim: {verdicts} quarters of a second with a false verdict in {minutes} minutes of one node of {nodes}"
        );
        assert_eq!(verdicts, 0, "{nodes} nodes");
    }
}

#[test]
fn a_node_that_was_stopped_for_half_a_minute_judges_nobody_and_is_back_at_once() {
    let times = for_seeds(30, |seed| {
        let nodes = 5;
        let mut cluster = Cluster::started(options(nodes), seed);
        cluster.run_for(Duration::from_millis(1000 + seed * 53));
        let sleeper = seed as usize % nodes;
        let others: Vec<usize> = (0..nodes).filter(|node| *node != sleeper).collect();
        cluster.pause(sleeper);
        cluster.run_for(seconds(30));
        assert!(others.iter().all(|node| state_of(&cluster, *node, sleeper) == "failed"), "that it stopped is known");
        assert_eq!(verdicts_among(&cluster, &others), 0, "meanwhile");
        cluster.resume(sleeper);
        let (began_us, mut back) = (cluster.now_us(), None);
        let all: Vec<usize> = (0..nodes).collect();
        for _ in 0..400 {
            cluster.run_for(Duration::from_millis(50));
            for other in &others {
                assert_ne!(state_of(&cluster, sleeper, *other), "failed", "it judges those it slept past");
            }
            assert_eq!(verdicts_among(&cluster, &others), 0, "after it went on");
            if verdicts_among(&cluster, &all) == 0 {
                back.get_or_insert(cluster.now_us() - began_us);
            } else {
                assert_eq!(back, None, "judged again after it was back");
            }
        }
        Duration::from_micros(back.expect("all see it again within twenty seconds"))
    });
    let [half, most, all] = percentiles(times);
    println!("sim: a node that was stopped for 30 s is alive to all: p50 {half:?}, p99 {most:?}, at most {all:?}");
    assert!(all <= seconds(8), "{all:?}");
}

#[test]
fn gossip_among_thirty_nodes_takes_some_kilobytes_a_second() {
    let nodes = 30;
    let mut cluster = Cluster::started(options(nodes), 1);
    cluster.run_for(seconds(20));
    let (packets, bytes) = cluster.gossip();
    cluster.run_for(seconds(10));
    let (packets, bytes) = (cluster.gossip().0 - packets, cluster.gossip().1 - bytes);
    let per_node = |count: u64| count / 10 / nodes as u64;
    let (packets, bytes) = (per_node(packets), per_node(bytes));
    println!("sim: a node among {nodes} sends {packets} packets and {bytes} bytes of gossip a second");
    assert!(bytes <= 16 * 1024, "{bytes} bytes a second");
}
