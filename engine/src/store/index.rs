//! Where a shard's records are, by partition: small tables of places, digests, promised ballots.
//!
//! Must not know queues or time. Every partition has a digest and a ballot of its own. Tables are small, so that none takes
//! long to grow: a store of many gigabytes has several for each partition; in a small one neighbours share a table, for
//! thousands of nearly empty ones would fill a megabyte.

use hashbrown::HashTable;
use memring_protocol::key::{KeyRef, PARTITIONS, Partition, Token};
use memring_protocol::version::{Ballot, Version};

use super::accounting::allocation;
use super::hash::{digest_share, table_hash};
use super::segments::Segments;

/// Store memory for which there is one table, until every partition has its own (from 256 MiB on): a hundred small items.
const BYTES_PER_TABLE_MIN: usize = 16 << 10;

/// Store memory for which there is one table at least: some thousand small items, which move in less than a millisecond.
const BYTES_PER_TABLE_MAX: usize = 1 << 20;

/// Below this capacity a table is not worth shrinking.
const SHRINK_CAPACITY_MIN: usize = 28;

/// What a write asks of its partition: side by side, for it asks for both.
#[derive(Clone, Copy)]
struct OfPartition {
    digest: u64,
    promised: Ballot,
}

/// See the top of the file.
pub(super) struct Index {
    tables: Box<[HashTable<u32>]>,
    partitions: Box<[OfPartition]>,
    /// Bytes of the tables' contents.
    tables_bytes: usize,
    /// The low bits of a partition's number say the shard, the rest is its place here.
    shard_bits: u32,
    /// Partitions of one table, as a power of two.
    group_bits: u32,
    /// Tables of one partition, as a power of two.
    split_bits: u32,
    seed: u64,
}

impl Index {
    /// The index of one of `shards` (a power of two) shards of a store of `memory_bytes`.
    pub(super) fn new(shards: usize, memory_bytes: usize, seed: u64) -> Self {
        let partitions = usize::from(PARTITIONS) / shards;
        let grouped = (memory_bytes / BYTES_PER_TABLE_MIN / shards).next_power_of_two().clamp(1, partitions);
        let split = (memory_bytes / BYTES_PER_TABLE_MAX / shards / partitions).next_power_of_two();
        Self {
            tables: std::iter::repeat_with(HashTable::new).take(grouped * split).collect(),
            partitions: vec![OfPartition { digest: 0, promised: Ballot::NONE }; partitions].into(),
            tables_bytes: 0,
            shard_bits: shards.trailing_zeros(),
            group_bits: (partitions / grouped).trailing_zeros(),
            split_bits: split.trailing_zeros(),
            seed,
        }
    }

    /// Bytes of its memory.
    pub(super) fn bytes(&self) -> usize {
        self.fixed_bytes() + self.tables_bytes
    }

    /// Those of them that it takes when nothing is held.
    pub(super) fn fixed_bytes(&self) -> usize {
        allocation(size_of_val(&*self.tables)) + allocation(size_of_val(&*self.partitions))
    }

    /// Those of them that grow with what is held.
    pub(super) fn tables_bytes(&self) -> usize {
        self.tables_bytes
    }

    /// Bytes that the next insert of a token adds to [`Index::bytes`], or more: a table doubles at most.
    pub(super) fn growth(&self, token: Token) -> usize {
        let table = &self.tables[self.table_of(token)];
        if table.len() < table.capacity() {
            return 0;
        }
        allocation(table.allocation_size() * 2 + 64) - allocation(table.allocation_size())
    }

    /// The keyed hash of a token.
    pub(super) fn hash(&self, token: Token) -> u64 {
        table_hash(token.0, self.seed)
    }

    #[inline(always)]
    pub(super) fn find(&self, segments: &Segments, key: &KeyRef<'_>) -> Option<u32> {
        let token = key.digest().token();
        let (table, hash) = (&self.tables[self.table_of(token)], self.hash(token));
        // Tokens are 64 bits of SHA-1: two keys with the same one will hardly be met, but may.
        let place = *table.find(hash, |&place| segments.record(place).token() == token)?;
        if segments.record(place).has_key(key.as_bytes()) {
            return Some(place);
        }
        Self::find_among_alike(table, hash, segments, key)
    }

    /// How many entries are in the table where a token's would be.
    pub(super) fn entries_beside(&self, token: Token) -> usize {
        self.tables[self.table_of(token)].len()
    }

    /// A record that is most likely the one of a token, if there is one: its record was not looked at.
    pub(super) fn likely(&self, token: Token) -> Option<u32> {
        self.tables[self.table_of(token)].find(self.hash(token), |_| true).copied()
    }

    #[cold]
    fn find_among_alike(table: &HashTable<u32>, hash: u64, segments: &Segments, key: &KeyRef<'_>) -> Option<u32> {
        table.find(hash, |&place| segments.record(place).has_key(key.as_bytes())).copied()
    }

    /// Adds a record whose key is not held.
    pub(super) fn insert(&mut self, segments: &Segments, place: u32) {
        let (token, seed) = (segments.record(place).token(), self.seed);
        let at = self.table_of(token);
        let table = &mut self.tables[at];
        let before = table.allocation_size();
        table.insert_unique(table_hash(token.0, seed), place, |&place| {
            table_hash(segments.record(place).token().0, seed)
        });
        let after = table.allocation_size();
        self.count(before, after);
    }

    /// Takes a record out whose bytes are still there.
    pub(super) fn remove(&mut self, segments: &Segments, place: u32) {
        let (token, seed) = (segments.record(place).token(), self.seed);
        let at = self.table_of(token);
        let table = &mut self.tables[at];
        let before = table.allocation_size();
        let held = table.find_entry(table_hash(token.0, seed), |&held| held == place);
        held.expect("every live record is in the index").remove();
        let is_roomy = table.capacity() >= SHRINK_CAPACITY_MIN && table.len() < table.capacity() * 7 / 16;
        if table.is_empty() || is_roomy {
            table.shrink_to(table.len(), |&place| table_hash(segments.record(place).token().0, seed));
        }
        let after = table.allocation_size();
        self.count(before, after);
    }

    /// A record is somewhere else now, where its bytes are.
    pub(super) fn replace(&mut self, segments: &Segments, from: u32, to: u32) {
        let token = segments.record(to).token();
        let hash = self.hash(token);
        let at = self.table_of(token);
        let held = self.tables[at].find_mut(hash, |&held| held == from);
        *held.expect("every live record is in the index") = to;
    }

    /// The entry of a token is another version now.
    pub(super) fn note_exchange(&mut self, token: Token, from: Version, to: Version) {
        let local = self.local(token.partition());
        self.partitions[local].digest ^= digest_share(token.0, from) ^ digest_share(token.0, to);
    }

    /// Takes the share of an entry into its partition's digest, or out of it: called when it comes and when it goes.
    pub(super) fn note_change(&mut self, token: Token, version: Version) {
        let local = self.local(token.partition());
        self.partitions[local].digest ^= digest_share(token.0, version);
    }

    /// The records of a partition, in no order. Walks the partition's tables, which a small store shares among partitions.
    pub(super) fn members<'a>(
        &'a self,
        segments: &'a Segments,
        partition: Partition,
    ) -> impl Iterator<Item = u32> + 'a {
        let first = self.local(partition) >> self.group_bits << self.split_bits;
        let places = self.tables[first..first + (1 << self.split_bits)].iter().flatten().copied();
        places.filter(move |&place| segments.record(place).partition() == partition)
    }

    pub(super) fn digest(&self, partition: Partition) -> u64 {
        self.partitions[self.local(partition)].digest
    }

    pub(super) fn promised(&self, partition: Partition) -> Ballot {
        self.partitions[self.local(partition)].promised
    }

    pub(super) fn set_promised(&mut self, partition: Partition, ballot: Ballot) {
        let local = self.local(partition);
        self.partitions[local].promised = ballot;
    }

    fn count(&mut self, before: usize, after: usize) {
        if before != after {
            self.tables_bytes = self.tables_bytes + allocation(after) - allocation(before);
        }
    }

    /// Its place among the partitions of this shard.
    pub(super) fn local(&self, partition: Partition) -> usize {
        partition.index() >> self.shard_bits
    }

    fn table_of(&self, token: Token) -> usize {
        let group = self.local(token.partition()) >> self.group_bits;
        // The lowest bits of a token say nothing else.
        group << self.split_bits | token.0 as usize & ((1 << self.split_bits) - 1)
    }
}
