//! What a whole request costs a node that is alone: the floor under every request, before sockets and peers.
//!
//! Must not open sockets or read clocks: virtual time passes by a microsecond a request.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use criterion::Criterion;
use memring_benches::{KEYS, NOW, VALUES, key_bytes, quick, value};
use memring_engine::node::{Control, Effect, Node, Settings, Shared, Ticket};
use memring_engine::now::{Mono, Now};
use memring_protocol::entry::UnixMillis;
use memring_protocol::ring::NodeName;
use memring_protocol::text::{Response, Step, StoreVerb, TextLimits, encode_get, encode_store, parse};

const LIMITS: TextLimits = TextLimits { item_bytes_max: 1 << 20, get_line_bytes_max: 8 << 20 };

fn main() {
    let mut criterion = quick();
    for (name, bytes) in VALUES {
        one_size(&mut criterion, name, bytes);
    }
    criterion.final_summary();
}

/// get and set, each of the parsed command alone and from the bytes of a request to the bytes of its reply.
fn one_size(criterion: &mut Criterion, name: &str, bytes: usize) {
    let (gets, sets) = requests(bytes);
    let mut alone = Alone::founded();
    for set in &sets {
        assert_eq!(alone.serve(set), b"STORED\r\n");
    }
    for (verb, requests) in [("get", &gets), ("set", &sets)] {
        let mut round = requests.iter().cycle();
        criterion.bench_function(&format!("node/bytes to bytes/{verb} {name}"), |bencher| {
            bencher.iter(|| alone.serve(round.next().expect("it goes round")).len());
        });
        let Step::Command { command, .. } = parse(&requests[0], &LIMITS) else { panic!("not a command") };
        criterion.bench_function(&format!("node/on_request/{verb} {name}"), |bencher| {
            bencher.iter(|| {
                alone.request(|node, now, ticket, effects| {
                    node.on_request(now, ticket, black_box(&command), effects);
                })
            });
        });
    }
}

/// The bytes of a get and of a set of every key.
fn requests(bytes: usize) -> (Vec<BytesMut>, Vec<BytesMut>) {
    let value = value(bytes);
    let get = |number| {
        let mut out = BytesMut::new();
        encode_get([&key_bytes(number)[..]], false, &mut out);
        out
    };
    let set = |number| {
        let mut out = BytesMut::new();
        encode_store(StoreVerb::Set, &key_bytes(number), 0, 0, &value, false, &mut out);
        out
    };
    ((0..KEYS).map(get).collect(), (0..KEYS).map(set).collect())
}

/// A node that is a ring of its own: N = 1.
struct Alone {
    node: Node,
    effects: Vec<Effect>,
    output: BytesMut,
    requests: u64,
    /// Keeps what the node works from.
    _control: Control,
}

impl Alone {
    /// Founds the ring and waits, in virtual time, until every partition is synced.
    fn founded() -> Self {
        let shared = Shared::new(settings());
        let mut control = Control::new(Arc::clone(&shared));
        let mut effects = Vec::new();
        let mut now = Now { mono: Mono(0), cluster: NOW };
        while !shared.is_synced() {
            assert!(now.mono < Mono(60_000_000), "a node alone is synced at once");
            control.on_timer(now, &mut effects);
            now.mono = now.mono.after(Duration::from_millis(10));
        }
        let requests = now.mono.0;
        let (node, output) = (Node::new(shared, 0), BytesMut::with_capacity(1 << 16));
        Self { node, effects: Vec::new(), output, requests, _control: control }
    }

    /// What a worker does between reading a request and writing its reply.
    fn serve(&mut self, request: &[u8]) -> &[u8] {
        let Step::Command { command, .. } = parse(request, &LIMITS) else { panic!("not a command") };
        let response = self.request(|node, now, ticket, effects| node.on_request(now, ticket, &command, effects));
        self.output.clear();
        response.encode(&mut self.output);
        &self.output
    }

    fn request(&mut self, ask: impl FnOnce(&mut Node, Now, Ticket, &mut Vec<Effect>)) -> Response {
        self.requests += 1;
        let mono = Mono(self.requests);
        let now = Now { mono, cluster: UnixMillis(NOW.0 + mono.0 / 1000) };
        if self.node.next_deadline().is_some_and(|at| at <= mono) {
            self.node.on_timer(now, &mut self.effects);
        }
        ask(&mut self.node, now, Ticket { connection: 1, sequence: self.requests }, &mut self.effects);
        match self.effects.pop() {
            Some(Effect::Respond(_, response)) if self.effects.is_empty() => response,
            other => panic!("a node alone answers at once: {other:?}"),
        }
    }
}

fn settings() -> Settings {
    Settings {
        memory_limit_bytes: 64 << 20,
        listen: "127.0.0.1".to_owned(),
        generation: NOW.0,
        ..Settings::alone(NodeName::new("n1").expect("a legal name"))
    }
}
