//! Bodies of comparisons.
//!
//! ```text
//! request  epoch u64, noticed u8, count u16, holdings: key, token u64, held u8 (0, or 1 and version)
//! reply    same u8
//! ```
//!
//! A key travels with its token, so that it is hashed once in the cluster and not once a home. Must not know what is
//! compared for.

use bytes::Bytes;

use super::FrameError;
use super::fields::{KEY_FIELD_BYTES_MIN, Writer};
use super::reader::Reader;
use crate::key::{KeyRef, Token};
use crate::limits::COMPARED_KEYS_MAX;
use crate::message::{CompareRequest, Holding, Holdings};
use crate::ring::Epoch;

/// Bytes of the shortest holding.
const HOLDING_BYTES_MIN: usize = KEY_FIELD_BYTES_MIN + 8 + 1;

/// The count is two bytes on the wire.
const _: () = assert!(COMPARED_KEYS_MAX <= u16::MAX as usize);

/// A [`CompareRequest`] that lies in the buffer that it came in, read once: none of its holdings can be wrong.
#[derive(Clone, Debug)]
pub struct Comparison<'a> {
    /// As [`CompareRequest::epoch`].
    pub epoch: Epoch,
    /// As [`CompareRequest::noticed`].
    pub noticed: bool,
    count: usize,
    rows: &'a [u8],
}

impl<'a> Comparison<'a> {
    /// How many keys there are, at least one.
    #[expect(clippy::len_without_is_empty, reason = "a comparison is never empty")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Each key, and what the sender holds of it.
    pub fn holdings(&self) -> impl Iterator<Item = Holding<'a>> + use<'a> {
        let mut reader = Reader::new(self.rows);
        (0..self.count).map_while(move |_| take_holding(&mut reader).ok())
    }

    /// To be kept.
    pub fn to_request(&self) -> CompareRequest {
        let keys: Vec<u8> = self.holdings().flat_map(|(key, _)| key.as_bytes()).copied().collect();
        let mut holdings = Holdings::of_keys_in(Bytes::from(keys), self.count);
        let mut start = 0;
        for (key, version) in self.holdings() {
            holdings.push(start, (key, version));
            start += key.len();
        }
        CompareRequest { epoch: self.epoch, noticed: self.noticed, holdings }
    }
}

pub(super) fn put_request(request: &CompareRequest, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    check_key_count(request.holdings.len())?;
    writer.u64(request.epoch.0);
    writer.truth(request.noticed);
    writer.u16(request.holdings.len() as u16);
    for (key, version) in request.holdings.iter() {
        writer.key(key)?;
        writer.u64(key.digest().token().0);
        writer.truth(version.is_some());
        if let Some(version) = version {
            writer.version(version);
        }
    }
    Ok(())
}

pub(super) fn take_view<'a>(reader: &mut Reader<'a>) -> Result<Comparison<'a>, FrameError> {
    let (epoch, noticed) = (Epoch(reader.u64()?), reader.truth()?);
    let count = usize::from(reader.u16()?);
    check_key_count(count)?;
    reader.check_count(count, HOLDING_BYTES_MIN)?;
    let rows = *reader.rest();
    for _ in 0..count {
        take_holding(reader)?;
    }
    Ok(Comparison { epoch, noticed, count, rows })
}

fn take_holding<'a>(reader: &mut Reader<'a>) -> Result<Holding<'a>, FrameError> {
    let length = usize::from(reader.u8()?);
    let bytes = reader.bytes(length)?;
    let key = KeyRef::of_token(bytes, Token(reader.u64()?))?;
    let version = if reader.truth()? { Some(reader.version()?) } else { None };
    Ok((key, version))
}

/// A comparison asks for something.
fn check_key_count(count: usize) -> Result<(), FrameError> {
    if (1..=COMPARED_KEYS_MAX).contains(&count) {
        return Ok(());
    }
    Err(FrameError::Count { what: "keys of a comparison", count, max: COMPARED_KEYS_MAX })
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::version::{Ballot, Stamp, Version};

    #[test]
    fn holdings_come_back_as_they_were_put_with_their_tokens_and_nothing_shorter_does() {
        let words: [&[u8]; 3] = [b"a", &[b'k'; 250], b"two words"];
        let version = Version { ballot: Ballot(7), stamp: Stamp(9) };
        for count in 1..=words.len() {
            let mut holdings = Holdings::of_keys_in(words.concat().into(), count);
            let mut start = 0;
            for (number, word) in words[..count].iter().enumerate() {
                assert!(holdings.push(start, (KeyRef::new(word).unwrap(), (number != 1).then_some(version))));
                start += word.len();
            }
            let request = CompareRequest { epoch: Epoch(7), noticed: true, holdings };
            let mut body = BytesMut::new();
            put_request(&request, &mut Writer::new(&mut body)).unwrap();
            let view = take_view(&mut Reader::new(&body)).unwrap();
            assert_eq!((view.len(), view.to_request()), (count, request));
            assert!(view.holdings().all(|(key, _)| key == KeyRef::new(key.as_bytes()).unwrap()), "the true tokens");
            for length in 0..body.len() {
                assert_eq!(take_view(&mut Reader::new(&body[..length])).err(), Some(FrameError::Short), "{length}");
            }
        }
        let mut none = BytesMut::new();
        let empty = Holdings::of_keys_in(Bytes::new(), 0);
        let request = CompareRequest { epoch: Epoch(1), noticed: false, holdings: empty };
        assert!(put_request(&request, &mut Writer::new(&mut none)).is_err());
    }
}
