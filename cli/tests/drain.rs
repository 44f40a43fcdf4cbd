//! `memring drain` of a real node in a ring of two, told to programs and people. Must not know how a share moves.

mod real;

use real::{Node, ended, memring};
use serde_json::Value;

#[test]
fn a_drain_is_told_in_lines_and_again_when_it_is_over() {
    let [first, second] = Node::pair(["n1", "n2"]);
    let set = ended(&mut memring(&["set", "k", "v", "--server", &second.address]));
    assert_eq!(set, (Some(0), "stored\n".to_owned(), String::new()));
    let (code, lines, stderr) = ended(&mut memring(&["drain", "--json", "--server", &second.address]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let (last, earlier) = objects.split_last().expect("a line");
    assert_eq!((last["state"].as_str(), &last["partitions_left"]), (Some("drained"), &0.into()), "{lines}");
    assert!(earlier.iter().all(|object| object["state"] != "drained"), "{lines}");
    // Nothing is lost, and the node that was drained forwards.
    for node in [&first, &second] {
        assert_eq!(ended(&mut memring(&["get", "k", "--server", &node.address])).1, "v");
    }
    let (code, again, _) = ended(&mut memring(&["drain", "--server", &second.address]));
    assert!(code == Some(0) && again.starts_with("drained: "), "{again}");
    let (code, _, refused) = ended(&mut memring(&["drain", "--server", &first.address]));
    assert_eq!((code, refused.lines().count()), (Some(1), 1));
    assert!(refused.starts_with("memring: this is the last node of its ring"), "{refused}");
    let (code, _, several) = ended(&mut memring(&["drain", "--server", "a,b"]));
    assert_eq!((code, several.as_str()), (Some(2), "memring: --server: one node at a time is drained\n"));
}
