//! Bodies of control messages: `codec`'s bytes, with the limits that it cannot know.
//!
//! Must not know what they ask for.

use super::FrameError;
use super::fields::{Writer, check_count};
use super::reader::Reader;
use crate::codec;
use crate::limits::{PREPARE_PARTITIONS_MAX, STATS_MAX};
use crate::message::{ControlReply, ControlRequest};

pub(super) fn put_request(request: &ControlRequest, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    check_request(request)?;
    Ok(codec::encode(request, writer.behind())?)
}

pub(super) fn take_request(reader: &mut Reader<'_>) -> Result<ControlRequest, FrameError> {
    let request = codec::decode(reader.rest())?;
    check_request(&request)?;
    Ok(request)
}

pub(super) fn put_reply(reply: &ControlReply, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    check_reply(reply)?;
    Ok(codec::encode(reply, writer.behind())?)
}

pub(super) fn take_reply(reader: &mut Reader<'_>) -> Result<ControlReply, FrameError> {
    let reply = codec::decode(reader.rest())?;
    check_reply(&reply)?;
    Ok(reply)
}

fn check_request(request: &ControlRequest) -> Result<(), FrameError> {
    match request {
        ControlRequest::Prepare { proposals, .. } => {
            check_count("partitions of a prepare", proposals.len(), PREPARE_PARTITIONS_MAX)
        }
        ControlRequest::Ping(_)
        | ControlRequest::FlushProbe
        | ControlRequest::FlushCommit(_)
        | ControlRequest::Ring { .. }
        | ControlRequest::Stats => Ok(()),
    }
}

fn check_reply(reply: &ControlReply) -> Result<(), FrameError> {
    match reply {
        ControlReply::Promises(promises) => check_count("promises", promises.len(), PREPARE_PARTITIONS_MAX),
        ControlReply::Stats(counts) => check_count("stats", counts.len(), STATS_MAX),
        ControlReply::Pong(_)
        | ControlReply::FlushStamp(_)
        | ControlReply::Done
        | ControlReply::Refused(_)
        | ControlReply::Working => Ok(()),
    }
}
