//! One connection of a load: requests out without waiting, replies in, and a new socket when one breaks.
//!
//! Must not know when requests are due, nor what is counted beyond handing it to the recorder.

use std::io::{self, ErrorKind as IoError, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::replies::{OutOfStep, Replies};
use super::tally::{ErrorKind, Recorder};
use super::workload::Workload;

/// Requests that may wait for their replies on one connection: more are held back until some have come, and are late.
pub(super) const WAITING_MAX: usize = 10_000;

/// Bytes that may wait for the socket: what is more is held back likewise.
const UNSENT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes read at once.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// The most reads of one connection before the others have their turn.
const READS_MAX: usize = 16;

/// How long a broken connection waits before it is made again.
const REDIAL_AFTER: Duration = Duration::from_millis(100);

#[derive(Debug)]
enum State {
    Up(TcpStream),
    /// Since this time.
    Dialing(TcpStream, u64),
    /// Until this time.
    Down(u64),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    address: SocketAddr,
    token: Token,
    state: State,
    workload: Workload,
    replies: Replies,
    unsent: BytesMut,
    received: BytesMut,
}

impl Connection {
    /// Takes a socket that is connected to this address.
    pub(super) fn new(
        stream: std::net::TcpStream,
        address: SocketAddr,
        workload: Workload,
        token: Token,
        registry: &Registry,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let (replies, unsent, received) = (Replies::default(), BytesMut::new(), BytesMut::new());
        Ok(Self { address, token, state: State::Up(stream), workload, replies, unsent, received })
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Whether another request may be sent now.
    pub(super) fn has_room(&self) -> bool {
        self.is_up() && self.replies.len() < WAITING_MAX && self.unsent.len() < UNSENT_BYTES_MAX
    }

    /// How many requests wait for their replies.
    pub(super) fn waiting(&self) -> usize {
        self.replies.len()
    }

    /// Puts the next request, which was due at a time, behind the others: [`flush`](Self::flush) sends them.
    pub(super) fn ask(&mut self, due: u64, now: u64) {
        let request = self.workload.put_next(&mut self.unsent);
        self.replies.expect(request, due, now);
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self, now: u64, recorder: &mut Recorder) {
        while let (State::Up(stream), false) = (&mut self.state, self.unsent.is_empty()) {
            match stream.write(&self.unsent) {
                Ok(0) => return self.break_off(ErrorKind::Lost, now, recorder),
                Ok(sent) => {
                    self.unsent.advance(sent);
                    recorder.moved(sent, 0, now);
                }
                Err(error) if error.kind() == IoError::WouldBlock => return,
                Err(error) if error.kind() == IoError::Interrupted => {}
                Err(_) => return self.break_off(ErrorKind::Lost, now, recorder),
            }
        }
        if self.unsent.is_empty() && self.unsent.capacity() > UNSENT_BYTES_MAX {
            self.unsent = BytesMut::new();
        }
    }

    /// The socket is ready for something: finishes connecting, or sends and receives. Whether there may be more to receive.
    pub(super) fn on_ready(&mut self, scratch: &mut [u8], now: u64, recorder: &mut Recorder) -> bool {
        if matches!(self.state, State::Dialing(..)) {
            self.on_dialed(now, recorder);
        }
        self.flush(now, recorder);
        for _ in 0..READS_MAX {
            let State::Up(stream) = &mut self.state else { return false };
            match stream.read(scratch) {
                Ok(0) => {
                    self.break_off(ErrorKind::Lost, now, recorder);
                    return false;
                }
                Ok(count) => {
                    recorder.moved(0, count, now);
                    if self.on_bytes(&scratch[..count], now, recorder).is_err() {
                        self.break_off(ErrorKind::Protocol, now, recorder);
                        return false;
                    }
                    // A short read has taken all there was (epoll(7), "Questions and answers", 9).
                    if count < scratch.len() {
                        return false;
                    }
                }
                Err(error) if error.kind() == IoError::WouldBlock => return false,
                Err(error) if error.kind() == IoError::Interrupted => {}
                Err(_) => {
                    self.break_off(ErrorKind::Lost, now, recorder);
                    return false;
                }
            }
        }
        true
    }

    fn on_bytes(&mut self, bytes: &[u8], now: u64, recorder: &mut Recorder) -> Result<(), OutOfStep> {
        let on_reply = |waiting, outcome: super::replies::Outcome<'_>| recorder.answered(waiting, outcome, now);
        if self.received.is_empty() {
            let taken = self.replies.take(bytes, on_reply)?;
            self.received.extend_from_slice(&bytes[taken..]);
        } else {
            self.received.extend_from_slice(bytes);
            let taken = self.replies.take(&self.received, on_reply)?;
            self.received.advance(taken);
        }
        Ok(())
    }

    fn on_dialed(&mut self, now: u64, recorder: &mut Recorder) {
        let State::Dialing(stream, _) = &self.state else { return };
        match (stream.take_error(), stream.peer_addr()) {
            (Ok(None), Ok(_)) => {
                if let State::Dialing(stream, _) = std::mem::replace(&mut self.state, State::Down(now)) {
                    self.state = State::Up(stream);
                }
            }
            (Ok(None), Err(error)) if error.kind() == IoError::NotConnected => {}
            _ => self.break_off(ErrorKind::Connect, now, recorder),
        }
    }

    /// Ends what has waited too long, and makes a new socket where it is time to.
    pub(super) fn tick(&mut self, now: u64, patience: Duration, registry: &Registry, recorder: &mut Recorder) {
        let is_over = |since: u64| now.saturating_sub(since) > patience.as_nanos() as u64;
        match &self.state {
            State::Up(_) if self.replies.oldest().is_some_and(|oldest| is_over(oldest.sent)) => {
                self.break_off(ErrorKind::Timeout, now, recorder);
            }
            State::Dialing(_, since) if is_over(*since) => self.break_off(ErrorKind::Connect, now, recorder),
            State::Down(until) if now >= *until => {
                if self.dial(now, registry).is_err() {
                    self.break_off(ErrorKind::Connect, now, recorder);
                }
            }
            State::Up(_) | State::Dialing(..) | State::Down(_) => {}
        }
    }

    fn dial(&mut self, now: u64, registry: &Registry) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        let _ = stream.set_nodelay(true);
        registry.register(&mut stream, self.token, Interest::READABLE | Interest::WRITABLE)?;
        self.state = State::Dialing(stream, now);
        Ok(())
    }

    /// Closes the socket. Nothing that waits will be answered: all of it has failed for this reason.
    pub(super) fn break_off(&mut self, why: ErrorKind, now: u64, recorder: &mut Recorder) {
        self.state = State::Down(now + REDIAL_AFTER.as_nanos() as u64);
        self.unsent = BytesMut::new();
        self.received = BytesMut::new();
        if why == ErrorKind::Connect {
            recorder.failed(why, now);
        }
        for waiting in self.replies.give_up() {
            recorder.failed(why, waiting.due);
        }
    }
}
