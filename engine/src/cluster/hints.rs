//! Hints: which writes which home has missed (Dynamo, section 4.6), so that they can be replayed when it is back.
//!
//! A hint is a key and a version: the node that keeps it is a home itself and holds the value; if the value is gone by
//! then, what is replayed is that anything older must go. Newest version per key only. Bounded in bytes: over the limit a hint is dropped
//! and counted, never a write refused. Must not know how hints are replayed.

use std::collections::BTreeMap;
use std::ops::Bound;

use memring_protocol::key::{Key, Partition};
use memring_protocol::version::{Slot, Version};

/// Bytes that a hint takes beyond its key: tree node shares, version, allocation.
const HINT_OVERHEAD_BYTES: usize = 128;

/// All hints of a node.
#[derive(Debug)]
pub struct Hints {
    limit_bytes: usize,
    bytes: usize,
    dropped: u64,
    by_target: BTreeMap<Slot, Waiting>,
}

/// What waits for one target.
#[derive(Debug, Default)]
struct Waiting {
    hints: BTreeMap<Key, Version>,
    /// How many of them are of each partition.
    partitions: BTreeMap<Partition, usize>,
}

impl Hints {
    /// No hints, and room for `limit_bytes` of them.
    pub fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, bytes: 0, dropped: 0, by_target: BTreeMap::new() }
    }

    /// Notes that `target` has missed this version. Returns false if there was no room.
    pub fn keep(&mut self, target: Slot, key: &Key, version: Version) -> bool {
        let waiting = self.by_target.entry(target).or_default();
        if let Some(kept) = waiting.hints.get_mut(key) {
            *kept = version.max(*kept);
            return true;
        }
        let cost = cost(key);
        if self.bytes + cost > self.limit_bytes {
            self.dropped += 1;
            return false;
        }
        self.bytes += cost;
        waiting.hints.insert(key.clone(), version);
        *waiting.partitions.entry(key.partition()).or_default() += 1;
        true
    }

    /// Up to `count` hints for `target`, in key order behind `after`.
    pub fn batch(&self, target: Slot, after: Option<&Key>, count: usize) -> Vec<(Key, Version)> {
        let Some(waiting) = self.by_target.get(&target) else { return Vec::new() };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = waiting.hints.range((from, Bound::Unbounded));
        behind.take(count).map(|(key, version)| (key.clone(), *version)).collect()
    }

    /// Whether hints of this partition wait for `target`.
    pub fn has_any(&self, target: Slot, partition: Partition) -> bool {
        self.by_target.get(&target).is_some_and(|waiting| waiting.partitions.contains_key(&partition))
    }

    /// The target holds `version` of the key, or something newer, or there is nothing left to give it.
    pub fn settle(&mut self, target: Slot, key: &Key, version: Version) {
        let Some(waiting) = self.by_target.get_mut(&target) else { return };
        if waiting.hints.get(key).is_some_and(|kept| *kept <= version) {
            waiting.hints.remove(key);
            self.bytes -= cost(key);
            let partition = key.partition();
            let left = waiting.partitions.get_mut(&partition).expect("each hint is counted");
            *left -= 1;
            if *left == 0 {
                waiting.partitions.remove(&partition);
            }
        }
        if waiting.hints.is_empty() {
            self.by_target.remove(&target);
        }
    }

    /// Drops all hints for a target that has left the ring.
    pub fn forget(&mut self, target: Slot) {
        for key in self.by_target.remove(&target).unwrap_or_default().hints.keys() {
            self.bytes -= cost(key);
        }
    }

    /// Who has hints waiting.
    pub fn targets(&self) -> impl Iterator<Item = Slot> {
        self.by_target.keys().copied()
    }

    /// How many hints there are.
    pub fn len(&self) -> usize {
        self.by_target.values().map(|waiting| waiting.hints.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_target.is_empty()
    }

    /// Bytes they take, never above the limit.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many found no room since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

fn cost(key: &Key) -> usize {
    key.len() + HINT_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use memring_protocol::version::{Ballot, Stamp};

    use super::*;

    fn key(name: &str) -> Key {
        Key::copy_from(name.as_bytes()).unwrap()
    }

    fn version(stamp: u64) -> Version {
        Version { ballot: Ballot(1), stamp: Stamp(stamp) }
    }

    #[test]
    fn the_newest_version_per_key_is_kept_until_it_is_settled() {
        let (mut hints, target) = (Hints::new(10_000), Slot::new(1).unwrap());
        for stamp in [5, 7, 6] {
            assert!(hints.keep(target, &key("a"), version(stamp)));
        }
        assert_eq!(hints.batch(target, None, 10), [(key("a"), version(7))]);
        hints.settle(target, &key("a"), version(6));
        assert_eq!(hints.len(), 1, "a replay of an older version settles nothing");
        hints.settle(target, &key("a"), version(7));
        assert!(hints.is_empty() && hints.bytes() == 0);
    }

    #[test]
    fn over_the_limit_hints_are_dropped_and_counted() {
        let (mut hints, target) = (Hints::new(2 * (HINT_OVERHEAD_BYTES + 2)), Slot::new(1).unwrap());
        let kept = (0..5).filter(|number| hints.keep(target, &key(&format!("k{number}")), version(1))).count();
        assert_eq!((kept, hints.len(), hints.dropped()), (2, 2, 3));
        hints.forget(target);
        assert_eq!((hints.len(), hints.bytes()), (0, 0));
    }

    #[test]
    fn a_partition_has_hints_until_its_last_is_settled() {
        let (mut hints, target) = (Hints::new(10_000), Slot::new(1).unwrap());
        let keys: Vec<Key> = (0..20).map(|number| key(&format!("k{number}"))).collect();
        for key in &keys {
            hints.keep(target, key, version(1));
        }
        for key in &keys {
            assert!(hints.has_any(target, key.partition()) && !hints.has_any(Slot::new(2).unwrap(), key.partition()));
            hints.settle(target, key, version(1));
            assert!(!hints.has_any(target, key.partition()));
        }
    }

    #[test]
    fn batches_go_on_behind_a_key() {
        let (mut hints, target) = (Hints::new(10_000), Slot::new(1).unwrap());
        for number in 0..5 {
            hints.keep(target, &key(&format!("k{number}")), version(1));
        }
        let first = hints.batch(target, None, 3);
        let rest = hints.batch(target, Some(&first[2].0), 3);
        assert_eq!((first.len(), rest.len()), (3, 2));
    }
}
