//! A node that is alone keeps its items in `--data-dir` while its process does not run, and takes them back once.

mod node;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use memring_server::config::{Config, JoinTarget};

use self::node::{Client, OneNode, pause};

/// In as many partitions, about.
const ITEMS: usize = 3000;

/// Where the moment of writing lies in the file, in unix milliseconds.
const WRITTEN_AT: std::ops::Range<usize> = 28..36;

fn start(dir: &Path, config: Config) -> OneNode {
    OneNode::start(Config { data_dir: Some(dir.to_owned()), enable_shutdown: true, ..config })
}

fn stop(node: OneNode) {
    let mut client = node.connect();
    client.check("shutdown graceful\r\n", "");
    node.until_ended();
}

fn snapshot(dir: &Path) -> PathBuf {
    dir.join("items.snapshot")
}

fn fill(client: &mut Client<TcpStream>) {
    for number in 0..ITEMS {
        client.check(format!("set k{number} 7 0 {}\r\n{number}\r\n", number.to_string().len()), "STORED\r\n");
    }
}

/// What a get or gets of one key is answered: the words of its first line, and the value; `None` is a miss.
fn ask(client: &mut Client<TcpStream>, request: &str) -> Option<(Vec<String>, String)> {
    client.0.write_all(format!("{request}\r\n").as_bytes()).expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"END\r\n") {
        let mut byte = [0];
        client.0.read_exact(&mut byte).expect("more");
        answer.extend(byte);
    }
    let text = String::from_utf8(answer).expect("text");
    let mut lines = text.lines();
    let words = lines.next().filter(|line| line.starts_with("VALUE "))?.split(' ').map(str::to_owned).collect();
    Some((words, lines.next().expect("a value").to_owned()))
}

/// How many of them a node has, each whole.
fn held(client: &mut Client<TcpStream>) -> usize {
    let has = |number: &usize| {
        let found = ask(client, &format!("get k{number}"));
        if let Some((words, value)) = &found {
            assert_eq!((words[2].as_str(), value), ("7", &number.to_string()), "k{number}");
        }
        found.is_some()
    };
    (0..ITEMS).filter(has).count()
}

#[test]
fn a_lone_node_has_its_items_back_after_a_planned_stop() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = start(dir.path(), Config::default());
    let mut client = node.connect();
    fill(&mut client);
    client.check(
        "set short 0 1 1\r\n1\r\nset deleted 0 0 1\r\n1\r\ndelete deleted\r\n",
        "STORED\r\nSTORED\r\nDELETED\r\n",
    );
    client.check("set count 0 0 2\r\n41\r\nincr count 1\r\n", "STORED\r\n42\r\n");
    let token = ask(&mut client, "gets k5").expect("a hit").0.pop().expect("a token");
    stop(node);
    assert!(snapshot(dir.path()).is_file());
    // Until the short one's time is over.
    std::iter::repeat_with(pause).take(300).for_each(drop);
    let node = start(dir.path(), Config::default());
    assert!(!snapshot(dir.path()).exists(), "what is kept is served once");
    let mut client = node.connect();
    assert_eq!(held(&mut client), ITEMS);
    client.check("get short deleted\r\n", "END\r\n");
    client.check("incr count 1\r\n", "43\r\n");
    // Tokens are as they were, and later ones are other ones.
    client.check(format!("cas k5 0 0 3 {token}\r\nnew\r\ncas k5 0 0 3 {token}\r\nold\r\n"), "STORED\r\nEXISTS\r\n");
    client.check("get k5\r\n", "VALUE k5 0 3\r\nnew\r\nEND\r\n");
}

#[test]
fn what_was_flushed_is_not_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = start(dir.path(), Config::default());
    let mut client = node.connect();
    client.check("set old 0 0 1\r\n1\r\nflush_all\r\nset new 0 0 1\r\n2\r\n", "STORED\r\nOK\r\nSTORED\r\n");
    stop(node);
    let node = start(dir.path(), Config::default());
    node.connect().check("get old new\r\n", "VALUE new 0 1\r\n2\r\nEND\r\n");
}

#[test]
fn what_is_torn_changed_old_or_not_a_snapshot_is_left_out() {
    let dir = tempfile::tempdir().expect("a folder");
    let node = start(dir.path(), Config::default());
    fill(&mut node.connect());
    stop(node);
    let whole = std::fs::read(snapshot(dir.path())).expect("a file");
    let far = u64::from_le_bytes(whole[WRITTEN_AT].try_into().expect("eight bytes")) - 16 * 60 * 1000;
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut old = whole.clone();
    old[WRITTEN_AT].copy_from_slice(&far.to_le_bytes());
    let back = |bytes: &[u8], config: Config| {
        std::fs::write(snapshot(dir.path()), bytes).expect("written");
        let unfinished = dir.path().join("items.snapshot.tmp");
        std::fs::write(&unfinished, bytes).expect("written");
        let node = start(dir.path(), config);
        assert!(!unfinished.exists(), "what a stop has not finished is of no use");
        let held = held(&mut node.connect());
        // Nothing that is left aside is found by the next start.
        assert!(!snapshot(dir.path()).exists());
        node.connect().check("flush_all\r\n", "OK\r\n");
        stop(node);
        let _ = std::fs::remove_file(snapshot(dir.path()));
        held
    };
    assert_eq!(back(&whole, Config::default()), ITEMS);
    assert_eq!(back(&changed(3), Config::default()), 0, "a strange file");
    assert_eq!(back(&changed(16), Config::default()), 0, "another version");
    assert_eq!(back(&changed(20), Config::default()), 0, "another cluster");
    assert_eq!(back(&old, Config::default()), 0, "sixteen minutes old");
    assert_eq!(
        back(&old, Config { remove_after: Duration::ZERO, ..Config::default() }),
        ITEMS,
        "expected back for ever"
    );
    assert_eq!(back(&whole[..20], Config::default()), 0, "not even a head");
    for (bytes, what) in [(whole[..whole.len() - 1].to_vec(), "torn"), (changed(whole.len() - 9), "changed")] {
        let held = back(&bytes, Config::default());
        assert!(held < ITEMS, "all of {ITEMS} items of a file that is {what}");
    }
    // Others have answered meanwhile.
    let join = vec![JoinTarget { host: "127.0.0.1".to_owned(), port: Some(1) }];
    assert_eq!(back(&whole, Config { join, expect: Some(1), ..Config::default() }), 0, "joining");
}
