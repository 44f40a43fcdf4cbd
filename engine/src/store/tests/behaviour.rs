//! What each call of the store does, one sentence a test. Must not know eviction: these stores are roomy.

use std::cell::RefCell;

use bytes::Bytes;
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, UnixMillis};
use memring_protocol::flush::{FlushState, PacedFlush};
use memring_protocol::key::{Key, Partition};
use memring_protocol::version::{Ballot, Stamp, Version};

use super::{at, ballot, check_sound, config_of, item, item_of, key, store_of, tombstone, value_of, version_at};
use crate::store::{Applied, Change, MEMORY_LIMIT_MIN_BYTES, Store, StoreConfig, TOMBSTONE_LIFE_MS, Updated};

#[test]
fn an_item_comes_back_with_all_that_was_stored() {
    let store = store_of(64 << 20);
    let marks = Marks::STALE.with(Marks::BINARY_KEY);
    let stored = Item { value: Bytes::from_static(b"v"), flags: 7, cas: 42, expiry: Expiry::at(u32::MAX), marks };
    let entry = Entry { version: version_at(at(0)), body: Body::Item(stored.clone()) };
    assert_eq!(store.apply(at(0), &key("a"), None, &entry), Applied::Stored);
    assert_eq!(store.get(at(1), &key("a")), Some(stored));
    assert_eq!(store.peek(at(1), &key("a")), Some(entry.clone()));
    assert_eq!(store.version(at(1), &key("a"), false), Some(entry.version));
    assert_eq!(store.get(at(1), &key("b")), None);
    check_sound(&store, at(1));
}

#[test]
fn the_newer_version_stays_whatever_comes_first() {
    let (old, new) = (item(at(1), b"old"), item(at(2), b"new"));
    for (first, second, expected) in [(&old, &new, Applied::Stored), (&new, &old, Applied::Superseded)] {
        let store = store_of(1 << 20);
        assert_eq!(store.apply(at(3), &key("a"), None, first), Applied::Stored);
        assert_eq!(store.apply(at(3), &key("a"), None, second), expected);
        assert_eq!(store.apply(at(3), &key("a"), None, &new), Applied::Superseded, "the same again");
        assert_eq!(store.peek(at(3), &key("a")), Some(new.clone()));
        check_sound(&store, at(3));
    }
}

#[test]
fn a_higher_ballot_beats_a_later_stamp() {
    let store = store_of(1 << 20);
    let version = |round, second| Version { ballot: ballot(round), ..version_at(at(second)) };
    store.apply(at(9), &key("a"), None, &item_of(version(1, 9), b"late", Expiry::NEVER));
    let entry = item_of(version(2, 1), b"led", Expiry::NEVER);
    assert_eq!(store.apply(at(9), &key("a"), None, &entry), Applied::Stored);
    assert_eq!(value_of(&store, at(9), &key("a")), Some(Bytes::from_static(b"led")));
}

#[test]
fn a_tombstone_hides_an_item_and_an_item_a_tombstone() {
    let store = store_of(1 << 20);
    for round in 0..3 {
        store.apply(at(round), &key("a"), None, &item_of(version_at(at(round * 2)), b"v", Expiry::NEVER));
        assert!(store.get(at(round), &key("a")).is_some());
        assert_eq!((store.stats().curr_items, store.stats().tombstones), (1, 0));
        let gone = tombstone(at(round * 2 + 1));
        assert_eq!(store.apply(at(round), &key("a"), None, &gone), Applied::Stored);
        assert_eq!(store.get(at(round), &key("a")), None);
        assert_eq!(store.peek(at(round), &key("a")), Some(gone));
        assert_eq!((store.stats().curr_items, store.stats().tombstones, store.stats().bytes), (0, 1, 0));
        check_sound(&store, at(round));
    }
}

#[test]
fn a_fence_below_the_promise_is_refused_and_one_above_raises_it() {
    let store = store_of(1 << 20);
    let (name, partition) = (key("a"), key("a").partition());
    assert_eq!(store.promise(partition, ballot(5)), Ok(0));
    assert_eq!(store.apply(at(0), &name, Some(ballot(4)), &item(at(0), b"v")), Applied::Fenced(ballot(5)));
    assert_eq!(store.peek(at(0), &name), None);
    assert_eq!(store.apply(at(0), &name, None, &item(at(0), b"v")), Applied::Stored, "by version alone");
    assert_eq!(store.apply(at(0), &name, Some(ballot(7)), &item(at(0), b"v")), Applied::Superseded);
    assert_eq!(store.promised(partition), ballot(7), "also by an entry that is superseded");
}

#[test]
fn promises_only_rise() {
    let store = store_of(1 << 20);
    let partition = Partition::new(77).expect("a partition");
    assert_eq!(store.promised(partition), Ballot::NONE);
    assert_eq!(store.promise(partition, ballot(3)), Ok(0));
    assert_eq!(store.promise(partition, ballot(3)), Ok(0), "a duplicate of the message");
    assert_eq!(store.promise(partition, ballot(2)), Err(ballot(3)));
    store.raise_promised(partition, ballot(1));
    assert_eq!(store.promised(partition), ballot(3));
    store.raise_promised(partition, ballot(9));
    assert_eq!(store.promised(partition), ballot(9));
    assert_eq!(store.promised(Partition::new(78).expect("a partition")), Ballot::NONE);
}

#[test]
fn a_promise_tells_the_digest_of_that_moment() {
    let store = store_of(1 << 20);
    let name = key("a");
    store.apply(at(0), &name, None, &item(at(0), b"v"));
    let digest = store.promise(name.partition(), ballot(1)).expect("the first promise");
    assert!(digest != 0 && digest == store.digest(name.partition()));
}

#[test]
fn an_expired_item_is_absent_but_its_version_is_held_until_reclaimed() {
    let store = store_of(1 << 20);
    let name = key("a");
    let second = at(10).seconds() as u32;
    store.apply(at(0), &name, None, &item_of(version_at(at(0)), b"v", Expiry::at(second)));
    assert!(store.get(UnixMillis(at(10).0 - 1), &name).is_some());
    let ((_, seen), held) =
        (store.update(at(10), &name, |held| (Change::Keep, (held.entry(), held.version()))), store.stats().curr_items);
    assert_eq!((seen, held), ((None, Some(version_at(at(0)))), 1));
    assert_eq!(store.get(at(10), &name), None);
    let stats = store.stats();
    assert_eq!((stats.curr_items, stats.get_expired, stats.reclaimed, stats.expired_unfetched), (0, 2, 1, 0));
    let (_, version) = store.update(at(10), &name, |held| (Change::Keep, held.version()));
    assert_eq!(version, None);
}

#[test]
fn an_update_sees_what_is_held_and_puts_what_it_decides() {
    let store = store_of(1 << 20);
    let name = key("a");
    store.raise_promised(name.partition(), ballot(6));
    let (updated, seen) = store
        .update(at(0), &name, |held| (Change::Put(item(at(0), b"1")), (held.entry(), held.version(), held.promised())));
    assert_eq!((updated, seen), (Updated::Put, (None, None, ballot(6))));
    let (updated, seen) = store.update(at(1), &name, |held| (Change::Keep, held.entry()));
    assert_eq!((updated, seen), (Updated::Kept, Some(item(at(0), b"1"))));
    let (updated, ()) = store.update(at(1), &name, |_| (Change::Put(tombstone(at(1))), ()));
    assert_eq!((updated, store.peek(at(1), &name)), (Updated::Put, Some(tombstone(at(1)))));
}

#[test]
#[should_panic(expected = "a new version is above the one it replaces")]
fn an_update_that_loses_the_order_of_writes_is_our_own_bug() {
    let store = store_of(1 << 20);
    store.apply(at(1), &key("a"), None, &item(at(1), b"v"));
    store.update(at(1), &key("a"), |_| (Change::Put(item(at(1), b"w")), ()));
}

#[test]
fn an_item_over_the_limit_is_refused_and_leaves_nothing_stale() {
    let store = Store::new(StoreConfig { item_bytes_max: 100, ..config_of(1 << 20) });
    let name = key("a");
    assert_eq!(store.apply(at(0), &name, None, &item(at(0), &[0; 99])), Applied::Stored, "key and value");
    let (updated, ()) = store.update(at(1), &name, |_| (Change::Put(item(at(1), &[0; 100])), ()));
    assert_eq!(updated, Updated::TooLarge);
    assert_eq!(store.peek(at(1), &name), Some(item(at(0), &[0; 99])), "an update decides itself what to do then");
    assert_eq!(store.apply(at(2), &name, None, &item(at(2), &[0; 100])), Applied::TooLarge);
    assert_eq!(store.peek(at(2), &name), None, "others hold a newer one");
    assert_eq!(store.stats().too_large, 2);
}

#[test]
fn pages_cover_a_partition_once_in_the_order_of_digests() {
    let store = store_of(1 << 20);
    let partition = key("0").partition();
    let mut names: Vec<_> =
        (0..400_000).map(|n| key(&n.to_string())).filter(|name| name.partition() == partition).collect();
    names.sort();
    assert!(names.len() > 10);
    for name in &names {
        store.apply(at(0), name, None, &item(at(0), &[b'v'; 50]));
    }
    for limit in [0, 100, 300, usize::MAX] {
        let (mut seen, mut cursor) = (Vec::new(), 0);
        loop {
            let (entries, next) = store.page(at(0), partition, cursor, limit);
            assert!(!entries.is_empty() && entries.len() <= limit / 82 + 1);
            seen.extend(entries.into_iter().map(|(name, _)| name));
            match next {
                Some(next) => cursor = next,
                None => break,
            }
        }
        assert_eq!(seen, names, "limit {limit}");
    }
    assert_eq!(store.page(at(0), Partition::new(partition.number() ^ 1).expect("valid"), 0, 1), (Vec::new(), None));
}

#[test]
fn clearing_a_partition_forgets_its_entries_and_its_ballot_only() {
    let store = store_of(1 << 20);
    let (mine, other) = (key("a"), key("b"));
    for name in [&mine, &other] {
        store.apply(at(0), name, Some(ballot(1)), &item(at(0), b"v"));
    }
    store.clear_partition(mine.partition());
    assert_eq!((store.peek(at(0), &mine), store.promised(mine.partition())), (None, Ballot::NONE));
    assert_eq!((store.peek(at(0), &other).is_some(), store.promised(other.partition())), (true, ballot(1)));
    check_sound(&store, at(0));
}

#[test]
fn a_flush_hides_what_was_stamped_up_to_its_floor() {
    let store = store_of(1 << 20);
    for (name, second) in [("a", 1), ("b", 2), ("c", 3)] {
        store.apply(at(3), &key(name), None, &item(at(second), b"v"));
    }
    store.merge_flush(FlushState { floor: version_at(at(2)).stamp, ..FlushState::default() });
    assert_eq!(["a", "b", "c"].map(|name| store.get(at(3), &key(name)).is_some()), [false, false, true]);
    assert_eq!(store.stats().get_flushed, 2);
    assert_eq!(store.apply(at(3), &key("a"), None, &item(at(2), b"late")), Applied::Superseded);
    store.merge_flush(FlushState::default());
    assert_eq!(store.flush().floor, version_at(at(2)).stamp, "a floor does not sink");
    check_sound(&store, at(3));
}

#[test]
fn a_pending_flush_happens_at_its_moment_and_not_again() {
    let store = store_of(1 << 20);
    let pending =
        |identity, second| FlushState { pending: Some((Stamp(identity), at(second))), ..FlushState::default() };
    store.apply(at(0), &key("a"), None, &item(at(0), b"v"));
    store.merge_flush(pending(5, 10));
    store.merge_flush(pending(4, 1));
    assert_eq!(store.flush(), pending(5, 10), "the later identity wins");
    assert!(store.get(UnixMillis(at(10).0 - 1), &key("a")).is_some());
    store.apply(at(9), &key("b"), None, &item(at(9), b"v"));
    assert_eq!((store.get(at(10), &key("a")), store.get(at(10), &key("b"))), (None, None));
    let flushed = FlushState { floor: Stamp::end_of(at(10).0), ..pending(5, 10) };
    assert_eq!(store.flush(), flushed);
    for older in [pending(5, 20), pending(4, 20)] {
        store.merge_flush(older);
        assert_eq!(store.flush(), flushed, "an applied flush does not come back");
    }
    store.merge_flush(pending(6, 20));
    assert_eq!(store.flush().pending, pending(6, 20).pending);
}

#[test]
fn a_later_flush_at_once_replaces_a_pending_one() {
    let store = store_of(1 << 20);
    store.merge_flush(FlushState { pending: Some((version_at(at(1)).stamp, at(10))), ..FlushState::default() });
    let floor = version_at(at(2)).stamp;
    let at_once = FlushState { floor, pending: Some((floor, UnixMillis(0))), paced: None };
    store.merge_flush(at_once);
    store.apply(at(3), &key("a"), None, &item(at(3), b"v"));
    assert!(store.get(at(20), &key("a")).is_some());
    assert_eq!(store.flush(), at_once);
}

#[test]
fn a_node_that_missed_a_replacement_does_not_bring_the_flush_it_replaced_back() {
    let (told, missed) = (store_of(1 << 20), store_of(1 << 20));
    let delayed = FlushState { pending: Some((version_at(at(1)).stamp, at(10))), ..FlushState::default() };
    let floor = version_at(at(2)).stamp;
    told.merge_flush(delayed);
    missed.merge_flush(delayed);
    told.merge_flush(FlushState { floor, pending: Some((floor, UnixMillis(0))), paced: None });
    // The replacement happens where it was heard of, and is told on only afterwards.
    told.apply(at(3), &key("a"), None, &item(at(3), b"v"));
    missed.merge_flush(told.flush());
    missed.apply(at(3), &key("a"), None, &item(at(3), b"v"));
    for store in [told, missed] {
        assert!(store.get(at(20), &key("a")).is_some());
    }
}

/// Sixty seconds from `second` on, for what was there then.
fn paced(second: u64) -> FlushState {
    let paced = PacedFlush { stamp: Stamp::end_of(at(second).0), from: at(second), over_ms: 60_000 };
    FlushState { paced: Some(paced), ..FlushState::default() }
}

/// Sorted by partition, so that a paced flush comes to one after the other.
fn keys_in_order(count: usize) -> Vec<Key> {
    let mut keys: Vec<Key> = (0..count).map(|n| key(&n.to_string())).collect();
    keys.sort_by_key(|key| key.partition().index());
    keys
}

fn held(store: &Store, now: UnixMillis, keys: &[Key]) -> Vec<bool> {
    keys.iter().map(|key| store.peek(now, key).is_some()).collect()
}

#[test]
fn a_paced_flush_goes_from_partition_to_partition_and_leaves_what_came_after_it() {
    let (store, keys) = (store_of(8 << 20), keys_in_order(400));
    for key in &keys {
        store.apply(at(0), key, None, &item(at(0), b"v"));
    }
    store.merge_flush(paced(5));
    let later = key("later");
    store.apply(at(6), &later, None, &item(at(6), b"v"));
    let mut left = 400;
    for second in 5..=65 {
        let held = held(&store, at(second), &keys);
        let (gone, kept) = held.split_at(held.iter().position(|held| *held).unwrap_or(400));
        assert!(gone.iter().all(|held| !held) && kept.iter().all(|held| *held), "in the order of partitions");
        let expected = 400 * (65 - second as usize) / 60;
        assert!(kept.len().abs_diff(expected) <= 40 && kept.len() <= left, "{second}: {} of {left} held", kept.len());
        left = kept.len();
        // What is flushed is not taken back, and what is not yet flushed is taken.
        let old = item_of(version_at(at(4)), b"old", Expiry::NEVER);
        let applied = [&keys[0], &keys[399]].map(|key| store.apply(at(second), key, None, &old));
        let first =
            if keys[0].partition().index() < 273 * (second as usize - 5) { Applied::Superseded } else { applied[0] };
        assert_eq!(applied[0], first, "{second}");
        assert!(second < 60 || !kept.is_empty() || applied[1] == Applied::Superseded, "{second}");
    }
    assert_eq!((left, store.flush().floor), (0, Stamp::end_of(at(5).0)));
    assert!(store.peek(at(66), &later).is_some());
    check_sound(&store, at(66));
}

#[test]
fn a_paced_flush_that_another_flush_overtakes_is_done_at_once() {
    let keys = keys_in_order(100);
    for (overtakes, survives) in [
        (FlushState { floor: Stamp::end_of(at(7).0), ..FlushState::default() }, false),
        (paced(7), false),
        // One from before is no news, and yet what it has flushed somewhere must not be seen here.
        (FlushState { floor: Stamp::end_of(at(2).0), ..FlushState::default() }, true),
        (paced(3), true),
    ] {
        let store = store_of(8 << 20);
        for key in &keys {
            store.apply(at(4), key, None, &item(at(4), b"v"));
        }
        store.apply(at(8), &key("later"), None, &item(at(8), b"v"));
        store.merge_flush(paced(5));
        store.merge_flush(overtakes);
        let held = held(&store, at(8), &keys).into_iter().filter(|held| *held).count();
        assert_eq!(held > 0, survives, "{overtakes:?}: {held}");
        assert!(store.peek(at(8), &key("later")).is_some());
    }
}

#[test]
fn flushes_merge_in_any_order_to_the_same() {
    let floor = FlushState { floor: Stamp::end_of(at(6).0), ..FlushState::default() };
    let delayed = |second| FlushState { pending: Some((version_at(at(second)).stamp, at(9))), ..FlushState::default() };
    let all = [floor, delayed(1), delayed(2), paced(3), paced(7), paced(8)];
    let merged = |order: &[usize]| {
        let store = store_of(1 << 20);
        order.iter().for_each(|place| store.merge_flush(all[*place]));
        store.flush()
    };
    let forwards = merged(&[0, 1, 2, 3, 4, 5]);
    for order in [[5, 4, 3, 2, 1, 0], [3, 5, 0, 4, 1, 2], [4, 2, 0, 5, 3, 1]] {
        assert_eq!(merged(&order), forwards, "{order:?}");
    }
    assert_eq!((forwards.floor, forwards.paced), (Stamp::end_of(at(7).0), paced(8).paced));
}

#[test]
fn a_sweep_reclaims_a_bit_at_a_time_and_goes_on_where_it_stopped() {
    for memory in [1 << 20, 64 << 20] {
        let store = store_of(memory);
        let second = at(5).seconds() as u32;
        for n in 0..1000 {
            let expiry = if n % 2 == 0 { Expiry::at(second) } else { Expiry::NEVER };
            store.apply(at(0), &key(&n.to_string()), None, &item_of(version_at(at(0)), b"v", expiry));
        }
        assert_eq!(store.sweep(at(4), 10_000), 0);
        let mut removed = 0;
        for _ in 0..30 {
            let swept = store.sweep(at(5), 40);
            assert!(swept <= 40);
            removed += swept;
        }
        assert_eq!((removed, store.stats().curr_items, store.stats().expired_unfetched), (500, 500, 500));
        check_sound(&store, at(5));
    }
}

#[test]
fn a_sweep_drops_tombstones_after_their_life() {
    let store = store_of(1 << 20);
    store.apply(at(0), &key("a"), None, &tombstone(at(0)));
    let last = UnixMillis(at(0).0 + TOMBSTONE_LIFE_MS);
    assert_eq!((store.sweep(last, 10), store.stats().tombstones), (0, 1));
    assert_eq!((store.sweep(UnixMillis(last.0 + 1), 10), store.stats().tombstones), (1, 0));
    assert_eq!(store.digest(key("a").partition()), 0);
}

#[test]
fn hits_and_misses_add_up() {
    let store = store_of(1 << 20);
    store.apply(at(0), &key("a"), None, &item(at(0), b"v"));
    store.apply(at(0), &key("b"), None, &tombstone(at(0)));
    store.apply(at(0), &key("c"), None, &item_of(version_at(at(0)), b"v", Expiry::PAST));
    for name in ["a", "a", "b", "c", "d"] {
        store.get(at(0), &key(name));
        store.peek(at(0), &key(name));
    }
    let stats = store.stats();
    assert_eq!((stats.get_hits, stats.get_misses, stats.get_expired, stats.total_items), (2, 3, 1, 2));
}

#[test]
fn a_limit_below_the_least_counts_as_the_least() {
    let store = store_of(1);
    assert_eq!(store.stats().limit_maxbytes, MEMORY_LIMIT_MIN_BYTES as u64);
    assert_eq!(store.apply(at(0), &key("a"), None, &item(at(0), b"v")), Applied::Stored);
}

#[test]
fn an_update_decides_once() {
    let store = store_of(1 << 20);
    let calls = RefCell::new(0);
    store.update(at(0), &key("a"), |_| {
        *calls.borrow_mut() += 1;
        (Change::Put(item(at(0), b"v")), ())
    });
    assert_eq!(calls.into_inner(), 1);
}
