//! Peers that are dead, silent, slow, or now and then one of these: what clients of the other nodes notice of it.
//!
//! Must not test what the cluster knows of them: see `detection`.

use std::collections::BTreeMap;
use std::time::Duration;

use memring_protocol::text::Response;
use memring_tests::sim::network::Weather;
use memring_tests::sim::stories::for_seeds;
use memring_tests::sim::{Cluster, ClusterOptions};

const KEYS: u64 = 200;

/// Between two commands of the load, and the grain of its times.
const STEP_US: u64 = 2_000;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn options(nodes: usize) -> ClusterOptions {
    ClusterOptions { nodes, expect: Some(nodes), ..ClusterOptions::default() }
}

fn stat(cluster: &mut Cluster, node: usize, name: &str) -> u64 {
    cluster.stat(node, name).expect("a figure of a known name")
}

fn set(cluster: &mut Cluster, node: usize, key: &str) {
    assert_eq!(cluster.ask(node, &format!("set {key} 0 0 1\r\n1")), Some(Response::Stored), "{key}");
}

/// Asks one thing, and says how long the answer took.
fn timed(cluster: &mut Cluster, node: usize, line: &str) -> (Option<Response>, Duration) {
    let begun_us = cluster.now_us();
    let answer = cluster.ask(node, line);
    (answer, Duration::from_micros(cluster.now_us() - begun_us))
}

/// Clients that never wait for each other.
struct Load {
    through: Vec<usize>,
    next: u64,
    /// When each command was sent that is not answered, and what it was.
    open: BTreeMap<u64, (u64, String)>,
    ended: Vec<Ended>,
}

struct Ended {
    line: String,
    begun_us: u64,
    took: Duration,
    response: Response,
}

impl Load {
    /// Through these nodes; all keys are there.
    fn new(cluster: &mut Cluster, through: &[usize]) -> Self {
        for key in 0..KEYS {
            set(cluster, through[0], &format!("key-{key}"));
        }
        Self { through: through.to_vec(), next: 0, open: BTreeMap::new(), ended: Vec::new() }
    }

    fn run(&mut self, cluster: &mut Cluster, time: Duration, line_of: impl Fn(u64) -> String) {
        let until_us = cluster.now_us() + time.as_micros() as u64;
        while cluster.now_us() < until_us {
            let (number, line) = (self.next, line_of(self.next));
            self.next += 1;
            let node = self.through[number as usize % self.through.len()];
            self.open.insert(number, (cluster.now_us(), line.clone()));
            assert!(cluster.request_line(node, number, &line), "node {node} is up");
            self.let_pass(cluster);
        }
    }

    fn let_pass(&mut self, cluster: &mut Cluster) {
        cluster.run_for(Duration::from_micros(STEP_US));
        for answer in cluster.take_answers_to(0..self.next) {
            let (begun_us, line) = self.open.remove(&answer.operation).expect("answered once");
            let took = Duration::from_micros(cluster.now_us() - begun_us);
            self.ended.push(Ended { line, begun_us, took, response: answer.response });
        }
    }

    /// Waits for all answers, and gives what ended.
    fn end(mut self, cluster: &mut Cluster) -> Vec<Ended> {
        for _ in 0..10_000_000 / STEP_US {
            if self.open.is_empty() {
                return self.ended;
            }
            self.let_pass(cluster);
        }
        panic!("no answer to {:?}", self.open);
    }
}

/// What may be repeated, and so never fails while a majority of the homes lives.
fn safe(number: u64) -> String {
    let key = number * 7919 % KEYS;
    match number % 6 {
        0 => format!("set key-{key} 0 0 1\r\n2"),
        1 => format!("get key-{key} key-{} key-{}", (key + 1) % KEYS, (key + 2) % KEYS),
        2 => format!("delete gone-{key}"),
        _ => format!("get key-{key}"),
    }
}

/// The same, and what changes a value by what it was.
fn mixed(number: u64) -> String {
    match number % 8 {
        3 => format!("incr key-{} 1", number * 7919 % KEYS),
        5 => format!("touch key-{} 0", number * 7919 % KEYS),
        _ => safe(number),
    }
}

fn slowest(ended: &[Ended]) -> Duration {
    ended.iter().map(|ended| ended.took).max().unwrap_or_default()
}

fn percentile(ended: &[Ended], percent: usize) -> Duration {
    let mut times: Vec<Duration> = ended.iter().map(|ended| ended.took).collect();
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

#[test]
fn a_node_that_stops_for_half_a_minute_makes_no_operation_on_the_others_slower_than_a_second() {
    let slowest = for_seeds(30, |seed| {
        let nodes = if seed % 2 == 0 { 3 } else { 5 };
        let mut cluster = Cluster::started(options(nodes), seed);
        let sleeper = seed as usize % nodes;
        let others: Vec<usize> = (0..nodes).filter(|node| *node != sleeper).collect();
        let mut load = Load::new(&mut cluster, &others);
        load.run(&mut cluster, seconds(2), mixed);
        cluster.pause(sleeper);
        let stopped_us = cluster.now_us();
        load.run(&mut cluster, seconds(30), mixed);
        cluster.resume(sleeper);
        load.run(&mut cluster, seconds(5), mixed);
        let ended = load.end(&mut cluster);
        for Ended { line, begun_us, took, response } in &ended {
            let since_stop = ms(begun_us.saturating_sub(stopped_us) / 1000);
            let may_be_in_doubt = !line.starts_with("get") && !line.starts_with("set") && since_stop < seconds(1);
            let failed = matches!(response, Response::ServerError(_));
            assert!(!failed || may_be_in_doubt, "{line} after {since_stop:?}: {response:?} in {took:?}");
        }
        slowest(&ended)
    });
    println!("sim: slowest operation while a node is stopped for 30 s: {:?}", slowest.iter().max());
    assert!(slowest.iter().all(|took| *took < seconds(1)), "{slowest:?}");
}

#[test]
fn a_node_that_dies_costs_no_client_an_error_on_what_may_be_repeated() {
    let slowest = for_seeds(50, |seed| {
        let nodes = if seed % 2 == 0 { 3 } else { 5 };
        let mut cluster = Cluster::started(options(nodes), seed);
        let victim = seed as usize % nodes;
        let others: Vec<usize> = (0..nodes).filter(|node| *node != victim).collect();
        let mut load = Load::new(&mut cluster, &others);
        load.run(&mut cluster, seconds(1), safe);
        cluster.crash(victim);
        load.run(&mut cluster, seconds(5), safe);
        let ended = load.end(&mut cluster);
        for Ended { line, response, took, .. } in &ended {
            assert!(!matches!(response, Response::ServerError(_)), "{line}: {response:?} in {took:?}");
        }
        slowest(&ended)
    });
    println!("sim: slowest operation when a node dies: {:?}", slowest.iter().max());
    assert!(slowest.iter().all(|took| *took < ms(200)), "{slowest:?}");
}

#[test]
fn a_silent_peer_is_avoided_within_half_a_second_and_what_waited_for_it_goes_elsewhere() {
    let slowest = for_seeds(50, |seed| {
        let mut cluster = Cluster::started(options(3), seed);
        let sleeper = seed as usize % 3;
        let asked = (sleeper + 1) % 3;
        for key in 0..30 {
            // The one that will be silent orders their writes.
            set(&mut cluster, sleeper, &format!("key-{key}"));
        }
        cluster.run_for(ms(1000 + seed * 13));
        cluster.pause(sleeper);
        let mut slowest = Duration::ZERO;
        for key in 0..30 {
            let (answer, took) = timed(&mut cluster, asked, &format!("set key-{key} 0 0 1\r\n2"));
            assert_eq!(answer, Some(Response::Stored));
            slowest = slowest.max(took);
        }
        assert_eq!(stat(&mut cluster, asked, "peers_avoided"), 1);
        assert!(cluster.view(asked).expect("it runs").members.iter().all(|row| row.state != "failed"), "not gossip");
        slowest
    });
    println!("sim: slowest write that waited for a silent peer: {:?}", slowest.iter().max());
    assert!(slowest.iter().all(|took| *took < ms(600)), "{slowest:?}");
}

#[test]
fn a_key_whose_only_home_is_silent_is_missed_at_once() {
    for_seeds(20, |seed| {
        let mut cluster = Cluster::started(ClusterOptions { replicas: 1, ..options(3) }, seed);
        let sleeper = seed as usize % 3;
        let asked = (sleeper + 1) % 3;
        let keys = (0..).map(|number| format!("key-{number}"));
        let keys: Vec<String> = keys.filter(|key| cluster.homes(asked, key) == [sleeper]).take(8).collect();
        keys.iter().for_each(|key| set(&mut cluster, asked, key));
        cluster.pause(sleeper);
        let lines = |key: &str| [format!("get {key}"), format!("set {key} 0 0 1\r\n2"), format!("incr {key} 1")];
        // Now it is found out, then it is known to this node, then to all.
        for (wait, limit) in [(ms(0), ms(600)), (ms(200), ms(5)), (seconds(8), ms(5))] {
            cluster.run_for(wait);
            for line in keys.iter().flat_map(|key| lines(key)) {
                let (answer, took) = timed(&mut cluster, asked, &line);
                assert!(matches!(answer, Some(Response::ServerError(_))), "{line}: {answer:?}");
                assert!(took <= limit, "{line}: {took:?}");
            }
        }
        cluster.resume(sleeper);
        cluster.run_for(seconds(3));
        keys.iter().for_each(|key| set(&mut cluster, asked, key));
    });
}

#[test]
fn a_node_ten_times_slower_than_the_others_is_asked_last_and_counts_as_alive() {
    let figures = for_seeds(20, |seed| {
        let mut cluster = Cluster::started(options(5), seed);
        let slow = seed as usize % 5;
        let others: Vec<usize> = (0..5).filter(|node| *node != slow).collect();
        let get = |number: u64| format!("get key-{}", number * 7919 % KEYS);
        let mut load = Load::new(&mut cluster, &others);
        cluster.network.slow_down(slow, 10_000);
        load.run(&mut cluster, seconds(4), get);
        for other in &others {
            assert_eq!(stat(&mut cluster, *other, "peers_slow"), 1, "through node {other}");
        }
        let begun_us = cluster.now_us();
        load.run(&mut cluster, seconds(4), get);
        let view = cluster.view(others[0]).expect("it runs");
        assert!(view.members.iter().all(|row| row.state == "alive"), "slow is not dead");
        cluster.network.heal();
        cluster.run_for(seconds(5));
        for other in &others {
            assert_eq!(stat(&mut cluster, *other, "peers_slow"), 0, "it is well again");
        }
        let (known, before): (Vec<Ended>, Vec<Ended>) =
            load.end(&mut cluster).into_iter().partition(|ended| ended.begun_us >= begun_us);
        (percentile(&before, 99), percentile(&known, 99), slowest(&known))
    });
    let worst = |of: fn(&(Duration, Duration, Duration)) -> Duration| figures.iter().map(of).max();
    let [before, known, slowest] = [worst(|figure| figure.0), worst(|figure| figure.1), worst(|figure| figure.2)];
    println!("sim: reads beside a slow node: p99 {before:?} at first, then {known:?}, at most {slowest:?}");
    assert!(slowest < Some(ms(8)), "nobody waits for it any more");
}

#[test]
fn hedged_reads_cut_the_tail_and_stay_below_a_twentieth() {
    for_seeds(10, |seed| {
        let mut cluster = Cluster::started(ClusterOptions { workers: 1, ..options(5) }, seed);
        let asked = seed as usize % 5;
        let mut load = Load::new(&mut cluster, &[asked]);
        let get = |number: u64| format!("get key-{}", number * 7919 % KEYS);
        cluster.network.weather = Weather { straggler: 0.01, ..Weather::fair() };
        load.run(&mut cluster, seconds(10), get);
        let (asked_before, hedged_before) = (load.next, stat(&mut cluster, asked, "hedged_reads"));
        load.run(&mut cluster, seconds(10), get);
        let hedged = stat(&mut cluster, asked, "hedged_reads") - hedged_before;
        assert!(hedged > 20, "{hedged}");
        // Every other read is slow: hedging them all would help nobody.
        cluster.network.weather.straggler = 0.4;
        load.run(&mut cluster, seconds(10), get);
        let hedged = stat(&mut cluster, asked, "hedged_reads") - hedged_before;
        let reads = load.next - asked_before;
        // As many as a thread saves up in quiet times come to that.
        assert!(hedged <= reads / 20 + 100, "{hedged} of {reads}");
        assert!(stat(&mut cluster, asked, "hedges_refused") > 0);
        cluster.network.weather = Weather::fair();
        let ended = load.end(&mut cluster);
        let (slow, ended) = (slowest(&ended), ended.len());
        assert!(slow < seconds(1), "{slow:?} of {ended}");
    });
}

#[test]
fn a_peer_that_flaps_is_let_back_ever_later() {
    for_seeds(10, |seed| {
        let mut cluster = Cluster::started(options(3), seed);
        let mut load = Load::new(&mut cluster, &[0]);
        let before = stat(&mut cluster, 0, "peer_trips");
        for _ in 0..60 {
            cluster.reset_links(0, 1);
            load.run(&mut cluster, ms(500), safe);
        }
        let trips = stat(&mut cluster, 0, "peer_trips") - before;
        assert!((2..=8).contains(&trips), "{trips} in half a minute in which it came and went sixty times");
        load.run(&mut cluster, seconds(5), safe);
        assert_eq!(stat(&mut cluster, 0, "peers_avoided"), 0, "in the end it is");
        for Ended { line, response, took, .. } in load.end(&mut cluster) {
            assert!(!matches!(response, Response::ServerError(_)), "{line}: {response:?} in {took:?}");
            assert!(took < seconds(1), "{line}: {took:?}");
        }
    });
}
