//! A tiny store under any load: whatever it holds is right, and it stays within its limit. Must not know what it drops.

use std::collections::BTreeMap;

use memring_protocol::entry::{Body, Entry, UnixMillis};
use memring_protocol::flush::FlushState;
use memring_protocol::key::Key;
use memring_protocol::version::{Stamp, Version};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any};
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::model::{What, entry_of, slot, what};
use super::{at, ballot, check_sound, config_of, key};
use crate::store::{Applied, Change, Store, StoreConfig, Updated};

#[derive(Clone, Debug)]
enum Call {
    Get(u32),
    Apply { key: u32, age_ms: u64, what: What },
    Update { key: u32, what: What },
    Scan { first: u32, count: u32, what: What },
    Flush { age_ms: u64 },
    Sweep { entries_max: usize },
    Clear(u32),
    Advance { ms: u64 },
}

fn call() -> impl Strategy<Value = Call> {
    let key = || prop_oneof![0..20u32, 0..3000u32];
    prop_oneof![
        12 => key().prop_map(Call::Get),
        12 => (key(), 0..3000u64, what(10_000)).prop_map(|(key, age_ms, what)| Call::Apply { key, age_ms, what }),
        12 => (key(), what(10_000)).prop_map(|(key, what)| Call::Update { key, what }),
        6 => (key(), 1..400u32, prop_oneof![what(200), what(4000)])
            .prop_map(|(first, count, what)| Call::Scan { first, count, what }),
        1 => (0..4000u64).prop_map(|age_ms| Call::Flush { age_ms }),
        2 => (0..500usize).prop_map(|entries_max| Call::Sweep { entries_max }),
        1 => key().prop_map(Call::Clear),
        4 => (0..1500u64).prop_map(|ms| Call::Advance { ms }),
    ]
}

/// The last entry that the store said it took, by key.
type Taken = BTreeMap<u32, Entry>;

struct World {
    store: Store,
    evicts: bool,
    taken: Taken,
    now: UnixMillis,
    floor: Stamp,
}

impl World {
    fn name(number: u32) -> Key {
        key(&format!("key-{number}"))
    }

    fn apply(&mut self, number: u32, age_ms: u64, what: &What) {
        let version = Version { ballot: ballot(1), stamp: Stamp::at(self.now.0 - age_ms, slot(1)) };
        let entry = entry_of(what, version, self.now);
        match self.store.apply(self.now, &Self::name(number), None, &entry) {
            Applied::Stored => drop(self.taken.insert(number, entry)),
            Applied::Superseded => {
                let newer = self.taken.get(&number).is_some_and(|taken| taken.version >= version);
                assert!(newer || version.stamp <= self.floor);
            }
            Applied::OutOfMemory => {
                assert!(!self.evicts);
                self.taken.remove(&number);
            }
            other => unreachable!("{other:?}"),
        }
    }

    fn update(&mut self, number: u32, what: &What) {
        let now = self.now;
        let taken = self.taken.get(&number).cloned();
        let (updated, entry) = self.store.update(now, &Self::name(number), |held| {
            assert!(held.version().is_none() || held.version() == taken.as_ref().map(|taken| taken.version));
            let stamp = Stamp::at(now.0, slot(2)).max(held.version().unwrap_or_default().stamp).next(slot(2));
            let entry = entry_of(what, Version { ballot: ballot(1), stamp }, now);
            (Change::Put(entry.clone()), entry)
        });
        match updated {
            Updated::Put => drop(self.taken.insert(number, entry)),
            refused => assert!(refused == Updated::OutOfMemory && !self.evicts),
        }
    }

    fn check_get(&self, number: u32) {
        if let Some(item) = self.store.get(self.now, &Self::name(number)) {
            let Some(Entry { version, body: Body::Item(taken) }) = self.taken.get(&number) else {
                unreachable!("key-{number} was never stored as an item")
            };
            assert_eq!(&item, taken);
            assert!(*version > Version::default() && version.stamp > self.floor && !item.expiry.is_past(self.now));
        }
    }

    fn step(&mut self, call: &Call) {
        match call {
            Call::Get(number) => self.check_get(*number),
            Call::Apply { key, age_ms, what } => self.apply(*key, *age_ms, what),
            Call::Update { key, what } => self.update(*key, what),
            Call::Scan { first, count, what } => (*first..first + count).for_each(|key| self.apply(key, 0, what)),
            Call::Flush { age_ms } => {
                self.floor = self.floor.max(Stamp::end_of(self.now.0 - age_ms));
                self.store.merge_flush(FlushState { floor: self.floor, ..FlushState::default() });
            }
            Call::Sweep { entries_max } => assert!(self.store.sweep(self.now, *entries_max) <= *entries_max),
            Call::Clear(number) => self.store.clear_partition(Self::name(*number).partition()),
            Call::Advance { ms } => self.now.0 += ms,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_a_full_store_holds_is_right(evicts in any::<bool>(), calls in vec(call(), 1..300)) {
        let store = Store::new(StoreConfig { evict: evicts, ..config_of(1 << 20) });
        let mut world = World { store, evicts, taken: Taken::new(), now: at(0), floor: Stamp::ZERO };
        for call in &calls {
            world.step(call);
            let stats = world.store.stats();
            prop_assert!(stats.used_bytes <= stats.limit_maxbytes, "{} used after {call:?}", stats.used_bytes);
        }
        (0..3400).for_each(|number| world.check_get(number));
        let before = world.store.stats();
        check_sound(&world.store, world.now);
        let after = world.store.stats();
        prop_assert_eq!(after.curr_items + (after.reclaimed - before.reclaimed), before.curr_items);
    }
}

/// Once seen: each change in place brought its segment a list of expiries that nothing was left to pay for.
#[test]
fn items_that_are_given_an_end_where_they_stand_stay_within_the_limit() {
    for evicts in [false, true] {
        let store = Store::new(StoreConfig { evict: evicts, ..config_of(1 << 20) });
        let mut world = World { store, evicts, taken: Taken::new(), now: at(0), floor: Stamp::ZERO };
        let item = |len, seconds| What::Item { len, flags: 1, touched: false, seconds };
        let (long, ending) = (item(3895, None), item(0, Some(1)));
        for call in [
            Call::Apply { key: 0, age_ms: 0, what: What::Tombstone },
            Call::Scan { first: 0, count: 186, what: long },
            Call::Advance { ms: 1 },
            Call::Scan { first: 3, count: 164, what: ending },
        ] {
            world.step(&call);
            let stats = world.store.stats();
            assert!(stats.used_bytes <= stats.limit_maxbytes, "{} used", stats.used_bytes);
        }
        assert!(world.store.stats().curr_items > 100);
    }
}
