//! Long messages of one link on their way out: whose turn it is, and what may be sent.
//!
//! At most limits::STREAMS_MAX have begun; they take turns once the peer has given leave. The others wait their turn. Values
//! are held, not copied. Must not know sockets or what messages are for.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use memring_protocol::frame::{Leave, LongMessage};
use memring_protocol::limits::STREAMS_MAX;
use memring_protocol::message::{Message, RequestId};

use super::outbox::Slices;
use super::room::Room;

/// Refusals that the link's task has not taken yet; above it they are left to the requests' patience.
const REFUSED_MAX: usize = 1024;

/// A message of which something was sent.
#[derive(Debug)]
struct Begun {
    message: LongMessage,
    may_go_on: bool,
}

/// The queue.
pub(super) struct LongQueue {
    room: Arc<Room>,
    of_replies: bool,
    /// The frame that is being sent.
    frame: VecDeque<Bytes>,
    begun: VecDeque<Begun>,
    waiting: VecDeque<LongMessage>,
    /// Messages to be sent as one frame.
    whole: VecDeque<LongMessage>,
    /// Bytes of messages that are not in a frame yet.
    bytes: usize,
    /// How many frames have begun.
    frames: u64,
    refused: Vec<Message>,
    moved: Vec<RequestId>,
}

impl LongQueue {
    /// Above the room's limit for one link they are refused; one may pass it.
    pub(super) fn of_requests(room: &Arc<Room>) -> Self {
        Self::new(room, false)
    }

    /// They are counted in the room's replies.
    pub(super) fn of_replies(room: &Arc<Room>) -> Self {
        Self::new(room, true)
    }

    fn new(room: &Arc<Room>, of_replies: bool) -> Self {
        Self {
            room: Arc::clone(room),
            of_replies,
            frame: VecDeque::new(),
            begun: VecDeque::new(),
            waiting: VecDeque::new(),
            whole: VecDeque::new(),
            bytes: 0,
            frames: 0,
            refused: Vec::new(),
            moved: Vec::new(),
        }
    }

    /// Queues a message, or refuses it.
    pub(super) fn push(&mut self, message: LongMessage) {
        let bytes = message.unsent_bytes();
        if !self.of_replies && self.bytes > 0 && self.bytes + bytes > self.room.requests_bytes_max() {
            self.refuse(&message);
            return;
        }
        self.bytes += bytes;
        if self.of_replies {
            self.room.add_reply(bytes);
        }
        self.waiting.push_back(message);
    }

    /// Bytes of messages that are not in a frame yet.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many frames have begun: while it stays the same, nothing moves.
    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    /// The peer does not know fragments: what fits goes as one frame.
    pub(super) fn send_whole(&mut self) {
        self.whole.append(&mut self.waiting);
    }

    /// See `Outbox::hear_leave`. A leave for a message that is not there says nothing.
    pub(super) fn hear_leave(&mut self, id: RequestId, leave: Leave) -> Option<Message> {
        let at = self.begun.iter().position(|begun| begun.message.id() == id && !begun.may_go_on)?;
        if leave == Leave::GoOn {
            self.begun[at].may_go_on = true;
            return None;
        }
        let Begun { message, .. } = self.begun.remove(at)?;
        self.end(message.unsent_bytes());
        tracing::warn!(bytes = message.body_len(), "a peer has no room for a message of this size: is its -I smaller?");
        Some(message.refused())
    }

    pub(super) fn take_refused(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.refused)
    }

    pub(super) fn take_moved(&mut self) -> Vec<RequestId> {
        std::mem::take(&mut self.moved)
    }

    pub(super) fn is_inside_frame(&self) -> bool {
        !self.frame.is_empty()
    }

    pub(super) fn has_sendable(&self, in_fragments: bool) -> bool {
        self.is_inside_frame()
            || !self.whole.is_empty()
            || self.begun.iter().any(|begun| begun.may_go_on)
            || (in_fragments && self.may_begin())
    }

    fn may_begin(&self) -> bool {
        !self.waiting.is_empty() && self.begun.len() < STREAMS_MAX
    }

    /// Begins the next frame, if anything may be sent.
    pub(super) fn begin_frame(&mut self, in_fragments: bool) -> bool {
        if let Some(message) = self.whole.pop_front() {
            self.begin_whole(message);
            return true;
        }
        // Openings first: the peer makes room while others go on.
        let next = if in_fragments && self.may_begin() {
            self.waiting.pop_front().map(|message| Begun { message, may_go_on: false })
        } else {
            let at = self.begun.iter().position(|begun| begun.may_go_on);
            at.and_then(|at| self.begun.remove(at))
        };
        let Some(mut begun) = next else { return false };
        let before = begun.message.unsent_bytes();
        self.frame.extend(begun.message.next_fragment());
        self.end(before - begun.message.unsent_bytes());
        if !self.of_replies {
            self.moved.push(begun.message.id());
        }
        if begun.message.unsent_bytes() > 0 {
            self.begun.push_back(begun);
        }
        true
    }

    fn begin_whole(&mut self, message: LongMessage) {
        self.end(message.unsent_bytes());
        let refused = message.refused();
        match message.into_frame() {
            Ok(frame) => self.frame.extend(frame),
            Err(error) => {
                tracing::warn!(%error, "a message to a peer of an earlier release is not sent");
                self.note_refused(refused);
            }
        }
    }

    /// Offers the frame's bytes.
    pub(super) fn with_frame<T>(&self, write: impl FnOnce(&[io::IoSlice<'_>]) -> T) -> T {
        let slices: Slices<'_> = self.frame.iter().map(|piece| io::IoSlice::new(piece)).collect();
        write(&slices)
    }

    /// So much of the frame was sent.
    pub(super) fn advance(&mut self, mut sent: usize) {
        while let Some(piece) = self.frame.front_mut() {
            let part = sent.min(piece.len());
            piece.advance(part);
            sent -= part;
            if !piece.is_empty() {
                return;
            }
            self.frame.pop_front();
        }
    }

    fn refuse(&mut self, message: &LongMessage) {
        tracing::warn!(bytes = message.body_len(), queued = self.bytes, "too much is queued for a peer: not sent");
        self.note_refused(message.refused());
    }

    fn note_refused(&mut self, refused: Message) {
        if !self.of_replies && self.refused.len() < REFUSED_MAX {
            self.refused.push(refused);
        }
    }

    fn end(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes -= bytes;
        if self.of_replies {
            self.room.end_reply(bytes);
        }
    }
}

impl Drop for LongQueue {
    fn drop(&mut self) {
        self.end(self.bytes);
    }
}
