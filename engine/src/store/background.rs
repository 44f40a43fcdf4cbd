//! The store as a whole, now and then: what is over goes, what is dead is cleaned up, what is hot is told.
//!
//! Must not know who asks, nor how often.

use bytes::Bytes;
use memring_protocol::entry::UnixMillis;

use super::sync::Ordering;
use super::{HOT_SAMPLE, Padded, Store};

/// Bytes that tidying looks through under one lock.
const TIDY_STEP_BYTES: usize = 256 << 10;

/// Segments that one tidying goes past: some 50 ns each.
const TIDY_SEGMENTS_MAX: usize = 4096;

/// A key that is read much: one in 64 reads or so is counted, and counts fade.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HotKey {
    /// The key, 1 to 250 bytes.
    pub key: Bytes,
    /// Its reads, estimated.
    pub reads: u64,
    /// By how much the estimate may be too high for other keys' reads.
    pub error: u64,
}

impl Store {
    /// Reclaims expired and flushed entries and tombstones past
    /// [`TOMBSTONE_LIFE_MS`](super::TOMBSTONE_LIFE_MS) in the background: looks at up to
    /// `entries_max` places for entries from where the last call stopped, one lap at most, and returns how many entries
    /// it removed.
    pub fn sweep(&self, now: UnixMillis, entries_max: usize) -> usize {
        let moment = self.moment(now);
        let (mut left, mut removed) = (entries_max, 0);
        let first = self.sweep_from.load(Ordering::Relaxed);
        // Once around and, for what the last call left out of the first shard, that one again.
        for step in 0..=self.shards.len() {
            let at = (first + step) % self.shards.len();
            let mut shard = self.shards[at].lock();
            let swept = shard.sweep(moment, left);
            left -= swept.examined;
            removed += swept.removed;
            drop(shard);
            if swept.finished && at + 1 == self.shards.len() {
                self.laps.fetch_add(1, Ordering::Relaxed);
            }
            if left == 0 {
                let next = if swept.finished { at + 1 } else { at } % self.shards.len();
                self.sweep_from.store(next, Ordering::Relaxed);
                break;
            }
        }
        removed
    }

    /// Keeps the store tidy in the background: looks through what is known to hold much that is over, about `bytes_max`
    /// bytes of it, and cleans up where too much is dead. No shard is locked for longer than a millisecond. Returns how
    /// many entries it removed. To be called every 50 ms or so.
    pub fn tidy(&self, now: UnixMillis, bytes_max: usize) -> usize {
        let moment = self.moment(now);
        let first = self.tidy_from.load(Ordering::Relaxed);
        let (mut segments, mut bytes, mut removed) = (0, 0, 0);
        for step in 0..self.shards.len() {
            let at = (first + step) % self.shards.len();
            self.tidy_from.store(at, Ordering::Relaxed);
            if bytes >= bytes_max || segments >= TIDY_SEGMENTS_MAX {
                break;
            }
            let bytes_max = TIDY_STEP_BYTES.min(bytes_max - bytes);
            let mut shard = self.shards[at].lock();
            let tidied = shard.tidy(moment, TIDY_SEGMENTS_MAX - segments, bytes_max);
            let gone = shard.larges.take_gone();
            drop(shard);
            drop(gone);
            segments += tidied.segments;
            bytes += tidied.bytes;
            removed += tidied.removed;
            if tidied.finished && at + 1 == self.shards.len() {
                self.laps.fetch_add(1, Ordering::Relaxed);
            }
        }
        removed
    }

    /// The keys that clients have read most of late, hottest first, `keys_max` of them at most.
    pub fn hot_keys(&self, keys_max: usize) -> Vec<HotKey> {
        let of_shard = |shard: &Padded| {
            let hot = shard.lock().hot.top(keys_max);
            hot.into_iter().map(|(key, reads, error)| HotKey {
                key,
                reads: reads * HOT_SAMPLE,
                error: error * HOT_SAMPLE,
            })
        };
        let mut hot: Vec<HotKey> = self.shards.iter().flat_map(of_shard).collect();
        hot.sort_by(|a, b| b.reads.cmp(&a.reads).then_with(|| a.key.cmp(&b.key)));
        hot.truncate(keys_max);
        hot
    }
}
