//! The loop of a link, for both sides: send what is queued, read what came, hand over whole messages.
//!
//! Must not know what messages mean or who dialled.

use std::io;

use bytes::BytesMut;
use memring_protocol::frame::{self, FrameError};
use memring_protocol::message::{Message, RequestId};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::outbox::Outbox;
use crate::arrival::{Arrived, read_once};

/// What one read may take at least. A larger frame makes the buffer grow as its bytes arrive, never ahead of them.
const READ_BYTES: usize = 64 * 1024;

/// What an emptied read buffer may keep.
const SPARE_INPUT_BYTES_MAX: usize = 64 * 1024;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkEnd {
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("the peer ended it")]
    Peer,
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("a message that this side does not take")]
    WrongSide,
    #[error("given up: too much was unsent")]
    GivenUp,
}

/// What a link hands over.
pub(super) enum Incoming {
    Message(Message),
    /// A request of a newer version, to be refused.
    Unknown(RequestId),
}

/// Runs a connected link until it ends. While more than `unsent_bytes_max` are unsent nothing is read.
pub(super) async fn exchange(
    stream: &mut TcpStream,
    outbox: &Outbox,
    mut input: BytesMut,
    unsent_bytes_max: usize,
    mut deliver: impl FnMut(Incoming) -> Result<(), LinkEnd>,
) -> LinkEnd {
    match run(stream, outbox, &mut input, unsent_bytes_max, &mut deliver).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

async fn run(
    stream: &mut TcpStream,
    outbox: &Outbox,
    input: &mut BytesMut,
    unsent_bytes_max: usize,
    deliver: &mut impl FnMut(Incoming) -> Result<(), LinkEnd>,
) -> Result<std::convert::Infallible, LinkEnd> {
    loop {
        let is_full = decode(input, outbox, unsent_bytes_max, deliver)?;
        outbox.flush(stream)?;
        if outbox.is_closed() {
            return Err(LinkEnd::GivenUp);
        }
        if is_full && outbox.unsent_bytes() <= unsent_bytes_max {
            // The socket took it all at once: there may be whole frames left to decode.
            tokio::task::yield_now().await;
            continue;
        }
        let interest = match (is_full, outbox.unsent_bytes() > 0) {
            (true, _) => Interest::WRITABLE,
            (false, true) => Interest::READABLE | Interest::WRITABLE,
            (false, false) => Interest::READABLE,
        };
        let readable = tokio::select! {
            ready = stream.ready(interest) => ready?.is_readable(),
            () = outbox.wait() => false,
        };
        if readable && !is_full {
            read(stream, input).await?;
        }
        // A peer that sends without a pause must not starve this thread's other tasks.
        tokio::task::consume_budget().await;
    }
}

/// Hands over whole messages; true if it stopped because too much is unsent.
fn decode(
    input: &mut BytesMut,
    outbox: &Outbox,
    unsent_bytes_max: usize,
    deliver: &mut impl FnMut(Incoming) -> Result<(), LinkEnd>,
) -> Result<bool, LinkEnd> {
    loop {
        if outbox.unsent_bytes() > unsent_bytes_max {
            return Ok(true);
        }
        match frame::decode(input) {
            Ok(Some(message)) => deliver(Incoming::Message(message))?,
            Ok(None) => break,
            Err(FrameError::UnknownRequest { id, .. }) => deliver(Incoming::Unknown(id))?,
            Err(error) => return Err(error.into()),
        }
    }
    if input.is_empty() && input.capacity() > SPARE_INPUT_BYTES_MAX {
        *input = BytesMut::new();
    }
    Ok(false)
}

async fn read(stream: &mut TcpStream, input: &mut BytesMut) -> Result<(), LinkEnd> {
    input.reserve(READ_BYTES);
    match read_once(stream, input).await? {
        Arrived::End => Err(LinkEnd::Peer),
        Arrived::Bytes(_) | Arrived::Nothing => Ok(()),
    }
}
