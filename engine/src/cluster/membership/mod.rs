//! Who is there: SWIM by foca (Das et al., 2002; suspicion as in their section 4.2), with a verdict that takes two.
//!
//! foca probes, suspects and spreads what it learns. Around it this machine adds what a cache cluster needs: a failure
//! counts only once two members report it; nodes greet addresses before they know names; a suspect that speaks is told of
//! the suspicion; a node that leaves says so. Packets and time come in, effects go out. It must not know the ring: a failed
//! member stays a member until the ring removes it.
//!
//! ```text
//! on_packet, on_timer ──► foca ──► Wishes ──► settle ──► MembershipEffect
//!                          │                    │
//!                       Rumours ──► Roster ◄────┘ (mirror of foca's list, reports, farewells)
//! ```

mod config;
mod greet;
mod roster;
mod rumours;
#[cfg(test)]
mod tests;
mod timers;
mod verdict;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use foca::{Foca, Member, State};
use memring_protocol::gossip::{Envelope, GossipCodec, GossipSummary, NodeId, Packet, Rumour};
use memring_protocol::ring::NodeName;
use memring_protocol::version::SLOTS_MAX;
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::StdRng;

pub use self::config::MembershipConfig;
use self::greet::JoinAddresses;
use self::roster::{Liveness, Roster};
use self::rumours::{Rumours, Wishes};
use self::timers::{Due, Slot, Timers};
use crate::now::Mono;

/// The most members a node knows, failed ones included: as many as a ring can number.
pub const MEMBERS_MAX: usize = SLOTS_MAX as usize;

/// Two processes of one name, a mistake of whoever started them, each renew to outrank the other. This is how long a renewed
/// identity stands before it yields again, so that they do not do so a thousand times a second.
const RENEWAL_PAUSE: Duration = Duration::from_millis(500);

/// What is known of a member's health.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberState {
    /// It answers.
    Alive,
    /// Someone's probe failed; it counts as there until the failure is confirmed.
    Suspect,
    /// Two members reported it, and it did not refute.
    Failed,
    /// It stopped and said so: expected back.
    Restarting,
}

/// A member as this node sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemberView {
    /// Its latest known life.
    pub id: NodeId,
    /// Its health.
    pub state: MemberState,
    /// Whether it was told to stop, and goes on for as long as copies depend on it.
    pub is_stopping: bool,
}

/// What the machine wants done, or known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MembershipEffect {
    /// Send this packet by UDP.
    Send {
        /// Where.
        to: SocketAddr,
        /// What.
        packet: Vec<u8>,
    },
    /// A member is new, lives a new life, or changed its health.
    Changed(NodeId, MemberState),
    /// Others counted this node as failed, or knew a later life by its name: it lives on under this identity.
    Renewed(NodeId),
}

/// The membership machine of one node.
pub struct Membership {
    foca: Foca<NodeId, GossipCodec, StdRng, Rumours>,
    roster: Arc<Mutex<Roster>>,
    config: MembershipConfig,
    envelope: Envelope,
    timers: Timers,
    join: JoinAddresses,
    /// Whether foca has live peers that know this identity; without, it does nothing by itself.
    takes_part: bool,
    /// The identity last told of, to notice that foca has renewed it.
    me: NodeId,
    renewed_at: Option<Mono>,
    /// The last words of a node that has left; it is deaf from then on, since any answer would call it back.
    farewell: Option<Vec<MembershipEffect>>,
    packets_refused: u64,
}

impl Membership {
    /// A node that knows nobody yet. The same seed and inputs give the same effects.
    ///
    /// # Panics
    /// When the periods of `config` contradict each other.
    pub fn new(mut id: NodeId, cluster: &str, config: MembershipConfig, seed: u64) -> Self {
        assert!(config.is_sound(), "contradicting periods: {config:?}");
        if let SocketAddr::V6(peer) = &mut id.peer {
            // They mean something on this host only, and do not travel: peers would know another identity.
            peer.set_flowinfo(0);
            peer.set_scope_id(0);
        }
        let roster = Arc::new(Mutex::new(Roster::new(id.name.clone())));
        let foca = Foca::with_custom_broadcast(
            id.clone(),
            config.to_foca(),
            StdRng::seed_from_u64(seed),
            GossipCodec,
            Rumours(Arc::clone(&roster)),
        );
        Self {
            foca,
            roster,
            config,
            envelope: Envelope::new(cluster),
            timers: Timers::default(),
            join: JoinAddresses::default(),
            takes_part: false,
            me: id,
            renewed_at: None,
            farewell: None,
            packets_refused: 0,
        }
    }

    /// This node's identity; its generation may have been renewed.
    pub fn me(&self) -> &NodeId {
        self.foca.identity()
    }

    /// Everyone known but this node, by name.
    pub fn members(&self) -> impl Iterator<Item = MemberView> {
        self.roster.lock().views().into_iter()
    }

    /// Packets that were broken, of another cluster, or more than fits; since the start.
    pub fn packets_refused(&self) -> u64 {
        self.packets_refused
    }

    /// When [`Membership::on_timer`] has something to do.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// A packet arrived.
    pub fn on_packet(&mut self, now: Mono, from: SocketAddr, bytes: &[u8], out: &mut Vec<MembershipEffect>) {
        if self.farewell.is_some() {
            return;
        }
        let packet = self.envelope.open(bytes);
        if let (Ok(packet), true) = (&packet, Envelope::is_from_stopping(bytes)) {
            self.note_stopping(packet, out);
        }
        let taken = match packet {
            Ok(Packet::Gossip(body)) => self.on_gossip(now, body, out),
            Ok(Packet::Hello(asker)) => self.on_hello(from, &asker, out),
            Ok(Packet::Welcome { from, yours }) => self.on_welcome(now, from, yours, out),
            Ok(Packet::Doubt { of, incarnation }) => self.on_doubt(now, of, incarnation, out),
            Err(_refused) => false,
        };
        self.packets_refused += u64::from(!taken);
    }

    /// Time passed: does everything that is due, however late.
    pub fn on_timer(&mut self, now: Mono, out: &mut Vec<MembershipEffect>) {
        while let Some(due) = self.timers.pop_due(now) {
            match due.slot {
                Slot::Greet => self.greet(now, out),
                Slot::Forget => self.forget_old(now, out),
                Slot::Verdict(_) => self.on_verdict_due(now, due, out),
                _ => self.tell_foca(now, due, out),
            }
        }
    }

    /// Says to everyone, in this packet and all that follow, that this node was told to stop. Nobody counts on it from then
    /// on for what is to last. Called again, it repeats that, for a network that lost it.
    pub fn say_stopping(&mut self, out: &mut Vec<MembershipEffect>) {
        if self.farewell.is_some() {
            return;
        }
        self.envelope.set_stopping();
        let others: Vec<SocketAddr> = self.roster.lock().active().map(|id| id.peer).collect();
        for other in others {
            self.send(other, &Packet::Hello(self.me.clone()), out);
        }
    }

    fn note_stopping(&self, packet: &Packet<'_>, out: &mut Vec<MembershipEffect>) {
        let sender = match packet {
            Packet::Gossip(body) => GossipSummary::read(body).ok().map(|summary| summary.sender),
            Packet::Hello(from) | Packet::Welcome { from, .. } => Some(from.clone()),
            Packet::Doubt { .. } => None,
        };
        let changed = sender.and_then(|sender| self.roster.lock().note_stopping(&sender));
        out.extend(changed.map(|(id, state)| MembershipEffect::Changed(id, state)));
    }

    /// Says goodbye to everyone: the others see a restart, not a failure. The machine is deaf and silent afterwards;
    /// called again, it repeats its last words, for a network that lost them.
    pub fn leave(&mut self, now: Mono, out: &mut Vec<MembershipEffect>) {
        if self.farewell.is_none() {
            let me = self.me().clone();
            let rumour = Rumour::BackSoon { subject: me.name, generation: me.generation };
            let mut wishes = Wishes::default();
            // None of these fails: the periods stay, the rumour is legal, and identities fit packets.
            let _ = self.foca.set_config(self.config.to_foca_farewell());
            let _ = self.foca.add_broadcast(&rumour.to_bytes());
            let _ = self.foca.leave_cluster(&mut wishes);
            let mut last_words = Vec::new();
            self.settle(now, wishes, &mut last_words);
            last_words.retain(|effect| matches!(effect, MembershipEffect::Send { .. }));
            self.farewell = Some(last_words);
            self.timers.clear();
        }
        out.extend(self.farewell.iter().flatten().cloned());
    }

    /// Forgets a member that is not alive, as when the ring has removed it. Should it live, it will be heard of again.
    pub fn forget(&mut self, now: Mono, name: &NodeName, out: &mut Vec<MembershipEffect>) {
        let known = self.roster.lock().id_of(name).cloned();
        let Some(id) = known.filter(|id| !self.roster.lock().is_active(&id.name)) else {
            return;
        };
        let mut wishes = Wishes::default();
        let _ = self.foca.handle_timer(foca::Timer::RemoveDown(id.clone()), &mut wishes);
        self.roster.lock().remove(&id.name);
        self.settle(now, wishes, out);
    }

    fn on_gossip(&mut self, now: Mono, body: &[u8], out: &mut Vec<MembershipEffect>) -> bool {
        let Ok(summary) = GossipSummary::read(body) else {
            return false;
        };
        if !self.has_room_for(&summary) {
            return false;
        }
        if summary.turns_undead && self.has_just_renewed(now) {
            return true;
        }
        let mut wishes = Wishes::default();
        let taken = self.foca.handle_data(body, &mut wishes).is_ok();
        self.settle(now, wishes, out);

        let GossipSummary { sender, incarnation, .. } = summary;
        if self.roster.lock().is_suspect(&sender, incarnation) {
            // Who speaks has not failed: no verdict on what came before, and let it refute.
            self.timers.disarm(&Slot::Verdict(sender.name.clone()));
            self.send(sender.peer, &Packet::Doubt { of: sender, incarnation }, out);
        }
        taken
    }

    fn has_just_renewed(&self, now: Mono) -> bool {
        self.renewed_at.is_some_and(|at| now.since(at) < RENEWAL_PAUSE)
    }

    /// Whether foca's list stays within [`MEMBERS_MAX`] when it takes in this packet.
    fn has_room_for(&self, summary: &GossipSummary) -> bool {
        let known = self.foca.iter_membership_state().len();
        if known + 1 + summary.mentioned.len() <= MEMBERS_MAX {
            return true;
        }
        let roster = self.roster.lock();
        let named = summary.mentioned.iter().chain([&summary.sender]).map(|id| &id.name);
        known + named.filter(|name| roster.id_of(name).is_none()).count() <= MEMBERS_MAX
    }

    fn on_doubt(&mut self, now: Mono, of: NodeId, incarnation: u16, out: &mut Vec<MembershipEffect>) -> bool {
        if of != *self.me() {
            // Perhaps of an earlier life.
            return true;
        }
        let mut wishes = Wishes::default();
        let suspected = Member::new(of, incarnation, State::Suspect);
        let taken = self.foca.apply_many([suspected].into_iter(), true, &mut wishes).is_ok();
        self.settle(now, wishes, out);
        taken
    }

    fn tell_foca(&mut self, now: Mono, due: Due, out: &mut Vec<MembershipEffect>) {
        if let Some(timer) = due.timer {
            let mut wishes = Wishes::default();
            // It can only complain of a probe cut short, from which it recovers by itself.
            let _ = self.foca.handle_timer(timer, &mut wishes);
            self.settle(now, wishes, out);
        }
    }

    fn forget_old(&mut self, now: Mono, out: &mut Vec<MembershipEffect>) {
        let forget_after = self.config.forget_after;
        let is_old = |since: Mono| since.after(forget_after) <= now;
        let old: Vec<NodeName> =
            self.roster.lock().down().filter(|(_, since)| is_old(*since)).map(|(id, _)| id.name.clone()).collect();
        for name in old {
            self.forget(now, &name, out);
        }
        self.arm_forget();
    }

    /// After every call of foca: performs its wishes, takes over its list, and tells what changed.
    fn settle(&mut self, now: Mono, mut wishes: Wishes, out: &mut Vec<MembershipEffect>) {
        for (after, timer) in wishes.timers.drain(..) {
            self.arm_foca(now.after(after), timer);
        }
        for (to, body) in wishes.sends.drain(..) {
            // An earlier life of this node may be on foca's list, at the same address.
            if to.peer != self.me.peer {
                self.send(to.peer, &Packet::Gossip(&body), out);
            }
        }
        if let Some(takes_part) = wishes.takes_part {
            self.take_part(now, takes_part);
        }
        let rival = self.mirror(now, out);
        if self.me != *self.foca.identity() {
            self.me = self.foca.identity().clone();
            self.renewed_at = Some(now);
            out.push(MembershipEffect::Renewed(self.me.clone()));
        }
        if let Some(rival) = rival {
            self.outrank(now, &rival, out);
        }
    }

    fn arm_foca(&mut self, at: Mono, timer: foca::Timer<NodeId>) {
        match (Slot::of(&timer), &timer) {
            (Some(slot), foca::Timer::ChangeSuspectToDown { .. }) => self.suspect(slot, at, timer),
            (Some(slot), _) => self.timers.arm(slot, at, Some(timer)),
            (None, _) => {}
        }
    }

    /// Brings the roster up to foca's list. Returns a life of this node's own name that outranks it, if there is one.
    fn mirror(&mut self, now: Mono, out: &mut Vec<MembershipEffect>) -> Option<NodeId> {
        let mut roster = self.roster.lock();
        let mut rival = None;
        let mut has_failed = false;
        for member in self.foca.iter_membership_state() {
            if member.id().name == self.me.name {
                rival = Some(member.id().clone());
                continue;
            }
            let liveness = match member.state() {
                State::Alive => Liveness::Alive,
                State::Suspect => Liveness::Suspect,
                State::Down => Liveness::Down,
            };
            if let Some((id, state)) = roster.update(now, member.id(), member.incarnation(), liveness) {
                has_failed |= liveness == Liveness::Down;
                out.push(MembershipEffect::Changed(id, state));
            }
        }
        drop(roster);
        if has_failed {
            self.arm_forget();
        }
        rival
    }

    fn arm_forget(&mut self) {
        let oldest = self.roster.lock().down().map(|(_, since)| since).min();
        match oldest {
            Some(since) => self.timers.arm(Slot::Forget, since.after(self.config.forget_after), None),
            None => self.timers.disarm(&Slot::Forget),
        }
    }

    fn send(&self, to: SocketAddr, packet: &Packet<'_>, out: &mut Vec<MembershipEffect>) {
        out.push(MembershipEffect::Send { to, packet: self.envelope.seal(packet) });
    }
}
