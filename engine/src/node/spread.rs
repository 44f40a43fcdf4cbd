//! Spreading an ordered write to the other homes, and counting who holds it.
//!
//! Must not know how it was ordered: see `serializer`.

use std::net::SocketAddr;
use std::time::Duration;

use memring_protocol::entry::Entry;
use memring_protocol::message::{
    Acknowledgement, Outcome, Refusal, Replicate, Reply, RequestId, WriteReply, WriteRequest,
};
use memring_protocol::version::{Ballot, Slot};

use super::calls::{Call, Purpose};
use super::effect::{Effect, Receivers};
use super::plausible::is_plausible_acknowledgement;
use super::serializer::{Order, Stage};
use super::topology::Topology;
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

/// So often what nobody waits for any more is spread anew before the homes that lack it get hints: about as long as
/// [`HINT_AFTER`]. A hint alone would be worth little where this node is about to forget its copy.
const SPREAD_AGAIN_MAX: u8 = 60;

/// An ordered write on its way to the other homes.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    quorum: Quorum,
    fence: Option<Ballot>,
    outcome: Outcome,
    entry: Option<Entry>,
    changed: bool,
    answered: bool,
    /// A home has another ring config, or this node has by now: spread again as soon as both know the same.
    outdated: bool,
    /// A home has promised a later term, and was not kept a hint for.
    fenced: bool,
    /// How often it was spread anew.
    again: u8,
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
                let Some(call) = node.calls.answered(turn.mono(), from, id) else { continue };
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
        let Some(Op::Order(order)) = self.ops.get(&id) else { return };
        let Some(quorum) = quorum_of(turn.topology, &order.request) else { return };
        let (answered, outdated, fenced, again) = (false, false, false, 0);
        let spread = Spread { quorum, fence, outcome, entry, changed, answered, outdated, fenced, again };
        self.send_spread(turn, id, spread);
    }

    /// The same of what was written at level one, outside any order; whoever asked is told by then, or is not.
    pub(crate) fn spread_unordered(
        &mut self,
        turn: &mut Turn<'_>,
        id: OpId,
        outcome: Outcome,
        entry: Entry,
        answered: bool,
    ) {
        let Some(Op::Order(order)) = self.ops.get(&id) else { return };
        let Some(quorum) = quorum_of(turn.topology, &order.request) else { return };
        let (fence, entry, changed) = (None, Some(entry), true);
        let (outdated, fenced, again) = (false, false, 0);
        let spread = Spread { quorum, fence, outcome, entry, changed, answered, outdated, fenced, again };
        self.send_spread(turn, id, spread);
    }

    /// Sends it to all other homes there are by this view. This node may be none any more.
    fn send_spread(&mut self, turn: &mut Turn<'_>, id: OpId, mut spread: Spread) {
        let Some(Op::Order(order)) = self.ops.get_mut(&id) else { return };
        let key = order.request.key.clone();
        let me = turn.topology.me();
        if let Some(me) = me {
            spread.quorum.yes(me, true);
        }
        // The entry was stored before this look: if placement is still the same, a home to come copies it.
        spread.outdated = !self.shared.is_current(turn.topology);
        let (homes, answered, outdated) = (spread.quorum.homes(), spread.answered, spread.outdated);
        let epoch = turn.topology.epoch();
        let replicate = Replicate { epoch, fence: spread.fence, key, entry: spread.entry.clone() };
        order.stage = Stage::Spread(spread);
        let wait = if outdated { SPREAD_AGAIN_AFTER } else { HINT_AFTER };
        let at = turn.mono().after(wait);
        let timer = if answered { at } else { at.min(order.deadline) };
        self.set_timer(timer, id);
        if outdated {
            return;
        }
        let (mut receivers, mut avoided) = (Receivers::new(), Slots::new());
        for slot in homes.into_iter().filter(|slot| Some(*slot) != me) {
            if self.shared.is_usable(turn.topology, slot) {
                self.replicate_to(turn, id, slot, &mut receivers);
            } else {
                avoided.push(slot);
            }
        }
        if !avoided.is_empty() {
            self.spread_to_avoided(turn, id, avoided, &mut receivers);
        }
        if !receivers.is_empty() {
            turn.effects.push(Effect::Replicate(receivers, replicate));
        }
        self.judge_spread(turn, id);
    }

    /// Those that are silent or have failed get hints. One that only seems away is bothered where, without them, the others
    /// cannot be enough.
    fn spread_to_avoided(&mut self, turn: &mut Turn<'_>, id: OpId, avoided: Slots, receivers: &mut Receivers) {
        let (doubted, lost): (Slots, Slots) =
            avoided.into_iter().partition(|slot| self.shared.can_answer(turn.topology, *slot));
        for slot in lost {
            self.on_replicate_lost(turn, id, slot);
        }
        for slot in doubted {
            if self.could_do_without(id, slot) {
                self.on_replicate_lost(turn, id, slot);
            } else {
                self.replicate_to(turn, id, slot, receivers);
            }
        }
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
            Acknowledgement::Refused(Refusal::Epoch(_)) if !spread.answered || spread.again < SPREAD_AGAIN_MAX => {
                spread.outdated = true;
                let again = turn.mono().after(SPREAD_AGAIN_AFTER);
                let again = if spread.answered { again } else { again.min(order.deadline) };
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
        let goes_on = if spread.answered { spread.again < SPREAD_AGAIN_MAX } else { !overdue };
        if spread.outdated && goes_on {
            let Some(quorum) = quorum_of(turn.topology, &order.request) else { return };
            let spread = Spread { quorum, again: spread.again.saturating_add(1), ..spread.clone() };
            return self.send_spread(turn, id, spread);
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

/// Who must hold a write, by this view.
fn quorum_of(topology: &Topology, request: &WriteRequest) -> Option<Quorum> {
    let (layout, partition) = (topology.layout()?, request.key.partition());
    Some(Quorum::of_writes(layout.homes(partition), layout.next_homes(partition), request.copies))
}

fn in_doubt(quorum: &Quorum) -> WriteReply {
    let byte = |count: usize| count.min(usize::from(u8::MAX)) as u8;
    WriteReply::InDoubt { acknowledged: byte(quorum.acknowledged()), needed: byte(quorum.needed()) }
}
