//! flush_all for the whole cluster, in two rounds: the highest stamp of a majority of the ring's members,
//! then what is flushed to everyone. Who is away hears of it in the first ping or page of any other node (`control`).

use std::time::Duration;

use memring_protocol::entry::UnixMillis;
use memring_protocol::flush::{FlushState, PacedFlush};
use memring_protocol::key::Partition;
use memring_protocol::level::majority;
use memring_protocol::message::{ControlReply, ControlRequest, Reply, Request};
use memring_protocol::text::Response;
use memring_protocol::version::{SLOTS_MAX, Slot, Stamp};

use super::calls::Purpose;
use super::effect::{Effect, Ticket};
use super::shared::Shared;
use super::topology::Layout;
use super::touch::IN_TOUCH;
use super::turn::Turn;
use super::{Node, Op, OpId};
use crate::cluster::quorum::Slots;

/// How long the first round waits for members that are silent, if a majority is not.
const PROBE_PATIENCE: Duration = Duration::from_millis(800);

/// How long the second one does after the last answer. It is longer than a member that hears nothing of the flush goes on
/// ordering writes (`touch`).
const COMMIT_PATIENCE: Duration = IN_TOUCH.saturating_add(Duration::from_millis(100));

/// When a flush happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum When {
    Now,
    At(UnixMillis),
    /// Partition by partition, over so many milliseconds.
    Over(u64),
}

/// A flush on its way.
#[derive(Debug)]
pub(crate) struct Flush {
    ticket: Ticket,
    when: When,
    highest: Stamp,
    needed: usize,
    /// How many members the ring had when this round began.
    members: usize,
    /// Who has answered in this round, this node included.
    took: Slots,
    waiting: Slots,
    committing: bool,
}

impl Shared {
    /// What this node knows of flushes.
    pub fn flush(&self) -> FlushState {
        self.store.flush()
    }

    /// Another node's flush state: what is stamped here from now on is above it.
    pub(crate) fn take_flush(&self, flush: FlushState) {
        self.clock.observe(flush.latest());
        self.store.merge_flush(flush);
    }
}

impl Node {
    pub(crate) fn start_flush(&mut self, turn: &mut Turn<'_>, ticket: Ticket, when: When) {
        let (Some(layout), Some(me)) = (turn.topology.layout(), turn.topology.me()) else {
            turn.effects.push(Effect::Respond(ticket, Response::ServerError("no ring yet".to_owned())));
            return;
        };
        if matches!(when, When::Over(_)) && self.shared.store.flush().running(turn.cluster()).is_some() {
            // A second one would have to do the rest of the first at once.
            let refusal = Response::ServerError("a paced flush goes on already".to_owned());
            turn.effects.push(Effect::Respond(ticket, refusal));
            return;
        }
        let members = layout.config.members.len();
        let needed = majority(members);
        let waiting = others_up(turn, layout, me);
        let highest = self.shared.clock.latest();
        let took = Slots::from_slice(&[me]);
        let flush = Flush { ticket, when, highest, needed, members, took, waiting, committing: false };
        let id = self.open(Op::Flush(flush));
        self.set_timer(turn.mono().after(PROBE_PATIENCE), id);
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
                flush.took.push(from);
            }
            Some(Reply::Control(ControlReply::Done)) => {
                flush.took.push(from);
                self.set_timer(turn.mono().after(COMMIT_PATIENCE), id);
            }
            _ => {}
        }
        self.judge_flush(turn, id);
    }

    /// The first round ends once every member that seems alive has answered or is lost; the second one early only when all
    /// members have taken the flush. One that seems dead, or cannot be reached from here, may be in touch with others and
    /// order writes for a while: so no verdict about it is trusted, and the time of that passes first.
    fn judge_flush(&mut self, turn: &mut Turn<'_>, id: OpId) {
        if let Some(Op::Flush(flush)) = self.ops.get(&id)
            && flush.waiting.is_empty()
            && (!flush.committing || flush.took.len() == flush.members)
        {
            self.end_flush_round(turn, id);
        }
    }

    /// Who is waited for has answered, or is silent.
    pub(crate) fn end_flush_round(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Flush(flush)) = self.ops.get_mut(&id) else { return };
        if flush.took.len() < flush.needed || flush.committing {
            self.finish_flush(turn, id);
            return;
        }
        let (highest, when) = (flush.highest, flush.when);
        let (Some(layout), Some(me)) = (turn.topology.layout(), turn.topology.me()) else { return };
        flush.committing = true;
        flush.members = layout.config.members.len();
        flush.took = Slots::from_slice(&[me]);
        flush.waiting = others_up(turn, layout, me);
        self.shared.clock.observe(highest);
        let stamp = self.shared.clock.stamp(turn.cluster(), me, highest);
        let none = FlushState::default();
        let state = match when {
            // Named as pending too, in the past: it takes the place of any flush still to come.
            When::Now => FlushState { floor: stamp, pending: Some((stamp, UnixMillis(0))), ..none },
            When::At(at) => FlushState { pending: Some((stamp, at)), ..none },
            When::Over(over_ms) => {
                FlushState { paced: Some(PacedFlush { stamp, from: turn.cluster(), over_ms }), ..none }
            }
        };
        self.shared.take_flush(state);
        self.set_timer(turn.mono().after(COMMIT_PATIENCE), id);
        self.ask_flush(turn, id);
    }

    /// Answers: OK if no read at quorum can miss the flush, wherever it is asked.
    fn finish_flush(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Flush(flush)) = self.close(id) else { return };
        let Flush { took, needed, committing, ticket, .. } = flush;
        let refused = |text: String| Response::ServerError(text);
        let response = match turn.topology.layout() {
            Some(layout) if committing && took.len() >= needed => {
                if is_on_each_majority(layout, &took) {
                    Response::Ok
                } else {
                    let members = layout.config.members.len();
                    refused(format!("flushed on {} of {members} nodes, on the others when they return", took.len()))
                }
            }
            _ => refused(format!("quorum not reached ({} of {needed})", took.len())),
        };
        turn.effects.push(Effect::Respond(ticket, response));
    }
}

fn others_up(turn: &Turn<'_>, layout: &Layout, me: Slot) -> Slots {
    let members = layout.config.members.iter().map(|member| member.slot);
    members.filter(|slot| *slot != me && turn.topology.is_up(*slot)).collect()
}

/// Whether a majority of the homes of every partition is among these nodes. A majority of the ring is not enough: where
/// there are more nodes than copies, all homes of a partition that hold what was flushed may be others.
fn is_on_each_majority(layout: &Layout, took: &[Slot]) -> bool {
    let mut taken = vec![false; usize::from(SLOTS_MAX)];
    took.iter().for_each(|slot| taken[slot.index()] = true);
    let is_majority = |homes: &[Slot]| homes.iter().filter(|home| taken[home.index()]).count() >= majority(homes.len());
    Partition::all()
        .all(|partition| is_majority(layout.homes(partition)) && layout.next_homes(partition).is_none_or(is_majority))
}
