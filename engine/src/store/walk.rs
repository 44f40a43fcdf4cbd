//! Walks over a shard: pages of a partition, clearing one, the newest items of a class.
//!
//! Must not know who asked for them.

use bytes::Bytes;
use memring_protocol::entry::Entry;
use memring_protocol::key::Partition;
use memring_protocol::version::Ballot;

use super::listing::Listing;
use super::partitions::Heat;
use super::record::Record;
use super::segments::NONE;
use super::shard::{Moment, Queue, Shard};

/// What an entry counts in a page beside key and value: its version, flags, expiry and lengths on a wire.
const PAGE_ENTRY_BYTES: usize = 32;

/// How many items of a queue one listing looks at.
const LISTED_LOOKS_MAX: usize = 65_536;

impl Shard {
    /// See `Store::page`. Keys come as bytes: hashing them is left to when the lock is free.
    pub(super) fn page(
        &mut self,
        moment: Moment,
        partition: Partition,
        heat: Option<Heat>,
        cursor: u64,
        limit_bytes: usize,
    ) -> (Vec<(Bytes, Entry)>, Option<u64>) {
        self.reclaim_dead_of(moment, partition);
        let token = |place| self.record(place).token().0;
        let mut members = self.members_where(partition, |record| record.token().0 >= cursor);
        members.retain(|&place| heat.is_none_or(|heat| self.heat(place) == heat));
        members.sort_unstable_by_key(|&place| (token(place), self.record(place).key()));
        let mut entries = Vec::new();
        let (mut bytes, mut last) = (0, cursor);
        for &place in &members {
            // A page ends between tokens only: the next one starts at a token.
            if bytes > limit_bytes && token(place) != last {
                return (entries, Some(token(place)));
            }
            let key = self.record(place).key();
            bytes += key.len() + self.value_len(place) + PAGE_ENTRY_BYTES;
            last = token(place);
            entries.push((Bytes::copy_from_slice(key), self.entry(place)));
        }
        (entries, None)
    }

    /// Reclaims what is over of a partition.
    pub(super) fn reclaim_dead_of(&mut self, moment: Moment, partition: Partition) {
        for place in self.members_where(partition, |record| moment.is_dead(record)) {
            self.reclaim(moment, place);
        }
    }

    fn heat(&self, place: u32) -> Heat {
        match (self.queue(place), self.record(place).frequency()) {
            (Queue::Main, _) | (Queue::Small, 2..) => Heat::Hot,
            (Queue::Small, 1) => Heat::Warm,
            _ => Heat::Cold,
        }
    }

    pub(super) fn clear_partition(&mut self, partition: Partition) {
        for place in self.members_where(partition, |_| true) {
            self.remove(place);
        }
        self.index.set_promised(partition, Ballot::NONE);
        assert_eq!(self.index.digest(partition), 0, "the digest of nothing is 0");
    }

    /// Live items of a class, the newest segments of each queue first. Looks at up to [`LISTED_LOOKS_MAX`] items of each
    /// queue, for the lock is held, and lists up to `items_max`.
    pub(super) fn newest_of_class(&self, moment: Moment, class: u32, items_max: usize) -> Vec<Listing> {
        let mut listed = Vec::new();
        for queue in [Queue::Small, Queue::Main] {
            let mut looks = 0;
            let mut number = self.log(queue).newest_segment();
            while number != NONE && looks < LISTED_LOOKS_MAX {
                let mut of_segment = self.places_in(number);
                looks += of_segment.len();
                of_segment.retain(|&place| {
                    let record = self.record(place);
                    let is_live = !record.is_dead() && !moment.is_dead(record);
                    is_live && super::class_of(self.item_size(place)) == class
                });
                let newest_first = of_segment.iter().rev().take(items_max - listed.len());
                listed.extend(newest_first.filter_map(|&place| self.listing_of(place)));
                number = self.segments.get(number).older;
            }
        }
        listed
    }

    fn places_in(&self, number: u32) -> Vec<u32> {
        let segment = self.segments.get(number);
        let offsets = std::iter::successors(segment.record_from(0), |&at| segment.record_from(segment.behind(at)));
        offsets.map(|offset| self.segments.place(number, offset)).collect()
    }

    fn members_where(&self, partition: Partition, wanted: impl Fn(Record<'_>) -> bool) -> Vec<u32> {
        self.index.members(&self.segments, partition).filter(|&place| wanted(self.record(place))).collect()
    }
}
