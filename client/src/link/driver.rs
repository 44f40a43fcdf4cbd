//! The task behind one connection: writes what waits in batches, reads what comes in order, dials anew when it must.
//!
//! Must not know what is asked or who waits (`queue`, `flight`), nor which server ought to be asked.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memring_protocol::text::{ReplyStep, parse_reply};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::Health;
use super::breaker::Failure;
use super::flight::Flight;
use super::queue::{Job, Queue};
use crate::error::Error;

/// Bytes that are put together before they are written: larger ones cost memory, and save no calls worth it.
const BATCH_BYTES: usize = 256 * 1024;

/// Bytes to make room for before each read: a hundred replies of ordinary values.
const READ_BYTES: usize = 64 * 1024;

/// A buffer that grew larger than this is given back when it is empty.
const IDLE_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// What a driver must know beside its queue.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// `host:port`, resolved at each dial.
    pub(super) address: Arc<str>,
    /// How long connecting may take.
    pub(super) connect_within: Duration,
    /// How long nothing may come while answers are due, before the connection is given up.
    pub(super) silent_for_max: Duration,
    /// Bytes of one answer line with its block.
    pub(super) answer_bytes_max: usize,
}

/// Serves a queue until it is closed: connects when something waits, and again when the connection has ended.
pub(super) async fn drive(queue: Arc<Queue>, health: Arc<Health>, terms: Terms) {
    loop {
        while queue.is_empty() {
            if queue.is_closed() {
                return;
            }
            queue.wait().await;
        }
        match dial(&terms).await {
            Ok(stream) => {
                let mut session = Session::new(stream, &queue, &terms);
                let ended = session.run().await;
                session.end(&ended);
                if matches!(ended, Ended::Closed) {
                    return;
                }
                health.on_lost();
            }
            Err(error) => {
                health.on_failure(Failure::Unreachable);
                queue.fail(|| error.again());
            }
        }
    }
}

async fn dial(terms: &Terms) -> Result<TcpStream, Error> {
    let stream = match timeout(terms.connect_within, TcpStream::connect(&*terms.address)).await {
        Ok(connected) => connected.map_err(Error::Connect)?,
        Err(elapsed) => return Err(Error::Connect(elapsed.into())),
    };
    // Requests are written in batches already; to wait for more would only delay them.
    stream.set_nodelay(true).map_err(Error::Connect)?;
    Ok(stream)
}

/// How a connection came to its end.
enum Ended {
    /// The queue was closed, and all is answered.
    Closed,
    /// The server closed it while nothing was due, as servers do with idle connections.
    Idle,
    /// It failed.
    Failed(Error),
}

/// One connection from its dial to its end.
struct Session<'a> {
    stream: TcpStream,
    queue: &'a Queue,
    terms: &'a Terms,
    flight: Flight,
    /// Said, and not written yet.
    out: BytesMut,
    /// Bytes written in all.
    written: u64,
    received: BytesMut,
    /// When something came, or began to be due.
    progress_at: Instant,
    /// Kept for its memory.
    jobs: Vec<Job>,
}

impl<'a> Session<'a> {
    fn new(stream: TcpStream, queue: &'a Queue, terms: &'a Terms) -> Self {
        Self {
            stream,
            queue,
            terms,
            flight: Flight::default(),
            out: BytesMut::new(),
            written: 0,
            received: BytesMut::new(),
            progress_at: Instant::now(),
            jobs: Vec::new(),
        }
    }

    async fn run(&mut self) -> Ended {
        loop {
            // Before anything is written: on a connection that the server has closed nothing is begun any more.
            match self.read() {
                Ok(true) => {}
                Ok(false) if self.flight.is_empty() => return Ended::Idle,
                Ok(false) => return Ended::Failed(Error::Closed),
                Err(error) => return Ended::Failed(error),
            }
            self.take();
            if let Err(error) = self.write() {
                return Ended::Failed(error);
            }
            if self.flight.is_empty() && self.queue.is_closed() && self.queue.is_empty() {
                return Ended::Closed;
            }
            if let Err(error) = self.wait().await {
                return Ended::Failed(error);
            }
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) -> Result<(), Error> {
        let interest = if self.out.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        let (has_room, is_due) = (self.out.len() < BATCH_BYTES, !self.flight.is_empty());
        if has_room && !self.queue.is_empty() {
            // More came meanwhile, but other tasks of this thread are to have their turn.
            tokio::task::yield_now().await;
            return Ok(());
        }
        let silent_at = self.progress_at + self.terms.silent_for_max;
        tokio::select! {
            ready = self.stream.ready(interest) => ready.map(|_| ()).map_err(Error::Broken)?,
            () = self.queue.wait(), if has_room => {}
            () = sleep_until(silent_at), if is_due => return Err(Error::Deadline(self.terms.silent_for_max)),
        }
        // Callers that are about to ask get their turn first: what they say goes out in the same batch.
        tokio::task::yield_now().await;
        Ok(())
    }

    fn take(&mut self) {
        let room = BATCH_BYTES.saturating_sub(self.out.len());
        if room == 0 {
            return;
        }
        self.queue.take(room, &mut self.jobs);
        if self.jobs.is_empty() {
            return;
        }
        if self.flight.is_empty() {
            self.progress_at = Instant::now();
        }
        self.flight.say(self.jobs.drain(..), &mut self.out);
    }

    /// Writes what the socket takes.
    fn write(&mut self) -> Result<(), Error> {
        while !self.out.is_empty() {
            match self.stream.try_write(&self.out) {
                Ok(count) => {
                    self.written += count as u64;
                    self.out.advance(count);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(Error::Broken(error)),
            }
        }
        if self.out.capacity() > IDLE_BUFFER_BYTES_MAX {
            self.out = BytesMut::new();
        }
        Ok(())
    }

    /// Reads what has come and gives it out; false at the end of the stream.
    fn read(&mut self) -> Result<bool, Error> {
        loop {
            let needed = self.give_out()?;
            self.received.reserve(needed.max(READ_BYTES));
            match self.stream.try_read_buf(&mut self.received) {
                Ok(0) => return Ok(false),
                Ok(_) => self.progress_at = Instant::now(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Error::Broken(error)),
            }
        }
        if self.received.is_empty() && self.received.capacity() > IDLE_BUFFER_BYTES_MAX {
            self.received = BytesMut::new();
        }
        Ok(true)
    }

    /// Gives the whole replies in the buffer to those who wait. How many bytes the next one lacks at least.
    fn give_out(&mut self) -> Result<usize, Error> {
        let (mut consumed, mut answered) = (0, 0);
        let outcome = loop {
            let rest = &self.received[consumed..];
            if rest.is_empty() {
                break Ok(0);
            }
            match parse_reply(rest) {
                ReplyStep::Reply { consumed: length, reply } => match self.flight.on_reply(reply) {
                    Ok(count) => {
                        consumed += length;
                        answered += count;
                    }
                    Err(error) => break Err(error),
                },
                ReplyStep::Incomplete { needed } if needed > self.terms.answer_bytes_max => {
                    break Err(Error::AnswerTooLarge { bytes: needed, bytes_max: self.terms.answer_bytes_max });
                }
                ReplyStep::Incomplete { needed } => break Ok(needed - rest.len()),
                ReplyStep::Malformed => {
                    let start = &rest[..rest.len().min(60)];
                    break Err(Error::OutOfProtocol(start.escape_ascii().to_string()));
                }
            }
        };
        self.received.advance(consumed);
        self.queue.on_answered(answered);
        outcome
    }

    /// Tells those whose answers were due how it ended.
    fn end(&mut self, ended: &Ended) {
        let error = match ended {
            Ended::Failed(error) => error,
            Ended::Closed | Ended::Idle => &Error::Closed,
        };
        let count = self.flight.fail(self.written, error);
        self.queue.on_answered(count);
    }
}
