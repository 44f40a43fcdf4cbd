//! When a connection has waited long enough for its client.
//!
//! Must not know what the client was to send or to read.

use std::io;
use std::time::Duration;

use memring_engine::now::Mono;

use super::Connection;
use crate::backlog::CROWDED_PATIENCE;
use crate::watch::CloseReason;

/// How long a client may send nothing within a large data block, or take nothing of much that waits for it: meanwhile it
/// holds memory that others want.
const STALL_PATIENCE: Duration = Duration::from_secs(10);

/// How much must wait for a client to make it one that reads too slowly.
const MUCH_UNSENT_BYTES: usize = 1024 * 1024;

/// What a client has let pass.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Lapse {
    /// It sent no command for as long as `--idle-timeout` says.
    Idle,
    /// It sent nothing of a large data block.
    Block,
    /// It took nothing of much that waits for it.
    Reading,
    /// It took nothing of what waits for it, while others may be short of room for that.
    Crowding,
}

impl Connection {
    /// What the client will have let pass next, and when. It may be silent only where it is its turn.
    pub(super) fn next_lapse(&self, may_read: bool, unsent: usize) -> Option<(Mono, Lapse)> {
        let may_idle = may_read && unsent == 0 && self.shelf.replies.borrow().is_idle();
        let idle = self.thread.surroundings.door.idle_timeout.filter(|_| may_idle);
        let block = (may_read && self.input.has_block()).then_some(STALL_PATIENCE);
        let reading = self.taken.filter(|_| unsent > MUCH_UNSENT_BYTES);
        let crowding = (unsent > 0).then(|| self.thread.clock.now().mono.after(CROWDED_PATIENCE));
        let lapses = [
            idle.map(|patience| (self.heard.after(patience), Lapse::Idle)),
            block.map(|patience| (self.heard.after(patience), Lapse::Block)),
            reading.map(|taken| (taken.after(STALL_PATIENCE), Lapse::Reading)),
            crowding.map(|at| (at, Lapse::Crowding)),
        ];
        lapses.into_iter().flatten().min()
    }

    /// Ends the connection for it. A client that does not read is owed nothing more.
    pub(super) fn end_for(&mut self, lapse: Lapse) -> io::Result<()> {
        let facts = &self.thread.surroundings.door.facts;
        if lapse == Lapse::Crowding && !facts.backlog.is_over() {
            return Ok(());
        }
        if matches!(lapse, Lapse::Reading | Lapse::Crowding) && self.is_taken()? {
            return Ok(());
        }
        let connections = &self.thread.surroundings.door.facts.connections;
        self.ending = true;
        self.reason = CloseReason::IdleTimeout;
        match lapse {
            Lapse::Idle => connections.idle_kicks.increment(),
            Lapse::Block => {
                connections.slow_senders.increment();
                self.input.drop_block();
            }
            Lapse::Reading | Lapse::Crowding => {
                connections.slow_readers.increment();
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"));
            }
        }
        Ok(())
    }
}
