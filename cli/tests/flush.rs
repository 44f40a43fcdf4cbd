//! `memring flush` against a real node: at once, over a time, and stopped half way. Must not know how a flush spreads.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Output, Stdio};
use std::time::Duration;

mod real;

use real::{Node, Process, memring};

const KEYS: usize = 300;

/// Sends a command and reads until the answer ends so.
fn ask(node: &Node, command: &str, end: &str) -> String {
    let mut client = TcpStream::connect(&node.address).expect("it answers");
    client.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    client.write_all(command.as_bytes()).expect("sent");
    let (mut answer, mut buffer) = (String::new(), [0; 4096]);
    while !answer.ends_with(end) {
        let read = client.read(&mut buffer).expect("answered");
        assert!(read > 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&buffer[..read]).expect("text"));
    }
    answer
}

fn fill(node: &Node) {
    let sets: String = (0..KEYS).map(|key| format!("set key-{key} 0 0 1 noreply\r\nv\r\n")).collect();
    assert_eq!(ask(node, &format!("{sets}mn\r\n"), "MN\r\n"), "MN\r\n");
}

fn found(node: &Node) -> usize {
    let keys: String = (0..KEYS).map(|key| format!(" key-{key}")).collect();
    ask(node, &format!("get{keys}\r\n"), "END\r\n").matches("VALUE ").count()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn a_flush_empties_a_node_at_once_or_over_a_time() {
    let node = Node::alone();
    fill(&node);
    assert_eq!(found(&node), KEYS);
    let Output { status, stdout, stderr } = memring(&["flush", "--server", &node.address]).output().expect("it runs");
    assert_eq!((status.code(), text(&stdout), text(&stderr)), (Some(0), "flushed\n", ""));
    assert_eq!(found(&node), 0);

    fill(&node);
    // A server that is not there is passed over.
    let servers = format!("127.0.0.1:1,{}", node.address);
    let mut paced = Process::start(memring(&["flush", "--over", "4s", "--server", &servers]).stdout(Stdio::piped()));
    let lines = BufReader::new(paced.0.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    let (mut left, mut seen) = (KEYS, Vec::new());
    for line in lines {
        let now = found(&node);
        assert!(now <= left, "{left}, then {now}");
        left = now;
        seen.push(line);
    }
    assert_eq!(paced.0.wait().expect("it ends").code(), Some(0));
    assert_eq!((left, seen.last().map(String::as_str)), (0, Some("flushed")));
    let percents: Vec<u32> = seen.iter().filter_map(|line| line.split_once(" % flushed, ")?.0.parse().ok()).collect();
    assert!(percents.len() >= 3 && percents.is_sorted() && percents.len() == seen.len() - 1, "{seen:?}");
}

#[test]
fn a_paced_flush_that_is_stopped_says_what_was_flushed_and_goes_on() {
    let node = Node::alone();
    fill(&node);
    let arguments = ["flush", "--over", "600s", "--server", &node.address];
    let mut paced = Process::start(memring(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut lines = BufReader::new(paced.0.stdout.take().expect("piped")).lines();
    assert!(lines.next().expect("a line").expect("text").starts_with("0 % flushed, "));
    paced.interrupt();
    let mut told = String::new();
    paced.0.stderr.take().expect("piped").read_to_string(&mut told).expect("text");
    assert_eq!(paced.0.wait().expect("it ends").code(), Some(130));
    let (done, rest) = told.split_once(" of 16384 partitions); ").expect("how many");
    assert!(done.starts_with("memring: 0 % is flushed ("), "{told}");
    assert!(rest.starts_with("the rest is not, and follows within "), "{told}");

    let held = found(&node);
    assert!(held > KEYS / 2 && ask(&node, "stats\r\n", "END\r\n").contains("STAT flush_over_left 1"), "{held}");
    let second = memring(&arguments).output().expect("it runs");
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).ends_with("the server failed: a paced flush goes on already\n"));
    let at_once = memring(&["flush", "--server", &node.address]).output().expect("it runs");
    assert_eq!((at_once.status.code(), found(&node)), (Some(0), 0));
    assert!(ask(&node, "stats\r\n", "END\r\n").contains("STAT flush_over_left 0"));
}

#[test]
fn a_flush_told_to_programs_is_an_object_a_line() {
    let node = Node::alone();
    let object = |line: &str| -> serde_json::Value { serde_json::from_str(line).expect("JSON") };
    let (code, stdout, _) = real::ended(&mut memring(&["flush", "--json", "--server", &node.address]));
    assert_eq!((code, object(&stdout)), (Some(0), serde_json::json!({ "flushed": true })));
    let (code, stdout, _) = real::ended(&mut memring(&["flush", "--over", "2s", "--json", "--server", &node.address]));
    let objects: Vec<_> = stdout.lines().map(object).collect();
    let (last, earlier) = objects.split_last().expect("a line");
    assert_eq!((code, &last["flushed"]), (Some(0), &true.into()));
    for earlier in earlier {
        let count = |name: &str| earlier[name].as_u64().expect("a number");
        assert_eq!((count("partitions_done") + count("partitions_left"), &earlier["flushed"]), (16_384, &false.into()));
    }
}

#[test]
fn what_cannot_be_flushed_is_one_line() {
    for (arguments, code, line) in [
        (&["flush", "--over", "8d"][..], 2, "memring: --over 8d: expected a duration such as 500ms, 30s or 15m\n"),
        (&["flush", "--over", "0s"], 2, "memring: --over 0s: expected whole seconds, from 1s to 168h\n"),
        (&["flush", "--server", ""], 1, "memring: --server: no server is named\n"),
    ] {
        let Output { status, stdout, stderr } = memring(arguments).output().expect("it runs");
        assert_eq!((status.code(), text(&stdout), text(&stderr)), (Some(code), "", line), "{arguments:?}");
    }
}
