//! One target's part of the log: its segments, and what is on its way to them.
//!
//! Must not know other targets.

use std::collections::BTreeMap;
use std::time::Duration;

use memring_protocol::entry::UnixMillis;
use memring_protocol::key::Partition;

use super::segment::{Found, PartitionSet, SEGMENT_BYTES_MAX, SegmentId};

/// A segment is written to for so long: its oldest hint is not much older than its newest.
const WRITTEN_FOR: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) made: UnixMillis,
    /// Where its records end.
    pub(super) ends: u64,
    pub(super) file_bytes: u64,
    /// Whether more may be written to it.
    pub(super) open: bool,
    /// Whether an earlier life of this node wrote it.
    pub(super) inherited: bool,
    pub(super) partitions: PartitionSet,
    /// Hints that have not been delivered.
    pub(super) left: u64,
    /// Up to where it has been read.
    pub(super) read_to: u64,
    /// Whether all of it has been read, or can be.
    pub(super) is_read: bool,
    /// Of the hints left, those that have been read.
    pub(super) outstanding: u64,
}

impl Segment {
    /// One that was just begun.
    pub(super) fn begun(made: UnixMillis, header_bytes: u64) -> Self {
        Self {
            made,
            ends: header_bytes,
            file_bytes: header_bytes,
            open: true,
            inherited: false,
            partitions: PartitionSet::default(),
            left: 0,
            read_to: header_bytes,
            is_read: false,
            outstanding: 0,
        }
    }

    /// One that an earlier life has left behind.
    pub(super) fn inherited(found: Found) -> Self {
        Self {
            made: found.header.made,
            ends: found.ends,
            file_bytes: found.file_bytes,
            open: false,
            inherited: true,
            partitions: found.partitions,
            left: found.hints,
            read_to: found.begins,
            is_read: false,
            outstanding: 0,
        }
    }
}

/// Hints on their way to the disk.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    pub(super) bytes: Vec<u8>,
    pub(super) hints: u64,
    pub(super) partitions: PartitionSet,
}

/// What is being written.
#[derive(Debug)]
pub(super) struct Writing {
    pub(super) segment: SegmentId,
    /// Bytes of its records.
    pub(super) bytes: usize,
    pub(super) hints: u64,
    pub(super) partitions: PartitionSet,
    /// The header's length and time, if it begins the segment.
    pub(super) begins: Option<(u64, UnixMillis)>,
}

#[derive(Debug, Default)]
pub(super) struct TargetLog {
    pub(super) unwritten: Unwritten,
    pub(super) writing: Option<Writing>,
    pub(super) segments: BTreeMap<SegmentId, Segment>,
    pub(super) reading: Option<SegmentId>,
}

impl TargetLog {
    pub(super) fn is_empty(&self) -> bool {
        self.unwritten.bytes.is_empty() && self.writing.is_none() && self.segments.is_empty()
    }

    /// The segment that so many more bytes may go to.
    pub(super) fn open_for(&self, bytes: usize, now: UnixMillis) -> Option<SegmentId> {
        let (id, last) = self.segments.last_key_value()?;
        let is_young = u128::from(now.0.saturating_sub(last.made.0)) < WRITTEN_FOR.as_millis();
        let has_room = last.ends + bytes as u64 <= SEGMENT_BYTES_MAX as u64;
        (last.open && is_young && has_room).then_some(*id)
    }

    /// Whether hints of this partition wait that have not been read.
    pub(super) fn has_any(&self, partition: Partition) -> bool {
        self.unwritten.partitions.contains(partition)
            || self.writing.as_ref().is_some_and(|writing| writing.partitions.contains(partition))
            || self.segments.values().any(|segment| !segment.is_read && segment.partitions.contains(partition))
    }

    /// Hints that have not been delivered.
    pub(super) fn len(&self) -> u64 {
        let writing = self.writing.as_ref().map_or(0, |writing| writing.hints);
        self.unwritten.hints + writing + self.segments.values().map(|segment| segment.left).sum::<u64>()
    }
}
