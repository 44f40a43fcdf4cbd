//! What the store costs: reads, entries from other homes, read-modify-writes, and writes that must make room.
//!
//! Must not know the cluster. One thread: no lock is ever waited for.

use criterion::Criterion;
use memring_benches::{KEYS, NOW, VALUES, ballot, entry, keys, quick, value};
use memring_engine::store::{Applied, Change, Store, StoreConfig, Updated};

/// Holds [`KEYS`] of the largest values several times over.
const ROOMY_BYTES: usize = 64 << 20;

/// Holds a fraction of [`MANY_KEYS`] values of 1 KB.
const TIGHT_BYTES: usize = 4 << 20;

/// So many that, going round, none is held any more when its turn comes again.
const MANY_KEYS: usize = 20_000;

fn main() {
    let mut criterion = quick();
    reads(&mut criterion);
    applies(&mut criterion);
    updates(&mut criterion);
    evictions(&mut criterion);
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

fn filled(bytes: usize) -> Store {
    let (store, value) = (store_of(ROOMY_BYTES), value(bytes));
    for key in keys(KEYS) {
        assert_eq!(store.apply(NOW, &key, None, &entry(0, &value)), Applied::Stored);
    }
    store
}

fn store_of(memory_limit_bytes: usize) -> Store {
    Store::new(StoreConfig { memory_limit_bytes, item_bytes_max: 1 << 20, evict: true, hash_seed: 0x5eed })
}

/// As many keys again, none of which any store here holds.
fn keys_from(first: usize) -> Vec<memring_protocol::key::Key> {
    (first..first + KEYS).map(memring_benches::key).collect()
}
