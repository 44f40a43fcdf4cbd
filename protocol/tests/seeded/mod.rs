//! Random streams that can be made again: a seeded generator, and the loop that runs one case a seed.
//!
//! Not proptest, whose cases cost too much for a million of them in every test run. Must not know what the streams are
//! for.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Quick in a debug build.
const CASES_DEFAULT: u64 = 20_000;

/// Streams stay under the 2 KiB a line may wait for its end: above it the answer does depend on the cuts.
const STREAM_BYTES_MAX: usize = 2000;

#[expect(clippy::disallowed_methods, reason = "how long to search is the caller's choice, in no way the product's")]
fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// Runs a case for each seed and names the seed of one that fails.
pub(crate) fn for_each_case(case: impl Fn(&mut Seeded)) {
    let first = number_from_env("MEMRING_SEED").unwrap_or(1);
    let cases = number_from_env("MEMRING_CASES").unwrap_or(CASES_DEFAULT);
    for seed in first..first + cases {
        // Neighbouring seeds start neighbouring sequences; one step of mixing parts them.
        let mut seeded = Seeded(Seeded(seed).next());
        if catch_unwind(AssertUnwindSafe(|| case(&mut seeded))).is_err() {
            panic!("reproduce with MEMRING_SEED={seed} MEMRING_CASES=1");
        }
    }
}

/// SplitMix64: enough disorder for tests, and any case can be made again from its seed.
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn is_one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    /// A number near a power of two, where number bugs live.
    pub(crate) fn number(&mut self) -> u64 {
        self.next() >> self.below(64)
    }

    pub(crate) fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        (0..self.below(len_max + 1)).map(|_| self.next() as u8).collect()
    }

    /// A key that may be sent, rarely of the greatest length or named as a keyword.
    pub(crate) fn key(&mut self) -> Vec<u8> {
        let len = if self.is_one_in(16) { 250 } else { 1 + self.below(12) };
        if self.is_one_in(32) {
            return b"noreply".to_vec();
        }
        (0..len).map(|_| self.printable()).collect()
    }

    /// Any byte above the space but DEL.
    fn printable(&mut self) -> u8 {
        let byte = self.below(0xff - 0x21) as u8 + 0x21;
        if byte < 0x7f { byte } else { byte + 1 }
    }

    /// Words in any order, sometimes with a byte changed.
    pub(crate) fn stream(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut stream = Vec::new();
        for _ in 0..1 + self.below(16) {
            match self.is_one_in(16) {
                true => stream.extend(self.bytes(8)),
                false => stream.extend_from_slice(words[self.below(words.len())]),
            }
        }
        stream.truncate(STREAM_BYTES_MAX);
        if self.is_one_in(4) && !stream.is_empty() {
            let at = self.below(stream.len());
            stream[at] = self.next() as u8;
        }
        stream
    }
}
