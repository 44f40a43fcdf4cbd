//! The plain store: a map, a clock and the rules in their plainest words. It is told what was evicted.
//!
//! Must not know memory: what fits is the store's to say.

use std::collections::BTreeMap;

use memring_protocol::entry::{Body, Entry, Seen, UnixMillis};
use memring_protocol::flush::FlushState;
use memring_protocol::key::Partition;
use memring_protocol::version::{Ballot, Stamp};

use super::names::partition_of;

/// What one key holds, and how it was read.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) entry: Entry,
    pub(crate) fetched: bool,
    pub(crate) accessed_s: u64,
}

impl Record {
    pub(crate) fn new(entry: Entry, now: UnixMillis) -> Self {
        Self { entry, fetched: false, accessed_s: now.seconds() }
    }

    pub(crate) fn is_item(&self) -> bool {
        self.entry.body != Body::Tombstone
    }

    pub(crate) fn seen(&self, now: UnixMillis) -> Seen {
        if !self.is_item() {
            return Seen::default();
        }
        let idle_s = now.seconds().saturating_sub(self.accessed_s);
        Seen { fetched: self.fetched, idle_s: u32::try_from(idle_s).expect("a story is short") }
    }

    pub(crate) fn notice(&mut self, now: UnixMillis) {
        (self.fetched, self.accessed_s) = (true, now.seconds());
    }

    pub(crate) fn cas(&self) -> Option<u64> {
        match &self.entry.body {
            Body::Item(item) => Some(item.cas),
            Body::Tombstone => None,
        }
    }
}

/// See the top of the file.
#[derive(Default)]
pub(crate) struct Model {
    /// By key. Live ones are held for certain; dead ones may have been reclaimed.
    pub(crate) records: BTreeMap<u16, Record>,
    promised: BTreeMap<Partition, Ballot>,
    pub(crate) flush: FlushState,
    applied_flush: Option<Stamp>,
}

impl Model {
    /// A pending flush happens.
    pub(crate) fn pass_time(&mut self, now: UnixMillis) {
        if let Some((identity, at)) = self.flush.pending
            && at <= now
            && self.applied_flush != Some(identity)
        {
            self.flush.floor = self.flush.floor.max(Stamp::end_of(at.0));
            self.applied_flush = Some(identity);
        }
    }

    pub(crate) fn merge_flush(&mut self, other: FlushState) {
        self.flush.floor = self.flush.floor.max(other.floor);
        if other.pending.map(|(identity, _)| identity) > self.flush.pending.map(|(identity, _)| identity) {
            self.flush.pending = other.pending;
        }
    }

    pub(crate) fn is_live(&self, now: UnixMillis, record: &Record) -> bool {
        let expired = record.is_item() && record.entry.live_item(now).is_none();
        record.entry.version.stamp > self.flush.floor && !expired
    }

    /// What a reader sees of a key.
    pub(crate) fn live(&self, now: UnixMillis, key: u16) -> Option<&Record> {
        self.records.get(&key).filter(|record| self.is_live(now, record))
    }

    /// What an item's reader sees.
    pub(crate) fn live_item(&self, now: UnixMillis, key: u16) -> Option<&Record> {
        self.live(now, key).filter(|record| record.is_item())
    }

    /// All that is live, in the order of numbers.
    pub(crate) fn all_live(&self, now: UnixMillis) -> impl Iterator<Item = (u16, &Record)> {
        self.records.iter().filter(move |(_, record)| self.is_live(now, record)).map(|(key, record)| (*key, record))
    }

    /// How many records there are: (live items, dead items, live tombstones, dead tombstones).
    pub(crate) fn count(&self, now: UnixMillis) -> (u64, u64, u64, u64) {
        let mut counts = (0, 0, 0, 0);
        for record in self.records.values() {
            let count = match (record.is_item(), self.is_live(now, record)) {
                (true, true) => &mut counts.0,
                (true, false) => &mut counts.1,
                (false, true) => &mut counts.2,
                (false, false) => &mut counts.3,
            };
            *count += 1;
        }
        counts
    }

    /// Dead records of which this is true are gone for certain.
    pub(crate) fn forget_dead(&mut self, now: UnixMillis, gone: impl Fn(u16, &Record) -> bool) {
        let dead: Vec<u16> = self
            .records
            .iter()
            .filter(|(key, record)| !self.is_live(now, record) && gone(**key, record))
            .map(|(key, _)| *key)
            .collect();
        for key in dead {
            self.records.remove(&key);
        }
    }

    pub(crate) fn promised(&self, partition: Partition) -> Ballot {
        self.promised.get(&partition).copied().unwrap_or(Ballot::NONE)
    }

    pub(crate) fn promise(&mut self, partition: Partition, ballot: Ballot) -> Result<(), Ballot> {
        let promised = self.promised(partition);
        if promised > ballot {
            return Err(promised);
        }
        self.promised.insert(partition, ballot);
        Ok(())
    }

    pub(crate) fn clear(&mut self, partition: Partition) {
        self.records.retain(|key, _| partition_of(*key) != partition);
        self.promised.remove(&partition);
    }
}
