//! `stats` of a simulated cluster: what the nodes count, and what they count together.
//!
//! Must not repeat what a node alone counts: the engine's own tests compare that with memcached.

use std::collections::BTreeMap;
use std::time::Duration;

use memring_protocol::key::Key;
use memring_protocol::ring::{Placement, Standing};
use memring_protocol::text::{MemberState, Response, ToldRing, read_ring_text};
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

/// The block that `config get` is answered by.
fn config(cluster: &mut Cluster, node: usize, what: &str) -> String {
    let Some(Response::Text(text)) = cluster.ask(node, &format!("config get {what}")) else { panic!("no answer") };
    let text = String::from_utf8(text.to_vec()).expect("text");
    let (head, rest) = text.split_once("\r\n").expect("a first line");
    let payload = rest.strip_suffix("\r\nEND\r\n").expect("an end");
    assert_eq!(head, format!("CONFIG {what} 0 {}", payload.len()));
    payload.to_owned()
}

fn told_ring(cluster: &mut Cluster, node: usize) -> ToldRing {
    read_ring_text(config(cluster, node, "ring").as_bytes()).expect("a ring").expect("one that is known")
}

#[test]
fn a_client_that_is_told_the_ring_finds_the_homes_that_do_not_ask_others() {
    let mut cluster = Cluster::started(ClusterOptions { nodes: 5, ..ClusterOptions::default() }, 13);
    cluster.run_for(Duration::from_secs(5));
    let told = told_ring(&mut cluster, 0);
    assert_eq!(told, told_ring(&mut cluster, 4), "all tell the same while all are well");
    assert_eq!(told.config.members.len(), 5);
    assert!(told.config.members.iter().all(|member| member.standing == Standing::Active));
    assert!(told.members.iter().all(|told| told.state == MemberState::Alive && told.synced_permille == 1000));
    assert!(told.members.iter().all(|told| told.client.is_some()));

    let placement = Placement::current(&told.config);
    let forwarded = |cluster: &mut Cluster| sum(cluster, 0)["reads_forwarded"];
    let mut strangers = 0;
    for number in 0..100 {
        let name = format!("key-{number}");
        let homes = placement.homes(Key::copy_from(name.as_bytes()).expect("a key").partition());
        for (node, member) in told.config.members.iter().enumerate() {
            let before = forwarded(&mut cluster);
            assert!(matches!(cluster.ask(node, &format!("get {name}")), Some(Response::Values { .. })));
            let is_home = homes.contains(&member.slot);
            assert_eq!(forwarded(&mut cluster) - before, u64::from(!is_home), "{name} asked of {}", member.name);
            strangers += u64::from(!is_home);
        }
    }
    assert_eq!(strangers, 200, "two of five are no homes");

    cluster.crash(1);
    cluster.run_for(Duration::from_secs(30));
    let failed: Vec<MemberState> = told_ring(&mut cluster, 0).members.iter().map(|told| told.state).collect();
    assert_eq!(failed.iter().filter(|&&state| state == MemberState::Failed).count(), 1, "{failed:?}");
}

#[test]
fn the_list_of_nodes_names_those_that_are_up() {
    let mut cluster = Cluster::started(ClusterOptions::default(), 12);
    cluster.run_for(Duration::from_secs(5));
    let nodes = |cluster: &mut Cluster| {
        let payload = config(cluster, 0, "cluster");
        let (_, nodes) = payload.trim_end().split_once('\n').expect("a number, then nodes");
        nodes.split(' ').count()
    };
    assert_eq!(nodes(&mut cluster), 3);
    cluster.crash(1);
    cluster.run_for(Duration::from_secs(30));
    assert_eq!(nodes(&mut cluster), 2);
}
