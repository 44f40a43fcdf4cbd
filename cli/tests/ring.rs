//! `memring ring` against a real node. Must not know how keys are placed.

mod real;

use real::{Node, ended, eventually, memring};
use serde_json::Value;

#[test]
fn a_ring_and_a_key_are_shown() {
    let node = Node::start(&["--replicas", "1", "--name", "n1", "--zone", "a"]);
    // The ring of one is founded some moments after the node listens.
    let json = eventually("the node has a ring", || {
        let (code, json, _) = ended(&mut memring(&["ring", "--json", "--server", &node.address]));
        (code == Some(0)).then_some(json)
    });
    let ring: Value = serde_json::from_str(&json).expect("JSON");
    let member = &ring["members"][0];
    assert_eq!((&member["name"], &member["zone"], &member["copies"]), (&"n1".into(), &"a".into(), &16_384.into()));
    assert_eq!((&ring["of_fair_copies"]["min"], &ring["copies"]), (&1.0.into(), &1.into()));
    let (code, text, _) = ended(&mut memring(&["ring", "--server", &node.address]));
    assert!(code == Some(0) && text.contains("\nn1    a       1.00  active    alive "), "{text}");
    let (code, text, _) = ended(&mut memring(&["ring", "greeting", "--server", &node.address]));
    assert!(code == Some(0) && text.starts_with("key greeting: token ") && text.contains("1. n1"), "{text}");
    let (code, _, stderr) = ended(&mut memring(&["ring", "a b", "--server", &node.address]));
    assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
}
