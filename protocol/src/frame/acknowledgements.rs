//! Many acknowledgements in one frame: about a byte each.
//!
//! A home acknowledges most of what a link brings in one turn, in the order of the requests, and in the same words. Goes
//! only to peers that know [`ACKNOWLEDGEMENTS`](super::ACKNOWLEDGEMENTS): an older one gets a frame for each.
//!
//! ```text
//! header  kind 0x88, request id: where the ids of the words begin
//! body    words, at least one, at most limits::ACKNOWLEDGEMENTS_BYTES_MAX bytes:
//!         0x00..=0xfe       held and synced: the request so many ids behind the one before it
//!         0xff, id u64, acknowledgement (see `replicate`)
//! ```
//!
//! Must not know what is acknowledged.

use bytes::{BufMut, BytesMut};

use super::fields::{Reader, Writer};
use super::header::{ACKNOWLEDGEMENTS_KIND, HEADER_BYTES, put_header};
use super::{FrameError, WIRE_VERSION, replicate};
use crate::limits::ACKNOWLEDGEMENTS_BYTES_MAX;
use crate::message::{Acknowledgement, RequestId};

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
        match (acknowledgement, id.0.checked_sub(self.before)) {
            (Acknowledgement::Held { synced: true }, Some(behind)) if behind < u64::from(SPELLED_OUT) => {
                self.frame.put_u8(behind as u8);
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
            let id = self.before.checked_add(u64::from(word));
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
