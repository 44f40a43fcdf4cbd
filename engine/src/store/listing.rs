//! What can be told of items without copying a value: the pages of a dump, and what was evicted while somebody watched.
//!
//! Must not know what a client is sent of it.

use bytes::Bytes;
use memring_protocol::entry::{Expiry, Marks, UnixMillis};
use memring_protocol::key::{Key, Partition};

use super::shard::{Moment, Shard};
use super::sync::Ordering;
use super::{Store, class_of, item_size};

/// Evicted items that a shard keeps until they are taken: some 40 KB. More than a write drops, and they are taken after
/// each turn.
const EVICTIONS_MAX: usize = 128;

/// An item but for its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listing {
    /// Its key, 1 to 250 bytes.
    pub key: Bytes,
    /// When it ends.
    pub expiry: Expiry,
    /// When this copy was last read by a client or stored, in unix seconds.
    pub accessed_s: u32,
    /// Its cas token.
    pub cas: u64,
    /// Whether a client has read this copy since it was stored.
    pub fetched: bool,
    /// The client's flags.
    pub flags: u32,
    /// What meta commands noted on it.
    pub marks: Marks,
    /// Bytes of its value.
    pub value_bytes: usize,
}

/// Why an item is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Missing {
    /// It never was, was deleted, or went long ago.
    #[default]
    Absent,
    /// Its time is over, and nobody has met it since.
    Expired,
    /// It was flushed, and nobody has met it since.
    Flushed,
}

impl Listing {
    /// Its bytes as `stats` tells them.
    pub fn size(&self) -> usize {
        item_size(self.key.len(), self.value_bytes)
    }

    /// Its size class.
    pub fn class(&self) -> u32 {
        class_of(self.size())
    }
}

/// What was evicted and has not been told yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Evictions {
    /// The items, in the order in which each shard dropped them.
    pub items: Vec<Listing>,
    /// How many more there were than are kept.
    pub missed: u64,
}

impl Evictions {
    /// Notes an item; tombstones are `None`, and are nobody's business.
    pub(super) fn note(&mut self, listing: Option<Listing>) {
        let Some(listing) = listing else { return };
        if self.items.len() < EVICTIONS_MAX {
            self.items.push(listing);
        } else {
            self.missed += 1;
        }
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty() && self.missed == 0
    }
}

impl Store {
    /// Live items of a partition in the order of their tokens from `cursor` on (0 is the start), about `items_max` of
    /// them, at least one if there is any; with them the next cursor, or `None` at the end. Nothing is counted, and no
    /// value is copied.
    pub fn list(
        &self,
        now: UnixMillis,
        partition: Partition,
        cursor: u64,
        items_max: usize,
    ) -> (Vec<Listing>, Option<u64>) {
        let moment = self.moment(now);
        self.lock(partition).list(moment, partition, cursor, items_max)
    }

    /// What [`Store::list`] would say of one key.
    pub fn listing(&self, now: UnixMillis, key: &Key) -> Result<Listing, Missing> {
        let moment = self.moment(now);
        let shard = self.lock(key.partition());
        let place = shard.find(&key.into()).ok_or(Missing::Absent)?;
        let record = shard.record(place);
        match shard.listing_of(place).ok_or(Missing::Absent)? {
            _ if moment.is_flushed(record) => Err(Missing::Flushed),
            _ if moment.is_dead(record) => Err(Missing::Expired),
            listing => Ok(listing),
        }
    }

    /// Whether live items that are evicted from now on are noted, for [`Store::take_evictions`].
    pub fn note_evictions(&self, wanted: bool) {
        self.notes_evictions.store(wanted, Ordering::Relaxed);
        if !wanted {
            self.has_evictions.store(true, Ordering::Relaxed);
            self.take_evictions();
        }
    }

    /// What was evicted since the last call: at most 128 items a shard.
    pub fn take_evictions(&self) -> Evictions {
        let mut taken = Evictions::default();
        if self.has_evictions.swap(false, Ordering::Relaxed) {
            for shard in &self.shards {
                let noted = std::mem::take(&mut shard.lock().evictions);
                taken.items.extend(noted.items);
                taken.missed += noted.missed;
            }
        }
        taken
    }

    /// Called with a shard that may have evicted, still locked: what it notes afterwards sets the flag again.
    pub(super) fn heed_evictions(&self, shard: &Shard) {
        if !shard.evictions.is_empty() {
            self.has_evictions.store(true, Ordering::Relaxed);
        }
    }
}

impl Shard {
    fn list(&self, moment: Moment, partition: Partition, cursor: u64, items_max: usize) -> (Vec<Listing>, Option<u64>) {
        let token = |place: u32| self.record(place).token().0;
        let wanted = |place: &u32| {
            let record = self.record(*place);
            record.token().0 >= cursor && !record.is_tombstone() && !moment.is_dead(record)
        };
        let mut members: Vec<u32> = self.index.members(&self.segments, partition).filter(wanted).collect();
        members.sort_unstable_by_key(|&place| (token(place), self.record(place).key()));
        let mut end = members.len().min(items_max.max(1));
        // A page ends between tokens only: the next one starts at a token.
        while end < members.len() && token(members[end]) == token(members[end - 1]) {
            end += 1;
        }
        let listings = members[..end].iter().filter_map(|&place| self.listing_of(place)).collect();
        (listings, members.get(end).map(|&place| token(place)))
    }
}
