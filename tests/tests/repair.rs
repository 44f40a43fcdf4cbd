//! Stories of copies that differ: comparing brings them together, and nothing else happens.
//!
//! Nobody reads in them, so that no read mends anything.

use std::time::Duration;

use memring_protocol::key::Key;
use memring_protocol::text::Response;
use memring_tests::sim::network::Weather;
use memring_tests::sim::{Cluster, ClusterOptions};

const ALL: [usize; 3] = [0, 1, 2];

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The inner loop runs a few seeds; `SIM_SEEDS`, set to whatever number, asks for ten times as many.
fn for_seeds(count: u64, story: impl Fn(u64)) {
    let count = if std::env::var_os("SIM_SEEDS").is_some() { count * 10 } else { count };
    (0..count).for_each(story);
}

/// Three nodes that keep no hints: what a home misses, only comparing can tell.
fn without_hints() -> ClusterOptions {
    ClusterOptions { hint_memory_bytes: 0, ..ClusterOptions::default() }
}

fn stat(cluster: &mut Cluster, node: usize, name: &str) -> u64 {
    cluster.stat(node, name).expect("a count of a known name")
}

fn sum(cluster: &mut Cluster, name: &str) -> u64 {
    ALL.iter().map(|node| stat(cluster, *node, name)).sum()
}

fn set(cluster: &mut Cluster, node: usize, key: &str, value: &str) {
    let line = format!("set {key} 0 0 {}\r\n{value}", value.len());
    assert_eq!(cluster.ask(node, &line), Some(Response::Stored), "{key}");
}

fn value(cluster: &mut Cluster, node: usize, key: &str) -> Option<String> {
    match cluster.ask(node, &format!("get {key}")) {
        Some(Response::Values { values, .. }) => {
            values.first().map(|(_, item)| String::from_utf8_lossy(&item.value).into_owned())
        }
        answer => panic!("get {key}: {answer:?}"),
    }
}

/// A home is cut off, and misses writes, overwrites and deletes of keys that it holds.
fn miss_writes(cluster: &mut Cluster, lonely: usize) {
    for key in 0..60 {
        set(cluster, key % 3, &format!("key-{key}"), "old");
    }
    cluster.run_for(seconds(1));
    let others: Vec<usize> = ALL.into_iter().filter(|node| *node != lonely).collect();
    cluster.network.split(&[lonely], &others);
    cluster.run_for(seconds(2));
    for key in 0..60 {
        let (through, key) = (others[key % 2], format!("key-{key}"));
        match key.len() % 2 {
            0 => set(cluster, through, &key, "new"),
            _ => assert_eq!(cluster.ask(through, &format!("delete {key}")), Some(Response::Deleted), "{key}"),
        }
        set(cluster, through, &format!("more-{key}"), "new");
    }
    cluster.run_for(seconds(2));
}

#[test]
fn copies_that_differ_become_equal_within_ten_seconds_though_nobody_reads() {
    for_seeds(3, |seed| {
        let mut cluster = Cluster::started(without_hints(), seed);
        let lonely = (seed % 3) as usize;
        miss_writes(&mut cluster, lonely);
        assert!(cluster.differing(&ALL) > 50, "it has missed what was written");
        cluster.note_arrivals();
        cluster.network.heal();
        assert!(
            cluster.run_until(seconds(10), |cluster| cluster.differing(&ALL) == 0),
            "{} differ",
            cluster.differing(&ALL)
        );
        assert!(cluster.arrivals().all(|(_, _, node, count)| node == lonely && count == 1), "to whom it was missing");
        assert_eq!(sum(&mut cluster, "repairs_sent"), 120);
        assert_eq!(sum(&mut cluster, "hints_replayed"), 0);
        cluster.run_for(seconds(60));
        assert_eq!(sum(&mut cluster, "repairs_sent"), 120, "and that is all");
        assert_eq!(sum(&mut cluster, "repairs") + sum(&mut cluster, "repairs_pending"), 0);
        for key in 0..60 {
            let key = format!("key-{key}");
            let expected = (key.len() % 2 == 0).then(|| "new".to_owned());
            assert_eq!(value(&mut cluster, lonely, &key), expected, "{key}");
        }
    });
}

#[test]
fn what_hints_bring_is_not_sent_by_repair_too() {
    for_seeds(3, |seed| {
        let mut cluster = Cluster::started(ClusterOptions::default(), seed);
        let lonely = (seed % 3) as usize;
        miss_writes(&mut cluster, lonely);
        cluster.note_arrivals();
        cluster.network.heal();
        assert!(
            cluster.run_until(seconds(10), |cluster| cluster.differing(&ALL) == 0),
            "{} differ",
            cluster.differing(&ALL)
        );
        cluster.run_for(seconds(40));
        assert_eq!((sum(&mut cluster, "hints_replayed"), sum(&mut cluster, "repairs_sent")), (120, 0));
        assert!(cluster.arrivals().all(|(_, _, node, count)| node == lonely && count == 1), "each once");
    });
}

#[test]
fn both_sides_of_a_split_get_what_the_other_wrote_at_level_one() {
    for_seeds(3, |seed| {
        let mut cluster = Cluster::started(without_hints(), seed);
        let lonely = (seed % 3) as usize;
        let others: Vec<usize> = ALL.into_iter().filter(|node| *node != lonely).collect();
        for key in 0..40 {
            // Some partitions have had a serializer, which is on the other side then.
            set(&mut cluster, key % 3, &format!("strict-{key}"), "x");
            set(&mut cluster, key % 3, &format!("fast:key-{key}"), "old");
        }
        cluster.network.split(&[lonely], &others);
        cluster.run_for(seconds(2));
        for key in 0..40 {
            set(&mut cluster, others[key % 2], &format!("strict-{key}"), "y");
            set(&mut cluster, lonely, &format!("fast:key-{key}"), "here");
            set(&mut cluster, lonely, &format!("fast:here-{key}"), "here");
            set(&mut cluster, others[key % 2], &format!("fast:there-{key}"), "there");
        }
        cluster.run_for(seconds(2));
        cluster.network.heal();
        assert!(
            cluster.run_until(seconds(15), |cluster| cluster.differing(&ALL) == 0),
            "{} differ",
            cluster.differing(&ALL)
        );
        for (node, key) in (0..40).flat_map(|key| ALL.map(|node| (node, key))) {
            assert_eq!(value(&mut cluster, node, &format!("fast:key-{key}")).as_deref(), Some("here"));
            assert_eq!(value(&mut cluster, node, &format!("fast:here-{key}")).as_deref(), Some("here"));
            assert_eq!(value(&mut cluster, node, &format!("fast:there-{key}")).as_deref(), Some("there"));
        }
    });
}

#[test]
fn an_entry_older_than_the_present_term_reaches_all_homes_through_its_serializer() {
    for_seeds(3, |seed| {
        let mut cluster = Cluster::started(without_hints(), seed);
        let lonely = (seed % 3) as usize;
        let others: Vec<usize> = ALL.into_iter().filter(|node| *node != lonely).collect();
        let of = |key: &str| Key::copy_from(key.as_bytes()).expect("a key").partition();
        // Of each partition one key at level one, and one at quorum, which gives the partition its terms.
        let beside = |fast: &str| {
            let alike = (0..).map(|number| format!("strict-{number}")).find(|key| of(key) == of(fast));
            alike.expect("there are as many as one likes")
        };
        let keys: Vec<(String, String)> =
            (0..8).map(|key| format!("fast:{key}")).map(|fast| (beside(&fast), fast)).collect();
        for (strict, fast) in &keys {
            set(&mut cluster, lonely, strict, "x");
            set(&mut cluster, lonely, fast, "old");
        }
        cluster.network.split(&[lonely], &others);
        cluster.run_for(seconds(4));
        for (strict, fast) in &keys {
            set(&mut cluster, others[0], strict, "y");
            set(&mut cluster, lonely, fast, "new");
        }
        cluster.network.heal();
        assert!(
            cluster.run_until(seconds(10), |cluster| cluster.differing(&ALL) == 0),
            "{} differ",
            cluster.differing(&ALL)
        );
        for (node, (_, fast)) in ALL.into_iter().flat_map(|node| keys.iter().map(move |key| (node, key))) {
            assert_eq!(value(&mut cluster, node, fast).as_deref(), Some("new"), "{fast}");
        }
    });
}

#[test]
fn frames_that_vanish_leave_no_difference_behind() {
    for_seeds(3, |seed| {
        let mut cluster = Cluster::started(without_hints(), seed);
        cluster.network.weather = Weather { frame_loss: 0.02, ..Weather::fair() };
        for key in 0..300 {
            let line = format!("set key-{} 0 0 3\r\n{key:03}", key % 100);
            // In doubt is an answer, too.
            cluster.ask(key % 3, &line);
        }
        cluster.network.weather = Weather::fair();
        assert!(
            cluster.run_until(seconds(60), |cluster| cluster.differing(&ALL) == 0),
            "{} differ",
            cluster.differing(&ALL)
        );
    });
}

#[test]
fn a_deleted_key_does_not_return_from_a_home_that_missed_the_delete() {
    for_seeds(3, |seed| {
        let mut cluster = Cluster::started(without_hints(), seed);
        let lonely = (seed % 3) as usize;
        let others: Vec<usize> = ALL.into_iter().filter(|node| *node != lonely).collect();
        for key in 0..40 {
            set(&mut cluster, key % 3, &format!("key-{key}"), "x");
        }
        // Long enough that all copies were compared, and what is there was agreed upon.
        cluster.run_for(seconds(40));
        cluster.network.split(&[lonely], &others);
        cluster.run_for(seconds(2));
        for key in 0..40 {
            assert_eq!(cluster.ask(others[key % 2], &format!("delete key-{key}")), Some(Response::Deleted));
        }
        cluster.network.heal();
        cluster.run_for(seconds(10));
        assert_eq!(cluster.differing(&ALL), 0);
        for other in &others {
            cluster.crash(*other);
            cluster.start(*other);
            assert!(cluster.run_until(seconds(60), |cluster| cluster.is_whole(&ALL)), "not whole again");
        }
        for (node, key) in (0..40).flat_map(|key| ALL.map(|node| (node, key))) {
            assert_eq!(value(&mut cluster, node, &format!("key-{key}")), None, "key-{key} through node {node}");
        }
    });
}

#[test]
fn while_copies_evict_nothing_travels_twice_and_comparing_settles() {
    for_seeds(2, |seed| {
        let options = ClusterOptions { memory_limit_bytes: 1 << 20, ..without_hints() };
        let mut cluster = Cluster::started(options, seed);
        cluster.note_arrivals();
        let long = "v".repeat(900);
        for round in 0..12 {
            let lonely = round % 3;
            let others: Vec<usize> = ALL.into_iter().filter(|node| *node != lonely).collect();
            for key in 0..300 {
                set(&mut cluster, key % 3, &format!("fast:{round}-{key}"), &long);
                // What is read stays longer: at level one, so here only.
                cluster.ask(key % 3, &format!("get fast:{round}-{}", key / 2));
                cluster.ask(key % 3, &format!("get fast:{round}-{}", key / 2));
            }
            cluster.network.split(&[lonely], &others);
            cluster.run_for(seconds(2));
            for key in 0..50 {
                set(&mut cluster, others[key % 2], &format!("missed-{round}-{key}"), &long);
            }
            cluster.network.heal();
            cluster.run_for(seconds(10));
        }
        let evicted = sum(&mut cluster, "evictions");
        assert!(evicted > 5_000, "{evicted} evictions");
        cluster.run_for(seconds(70));
        assert!(cluster.differing(&ALL) > 10, "copies differ by what they have evicted");
        let (sent, pending) = (sum(&mut cluster, "repairs_sent"), sum(&mut cluster, "repairs_pending"));
        let compared = sum(&mut cluster, "partitions_differing");
        cluster.run_for(seconds(120));
        assert_eq!((sum(&mut cluster, "repairs_sent"), pending), (sent, 0), "still sending");
        assert_eq!(sum(&mut cluster, "partitions_differing"), compared, "still listing what has not changed");
        assert!(sent > 300, "{sent} sent of the 600 that were missed");
        let twice = cluster.arrivals().filter(|(.., count)| *count > 1).count();
        assert_eq!(twice, 0, "travelled twice");
        println!("seed {seed}: {evicted} evicted, {sent} of 600 sent, {} differ", cluster.differing(&ALL));
    });
}

/// Items of the large story, their size, and how many of them differ.
const MANY: usize = 1_000_000;
const VALUE_BYTES: usize = 1024;
const DIFFERING: usize = MANY / 100;

/// `make repair`: two million entries in two stores of 2 GB take a few minutes.
#[test]
#[ignore = "takes gigabytes and minutes: make repair"]
fn a_million_items_that_differ_in_a_hundredth_become_equal_for_less_than_thrice_their_bytes() {
    let options =
        ClusterOptions { nodes: 2, replicas: 2, expect: Some(2), memory_limit_bytes: 2 << 30, ..without_hints() };
    let mut cluster = Cluster::started(options, 1);
    let store = |cluster: &mut Cluster, node: usize, key: usize, letter: char| {
        let line = format!("set item-{key} 0 0 {VALUE_BYTES}\r\n{}", letter.to_string().repeat(VALUE_BYTES));
        assert!(cluster.request_line(node, key as u64, &line));
        if key % 256 == 255 {
            cluster.run_for(Duration::from_millis(2));
            assert!(cluster.take_answers().iter().all(|answer| answer.response == Response::Stored));
        }
    };
    (0..MANY).for_each(|key| store(&mut cluster, key % 2, key, 'a'));
    cluster.run_for(seconds(60));
    assert_eq!((cluster.differing(&[0, 1]), stat(&mut cluster, 0, "curr_items")), (0, MANY as u64));
    assert_eq!(stat(&mut cluster, 0, "evictions") + stat(&mut cluster, 1, "evictions"), 0);

    cluster.network.split(&[0], &[1]);
    cluster.run_for(seconds(2));
    // Every hundredth is overwritten, on one side or the other.
    for number in 0..DIFFERING {
        store(&mut cluster, number % 2, number * (MANY / DIFFERING), 'b');
        if number % 256 == 0 {
            cluster.run_for(Duration::from_millis(2));
        }
    }
    cluster.run_for(seconds(2));
    let differ = cluster.differing(&[0, 1]);
    let (before, healed) = (cluster.sent_bytes(), cluster.now_us());
    cluster.network.heal();
    assert!(
        cluster.run_until(seconds(120), |cluster| cluster.differing(&[0, 1]) == 0),
        "{} partitions differ",
        cluster.differing(&[0, 1])
    );
    let (sent, took_ms) = (cluster.sent_bytes() - before, (cluster.now_us() - healed) / 1000);
    let entries = stat(&mut cluster, 0, "repairs_sent") + stat(&mut cluster, 1, "repairs_sent");
    let differing = (DIFFERING * VALUE_BYTES) as u64;
    println!("{MANY} items of {VALUE_BYTES} bytes, {DIFFERING} of them differ, in {differ} partitions");
    println!("equal {took_ms} ms after the heal, {entries} entries sent");
    println!("{sent} bytes of frames for {differing} bytes that differ: {:.2} times", sent as f64 / differing as f64);
    assert_eq!(entries, DIFFERING as u64, "each was sent once");
    assert!(sent <= 3 * differing);
}
