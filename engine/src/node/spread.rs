//! Spreading an ordered write to the other homes, and counting who holds it.
//!
//! Must not know how it was ordered: see `serializer`.

use std::net::SocketAddr;
use std::time::Duration;

use memring_protocol::entry::Entry;
use memring_protocol::message::{Acknowledgement, Outcome, Refusal, Replicate, Reply, RequestId, WriteReply};
use memring_protocol::version::{Ballot, Slot};

use super::calls::{Call, Purpose};
use super::effect::{Effect, Receivers};
use super::plausible::is_plausible_acknowledgement;
use super::serializer::{Order, Stage};
use super::turn::Turn;
use super::{Node, Op, OpId};
use crate::cluster::mutation::is_repeatable;
use crate::cluster::quorum::{Quorum, Slots, Verdict};
use crate::now::Now;

/// A home that has not acknowledged a write by then gets a hint, whatever the client was told.
/// A large write that moves is on its way.
const HINT_AFTER: Duration = Duration::from_millis(1000);

/// How long to wait before spreading again to homes whose ring config differs.
const SPREAD_AGAIN_AFTER: Duration = Duration::from_millis(15);

/// An ordered write on its way to the other homes.
#[derive(Debug)]
pub(crate) struct Spread {
    quorum: Quorum,
    fence: Option<Ballot>,
    outcome: Outcome,
    entry: Option<Entry>,
    changed: bool,
    answered: bool,
    /// A home has another ring config: spread again as soon as this node knows it too.
    outdated: bool,
    /// A home has promised a later term, and was not kept a hint for.
    fenced: bool,
}

impl Node {
    /// Acknowledgements that came together over the link that this thread dialled to `from`.
    pub fn on_peer_acknowledgements(
        &mut self,
        now: Now,
        from: SocketAddr,
        acknowledgements: impl Iterator<Item = (RequestId, Acknowledgement)>,
        effects: &mut Vec<Effect>,
    ) {
        self.turn(now, effects, |node, turn| {
            for (id, said) in acknowledgements {
                let Some(call) = node.calls.answered(from, id) else { continue };
                match (call, is_plausible_acknowledgement(now.cluster, said)) {
                    (Call { purpose: Purpose::Replicate(op), slot, .. }, true) => {
                        node.on_acknowledgement(turn, op, slot, said);
                    }
                    (call, plausible) => node.on_answer(turn, call, plausible.then_some(Reply::Replicate(said))),
                }
            }
        });
    }

    /// Sends what was ordered to the other homes.
    pub(crate) fn spread(
        &mut self,
        turn: &mut Turn<'_>,
        id: OpId,
        fence: Option<Ballot>,
        outcome: Outcome,
        entry: Option<Entry>,
        changed: bool,
    ) {
        let (Some(layout), Some(me)) = (turn.topology.layout(), turn.topology.me()) else { return };
        let Some(Op::Order(order)) = self.ops.get_mut(&id) else { return };
        let (key, partition) = (order.request.key.clone(), order.request.key.partition());
        let (homes, next) = (layout.homes(partition), layout.next_homes(partition));
        let mut quorum = Quorum::of_writes(homes, next, order.request.copies);
        quorum.yes(me, true);
        let homes = quorum.homes();
        let answered = fence.is_none();
        let replicate = Replicate { epoch: turn.topology.epoch(), fence, key, entry: entry.clone() };
        order.stage =
            Stage::Spread(Spread { quorum, fence, outcome, entry, changed, answered, outdated: false, fenced: false });
        let hint_at = turn.mono().after(HINT_AFTER);
        let timer = if answered { hint_at } else { hint_at.min(order.deadline) };
        self.set_timer(timer, id);
        let (mut receivers, mut avoided) = (Receivers::new(), Slots::new());
        for slot in homes.into_iter().filter(|slot| *slot != me) {
            if self.shared.is_usable(turn.topology, slot) {
                self.replicate_to(turn, id, slot, &mut receivers);
            } else {
                avoided.push(slot);
            }
        }
        for slot in avoided {
            // A home that seems away is bothered only where the others cannot be enough.
            if turn.topology.is_up(slot) && !self.could_do_without(id, slot) {
                self.replicate_to(turn, id, slot, &mut receivers);
            } else {
                self.on_replicate_lost(turn, id, slot);
            }
        }
        if !receivers.is_empty() {
            turn.effects.push(Effect::Replicate(receivers, replicate));
        }
        self.judge_spread(turn, id);
    }

    fn replicate_to(&mut self, turn: &mut Turn<'_>, id: OpId, slot: Slot, receivers: &mut Receivers) {
        match self.open_call(turn, slot, Purpose::Replicate(id)) {
            Ok(receiver) => receivers.push(receiver),
            Err(_) => self.on_replicate_lost(turn, id, slot),
        }
    }

    fn could_do_without(&self, id: OpId, slot: Slot) -> bool {
        match self.ops.get(&id) {
            Some(Op::Order(Order { stage: Stage::Spread(Spread { quorum, answered, .. }), .. })) => {
                let mut without = quorum.clone();
                without.no(slot);
                *answered || without.verdict() != Verdict::Impossible
            }
            _ => true,
        }
    }

    pub(crate) fn on_acknowledgement(&mut self, turn: &mut Turn<'_>, id: OpId, from: Slot, ack: Acknowledgement) {
        let Some(Op::Order(order)) = self.ops.get_mut(&id) else { return };
        let partition = order.request.key.partition();
        let Stage::Spread(spread) = &mut order.stage else { return };
        match ack {
            Acknowledgement::Held { synced } => spread.quorum.yes(from, synced),
            Acknowledgement::Refused(Refusal::Epoch(_)) if !spread.answered => {
                spread.outdated = true;
                let again = turn.mono().after(SPREAD_AGAIN_AFTER).min(order.deadline);
                self.set_timer(again, id);
                return;
            }
            Acknowledgement::Refused(_) => return self.on_replicate_lost(turn, id, from),
            Acknowledgement::Fenced(ballot) => {
                // The lead ends by itself: the store refuses it from now on.
                spread.quorum.no(from);
                spread.fenced = true;
                self.shared.store.raise_promised(partition, ballot);
            }
        }
        self.judge_spread(turn, id);
    }

    /// A home did not take it: it gets a hint.
    pub(crate) fn on_replicate_lost(&mut self, turn: &mut Turn<'_>, id: OpId, from: Slot) {
        let Some(Op::Order(order)) = self.ops.get_mut(&id) else { return };
        let Stage::Spread(spread) = &mut order.stage else { return };
        if spread.quorum.is_held_by(from) {
            return;
        }
        spread.quorum.no(from);
        if let Some(entry) = &spread.entry {
            self.shared.keep_hint(from, &order.request.key, entry.version);
        }
        self.judge_spread(turn, id);
    }

    /// Answers when the count is decided; forgets the order when every home has been heard of.
    fn judge_spread(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Order(order)) = self.ops.get_mut(&id) else { return };
        let partition = order.request.key.partition();
        let Stage::Spread(Spread { quorum, outcome, changed, answered, .. }) = &mut order.stage else { return };
        let (verdict, origin) = (quorum.verdict(), order.origin);
        let all_heard = quorum.is_held_by_all();
        let mut reply = None;
        if !*answered && verdict != Verdict::Pending {
            *answered = true;
            reply = Some(match verdict {
                Verdict::Reached => WriteReply::Done(outcome.clone()),
                _ => {
                    let holder = self.shared.store.promised(partition).holder();
                    let deposed = holder.filter(|slot| Some(*slot) != turn.topology.me());
                    match deposed {
                        Some(slot) if !*changed => WriteReply::Redirect(slot),
                        Some(slot) if is_repeatable(&order.request.mutation) => WriteReply::Deposed(slot),
                        _ => in_doubt(quorum),
                    }
                }
            });
        }
        if all_heard {
            self.discard(id);
        }
        if let Some(reply) = reply {
            self.answer_order(turn, origin, reply);
        }
    }

    /// Homes that have kept silent get hints; a client that is still waiting is answered when its time is over.
    pub(crate) fn on_spread_timer(&mut self, turn: &mut Turn<'_>, id: OpId, overdue: bool) {
        let Some(Op::Order(order)) = self.ops.get_mut(&id) else { return };
        let (origin, deadline) = (order.origin, order.deadline);
        let hint_at = order.moved_at.map(|at| at.after(HINT_AFTER)).filter(|at| *at > turn.mono());
        let Stage::Spread(spread) = &mut order.stage else { return };
        if spread.outdated && !spread.answered && !overdue {
            let (fence, outcome, changed) = (spread.fence, spread.outcome.clone(), spread.changed);
            let entry = spread.entry.take();
            return self.spread(turn, id, fence, outcome, entry, changed);
        }
        if let Some(hint_at) = hint_at {
            return self.set_timer(hint_at, id);
        }
        if let Some(entry) = &spread.entry {
            let Spread { quorum, fenced, .. } = spread;
            // Those that were lost have one: a second would be a second one on disk.
            let has_none = |slot: &Slot| !quorum.is_held_by(*slot) && (*fenced || !quorum.is_refused_by(*slot));
            for slot in quorum.homes().into_iter().filter(has_none) {
                self.shared.keep_hint(slot, &order.request.key, entry.version);
            }
        }
        if spread.answered {
            self.discard(id);
        } else if overdue {
            let reply = in_doubt(&spread.quorum);
            self.discard(id);
            self.answer_order(turn, origin, reply);
        } else {
            self.set_timer(deadline, id);
        }
    }
}

fn in_doubt(quorum: &Quorum) -> WriteReply {
    let byte = |count: usize| count.min(usize::from(u8::MAX)) as u8;
    WriteReply::InDoubt { acknowledged: byte(quorum.acknowledged()), needed: byte(quorum.needed()) }
}
