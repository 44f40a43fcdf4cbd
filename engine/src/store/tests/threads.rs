//! Several threads on one store. Must not know its locks.

use std::thread;

use bytes::Bytes;
use memring_protocol::entry::Body;
use memring_protocol::key::Partition;
use memring_protocol::version::{Stamp, Version};

use super::{at, check_sound, config_of, item, key};
use crate::store::{Applied, Change, Store};

const ROUNDS: u64 = 3000;

#[test]
fn threads_that_count_the_same_keys_lose_no_step() {
    let store = Store::new(config_of(64 << 20));
    let count_up = |name: &str, now| {
        store.update(now, &key(name), |held| {
            let before = held.entry().and_then(|entry| entry.live_item(now).map(|item| item.value.clone()));
            let count = before.map_or(0, |value| u64::from_le_bytes(value[..].try_into().expect("8 bytes")));
            let held = held.version().unwrap_or_default();
            let mut entry = item(now, &(count + 1).to_le_bytes());
            entry.version = Version { ballot: entry.version.ballot, stamp: Stamp(held.stamp.0 + 1) };
            (Change::Put(entry), ())
        });
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..ROUNDS).for_each(|n| count_up(["a", "b"][n as usize % 2], at(0))));
        }
    });
    for name in ["a", "b"] {
        let value = store.get(at(0), &key(name)).expect("held").value;
        assert_eq!(value, Bytes::copy_from_slice(&(3 * ROUNDS / 2).to_le_bytes()));
    }
    check_sound(&store, at(0));
}

#[test]
fn threads_that_fill_sweep_and_read_leave_a_sound_store() {
    let store = Store::new(config_of(40 << 20));
    thread::scope(|scope| {
        for writer in 0..2 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..ROUNDS * 3 {
                    // Every third key is the other thread's too.
                    let name = if n % 3 == 0 { key(&format!("both-{n}")) } else { key(&format!("{writer}-{n}")) };
                    let applied = store.apply(at(n), &name, None, &item(at(n), &[writer; 5000]));
                    assert!(matches!(applied, Applied::Stored | Applied::Superseded));
                    if let Some(item) = store.get(at(n), &name) {
                        assert!(item.value.iter().all(|byte| *byte == item.value[0]), "not torn");
                    }
                }
            });
        }
        scope.spawn(|| {
            for n in 0..ROUNDS {
                store.sweep(at(n), 100);
                store.stats();
            }
        });
        scope.spawn(|| {
            for partition in Partition::all() {
                let (entries, _) = store.page(at(0), partition, 0, 100_000);
                assert!(
                    entries
                        .iter()
                        .all(|(key, entry)| { key.partition() == partition && matches!(entry.body, Body::Item(_)) })
                );
            }
        });
    });
    assert!(store.stats().evictions > 0);
    check_sound(&store, at(0));
}
