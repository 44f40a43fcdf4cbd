//! `memring get`, `set`, `delete` and `stats` against a real node. Must not know how they ask.

use std::io::Write;
use std::process::Stdio;

mod real;

use real::{Node, ended, memring};
use serde_json::{Value, json};

fn object(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn what_is_set_is_got_and_deleted() {
    let node = Node::alone();
    // A server that is not there is passed over.
    let servers = format!("127.0.0.1:1,{}", node.address);
    let run = |words: &[&str]| ended(memring(words).args(["--server", &servers]));
    let done = |text: &str| (Some(0), text.to_owned(), String::new());
    assert_eq!(run(&["set", "a", "hällo", "--flags", "7", "--ttl", "1h"]), done("stored\n"));
    assert_eq!(run(&["get", "a"]), done("hällo"));
    assert_eq!(run(&["set", "b", "-5"]), done("stored\n"));
    assert_eq!(run(&["get", "b", "a"]), done("b -5\na hällo\n"));
    let (code, stdout, stderr) = run(&["get", "a", "missing", "--json"]);
    assert_eq!((code, stderr.as_str()), (Some(1), "memring: missing: not found\n"));
    let found = json!({ "key": "a", "found": true, "flags": 7, "bytes": 6, "value": "hällo" });
    assert_eq!(object(&stdout), json!({ "keys": [found, { "key": "missing", "found": false }] }));
    let (code, stdout, stderr) = run(&["delete", "a", "missing"]);
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(1), "a deleted\n", "memring: missing: not found\n"));
    assert_eq!(run(&["get", "a"]), (Some(1), String::new(), "memring: a: not found\n".to_owned()));
    let (code, stdout, _) = run(&["delete", "b", "--json"]);
    assert_eq!((code, object(&stdout)), (Some(0), json!({ "keys": [{ "key": "b", "deleted": true }] })));
}

#[test]
fn a_request_may_have_a_level_of_its_own() {
    let node = Node::alone();
    let run = |words: &[&str]| ended(memring(words).args(["--server", &node.address]));
    let done = |text: &str| (Some(0), text.to_owned(), String::new());
    assert_eq!(run(&["set", "a", "1", "--level", "quorum", "--flags", "7"]), done("stored\n"));
    assert_eq!(run(&["get", "a", "a", "--level", "all"]), done("a 1\na 1\n"));
    let (code, stdout, _) = run(&["get", "missing", "a", "--level", "one", "--json"]);
    let keys = &object(&stdout)["keys"];
    assert_eq!((code, &keys[0]["found"], &keys[1]["flags"]), (Some(1), &false.into(), &7.into()));
    assert_eq!(run(&["delete", "a", "--level", "all"]), done("a deleted\n"));
    let (code, _, stderr) = run(&["set", "a", "1", "--level", "most"]);
    let line = "memring: --level most: a level is one, quorum, all or a number from 1 to 255\n";
    assert_eq!((code, stderr.as_str()), (Some(2), line));
}

#[test]
fn bytes_go_through_as_they_are() {
    let node = Node::alone();
    let bytes = [0xff, 0, b'\r', b'\n', 0xfe];
    let mut set = memring(&["set", "raw", "-", "--json", "--server", &node.address]);
    let mut set = set.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    set.stdin.take().expect("piped").write_all(&bytes).expect("written");
    let stored = set.wait_with_output().expect("it ends");
    let stored = object(std::str::from_utf8(&stored.stdout).expect("text"));
    assert_eq!(stored, json!({ "key": "raw", "stored": true, "bytes": 5 }));
    let got = memring(&["get", "raw", "--server", &node.address]).output().expect("it runs");
    assert_eq!(got.stdout, bytes);
    let (_, several, _) = ended(&mut memring(&["get", "raw", "raw", "--server", &node.address]));
    assert_eq!(several, "raw \\xff\\u{0}\\r\\n\\xfe\n".repeat(2));
    let (_, shown, _) = ended(&mut memring(&["get", "raw", "--json", "--server", &node.address]));
    assert_eq!(object(&shown)["keys"][0]["value_base64"], "/wANCv4=");
}

#[test]
fn statistics_of_every_kind_are_shown() {
    let node = Node::alone();
    let stats = |words: &[&str]| ended(memring(&["stats", "--server", &node.address]).args(words));
    let (code, table, _) = stats(&["settings"]);
    assert_eq!(code, Some(0));
    assert!(table.lines().any(|line| line.starts_with("maxbytes ") && line.ends_with(" 67108864")), "{table}");
    for of in [&[][..], &["settings"], &["items"], &["slabs"], &["conns"], &["cluster"]] {
        let (code, json, _) = stats(&[of, &["--json"]].concat());
        assert!(code == Some(0) && object(&json).is_object(), "{of:?}: {json}");
    }
    let (_, json, _) = stats(&["--json"]);
    assert_eq!((&object(&json)["curr_items"], object(&json)["version"].is_string()), (&json!(0), true));
}

#[test]
fn what_cannot_be_asked_is_one_line() {
    let long = "k".repeat(251);
    let no_key = "expected 1 to 250 bytes without spaces and control characters\n";
    for (arguments, code, line) in [
        (&["get", "a b"][..], 2, format!("memring: KEY a b: {no_key}")),
        (&["delete", &long], 2, format!("memring: KEY {}: {no_key}", &long[..60])),
        (&["set", "", "v"], 2, format!("memring: KEY : {no_key}")),
        (
            &["set", "k", "v", "--ttl", "0s"],
            2,
            "memring: --ttl 0s: expected whole seconds, from 1s to 720h\n".to_owned(),
        ),
        (&["set", "k", "v", "--flags", "-1"], 2, "memring: ".to_owned()),
        (&["get"], 2, "memring: ".to_owned()),
        (&["get", "k", "--server", "127.0.0.1:1"], 1, "memring: 127.0.0.1:1: cannot connect: ".to_owned()),
        (&["stats", "--server", ""], 1, "memring: --server: no server is named\n".to_owned()),
    ] {
        let (ended_with, stdout, stderr) = ended(&mut memring(arguments));
        assert_eq!(
            (ended_with, stdout.as_str(), stderr.lines().count()),
            (Some(code), "", 1),
            "{arguments:?}: {stderr}"
        );
        assert!(stderr.starts_with(&line), "{arguments:?}: {stderr}");
    }
}

#[test]
fn what_a_server_refuses_is_told() {
    let node = Node::alone();
    let (code, _, stderr) = ended(&mut memring(&["set", "k", &"v".repeat(20_000), "--server", &node.address]));
    assert_eq!(code, Some(1));
    assert_eq!(stderr, format!("memring: {}: the server failed: object too large for cache\n", node.address));
}
