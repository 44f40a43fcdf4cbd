//! `stats` of a node alone, as the grammar and the node give it, beside what memcached 1.6.45 told when it was asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use memring_protocol::entry::UnixMillis;
use memring_protocol::message::{ControlReply, ControlRequest, Message, Reply, Request};
use memring_protocol::ring::NodeName;
use memring_protocol::text::{Command, Crawler, ErrorReply, LineScanner, Response, Step, TextLimits};
use memring_protocol::version::STAMP_EPOCH_UNIX_MS;

use crate::node::tests::found;
use crate::node::topology::Peer;
use crate::node::{Control, Effect, Liveness, Node, ProcessFacts, Settings, Shared, Ticket, Topology};
use crate::now::Now;

const LIMITS: TextLimits = TextLimits { item_bytes_max: 1 << 20, get_line_bytes_max: 8 << 20 };

/// Sizes of values that the table is too small for.
const BIG: &str = "BIG";

mod counters;
mod names;

/// A node that is a ring of its own, in virtual time.
struct Alone {
    shared: Arc<Shared>,
    node: Node,
    now: Now,
    sequence: u64,
    _control: Control,
}

impl Alone {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let name = NodeName::new("n1").expect("a legal name");
        let mut settings = Settings { memory_limit_bytes: 64 << 20, ..Settings::alone(name) };
        change(&mut settings);
        let (shared, control, now) = found(settings, UnixMillis(STAMP_EPOCH_UNIX_MS + 1_000_000_000));
        Self { node: Node::new(Arc::clone(&shared), 0), shared, now, sequence: 0, _control: control }
    }

    fn sleep(&mut self, milliseconds: u64) {
        self.now.mono = self.now.mono.after(Duration::from_millis(milliseconds));
        self.now.cluster = UnixMillis(self.now.cluster.0 + milliseconds);
        let mut effects = Vec::new();
        self.node.on_timer(self.now, &mut effects);
        assert_eq!(effects, []);
    }

    /// What a connection does with a line, and a data block behind it.
    fn ask(&mut self, bytes: &[u8]) -> String {
        self.sleep(1);
        self.sequence += 1;
        let ticket = Ticket { connection: 1, sequence: self.sequence };
        let mut effects = Vec::new();
        match LineScanner::default().parse(bytes, &LIMITS) {
            Step::Command { command: Command::Quit, .. } => panic!("nobody quits"),
            Step::Command { command, .. } => self.node.on_request(self.now, ticket, &command, &mut effects),
            Step::TooLarge { key, removes, .. } => {
                self.node.on_too_large(self.now, ticket, &key, removes, &mut effects);
            }
            Step::Reject { error, .. } => {
                if error == ErrorReply::BadDataChunk {
                    self.node.on_bad_chunk();
                }
                effects.push(Effect::Respond(ticket, Response::Failed(error)));
            }
            step => panic!("not a whole command: {step:?}"),
        }
        answer_of(ticket, &effects)
    }

    /// What a command answers that the grammar has read.
    fn run(&mut self, command: &Command<'_>) -> String {
        self.sequence += 1;
        let ticket = Ticket { connection: 1, sequence: self.sequence };
        let mut effects = Vec::new();
        self.node.on_request(self.now, ticket, command, &mut effects);
        answer_of(ticket, &effects)
    }

    fn lines(&mut self, command: &str) -> Vec<(String, String)> {
        let answer = self.ask(format!("{command}\r\n").as_bytes());
        let stats = answer.strip_suffix("END\r\n").expect("an end").lines().map(|line| {
            let rest = line.strip_prefix("STAT ").expect("a line of stats");
            let (name, value) = rest.split_once(' ').expect("a name and a value");
            (name.to_owned(), value.to_owned())
        });
        stats.collect()
    }

    fn counts(&mut self) -> BTreeMap<String, u64> {
        let lines = self.lines("stats");
        lines.into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect()
    }
}

fn answer_of(ticket: Ticket, effects: &[Effect]) -> String {
    match effects {
        [Effect::Respond(to, response)] if *to == ticket => {
            let mut out = BytesMut::new();
            response.encode(&mut out);
            String::from_utf8(out.to_vec()).expect("text")
        }
        other => panic!("a node alone answers at once: {other:?}"),
    }
}

#[test]
fn a_reset_zeroes_what_was_counted_and_keeps_what_is_held() {
    let mut alone = Alone::new();
    alone.shared.set_process_facts(ProcessFacts { bytes_read: 70, total_connections: 3, ..ProcessFacts::default() });
    for command in ["set a:k 0 0 1\r\n1", "get a:k b:k", "incr a:k 1", "touch a:k 0", "flush_all 1000", "me a:k"] {
        alone.ask(format!("{command}\r\n").as_bytes());
    }
    let before = alone.counts();
    assert_eq!(alone.ask(b"stats reset\r\n"), "RESET\r\n");
    alone.shared.set_process_facts(ProcessFacts { bytes_read: 77, total_connections: 4, ..ProcessFacts::default() });
    let after = alone.counts();
    let kept = ["bytes", "curr_items", "limit_maxbytes", "hash_bytes", "used_bytes", "ring_epoch", "pointer_size"];
    for (name, count) in &after {
        let expected = match &**name {
            "bytes_read" => 7,
            "total_connections" => 1,
            kept_name if kept.contains(&kept_name) => before[name],
            "takeovers" => before[name],
            _ => 0,
        };
        assert_eq!(*count, expected, "{name}");
    }
    assert_eq!((after["curr_items"], before["cmd_get"], before["total_items"]), (1, 2, 1));
}

#[test]
fn details_count_classic_commands_by_prefix_as_memcached_does() {
    let mut alone = Alone::new();
    alone.ask(b"get a:early\r\n");
    assert_eq!(alone.ask(b"stats detail on\r\n"), "OK\r\n");
    for command in [
        "set a:b 0 0 1|x",
        "get a:b a:c foo",
        "delete a:b",
        "delete a:b",
        "gat 0 a:b",
        "set a:q 0 0 1|1",
        "incr a:q 1",
        "gat 0 a:q",
        "touch a:q 0",
        "add a:q 0 0 1|x",
        "mg a:q v",
        "ms a:q 1|1",
        "ma a:q",
        "md a:q",
        "append b:q 0 0 1|1",
        "set :x 0 0 1|1",
        "set nopre 0 0 1|1",
    ] {
        alone.ask(format!("{}\r\n", command.replace('|', "\r\n")).as_bytes());
    }
    let dump = "PREFIX  get 0 hit 0 set 1 del 0\r\nPREFIX a get 4 hit 2 set 3 del 2\r\nPREFIX b get 0 hit 0 set 1 del 0\r\n\
                END\r\n";
    for (command, answer) in [
        ("stats detail dump", dump),
        ("stats detail off", "OK\r\n"),
        ("get a:q", "END\r\n"),
        ("stats detail dump", dump),
        ("stats detail", "CLIENT_ERROR usage: stats detail on|off|dump\r\n"),
        ("stats detail foo", "CLIENT_ERROR usage: stats detail on|off|dump\r\n"),
        ("stats reset", "RESET\r\n"),
        ("stats detail dump", "END\r\n"),
    ] {
        assert_eq!(alone.ask(format!("{command}\r\n").as_bytes()), answer, "{command}");
    }
}

#[test]
fn arguments_are_judged_as_memcached_judges_them() {
    let mut alone = Alone::new();
    alone.ask(b"set key 0 0 3\r\nabc\r\n");
    alone.ask(b"set later 0 2000000000 2\r\nab\r\n");
    for (command, answer) in [
        ("stats foo", "ERROR\r\n"),
        ("stats r", "ERROR\r\n"),
        ("stats proxy", "ERROR\r\n"),
        ("stats sizes_enable", "ERROR\r\n"),
        ("stats sizes", "STAT sizes_status disabled\r\nEND\r\n"),
        ("stats extstore", "END\r\n"),
        ("stats cachedump", "CLIENT_ERROR bad command line\r\n"),
        ("stats cachedump 1", "CLIENT_ERROR bad command line\r\n"),
        ("stats cachedump a 0", "CLIENT_ERROR bad command line format\r\n"),
        ("stats cachedump 1 a", "CLIENT_ERROR bad command line format\r\n"),
        ("stats cachedump 64 0", "CLIENT_ERROR Illegal slab id\r\n"),
        ("stats cachedump 63 0", "END\r\n"),
        ("stats cachedump 0 0", "END\r\n"),
        ("stats reset x", "RESET\r\n"),
    ] {
        assert_eq!(alone.ask(format!("{command}\r\n").as_bytes()), answer, "{command}");
    }
    let items: String = (1..=20).map(|class| alone.ask(format!("stats cachedump {class} 0\r\n").as_bytes())).collect();
    assert!(items.contains("ITEM key [3 b; 0 s]\r\n"), "{items}");
    assert!(items.contains("ITEM later [2 b; 2000000000 s]\r\n"), "{items}");
}

#[test]
fn the_crawler_the_limit_and_the_list_of_nodes_answer_as_they_should() {
    let mut alone = Alone::new();
    let limit = |megabytes| Command::MemoryLimit { megabytes, quiet: false };
    for (command, answer) in [
        (Command::Crawler(Crawler::Enable), "ERROR failed to start lru crawler thread\r\n"),
        (Command::Crawler(Crawler::Disable), "OK\r\n"),
        (Command::Crawler(Crawler::Disable), "ERROR failed to stop lru crawler thread\r\n"),
        (Command::Crawler(Crawler::Crawl), "CLIENT_ERROR lru crawler disabled\r\n"),
        (Command::Crawler(Crawler::Enable), "OK\r\n"),
        (limit(100), "OK\r\n"),
        (Command::ConfigGetCluster, "CONFIG cluster 0 28\r\n1\n127.0.0.1|127.0.0.1|11211\n\r\nEND\r\n"),
    ] {
        assert_eq!(alone.run(&command), answer, "{command:?}");
    }
    assert_eq!(alone.counts()["limit_maxbytes"], 100 << 20);
}

#[test]
fn a_limit_that_shrinks_is_reached_in_steps_while_clients_go_on() {
    let mut alone = Alone::new();
    let value = "v".repeat(10_000);
    for number in 0..4000 {
        assert_eq!(alone.ask(format!("set key{number} 0 0 10000\r\n{value}\r\n").as_bytes()), "STORED\r\n");
    }
    assert!(alone.counts()["used_bytes"] > 32 << 20);
    assert_eq!(alone.run(&Command::MemoryLimit { megabytes: 8, quiet: false }), "OK\r\n");
    for number in 0..100 {
        assert_eq!(alone.ask(format!("set more{number} 0 0 10000\r\n{value}\r\n").as_bytes()), "STORED\r\n");
    }
    let counts = alone.counts();
    assert_eq!(counts["limit_maxbytes"], 8 << 20);
    assert!(counts["used_bytes"] <= 8 << 20 && counts["evictions"] > 3000, "{counts:?}");
    assert_eq!(alone.node.operations(), 0);
}

#[test]
fn a_crawl_removes_what_has_expired_in_steps() {
    let mut alone = Alone::new();
    for number in 0..10_000 {
        alone.ask(format!("set key{number} 0 1000 1\r\nx\r\n").as_bytes());
    }
    alone.sleep(2_000_000);
    assert_eq!(alone.run(&Command::Crawler(Crawler::Crawl)), "OK\r\n");
    assert_eq!(alone.counts()["lru_crawler_running"], 1);
    for _ in 0..10 {
        alone.sleep(1);
    }
    let counts = alone.counts();
    let told = ["lru_crawler_running", "curr_items", "crawler_reclaimed", "reclaimed"].map(|name| counts[name]);
    assert_eq!(told, [0, 0, 10_000, 0]);
    assert!(counts["lru_crawler_starts"] > 0);
}

#[test]
fn the_sum_of_a_node_alone_is_what_it_counts_itself() {
    let mut alone = Alone::new();
    alone.ask(b"set k 0 0 1\r\n1\r\n");
    alone.ask(b"get k nope\r\n");
    let sum: BTreeMap<_, _> = alone.lines("stats cluster").into_iter().collect();
    for (name, value) in
        [("nodes", "1"), ("nodes_answered", "1"), ("cmd_get", "2"), ("get_misses", "1"), ("curr_items", "1")]
    {
        assert_eq!(sum[name], value, "{name}");
    }
    assert!(!sum.contains_key("pid"), "what cannot be added up is left out");
}

#[test]
fn a_node_that_is_no_member_is_one_node_more_in_the_sum() {
    let mut alone = Alone::new();
    let layout = Arc::clone(alone.shared.topology().layout().expect("it founded a ring"));
    let (slot, name) = (layout.config.members[0].slot, layout.config.members[0].name.clone());
    let address = alone.shared.settings().peer;
    let outsider = NodeName::new("n2").expect("a legal name");
    let member = Peer { name, address, liveness: Liveness::Alive };
    alone.shared.set_topology(Topology::default().with_layout(layout, &outsider).with_peers(&[(slot, member)]));

    let Step::Command { command, .. } = LineScanner::default().parse(b"stats cluster\r\n", &LIMITS) else {
        panic!("not a command")
    };
    let ticket = Ticket { connection: 1, sequence: 1 };
    let mut effects = Vec::new();
    alone.node.on_request(alone.now, ticket, &command, &mut effects);
    let [Effect::Send(to, Message::Request(id, Request::Control(ControlRequest::Stats)))] = effects[..] else {
        panic!("the member is asked: {effects:?}")
    };
    assert_eq!(to, address);
    effects.clear();
    let reply = Reply::Control(ControlReply::Stats(vec![("curr_items".to_owned(), 5)]));
    alone.node.on_peer_reply(alone.now, address, id, reply, &mut effects);
    let answer = answer_of(ticket, &effects);
    assert!(answer.starts_with("STAT nodes 2\r\nSTAT nodes_answered 2\r\n"), "{answer}");
    assert!(answer.contains("STAT curr_items 5\r\n"), "{answer}");
}

#[test]
fn what_is_switched_off_is_refused_and_a_refused_flush_counts() {
    let mut alone = Alone::with(|settings| (settings.dump_enabled, settings.flush_enabled) = (false, false));
    for (command, answer) in [
        ("stats detail on", "CLIENT_ERROR stats detail not allowed\r\n"),
        ("stats cachedump 1 0", "CLIENT_ERROR stats cachedump not allowed\r\n"),
        ("flush_all", "CLIENT_ERROR flush_all not allowed\r\n"),
    ] {
        assert_eq!(alone.ask(format!("{command}\r\n").as_bytes()), answer, "{command}");
    }
    assert_eq!(alone.counts()["cmd_flush"], 1);
}
