//! Many clients that do not read what they ask for: what waits for them is bounded, and others are served.

mod node;

use std::io::{ErrorKind, Write};
use std::time::Duration;

use memring_server::config::Config;
use node::{OneNode, until};

/// More than wait for clients before that is too much, with what the system keeps for each connection.
const SLOW_CLIENTS: usize = 96;

/// What one of them asks for: 20 MB.
const GETS: usize = 2000;

/// What may wait for all clients, and some: the limit at little memory, and 64 KiB and a reply for each.
const UNSENT_MAX: u64 = (64 << 20) + (SLOW_CLIENTS as u64 + 1) * (80 << 10);

#[test]
fn clients_that_do_not_read_are_bounded_together_and_closed() {
    let node = OneNode::start(Config { memory_limit_bytes: 64 << 20, ..Config::default() });
    let mut client = node.connect();
    client.check(format!("set k 0 0 10000\r\n{}\r\n", "v".repeat(10_000)), "STORED\r\n");
    let figure = |name: &str| {
        let lines = node.connect().stats("stats\r\n");
        let found = lines.iter().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        found.unwrap_or_else(|| panic!("no {name}"))
    };
    let mut most = 0;
    let slow: Vec<_> = (0..SLOW_CLIENTS)
        .map(|_| {
            let mut slow = node.connect();
            slow.0.set_write_timeout(Some(Duration::from_millis(200))).expect("set");
            // Not all of it may be taken: then the server has stopped reading.
            if let Err(error) = slow.0.write_all("get k\r\n".repeat(GETS).as_bytes()) {
                assert!(matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ));
            }
            most = most.max(figure("unsent_reply_bytes"));
            slow
        })
        .collect();
    // The node may not have come to all that was sent yet. Too much waits for a second at least: this sees it.
    until(|| {
        most = most.max(figure("unsent_reply_bytes"));
        most > 60 << 20
    });
    until(|| {
        most = most.max(figure("unsent_reply_bytes"));
        figure("slow_readers_closed") > 0 && figure("unsent_reply_bytes") <= 64 << 20
    });
    assert!(most <= UNSENT_MAX, "{most} bytes waited for clients");
    client.check("get k\r\n", format!("VALUE k 0 10000\r\n{}\r\nEND\r\n", "v".repeat(10_000)));
    drop(slow);
    until(|| figure("unsent_reply_bytes") == 0);
}
