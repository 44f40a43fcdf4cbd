//! Bodies of fetches.
//!
//! ```text
//! request  codec: FetchRequest
//! reply    codec: (partitions, flush state), count u32, entries: key, entry
//! ```
//!
//! Must not know how entries are chosen.

use super::FrameError;
use super::fields::{ENTRY_BYTES_MIN, KEY_FIELD_BYTES_MIN, Writer, check_count, entry_len, key_len};
use super::reader::Reader;
use crate::codec;
use crate::entry::Entry;
use crate::flush::FlushState;
use crate::key::Key;
use crate::limits::FETCH_PARTITIONS_MAX;
use crate::message::{FetchReply, FetchRequest, FetchedPartition};

/// Bytes that an entry takes in a fetch reply: what the answering side counts to end a page.
pub fn fetched_entry_len(key: &Key, entry: &Entry) -> usize {
    key_len(key) + entry_len(entry)
}

pub(super) fn put_request(request: &FetchRequest, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    check_count("partitions of a fetch", request.wants.len(), FETCH_PARTITIONS_MAX)?;
    Ok(codec::encode(request, writer.behind())?)
}

pub(super) fn take_request(reader: &mut Reader<'_>) -> Result<FetchRequest, FrameError> {
    let request: FetchRequest = codec::decode(reader.rest())?;
    check_count("partitions of a fetch", request.wants.len(), FETCH_PARTITIONS_MAX)?;
    Ok(request)
}

pub(super) fn put_reply(reply: &FetchReply, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    check_count("fetched partitions", reply.partitions.len(), FETCH_PARTITIONS_MAX)?;
    codec::encode(&(&reply.partitions, &reply.flush), writer.behind())?;
    // The frame's limit is below 2^32 bytes, and so is any count that passes it.
    writer.u32(u32::try_from(reply.entries.len()).unwrap_or(u32::MAX));
    for (key, entry) in &reply.entries {
        writer.key(key)?;
        writer.entry(entry)?;
    }
    Ok(())
}

pub(super) fn take_reply(reader: &mut Reader<'_>) -> Result<FetchReply, FrameError> {
    let (partitions, flush): (Vec<FetchedPartition>, FlushState) = codec::decode(reader.rest())?;
    check_count("fetched partitions", partitions.len(), FETCH_PARTITIONS_MAX)?;
    let count = reader.u32()? as usize;
    let mut entries = reader.list(count, KEY_FIELD_BYTES_MIN + ENTRY_BYTES_MIN)?;
    for _ in 0..count {
        entries.push((reader.key()?, reader.entry()?));
    }
    Ok(FetchReply { partitions, entries, flush })
}
