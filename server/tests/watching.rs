//! `watch`: what a watcher is told, compared with what memcached 1.6.45 tells of the same commands.
//!
//! The tables were recorded from memcached 1.6.45. Times, line numbers and connections differ from run to run, and size
//! classes from store to store: they are checked for their form and then left out.

mod node;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use memring_server::config::Config;

use self::node::{Client, OneNode, until};

/// A connection that watches.
struct Watcher(BufReader<TcpStream>);

impl Watcher {
    fn start(node: &OneNode, command: &str) -> Self {
        let mut client = node.connect();
        client.check(format!("{command}\r\n"), "OK\r\n");
        Self(BufReader::new(client.0))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        assert!(line.ends_with('\n') && !line.ends_with("\r\n"), "{line:?}");
        line.pop();
        line
    }

    /// The next lines up to that of a sentinel, without it.
    fn lines_before_sentinel(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            if line.contains(" key=sentinel ") {
                return lines;
            }
            lines.push(masked(&line));
        }
    }
}

/// The value of a field.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let found = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in {line}"))
}

/// A line without what differs from run to run.
fn masked(line: &str) -> String {
    let (seconds, micros) = field(line, "ts").split_once('.').expect("a fraction");
    assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds > 1_700_000_000), "{line}");
    assert!(micros.parse::<u32>().is_ok_and(|micros| micros < 1_000_000), "{line}");
    assert!(field(line, "gid").parse::<u64>().is_ok(), "{line}");
    let words = line.split(' ').skip(2).filter_map(|word| match word.split_once('=').expect("a field") {
        ("cfd", number) => {
            assert!(number.parse::<u64>().is_ok(), "{line}");
            None
        }
        ("clsid", "0") => Some("clsid=0".to_owned()),
        ("clsid", number) => {
            assert!(number.parse::<u8>().is_ok(), "{line}");
            Some("clsid=N".to_owned())
        }
        _ => Some(word.to_owned()),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Sends each request, expects its reply, and of the watcher these lines.
fn check(rows: &[(&str, &str, &[&str])]) {
    let node = OneNode::start(Config::default());
    let mut watcher = Watcher::start(&node, "watch fetchers mutations deletions");
    let mut client = node.connect();
    for (request, reply, lines) in rows {
        client.check(request, reply);
        client.check("get sentinel\r\n", "END\r\n");
        assert_eq!(watcher.lines_before_sentinel(), *lines, "to {request:?}");
    }
}

#[test]
fn classic_commands_are_told_as_memcached_tells_them() {
    check(&[
        ("get a\r\n", "END\r\n", &["type=item_get key=a status=not_found clsid=0 size=0"]),
        (
            "set a 5 0 3\r\nabc\r\n",
            "STORED\r\n",
            &[
                "type=item_get key=a status=not_found clsid=0 size=0",
                "type=item_store key=a status=stored cmd=set ttl=0 clsid=N size=3",
            ],
        ),
        (
            "get a a b\r\n",
            "VALUE a 5 3\r\nabc\r\nVALUE a 5 3\r\nabc\r\nEND\r\n",
            &[
                "type=item_get key=a status=found clsid=N size=3",
                "type=item_get key=a status=found clsid=N size=3",
                "type=item_get key=b status=not_found clsid=0 size=0",
            ],
        ),
        ("gat 100 a\r\n", "VALUE a 5 3\r\nabc\r\nEND\r\n", &["type=item_get key=a status=found clsid=N size=3"]),
        ("gat 0 zz\r\n", "END\r\n", &["type=item_get key=zz status=not_found clsid=0 size=0"]),
        ("touch a 0\r\n", "TOUCHED\r\n", &["type=item_get key=a status=found clsid=N size=3"]),
        ("touch zz 0\r\n", "NOT_FOUND\r\n", &["type=item_get key=zz status=not_found clsid=0 size=0"]),
        (
            "add a 0 0 1\r\nx\r\n",
            "NOT_STORED\r\n",
            &[
                "type=item_get key=a status=found clsid=N size=3",
                "type=item_store key=a status=not_stored cmd=add ttl=0 clsid=N size=1",
            ],
        ),
        (
            "add b 0 100 1\r\nx\r\n",
            "STORED\r\n",
            &[
                "type=item_get key=b status=not_found clsid=0 size=0",
                "type=item_store key=b status=stored cmd=add ttl=100 clsid=N size=1",
            ],
        ),
        (
            "replace zz 0 0 1\r\nx\r\n",
            "NOT_STORED\r\n",
            &[
                "type=item_get key=zz status=not_found clsid=0 size=0",
                "type=item_store key=zz status=not_stored cmd=replace ttl=0 clsid=N size=1",
            ],
        ),
        (
            "replace b 0 0 2\r\nxy\r\n",
            "STORED\r\n",
            &[
                "type=item_get key=b status=found clsid=N size=1",
                "type=item_store key=b status=stored cmd=replace ttl=0 clsid=N size=2",
            ],
        ),
        (
            "append b 0 0 2\r\nzz\r\n",
            "STORED\r\n",
            &[
                "type=item_get key=b status=found clsid=N size=2",
                "type=item_store key=b status=stored cmd=append ttl=0 clsid=N size=4",
            ],
        ),
        (
            "prepend b 0 50 2\r\nzz\r\n",
            "STORED\r\n",
            &[
                "type=item_get key=b status=found clsid=N size=4",
                "type=item_store key=b status=stored cmd=prepend ttl=0 clsid=N size=6",
            ],
        ),
        (
            "append zz 0 0 2\r\nzz\r\n",
            "NOT_STORED\r\n",
            &[
                "type=item_get key=zz status=not_found clsid=0 size=0",
                "type=item_store key=zz status=not_stored cmd=append ttl=0 clsid=N size=2",
            ],
        ),
        (
            "cas a 0 0 1 999\r\nx\r\n",
            "EXISTS\r\n",
            &[
                "type=item_get key=a status=found clsid=N size=3",
                "type=item_store key=a status=exists cmd=cas ttl=0 clsid=N size=1",
            ],
        ),
        (
            "cas zz 0 0 1 999\r\nx\r\n",
            "NOT_FOUND\r\n",
            &[
                "type=item_get key=zz status=not_found clsid=0 size=0",
                "type=item_store key=zz status=not_found cmd=cas ttl=0 clsid=N size=1",
            ],
        ),
        (
            "set n 0 0 1\r\n9\r\n",
            "STORED\r\n",
            &[
                "type=item_get key=n status=not_found clsid=0 size=0",
                "type=item_store key=n status=stored cmd=set ttl=0 clsid=N size=1",
            ],
        ),
        ("incr n 1\r\n", "10\r\n", &["type=item_get key=n status=found clsid=N size=1"]),
        ("decr n 5\r\n", "5\r\n", &["type=item_get key=n status=found clsid=N size=2"]),
        ("incr zz 1\r\n", "NOT_FOUND\r\n", &["type=item_get key=zz status=not_found clsid=0 size=0"]),
        (
            "incr b 1\r\n",
            "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
            &["type=item_get key=b status=found clsid=N size=6"],
        ),
        (
            "delete a\r\n",
            "DELETED\r\n",
            &["type=item_get key=a status=found clsid=N size=3", "type=deleted key=a cmd=delete clsid=N size=3"],
        ),
        ("delete zz\r\n", "NOT_FOUND\r\n", &["type=item_get key=zz status=not_found clsid=0 size=0"]),
        (
            "set e 0 0 0\r\n\r\n",
            "STORED\r\n",
            &[
                "type=item_get key=e status=not_found clsid=0 size=0",
                "type=item_store key=e status=stored cmd=set ttl=0 clsid=N size=0",
            ],
        ),
        (
            "set a%b&c/d=\u{1}ü~_-. 0 0 1\r\nx\r\n",
            "STORED\r\n",
            &[
                "type=item_get key=a%25b%26c%2Fd%3D%01%C3%BC~_-. status=not_found clsid=0 size=0",
                "type=item_store key=a%25b%26c%2Fd%3D%01%C3%BC~_-. status=stored cmd=set ttl=0 clsid=N size=1",
            ],
        ),
        ("bogus\r\n", "ERROR\r\n", &[]),
    ]);
}

#[test]
fn meta_commands_are_told_as_memcached_tells_them() {
    check(&[
        (
            "ms m 2\r\nhi\r\n",
            "HD\r\n",
            &[
                "type=item_get key=m status=not_found clsid=0 size=0",
                "type=item_store key=m status=stored cmd=set ttl=0 clsid=N size=2",
            ],
        ),
        ("mg m v q u\r\n", "VA 2\r\nhi\r\n", &["type=item_get key=m status=found clsid=N size=2"]),
        ("mg m s t\r\n", "HD s2 t-1\r\n", &["type=item_get key=m status=found clsid=N size=2"]),
        ("mg m v T100\r\n", "VA 2\r\nhi\r\n", &["type=item_get key=m status=found clsid=N size=2"]),
        ("mg zz\r\n", "EN\r\n", &["type=item_get key=zz status=not_found clsid=0 size=0"]),
        ("mg zz N30 v\r\n", "VA 0 W\r\n\r\n", &["type=item_get key=zz status=not_found clsid=0 size=0"]),
        ("mg zz v\r\n", "VA 0 Z\r\n\r\n", &["type=item_get key=zz status=found clsid=N size=0"]),
        ("me yy\r\n", "EN\r\n", &["type=item_get key=yy status=not_found clsid=0 size=0"]),
        (
            "ms vv 2 MA N60\r\nhi\r\n",
            "HD\r\n",
            &[
                "type=item_get key=vv status=not_found clsid=0 size=0",
                "type=item_store key=vv status=stored cmd=append ttl=60 clsid=N size=2",
            ],
        ),
        (
            "ms v3 2 MP\r\nhi\r\n",
            "NS\r\n",
            &[
                "type=item_get key=v3 status=not_found clsid=0 size=0",
                "type=item_store key=v3 status=not_stored cmd=prepend ttl=0 clsid=N size=2",
            ],
        ),
        (
            "ms m 2 ME\r\nhi\r\n",
            "NS\r\n",
            &[
                "type=item_get key=m status=found clsid=N size=2",
                "type=item_store key=m status=not_stored cmd=add ttl=0 clsid=N size=2",
            ],
        ),
        (
            "ms m 2 MR T60\r\nhi\r\n",
            "HD\r\n",
            &[
                "type=item_get key=m status=found clsid=N size=2",
                "type=item_store key=m status=stored cmd=replace ttl=60 clsid=N size=2",
            ],
        ),
        (
            "ms m 2 MR C1\r\nhi\r\n",
            "EX\r\n",
            &[
                "type=item_get key=m status=found clsid=N size=2",
                "type=item_store key=m status=exists cmd=cas ttl=0 clsid=N size=2",
            ],
        ),
        (
            "ms m 2 MA C1\r\nhi\r\n",
            "EX\r\n",
            &[
                "type=item_get key=m status=found clsid=N size=2",
                "type=item_store key=m status=exists cmd=append ttl=0 clsid=N size=2",
            ],
        ),
        ("md m I\r\n", "HD\r\n", &["type=item_get key=m status=found clsid=N size=2"]),
        ("mg m v\r\n", "VA 2 X W\r\nhi\r\n", &["type=item_get key=m status=found clsid=N size=2"]),
        (
            "md m x\r\n",
            "HD\r\n",
            &[
                "type=item_get key=m status=found clsid=N size=2",
                "type=item_get key=m status=found clsid=N size=2",
                "type=item_store key=m status=stored cmd=set ttl=0 clsid=N size=0",
                "type=deleted key=m cmd=md clsid=N size=0",
            ],
        ),
        (
            "md m\r\n",
            "HD\r\n",
            &["type=item_get key=m status=found clsid=N size=0", "type=deleted key=m cmd=md clsid=N size=0"],
        ),
        ("md m\r\n", "NF\r\n", &["type=item_get key=m status=not_found clsid=0 size=0"]),
        (
            "ma cnt N100 J5\r\n",
            "HD\r\n",
            &[
                "type=item_get key=cnt status=not_found clsid=0 size=0",
                "type=item_get key=cnt status=not_found clsid=0 size=0",
                "type=item_store key=cnt status=stored cmd=add ttl=0 clsid=N size=1",
            ],
        ),
        ("ma cnt\r\n", "HD\r\n", &["type=item_get key=cnt status=found clsid=N size=1"]),
        ("ma nope\r\n", "NF\r\n", &["type=item_get key=nope status=not_found clsid=0 size=0"]),
        (
            "ms c2Nobm9pZGVy 2 b\r\nhi\r\n",
            "HD\r\n",
            &[
                "type=item_get key=schnoider status=not_found clsid=0 size=0",
                "type=item_store key=schnoider status=stored cmd=set ttl=0 clsid=N size=2",
            ],
        ),
    ]);
}

/// Where memcached 1.6.45 prints memory that it did not mean to: class and connection of what is too large.
#[test]
fn a_value_that_is_too_large_is_told_without_rubbish() {
    let set = ["set big 0 0 20000\r\n", &"x".repeat(20_000), "\r\n"].concat();
    let lines: &[&str] = &[
        "type=item_store key=big status=too_large cmd=set ttl=0 clsid=0 size=0",
        "type=item_get key=big status=not_found clsid=0 size=0",
    ];
    check(&[(&set, "SERVER_ERROR object too large for cache\r\n", lines)]);
}

#[test]
fn lines_are_numbered_and_name_the_connection() {
    let node = OneNode::start(Config::default());
    let mut watcher = Watcher::start(&node, "watch fetchers");
    let mut client = node.connect();
    let mut last = None;
    for _ in 0..3 {
        client.check("get a\r\n", "END\r\n");
        let line = watcher.line();
        let gid: u64 = field(&line, "gid").parse().expect("a number");
        assert!(last.is_none_or(|last| gid == last + 1), "{line}");
        last = Some(gid);
        let conns = client.stats("stats conns\r\n");
        let own = format!("{}:addr ", field(&line, "cfd"));
        assert!(conns.iter().any(|line| line.starts_with(&own)), "{line}: {conns:?}");
    }
}

#[test]
fn connections_are_told_as_they_come_and_go() {
    let node = OneNode::start(Config::default());
    let mut watcher = Watcher::start(&node, "watch connevents");
    for (words, reason) in [("quit\r\n", "normal"), ("GET / HTTP/1.1\r\n", "error")] {
        let client = node.connect();
        let port = client.0.local_addr().expect("an address").port();
        assert_eq!(client.until_closed(words), "");
        let opened = watcher.line();
        let closed = watcher.line();
        let from = format!("rip=127.0.0.1 rport={port} transport=tcp");
        assert_eq!(masked(&opened), format!("type=conn_new {from}"));
        assert_eq!(masked(&closed), format!("type=conn_close {from} reason={reason}"));
        assert_eq!(field(&opened, "cfd"), field(&closed, "cfd"));
    }
}

#[test]
fn a_client_that_was_silent_for_too_long_is_told_as_such() {
    let node = OneNode::start(Config { idle_timeout_s: 1, ..Config::default() });
    let mut watcher = Watcher::start(&node, "watch connevents");
    let client = node.connect();
    assert_eq!(client.until_closed(""), "");
    assert!(watcher.line().contains(" type=conn_new "), "and the watcher itself stays");
    assert_eq!(field(&watcher.line(), "reason"), "idle_timeout");
}

#[test]
fn evictions_are_told() {
    let node = OneNode::start(Config { memory_limit_bytes: 2 << 20, ..Config::default() });
    let mut watcher = Watcher::start(&node, "watch evictions");
    let mut client = node.connect();
    let value = "x".repeat(5000);
    for number in 0..600 {
        client.check(format!("set key{number} 0 1000 5000\r\n{value}\r\n"), "STORED\r\n");
    }
    for _ in 0..20 {
        let line = watcher.line();
        let shown = masked(&line);
        let key = field(&line, "key");
        assert!(key.starts_with("key"), "{line}");
        let (ttl, idle): (i64, u64) =
            (field(&line, "ttl").parse().expect("a number"), field(&line, "la").parse().expect("a number"));
        assert!((900..=1000).contains(&ttl) && idle < 100, "{line}");
        assert_eq!(shown, format!("type=eviction key={key} fetch=no ttl={ttl} la={idle} clsid=N size=5000"));
        client.check(format!("get {key}\r\n"), "END\r\n");
    }
}

#[test]
fn a_watch_does_not_follow_what_was_not_waited_for() {
    const REFUSED: &str = "ERROR cannot pipeline other commands before watch\r\n";
    let node = OneNode::start(Config::default());
    for (request, reply) in [
        ("mn\r\nwatch\r\n", "MN\r\nOK\r\n".to_owned()),
        ("set a 0 0 1\r\nx\r\nwatch\r\n", format!("STORED\r\n{REFUSED}")),
        ("set a 0 0 1 noreply\r\nx\r\nwatch\r\nget b\r\n", format!("{REFUSED}END\r\n")),
        ("version\r\nmn\r\nwatch\r\n", format!("VERSION {}\r\nMN\r\nOK\r\n", memring_engine::node::VERSION)),
        ("watch bogus\r\n", "ERROR\r\n".to_owned()),
        ("watch fetchers proxyreqs\r\n", "OK\r\n".to_owned()),
    ] {
        node.connect().check(request, reply);
    }
    let off = OneNode::start(Config { disable_watch: true, ..Config::default() });
    off.connect().check("watch\r\nget a\r\n", "CLIENT_ERROR watch commands not allowed\r\nEND\r\n");
}

#[test]
fn a_watcher_only_watches_and_makes_room_when_it_goes() {
    let node = OneNode::start(Config::default());
    let mut watchers: Vec<_> = (0..20).map(|_| Watcher::start(&node, "watch fetchers")).collect();
    let mut client = node.connect();
    client.check("watch\r\n", "WATCHER_TOO_MANY log watcher limit reached\r\n");
    client.check("get a\r\n", "END\r\n");
    let first = watchers.last_mut().expect("twenty");
    assert_eq!(field(&first.line(), "key"), "a");
    // Nothing of this is run, or answered.
    first.0.get_ref().write_all(b"get b\r\nquit\r\n").expect("sent");
    client.check("get c\r\n", "END\r\n");
    assert_eq!(field(&first.line(), "key"), "c");
    watchers.pop();
    until(|| {
        let mut client = node.connect();
        client.0.write_all(b"watch\r\n").expect("sent");
        let mut answer = [0; 2];
        client.0.read_exact(&mut answer).expect("an answer");
        answer == *b"OK"
    });
}

#[test]
fn a_slow_watcher_is_told_how_much_it_missed() {
    const KEYS: usize = 100;
    let node = OneNode::start(Config::default());
    let mut watcher = Watcher::start(&node, "watch fetchers");
    let mut client = node.connect();
    let keys: String = (0..KEYS).map(|number| format!(" {number:0>240}")).collect();
    // Far more than the sockets' buffers and the watcher's together.
    for _ in 0..800 {
        client.check(format!("get{keys}\r\n"), "END\r\n");
    }
    watcher.0.get_ref().set_read_timeout(Some(Duration::from_millis(300))).expect("a timeout");
    let (mut lines, mut skipped, mut first, mut last) = (0, 0, None, 0);
    let mut text = String::new();
    while skipped == 0 || !text.contains("key=sentinel ") {
        text.clear();
        match watcher.0.read_line(&mut text) {
            Ok(count) => assert!(count > 0, "closed"),
            Err(_) => {
                client.check("get sentinel\r\n", "END\r\n");
                continue;
            }
        }
        if let Some(missed) = text.trim_end().strip_prefix("skipped=") {
            skipped += missed.parse::<u64>().expect("a number");
        } else {
            lines += 1;
            last = field(text.trim_end(), "gid").parse::<u64>().expect("a number");
            first.get_or_insert(last);
        }
    }
    assert!(skipped > 10_000, "{skipped} of {lines}");
    assert_eq!(lines + skipped, last - first.expect("a line") + 1, "every line was sent or counted");
}

#[test]
fn a_watcher_ends_with_the_node() {
    let node = OneNode::start(Config { enable_shutdown: true, ..Config::default() });
    let watcher = Watcher::start(&node, "watch connevents");
    let mut rest = String::new();
    assert_eq!(Client(node.connect().0).until_closed("shutdown graceful\r\n"), "");
    let mut stream = watcher.0;
    stream.read_to_string(&mut rest).expect("the end");
    assert!(rest.contains(" type=conn_new "), "{rest}");
    node.until_ended();
}
