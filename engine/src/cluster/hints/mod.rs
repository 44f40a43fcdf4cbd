//! Hints: which writes which home has missed (Dynamo, section 4.6), so that they can be replayed when it is back.
//!
//! A hint is a key and a version: the node that keeps it is a home itself and holds the value; if the value is gone by
//! then, what is replayed is that anything older must go. Newest version per key only. Bounded in bytes of memory, and where
//! there is a disk, of that: what memory has no room for goes there, and is read again, some of it at a time, when its target
//! is back. Over both limits a hint is dropped and counted, never a write refused. Must not know how hints are replayed.
//!
//! ```text
//! log ── target_log ── segment (bytes of a file)        disk: what is asked of it, and what it answers
//! ```

mod disk;
mod log;
mod segment;
mod target_log;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use memring_protocol::entry::UnixMillis;
use memring_protocol::key::{Key, Partition};
use memring_protocol::version::{Slot, Version};

pub use self::disk::{DiskAnswer, DiskCall, Standing};
pub use self::log::UNWRITTEN_BYTES_MAX;
use self::log::{Batch, HintLog};
pub use self::segment::{
    Found, Front, HEADER_BYTES_MAX, Header, PartitionSet, RECORD_BYTES_MAX, SEGMENT_BYTES_MAX, SegmentError, SegmentId,
    read_record, scan, write_record,
};

/// Bytes that a hint takes beyond its key: tree node shares, version, allocation.
const HINT_OVERHEAD_BYTES: usize = 128;

/// Hints that move to the disk when there is no room in memory for one more: few enough for a write not to wait for them.
const SPILLED_AT_ONCE: usize = 64;

/// Memory of the hints of one target that have been read from disk, below which more are read.
const READ_BYTES_WANTED: usize = 1 << 20;

/// The same of all targets.
const ALL_READ_BYTES_WANTED: usize = 8 << 20;

/// A write that a home has missed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hint {
    /// Its key.
    pub key: Key,
    /// Its version, or a later one.
    pub version: Version,
    /// Whether an earlier life of this node has noted it: that this node does not hold it now says nothing then.
    pub inherited: bool,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    version: Version,
    /// Where it was read from; it is on disk as long as it is not settled.
    read_from: Option<SegmentId>,
    inherited: bool,
}

/// What waits for one target.
#[derive(Debug, Default)]
struct Waiting {
    hints: BTreeMap<Key, Kept>,
    /// How many of them are of each partition.
    partitions: BTreeMap<Partition, usize>,
    /// Of those that are nowhere else.
    bytes: usize,
    /// Of those that were read from disk, and how many these are.
    read_bytes: usize,
    read: usize,
    /// Up to where hints have moved to the disk, in this round through them.
    spilled_to: Option<Key>,
}

impl Waiting {
    fn insert(&mut self, key: Key, kept: Kept) {
        match kept.read_from {
            Some(_) => (self.read_bytes, self.read) = (self.read_bytes + cost(&key), self.read + 1),
            None => self.bytes += cost(&key),
        }
        *self.partitions.entry(key.partition()).or_default() += 1;
        self.hints.insert(key, kept);
    }

    fn remove(&mut self, key: &Key) -> Option<Kept> {
        let kept = self.hints.remove(key)?;
        match kept.read_from {
            Some(_) => (self.read_bytes, self.read) = (self.read_bytes - cost(key), self.read - 1),
            None => self.bytes -= cost(key),
        }
        let partition = key.partition();
        let left = self.partitions.get_mut(&partition).expect("each hint is counted");
        *left -= 1;
        if *left == 0 {
            self.partitions.remove(&partition);
        }
        Some(kept)
    }

    /// The next hints that are nowhere but here, in rounds.
    fn next_to_spill(&mut self) -> Vec<(Key, Version)> {
        for _ in 0..2 {
            let from = self.spilled_to.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let behind = self.hints.range((from, Bound::Unbounded));
            let own = behind.filter(|(_, kept)| kept.read_from.is_none()).take(SPILLED_AT_ONCE);
            let found: Vec<(Key, Version)> = own.map(|(key, kept)| (key.clone(), kept.version)).collect();
            self.spilled_to = found.last().map(|(key, _)| key.clone());
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }
}

/// All hints of a node.
#[derive(Debug)]
pub struct Hints {
    limit_bytes: usize,
    bytes: usize,
    dropped: u64,
    by_target: BTreeMap<Slot, Waiting>,
    /// When the oldest write that a target has missed was made. Kept until the next hint for it once it has none.
    since: BTreeMap<Slot, UnixMillis>,
    log: Option<HintLog>,
}

impl Hints {
    /// No hints, and room for `limit_bytes` of them in memory.
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, bytes: 0, dropped: 0, by_target: BTreeMap::new(), since: BTreeMap::new(), log: None }
    }

    /// The same, with room for `disk_bytes` more on a disk: what an earlier life left there is taken over.
    pub fn with_disk(limit_bytes: usize, disk_bytes: u64) -> Self {
        Self { log: Some(HintLog::new(disk_bytes)), ..Self::new(limit_bytes) }
    }

    /// Notes that `target` has missed this version. Returns false if there was no room.
    pub fn keep(&mut self, target: Slot, key: &Key, version: Version) -> bool {
        let waiting = self.by_target.entry(target).or_default();
        match waiting.hints.get_mut(key) {
            Some(kept) if kept.version >= version => return true,
            Some(kept) if kept.read_from.is_none() => {
                kept.version = version;
                return true;
            }
            // What was read is outdated, and this one is on no disk.
            Some(_) => self.let_go(target, key),
            None => {}
        }
        self.note_age(target, version);
        let cost = cost(key);
        if self.bytes + cost > self.limit_bytes {
            self.spill();
        }
        if self.bytes + cost <= self.limit_bytes {
            self.bytes += cost;
            let kept = Kept { version, read_from: None, inherited: false };
            self.by_target.entry(target).or_default().insert(key.clone(), kept);
            return true;
        }
        self.forget_empty(target);
        let is_kept = self.log.as_mut().is_some_and(|log| log.put(target, key, version));
        self.dropped += u64::from(!is_kept);
        is_kept
    }

    /// Moves some of the hints that take most memory to the disk. Returns whether any could be.
    fn spill(&mut self) -> bool {
        let Some(log) = &mut self.log else { return false };
        let Some((slot, waiting)) = self.by_target.iter_mut().max_by_key(|(_, waiting)| waiting.bytes) else {
            return false;
        };
        let target = *slot;
        let mut moved = false;
        for (key, version) in waiting.next_to_spill() {
            if !log.put(target, &key, version) {
                break;
            }
            waiting.remove(&key);
            self.bytes -= cost(&key);
            moved = true;
        }
        self.forget_empty(target);
        moved
    }

    /// Moves hints to the disk that are nowhere but in memory, as many as may wait to be written: before this node stops.
    /// True when there are none left, and all are written.
    pub fn save(&mut self) -> bool {
        while self.bytes > 0 && self.spill() {}
        self.bytes == 0 && self.log.as_ref().is_none_or(|log| log.unwritten_bytes() == 0)
    }

    /// Whether some wait to be written and there is a disk for them.
    pub fn is_unsaved(&self) -> bool {
        self.log.as_ref().is_some_and(|log| self.bytes > 0 || log.unwritten_bytes() > 0)
    }

    /// Up to `count` hints for `target`, in key order behind `after`.
    pub fn batch(&self, target: Slot, after: Option<&Key>, count: usize) -> Vec<Hint> {
        let Some(waiting) = self.by_target.get(&target) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = waiting.hints.range((from, Bound::Unbounded)).take(count);
        behind.map(|(key, kept)| Hint { key: key.clone(), version: kept.version, inherited: kept.inherited }).collect()
    }

    /// Whether hints of this partition wait for `target`.
    pub fn has_any(&self, target: Slot, partition: Partition) -> bool {
        self.by_target.get(&target).is_some_and(|waiting| waiting.partitions.contains_key(&partition))
            || self.log.as_ref().is_some_and(|log| log.has_any(target, partition))
    }

    /// The target holds `version` of the key, or something newer, or there is nothing left to give it.
    pub fn settle(&mut self, target: Slot, key: &Key, version: Version) {
        let waiting = self.by_target.get(&target);
        if waiting.and_then(|waiting| waiting.hints.get(key)).is_some_and(|kept| kept.version <= version) {
            self.let_go(target, key);
            self.forget_empty(target);
        }
    }

    fn let_go(&mut self, target: Slot, key: &Key) {
        let Some(kept) = self.by_target.get_mut(&target).and_then(|waiting| waiting.remove(key)) else { return };
        match (kept.read_from, &mut self.log) {
            (Some(segment), Some(log)) => log.settle(target, segment),
            _ => self.bytes -= cost(key),
        }
    }

    fn forget_empty(&mut self, target: Slot) {
        if self.by_target.get(&target).is_some_and(|waiting| waiting.hints.is_empty()) {
            self.by_target.remove(&target);
        }
    }

    /// Drops all hints for a target that has left the ring.
    pub fn forget(&mut self, target: Slot) {
        self.since.remove(&target);
        self.bytes -= self.by_target.remove(&target).map_or(0, |waiting| waiting.bytes);
        if let Some(log) = &mut self.log {
            log.forget(target);
        }
    }

    /// What is to be done on disk next; `standing` names as wanted those that can be given hints.
    pub fn poll_disk(&mut self, standing: &Standing<'_>) -> Vec<DiskCall> {
        let Some(log) = &mut self.log else { return Vec::new() };
        let read_bytes = |slot: &Slot| self.by_target.get(slot).map_or(0, |waiting| waiting.read_bytes);
        let all_read_bytes: usize = self.by_target.keys().map(read_bytes).sum();
        let has_room = |slot: &&Slot| read_bytes(slot) < READ_BYTES_WANTED && all_read_bytes < ALL_READ_BYTES_WANTED;
        let wanted: BTreeSet<Slot> = standing.wanted.iter().filter(has_room).copied().collect();
        log.poll(&Standing { wanted: &wanted, ..*standing })
    }

    /// What came of one of [`Hints::poll_disk`]'s calls. Returns the segment that is not what was written, if one is not.
    pub fn on_disk(&mut self, answer: DiskAnswer) -> Option<(SegmentId, SegmentError)> {
        let log = self.log.as_mut()?;
        match answer {
            DiskAnswer::Listed(segments) => log.on_listed(segments),
            DiskAnswer::Scanned(id, found) => return log.on_scanned(id, found).map(|error| (id, error)),
            DiskAnswer::Appended(id, is_written) => log.on_appended(id, is_written),
            DiskAnswer::Read(id, bytes) => {
                let (batch, trouble) = log.on_read(id, bytes.as_ref());
                self.take_in(id, batch);
                return trouble.map(|error| (id, error));
            }
            DiskAnswer::Removed(id, is_gone) => log.on_removed(id, is_gone),
        }
        None
    }

    /// Hints that were read: of a key the newest counts.
    fn take_in(&mut self, id: SegmentId, batch: Batch) {
        let Some(target) = batch.target else { return };
        for (key, version) in batch.hints {
            self.note_age(target, version);
            let waiting = self.by_target.entry(target).or_default();
            if waiting.hints.get(&key).is_some_and(|kept| kept.version >= version) {
                if let Some(log) = &mut self.log {
                    log.settle(target, id);
                }
                continue;
            }
            self.let_go(target, &key);
            let kept = Kept { version, read_from: Some(id), inherited: batch.inherited };
            self.by_target.entry(target).or_default().insert(key, kept);
        }
    }

    /// Which partitions of which targets have lost hints on the way to the disk and back since this was asked last.
    pub fn take_lost(&mut self) -> BTreeSet<(Slot, Partition)> {
        self.log.as_mut().map(HintLog::take_lost).unwrap_or_default()
    }

    /// A hint of this version is about to wait for `target`.
    fn note_age(&mut self, target: Slot, version: Version) {
        let written = UnixMillis(version.stamp.unix_ms());
        let since = if self.has_for(target) { self.since.get(&target).copied() } else { None };
        self.since.insert(target, since.map_or(written, |since| since.min(written)));
    }

    fn has_for(&self, target: Slot) -> bool {
        self.by_target.get(&target).is_some_and(|waiting| !waiting.hints.is_empty())
            || self.log.as_ref().is_some_and(|log| log.is_for(target))
    }

    /// When the oldest write was made that some target has missed, and has not been given all of its hints since. Of hints
    /// that an earlier life left on disk only what has been read counts.
    pub fn oldest(&self) -> Option<UnixMillis> {
        self.since.iter().filter(|(target, _)| self.has_for(**target)).map(|(_, since)| *since).min()
    }

    /// Bytes that hints may take in memory, and on disk.
    pub fn limits(&self) -> (usize, u64) {
        (self.limit_bytes, self.log.as_ref().map_or(0, HintLog::limit_bytes))
    }

    /// Who has hints waiting in memory.
    pub fn targets(&self) -> impl Iterator<Item = Slot> {
        self.by_target.keys().copied()
    }

    /// How many hints there are in memory; those that were read from disk count there.
    pub fn len(&self) -> usize {
        self.by_target.values().map(|waiting| waiting.hints.len() - waiting.read).sum()
    }

    /// Whether there are none in memory.
    pub fn is_empty(&self) -> bool {
        self.by_target.is_empty()
    }

    /// Bytes they take, never above the limit.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many found no room since the start, or were lost by the disk.
    pub fn dropped(&self) -> u64 {
        self.dropped + self.log.as_ref().map_or(0, HintLog::lost_hints)
    }

    /// How many are on disk, or on their way there.
    pub fn on_disk_len(&self) -> u64 {
        self.log.as_ref().map_or(0, HintLog::len)
    }

    /// Bytes they take there, never above the limit.
    pub fn disk_bytes(&self) -> u64 {
        self.log.as_ref().map_or(0, HintLog::bytes)
    }

    /// Segments that were not what was written, since the start.
    pub fn bad_segments(&self) -> u64 {
        self.log.as_ref().map_or(0, HintLog::bad)
    }
}

fn cost(key: &Key) -> usize {
    key.len() + HINT_OVERHEAD_BYTES
}
