//! Arranges: one request, message or timer in, effects out.
//!
//! `Node` is a worker's half of a node: it coordinates its clients' requests, answers peers as a home replica, and
//! serializes the writes that peers send it. `Control` is the process's other half: membership, the ring, recovery.
//! Both turn what `cluster` decides into effects. Must not perform anything: the server does, or a simulator.
//!
//! ```text
//! requests ─ reads ─ compare ──┐                       replica (answers at once)
//!          ├ writes ─ serializer ─ takeover            replay (hints)
//!          ├ flush             └── calls ── peers      control (membership, ring, recovery)
//!          │                         └ moving: the large ones
//!          └ admin ─ stats, sum                          snapshot (what outlives a process that is alone)
//!                                                        figures (for metrics)
//! ```

mod admin;
mod alone;
mod apply;
mod asks;
mod calls;
mod compare;
mod control;
mod counters;
mod discovery;
mod dump;
mod effect;
mod events;
mod figures;
mod flush;
mod gather;
mod hedging;
mod levels;
mod meta;
mod meta_answers;
mod moving;
mod namespaces;
mod ops;
mod peers;
mod plausible;
mod reads;
mod replay;
mod replica;
mod requests;
mod serializer;
mod settings;
mod shared;
mod slab;
mod snapshot;
mod spare;
mod spread;
mod stats;
mod sum;
mod surveying;
mod takeover;
mod tally;
#[cfg(test)]
mod tests;
mod timers;
mod topology;
mod touch;
mod turn;
mod view;
mod wanted;
mod writes;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use memring_protocol::key::Partition;
use memring_protocol::message::{
    Acknowledgement, ControlReply, Message, Refusal, Reply, Request, RequestId, WriteReply,
};
use memring_protocol::text::{Command, MetaKey};
use memring_protocol::version::{Ballot, Slot};

pub use self::alone::{Answered, Upshot};
pub use self::control::Control;
pub use self::counters::{Counter, Counters};
pub use self::dump::DumpCursor;
pub use self::effect::{Effect, LinkId, Receivers, Ticket};
pub use self::events::{Event, StoreStatus, StoreWord};
pub use self::figures::{Figures, HintFigures, PeerFigures};
pub use self::levels::{LevelsView, NamespaceView};
pub use self::namespaces::NamespaceFigures;
pub use self::requests::VERSION;
pub use self::settings::{Namespace, Settings, Unmet};
pub use self::shared::Shared;
pub use self::snapshot::SnapshotCursor;
pub use self::stats::ProcessFacts;
pub use self::topology::{Liveness, Topology};
pub use self::view::{ClusterView, DrainState, DrainView, MemberRow};

use self::asks::Asks;
use self::calls::{Attempt, Call, Calls, Purpose};
use self::hedging::Hedging;
use self::namespaces::NamespaceReads;
pub(crate) use self::ops::OpId;
use self::ops::Ops;
use self::replay::{Errand, Replaying};
use self::requests::Unkept;
use self::serializer::Origin;
use self::spare::Spare;
use self::takeover::Takeover;
use self::timers::Timers;
use self::turn::{TopologyView, Turn};
use crate::now::{Mono, Now};

/// Whatever takes more than one turn.
#[derive(Debug)]
pub(crate) enum Op {
    Gather(gather::Gather),
    Compare(compare::Comparing),
    Write(writes::Write),
    Order(serializer::Order),
    Flush(flush::Flush),
    Sum(sum::Sum),
    Chore(admin::Chore),
}

/// What wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    Op(OpId),
    Takeover(Partition, Ballot),
    Replay,
}

/// One worker's machine.
pub struct Node {
    shared: Arc<Shared>,
    /// This worker's own.
    counters: Arc<Counters>,
    namespace_reads: Arc<NamespaceReads>,
    /// There between turns, once there was one.
    view: Option<TopologyView>,
    worker: u16,
    ops: Ops,
    timers: Timers,
    calls: Calls,
    hedging: Hedging,
    takeovers: BTreeMap<Partition, Takeover>,
    replaying: BTreeMap<(Errand, Slot), Replaying>,
    /// Bytes of repairs that may be sent now.
    repair_room: i64,
    asks: Asks,
    spare: Spare,
    local_replies: VecDeque<(Attempt, WriteReply)>,
}

impl Node {
    /// The machine of worker number `worker`, the only one of that number.
    pub fn new(shared: Arc<Shared>, worker: u16) -> Self {
        let mut timers = Timers::new();
        if worker == 0 {
            timers.insert(Mono(0), Timer::Replay, |_, _| true);
        }
        Self {
            counters: shared.counters.of_worker(worker),
            namespace_reads: shared.namespace_reads.of_worker(worker),
            view: None,
            asks: Asks::new(),
            calls: Calls::new(worker, shared.peers.replies_of(worker)),
            shared,
            worker,
            ops: Ops::new(),
            timers,
            hedging: Hedging::new(),
            takeovers: BTreeMap::new(),
            replaying: BTreeMap::new(),
            repair_room: 0,
            spare: Spare::default(),
            local_replies: VecDeque::new(),
        }
    }

    /// A client's command. Gives exactly one [`Effect::Respond`] for the ticket, now or later; none for quit.
    pub fn on_request(&mut self, now: Now, ticket: Ticket, command: &Command<'_>, effects: &mut Vec<Effect>) {
        self.turn(now, effects, |node, turn| node.start_command(turn, ticket, command));
    }

    /// As [`Node::on_request`], for a command with a large value, which lies in `frame`: the value is kept as a part of it
    /// and never copied.
    ///
    /// # Panics
    ///
    /// When the value does not lie in `frame`.
    pub fn on_large_request(
        &mut self,
        now: Now,
        ticket: Ticket,
        command: &Command<'_>,
        frame: &Bytes,
        effects: &mut Vec<Effect>,
    ) {
        self.turn_over(now, Some(frame), effects, |node, turn| node.start_command(turn, ticket, command));
    }

    /// A client's storage command whose value is over the limit, and whether the old value goes. Answered like a request.
    pub fn on_too_large(
        &mut self,
        now: Now,
        ticket: Ticket,
        key: &MetaKey<'_>,
        removes: bool,
        effects: &mut Vec<Effect>,
    ) {
        self.turn(now, effects, |node, turn| node.refuse_value(turn, ticket, key, removes, Unkept::TooLarge));
    }

    /// A client's storage command whose value the server has no memory to receive. Else as [`Node::on_too_large`].
    pub fn on_no_memory(
        &mut self,
        now: Now,
        ticket: Ticket,
        key: &MetaKey<'_>,
        removes: bool,
        effects: &mut Vec<Effect>,
    ) {
        self.turn(now, effects, |node, turn| node.refuse_value(turn, ticket, key, removes, Unkept::NoMemory));
    }

    /// A peer's request, come over a link that it dialled.
    pub fn on_peer_request(
        &mut self,
        now: Now,
        link: LinkId,
        id: RequestId,
        request: Request,
        effects: &mut Vec<Effect>,
    ) {
        if !plausible::is_plausible_request(now.cluster, &request) {
            let refused = Message::Reply(id, Reply::Control(ControlReply::Refused(Refusal::Busy)));
            effects.push(Effect::Answer(link, refused));
            return;
        }
        self.turn(now, effects, |node, turn| match request {
            Request::Write(write) => node.start_order(turn, Origin::Remote(link, id), write),
            request => {
                let answer = replica::answer(&node.shared, turn.topology, turn.cluster(), request);
                let reply = answer.unwrap_or(Reply::Control(ControlReply::Refused(Refusal::Busy)));
                turn.effects.push(Effect::Answer(link, Message::Reply(id, reply)));
            }
        });
    }

    /// A peer's reply, come over the link that this thread dialled to `from`.
    pub fn on_peer_reply(
        &mut self,
        now: Now,
        from: SocketAddr,
        id: RequestId,
        reply: Reply,
        effects: &mut Vec<Effect>,
    ) {
        if matches!(reply, Reply::Control(ControlReply::Working)) {
            return self.on_peer_moved(now, from, id, effects);
        }
        self.turn(now, effects, |node, turn| {
            if let Some(call) = node.calls.answered(turn.mono(), from, id) {
                let reply = plausible::is_plausible_reply(now.cluster, &reply).then_some(reply);
                node.on_answer(turn, call, reply);
            }
        });
    }

    /// More of a large request was sent to `from`, or more of a large reply has come from there: it is not lost.
    pub fn on_peer_moved(&mut self, now: Now, from: SocketAddr, id: RequestId, effects: &mut Vec<Effect>) {
        self.turn(now, effects, |node, turn| {
            if let Some((slot, purpose)) = node.calls.moved(turn.mono(), from, id) {
                node.on_moved(turn, slot, purpose);
            }
        });
    }

    /// This thread's link to `peer` was refused, reset, or has ended: what it asked there will not be answered.
    pub fn on_peer_lost(&mut self, now: Now, peer: SocketAddr, effects: &mut Vec<Effect>) {
        self.shared.peers.lose(peer, now.mono);
        self.turn(now, effects, |node, turn| {
            for call in node.calls.lost(peer) {
                node.on_answer(turn, call, None);
            }
        });
    }

    /// Runs what is due.
    pub fn on_timer(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.turn(now, effects, |node, turn| {
            node.stop_holding_asks();
            while let Some(timer) = node.pop_due(turn.mono()) {
                node.on_due(turn, timer);
            }
            node.reroute(turn);
            for call in node.calls.expired(turn.mono()) {
                node.on_answer(turn, call, None);
            }
        });
    }

    /// When [`Node::on_timer`] wants to be called next. May be for something that has been cancelled since, once.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.timers.next_deadline().into_iter().chain(self.calls.next_deadline()).min()
    }

    /// How many operations are under way: for tests that wait for quiet.
    pub fn operations(&self) -> usize {
        self.ops.len()
    }

    fn on_local_reply(&mut self, turn: &mut Turn<'_>, attempt: Attempt, reply: WriteReply) {
        // By the slot that it had when it was asked: it may have left the ring since.
        let asked = match self.ops.get(&attempt.write) {
            Some(Op::Write(write)) => write.asked,
            _ => None,
        };
        if let Some(me) = asked {
            self.on_write_reply(turn, attempt, me, reply);
        }
    }

    fn on_due(&mut self, turn: &mut Turn<'_>, timer: Timer) {
        match timer {
            Timer::Takeover(partition, ballot) => self.on_takeover_timer(turn, partition, ballot),
            Timer::Replay => self.on_replay_timer(turn),
            Timer::Op(id) => match self.ops.get(&id) {
                Some(Op::Gather(_)) => self.on_gather_timer(turn, id),
                Some(Op::Compare(_)) => self.read_anew(turn, id),
                Some(Op::Write(_)) => self.on_write_timer(turn, id),
                Some(Op::Order(_)) => self.on_order_timer(turn, id),
                Some(Op::Flush(_)) => self.end_flush_round(turn, id),
                Some(Op::Sum(_)) => self.finish_sum(turn, id),
                Some(Op::Chore(_)) => self.step_chore(turn, id),
                None => {}
            },
        }
    }

    /// What came of a call; `None` when it is lost.
    fn on_answer(&mut self, turn: &mut Turn<'_>, call: Call, reply: Option<Reply>) {
        let from = call.slot;
        match (call.purpose, reply) {
            (Purpose::Read(askers), Some(reply)) => self.on_read_reply(turn, &askers, from, reply),
            (Purpose::Read(askers), None) => {
                for asker in askers {
                    self.on_read_lost(turn, asker, from);
                }
            }
            (Purpose::Compare(op), reply) => self.on_compared(turn, op, reply),
            (Purpose::Look(op, ballot), reply) => self.on_look_reply(turn, op, ballot, from, reply),
            (Purpose::Write(attempt), Some(Reply::Write(reply))) => self.on_write_reply(turn, attempt, from, reply),
            (Purpose::Write(attempt), _) => self.on_write_lost(turn, attempt, from, true),
            (Purpose::Replicate(op), reply) => match reply {
                Some(Reply::Replicate(ack)) => self.on_acknowledgement(turn, op, from, ack),
                _ => self.on_acknowledgement(turn, op, from, Acknowledgement::Refused(Refusal::Busy)),
            },
            (Purpose::Prepare(partition, ballot), reply) => self.on_promise(turn, partition, ballot, from, reply),
            (Purpose::FlushProbe(op), reply) => self.on_flush_reply(turn, op, from, false, reply),
            (Purpose::FlushCommit(op), reply) => self.on_flush_reply(turn, op, from, true, reply),
            (Purpose::Stats(op), reply) => self.on_stats_reply(turn, op, from, reply),
            (Purpose::Replay(missed, bytes), reply) => self.on_replay_reply(turn, *missed, bytes, reply),
        }
    }

    /// Sends a request to a member. False if gossip knows no address for it, or too many are unanswered: nothing was sent.
    fn call(&mut self, turn: &mut Turn<'_>, slot: Slot, purpose: Purpose, request: Request) -> bool {
        self.call_or_give_back(turn, slot, purpose, request).is_ok()
    }

    /// As [`Node::call`], but gives back what it was for if nothing was sent.
    fn call_or_give_back(
        &mut self,
        turn: &mut Turn<'_>,
        slot: Slot,
        purpose: Purpose,
        request: Request,
    ) -> Result<(), Purpose> {
        let (peer, id) = self.open_call(turn, slot, purpose)?;
        turn.effects.push(Effect::Send(peer, Message::Request(id, request)));
        Ok(())
    }

    /// The same, for a request that the caller sends.
    fn open_call(&mut self, turn: &Turn<'_>, slot: Slot, purpose: Purpose) -> Result<(SocketAddr, RequestId), Purpose> {
        let Some(peer) = turn.topology.peer(slot).map(|peer| peer.address) else { return Err(purpose) };
        let hops = self.counters.hops_of(&purpose);
        let id = self.calls.open(turn.mono(), Call { slot, peer, purpose }).map_err(|call| call.purpose)?;
        hops.increment();
        Ok((peer, id))
    }
}
