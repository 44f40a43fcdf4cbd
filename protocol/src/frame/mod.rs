//! Messages between nodes as frames of bytes, and back.
//!
//! Must not know sockets, links or what a message is for. Every byte here may come from a stranger: nothing panics, and
//! nothing is allocated for a length or a count before it is known to be bounded.
//!
//! A frame is a header of [`HEADER_BYTES`] bytes and a body; all numbers are little-endian.
//!
//! ```text
//! at  size  field
//!  0     4  length of the body, at most limits::FRAME_BYTES_MAX
//!  4     1  wire version, WIRE_VERSION
//!  5     1  kind: 0x00 preamble, 0x01..=0x7f requests, 0x80..=0xff replies
//!  6     2  flags; written as 0 until a feature needs one
//!  8     8  request id
//! 16     -  body
//! ```
//!
//! How old and new nodes mix:
//!
//! - Another wire version ends the link: the bodies would mean something else.
//! - An unknown request kind is consumed and told as [`FrameError::UnknownRequest`], so that the server can refuse that
//!   one request and go on. An unknown reply kind ends the link: nobody asked for it.
//! - Surveys are asked of anyone: a node that does not know them refuses each, and its copies are not compared.
//! - Flags 0..8 say things that may be missed: unknown ones are ignored. Flags 8..16 change how the body is read: an
//!   unknown one ends the link.
//! - A new field of a hot body needs a new kind, announced by a feature bit of the [`Preamble`].
//! - A body above limits::WHOLE_BYTES_MAX goes in fragments to a peer that knows [`FRAGMENTS`]: see `fragment`.
//! - Acknowledgements go many to a frame to a peer that knows [`ACKNOWLEDGEMENTS`]: see `acknowledgements`.
//!
//! Bodies that carry keys and values (read, write, replicate, the entries of a fetch) are written by hand: fixed
//! fields, then the bytes as they are. The rest is `codec`'s. Keys and values are copied out of the read buffer: a slice
//! of it would pin the whole buffer for as long as one small item of it is stored. Those of a replicate and of a comparison
//! are not even that: see `in_place`. A value that is most of a message that came in fragments is a slice of it, for that has an allocation of
//! its own.

mod acknowledgements;
mod compare;
mod control;
mod fetch;
mod fields;
mod fragment;
mod header;
mod in_place;
mod preamble;
mod read;
mod reader;
mod replicate;
mod streams;
mod survey;
mod write;

use bytes::{Buf, BytesMut};

use self::fields::Writer;
use self::header::{Header, Kind};
use self::reader::Reader;
use crate::codec::CodecError;
use crate::key::KeyLengthError;
use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, WHOLE_BYTES_MAX};
use crate::message::{Message, ReplicateRef, Reply, Request, RequestId};

pub use self::acknowledgements::{Acknowledgements, Batch};
pub use self::compare::Comparison;
pub use self::fetch::fetched_entry_len;
pub use self::fragment::{FRAGMENT_FIELDS_BYTES, Fragment, Leave, LongMessage, put_leave};
pub use self::header::HEADER_BYTES;
pub use self::in_place::{InPlace, read_in_place};
pub use self::preamble::{
    ACKNOWLEDGEMENTS, FRAGMENTS, PREAMBLE_BYTES_MAX, Preamble, PreambleError, cluster_hash, decode_preamble,
    encode_preamble, is_preamble,
};
pub use self::streams::{Streams, Taken};

/// The wire version spoken here.
pub const WIRE_VERSION: u8 = 1;

/// Why a message is not a frame, or bytes are not a message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// A body passes [`FRAME_BYTES_MAX`], or what a message in fragments may have.
    #[error("a body of {0} bytes passes the limit")]
    TooLong(usize),
    /// A list passes its limit, or is empty where it may not be.
    #[error("{count} {what}: 1 to {max} are allowed")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// Another wire version.
    #[error("wire version {0} is not {WIRE_VERSION}")]
    Version(u8),
    /// A kind that cannot stand here.
    #[error("frame kind {0:#04x} is unknown")]
    Kind(u8),
    /// A kind of request that a newer node may know: its frame is consumed, and the link can go on.
    #[error("request kind {kind:#04x} is unknown")]
    UnknownRequest {
        /// Whom to answer.
        id: RequestId,
        /// What was asked.
        kind: u8,
    },
    /// A flag that changes how the body is read.
    #[error("flags {0:#06x} are unknown")]
    Flags(u16),
    /// The body ends inside a field, or could not hold as many things as it says.
    #[error("a body ends too soon")]
    Short,
    /// Bytes behind the last field.
    #[error("a body has {0} bytes too many")]
    Trailing(usize),
    /// A number that the field does not have.
    #[error("{value} is not a {what}")]
    Value {
        /// The field.
        what: &'static str,
        /// The number.
        value: u64,
    },
    /// Not a key.
    #[error(transparent)]
    Key(#[from] KeyLengthError),
    /// Not a control message, or one past its limit.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A fragment that its sender could not have sent here.
    #[error("a fragment {0}")]
    Fragment(&'static str),
    /// The first frame of a link is not a preamble: the peer is no memring node.
    #[error("not the preamble of a memring node")]
    NotPreamble,
}

impl FrameError {
    /// Whether the link must be closed: the place where the next frame begins, or its meaning, is not known.
    pub fn ends_link(&self) -> bool {
        !matches!(self, Self::UnknownRequest { .. })
    }
}

/// Appends one whole frame. Fails only if the message passes a limit, and then leaves `out` as it was.
pub fn encode(message: &Message, out: &mut BytesMut) -> Result<(), FrameError> {
    let (kind, id) = kind_and_id(message);
    let start = out.len();
    let frame = Header::begin(kind, id, out);
    let body = put_body(message, &mut Writer::new(out));
    let ended = body.and_then(|()| frame.end(out));
    if ended.is_err() {
        out.truncate(start);
    }
    ended
}

/// As [`encode_in_pieces`], for a replicate whose key and value lie elsewhere.
pub fn encode_replicate(
    id: RequestId,
    replicate: &ReplicateRef<'_>,
    out: &mut BytesMut,
) -> Result<Option<LongMessage>, FrameError> {
    encode_body_in_pieces(Kind::Replicate, id, out, |writer| replicate::put_request(replicate, writer))
}

/// Appends one whole frame if the body is at most [`WHOLE_BYTES_MAX`]; otherwise leaves `out` as it was and returns the
/// message, to be sent in fragments. Fails only if it passes a limit, and then leaves `out` as it was too.
pub fn encode_in_pieces(message: &Message, out: &mut BytesMut) -> Result<Option<LongMessage>, FrameError> {
    let (kind, id) = kind_and_id(message);
    encode_body_in_pieces(kind, id, out, |writer| put_body(message, writer))
}

fn encode_body_in_pieces(
    kind: Kind,
    id: RequestId,
    out: &mut BytesMut,
    put: impl FnOnce(&mut Writer<'_>) -> Result<(), FrameError>,
) -> Result<Option<LongMessage>, FrameError> {
    let start = out.len();
    let frame = Header::begin(kind, id, out);
    let mut apart = Vec::new();
    let body = put(&mut Writer::in_pieces(out, &mut apart));
    if body.is_ok() && apart.is_empty() && out.len() - start - HEADER_BYTES <= WHOLE_BYTES_MAX {
        return frame.end(out).map(|()| None);
    }
    let written = out.split_off(start);
    body?;
    let message = LongMessage::new(kind, id, written.freeze().slice(HEADER_BYTES..), apart, start + HEADER_BYTES);
    if message.unsent_bytes() > MESSAGE_BYTES_MAX {
        return Err(FrameError::TooLong(message.unsent_bytes()));
    }
    Ok(Some(message))
}

/// Takes one frame from the front of `buffer`; `None` if it is not all there yet.
///
/// After [`FrameError::UnknownRequest`] the frame is consumed; after any other error the link is over.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Message>, FrameError> {
    let Some(header) = Header::peek(buffer, FRAME_BYTES_MAX)? else { return Ok(None) };
    header.check_version_and_flags()?;
    let kind = header.known_kind();
    // A kind that ends the link does so before its body is waited for.
    if let Err(error @ FrameError::Kind(_)) = kind {
        return Err(error);
    }
    let Some(body) = buffer.get(HEADER_BYTES..HEADER_BYTES + header.body_len) else { return Ok(None) };
    let message = kind.and_then(|kind| {
        let mut reader = Reader::new(body);
        let message = take_body(kind, header.id, &mut reader)?;
        reader.finish()?;
        Ok(message)
    });
    buffer.advance(HEADER_BYTES + header.body_len);
    message.map(Some)
}

fn kind_and_id(message: &Message) -> (Kind, RequestId) {
    match message {
        Message::Request(id, request) => (Kind::of_request(request), *id),
        Message::Reply(id, reply) => (Kind::of_reply(reply), *id),
    }
}

fn put_body(message: &Message, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    match message {
        Message::Request(_, request) => match request {
            Request::Read(request) => read::put_request(request, writer),
            Request::Compare(request) => compare::put_request(request, writer),
            Request::Write(request) => write::put_request(request, writer),
            Request::Replicate(request) => replicate::put_request(&request.into(), writer),
            Request::Fetch(request) => fetch::put_request(request, writer),
            Request::Survey(request) => survey::put_request(request, writer),
            Request::Control(request) => control::put_request(request, writer),
        },
        Message::Reply(_, reply) => match reply {
            Reply::Read(results) => read::put_reply(results, writer),
            Reply::Compare(same) => {
                writer.truth(*same);
                Ok(())
            }
            Reply::Write(reply) => write::put_reply(reply, writer),
            Reply::Replicate(acknowledgement) => {
                replicate::put_acknowledgement(*acknowledgement, writer);
                Ok(())
            }
            Reply::Fetch(reply) => fetch::put_reply(reply, writer),
            Reply::Survey(reply) => survey::put_reply(reply, writer),
            Reply::Control(reply) => control::put_reply(reply, writer),
        },
    }
}

fn take_body(kind: Kind, id: RequestId, reader: &mut Reader<'_>) -> Result<Message, FrameError> {
    let request = |request| Message::Request(id, request);
    let reply = |reply| Message::Reply(id, reply);
    Ok(match kind {
        Kind::ReadRequest => request(Request::Read(read::take_request(reader)?)),
        Kind::CompareRequest => request(Request::Compare(compare::take_view(reader)?.to_request())),
        Kind::WriteRequest => request(Request::Write(write::take_request(reader)?)),
        Kind::Replicate => request(Request::Replicate(replicate::take_request(reader)?)),
        Kind::FetchRequest => request(Request::Fetch(fetch::take_request(reader)?)),
        Kind::ControlRequest => request(Request::Control(control::take_request(reader)?)),
        Kind::SurveyRequest => request(Request::Survey(survey::take_request(reader)?)),
        Kind::ReadReply => reply(Reply::Read(read::take_reply(reader)?)),
        Kind::CompareReply => reply(Reply::Compare(reader.truth()?)),
        Kind::WriteReply => reply(Reply::Write(write::take_reply(reader)?)),
        Kind::Acknowledgement => reply(Reply::Replicate(replicate::take_acknowledgement(reader)?)),
        Kind::FetchReply => reply(Reply::Fetch(fetch::take_reply(reader)?)),
        Kind::ControlReply => reply(Reply::Control(control::take_reply(reader)?)),
        Kind::SurveyReply => reply(Reply::Survey(survey::take_reply(reader)?)),
    })
}
