//! Everything that can be asked of the store at once, held against the map.
//!
//! Must not know how it came to this.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use memring_engine::store::{CLASSES, Listing, Missing, Store, StoreConfig, class_bytes, class_of, item_size};
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, UnixMillis};
use memring_protocol::key::{Key, Partition};
use memring_protocol::version::Version;

use super::World;
use super::flow::{are_different, assert_same};
use super::names::{name, number_of, partition_of};

/// A roomy store with another secret: what it makes of a key and a version is what every node makes of it.
static MIRROR: LazyLock<Store> = LazyLock::new(|| {
    Store::new(StoreConfig {
        memory_limit_bytes: 2 << 20,
        item_bytes_max: 1 << 10,
        threads: 1,
        evict: true,
        hash_seed: 0xfeed,
    })
});

/// What counts for an entry in a page beside key and value.
const PAGE_ENTRY_BYTES: usize = 32;

/// Bytes that the store may count for an item beside what [`item_size`] says: fields that few items have.
const RARE_BYTES: u64 = 32;

impl World {
    /// Ends a story: all that the store can be asked.
    ///
    /// # Panics
    ///
    /// When an answer is not the map's.
    pub(crate) fn check_all(&mut self) {
        self.model.pass_time(self.now);
        let keys: Vec<u16> = self.model.records.keys().copied().collect();
        let partitions: BTreeSet<Partition> = keys.iter().copied().map(partition_of).collect();
        for partition in &partitions {
            self.list(*partition, 3);
            assert_eq!(self.page(*partition, 1000).len(), self.page(*partition, 0).len(), "pages of any size");
        }
        // Every partition that holds anything has been paged: nothing dead is left.
        let (items, dead_items, tombstones, dead_tombstones) = self.model.count(self.now);
        assert_eq!((dead_items, dead_tombstones), (0, 0), "dead ones that no page has met");
        assert_eq!((self.stats.curr_items, self.stats.tombstones), (items, tombstones), "all that is held");
        for key in keys {
            self.check_listing(key);
            self.get(key, false);
            self.read(key, false);
            self.version(key, false);
        }
        self.check_counts();
        self.check_classes();
        self.check_reading();
        let counts = (self.stats.get_hits, self.stats.get_misses);
        assert_eq!(counts, (self.hits, self.misses), "hits and misses");
    }

    /// What must be true after each call.
    pub(crate) fn check_counts(&mut self) {
        self.stats = self.store.stats();
        let stats = self.stats;
        let (items, dead_items, tombstones, dead_tombstones) = self.model.count(self.now);
        let (fewest, most) = (items, items + dead_items);
        assert!((fewest..=most).contains(&stats.curr_items), "{} items of {fewest} to {most}", stats.curr_items);
        let (fewest, most) = (tombstones, tombstones + dead_tombstones);
        assert!((fewest..=most).contains(&stats.tombstones), "{} tombstones, {fewest} to {most}", stats.tombstones);
        let left = stats.total_items as i64 - stats.evictions as i64 - stats.reclaimed as i64 - self.gone;
        assert_eq!(left, stats.curr_items as i64, "what came less what went: {stats:?}");
        let parts = [stats.expired_unfetched, stats.reclaimed_for_room + stats.crawler_reclaimed];
        assert!(parts.iter().all(|part| *part <= stats.reclaimed), "a part above its whole: {stats:?}");
        assert!(stats.index_bytes <= stats.used_bytes && stats.bytes <= stats.used_bytes, "{stats:?}");
        assert!(stats.evicted_unfetched <= stats.evictions && stats.evictions_small <= stats.evictions, "{stats:?}");
    }

    pub(crate) fn check_listing(&mut self, key: u16) {
        let listing = self.listing(key);
        match (listing, self.model.live_item(self.now, key)) {
            (Ok(listing), Some(record)) => assert_same(&listing, record, self.now),
            (Ok(listing), None) => panic!("key {key} is listed: {listing:?}"),
            (Err(missing), Some(record)) => panic!("key {key} is {missing:?}, not {record:?}"),
            (Err(Missing::Absent), None) => {}
            (Err(missing), None) => {
                let is_flushed = |version: Version| version.stamp <= self.model.flush.floor;
                let record = self.model.records.get(&key).filter(|record| record.is_item());
                let record = record.unwrap_or_else(|| panic!("key {key} is {missing:?}, and was never held"));
                let why = if is_flushed(record.entry.version) { Missing::Flushed } else { Missing::Expired };
                assert_eq!(missing, why, "why key {key} is not there");
            }
        }
    }

    /// Pages through a partition: the live ones, each once, in order. The dead are gone with that.
    pub(crate) fn page(&mut self, partition: Partition, limit_bytes: usize) -> Vec<(Key, Entry)> {
        let now = self.now;
        let (mut paged, mut cursor) = (Vec::new(), Some(0));
        while let Some(from) = cursor {
            let (entries, next) = self.read_call(|store| store.page(now, partition, from, limit_bytes));
            let bytes = entries.iter().map(|(key, entry)| key.len() + entry.value_len() + PAGE_ENTRY_BYTES);
            let but_last: usize = bytes.rev().skip(1).sum();
            assert!(but_last <= limit_bytes, "a page of {limit_bytes} goes on after {but_last}");
            assert!(!entries.is_empty() || next.is_none(), "an empty page, and there is more");
            paged.extend(entries);
            cursor = next;
        }
        let tokens: Vec<_> = paged.iter().map(|(key, _)| key.digest().token()).collect();
        assert!(tokens.is_sorted(), "pages in the order of digests");
        self.model.forget_dead(now, |key, _| partition_of(key) == partition);
        let mut got: Vec<(u16, &Entry)> = paged.iter().map(|(key, entry)| (number_of(key.as_bytes()), entry)).collect();
        got.sort_by_key(|(key, _)| *key);
        let live = self.model.all_live(now).filter(|(key, _)| partition_of(*key) == partition);
        let expected: Vec<(u16, &Entry)> = live.map(|(key, record)| (key, &record.entry)).collect();
        assert_eq!(got, expected, "pages of {partition:?}");
        let digest = paged.iter().fold(0, |digest, (key, entry)| digest ^ share(key, entry.version));
        assert_eq!(self.store.digest(partition), digest, "digest of {partition:?}");
        paged
    }

    /// Lists a partition: the live items, each once, in order.
    pub(crate) fn list(&mut self, partition: Partition, items_max: usize) {
        let now = self.now;
        let (mut listed, mut cursor) = (Vec::<Listing>::new(), Some(0));
        while let Some(from) = cursor {
            let (listings, next) = self.read_call(|store| store.list(now, partition, from, items_max));
            assert!(listings.len() <= items_max.max(1), "{} of {items_max} listed", listings.len());
            assert!(!listings.is_empty() || next.is_none(), "an empty page, and there is more");
            listed.extend(listings);
            cursor = next;
        }
        let is_member = |key: u16| partition_of(key) == partition;
        self.check_listed(&listed, &|key, _| is_member(key), true);
        let tokens: Vec<_> = listed.iter().map(|listing| name(number_of(&listing.key)).digest().token()).collect();
        assert!(tokens.is_sorted(), "listed in the order of tokens");
    }

    pub(crate) fn check_newest(&mut self, size: usize, items_max: usize) {
        let (now, class) = (self.now, class_of(size));
        let listed = self.read_call(|store| store.newest_of_class(now, class, items_max));
        assert!(listed.len() <= items_max, "{} of {items_max} listed", listed.len());
        self.check_listed(&listed, &|_, listing| listing.class() == class, items_max == usize::MAX);
    }

    /// What is listed is live and wanted; if `all`, it is all that is.
    fn check_listed(&self, listed: &[Listing], wanted: &dyn Fn(u16, &Listing) -> bool, all: bool) {
        assert!(are_different(listed), "listed twice");
        for listing in listed {
            let key = number_of(&listing.key);
            let record = self.model.live_item(self.now, key).unwrap_or_else(|| panic!("key {key} is listed, not live"));
            assert_same(listing, record, self.now);
            assert!(wanted(key, listing), "key {key} is not of these");
        }
        if all {
            let live = self.model.all_live(self.now).filter(|(_, record)| record.is_item());
            let count = live.filter_map(|(key, _)| Some((key, self.listing(key).ok()?)));
            let count = count.filter(|(key, listing)| wanted(*key, listing)).count();
            assert_eq!(listed.len(), count, "all are listed");
        }
    }

    /// The counts by class, when nothing dead is held.
    fn check_classes(&mut self) {
        let classes = self.store.class_stats(self.now);
        let bytes: u64 = classes.iter().map(|class| class.bytes).sum();
        assert_eq!(bytes, self.stats.bytes, "bytes of all classes");
        for class in 1..=CLASSES {
            self.check_newest(class_bytes(class), usize::MAX);
            let live = self.model.all_live(self.now).filter(|(_, record)| record.is_item());
            let size =
                |(key, record): (u16, &super::model::Record)| item_size(name(key).len(), record.entry.value_len());
            let sizes: Vec<usize> = live.map(size).filter(|size| class_of(*size) == class).collect();
            let (number, sum) = (sizes.len() as u64, sizes.iter().sum::<usize>() as u64);
            let counted = &classes[class as usize - 1];
            assert!(counted.number == number && counted.small <= number, "{number} of class {class}: {counted:?}");
            let bytes = sum..=sum + number * RARE_BYTES;
            assert!(bytes.contains(&counted.bytes), "{sum} bytes of class {class}: {counted:?}");
        }
    }

    /// What a reader was given is what it was.
    pub(crate) fn check_reading(&mut self) {
        if let Some((was, is)) = self.reading.take() {
            assert_eq!(was, is, "what a reader holds on to");
        }
    }
}

/// What an entry adds to the digest of its partition.
fn share(key: &Key, version: Version) -> u64 {
    let (value, flags) = (bytes::Bytes::new(), 0);
    let item = Item { value, flags, cas: version.stamp.0, expiry: Expiry::NEVER, marks: Marks::NONE };
    MIRROR.clear_partition(key.partition());
    MIRROR.apply(UnixMillis(0), key, None, &Entry { version, body: Body::Item(item) });
    MIRROR.digest(key.partition())
}
