//! What can go wrong with a call, and what it means for the operation.
//!
//! Must not know how to retry: that is the caller's decision, and `may_have_been_applied` is what it depends on.

use std::io;
use std::time::Duration;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key is empty, over 250 bytes, or holds a space or a control character. Nothing was sent.
    #[error("a key has 1 to 250 bytes without spaces and control characters")]
    InvalidKey,
    /// A read of no keys, or words that would not stay on one line. Nothing was sent.
    #[error("the request cannot be said in the protocol: {0}")]
    InvalidRequest(&'static str),
    /// The requests of one call are over [`Limits::request_bytes_max`](crate::Limits::request_bytes_max). Nothing was
    /// sent, and the connection is as good as before.
    #[error("a request of {bytes} bytes is over the limit of {bytes_max}")]
    RequestTooLarge {
        /// Bytes the requests have.
        bytes: usize,
        /// Bytes they may have.
        bytes_max: usize,
    },
    /// No connection came about. Nothing was sent.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// An earlier call failed or was dropped half way, so that later replies would be taken for the wrong requests.
    /// Nothing was sent; connect anew.
    #[error("the connection is out of step after an earlier failure")]
    OutOfStep,
    /// The call took longer than [`Limits::deadline`](crate::Limits::deadline). It may have been applied; the
    /// connection is out of step.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// The connection broke. The operation may have been applied.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The server closed the connection before it answered. The operation may have been applied.
    #[error("the server closed the connection")]
    Closed,
    /// The server did not speak memcached's protocol, or answered something else than was asked. The operation may
    /// have been applied; the connection is out of step.
    #[error("the server answered out of protocol: {0}")]
    OutOfProtocol(String),
    /// The answers are over [`Limits::answer_bytes_max`](crate::Limits::answer_bytes_max). The operation may have been
    /// applied; the connection is out of step.
    #[error("an answer of {bytes} bytes or more is over the limit of {bytes_max}")]
    AnswerTooLarge {
        /// Bytes known to be coming.
        bytes: usize,
        /// Bytes they may have.
        bytes_max: usize,
    },
    /// The server refused the request with `ERROR` or `CLIENT_ERROR` and this text. It was not applied; the connection
    /// is as good as before.
    #[error("the server refused the request: {0}")]
    Refused(String),
    /// The server failed with `SERVER_ERROR` and this text. The operation may have been applied, as when a quorum was
    /// not reached; the connection is as good as before.
    #[error("the server failed: {0}")]
    Failed(String),
}

impl Error {
    /// Whether the operation may have been applied although it failed. `false` is certain: it was not, and may be
    /// repeated without being done twice.
    pub fn may_have_been_applied(&self) -> bool {
        match self {
            Self::InvalidKey
            | Self::InvalidRequest(_)
            | Self::RequestTooLarge { .. }
            | Self::Connect(_)
            | Self::OutOfStep
            | Self::Refused(_) => false,
            Self::Deadline(_)
            | Self::Broken(_)
            | Self::Closed
            | Self::OutOfProtocol(_)
            | Self::AnswerTooLarge { .. }
            | Self::Failed(_) => true,
        }
    }
}
