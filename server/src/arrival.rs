//! One read from a socket that was said to be readable.
//!
//! Must not know what the bytes are.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrived {
    Bytes(usize),
    /// Nothing was there after all.
    Nothing,
    /// The other side will send no more.
    End,
}

/// Reads into the spare room of `buffer`, of which there must be some, without waiting.
///
/// A poll of tokio's read and not `try_read`: after a read that did not fill the buffer it knows that the socket is empty,
/// and so saves the call that would only say so.
pub(crate) async fn read_once(stream: &mut (impl AsyncRead + Unpin), buffer: &mut impl BufMut) -> io::Result<Arrived> {
    debug_assert!(buffer.has_remaining_mut());
    let mut reading = pin!(stream.read_buf(buffer));
    match poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
        Poll::Ready(Ok(0)) => Ok(Arrived::End),
        Poll::Ready(Ok(count)) => Ok(Arrived::Bytes(count)),
        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Ok(Arrived::Nothing),
        Poll::Ready(Err(error)) => Err(error),
        Poll::Pending => Ok(Arrived::Nothing),
    }
}
