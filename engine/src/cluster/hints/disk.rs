//! What the log of hints asks of a disk, and what it is told: the only way it touches one.
//!
//! Must not know who performs it.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use memring_protocol::entry::UnixMillis;
use memring_protocol::ring::RingConfig;
use memring_protocol::version::Slot;

use super::segment::{Found, SegmentError, SegmentId};

/// Something to be done with the files of segments.
#[derive(Clone, PartialEq, Debug)]
pub enum DiskCall {
    /// Tell which segments there are.
    List,
    /// Look through a segment.
    Scan(SegmentId),
    /// Append to a segment; where there is none of this number yet, make it.
    Append(SegmentId, Bytes),
    /// Read so many bytes from a place on; fewer if the file ends before.
    Read(SegmentId, u64, usize),
    /// Remove a segment.
    Remove(SegmentId),
}

/// What came of a [`DiskCall`].
#[derive(Clone, PartialEq, Debug)]
pub enum DiskAnswer {
    /// All segments, with their sizes in bytes; none if they cannot be listed.
    Listed(Vec<(SegmentId, u64)>),
    /// What is in a segment.
    Scanned(SegmentId, Result<Found, SegmentError>),
    /// Whether all of it was written. If not, the segment is as before, or ends with a part of it.
    Appended(SegmentId, bool),
    /// What was read; `None` if it cannot be.
    Read(SegmentId, Option<Bytes>),
    /// Whether it is gone, or never was there.
    Removed(SegmentId, bool),
}

/// What is known of the ring when the log is to go on.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Who the members are; `None` before there is a ring.
    pub config: Option<&'a RingConfig>,
    /// This node.
    pub me: Option<Slot>,
    /// Cluster time.
    pub now: UnixMillis,
    /// How old a segment gets: when all members that miss something have been removed. `None`: for ever.
    pub age_max: Option<Duration>,
    /// Whose hints are to be read: those that can be given them, and have memory for more.
    pub wanted: &'a BTreeSet<Slot>,
}
