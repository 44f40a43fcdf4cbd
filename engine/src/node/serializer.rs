//! The serializer: orders a partition's writes and spreads them to the other homes.
//!
//! A write is applied to the newest version under the shard lock, in the term (ballot) that this node leads, and answered
//! when a majority of the homes (or more, by level) hold it. What changes nothing is answered only after a majority has
//! said that the term still stands, so a deposed serializer never gives a false answer. Must not know clients.

use std::time::Duration;

use memring_protocol::entry::Entry;
use memring_protocol::message::{
    Message, ReadRequest, ReadResult, Refusal, Reply, Request, RequestId, Want, WriteReply, WriteRequest,
};
use memring_protocol::version::{Ballot, Slot};

use super::apply::{Applied, is_unordered_at_one};
use super::calls::{Attempt, Purpose};
use super::effect::{Effect, LinkId};
use super::spread::Spread;
use super::turn::Turn;
use super::{Node, Op, OpId};
use crate::cluster::quorum::{Quorum, Verdict};
use crate::now::Mono;

/// How many operations a thread may have under way and still take orders from peers.
const OPERATIONS_MAX: usize = 65_536;

/// How long to wait for another thread of this process that is taking the partition over.
const TAKEOVER_POLL: Duration = Duration::from_millis(2);

/// How long to wait before looking again when too few homes could be asked.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// No order waits longer, whatever its coordinator says: what a hostile peer can pile up ends with it. Unless it moves.
const ORDER_PATIENCE_MAX: Duration = Duration::from_secs(10);

/// Who asked for the order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// A write that this thread coordinates.
    Local(Attempt),
    /// A peer.
    Remote(LinkId, RequestId),
}

/// How far an order has come.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Waiting until this node leads the partition.
    Lead,
    /// Looking at the key on a majority of the homes: this term has not seen it yet.
    Look { ballot: Ballot, quorum: Quorum, newest: Option<Entry> },
    /// Waiting for acknowledgements.
    Spread(Spread),
}

/// A write being ordered.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) origin: Origin,
    pub(crate) request: WriteRequest,
    pub(crate) stage: Stage,
    /// What a look found, and in which term; the inner `None` is "nothing".
    pub(crate) looked: Option<Box<(Ballot, Option<Entry>)>>,
    pub(crate) deadline: Mono,
    /// When something large that it sends or fetches last moved.
    pub(crate) moved_at: Option<Mono>,
    /// When its coordinator was last told that it goes on.
    pub(crate) told_at: Mono,
}

impl Node {
    /// Orders a write, or says who can.
    pub(crate) fn start_order(&mut self, turn: &mut Turn<'_>, origin: Origin, request: WriteRequest) {
        let partition = request.key.partition();
        let admitted = match (turn.topology.layout(), turn.topology.me()) {
            (Some(layout), Some(me)) if layout.homes(partition).contains(&me) => Ok(()),
            (Some(_), Some(_)) => Err(Refusal::NotHome),
            _ => Err(Refusal::Epoch(turn.topology.epoch())),
        };
        let refusal = if !turn.topology.agrees(request.epoch, partition) {
            Some(Refusal::Epoch(turn.topology.epoch()))
        } else if let Err(refusal) = admitted {
            Some(refusal)
        } else if !self.may_order(turn, &request) {
            Some(Refusal::Recovering)
        } else if matches!(origin, Origin::Remote(..)) && self.ops.len() >= OPERATIONS_MAX {
            Some(Refusal::Busy)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.answer_order(turn, origin, WriteReply::Refused(refusal));
            return;
        }
        let patience = Duration::from_millis(u64::from(request.patience_ms)).min(ORDER_PATIENCE_MAX);
        let deadline = turn.mono().after(patience);
        let unordered = is_unordered(&request);
        let (stage, told_at) = (Stage::Lead, turn.mono());
        let order = Order { origin, request, stage, looked: None, deadline, moved_at: None, told_at };
        let id = self.open(Op::Order(order));
        if unordered {
            self.order_at_one(turn, id)
        } else {
            self.advance_order(turn, id)
        }
        // Most are spread by now, and have a timer for that.
        if let Some(None) = self.ops.wake_at(id) {
            self.set_timer(deadline, id);
        }
    }

    /// Goes on with an order that waits for the lead, or has looked.
    pub(crate) fn advance_order(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Order(order)) = self.ops.get(&id) else { return };
        let partition = order.request.key.partition();
        if !self.may_order(turn, &order.request) {
            // It might when the order came.
            return self.refuse_order(turn, id, Refusal::Recovering);
        }
        for _ in 0..2 {
            let Some(lead) = self.shared.standings.lead(partition) else { break };
            let Some(Op::Order(order)) = self.ops.get(&id) else { return };
            if lead.ballot <= order.request.above {
                break;
            }
            if lead.ballot > order.request.upto {
                return self.refuse_order(turn, id, Refusal::Fenced(lead.ballot));
            }
            match self.apply_order(turn, order, lead) {
                Applied::Deposed => self.shared.standings.end_lead(partition, lead.ballot),
                Applied::Look => return self.start_look(turn, id, lead.ballot),
                Applied::Ordered(outcome, entry, changed) => {
                    let fence = Some(lead.ballot);
                    return self.spread(turn, id, fence, outcome, entry, changed);
                }
            }
        }
        self.gain_lead(turn, id);
    }

    /// Whether this node's copy is complete; and, but for what asks for no order, no older than what others have agreed on.
    fn may_order(&self, turn: &Turn<'_>, request: &WriteRequest) -> bool {
        let partition = request.key.partition();
        self.shared.standings.is_synced(partition)
            && (self.shared.is_in_touch(turn.mono(), turn.topology, partition) || is_unordered(request))
    }

    fn refuse_order(&mut self, turn: &mut Turn<'_>, id: OpId, refusal: Refusal) {
        if let Some(Op::Order(order)) = self.close(id) {
            self.answer_order(turn, order.origin, WriteReply::Refused(refusal));
        }
    }

    /// This node does not lead the partition: name the one that does, or take over.
    fn gain_lead(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Order(order)) = self.ops.get_mut(&id) else { return };
        let partition = order.request.key.partition();
        order.stage = Stage::Lead;
        let homes = turn.topology.layout().map_or(&[][..], |layout| layout.homes(partition));
        let holder = self.shared.store.promised(partition).holder();
        let other = holder.filter(|slot| {
            Some(*slot) != turn.topology.me() && homes.contains(slot) && self.shared.is_usable(turn.topology, *slot)
        });
        match other {
            Some(slot) if !order.request.takeover => {
                let origin = order.origin;
                self.discard(id);
                self.answer_order(turn, origin, WriteReply::Redirect(slot));
            }
            _ => {
                // Once is enough: whoever takes over from this node later must be listened to.
                order.request.takeover = false;
                let deadline = order.deadline;
                let (above, upto) = (order.request.above, order.request.upto);
                let attached = self.take_over(turn, partition, id, above, upto);
                let poll = turn.mono().after(TAKEOVER_POLL).min(deadline);
                self.set_timer(if attached { deadline } else { poll }, id);
            }
        }
    }

    /// A set or delete at level one.
    fn order_at_one(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Order(order)) = self.ops.get(&id) else { return };
        let (outcome, entry) = self.apply_unordered(turn, &order.request);
        let (origin, partition) = (order.origin, order.request.key.partition());
        // One copy is not enough where the only home is about to be another, or has become one since the view was taken.
        let stays = turn.topology.layout().is_some_and(|layout| {
            layout.homes(partition).len() > 1
                || (layout.next_homes(partition).is_none() && self.shared.is_current(turn.topology))
        });
        if stays || entry.is_none() {
            self.answer_order(turn, origin, WriteReply::Done(outcome.clone()));
        }
        match entry {
            Some(entry) => self.spread_unordered(turn, id, outcome, entry, stays),
            None => self.discard(id),
        }
    }

    /// Asks the other homes for the key.
    fn start_look(&mut self, turn: &mut Turn<'_>, id: OpId, ballot: Ballot) {
        let Some(Op::Order(order)) = self.ops.get_mut(&id) else { return };
        let (Some(layout), Some(me)) = (turn.topology.layout(), turn.topology.me()) else { return };
        let key = order.request.key.clone();
        let mut quorum = Quorum::of_promises(layout.homes(key.partition()), None);
        quorum.yes(me, true);
        order.stage = Stage::Look { ballot, quorum, newest: self.shared.store.peek(turn.cluster(), &key) };
        let epoch = turn.topology.epoch();
        for slot in layout.homes(key.partition()).iter().copied().filter(|slot| *slot != me) {
            let request =
                Request::Read(ReadRequest { epoch, want: Want::Look(ballot), noticed: false, keys: vec![key.clone()] });
            let asked = self.shared.can_answer(turn.topology, slot)
                && self.call(turn, slot, Purpose::Look(id, ballot), request);
            if !asked {
                self.on_look_reply(turn, id, ballot, slot, None);
            }
        }
        self.finish_look(turn, id);
    }

    /// What a home holds; `None` when it is lost. Only looks of this very term count: what a home held in an earlier one
    /// may have been overwritten in between by another serializer.
    pub(crate) fn on_look_reply(
        &mut self,
        turn: &mut Turn<'_>,
        id: OpId,
        ballot: Ballot,
        from: Slot,
        reply: Option<Reply>,
    ) {
        let now = turn.cluster();
        let Some(Op::Order(order)) = self.ops.get_mut(&id) else { return };
        let partition = order.request.key.partition();
        let Stage::Look { ballot: current, quorum, newest: found } = &mut order.stage else { return };
        if *current != ballot {
            return;
        }
        let result = match reply {
            Some(Reply::Read(results)) => results.into_iter().next(),
            _ => None,
        };
        match result {
            Some(ReadResult::Absent) => quorum.yes(from, true),
            Some(ReadResult::Found(entry, _)) if self.shared.store.is_flushed(now, partition, entry.version.stamp) => {
                // That home has not heard of a flush yet.
                quorum.yes(from, true);
            }
            Some(ReadResult::Found(entry, _)) => {
                *found = newest(found.take(), Some(entry));
                quorum.yes(from, true);
            }
            Some(ReadResult::Refused(Refusal::Fenced(later))) if later > ballot => {
                // This term is over, and nobody would ever let it look: who holds the later one is asked.
                self.shared.store.raise_promised(partition, later);
                order.stage = Stage::Lead;
                return self.advance_order(turn, id);
            }
            Some(ReadResult::Digest(_) | ReadResult::Refused(_) | ReadResult::Later) | None => quorum.no(from),
        }
        self.finish_look(turn, id);
    }

    fn finish_look(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Order(order)) = self.ops.get_mut(&id) else { return };
        let Stage::Look { ballot, quorum, newest } = &mut order.stage else { return };
        match quorum.verdict() {
            Verdict::Pending => {}
            Verdict::Reached => {
                order.looked = Some(Box::new((*ballot, newest.take())));
                order.stage = Stage::Lead;
                self.advance_order(turn, id);
            }
            Verdict::Impossible => {
                // Nothing was done yet; a home may be back in a moment.
                order.stage = Stage::Lead;
                let again = turn.mono().after(LOOK_AGAIN_AFTER).min(order.deadline);
                self.set_timer(again, id);
            }
        }
    }

    pub(crate) fn on_order_timer(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Order(order)) = self.ops.get_mut(&id) else { return };
        let overdue = turn.mono() >= order.deadline;
        let origin = order.origin;
        match &mut order.stage {
            Stage::Lead | Stage::Look { .. } if overdue => {
                self.discard(id);
                self.answer_order(turn, origin, WriteReply::Refused(Refusal::Busy));
            }
            Stage::Lead => self.advance_order(turn, id),
            Stage::Look { .. } => {}
            Stage::Spread(_) => self.on_spread_timer(turn, id, overdue),
        }
    }

    pub(crate) fn answer_order(&mut self, turn: &mut Turn<'_>, origin: Origin, reply: WriteReply) {
        match origin {
            Origin::Local(attempt) => self.local_replies.push_back((attempt, reply)),
            Origin::Remote(link, id) => {
                turn.effects.push(Effect::Answer(link, Message::Reply(id, Reply::Write(reply))));
            }
        }
    }
}

/// Whether it is a set or delete at level one, which needs no order.
fn is_unordered(request: &WriteRequest) -> bool {
    request.copies == 1 && is_unordered_at_one(&request.mutation)
}

pub(crate) fn newest(one: Option<Entry>, other: Option<Entry>) -> Option<Entry> {
    let version = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.version);
    if version(&other) > version(&one) { other } else { one }
}
