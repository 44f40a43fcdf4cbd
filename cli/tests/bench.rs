//! `memring bench` against a real node: what it counts is what was asked. Must not know how it sends.

use std::io::Read;
use std::process::{Command, Stdio};

mod real;

use real::{Node, Process, ended, eventually, memring};
use serde_json::Value;

fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn bench(node: &Node, words: &str) -> Command {
    let mut command = memring(&["bench", "--json", "--warm-up", "0s", "--server", &node.address]);
    command.args(words.split_whitespace());
    command
}

/// A counter of the node.
fn counter(node: &Node, name: &str) -> u64 {
    let (_, json, _) = ended(&mut memring(&["stats", "--json", "--server", &node.address]));
    object(&json)[name].as_u64().expect("a number")
}

/// Until the node has been asked for more keys than these.
fn until_asked(node: &Node, keys: u64) {
    eventually("the load runs", || (counter(node, "cmd_get") > keys).then_some(()));
}

/// What a load says, and how it ends.
fn outcome(load: &mut Process) -> (Option<i32>, String) {
    let mut text = String::new();
    load.0.stdout.take().expect("piped").read_to_string(&mut text).expect("text");
    (load.0.wait().expect("it ends").code(), text)
}

#[test]
fn a_closed_loop_asks_just_what_it_was_told() {
    let node = Node::alone();
    let words =
        "--fill --keys 500 --operations 5k --multi-get 3 --value-size 10..2k --pipeline 8 --threads 2 --connections 4";
    let (code, json, stderr) = ended(&mut bench(&node, words));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let report = object(&json);
    let count = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("{name} in {json}"));
    assert_eq!((count("operations"), count("errors_total"), count("misses")), (5000, 0, 0));
    assert_eq!((count("gets") + count("sets"), count("hits")), (5000, 3 * count("gets")));
    assert_eq!((counter(&node, "cmd_get"), counter(&node, "cmd_set")), (3 * count("gets"), count("sets") + 500));
    assert_eq!(report["latency_us"]["from_sent"]["get"]["count"], count("gets"));
    let series = report["series"].as_array().expect("a series");
    assert_eq!(series.iter().filter_map(|row| row["operations"].as_u64()).sum::<u64>(), 5000);
}

#[test]
fn an_open_loop_sends_what_is_due_and_no_more() {
    let node = Node::alone();
    let words = "--keys 50 --rate 2k --duration 1s --ratio 0:1 --connections 3 --distribution uniform";
    let (code, json, _) = ended(&mut bench(&node, words));
    let report = object(&json);
    assert_eq!((code, &report["operations"], &report["errors_total"]), (Some(0), &2000.into(), &0.into()), "{json}");
    assert_eq!((counter(&node, "cmd_set"), report["asked"]["loop"].as_str()), (2000, Some("open")));
    let p50 = |from: &str| report["latency_us"][from]["all"]["p50"].as_f64().expect("a number");
    assert!(p50("from_due") >= p50("from_sent"), "{json}");
}

#[test]
fn several_servers_have_their_share() {
    let nodes = [Node::alone(), Node::alone()];
    let servers = format!("{},{}", nodes[0].address, nodes[1].address);
    let words =
        ["bench", "--ratio", "1:0", "--operations", "1k", "--rate", "20k", "--warm-up", "0s", "--server", &servers];
    let (code, tables, _) = ended(&mut memring(&words));
    assert_eq!(code, Some(0), "{tables}");
    assert!(tables.contains("\n1000 requests in ") && tables.contains("\nfrom due, all "), "{tables}");
    assert_eq!(nodes.each_ref().map(|node| counter(node, "cmd_get")), [500, 500]);
}

#[test]
fn ctrl_c_ends_a_load_and_tells_what_was_measured() {
    let node = Node::alone();
    let mut load = Process::start(bench(&node, "--duration 60s").stdout(Stdio::piped()));
    until_asked(&node, 100);
    load.interrupt();
    let (code, json) = outcome(&mut load);
    let report = object(&json);
    assert_eq!((code, &report["interrupted"]), (Some(130), &true.into()));
    assert!(report["operations"].as_u64() > Some(100) && report["seconds"].as_f64() < Some(60.0), "{json}");
}

#[test]
fn a_server_that_dies_is_counted_and_not_timed() {
    let mut node = Node::alone();
    let mut load = Process::start(bench(&node, "--rate 500 --duration 3s --timeout 500ms").stdout(Stdio::piped()));
    until_asked(&node, 10);
    node.process.0.kill().and_then(|()| node.process.0.wait()).expect("it ends");
    let (code, json) = outcome(&mut load);
    assert_eq!(code, Some(0));
    let report = object(&json);
    let count = |path: &str| report.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {json}"));
    assert!(count("/errors/unsent") > 0 && count("/errors/connect") > 0, "{json}");
    let unanswered = count("/errors_total") - count("/errors/connect");
    assert_eq!(
        (count("/operations") + unanswered, count("/latency_us/from_due/all/count")),
        (1500, count("/operations"))
    );
}

#[test]
fn what_cannot_be_measured_is_one_line() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = "127.0.0.1:1";
    for (words, code, line) in [
        (&["--keys", "x"][..], 2, "memring: --keys x: expected a whole number from 1 to 10000000000\n"),
        (&["--server", closed], 1, "memring: cannot connect to 127.0.0.1:1: Connection refused (os error 111)\n"),
        (&["--server", closed, "--fill"], 1, "memring: 127.0.0.1:1: filling: cannot connect: "),
    ] {
        let (ended_with, stdout, stderr) = ended(memring(&["bench"]).args(words));
        assert_eq!((ended_with, stdout.as_str(), stderr.lines().count()), (Some(code), "", 1), "{stderr}");
        assert!(stderr.starts_with(line), "{stderr}");
    }
    // A server that never answers: every request fails, and so does the command.
    let address = silent.local_addr().expect("bound").to_string();
    let words =
        ["bench", "--json", "--server", &address, "--operations", "16", "--warm-up", "0s", "--timeout", "100ms"];
    let (code, json, _) = ended(&mut memring(&words));
    let report = object(&json);
    assert_eq!((code, &report["errors"]["timeout"], &report["operations"]), (Some(1), &16.into(), &0.into()), "{json}");
}
