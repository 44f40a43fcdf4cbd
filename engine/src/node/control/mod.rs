//! The control thread's machine: membership, the ring, liveness, recovery, repair.
//!
//! It turns gossip and ring configs into the topology that all threads work from, pings its peers, copies what this
//! node lacks, and compares what it has. Must not touch a client's request.
//!
//! ```text
//! gossip, join ── membership ─┐
//! ring messages ── keeper ────┼── topology (shared with the workers)
//! pings ── health ────────────┘        └── recovery: fetches, synced
//! ```

mod clocks;
mod departing;
mod health;
mod hinting;
mod layout;
mod liveness;
mod recovering;
mod repairing;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use memring_protocol::gossip::NodeId;
use memring_protocol::key::PARTITIONS;
use memring_protocol::message::{
    ControlReply, ControlRequest, Message, NodeStatus, Refusal, Reply, Request, RequestId,
};
use memring_protocol::ring::{Epoch, NodeName, Share};
use memring_protocol::version::Slot;

use self::clocks::Timekeeping;
use self::departing::{CopiesAsked, Departing};
use self::health::Watch;
use self::recovering::Fetching;
use self::repairing::Comparing;
use super::effect::{Effect, LinkId};
use super::plausible::{is_plausible_reply, is_plausible_request};
use super::replica;
use super::shared::Shared;
use crate::cluster::membership::{Membership, MembershipConfig, MembershipEffect};
use crate::cluster::recovery::{Recovery, SourceStanding};
use crate::cluster::repair::Repair;
use crate::cluster::ring::{KeeperConfig, RingEffect, RingKeeper};
use crate::now::{Mono, Now};

/// How often the control thread looks after everything that has no deadline of its own.
const TICK: Duration = Duration::from_millis(50);

/// Bytes of the store that are looked through in a tick for what is over: a few milliseconds of this thread's time.
const TIDY_BYTES: usize = 4 << 20;

/// Control threads number their calls apart from all workers.
const CALLS_FROM: u64 = 0xffff << 48;

/// Calls that may be unanswered at a time; more are not sent.
const CALLS_MAX: usize = 4096;

/// What an unanswered request was about.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Ping { sent: Mono },
    Fetch(Slot),
    Survey(Slot),
    Copies(Slot),
    Start,
    Ring,
}

#[derive(Clone, Copy, Debug)]
struct ControlCall {
    peer: SocketAddr,
    asked: Asked,
    expires: Mono,
}

/// One process's machine for everything that is not a request.
pub struct Control {
    shared: Arc<Shared>,
    membership: Membership,
    keeper: RingKeeper,
    recovery: Recovery,
    fetching: Fetching,
    /// Whether anything has come since the copies were last looked through.
    recovery_moved: bool,
    /// How the sources stood then.
    judged_standings: BTreeMap<Slot, SourceStanding>,
    repair: Repair,
    comparing: Comparing,
    watch: Watch,
    calls: BTreeMap<RequestId, ControlCall>,
    next_call: u64,
    tick_at: Mono,
    time: Timekeeping,
    /// Partitions that are this node's, in the current or the next placement.
    owned: Vec<bool>,
    /// Ring members that are not up, since when.
    absent_since: BTreeMap<Slot, Mono>,
    /// The last answer of each ring member to a ping.
    answered_at: BTreeMap<Slot, Mono>,
    /// When last a majority of the ring had answered lately.
    in_touch_at: Mono,
    /// The config for which the keeper was told that everything is copied.
    synced_told: Epoch,
    members_changed: bool,
    /// This node was told to go.
    departing: Option<Departing>,
    copies_asked: CopiesAsked,
    started: bool,
    /// Whether all hints are to be on disk, for this node stops.
    saves_hints: bool,
}

impl Control {
    /// The machine of a node that starts. Its first turn founds a ring if it was told of no others.
    pub fn new(shared: Arc<Shared>) -> Self {
        let settings = shared.settings();
        let id = NodeId {
            name: settings.name.clone(),
            generation: settings.generation,
            peer: settings.peer,
            client_port: settings.client_port,
            admin_port: settings.admin_port,
        };
        let keeper = KeeperConfig {
            name: settings.name.clone(),
            generation: settings.generation,
            cluster: settings.cluster.clone(),
            share: Share { zone: settings.zone.clone(), weight: settings.weight },
            replicas: settings.replicas,
            vnodes: settings.vnodes,
            joining: settings.joining,
            expect: settings.expect,
            rejoin_empty: settings.rejoin_empty,
            remove_after: settings.remove_after,
        };
        let mut keeper = RingKeeper::new(keeper, Mono(0), settings.seed ^ 0x5eed);
        // Until it is known what time it is.
        keeper.hold_founding(true);
        Self {
            membership: Membership::new(id, &settings.cluster, MembershipConfig::default(), settings.seed),
            keeper,
            recovery: Recovery::default(),
            fetching: Fetching::default(),
            recovery_moved: false,
            judged_standings: BTreeMap::new(),
            repair: Repair::default(),
            comparing: Comparing::default(),
            watch: Watch::default(),
            calls: BTreeMap::new(),
            next_call: CALLS_FROM,
            tick_at: Mono(0),
            time: Timekeeping::default(),
            owned: vec![false; usize::from(PARTITIONS)],
            absent_since: BTreeMap::new(),
            answered_at: BTreeMap::new(),
            in_touch_at: Mono(0),
            synced_told: Epoch(0),
            members_changed: true,
            departing: None,
            copies_asked: CopiesAsked::new(),
            started: false,
            saves_hints: false,
            shared,
        }
    }

    /// The addresses that `--join` names stand for now. To be called again whenever they were resolved anew.
    pub fn join(&mut self, now: Now, addresses: &[SocketAddr], effects: &mut Vec<Effect>) {
        let mut out = Vec::new();
        for address in addresses {
            self.membership.announce(now.mono, *address, &mut out);
        }
        self.take_membership(out, effects);
        self.settle(now, effects);
    }

    /// A gossip packet.
    pub fn on_packet(&mut self, now: Now, from: SocketAddr, packet: &[u8], effects: &mut Vec<Effect>) {
        let mut out = Vec::new();
        self.membership.on_packet(now.mono, from, packet, &mut out);
        self.take_membership(out, effects);
        self.settle(now, effects);
    }

    /// A peer's request, come over a control link that it dialled.
    pub fn on_peer_request(
        &mut self,
        now: Now,
        link: LinkId,
        id: RequestId,
        request: Request,
        effects: &mut Vec<Effect>,
    ) {
        let reply = match request {
            request if !is_plausible_request(now.cluster, &request) => {
                Reply::Control(ControlReply::Refused(Refusal::Busy))
            }
            Request::Control(ControlRequest::Ping(status)) => {
                self.hear(&status);
                Reply::Control(ControlReply::Pong(self.status(now)))
            }
            Request::Control(ControlRequest::Ring { from, message }) => {
                let mut out = Vec::new();
                self.keeper.on_message(now.mono, &from, message, &mut out);
                self.take_ring(now, out, effects);
                Reply::Control(ControlReply::Done)
            }
            request => {
                let topology = self.shared.topology();
                replica::answer(&self.shared, &topology, now.cluster, request)
                    .unwrap_or(Reply::Control(ControlReply::Refused(Refusal::Busy)))
            }
        };
        effects.push(Effect::Answer(link, Message::Reply(id, reply)));
        self.settle(now, effects);
    }

    /// A peer's reply, come over the control link to `from`.
    pub fn on_peer_reply(
        &mut self,
        now: Now,
        from: SocketAddr,
        id: RequestId,
        reply: Reply,
        effects: &mut Vec<Effect>,
    ) {
        let Some(call) = self.calls.get(&id).copied().filter(|call| call.peer == from) else { return };
        self.calls.remove(&id);
        let reply = Some(reply).filter(|reply| is_plausible_reply(self.judges_by(now, reply), reply));
        match (call.asked, reply) {
            (Asked::Ping { sent }, Some(Reply::Control(ControlReply::Pong(status)))) => {
                self.on_pong(now, from, sent, &status)
            }
            (Asked::Fetch(slot), Some(Reply::Fetch(page))) => self.on_page(now, slot, page, effects),
            (Asked::Fetch(slot), _) => self.recovery.on_lost(now.mono, slot),
            (Asked::Copies(slot), Some(Reply::Survey(reply))) => self.on_copies(now, slot, Some(reply), effects),
            (Asked::Copies(slot), _) => self.on_copies(now, slot, None, effects),
            (Asked::Survey(slot), Some(Reply::Survey(reply))) => self.on_surveyed(now, slot, Some(reply), effects),
            (Asked::Survey(slot), Some(_)) => self.on_surveyed(now, slot, None, effects),
            (Asked::Survey(slot), None) => self.on_survey_lost(now, slot),
            (Asked::Ping { .. } | Asked::Ring | Asked::Start, _) => {}
        }
        self.settle(now, effects);
    }

    /// More of a large page has come from `from`.
    pub fn on_peer_moved(&mut self, now: Now, from: SocketAddr, id: RequestId, _effects: &mut Vec<Effect>) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.peer == from) else { return };
        call.expires = now.mono.after(super::calls::CALL_PATIENCE);
        if let Asked::Fetch(slot) = call.asked {
            self.recovery.on_moved(now.mono, slot);
        }
    }

    /// The control link to `peer` was refused, reset, or has ended.
    pub fn on_peer_lost(&mut self, now: Now, peer: SocketAddr, effects: &mut Vec<Effect>) {
        let lost: Vec<ControlCall> =
            self.calls.extract_if(.., |_, call| call.peer == peer).map(|(_, call)| call).collect();
        for call in lost {
            match call.asked {
                Asked::Fetch(slot) => self.recovery.on_lost(now.mono, slot),
                Asked::Survey(slot) => self.on_survey_lost(now, slot),
                Asked::Copies(slot) => self.on_copies(now, slot, None, effects),
                Asked::Ping { .. } | Asked::Start | Asked::Ring => {}
            }
        }
        self.lose(now, peer);
        self.settle(now, effects);
    }

    /// Runs what is due.
    pub fn on_timer(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !self.started {
            self.started = true;
            self.keep_time(now, effects);
            if let Some(config) = self.keeper.config().cloned() {
                self.adopt_in_time(now, config);
            }
        }
        let mut out = Vec::new();
        self.membership.on_timer(now.mono, &mut out);
        self.take_membership(out, effects);
        let mut out = Vec::new();
        self.keeper.on_timer(now.mono, &mut out);
        self.take_ring(now, out, effects);
        if self.tick_at <= now.mono {
            self.tick_at = now.mono.after(TICK);
            self.keep_time(now, effects);
            self.ping_peers(now, effects);
            self.judge_health(now);
            self.note_isolation(now);
            self.fetch(now, effects);
            self.settle_recovery(now, effects);
            self.repair(now, effects);
            self.tend_hints(now, effects);
            self.go_on_departing(now, effects);
            self.calls.retain(|_, call| call.expires > now.mono);
            if self.shared.crawler_enabled.load(Ordering::Relaxed) {
                self.shared.store.tidy(now.cluster, TIDY_BYTES);
            }
        }
        self.settle(now, effects);
    }

    /// When [`Control::on_timer`] wants to be called next.
    pub fn next_deadline(&self) -> Option<Mono> {
        let others = [self.membership.next_deadline(), self.keeper.next_deadline()];
        others.into_iter().flatten().chain([self.tick_at]).min()
    }

    /// The process was told to stop: tells the others that it will be back soon.
    pub fn stop(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let mut out = Vec::new();
        self.membership.leave(now.mono, &mut out);
        self.take_membership(out, effects);
    }

    /// What this node tells of itself.
    fn status(&self, now: Now) -> NodeStatus {
        NodeStatus {
            name: self.shared.settings().name.clone(),
            generation: self.shared.settings().generation,
            epoch: self.shared.topology().epoch(),
            synced_permille: self.shared.synced_permille.load(Ordering::Relaxed),
            now: now.cluster,
            settled: self.time.settled,
            flush: self.shared.store.flush(),
        }
    }

    fn take_membership(&mut self, out: Vec<MembershipEffect>, effects: &mut Vec<Effect>) {
        for effect in out {
            match effect {
                MembershipEffect::Send { to, packet } => effects.push(Effect::Packet(to, packet)),
                MembershipEffect::Changed(id, state) => {
                    tracing::info!(member = %id.name, generation = id.generation, ?state, "membership changed");
                    self.members_changed = true;
                }
                MembershipEffect::Renewed(id) => {
                    tracing::warn!(generation = id.generation, "others counted this node as failed; it lives on");
                }
            }
        }
    }

    fn take_ring(&mut self, now: Now, out: Vec<RingEffect>, effects: &mut Vec<Effect>) {
        for effect in out {
            match effect {
                RingEffect::Send { to, message } => {
                    let from = self.shared.settings().name.clone();
                    if let Some(peer) = self.address_of(&to) {
                        let request = Request::Control(ControlRequest::Ring { from, message });
                        self.call(now, peer, Asked::Ring, request, effects);
                    }
                }
                RingEffect::Adopted(config) => self.adopt_in_time(now, config),
                RingEffect::Fatal(reason) => tracing::error!("{reason}"),
                RingEffect::Warn(reason) => tracing::warn!("{reason}"),
            }
        }
    }

    fn address_of(&self, name: &NodeName) -> Option<SocketAddr> {
        self.membership.members().find(|member| member.id.name == *name).map(|member| member.id.peer)
    }

    fn call(&mut self, now: Now, peer: SocketAddr, asked: Asked, request: Request, effects: &mut Vec<Effect>) {
        if self.calls.len() >= CALLS_MAX {
            return;
        }
        self.next_call += 1;
        let id = RequestId(self.next_call);
        self.calls.insert(id, ControlCall { peer, asked, expires: now.mono.after(super::calls::CALL_PATIENCE) });
        effects.push(Effect::Send(peer, Message::Request(id, request)));
    }

    /// What follows from a change of members: at the end of every turn.
    fn settle(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if std::mem::take(&mut self.members_changed) {
            let visible = self.refresh_members(now);
            let others = visible.iter().filter(|node| node.alive && node.name != self.shared.settings().name);
            let others: Vec<_> = others.map(|node| node.name.clone()).collect();
            self.see_clocks(now, others.iter());
            let mut out = Vec::new();
            self.keeper.on_members(now.mono, &visible, &mut out);
            self.take_ring(now, out, effects);
        }
    }
}
