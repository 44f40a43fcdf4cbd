//! The log of hints on disk: which segments there are, and what is to be written, read and removed next.
//!
//! Each target has segments of its own, written one after the other and read in the same order; one whose hints have all
//! been delivered goes as a whole. Everything is asked for by a [`DiskCall`] and has happened when its answer comes:
//! at most one write and one read of each target are under way. What is lost on the way is named by target and
//! partition, so that it can be looked for. Must not touch a file, or know what is kept in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use memring_protocol::entry::UnixMillis;
use memring_protocol::key::{Key, Partition};
use memring_protocol::ring::RingConfig;
use memring_protocol::version::{Slot, Version};

use super::disk::{DiskCall, Standing};
use super::segment::{
    Found, Front, HEADER_BYTES_MAX, Header, SegmentError, SegmentId, read_record, record_bytes, write_record,
};
use super::target_log::{Segment, TargetLog, Unwritten, Writing};

/// Bytes that wait to be written, of all targets, and those that are being written: a disk that is slower than hints come
/// loses hints, not memory.
pub const UNWRITTEN_BYTES_MAX: usize = 4 << 20;

/// Bytes read at a time: some thousand hints.
const READ_BYTES: usize = 128 << 10;

/// Hints that were read, of which segment.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) target: Option<Slot>,
    pub(super) inherited: bool,
    pub(super) hints: Vec<(Key, Version)>,
}

/// The log.
#[derive(Debug)]
pub(super) struct HintLog {
    limit_bytes: u64,
    /// Of all files, and of what will be written.
    bytes: u64,
    /// Of the latter, what is in memory.
    unwritten_bytes: usize,
    asked_for_list: bool,
    /// The next segment's number, once it is known which there are.
    next: Option<SegmentId>,
    unscanned: VecDeque<SegmentId>,
    scanning: bool,
    sizes: BTreeMap<SegmentId, u64>,
    /// Looked through, but the ring is not known yet.
    unplaced: BTreeMap<SegmentId, Found>,
    targets: BTreeMap<Slot, TargetLog>,
    removals: Vec<(SegmentId, u64)>,
    removing: BTreeMap<SegmentId, u64>,
    lost: BTreeSet<(Slot, Partition)>,
    lost_hints: u64,
    bad: u64,
}

impl HintLog {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes,
            bytes: 0,
            unwritten_bytes: 0,
            asked_for_list: false,
            next: None,
            unscanned: VecDeque::new(),
            scanning: false,
            sizes: BTreeMap::new(),
            unplaced: BTreeMap::new(),
            targets: BTreeMap::new(),
            removals: Vec::new(),
            removing: BTreeMap::new(),
            lost: BTreeSet::new(),
            lost_hints: 0,
            bad: 0,
        }
    }

    pub(super) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Whether something of a target is there.
    pub(super) fn is_for(&self, target: Slot) -> bool {
        self.targets.get(&target).is_some_and(|log| !log.is_empty())
    }

    /// Takes a hint to be written; false if there is no room for it.
    pub(super) fn put(&mut self, target: Slot, key: &Key, version: Version) -> bool {
        let log = self.targets.entry(target).or_default();
        let record = record_bytes(key);
        let header = if log.unwritten.bytes.is_empty() { HEADER_BYTES_MAX } else { 0 };
        let fits = self.unwritten_bytes + record <= UNWRITTEN_BYTES_MAX
            && self.bytes + (record + header) as u64 <= self.limit_bytes;
        if fits {
            write_record(key, version, &mut log.unwritten.bytes);
            log.unwritten.hints += 1;
            log.unwritten.partitions.insert(key.partition());
            self.bytes += (record + header) as u64;
            self.unwritten_bytes += record;
        } else if log.is_empty() {
            self.targets.remove(&target);
        }
        fits
    }

    /// Whether hints of this partition wait for `target` that have not been read.
    pub(super) fn has_any(&self, target: Slot, partition: Partition) -> bool {
        self.targets.get(&target).is_some_and(|log| log.has_any(partition))
    }

    /// What is to be done next.
    pub(super) fn poll(&mut self, standing: &Standing<'_>) -> Vec<DiskCall> {
        let mut calls = Vec::new();
        if !std::mem::replace(&mut self.asked_for_list, true) {
            calls.push(DiskCall::List);
        }
        if !self.scanning
            && let Some(id) = self.unscanned.pop_front()
        {
            self.scanning = true;
            calls.push(DiskCall::Scan(id));
        }
        if let Some(config) = standing.config {
            self.place(config, standing.me);
            self.drop_outdated(config, standing);
            self.write(config, standing.now, &mut calls);
            self.read(standing.wanted, &mut calls);
        }
        for (id, bytes) in self.removals.drain(..) {
            self.removing.insert(id, bytes);
            calls.push(DiskCall::Remove(id));
        }
        calls
    }

    /// Gives the segments of earlier lives to their targets, and drops those of another ring, or of no member.
    fn place(&mut self, config: &RingConfig, me: Option<Slot>) {
        for (id, found) in std::mem::take(&mut self.unplaced) {
            let of_ring = found.header.ring == config.ring_id;
            let member = config.member_named(&found.header.target).filter(|_| of_ring).map(|member| member.slot);
            match member.filter(|slot| Some(*slot) != me && found.hints > 0) {
                Some(slot) => {
                    self.targets.entry(slot).or_default().segments.insert(id, Segment::inherited(found));
                }
                None => self.removals.push((id, found.file_bytes)),
            }
        }
    }

    /// Drops what is for nobody any more, and what is too old: that is looked for by comparing.
    fn drop_outdated(&mut self, config: &RingConfig, standing: &Standing<'_>) {
        let gone: Vec<Slot> = self.targets.keys().copied().filter(|slot| config.member(*slot).is_none()).collect();
        gone.into_iter().for_each(|slot| self.forget(slot));
        let Some(age_max) = standing.age_max else { return };
        let age_max_ms = u64::try_from(age_max.as_millis()).unwrap_or(u64::MAX);
        for (slot, log) in &mut self.targets {
            let busy = [log.reading, log.writing.as_ref().map(|writing| writing.segment)];
            let is_old = |id: &SegmentId, segment: &mut Segment| {
                standing.now.0.saturating_sub(segment.made.0) > age_max_ms && !busy.contains(&Some(*id))
            };
            for (id, segment) in log.segments.extract_if(.., is_old) {
                self.lost.extend(segment.partitions.iter().map(|partition| (*slot, partition)));
                self.lost_hints += segment.left;
                self.removals.push((id, segment.file_bytes));
            }
        }
    }

    fn write(&mut self, config: &RingConfig, now: UnixMillis, calls: &mut Vec<DiskCall>) {
        let Some(next) = &mut self.next else { return };
        for (slot, log) in &mut self.targets {
            let Some(member) = config.member(*slot) else { continue };
            if log.unwritten.bytes.is_empty() || log.writing.is_some() {
                continue;
            }
            let Unwritten { bytes: records, hints, partitions } = std::mem::take(&mut log.unwritten);
            self.bytes -= HEADER_BYTES_MAX as u64;
            let (bytes, open) = (records.len(), log.open_for(records.len(), now));
            let (segment, begins, written) = match open {
                Some(id) => (id, None, records),
                None => {
                    let header = Header { ring: config.ring_id, target: member.name.clone(), made: now }.to_bytes();
                    let id = *next;
                    next.0 += 1;
                    self.bytes += header.len() as u64;
                    (id, Some((header.len() as u64, now)), [header, records].concat())
                }
            };
            log.writing = Some(Writing { segment, bytes, hints, partitions, begins });
            calls.push(DiskCall::Append(segment, written.into()));
        }
    }

    fn read(&mut self, wanted: &BTreeSet<Slot>, calls: &mut Vec<DiskCall>) {
        for slot in wanted {
            let Some(log) = self.targets.get_mut(slot).filter(|log| log.reading.is_none()) else { continue };
            let writing = log.writing.as_ref().map(|writing| writing.segment);
            let next = log.segments.iter_mut().find(|(_, segment)| !segment.is_read);
            let Some((id, segment)) = next.filter(|(id, _)| writing != Some(**id)) else { continue };
            // What is read is written no more.
            segment.open = false;
            log.reading = Some(*id);
            let length = (segment.ends - segment.read_to).min(READ_BYTES as u64) as usize;
            calls.push(DiskCall::Read(*id, segment.read_to, length));
        }
    }

    pub(super) fn on_listed(&mut self, segments: Vec<(SegmentId, u64)>) {
        let last = segments.iter().map(|(id, _)| id.0).max();
        self.next = Some(SegmentId(last.map_or(1, |last| last.saturating_add(1))));
        self.bytes += segments.iter().map(|(_, bytes)| bytes).sum::<u64>();
        self.unscanned = segments.iter().map(|(id, _)| *id).collect();
        self.sizes = segments.into_iter().collect();
    }

    /// Returns what is wrong with it, if anything is.
    pub(super) fn on_scanned(&mut self, id: SegmentId, found: Result<Found, SegmentError>) -> Option<SegmentError> {
        self.scanning = false;
        let listed = self.sizes.remove(&id).unwrap_or_default();
        match found {
            Ok(mut found) => {
                let trouble = found.changed.then_some(SegmentError::ChangedAt(found.ends));
                self.bad += u64::from(found.changed);
                // So that what goes is what was counted.
                found.file_bytes = listed;
                self.unplaced.insert(id, found);
                trouble
            }
            Err(error) => {
                let is_bad = error != SegmentError::Cut;
                self.bad += u64::from(is_bad);
                self.removals.push((id, listed));
                is_bad.then_some(error)
            }
        }
    }

    pub(super) fn on_appended(&mut self, id: SegmentId, is_written: bool) {
        let is_its = |log: &TargetLog| log.writing.as_ref().is_some_and(|writing| writing.segment == id);
        let Some((slot, log)) = self.targets.iter_mut().find(|(_, log)| is_its(log)) else { return };
        let Some(Writing { bytes, hints, partitions, begins, .. }) = log.writing.take() else { return };
        self.unwritten_bytes -= bytes;
        if !is_written {
            self.lost.extend(partitions.iter().map(|partition| (*slot, partition)));
            self.lost_hints += hints;
            self.bytes -= bytes as u64;
            match (begins, log.segments.get_mut(&id)) {
                (None, Some(segment)) => segment.open = false,
                (Some((header, _)), _) => self.removals.push((id, header)),
                (None, None) => {}
            }
            return;
        }
        if let Some((header, made)) = begins {
            log.segments.insert(id, Segment::begun(made, header));
        }
        let Some(segment) = log.segments.get_mut(&id) else { return };
        segment.ends += bytes as u64;
        segment.file_bytes += bytes as u64;
        segment.left += hints;
        partitions.iter().for_each(|partition| segment.partitions.insert(partition));
    }

    /// The hints that were read, which are settled one by one from now on. Then what is wrong with the segment, if anything is.
    pub(super) fn on_read(&mut self, id: SegmentId, bytes: Option<&Bytes>) -> (Batch, Option<SegmentError>) {
        let found = self.targets.iter_mut().find(|(_, log)| log.reading == Some(id));
        let Some((slot, log)) = found else { return (Batch::default(), None) };
        let slot = *slot;
        log.reading = None;
        let Some(segment) = log.segments.get_mut(&id) else { return (Batch::default(), None) };
        let mut batch = Batch { target: Some(slot), inherited: segment.inherited, hints: Vec::new() };
        let begins = segment.read_to;
        let mut rest = bytes.map_or(&[][..], |bytes| bytes);
        while let Front::Hint(key, version, length) = read_record(rest) {
            batch.hints.push((key, version));
            segment.read_to += length as u64;
            rest = &rest[length..];
        }
        segment.outstanding += batch.hints.len() as u64;
        let is_whole = segment.read_to == segment.ends;
        let is_changed = !is_whole && (read_record(rest) == Front::Changed || segment.read_to == begins);
        segment.is_read = is_whole || is_changed;
        let mut trouble = None;
        if is_changed {
            trouble = Some(bytes.map_or(SegmentError::Unreadable, |_| SegmentError::ChangedAt(segment.read_to)));
            self.bad += 1;
            self.lost.extend(segment.partitions.iter().map(|partition| (slot, partition)));
            self.lost_hints += segment.left - segment.outstanding;
            segment.left = segment.outstanding;
        }
        self.drop_delivered(slot, id);
        (batch, trouble)
    }

    pub(super) fn on_removed(&mut self, id: SegmentId, is_gone: bool) {
        // What cannot be removed counts as long as this node runs.
        if is_gone && let Some(bytes) = self.removing.remove(&id) {
            self.bytes -= bytes;
        }
    }

    /// One hint of a segment that was read has been delivered, or a newer one is known.
    pub(super) fn settle(&mut self, target: Slot, id: SegmentId) {
        let log = self.targets.get_mut(&target);
        if let Some(segment) = log.and_then(|log| log.segments.get_mut(&id)) {
            segment.outstanding -= 1;
            segment.left -= 1;
            self.drop_delivered(target, id);
        }
    }

    fn drop_delivered(&mut self, target: Slot, id: SegmentId) {
        let Some(log) = self.targets.get_mut(&target) else { return };
        if log.segments.get(&id).is_some_and(|segment| segment.is_read && segment.outstanding == 0) {
            let bytes = log.segments.remove(&id).map_or(0, |segment| segment.file_bytes);
            self.removals.push((id, bytes));
        }
        if log.is_empty() {
            self.targets.remove(&target);
        }
    }

    /// Drops all that is kept for a target.
    pub(super) fn forget(&mut self, target: Slot) {
        let Some(log) = self.targets.get_mut(&target) else { return };
        let unwritten = std::mem::take(&mut log.unwritten);
        self.unwritten_bytes -= unwritten.bytes.len();
        if !unwritten.bytes.is_empty() {
            self.bytes -= (unwritten.bytes.len() + HEADER_BYTES_MAX) as u64;
        }
        let writing = log.writing.as_ref().map(|writing| writing.segment);
        for (id, segment) in log.segments.extract_if(.., |id, _| Some(*id) != writing) {
            self.removals.push((id, segment.file_bytes));
        }
        // What is being written is dropped when it has been.
        if log.is_empty() {
            self.targets.remove(&target);
        }
    }

    /// What was lost since this was asked last.
    pub(super) fn take_lost(&mut self) -> BTreeSet<(Slot, Partition)> {
        std::mem::take(&mut self.lost)
    }

    /// Hints lost since the start.
    pub(super) fn lost_hints(&self) -> u64 {
        self.lost_hints
    }

    /// Hints that have not been delivered.
    pub(super) fn len(&self) -> u64 {
        let unplaced: u64 = self.unplaced.values().map(|found| found.hints).sum();
        unplaced + self.targets.values().map(TargetLog::len).sum::<u64>()
    }

    /// Bytes of files, and of what will be in them.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that are not in files yet.
    pub(super) fn unwritten_bytes(&self) -> usize {
        self.unwritten_bytes
    }

    /// Segments that were not what was written.
    pub(super) fn bad(&self) -> u64 {
        self.bad
    }
}
