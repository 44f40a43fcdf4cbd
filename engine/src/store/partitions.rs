//! The store by partition: promised ballots, digests, pages of entries.
//!
//! Must not know what nodes do with them.

use memring_protocol::entry::{Entry, UnixMillis};
use memring_protocol::key::{Key, Partition};
use memring_protocol::version::Ballot;

use super::Store;

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
        let (entries, next) = self.lock(partition).page(moment, partition, cursor, limit_bytes);
        let with_key = |(bytes, entry)| (Key::new(bytes).expect("the store holds keys only"), entry);
        (entries.into_iter().map(with_key).collect(), next)
    }

    /// Forgets a partition: its entries and its promised ballot.
    pub fn clear_partition(&self, partition: Partition) {
        self.lock(partition).clear_partition(partition);
    }
}
