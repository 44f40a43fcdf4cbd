//! `stats` of a simulated cluster: what the nodes count, and what they count together.
//!
//! Must not repeat what a node alone counts: the engine's own tests compare that with memcached.

use std::collections::BTreeMap;
use std::time::Duration;

use memring_protocol::text::Response;
use memring_tests::sim::{Cluster, ClusterOptions};

fn sum(cluster: &mut Cluster, node: usize) -> BTreeMap<String, u64> {
    let Some(Response::Stats(lines)) = cluster.ask(node, "stats cluster") else { panic!("no sum from node {node}") };
    lines.into_iter().map(|(name, value)| (name.into_owned(), value.parse().expect("a number"))).collect()
}

#[test]
fn the_sum_counts_each_command_once_and_each_copy_and_names_who_answered() {
    let mut cluster = Cluster::started(ClusterOptions::default(), 11);
    for key in 0..30 {
        assert_eq!(cluster.ask(key % 3, &format!("set key-{key} 0 0 3\r\nabc")), Some(Response::Stored));
    }
    assert!(matches!(cluster.ask(2, "get key-1 nope"), Some(Response::Values { .. })));
    cluster.run_for(Duration::from_secs(2));
    for node in 0..3 {
        let sum = sum(&mut cluster, node);
        let told = ["nodes", "nodes_answered", "cmd_set", "curr_items", "cmd_get", "get_misses"].map(|name| sum[name]);
        assert_eq!(told, [3, 3, 30, 90, 2, 1], "node {node}");
        assert_eq!(sum["limit_maxbytes"], 3 * (4 << 20));
    }

    cluster.crash(2);
    let without = sum(&mut cluster, 0);
    let told = ["nodes", "nodes_answered", "cmd_set", "curr_items"].map(|name| without[name]);
    assert_eq!(told, [3, 2, 20, 60], "a member that is gone is not waited for long");
}

#[test]
fn the_list_of_nodes_names_those_that_are_up() {
    let mut cluster = Cluster::started(ClusterOptions::default(), 12);
    cluster.run_for(Duration::from_secs(5));
    let nodes = |cluster: &mut Cluster| {
        let Some(Response::Text(text)) = cluster.ask(0, "config get cluster") else { panic!("no list") };
        let text = String::from_utf8(text.to_vec()).expect("text");
        let (head, rest) = text.split_once("\r\n").expect("a first line");
        let payload = rest.strip_suffix("\r\nEND\r\n").expect("an end");
        assert_eq!(head, format!("CONFIG cluster 0 {}", payload.len()));
        let (_, nodes) = payload.trim_end().split_once('\n').expect("a number, then nodes");
        nodes.split(' ').count()
    };
    assert_eq!(nodes(&mut cluster), 3);
    cluster.crash(1);
    cluster.run_for(Duration::from_secs(30));
    assert_eq!(nodes(&mut cluster), 2);
}
