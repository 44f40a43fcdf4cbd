//! The loop of a link, for both sides: send what is queued, read what came, hand over whole messages.
//!
//! Must not know what messages mean.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memring_engine::now::{Mono, Now};
use memring_protocol::frame::{FRAGMENTS, FrameError, InPlace, Taken, decode_preamble, is_preamble, read_in_place};
use memring_protocol::limits::FRAGMENT_FRAME_BYTES_MAX;
use memring_protocol::message::{ControlReply, Message, Refusal, Reply, RequestId};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::LINK_REPLY_BYTES_MAX;
use super::arrivals::{Arrivals, Fate};
use super::outbox::{Outbox, Speech};
use super::room::Room;
use crate::arrival::{Arrived, read_once};
use crate::clock::Clock;

/// What one read may take at least. A larger frame makes the buffer grow as its bytes arrive, never ahead of them.
const READ_BYTES: usize = 64 * 1024;

/// What an emptied read buffer may keep.
const SPARE_INPUT_BYTES_MAX: usize = 64 * 1024;

/// How long a long message waits for the peer to say what it understands: it says so before anything else.
const SPEECH_PATIENCE: Duration = Duration::from_secs(2);

/// A peer that was given room for a message and sends nothing of any for so long has stalled.
const STALL_MAX: Duration = Duration::from_secs(10);

/// A peer that gives no leave for any of the messages that wait for it, or does not read, for so long has stalled. Longer
/// than it waits for room itself, as long as what has the room moves.
const LEAVE_PATIENCE: Duration = Duration::from_secs(30);

/// How often a link that waits for the peer looks at the clock.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a link with parked requests looks whether other links' replies have gone.
const ROOM_POLL: Duration = Duration::from_millis(5);

/// Requests of one link that wait until the process's large replies are sent; more are refused.
const PARKED_MAX: usize = 4096;

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
    #[error("given up: a message has stopped in its middle")]
    Stalled,
}

impl LinkEnd {
    /// Tells it: aloud if the peer has done what no memring node does.
    pub(super) fn tell(&self, peer: impl std::fmt::Display, what: &str) {
        match self {
            Self::Frame(_) | Self::WrongSide | Self::Stalled => tracing::warn!(%peer, end = %self, "{what} link down"),
            Self::Socket(_) | Self::Peer | Self::GivenUp => tracing::debug!(%peer, end = %self, "{what} link down"),
        }
    }
}

/// What a link hands over.
pub(super) enum Incoming<'a> {
    Message(Message),
    /// What need not be kept beyond the call, and when it was looked at.
    InPlace(Now, InPlace<'a>),
    /// A request of a newer version, or one too many: to be refused.
    Refusable(RequestId),
    /// More of this request was sent, or more of its reply has come. On the side that dialled.
    Moved(RequestId),
}

/// Which side of a link this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// Sends requests. Replies are taken however much is unsent: they are what frees the requests.
    Dialled,
    /// Sends replies. While more than [`LINK_REPLY_BYTES_MAX`] of them are unsent nothing is read.
    Serving,
}

/// A connected link.
pub(super) struct Exchange<'a, D> {
    pub(super) stream: &'a mut TcpStream,
    outbox: Rc<Outbox>,
    room: Arc<Room>,
    side: Side,
    clock: Clock,
    input: BytesMut,
    arrivals: Arrivals,
    /// Requests that are here, and wait until earlier replies are sent.
    parked: VecDeque<Message>,
    /// The peer has not said its first word.
    is_silent: bool,
    begun: Mono,
    /// When the peer last sent some of a large message, or owed none.
    moved: Mono,
    /// Frames of long messages that had begun when that last changed, and when; `None` if none was waiting.
    sent: Option<(u64, Mono)>,
    deliver: D,
}

impl<'a, D: FnMut(Incoming<'_>) -> Result<(), LinkEnd>> Exchange<'a, D> {
    /// `input` is what has come already.
    pub(super) fn new(
        stream: &'a mut TcpStream,
        outbox: &Rc<Outbox>,
        room: &Arc<Room>,
        side: Side,
        clock: Clock,
        input: BytesMut,
        deliver: D,
    ) -> Self {
        let now = clock.now().mono;
        Self {
            stream,
            outbox: Rc::clone(outbox),
            room: Arc::clone(room),
            side,
            clock,
            input,
            arrivals: Arrivals::new(room, outbox, side == Side::Dialled),
            parked: VecDeque::new(),
            is_silent: side == Side::Dialled,
            begun: now,
            moved: now,
            sent: None,
            deliver,
        }
    }

    /// Runs until it ends.
    pub(super) async fn run(mut self) -> LinkEnd {
        match self.turn().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn turn(&mut self) -> Result<Infallible, LinkEnd> {
        loop {
            self.outbox.await_flush();
            for id in self.arrivals.admit() {
                self.refuse_arrival(id)?;
            }
            let is_full = self.decode()?;
            self.outbox.flush(self.stream)?;
            self.tell_moved()?;
            self.unpark()?;
            if self.outbox.is_closed() {
                return Err(LinkEnd::GivenUp);
            }
            self.judge_patience()?;
            if is_full && !self.is_full() {
                // The socket took it all at once: there may be whole frames left to decode.
                tokio::task::yield_now().await;
                continue;
            }
            let interest = match (is_full, self.outbox.has_sendable()) {
                (true, _) => Interest::WRITABLE,
                (false, true) => Interest::READABLE | Interest::WRITABLE,
                (false, false) => Interest::READABLE,
            };
            let readable = tokio::select! {
                ready = self.stream.ready(interest) => ready?.is_readable(),
                () = self.outbox.wait() => false,
                () = sleep(self.next_look()) => false,
            };
            if readable && !is_full {
                self.read().await?;
            }
            // A peer that sends without a pause must not starve this thread's other tasks.
            tokio::task::consume_budget().await;
        }
    }

    /// Hands over whole messages; true if it stopped because too much is unsent.
    fn decode(&mut self) -> Result<bool, LinkEnd> {
        if self.is_silent && !self.hear_first_word()? {
            return Ok(false);
        }
        // One look at the clock for all that came at once.
        let mut now = None;
        loop {
            if self.is_full() {
                return Ok(true);
            }
            // Large replies that are not sent yet do not hold up what is answered in a word.
            if let Some((read, frame_len)) = read_in_place(&self.input)? {
                (self.deliver)(Incoming::InPlace(*now.get_or_insert_with(|| self.clock.now()), read))?;
                self.input.advance(frame_len);
                continue;
            }
            match self.arrivals.take(&mut self.input) {
                Ok(Some(Taken::Message(message))) => self.hand_over(message)?,
                Ok(Some(Taken::Begun(id, bytes))) => {
                    self.moved = self.clock.now().mono;
                    if self.arrivals.begin(id, bytes) == Fate::Refused {
                        self.refuse_arrival(id)?;
                    } else {
                        self.tell(id)?;
                    }
                }
                Ok(Some(Taken::Part(id))) => {
                    self.moved = self.clock.now().mono;
                    self.tell(id)?;
                }
                Ok(Some(Taken::Leave(id, leave))) => {
                    if let Some(refused) = self.outbox.hear_leave(id, leave)
                        && self.side == Side::Dialled
                    {
                        (self.deliver)(Incoming::Message(refused))?;
                    }
                }
                Ok(None) => break,
                Err(FrameError::UnknownRequest { id, .. }) => (self.deliver)(Incoming::Refusable(id))?,
                Err(error) => return Err(error.into()),
            }
        }
        if self.input.is_empty() && self.input.capacity() > SPARE_INPUT_BYTES_MAX && !self.arrivals.is_promised_more() {
            self.input = BytesMut::new();
        }
        Ok(false)
    }

    /// A peer that knows fragments answers with its preamble first, an older one with a reply. False: nothing came yet.
    fn hear_first_word(&mut self) -> Result<bool, LinkEnd> {
        let features = match is_preamble(&self.input) {
            None => return Ok(false),
            Some(false) => 0,
            Some(true) => match decode_preamble(&mut self.input)? {
                None => return Ok(false),
                Some(preamble) => preamble.features,
            },
        };
        self.is_silent = false;
        self.outbox.hear_speech(if features & FRAGMENTS != 0 { Speech::Fragments } else { Speech::Whole });
        Ok(true)
    }

    fn hand_over(&mut self, message: Message) -> Result<(), LinkEnd> {
        let (Message::Request(id, _) | Message::Reply(id, _)) = &message;
        let id = *id;
        if self.side == Side::Serving && (!self.parked.is_empty() || self.room.is_full_of_replies()) {
            if self.parked.len() < PARKED_MAX {
                self.parked.push_back(message);
                return Ok(());
            }
            self.arrivals.release(id);
            return (self.deliver)(Incoming::Refusable(id));
        }
        self.arrivals.release(id);
        (self.deliver)(Incoming::Message(message))
    }

    fn unpark(&mut self) -> Result<(), LinkEnd> {
        while !self.parked.is_empty() && !self.is_full() && !self.room.is_full_of_replies() {
            let Some(message) = self.parked.pop_front() else { break };
            let (Message::Request(id, _) | Message::Reply(id, _)) = &message;
            self.arrivals.release(*id);
            (self.deliver)(Incoming::Message(message))?;
        }
        Ok(())
    }

    /// What began to come will not come whole.
    fn refuse_arrival(&mut self, id: RequestId) -> Result<(), LinkEnd> {
        match self.side {
            // The peer is told in place of a reply.
            Side::Serving => Ok(()),
            Side::Dialled => {
                let refused = Reply::Control(ControlReply::Refused(Refusal::Busy));
                (self.deliver)(Incoming::Message(Message::Reply(id, refused)))
            }
        }
    }

    fn tell(&mut self, id: RequestId) -> Result<(), LinkEnd> {
        if self.side == Side::Dialled { (self.deliver)(Incoming::Moved(id)) } else { Ok(()) }
    }

    /// Tells what was sent of requests, and which are not sent at all.
    fn tell_moved(&mut self) -> Result<(), LinkEnd> {
        for id in self.outbox.take_moved() {
            self.tell(id)?;
        }
        for refused in self.outbox.take_refused() {
            (self.deliver)(Incoming::Message(refused))?;
        }
        Ok(())
    }

    fn judge_patience(&mut self) -> Result<(), LinkEnd> {
        let (waits_for_speech, frames) = (self.outbox.waits_for_speech(), self.outbox.long_frames());
        if frames.is_none() && !self.arrivals.is_promised_more() {
            self.sent = None;
            return Ok(());
        }
        let now = self.clock.now().mono;
        self.sent = frames.map(|frames| match self.sent {
            Some((before, since)) if before == frames => (before, since),
            _ => (frames, now),
        });
        if self.sent.is_some_and(|(_, since)| now.since(since) >= LEAVE_PATIENCE) {
            return Err(LinkEnd::Stalled);
        }
        if waits_for_speech && now.since(self.begun) >= SPEECH_PATIENCE {
            self.outbox.hear_speech(Speech::Whole);
        }
        if self.arrivals.is_promised_more() && now.since(self.moved) >= STALL_MAX {
            return Err(LinkEnd::Stalled);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.side == Side::Serving && self.outbox.unsent_bytes() > LINK_REPLY_BYTES_MAX
    }

    /// How long to wait at most; `None` if nothing is to be looked at.
    fn next_look(&self) -> Option<Duration> {
        if !self.parked.is_empty() {
            return Some(ROOM_POLL);
        }
        let looks = self.arrivals.is_promised_more() || self.outbox.long_frames().is_some();
        looks.then_some(LOOK_EVERY)
    }

    async fn read(&mut self) -> Result<(), LinkEnd> {
        let room = if self.arrivals.is_promised_more() { FRAGMENT_FRAME_BYTES_MAX } else { READ_BYTES };
        self.input.reserve(room);
        match read_once(self.stream, &mut self.input).await? {
            Arrived::End => Err(LinkEnd::Peer),
            Arrived::Bytes(_) | Arrived::Nothing => Ok(()),
        }
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => pending().await,
    }
}
