//! flush_all for the whole cluster, in two rounds (DESIGN's rule 9): the highest stamp of a majority of the ring's members,
//! then the floor above it to everyone.

use std::time::Duration;

use memring_protocol::entry::UnixMillis;
use memring_protocol::flush::FlushState;
use memring_protocol::level::majority;
use memring_protocol::message::{ControlReply, ControlRequest, Reply, Request};
use memring_protocol::text::Response;
use memring_protocol::version::{Slot, Stamp};

use super::calls::Purpose;
use super::effect::{Effect, Ticket};
use super::turn::Turn;
use super::{Node, Op, OpId};
use crate::cluster::quorum::Slots;

/// After this a flush that too few members have taken is answered with an error.
const FLUSH_PATIENCE: Duration = Duration::from_millis(3000);

/// A flush on its way.
#[derive(Debug)]
pub(crate) struct Flush {
    ticket: Ticket,
    /// When it is to happen; at once if `None`.
    at: Option<UnixMillis>,
    highest: Stamp,
    needed: usize,
    /// Answers of this round, this node's own included.
    answered: usize,
    waiting: Slots,
    committing: bool,
}

impl Node {
    pub(crate) fn start_flush(&mut self, turn: &mut Turn<'_>, ticket: Ticket, at: Option<UnixMillis>) {
        let (Some(layout), Some(me)) = (turn.topology.layout(), turn.topology.me()) else {
            turn.effects.push(Effect::Respond(ticket, Response::ServerError("no ring yet".to_owned())));
            return;
        };
        let members: Slots = layout.config.members.iter().map(|member| member.slot).collect();
        let waiting: Slots = members.iter().copied().filter(|slot| *slot != me && turn.topology.is_up(*slot)).collect();
        let needed = majority(members.len());
        let highest = self.shared.clock.latest();
        let flush = Flush { ticket, at, highest, needed, answered: 1, waiting, committing: false };
        let id = self.open(Op::Flush(flush));
        self.set_timer(turn.mono().after(FLUSH_PATIENCE), id);
        self.ask_flush(turn, id);
    }

    fn ask_flush(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Flush(flush)) = self.ops.get(&id) else { return };
        let (committing, slots) = (flush.committing, flush.waiting.clone());
        let state = self.shared.store.flush();
        for slot in slots {
            let (purpose, request) = if committing {
                (Purpose::FlushCommit(id), ControlRequest::FlushCommit(state))
            } else {
                (Purpose::FlushProbe(id), ControlRequest::FlushProbe)
            };
            if !self.call(turn, slot, purpose, Request::Control(request)) {
                self.on_flush_reply(turn, id, slot, committing, None);
            }
        }
        self.judge_flush(turn, id);
    }

    /// A member's answer; `None` when it is lost.
    pub(crate) fn on_flush_reply(
        &mut self,
        turn: &mut Turn<'_>,
        id: OpId,
        from: Slot,
        committing: bool,
        reply: Option<Reply>,
    ) {
        let Some(Op::Flush(flush)) = self.ops.get_mut(&id) else { return };
        if flush.committing != committing || !flush.waiting.contains(&from) {
            return;
        }
        flush.waiting.retain(|slot| *slot != from);
        match reply {
            Some(Reply::Control(ControlReply::FlushStamp(stamp))) => {
                flush.highest = flush.highest.max(stamp);
                flush.answered += 1;
            }
            Some(Reply::Control(ControlReply::Done)) => flush.answered += 1,
            _ => {}
        }
        self.judge_flush(turn, id);
    }

    /// Every live member must have answered before the next round: the flush has then taken effect on each of them.
    fn judge_flush(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Flush(flush)) = self.ops.get_mut(&id) else { return };
        if !flush.waiting.is_empty() {
            return;
        }
        if flush.answered < flush.needed || flush.committing {
            self.finish_flush(turn, id);
            return;
        }
        let (highest, at) = (flush.highest, flush.at);
        flush.committing = true;
        flush.answered = 1;
        let (Some(layout), Some(me)) = (turn.topology.layout(), turn.topology.me()) else { return };
        let others = layout.config.members.iter().map(|member| member.slot);
        flush.waiting = others.filter(|slot| *slot != me && turn.topology.is_up(*slot)).collect();
        self.shared.clock.observe(highest);
        let floor = self.shared.clock.stamp(turn.cluster(), me, highest);
        let state = match at {
            // Named as pending too, in the past: it takes the place of any flush still to come.
            None => FlushState { floor, pending: Some((floor, UnixMillis(0))) },
            Some(at) => FlushState { floor: Stamp::ZERO, pending: Some((floor, at)) },
        };
        self.shared.store.merge_flush(state);
        self.ask_flush(turn, id);
    }

    /// Answers: OK if a majority of the ring's members has taken the flush.
    pub(crate) fn finish_flush(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Flush(flush)) = self.close(id) else { return };
        let response = if flush.committing && flush.answered >= flush.needed {
            Response::Ok
        } else {
            Response::ServerError(format!("quorum not reached ({} of {})", flush.answered, flush.needed))
        };
        turn.effects.push(Effect::Respond(flush.ticket, response));
    }
}
