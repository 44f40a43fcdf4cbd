//! How nodes that know only addresses come to know each other, and how a node outranks an earlier life of its own name.
//!
//! foca can announce itself only to an identity. So a node greets addresses; whoever lives there answers with its
//! identity, and foca goes on from that. Must not resolve names: addresses come from the server, which asks DNS.

use std::collections::VecDeque;
use std::net::SocketAddr;

use foca::Identity;
use memring_protocol::gossip::{NodeId, Packet};

use super::rumours::Wishes;
use super::timers::Slot;
use super::{Membership, MembershipEffect};
use crate::now::Mono;

/// Join addresses remembered; the oldest makes room. Pods come and go at new addresses, and DNS tells only of live ones.
const JOIN_ADDRESSES_MAX: usize = 256;

/// Where other nodes may be.
#[derive(Debug, Default)]
pub(super) struct JoinAddresses(VecDeque<SocketAddr>);

impl JoinAddresses {
    fn insert(&mut self, address: SocketAddr) {
        self.0.retain(|known| *known != address);
        if self.0.len() == JOIN_ADDRESSES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(address);
    }
}

impl Membership {
    /// Greets a join address, now and whenever nobody known lives there. A node's own address is harmless here.
    pub fn announce(&mut self, now: Mono, to: SocketAddr, out: &mut Vec<MembershipEffect>) {
        if self.farewell.is_some() {
            return;
        }
        self.join.insert(to);
        self.say_hello(to, out);
        if self.timers.armed(&Slot::Greet).is_none() {
            self.timers.arm(Slot::Greet, now.after(self.config.greet_period), None);
        }
    }

    /// While foca takes no part in a cluster it is silent, so the node greets every address it ever heard of. Otherwise it
    /// greets join addresses at which nobody known is alive: there may be a cluster that started apart.
    pub(super) fn greet(&mut self, now: Mono, out: &mut Vec<MembershipEffect>) {
        let mut addresses: Vec<SocketAddr> = self.join.0.iter().copied().collect();
        {
            let roster = self.roster.lock();
            if self.takes_part {
                addresses.retain(|address| roster.active().all(|id| id.peer != *address));
            } else {
                addresses.extend(roster.active().chain(roster.down().map(|(id, _)| id)).map(|id| id.peer));
            }
        }
        addresses.sort_unstable();
        addresses.dedup();
        for address in addresses {
            self.say_hello(address, out);
        }
        let period = if self.takes_part { self.config.greet_period_in_company } else { self.config.greet_period };
        self.timers.arm(Slot::Greet, now.after(period), None);
    }

    /// Notes whether foca takes part. When it ceases to, greeting is what brings it back.
    pub(super) fn take_part(&mut self, now: Mono, takes_part: bool) {
        self.takes_part = takes_part;
        if !takes_part {
            self.timers.arm(Slot::Greet, now.after(self.config.greet_period), None);
        }
    }

    fn say_hello(&self, to: SocketAddr, out: &mut Vec<MembershipEffect>) {
        if to != self.me.peer {
            self.send(to, &Packet::Hello(self.me.clone()), out);
        }
    }

    pub(super) fn on_hello(&mut self, from: SocketAddr, asker: &NodeId, out: &mut Vec<MembershipEffect>) -> bool {
        if *asker != self.me {
            let yours = if asker.name == self.me.name {
                // Two lives of one name meet: the later one stands.
                Some(self.me.clone())
            } else {
                self.roster.lock().id_of(&asker.name).cloned()
            };
            self.send(from, &Packet::Welcome { from: self.me.clone(), yours }, out);
        }
        true
    }

    pub(super) fn on_welcome(
        &mut self,
        now: Mono,
        host: NodeId,
        yours: Option<NodeId>,
        out: &mut Vec<MembershipEffect>,
    ) -> bool {
        if host.name == self.me.name {
            return true;
        }
        if let Some(rival) = yours.filter(|rival| rival.name == self.me.name) {
            self.outrank(now, &rival, out);
        }
        let is_known = {
            let roster = self.roster.lock();
            roster.is_active(&host.name) && roster.id_of(&host.name) == Some(&host)
        };
        if is_known && self.takes_part {
            return true;
        }
        let mut wishes = Wishes::default();
        let taken = self.foca.announce(host, &mut wishes).is_ok();
        self.settle(now, wishes, out);
        taken
    }

    /// Others know another life by this node's name. If that one would win (it was started by a clock that ran ahead), this
    /// node could never join: so it takes a later generation.
    pub(super) fn outrank(&mut self, now: Mono, rival: &NodeId, out: &mut Vec<MembershipEffect>) {
        if self.has_just_renewed(now) {
            return;
        }
        let Some(generation) = rival.generation.checked_add(1).filter(|_| rival.win_addr_conflict(&self.me)) else {
            return;
        };
        let mut wishes = Wishes::default();
        let later = NodeId { generation, ..self.me.clone() };
        // Fails only when the identity stays the same.
        let _ = self.foca.change_identity(later, &mut wishes);
        wishes.takes_part = Some(false);
        self.settle(now, wishes, out);
    }
}
