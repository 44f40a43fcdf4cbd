//! Bodies of replication.
//!
//! ```text
//! request          epoch u64, fence u8 (0, or 1 and ballot u64), key, entry u8 (0, or 1 and entry)
//! acknowledgement  1 held: synced u8 | 2 fenced: ballot u64 | 3 refused: refusal
//! ```
//!
//! Must not know what a fence means.

use super::FrameError;
use super::fields::{Writer, no};
use super::reader::Reader;
use crate::message::{Acknowledgement, Replicate, ReplicateRef};
use crate::ring::Epoch;
use crate::version::Ballot;

const HELD: u8 = 1;
const FENCED: u8 = 2;
const REFUSED: u8 = 3;

pub(super) fn put_request(request: &ReplicateRef<'_>, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    writer.u64(request.epoch.0);
    writer.truth(request.fence.is_some());
    if let Some(fence) = request.fence {
        writer.u64(fence.0);
    }
    writer.key(request.key)?;
    writer.truth(request.entry.is_some());
    if let Some(entry) = &request.entry {
        writer.entry(*entry)?;
    }
    Ok(())
}

pub(super) fn take_request(reader: &mut Reader<'_>) -> Result<Replicate, FrameError> {
    let ReplicateRef { epoch, fence, key, entry } = take_view(reader)?;
    let entry = entry.map(|entry| reader.kept_entry(&entry));
    Ok(Replicate { epoch, fence, key: key.to_key(), entry })
}

/// The request, its key and value where they lie.
pub(super) fn take_view<'a>(reader: &mut Reader<'a>) -> Result<ReplicateRef<'a>, FrameError> {
    let epoch = Epoch(reader.u64()?);
    let fence = if reader.truth()? { Some(Ballot(reader.u64()?)) } else { None };
    let key = reader.key_view()?;
    let entry = if reader.truth()? { Some(reader.entry_view()?) } else { None };
    Ok(ReplicateRef { epoch, fence, key, entry })
}

pub(super) fn put_acknowledgement(acknowledgement: Acknowledgement, writer: &mut Writer<'_>) {
    match acknowledgement {
        Acknowledgement::Held { synced } => {
            writer.u8(HELD);
            writer.truth(synced);
        }
        Acknowledgement::Fenced(ballot) => {
            writer.u8(FENCED);
            writer.u64(ballot.0);
        }
        Acknowledgement::Refused(refusal) => {
            writer.u8(REFUSED);
            writer.refusal(refusal);
        }
    }
}

pub(super) fn take_acknowledgement(reader: &mut Reader<'_>) -> Result<Acknowledgement, FrameError> {
    Ok(match reader.u8()? {
        HELD => Acknowledgement::Held { synced: reader.truth()? },
        FENCED => Acknowledgement::Fenced(Ballot(reader.u64()?)),
        REFUSED => Acknowledgement::Refused(reader.refusal()?),
        other => return Err(no("acknowledgement", other)),
    })
}
