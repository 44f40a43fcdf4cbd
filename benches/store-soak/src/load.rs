//! What the store is given: keys, sizes and chances that follow from numbers, and the two calls that are measured.
//!
//! Must not read a clock.

use bytes::Bytes;
use memring_engine::store::{Change, Store, StoreConfig, Updated};
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, UnixMillis};
use memring_protocol::key::Key;
use memring_protocol::version::{Ballot, STAMP_EPOCH_UNIX_MS, Slot, Stamp, Version};

/// 2026-01-01: when every run begins.
pub(crate) const BEGIN: UnixMillis = UnixMillis(STAMP_EPOCH_UNIX_MS + 365 * 24 * 60 * 60 * 1000);

/// The longest value written, in bytes.
pub(crate) const VALUE_BYTES_MAX: usize = 10 << 10;

/// Numbers that look random, from a seed (splitmix64: Steele et al., "Fast splittable pseudorandom number generators",
/// OOPSLA'14).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let once = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let twice = (once ^ once >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        twice ^ twice >> 31
    }

    /// One of `0..end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(end)) >> 64) as u64
    }

    /// A size of `least..=most`, every order of magnitude as likely as the next.
    pub(crate) fn size(&mut self, least: usize, most: usize) -> usize {
        let part = (self.number() >> 11) as f64 / (1u64 << 53) as f64;
        ((least as f64 * (most as f64 / least as f64).powf(part)).round() as usize).clamp(least, most)
    }
}

/// Makes writes, each newer than all before.
pub(crate) struct Writer {
    block: Bytes,
    last: Stamp,
}

impl Writer {
    pub(crate) fn new() -> Self {
        Self { block: Bytes::from(vec![b'v'; VALUE_BYTES_MAX]), last: Stamp::at(BEGIN.0, slot()) }
    }

    /// The next write: an item of so many bytes.
    pub(crate) fn entry(&mut self, bytes: usize, expiry: Expiry) -> Entry {
        self.last = self.last.next(slot());
        let version = Version { ballot: Ballot::new(1, slot()), stamp: self.last };
        let value = self.block.slice(..bytes);
        Entry { version, body: Body::Item(Item { value, flags: 0, cas: self.last.0, expiry, marks: Marks::NONE }) }
    }
}

pub(crate) fn store_of(memory_limit_bytes: usize) -> Store {
    Store::new(StoreConfig { memory_limit_bytes, item_bytes_max: 1 << 20, threads: 2, evict: true, hash_seed: 0x5eed })
}

/// Key `number`, 30 bytes long.
pub(crate) fn key(number: u64) -> Key {
    Key::copy_from(format!("bench:object:{number:017}").as_bytes()).expect("30 bytes are a key")
}

/// A client's read, its value into the buffer of a reply.
pub(crate) fn get(store: &Store, now: UnixMillis, key: &Key, reply: &mut Vec<u8>) {
    reply.clear();
    store.with_item(now, key, true, |item| item.copy_value(reply));
}

/// A client's write, as its serializer makes it.
pub(crate) fn set(store: &Store, now: UnixMillis, key: &Key, entry: Entry) {
    let (updated, ()) = store.update(now, key, |_| (Change::Put(entry), ()));
    assert_eq!(updated, Updated::Put, "a store that evicts has room");
}

fn slot() -> Slot {
    Slot::new(1).expect("1 is a slot")
}
