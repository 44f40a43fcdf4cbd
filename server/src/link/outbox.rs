//! What waits to be sent on one link: whole frames, acknowledgements that go many to a frame, and long messages that go in
//! fragments between them.
//!
//! Whole frames overtake: they wait for one fragment at most. Long messages take turns, a fragment each, so a small one
//! among them does not wait for a large one. Must not know which side dialled, nor what happens when the link ends.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use memring_protocol::frame::{self, Batch, FrameError, Leave, LongMessage, put_leave};
use memring_protocol::message::{Acknowledgement, Message, ReplicateRef, Reply, Request, RequestId};
use tokio::net::TcpStream;

use super::long_queue::LongQueue;
use super::room::Room;
use crate::bell::Bell;

/// What an emptied outbox may keep.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// What one flush may send of long messages: a peer that reads as fast must not keep a thread from its other tasks.
const FLUSH_BYTES_MAX: usize = 1024 * 1024;

/// What the other side understands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Speech {
    /// It has not said it yet: long messages wait.
    Unknown,
    /// Fragments.
    Fragments,
    /// Whole frames only.
    Whole,
}

/// Filled by effects, emptied by the link's task.
pub(crate) struct Outbox {
    unsent: RefCell<BytesMut>,
    /// What the next flush makes a frame of. `None` for a peer that takes them one by one.
    acknowledgements: Option<RefCell<Batch>>,
    long: RefCell<LongQueue>,
    speech: Cell<Speech>,
    bell: Bell,
    /// The link's task is about to flush: what is queued until then need not wake it.
    will_flush: Cell<bool>,
    closed: Cell<bool>,
}

impl Outbox {
    /// For requests, on a link that is being dialled: starts with these bytes.
    pub(super) fn for_requests(first: &[u8], room: &Arc<Room>) -> Self {
        Self::new(first, Speech::Unknown, false, LongQueue::of_requests(room))
    }

    /// For replies, on a link that a peer has dialled; `batches`: it takes many acknowledgements in a frame.
    pub(super) fn for_replies(first: &[u8], speech: Speech, batches: bool, room: &Arc<Room>) -> Self {
        Self::new(first, speech, batches, LongQueue::of_replies(room))
    }

    fn new(first: &[u8], speech: Speech, batches: bool, long: LongQueue) -> Self {
        Self {
            unsent: RefCell::new(BytesMut::from(first)),
            acknowledgements: batches.then(RefCell::default),
            long: RefCell::new(long),
            speech: Cell::new(speech),
            bell: Bell::default(),
            will_flush: Cell::new(false),
            closed: Cell::new(false),
        }
    }

    /// Queues a message; what is queued in one turn is sent together.
    pub(crate) fn push(&self, message: &Message) {
        let unsent = &mut self.unsent.borrow_mut();
        self.queued(if self.speech.get() == Speech::Whole {
            frame::encode(message, unsent).map(|()| None)
        } else {
            frame::encode_in_pieces(message, unsent)
        });
    }

    /// As [`Outbox::push`], for a replicate that others get too.
    pub(crate) fn push_replicate(&self, id: RequestId, replicate: &ReplicateRef<'_>) {
        if self.speech.get() == Speech::Whole {
            return self.push(&Message::Request(id, Request::Replicate(replicate.to_replicate())));
        }
        self.queued(frame::encode_replicate(id, replicate, &mut self.unsent.borrow_mut()));
    }

    fn queued(&self, encoded: Result<Option<LongMessage>, FrameError>) {
        match encoded {
            Ok(None) => {}
            Ok(Some(long)) => self.long.borrow_mut().push(long),
            Err(error) => {
                // The other side waits until its patience ends.
                tracing::warn!(%error, "a message to a peer is not sent");
                return;
            }
        }
        self.wake_to_send();
    }

    /// Queues an acknowledgement; those of one turn go in one frame if the peer takes it.
    pub(super) fn acknowledge(&self, id: RequestId, said: Acknowledgement) {
        match &self.acknowledgements {
            Some(batch) => {
                batch.borrow_mut().push(id, said, &mut self.unsent.borrow_mut());
                self.wake_to_send();
            }
            None => self.push(&Message::Reply(id, Reply::Replicate(said))),
        }
    }

    /// Lets the peer send the rest of a long message, or tells it not to.
    pub(super) fn push_leave(&self, id: RequestId, of_reply: bool, leave: Leave) {
        put_leave(id, of_reply, leave, &mut self.unsent.borrow_mut());
        self.wake_to_send();
    }

    /// The peer has said what it understands.
    pub(super) fn hear_speech(&self, speech: Speech) {
        self.speech.set(speech);
        if speech == Speech::Whole {
            self.long.borrow_mut().send_whole();
        }
    }

    /// Whether a long message waits for the peer to say what it understands.
    pub(super) fn waits_for_speech(&self) -> bool {
        self.speech.get() == Speech::Unknown && self.long.borrow().bytes() > 0
    }

    /// The peer has answered the opening of a long message. What stands for the reply to a request that it will not take.
    pub(super) fn hear_leave(&self, id: RequestId, leave: Leave) -> Option<Message> {
        self.long.borrow_mut().hear_leave(id, leave)
    }

    /// What stands for the replies to requests that were not sent: too much was queued, or the peer cannot take them.
    pub(super) fn take_refused(&self) -> Vec<Message> {
        self.long.borrow_mut().take_refused()
    }

    /// Long messages of which something was sent since this was asked last.
    pub(super) fn take_moved(&self) -> Vec<RequestId> {
        self.long.borrow_mut().take_moved()
    }

    /// How many frames of long messages have begun, if some are waiting.
    pub(super) fn long_frames(&self) -> Option<u64> {
        let long = self.long.borrow();
        (long.bytes() > 0).then(|| long.frames())
    }

    /// Bytes of whole frames, and of what becomes one.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent.borrow().len() + self.acknowledgements.as_ref().map_or(0, |batch| batch.borrow().bytes())
    }

    /// Bytes of all that waits to be sent.
    pub(super) fn queued_bytes(&self) -> usize {
        self.unsent_bytes() + self.long.borrow().bytes()
    }

    /// Whether there is something that could be sent now.
    pub(super) fn has_sendable(&self) -> bool {
        self.unsent_bytes() > 0 || self.long.borrow().has_sendable(self.speech.get() == Speech::Fragments)
    }

    /// Ends the link, whatever is queued.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.bell.ring();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// The link's task runs, and will flush before it waits.
    pub(super) fn await_flush(&self) {
        self.will_flush.set(true);
    }

    fn wake_to_send(&self) {
        if !self.will_flush.get() {
            self.bell.ring();
        }
    }

    /// Has the link's task look again.
    pub(super) fn wake(&self) {
        self.bell.ring();
    }

    /// Waits until something was queued or the outbox was closed.
    pub(super) async fn wait(&self) {
        self.bell.rung().await;
    }

    /// Sends as much as the socket takes now, of long messages at most [`FLUSH_BYTES_MAX`].
    pub(super) fn flush(&self, stream: &TcpStream) -> io::Result<()> {
        self.will_flush.set(false);
        let mut unsent = self.unsent.borrow_mut();
        if let Some(batch) = &self.acknowledgements {
            batch.borrow_mut().end(&mut unsent);
        }
        let mut long = self.long.borrow_mut();
        let mut room = FLUSH_BYTES_MAX;
        loop {
            // A frame that has begun ends before another one begins.
            let sent = if long.is_inside_frame() {
                let sent = send(|| long.with_frame(|slices| stream.try_write_vectored(slices)))?;
                room = room.saturating_sub(sent.unwrap_or(0));
                long.advance(sent.unwrap_or(0));
                sent
            } else if !unsent.is_empty() {
                let sent = send(|| stream.try_write(&unsent))?;
                unsent.advance(sent.unwrap_or(0));
                sent
            } else if room > 0 && long.begin_frame(self.speech.get() == Speech::Fragments) {
                continue;
            } else {
                break;
            };
            if sent.is_none() {
                return Ok(());
            }
        }
        if unsent.capacity() > SPARE_BYTES_MAX {
            *unsent = BytesMut::new();
        }
        Ok(())
    }
}

/// Bytes sent; `None` when the socket takes nothing now.
fn send(mut attempt: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match attempt() {
            Ok(sent) => return Ok(Some(sent)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The most slices of one write: a fragment has few pieces, and what is left goes with the next.
pub(super) type Slices<'a> = smallvec::SmallVec<[IoSlice<'a>; 8]>;
