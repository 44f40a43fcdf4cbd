//! Bodies of reads.
//!
//! ```text
//! request  epoch u64, want u8 (1 value, 2 digest, 3 look: ballot u64), noticed u8, count u16, keys
//! reply    count u16, results: 1 absent | 2 digest: version | 3 found: entry, seen | 4 refused: refusal | 5 later
//! ```
//!
//! Must not know how a read is decided.

use super::FrameError;
use super::fields::{Writer, check_count, no};
use super::reader::Reader;
use crate::limits::READ_KEYS_MAX;
use crate::message::{ReadRequest, ReadResult, Want};
use crate::ring::Epoch;
use crate::version::Ballot;

const VALUE: u8 = 1;
const DIGEST: u8 = 2;
const LOOK: u8 = 3;

const ABSENT: u8 = 1;
const DIGEST_ONLY: u8 = 2;
const FOUND: u8 = 3;
const REFUSED: u8 = 4;
const LATER: u8 = 5;

/// The count is two bytes on the wire.
const _: () = assert!(READ_KEYS_MAX <= u16::MAX as usize);

pub(super) fn put_request(request: &ReadRequest, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    check_key_count(request.keys.len())?;
    writer.u64(request.epoch.0);
    match request.want {
        Want::Value => writer.u8(VALUE),
        Want::Digest => writer.u8(DIGEST),
        Want::Look(ballot) => {
            writer.u8(LOOK);
            writer.u64(ballot.0);
        }
    }
    writer.truth(request.noticed);
    writer.u16(request.keys.len() as u16);
    for key in &request.keys {
        writer.key(key)?;
    }
    Ok(())
}

pub(super) fn take_request(reader: &mut Reader<'_>) -> Result<ReadRequest, FrameError> {
    let epoch = Epoch(reader.u64()?);
    let want = match reader.u8()? {
        VALUE => Want::Value,
        DIGEST => Want::Digest,
        LOOK => Want::Look(Ballot(reader.u64()?)),
        other => return Err(no("want", other)),
    };
    let noticed = reader.truth()?;
    let count = usize::from(reader.u16()?);
    check_key_count(count)?;
    let keys = reader.keys(count)?;
    Ok(ReadRequest { epoch, want, noticed, keys })
}

pub(super) fn put_reply(results: &[ReadResult], writer: &mut Writer<'_>) -> Result<(), FrameError> {
    check_count("results of a read", results.len(), READ_KEYS_MAX)?;
    writer.u16(results.len() as u16);
    for result in results {
        match result {
            ReadResult::Absent => writer.u8(ABSENT),
            ReadResult::Digest(version) => {
                writer.u8(DIGEST_ONLY);
                writer.version(*version);
            }
            ReadResult::Found(entry, seen) => {
                writer.u8(FOUND);
                writer.entry(entry)?;
                writer.seen(*seen);
            }
            ReadResult::Refused(refusal) => {
                writer.u8(REFUSED);
                writer.refusal(*refusal);
            }
            ReadResult::Later => writer.u8(LATER),
        }
    }
    Ok(())
}

pub(super) fn take_reply(reader: &mut Reader<'_>) -> Result<Vec<ReadResult>, FrameError> {
    let count = usize::from(reader.u16()?);
    check_count("results of a read", count, READ_KEYS_MAX)?;
    let mut results = reader.list(count, 1)?;
    for _ in 0..count {
        results.push(match reader.u8()? {
            ABSENT => ReadResult::Absent,
            DIGEST_ONLY => ReadResult::Digest(reader.version()?),
            FOUND => ReadResult::Found(reader.entry()?, reader.seen()?),
            REFUSED => ReadResult::Refused(reader.refusal()?),
            LATER => ReadResult::Later,
            other => return Err(no("result of a read", other)),
        });
    }
    Ok(results)
}

/// A read asks for something.
fn check_key_count(count: usize) -> Result<(), FrameError> {
    if count == 0 {
        return Err(FrameError::Count { what: "keys of a read", count, max: READ_KEYS_MAX });
    }
    check_count("keys of a read", count, READ_KEYS_MAX)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::key::Key;

    #[test]
    fn keys_that_share_their_bytes_are_read_as_they_were_written_and_what_is_none_is_refused() {
        let words: [&[u8]; 3] = [b"a", &[b'k'; 250], b"two words"];
        for count in 1..=words.len() {
            let keys: Vec<Key> = words[..count].iter().map(|word| Key::copy_from(word).unwrap()).collect();
            let request = ReadRequest { epoch: Epoch(7), want: Want::Digest, noticed: true, keys };
            let mut body = BytesMut::new();
            put_request(&request, &mut Writer::new(&mut body)).unwrap();
            assert_eq!(take_request(&mut Reader::new(&body)), Ok(request));
            for length in 0..body.len() {
                assert_eq!(take_request(&mut Reader::new(&body[..length])), Err(FrameError::Short), "{count} {length}");
            }
            let first_key_at = body.len() - words[..count].iter().map(|word| 1 + word.len()).sum::<usize>();
            let mut empty = body[..first_key_at].to_vec();
            empty.extend([0; 6]);
            let refused = take_request(&mut Reader::new(&empty));
            assert!(matches!(refused, Err(FrameError::Key(_))), "{count} keys of no bytes: {refused:?}");
        }
    }
}
