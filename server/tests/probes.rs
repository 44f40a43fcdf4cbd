//! The probes of one node, over real sockets, from its start on.
//!
//! What they say of a node that hangs, stops or has left is told beside the code (`health`) and by tests/e2e/metrics.py.

mod node;

use memring_server::config::{Config, JoinTarget};

use self::node::{OneNode, free_port, until};

#[test]
fn a_node_that_finds_no_ring_lives_and_is_not_ready() {
    let nobody = JoinTarget { host: "127.0.0.1".to_owned(), port: Some(free_port()) };
    let node = OneNode::start_unready(Config { join: vec![nobody], expect: Some(2), ..Config::default() });
    let told = |path| {
        let answer = node.http("GET", path);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        format!("{} {}", &head["HTTP/1.1 ".len()..][..3], body.trim_end())
    };
    assert_eq!(told("/livez"), "200 ok");
    assert_eq!(told("/readyz"), "503 no ring yet");
    assert_eq!(told("/startupz"), "503 not synced yet");
    // Ten seconds without news of a ring: it founds one.
    until(|| told("/readyz") == "200 ok");
    until(|| told("/startupz") == "200 ok");
    assert_eq!(told("/livez"), "200 ok");
}
