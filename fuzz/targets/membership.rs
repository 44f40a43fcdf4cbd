//! Stories of three honest nodes whose network loses, repeats, delays and breaks packets, and lets strangers in: whatever
//! comes, each node stays itself, knows a bounded number of members, answers with few and sound packets, and finds rest.
//!
//! Must not know what is a right verdict: that is the simulator's.
#![no_main]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use memring_engine::cluster::membership::{MEMBERS_MAX, Membership, MembershipConfig, MembershipEffect};
use memring_engine::now::Mono;
use memring_protocol::gossip::{Envelope, NodeId, PACKET_BYTES_MAX, Packet};
use memring_protocol::ring::NodeName;

const NODES: u8 = 3;

const CLUSTER: &str = "memring";

/// Longer stories find no more, and are slow.
const STEPS_MAX: usize = 400;

/// Packets under way; later ones are lost.
const UNDER_WAY_MAX: usize = 64;

/// Packets that one packet may cause: an amplifier would be a weapon.
const ANSWERS_MAX: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let mut world = World::new();
    let mut script = Script(bytes);
    for _ in 0..STEPS_MAX {
        let Some(step) = script.byte() else { break };
        world.step(step, &mut script);
    }
});

struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}

struct World {
    now: Mono,
    nodes: Vec<Membership>,
    /// From, to, what.
    under_way: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>,
    envelope: Envelope,
}

impl World {
    fn new() -> Self {
        let id = |node| NodeId {
            name: NodeName::new(&format!("n{node}")).expect("legal"),
            generation: 1000,
            peer: address(node),
            client_port: 11211,
            admin_port: 11213,
        };
        let start = |node| Membership::new(id(node), CLUSTER, MembershipConfig::default(), u64::from(node));
        let mut world = Self {
            now: Mono(0),
            nodes: (0..NODES).map(start).collect(),
            under_way: VecDeque::new(),
            envelope: Envelope::new(CLUSTER),
        };
        for node in 0..NODES {
            world.act(node, usize::MAX, |machine, now, out| machine.announce(now, address((node + 1) % NODES), out));
        }
        world
    }

    fn step(&mut self, step: u8, script: &mut Script<'_>) {
        let node = step / 16 % NODES;
        match step % 16 {
            // Most of the time the network works, or there would be no story.
            0..=5 => self.deliver(|_| {}),
            6 | 7 => self.wait(script),
            8 => drop(self.under_way.pop_front()),
            9 => self.under_way.rotate_left(usize::from(self.under_way.len() > 1)),
            10 => {
                let again = self.under_way.front().cloned();
                self.under_way.extend(again);
            }
            11 | 12 => {
                let (at, mask) = (script.byte().unwrap_or(0), script.byte().unwrap_or(0));
                self.deliver(|packet| {
                    let at = usize::from(at) % packet.len();
                    packet[at] ^= mask;
                });
            }
            13 | 14 => self.let_stranger_in(node, script),
            _ => self.leave_or_forget(node, script),
        }
    }

    fn deliver(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        let Some((from, to, mut packet)) = self.under_way.pop_front() else { return };
        let Some(node) = (0..NODES).find(|&node| address(node) == to) else { return };
        change(&mut packet);
        self.act(node, ANSWERS_MAX, |machine, now, out| machine.on_packet(now, from, &packet, out));
    }

    fn wait(&mut self, script: &mut Script<'_>) {
        let units = u64::from(script.byte().unwrap_or(1));
        self.now = self.now.after(Duration::from_millis(units * 20));
        for node in 0..NODES {
            self.act(node, usize::MAX, |machine, now, out| machine.on_timer(now, out));
            let next = self.nodes[usize::from(node)].next_deadline();
            assert!(next.is_none_or(|next| next > self.now), "a node does not come to rest");
        }
    }

    /// A packet of this cluster whose body the script makes.
    fn let_stranger_in(&mut self, node: u8, script: &mut Script<'_>) {
        let mut packet = self.envelope.seal(&Packet::Gossip(&[]));
        packet[2] = script.byte().unwrap_or(0) % 4;
        let length = usize::from(script.byte().unwrap_or(0));
        packet.extend_from_slice(script.bytes(length));
        self.act(node, ANSWERS_MAX, |machine, now, out| machine.on_packet(now, address(99), &packet, out));
    }

    fn leave_or_forget(&mut self, node: u8, script: &mut Script<'_>) {
        let about = NodeName::new(&format!("n{}", script.byte().unwrap_or(0) % NODES)).expect("legal");
        if self.nodes[usize::from(node)].me().name == about {
            self.act(node, MEMBERS_MAX, |machine, now, out| machine.leave(now, out));
        } else {
            self.act(node, usize::MAX, |machine, now, out| machine.forget(now, &about, out));
        }
    }

    fn act(
        &mut self,
        node: u8,
        answers_max: usize,
        act: impl FnOnce(&mut Membership, Mono, &mut Vec<MembershipEffect>),
    ) {
        let machine = &mut self.nodes[usize::from(node)];
        let before = machine.me().clone();
        let mut effects = Vec::new();
        act(machine, self.now, &mut effects);
        let me = machine.me();
        assert_eq!((&me.name, me.peer), (&before.name, before.peer), "a node is another");
        assert!(me.generation >= before.generation, "a node's life goes back");
        assert!(machine.members().count() <= MEMBERS_MAX);
        assert!(machine.members().all(|member| member.id.name != before.name), "a node counts itself");
        let mut answers = 0;
        for effect in effects {
            if let MembershipEffect::Send { to, packet } = effect {
                answers += 1;
                assert!(packet.len() <= PACKET_BYTES_MAX, "a packet of {} bytes", packet.len());
                self.envelope.open(&packet).expect("a sound packet");
                if self.under_way.len() < UNDER_WAY_MAX {
                    self.under_way.push_back((before.peer, to, packet));
                }
            }
        }
        assert!(answers <= answers_max, "{answers} answers to one packet");
    }
}

fn address(node: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, node], 11212))
}
