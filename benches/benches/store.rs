//! What the store costs: reads, entries from other homes, read-modify-writes, writes that must make room, sweeps, pages.
//!
//! Must not know the cluster. One thread: no lock is ever waited for.

use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use memring_benches::{KEYS, NOW, VALUES, ballot, entry, keys, quick, value};
use memring_engine::store::{Applied, Change, Store, StoreConfig, Updated, WARMED_MAX};
use memring_protocol::entry::{Body, Entry, Expiry, UnixMillis};
use memring_protocol::key::{Key, KeyRef, PARTITIONS, Partition};

/// Holds [`KEYS`] of the largest values several times over.
const ROOMY_BYTES: usize = 64 << 20;

/// Holds a fraction of [`MANY_KEYS`] values of 1 KB.
const TIGHT_BYTES: usize = 4 << 20;

/// More than the processor's nearer caches hold.
const COLD_KEYS: usize = 100_000;

/// From one of them to the next: a prime, and far from its neighbour's neighbours.
const COLD_STRIDE: usize = 48_271;

/// So many that, going round, none is held any more when its turn comes again.
const MANY_KEYS: usize = 20_000;

/// Places for entries that a node's sweep looks at.
const SWEEP_ENTRIES: usize = 4096;

/// Twelve for each partition, on average.
const PAGED_KEYS: usize = 12 * PARTITIONS as usize;

fn main() {
    let mut criterion = quick();
    reads(&mut criterion);
    batches(&mut criterion);
    applies(&mut criterion);
    updates(&mut criterion);
    lengths(&mut criterion);
    ends(&mut criterion);
    evictions(&mut criterion);
    sweeps(&mut criterion);
    pages(&mut criterion);
    criterion.final_summary();
}

fn reads(criterion: &mut Criterion) {
    let (keys, others) = (keys(KEYS), keys_from(KEYS));
    let mut group = criterion.benchmark_group("store/get");
    for (name, bytes) in VALUES {
        let store = filled(bytes);
        let mut round = keys.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| store.get(NOW, round.next().expect("it goes round")).expect("held"));
        });
    }
    let store = filled(100);
    let mut round = others.iter().cycle();
    group.bench_function("miss", |bencher| {
        bencher.iter(|| store.get(NOW, round.next().expect("it goes round")).is_none());
    });
    group.finish();
}

/// Reads of [`WARMED_MAX`] keys of many, in an order that no cache foresees: as they come, and touched before.
fn batches(criterion: &mut Criterion) {
    let keys = keys(COLD_KEYS);
    let store = store_of(1 << 30);
    let value = value(100);
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(store.apply(NOW, key, None, &entry(number as u64, &value)), Applied::Stored);
    }
    let mut reply = Vec::with_capacity(WARMED_MAX * 100);
    let mut group = criterion.benchmark_group("store/get 32 of 100,000");
    for (name, warms) in [("as they come", false), ("touched before", true)] {
        let mut at = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut batch = [KeyRef::from(&keys[0]); WARMED_MAX];
                for key in &mut batch {
                    at = (at + COLD_STRIDE) % COLD_KEYS;
                    *key = KeyRef::from(&keys[at]);
                }
                if warms {
                    store.warm(&batch);
                }
                reply.clear();
                for key in batch {
                    store.with_item(NOW, key, true, |item| item.copy_value(&mut reply));
                }
                assert_eq!(reply.len(), WARMED_MAX * 100);
            });
        });
    }
    group.finish();
}

fn applies(criterion: &mut Criterion) {
    let keys = keys(KEYS);
    let mut group = criterion.benchmark_group("store/apply");
    for (name, bytes) in VALUES {
        let (store, value) = (filled(bytes), value(bytes));
        let mut round = keys.iter().cycle();
        let mut number = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                number += 1;
                let key = round.next().expect("it goes round");
                let applied = store.apply(NOW, key, Some(ballot()), &entry(number, &value));
                assert_eq!(applied, Applied::Stored);
            });
        });
    }
    group.finish();
}

fn updates(criterion: &mut Criterion) {
    let keys = keys(KEYS);
    let mut group = criterion.benchmark_group("store/update");
    for (name, bytes) in VALUES {
        let (store, value) = (filled(bytes), value(bytes));
        let mut round = keys.iter().cycle();
        let mut number = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                number += 1;
                let key = round.next().expect("it goes round");
                let (updated, version) =
                    store.update(NOW, key, |held| (Change::Put(entry(number, &value)), held.version()));
                assert_eq!(updated, Updated::Put);
                version
            });
        });
    }
    group.finish();
}

/// Overwrites whose value is longer or shorter than the one before, in turn: what fits in place is half of them.
fn lengths(criterion: &mut Criterion) {
    let (keys, store) = (keys(KEYS), filled(1 << 10));
    let values = [value(1 << 10), value(600)];
    let mut number = 0;
    criterion.bench_function("store/apply/600 B over 1 KB and back", |bencher| {
        bencher.iter(|| {
            number += 1;
            let (round, at) = (number / KEYS, number % KEYS);
            let applied = store.apply(NOW, &keys[at], Some(ballot()), &entry(number as u64, &values[(round + 1) % 2]));
            assert_eq!(applied, Applied::Stored);
        });
    });
}

/// Overwrites with items that end.
fn ends(criterion: &mut Criterion) {
    let (keys, store, value) = (keys(KEYS), filled(1 << 10), value(1 << 10));
    let mut number = 0;
    criterion.bench_function("store/apply/1 KB, with a TTL", |bencher| {
        bencher.iter(|| {
            number += 1;
            let entry = ending(number as u64, &value, 10 + (number % 591) as u32);
            assert_eq!(store.apply(NOW, &keys[number % KEYS], Some(ballot()), &entry), Applied::Stored);
        });
    });
}

fn evictions(criterion: &mut Criterion) {
    let (store, keys, value) = (store_of(TIGHT_BYTES), keys(MANY_KEYS), value(1 << 10));
    let mut number = 0;
    let mut round = keys.iter().cycle();
    let mut write = || {
        number += 1;
        store.apply(NOW, round.next().expect("it goes round"), None, &entry(number, &value))
    };
    for _ in 0..MANY_KEYS {
        write();
    }
    assert!(store.stats().evictions > 0, "the store is full");
    criterion.bench_function("store/apply/1 KB, evicting", |bencher| bencher.iter(&mut write));
}

/// Sweeps of a whole store: where nothing has ended, and where all has, stored anew each time.
fn sweeps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("store/sweep");
    let (store, value) = (filled(1 << 10), value(100));
    group.bench_function("1000 items of 1 KB, nothing ended", |bencher| {
        bencher.iter(|| store.sweep(NOW, SWEEP_ENTRIES))
    });
    let (keys, store) = (keys(KEYS), store_of(ROOMY_BYTES));
    let later = UnixMillis(NOW.0 + 60_000);
    let mut number = 0;
    let mut fill = || {
        for key in &keys {
            number += 1;
            assert_eq!(store.apply(NOW, key, None, &ending(number, &value, 10)), Applied::Stored);
        }
    };
    group.bench_function("1000 items of 100 B, all ended", |bencher| {
        bencher.iter_batched(
            &mut fill,
            |()| {
                let mut left = KEYS;
                while left > 0 {
                    left -= store.sweep(later, SWEEP_ENTRIES);
                }
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Pages of a partition, as a home that returns copies it: of a store of small items, each page to its end.
fn pages(criterion: &mut Criterion) {
    let (store, value) = (store_of(ROOMY_BYTES), value(100));
    for number in 0..PAGED_KEYS {
        store.apply(NOW, &memring_benches::key(number), None, &entry(number as u64, &value));
    }
    let mut round = (0..PARTITIONS).cycle();
    criterion.bench_function("store/page/a partition of 12 items of 100 B", |bencher| {
        bencher.iter(|| {
            let partition = Partition::new(round.next().expect("it goes round")).expect("it is below them all");
            store.page(NOW, partition, 0, 1 << 20)
        });
    });
}

/// Write `number` of an item that ends after so many seconds.
fn ending(number: u64, value: &Bytes, after_s: u32) -> Entry {
    let mut entry = entry(number, value);
    if let Body::Item(item) = &mut entry.body {
        item.expiry = Expiry::at(NOW.seconds() as u32 + after_s);
    }
    entry
}

fn filled(bytes: usize) -> Store {
    let (store, value) = (store_of(ROOMY_BYTES), value(bytes));
    for key in keys(KEYS) {
        assert_eq!(store.apply(NOW, &key, None, &entry(0, &value)), Applied::Stored);
    }
    store
}

fn store_of(memory_limit_bytes: usize) -> Store {
    Store::new(StoreConfig { memory_limit_bytes, item_bytes_max: 1 << 20, threads: 1, evict: true, hash_seed: 0x5eed })
}

/// As many keys again, none of which any store here holds.
fn keys_from(first: usize) -> Vec<Key> {
    (first..first + KEYS).map(memring_benches::key).collect()
}
