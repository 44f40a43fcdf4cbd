//! Gets of several keys at quorum, on simulated clusters: one short message confirms all of them where copies agree, and
//! where they do not, or nobody answers, the answer is what single gets would have found.

use std::time::Duration;

use memring_protocol::text::Response;
use memring_tests::sim::network::Weather;
use memring_tests::sim::{Cluster, ClusterOptions};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Keys and values of the answer to a get, in its order.
fn get(cluster: &mut Cluster, node: usize, verb: &str, keys: &[&str]) -> Vec<(String, String)> {
    match cluster.ask(node, &format!("{verb} {}", keys.join(" "))) {
        Some(Response::Values { values, .. }) => {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
            values.iter().map(|(key, item)| (text(key), text(&item.value))).collect()
        }
        answer => panic!("{verb} {keys:?} through node {node}: {answer:?}"),
    }
}

fn set(cluster: &mut Cluster, node: usize, key: &str, value: &str) {
    let line = format!("set {key} 0 0 {}\r\n{value}", value.len());
    assert_eq!(cluster.ask(node, &line), Some(Response::Stored), "{key} through node {node}");
}

fn filled(seed: u64) -> Cluster {
    let mut cluster = Cluster::started(ClusterOptions::default(), seed);
    for key in KEYS {
        set(&mut cluster, 0, key, &format!("{key}1"));
    }
    cluster.run_for(Duration::from_secs(1));
    cluster
}

fn of_first(keys: &[&str]) -> Vec<(String, String)> {
    keys.iter().map(|key| ((*key).to_owned(), format!("{key}1"))).collect()
}

#[test]
fn one_message_confirms_all_keys_where_the_copies_agree() {
    let mut cluster = filled(1);
    assert_eq!(cluster.ask(1, "delete c"), Some(Response::Deleted));
    cluster.run_for(Duration::from_secs(1));
    let (reads, comparisons) = (cluster.read_messages(), cluster.comparisons());
    for node in 0..3 {
        for verb in ["get", "gets"] {
            // What is deleted and what never was are agreed upon too; a key asked for twice is answered twice.
            let found = get(&mut cluster, node, verb, &["e", "c", "a", "nothing", "a", "b"]);
            assert_eq!(found, of_first(&["e", "a", "a", "b"]), "{verb} through node {node}");
        }
    }
    assert_eq!((cluster.read_messages(), cluster.comparisons()), (reads, comparisons + 6));
    assert_eq!(get(&mut cluster, 0, "get", &["a"]), of_first(&["a"]));
    assert_eq!((cluster.read_messages(), cluster.comparisons()), (reads + 1, comparisons + 6), "one key is a read");
}

#[test]
fn a_home_that_missed_a_write_answers_with_it_all_the_same() {
    for seed in 0..20 {
        let mut cluster = filled(seed);
        cluster.network.split(&[2], &[0, 1]);
        cluster.run_for(Duration::from_millis(200));
        set(&mut cluster, 0, "b", "b2");
        assert_eq!(cluster.ask(1, "delete d"), Some(Response::Deleted));
        cluster.network.heal();
        // It has heard a word of the others, and nothing has told it yet what it missed.
        cluster.run_for(Duration::from_millis(150));
        let found = get(&mut cluster, 2, "get", &KEYS);
        let expected = [("a", "a1"), ("b", "b2"), ("c", "c1"), ("e", "e1")];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())), "seed {seed}");
        // What one read saw, no later one goes behind.
        for node in 0..3 {
            assert_eq!(get(&mut cluster, node, "get", &["b", "a"])[0].1, "b2", "seed {seed}, node {node}");
        }
    }
}

#[test]
fn a_home_that_dies_or_is_slow_delays_an_answer_and_changes_nothing() {
    for seed in 0..20 {
        let mut cluster = filled(seed);
        for lost in [1, 2] {
            cluster.crash(lost);
            assert_eq!(get(&mut cluster, 0, "get", &KEYS), of_first(&KEYS), "seed {seed}, without node {lost}");
            cluster.start(lost);
            let all = [0, 1, 2];
            assert!(cluster.run_until(Duration::from_secs(60), |cluster| cluster.is_whole(&all)), "seed {seed}");
        }
        for paused in [1, 2] {
            cluster.pause(paused);
            assert_eq!(get(&mut cluster, 0, "get", &KEYS), of_first(&KEYS), "seed {seed}, node {paused} paused");
            cluster.resume(paused);
            cluster.run_for(Duration::from_secs(1));
        }
        cluster.network.weather = Weather::foul();
        for node in 0..3 {
            let line = format!("get {}", KEYS.join(" "));
            match cluster.ask(node, &line) {
                Some(Response::Values { values, .. }) => assert_eq!(values.len(), KEYS.len(), "seed {seed}"),
                // Nobody could be asked in time.
                Some(Response::ServerError(_)) => {}
                answer => panic!("seed {seed}: {answer:?}"),
            }
        }
        cluster.network.weather = Weather::fair();
        cluster.run_for(Duration::from_secs(6));
        let left: usize = (0..3).map(|node| cluster.operations(node)).sum();
        assert_eq!(left, 0, "seed {seed}: nothing is forgotten");
    }
}

#[test]
fn values_that_no_reply_can_carry_at_once_come_in_several() {
    let options =
        ClusterOptions { nodes: 5, expect: Some(5), memory_limit_bytes: 32 << 20, ..ClusterOptions::default() };
    let mut cluster = Cluster::started(options, 4);
    // Three times what one reply may carry of values.
    let (value, keys) = ("v".repeat(9_000), (0..700).map(|number| format!("key-{number}")).collect::<Vec<_>>());
    for key in &keys {
        set(&mut cluster, 0, key, &value);
    }
    cluster.run_for(Duration::from_secs(1));
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    for node in 0..5 {
        let before = cluster.read_messages();
        let found = get(&mut cluster, node, "get", &keys);
        assert_eq!(found.len(), keys.len(), "through node {node}");
        assert!(found.iter().zip(&keys).all(|((key, found), asked)| key == asked && *found == value), "node {node}");
        let messages = cluster.read_messages() - before;
        assert!((8..=40).contains(&messages), "{messages} messages for 700 keys on 4 peers");
    }
}

#[test]
fn keys_of_other_homes_take_the_long_way() {
    let mut cluster = Cluster::started(ClusterOptions { nodes: 5, expect: Some(5), ..ClusterOptions::default() }, 3);
    for key in KEYS {
        set(&mut cluster, 0, key, &format!("{key}1"));
    }
    cluster.run_for(Duration::from_secs(1));
    for node in 0..5 {
        assert_eq!(get(&mut cluster, node, "get", &KEYS), of_first(&KEYS), "through node {node}");
    }
}
