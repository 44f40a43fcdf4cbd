//! Who can be asked: gossip's verdicts, and this node's own pings.

use std::net::SocketAddr;

use memring_protocol::level::majority;
use memring_protocol::message::{ControlRequest, NodeStatus, Request};
use memring_protocol::version::Slot;

use super::super::effect::Effect;
use super::super::shared::Heard;
use super::super::topology::{Liveness, Peer};
use super::super::touch::IN_TOUCH;
use super::{Asked, Control};
use crate::cluster::membership::MemberState;
use crate::cluster::recovery::SourceStanding;
use crate::cluster::ring::VisibleNode;
use crate::now::Now;

fn liveness_of(state: MemberState) -> Liveness {
    match state {
        MemberState::Alive => Liveness::Alive,
        MemberState::Suspect => Liveness::Suspect,
        MemberState::Failed => Liveness::Failed,
        MemberState::Restarting => Liveness::Restarting,
    }
}

impl Control {
    /// Brings the topology's liveness up to date; returns what the ring keeper is to see.
    pub(super) fn refresh_members(&mut self, now: Now) -> Vec<VisibleNode> {
        let members: Vec<_> = self.membership.members().collect();
        let topology = self.shared.topology();
        let mut peers = Vec::new();
        for member in &members {
            if let Some(mut heard) = self.shared.heard.get_mut(member.id.name.as_str()) {
                heard.client_port = member.id.client_port;
                heard.admin_port = member.id.admin_port;
            } else {
                let (client_port, admin_port) = (member.id.client_port, member.id.admin_port);
                let heard = Heard { client_port, admin_port, ..Heard::default() };
                self.shared.heard.insert(member.id.name.to_string(), heard);
            }
            let Some(slot) = topology.layout().and_then(|layout| layout.config.member_named(&member.id.name)) else {
                continue;
            };
            let liveness = liveness_of(member.state);
            let peer = Peer { name: member.id.name.clone(), address: member.id.peer, liveness };
            peers.push((slot.slot, peer));
        }
        let refreshed = topology.with_peers(&peers);
        drop(topology);
        self.shared.set_topology(refreshed);
        self.note_absent(now);
        let addresses: std::collections::BTreeSet<_> = members.iter().map(|member| member.id.peer).collect();
        self.watch.retain(|address| addresses.contains(address));
        self.shared.peers.retain(|address| addresses.contains(address));
        let names: std::collections::BTreeSet<_> = members.iter().map(|member| member.id.name.as_str()).collect();
        self.shared.heard.retain(|name, _| names.contains(name.as_str()));
        members
            .into_iter()
            .map(|member| VisibleNode {
                name: member.id.name,
                peer: member.id.peer,
                generation: member.id.generation,
                alive: matches!(member.state, MemberState::Alive | MemberState::Suspect),
            })
            .collect()
    }

    fn note_absent(&mut self, now: Now) {
        let topology = self.shared.topology();
        let Some(layout) = topology.layout() else { return };
        for member in &layout.config.members {
            if topology.is_up(member.slot) {
                self.absent_since.remove(&member.slot);
            } else {
                self.absent_since.entry(member.slot).or_insert(now.mono);
            }
        }
        self.absent_since.retain(|slot, _| layout.config.member(*slot).is_some());
        self.answered_at.retain(|slot, _| layout.config.member(*slot).is_some());
    }

    pub(super) fn ping_peers(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let status = self.status(now);
        for address in self.pinged() {
            if !self.watch.wants_ping(now.mono, address) {
                continue;
            }
            let request = Request::Control(ControlRequest::Ping(status.clone()));
            self.call(now, address, Asked::Ping { sent: now.mono }, request, effects);
        }
    }

    /// The members of the ring; before there is one, everyone who is seen, for their clocks.
    fn pinged(&self) -> Vec<SocketAddr> {
        let topology = self.shared.topology();
        let Some(layout) = topology.layout() else {
            let seen = self.membership.members().filter(|member| {
                matches!(member.state, MemberState::Alive | MemberState::Suspect)
                    && member.id.name != self.shared.settings().name
            });
            return seen.map(|member| member.id.peer).collect();
        };
        let peers = layout.config.members.iter().filter_map(|member| topology.peer(member.slot));
        let up = peers.filter(|peer| !matches!(peer.liveness, Liveness::Failed | Liveness::Restarting));
        up.map(|peer| peer.address).collect()
    }

    pub(super) fn on_pong(&mut self, now: Now, from: SocketAddr, sent: crate::now::Mono, status: &NodeStatus) {
        self.hear_clock(now, sent, status);
        self.hear(status);
        if let Some(slot) = self.shared.topology().slot_at(from) {
            self.answered_at.insert(slot, now.mono);
            self.shared.touch.note(slot, sent);
            self.sum_up_touch();
        }
        self.hear_pong(now, from, sent);
    }

    /// What a peer tells of itself, asked or not.
    pub(super) fn hear(&mut self, status: &NodeStatus) {
        if let Some(mut heard) = self.shared.heard.get_mut(status.name.as_str()) {
            (heard.epoch, heard.synced_permille) = (status.epoch, status.synced_permille);
        }
        // A flush to come must not come by a clock that may be off.
        if self.time.settled {
            self.shared.take_flush(status.flush);
        }
    }

    /// What is known of members' answers, for the workers.
    pub(super) fn sum_up_touch(&self) {
        let topology = self.shared.topology();
        let members = topology.layout().map_or(&[][..], |layout| &layout.config.members);
        let others = members.iter().map(|member| member.slot).filter(|slot| Some(*slot) != topology.me());
        self.shared.touch.sum_up(others);
    }

    /// Whether a majority of the ring's members, this node included, has answered lately.
    fn majority_in_touch(&self, now: Now) -> bool {
        let topology = self.shared.topology();
        let (Some(layout), Some(me)) = (topology.layout(), topology.me()) else { return true };
        let in_touch = layout.config.members.iter().filter(|member| {
            let answered = self.answered_at.get(&member.slot);
            member.slot == me || answered.is_some_and(|at| now.mono.since(*at) < IN_TOUCH)
        });
        in_touch.count() >= majority(layout.config.members.len())
    }

    /// A home that comes back after others may have done without it is recovering: it compares its copies before it is
    /// counted again.
    pub(super) fn note_isolation(&mut self, now: Now) {
        if !self.majority_in_touch(now) {
            return;
        }
        // Since it last was, not since this was noticed: who was stopped notices when it goes on.
        let since = std::mem::replace(&mut self.in_touch_at, now.mono);
        if now.mono.since(since) + IN_TOUCH >= self.shared.settings().refound_after {
            self.distrust_copies();
        }
    }

    /// How a home stands as a source of copies.
    pub(super) fn source_standing(&self, now: Now, slot: Slot) -> SourceStanding {
        let topology = self.shared.topology();
        if self.shared.is_usable(&topology, slot) {
            return SourceStanding::Reachable;
        }
        let refound_after = self.shared.settings().refound_after;
        let long_gone = self.absent_since.get(&slot).is_some_and(|since| now.mono.since(*since) >= refound_after);
        if long_gone && self.majority_in_touch(now) { SourceStanding::Gone } else { SourceStanding::Away }
    }
}
