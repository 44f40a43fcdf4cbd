//! Bytes on their way out: as much as the socket takes, a turn at a time.
//!
//! Must not know what the bytes say.

use std::io;

use super::Connection;
use crate::client_socket::ClientStream;

/// Bytes that one connection sends before others have their turn: a client that reads as fast as it is sent a large value
/// must not hold its thread.
const TURN_BYTES: usize = 1024 * 1024;

/// What is left to send after a turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unsent {
    pub(super) bytes: usize,
    /// Whether the socket takes nothing now; else it is for others' sake that sending stopped, if anything is left.
    pub(super) blocked: bool,
}

impl Connection {
    /// Sends as much as the socket takes now, and one turn.
    pub(super) fn flush(&mut self) -> io::Result<Unsent> {
        let mut replies = self.shelf.replies.borrow_mut();
        let (mut sent, mut blocked) = (0, false);
        while replies.unsent() > 0 && sent < TURN_BYTES {
            let written = if replies.is_plain() {
                self.write(|stream| stream.try_write(replies.output()))?
            } else {
                self.write(|stream| stream.try_write_vectored(&replies.slices()))?
            };
            let Some(count) = written else {
                blocked = true;
                break;
            };
            replies.sent(count);
            sent += count;
        }
        let bytes = replies.unsent();
        drop(replies);
        self.note_taken(sent, bytes);
        Ok(Unsent { bytes, blocked })
    }

    /// Writes once, and counts it; `None` when the socket takes nothing now.
    pub(super) fn write(&self, write: impl Fn(&ClientStream) -> io::Result<usize>) -> io::Result<Option<usize>> {
        loop {
            match write(&self.stream) {
                Ok(count) => {
                    self.thread.surroundings.traffic.count_written(count);
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the socket takes more after all: it is said to be writable only when much of its buffer is free, which a
    /// slow client can take long to bring about.
    pub(super) fn is_taken(&mut self) -> io::Result<bool> {
        let mut replies = self.shelf.replies.borrow_mut();
        let written = self.write(|stream| stream.write_unasked(replies.next_piece()))?;
        let (sent, bytes) = (written.unwrap_or(0), replies.unsent() - written.unwrap_or(0));
        replies.sent(sent);
        drop(replies);
        self.note_taken(sent, bytes);
        Ok(sent > 0)
    }

    /// Notes that the client has taken bytes, or that it is to take some from now on.
    fn note_taken(&mut self, sent: usize, unsent: usize) {
        self.owed.is_now(unsent);
        if unsent == 0 {
            self.taken = None;
        } else if sent > 0 || self.taken.is_none() {
            self.taken = Some(self.thread.clock.now().mono);
        }
    }
}
