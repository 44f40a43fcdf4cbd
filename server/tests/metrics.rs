//! `/metrics` of one node, over real sockets: what scrapers see of what clients do.
//!
//! Each test has its own node on free ports; nodes end with the process.

mod node;

use std::collections::{BTreeMap, BTreeSet};

use memring_engine::node::Namespace;
use memring_server::config::{Config, JoinTarget};

use self::node::{OneNode, free_port};

/// The commands, levels and outcomes that a histogram may have, and the series of each: its buckets, sum and count.
const HISTOGRAMS_MAX: usize = 17 * 5 * 5 * 20;

/// One scrape: values by series, types by family.
struct Scrape {
    content_type: String,
    text: String,
    series: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
}

impl Scrape {
    fn of(node: &OneNode, accept: &str) -> Self {
        let answer = node.http_with("GET", "/metrics", &format!("Accept: {accept}\r\n"));
        let (head, text) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let is_type = |line: &&str| line.to_ascii_lowercase().starts_with("content-type: ");
        let content_type = head.lines().find(is_type).expect("a type")["content-type: ".len()..].to_owned();
        let (mut series, mut types) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a name and a type");
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').expect("a series and a value");
                let before = series.insert(name.to_owned(), value.parse().expect("a number"));
                assert!(before.is_none(), "{name} twice");
            }
        }
        Self { content_type, text: text.to_owned(), series, types }
    }

    fn text(node: &OneNode) -> Self {
        Self::of(node, "*/*")
    }

    fn value(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series} in\n{}", self.text))
    }

    /// How many commands were timed, by command, level and outcome.
    fn timed(&self) -> Vec<(String, f64)> {
        let counts = self.series.iter().filter_map(|(name, count)| {
            let labels = name.strip_prefix("memring_request_duration_seconds_count{")?.strip_suffix('}')?;
            let values: Vec<&str> = labels.split('"').skip(1).step_by(2).collect();
            Some((values.join(" "), *count))
        });
        counts.collect()
    }

    /// Names of labels by family, without a histogram's own.
    fn labels(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut labels = BTreeMap::<String, BTreeSet<String>>::new();
        for series in self.series.keys() {
            let (name, rest) = series.split_once('{').unwrap_or((series, ""));
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
                let family = name.strip_suffix(suffix)?;
                self.types.contains_key(family).then_some(family)
            });
            let of = labels.entry(family.unwrap_or(name).to_owned()).or_default();
            // A value may hold anything but a quote here.
            of.extend(
                rest.split('"')
                    .step_by(2)
                    .filter_map(|part| part.trim_start_matches(',').strip_suffix('='))
                    .map(str::to_owned),
            );
            of.remove("le");
        }
        labels
    }
}

#[test]
fn the_format_is_the_one_that_is_asked_for() {
    let node = OneNode::start(Config::default());
    let text = Scrape::text(&node);
    assert_eq!(text.content_type, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(text.types["memcached_commands_total"], "counter");
    assert_eq!(text.types["memcached_uptime_seconds"], "counter");
    assert!(!text.text.contains("# EOF"));
    // What Prometheus asks for.
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    let open = Scrape::of(&node, accept);
    assert_eq!(open.content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(open.types["memcached_commands"], "counter");
    assert_eq!(open.types["memcached_uptime_seconds"], "unknown");
    assert!(open.text.ends_with("\n# EOF\n"));
    let names = |scrape: &Scrape| scrape.series.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&text), names(&open), "the same series in both");
}

#[test]
fn what_clients_do_is_counted_and_timed() {
    let node = OneNode::start(Config { threads: Some(1), ..Config::default() });
    let mut client = node.connect();
    client.check("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    client.check("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    client.check("get b\r\nget a b\r\nget c\r\n", "END\r\nVALUE a 0 1\r\nx\r\nEND\r\nEND\r\n");
    client.check("add a 0 0 1\r\ny\r\n", "NOT_STORED\r\n");
    client.check("cas a 0 0 1 7\r\ny\r\ncas b 0 0 1 7\r\ny\r\n", "EXISTS\r\nNOT_FOUND\r\n");
    client.check(
        "incr b 1\r\nincr a 1\r\n",
        "NOT_FOUND\r\nCLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
    );
    client.check("gat 0 a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    client.check("mg a v\r\nmg b v\r\nms m 1 Lone\r\nx\r\nmd m\r\nmn\r\n", "VA 1\r\nx\r\nEN\r\nHD\r\nHD\r\nMN\r\n");
    client.check(
        "delete a noreply\r\ntouch a 0\r\nflush_all\r\nversion\r\nbogus\r\n",
        "NOT_FOUND\r\nOK\r\nVERSION 1.6.45\r\nERROR\r\n",
    );
    let scrape = Scrape::text(&node);
    let expected = [
        ("add quorum refused", 1.0),
        ("cas quorum miss", 1.0),
        ("cas quorum refused", 1.0),
        ("delete quorum hit", 1.0),
        ("flush_all none hit", 1.0),
        ("gat quorum hit", 1.0),
        ("get quorum hit", 2.0),
        ("get quorum miss", 2.0),
        ("incr quorum error", 1.0),
        ("incr quorum miss", 1.0),
        ("md quorum hit", 1.0),
        ("mg quorum hit", 1.0),
        ("mg quorum miss", 1.0),
        ("ms one hit", 1.0),
        ("set quorum hit", 1.0),
        ("touch quorum miss", 1.0),
    ];
    assert_eq!(scrape.timed(), expected.map(|(name, count)| (name.to_owned(), count)));
    let bucket = |le: &str| {
        let labels = r#"command="set",level="quorum",outcome="hit""#;
        scrape.value(&format!(r#"memring_request_duration_seconds_bucket{{le="{le}",{labels}}}"#))
    };
    assert_eq!((bucket("10.0"), bucket("+Inf")), (1.0, 1.0));
    assert_eq!(scrape.value(r#"memcached_commands_total{command="get",status="hit"}"#), 3.0);
    assert_eq!(scrape.value(r#"memcached_commands_total{command="set",status="hit"}"#), 3.0);
    assert_eq!(scrape.value(r#"memring_namespace_gets_total{prefix="default",outcome="miss"}"#), 4.0);
    assert_eq!(scrape.value("memring_requests_in_flight"), 0.0);
    assert_eq!(scrape.value(r#"memring_members{state="alive"}"#), 1.0);
    assert_eq!(scrape.value(r#"memring_partitions{state="synced"}"#), 16384.0);
    assert_eq!(scrape.value("memring_ready"), 1.0);
    assert_eq!(scrape.value(r#"memring_drain_state{state="none"}"#), 1.0);
    assert!(scrape.value("process_resident_memory_bytes") > 1e6);
    assert!(scrape.value(r#"memring_memory_bytes{part="store"}"#) > 0.0);
}

#[test]
fn without_timing_everything_else_is_told() {
    let node = OneNode::start(Config { metrics: false, ..Config::default() });
    let mut client = node.connect();
    client.check(
        "set a 0 0 1\r\nx\r\nget a\r\ngat 0 a\r\n",
        "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\nVALUE a 0 1\r\nx\r\nEND\r\n",
    );
    let scrape = Scrape::text(&node);
    assert_eq!(scrape.timed(), []);
    assert!(!scrape.types.contains_key("memring_request_duration_seconds"));
    assert_eq!(scrape.value(r#"memcached_commands_total{command="get",status="hit"}"#), 1.0);
    assert_eq!(scrape.value("memring_requests_in_flight"), 0.0);
}

#[test]
fn what_clients_send_makes_no_series() {
    let namespace = |prefix: &[u8]| Namespace { prefix: prefix.to_vec(), read: None, write: None };
    let namespaces = vec![namespace(b"a:"), namespace(b"\xff\"\\"), namespace(b"default")];
    let node = OneNode::start(Config { namespaces, ..Config::default() });
    let mut client = node.connect();
    let everything = |round: usize| {
        let mut sent = String::new();
        for number in 0..500 {
            let (key, size) = (format!("{round}:{number}"), number % 50 * 17);
            let value = "x".repeat(size);
            sent +=
                &format!("set {key} 0 0 {size} noreply\r\n{value}\r\nget a:{key}\r\nmg {key} L{} v\r\n", number % 20);
            sent += &format!("bogus{key} {number}\r\ndelete none{key}\r\nms {key} 1 L{number}\r\nx\r\n");
        }
        sent + "mn\r\n"
    };
    let mut round = |number: usize| {
        client.send(everything(number).as_bytes());
        client.until_line("MN");
        Scrape::text(&node)
    };
    let (first, second) = (round(1), round(2));
    let names = |scrape: &Scrape| scrape.series.keys().cloned().collect::<BTreeSet<_>>();
    let new: Vec<String> = names(&second).difference(&names(&first)).cloned().collect();
    assert_eq!(new, [""; 0], "other keys and values make no other series");
    let histograms = second.series.keys().filter(|name| name.starts_with("memring_request_duration")).count();
    let others = second.series.len() - histograms;
    assert!(histograms <= HISTOGRAMS_MAX && others < 1000, "{histograms} and {others} series");
    for prefix in ["default", "a:*", r#"\\xff\\\"\\\\*"#, "default*"] {
        second.value(&format!(r#"memring_namespace_gets_total{{prefix="{prefix}",outcome="hit"}}"#));
    }
}

#[test]
fn the_documents_tell_of_every_metric() {
    let node = OneNode::start(Config::default());
    node.connect().check("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    let scrape = Scrape::text(&node);
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md")).expect("the page");
    let rows = text.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let labels: BTreeSet<String> = cells[2].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (cells[0].trim_matches('`').to_owned(), (cells[1].to_owned(), labels))
    });
    let mut documented: BTreeMap<_, _> = rows.collect();
    // A node alone has no peers; tests/e2e/metrics.py looks at three.
    documented.retain(|name, (_, labels)| !labels.contains("peer") || scrape.types.contains_key(name));
    let labels = scrape.labels();
    let found: BTreeMap<_, _> =
        scrape.types.iter().map(|(name, kind)| (name.clone(), (kind.clone(), labels[name].clone()))).collect();
    for (name, told) in &found {
        assert_eq!(documented.get(name), Some(told), "{name}");
    }
    let missing: Vec<&String> = documented.keys().filter(|name| !found.contains_key(*name)).collect();
    assert_eq!(missing, [""; 0], "there is no such metric");
}

#[test]
fn a_node_without_a_ring_tells_that_too() {
    let nobody = JoinTarget { host: "127.0.0.1".to_owned(), port: Some(free_port()) };
    let node = OneNode::start_unready(Config { join: vec![nobody], expect: Some(2), ..Config::default() });
    let scrape = Scrape::text(&node);
    assert_eq!((scrape.value("memring_ready"), scrape.value("memring_replicas")), (0.0, 0.0));
    assert_eq!(scrape.value(r#"memring_members{state="alive"}"#), 0.0);
    assert_eq!(scrape.value("memcached_up"), 1.0);
}
