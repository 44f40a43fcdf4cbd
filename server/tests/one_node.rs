//! One node in this process, over real sockets: what clients see of the connection, not of the store.
//!
//! Each test has its own node on free ports; nodes end with the process.

mod node;

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use memring_server::config::Config;

use self::node::{OneNode, pause};

#[test]
fn commands_are_answered_in_order_however_they_arrive() {
    let node = OneNode::start(Config::default());
    let mut client = node.connect();
    client.check(
        "set a 0 0 1\r\nx\r\nget a\r\nset b 5 0 2 noreply\r\nyz\r\nget b nothing a\r\nbogus\r\nget a\r\n",
        "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\nVALUE b 5 2\r\nyz\r\nVALUE a 0 1\r\nx\r\nEND\r\nERROR\r\nVALUE a 0 1\r\nx\r\nEND\r\n",
    );
    for byte in b"set c 0 0 1\r\nz\r\nget " {
        client.0.write_all(&[*byte]).expect("sent");
    }
    client.check("c\r\n", "STORED\r\nVALUE c 0 1\r\nz\r\nEND\r\n");
}

#[test]
fn a_get_may_have_thousands_of_keys() {
    let node = OneNode::start(Config::default());
    let mut client = node.connect();
    let (mut sets, mut get, mut expected) = (String::new(), "get".to_owned(), String::new());
    for number in 0..3000 {
        sets += &format!("set k{number} 0 0 4 noreply\r\n{number:04}\r\n");
        get += &format!(" k{number} missing{number}");
        expected += &format!("VALUE k{number} 0 4\r\n{number:04}\r\n");
    }
    client.check(sets + "bogus\r\n", "ERROR\r\n");
    client.check(get + "\r\nbogus\r\n", expected + "END\r\nERROR\r\n");
}

#[test]
fn a_value_that_is_too_large_is_swallowed() {
    let node = OneNode::start(Config::default());
    let request = ["set a 0 0 20000\r\n", &"x".repeat(20_000), "\r\nbogus\r\n"].concat();
    node.connect().check(request, "SERVER_ERROR object too large for cache\r\nERROR\r\n");
}

#[test]
fn a_connection_ends_after_what_it_is_owed() {
    let node = OneNode::start(Config::default());
    for (request, answer) in [
        ("bogus\r\nquit\r\nbogus\r\n", "ERROR\r\n"),
        ("bogus\r\nGET / HTTP/1.1\r\n\r\n", "ERROR\r\n"),
        ("quit\r\n", ""),
        (&("bogus\r\n".to_owned() + &"x".repeat(3000)), "ERROR\r\n"),
    ] {
        assert_eq!(node.connect().until_closed(request), answer, "{request:?}");
    }
    let client = node.connect();
    (&client.0).write_all(b"bogus\r\n").expect("sent");
    client.0.shutdown(std::net::Shutdown::Write).expect("ended");
    assert_eq!(client.until_closed(""), "ERROR\r\n");
}

#[test]
fn connections_above_the_limit_are_told_and_closed() {
    let node = OneNode::start(Config { conn_limit: 2, ..Config::default() });
    let mut kept = [node.connect(), node.connect()];
    for client in &mut kept {
        client.check("bogus\r\n", "ERROR\r\n");
    }
    assert_eq!(node.connect().until_closed(""), "ERROR Too many open connections\r\n");
    drop(kept);
    // The place is free once the server has seen the end.
    loop {
        let mut client = node.connect();
        let mut answer = [0; 10];
        if client.0.write_all(b"bogus\r\n").is_ok()
            && client.0.read(&mut answer).is_ok_and(|count| &answer[..count] == b"ERROR\r\n")
        {
            break;
        }
        pause();
    }
}

#[test]
fn a_client_that_never_reads_is_not_read_for_ever() {
    let node = OneNode::start(Config::default());
    let mut client = node.connect();
    client.check(["set a 0 0 9000\r\n", &"x".repeat(9000), "\r\n"].concat(), "STORED\r\n");
    client.0.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
    let gets = "get a\r\n".repeat(1000);
    let stopped = loop {
        if let Err(error) = client.0.write_all(gets.as_bytes()) {
            break error.kind();
        }
    };
    assert!(matches!(stopped, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{stopped:?}");
    node.connect().check("bogus\r\n", "ERROR\r\n");
}

#[test]
fn the_admin_port_answers_operators() {
    let node = OneNode::start(Config::default());
    assert!(node.http("GET", "/livez").starts_with("HTTP/1.1 200"));
    let cluster = node.http("GET", "/api/cluster");
    assert!(cluster.contains("\"members\":") && cluster.contains(&node.config.port.to_string()), "{cluster}");
    assert!(node.http("GET", "/api/drain").contains("\"none\""));
    assert!(node.http("GET", "/nothing").starts_with("HTTP/1.1 404"));
}
