//! Walks over a shard: pages of a partition, clearing one, and the background sweep.
//!
//! Must not know who asked for them.

use bytes::Bytes;
use memring_protocol::entry::{Entry, UnixMillis};
use memring_protocol::key::Partition;
use memring_protocol::version::Ballot;

use super::TOMBSTONE_LIFE_MS;
use super::listing::Listing;
use super::record::Record;
use super::shard::{Moment, Shard};
use super::slab::Queue;

/// What an entry counts in a page beside key and value: its version, flags, expiry and lengths on a wire.
const PAGE_ENTRY_BYTES: usize = 32;

/// How many items of a queue one listing looks at.
const LISTED_LOOKS_MAX: usize = 65_536;

/// What one sweep of a shard came to.
pub(super) struct Swept {
    /// Slots looked at.
    pub(super) examined: usize,
    /// Records removed.
    pub(super) removed: usize,
}

impl Shard {
    /// See `Store::page`. Keys come as bytes: hashing them is left to when the lock is free.
    pub(super) fn page(
        &mut self,
        moment: Moment,
        partition: Partition,
        cursor: u64,
        limit_bytes: usize,
    ) -> (Vec<(Bytes, Entry)>, Option<u64>) {
        let dead = self.members_where(partition, |record| moment.is_dead(record));
        for id in dead {
            self.reclaim(moment, id);
        }
        let token = |id| self.slab.record(id).token().0;
        let mut members = self.members_where(partition, |record| record.token().0 >= cursor);
        members.sort_unstable_by_key(|&id| (token(id), self.slab.record(id).key()));
        let mut entries = Vec::new();
        let (mut bytes, mut last) = (0, cursor);
        for &id in &members {
            // A page ends between tokens only: the next one starts at a token.
            if bytes > limit_bytes && token(id) != last {
                return (entries, Some(token(id)));
            }
            let record = self.slab.record(id);
            bytes += record.payload_len() + PAGE_ENTRY_BYTES;
            last = token(id);
            entries.push((Bytes::copy_from_slice(record.key()), record.entry()));
        }
        (entries, None)
    }

    pub(super) fn clear_partition(&mut self, partition: Partition) {
        for id in self.members_where(partition, |_| true) {
            self.remove(id);
        }
        self.index.set_promised(partition, Ballot::NONE);
        assert_eq!(self.index.digest(partition), 0, "the digest of nothing is 0");
    }

    /// Looks at up to `slots_max` slots from where the last sweep stopped, up to the last slot.
    pub(super) fn sweep(&mut self, moment: Moment, slots_max: usize) -> Swept {
        let end = self.slab.end();
        let from = self.sweep_from.min(end);
        let to = from + slots_max.min((end - from) as usize) as u32;
        let mut removed = 0;
        for id in from..to {
            let record = self.slab.record(id);
            if record.is_empty() {
                continue;
            }
            let is_item = !record.is_tombstone();
            let class = self.classes.of(record);
            class.crawler_items_checked += u64::from(is_item);
            self.stats.crawler_items_checked += u64::from(is_item);
            if moment.is_dead(record) || (record.is_tombstone() && is_too_old(record, moment.now)) {
                class.crawler_reclaimed += u64::from(is_item);
                self.stats.crawler_reclaimed += u64::from(is_item);
                self.reclaim(moment, id);
                removed += 1;
            }
        }
        self.sweep_from = if to == end { 0 } else { to };
        Swept { examined: (to - from) as usize, removed }
    }

    /// Live items of a class, the newest of each queue first. Looks at up to [`LISTED_LOOKS_MAX`] items of each queue, for
    /// the lock is held, and lists up to `items_max`.
    pub(super) fn newest_of_class(&self, moment: Moment, class: u32, items_max: usize) -> Vec<Listing> {
        let mut listed = Vec::new();
        for queue in [&self.small, &self.main] {
            let from_head = std::iter::successors(queue.newest(), |&id| Queue::older_than(&self.slab, id));
            let of_class = from_head
                .take(LISTED_LOOKS_MAX)
                .map(|id| self.slab.record(id))
                .filter(|record| super::class_of(record.item_size()) == class && !moment.is_dead(record));
            listed.extend(of_class.take(items_max - listed.len()).filter_map(Record::listing));
        }
        listed
    }

    fn members_where(&self, partition: Partition, wanted: impl Fn(&Record) -> bool) -> Vec<u32> {
        self.index.members(&self.slab, partition).filter(|&id| wanted(self.slab.record(id))).collect()
    }
}

fn is_too_old(tombstone: &Record, now: UnixMillis) -> bool {
    now.0.saturating_sub(tombstone.version().stamp.unix_ms()) > TOMBSTONE_LIFE_MS
}
