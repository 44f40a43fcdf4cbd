//! One connection to one server: sends requests, reads their answers in order, within a deadline and bounded buffers.
//!
//! Must not know how requests and answers look as bytes, what the commands are (`calls`), nor which server owns a key.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use memring_protocol::text::{ReplyStep, parse_reply};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::timeout;

use crate::answer::{Answer, Partial};
use crate::error::Error;
use crate::pipeline::{Expected, Pipeline};

/// Bytes to make room for before each read: a few replies of ordinary values.
const READ_BYTES: usize = 16 * 1024;

/// A buffer that a call made larger than this is given back after it.
const IDLE_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// What a connection may take and how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How long a call may take, and connecting too. 1 s: far above any healthy answer, below a user's patience.
    pub deadline: Duration,
    /// Bytes of all requests of one call. 64 MiB.
    pub request_bytes_max: usize,
    /// Bytes of all answers to one call. 64 MiB.
    pub answer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(1),
            request_bytes_max: 64 * 1024 * 1024,
            answer_bytes_max: 64 * 1024 * 1024,
        }
    }
}

/// A connection to one server. Calls take `&mut self`: one at a time, and several in a [`Pipeline`].
///
/// After an error that leaves replies on their way (a missed deadline, a broken or nonsensical answer), and after a
/// call whose future was dropped, every later call fails with [`Error::OutOfStep`]: connect anew.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    received: BytesMut,
    limits: Limits,
    /// Every reply so far went to its request.
    in_step: bool,
    /// Kept for its memory.
    requests: Pipeline,
}

impl Connection {
    /// Connects with the default [`Limits`].
    pub async fn connect(addr: impl ToSocketAddrs) -> Result<Self, Error> {
        Self::connect_with(addr, Limits::default()).await
    }

    /// Connects to the first of the addresses that accepts, within the deadline.
    pub async fn connect_with(addr: impl ToSocketAddrs, limits: Limits) -> Result<Self, Error> {
        let stream = match timeout(limits.deadline, TcpStream::connect(addr)).await {
            Ok(connected) => connected.map_err(Error::Connect)?,
            Err(elapsed) => return Err(Error::Connect(elapsed.into())),
        };
        // Requests are written whole, so waiting for more of them would only delay them.
        stream.set_nodelay(true).map_err(Error::Connect)?;
        Ok(Self { stream, received: BytesMut::new(), limits, in_step: true, requests: Pipeline::new() })
    }

    /// Whether another call can succeed; `false` after an error that leaves replies on their way.
    pub fn is_in_step(&self) -> bool {
        self.in_step
    }

    /// Sends all requests and receives as many answers, in the same order. Sends and receives at the same time, so
    /// that neither side waits for the other to read.
    ///
    /// Refused and failed requests are answers here, not errors: the others have theirs.
    pub async fn run(&mut self, pipeline: &Pipeline) -> Result<Vec<Answer>, Error> {
        let bytes = pipeline.bytes().len();
        if bytes > self.limits.request_bytes_max {
            return Err(Error::RequestTooLarge { bytes, bytes_max: self.limits.request_bytes_max });
        }
        // Stays out of step when this future is dropped before its end.
        if !std::mem::replace(&mut self.in_step, false) {
            return Err(Error::OutOfStep);
        }
        let (mut reader, mut writer) = self.stream.split();
        let received = &mut self.received;
        let bytes_max = self.limits.answer_bytes_max;
        let send = async { writer.write_all(pipeline.bytes()).await.map_err(Error::Broken) };
        let receive = receive(&mut reader, received, pipeline.expected(), bytes_max);
        let exchange = async { tokio::try_join!(send, receive) };
        let ((), answers) =
            timeout(self.limits.deadline, exchange).await.map_err(|_| Error::Deadline(self.limits.deadline))??;
        if !self.received.is_empty() {
            return Err(Error::OutOfProtocol("more answers than requests".to_owned()));
        }
        if self.received.capacity() > IDLE_BUFFER_BYTES_MAX {
            self.received = BytesMut::new();
        }
        self.in_step = true;
        Ok(answers)
    }

    /// One request and what `read` makes of its answer. An answer of the wrong kind, which `read` gives back, means
    /// that replies and requests no longer belong together.
    pub(crate) async fn call<T>(
        &mut self,
        add: impl FnOnce(&mut Pipeline) -> Result<(), Error>,
        read: impl FnOnce(Answer) -> Result<T, Answer>,
    ) -> Result<T, Error> {
        let mut requests = std::mem::take(&mut self.requests);
        add(&mut requests)?;
        let answers = self.run(&requests).await;
        if requests.capacity() <= IDLE_BUFFER_BYTES_MAX {
            requests.clear();
            self.requests = requests;
        }
        let unexpected = match answers?.pop() {
            Some(Answer::Refused(text)) => return Err(Error::Refused(text)),
            Some(Answer::Failed(text)) => return Err(Error::Failed(text)),
            Some(answer) => match read(answer) {
                Ok(result) => return Ok(result),
                Err(answer) => format!("{answer:?} does not answer the request"),
            },
            None => "no answer".to_owned(),
        };
        self.in_step = false;
        Err(Error::OutOfProtocol(unexpected))
    }
}

/// Reads one answer for each of `expected`, at most `bytes_max` bytes in all.
async fn receive(
    reader: &mut (impl AsyncRead + Unpin),
    received: &mut BytesMut,
    expected: &[Expected],
    bytes_max: usize,
) -> Result<Vec<Answer>, Error> {
    let mut answers = Vec::with_capacity(expected.len());
    let mut taken = 0;
    for &expected in expected {
        let mut partial = Partial::new(expected);
        let answer = loop {
            match parse_reply(received) {
                ReplyStep::Reply { consumed, reply } => {
                    let answer = partial.take(reply)?;
                    taken += consumed;
                    received.advance(consumed);
                    if let Some(answer) = answer {
                        break answer;
                    }
                }
                ReplyStep::Incomplete { needed } => {
                    let bytes = taken + needed;
                    if bytes > bytes_max {
                        return Err(Error::AnswerTooLarge { bytes, bytes_max });
                    }
                    // What the announced value needs, or a few small replies.
                    received.reserve((needed - received.len()).max(READ_BYTES));
                    if reader.read_buf(received).await.map_err(Error::Broken)? == 0 {
                        return Err(Error::Closed);
                    }
                }
                ReplyStep::Malformed => {
                    let start = &received[..received.len().min(60)];
                    return Err(Error::OutOfProtocol(start.escape_ascii().to_string()));
                }
            }
        };
        answers.push(answer);
    }
    Ok(answers)
}
