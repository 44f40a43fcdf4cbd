//! The store under a scheduler that chooses which thread goes on at every lock and atomic, thousands of times a story.
//!
//! Compiled under `cfg(shuttle)` alone: scripts/shuttle.sh. The scheduler knows orders, not weak memory: that a load sees
//! what a store before it released is taken as given. Must not know which primitive is where.

use bytes::Bytes;
use memring_protocol::entry::{Body, Entry, Expiry, UnixMillis};
use memring_protocol::flush::FlushState;
use memring_protocol::key::Key;
use memring_protocol::version::{Stamp, Version};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::Arc;
use shuttle::{Config, Runner, thread};

use super::{at, config_of, item, item_of, key, version_at};
use crate::store::{Applied, Change, Store, StoreConfig, Updated};

/// Schedules of each kind for a story. A story that fails prints its schedule; the seed is always the same.
const SCHEDULES: usize = 1000;

const SEED: u64 = 0x5eed;

/// Changes of order that lead to a bug, at most (Burckhardt et al., "A Randomized Scheduler with Probabilistic
/// Guarantees of Finding Bugs", ASPLOS'10: its depth).
const DEPTH: usize = 3;

/// Filling a store with items of this size takes a dozen.
const LARGE_BYTES: usize = 60 << 10;

fn check(story: impl Fn() + Send + Sync + Copy + 'static) {
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    Runner::new(RandomScheduler::new_from_seed(SEED, SCHEDULES), config.clone()).run(story);
    Runner::new(PctScheduler::new_from_seed(SEED, DEPTH, SCHEDULES), config).run(story);
}

fn small_store() -> Arc<Store> {
    Arc::new(Store::new(StoreConfig { item_bytes_max: 64 << 10, ..config_of(1 << 20) }))
}

/// An item whose value tells its version.
fn numbered(now: UnixMillis, number: u64) -> Entry {
    let stamp = Stamp(version_at(now).stamp.0 + number);
    item_of(Version { stamp, ..version_at(now) }, &stamp.0.to_le_bytes().repeat(9), Expiry::NEVER)
}

fn large(now: UnixMillis) -> Entry {
    item(now, &vec![7; LARGE_BYTES])
}

fn fill(store: &Store, names: &str, count: usize) {
    for number in 0..count {
        assert_eq!(store.apply(at(0), &key(&format!("{names}{number}")), None, &large(at(0))), Applied::Stored);
    }
}

/// What a reader sees is whole, and not older than what it saw before.
fn read(store: &Store, now: UnixMillis, key: &Key, last: &mut Option<Version>) {
    let Some(Entry { version, body: Body::Item(item) }) = store.peek(now, key) else { return };
    assert!(*last <= Some(version), "back from {last:?} to {version:?}");
    assert_eq!(item.value, version.stamp.0.to_le_bytes().repeat(9), "the value of another version");
    *last = Some(version);
}

#[test]
fn a_reader_of_two_writers_never_goes_back_while_a_sweep_passes() {
    check(|| {
        let store = small_store();
        let ends = Expiry::at(u32::try_from(at(5).seconds()).expect("before 2106"));
        store.apply(at(0), &key("b"), None, &item_of(version_at(at(0)), b"v", ends));
        let writer = |first: u64| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for number in [first, first + 2] {
                    let applied = store.apply(at(6), &key("a"), None, &numbered(at(6), number));
                    assert!(matches!(applied, Applied::Stored | Applied::Superseded), "{applied:?}");
                    let version = store.version(at(6), &key("a"), true);
                    assert!(version >= Some(numbered(at(6), number).version), "its own write is not there");
                }
                u64::from(store.get(at(6), &key("b")).is_some())
            })
        };
        let mut threads = vec![writer(1), writer(2)];
        let sweeper = Arc::clone(&store);
        threads.push(thread::spawn(move || (0..3).map(|_| sweeper.sweep(at(6), 1) as u64).sum()));
        let mut last = None;
        (0..3).for_each(|_| read(&store, at(6), &key("a"), &mut last));
        let swept: Vec<u64> = threads.into_iter().map(|thread| thread.join().expect("ends")).collect();
        assert!(swept[..2] == [0, 0] && swept[2] <= 1, "{swept:?}");
        read(&store, at(6), &key("a"), &mut last);
        assert_eq!(last, Some(numbered(at(6), 4).version), "the newest of all");
        store.sweep(at(6), 10);
        let stats = store.stats();
        assert_eq!((stats.curr_items, stats.reclaimed, stats.expired_unfetched), (1, 1, 1), "{stats:?}");
        assert!((2..=5).contains(&stats.total_items) && stats.get_misses == 2, "{stats:?}");
        assert_eq!(stats.get_hits + stats.evictions + stats.tombstones + stats.get_flushed, 0, "{stats:?}");
    });
}

#[test]
fn two_that_count_the_same_key_lose_no_step() {
    check(|| {
        let store = small_store();
        let counter = || {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for _ in 0..3 {
                    let (updated, ()) = store.update(at(0), &key("a"), |held| {
                        let count = held.entry().map_or(0, |entry| entry.value_len());
                        let stamp = Stamp(held.version().map_or(version_at(at(0)).stamp, |held| held.stamp).0 + 1);
                        let version = Version { stamp, ..version_at(at(0)) };
                        (Change::Put(item_of(version, &vec![1; count + 1], Expiry::NEVER)), ())
                    });
                    assert_eq!(updated, Updated::Put);
                }
            })
        };
        [counter(), counter()].into_iter().for_each(|thread| thread.join().expect("ends"));
        let value = store.get(at(0), &key("a")).expect("held").value;
        assert_eq!((value, store.stats().total_items), (Bytes::from_static(&[1; 6]), 6));
    });
}

#[test]
fn whoever_sees_that_no_flush_is_due_sees_the_floor_that_came_of_it() {
    check(|| {
        let store = small_store();
        store.apply(at(0), &key("a"), None, &item(at(0), b"old"));
        store.merge_flush(FlushState { floor: Stamp::ZERO, pending: Some((Stamp(5), at(10))), paced: None });
        let reader = || {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                assert_eq!(store.get(at(10), &key("a")), None, "flushed");
                let late = store.apply(at(10), &key("a"), None, &item(at(9), b"late"));
                assert_eq!(late, Applied::Superseded, "flushed before it came");
            })
        };
        let readers = [reader(), reader()];
        assert_eq!(store.apply(at(11), &key("b"), None, &item(at(11), b"new")), Applied::Stored);
        readers.into_iter().for_each(|thread| thread.join().expect("ends"));
        assert!(store.get(at(11), &key("b")).is_some(), "written after the flush");
        assert_eq!(
            store.flush(),
            FlushState { floor: Stamp::end_of(at(10).0), pending: Some((Stamp(5), at(10))), paced: None }
        );
        let stats = store.stats();
        assert_eq!((stats.curr_items, stats.reclaimed, stats.get_flushed), (1, 1, 1), "{stats:?}");
    });
}

#[test]
fn merges_of_flushes_end_the_same_in_any_order_and_no_floor_sinks() {
    check(|| {
        let store = small_store();
        store.apply(at(0), &key("a"), None, &item(at(1), b"old"));
        store.apply(at(0), &key("b"), None, &item(at(4), b"old"));
        let merger = |state: FlushState, now: UnixMillis| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                store.merge_flush(state);
                assert_eq!(store.get(now, &key("a")), None, "it merged the flush itself");
            })
        };
        let pending = |identity, second| Some((Stamp(identity), at(second)));
        let mergers = [
            merger(FlushState { floor: version_at(at(2)).stamp, pending: None, paced: None }, at(3)),
            merger(FlushState { floor: Stamp::ZERO, pending: pending(5, 3), paced: None }, at(3)),
            merger(FlushState { floor: version_at(at(1)).stamp, pending: pending(4, 9), paced: None }, at(3)),
        ];
        let mut is_gone = false;
        for _ in 0..4 {
            let found = store.get(at(3), &key("a")).is_some();
            assert!(!(found && is_gone), "a floor sank");
            is_gone = !found;
            assert!(store.get(at(3), &key("b")).is_some(), "no flush is so late");
        }
        mergers.into_iter().for_each(|thread| thread.join().expect("ends"));
        assert_eq!(store.get(at(3), &key("a")), None);
        // Whether the flush of identity 5 was applied before or after 4 came, 4 is the older one.
        assert_eq!(store.flush(), FlushState { floor: Stamp::end_of(at(3).0), pending: pending(5, 3), paced: None });
    });
}

#[test]
fn a_limit_that_is_lowered_while_others_write_is_kept_to() {
    check(|| {
        let store = Arc::new(Store::new(StoreConfig { item_bytes_max: 64 << 10, ..config_of(2 << 20) }));
        fill(&store, "first", 20);
        let writer = |names: &'static str| {
            let store = Arc::clone(&store);
            thread::spawn(move || fill(&store, names, 3))
        };
        let writers = [writer("x"), writer("y")];
        assert!(store.set_limit(1 << 20));
        let mut steps = 0;
        while !store.fit(at(0), 4) {
            steps += 1;
            assert!(steps < 20, "it never fits");
        }
        let fitted = store.stats();
        assert!(fitted.used_bytes <= 1 << 20, "{fitted:?}");
        writers.into_iter().for_each(|thread| thread.join().expect("ends"));
        let stats = store.stats();
        assert!(stats.used_bytes <= 1 << 20 && stats.limit_maxbytes == 1 << 20, "{stats:?}");
        assert_eq!((stats.total_items, stats.curr_items), (26, 26 - stats.evictions), "{stats:?}");
        assert!(stats.evictions > 10 && stats.out_of_memory == 0, "{stats:?}");
    });
}

#[test]
fn every_eviction_is_told_once_while_others_evict() {
    check(|| {
        let store = small_store();
        fill(&store, "first", 12);
        store.note_evictions(true);
        let before = store.stats().evictions;
        let writer = |names: &'static str| {
            let store = Arc::clone(&store);
            thread::spawn(move || fill(&store, names, 3))
        };
        let taker = Arc::clone(&store);
        let mut threads = [writer("x"), writer("y")].map(Some);
        let taker = thread::spawn(move || (0..3).flat_map(|_| taker.take_evictions().items).collect::<Vec<_>>());
        let mut told = store.take_evictions().items;
        threads.iter_mut().filter_map(Option::take).for_each(|thread| thread.join().expect("ends"));
        told.extend(taker.join().expect("ends"));
        let last = store.take_evictions();
        told.extend(last.items);
        let stats = store.stats();
        assert_eq!((told.len() as u64, last.missed), (stats.evictions - before, 0), "none is lost: {stats:?}");
        assert!(told.len() >= 5, "the store was full: {}", told.len());
        let mut keys: Vec<_> = told.iter().map(|listing| listing.key.clone()).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), told.len(), "none is told twice");
        assert_eq!(stats.curr_items + stats.evictions, stats.total_items, "{stats:?}");
    });
}
