//! The ghost queue of S3-FIFO: fingerprints of keys that left the small queue unread.
//!
//! Must not know keys. A fingerprint that comes back while remembered goes straight to the main queue.
//! It is a FIFO in buckets: the hash chooses a bucket of eight, and the oldest of the eight is forgotten. That keeps it
//! at 4 bytes a fingerprint, without links or a table beside it.

use super::accounting::allocation;

const BUCKET: usize = 8;

/// Fingerprints that even an empty store has room for.
const CAPACITY_MIN: usize = 64;

/// See the top of the file.
#[derive(Debug)]
pub(super) struct Ghost {
    /// Buckets of eight, the newest first; 0 is empty.
    fingerprints: Box<[u32]>,
}

impl Ghost {
    pub(super) fn new() -> Self {
        Self { fingerprints: vec![0; CAPACITY_MIN].into() }
    }

    /// Bytes of its memory.
    pub(super) fn bytes(&self) -> usize {
        Self::bytes_of(self.fingerprints.len())
    }

    /// Bytes that [`Ghost::fit`] would add: it remembers about as many keys as the queues hold items.
    pub(super) fn growth(&self, items: usize) -> usize {
        if items <= self.fingerprints.len() {
            return 0;
        }
        Self::bytes_of(items.next_power_of_two()) - self.bytes()
    }

    /// Takes the size for so many items: grows when there are more than fingerprints, halves when a quarter would do.
    /// It starts over empty then: sorting fingerprints into new buckets would hold the shard's lock for milliseconds,
    /// and sizes change a few times in a store's life.
    pub(super) fn fit(&mut self, items: usize) {
        let capacity = self.fingerprints.len();
        if items > capacity || (capacity > CAPACITY_MIN && items < capacity / 4) {
            let wanted = if items > capacity { items.next_power_of_two() } else { capacity / 2 };
            self.fingerprints = vec![0; wanted].into();
        }
    }

    pub(super) fn remember(&mut self, hash: u64) {
        let bucket = self.bucket(hash);
        bucket.copy_within(0..BUCKET - 1, 1);
        bucket[0] = fingerprint(hash);
    }

    /// Whether the key is remembered; it is forgotten with that.
    pub(super) fn take(&mut self, hash: u64) -> bool {
        let bucket = self.bucket(hash);
        let Some(at) = bucket.iter().position(|&held| held == fingerprint(hash)) else { return false };
        bucket.copy_within(at + 1.., at);
        bucket[BUCKET - 1] = 0;
        true
    }

    fn bytes_of(capacity: usize) -> usize {
        allocation(capacity * size_of::<u32>())
    }

    fn bucket(&mut self, hash: u64) -> &mut [u32] {
        // The high half chooses the bucket, the low half is the fingerprint.
        let buckets = self.fingerprints.len() / BUCKET;
        let at = (hash >> 32) as usize % buckets * BUCKET;
        &mut self.fingerprints[at..at + BUCKET]
    }
}

fn fingerprint(hash: u64) -> u32 {
    (hash as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::hash::table_hash;
    use super::*;

    #[test]
    fn it_remembers_once_and_forgets_the_oldest_first() {
        let mut ghost = Ghost::new();
        let hash = |key| table_hash(key, 1);
        ghost.remember(hash(0));
        assert!(ghost.take(hash(0)));
        assert!(!ghost.take(hash(0)));
        for key in 0..10_000 {
            ghost.remember(hash(key));
        }
        assert!((9_990..10_000).any(|key| ghost.take(hash(key))));
        assert!((0..9_000).all(|key| !ghost.take(hash(key))));
    }

    #[test]
    fn it_grows_and_shrinks_with_the_items() {
        let mut ghost = Ghost::new();
        for (items, capacity) in [(64, 64), (65, 128), (1000, 1024), (256, 1024), (255, 512), (10, 256), (10, 128)] {
            let bytes = ghost.bytes() + ghost.growth(items);
            ghost.fit(items);
            assert_eq!(ghost.bytes(), allocation(capacity * 4), "{items} items");
            assert!(ghost.bytes() <= bytes);
        }
    }
}
