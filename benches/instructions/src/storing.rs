//! Reads and writes of the store, by keys that were made before: what a home does for one key when the cluster is done.
//!
//! Must not know the cluster.

use std::hint::black_box;

use memring_engine::store::{Change, Store, StoreConfig, Updated};
use memring_protocol::entry::{BodyRef, EntryRef, Expiry, ItemRef, Marks, UnixMillis, ValueRef};
use memring_protocol::key::KeyRef;
use memring_protocol::version::{Ballot, STAMP_EPOCH_UNIX_MS, Slot, Stamp, Version};

/// 2026-01-01.
const NOW: UnixMillis = UnixMillis(STAMP_EPOCH_UNIX_MS + 365 * 24 * 60 * 60 * 1000);

const VALUE_BYTES: usize = 1 << 10;

/// Items that are held where nothing is evicted.
const HELD: usize = 10_000;

/// Holds [`HELD`] items several times over.
const ROOMY_BYTES: usize = 64 << 20;

/// Holds about half of [`FILLING`] items, in one shard.
const TIGHT_BYTES: usize = 8 << 20;

/// Items that fill the tight store, and evict from it for long enough that all its queues are at work.
const FILLING: usize = 12_000;

/// Keys beyond those, for writes of new ones. All are made in every run, so that both numbers of times start alike.
const NEW_MAX: usize = 16_000;

/// Runs a case; false if it is none of these.
pub(crate) fn run(case: &str, times: usize) -> bool {
    match case {
        "store-get-1k" => get(times),
        "store-overwrite-1k" => overwrite(times),
        "store-evict-1k" => evict(times),
        _ => return false,
    }
    true
}

/// Reads of held items, each copied into the buffer of a reply.
fn get(times: usize) {
    let (store, names) = (store_of(ROOMY_BYTES), names(HELD));
    let keys = keys(&names);
    fill(&store, &keys);
    let mut reply = Vec::with_capacity(VALUE_BYTES);
    for &key in keys.iter().cycle().take(times) {
        reply.clear();
        read(&store, key, &mut reply);
    }
    assert_eq!((reply.len(), store.stats().get_hits), (VALUE_BYTES, times as u64), "all are held");
}

/// Writes of held keys with values as long as before.
fn overwrite(times: usize) {
    let (store, names) = (store_of(ROOMY_BYTES), names(HELD));
    let keys = keys(&names);
    fill(&store, &keys);
    let value = value();
    for (number, &key) in keys.iter().cycle().take(times).enumerate() {
        write(&store, key, HELD + number, &value);
    }
    assert_eq!(store.stats().evictions, 0, "all are held");
}

/// Writes of new keys into a full store: each evicts.
fn evict(times: usize) {
    assert!(times <= NEW_MAX, "so many keys are made");
    let (store, names) = (store_of(TIGHT_BYTES), names(FILLING + NEW_MAX));
    let keys = keys(&names);
    let (filling, new) = keys.split_at(FILLING);
    fill(&store, filling);
    let (before, value) = (store.stats().evictions, value());
    assert!(before > FILLING as u64 / 4, "it is full: {before}");
    for (number, &key) in new[..times].iter().enumerate() {
        write(&store, key, FILLING + number, &value);
    }
    black_box(&store);
}

/// A client's read, its value into the buffer.
fn read(store: &Store, key: KeyRef<'_>, reply: &mut Vec<u8>) {
    store.with_item(NOW, key, true, |item| item.copy_value(reply));
}

/// A client's write as its serializer makes it: write `number` of all.
fn write(store: &Store, key: KeyRef<'_>, number: usize, value: &[u8]) {
    let stamp = Stamp(Stamp::at(NOW.0, slot()).0 + ((number as u64) << 10));
    let version = Version { ballot: Ballot::new(1, slot()), stamp };
    let value = ValueRef::Part(value);
    let item = ItemRef { value, flags: 0, cas: stamp.0, expiry: Expiry::NEVER, marks: Marks::NONE };
    let entry = EntryRef { version, body: BodyRef::Item(item) };
    let (updated, ()) = store.update(NOW, key, |_| (Change::Write(entry), ()));
    assert_eq!(updated, Updated::Put);
}

fn fill(store: &Store, keys: &[KeyRef<'_>]) {
    let value = value();
    for (number, &key) in keys.iter().enumerate() {
        write(store, key, number, &value);
    }
}

fn value() -> Vec<u8> {
    vec![b'v'; VALUE_BYTES]
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("bench:object:{number:017}")).collect()
}

fn keys(names: &[String]) -> Vec<KeyRef<'_>> {
    names.iter().map(|name| KeyRef::new(name.as_bytes()).expect("30 bytes")).collect()
}

fn store_of(memory_limit_bytes: usize) -> Store {
    Store::new(StoreConfig { memory_limit_bytes, item_bytes_max: 1 << 20, threads: 1, evict: true, hash_seed: 0x5eed })
}

fn slot() -> Slot {
    Slot::new(1).expect("1 is a slot")
}
