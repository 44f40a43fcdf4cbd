//! Named stories of simulated clusters: each a situation that operators meet, over many seeds.

use std::borrow::Cow;
use std::time::Duration;

use bytes::BytesMut;
use memring_protocol::text::{Command, Response, StoreVerb};
use memring_tests::sim::meta::MetaAnswer;
use memring_tests::sim::network::Weather;
use memring_tests::sim::stories::{for_seeds, seeds};
use memring_tests::sim::{Cluster, ClusterOptions};

const ALL: [usize; 3] = [0, 1, 2];

fn all_but(one: usize) -> Vec<usize> {
    ALL.into_iter().filter(|node| *node != one).collect()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn state_of(cluster: &Cluster, viewer: usize, member: usize) -> &'static str {
    let view = cluster.view(viewer).expect("the viewer runs");
    let name = format!("n{}", member + 1);
    view.members.iter().find(|row| row.name == name).map_or("unknown", |row| row.state)
}

fn write_keys(cluster: &mut Cluster, count: usize) {
    for key in 0..count {
        let line = format!("set key-{key} 0 0 3\r\n{:03}", key % 1000);
        assert_eq!(cluster.ask(key % 3, &line), Some(Response::Stored), "key {key}");
    }
    cluster.run_for(seconds(2));
}

fn count_keys(cluster: &mut Cluster, node: usize, count: usize) -> usize {
    let found = |cluster: &mut Cluster, key: usize| match cluster.ask(node, &format!("get key-{key}")) {
        Some(Response::Values { values, .. }) => {
            values.first().is_some_and(|(_, item)| item.value == format!("{:03}", key % 1000).as_bytes())
        }
        answer => panic!("key {key} through node {node}: {answer:?}"),
    };
    (0..count).filter(|key| found(cluster, *key)).count()
}

/// Everyone serves again: a write through each node is read through each other.
fn assert_serves(cluster: &mut Cluster, nodes: &[usize]) {
    for writer in nodes {
        let line = format!("set proof-{writer} 0 0 1\r\n{writer}");
        assert_eq!(cluster.ask(*writer, &line), Some(Response::Stored), "write through node {writer}");
        for reader in nodes {
            match cluster.ask(*reader, &format!("get proof-{writer}")) {
                Some(Response::Values { values, .. }) if values.len() == 1 => {}
                answer => panic!("node {reader} does not see what was written through {writer}: {answer:?}"),
            }
        }
    }
}

#[test]
fn simultaneous_starts_end_as_one_ring() {
    for_seeds(100, |seed| {
        let expect = (seed % 2 == 0).then_some(3);
        let mut cluster = Cluster::new(ClusterOptions { expect, ..ClusterOptions::default() }, seed);
        for node in ALL {
            cluster.start(node);
            cluster.run_for(Duration::from_millis(seed * 7919 % 400));
        }
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&ALL)), "no whole ring after a minute");
        assert_serves(&mut cluster, &ALL);
    });
}

#[test]
fn a_killed_node_is_known_to_all_within_four_seconds() {
    let slowest = std::sync::atomic::AtomicU64::new(0);
    for_seeds(50, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        cluster.run_for(Duration::from_millis(1000 + seed * 37));
        let victim = (seed % 3) as usize;
        cluster.crash(victim);
        let began = cluster.now_us();
        let known = |cluster: &Cluster| {
            ALL.iter().filter(|node| **node != victim).all(|node| state_of(cluster, *node, victim) == "failed")
        };
        assert!(cluster.run_until(seconds(4), known), "not known to all after 4 s");
        slowest.fetch_max(cluster.now_us() - began, std::sync::atomic::Ordering::Relaxed);
    });
    println!("sim: a killed node of three is known to all after at most {} ms", slowest.into_inner() / 1000);
}

#[test]
fn an_isolated_node_never_makes_the_others_drop_a_healthy_one() {
    let verdicts = std::sync::atomic::AtomicU64::new(0);
    for_seeds(200, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        let lonely = (seed % 3) as usize;
        let healthy = all_but(lonely);
        cluster.network.split(&[lonely], &healthy);
        for round in 0..250 {
            if round == 120 {
                cluster.network.heal();
            }
            cluster.run_for(Duration::from_millis(100));
            for (viewer, member) in [(healthy[0], healthy[1]), (healthy[1], healthy[0])] {
                let false_verdict = state_of(&cluster, viewer, member) == "failed";
                verdicts.fetch_add(u64::from(false_verdict), std::sync::atomic::Ordering::Relaxed);
            }
            for member in &healthy {
                assert_ne!(state_of(&cluster, lonely, *member), "failed", "the lonely node judges alone");
            }
        }
        assert!(cluster.run_until(seconds(20), |cluster| cluster.is_whole(&ALL)), "not whole after the heal");
    });
    let verdicts = verdicts.into_inner();
    let count = seeds(200);
    println!("sim: isolated node, {count} seeds: {verdicts} false verdicts among the others");
    assert_eq!(verdicts, 0);
}

#[test]
fn two_of_three_restart_together_and_the_third_keeps_the_data() {
    for_seeds(20, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        write_keys(&mut cluster, 60);
        let survivor = (seed % 3) as usize;
        for node in ALL.into_iter().filter(|node| *node != survivor) {
            cluster.crash(node);
        }
        cluster.run_for(Duration::from_millis(seed * 131 % 3000));
        for node in ALL.into_iter().filter(|node| *node != survivor) {
            cluster.start(node);
        }
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&ALL)), "not whole again");
        assert_serves(&mut cluster, &ALL);
        assert_eq!(count_keys(&mut cluster, (survivor + 1) % 3, 60), 60);
    });
}

#[test]
fn all_restart_and_serve_again_from_nothing() {
    for_seeds(20, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        write_keys(&mut cluster, 20);
        for node in ALL {
            cluster.crash(node);
        }
        cluster.run_for(Duration::from_millis(500));
        for node in ALL {
            cluster.start(node);
        }
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&ALL)), "not whole again");
        assert_eq!(count_keys(&mut cluster, 0, 20), 0);
        assert_serves(&mut cluster, &ALL);
    });
}

#[test]
fn one_dead_and_one_restarting_wait_for_the_dead_and_then_do_without() {
    for_seeds(20, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        write_keys(&mut cluster, 60);
        let (dead, restarting, steady) = ((seed % 3) as usize, (seed as usize + 1) % 3, (seed as usize + 2) % 3);
        cluster.crash(dead);
        cluster.run_for(seconds(8));
        cluster.crash(restarting);
        cluster.run_for(Duration::from_millis(300));
        cluster.start(restarting);
        cluster.run_for(seconds(10));
        let synced = cluster.shared(restarting).is_some_and(|shared| shared.is_synced());
        assert!(!synced, "synced from one home of two, while the other may still come back");
        let served = |cluster: &Cluster| cluster.shared(restarting).is_some_and(|shared| shared.is_synced());
        assert!(cluster.run_until(seconds(40), served), "still waiting for the dead");
        assert_serves(&mut cluster, &[restarting, steady]);
        assert_eq!(count_keys(&mut cluster, restarting, 60), 60);
        cluster.start(dead);
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&ALL)), "not whole with the dead back");
        assert_eq!(count_keys(&mut cluster, dead, 60), 60);
    });
}

#[test]
fn a_node_that_returns_empty_holds_everything_when_it_is_synced() {
    for_seeds(20, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        write_keys(&mut cluster, 60);
        let (first, second) = ((seed % 3) as usize, (seed as usize + 1) % 3);
        for victim in [first, second] {
            cluster.crash(victim);
            cluster.run_for(seconds(7));
            cluster.start(victim);
            assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&ALL)), "not whole again");
        }
        cluster.crash((seed as usize + 2) % 3);
        cluster.run_for(seconds(1));
        assert_eq!(count_keys(&mut cluster, first, 60), 60);
    });
}

#[test]
fn hints_over_their_limit_are_dropped_and_counted_and_no_write_fails() {
    for_seeds(10, |seed| {
        let options = ClusterOptions { hint_memory_bytes: 2_000, ..ClusterOptions::default() };
        let mut cluster = Cluster::started(options, seed);
        cluster.crash(2);
        cluster.run_for(seconds(7));
        for key in 0..60 {
            let line = format!("set key-{key} 0 0 3\r\n{key:03}");
            assert_eq!(cluster.ask(key % 2, &line), Some(Response::Stored), "key {key}");
        }
        cluster.run_for(seconds(2));
        let stat = |cluster: &mut Cluster, name: &str| match cluster.ask(0, "stats") {
            Some(Response::Stats(lines)) => {
                lines.iter().find(|(line, _)| line == name).map_or(0, |(_, value)| value.parse::<u64>().unwrap_or(0))
            }
            answer => panic!("stats: {answer:?}"),
        };
        assert!(stat(&mut cluster, "hint_bytes") <= 2_000);
        assert!(stat(&mut cluster, "hints_dropped") > 0);
        cluster.start(2);
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&ALL)), "not whole again");
        assert_eq!(count_keys(&mut cluster, 2, 60), 60);
    });
}

#[test]
fn nodes_join_and_leave_one_at_a_time_and_nothing_is_lost() {
    for_seeds(10, |seed| {
        let options = ClusterOptions { nodes: 5, ..ClusterOptions::default() };
        let mut cluster = Cluster::new(options, seed);
        for node in ALL {
            cluster.start(node);
        }
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&ALL)), "no ring of three");
        write_keys(&mut cluster, 60);
        cluster.start(3);
        cluster.start(4);
        let five = [0, 1, 2, 3, 4];
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&five)), "no ring of five");
        for node in five {
            assert_eq!(count_keys(&mut cluster, node, 60), 60, "through node {node}");
        }
        cluster.drain(0);
        let left = |cluster: &Cluster| cluster.view(1).is_some_and(|view| view.members.len() == 4);
        assert!(cluster.run_until(seconds(60), left), "the ring still has five members");
        cluster.crash(0);
        cluster.run_for(seconds(1));
        for node in [1, 2, 3, 4] {
            assert_eq!(count_keys(&mut cluster, node, 60), 60, "through node {node} after the leave");
        }
        assert_serves(&mut cluster, &[1, 2, 3, 4]);
    });
}

#[test]
fn a_node_that_returns_cut_off_and_sleeps_founds_no_ring_of_its_own() {
    for_seeds(10, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        let node = (seed % 3) as usize;
        let others = all_but(node);
        cluster.crash(node);
        cluster.network.split(&[node], &others);
        cluster.start(node);
        cluster.run_for(seconds(4));
        cluster.freeze(node);
        cluster.network.heal();
        cluster.run_for(seconds(8));
        cluster.thaw(node);
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&ALL)), "it is in a ring of its own");
    });
}

#[test]
fn a_node_that_comes_back_with_another_weight_has_its_share_and_nothing_is_lost() {
    for_seeds(10, |seed| {
        let options = ClusterOptions { nodes: 4, ..ClusterOptions::default() };
        let all = [0, 1, 2, 3];
        let mut cluster = Cluster::new(options, seed);
        all.iter().for_each(|node| cluster.start(*node));
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&all)), "no ring of four");
        write_keys(&mut cluster, 60);
        for weight in [25, 400] {
            cluster.crash(3);
            cluster.weights[3] = weight;
            cluster.start(3);
            let weighs = |cluster: &Cluster| {
                let view = cluster.view(0);
                view.is_some_and(|view| view.members[3].weight == f64::from(weight) / 100.0) && cluster.is_whole(&all)
            };
            assert!(cluster.run_until(seconds(60), weighs), "it does not weigh {weight}");
            for node in all {
                assert_eq!(count_keys(&mut cluster, node, 60), 60, "through node {node}");
            }
        }
        assert_serves(&mut cluster, &all);
    });
}

#[test]
fn flush_all_through_any_node_empties_all_and_what_comes_after_lives() {
    for_seeds(10, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        write_keys(&mut cluster, 30);
        assert_eq!(cluster.ask((seed % 3) as usize, "flush_all"), Some(Response::Ok));
        let line = "set after 0 0 1\r\nx";
        assert_eq!(cluster.ask((seed as usize + 1) % 3, line), Some(Response::Stored));
        for node in ALL {
            assert_eq!(count_keys(&mut cluster, node, 30), 0);
            match cluster.ask(node, "get after") {
                Some(Response::Values { values, .. }) => assert_eq!(values.len(), 1),
                answer => panic!("{answer:?}"),
            }
        }
    });
}

#[test]
fn levels_by_key_prefix_decide_what_a_lone_node_can_still_do() {
    for_seeds(10, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        let lonely = (seed % 3) as usize;
        let others = all_but(lonely);
        cluster.network.split(&[lonely], &others);
        cluster.run_for(seconds(1));
        let unmet = |answer: Option<Response>| match answer {
            Some(Response::ServerError(text)) => text.starts_with("quorum not reached"),
            _ => false,
        };
        assert!(unmet(cluster.ask(lonely, "set strict 0 0 1\r\nx")), "a quorum of one");
        assert!(unmet(cluster.ask(lonely, "delete strict")), "a false NOT_FOUND");
        assert!(unmet(cluster.ask(lonely, "get strict")), "a read without a quorum");
        let line = "set fast:key 0 0 1\r\nx";
        assert_eq!(cluster.ask(lonely, line), Some(Response::Stored), "one replica is enough at level one");
        assert!(
            matches!(cluster.ask(lonely, "get fast:key"), Some(Response::Values { values, .. }) if values.len() == 1)
        );
        cluster.network.heal();
        assert!(cluster.run_until(seconds(30), |cluster| cluster.is_whole(&ALL)), "not whole after the heal");
        cluster.run_for(seconds(2));
        let seen = cluster.ask(others[0], "get fast:key");
        assert!(
            matches!(seen, Some(Response::Values { values, .. }) if values.len() == 1),
            "the hint has been replayed"
        );
    });
}

#[test]
fn a_set_that_was_passed_over_and_arrives_late_does_not_come_back() {
    for_seeds(24, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        // Who leads the key is not known here: all ways of telling the parts are played.
        let (client, leader) = ((seed % 3) as usize, ((seed + 1 + seed / 3 % 2) % 3) as usize);
        let other = 3 - client - leader;
        assert_eq!(cluster.ask(leader, "set key 0 0 1\r\n0"), Some(Response::Stored));
        cluster.network.weather.delay_min_us = 2_500_000;
        cluster.network.weather.delay_max_us = 2_500_000;
        let late = store(b"1");
        assert!(cluster.request(client, 1, &late));
        cluster.network.weather = Weather::fair();
        cluster.network.split(&[client], &[leader]);
        cluster.run_for(Duration::from_millis(1300));
        cluster.network.heal();
        cluster.run_for(Duration::from_millis(200));
        let acknowledged = cluster.take_answers().iter().any(|answer| answer.response == Response::Stored);
        assert_eq!(cluster.ask(client, "set key 0 0 1\r\n2"), Some(Response::Stored));
        if !acknowledged {
            return;
        }
        cluster.crash(other);
        cluster.run_for(Duration::from_millis(300));
        cluster.ask(leader, "touch key 0");
        cluster.run_for(seconds(2));
        match cluster.ask(client, "get key") {
            Some(Response::Values { values, .. }) => assert_eq!(values[0].1.value, "2", "an overwritten set is back"),
            answer => panic!("{answer:?}"),
        }
    });
}

#[test]
fn hints_alone_bring_a_home_what_it_missed() {
    for_seeds(10, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        let lonely = (seed % 3) as usize;
        let others = all_but(lonely);
        cluster.network.split(&[lonely], &others);
        cluster.run_for(seconds(1));
        for key in 0..40 {
            let line = format!("set key-{key} 0 0 3\r\n{key:03}");
            assert_eq!(cluster.ask(others[key % 2], &line), Some(Response::Stored), "key {key}");
        }
        cluster.run_for(seconds(2));
        cluster.network.heal();
        cluster.run_for(seconds(15));
        // Nobody has read anything: what it holds came by itself.
        let items = |cluster: &mut Cluster, node: usize| match cluster.ask(node, "stats") {
            Some(Response::Stats(lines)) => {
                lines.iter().find(|(name, _)| name == "curr_items").map(|(_, value)| value.clone()).unwrap_or_default()
            }
            answer => panic!("stats: {answer:?}"),
        };
        assert_eq!(items(&mut cluster, lonely), items(&mut cluster, others[0]));
        assert_eq!(items(&mut cluster, lonely), "40");
        assert!(ALL.iter().all(|node| cluster.operations(*node) == 0), "an operation was never forgotten");
    });
}

#[test]
fn a_hint_whose_value_has_gone_hides_no_copy() {
    for_seeds(10, |seed| {
        let options = ClusterOptions { nodes: 5, expect: Some(5), ..ClusterOptions::default() };
        let mut cluster = Cluster::started(options, seed);
        let (behind, leaver) = ((seed % 5) as usize, (seed as usize + 1) % 5);
        let others: Vec<usize> = (0..5).filter(|node| *node != leaver).collect();
        let all_but_one: Vec<usize> = (0..5).filter(|node| *node != behind).collect();
        cluster.network.split(&[behind], &all_but_one);
        cluster.run_for(seconds(1));
        for key in 0..60 {
            let line = format!("set key-{key} 0 0 3\r\n{key:03}");
            assert_eq!(cluster.ask((behind + 1 + key % 4) % 5, &line), Some(Response::Stored), "key {key}");
        }
        // Who leaves reaches the one that is behind only when it is out, and has hints for it, and no values any more.
        cluster.network.heal();
        cluster.network.split(&[behind], &[leaver]);
        cluster.drain(leaver);
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&others)), "the ring still has five members");
        cluster.network.heal();
        cluster.run_for(seconds(5));
        for node in others {
            assert_eq!(count_keys(&mut cluster, node, 60), 60, "through node {node}");
        }
    });
}

#[test]
fn what_a_leaver_held_outlives_a_crash_after_it_left() {
    for_seeds(10, |seed| {
        let options = ClusterOptions { hint_memory_bytes: 0, ..ClusterOptions::default() };
        let mut cluster = Cluster::started(options, seed);
        let (behind, leaver, steady) = ((seed % 3) as usize, (seed as usize + 1) % 3, (seed as usize + 2) % 3);
        cluster.network.split(&[behind], &[leaver, steady]);
        cluster.run_for(seconds(1));
        for key in 0..60 {
            let line = format!("set key-{key} 0 0 3\r\n{key:03}");
            assert_eq!(cluster.ask([leaver, steady][key % 2], &line), Some(Response::Stored), "key {key}");
        }
        cluster.network.heal();
        assert!(cluster.run_until(seconds(30), |cluster| cluster.is_whole(&ALL)), "not whole after the heal");
        cluster.drain(leaver);
        let rest = [behind, steady];
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&rest)), "the ring still has three members");
        cluster.crash(leaver);
        cluster.crash(steady);
        cluster.run_for(seconds(1));
        cluster.start(steady);
        assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&rest)), "not whole again");
        for node in rest {
            assert_eq!(count_keys(&mut cluster, node, 60), 60, "through node {node}");
        }
    });
}

#[test]
fn a_leaver_that_dies_on_its_way_out_holds_nobody_up() {
    for_seeds(10, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        write_keys(&mut cluster, 60);
        let (leaver, rest) = ((seed % 3) as usize, [(seed as usize + 1) % 3, (seed as usize + 2) % 3]);
        let epoch = |cluster: &Cluster, node| cluster.view(node).map(|view| view.epoch);
        let before = epoch(&cluster, leaver);
        let given_up = rest.map(|node| cluster.stat(node, "partitions_refounded"));
        cluster.drain(leaver);
        let leaving = |cluster: &Cluster| rest.iter().all(|node| epoch(cluster, *node) > before);
        assert!(cluster.run_until(seconds(10), leaving), "nobody has heard that it leaves");
        cluster.crash(leaver);
        assert!(cluster.run_until(seconds(10), |cluster| cluster.is_whole(&rest)), "the ring still has three members");
        for node in rest {
            assert_eq!(count_keys(&mut cluster, node, 60), 60, "through node {node}");
        }
        assert_eq!(
            rest.map(|node| cluster.stat(node, "partitions_refounded")),
            given_up,
            "complete copies are given up"
        );
    });
}

fn store(value: &'static [u8]) -> Command<'static> {
    Command::Store { verb: StoreVerb::Set, key: b"key", flags: 0, exptime: 0, value, quiet: false }
}

/// Sends one reader's `mg` and returns what it was told.
fn meta_get(cluster: &mut Cluster, node: usize, line: &str) -> Option<MetaAnswer> {
    cluster.ask(node, line).and_then(|response| MetaAnswer::read(&response))
}

#[test]
fn a_reader_that_asks_alone_is_never_told_to_wait_for_another() {
    for_seeds(40, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        for round in 0..12 {
            let (reader, deaf_to) = (round % 3, (round + 1 + round / 3 % 2) % 3);
            let key = format!("key-{round}");
            assert_eq!(cluster.ask(reader, &format!("set {key} 0 0 1\r\nv")), Some(Response::Stored));
            let stale = meta_get(&mut cluster, reader, &format!("md {key} I"));
            assert_eq!(stale.map(|answer| answer.code).as_deref(), Some("HD"));
            // Where that node is serializer, the lease is given and spread, and only the answer is lost.
            cluster.network.cut(deaf_to, reader);
            if let Some(answer) = meta_get(&mut cluster, reader, &format!("mg {key} v")) {
                assert!(answer.won && answer.stale && !answer.lost, "round {round}: {answer:?}");
            }
            cluster.network.heal();
            assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&ALL)));
        }
    });
}

#[test]
fn a_gat_takes_no_lease_from_those_who_can_be_told() {
    let mut cluster = Cluster::started(ClusterOptions::default(), 1);
    assert_eq!(cluster.ask(0, "set key 0 0 1\r\nv"), Some(Response::Stored));
    assert!(meta_get(&mut cluster, 1, "md key I").is_some());
    assert!(matches!(cluster.ask(2, "gat 100 key"), Some(Response::Values { values, .. }) if values.len() == 1));
    for (node, won) in [(0, true), (1, false), (2, false)] {
        let answer = meta_get(&mut cluster, node, "mg key v t").expect("an answer");
        assert_eq!((answer.won, answer.lost, answer.stale), (won, !won, true), "node {node}");
    }
}

/// What a client gets.
fn sent(response: Option<Response>) -> BytesMut {
    let mut bytes = BytesMut::new();
    response.expect("an answer").encode(&mut bytes);
    bytes
}

#[test]
fn commands_that_come_together_ask_each_peer_once_and_are_answered_as_if_they_came_alone() {
    for_seeds(20, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        write_keys(&mut cluster, 40);
        let many: String = (0..40).map(|key| format!(" key-{key}")).collect();
        let mut lines: Vec<String> = (0..40).map(|key| format!("get key-{key}")).collect();
        lines.extend([format!("get{many}"), "get none".to_owned(), "mg key-1 v".to_owned()]);
        let before = cluster.read_messages();
        assert!(cluster.request_together(0, 0, &lines));
        assert!(cluster.read_messages() - before <= 2, "one message for each of two peers");
        cluster.run_for(seconds(1));
        let mut answers = cluster.take_answers();
        answers.sort_by_key(|answer| answer.operation);
        assert_eq!(answers.len(), lines.len());
        for (answer, line) in answers.into_iter().zip(&lines) {
            assert_eq!(sent(Some(answer.response)), sent(cluster.ask(0, line)), "{line}");
        }
        // One of the peers dies with all questions: each goes to the other.
        cluster.crash(1 + (seed % 2) as usize);
        assert!(cluster.request_together(0, 0, &lines));
        cluster.run_for(seconds(2));
        let mut answers = cluster.take_answers();
        answers.sort_by_key(|answer| answer.operation);
        assert_eq!(answers.len(), lines.len());
        for (answer, line) in answers.into_iter().zip(&lines) {
            assert_eq!(sent(Some(answer.response)), sent(cluster.ask(0, line)), "{line} with a home less");
        }
    });
}

#[test]
fn the_first_read_of_an_item_says_so_though_a_home_has_missed_it() {
    for_seeds(20, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        for number in 0..9 {
            let (behind, reader, key) = (number % 3, number / 3, format!("once-{number}"));
            for other in (0..3).filter(|node| *node != behind) {
                cluster.network.cut(other, behind);
            }
            assert_eq!(cluster.ask((behind + 1) % 3, &format!("set {key} 0 0 1\r\nx")), Some(Response::Stored));
            cluster.network.heal();
            // The home that is behind has heard a word of the others; what it missed is kept for when it is trusted.
            cluster.run_for(Duration::from_millis(150));
            let Some(Response::Meta(line, None)) = cluster.ask(reader, &format!("mg {key} h")) else { panic!("a hit") };
            assert_eq!(&line[..], b"HD h0\r\n", "{behind} is behind, {reader} reads");
            cluster.run_for(seconds(5));
        }
        let repaired = |line: &(Cow<'static, str>, String)| line.0 == "read_repairs" && line.1 != "0";
        let differed = ALL.iter().any(|node| match cluster.ask(*node, "stats") {
            Some(Response::Stats(lines)) => lines.iter().any(repaired),
            _ => false,
        });
        assert!(differed, "reads met homes that differed");
    });
}
