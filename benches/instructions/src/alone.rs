//! A lone node's part of a request, from its bytes in the connection's input to its reply in the output: reading, the node,
//! the store. What is left of a request is the connection's loop and the kernel.
//!
//! Must not know sockets.

use std::hint::black_box;
use std::sync::Arc;

use bytes::BytesMut;
use memring_engine::node::{Control, Effect, Node, Settings, Shared, Ticket};
use memring_engine::now::{Mono, Now};
use memring_protocol::entry::UnixMillis;
use memring_protocol::ring::NodeName;
use memring_protocol::text::{Command, Response, Step, TextLimits, parse};
use memring_protocol::version::STAMP_EPOCH_UNIX_MS;

const LIMITS: TextLimits = TextLimits { item_bytes_max: 1 << 20, get_line_bytes_max: 8 << 20 };

/// 2026-01-01.
const NOW: UnixMillis = UnixMillis(STAMP_EPOCH_UNIX_MS + 365 * 24 * 60 * 60 * 1000);

/// More than a round of any case asks for.
const KEYS: usize = 1024;

/// Commands that come together.
const PIPELINED: usize = 32;

/// Keys of one get.
const MANY: usize = 100;

/// No reply here comes to as much.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// Runs a case; false if it is none of these.
pub(crate) fn run(case: &str, times: usize) -> bool {
    let get = |first: usize, count: usize| {
        let keys: String = (first..first + count).map(|number| format!(" {}", key(number))).collect();
        format!("get{keys}\r\n")
    };
    let set = |number: usize, bytes: usize| format!("set {} 0 0 {bytes}\r\n{}\r\n", key(number), "v".repeat(bytes));
    let (bytes, requests): (usize, Vec<String>) = match case {
        "alone-get-1k" => (1024, (0..KEYS).map(|number| get(number, 1)).collect()),
        "alone-set-1k" => (1024, (0..KEYS).map(|number| set(number, 1024)).collect()),
        "alone-pipelined-get" => (100, together(|number| get(number, 1))),
        "alone-pipelined-set" => (100, together(|number| set(number, 100))),
        "alone-mget" => (100, (0..KEYS / MANY).map(|round| get(round * MANY, MANY)).collect()),
        _ => return false,
    };
    let mut place = Place::founded();
    (0..KEYS).for_each(|number| place.write(&set(number, bytes)));
    for request in requests.iter().cycle().take(times) {
        place.answer(request.as_bytes());
    }
    true
}

/// Each round's commands in one piece.
fn together(command: impl Fn(usize) -> String) -> Vec<String> {
    let numbers: Vec<usize> = (0..KEYS).collect();
    numbers.chunks(PIPELINED).map(|round| round.iter().map(|&number| command(number)).collect()).collect()
}

fn key(number: usize) -> String {
    format!("bench:object:{number:017}")
}

/// A node of a ring of one.
struct Place {
    node: Node,
    out: BytesMut,
}

impl Place {
    fn founded() -> Self {
        let name = NodeName::new("n1").expect("a legal name");
        let settings = Settings { replicas: 1, memory_limit_bytes: 64 << 20, ..Settings::alone(name) };
        let shared = Shared::new(settings);
        let mut control = Control::new(Arc::clone(&shared));
        let mut now = moment(0);
        let mut effects = Vec::new();
        while !shared.is_ready() {
            assert!(now.mono < Mono(60_000_000), "a lone node founds its ring at once");
            control.on_timer(now, &mut effects);
            effects.clear();
            now = moment(now.mono.0 + 10_000);
        }
        Self { node: Node::new(shared, 0), out: BytesMut::with_capacity(REPLY_BYTES_MAX) }
    }

    /// A write by the way that every command may take.
    fn write(&mut self, request: &str) {
        let Step::Command { command, .. } = parse(request.as_bytes(), &LIMITS) else { panic!("a whole command") };
        let mut effects = Vec::new();
        self.node.on_request(moment(60_000_000), Ticket { connection: 1, sequence: 0 }, &command, &mut effects);
        assert!(matches!(effects[..], [Effect::Respond(_, Response::Stored)]), "stored at once: {effects:?}");
    }

    fn answer(&mut self, request: &[u8]) {
        let mut commands: smallvec::SmallVec<[Command<'_>; PIPELINED]> = smallvec::SmallVec::new();
        let mut rest = black_box(request);
        while let Step::Command { consumed, command } = parse(rest, &LIMITS) {
            rest = &rest[consumed..];
            commands.push(command);
        }
        self.out.clear();
        let answered =
            self.node.answer_together(moment(60_000_000), &commands, REPLY_BYTES_MAX, &mut self.out, |_, _| {});
        assert!(answered == commands.len() && rest.is_empty(), "the node answers alone");
        black_box(&self.out);
    }
}

fn moment(mono_us: u64) -> Now {
    Now { mono: Mono(mono_us), cluster: UnixMillis(NOW.0 + mono_us / 1000) }
}
