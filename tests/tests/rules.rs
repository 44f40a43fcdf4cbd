//! The rules that make the promises true, each as a story of a simulated cluster in which breaking it is seen.
//!
//! `scripts/mutants.sh` breaks each of them in turn, and expects the story to fail. See ARCHITECTURE.md, "Invariants".

use std::collections::BTreeSet;
use std::time::Duration;

use memring_engine::cluster::health::FORGIVEN_AFTER;
use memring_engine::node::Settings;
use memring_protocol::key::KeyRef;
use memring_protocol::text::Response;
use memring_tests::sim::meta::MetaAnswer;
use memring_tests::sim::{Cluster, ClusterOptions};

const ALL: [usize; 3] = [0, 1, 2];

/// Keys of a story.
const KEYS: usize = 12;

/// More than a small store can remember the deletes of.
const MANY_KEYS: usize = 1000;

/// The inner loop tells each story a few times; `SIM_SEEDS`, set to whatever number, asks for all of them.
fn often(count: usize) -> usize {
    if std::env::var_os("SIM_SEEDS").is_some() { count } else { count.div_ceil(4) }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn minutes(count: u64) -> Duration {
    seconds(60 * count)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn without_hints() -> ClusterOptions {
    ClusterOptions { hint_memory_bytes: 0, ..ClusterOptions::default() }
}

fn whole(cluster: &mut Cluster, nodes: &[usize]) {
    assert!(cluster.run_until(seconds(90), |cluster| cluster.is_whole(nodes)), "nodes {nodes:?} are not whole");
}

/// Waits until a node would ask these again, which it has not heard for a while.
fn in_touch(cluster: &mut Cluster) {
    cluster.run_for(millis(1500));
}

fn set(cluster: &mut Cluster, node: usize, key: &str, value: &str) -> Option<Response> {
    cluster.ask(node, &format!("set {key} 0 0 {}\r\n{value}", value.len()))
}

/// What a read shows.
#[derive(PartialEq, Eq, Debug)]
enum Seen {
    Value(String),
    Nothing,
    /// It was not answered, or not by enough homes.
    Unread,
}

fn get(cluster: &mut Cluster, node: usize, key: &str) -> Seen {
    match cluster.ask(node, &format!("get {key}")) {
        Some(Response::Values { values, .. }) => values
            .first()
            .map_or(Seen::Nothing, |(_, item)| Seen::Value(String::from_utf8_lossy(&item.value).into_owned())),
        _ => Seen::Unread,
    }
}

fn holds(value: &str) -> Seen {
    Seen::Value(value.to_owned())
}

fn is_in_doubt(answer: &Option<Response>) -> bool {
    matches!(answer, None | Some(Response::ServerError(_)))
}

/// The story for each of a few seeds, and for each of its keys with the key's homes, in a cluster of its own or a whole one.
fn for_keys(options: &ClusterOptions, story: impl Fn(&mut Cluster, &str, [usize; 3])) {
    for seed in 0..often(2) as u64 {
        let mut cluster = Cluster::started(options.clone(), seed);
        for number in 0..often(KEYS) {
            let key = format!("key-{number}");
            let homes = cluster.homes(0, &key).try_into().expect("three homes");
            story(&mut cluster, &key, homes);
            cluster.network.heal();
            whole(&mut cluster, &(0..options.nodes).collect::<Vec<_>>());
            // Peers that fall silent again and again are let back ever later: each story begins with a clean slate.
            cluster.run_for(FORGIVEN_AFTER + seconds(1));
        }
    }
}

#[test]
fn rule_1_a_new_serializer_sees_what_one_other_home_holds() {
    for_keys(&without_hints(), |cluster, key, [first, second, third]| {
        cluster.network.split(&[second], &[first, third]);
        cluster.run_for(seconds(1));
        assert_eq!(set(cluster, third, key, "a"), Some(Response::Stored));
        cluster.network.heal();
        in_touch(cluster);
        cluster.crash(first);
        cluster.run_for(seconds(1));
        // The second home orders from now on, and only the third has the value.
        assert_eq!(cluster.ask(second, &format!("append {key} 0 0 1\r\nb")), Some(Response::Stored));
        assert_eq!(get(cluster, third, key), holds("ab"));
        cluster.start(first);
    });
}

#[test]
fn rule_1_a_deposed_serializer_denies_nothing_that_is_there() {
    for_keys(&without_hints(), |cluster, key, [first, second, third]| {
        assert_eq!(cluster.ask(first, &format!("touch {key} 0")), Some(Response::NotFound));
        cluster.network.split(&[first], &[second, third]);
        cluster.run_for(seconds(1));
        assert_eq!(set(cluster, second, key, "a"), Some(Response::Stored));
        cluster.network.heal();
        in_touch(cluster);
        // It does not know yet that its term is over.
        let answer = cluster.ask(first, &format!("touch {key} 0"));
        assert!(answer == Some(Response::Touched) || is_in_doubt(&answer), "{answer:?}");
    });
}

/// A key of the same partition.
fn neighbour_of(key: &str) -> String {
    let partition = |key: &str| KeyRef::new(key.as_bytes()).expect("a legal key").partition();
    let mut names = (0..).map(|number| format!("neighbour-{number}"));
    names.find(|name| partition(name) == partition(key)).expect("there are as many names as it takes")
}

#[test]
fn rule_1_a_deposed_serializer_that_has_to_look_asks_its_successor() {
    for_keys(&without_hints(), |cluster, key, [first, second, third]| {
        // The copies of the partition differ, so who takes it over has to look at each key.
        cluster.network.split(&[third], &[first, second]);
        let alone = format!("ms {} 1 Lone\r\nn", neighbour_of(key));
        assert!(cluster.ask(third, &alone).and_then(|answer| MetaAnswer::read(&answer)).is_some());
        cluster.network.heal();
        in_touch(cluster);
        assert_eq!(cluster.ask(first, &format!("touch {key} 0")), Some(Response::NotFound));
        cluster.network.split(&[first], &[second, third]);
        cluster.run_for(seconds(1));
        assert_eq!(set(cluster, second, key, "a"), Some(Response::Stored));
        cluster.network.heal();
        in_touch(cluster);
        let begun_us = cluster.now_us();
        assert_eq!(cluster.ask(first, &format!("append {key} 0 0 1\r\nb")), Some(Response::Stored));
        let took_ms = (cluster.now_us() - begun_us) / 1000;
        assert!(took_ms < 30, "it took {took_ms} ms to hear of a term that both other homes know");
    });
}

#[test]
fn rule_1_a_home_that_is_looked_at_takes_nothing_of_earlier_terms() {
    for_keys(&without_hints(), |cluster, key, [first, second, third]| {
        assert_eq!(cluster.ask(first, &format!("touch {key} 0")), Some(Response::NotFound));
        // The first home orders an add that is still on its way to the third when the second home takes over. The third
        // hears of that only by being looked at, and answers before it has got the add; the answer takes longer than it.
        cluster.take_answers();
        cluster.network.cut(first, second);
        cluster.network.slow_way(first, third, 10_000);
        assert!(cluster.request_line(first, 1, &format!("add {key} 0 0 1\r\n1")));
        cluster.network.heal();
        cluster.network.slow_way(third, second, 20_000);
        cluster.reset_links(first, second);
        cluster.network.cut(second, third);
        assert!(cluster.request_line(second, 2, &format!("add {key} 0 0 1\r\n2")));
        cluster.network.heal();
        cluster.network.slow_way(third, second, 20_000);
        cluster.network.cut(second, first);
        cluster.run_for(seconds(5));
        let answers = cluster.take_answers();
        let stored = answers.iter().filter(|answer| answer.response == Response::Stored).count();
        assert!(stored <= 1, "both adds were stored: {answers:?}");
    });
}

#[test]
fn rule_1_a_write_that_is_tried_again_is_ordered_above_its_first_attempt() {
    let options = ClusterOptions { nodes: 4, expect: Some(4), ..ClusterOptions::default() };
    for_keys(&options, |cluster, key, homes| {
        let [first, _, third] = homes;
        let client = (0..4).find(|node| !homes.contains(node)).expect("one of four is no home");
        assert_eq!(set(cluster, client, key, "0"), Some(Response::Stored));
        cluster.take_answers();
        // The first attempt is on its way for long; the second reaches the same home, and is acknowledged.
        cluster.network.slow_way(client, first, 2_500_000);
        assert!(cluster.request_line(client, 1, &format!("set {key} 0 0 1\r\n1")));
        cluster.network.heal();
        cluster.network.split(&[client], &homes);
        cluster.run_for(millis(1300));
        cluster.network.heal();
        cluster.network.split(&[client], &homes[1..]);
        cluster.run_for(millis(700));
        let acknowledged = cluster.take_answers().iter().any(|answer| answer.response == Response::Stored);
        if acknowledged && set(cluster, client, key, "2") == Some(Response::Stored) {
            cluster.run_for(seconds(3));
            assert_eq!(get(cluster, third, key), holds("2"), "an overwritten set is back");
        }
    });
}

#[test]
fn rule_2_a_recovering_home_does_not_answer_reads() {
    for_keys(&ClusterOptions::default(), |cluster, key, [first, second, third]| {
        let key = format!("all:{key}");
        assert_eq!(set(cluster, first, &key, "a"), Some(Response::Stored));
        cluster.crash(second);
        cluster.run_for(seconds(1));
        // It has one source of the two that it needs, and stays recovering.
        cluster.network.split(&[second], &[third]);
        cluster.start(second);
        for _ in 0..40 {
            cluster.run_for(millis(100));
            let seen = get(cluster, second, &key);
            assert!(seen == holds("a") || seen == Seen::Unread, "{seen:?}");
        }
    });
}

/// Leaves the first home with memories of a term that is over, the third alone knowing the newer value and the term that
/// it was written in, and the second home empty. The first and the second hear each other, and nobody hears the third.
fn forget_a_term(cluster: &mut Cluster, key: &str, [first, second, third]: [usize; 3]) {
    assert_eq!(cluster.ask(first, &format!("touch {key} 0")), Some(Response::NotFound));
    leave_to_the_third(cluster, key, [first, second, third]);
}

/// Leaves the third home alone knowing the value, which nobody hears then, and the second home empty.
fn leave_to_the_third(cluster: &mut Cluster, key: &str, [first, second, third]: [usize; 3]) {
    cluster.network.split(&[first], &[second, third]);
    cluster.run_for(seconds(1));
    assert_eq!(set(cluster, third, key, "a"), Some(Response::Stored));
    cluster.crash(second);
    cluster.network.heal();
    cluster.network.split(&[third], &[first, second]);
    cluster.start(second);
    let knows_the_ring = |cluster: &Cluster| cluster.view(second).is_some_and(|view| view.epoch > 0);
    assert!(cluster.run_until(seconds(10), knows_the_ring), "the second home has not heard of the ring");
    in_touch(cluster);
}

#[test]
fn rule_2_a_recovering_home_acknowledges_nothing() {
    for_keys(&without_hints(), |cluster, key, homes| {
        forget_a_term(cluster, key, homes);
        for line in [format!("touch {key} 0"), format!("set {key} 0 0 1\r\nb")] {
            let answer = cluster.ask(homes[0], &line);
            assert!(is_in_doubt(&answer), "{line} was answered {answer:?} by a serializer whose term is over");
        }
    });
}

#[test]
fn rule_2_a_recovering_home_promises_nothing() {
    for_keys(&without_hints(), |cluster, key, [first, second, third]| {
        leave_to_the_third(cluster, key, [first, second, third]);
        // Neither the first home nor the empty one has the key: together they would agree that nobody has.
        let answer = cluster.ask(first, &format!("touch {key} 0"));
        assert!(is_in_doubt(&answer), "{answer:?}");
        cluster.network.heal();
        whole(cluster, &ALL);
        assert_eq!(cluster.ask(first, &format!("add {key} 0 0 1\r\nb")), Some(Response::NotStored));
        assert_eq!(get(cluster, second, key), holds("a"));
    });
}

#[test]
fn rule_2_a_recovering_home_orders_nothing() {
    for_keys(&without_hints(), |cluster, key, [first, second, third]| {
        let key = format!("fast:{key}");
        let Ok([first, second, third]) = <[usize; 3]>::try_from(cluster.homes(first, &key)) else {
            panic!("{first}, {second} and {third} are all there are")
        };
        assert_eq!(set(cluster, second, &key, "a"), Some(Response::Stored));
        // In a term, as whatever depends on the old value.
        assert_eq!(cluster.ask(second, &format!("append {key} 0 0 1\r\na")), Some(Response::Stored));
        cluster.crash(first);
        cluster.run_for(seconds(1));
        // It has one source of the two that it needs, and has forgotten the term.
        cluster.network.split(&[first], &[third]);
        cluster.start(first);
        let knows_the_ring = |cluster: &Cluster| cluster.view(first).is_some_and(|view| view.epoch > 0);
        assert!(cluster.run_until(seconds(10), knows_the_ring), "the first home has not heard of the ring");
        let stored = set(cluster, first, &key, "b") == Some(Response::Stored);
        cluster.network.heal();
        whole(cluster, &ALL);
        if stored {
            assert_eq!(get(cluster, second, &key), holds("b"), "what was stored is lost, and nobody has failed since");
        }
    });
}

#[test]
fn rule_2_recovery_brings_back_what_was_promised() {
    for_keys(&without_hints(), |cluster, key, [first, second, third]| {
        assert_eq!(cluster.ask(first, &format!("touch {key} 0")), Some(Response::NotFound));
        cluster.network.split(&[first], &[second, third]);
        cluster.run_for(seconds(1));
        assert_eq!(set(cluster, third, key, "a"), Some(Response::Stored));
        cluster.crash(second);
        cluster.network.heal();
        cluster.start(second);
        whole(cluster, &ALL);
        // The first home still believes in its term, and the second has promised a later one in an earlier life.
        cluster.network.split(&[third], &[first, second]);
        in_touch(cluster);
        let stored = set(cluster, first, key, "b") == Some(Response::Stored);
        cluster.network.heal();
        whole(cluster, &ALL);
        in_touch(cluster);
        if stored {
            assert_eq!(get(cluster, third, key), holds("b"), "an acknowledged write lost to an older one");
        }
    });
}

#[test]
fn rule_1_a_value_that_was_read_is_a_majoritys_before_the_answer() {
    for_keys(&without_hints(), |cluster, key, [first, second, third]| {
        assert_eq!(set(cluster, first, key, "a"), Some(Response::Stored));
        cluster.network.split(&[first], &[second, third]);
        cluster.run_for(millis(200));
        let answer = set(cluster, first, key, "b");
        assert!(is_in_doubt(&answer), "{answer:?}");
        cluster.network.heal();
        in_touch(cluster);
        let seen = get(cluster, first, key);
        cluster.network.split(&[first], &[second, third]);
        cluster.run_for(seconds(1));
        if seen == holds("b") {
            assert_eq!(get(cluster, second, key), holds("b"), "reads went back");
        }
    });
}

#[test]
fn rule_3_a_minority_never_changes_the_ring() {
    for seed in 0..often(4) as u64 {
        let mut cluster = Cluster::started(ClusterOptions { nodes: 5, expect: Some(5), ..Default::default() }, seed);
        let epoch = |cluster: &Cluster, node: usize| cluster.view(node).map_or(0, |view| view.epoch);
        let before = epoch(&cluster, 0);
        cluster.network.split(&[0, 1], &[2, 3, 4]);
        cluster.run_for(seconds(1));
        cluster.drain(1);
        cluster.run_for(seconds(20));
        assert_eq!([0, 1].map(|node| epoch(&cluster, node)), [before; 2], "two of five have changed the ring");
        cluster.network.heal();
        whole(&mut cluster, &[0, 2, 3, 4]);
    }
}

#[test]
fn rule_5_a_write_during_a_join_is_held_by_old_homes_and_new() {
    for seed in 0..often(3) as u64 {
        let options = ClusterOptions { nodes: 4, hint_memory_bytes: 0, ..ClusterOptions::default() };
        let mut cluster = Cluster::new(options, seed);
        for node in ALL {
            cluster.start(node);
        }
        whole(&mut cluster, &ALL);
        cluster.start(3);
        let joins =
            |cluster: &Cluster| ALL.iter().all(|node| cluster.view(*node).is_some_and(|view| view.members.len() == 4));
        assert!(cluster.run_until(seconds(20), joins), "the fourth has not begun to join");
        let behind = (seed % 3) as usize;
        let others: Vec<usize> = (0..4).filter(|node| *node != behind).collect();
        cluster.network.split(&[behind], &others);
        cluster.run_for(seconds(2));
        let stored: Vec<String> = (0..60)
            .map(|number| format!("key-{number}"))
            .filter(|key| set(&mut cluster, others[0], key, "a") == Some(Response::Stored))
            .collect();
        assert!(!stored.is_empty(), "no write was possible during the join");
        cluster.network.heal();
        whole(&mut cluster, &[0, 1, 2, 3]);
        for key in stored {
            for node in 0..4 {
                assert_eq!(get(&mut cluster, node, &key), holds("a"), "{key} through node {node}");
            }
        }
    }
}

#[test]
fn rule_5_all_homes_are_those_of_the_new_set_too() {
    let options = ClusterOptions { nodes: 4, replicas: 4, ..ClusterOptions::default() };
    let joiner = 3;
    for seed in 0..often(24) as u64 {
        let mut cluster = three_of_four_with(options.clone(), seed);
        let keys: Vec<String> = (0..KEYS).map(|number| format!("key-{number}")).collect();
        let set_all = |cluster: &mut Cluster, key: &str, value: &str| {
            cluster
                .ask(0, &format!("ms {key} 1 Lall\r\n{value}"))
                .and_then(|answer| MetaAnswer::read(&answer))
                .is_some()
        };
        assert!(keys.iter().all(|key| set_all(&mut cluster, key, "a")));
        cluster.start(joiner);
        let before = epoch(&cluster, 0);
        assert!(cluster.run_until(seconds(20), |cluster| epoch(cluster, 0) > before), "it does not join");
        cluster.run_for(millis(100 * seed));
        cluster.network.split(&[joiner], &ALL);
        let acknowledged: Vec<&String> = keys.iter().filter(|key| set_all(&mut cluster, key, "b")).collect();
        cluster.run_for(seconds(3));
        cluster.network.heal();
        // Until it has what it missed.
        for _ in 0..400 {
            cluster.run_for(millis(5));
            for key in &acknowledged {
                let seen =
                    cluster.ask(joiner, &format!("mg {key} v Lone")).and_then(|answer| MetaAnswer::read(&answer));
                let value = seen.and_then(|seen| seen.value);
                assert_ne!(value.as_deref(), Some(&b"a"[..]), "{key}, seed {seed}: what all have taken is not there");
            }
        }
    }
}

#[test]
fn rule_6_an_item_ends_on_every_copy_at_one_time_however_late_the_copy_came() {
    for_keys(&ClusterOptions::default(), |cluster, key, homes| {
        let [first, _, third] = homes;
        cluster.freeze(third);
        cluster.run_for(seconds(1));
        assert_eq!(cluster.ask(first, &format!("set {key} 0 6 1\r\na")), Some(Response::Stored));
        cluster.run_for(millis(2500));
        cluster.thaw(third);
        in_touch(cluster);
        let alone = |cluster: &mut Cluster, node: usize| {
            let answer = cluster.ask(node, &format!("mg {key} v Lone")).and_then(|answer| MetaAnswer::read(&answer));
            answer.expect("a home answers by itself").value.is_some()
        };
        assert_eq!(homes.map(|node| alone(cluster, node)), [true; 3], "after 4 s of 6");
        cluster.run_for(seconds(3));
        assert_eq!(homes.map(|node| alone(cluster, node)), [false; 3], "after 7 s of 6");
    });
}

#[test]
fn rule_6_what_has_expired_holds_back_what_it_replaced() {
    for_keys(&without_hints(), |cluster, key, [first, second, third]| {
        assert_eq!(set(cluster, first, key, "a"), Some(Response::Stored));
        cluster.network.split(&[third], &[first, second]);
        cluster.run_for(seconds(1));
        assert_eq!(cluster.ask(first, &format!("set {key} 0 2 1\r\nb")), Some(Response::Stored));
        cluster.run_for(seconds(6));
        assert_eq!(get(cluster, second, key), Seen::Nothing, "it has expired");
        // Who has made it is gone before the third can be told.
        cluster.crash(first);
        cluster.network.heal();
        in_touch(cluster);
        for node in [second, third] {
            assert_eq!(get(cluster, node, key), Seen::Nothing, "through node {node}");
        }
        cluster.start(first);
    });
}

#[test]
fn rule_7_what_was_deleted_is_remembered_until_every_home_knows() {
    for seed in 0..often(4) as u64 {
        let mut cluster = Cluster::started(without_hints(), seed);
        let asleep = (seed % 3) as usize;
        let awake = [(asleep + 1) % 3, (asleep + 2) % 3];
        delete_while_asleep(&mut cluster, asleep, awake[0], KEYS, minutes(11));
        cluster.crash(awake[0]);
        whole(&mut cluster, &[asleep, awake[1]]);
        for node in [asleep, awake[1]] {
            assert_eq!(count(&mut cluster, node, KEYS), 0, "through node {node}");
        }
        // Once all know, nobody remembers.
        cluster.start(awake[0]);
        whole(&mut cluster, &ALL);
        cluster.run_for(minutes(12));
        assert_eq!(ALL.map(|node| cluster.stat(node, "tombstones")), [Some(0); 3]);
    }
}

#[test]
fn rule_7_who_returns_begins_anew_where_what_was_deleted_has_found_no_room() {
    let options = ClusterOptions { memory_limit_bytes: 1 << 20, ..without_hints() };
    for seed in 0..often(4) as u64 {
        let mut cluster = Cluster::started(options.clone(), seed);
        let asleep = (seed % 3) as usize;
        let awake = [(asleep + 1) % 3, (asleep + 2) % 3];
        delete_while_asleep(&mut cluster, asleep, awake[0], MANY_KEYS, minutes(1));
        assert!(cluster.stat(awake[0], "tombstones_dropped") > Some(0), "they had room");
        whole(&mut cluster, &ALL);
        assert!(cluster.stat(asleep, "partitions_emptied") > Some(0));
        for node in ALL {
            assert_eq!(count(&mut cluster, node, MANY_KEYS), 0, "through node {node}");
        }
    }
}

/// So many keys are stored, and deleted while a node is asleep; then it wakes.
fn delete_while_asleep(cluster: &mut Cluster, asleep: usize, through: usize, keys: usize, sleep: Duration) {
    for key in 0..keys {
        assert_eq!(set(cluster, through, &format!("key-{key}"), "a"), Some(Response::Stored));
    }
    cluster.freeze(asleep);
    cluster.run_for(seconds(1));
    for key in 0..keys {
        assert_eq!(cluster.ask(through, &format!("delete key-{key}")), Some(Response::Deleted), "key-{key}");
    }
    cluster.run_for(sleep);
    cluster.thaw(asleep);
    in_touch(cluster);
}

/// How many of these keys a node finds.
fn count(cluster: &mut Cluster, node: usize, keys: usize) -> usize {
    (0..keys).filter(|key| get(cluster, node, &format!("key-{key}")) != Seen::Nothing).count()
}

#[test]
fn rule_7_what_was_deleted_does_not_come_back_from_a_home_that_missed_it() {
    for_keys(&without_hints(), |cluster, key, [first, second, third]| {
        assert_eq!(set(cluster, first, key, "a"), Some(Response::Stored));
        cluster.network.split(&[third], &[first, second]);
        cluster.run_for(seconds(1));
        assert_eq!(cluster.ask(first, &format!("delete {key}")), Some(Response::Deleted));
        cluster.crash(first);
        cluster.network.heal();
        cluster.start(first);
        whole(cluster, &ALL);
        for node in ALL {
            assert_eq!(get(cluster, node, key), Seen::Nothing, "through node {node}");
        }
    });
}

#[test]
fn rule_8_writes_of_one_millisecond_have_an_order_that_all_copies_know() {
    for_keys(&ClusterOptions::default(), |cluster, key, _| {
        for prefix in ["", "fast:"] {
            let key = format!("{prefix}{key}");
            let homes: [usize; 3] = cluster.homes(0, &key).try_into().expect("three homes");
            assert_eq!(set(cluster, homes[0], &key, "first"), Some(Response::Stored));
            let sets: Vec<String> = ["a", "b", "c"].iter().map(|value| format!("set {key} 0 0 1\r\n{value}")).collect();
            assert!(cluster.request_together(homes[0], 0, &sets));
            cluster.run_for(seconds(1));
            let done = cluster.take_answers();
            assert!(done.len() == sets.len() && done.iter().all(|answer| answer.response == Response::Stored));
            let copies = homes.map(|home| cluster.ask(home, &format!("mg {key} v Lone")));
            let seen = copies.map(|copy| copy.and_then(|answer| MetaAnswer::read(&answer)));
            let last =
                |copy: &Option<MetaAnswer>| copy.as_ref().is_some_and(|copy| copy.value.as_deref() == Some(b"c"));
            assert!(seen.iter().all(last), "{key}: {seen:?}");
        }
    });
}

#[test]
fn rule_8_a_node_whose_clock_is_behind_orders_above_what_it_has_seen() {
    for_keys(&ClusterOptions::default(), |cluster, key, [_, _, viewer]| {
        for prefix in ["", "fast:"] {
            let key = format!("{prefix}{key}");
            let homes = cluster.homes(viewer, &key);
            let [behind, second, third] = homes[..] else { panic!("three homes: {homes:?}") };
            cluster.crash(behind);
            cluster.skew_ms[behind] = -3_600_000;
            cluster.run_for(seconds(1));
            assert_eq!(set(cluster, second, &key, "a"), Some(Response::Stored));
            cluster.start(behind);
            whole(cluster, &ALL);
            assert_eq!(set(cluster, behind, &key, "b"), Some(Response::Stored));
            cluster.run_for(millis(200));
            assert_eq!(get(cluster, third, &key), holds("b"), "{key}");
            // It takes over from one whose clock is right.
            cluster.crash(second);
            cluster.skew_ms[second] = 0;
            cluster.run_for(seconds(1));
            assert_eq!(set(cluster, behind, &key, "c"), Some(Response::Stored));
            cluster.run_for(millis(200));
            assert_eq!(get(cluster, third, &key), holds("c"), "{key}");
            cluster.start(second);
            whole(cluster, &ALL);
        }
    });
}

#[test]
fn rule_9_what_was_flushed_does_not_come_back_from_a_member_that_missed_it() {
    for seed in 0..often(6) as u64 {
        let mut cluster = Cluster::started(without_hints(), seed);
        let behind = (seed % 3) as usize;
        let others: Vec<usize> = ALL.into_iter().filter(|node| *node != behind).collect();
        for number in 0..KEYS {
            assert_eq!(set(&mut cluster, 0, &format!("key-{number}"), "a"), Some(Response::Stored));
        }
        cluster.freeze(behind);
        cluster.run_for(seconds(8));
        assert_eq!(cluster.ask(others[0], "flush_all"), Some(Response::Ok));
        cluster.thaw(behind);
        whole(&mut cluster, &ALL);
        cluster.run_for(seconds(2));
        for number in 0..KEYS {
            for node in ALL {
                assert_eq!(get(&mut cluster, node, &format!("key-{number}")), Seen::Nothing, "through node {node}");
            }
        }
    }
}

#[test]
fn rule_10_of_many_readers_of_a_stale_item_one_wins_whoever_orders() {
    for_keys(&ClusterOptions::default(), |cluster, key, [first, second, third]| {
        assert_eq!(set(cluster, first, key, "a"), Some(Response::Stored));
        assert!(cluster.ask(second, &format!("md {key} I")).is_some());
        let read = |cluster: &mut Cluster, node: usize| {
            let answer = cluster.ask(node, &format!("mg {key} v")).and_then(|answer| MetaAnswer::read(&answer));
            answer.is_some_and(|answer| answer.won)
        };
        let mut won = 0;
        for node in [first, second, third, first] {
            won += usize::from(read(cluster, node));
        }
        // Who ordered is gone: the next one knows that somebody has won.
        cluster.crash(first);
        cluster.run_for(seconds(1));
        for node in [second, third, second] {
            won += usize::from(read(cluster, node));
        }
        assert_eq!(won, 1);
        cluster.start(first);
    });
}

#[test]
fn rule_11_a_member_that_is_away_stays_a_member() {
    for seed in 0..often(3) as u64 {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        let away = (seed % 3) as usize;
        let steady = (away + 1) % 3;
        let before = cluster.homes(steady, "key");
        let epoch = cluster.view(steady).map(|view| view.epoch);
        cluster.crash(away);
        cluster.run_for(seconds(120));
        let view = cluster.view(steady).expect("it runs");
        assert_eq!((view.members.len(), Some(view.epoch)), (3, epoch), "the ring has changed");
        cluster.start(away);
        whole(&mut cluster, &ALL);
        assert_eq!(cluster.homes(away, "key"), before);
        assert_eq!(cluster.view(away).map(|view| view.epoch), epoch);
    }
}

#[test]
fn rule_11_a_member_that_is_gone_for_good_is_replaced() {
    let adjust = |settings: &mut Settings| settings.remove_after = Some(minutes(2));
    for seed in 0..often(3) as u64 {
        let options = ClusterOptions { nodes: 4, expect: Some(4), adjust, ..ClusterOptions::default() };
        let mut cluster = Cluster::started(options, seed);
        let gone = (seed % 4) as usize;
        let staying: Vec<usize> = (0..4).filter(|node| *node != gone).collect();
        let keys: Vec<String> = (0..KEYS).map(|number| format!("key-{number}")).collect();
        keys.iter().for_each(|key| assert_eq!(set(&mut cluster, staying[0], key, "a"), Some(Response::Stored)));
        let members = |cluster: &Cluster, node: usize| cluster.view(node).map_or(0, |view| view.members.len());
        // The network fails: to itself it is the others who are gone.
        cluster.network.split(&[gone], &staying);
        cluster.run_for(minutes(2) - seconds(5));
        assert_eq!(members(&cluster, staying[0]), 4, "it might have come back");
        let is_out =
            |cluster: &Cluster| staying.iter().all(|node| members(cluster, *node) == 3) && cluster.is_whole(&staying);
        assert!(cluster.run_until(seconds(40), is_out), "it is still a member");
        assert_eq!(members(&cluster, gone), 4, "one of four has changed the ring");
        for key in &keys {
            assert_eq!(set(&mut cluster, staying[0], key, "b"), Some(Response::Stored));
        }
        cluster.run_for(seconds(10));
        assert!(staying.iter().all(|node| cluster.stat(*node, "hint_bytes") == Some(0)), "hints for nobody");
        // There are three copies again: one may fail.
        cluster.crash(staying[1]);
        cluster.run_for(seconds(1));
        keys.iter().for_each(|key| assert_eq!(get(&mut cluster, staying[2], key), holds("b")));
        cluster.start(staying[1]);
        whole(&mut cluster, &staying);
        // It hears that it is out, joins anew, and brings nothing of what it had.
        cluster.network.heal();
        whole(&mut cluster, &[0, 1, 2, 3]);
        keys.iter().for_each(|key| assert_eq!(get(&mut cluster, gone, key), holds("b")));
    }
}

#[test]
fn rule_1_a_hint_is_no_copy() {
    for_keys(&ClusterOptions::default(), |cluster, key, [first, second, third]| {
        assert_eq!(set(cluster, first, key, "a"), Some(Response::Stored));
        cluster.network.split(&[first], &[second, third]);
        cluster.run_for(millis(200));
        let answer = set(cluster, first, key, "b");
        assert!(is_in_doubt(&answer), "one copy and two hints were taken for a majority: {answer:?}");
    });
}

/// Two that do not see each other, and a third that sees both: both might found, and the third is asked by both. Whichever
/// asks first has its consent. The smaller name starts later, by any time that makes the two meet in between.
#[test]
fn rule_4_of_two_that_would_found_one_does_whom_all_it_sees_consent_to() {
    for step in 0..often(80) as u64 {
        let after = millis(step * 4_000 / often(80) as u64);
        let mut cluster = Cluster::new(ClusterOptions { expect: Some(2), ..ClusterOptions::default() }, step);
        cluster.network.split(&[0], &[1]);
        cluster.network.slow_way(2, 1, 1_200_000);
        cluster.start(1);
        cluster.start(2);
        cluster.run_for(after);
        cluster.start(0);
        cluster.run_for(seconds(8));
        let rings: BTreeSet<String> = ALL
            .iter()
            .filter_map(|node| cluster.view(*node))
            .map(|view| view.ring_id)
            .filter(|ring| !ring.is_empty())
            .collect();
        assert!(rings.len() <= 1, "rings {rings:?}, with the first node {after:?} late");
        cluster.network.heal();
        whole(&mut cluster, &ALL);
    }
}

/// The name of a key whose homes among the first three nodes are these, of whom one is no home any more once the fourth
/// has joined; the homes that stay, in the order of the new placement, and the one that does not.
fn displaced(seed: u64) -> Vec<(String, usize, [usize; 2])> {
    let cluster = Cluster::started(ClusterOptions { nodes: 4, expect: Some(4), ..ClusterOptions::default() }, seed);
    let of_key = |number: usize| {
        let key = format!("key-{number}");
        let homes = cluster.homes(0, &key);
        let displaced = ALL.into_iter().find(|node| !homes.contains(node))?;
        let stay: Vec<usize> = homes.into_iter().filter(|node| *node != 3).collect();
        Some((key, displaced, stay.try_into().ok()?))
    };
    (0..100).filter_map(of_key).take(often(KEYS)).collect()
}

/// A ring of the first three nodes, which the fourth has not joined yet.
fn three_of_four(seed: u64) -> Cluster {
    three_of_four_with(ClusterOptions { nodes: 4, ..without_hints() }, seed)
}

fn three_of_four_with(options: ClusterOptions, seed: u64) -> Cluster {
    let mut cluster = Cluster::new(options, seed);
    for node in ALL {
        cluster.start(node);
    }
    whole(&mut cluster, &ALL);
    cluster
}

/// The ring config that a node knows.
fn epoch(cluster: &Cluster, node: usize) -> u64 {
    cluster.view(node).map_or(0, |view| view.epoch)
}

#[test]
fn rule_5_a_home_does_not_serve_who_has_the_partition_elsewhere() {
    for (key, displaced, [first, behind]) in displaced(0) {
        let mut cluster = three_of_four(1);
        assert_eq!(set(&mut cluster, first, &key, "a"), Some(Response::Stored));
        // All that the displaced home hears comes late.
        for other in [first, behind, 3] {
            cluster.network.slow_way(other, displaced, 300_000);
        }
        cluster.start(3);
        let before = epoch(&cluster, first);
        let joined = |cluster: &Cluster| [first, behind, 3].iter().all(|node| epoch(cluster, *node) == before + 2);
        assert!(cluster.run_until(seconds(60), joined), "the fourth has not joined");
        assert_eq!(epoch(&cluster, displaced), before + 1, "it has heard of the end of the move");
        cluster.network.split(&[first, 3], &[behind, displaced]);
        let stored = set(&mut cluster, 3, &key, "b");
        let seen = get(&mut cluster, displaced, &key);
        if stored == Some(Response::Stored) {
            assert!(seen != holds("a"), "{key}: a home of both placements has told the older value");
        }
    }
}

#[test]
fn rule_5_no_read_is_stale_where_two_homes_hear_late_that_a_move_has_ended() {
    for (key, displaced, [first, behind]) in displaced(0) {
        let mut cluster = three_of_four(1);
        assert_eq!(set(&mut cluster, first, &key, "a"), Some(Response::Stored));
        for to in [displaced, behind] {
            cluster.network.slow_way(first, to, 300_000);
            cluster.network.slow_way(3, to, 300_000);
        }
        cluster.start(3);
        let before = epoch(&cluster, first);
        let joined = |cluster: &Cluster| [first, 3].iter().all(|node| epoch(cluster, *node) == before + 2);
        assert!(cluster.run_until(seconds(60), joined), "the fourth has not joined");
        // The two still are a majority of the old homes, and this write is a majority's of the new ones.
        assert_eq!(set(&mut cluster, 3, &key, "b"), Some(Response::Stored));
        assert_eq!(epoch(&cluster, displaced), before + 1, "it has heard of the end of the move");
        let seen = get(&mut cluster, displaced, &key);
        assert!(seen == holds("b") || seen == Seen::Unread, "{key}: {seen:?}");
    }
}

#[test]
fn rule_5_no_write_counts_a_home_that_has_heard_of_a_move_where_its_serializer_has_not() {
    let mut told = 0;
    for (seed, (key, displaced, [first, behind])) in displaced(0).into_iter().enumerate() {
        let mut cluster = three_of_four(seed as u64);
        assert_eq!(set(&mut cluster, first, &key, "a"), Some(Response::Stored));
        // All that the home that orders hears comes late.
        for other in [displaced, behind, 3] {
            cluster.network.slow_way(other, first, 900_000);
        }
        cluster.start(3);
        let before = epoch(&cluster, first);
        let moves = |cluster: &Cluster| [displaced, behind, 3].iter().all(|node| epoch(cluster, *node) == before + 1);
        assert!(cluster.run_until(seconds(20), moves), "the fourth has not begun to join");
        // The fourth has the older value of the other two by now; the newer one reaches the home that is none after the move.
        cluster.run_for(millis(700));
        if epoch(&cluster, first) != before {
            // It has proposed the move itself.
            continue;
        }
        told += 1;
        cluster.network.cut(first, behind);
        cluster.take_answers();
        assert!(cluster.request_line(first, 1, &format!("set {key} 0 0 1\r\nb")));
        let joined = |cluster: &Cluster| [behind, 3].iter().all(|node| epoch(cluster, *node) == before + 2);
        assert!(cluster.run_until(seconds(60), joined), "the fourth has not joined");
        cluster.network.split(&[first], &[behind, 3]);
        cluster.run_for(seconds(1));
        if cluster.take_answers().iter().any(|answer| answer.response == Response::Stored) {
            assert_eq!(get(&mut cluster, 3, &key), holds("b"), "{key}: an acknowledged write is lost");
        }
    }
    assert!(told > 0, "whoever orders has always heard of the move");
}
