//! Many acknowledgements in one frame: two bytes each where all is well.
//!
//! A home acknowledges most of what a link brings in one turn, in the order of the requests, and in the same words. Who
//! asks counts its requests in the upper bits of their ids; the lower [`PLACE_BITS`] say where it keeps them, and are near
//! each other. Other ids are spelled out. Goes only to peers that know [`ACKNOWLEDGEMENTS`](super::ACKNOWLEDGEMENTS): an
//! older one gets a frame for each.
//!
//! ```text
//! header  kind 0x88, request id: that before the first word's
//! body    words, at least one, at most limits::ACKNOWLEDGEMENTS_BYTES_MAX bytes:
//!         0x00..=0xfe, i8   held and synced: the count is so much above that of the request before it, the place so
//!                           much above or below its
//!         0xff, id u64, acknowledgement (see `replicate`)
//! ```
//!
//! Must not know what is acknowledged.

use bytes::{BufMut, BytesMut};

use super::fields::Writer;
use super::header::{ACKNOWLEDGEMENTS_KIND, HEADER_BYTES, put_header};
use super::reader::Reader;
use super::{FrameError, WIRE_VERSION, replicate};
use crate::limits::ACKNOWLEDGEMENTS_BYTES_MAX;
use crate::message::{Acknowledgement, RequestId};

/// Bits of a request's id that are no count: [`RequestId`].
const PLACE_BITS: u32 = 20;

/// The word that is followed by an id and an acknowledgement; those below are distances.
const SPELLED_OUT: u8 = 0xff;

/// Bytes of the longest word: the marker, the id, and a refusal's kind, reason and number.
const WORD_BYTES_MAX: usize = 1 + 8 + 1 + 1 + 8;

const _: () = assert!(WORD_BYTES_MAX <= ACKNOWLEDGEMENTS_BYTES_MAX);

/// What is to be acknowledged in one frame: at most [`ACKNOWLEDGEMENTS_BYTES_MAX`] bytes of words.
#[derive(Debug, Default)]
pub struct Batch {
    /// The frame so far, its length still to come; nothing if there are no words.
    frame: BytesMut,
    before: u64,
}

impl Batch {
    /// Adds a word. A batch that is full is appended to `out` first.
    pub fn push(&mut self, id: RequestId, acknowledgement: Acknowledgement, out: &mut BytesMut) {
        if self.frame.len() + WORD_BYTES_MAX > HEADER_BYTES + ACKNOWLEDGEMENTS_BYTES_MAX {
            self.end(out);
        }
        if self.frame.is_empty() {
            put_header(WIRE_VERSION, 0, ACKNOWLEDGEMENTS_KIND, id, &mut self.frame);
            self.before = id.0;
        }
        match (acknowledgement, Distance::between(self.before, id.0)) {
            (Acknowledgement::Held { synced: true }, Some(Distance { count, place })) => {
                self.frame.put_u8(count);
                self.frame.put_i8(place);
            }
            _ => {
                self.frame.put_u8(SPELLED_OUT);
                self.frame.put_u64_le(id.0);
                replicate::put_acknowledgement(acknowledgement, &mut Writer::new(&mut self.frame));
            }
        }
        self.before = id.0;
    }

    /// Appends the frame, if there are words, and begins anew.
    pub fn end(&mut self, out: &mut BytesMut) {
        if self.frame.is_empty() {
            return;
        }
        let body_len = (self.frame.len() - HEADER_BYTES) as u32;
        self.frame[..4].copy_from_slice(&body_len.to_le_bytes());
        out.extend_from_slice(&self.frame);
        self.frame.clear();
    }

    /// Bytes that [`Batch::end`] will append.
    pub fn bytes(&self) -> usize {
        self.frame.len()
    }
}

/// How far an id is from the one before it.
#[derive(Clone, Copy)]
struct Distance {
    count: u8,
    place: i8,
}

impl Distance {
    /// `None` if it is too far.
    fn between(before: u64, id: u64) -> Option<Self> {
        let count =
            (id >> PLACE_BITS).checked_sub(before >> PLACE_BITS).filter(|count| *count < u64::from(SPELLED_OUT))?;
        let place = i8::try_from(place_of(id) - place_of(before)).ok()?;
        Some(Self { count: count as u8, place })
    }

    /// `None` if there is no such id.
    fn from(self, before: u64) -> Option<u64> {
        let count = (before >> PLACE_BITS) + u64::from(self.count);
        let place = u64::try_from(place_of(before) + i64::from(self.place)).ok()?;
        (count >> (u64::BITS - PLACE_BITS) == 0 && place >> PLACE_BITS == 0).then_some(count << PLACE_BITS | place)
    }
}

fn place_of(id: u64) -> i64 {
    (id & ((1 << PLACE_BITS) - 1)) as i64
}

/// The words of one frame, in the order that they were put. All of them have been read once: none can be wrong.
#[derive(Clone, Debug)]
pub struct Acknowledgements<'a> {
    before: u64,
    words: &'a [u8],
}

impl<'a> Acknowledgements<'a> {
    /// The words of a frame with this id.
    pub(super) fn of(id: RequestId, body: &'a [u8]) -> Result<Self, FrameError> {
        let words = Self { before: id.0, words: body };
        if body.is_empty() {
            return Err(FrameError::Count { what: "acknowledgements", count: 0, max: ACKNOWLEDGEMENTS_BYTES_MAX });
        }
        let mut rest = words.clone();
        while rest.read_word()?.is_some() {}
        Ok(words)
    }

    fn read_word(&mut self) -> Result<Option<(RequestId, Acknowledgement)>, FrameError> {
        let Some((&word, rest)) = self.words.split_first() else { return Ok(None) };
        let (id, acknowledgement, rest) = if word == SPELLED_OUT {
            let mut reader = Reader::new(rest);
            let (id, acknowledgement) = (reader.u64()?, replicate::take_acknowledgement(&mut reader)?);
            (id, acknowledgement, *reader.rest())
        } else {
            let (&place, rest) = rest.split_first().ok_or(FrameError::Short)?;
            let distance = Distance { count: word, place: place as i8 };
            let id = distance.from(self.before);
            let id = id.ok_or(FrameError::Value { what: "distance of a request", value: u64::from(word) })?;
            (id, Acknowledgement::Held { synced: true }, rest)
        };
        (self.before, self.words) = (id, rest);
        Ok(Some((RequestId(id), acknowledgement)))
    }
}

impl Iterator for Acknowledgements<'_> {
    type Item = (RequestId, Acknowledgement);

    fn next(&mut self) -> Option<Self::Item> {
        self.read_word().ok().flatten()
    }
}
