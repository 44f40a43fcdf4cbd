//! What one call changed in the store's counts, and what it evicted.
//!
//! Must not know which call it was.

use std::collections::BTreeSet;

use memring_engine::store::{Evictions, Listing, Missing, StoreStats};
use memring_protocol::entry::{Body, UnixMillis};

use super::World;
use super::model::Record;
use super::names::{name, number_of};

/// Differences of counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) items: i64,
    pub(crate) tombstones: i64,
    pub(crate) total: i64,
    pub(crate) evicted: i64,
    pub(crate) reclaimed: i64,
    pub(crate) tombstones_dropped: i64,
    pub(crate) too_large: i64,
    pub(crate) out_of_memory: i64,
    /// Whether the item that the call wrote over was evicted first.
    pub(crate) own_evicted: bool,
}

impl Flow {
    fn between(before: &StoreStats, after: &StoreStats) -> Self {
        let change = |before: u64, after: u64| after as i64 - before as i64;
        Self {
            items: change(before.curr_items, after.curr_items),
            tombstones: change(before.tombstones, after.tombstones),
            total: change(before.total_items, after.total_items),
            evicted: change(before.evictions, after.evictions),
            reclaimed: change(before.reclaimed, after.reclaimed),
            tombstones_dropped: change(before.tombstones_dropped, after.tombstones_dropped),
            too_large: change(before.too_large, after.too_large),
            out_of_memory: change(before.out_of_memory, after.out_of_memory),
            own_evicted: false,
        }
    }
}

impl World {
    /// Takes what the store dropped out of the map; `own` is the key that the call wrote, if any.
    pub(crate) fn take_in(&mut self, own: Option<u16>, before: &StoreStats, noted: Evictions) -> Flow {
        let after = self.stats;
        let mut flow = Flow::between(before, &after);
        let sums = [flow.total, flow.evicted, flow.reclaimed, flow.tombstones_dropped];
        assert!(sums.iter().all(|sum| *sum >= 0), "a sum went down: {flow:?}");
        assert_eq!(flow.evicted, noted.items.len() as i64 + noted.missed as i64, "evictions counted and noted");
        assert!(self.evicts || flow.evicted == 0, "a store that does not evict did");
        let unfetched = noted.items.iter().filter(|listing| !listing.fetched).count() as u64;
        let counted = after.evicted_unfetched - before.evicted_unfetched;
        assert!((unfetched..=unfetched + noted.missed).contains(&counted), "evicted unfetched: {counted}");
        for listing in &noted.items {
            flow.own_evicted |= Some(self.take_evicted(listing)) == own;
        }
        if noted.missed > 0 {
            flow.own_evicted |= self.find_missed(own, noted.missed);
        }
        if flow.tombstones_dropped > 0 {
            self.find_dropped(own, flow.tombstones_dropped);
        }
        flow
    }

    fn take_evicted(&mut self, listing: &Listing) -> u16 {
        let key = number_of(&listing.key);
        let record = self.model.live_item(self.now, key).unwrap_or_else(|| panic!("key {key} was evicted, not live"));
        assert_same(listing, record, self.now);
        self.model.records.remove(&key);
        key
    }

    /// More was evicted at once than is noted: those that are gone are looked for, and there must be so many. True if the
    /// one that was written over is one of them.
    fn find_missed(&mut self, own: Option<u16>, missed: u64) -> bool {
        let (now, store) = (self.now, &self.store);
        let is_gone = |key: u16| store.listing(now, name(key)) == Err(Missing::Absent);
        let others = self.model.all_live(now).filter(|(key, record)| record.is_item() && Some(*key) != own);
        let gone: Vec<u16> = others.map(|(key, _)| key).filter(|key| is_gone(*key)).collect();
        for key in &gone {
            self.model.records.remove(key);
        }
        let own_live = own.is_some_and(|key| self.model.live_item(now, key).is_some());
        let own_evicted = own_live && gone.len() as u64 + 1 == missed;
        assert_eq!(gone.len() as u64 + u64::from(own_evicted), missed, "items gone, and evictions missed");
        if own_evicted && let Some(key) = own {
            self.model.records.remove(&key);
        }
        own_evicted
    }

    /// Tombstones were dropped before their time: which ones, nobody says.
    fn find_dropped(&mut self, own: Option<u16>, dropped: i64) {
        let (now, store) = (self.now, &self.store);
        let is_gone = |key: u16| store.version(now, name(key), false).is_none();
        let others = self.model.all_live(now).filter(|(key, record)| !record.is_item() && Some(*key) != own);
        let gone: Vec<u16> = others.map(|(key, _)| key).filter(|key| is_gone(*key)).collect();
        for key in &gone {
            self.model.records.remove(key);
        }
        // Dead ones, and the one that was written over, are not seen to go.
        let dead = self.model.count(now).3;
        let own = own.and_then(|key| self.model.records.get(&key)).is_some_and(|record| !record.is_item());
        let unseen = dead as i64 + i64::from(own);
        assert!((gone.len() as i64..=gone.len() as i64 + unseen).contains(&dropped), "{dropped} tombstones dropped");
    }
}

/// What is told of an item is what the map has of it.
pub(crate) fn assert_same(listing: &Listing, record: &Record, now: UnixMillis) {
    let Body::Item(item) = &record.entry.body else { panic!("a tombstone is listed: {listing:?}") };
    let key = number_of(&listing.key);
    let told = (listing.cas, listing.value_bytes, listing.flags, listing.expiry, listing.marks);
    assert_eq!(told, (item.cas, item.value.len(), item.flags, item.expiry, item.marks), "listing of key {key}");
    assert_eq!(listing.fetched, record.fetched, "whether key {key} was fetched");
    assert_eq!(u64::from(listing.accessed_s), record.accessed_s, "when key {key} was read, at {}", now.seconds());
}

/// Whether all are of different keys.
pub(crate) fn are_different(listings: &[Listing]) -> bool {
    let keys: BTreeSet<&[u8]> = listings.iter().map(|listing| &listing.key[..]).collect();
    keys.len() == listings.len()
}
