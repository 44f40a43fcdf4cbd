//! What comes in on one link, and the room that large messages get before they may go on.
//!
//! Must not know sockets or what messages mean.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::BytesMut;
use memring_protocol::frame::{FrameError, Leave, Streams, Taken};
use memring_protocol::message::RequestId;
use tokio::sync::OwnedSemaphorePermit;

use super::outbox::Outbox;
use super::room::Room;

/// Room that was found, and for which message.
type Found = RefCell<Vec<(RequestId, OwnedSemaphorePermit)>>;

/// What becomes of a large message that has begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It goes on, now or once there is room.
    Comes,
    /// It is too large, at any time.
    Refused,
}

/// The incoming half of a link.
pub(super) struct Arrivals {
    streams: Streams,
    room: Arc<Room>,
    outbox: Rc<Outbox>,
    of_replies: bool,
    taken: BTreeMap<RequestId, OwnedSemaphorePermit>,
    found: Rc<Found>,
}

impl Arrivals {
    /// Nothing has come. Leave to go on is given through `outbox`.
    pub(super) fn new(room: &Arc<Room>, outbox: &Rc<Outbox>, of_replies: bool) -> Self {
        Self {
            streams: Streams::default(),
            room: Arc::clone(room),
            outbox: Rc::clone(outbox),
            of_replies,
            taken: BTreeMap::new(),
            found: Rc::default(),
        }
    }

    /// Takes one frame from the front of `input`.
    pub(super) fn take(&mut self, input: &mut BytesMut) -> Result<Option<Taken>, FrameError> {
        self.streams.take(input)
    }

    /// A message of so many bytes has begun: it goes on when there is room.
    pub(super) fn begin(&mut self, id: RequestId, bytes: usize) -> Fate {
        if self.room.never_fits(bytes) {
            tracing::warn!(bytes, "a peer's message is too large for this node's -I: refused");
            self.decline(id);
            return Fate::Refused;
        }
        if let Some(permit) = self.room.take_now(bytes) {
            return self.go_on(id, permit);
        }
        let (room, found, outbox) = (Arc::clone(&self.room), Rc::downgrade(&self.found), Rc::downgrade(&self.outbox));
        tokio::task::spawn_local(async move {
            let permit = room.take(bytes).await;
            // The link may be gone; then so is the message, and the room is another's.
            if let (Some(permit), Some(found), Some(outbox)) = (permit, found.upgrade(), outbox.upgrade()) {
                found.borrow_mut().push((id, permit));
                outbox.wake();
            }
        });
        Fate::Comes
    }

    /// Lets those go on for which room was found. Returns those that must be refused after all.
    pub(super) fn admit(&mut self) -> Vec<RequestId> {
        if self.found.borrow().is_empty() {
            return Vec::new();
        }
        let found = std::mem::take(&mut *self.found.borrow_mut());
        found.into_iter().filter_map(|(id, permit)| (self.go_on(id, permit) == Fate::Refused).then_some(id)).collect()
    }

    /// A message was handed over: its room is the store's business from here on.
    pub(super) fn release(&mut self, id: RequestId) {
        if !self.taken.is_empty() {
            self.taken.remove(&id);
        }
    }

    /// Whether the peer owes the rest of something.
    pub(super) fn is_promised_more(&self) -> bool {
        self.streams.is_promised_more()
    }

    fn go_on(&mut self, id: RequestId, permit: OwnedSemaphorePermit) -> Fate {
        if !self.streams.go_on(id) {
            tracing::warn!("no memory for a peer's message: refused");
            self.decline(id);
            return Fate::Refused;
        }
        self.taken.insert(id, permit);
        self.outbox.push_leave(id, self.of_replies, Leave::GoOn);
        Fate::Comes
    }

    fn decline(&mut self, id: RequestId) {
        self.streams.decline(id);
        self.outbox.push_leave(id, self.of_replies, Leave::Never);
    }
}
