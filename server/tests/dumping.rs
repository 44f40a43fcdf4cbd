//! `lru_crawler metadump` and `mgdump`: lists of what a node holds, in memcached 1.6.45's form.

mod node;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

use memring_server::config::Config;

use self::node::{OneNode, pause};

/// Sends this and returns all lines up to the one that is `end`.
fn dump(node: &OneNode, request: &str, end: &str) -> Vec<String> {
    let mut client = node.connect();
    client.0.write_all(request.as_bytes()).expect("sent");
    let mut lines = BufReader::new(client.0);
    let mut found = Vec::new();
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).expect("a line") > 0, "closed after {found:?}");
        if line == end {
            found.sort();
            return found;
        }
        found.push(line);
    }
}

/// A node with an item of each sort, and some that are no more.
fn sorts() -> OneNode {
    let node = OneNode::start(Config::default());
    let mut client = node.connect();
    client.check("set k1 7 0 3\r\nabc\r\n", "STORED\r\n");
    client.check("get k1\r\n", "VALUE k1 7 3\r\nabc\r\nEND\r\n");
    client.check("set k2 0 2000000000 3\r\nabc\r\n", "STORED\r\n");
    client.check("ms c2Nobm9pZGVy 2 b E77\r\nhi\r\n", "HD\r\n");
    client.check("set a%b&c/d=\u{1}ü~_-. 0 0 1\r\nx\r\n", "STORED\r\n");
    client.check("set gone 0 -1 1\r\nx\r\n", "STORED\r\n");
    client.check("set deleted 0 0 1\r\nx\r\ndelete deleted\r\n", "STORED\r\nDELETED\r\n");
    node
}

#[test]
fn every_live_item_has_its_line_and_no_other() {
    let node = sorts();
    let lines = dump(&node, "lru_crawler metadump all\r\n", "END\r\n");
    let (ok, items) = lines.split_first().expect("lines");
    assert_eq!(ok, "OK\r\n");
    let keys: Vec<_> = items.iter().map(|line| line.split(' ').next().expect("a key")).collect();
    assert_eq!(keys, ["key=a%25b%26c%2Fd%3D%01%C3%BC~_-.", "key=k1", "key=k2", "key=schnoider"]);
    for line in items {
        let names: Vec<_> = line.trim_end_matches('\n').split(' ').map(|word| word.split('=').next()).collect();
        let known = ["key", "exp", "la", "cas", "fetch", "cls", "size", "flags", ""];
        assert_eq!(names, known.map(Some), "memcached's fields, a space and a bare LF at the end: {line:?}");
    }
    assert!(items[1].contains(" exp=-1 ") && items[1].contains(" fetch=yes "), "{}", items[1]);
    assert!(items[1].ends_with(" flags=7 \n") && items[2].contains(" exp=2000000000 "), "{items:?}");
    assert!(items[3].contains(" cas=77 fetch=no "), "{}", items[3]);
    assert_eq!(dump(&node, "lru_crawler metadump hash\r\n", "END\r\n"), lines);
}

#[test]
fn keys_are_dumped_as_commands_that_read_them() {
    let node = sorts();
    let expected = ["OK\r\n", "mg a%b&c/d=\u{1}ü~_-.\r\n", "mg c2Nobm9pZGVy b\r\n", "mg k1\r\n", "mg k2\r\n"];
    assert_eq!(dump(&node, "lru_crawler mgdump all\r\n", "EN\r\n"), expected);
    let class = dump(&node, "lru_crawler metadump all\r\n", "END\r\n")[2].clone();
    let class = class.split(' ').find_map(|word| word.strip_prefix("cls=")).expect("a class").to_owned();
    let some = dump(&node, &format!("lru_crawler mgdump 62,{class}\r\n"), "EN\r\n");
    assert!(some.contains(&"mg k1\r\n".to_owned()), "{some:?}");
    assert_eq!(dump(&node, "lru_crawler mgdump 62\r\n", "EN\r\n"), ["OK\r\n"]);
}

#[test]
fn what_is_no_dump_is_refused_as_memcached_refuses_it() {
    let node = OneNode::start(Config::default());
    for (request, reply) in [
        ("lru_crawler metadump 0\r\n", "BADCLASS invalid class id\r\n"),
        ("lru_crawler metadump 64\r\n", "BADCLASS invalid class id\r\n"),
        ("lru_crawler mgdump 2-3\r\n", "BADCLASS invalid class id\r\n"),
        ("lru_crawler metadump 63\r\n", "OK\r\nEND\r\n"),
        ("lru_crawler mgdump 2,3\r\n", "OK\r\nEN\r\n"),
        ("lru_crawler metadump 5 6\r\n", "ERROR\r\n"),
        ("lru_crawler mgdump\r\n", "ERROR\r\n"),
        ("mn\r\nlru_crawler metadump all\r\n", "MN\r\nOK\r\nEND\r\n"),
        ("lru_crawler mgdump all\r\nget a\r\n", "OK\r\nEN\r\nEND\r\n"),
        ("get a\r\nlru_crawler metadump all\r\n", "END\r\nERROR cannot pipeline other commands before metadump\r\n"),
        ("get a\r\nlru_crawler mgdump x\r\n", "END\r\nERROR cannot pipeline other commands before mgdump\r\n"),
    ] {
        node.connect().check(request, reply);
    }
    let mut client = node.connect();
    client.check("lru_crawler disable\r\n", "OK\r\n");
    client.check("lru_crawler mgdump x\r\n", "CLIENT_ERROR lru crawler disabled\r\n");
    client.check("lru_crawler enable\r\n", "OK\r\n");
    let off = OneNode::start(Config { disable_dumping: true, ..Config::default() });
    let mut client = off.connect();
    client.check("lru_crawler metadump all\r\n", "ERROR metadump not allowed\r\n");
    client.check("lru_crawler mgdump all\r\n", "ERROR key dump not allowed\r\n");
}

#[test]
fn ten_thousand_items_are_dumped_to_a_slow_reader_in_nobodys_way() {
    const ITEMS: usize = 10_000;
    let node = OneNode::start(Config::default());
    let mut client = node.connect();
    let name = |number: usize| format!("{number:0>200}");
    let sets: String = (0..ITEMS).map(|number| format!("set {} 0 0 4 noreply\r\nabcd\r\n", name(number))).collect();
    client.check(sets + "mn\r\n", "MN\r\n");
    // Connections are dealt to the two workers in turn: the slow one comes to the client's.
    let _between = node.connect();
    let mut slow = node.connect();
    slow.0.write_all(b"lru_crawler mgdump all\r\n").expect("sent");
    let (mut text, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    while !text.ends_with(b"\r\nEN\r\n") {
        // Two megabytes in all: more than the server may hold for a client that does not read.
        let count = slow.0.read(&mut piece).expect("more");
        assert!(count > 0, "closed");
        text.extend_from_slice(&piece[..count]);
        client.check(format!("get {}\r\n", name(1)), format!("VALUE {} 0 4\r\nabcd\r\nEND\r\n", name(1)));
        if text.len() < 512 * 1024 {
            pause();
        }
    }
    let text = String::from_utf8(text).expect("text");
    let keys: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("mg ")).collect();
    assert_eq!((keys.len(), text.lines().count()), (ITEMS, ITEMS + 2), "each once, OK and EN");
    slow.0.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    slow.check("get nothing\r\n", "END\r\n");
}
