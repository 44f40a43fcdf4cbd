//! Hints that outlive the node that keeps them.
//!
//! Must not know segments: what they hold is told by what comes back.

use std::time::Duration;

use memring_protocol::text::Response;
use memring_tests::sim::{Cluster, ClusterOptions};

const KEYS: usize = 60;

const ALL: [usize; 3] = [0, 1, 2];

/// Room for a dozen hints in memory.
const FEW_BYTES: usize = 2_000;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Three nodes with disks. No comparing helps: what a home has missed, hints bring it, or nobody does in time.
fn with_disks(hint_memory_bytes: usize, seed: u64) -> Cluster {
    let options = ClusterOptions { hint_memory_bytes, hint_disk_bytes: 1 << 20, ..ClusterOptions::default() };
    Cluster::started(options, seed)
}

/// Writes all keys while `away` is cut off: the two others owe it everything.
fn write_without(cluster: &mut Cluster, away: usize) {
    let others: Vec<usize> = ALL.into_iter().filter(|node| *node != away).collect();
    cluster.network.split(&[away], &others);
    cluster.run_for(seconds(1));
    for key in 0..KEYS {
        let line = format!("set key-{key} 0 0 3\r\n{key:03}");
        assert_eq!(cluster.ask(others[key % 2], &line), Some(Response::Stored), "key {key}");
    }
    cluster.run_for(seconds(2));
}

fn sum(cluster: &mut Cluster, nodes: &[usize], name: &str) -> u64 {
    nodes.iter().map(|node| cluster.stat(*node, name).expect("it answers")).sum()
}

/// As an operator restarts a node.
fn stop(cluster: &mut Cluster, node: usize) {
    cluster.stop(node);
    cluster.run_for(Duration::from_millis(50));
    cluster.shut_down(node);
}

fn for_seeds(story: impl Fn(u64)) {
    (0..6).for_each(story);
}

#[test]
fn what_memory_has_no_room_for_is_replayed_from_disk() {
    for_seeds(|seed| {
        let mut cluster = with_disks(FEW_BYTES, seed);
        let away = (seed % 3) as usize;
        let others: Vec<usize> = ALL.into_iter().filter(|node| *node != away).collect();
        write_without(&mut cluster, away);
        assert!(sum(&mut cluster, &others, "hints_on_disk") >= KEYS as u64 / 2);
        assert_eq!(sum(&mut cluster, &others, "hints_dropped"), 0);
        cluster.network.heal();
        cluster.run_for(seconds(15));
        let items = ALL.map(|node| cluster.stat(node, "curr_items").expect("it answers"));
        assert_eq!(items, [KEYS as u64; 3]);
        assert_eq!(
            (sum(&mut cluster, &ALL, "hints_replayed"), sum(&mut cluster, &ALL, "repairs_sent")),
            (KEYS as u64, 0)
        );
        let left =
            ["hints", "hint_bytes", "hints_on_disk", "hint_disk_bytes"].map(|name| sum(&mut cluster, &ALL, name));
        assert_eq!(left, [0; 4]);
        assert!(cluster.disks.iter().flatten().all(|disk| disk.bytes() == 0));
    });
}

/// One that owes hints is restarted while the target is still away; then the target is back.
fn restart_of_a_holder(seed: u64, end: impl Fn(&mut Cluster, usize)) -> (u64, u64) {
    let mut cluster = with_disks(FEW_BYTES, seed);
    let (away, holder) = ((seed % 3) as usize, (seed as usize + 1) % 3);
    write_without(&mut cluster, away);
    let owed = cluster.stat(holder, "hints").zip(cluster.stat(holder, "hints_on_disk"));
    let owed = owed.map(|(memory, disk)| memory + disk).expect("it answers");
    assert!(owed > 0, "seed {seed}: a holder that owes nothing");
    end(&mut cluster, holder);
    cluster.run_for(seconds(2));
    cluster.start(holder);
    cluster.run_for(seconds(3));
    cluster.network.heal();
    assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&ALL)), "not whole again");
    cluster.run_for(seconds(5));
    assert_eq!(cluster.differing(&ALL), 0, "seed {seed}: copies differ");
    let items = ALL.map(|node| cluster.stat(node, "curr_items").expect("it answers"));
    assert_eq!(items, [KEYS as u64; 3]);
    assert_eq!(sum(&mut cluster, &ALL, "hints_on_disk"), 0);
    (owed, cluster.stat(holder, "hints_replayed").expect("it answers"))
}

#[test]
fn a_holder_that_was_stopped_and_started_replays_every_hint_it_had() {
    for_seeds(|seed| {
        let (owed, replayed) = restart_of_a_holder(seed, stop);
        assert_eq!(replayed, owed, "seed {seed}");
    });
}

#[test]
fn a_holder_that_was_killed_replays_what_was_on_its_disk_and_comparing_finds_the_rest() {
    for_seeds(|seed| {
        let (owed, replayed) = restart_of_a_holder(seed, Cluster::crash);
        assert!(replayed <= owed, "seed {seed}: {replayed} of {owed}");
    });
}

#[test]
fn without_a_disk_a_restart_loses_the_hints_and_comparing_finds_what_they_told() {
    for_seeds(|seed| {
        let (owed, replayed) = restart_of_a_holder(seed, |cluster, holder| {
            stop(cluster, holder);
            cluster.disks[holder] = None;
        });
        assert!(owed > 0 && replayed == 0, "seed {seed}: {replayed} of {owed}");
    });
}

#[test]
fn a_changed_segment_costs_hints_and_nothing_else() {
    for_seeds(|seed| {
        restart_of_a_holder(seed, |cluster, holder| {
            stop(cluster, holder);
            assert!(cluster.disks[holder].as_mut().is_some_and(|disk| disk.flip()));
        });
    });
}

#[test]
fn a_disk_that_fails_costs_hints_and_no_write() {
    for_seeds(|seed| {
        let mut cluster = with_disks(FEW_BYTES, seed);
        let away = (seed % 3) as usize;
        cluster.disks.iter_mut().flatten().for_each(|disk| disk.fails = true);
        write_without(&mut cluster, away);
        assert!(sum(&mut cluster, &ALL, "hints_dropped") > 0);
        cluster.network.heal();
        cluster.run_for(seconds(15));
        assert_eq!(cluster.differing(&ALL), 0, "seed {seed}: copies differ");
        assert!(cluster.disks.iter().flatten().all(|disk| disk.bytes() == 0));
    });
}

/// A write that was noted for others and reached none of them is no reason to take from them what they hold.
#[test]
fn a_hint_of_a_write_that_was_never_made_takes_nothing_away() {
    for_seeds(|seed| {
        let mut cluster = with_disks(FEW_BYTES, seed);
        let [first, second, third] = cluster.homes(0, "key")[..] else { panic!("three homes") };
        assert_eq!(cluster.ask(first, "set key 0 0 3\r\nold"), Some(Response::Stored));
        cluster.run_for(seconds(1));
        cluster.network.split(&[first], &[second, third]);
        let lost = cluster.ask(first, "set key 0 0 3\r\nnew");
        assert_ne!(lost, Some(Response::Stored));
        cluster.run_for(seconds(2));
        stop(&mut cluster, first);
        cluster.network.heal();
        cluster.start(first);
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&ALL)), "not whole again");
        cluster.run_for(seconds(5));
        assert_eq!(sum(&mut cluster, &ALL, "hints_on_disk"), 0, "seed {seed}: not delivered");
        for node in ALL {
            let Some(Response::Values { values, .. }) = cluster.ask(node, "get key") else { panic!("no answer") };
            let held: Vec<&[u8]> = values.iter().map(|(_, item)| &item.value[..]).collect();
            assert_eq!(held, [b"old"], "seed {seed}: node {node}");
        }
    });
}
