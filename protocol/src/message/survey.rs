//! What two homes of a partition say to each other to find where their copies differ.
//!
//! Three levels, each for what differed at the one before: digests of partitions, digests of their buckets, and the
//! versions of the entries in those buckets. Values never travel here. Must not know who starts, nor what is done about a
//! difference.

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::key::Partition;
use crate::ring::Epoch;
use crate::version::{Slot, Stamp, Version};

/// [`super::Request::Survey`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SurveyRequest {
    /// The sender's ring config.
    pub epoch: Epoch,
    /// Who asks: a home of every partition that is named.
    pub sender: Slot,
    /// The highest stamp it has made or seen. The answer names one that is not lower: of the two, neither makes one up to
    /// that afterwards.
    pub latest: Stamp,
    /// What is to be compared.
    pub what: Survey,
}

/// How closely copies are to be compared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Survey {
    /// By partition: at most [`crate::limits::SURVEYED_PARTITIONS_MAX`].
    Digests(Vec<Agreed>),
    /// By bucket: at most [`crate::limits::SURVEYED_BUCKETS_MAX`] partitions.
    Buckets(Vec<Partition>),
    /// By entry: at most [`crate::limits::LISTED_PARTITIONS_MAX`] lists, with
    /// [`crate::limits::LISTED_ENTRIES_MAX`] entries in all.
    Lists(Vec<List>),
    /// Start comparing these with the sender, which has reason to: at most
    /// [`crate::limits::SURVEYED_PARTITIONS_MAX`].
    Start(Vec<Partition>),
}

/// A partition, and what is known of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Agreed {
    /// Which.
    pub partition: Partition,
    /// Every entry up to this stamp that one of the two held when it was made, was offered to the other.
    pub upto: Stamp,
}

/// The sender's entries of some buckets of a partition.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct List {
    /// Which.
    pub partition: Partition,
    /// A bit for each bucket.
    pub buckets: u64,
    /// The first token that the list covers.
    pub first: u64,
    /// The last token that the list covers.
    pub last: u64,
    /// Up to this stamp everything was offered: what is absent here or there was there, and has gone.
    pub agreed: Stamp,
    /// The sender may have evicted what it had up to this stamp.
    pub evicted: Stamp,
    /// Younger entries may be on their way, and are left alone.
    pub upto: Stamp,
    /// Whether an entry is sent, too, if another home has made it, which most likely sends it.
    pub all: bool,
    /// Token and version of each, dead ones left out.
    pub entries: Vec<(u64, Version)>,
}

/// The answer to a [`SurveyRequest`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SurveyReply {
    /// See [`SurveyRequest::latest`].
    pub latest: Stamp,
    /// What was found, in the order asked.
    pub found: Surveyed,
}

/// The answers to the kinds of [`Survey`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Surveyed {
    /// To [`Survey::Digests`].
    Digests(Vec<Result<CopyDigest, Refusal>>),
    /// To [`Survey::Buckets`]: [`crate::limits::BUCKETS`] digests of each.
    Buckets(Vec<Result<Vec<u64>, Refusal>>),
    /// To [`Survey::Lists`].
    Lists(Vec<Result<Difference, Refusal>>),
    /// To [`Survey::Start`].
    Noted,
}

/// What a home holds of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CopyDigest {
    /// Over all entries.
    pub digest: u64,
    /// Another number whenever the copy was made anew.
    pub copy: u64,
}

/// Where two copies differ.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Difference {
    /// Tokens of the sender's entries that the answering home lacks, or holds in an older version.
    pub lacks: Vec<u64>,
    /// How many entries the answering home will send.
    pub gives: u32,
    /// How many differed but are too young to be judged.
    pub young: u32,
    /// How many the answering home leaves to the home that has made them.
    pub left: u32,
    /// Whether all that the answering home has to send found room.
    pub whole: bool,
}
