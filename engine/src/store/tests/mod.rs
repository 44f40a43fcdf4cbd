//! Tests of the store as others see it, and the words they are told in. Must not know how records lie in memory.

mod behaviour;
mod eviction;
mod full;
mod limit;
mod listing;
mod model;
mod proofs;
#[cfg(shuttle)]
mod schedules;
mod threads;

use bytes::Bytes;
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, UnixMillis};
use memring_protocol::key::{Key, Partition};
use memring_protocol::version::{Ballot, STAMP_EPOCH_UNIX_MS, Slot, Stamp, Version};

use super::{Store, StoreConfig};

/// A moment some seconds after stamps begin.
fn at(seconds: u64) -> UnixMillis {
    UnixMillis(STAMP_EPOCH_UNIX_MS + 1_000_000_000 + seconds * 1000)
}

fn key(name: &str) -> Key {
    Key::copy_from(name.as_bytes()).expect("a key")
}

fn ballot(round: u64) -> Ballot {
    Ballot::new(round, Slot::new(1).expect("a slot"))
}

/// A version of term 1, stamped at this moment.
fn version_at(now: UnixMillis) -> Version {
    Version { ballot: ballot(1), stamp: Stamp::at(now.0, Slot::new(1).expect("a slot")) }
}

fn item_of(version: Version, value: &[u8], expiry: Expiry) -> Entry {
    let item =
        Item { value: Bytes::copy_from_slice(value), flags: 0, cas: version.stamp.0, expiry, marks: Marks::NONE };
    Entry { version, body: Body::Item(item) }
}

/// An item written at this moment, for ever.
fn item(now: UnixMillis, value: &[u8]) -> Entry {
    item_of(version_at(now), value, Expiry::NEVER)
}

fn tombstone(now: UnixMillis) -> Entry {
    Entry { version: version_at(now), body: Body::Tombstone }
}

fn store_of(memory_limit_bytes: usize) -> Store {
    Store::new(config_of(memory_limit_bytes))
}

fn config_of(memory_limit_bytes: usize) -> StoreConfig {
    StoreConfig { memory_limit_bytes, item_bytes_max: 10 << 10, threads: 1, evict: true, hash_seed: 0x5eed }
}

fn value_of(store: &Store, now: UnixMillis, key: &Key) -> Option<Bytes> {
    store.get(now, key).map(|item| item.value)
}

/// Everything that is held, page by page, partition by partition.
fn page_all(store: &Store, now: UnixMillis) -> Vec<(Key, Entry)> {
    let mut all = Vec::new();
    for partition in Partition::all() {
        let mut cursor = 0;
        loop {
            let (entries, next) = store.page(now, partition, cursor, 100);
            all.extend(entries);
            match next {
                Some(next) => cursor = next,
                None => break,
            }
        }
    }
    all
}

/// What must be true of every store at every moment between calls.
fn check_sound(store: &Store, now: UnixMillis) {
    let held = page_all(store, now);
    let stats = store.stats();
    assert!(stats.used_bytes <= stats.limit_maxbytes, "{stats:?}");
    let items = held.iter().filter(|(_, entry)| matches!(entry.body, Body::Item(_))).count();
    assert_eq!((stats.curr_items, stats.tombstones), (items as u64, (held.len() - items) as u64));
    let classes = store.class_stats(now);
    assert_eq!(classes.iter().map(|class| class.number).sum::<u64>(), stats.curr_items);
    assert_eq!(classes.iter().map(|class| class.bytes).sum::<u64>(), stats.bytes);
    assert!(classes.iter().all(|class| class.small <= class.number), "{classes:?}");
    let mut digests = vec![0; Partition::all().len()];
    for (key, entry) in &held {
        digests[key.partition().index()] ^= super::hash::digest_share(key.digest().token().0, entry.version);
    }
    for partition in Partition::all() {
        assert_eq!(store.digest(partition), digests[partition.index()], "{partition:?}");
    }
}
