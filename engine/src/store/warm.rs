//! Lookups of many keys at once: what they will touch is touched first, step by step for all of them.
//!
//! A lookup goes from a table's head to its buckets, a segment's descriptor, and a record, and each of these is likely to
//! be in memory only, not in the processor's cache: one lookup waits for them one after the other. Here the processor is
//! given all heads to fetch, then all buckets, and so on, and waits for many at once. (Group prefetching: Chen et al.,
//! "Improving Hash Join Performance through Prefetching", 2004; with loads, for there is no safe prefetch.) Must not
//! change anything, nor be needed for any answer.

use std::hint::black_box;

use memring_protocol::key::{KeyRef, Token};
use smallvec::SmallVec;

use super::Store;
use super::shard::Shard;

/// Keys that are touched together: more would push each other out of the nearest cache again.
pub const WARMED_MAX: usize = 32;

/// Bytes of a record behind its head that are touched: the head, a key and the first of the value.
const TOUCHED_AT: [usize; 2] = [0, 64];

impl Store {
    /// Touches what lookups of these keys will touch, of the first [`WARMED_MAX`] of them. Locks each shard once.
    pub fn warm(&self, keys: &[KeyRef<'_>]) {
        let keys = &keys[..keys.len().min(WARMED_MAX)];
        let of_shard = |key: &KeyRef<'_>| (self.shard_of(key.partition()), key.digest().token());
        let mut tokens: SmallVec<[(usize, Token); WARMED_MAX]> = keys.iter().map(of_shard).collect();
        tokens.sort_unstable_by_key(|(shard, _)| *shard);
        for group in tokens.chunk_by(|(one, _), (other, _)| one == other) {
            black_box(self.shards[group[0].0].lock().touch(group));
        }
    }
}

impl Shard {
    fn touch(&self, tokens: &[(usize, Token)]) -> usize {
        let mut touched: usize = tokens.iter().map(|(_, token)| self.index.entries_beside(*token)).sum();
        let places: SmallVec<[u32; WARMED_MAX]> =
            tokens.iter().filter_map(|(_, token)| self.index.likely(*token)).collect();
        touched += places.iter().map(|&place| self.segments.queue(place) as usize).sum::<usize>();
        for at in TOUCHED_AT {
            let byte = |&place: &u32| self.record(place).bytes().get(at).map_or(0, |byte| usize::from(*byte));
            touched += places.iter().map(byte).sum::<usize>();
        }
        touched
    }
}
