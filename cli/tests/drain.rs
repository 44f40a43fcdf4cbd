//! `memring drain` of a real node in a ring of two, told to programs and people. Must not know how a share moves.

use std::net::TcpListener;

mod real;

use real::{Node, ended, memring};
use serde_json::Value;

/// Two nodes that see each other.
fn pair() -> [Node; 2] {
    // Free when looked at; nobody else here asks for one of just this number.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let port = port.to_string();
    let seed = format!("127.0.0.1:{port}");
    let first = Node::start(&["--name", "n1", "--peer-port", &port, "--join", &seed, "--expect", "2"]);
    let second = Node::start(&["--name", "n2", "--peer-port", "0", "--join", &seed, "--expect", "2"]);
    loop {
        let (_, json, _) = ended(&mut memring(&["status", "--json", "--server", &first.address]));
        let alive = |member: &&Value| member["state"] == "alive" && member["synced"] == 1.0;
        let state: Value = serde_json::from_str(&json).unwrap_or_default();
        if state["members"].as_array().is_some_and(|members| members.iter().filter(alive).count() == 2) {
            return [first, second];
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_drain_is_told_in_lines_and_again_when_it_is_over() {
    let [first, second] = pair();
    let set = ended(&mut memring(&["set", "k", "v", "--server", &second.address]));
    assert_eq!(set, (Some(0), "stored\n".to_owned(), String::new()));
    let (code, lines, stderr) = ended(&mut memring(&["drain", "--json", "--server", &second.address]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (last, earlier) = objects.split_last().expect("a line");
    assert_eq!((last["state"].as_str(), &last["partitions_left"]), (Some("drained"), &0.into()), "{lines}");
    assert!(earlier.iter().all(|object| object["state"] != "drained"), "{lines}");
    // Nothing is lost, and the node that was drained forwards.
    for node in [&first, &second] {
        assert_eq!(ended(&mut memring(&["get", "k", "--server", &node.address])).1, "v");
    }
    let (code, again, _) = ended(&mut memring(&["drain", "--server", &second.address]));
    assert!(code == Some(0) && again.starts_with("drained: "), "{again}");
    let (code, _, refused) = ended(&mut memring(&["drain", "--server", &first.address]));
    assert_eq!((code, refused.lines().count()), (Some(1), 1));
    assert!(refused.starts_with("memring: this is the last node of its ring"), "{refused}");
    let (code, _, several) = ended(&mut memring(&["drain", "--server", "a,b"]));
    assert_eq!((code, several.as_str()), (Some(2), "memring: --server: one node at a time is drained\n"));
}
