//! Tests of a node that is alone: a ring of one, without sockets, in virtual time.

mod events;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use memring_protocol::entry::UnixMillis;
use memring_protocol::ring::NodeName;
use memring_protocol::text::{Response, Step, TextLimits, parse};

use super::{Control, Effect, Event, Node, Settings, Shared, Ticket, Unmet};
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
    /// Founds the ring and waits until every partition is synced.
    fn founded() -> Self {
        let shared = Shared::new(settings());
        let mut control = Control::new(Arc::clone(&shared));
        let mut now = Now { mono: Mono(0), cluster: START };
        while !shared.is_synced() {
            assert!(now.mono < Mono(60_000_000), "a node alone is synced at once");
            control.on_timer(now, &mut Vec::new());
            now.mono = now.mono.after(Duration::from_millis(10));
        }
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

fn settings() -> Settings {
    Settings {
        name: NodeName::new("n1").expect("a legal name"),
        cluster: "memring".to_owned(),
        zone: String::new(),
        weight: 100,
        replicas: 1,
        vnodes: 256,
        read: None,
        write: None,
        namespaces: Vec::new(),
        unmet: Unmet::Miss,
        memory_limit_bytes: 1 << 20,
        item_bytes_max: 10 << 10,
        evict: true,
        joining: false,
        expect: None,
        rejoin_empty: false,
        refound_after: Duration::from_secs(30),
        hint_memory_bytes: 1 << 20,
        flush_enabled: true,
        dump_enabled: true,
        watch_enabled: true,
        shutdown_enabled: false,
        idle_timeout_s: 0,
        listen: "127.0.0.1".to_owned(),
        socket: None,
        socket_mode: 0o700,
        auth_file: None,
        peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 11212)),
        client_port: 11211,
        admin_port: 11213,
        generation: START.0,
        seed: 0x5eed,
        workers: 1,
    }
}
