//! What one connection asks, request after request: drawn from its own random numbers, so that a seed gives the same requests
//! on a connection however fast its replies come.
//!
//! Must not know sockets, times or replies.

use std::sync::Arc;

use bytes::BytesMut;
use memring_client::StoreVerb;
use memring_client::raw::{encode_get, encode_store};

use super::keys::{Names, Sampler};
use super::random::Random;
use super::values::Sizes;

/// What all connections of a load have in common.
#[derive(Debug)]
pub(super) struct Mix {
    pub(super) names: Names,
    pub(super) sampler: Sampler,
    pub(super) sizes: Sizes,
    /// Any value is its beginning.
    pub(super) block: Vec<u8>,
    /// So many gets come with so many sets.
    pub(super) gets: u32,
    pub(super) sets: u32,
    pub(super) keys_per_get: u16,
    /// Exptime of what is set.
    pub(super) ttl_s: u32,
    pub(super) seed: u64,
}

/// What was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Request {
    /// The values of so many keys.
    Get {
        /// Some may be the same.
        keys: u16,
    },
    /// To store a value.
    Set,
}

/// One connection's requests.
#[derive(Debug)]
pub(super) struct Workload {
    mix: Arc<Mix>,
    random: Random,
    /// Kept for its memory.
    keys: Vec<u8>,
}

impl Workload {
    /// The requests of the connection with this number.
    pub(super) fn new(mix: Arc<Mix>, connection: u64) -> Self {
        let random = Random::new(mix.seed, connection);
        Self { mix, random, keys: Vec::new() }
    }

    /// Writes the next request.
    pub(super) fn put_next(&mut self, out: &mut BytesMut) -> Request {
        let mix = &*self.mix;
        self.keys.clear();
        let all = u64::from(mix.gets) + u64::from(mix.sets);
        if self.random.below(all) < u64::from(mix.gets) {
            for _ in 0..mix.keys_per_get {
                mix.names.put(mix.sampler.draw(&mut self.random), &mut self.keys);
            }
            encode_get(self.keys.chunks(mix.names.len()), false, out);
            return Request::Get { keys: mix.keys_per_get };
        }
        let number = mix.sampler.draw(&mut self.random);
        mix.names.put(number, &mut self.keys);
        encode_store(StoreVerb::Set, &self.keys, 0, mix.ttl_s.into(), mix.value(number), false, out);
        Request::Set
    }
}

impl Mix {
    /// What is stored under the key of a number.
    pub(super) fn value(&self, number: u64) -> &[u8] {
        &self.block[..self.sizes.of(number, self.seed)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::Distribution;
    use super::super::values::block;
    use super::*;

    fn mix(gets: u32, sets: u32, keys_per_get: u16) -> Arc<Mix> {
        let sizes = Sizes::parse("1..4").expect("a range");
        Arc::new(Mix {
            names: Names::new("k"),
            sampler: Sampler::new(Distribution::Uniform, 100),
            block: block(4, 1),
            sizes,
            gets,
            sets,
            keys_per_get,
            ttl_s: 60,
            seed: 1,
        })
    }

    fn requests(mix: &Arc<Mix>, connection: u64, count: usize) -> (Vec<Request>, BytesMut) {
        let (mut workload, mut out) = (Workload::new(Arc::clone(mix), connection), BytesMut::new());
        ((0..count).map(|_| workload.put_next(&mut out)).collect(), out)
    }

    #[test]
    fn the_ratio_is_kept() {
        let (asked, _) = requests(&mix(9, 1, 1), 0, 10_000);
        let sets = asked.iter().filter(|request| **request == Request::Set).count();
        assert!((880..1_120).contains(&sets), "{sets}");
        assert!(requests(&mix(1, 0, 1), 0, 100).0.iter().all(|request| *request == Request::Get { keys: 1 }));
        assert!(requests(&mix(0, 1, 1), 0, 100).0.iter().all(|request| *request == Request::Set));
    }

    #[test]
    fn a_connection_always_asks_the_same() {
        let mix = mix(1, 1, 3);
        assert_eq!(requests(&mix, 5, 100), requests(&mix, 5, 100));
        assert_ne!(requests(&mix, 5, 100).1, requests(&mix, 6, 100).1);
    }

    #[test]
    fn requests_are_the_protocol_s() {
        let (asked, out) = requests(&mix(1, 0, 2), 0, 1);
        assert_eq!(asked, [Request::Get { keys: 2 }]);
        let line = String::from_utf8_lossy(&out).into_owned();
        let words: Vec<&str> = line.trim_end().split(' ').collect();
        assert_eq!((words.len(), words[0], words[1].len(), &words[1][..9]), (3, "get", 11, "k00000000"), "{line}");
        let (_, out) = requests(&mix(0, 1, 1), 0, 1);
        assert!(out.starts_with(b"set k00000000") && out.ends_with(b"\r\n"), "{out:?}");
        assert_eq!(out[..].split(|byte| *byte == b' ').nth(3), Some(&b"60"[..]), "{out:?}");
    }
}
