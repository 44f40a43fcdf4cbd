//! Frames that are read where they lie, in a link's buffer: those of replication and of comparisons, which are most of what
//! busy homes say.
//!
//! What they say is over before the buffer moves on: a home copies an entry into its store, and nothing else. All other
//! frames, and those that are not whole, are [`Streams`](super::Streams)'. Must not know what is replicated.

use super::acknowledgements::Acknowledgements;
use super::header::{ACKNOWLEDGEMENTS_KIND, HEADER_BYTES, Header, KIND_AT, Kind};
use super::reader::Reader;
use super::{Comparison, FrameError, compare, replicate};
use crate::limits::{ACKNOWLEDGEMENTS_BYTES_MAX, FRAME_BYTES_MAX};
use crate::message::{ReplicateRef, RequestId};

/// A message that lies in the buffer that it came in.
#[derive(Clone, Debug)]
pub enum InPlace<'a> {
    /// [`Request::Replicate`](crate::message::Request::Replicate).
    Replicate(RequestId, ReplicateRef<'a>),
    /// [`Request::Compare`](crate::message::Request::Compare).
    Compare(RequestId, Comparison<'a>),
    /// Many replies of the kind [`Reply::Replicate`](crate::message::Reply::Replicate).
    Acknowledgements(Acknowledgements<'a>),
}

const REPLICATE_KIND: u8 = Kind::Replicate as u8;
const COMPARE_KIND: u8 = Kind::CompareRequest as u8;

/// Reads the frame at the front of `buffer`, and says how long it is, if it is whole and of a kind that is read in place.
/// After an error the link is over.
pub fn read_in_place(buffer: &[u8]) -> Result<Option<(InPlace<'_>, usize)>, FrameError> {
    let body_bytes_max = match buffer.get(KIND_AT) {
        Some(&(REPLICATE_KIND | COMPARE_KIND)) => FRAME_BYTES_MAX,
        Some(&ACKNOWLEDGEMENTS_KIND) => ACKNOWLEDGEMENTS_BYTES_MAX,
        _ => return Ok(None),
    };
    let Some(header) = Header::peek(buffer, body_bytes_max)? else { return Ok(None) };
    header.check_version_and_flags()?;
    let frame_len = HEADER_BYTES + header.body_len;
    let Some(body) = buffer.get(HEADER_BYTES..frame_len) else { return Ok(None) };
    let mut reader = Reader::new(body);
    let read = match header.kind {
        REPLICATE_KIND => InPlace::Replicate(header.id, replicate::take_view(&mut reader)?),
        COMPARE_KIND => InPlace::Compare(header.id, compare::take_view(&mut reader)?),
        _ => return Ok(Some((InPlace::Acknowledgements(Acknowledgements::of(header.id, body)?), frame_len))),
    };
    reader.finish()?;
    Ok(Some((read, frame_len)))
}
