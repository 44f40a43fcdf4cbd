//! Frames that wait to be sent on one link.
//!
//! Must not know which side dialled, nor what happens when the link ends.

use std::cell::{Cell, RefCell};

use bytes::{Buf, BytesMut};
use memring_protocol::frame;
use memring_protocol::message::Message;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// What an emptied outbox may keep.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// Filled by effects, emptied by the link's task.
#[derive(Default)]
pub(super) struct Outbox {
    unsent: RefCell<BytesMut>,
    wake: Notify,
    closed: Cell<bool>,
}

impl Outbox {
    /// Starts with these bytes.
    pub(super) fn beginning_with(bytes: &[u8]) -> Self {
        Self { unsent: RefCell::new(BytesMut::from(bytes)), ..Self::default() }
    }

    /// Queues a frame; what is queued in one turn is sent together.
    pub(super) fn push(&self, message: &Message) {
        if let Err(error) = frame::encode(message, &mut self.unsent.borrow_mut()) {
            // The other side waits until its patience ends.
            tracing::warn!(%error, "a message to a peer is not sent");
            return;
        }
        self.wake.notify_one();
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent.borrow().len()
    }

    /// Ends the link, whatever is queued.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.wake.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Waits until something was queued or the outbox was closed.
    pub(super) async fn wait(&self) {
        self.wake.notified().await;
    }

    /// Sends as much as the socket takes now.
    pub(super) fn flush(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut unsent = self.unsent.borrow_mut();
        while !unsent.is_empty() {
            match stream.try_write(&unsent) {
                Ok(sent) => unsent.advance(sent),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if unsent.capacity() > SPARE_BYTES_MAX {
            *unsent = BytesMut::new();
        }
        Ok(())
    }
}
