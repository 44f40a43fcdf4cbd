//! The doors of one node in this process: where clients come in, who may, and how they are shown out.
//!
//! Each test has its own node on free ports. What is said inside is not tested here.

mod node;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use memring_server::config::{Accounts, AuthFile, Config, ListenAddress};

use self::node::{Client, OneNode, free_port, pause, until};

fn place(host: &str, port: Option<u16>) -> ListenAddress {
    ListenAddress { host: host.to_owned(), port }
}

/// A folder that goes with the test, and a path in it.
fn path(name: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name).to_string_lossy().into_owned();
    (folder, path)
}

/// Whether this machine has `::1`; says so if not.
fn has_ipv6(test: &str) -> bool {
    let has = TcpListener::bind(("::1", 0)).is_ok();
    if !has {
        eprintln!("{test}: skipped, this machine has no ::1");
    }
    has
}

#[test]
fn clients_come_through_a_unix_socket() {
    let (_folder, path) = path("m.sock");
    // A file that a killed process has left behind.
    drop(UnixListener::bind(&path).expect("bound"));
    let config = Config { socket: Some(path.clone()), socket_mode: 0o600, enable_shutdown: true, ..Config::default() };
    let node = OneNode::start(config);
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = Client(UnixStream::connect(&path).expect("a connection"));
    client.check("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    node.connect().check("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    let lines = client.stats("stats conns\r\n");
    assert!(lines.contains(&format!("2:addr unix:{path}")), "{lines:?}");
}

#[test]
fn there_may_be_no_tcp_for_clients() {
    let (_folder, path) = path("m.sock");
    let config = Config { socket: Some(path.clone()), tcp_for_clients: false, ..Config::default() };
    let node = OneNode::start(config);
    assert!(TcpStream::connect(("127.0.0.1", node.config.port)).is_err());
    Client(UnixStream::connect(&path).expect("a connection")).check("bogus\r\n", "ERROR\r\n");
}

#[test]
fn a_node_listens_in_several_places() {
    let (second, third) = (free_port(), free_port());
    let mut listen = vec![place("127.0.0.1", None), place("127.0.0.1", Some(second)), place("localhost", Some(third))];
    let has_ipv6 = has_ipv6("a_node_listens_in_several_places");
    if has_ipv6 {
        listen.push(place("::1", None));
    }
    let node = OneNode::start(Config { listen, ..Config::default() });
    node.connect().check("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    for port in [second, third] {
        Client::over_tcp("127.0.0.1", port).check("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    }
    if has_ipv6 {
        Client::over_tcp("::1", node.config.port).check("get a\r\n", "VALUE a 0 1\r\nx\r\nEND\r\n");
    }
}

#[test]
fn every_address_of_both_kinds_can_be_listened_on() {
    if !has_ipv6("every_address_of_both_kinds_can_be_listened_on") {
        return;
    }
    let listen = vec![place("::", None), place("0.0.0.0", None)];
    let config = Config { listen, peer_listen: Some("127.0.0.1".to_owned()), ..Config::default() };
    let node = OneNode::start(config);
    for host in ["127.0.0.1", "::1"] {
        Client::over_tcp(host, node.config.port).check("bogus\r\n", "ERROR\r\n");
    }
    // The peers' ports listen where they were told to, and nowhere else.
    assert!(TcpStream::connect(("::1", node.config.admin_port)).is_err());
}

#[test]
fn connections_are_listed() {
    let node = OneNode::start(Config::default());
    let mut half = node.connect();
    half.0.write_all(b"set a 0 0 9\r\nx").expect("sent");
    let mut idle = node.connect();
    idle.check("bogus\r\n", "ERROR\r\n");
    let mut asking = node.connect();
    let listener = format!("tcp:127.0.0.1:{}", node.config.port);
    let expected = |clients: &[(u64, &TcpStream, &str)]| {
        let mut lines = vec![format!("1:addr {listener}"), "1:state conn_listening".to_owned()];
        for (number, stream, state) in clients {
            let address = stream.local_addr().expect("an address");
            lines.push(format!("{number}:addr tcp:{address}"));
            lines.push(format!("{number}:listen_addr {listener}"));
            lines.push(format!("{number}:state {state}"));
        }
        lines
    };
    let mut listed = |request: &str| {
        let (silent, lines): (Vec<_>, Vec<_>) =
            asking.stats(request).into_iter().partition(|line| line.contains(":secs_since_last_cmd "));
        assert_eq!(silent.len(), lines.iter().filter(|line| line.contains(":state ")).count());
        lines
    };
    let address = listed("stats conns\r\n")[8..].to_vec();
    // The first read of a fresh connection may come after the others are listed.
    let stream = half.0.try_clone().expect("a handle");
    until(|| listed("stats conns\r\n").contains(&"2:state conn_nread".to_owned()));
    let all = expected(&[(2, &stream, "conn_nread"), (3, &idle.0, "conn_read")]);
    let now = listed("stats conns and what stands behind\r\n");
    assert_eq!(now[..8], all);
    assert_eq!(now[8..], address);
    assert_eq!(now.last().map(String::as_str), Some("4:state conn_parse_cmd"));
    drop((half, stream));
    until(|| !listed("stats conns\r\n").iter().any(|line| line.starts_with("2:")));
}

#[test]
fn figures_are_those_of_the_moment() {
    let node = OneNode::start(Config::default());
    let mut client = node.connect();
    let mut check = |expected: &[&str]| {
        let lines = client.stats("stats\r\n");
        for line in expected {
            assert!(lines.contains(&(*line).to_owned()), "{line}: {lines:?}");
        }
    };
    check(&["curr_connections 1", "total_connections 1", "bytes_read 7"]);
    let mut other = node.connect();
    other.check("bogus\r\n", "ERROR\r\n");
    check(&["curr_connections 2", "total_connections 2", "bytes_read 21"]);
}

#[test]
fn an_idle_client_is_closed_without_a_word() {
    let node = OneNode::start(Config { idle_timeout_s: 1, ..Config::default() });
    let mut active = node.connect();
    let mut idle = node.connect();
    let mut stalled = node.connect();
    stalled.0.write_all(b"get a").expect("sent");
    for client in [&mut idle, &mut stalled] {
        client.0.set_nonblocking(true).expect("set");
    }
    until(|| {
        active.check("bogus\r\n", "ERROR\r\n");
        idle.is_closed().is_ok_and(|closed| closed)
    });
    until(|| {
        active.check("bogus\r\n", "ERROR\r\n");
        stalled.is_closed().is_ok_and(|closed| closed)
    });
    active.check("bogus\r\n", "ERROR\r\n");
}

/// A node whose users are `user` with `pass word` and `bob` with `x`.
fn guarded(path: &str) -> OneNode {
    fs::write(path, "user:pass word\nbob:x\n").expect("written");
    let accounts = Accounts::read(path).expect("legal");
    OneNode::start(Config { auth_file: Some(AuthFile { path: path.to_owned(), accounts }), ..Config::default() })
}

const IN: &str = "STORED\r\n";
const UNKNOWN: &str = "CLIENT_ERROR unauthenticated\r\n";
const WRONG: &str = "CLIENT_ERROR authentication failure\r\n";
const FORMAT: &str = "CLIENT_ERROR bad authentication token format\r\n";
const TERMINATION: &str = "CLIENT_ERROR bad command line termination\r\n";
const TOO_LONG: &str = "CLIENT_ERROR auth token too long\r\n";

/// What a client that has not logged in sends, what it is answered, and whether it is still connected.
const LOGINS: [(&str, &[&str], bool); 27] = [
    ("set k 0 0 14\r\nuser pass word\r\n", &[IN], true),
    ("set k 0 0 14\r\nuser pass word\r\nget k\r\n", &[IN, "END\r\n"], true),
    ("set k 0 0 5 noreply\r\nbob x\r\n", &[IN], true),
    ("set k 0 0 5\r\nbob x\r\nset k 0 0 5\r\nbob x\r\nget k\r\n", &[IN, IN, "VALUE k 0 5\r\nbob x\r\nEND\r\n"], true),
    ("set k 0 0 5\r\nbob x\r\nquit\r\n", &[IN], false),
    ("set k 0 0 9\r\nuser pass\r\nset k 0 0 5\r\nbob x\r\n", &[WRONG, IN], true),
    ("set k 0 0 9 noreply\r\nuser pass\r\n", &[WRONG], true),
    ("set k 0 0 4\r\nbobx\r\n", &[FORMAT], true),
    ("set k 0 0 0\r\n\r\n", &[FORMAT], true),
    ("set k 0 0 5\r\nbob xyz", &[TERMINATION], true),
    ("set k 0 0 16385\r\nversion\r\n", &[TOO_LONG, UNKNOWN], true),
    ("get k\r\n", &[UNKNOWN], true),
    ("set k 0 0 x\r\nbob x\r\n", &[UNKNOWN, UNKNOWN], true),
    ("set k 0 0\r\n", &[UNKNOWN], true),
    ("add k 0 0 5\r\nbob x\r\n", &[UNKNOWN, UNKNOWN], true),
    ("version\r\n", &[UNKNOWN], true),
    ("stats\r\n", &[UNKNOWN], true),
    ("stats conns\r\n", &[UNKNOWN], true),
    ("shutdown\r\n", &[UNKNOWN], true),
    ("flush_all noreply\r\n", &[UNKNOWN], true),
    ("GET / HTTP/1.1\r\n", &[UNKNOWN], true),
    ("set k 0 0 99999\r\n", &[TOO_LONG], true),
    ("mg k v\r\n", &[UNKNOWN], true),
    ("mn\r\n", &[], false),
    ("quit\r\n", &[], false),
    ("\r\n\r\n", &[], false),
    ("get k\r\nquit\r\n", &[UNKNOWN], false),
];

#[test]
fn nothing_is_answered_before_a_login() {
    let (_folder, path) = path("users");
    let node = guarded(&path);
    for byte_by_byte in [false, true] {
        for (request, answers, stays) in LOGINS {
            let mut client = node.connect();
            // The key that some of them store.
            let mut clean = node.connect();
            clean.check("set k 0 0 5\r\nbob x\r\ndelete k noreply\r\n", "STORED\r\n");
            clean.check("get k\r\n", "END\r\n");
            if byte_by_byte {
                // What the server has closed takes no more.
                let _ = request.as_bytes().chunks(1).try_for_each(|byte| client.0.write_all(byte));
            } else {
                client.0.write_all(request.as_bytes()).expect("sent");
            }
            client.check("", answers.concat());
            if stays {
                client.0.set_nonblocking(true).expect("set");
                assert!(client.is_closed().is_err(), "{request:?} is answered too much, or closed");
            } else {
                assert!(client.is_closed().unwrap_or(true), "{request:?}");
            }
        }
    }
    let junk = node.connect().until_closed("get ".repeat(513));
    assert_eq!(junk, "");
}

#[test]
fn the_accounts_are_read_again_at_a_hangup() {
    let (_folder, path) = path("users");
    let node = guarded(&path);
    let may_enter = |login: &str| {
        let mut client = node.connect();
        client.0.write_all(format!("set a 0 0 {}\r\n{login}\r\n", login.len()).as_bytes()).expect("sent");
        let mut answer = [0; 8];
        client.0.read_exact(&mut answer).expect("an answer");
        answer == *b"STORED\r\n"
    };
    let hang_up = || {
        let told = Command::new("kill").args(["-HUP", &std::process::id().to_string()]).status().expect("kill");
        assert!(told.success());
    };
    let mut stays = node.connect();
    stays.check("set a 0 0 5\r\nbob x\r\n", "STORED\r\n");
    fs::write(&path, "bob:y\n").expect("written");
    assert!(may_enter("bob x") && !may_enter("bob y"));
    hang_up();
    until(|| may_enter("bob y"));
    assert!(!may_enter("bob x"));
    stays.check("bogus\r\n", "ERROR\r\n");
    // A bad file changes nothing: the next good one is how we know that it was looked at.
    fs::write(&path, "bob\n").expect("written");
    hang_up();
    for _ in 0..10 {
        assert!(may_enter("bob y"));
        pause();
    }
    fs::write(&path, "bob:z\n").expect("written");
    hang_up();
    until(|| may_enter("bob z"));
}

#[test]
fn shutdown_needs_leave() {
    let node = OneNode::start(Config::default());
    node.connect().check(
        "shutdown\r\nshutdown graceful\r\nshutdown now\r\nshutdown noreply\r\nbogus\r\n",
        ["SERVER_ERROR: shutdown not enabled\r\n".repeat(3), "ERROR\r\n".to_owned()].concat(),
    );
}

#[test]
fn a_client_may_stop_a_node_that_lets_it() {
    for mode in ["shutdown\r\n", "shutdown graceful\r\n"] {
        let (_folder, path) = path("m.sock");
        let config = Config { socket: Some(path.clone()), enable_shutdown: true, ..Config::default() };
        let node = OneNode::start(config);
        let mut client = node.connect();
        client.check("shutdown now\r\n", "CLIENT_ERROR invalid shutdown mode\r\n");
        client.check("shutdown graceful now\r\n", "CLIENT_ERROR invalid shutdown mode\r\n");
        let answer = client.until_closed(format!("set a 0 0 1\r\nx\r\n{mode}get a\r\n"));
        assert_eq!(answer, "STORED\r\n");
        node.until_ended();
        assert!(!fs::exists(&path).expect("a folder"), "the socket's file is left behind");
    }
}
