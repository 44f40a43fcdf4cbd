//! What is large takes long: an operation is waited for as long as what it sends or fetches moves.
//!
//! The links tell of each piece. A serializer tells its coordinator, which sees nothing move meanwhile. What has stopped
//! moving runs out of patience as ever. Must not know what is sent.

use std::time::Duration;

use memring_protocol::limits::FRAME_BYTES_MAX;
use memring_protocol::message::{ControlReply, Message, Mutation, Reply};
use memring_protocol::version::Slot;

use super::calls::{Attempt, Purpose};
use super::effect::Effect;
use super::reads::READ_PATIENCE;
use super::serializer::{Origin, Stage};
use super::turn::Turn;
use super::writes::{WRITE_PATIENCE, WriteParent};
use super::{Node, Op, OpId};

/// A read whose value has stopped coming for so long asks one more home.
const HEDGE_STOPPED_AFTER: Duration = Duration::from_millis(500);

/// What copying a value takes before anything of it can move, on a machine with much else to do.
const COPIED_BYTES_A_SECOND: u64 = 32 * 1024 * 1024;

/// How often a coordinator is told that its write goes on.
const TELL_EVERY: Duration = Duration::from_millis(1000);

/// How much longer a write is waited for, because of the value that it carries.
pub(crate) fn patience_with(mutation: &Mutation) -> Duration {
    match mutation {
        Mutation::Store(store) => Duration::from_millis(store.new.value.len() as u64 * 1000 / COPIED_BYTES_A_SECOND),
        _ => Duration::ZERO,
    }
}

impl Node {
    /// Something of this call has moved.
    pub(crate) fn on_moved(&mut self, turn: &mut Turn<'_>, slot: Slot, purpose: Purpose) {
        match purpose {
            Purpose::Read(askers) => {
                askers.into_iter().for_each(|asker| self.read_moved(turn, asker, HEDGE_STOPPED_AFTER));
            }
            Purpose::Write(attempt) => self.write_moved(turn, attempt, slot),
            Purpose::Replicate(op) | Purpose::Look(op, _) => self.order_moved(turn, op),
            // Short, and so are their answers.
            Purpose::Compare(_)
            | Purpose::Prepare(..)
            | Purpose::FlushProbe(_)
            | Purpose::FlushCommit(_)
            | Purpose::Stats(_)
            | Purpose::Replay(..) => {}
        }
    }

    fn write_moved(&mut self, turn: &mut Turn<'_>, attempt: Attempt, from: Slot) {
        let id = attempt.write;
        let Some(Op::Write(write)) = self.ops.get_mut(&id) else { return };
        if write.asked != Some(from) || write.attempt != attempt.number {
            return;
        }
        write.deadline = write.deadline.max(turn.mono().after(WRITE_PATIENCE));
        if let WriteParent::Read(read) = write.parent {
            self.read_moved(turn, read, READ_PATIENCE);
        }
    }

    fn order_moved(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Order(order)) = self.ops.get_mut(&id) else { return };
        let now = turn.mono();
        order.moved_at = Some(now);
        order.deadline = order.deadline.max(now.after(WRITE_PATIENCE));
        let (origin, deadline) = (order.origin, order.deadline);
        let is_look = matches!(order.stage, Stage::Look { .. });
        // Peers of an earlier release do not know the word, nor items of such a size.
        let may_tell = self.shared.settings().item_bytes_max > FRAME_BYTES_MAX;
        let tells = may_tell && now.since(order.told_at) >= TELL_EVERY;
        if tells {
            order.told_at = now;
        }
        if is_look {
            self.set_timer(deadline, id);
        }
        match origin {
            Origin::Local(attempt) => {
                if let Some(me) = turn.topology.me() {
                    self.write_moved(turn, attempt, me);
                }
            }
            Origin::Remote(link, request) if tells => {
                let working = Message::Reply(request, Reply::Control(ControlReply::Working));
                turn.effects.push(Effect::Answer(link, working));
            }
            Origin::Remote(..) => {}
        }
    }
}
