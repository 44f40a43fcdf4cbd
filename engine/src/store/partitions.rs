//! The store by partition: promised ballots, digests, pages of entries.
//!
//! Must not know what nodes do with them.

use bytes::Bytes;
use memring_protocol::entry::{Entry, UnixMillis};
use memring_protocol::key::{Key, PARTITIONS, Partition, Token};
use memring_protocol::limits::BUCKETS;
use memring_protocol::version::{Ballot, Stamp, Version};

use super::Store;
use super::hash::digest_share;

impl Store {
    /// Promises a term: lower ballots are refused from now on. Returns the partition's digest at this moment, also when
    /// this very ballot was promised before (a duplicate message); or the higher ballot that was.
    pub fn promise(&self, partition: Partition, ballot: Ballot) -> Result<u64, Ballot> {
        let mut shard = self.lock(partition);
        shard.promise(partition, ballot)?;
        Ok(shard.index.digest(partition))
    }

    /// The highest ballot that a partition has promised; [`Ballot::NONE`] if none.
    pub fn promised(&self, partition: Partition) -> Ballot {
        self.lock(partition).index.promised(partition)
    }

    /// Makes a partition's promised ballot at least this: what a copying home learns from another.
    pub fn raise_promised(&self, partition: Partition, ballot: Ballot) {
        // Already higher is as good.
        let _ = self.lock(partition).promise(partition, ballot);
    }

    /// XOR over all that is held of a partition (tombstones and dead entries too) of a mix of key and version: the same
    /// on every node that holds the same. 0 when nothing is held. [`Store::page`] reclaims the dead ones.
    pub fn digest(&self, partition: Partition) -> u64 {
        self.lock(partition).index.digest(partition)
    }

    /// Entries of a partition, tombstones too, in the order of their key digests from `cursor` on (0 is the start), until
    /// `limit_bytes` of keys and values (and 32 for each entry) are passed; at least one if there is any. With them the
    /// next cursor, or `None` at the end.
    pub fn page(
        &self,
        now: UnixMillis,
        partition: Partition,
        cursor: u64,
        limit_bytes: usize,
    ) -> (Vec<(Key, Entry)>, Option<u64>) {
        let moment = self.moment(now);
        let page = self.lock(partition).page(moment, partition, None, cursor, limit_bytes);
        with_keys(page)
    }

    /// Forgets a partition: its entries and its promised ballot.
    pub fn clear_partition(&self, partition: Partition) {
        self.lock(partition).clear_partition(partition);
    }

    /// The digest of each of a partition's [`BUCKETS`]: those of entries whose token has this number in the six bits
    /// behind the partition's own. Reclaims the dead ones first, so that their XOR is [`Store::digest`] from then on. Walks
    /// the partition.
    pub fn bucket_digests(&self, now: UnixMillis, partition: Partition) -> [u64; BUCKETS] {
        let moment = self.moment(now);
        let mut shard = self.lock(partition);
        shard.reclaim_dead_of(moment, partition);
        let mut digests = [0; BUCKETS];
        for place in shard.index.members(&shard.segments, partition) {
            let token = shard.record(place).token();
            digests[bucket_of(token)] ^= digest_share(token.0, shard.version(place));
        }
        digests
    }

    /// Token and version of what is held of some buckets of a partition (a bit for each), tombstones too, in the order of
    /// tokens from `first` on. At most `entries_max` of them, unless more keys than that have one token; with them the next
    /// token to go on at. Reclaims dead entries. Walks the partition.
    pub fn versions(
        &self,
        now: UnixMillis,
        partition: Partition,
        buckets: u64,
        first: Token,
        entries_max: usize,
    ) -> Versions {
        let moment = self.moment(now);
        let mut shard = self.lock(partition);
        shard.reclaim_dead_of(moment, partition);
        let places = shard.index.members(&shard.segments, partition);
        let listed = places.map(|place| (shard.record(place).token(), shard.version(place)));
        let mut listed: Vec<_> =
            listed.filter(|(token, _)| *token >= first && buckets >> bucket_of(*token) & 1 != 0).collect();
        let evicted = shard.evicted_upto;
        drop(shard);
        listed.sort_unstable();
        let beyond = listed.get(entries_max).map(|(token, _)| *token);
        let end = beyond.map_or(listed.len(), |beyond| {
            // Keys of one token are listed together, and one token at least.
            let before = listed.partition_point(|(token, _)| *token < beyond);
            if before > 0 { before } else { listed.partition_point(|(token, _)| *token <= beyond) }
        });
        let next = listed.get(end).map(|(token, _)| *token);
        listed.truncate(end);
        Versions { entries: listed, next, evicted }
    }

    /// Key and version of what is held under these tokens, which must be sorted. Walks the partition.
    pub fn keys_of(&self, partition: Partition, tokens: &[Token]) -> Vec<(Key, Version)> {
        let shard = self.lock(partition);
        let places = shard.index.members(&shard.segments, partition);
        let wanted = places.filter(|&place| tokens.binary_search(&shard.record(place).token()).is_ok());
        let found: Vec<_> =
            wanted.map(|place| (Bytes::copy_from_slice(shard.record(place).key()), shard.version(place))).collect();
        drop(shard);
        let with_key = |(bytes, version)| (Key::new(bytes).expect("the store holds keys only"), version);
        found.into_iter().map(with_key).collect()
    }

    /// As [`Store::page`], but of entries of one heat only: whoever copies a partition may begin with what is read most.
    /// The pages of all heats are the partition, unless what is read meanwhile changes its heat.
    pub fn page_of_heat(
        &self,
        now: UnixMillis,
        partition: Partition,
        heat: Heat,
        cursor: u64,
        limit_bytes: usize,
    ) -> (Vec<(Key, Entry)>, Option<u64>) {
        let moment = self.moment(now);
        let page = self.lock(partition).page(moment, partition, Some(heat), cursor, limit_bytes);
        with_keys(page)
    }
}

/// What a home holds of some buckets of a partition, without keys and values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Versions {
    /// Token and version of each entry, in this order.
    pub entries: Vec<(Token, Version)>,
    /// Where to go on; `None` at the end.
    pub next: Option<Token>,
    /// What is not listed may have been evicted if its stamp is not above this: no younger one ever was.
    pub evicted: Stamp,
}

/// How an entry has been read, as far as eviction knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heat {
    /// Proven, or read twice and more since it was stored or moved.
    Hot,
    /// Read once.
    Warm,
    /// Not read; tombstones too.
    Cold,
}

impl Heat {
    /// All, the hottest first.
    pub const ALL: [Self; 3] = [Self::Hot, Self::Warm, Self::Cold];
}

/// Which of a partition's buckets a token is in.
fn bucket_of(token: Token) -> usize {
    (token.0 >> (u64::BITS - PARTITIONS.trailing_zeros() - BUCKETS.trailing_zeros())) as usize % BUCKETS
}

/// Hashing keys is left to when the lock is free.
fn with_keys((entries, next): (Vec<(Bytes, Entry)>, Option<u64>)) -> (Vec<(Key, Entry)>, Option<u64>) {
    let with_key = |(bytes, entry)| (Key::new(bytes).expect("the store holds keys only"), entry);
    (entries.into_iter().map(with_key).collect(), next)
}
