//! Levels as clients meet them: which are refused, which are unmet, who counts it, and where they are shown.

use std::time::Duration;

use memring_engine::node::{Namespace, Settings, Unmet};
use memring_protocol::level::Level;
use memring_protocol::text::Response;
use memring_tests::sim::{Cluster, ClusterOptions};

const ALL: [usize; 3] = [0, 1, 2];

const TOO_HIGH: &str = "CLIENT_ERROR level above the number of replicas";

/// What a client would read; `None` without an answer.
fn text(response: Option<Response>) -> String {
    let mut bytes = bytes::BytesMut::new();
    response.expect("an answer").encode(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).trim_end().replace("\r\n", "|");
    // How many are known to hold it when it is given up depends on who answers first.
    text.replace("(1 of 3)", "(some of 3)").replace("(2 of 3)", "(some of 3)")
}

fn ask(cluster: &mut Cluster, node: usize, line: &str) -> String {
    text(cluster.ask(node, line))
}

fn count(cluster: &mut Cluster, node: usize, name: &str) -> u64 {
    stat(cluster, node, "stats", name).parse().expect("a number")
}

fn stat(cluster: &mut Cluster, node: usize, command: &str, name: &str) -> String {
    let Some(Response::Stats(lines)) = cluster.ask(node, command) else { panic!("no stats") };
    lines.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_else(|| panic!("no {name}"))
}

/// Three nodes of which the last is dead, and known to be.
fn with_one_dead(adjust: fn(&mut Settings), seed: u64) -> Cluster {
    let mut cluster = Cluster::started(ClusterOptions { adjust, ..ClusterOptions::default() }, seed);
    cluster.crash(2);
    cluster.run_for(Duration::from_secs(8));
    cluster
}

fn told_misses(settings: &mut Settings) {
    settings.unmet = Unmet::Miss;
}

fn told_levels(settings: &mut Settings) {
    let namespace = |prefix: &[u8], read, write| Namespace { prefix: prefix.to_vec(), read, write };
    settings.unmet = Unmet::Miss;
    settings.namespaces = vec![
        namespace(b"every:", Some(Level::All), Some(Level::All)),
        namespace(b"every:but:", Some(Level::One), None),
    ];
}

fn told_all(settings: &mut Settings) {
    (settings.read, settings.write) = (Some(Level::All), Some(Level::All));
}

#[test]
fn a_level_above_the_copies_there_can_be_is_a_client_error_and_does_nothing() {
    for seed in 0..3 {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        for (line, answer) in [
            ("ms key 1 L3\r\nv", "HD"),
            ("ms key 1 L4\r\nw", TOO_HIGH),
            ("mg key v L3", "VA 1|v"),
            ("mg key v L4", TOO_HIGH),
            ("mg key v L255", TOO_HIGH),
            ("md key L4", TOO_HIGH),
            ("ma key L4", TOO_HIGH),
            ("mg key v Lone", "VA 1|v"),
            ("mg key v Lquorum", "VA 1|v"),
            ("mg key v Lall", "VA 1|v"),
            // memcached passes over the flag; so does memring over what is no level.
            ("mg key v Lmost", "VA 1|v"),
            ("mg key v L0", "VA 1|v"),
            ("mg key v L256", "VA 1|v"),
        ] {
            for node in ALL {
                assert_eq!(ask(&mut cluster, node, line), answer, "{line:?} through node {node}");
            }
        }
        for node in ALL {
            assert_eq!((count(&mut cluster, node, "reads_unmet"), count(&mut cluster, node, "writes_unmet")), (0, 0));
        }
    }
}

#[test]
fn a_level_above_the_live_copies_is_a_server_error_for_writes_and_a_miss_or_an_error_for_reads() {
    for (adjust, unmet_get, unmet_mg) in [
        (told_misses as fn(&mut Settings), "END", "EN"),
        (|_| {}, "SERVER_ERROR quorum not reached", "SERVER_ERROR quorum not reached"),
    ] {
        let mut cluster = with_one_dead(adjust, 7);
        for node in [0, 1] {
            for (line, answer) in [
                ("set key 0 0 1\r\nv", "STORED"),
                ("ms key 1 L2\r\nv", "HD"),
                ("mg key v Lall", unmet_mg),
                ("mg key v L3", unmet_mg),
                ("mg key v L2", "VA 1|v"),
                ("get key", "VALUE key 0 1|v|END"),
                ("ms other 1 Lall\r\nv", "SERVER_ERROR quorum not reached (some of 3)"),
                ("ms other 1 L3\r\nv", "SERVER_ERROR quorum not reached (some of 3)"),
                ("md other Lall", "SERVER_ERROR quorum not reached (some of 3)"),
                ("ma other Lall N0", "SERVER_ERROR quorum not reached (some of 3)"),
            ] {
                assert_eq!(ask(&mut cluster, node, line), answer, "{line:?} through node {node}");
            }
        }
        // Alone, a node has no quorum either.
        cluster.crash(1);
        cluster.run_for(Duration::from_secs(2));
        assert_eq!(ask(&mut cluster, 0, "get key"), unmet_get);
        assert_eq!(ask(&mut cluster, 0, "set key 0 0 1\r\nw"), "SERVER_ERROR quorum not reached (0 of 2)");
        assert_eq!(ask(&mut cluster, 0, "mg key v Lone"), "VA 1|v");
    }
}

#[test]
fn a_ring_with_fewer_nodes_than_copies_cannot_meet_a_number_above_them() {
    let mut cluster = Cluster::new(ClusterOptions { expect: Some(1), ..ClusterOptions::default() }, 3);
    cluster.start(0);
    assert!(cluster.run_until(Duration::from_secs(20), |cluster| cluster.is_whole(&[0])), "no ring of one");
    for (line, answer) in [
        ("ms key 1 L2\r\nv", "SERVER_ERROR quorum not reached (0 of 2)"),
        ("mg key v L2", "SERVER_ERROR quorum not reached"),
        ("ms key 1 L4\r\nv", TOO_HIGH),
        ("ms key 1 Lall\r\nv", "HD"),
        ("mg key v", "VA 1|v"),
    ] {
        assert_eq!(ask(&mut cluster, 0, line), answer, "{line:?}");
    }
}

#[test]
fn a_request_comes_before_its_keys_namespace_and_that_before_the_node() {
    let mut cluster = with_one_dead(told_levels, 5);
    for (line, answer) in [
        ("set plain 0 0 1\r\nv", "STORED"),
        ("set every:a 0 0 1\r\nv", "SERVER_ERROR quorum not reached (some of 3)"),
        ("ms every:a 1 Lquorum\r\nw", "HD"),
        ("get every:a", "END"),
        ("mg every:a v", "EN"),
        ("mg every:a v Lquorum", "VA 1|w"),
        // The longest prefix; what it leaves open is the node's.
        ("set every:but:a 0 0 1\r\nv", "STORED"),
        ("get every:but:a", "VALUE every:but:a 0 1|v|END"),
        // One answer for all keys of a request: what can be told is told.
        ("get every:a plain every:but:a", "VALUE plain 0 1|v|VALUE every:but:a 0 1|v|END"),
    ] {
        assert_eq!(ask(&mut cluster, 0, line), answer, "{line:?}");
    }
    let mut cluster = with_one_dead(told_all, 5);
    for (line, answer) in [
        ("set plain 0 0 1\r\nv", "SERVER_ERROR quorum not reached (some of 3)"),
        ("ms plain 1 Lquorum\r\nw", "HD"),
        ("get plain", "SERVER_ERROR quorum not reached"),
        ("mg plain v Lone", "VA 1|w"),
        ("set fast:a 0 0 1\r\nv", "STORED"),
        ("get fast:a", "VALUE fast:a 0 1|v|END"),
    ] {
        assert_eq!(ask(&mut cluster, 1, line), answer, "{line:?}");
    }
}

#[test]
fn every_command_whose_level_is_unmet_is_counted_once() {
    let mut cluster = Cluster::started(ClusterOptions::default(), 2);
    cluster.network.split(&[0], &[1, 2]);
    cluster.run_for(Duration::from_secs(10));
    for (line, reads, writes) in [
        ("get key", 1, 0),
        ("get a b c", 3, 0),
        ("gets key", 1, 0),
        ("gat 0 key", 1, 0),
        ("mg key v", 1, 0),
        ("me key", 1, 0),
        ("mg key v N0", 1, 0),
        ("set key 0 0 1\r\nv", 0, 1),
        ("add key 0 0 1\r\nv", 0, 1),
        ("replace key 0 0 1\r\nv", 0, 1),
        ("append key 0 0 1\r\nv", 0, 1),
        ("prepend key 0 0 1\r\nv", 0, 1),
        ("cas key 0 0 1 9\r\nv", 0, 1),
        ("incr key 1", 0, 1),
        ("decr key 1", 0, 1),
        ("touch key 0", 0, 1),
        ("delete key", 0, 1),
        ("ms key 1\r\nv", 0, 1),
        ("md key", 0, 1),
        ("ma key", 0, 1),
        ("get fast:key", 0, 0),
        ("set fast:key 0 0 1\r\nv", 0, 0),
    ] {
        let before = (count(&mut cluster, 0, "reads_unmet"), count(&mut cluster, 0, "writes_unmet"));
        let answer = ask(&mut cluster, 0, line);
        let unmet = answer.starts_with("SERVER_ERROR quorum not reached");
        assert_eq!(unmet, reads + writes > 0, "{line:?}: {answer}");
        let after = (count(&mut cluster, 0, "reads_unmet"), count(&mut cluster, 0, "writes_unmet"));
        assert_eq!(after, (before.0 + reads, before.1 + writes), "{line:?}");
    }
}

#[test]
fn levels_are_shown_by_stats_settings_and_by_the_view_of_the_cluster() {
    let mut cluster = Cluster::started(ClusterOptions { adjust: told_levels, ..ClusterOptions::default() }, 1);
    for (name, value) in [
        ("read_level", "quorum"),
        ("write_level", "quorum"),
        ("unmet", "miss"),
        ("sloppy", "no"),
        ("namespaces", "2"),
        ("namespace_1", "prefix=every:,read=all,write=all"),
        ("namespace_2", "prefix=every:but:,read=one,write=quorum"),
    ] {
        assert_eq!(stat(&mut cluster, 1, "stats settings", name), value, "{name}");
    }
    let view = serde_json::to_value(cluster.view(1).expect("it runs")).expect("JSON");
    let expected = serde_json::json!({
        "read": "quorum", "write": "quorum", "unmet": "miss", "sloppy": false,
        "namespaces": [
            {"prefix": "every:", "read": "all", "write": "all"},
            {"prefix": "every:but:", "read": "one", "write": "quorum"},
        ],
    });
    assert_eq!(view["levels"], expected);
}

#[test]
fn hints_count_for_sets_and_deletes_where_that_is_asked_for() {
    let adjust = |settings: &mut Settings| settings.sloppy = true;
    let mut cluster = Cluster::started(ClusterOptions { adjust, ..ClusterOptions::default() }, 7);
    assert_eq!(ask(&mut cluster, 1, "set old 0 0 1\r\no"), "STORED");
    cluster.run_for(Duration::from_secs(1));
    cluster.network.split(&[0], &[1, 2]);
    cluster.run_for(Duration::from_secs(2));
    assert_eq!(ask(&mut cluster, 0, "set key 0 0 1\r\nv"), "STORED");
    assert_eq!(ask(&mut cluster, 0, "ms all 1 Lall\r\nv"), "HD");
    assert_eq!(ask(&mut cluster, 0, "delete old"), "DELETED");
    assert!(count(&mut cluster, 0, "hints") >= 6, "two for each");
    for line in ["incr old 1", "add new 0 0 1\r\nv", "touch key 0"] {
        let answer = ask(&mut cluster, 0, line);
        assert!(answer.starts_with("SERVER_ERROR"), "{line:?}: {answer}");
    }
    assert_eq!(ask(&mut cluster, 0, "get key"), "SERVER_ERROR quorum not reached", "reads are not sloppy");
    cluster.network.heal();
    cluster.run_for(Duration::from_secs(5));
    for node in 0..3 {
        assert_eq!(ask(&mut cluster, node, "get key all old"), "VALUE key 0 1|v|VALUE all 0 1|v|END", "through {node}");
    }
}

#[test]
fn with_two_copies_the_default_is_one() {
    let options = ClusterOptions { nodes: 2, replicas: 2, expect: Some(2), ..ClusterOptions::default() };
    let mut cluster = Cluster::started(options, 4);
    assert_eq!(stat(&mut cluster, 0, "stats settings", "read_level"), "one");
    assert_eq!(stat(&mut cluster, 0, "stats settings", "write_level"), "one");
    cluster.crash(1);
    cluster.run_for(Duration::from_secs(8));
    assert_eq!(ask(&mut cluster, 0, "set key 0 0 1\r\nv"), "STORED");
    assert_eq!(ask(&mut cluster, 0, "get key"), "VALUE key 0 1|v|END");
}

#[test]
fn a_change_that_depends_on_the_old_value_needs_a_majority_at_level_one_too() {
    let mut cluster = Cluster::started(ClusterOptions::default(), 6);
    assert_eq!(ask(&mut cluster, 0, "set fast:key 0 0 1\r\n1"), "STORED");
    cluster.run_for(Duration::from_secs(1));
    cluster.network.split(&[0], &[1, 2]);
    cluster.run_for(Duration::from_secs(2));
    for line in [
        "add fast:new 0 0 1\r\nv",
        "replace fast:key 0 0 1\r\nv",
        "append fast:key 0 0 1\r\nv",
        "prepend fast:key 0 0 1\r\nv",
        "cas fast:key 0 0 1 9\r\nv",
        "incr fast:key 1",
        "decr fast:key 1",
        "touch fast:key 0",
        "gat 0 fast:key",
        "ma fast:key",
        "mg fast:key v N0",
    ] {
        let answer = ask(&mut cluster, 0, line);
        assert!(answer.starts_with("SERVER_ERROR quorum not reached"), "{line:?}: {answer}");
    }
    for (line, answer) in [
        ("get fast:key", "VALUE fast:key 0 1|1|END"),
        ("set fast:key 0 0 1\r\n2", "STORED"),
        ("get fast:key", "VALUE fast:key 0 1|2|END"),
        ("delete fast:key", "DELETED"),
        ("get fast:key", "END"),
    ] {
        assert_eq!(ask(&mut cluster, 0, line), answer, "{line:?}");
    }
}

#[test]
fn a_write_in_doubt_may_have_happened() {
    let mut cluster = with_one_dead(told_misses, 8);
    let doubt = "SERVER_ERROR quorum not reached (some of 3)";
    assert_eq!(ask(&mut cluster, 0, "ms key 1 Lall\r\nv"), doubt);
    assert_eq!(ask(&mut cluster, 1, "get key"), "VALUE key 0 1|v|END", "two copies of three");
    assert_eq!(ask(&mut cluster, 0, "ma count Lall N0 J5"), doubt);
    assert_eq!(ask(&mut cluster, 1, "incr count 1"), "6");
    assert_eq!(ask(&mut cluster, 0, "md key Lall"), doubt);
    assert_eq!(ask(&mut cluster, 1, "get key"), "END");
}

#[test]
fn what_every_copy_has_taken_is_read_from_any_one_of_them() {
    for seed in 0..5 {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        for number in 0..20 {
            assert_eq!(ask(&mut cluster, number % 3, &format!("ms key-{number} 1 Lall\r\nv")), "HD");
            // At once, and from nodes that hear nobody else.
            for node in ALL {
                assert_eq!(ask(&mut cluster, node, &format!("mg key-{number} v Lone")), "VA 1|v", "node {node}");
            }
        }
    }
}

#[test]
fn a_read_is_answered_within_two_seconds_and_a_write_within_four() {
    let mut cluster = Cluster::started(ClusterOptions::default(), 9);
    cluster.network.split(&[0], &[1, 2]);
    for (line, most_ms) in [("get key", 2000), ("mg key v", 2000), ("set key 0 0 1\r\nv", 4000), ("incr key 1", 4000)] {
        let began = cluster.now_us();
        let answer = ask(&mut cluster, 0, line);
        assert!(answer.starts_with("SERVER_ERROR quorum not reached"), "{line:?}: {answer}");
        let took_ms = (cluster.now_us() - began) / 1000;
        assert!(took_ms <= most_ms, "{line:?} took {took_ms} ms");
    }
}

#[test]
fn sets_go_on_while_a_node_dies_and_no_increment_is_done_twice() {
    for seed in 0..12 {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        assert_eq!(ask(&mut cluster, 2, "set count 0 0 1\r\n0"), "STORED");
        for operation in 0..40 {
            let node = (operation % 2) as usize;
            if operation == 20 {
                cluster.crash(2);
            }
            assert!(cluster.request_line(node, operation, "incr count 1"));
            assert!(cluster.request_line(node, 100 + operation, &format!("set key-{operation} 0 0 1\r\nv")));
            cluster.run_for(Duration::from_millis(seed % 4));
        }
        cluster.run_for(Duration::from_secs(6));
        let (mut counted, mut in_doubt) = (0, 0);
        for answer in cluster.take_answers() {
            match answer.response {
                Response::Number(_) => counted += 1,
                Response::Stored => assert!(answer.operation >= 100),
                Response::ServerError(text) => {
                    assert!(answer.operation < 100, "a set is tried again: {text}");
                    in_doubt += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(counted + in_doubt, 40, "every command is answered");
        let count: u64 = match ask(&mut cluster, 0, "incr count 0").parse() {
            Ok(count) => count,
            Err(error) => panic!("{error}"),
        };
        assert!((counted..=counted + in_doubt).contains(&count), "{counted} and {in_doubt} in doubt, but {count}");
    }
}

#[test]
fn what_is_evicted_is_a_miss_and_never_an_older_value() {
    let mut cluster = Cluster::started(ClusterOptions::default(), 4);
    for round in 1..=2 {
        for number in 0..100 {
            assert_eq!(ask(&mut cluster, number % 3, &format!("set key-{number} 0 0 1\r\n{round}")), "STORED");
        }
    }
    let value = "x".repeat(9000);
    for number in 0..900 {
        assert_eq!(ask(&mut cluster, number % 3, &format!("set big-{number} 0 0 9000\r\n{value}")), "STORED");
    }
    assert!(ALL.iter().all(|node| count(&mut cluster, *node, "evictions") > 0), "nothing was evicted");
    let mut missing = 0;
    for number in 0..100 {
        for node in ALL {
            match ask(&mut cluster, node, &format!("get key-{number}")) {
                answer if answer == "END" => missing += 1,
                answer => assert_eq!(answer, format!("VALUE key-{number} 0 1|2|END")),
            }
        }
    }
    assert!(missing > 0, "every key has survived");
}
