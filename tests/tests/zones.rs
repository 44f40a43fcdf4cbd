//! Failure domains: copies in distinct ones, and reads from the nearest.

use std::time::Duration;

use memring_engine::node::Settings;
use memring_protocol::text::Response;
use memring_tests::sim::{Cluster, ClusterOptions};

/// Two nodes in each of three zones.
const NODES: usize = 6;

fn zone_of(node: usize) -> usize {
    node % 3
}

/// A zone for each node, by its name.
fn zoned(settings: &mut Settings) {
    let number: usize = settings.name.as_str()[1..].parse().expect("nodes are n1, n2 …");
    settings.zone = ["a", "b", "c"][zone_of(number - 1)].to_owned();
}

fn cluster(seed: u64) -> Cluster {
    let options = ClusterOptions { nodes: NODES, expect: Some(NODES), adjust: zoned, ..ClusterOptions::default() };
    Cluster::started(options, seed)
}

#[test]
fn each_zone_has_one_copy_and_a_read_of_one_comes_from_the_readers() {
    for seed in 0..3 {
        let mut cluster = cluster(seed);
        for reader in 0..NODES {
            for other in (0..NODES).filter(|other| zone_of(*other) != zone_of(reader)) {
                // More than is needed to ask another home, were this one slow.
                cluster.network.slow_way(reader, other, 3_000);
            }
        }
        for number in 0..40 {
            let key = format!("key-{number}");
            let homes = cluster.homes(0, &key);
            let mut zones: Vec<usize> = homes.iter().map(|home| zone_of(*home)).collect();
            zones.sort_unstable();
            assert_eq!(zones, [0, 1, 2], "{key} lies on {homes:?}");
            assert!(cluster.ask(homes[0], &format!("ms {key} 1 Lall\r\na")).is_some());
            let reader = (0..NODES).find(|node| !homes.contains(node)).expect("half of them are no homes");
            let begun_us = cluster.now_us();
            let answer = cluster.ask(reader, &format!("mg {key} v Lone"));
            let took_us = cluster.now_us() - begun_us;
            assert!(matches!(&answer, Some(Response::Meta(_, Some(value))) if &value[..] == b"a"), "{answer:?}");
            assert!(took_us < 3_000, "{key}: {took_us} us: from another zone");
        }
    }
}

#[test]
fn a_zone_that_is_away_is_read_past() {
    let mut cluster = cluster(1);
    for number in 0..20 {
        assert_eq!(cluster.ask(0, &format!("set key-{number} 0 0 1\r\na")), Some(Response::Stored));
    }
    let (away, here): (Vec<usize>, Vec<usize>) = (0..NODES).partition(|node| zone_of(*node) == 1);
    cluster.network.split(&away, &here);
    cluster.run_for(Duration::from_secs(10));
    for number in 0..20 {
        for reader in &here {
            let answer = cluster.ask(*reader, &format!("get key-{number}"));
            assert!(matches!(&answer, Some(Response::Values { values, .. }) if values.len() == 1), "{answer:?}");
        }
    }
}
