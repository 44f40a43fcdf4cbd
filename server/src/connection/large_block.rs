//! A data block that is large: received into an allocation of its own, which the node keeps as it is.
//!
//! Memory is asked for once, when the command line has told how much, and is touched only as bytes arrive. Must not know
//! how the room is shared out (`large`).

use memring_engine::now::Now;
use memring_protocol::text::{ErrorReply, Step, awaited_block, parse};

use super::front::part_of;
use super::input::Input;
use super::replies::Part;
use super::{Ask, Connection, Stall};
use crate::large::LARGE_VALUE_BYTES;

/// Whether a command of so many bytes, of which so many are there, waits for a large data block. No line is so long, but
/// for a get's, which never tells how much of it is to come.
pub(super) fn is_awaited(needed: usize, there: usize) -> bool {
    needed > LARGE_VALUE_BYTES && needed > there + 1
}

impl Connection {
    /// The command at the front is a storage command with a large data block: makes room for it, or refuses it. How much
    /// of the input is dealt with then.
    pub(super) fn expect_block(&mut self, now: Now, input: &mut Input) -> Result<(usize, usize), Stall> {
        let Some(block) = awaited_block(input.bytes()) else { return Err(Stall::Input) };
        let (needed, value_len) = (block.consumed + block.swallow, block.value_len());
        let clients = &self.thread.surroundings;
        if let Some(room) = clients.door.facts.large.receive(value_len)
            && input.expect(needed, room, &clients.spare)
        {
            self.heard = now.mono;
            return Err(Stall::Input);
        }
        if self.shelf.replies.borrow().holds_room() {
            // This client's own earlier values are in the way, and soon done with.
            return Err(Stall::InFlight);
        }
        let Some(block) = awaited_block(input.bytes()) else { return Err(Stall::Input) };
        let part = if block.quiet { Part::Quiet } else { Part::Whole };
        self.start(now, part, &Ask::NoMemory { key: &block.key, removes: block.removes })?;
        Ok((block.consumed, block.swallow))
    }

    /// Runs the command with the large data block, once that is whole.
    pub(super) fn advance_block(&mut self, now: Now, input: &mut Input) -> Option<Stall> {
        let Some((frame, room)) = input.take_block() else { return Some(Stall::Input) };
        match parse(&frame, &self.thread.surroundings.limits) {
            Step::Command { command, .. } => {
                let sequence = self.shelf.replies.borrow().next_sequence();
                let ask = Ask::Large { command: &command, frame: &frame };
                if let Err(stall) = self.start(now, part_of(&command), &ask) {
                    input.put_back(frame, room);
                    return Some(stall);
                }
                // What is answered is the store's, and counts there.
                self.shelf.replies.borrow_mut().hold_room(sequence, room);
            }
            Step::Reject { error, quiet, .. } => self.reject(now, error, quiet),
            // Not to be reached: the line has been read before.
            _ => {
                self.ending = true;
                return Some(Stall::Input);
            }
        }
        self.hear_command(now);
        self.batched = true;
        self.needed = 1;
        None
    }

    /// Answers a command that is malformed.
    pub(super) fn reject(&self, now: Now, error: ErrorReply, quiet: bool) {
        if error == ErrorReply::BadDataChunk {
            self.thread.call_at(now, |node, _, _| node.on_bad_chunk(), |_| {});
        }
        if !quiet {
            self.shelf.replies.borrow_mut().reject(error);
        }
    }
}
