//! The receiving side of a link: frames in, whole messages out, whatever way they came.
//!
//! A message in fragments is put together in one allocation of exactly its length, which is taken when the receiver gives
//! leave and touched as bytes come: one that announces much and sends little costs what it sent, and at most
//! limits::OPENING_BYTES_MAX before there is leave. Nothing of it is seen before its last byte is there. Must not know
//! when there is room, or links.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};

use super::fragment::{Leave, Part, take_leave, take_part};
use super::header::{
    ACKNOWLEDGEMENTS_KIND, HEADER_BYTES, Header, KIND_AT, Kind, REPLY_FRAGMENT_KIND, REPLY_LEAVE_KIND,
    REQUEST_FRAGMENT_KIND, REQUEST_LEAVE_KIND,
};
use super::{FrameError, Reader, decode, take_body};
use crate::limits::{FRAGMENT_FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, OPENING_BYTES_MAX, STREAMS_MAX};
use crate::message::{Message, RequestId};

/// What was taken from the front of a link's bytes.
#[derive(Clone, PartialEq, Debug)]
pub enum Taken {
    /// A whole message. If it came in fragments, its stream is over.
    Message(Message),
    /// A message of so many bytes has begun: it waits for [`Streams::go_on`] or [`Streams::decline`].
    Begun(RequestId, usize),
    /// Some of a message came; there is more to come.
    Part(RequestId),
    /// The peer's word about a message that this side sends.
    Leave(RequestId, Leave),
}

/// The messages that are half here.
#[derive(Debug, Default)]
pub struct Streams {
    open: BTreeMap<RequestId, Stream>,
}

#[derive(Debug)]
struct Stream {
    kind: Kind,
    body_len: usize,
    may_go_on: bool,
    body: Vec<u8>,
}

impl Streams {
    /// Takes one frame from the front of `buffer`; `None` if it is not all there yet. Errors are as in [`decode`]. Frames
    /// that only [`read_in_place`](super::read_in_place) takes, it must have been given first.
    pub fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Taken>, FrameError> {
        match buffer.get(KIND_AT) {
            Some(&(REQUEST_FRAGMENT_KIND | REPLY_FRAGMENT_KIND | REQUEST_LEAVE_KIND | REPLY_LEAVE_KIND)) => {}
            // It is not whole, or it would have been read.
            Some(&ACKNOWLEDGEMENTS_KIND) => return Ok(None),
            _ => return Ok(decode(buffer)?.map(Taken::Message)),
        }
        let Some(header) = Header::peek(buffer, FRAGMENT_FRAME_BYTES_MAX - HEADER_BYTES)? else { return Ok(None) };
        header.check_version_and_flags()?;
        let Some(body) = buffer.get(HEADER_BYTES..HEADER_BYTES + header.body_len) else { return Ok(None) };
        let taken = if matches!(header.kind, REQUEST_FRAGMENT_KIND | REPLY_FRAGMENT_KIND) {
            self.take_fragment(header.id, &take_part(&header, body)?)?
        } else {
            Taken::Leave(header.id, take_leave(body)?)
        };
        buffer.advance(HEADER_BYTES + header.body_len);
        Ok(Some(taken))
    }

    /// Makes room for a message that has begun. False if there is no such memory: it is dropped then, as if declined.
    pub fn go_on(&mut self, id: RequestId) -> bool {
        let Some(stream) = self.open.get_mut(&id).filter(|stream| !stream.may_go_on) else { return false };
        let mut body = Vec::new();
        if body.try_reserve_exact(stream.body_len).is_err() {
            self.open.remove(&id);
            return false;
        }
        body.extend_from_slice(&stream.body);
        stream.body = body;
        stream.may_go_on = true;
        true
    }

    /// Drops a message that has begun: the peer is told [`Leave::Never`] and sends no more of it.
    pub fn decline(&mut self, id: RequestId) {
        self.open.remove(&id);
    }

    /// Whether more of a message is to come that was given leave.
    pub fn is_promised_more(&self) -> bool {
        self.open.values().any(|stream| stream.may_go_on)
    }

    /// Bytes held of messages that are not whole.
    pub fn held_bytes(&self) -> usize {
        self.open.values().map(|stream| stream.body.len()).sum()
    }

    fn take_fragment(&mut self, id: RequestId, part: &Part<'_>) -> Result<Taken, FrameError> {
        if part.body_len > MESSAGE_BYTES_MAX {
            return Err(FrameError::TooLong(part.body_len));
        }
        let Some(stream) = self.open.get_mut(&id) else { return self.begin(id, part) };
        if (part.kind, part.body_len) != (stream.kind, stream.body_len) {
            return Err(FrameError::Fragment("is of another message than those before it"));
        }
        if part.at != stream.body.len() {
            return Err(FrameError::Fragment("is out of its place"));
        }
        if !stream.may_go_on {
            return Err(FrameError::Fragment("came without leave"));
        }
        if part.bytes.len() > stream.body_len - stream.body.len() {
            return Err(FrameError::Fragment("goes past its message's end"));
        }
        stream.body.extend_from_slice(part.bytes);
        if stream.body.len() < stream.body_len {
            return Ok(Taken::Part(id));
        }
        let whole = self.open.remove(&id).map(|stream| stream.body).unwrap_or_default();
        message_of(part.kind, id, &Bytes::from(whole)).map(Taken::Message)
    }

    fn begin(&mut self, id: RequestId, part: &Part<'_>) -> Result<Taken, FrameError> {
        if part.at != 0 {
            return Err(FrameError::Fragment("has no beginning"));
        }
        if part.bytes.len() >= part.body_len || part.bytes.len() > OPENING_BYTES_MAX {
            return Err(FrameError::Fragment("begins with too much"));
        }
        if self.open.len() >= STREAMS_MAX {
            return Err(FrameError::Fragment("begins one message too many"));
        }
        let (kind, body_len, body) = (part.kind, part.body_len, part.bytes.to_vec());
        self.open.insert(id, Stream { kind, body_len, may_go_on: false, body });
        Ok(Taken::Begun(id, body_len))
    }
}

fn message_of(kind: Kind, id: RequestId, body: &Bytes) -> Result<Message, FrameError> {
    let mut reader = Reader::of_own(body);
    let message = take_body(kind, id, &mut reader)?;
    reader.finish()?;
    Ok(message)
}
