//! What a node tells of itself for metrics, and of the commands it answers alone.

use bytes::BytesMut;
use memring_protocol::level::Level;

use super::*;
use crate::node::{Answered, DrainState, Namespace, NamespaceFigures, Upshot};

fn with_namespaces(prefixes: &[(&str, Option<Level>)]) -> Alone {
    let namespace = |(prefix, level): &(&str, Option<Level>)| Namespace {
        prefix: prefix.as_bytes().to_vec(),
        read: *level,
        write: *level,
    };
    let namespaces = prefixes.iter().map(namespace).collect();
    let (shared, _, now) = found(Settings { namespaces, ..settings() }, START);
    Alone { node: Node::new(Arc::clone(&shared), 0), shared, now, requests: 0 }
}

impl Alone {
    /// Has these commands answered together: how many were, and what is told of them.
    fn together(&mut self, lines: &[&str]) -> (usize, Vec<Answered>) {
        let command = |line: &&'static str| match parse(line.as_bytes(), &LIMITS) {
            Step::Command { command, .. } => command,
            _ => panic!("not a command: {line:?}"),
        };
        // Leaked, for commands borrow their lines.
        let lines: Vec<&'static str> = lines.iter().map(|line| &*(*line).to_owned().leak()).collect();
        let commands: Vec<_> = lines.iter().map(command).collect();
        let mut told = Vec::new();
        let mut out = BytesMut::new();
        let answered =
            self.node.answer_together(self.now, &commands, 1 << 20, &mut out, |_, answered| told.push(answered));
        (answered, told)
    }

    fn reads(&self) -> Vec<(Option<String>, u64, u64)> {
        let tell = |NamespaceFigures { prefix, hits, misses }: NamespaceFigures| {
            (prefix.map(|prefix| String::from_utf8(prefix).expect("text")), hits, misses)
        };
        self.shared.figures(self.now.cluster).namespaces.into_iter().map(tell).collect()
    }
}

#[test]
fn a_node_alone_tells_that_it_has_all() {
    let mut alone = Alone::founded();
    alone.request("set a 0 0 1\r\nx\r\n");
    let figures = alone.shared.figures(alone.now.cluster);
    let alive: Vec<_> = figures.members.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!((figures.members.len(), alive), (6, vec![&("alive", 1)]));
    assert_eq!((figures.partitions, figures.replicas, figures.is_ready), ((16_384, 0), 1, true));
    assert_eq!((figures.drain.state, figures.peers.len()), (DrainState::None, 0));
    assert!(figures.epoch > 0 && figures.store.curr_items == 1 && figures.repairs.2 > 0);
    assert_eq!((figures.hints.count, figures.hints.oldest_age_ms), ((0, 0), 0));
    assert!(figures.hints.limit_bytes.0 > 0 && figures.hints.limit_bytes.1 == 0);
}

#[test]
fn before_there_is_a_ring_there_is_nothing_to_tell() {
    let figures = Shared::new(settings()).figures(START);
    assert_eq!((figures.epoch, figures.replicas, figures.partitions, figures.partitions_led), (0, 0, (0, 0), 0));
    assert!(!figures.is_ready && figures.members.iter().all(|(_, count)| *count == 0));
}

#[test]
fn reads_are_told_by_namespace_however_they_are_answered() {
    let mut alone = with_namespaces(&[("a:", None), ("a:b", None)]);
    let none = (None, 0, 0);
    assert_eq!(alone.reads(), [none, (Some("a:".into()), 0, 0), (Some("a:b".into()), 0, 0)]);
    for key in ["x", "a:1", "a:b1"] {
        alone.request(&format!("set {key} 0 0 1\r\nv\r\n"));
    }
    alone.request("get x y a:1 a:2 a:b1 a:b2 a:b3\r\n");
    assert_eq!(alone.reads(), [(None, 1, 1), (Some("a:".into()), 1, 1), (Some("a:b".into()), 1, 2)]);
    alone.request("mg a:1 v\r\n");
    alone.request("mg a:2 v\r\n");
    alone.request("gat 0 a:1\r\n");
    assert_eq!(alone.reads(), [(None, 1, 1), (Some("a:".into()), 2, 2), (Some("a:b".into()), 1, 2)]);
    let (answered, _) =
        alone.together(&["get x a:1 a:b1 nope\r\n", "mg a:b1 v\r\n", "mg a:none v\r\n", "get a:b2\r\n"]);
    assert_eq!(answered, 4);
    assert_eq!(alone.reads(), [(None, 2, 2), (Some("a:".into()), 3, 3), (Some("a:b".into()), 3, 3)]);
}

#[test]
fn a_prefix_that_is_given_twice_is_told_once() {
    let mut alone = with_namespaces(&[("a:", None), ("a:", None)]);
    alone.request("get a:1\r\n");
    assert_eq!(alone.reads(), [(None, 0, 0), (Some("a:".into()), 0, 1)]);
}

#[test]
fn without_namespaces_all_reads_are_of_one() {
    let mut alone = Alone::founded();
    alone.request("set a 0 0 1\r\nx\r\n");
    alone.request("get a b c\r\n");
    assert_eq!(alone.reads(), [(None, 1, 2)]);
}

#[test]
fn what_is_answered_alone_is_told_with_its_level() {
    let mut alone = with_namespaces(&[("one:", Some(Level::One))]);
    let told = |upshot, level| Answered { upshot, level };
    let lines = [
        "set a 0 0 1\r\nx\r\n",
        "ms one:a 1\r\nx\r\n",
        "get a\r\n",
        "get one:b a\r\n",
        "get nope\r\n",
        "mg one:a v\r\n",
        "mg nope v\r\n",
        "mn\r\n",
    ];
    let (quorum, one) = (Some(Level::Quorum), Some(Level::One));
    let expected = [
        told(Upshot::Hit, quorum),
        told(Upshot::Hit, one),
        told(Upshot::Hit, quorum),
        told(Upshot::Hit, one),
        told(Upshot::Miss, quorum),
        told(Upshot::Hit, one),
        told(Upshot::Miss, quorum),
        told(Upshot::Hit, None),
    ];
    assert_eq!(alone.together(&lines), (8, expected.to_vec()));
    assert_eq!(alone.together(&["get a\r\n", "incr a 1\r\n", "get a\r\n"]), (1, vec![told(Upshot::Hit, quorum)]));
}

#[test]
fn a_command_has_the_level_that_its_answer_waits_for() {
    let mut alone = with_namespaces(&[("one:", Some(Level::One)), ("all:", Some(Level::All))]);
    for (line, expected) in [
        ("get a\r\n", Some(Level::Quorum)),
        ("gets one:a a\r\n", Some(Level::One)),
        ("gat 0 all:a\r\n", Some(Level::All)),
        ("set one:a 0 0 1\r\nx\r\n", Some(Level::One)),
        ("incr all:a 1\r\n", Some(Level::All)),
        ("touch a 0\r\n", Some(Level::Quorum)),
        ("delete one:a\r\n", Some(Level::One)),
        ("mg one:a v\r\n", Some(Level::One)),
        ("mg one:a v Lall\r\n", Some(Level::All)),
        ("ms a 1 Lone\r\nx\r\n", Some(Level::One)),
        ("md all:a\r\n", Some(Level::All)),
        ("ma a\r\n", Some(Level::Quorum)),
        ("flush_all\r\n", None),
        ("version\r\n", None),
        ("stats\r\n", None),
    ] {
        let Step::Command { command, .. } = parse(line.as_bytes(), &LIMITS) else { panic!("not a command: {line:?}") };
        assert_eq!(alone.node.level_of(&command), expected, "{line:?}");
    }
}
