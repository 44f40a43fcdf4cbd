//! A ring of three nodes in one process, without sockets: what they say to each other goes over as bytes of frames.
//!
//! Time is virtual, and passes by 20 microseconds a request. Must not know what is measured.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memring_engine::node::{Control, Effect, LinkId, Node, Settings, Shared, Ticket};
use memring_engine::now::{Mono, Now};
use memring_protocol::entry::UnixMillis;
use memring_protocol::frame::{self, InPlace, read_in_place};
use memring_protocol::message::{Message, Reply, Request};
use memring_protocol::ring::NodeName;
use memring_protocol::text::{Command, Response};
use memring_protocol::version::STAMP_EPOCH_UNIX_MS;

/// 2026-01-01.
const START: UnixMillis = UnixMillis(STAMP_EPOCH_UNIX_MS + 365 * 24 * 60 * 60 * 1000);

/// Nodes, and homes of every key: so every node has a copy of its own.
const NODES: usize = 3;

/// How much time one request takes: a bit more than none, so that timers come and go.
const STEP: Duration = Duration::from_micros(20);

/// Whatever time the founding takes, what is measured begins then: whether a bucket of timers grows meanwhile depends on it.
const MEASURED_FROM: Mono = Mono(8_400_000);

/// The node that clients talk to.
pub(crate) const COORDINATOR: usize = 0;

struct Machines {
    shared: Arc<Shared>,
    control: Control,
    node: Node,
}

/// Three nodes, and the bytes between the coordinator and each of the others.
pub(crate) struct Ring {
    machines: Vec<Machines>,
    now: Now,
    requests: u64,
    effects: Vec<Effect>,
    answers: Vec<Effect>,
    there: [BytesMut; NODES],
    back: [BytesMut; NODES],
    responses: Vec<Response>,
}

/// What is under way while the ring is set up: from which thread's machine to which node.
enum Parcel {
    Frame { from: usize, control: bool, to: usize, bytes: BytesMut },
    Reply { from: usize, control: bool, to: usize, bytes: BytesMut },
    Packet { from: usize, to: usize, bytes: Vec<u8> },
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + node as u8], 11212))
}

fn node_at(address: SocketAddr) -> usize {
    (0..NODES).find(|node| self::address(*node) == address).expect("nobody else is known")
}

impl Ring {
    /// A ring that is whole: every node sees the others, and every copy is complete.
    pub(crate) fn founded() -> Self {
        let mut ring = Self {
            machines: (0..NODES).map(machines).collect(),
            now: Now { mono: Mono(0), cluster: START },
            requests: 0,
            effects: Vec::new(),
            answers: Vec::new(),
            there: Default::default(),
            back: Default::default(),
            responses: Vec::new(),
        };
        let all: Vec<SocketAddr> = (0..NODES).map(address).collect();
        for node in 0..NODES {
            let mut effects = Vec::new();
            ring.machines[node].control.join(ring.now, &all, &mut effects);
            ring.settle(node, true, effects);
        }
        let is_whole = |ring: &Self| {
            ring.machines.iter().all(|machines| machines.shared.is_synced() && members_up(&machines.shared) == NODES)
        };
        while ring.now.mono < MEASURED_FROM || !is_whole(&ring) {
            assert!(ring.now.mono < Mono(60_000_000), "three nodes that hear each other become one ring");
            ring.pass(Duration::from_millis(10));
            for node in 0..NODES {
                let mut effects = Vec::new();
                ring.machines[node].control.on_timer(ring.now, &mut effects);
                ring.settle(node, true, effects);
            }
        }
        ring
    }

    /// Has a client's command done by the coordinator and whoever it asks, until nothing is under way.
    pub(crate) fn write(&mut self, command: &Command<'_>) -> Response {
        self.pass(STEP);
        let (now, ticket, mut effects) = (self.now, self.ticket(), Vec::new());
        self.machines[COORDINATOR].node.on_request(now, ticket, command, &mut effects);
        self.settle(COORDINATOR, false, effects);
        self.responses.pop().expect("peers that hear each other answer at once")
    }

    /// Begins a client's command at the coordinator. What it sends waits for [`Ring::carry`].
    pub(crate) fn begin(&mut self, command: &Command<'_>) {
        self.pass(STEP);
        let (now, ticket) = (self.now, self.ticket());
        self.machines[COORDINATOR].node.on_request(now, ticket, command, &mut self.effects);
        self.send();
    }

    /// Begins commands as the coordinator takes them from one read of a socket: what they ask goes out together.
    pub(crate) fn begin_together(&mut self, commands: &[Command<'_>]) {
        self.machines[COORDINATOR].node.hold_asks();
        for command in commands {
            self.pass(STEP);
            let (now, ticket) = (self.now, self.ticket());
            self.machines[COORDINATOR].node.on_request(now, ticket, command, &mut self.effects);
        }
        self.machines[COORDINATOR].node.release_asks(self.now, &mut self.effects);
        self.send();
    }

    /// Has peers answer what the coordinator has asked, and gives it their answers: the responses to its clients.
    pub(crate) fn carry(&mut self) -> std::vec::Drain<'_, Response> {
        for peer in 1..NODES {
            if !self.there[peer].is_empty() {
                self.serve(peer);
                let node = &mut self.machines[COORDINATOR].node;
                while let Some(Message::Reply(id, reply)) = decode(&mut self.back[peer]) {
                    node.on_peer_reply(self.now, address(peer), id, reply, &mut self.effects);
                }
                self.send();
            }
        }
        self.responses.drain(..)
    }

    /// The frames that wait for a peer.
    pub(crate) fn waiting_for(&self, peer: usize) -> &BytesMut {
        &self.there[peer]
    }

    /// Has a peer answer these frames: the bytes of its answer.
    pub(crate) fn answer(&mut self, peer: usize, frames: &[u8]) -> &mut BytesMut {
        self.there[peer].clear();
        self.there[peer].extend_from_slice(frames);
        self.back[peer].clear();
        self.serve(peer);
        &mut self.back[peer]
    }

    fn serve(&mut self, peer: usize) {
        let link = LinkId(COORDINATOR as u64);
        loop {
            let (node, frames) = (&mut self.machines[peer].node, &mut self.there[peer]);
            if let Ok(Some((InPlace::Compare(id, compare), frame_len))) = read_in_place(frames) {
                let asked = (compare.epoch, compare.noticed);
                node.on_peer_compare(self.now, link, id, asked, compare.holdings(), &mut self.answers);
                frames.advance(frame_len);
            } else if let Some(Message::Request(id, request)) = decode(frames) {
                node.on_peer_request(self.now, link, id, request, &mut self.answers);
            } else {
                break;
            }
            for effect in self.answers.drain(..) {
                let Effect::Answer(_, message) = effect else { panic!("a replica only answers: {effect:?}") };
                encode(&message, &mut self.back[peer]);
            }
        }
    }

    /// Puts what the coordinator says into frames, and what it answers into the responses.
    fn send(&mut self) {
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Send(peer, message) => encode(&message, &mut self.there[node_at(peer)]),
                Effect::Respond(_, response) => self.responses.push(response),
                other => panic!("a coordinator sends and responds: {other:?}"),
            }
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.requests += 1;
        Ticket { connection: 1, sequence: self.requests }
    }

    /// Lets time pass, and has nodes do what is due by then.
    fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono.after(time);
        self.now.cluster = UnixMillis(START.0 + self.now.mono.0 / 1000);
        for node in 0..NODES {
            if self.machines[node].node.next_deadline().is_some_and(|at| at <= self.now.mono) {
                let mut effects = Vec::new();
                self.machines[node].node.on_timer(self.now, &mut effects);
                self.settle(node, false, effects);
            }
        }
    }

    /// Performs effects of a node, and whatever follows from them.
    fn settle(&mut self, node: usize, control: bool, effects: Vec<Effect>) {
        let mut parcels = VecDeque::new();
        self.post(node, control, effects, &mut parcels);
        while let Some(parcel) = parcels.pop_front() {
            let mut effects = Vec::new();
            let (now, (at, control)) = (self.now, parcel.to());
            let machines = &mut self.machines[at];
            match parcel {
                Parcel::Packet { from, bytes, .. } => {
                    machines.control.on_packet(now, address(from), &bytes, &mut effects);
                }
                Parcel::Frame { from, mut bytes, .. } => {
                    let link = LinkId(from as u64 * 2 + u64::from(control));
                    let Some(Message::Request(id, request)) = decode(&mut bytes) else { panic!("not a request") };
                    if control {
                        machines.control.on_peer_request(now, link, id, request, &mut effects);
                    } else {
                        machines.node.on_peer_request(now, link, id, request, &mut effects);
                    }
                }
                Parcel::Reply { from, mut bytes, .. } => {
                    let Some(Message::Reply(id, reply)) = decode(&mut bytes) else { panic!("not a reply") };
                    if control {
                        machines.control.on_peer_reply(now, address(from), id, reply, &mut effects);
                    } else {
                        machines.node.on_peer_reply(now, address(from), id, reply, &mut effects);
                    }
                }
            }
            self.post(at, control, effects, &mut parcels);
        }
    }

    fn post(&mut self, from: usize, control: bool, effects: Vec<Effect>, parcels: &mut VecDeque<Parcel>) {
        for effect in effects {
            let mut bytes = BytesMut::new();
            match effect {
                Effect::Respond(_, response) => self.responses.push(response),
                Effect::Send(peer, message) => {
                    encode(&message, &mut bytes);
                    parcels.push_back(Parcel::Frame { from, control, to: node_at(peer), bytes });
                }
                Effect::Answer(LinkId(link), message) => {
                    encode(&message, &mut bytes);
                    parcels.push_back(Parcel::Reply { from, control: link % 2 == 1, to: link as usize / 2, bytes });
                }
                Effect::Replicate(receivers, replicate) => {
                    for (peer, id) in receivers {
                        let mut bytes = BytesMut::new();
                        encode(&Message::Request(id, Request::Replicate(replicate.clone())), &mut bytes);
                        parcels.push_back(Parcel::Frame { from, control, to: node_at(peer), bytes });
                    }
                }
                Effect::Acknowledge(LinkId(link), id, acknowledgement) => {
                    encode(&Message::Reply(id, Reply::Replicate(acknowledgement)), &mut bytes);
                    parcels.push_back(Parcel::Reply { from, control: link % 2 == 1, to: link as usize / 2, bytes });
                }
                Effect::Time(_) => {}
                Effect::Packet(to, bytes) => parcels.push_back(Parcel::Packet { from, to: node_at(to), bytes }),
                Effect::Event(event) => panic!("nobody watches: {event:?}"),
                Effect::HintDisk(call) => panic!("nobody has a disk: {call:?}"),
            }
        }
    }
}

impl Parcel {
    /// Which node it goes to, and whether to its control thread.
    fn to(&self) -> (usize, bool) {
        match self {
            Self::Frame { to, control, .. } | Self::Reply { to, control, .. } => (*to, *control),
            Self::Packet { to, .. } => (*to, true),
        }
    }
}

fn machines(node: usize) -> Machines {
    let name = NodeName::new(&format!("n{}", node + 1)).expect("a legal name");
    let shared = Shared::new(Settings {
        replicas: NODES as u8,
        vnodes: 64,
        memory_limit_bytes: 64 << 20,
        joining: true,
        expect: Some(NODES),
        peer: address(node),
        generation: START.0 + node as u64,
        seed: node as u64,
        ..Settings::alone(name)
    });
    Machines { control: Control::new(Arc::clone(&shared)), node: Node::new(Arc::clone(&shared), 0), shared }
}

fn members_up(shared: &Shared) -> usize {
    shared.cluster_view().members.iter().filter(|member| member.state == "alive").count()
}

fn encode(message: &Message, out: &mut BytesMut) {
    frame::encode(message, out).expect("what a node says fits a frame");
}

fn decode(bytes: &mut BytesMut) -> Option<Message> {
    frame::decode(bytes).expect("what a node says is a frame")
}
