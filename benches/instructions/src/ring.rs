//! Three nodes in one process, a worker each, whose messages travel as frames of bytes, as on links.
//!
//! Must not measure anything, open sockets or read clocks: virtual time stands still but while the ring is founded.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memring_engine::node::{Control, Effect, LinkId, Node, Settings, Shared, Ticket};
use memring_engine::now::{Mono, Now};
use memring_protocol::entry::UnixMillis;
use memring_protocol::frame::{Batch, InPlace, Streams, Taken, encode_in_pieces, encode_replicate, read_in_place};
use memring_protocol::message::Message;
use memring_protocol::ring::NodeName;
use memring_protocol::text::{Command, Response};
use memring_protocol::version::STAMP_EPOCH_UNIX_MS;

pub(crate) const NODES: usize = 3;

/// 2026-01-01.
const NOW: UnixMillis = UnixMillis(STAMP_EPOCH_UNIX_MS + 365 * 24 * 60 * 60 * 1000);

/// Virtual time in which a ring of three is whole.
const FOUNDED_BY: Mono = Mono(120_000_000);

/// What a link holds before it grows: more than what is said at once here.
const LINK_BYTES: usize = 1 << 20;

struct Place {
    shared: Arc<Shared>,
    control: Control,
    worker: Node,
}

/// One way of the link between two workers.
#[derive(Default)]
struct Way {
    bytes: BytesMut,
    streams: Streams,
    batch: Batch,
}

/// The ring.
pub(crate) struct Ring {
    places: Vec<Place>,
    now: Now,
    /// `requests[from][to]`, over the link that `from` dialled; `replies[from][to]`, over the one that `to` dialled.
    requests: [[Way; NODES]; NODES],
    replies: [[Way; NODES]; NODES],
    effects: Vec<Effect>,
    asked: u64,
    /// Clients that were told STORED so far.
    pub(crate) answered: u64,
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + node as u8], 11212))
}

fn node_at(address: SocketAddr) -> usize {
    match address.ip() {
        std::net::IpAddr::V4(ip) => usize::from(ip.octets()[3]) - 1,
        std::net::IpAddr::V6(_) => unreachable!("no node has such an address"),
    }
}

fn settings(node: usize) -> Settings {
    Settings {
        replicas: NODES as u8,
        vnodes: 64,
        memory_limit_bytes: 64 << 20,
        joining: true,
        expect: Some(NODES),
        listen: "127.0.0.1".to_owned(),
        peer: address(node),
        generation: NOW.0,
        ..Settings::alone(NodeName::new(&format!("n{}", node + 1)).expect("a legal name"))
    }
}

impl Ring {
    /// A ring whose nodes are all synced.
    pub(crate) fn founded() -> Self {
        let place = |node| {
            let shared = Shared::new(settings(node));
            Place { control: Control::new(Arc::clone(&shared)), worker: Node::new(Arc::clone(&shared), 0), shared }
        };
        let way =
            || Way { bytes: BytesMut::with_capacity(LINK_BYTES), streams: Streams::default(), batch: Batch::default() };
        let ways = || std::array::from_fn(|_| std::array::from_fn(|_| way()));
        let mut ring = Self {
            places: (0..NODES).map(place).collect(),
            now: Now { mono: Mono(0), cluster: NOW },
            requests: ways(),
            replies: ways(),
            effects: Vec::new(),
            asked: 0,
            answered: 0,
        };
        ring.found();
        ring
    }

    fn found(&mut self) {
        let addresses: Vec<SocketAddr> = (0..NODES).map(address).collect();
        let mut effects = Vec::new();
        for node in 0..NODES {
            self.places[node].control.join(self.now, &addresses, &mut effects);
            self.perform_controls(node, &mut effects);
        }
        while !self.places.iter().all(|place| place.shared.is_synced()) {
            assert!(self.now.mono < FOUNDED_BY, "three nodes that hear each other found a ring");
            self.now.mono = self.now.mono.after(Duration::from_millis(10));
            self.now.cluster.0 += 10;
            for node in 0..NODES {
                self.places[node].control.on_timer(self.now, &mut effects);
                self.perform_controls(node, &mut effects);
            }
        }
    }

    /// Performs what a control thread wants, and what follows from it: its links are as deep as this queue.
    fn perform_controls(&mut self, node: usize, effects: &mut Vec<Effect>) {
        let mut queue: VecDeque<(usize, Effect)> = effects.drain(..).map(|effect| (node, effect)).collect();
        while let Some((from, effect)) = queue.pop_front() {
            let to = match effect {
                Effect::Send(peer, Message::Request(id, request)) => {
                    let to = node_at(peer);
                    let link = LinkId(from as u64);
                    self.places[to].control.on_peer_request(self.now, link, id, request, effects);
                    to
                }
                Effect::Answer(link, Message::Reply(id, reply)) => {
                    let to = link.0 as usize;
                    self.places[to].control.on_peer_reply(self.now, address(from), id, reply, effects);
                    to
                }
                Effect::Time(_) => continue,
                Effect::Packet(peer, bytes) => {
                    let to = node_at(peer);
                    self.places[to].control.on_packet(self.now, address(from), &bytes, effects);
                    to
                }
                other => panic!("not a control thread's: {other:?}"),
            };
            queue.extend(effects.drain(..).map(|effect| (to, effect)));
        }
    }

    /// A client's command to a node's worker.
    pub(crate) fn request(&mut self, node: usize, command: &Command<'_>) {
        self.asked += 1;
        let ticket = Ticket { connection: 1, sequence: self.asked };
        self.places[node].worker.on_request(self.now, ticket, command, &mut self.effects);
        self.perform(node);
    }

    /// Lets all that is on links arrive, and what follows from it.
    pub(crate) fn settle(&mut self) {
        while self.turn() {}
    }

    fn turn(&mut self) -> bool {
        let mut any = false;
        for from in 0..NODES {
            for to in 0..NODES {
                any |= self.hear_requests(from, to);
                any |= self.hear_replies(from, to);
            }
        }
        any
    }

    /// What `from` has asked `to`, as the link's task hands it over; false if there was nothing.
    pub(crate) fn hear_requests(&mut self, from: usize, to: usize) -> bool {
        let (link, now) = (LinkId(from as u64), self.now);
        let (way, worker) = (&mut self.requests[from][to], &mut self.places[to].worker);
        if way.bytes.is_empty() {
            return false;
        }
        loop {
            if let Some((read, frame_len)) = read_in_place(&way.bytes).expect("a frame") {
                let InPlace::Replicate(id, replicate) = read else { panic!("not a request: {read:?}") };
                worker.on_peer_replicate(now, link, id, &replicate, &mut self.effects);
                way.bytes.advance(frame_len);
                continue;
            }
            match way.streams.take(&mut way.bytes).expect("a frame") {
                Some(Taken::Message(Message::Request(id, request))) => {
                    worker.on_peer_request(now, link, id, request, &mut self.effects);
                }
                Some(other) => panic!("not a request: {other:?}"),
                None => break,
            }
        }
        self.perform(to);
        true
    }

    /// What `from` has answered `to`.
    pub(crate) fn hear_replies(&mut self, from: usize, to: usize) -> bool {
        let now = self.now;
        let (way, worker) = (&mut self.replies[from][to], &mut self.places[to].worker);
        if way.bytes.is_empty() {
            return false;
        }
        loop {
            if let Some((read, frame_len)) = read_in_place(&way.bytes).expect("a frame") {
                let InPlace::Acknowledgements(said) = read else { panic!("not a reply: {read:?}") };
                worker.on_peer_acknowledgements(now, address(from), said, &mut self.effects);
                way.bytes.advance(frame_len);
                continue;
            }
            match way.streams.take(&mut way.bytes).expect("a frame") {
                Some(Taken::Message(Message::Reply(id, reply))) => {
                    worker.on_peer_reply(now, address(from), id, reply, &mut self.effects);
                }
                Some(other) => panic!("not a reply: {other:?}"),
                None => break,
            }
        }
        self.perform(to);
        true
    }

    fn perform(&mut self, node: usize) {
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Send(peer, message) => put(&message, &mut self.requests[node][node_at(peer)]),
                Effect::Answer(link, message) => put(&message, &mut self.replies[node][link.0 as usize]),
                Effect::Replicate(receivers, replicate) => {
                    for (peer, id) in receivers {
                        let way = &mut self.requests[node][node_at(peer)];
                        let long = encode_replicate(id, &(&replicate).into(), &mut way.bytes).expect("it fits");
                        assert!(long.is_none(), "nothing here is large");
                    }
                }
                Effect::Acknowledge(link, id, said) => {
                    let way = &mut self.replies[node][link.0 as usize];
                    way.batch.push(id, said, &mut way.bytes);
                }
                Effect::Respond(_, Response::Stored) => self.answered += 1,
                other => panic!("not a worker's: {other:?}"),
            }
        }
        for way in &mut self.replies[node] {
            way.batch.end(&mut way.bytes);
        }
    }

    /// Shows the frames on the way from `from` to `to`, and drops them.
    pub(crate) fn show_requests(&mut self, from: usize, to: usize, show: impl FnOnce(&[u8])) {
        let way = &mut self.requests[from][to];
        show(&way.bytes);
        way.bytes.clear();
    }

    /// The frames on the way from `from` to `to`, taken off it.
    pub(crate) fn take_requests(&mut self, from: usize, to: usize) -> BytesMut {
        self.requests[from][to].bytes.split()
    }

    /// Puts frames on the way from `from` to `to`.
    pub(crate) fn put_requests(&mut self, from: usize, to: usize, frames: &[u8]) {
        self.requests[from][to].bytes.extend_from_slice(frames);
    }

    /// The same for answers.
    pub(crate) fn put_replies(&mut self, from: usize, to: usize, frames: &[u8]) {
        self.replies[from][to].bytes.extend_from_slice(frames);
    }

    /// Drops the answers on the way from `from` to `to`, and says how many bytes they were.
    pub(crate) fn drop_replies(&mut self, from: usize, to: usize) -> usize {
        let dropped = self.replies[from][to].bytes.len();
        self.replies[from][to].bytes.clear();
        dropped
    }
}

fn put(message: &Message, way: &mut Way) {
    let long = encode_in_pieces(message, &mut way.bytes).expect("every message fits its frame");
    assert!(long.is_none(), "nothing here is large");
}
