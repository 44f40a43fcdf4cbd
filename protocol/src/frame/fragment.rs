//! Messages too long for one frame, taken apart: their fragments, and the leave to send them.
//!
//! A long message is a stream of fragments, named by its request id, in order but with other frames in between. The
//! first one says how long it is and carries at most limits::OPENING_BYTES_MAX; the rest waits for the receiver's leave,
//! which it gives once it has room for the whole. Must not know how fragments are put together (`streams`).
//!
//! ```text
//! fragment  kind 0x06 of a request, 0x86 of a reply; id: the message's
//!           message's kind u8, length of its body u32, bytes of it sent before u32, bytes
//! leave     kind 0x87 for a request, 0x07 for a reply: the way back; id: the message's
//!           1 send the rest | 2 never: the receiver has dropped it
//! ```

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use super::fields::{Apart, no};
use super::header::{
    HEADER_BYTES, Header, Kind, REPLY_FRAGMENT_KIND, REPLY_LEAVE_KIND, REQUEST_FRAGMENT_KIND, REQUEST_LEAVE_KIND,
    put_header,
};
use super::reader::Reader;
use super::{FrameError, WIRE_VERSION};
use crate::limits::{FRAGMENT_FRAME_BYTES_MAX, FRAME_BYTES_MAX, OPENING_BYTES_MAX};
use crate::message::{Acknowledgement, ControlReply, Message, Refusal, Reply, RequestId, WriteReply};

/// Bytes of a fragment beside its part of the message: its frame's header and its own fields.
pub const FRAGMENT_FIELDS_BYTES: usize = HEADER_BYTES + FIELDS_BYTES;

const FIELDS_BYTES: usize = 1 + 4 + 4;

// An opening is a fragment.
const _: () = assert!(FRAGMENT_FIELDS_BYTES + OPENING_BYTES_MAX <= FRAGMENT_FRAME_BYTES_MAX);

const GO_ON: u8 = 1;
const NEVER: u8 = 2;

/// One frame in pieces, to be sent one behind the other.
pub type Fragment = SmallVec<[Bytes; 4]>;

/// What the receiver says to a long message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leave {
    /// There is room: send the rest.
    GoOn,
    /// There never will be; nothing was done.
    Never,
}

/// A message on its way in fragments. Its large values are held, not copied.
#[derive(Debug)]
pub struct LongMessage {
    kind: Kind,
    id: RequestId,
    pieces: VecDeque<Bytes>,
    body_len: usize,
    sent: usize,
}

impl LongMessage {
    /// `written` is the body without the values that are kept apart, whose places count from `start` bytes before it.
    pub(super) fn new(kind: Kind, id: RequestId, mut written: Bytes, apart: Vec<Apart>, start: usize) -> Self {
        let body_len = written.len() + apart.iter().map(|apart| apart.value.len()).sum::<usize>();
        let mut pieces = VecDeque::with_capacity(2 * apart.len() + 1);
        let mut taken = start;
        for Apart { at, value } in apart {
            pieces.push_back(written.split_to(at - taken));
            pieces.push_back(value);
            taken = at;
        }
        pieces.push_back(written);
        Self { kind, id, pieces, body_len, sent: 0 }
    }

    /// Its request's id: the stream's name.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Bytes of its body.
    pub fn body_len(&self) -> usize {
        self.body_len
    }

    /// Bytes that are not in fragments yet.
    pub fn unsent_bytes(&self) -> usize {
        self.body_len - self.sent
    }

    /// The next fragment: the opening, or as much as one may carry.
    pub fn next_fragment(&mut self) -> Fragment {
        let max = if self.sent == 0 { OPENING_BYTES_MAX } else { FRAGMENT_FRAME_BYTES_MAX - FRAGMENT_FIELDS_BYTES };
        let length = self.unsent_bytes().min(max);
        let mut head = BytesMut::with_capacity(FRAGMENT_FIELDS_BYTES);
        let kind = if self.kind.is_reply() { REPLY_FRAGMENT_KIND } else { REQUEST_FRAGMENT_KIND };
        put_header(WIRE_VERSION, 0, kind, self.id, &mut head);
        head[..4].copy_from_slice(&((FIELDS_BYTES + length) as u32).to_le_bytes());
        head.put_u8(self.kind as u8);
        // Both are at most MESSAGE_BYTES_MAX, which fits.
        head.put_u32_le(self.body_len as u32);
        head.put_u32_le(self.sent as u32);
        let mut fragment = Fragment::new();
        fragment.push(head.freeze());
        self.take(length, &mut fragment);
        fragment
    }

    /// The whole message as one frame, for a peer that does not know fragments. Fails if it is too long for that.
    pub fn into_frame(mut self) -> Result<Fragment, FrameError> {
        let length = self.unsent_bytes();
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        let mut head = BytesMut::with_capacity(HEADER_BYTES);
        put_header(WIRE_VERSION, 0, self.kind as u8, self.id, &mut head);
        head[..4].copy_from_slice(&(length as u32).to_le_bytes());
        let mut frame = Fragment::new();
        frame.push(head.freeze());
        self.take(length, &mut frame);
        Ok(frame)
    }

    /// What stands for the reply when this never arrives: to a request, that nothing was done.
    pub fn refused(&self) -> Message {
        Message::Reply(
            self.id,
            match self.kind {
                Kind::WriteRequest => Reply::Write(WriteReply::Refused(Refusal::Busy)),
                Kind::Replicate => Reply::Replicate(Acknowledgement::Refused(Refusal::Busy)),
                _ => Reply::Control(ControlReply::Refused(Refusal::Busy)),
            },
        )
    }

    fn take(&mut self, length: usize, fragment: &mut Fragment) {
        let mut missing = length;
        while missing > 0
            && let Some(piece) = self.pieces.front_mut()
        {
            let part = piece.split_to(piece.len().min(missing));
            missing -= part.len();
            if piece.is_empty() {
                self.pieces.pop_front();
            }
            if !part.is_empty() {
                fragment.push(part);
            }
        }
        self.sent += length;
    }
}

/// Appends a leave for the message of this id: `of_reply` says which way that goes.
pub fn put_leave(id: RequestId, of_reply: bool, leave: Leave, out: &mut BytesMut) {
    put_header(WIRE_VERSION, 1, if of_reply { REPLY_LEAVE_KIND } else { REQUEST_LEAVE_KIND }, id, out);
    out.put_u8(match leave {
        Leave::GoOn => GO_ON,
        Leave::Never => NEVER,
    });
}

pub(super) fn take_leave(body: &[u8]) -> Result<Leave, FrameError> {
    let mut reader = Reader::new(body);
    let leave = match reader.u8()? {
        GO_ON => Leave::GoOn,
        NEVER => Leave::Never,
        other => return Err(no("leave", other)),
    };
    reader.finish()?;
    Ok(leave)
}

/// A fragment that came.
pub(super) struct Part<'a> {
    pub(super) kind: Kind,
    pub(super) body_len: usize,
    pub(super) at: usize,
    pub(super) bytes: &'a [u8],
}

pub(super) fn take_part<'a>(header: &Header, body: &'a [u8]) -> Result<Part<'a>, FrameError> {
    let mut reader = Reader::new(body);
    let (kind, body_len, at) = (reader.u8()?, reader.u32()? as usize, reader.u32()? as usize);
    let is_reply = header.kind == REPLY_FRAGMENT_KIND;
    let kind = Kind::of_number(kind).filter(|kind| kind.is_reply() == is_reply).ok_or(FrameError::Kind(kind))?;
    let bytes = std::mem::take(reader.rest());
    if bytes.is_empty() {
        return Err(FrameError::Fragment("is empty"));
    }
    Ok(Part { kind, body_len, at, bytes })
}
