//! Where a shard's records are, by partition: small tables of slot numbers, digests, promised ballots.
//!
//! Must not know queues or time. Every partition has a digest and a ballot of its own; a large store has a table for
//! each too, a small one shares a table among neighbours, for thousands of nearly empty tables would fill a megabyte.

use hashbrown::HashTable;
use memring_protocol::key::{Key, PARTITIONS, Partition};
use memring_protocol::version::Ballot;

use super::accounting::allocation;
use super::hash::{digest_share, table_hash};
use super::slab::Slab;

/// Store memory for which there is one table, until every partition has its own (from 32 MiB on): a dozen small items.
const BYTES_PER_TABLE: usize = 2048;

/// Below this capacity a table is not worth shrinking.
const SHRINK_CAPACITY_MIN: usize = 28;

/// See the top of the file.
pub(super) struct Index {
    tables: Box<[HashTable<u32>]>,
    digests: Box<[u64]>,
    promised: Box<[Ballot]>,
    /// Bytes of the tables' contents.
    tables_bytes: usize,
    /// The low bits of a partition's number say the shard, the rest is its place here.
    shard_bits: u32,
    /// Partitions of one table, as a power of two.
    group_bits: u32,
    seed: u64,
}

impl Index {
    /// The index of one of `shards` (a power of two) shards of a store of `memory_bytes`.
    pub(super) fn new(shards: usize, memory_bytes: usize, seed: u64) -> Self {
        let partitions = usize::from(PARTITIONS) / shards;
        let tables = (memory_bytes / BYTES_PER_TABLE / shards).next_power_of_two().clamp(1, partitions);
        Self {
            tables: std::iter::repeat_with(HashTable::new).take(tables).collect(),
            digests: vec![0; partitions].into(),
            promised: vec![Ballot::NONE; partitions].into(),
            tables_bytes: 0,
            shard_bits: shards.trailing_zeros(),
            group_bits: (partitions / tables).trailing_zeros(),
            seed,
        }
    }

    /// Bytes of its memory.
    pub(super) fn bytes(&self) -> usize {
        allocation(size_of_val(&*self.tables))
            + allocation(size_of_val(&*self.digests))
            + allocation(size_of_val(&*self.promised))
            + self.tables_bytes
    }

    /// Bytes that the next insert into a partition adds to [`Index::bytes`], or more: a table doubles at most.
    pub(super) fn growth(&self, partition: Partition) -> usize {
        let table = &self.tables[self.table_of(partition)];
        if table.len() < table.capacity() {
            return 0;
        }
        allocation(table.allocation_size() * 2 + 64) - allocation(table.allocation_size())
    }

    /// The keyed hash of a token.
    pub(super) fn hash(&self, token: u64) -> u64 {
        table_hash(token, self.seed)
    }

    pub(super) fn find(&self, slab: &Slab, key: &Key) -> Option<u32> {
        let token = key.digest().token();
        let same = |&id: &u32| {
            let record = slab.record(id);
            record.token() == token && record.key() == key.as_bytes()
        };
        self.tables[self.table_of(key.partition())].find(self.hash(token.0), same).copied()
    }

    /// Adds a record whose key is not held.
    pub(super) fn insert(&mut self, slab: &Slab, id: u32) {
        let (partition, token, seed) = (slab.record(id).partition(), slab.record(id).token().0, self.seed);
        let at = self.table_of(partition);
        let table = &mut self.tables[at];
        self.tables_bytes -= allocation(table.allocation_size());
        table.insert_unique(table_hash(token, seed), id, |&id| table_hash(slab.record(id).token().0, seed));
        self.tables_bytes += allocation(table.allocation_size());
        self.note_change(slab, id);
    }

    /// Takes a record out that is still in its slot.
    pub(super) fn remove(&mut self, slab: &Slab, id: u32) {
        let (partition, token, seed) = (slab.record(id).partition(), slab.record(id).token().0, self.seed);
        let at = self.table_of(partition);
        let table = &mut self.tables[at];
        let held = table.find_entry(table_hash(token, seed), |&held| held == id);
        held.expect("every record in a slot is in the index").remove();
        if table.is_empty() || (table.capacity() >= SHRINK_CAPACITY_MIN && table.len() < table.capacity() / 8) {
            self.tables_bytes -= allocation(table.allocation_size());
            table.shrink_to(table.len() * 2, |&id| table_hash(slab.record(id).token().0, seed));
            self.tables_bytes += allocation(table.allocation_size());
        }
        self.note_change(slab, id);
    }

    /// Takes the share of a record into its partition's digest, or out of it: called when it comes and when it goes.
    pub(super) fn note_change(&mut self, slab: &Slab, id: u32) {
        let record = slab.record(id);
        let local = self.local(record.partition());
        self.digests[local] ^= digest_share(record.token().0, record.version());
    }

    /// The slots of a partition, in no order. Walks the partition's table, which a small store shares among partitions.
    pub(super) fn members<'a>(&'a self, slab: &'a Slab, partition: Partition) -> impl Iterator<Item = u32> + 'a {
        let table = &self.tables[self.table_of(partition)];
        table.iter().copied().filter(move |&id| slab.record(id).partition() == partition)
    }

    pub(super) fn digest(&self, partition: Partition) -> u64 {
        self.digests[self.local(partition)]
    }

    pub(super) fn promised(&self, partition: Partition) -> Ballot {
        self.promised[self.local(partition)]
    }

    pub(super) fn set_promised(&mut self, partition: Partition, ballot: Ballot) {
        self.promised[self.local(partition)] = ballot;
    }

    fn local(&self, partition: Partition) -> usize {
        partition.index() >> self.shard_bits
    }

    fn table_of(&self, partition: Partition) -> usize {
        self.local(partition) >> self.group_bits
    }
}
