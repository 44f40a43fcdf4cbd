//! Large values over real sockets: received once, sent from where they lie, whole or not at all, within their room.
//!
//! Each test has its own node on free ports; nodes end with the process.

mod node;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use memring_server::config::Config;
use socket2::{Domain, Socket, Type};

use self::node::{Client, OneNode, until};

/// To a data block of one byte too many, and to the line end that is left of it.
const BAD_CHUNK: &str = "CLIENT_ERROR bad data chunk\r\nCLIENT_ERROR bad command line format\r\n";

const MIB: usize = 1024 * 1024;

/// Longer than the patience with clients that stand still.
const LONG_PATIENCE: Duration = Duration::from_secs(40);

fn node(item_bytes_max: usize, memory_limit_bytes: usize) -> OneNode {
    OneNode::start(Config { item_bytes_max, memory_limit_bytes, ..Config::default() })
}

/// Bytes of which no two parts are alike.
fn value(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(31) ^ (at >> 9).wrapping_add(seed)) as u8).collect()
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A `VALUE` block and the end.
fn hit(key: &str, value: &[u8]) -> Vec<u8> {
    joined(&[format!("VALUE {key} 0 {}\r\n", value.len()).as_bytes(), value, b"\r\nEND\r\n"])
}

fn set(line: &str, value: &[u8]) -> Vec<u8> {
    joined(&[line.as_bytes(), b"\r\n", value, b"\r\n"])
}

/// The figure of this name.
fn figure(node: &OneNode, name: &str) -> u64 {
    let lines = node.connect().stats("stats\r\n");
    let line = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no figure {name}"))
}

/// A client whose system takes little before the client reads.
fn slow_client(node: &OneNode) -> Client<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(64 * 1024).expect("set");
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], node.config.port)).into()).expect("a connection");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(LONG_PATIENCE)).expect("a timeout");
    Client(stream)
}

#[test]
fn every_command_takes_large_values() {
    let node = node(4 * MIB, 256 * MIB);
    let mut client = node.connect();
    let (one, two, small) = (value(1, 3 * MIB / 2), value(2, 70_000), b"small");
    client.check(set(&format!("set k 0 0 {}", one.len()), &one), "STORED\r\n");
    client.check("get k\r\n", hit("k", &one));
    client.check(set(&format!("append k 0 0 {}", two.len()), &two), "STORED\r\n");
    client.check("get k\r\n", hit("k", &joined(&[&one, &two])));
    client.check(set("prepend k 0 0 5", small), "STORED\r\n");
    client.check("gat 100 k\r\n", hit("k", &joined(&[small, &one, &two])));
    client.check("touch k 50\r\n", "TOUCHED\r\n");
    client.check(set(&format!("cas k 0 0 {} 1", one.len()), &one), "EXISTS\r\n");
    client.check(set(&format!("add k 0 0 {} noreply", one.len()), &one), "");
    client.check(set(&format!("ms k {} C0 O7 k", one.len()), &one), "EX O7 kk\r\n");
    client.check(set(&format!("ms k {} O8 s q", one.len()), &one), "");
    client.check("mg k v s O9\r\n", joined(&[format!("VA {0} s{0} O9\r\n", one.len()).as_bytes(), &one, b"\r\n"]));
    client.check(set(&format!("replace k 0 0 {} noreply", two.len()), &two), "");
    client.check("incr k 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
    client.check("get k missing k\r\n", {
        let block = hit("k", &two);
        joined(&[&block[..block.len() - 5], &block])
    });
    client.check("delete k\r\nget k\r\n", "DELETED\r\nEND\r\n");
    client.check(set("set k 0 0 70000", &value(3, 70_001)), BAD_CHUNK);
    assert_eq!((figure(&node, "large_bytes_in"), figure(&node, "large_bytes_out")), (0, 0));
}

#[test]
fn a_value_that_does_not_come_whole_is_never_seen() {
    let node = node(2 * MIB, 64 * MIB);
    let mut client = node.connect();
    client.check("set k 0 0 3\r\nold\r\n", "STORED\r\n");
    for ends in [Shutdown::Write, Shutdown::Both] {
        let mut other = node.connect();
        other.0.write_all(format!("set k 0 0 {MIB}\r\n").as_bytes()).expect("sent");
        other.0.write_all(&value(1, MIB / 2)).expect("sent");
        until(|| figure(&node, "large_bytes_in") == MIB as u64);
        client.check("get k\r\n", hit("k", b"old"));
        other.0.shutdown(ends).expect("ended");
        until(|| figure(&node, "large_bytes_in") == 0);
        client.check("get k\r\n", hit("k", b"old"));
    }
}

#[test]
fn more_than_there_is_room_for_is_refused_and_swallowed() {
    // An eighth of the memory is less than one item.
    let node = node(MIB, 7 * MIB);
    let (mut client, mut other) = (node.connect(), node.connect());
    for key in ["kept", "gone", "meta"] {
        client.check(format!("set {key} 0 0 3\r\nold\r\n"), "STORED\r\n");
    }
    let large = value(1, 600_000);
    other.0.write_all(&set("set k 0 0 600000", &large)[..300_000]).expect("sent");
    until(|| figure(&node, "large_bytes_in") == 600_000);
    let no_memory = "SERVER_ERROR out of memory storing object\r\n";
    client.check(set("add kept 0 0 600000", &large), no_memory);
    client.check(set("set gone 0 0 600000", &large), no_memory);
    client.check(set("ms meta 600000 O1 k", &large), no_memory);
    client.check(set("set k 0 0 600000 noreply", &large), "");
    client.check("get kept gone meta\r\n", hit("kept", b"old"));
    // Smaller ones have room.
    client.check(set("set small 0 0 100000", &value(2, 100_000)), "STORED\r\n");
    other.check(&set("set k 0 0 600000", &large)[300_000..], "STORED\r\n");
    client.check(set("set gone 0 0 600000", &large), "STORED\r\n");
    client.check("get gone\r\n", hit("gone", &large));
    assert_eq!(figure(&node, "store_no_memory"), 4);
}

#[test]
fn a_reader_ends_with_the_bytes_that_it_began_with() {
    let node = node(16 * MIB, 30 * MIB);
    let (mut client, mut slow) = (node.connect(), slow_client(&node));
    let old = value(1, 8 * MIB);
    client.check(set(&format!("set k 0 0 {}", old.len()), &old), "STORED\r\n");
    slow.0.write_all(b"get k\r\nget k\r\n").expect("sent");
    until(|| figure(&node, "large_bytes_out") > 0);
    client.check("set k 0 0 3\r\nnew\r\n", "STORED\r\n");
    client.check("get k\r\n", hit("k", b"new"));
    slow.check("", hit("k", &old));
    slow.check("", hit("k", b"new"));
    until(|| figure(&node, "large_bytes_out") == 0);
}

#[test]
fn clients_that_stand_still_are_closed() {
    let node = node(16 * MIB, 30 * MIB);
    let mut client = node.connect();
    let large = value(1, 8 * MIB);
    client.check(set(&format!("set k 0 0 {}", large.len()), &large), "STORED\r\n");
    let mut reader = slow_client(&node);
    reader.0.write_all(b"get k\r\n").expect("sent");
    let mut sender = slow_client(&node);
    sender.0.write_all(&set("version\r\nset k 0 0 100000", &value(2, 100_000))[..90_000]).expect("sent");
    until(|| figure(&node, "large_bytes_in") == 100_000);
    let mut answer = String::new();
    sender.0.read_to_string(&mut answer).expect("the end");
    assert_eq!(answer, "VERSION 1.6.45\r\n");
    until(|| figure(&node, "slow_readers_closed") == 1);
    assert_eq!(figure(&node, "slow_senders_closed"), 1);
    assert_eq!((figure(&node, "large_bytes_in"), figure(&node, "large_bytes_out")), (0, 0));
    // Of the value only what was under way already.
    let mut answer = Vec::new();
    let _ = reader.0.read_to_end(&mut answer);
    assert!(answer.len() < large.len());
    client.check("get k\r\n", hit("k", &large));
}
