//! A store of the smallest size, always full: whatever happens to it, it answers as a plain map that is told what went.
//!
//! Must not know how the store lies in memory: all is seen from outside.

mod store_world;

use bytes::Bytes;
use memring_engine::store::{Applied, Change, Held, Store, StoreConfig, Updated};
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, UnixMillis};
use memring_protocol::key::Key;
use memring_protocol::version::{Ballot, STAMP_EPOCH_UNIX_MS, Slot, Stamp, Version};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any};
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest};

use store_world::World;
use store_world::op::{OP_BYTES, OPS_MAX, Story};

fn story(ops_max: usize) -> impl Strategy<Value = Story> {
    (any::<u8>(), vec(any::<[u8; OP_BYTES]>(), 1..ops_max)).prop_map(|(setting, rows)| {
        let bytes: Vec<u8> = std::iter::once(setting).chain(rows.into_iter().flatten()).collect();
        Story::decode(&bytes)
    })
}

/// So many cases, or `STORIES` of the environment. Making a failed one smaller ends in a time that a test may take.
#[expect(clippy::disallowed_methods, reason = "a test's own knob")]
fn config(cases: u32) -> ProptestConfig {
    let told = std::env::var("STORIES").ok().and_then(|told| told.parse().ok());
    let (max_shrink_iters, max_shrink_time) = (20_000, 60_000);
    let cases = told.unwrap_or(cases);
    ProptestConfig { cases, max_shrink_iters, max_shrink_time, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(256))]
    #[test]
    fn a_tiny_store_answers_as_a_map_that_is_told_what_went(story in story(OPS_MAX)) {
        let mut world = World::new(story.setting);
        story.ops.iter().for_each(|op| world.step(op));
        world.check_all();
    }
}

/// What becomes of an item that is read often, and of one that nobody reads, when others pass through.
#[derive(Clone, Debug)]
struct Overwrite {
    before: usize,
    after: usize,
    /// Read before or after the first items have passed.
    reads: usize,
    scans_between: bool,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum How {
    Applied,
    Updated,
    Amended,
}

fn overwrite() -> impl Strategy<Value = Overwrite> {
    let len = || prop_oneof![0..300usize, 3000..5000usize, 8000..8400usize, 16_000..16_600usize, 60_000..66_000usize];
    let how = prop_oneof![Just(How::Applied), Just(How::Updated), Just(How::Amended)];
    (len(), len(), 2..5usize, any::<bool>(), how).prop_map(|(before, after, reads, scans_between, how)| Overwrite {
        before,
        after: if how == How::Amended { before } else { after },
        reads,
        scans_between,
        how,
    })
}

fn at(second: u64) -> UnixMillis {
    UnixMillis(STAMP_EPOCH_UNIX_MS + 1_000_000_000 + second * 1000)
}

fn name(name: &str) -> Key {
    Key::copy_from(name.as_bytes()).expect("a key")
}

fn item(second: u64, len: usize) -> Entry {
    let slot = Slot::new(1).expect("a slot");
    let version = Version { ballot: Ballot::new(1, slot), stamp: Stamp::at(at(second).0, slot) };
    let value = Bytes::from(vec![second as u8; len]);
    let item = Item { value, flags: 0, cas: version.stamp.0, expiry: Expiry::NEVER, marks: Marks::NONE };
    Entry { version, body: Body::Item(item) }
}

fn scan(store: &Store, names: &str) {
    for number in 0..600 {
        assert_eq!(store.apply(at(5), &name(&format!("{names}{number}")), None, &item(5, 4000)), Applied::Stored);
    }
}

fn write_over(store: &Store, key: &Key, overwrite: &Overwrite) {
    let entry = item(7, overwrite.after);
    match overwrite.how {
        How::Applied => assert_eq!(store.apply(at(7), key, None, &entry), Applied::Stored),
        How::Updated => assert_eq!(store.update(at(7), key, |_| (Change::Put(entry), ())).0, Updated::Put),
        How::Amended => {
            let amend = |held: &Held<'_>| {
                let Some(Entry { body: Body::Item(held), .. }) = held.entry() else { unreachable!("it is held") };
                let amended = Entry { version: entry.version, body: Body::Item(Item { flags: 9, ..held }) };
                (Change::Amend { entry: amended, noticed: false }, ())
            };
            assert_eq!(store.update(at(7), key, amend).0, Updated::Put);
        }
    }
}

proptest! {
    #![proptest_config(config(64))]
    #[test]
    fn what_reads_have_earned_outlives_an_overwrite_shorter_or_longer(overwrites in vec(overwrite(), 1..4)) {
        let config = StoreConfig { memory_limit_bytes: 1 << 20, item_bytes_max: 1 << 20, threads: 1, evict: true, hash_seed: 1 };
        let store = Store::new(config);
        let keys: Vec<(Key, Key)> =
            (0..overwrites.len()).map(|n| (name(&format!("hot{n}")), name(&format!("cold{n}")))).collect();
        for ((hot, cold), overwrite) in keys.iter().zip(&overwrites) {
            for key in [hot, cold] {
                assert_eq!(store.apply(at(0), key, None, &item(0, overwrite.before)), Applied::Stored);
            }
            (0..overwrite.reads).for_each(|_| assert!(store.get(at(1), hot).is_some()));
        }
        if overwrites[0].scans_between {
            scan(&store, "between");
        }
        for ((hot, cold), overwrite) in keys.iter().zip(&overwrites) {
            prop_assert!(store.version(at(6), hot, false).is_some(), "gone before it was written over");
            write_over(&store, hot, overwrite);
            if store.version(at(6), cold, false).is_some() {
                write_over(&store, cold, overwrite);
            }
        }
        scan(&store, "after");
        for ((hot, cold), overwrite) in keys.iter().zip(&overwrites) {
            let value = store.get(at(8), hot).map(|item| item.value.len());
            prop_assert_eq!(value, Some(overwrite.after), "read often, and gone");
            prop_assert_eq!(store.version(at(8), cold, false), None, "read by nobody, and still there");
        }
        prop_assert!(store.stats().used_bytes <= store.stats().limit_maxbytes);
    }
}

#[test]
fn without_eviction_a_store_that_says_it_fits_is_within_its_limit() {
    let config =
        StoreConfig { memory_limit_bytes: 3 << 20, item_bytes_max: 1 << 20, threads: 1, evict: false, hash_seed: 1 };
    let store = Store::new(config);
    assert!(store.set_limit(1 << 20), "an empty store takes a lower limit");
    for number in 0..12 {
        store.apply(at(0), &name(&format!("{number}")), None, &item(0, 65_000));
    }
    let fits = store.fit(at(0), usize::MAX);
    let stats = store.stats();
    assert!(!fits || stats.used_bytes <= stats.limit_maxbytes, "{stats:?}");
}
