//! Bodies of surveys: `codec`'s bytes, with the limits that it cannot know.
//!
//! Must not know what a difference means.

use super::FrameError;
use super::fields::{Writer, check_count};
use super::reader::Reader;
use crate::codec;
use crate::limits::{
    BUCKETS, LISTED_ENTRIES_MAX, LISTED_PARTITIONS_MAX, SURVEYED_BUCKETS_MAX, SURVEYED_PARTITIONS_MAX,
};
use crate::message::{Survey, SurveyReply, SurveyRequest, Surveyed};

pub(super) fn put_request(request: &SurveyRequest, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    check_request(&request.what)?;
    Ok(codec::encode(request, writer.behind())?)
}

pub(super) fn take_request(reader: &mut Reader<'_>) -> Result<SurveyRequest, FrameError> {
    let request: SurveyRequest = codec::decode(reader.rest())?;
    check_request(&request.what)?;
    Ok(request)
}

pub(super) fn put_reply(reply: &SurveyReply, writer: &mut Writer<'_>) -> Result<(), FrameError> {
    check_reply(&reply.found)?;
    Ok(codec::encode(reply, writer.behind())?)
}

pub(super) fn take_reply(reader: &mut Reader<'_>) -> Result<SurveyReply, FrameError> {
    let reply: SurveyReply = codec::decode(reader.rest())?;
    check_reply(&reply.found)?;
    Ok(reply)
}

fn check_request(what: &Survey) -> Result<(), FrameError> {
    match what {
        Survey::Digests(partitions) => check_count("digests", partitions.len(), SURVEYED_PARTITIONS_MAX),
        Survey::Buckets(partitions) => check_count("buckets", partitions.len(), SURVEYED_BUCKETS_MAX),
        Survey::Lists(lists) => {
            check_count("lists", lists.len(), LISTED_PARTITIONS_MAX)?;
            let entries = lists.iter().map(|list| list.entries.len()).sum();
            check_count("listed entries", entries, LISTED_ENTRIES_MAX)
        }
        Survey::Start(partitions) => check_count("partitions", partitions.len(), SURVEYED_PARTITIONS_MAX),
    }
}

fn check_reply(found: &Surveyed) -> Result<(), FrameError> {
    match found {
        Surveyed::Digests(digests) => check_count("digests", digests.len(), SURVEYED_PARTITIONS_MAX),
        Surveyed::Buckets(buckets) => {
            check_count("buckets", buckets.len(), SURVEYED_BUCKETS_MAX)?;
            buckets.iter().flatten().try_for_each(|digests| check_count("digests of buckets", digests.len(), BUCKETS))
        }
        Surveyed::Lists(lists) => {
            check_count("lists", lists.len(), LISTED_PARTITIONS_MAX)?;
            let lacking = lists.iter().flatten().map(|difference| difference.lacks.len()).sum();
            check_count("lacking entries", lacking, LISTED_ENTRIES_MAX)
        }
        Surveyed::Noted => Ok(()),
    }
}
