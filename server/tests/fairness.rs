//! One worker serves all its clients: one that never stops asking, or never reads, does not hold up the others.

mod node;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use memring_server::config::Config;

use self::node::OneNode;

/// Pipelined gets of a greedy client: far more than one turn answers.
const GREEDY_GETS: usize = 200_000;

/// Single gets of a client beside it.
const SINGLE_GETS: usize = 5;

const VALUE_BYTES: usize = 1000;

const GET: &str = "get key\r\n";

/// `VALUE key 0 1000`, the value, `END`, and their line ends.
const REPLY_BYTES: usize = 18 + VALUE_BYTES + 2 + 5;

fn one_worker() -> OneNode {
    let node = OneNode::start(Config { threads: Some(1), ..Config::default() });
    let mut client = node.connect();
    let value = "v".repeat(VALUE_BYTES);
    client.check(format!("set key 0 0 {VALUE_BYTES}\r\n{value}\r\n"), "STORED\r\n");
    node
}

/// Asks for the value so many times, one get after the other.
fn ask_singly(node: &OneNode, times: usize) {
    let mut client = node.connect();
    let reply = format!("VALUE key 0 {VALUE_BYTES}\r\n{}\r\nEND\r\n", "v".repeat(VALUE_BYTES));
    for _ in 0..times {
        client.check(GET, &reply);
    }
}

#[test]
fn a_deep_pipeline_leaves_others_their_turns() {
    let node = one_worker();
    let (mut asking, answered) = (node.connect(), AtomicUsize::new(0));
    let mut reading = asking.0.try_clone().expect("a second handle");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = vec![0; 64 * 1024];
            while answered.load(Ordering::Relaxed) < GREEDY_GETS * REPLY_BYTES {
                let count = reading.read(&mut buffer).expect("bytes");
                answered.fetch_add(count, Ordering::Relaxed);
            }
        });
        scope.spawn(|| asking.0.write_all(GET.repeat(GREEDY_GETS).as_bytes()).expect("sent"));
        while answered.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        ask_singly(&node, SINGLE_GETS);
        let meanwhile = answered.load(Ordering::Relaxed) / REPLY_BYTES;
        assert!(meanwhile < GREEDY_GETS, "{SINGLE_GETS} single gets waited for all of a pipeline");
    });
    assert_eq!(answered.into_inner(), GREEDY_GETS * REPLY_BYTES, "and all of the pipeline is answered too");
}

#[test]
fn a_client_that_never_reads_holds_nobody_up() {
    let node = one_worker();
    let mut lazy = node.connect();
    // Far more replies than the node keeps for it, and than the sockets' buffers take.
    let mut unread = lazy.0.try_clone().expect("a second handle");
    unread.set_write_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    let sent = unread.write_all(GET.repeat(GREEDY_GETS).as_bytes());
    ask_singly(&node, SINGLE_GETS);
    let mut first = [0; 9];
    lazy.0.read_exact(&mut first).expect("its replies wait for it");
    assert_eq!(&first, b"VALUE key", "{sent:?}");
}
