//! The fixed header of a frame and the kinds of frames.
//!
//! Must not know bodies.

use bytes::{BufMut, BytesMut};

use super::{FrameError, WIRE_VERSION};
use crate::limits::FRAME_BYTES_MAX;
use crate::message::{Reply, Request, RequestId};

/// Bytes of a frame before its body.
pub const HEADER_BYTES: usize = 16;

/// Where in a header the kind is.
pub(super) const KIND_AT: usize = 5;

/// The kind of the first frame of a link. No [`Kind`]: it cannot stand between messages.
pub(super) const PREAMBLE_KIND: u8 = 0x00;

/// The kinds of frames that are no messages: pieces of one, and what the other side says to that. No [`Kind`]s either.
pub(super) const REQUEST_FRAGMENT_KIND: u8 = 0x06;
pub(super) const REPLY_FRAGMENT_KIND: u8 = 0x86;
pub(super) const REPLY_LEAVE_KIND: u8 = 0x07;
pub(super) const REQUEST_LEAVE_KIND: u8 = 0x87;

/// The kind of a frame that is many messages: no [`Kind`] either.
pub(super) const ACKNOWLEDGEMENTS_KIND: u8 = 0x88;

/// Replies have this bit, requests do not.
const REPLY_BIT: u8 = 0x80;

/// Flags that may be missed; the others change how the body is read.
const FLAGS_THAT_MAY_BE_MISSED: u16 = 0x00ff;

/// What a body is. The numbers are the wire's: never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    ReadRequest = 0x01,
    WriteRequest = 0x02,
    Replicate = 0x03,
    FetchRequest = 0x04,
    ControlRequest = 0x05,
    CompareRequest = 0x08,
    SurveyRequest = 0x0a,
    ReadReply = 0x81,
    WriteReply = 0x82,
    Acknowledgement = 0x83,
    FetchReply = 0x84,
    ControlReply = 0x85,
    CompareReply = 0x89,
    SurveyReply = 0x8a,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::ReadRequest,
        Self::WriteRequest,
        Self::Replicate,
        Self::FetchRequest,
        Self::ControlRequest,
        Self::CompareRequest,
        Self::SurveyRequest,
        Self::ReadReply,
        Self::WriteReply,
        Self::Acknowledgement,
        Self::FetchReply,
        Self::ControlReply,
        Self::CompareReply,
        Self::SurveyReply,
    ];

    /// The kind of this number.
    pub(super) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&known| known as u8 == number)
    }

    pub(super) fn is_reply(self) -> bool {
        self as u8 & REPLY_BIT != 0
    }

    pub(super) fn of_request(request: &Request) -> Self {
        match request {
            Request::Read(_) => Self::ReadRequest,
            Request::Compare(_) => Self::CompareRequest,
            Request::Write(_) => Self::WriteRequest,
            Request::Replicate(_) => Self::Replicate,
            Request::Fetch(_) => Self::FetchRequest,
            Request::Survey(_) => Self::SurveyRequest,
            Request::Control(_) => Self::ControlRequest,
        }
    }

    pub(super) fn of_reply(reply: &Reply) -> Self {
        match reply {
            Reply::Read(_) => Self::ReadReply,
            Reply::Compare(_) => Self::CompareReply,
            Reply::Write(_) => Self::WriteReply,
            Reply::Replicate(_) => Self::Acknowledgement,
            Reply::Fetch(_) => Self::FetchReply,
            Reply::Survey(_) => Self::SurveyReply,
            Reply::Control(_) => Self::ControlReply,
        }
    }
}

/// The header of a frame whose body may not be here yet.
pub(super) struct Header {
    pub(super) body_len: usize,
    pub(super) version: u8,
    pub(super) kind: u8,
    flags: u16,
    pub(super) id: RequestId,
}

impl Header {
    /// Reads the header at the front of `buffer`; `None` if it is not all there. The length is checked as soon as it is
    /// there, so that nobody waits for a body that will be refused.
    pub(super) fn peek(buffer: &[u8], body_bytes_max: usize) -> Result<Option<Self>, FrameError> {
        let Some((length, _)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
        let body_len = u32::from_le_bytes(*length) as usize;
        if body_len > body_bytes_max {
            return Err(FrameError::TooLong(body_len));
        }
        let Some(&[_, _, _, _, version, kind, flags_low, flags_high, ref id @ ..]) =
            buffer.first_chunk::<HEADER_BYTES>()
        else {
            return Ok(None);
        };
        let flags = u16::from_le_bytes([flags_low, flags_high]);
        Ok(Some(Self { body_len, version, kind, flags, id: RequestId(u64::from_le_bytes(*id)) }))
    }

    pub(super) fn check_version_and_flags(&self) -> Result<(), FrameError> {
        if self.version != WIRE_VERSION {
            return Err(FrameError::Version(self.version));
        }
        if self.flags & !FLAGS_THAT_MAY_BE_MISSED != 0 {
            return Err(FrameError::Flags(self.flags));
        }
        Ok(())
    }

    pub(super) fn known_kind(&self) -> Result<Kind, FrameError> {
        let kind = self.kind;
        match Kind::of_number(kind) {
            Some(known) => Ok(known),
            None if kind == PREAMBLE_KIND || kind & REPLY_BIT != 0 => Err(FrameError::Kind(kind)),
            None => Err(FrameError::UnknownRequest { id: self.id, kind }),
        }
    }

    /// Appends a header whose length [`OpenFrame::end`] fills in.
    pub(super) fn begin(kind: Kind, id: RequestId, out: &mut BytesMut) -> OpenFrame {
        let start = out.len();
        put_header(WIRE_VERSION, 0, kind as u8, id, out);
        OpenFrame { start }
    }
}

/// A frame being written: its header is out, its length is not known.
#[must_use]
pub(super) struct OpenFrame {
    start: usize,
}

impl OpenFrame {
    pub(super) fn end(self, out: &mut BytesMut) -> Result<(), FrameError> {
        let body_len = out.len() - self.start - HEADER_BYTES;
        if body_len > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(body_len));
        }
        out[self.start..self.start + 4].copy_from_slice(&(body_len as u32).to_le_bytes());
        Ok(())
    }
}

pub(super) fn put_header(version: u8, body_len: u32, kind: u8, id: RequestId, out: &mut BytesMut) {
    out.reserve(HEADER_BYTES + body_len as usize);
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&body_len.to_le_bytes());
    (header[4], header[KIND_AT]) = (version, kind);
    header[8..].copy_from_slice(&id.0.to_le_bytes());
    out.put_slice(&header);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_know_their_side() {
        for kind in Kind::ALL {
            let name = format!("{kind:?}");
            let is_reply = name.ends_with("Reply") || name == "Acknowledgement";
            assert_eq!(kind as u8 & REPLY_BIT != 0, is_reply, "{name}");
            assert_ne!(kind as u8, PREAMBLE_KIND, "{name}");
        }
    }
}
