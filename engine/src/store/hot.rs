//! The keys that are read most, about: Space-Saving (Metwally et al., "Efficient computation of frequent and top-k
//! elements in data streams", ICDT'05).
//!
//! Must not know the store, nor which reads it is told of: one of 64 is enough. It has counters for so many keys; a key
//! that has none takes over the lowest, with its count as what it may be wrong by. So a key read more often than the
//! lowest count is among them, however many others there are.

use bytes::Bytes;
use memring_protocol::key::KEY_BYTES_MAX;

use super::accounting::allocation;
use super::hash::table_hash;

/// Keys that have a counter: a key with more than a 32nd of the reads told of is surely among them.
pub(super) const HOT_KEYS_MAX: usize = 32;

#[derive(Clone, Copy, Debug)]
struct Counter {
    /// Of the key: most that differ, differ here.
    hash: u64,
    /// Reads, or more.
    estimate: u64,
    /// By how much it may be more.
    error: u64,
    key_len: u8,
}

/// See the top of the file. Its memory is all there from the start: a read must not make the store larger.
#[derive(Debug)]
pub(super) struct HotKeys {
    /// Up to [`HOT_KEYS_MAX`].
    counters: Vec<Counter>,
    /// The key of each counter, [`KEY_BYTES_MAX`] for each.
    keys: Box<[u8]>,
}

impl HotKeys {
    pub(super) fn new() -> Self {
        Self { counters: Vec::with_capacity(HOT_KEYS_MAX), keys: vec![0; HOT_KEYS_MAX * KEY_BYTES_MAX].into() }
    }

    /// Bytes of its memory; they never change.
    pub(super) fn bytes(&self) -> usize {
        allocation(self.counters.capacity() * size_of::<Counter>()) + allocation(self.keys.len())
    }

    /// Counts a read of a key.
    #[cold]
    pub(super) fn note(&mut self, key: &[u8]) {
        let hash = hash(key);
        let is_key = |at: &usize| self.counters[*at].hash == hash && self.key(*at) == key;
        if let Some(at) = (0..self.counters.len()).find(is_key) {
            self.counters[at].estimate += 1;
            return;
        }
        let counter = Counter { hash, estimate: 1, error: 0, key_len: key.len() as u8 };
        let at = self.counters.len();
        if at < HOT_KEYS_MAX {
            self.counters.push(counter);
            self.set_key(at, key);
            return;
        }
        let lowest = (0..at).min_by_key(|&at| self.counters[at].estimate).expect("it is full");
        let error = self.counters[lowest].estimate;
        self.counters[lowest] = Counter { estimate: error + 1, error, ..counter };
        self.set_key(lowest, key);
    }

    /// Up to `keys_max` keys, those with the highest estimate first: each with the estimate of its reads and by how much
    /// that may be too high. It is never too low, but for what [`HotKeys::age`] says.
    pub(super) fn top(&self, keys_max: usize) -> Vec<(Bytes, u64, u64)> {
        let mut order: Vec<usize> = (0..self.counters.len()).collect();
        order.sort_by(|&a, &b| {
            let by_estimate = self.counters[b].estimate.cmp(&self.counters[a].estimate);
            by_estimate.then_with(|| self.key(a).cmp(self.key(b)))
        });
        let listed = |at: usize| {
            let counter = &self.counters[at];
            (Bytes::copy_from_slice(self.key(at)), counter.estimate, counter.error)
        };
        order.into_iter().take(keys_max).map(listed).collect()
    }

    /// Halves all counts, so that what was hot gives way to what is. A key that comes to less than one read is dropped.
    pub(super) fn age(&mut self) {
        for at in (0..self.counters.len()).rev() {
            let Counter { estimate, error, .. } = self.counters[at];
            if estimate <= 1 {
                self.drop_counter(at);
                continue;
            }
            // The estimate is rounded up and what is certain down: between them lies half of the truth.
            let (halved, certain) = (estimate.div_ceil(2), (estimate - error) / 2);
            let counter = &mut self.counters[at];
            (counter.estimate, counter.error) = (halved, halved - certain);
        }
    }

    fn drop_counter(&mut self, at: usize) {
        let last = self.counters.len() - 1;
        self.counters.swap_remove(at);
        self.keys.copy_within(last * KEY_BYTES_MAX..(last + 1) * KEY_BYTES_MAX, at * KEY_BYTES_MAX);
    }

    fn key(&self, at: usize) -> &[u8] {
        let start = at * KEY_BYTES_MAX;
        &self.keys[start..start + usize::from(self.counters[at].key_len)]
    }

    fn set_key(&mut self, at: usize, key: &[u8]) {
        let start = at * KEY_BYTES_MAX;
        self.keys[start..start + key.len()].copy_from_slice(key);
    }
}

/// Eight bytes at a time.
fn hash(key: &[u8]) -> u64 {
    let (words, rest) = key.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain(std::iter::once(&last));
    words.fold(key.len() as u64, |hash, word| table_hash(u64::from_le_bytes(*word), hash))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn key(number: u64) -> String {
        format!("key:{number}")
    }

    /// Keys of which number `n` comes about 1 / (n + 1) as often as number 0, in an order that looks random.
    fn skewed(reads: u64) -> impl Iterator<Item = u64> {
        (0..reads).map(|read| {
            let random = (table_hash(read, 7) >> 11) as f64 / (1u64 << 53) as f64;
            (5_000f64.powf(random) - 1.0) as u64
        })
    }

    #[test]
    fn the_hottest_keys_are_found_and_bounded_however_many_others_there_are() {
        let (mut hot, mut truth) = (HotKeys::new(), BTreeMap::<String, u64>::new());
        let bytes = hot.bytes();
        for number in skewed(100_000) {
            hot.note(key(number).as_bytes());
            *truth.entry(key(number)).or_default() += 1;
        }
        assert!(truth.len() > 1_000, "{} keys", truth.len());
        let top = hot.top(usize::MAX);
        assert_eq!((top.len(), hot.bytes()), (HOT_KEYS_MAX, bytes));
        assert!(top.is_sorted_by(|a, b| a.1 >= b.1));
        for (key, estimate, error) in &top {
            let reads = truth[std::str::from_utf8(key).expect("text")];
            assert!(estimate - error <= reads && reads <= *estimate, "{key:?}: {reads}, {estimate} - {error}");
        }
        let lowest = top[HOT_KEYS_MAX - 1].1;
        assert!(lowest <= 100_000 / HOT_KEYS_MAX as u64);
        for (name, _) in truth.iter().filter(|&(_, &reads)| reads > lowest) {
            assert!(top.iter().any(|(key, ..)| key == name.as_bytes()), "{name} is missing");
        }
        let first: Vec<_> = hot.top(3).into_iter().map(|(key, ..)| key).collect();
        assert_eq!(first, ["key:0", "key:1", "key:2"]);
    }

    #[test]
    fn ageing_halves_what_was_and_bounds_still_hold() {
        let mut hot = HotKeys::new();
        let mut truth = BTreeMap::<String, f64>::new();
        for (read, number) in skewed(50_000).enumerate() {
            hot.note(key(number).as_bytes());
            *truth.entry(key(number)).or_default() += 1.0;
            if read % 10_000 == 9_999 {
                hot.age();
                truth.values_mut().for_each(|reads| *reads /= 2.0);
            }
        }
        for (key, estimate, error) in hot.top(usize::MAX) {
            let reads = truth[std::str::from_utf8(&key).expect("text")];
            assert!(
                (estimate - error) as f64 <= reads && reads < estimate as f64 + 1.0,
                "{key:?}: {reads}, {estimate}"
            );
        }
    }

    #[test]
    fn what_is_no_longer_read_goes() {
        let mut hot = HotKeys::new();
        for number in 0..HOT_KEYS_MAX as u64 {
            (0..=number).for_each(|_| hot.note(key(number).as_bytes()));
        }
        // 32 is halved five times before it is 1, and dropped then.
        for left in [31, 30, 28, 24, 16, 0] {
            hot.age();
            let top = hot.top(usize::MAX);
            assert_eq!(top.len(), left);
            let first = HOT_KEYS_MAX - left;
            let mut numbers: Vec<String> =
                top.iter().map(|(key, ..)| String::from_utf8(key.to_vec()).expect("text")).collect();
            numbers.sort();
            let mut expected: Vec<String> = (first as u64..HOT_KEYS_MAX as u64).map(key).collect();
            expected.sort();
            assert_eq!(numbers, expected);
        }
    }

    #[test]
    fn keys_of_every_length_are_told_apart() {
        let mut hot = HotKeys::new();
        let long = [b'k'; KEY_BYTES_MAX];
        let keys = [&b"k"[..], b"kk", b"kkkkkkk", b"kkkkkkkk", b"kkkkkkkk\0", &long[..249], &long];
        for (reads, key) in keys.iter().enumerate() {
            (0..=reads).for_each(|_| hot.note(key));
        }
        let listed: Vec<(Bytes, u64, u64)> = hot.top(keys.len() + 1);
        let expected = keys.iter().enumerate().rev();
        assert_eq!(
            listed,
            expected.map(|(reads, key)| (Bytes::copy_from_slice(key), reads as u64 + 1, 0)).collect::<Vec<_>>()
        );
    }
}
