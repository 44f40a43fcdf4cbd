//! Tests of a node that is alone: a ring of one, without sockets, in virtual time.

mod events;
mod figures;
mod moves;
mod replicas;

use std::sync::Arc;
use std::time::Duration;

use memring_protocol::entry::UnixMillis;
use memring_protocol::ring::NodeName;
use memring_protocol::text::{Response, Step, TextLimits, parse};

use super::{Control, Effect, Event, Node, Settings, Shared, Ticket};
use crate::now::{Mono, Now};

const START: UnixMillis = UnixMillis(1_800_000_000_000);

const LIMITS: TextLimits = TextLimits { item_bytes_max: 10 << 10, get_line_bytes_max: 8 << 20 };

struct Alone {
    shared: Arc<Shared>,
    node: Node,
    now: Now,
    requests: u64,
}

impl Alone {
    fn founded() -> Self {
        let (shared, _, now) = found(settings(), START);
        Self { node: Node::new(Arc::clone(&shared), 0), shared, now, requests: 0 }
    }

    /// Runs one command line: its answer, and the events it gave.
    fn request(&mut self, line: &str) -> (Response, Vec<Event>) {
        let Step::Command { command, .. } = parse(line.as_bytes(), &LIMITS) else { panic!("not a command: {line:?}") };
        self.ask(|node, now, ticket, effects| node.on_request(now, ticket, &command, effects))
    }

    fn ask(&mut self, ask: impl FnOnce(&mut Node, Now, Ticket, &mut Vec<Effect>)) -> (Response, Vec<Event>) {
        self.requests += 1;
        let ticket = Ticket { connection: 9, sequence: self.requests };
        let mut effects = Vec::new();
        ask(&mut self.node, self.now, ticket, &mut effects);
        let (mut response, mut events) = (None, Vec::new());
        for effect in effects {
            match effect {
                Effect::Respond(to, answer) if to == ticket && response.is_none() => response = Some(answer),
                Effect::Event(event) => events.push(event),
                other => panic!("{other:?}"),
            }
        }
        (response.expect("a node alone answers at once"), events)
    }
}

/// Founds a ring of one and waits, in virtual time from `cluster` on, until every partition is synced.
pub(super) fn found(settings: Settings, cluster: UnixMillis) -> (Arc<Shared>, Control, Now) {
    let shared = Shared::new(settings);
    let mut control = Control::new(Arc::clone(&shared));
    let mut now = Now { mono: Mono(0), cluster };
    while !shared.is_synced() {
        assert!(now.mono < Mono(60_000_000), "a node alone is synced at once");
        control.on_timer(now, &mut Vec::new());
        now.mono = now.mono.after(Duration::from_millis(10));
    }
    (shared, control, now)
}

fn settings() -> Settings {
    Settings {
        memory_limit_bytes: 1 << 20,
        item_bytes_max: 10 << 10,
        listen: "127.0.0.1".to_owned(),
        generation: START.0,
        ..Settings::alone(NodeName::new("n1").expect("a legal name"))
    }
}
