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
    /// Nothing was sent, for this reason: no server may be asked now, or there was no room in the whole time of the call.
    #[error("nothing was sent: {0}")]
    NotSent(&'static str),
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
            | Self::NotSent(_)
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

    /// Whether it is certain that no server was told anything, so that another may be asked without further thought.
    pub(crate) fn is_unsent(&self) -> bool {
        matches!(self, Self::NotSent(_) | Self::Connect(_) | Self::OutOfStep)
    }

    /// Whether the server, or the way to it, failed, rather than the request: another server may know the answer.
    pub(crate) fn is_of_server(&self) -> bool {
        matches!(self, Self::Deadline(_) | Self::Broken(_) | Self::Closed | Self::OutOfProtocol(_))
    }

    /// The same once more, for another of those whom the same connection failed.
    pub(crate) fn again(&self) -> Self {
        let same = |error: &io::Error| match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        };
        match self {
            Self::InvalidKey => Self::InvalidKey,
            Self::InvalidRequest(why) => Self::InvalidRequest(why),
            Self::RequestTooLarge { bytes, bytes_max } => {
                Self::RequestTooLarge { bytes: *bytes, bytes_max: *bytes_max }
            }
            Self::NotSent(why) => Self::NotSent(why),
            Self::Connect(error) => Self::Connect(same(error)),
            Self::OutOfStep => Self::OutOfStep,
            Self::Deadline(time) => Self::Deadline(*time),
            Self::Broken(error) => Self::Broken(same(error)),
            Self::Closed => Self::Closed,
            Self::OutOfProtocol(what) => Self::OutOfProtocol(what.clone()),
            Self::AnswerTooLarge { bytes, bytes_max } => Self::AnswerTooLarge { bytes: *bytes, bytes_max: *bytes_max },
            Self::Refused(text) => Self::Refused(text.clone()),
            Self::Failed(text) => Self::Failed(text.clone()),
        }
    }
}
