//! The ghost queue of S3-FIFO: fingerprints of keys that left the small queue unread.
//!
//! Must not know keys. A fingerprint that comes back while remembered goes straight to the main queue.
//! It is a FIFO in buckets: the hash chooses a bucket of eight, and the oldest of the eight is forgotten. That keeps it
//! at 2 bytes a fingerprint, without links or a table beside it. A key that was never remembered is taken for one that
//! was in at most 8 of 65,536 cases.
//!
//! Its size follows the number of items while it is used: every [`Ghost::fit`] carries a few buckets over, so no write
//! waits for a copy of millions. Buckets lie in order of the hash, so both sizes fit into the same memory: growing fills
//! it from the last bucket down, shrinking from the first bucket up, and a frontier says which size holds for a hash.

use super::accounting::allocation;

/// Eight fingerprints of 16 bits, the newest lowest; 0 is empty.
type Bucket = u128;

const BUCKET_LEN: usize = 8;

const FINGERPRINT_BITS: u32 = 16;

/// Buckets that even an empty store has: 64 fingerprints.
const BUCKETS_MIN: usize = 8;

/// Buckets that are allocated together: 16 KiB, the most that one call clears or copies; of the list of chunks it may
/// copy 16 bytes for each, which is 20 KB when ten million keys are remembered.
const CHUNK_BUCKETS: usize = 1024;

/// A size is kept while the items differ from it by less than an eighth.
const SLACK_SHARE: usize = 8;

/// Buckets that one [`Ghost::fit`] carries over. Items come one a write, and an eighth more of them is one for each
/// bucket: at four a write, the new size is there when the items have grown by a thirtieth more.
const BUCKETS_PER_FIT: usize = 4;

/// One in numbers with 32 binary places.
const ONE: u64 = 1 << 32;

/// See the top of the file.
#[derive(Debug)]
pub(super) struct Ghost {
    /// Of [`CHUNK_BUCKETS`] each but the last; empty while growing has not come to it.
    chunks: Vec<Box<[Bucket]>>,
    /// Bytes of the chunks and of their list.
    bytes: usize,
    /// The size that is left behind, in buckets.
    buckets: usize,
    /// The size that is gone to; the same unless it is under way.
    wanted: usize,
    /// Of the wanted size, the first bucket that is there when growing, or the first that is not when shrinking.
    frontier: usize,
}

impl Ghost {
    pub(super) fn new() -> Self {
        let chunks = vec![chunk(BUCKETS_MIN)];
        let mut ghost = Self { chunks, bytes: 0, buckets: BUCKETS_MIN, wanted: BUCKETS_MIN, frontier: 0 };
        ghost.bytes = ghost.list_bytes() + chunk_bytes(BUCKETS_MIN);
        ghost
    }

    /// Bytes of its memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that [`Ghost::fit`] for so many items, or fewer, would add at most: it remembers about as many keys as the
    /// queues hold items, but goes there by a chunk at a time.
    pub(super) fn growth(&self, items: usize) -> usize {
        if self.wanted > self.buckets {
            let next = (self.frontier - 1) / CHUNK_BUCKETS;
            return if self.chunks[next].is_empty() { chunk_bytes(chunk_len(next, self.wanted)) } else { 0 };
        }
        let Some(wanted) = self.other_size(items).filter(|&wanted| wanted > self.buckets) else { return 0 };
        let (last, list) = (self.chunks.len() - 1, wanted.div_ceil(CHUNK_BUCKETS));
        let longer = chunk_bytes(chunk_len(last, wanted)) - chunk_bytes(self.chunks[last].len());
        longer + list_bytes(list.max(self.chunks.capacity())) - self.list_bytes()
    }

    /// Goes a step towards the size for so many items, from when they are an eighth more or fewer than its fingerprints.
    /// A resize that was begun is finished first.
    pub(super) fn fit(&mut self, items: usize) {
        if self.wanted != self.buckets {
            return self.carry_over();
        }
        if let Some(wanted) = self.other_size(items) {
            self.begin(wanted);
        }
    }

    pub(super) fn remember(&mut self, hash: u64) {
        let bucket = self.bucket(hash);
        *bucket = *bucket << FINGERPRINT_BITS | Bucket::from(fingerprint(hash));
    }

    /// Whether the key is remembered; it is forgotten with that.
    pub(super) fn take(&mut self, hash: u64) -> bool {
        const LOWEST_BITS: u64 = u64::MAX / 0xffff;
        const HIGHEST_BITS: u64 = LOWEST_BITS << (FINGERPRINT_BITS - 1);
        let bucket = self.bucket(hash);
        // The lowest zero among the differences is found without a loop: subtracting 1 from each borrows no further than
        // from there upwards. In halves, as the processor has 64 bits.
        let wanted = LOWEST_BITS * u64::from(fingerprint(hash));
        let zeros = |half: u64| (half ^ wanted).wrapping_sub(LOWEST_BITS) & !(half ^ wanted);
        let (low, high) = (zeros(*bucket as u64), zeros((*bucket >> 64) as u64));
        if (low | high) & HIGHEST_BITS == 0 {
            return false;
        }
        let (low, high) = (low & HIGHEST_BITS, high & HIGHEST_BITS);
        let last_bit = if low != 0 { low.trailing_zeros() } else { 64 + high.trailing_zeros() };
        let newer = (1 << (last_bit + 1 - FINGERPRINT_BITS)) - 1;
        *bucket = *bucket & newer | *bucket >> FINGERPRINT_BITS & !newer;
        true
    }

    fn bucket(&mut self, hash: u64) -> &mut Bucket {
        let at = if self.wanted == self.buckets { scale(hash, self.wanted) } else { self.at_of_either(hash) };
        &mut self.chunks[at / CHUNK_BUCKETS][at % CHUNK_BUCKETS]
    }

    /// Where a hash falls while a resize is under way.
    #[inline(never)]
    fn at_of_either(&self, hash: u64) -> usize {
        let at = scale(hash, self.wanted);
        let is_there = if self.wanted > self.buckets { at >= self.frontier } else { at < self.frontier };
        if is_there { at } else { scale(hash, self.buckets) }
    }

    /// The size for so many items in buckets, if it is another; at most double or half of what it is.
    fn other_size(&self, items: usize) -> Option<usize> {
        let held = self.buckets * BUCKET_LEN;
        if items.abs_diff(held) <= held / SLACK_SHARE {
            return None;
        }
        let wanted = items.div_ceil(BUCKET_LEN).clamp(self.buckets / 2, self.buckets * 2).max(BUCKETS_MIN);
        (wanted != self.buckets).then_some(wanted)
    }

    #[inline(never)]
    fn begin(&mut self, wanted: usize) {
        self.wanted = wanted;
        self.frontier = if wanted > self.buckets { wanted } else { 0 };
        if wanted > self.buckets {
            let last = self.chunks.len() - 1;
            self.set_chunk_len(last, chunk_len(last, wanted));
            let list = wanted.div_ceil(CHUNK_BUCKETS);
            self.bytes -= self.list_bytes();
            self.chunks.reserve_exact(list - self.chunks.len());
            self.chunks.resize_with(list, Box::default);
            self.bytes += self.list_bytes();
        }
    }

    /// Fills the next few buckets of the wanted size, in one chunk; takes that size when all are filled.
    #[inline(never)]
    fn carry_over(&mut self) {
        let grows = self.wanted > self.buckets;
        if grows {
            let at = (self.frontier - 1) / CHUNK_BUCKETS;
            if self.chunks[at].is_empty() {
                self.set_chunk_len(at, chunk_len(at, self.wanted));
            }
        }
        // Buckets of the size left behind that one of the wanted size stands for.
        let width = self.buckets as u64 * ONE / self.wanted as u64;
        for _ in 0..BUCKETS_PER_FIT {
            let at = if grows { self.frontier - 1 } else { self.frontier };
            self.chunks[at / CHUNK_BUCKETS][at % CHUNK_BUCKETS] = self.merged(at as u64 * width, width);
            self.frontier = if grows { at } else { at + 1 };
            if self.frontier == if grows { 0 } else { self.wanted } {
                return self.finish();
            }
            if grows && at.is_multiple_of(CHUNK_BUCKETS) {
                return;
            }
        }
    }

    fn finish(&mut self) {
        let list = self.wanted.div_ceil(CHUNK_BUCKETS);
        for at in list..self.chunks.len() {
            self.set_chunk_len(at, 0);
        }
        self.bytes -= self.list_bytes();
        self.chunks.truncate(list);
        self.chunks.shrink_to_fit();
        self.bytes += self.list_bytes();
        self.set_chunk_len(list - 1, chunk_len(list - 1, self.wanted));
        self.buckets = self.wanted;
        self.frontier = 0;
    }

    /// What a bucket of the wanted size starts with, which stands for those left behind from `from` on over `width` (both
    /// with 32 binary places): of each the newest, as many as its part of the width. The fingerprint does not say where
    /// in its bucket a key fell, so of a bucket that is parted each side gets the newest.
    fn merged(&self, from: u64, width: u64) -> Bucket {
        let to = from + width;
        let (first, last) = (from / ONE, ((to - 1) / ONE).min(self.buckets as u64 - 1));
        let bucket = |at: u64| self.chunks[at as usize / CHUNK_BUCKETS][at as usize % CHUNK_BUCKETS];
        let mut merged = bucket(first);
        for at in first + 1..=last {
            // So far from `from` to `at`, and now up to the end of this bucket.
            merged = interleaved(merged, at * ONE - from, bucket(at), to.min((at + 1) * ONE) - at * ONE);
        }
        merged
    }

    fn set_chunk_len(&mut self, at: usize, len: usize) {
        let held = self.chunks[at].len();
        if len != held {
            let mut other = chunk(len);
            let kept = len.min(held);
            other[..kept].copy_from_slice(&self.chunks[at][..kept]);
            self.chunks[at] = other;
            self.bytes = self.bytes + chunk_bytes(len) - chunk_bytes(held);
        }
    }

    fn list_bytes(&self) -> usize {
        list_bytes(self.chunks.capacity())
    }
}

/// The newest of two buckets, in turn as often as their shares say; when one has no more, of the other.
fn interleaved(mut one: Bucket, share: u64, mut other: Bucket, other_share: u64) -> Bucket {
    if one | other == 0 {
        return 0;
    }
    // Half a turn of credit, so that a small share is rounded and not always last.
    let (mut merged, all) = (0, share + other_share);
    let mut credit = all / 2;
    for _ in 0..BUCKET_LEN {
        credit += share;
        let is_due = credit >= all;
        credit -= if is_due { all } else { 0 };
        let from = if (is_due || other == 0) && one != 0 { &mut one } else { &mut other };
        // The first one in is the lowest when eight have followed.
        merged = merged >> FINGERPRINT_BITS | *from << (Bucket::BITS - FINGERPRINT_BITS);
        *from >>= FINGERPRINT_BITS;
    }
    merged
}

/// The low bits; the high ones choose the bucket.
fn fingerprint(hash: u64) -> u16 {
    (hash as u16).max(1)
}

/// Where a hash falls in `0..buckets`: in proportion, so any number of buckets will do.
fn scale(hash: u64, buckets: usize) -> usize {
    ((u128::from(hash) * buckets as u128) >> 64) as usize
}

/// Buckets that chunk `at` has when there are so many.
fn chunk_len(at: usize, buckets: usize) -> usize {
    (buckets - at * CHUNK_BUCKETS).min(CHUNK_BUCKETS)
}

fn chunk(len: usize) -> Box<[Bucket]> {
    vec![0; len].into()
}

fn chunk_bytes(len: usize) -> usize {
    allocation(len * size_of::<Bucket>())
}

fn list_bytes(capacity: usize) -> usize {
    allocation(capacity * size_of::<Box<[Bucket]>>())
}

#[cfg(test)]
mod tests {
    use super::super::hash::table_hash;
    use super::*;

    fn hash(key: u64) -> u64 {
        table_hash(key, 1)
    }

    /// Fits until nothing changes any more, and checks every step; the number of steps.
    fn settle(ghost: &mut Ghost, items: usize) -> usize {
        for step in 0.. {
            let (bytes, growth) = (ghost.bytes(), ghost.growth(items));
            assert!(growth <= chunk_bytes(CHUNK_BUCKETS) + list_bytes(ghost.wanted * 2 / CHUNK_BUCKETS));
            let before = (ghost.buckets, ghost.wanted, ghost.frontier);
            ghost.fit(items);
            assert!(ghost.bytes() <= bytes + growth, "{items} items, step {step}");
            assert_eq!(ghost.bytes(), counted(ghost));
            if before == (ghost.buckets, ghost.wanted, ghost.frontier) {
                return step;
            }
        }
        unreachable!("it settles")
    }

    fn counted(ghost: &Ghost) -> usize {
        ghost.chunks.iter().map(|chunk| chunk_bytes(chunk.len())).sum::<usize>() + ghost.list_bytes()
    }

    fn taken(ghost: &mut Ghost, keys: std::ops::Range<u64>) -> usize {
        keys.filter(|&key| ghost.take(hash(key))).count()
    }

    #[test]
    fn it_remembers_once_and_forgets_the_oldest_first() {
        let mut ghost = Ghost::new();
        ghost.remember(hash(0));
        assert!(ghost.take(hash(0)));
        assert!(!ghost.take(hash(0)));
        (0..10_000).for_each(|key| ghost.remember(hash(key)));
        assert!((9_990..10_000).any(|key| ghost.take(hash(key))));
        // One or two are taken for others that are there.
        assert!(taken(&mut ghost, 0..9_000) < 10);
    }

    #[test]
    fn a_fingerprint_taken_leaves_the_others_in_their_order() {
        // The same bucket: the high bits are equal.
        for gone in 1..=8 {
            let mut ghost = Ghost::new();
            (1..=8).for_each(|hash| ghost.remember(hash));
            assert!(ghost.take(gone) && !ghost.take(gone), "{gone}");
            // One place is empty: the next pushes nobody out, the one after it the oldest.
            let oldest = if gone == 1 { 2 } else { 1 };
            ghost.remember(9);
            ghost.remember(10);
            let left: Vec<u64> = (1..=10).filter(|&hash| ghost.take(hash)).collect();
            let expected: Vec<u64> = (1..=10).filter(|&hash| hash != gone && hash != oldest).collect();
            assert_eq!(left, expected);
        }
    }

    #[test]
    fn strangers_are_taken_for_known_in_eight_of_65536_cases() {
        let mut ghost = Ghost::new();
        settle(&mut ghost, 100);
        (0..100_000).for_each(|key| ghost.remember(hash(key)));
        let strangers = 2_000_000;
        let mistaken = taken(&mut ghost, 1_000_000..1_000_000 + strangers);
        // Each one that is mistaken empties a place, so it is fewer; the bound is for a full bucket.
        assert!((1..=strangers as usize * 8 / 65_536).contains(&mistaken), "{mistaken}");
    }

    #[test]
    fn its_size_follows_the_items_within_an_eighth() {
        let mut ghost = Ghost::new();
        for items in [64, 72, 73, 1000, 1120, 1130, 100_000, 90_000, 50_000, 8192, 9300, 8193, 10, 0] {
            settle(&mut ghost, items);
            let capacity = ghost.buckets * BUCKET_LEN;
            let most = (items + items / 7 + BUCKET_LEN).max(BUCKETS_MIN * BUCKET_LEN);
            assert!(capacity + capacity / 8 >= items && capacity <= most, "{items} items, {capacity}");
            assert!(ghost.bytes() <= capacity * 2 + capacity / 100 + 64, "{items} items, {} bytes", ghost.bytes());
        }
        assert_eq!(ghost.bytes(), Ghost::new().bytes());
    }

    #[test]
    fn it_keeps_up_with_items_that_come_one_a_write() {
        let mut ghost = Ghost::new();
        for items in 0..300_000 {
            ghost.fit(items);
            let capacity = ghost.buckets * BUCKET_LEN;
            assert!(items < 64 || items <= capacity + capacity / 5 + BUCKET_LEN, "{items} items, {capacity}");
        }
    }

    #[test]
    fn a_resize_keeps_most_of_what_it_remembers() {
        for (before, after) in
            [(20_000, 23_000), (20_000, 17_000), (20_000, 30_000), (20_000, 40_000), (20_000, 10_100)]
        {
            let mut ghost = Ghost::new();
            settle(&mut ghost, before);
            let newest = before.min(after) as u64 / 2;
            (0..newest).for_each(|key| ghost.remember(hash(key)));
            let mut same = Ghost::new();
            settle(&mut same, before);
            (0..newest).for_each(|key| same.remember(hash(key)));
            let steps = settle(&mut ghost, after);
            assert!(steps > after / BUCKET_LEN / BUCKETS_PER_FIT, "{steps} steps: it went at once");
            let (kept, all) = (taken(&mut ghost, 0..newest), taken(&mut same, 0..newest));
            assert!(kept * 4 > all * 3, "{before} to {after}: {kept} of {all}");
        }
    }

    #[test]
    fn what_is_remembered_during_a_resize_is_found_during_and_after_it() {
        for after in [23_000, 17_000, 40_000] {
            let mut ghost = Ghost::new();
            settle(&mut ghost, 20_000);
            let mut found = 0;
            for key in 0..500 {
                ghost.remember(hash(key));
                ghost.fit(after);
                ghost.remember(hash(1_000_000 + key));
                assert!(ghost.take(hash(1_000_000 + key)), "to {after}, {key}");
                assert!(ghost.take(hash(key)) || ghost.buckets == ghost.wanted, "to {after}, {key}");
                ghost.remember(hash(key));
            }
            settle(&mut ghost, after);
            found += taken(&mut ghost, 0..500);
            assert!(found > 450, "to {after}: {found}");
        }
    }
}
