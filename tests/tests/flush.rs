//! What is flushed stays flushed: on nodes that were dead, cut off, paused or not there yet when it happened.

use std::time::Duration;

use memring_protocol::text::Response;
use memring_tests::sim::{Cluster, ClusterOptions};

const ALL: [usize; 3] = [0, 1, 2];

const KEYS: usize = 40;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The inner loop runs a fifth of the seeds; `SIM_SEEDS`, set to whatever number, asks for all of them.
fn seeds(count: u64) -> std::ops::Range<u64> {
    0..if std::env::var_os("SIM_SEEDS").is_some() { count } else { count.div_ceil(5) }
}

fn others(node: usize) -> [usize; 2] {
    [(node + 1) % 3, (node + 2) % 3]
}

fn write_keys(cluster: &mut Cluster, nodes: &[usize], prefix: &str) {
    for key in 0..KEYS {
        let line = format!("set {prefix}-{key} 0 0 1\r\nv");
        assert_eq!(cluster.ask(nodes[key % nodes.len()], &line), Some(Response::Stored), "{prefix}-{key}");
    }
}

/// How many of the keys a node answers with a value; what it cannot answer is none.
fn found(cluster: &mut Cluster, node: usize, prefix: &str) -> usize {
    let is_found = |cluster: &mut Cluster, key: usize| {
        let answer = cluster.ask(node, &format!("get {prefix}-{key}"));
        matches!(answer, Some(Response::Values { values, .. }) if !values.is_empty())
    };
    (0..KEYS).filter(|key| is_found(cluster, *key)).count()
}

/// What was flushed is gone through every node, however often it is asked for; what came later is there.
fn assert_flushed(cluster: &mut Cluster, nodes: &[usize], after: &str) {
    for round in 0..3 {
        for node in nodes {
            assert_eq!(found(cluster, *node, "old"), 0, "round {round}: flushed items are back through node {node}");
        }
        cluster.run_for(Duration::from_millis(400));
    }
    if !after.is_empty() {
        for node in nodes {
            assert_eq!(found(cluster, *node, after), KEYS, "what was written after the flush, through node {node}");
        }
    }
}

fn make_whole(cluster: &mut Cluster, nodes: &[usize]) {
    assert!(cluster.run_until(seconds(90), |cluster| cluster.is_whole(nodes)), "not whole again");
}

/// When the node has heard of a flush up to the same stamp as another.
fn agree(cluster: &Cluster, one: usize, other: usize) -> bool {
    match (cluster.shared(one), cluster.shared(other)) {
        (Some(one), Some(other)) => one.flush() == other.flush(),
        _ => false,
    }
}

fn stat(cluster: &mut Cluster, node: usize, name: &str) -> u64 {
    let Some(Response::Stats(lines)) = cluster.ask(node, "stats") else { panic!("no stats") };
    lines.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.parse().ok()).expect("a count")
}

#[test]
fn a_flush_reaches_a_dead_node_when_it_returns() {
    for seed in seeds(20) {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        write_keys(&mut cluster, &ALL, "old");
        let victim = (seed % 3) as usize;
        let alive = others(victim);
        cluster.crash(victim);
        cluster.run_for(Duration::from_millis(seed * 613 % 9000));
        assert_eq!(cluster.ask(alive[0], "flush_all"), Some(Response::Ok));
        write_keys(&mut cluster, &alive, "new");
        cluster.start(victim);
        // While it recovers, too.
        assert_flushed(&mut cluster, &alive, "");
        make_whole(&mut cluster, &ALL);
        assert!(agree(&cluster, victim, alive[0]));
        assert_flushed(&mut cluster, &ALL, "new");
        // Those who were told by the client go: the others know it from each other alone.
        cluster.crash(alive[0]);
        cluster.run_for(seconds(1));
        assert_flushed(&mut cluster, &[victim, alive[1]], "new");
    }
}

#[test]
fn a_flush_reaches_a_node_that_was_cut_off_before_it_answers_anything() {
    for seed in seeds(30) {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        write_keys(&mut cluster, &ALL, "old");
        let lonely = (seed % 3) as usize;
        let alive = others(lonely);
        cluster.network.split(&[lonely], &alive);
        cluster.run_for(Duration::from_millis(600 + seed * 977 % 9000));
        assert_eq!(cluster.ask(alive[1], "flush_all"), Some(Response::Ok));
        write_keys(&mut cluster, &alive, "new");
        cluster.run_for(Duration::from_millis(seed * 331 % 2000));
        cluster.network.heal();
        // At once: nobody has had the time to tell it anything.
        for step in 0..60 {
            let key = format!("old-{}", step % KEYS);
            match cluster.ask(step % 3, &format!("get {key}")) {
                Some(Response::Values { values, .. }) => assert!(values.is_empty(), "{key} through node {}", step % 3),
                Some(Response::ServerError(_)) => {}
                answer => panic!("{answer:?}"),
            }
        }
        make_whole(&mut cluster, &ALL);
        assert!(agree(&cluster, lonely, alive[0]));
        assert_flushed(&mut cluster, &ALL, "new");
    }
}

#[test]
fn a_counter_that_was_flushed_is_not_counted_on_by_a_node_that_was_cut_off() {
    for seed in seeds(30) {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        let lonely = (seed % 3) as usize;
        // Led by the node that will not hear of the flush, for it writes first.
        for key in 0..KEYS {
            assert_eq!(cluster.ask(lonely, &format!("set count-{key} 0 0 1\r\n5")), Some(Response::Stored));
        }
        cluster.network.split(&[lonely], &others(lonely));
        cluster.run_for(seconds(1));
        assert_eq!(cluster.ask(others(lonely)[0], "flush_all"), Some(Response::Ok));
        cluster.network.heal();
        for key in 0..KEYS {
            match cluster.ask(key % 3, &format!("incr count-{key} 1")) {
                Some(Response::NotFound | Response::ServerError(_)) => {}
                answer => panic!("count-{key} through node {}: {answer:?}", key % 3),
            }
        }
    }
}

#[test]
fn a_counter_that_was_flushed_is_not_counted_on_by_a_node_whose_link_was_reset() {
    for seed in seeds(30) {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        let lonely = (seed % 3) as usize;
        let teller = others(lonely)[0];
        for key in 0..KEYS {
            assert_eq!(cluster.ask(lonely, &format!("set count-{key} 0 0 1\r\n5")), Some(Response::Stored));
        }
        // What the teller sends it is refused, not only lost; but it is in touch with the third.
        cluster.network.split(&[teller], &[lonely]);
        assert!(cluster.request_line(teller, 0, "flush_all"));
        let answers = loop {
            cluster.run_for(Duration::from_millis(2));
            cluster.reset_links(teller, lonely);
            match cluster.take_answers() {
                answers if answers.is_empty() => {}
                answers => break answers,
            }
        };
        assert_eq!(answers[0].response, Response::Ok);
        for key in 0..KEYS {
            match cluster.ask(lonely, &format!("incr count-{key} 1")) {
                Some(Response::NotFound | Response::ServerError(_)) => {}
                answer => panic!("count-{key} through node {lonely}: {answer:?}"),
            }
        }
    }
}

#[test]
fn a_flush_spreads_from_node_to_node_without_any_client() {
    for seed in seeds(15) {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        write_keys(&mut cluster, &ALL, "old");
        let (teller, missed) = ((seed % 3) as usize, (seed as usize + 1) % 3);
        let between = 3 - teller - missed;
        // Only the one that is asked to flush cannot reach it.
        cluster.network.split(&[teller], &[missed]);
        assert_eq!(cluster.ask(teller, "flush_all"), Some(Response::Ok));
        assert!(cluster.run_until(seconds(1), |cluster| agree(cluster, missed, between)), "not told within a second");
        assert_flushed(&mut cluster, &[missed, between], "");
    }
}

#[test]
fn a_flush_reaches_a_node_that_joins_later() {
    for seed in seeds(10) {
        let options = ClusterOptions { nodes: 4, ..ClusterOptions::default() };
        let mut cluster = Cluster::new(options, seed);
        ALL.iter().for_each(|node| cluster.start(*node));
        make_whole(&mut cluster, &ALL);
        write_keys(&mut cluster, &ALL, "old");
        if seed.is_multiple_of(2) {
            cluster.start(3);
            cluster.run_for(Duration::from_millis(seed * 211 % 1500));
        }
        assert_eq!(cluster.ask(0, "flush_all"), Some(Response::Ok));
        write_keys(&mut cluster, &ALL, "new");
        if seed % 2 == 1 {
            cluster.start(3);
        }
        make_whole(&mut cluster, &[0, 1, 2, 3]);
        assert!(agree(&cluster, 3, 0));
        assert_flushed(&mut cluster, &[0, 1, 2, 3], "new");
    }
}

#[test]
fn hints_from_before_a_flush_bring_nothing_back() {
    for seed in seeds(10) {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        let lonely = (seed % 3) as usize;
        cluster.network.split(&[lonely], &others(lonely));
        cluster.run_for(seconds(1));
        write_keys(&mut cluster, &others(lonely), "old");
        assert_eq!(cluster.ask(lonely, "set fast:old 0 0 1\r\nv"), Some(Response::Stored), "at level one");
        cluster.run_for(seconds(8));
        assert_eq!(cluster.ask(others(lonely)[0], "flush_all"), Some(Response::Ok));
        cluster.network.heal();
        make_whole(&mut cluster, &ALL);
        cluster.run_for(seconds(10));
        assert_flushed(&mut cluster, &ALL, "");
    }
}

#[test]
fn a_delayed_flush_happens_on_nodes_that_were_away_when_it_was_asked_for_or_when_it_was_due() {
    for seed in seeds(24) {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        let away = (seed % 3) as usize;
        let (cut, away_when_asked) = (seed.is_multiple_of(2), (seed / 2).is_multiple_of(2));
        let leave = |cluster: &mut Cluster| {
            if cut {
                cluster.network.split(&[away], &others(away))
            } else {
                cluster.crash(away)
            }
            cluster.run_for(seconds(1));
        };
        let come_back = |cluster: &mut Cluster| if cut { cluster.network.heal() } else { cluster.start(away) };
        write_keys(&mut cluster, &ALL, "old");
        if away_when_asked {
            leave(&mut cluster);
        }
        assert_eq!(cluster.ask(others(away)[0], "flush_all 20"), Some(Response::Ok));
        if away_when_asked {
            come_back(&mut cluster);
            make_whole(&mut cluster, &ALL);
            assert_eq!(found(&mut cluster, others(away)[1], "old"), KEYS, "flushed before its time");
        } else {
            leave(&mut cluster);
        }
        cluster.run_for(seconds(22));
        write_keys(&mut cluster, &others(away), "new");
        if !away_when_asked {
            come_back(&mut cluster);
        }
        assert_flushed(&mut cluster, &others(away), "");
        make_whole(&mut cluster, &ALL);
        assert_flushed(&mut cluster, &ALL, "new");
    }
}

#[test]
fn a_delayed_flush_that_was_replaced_while_a_node_was_away_never_happens() {
    for seed in seeds(10) {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        let away = (seed % 3) as usize;
        assert_eq!(cluster.ask(0, "flush_all 30"), Some(Response::Ok));
        cluster.run_for(seconds(1));
        cluster.network.split(&[away], &others(away));
        cluster.run_for(seconds(1));
        let replacement = if seed.is_multiple_of(2) { "flush_all" } else { "flush_all 5" };
        assert_eq!(cluster.ask(others(away)[1], replacement), Some(Response::Ok));
        cluster.run_for(seconds(6));
        write_keys(&mut cluster, &others(away), "new");
        cluster.network.heal();
        make_whole(&mut cluster, &ALL);
        cluster.run_for(seconds(40));
        for node in ALL {
            assert_eq!(found(&mut cluster, node, "new"), KEYS, "the flush that was replaced has happened");
        }
    }
}

#[test]
fn a_flush_that_misses_a_majority_of_some_homes_says_so_and_reaches_them_later() {
    for seed in seeds(10) {
        let mut cluster =
            Cluster::started(ClusterOptions { nodes: 5, expect: Some(5), ..ClusterOptions::default() }, seed);
        write_keys(&mut cluster, &[0, 1, 2, 3, 4], "old");
        cluster.network.split(&[0, 1], &[2, 3, 4]);
        cluster.run_for(Duration::from_millis(600 + seed * 1999 % 8000));
        let refused = |answer: Option<Response>, start: &str| match answer {
            Some(Response::ServerError(text)) => assert!(text.starts_with(start), "{text}"),
            answer => panic!("{answer:?}"),
        };
        refused(cluster.ask(0, "flush_all"), "quorum not reached (2 of 3)");
        let flushed_nothing = found(&mut cluster, 3, "old");
        assert!(flushed_nothing > 0, "a minority has flushed");
        refused(cluster.ask(3, "flush_all"), "flushed on 3 of 5 nodes");
        cluster.network.heal();
        make_whole(&mut cluster, &[0, 1, 2, 3, 4]);
        cluster.run_for(seconds(1));
        assert_flushed(&mut cluster, &[0, 1, 2, 3, 4], "");
        assert_eq!(cluster.ask(1, "flush_all"), Some(Response::Ok));
    }
}

#[test]
fn a_paced_flush_takes_its_time_and_survives_restarts_of_every_node() {
    for seed in seeds(10) {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        write_keys(&mut cluster, &ALL, "old");
        assert_eq!(cluster.ask((seed % 3) as usize, "flush_over 120"), Some(Response::Ok));
        write_keys(&mut cluster, &ALL, "new");
        let refusal = Response::ServerError("a paced flush goes on already".to_owned());
        assert_eq!(cluster.ask((seed as usize + 1) % 3, "flush_over 10"), Some(refusal));
        let (mut left, began) = (KEYS, cluster.now_us());
        for victim in ALL {
            cluster.crash(victim);
            cluster.run_for(seconds(8));
            cluster.start(victim);
            make_whole(&mut cluster, &ALL);
            cluster.run_for(seconds(5));
            for node in ALL {
                let now = found(&mut cluster, node, "old");
                assert!(now <= left, "flushed items are back: {left}, then {now} through node {node}");
                left = now;
                let done = stat(&mut cluster, node, "flush_over_partitions");
                let due = 16_384 * (cluster.now_us() - began) / 120_000_000;
                assert!(
                    done.abs_diff(due) < 200,
                    "{done} partitions of {due} after {} s",
                    (cluster.now_us() - began) / 1_000_000
                );
                assert_eq!(stat(&mut cluster, node, "flush_over_left"), 16_384 - done);
            }
            assert!(left > 0 && left < KEYS, "{left} are left");
        }
        cluster.run_for(seconds(120));
        assert_flushed(&mut cluster, &ALL, "new");
        assert_eq!(
            (stat(&mut cluster, 0, "flush_over_partitions"), stat(&mut cluster, 0, "flush_over_left")),
            (16_384, 0)
        );
        assert_eq!(cluster.ask(1, "flush_over 10"), Some(Response::Ok), "the next one may begin");
    }
}

#[test]
fn flush_all_takes_the_place_of_a_paced_flush() {
    for seed in seeds(10) {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        write_keys(&mut cluster, &ALL, "old");
        assert_eq!(cluster.ask(0, "flush_over 600"), Some(Response::Ok));
        cluster.run_for(seconds(60));
        let away = (seed % 3) as usize;
        cluster.network.split(&[away], &others(away));
        cluster.run_for(seconds(1));
        assert_eq!(cluster.ask(others(away)[0], "flush_all"), Some(Response::Ok));
        assert_eq!(stat(&mut cluster, others(away)[0], "flush_over_left"), 0);
        write_keys(&mut cluster, &others(away), "new");
        cluster.network.heal();
        make_whole(&mut cluster, &ALL);
        assert_flushed(&mut cluster, &ALL, "new");
        cluster.run_for(seconds(600));
        assert_flushed(&mut cluster, &ALL, "new");
    }
}

#[test]
fn a_paced_flush_needs_a_majority_and_goes_on_where_it_was_not_heard_of() {
    for seed in seeds(10) {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        write_keys(&mut cluster, &ALL, "old");
        let lonely = (seed % 3) as usize;
        cluster.network.split(&[lonely], &others(lonely));
        cluster.run_for(Duration::from_millis(600 + seed * 977 % 9000));
        let refusal = Response::ServerError("quorum not reached (1 of 2)".to_owned());
        assert_eq!(cluster.ask(lonely, "flush_over 10"), Some(refusal));
        assert_eq!(cluster.ask(others(lonely)[0], "flush_over 20"), Some(Response::Ok));
        cluster.run_for(seconds(8));
        let before = found(&mut cluster, others(lonely)[0], "old");
        assert!(before > 0 && before < KEYS, "{before} are left");
        cluster.network.heal();
        assert!(found(&mut cluster, lonely, "old") <= before, "the node that was cut off knows more than the others");
        make_whole(&mut cluster, &ALL);
        cluster.run_for(seconds(20));
        assert_flushed(&mut cluster, &ALL, "");
    }
}
