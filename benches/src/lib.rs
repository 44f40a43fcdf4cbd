//! What memring's benchmarks share: the keys, values and moment they measure with, and how long they measure.
//!
//! Every input is a function of a number, so that two runs measure the same. Nothing here reads a clock: criterion does.
//!
//! ```text
//! benches/text, frame   bytes to values and back        benches/ring   key to partition to homes
//! benches/store         one shard's work for one key    benches/node   a request, whole, on a node alone
//! ```

use std::time::Duration;

use bytes::Bytes;
use criterion::Criterion;
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, UnixMillis};
use memring_protocol::key::Key;
use memring_protocol::version::{Ballot, STAMP_EPOCH_UNIX_MS, Slot, Stamp, Version};

/// The length of every key, in bytes: what `prefix:kind:number` of a typical application comes to.
pub const KEY_BYTES: usize = 30;

/// Keys that a benchmark goes round: so many that no branch predictor learns them, so few that all stay in the store.
pub const KEYS: usize = 1000;

/// The sizes of values that stand for small, usual and large ones, in bytes, with their names.
pub const VALUES: [(&str, usize); 3] = [("100 B", 100), ("1 KB", 1 << 10), ("10 KB", 10 << 10)];

/// The moment of every benchmark: 2026-01-01.
pub const NOW: UnixMillis = UnixMillis(STAMP_EPOCH_UNIX_MS + 365 * 24 * 60 * 60 * 1000);

/// Criterion for a look of a few seconds at each benchmark: enough to see what doubled, too little for a few percent.
/// `cargo bench -- --measurement-time 10` looks closer.
pub fn quick() -> Criterion {
    Criterion::default()
        .without_plots()
        .sample_size(30)
        .nresamples(10_000)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args()
}

/// The bytes of key `number`.
pub fn key_bytes(number: usize) -> Bytes {
    let bytes = Bytes::from(format!("bench:object:{number:017}"));
    assert_eq!(bytes.len(), KEY_BYTES, "every key is as long as it says");
    bytes
}

/// Key `number`.
pub fn key(number: usize) -> Key {
    Key::new(key_bytes(number)).expect("30 bytes are a key")
}

/// The first `count` keys.
pub fn keys(count: usize) -> Vec<Key> {
    (0..count).map(key).collect()
}

/// A value of so many bytes.
pub fn value(bytes: usize) -> Bytes {
    Bytes::from(vec![b'v'; bytes])
}

/// An item that never expires.
pub fn item(value: &Bytes) -> Item {
    Item { value: value.clone(), flags: 0, cas: stamp(0).0, expiry: Expiry::NEVER, marks: Marks::NONE }
}

/// What a home keeps of write `number` of a key: the higher the number, the newer.
pub fn entry(number: u64, value: &Bytes) -> Entry {
    let version = Version { ballot: ballot(), stamp: stamp(number) };
    Entry { version, body: Body::Item(item(value)) }
}

/// The term of every write.
pub fn ballot() -> Ballot {
    Ballot::new(1, slot())
}

fn slot() -> Slot {
    Slot::new(1).expect("1 is a slot")
}

/// The stamp that follows `number` others of this slot: a stamp's low 10 bits are the slot, which stays.
fn stamp(number: u64) -> Stamp {
    Stamp(Stamp::at(NOW.0, slot()).0 + (number << 10))
}
