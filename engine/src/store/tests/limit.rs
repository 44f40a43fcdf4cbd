//! The limit that changes while the store is in use, and counts by size class.

use super::*;
use crate::store::{class_bytes, class_of, item_size};

/// So many items of a kilobyte, written a second apart.
fn fill(store: &Store, from: usize, count: usize) {
    for number in from..from + count {
        store.apply(at(number as u64), &key(&format!("key{number}")), None, &item(at(number as u64), &[b'v'; 1000]));
    }
}

#[test]
fn a_lower_limit_is_reached_step_by_step_and_kept_to() {
    let store = store_of(16 << 20);
    fill(&store, 0, 20_000);
    let now = at(20_000);
    assert!(store.stats().used_bytes > 12 << 20);
    assert!(store.set_limit(4 << 20));
    assert!(!store.fit(now, 10), "ten items are not enough");
    // A write meanwhile finds room by itself.
    fill(&store, 20_000, 10);
    let steps = std::iter::repeat_with(|| store.fit(now, 100)).take_while(|done| !done).count();
    assert!(steps > 50, "{steps}");
    check_sound(&store, now);
    let small = store.stats();
    assert_eq!(small.limit_maxbytes, 4 << 20);
    assert!(small.curr_items > 2000, "{small:?}");
    fill(&store, 30_000, 5000);
    check_sound(&store, at(40_000));

    assert!(store.set_limit(32 << 20) && store.fit(now, 1));
    fill(&store, 50_000, 25_000);
    check_sound(&store, at(80_000));
    assert!(store.stats().used_bytes > 24 << 20);
}

#[test]
fn a_limit_below_what_cannot_go_is_refused_and_changes_nothing() {
    let store = Store::new(StoreConfig { threads: 32, ..config_of(4 << 30) });
    let before = store.stats();
    assert!(!store.set_limit(1 << 20), "256 shards do not fit into so little");
    assert_eq!(store.stats(), before);
    let full = Store::new(StoreConfig { evict: false, ..config_of(16 << 20) });
    fill(&full, 0, 9000);
    assert!(!full.set_limit(8 << 20), "nothing may be dropped");
    assert!(full.set_limit(12 << 20) && full.fit(at(0), 1));
    assert_eq!((full.stats().curr_items, full.stats().evictions), (9000, 0));
}

#[test]
fn a_store_that_may_drop_nothing_and_is_fuller_than_its_new_limit_says_that_it_is_done() {
    let store = Store::new(StoreConfig { evict: false, ..config_of(16 << 20) });
    fill(&store, 0, 9000);
    Partition::all().for_each(|partition| store.clear_partition(partition));
    assert!(store.set_limit(4 << 20), "nothing is held");
    // Until the limit is carried out, writes keep to what is used.
    fill(&store, 10_000, 8000);
    assert!(store.fit(at(20_000), usize::MAX), "nothing is left to drop");
    let stats = store.stats();
    assert_eq!((stats.curr_items, stats.evictions), (8000, 0));
    assert!(stats.dead_bytes < 64 << 10, "{stats:?}");
    store.apply(at(20_001), &key("one more"), None, &item(at(20_001), &[b'v'; 1000]));
    assert_eq!((store.stats().curr_items, store.stats().out_of_memory), (8000, 1));
}

#[test]
fn every_item_is_counted_in_the_class_of_its_size() {
    let store = store_of(16 << 20);
    let now = at(1);
    for (name, bytes) in [("a", 1), ("b", 100), ("c", 1000), ("d", 1000), ("e", 9000)] {
        store.apply(now, &key(name), None, &item(now, &vec![b'v'; bytes]));
    }
    assert!(store.fetch(at(3), &key("c"), true).is_some());
    let class = |bytes| class_of(item_size(1, bytes));
    let stats = store.class_stats(at(9));
    for (bytes, number) in [(1, 1), (100, 1), (1000, 2), (9000, 1)] {
        let counts = stats[class(bytes) as usize - 1];
        assert_eq!((counts.number, counts.small, counts.used), (number, number, 1), "{bytes} bytes");
        assert!(item_size(1, bytes) <= class_bytes(class(bytes)));
    }
    let of_c = stats[class(1000) as usize - 1];
    assert_eq!((of_c.hits_to_small, of_c.age_small_s), (1, 8));
    // It grows into another class, and becomes a tombstone there.
    let later = at(5);
    store.apply(later, &key("a"), None, &item(later, &[b'v'; 1000]));
    assert_eq!(store.class_stats(now)[class(1) as usize - 1].number, 0);
    store.apply(at(6), &key("a"), None, &tombstone(at(6)));
    assert_eq!(store.class_stats(now)[class(1000) as usize - 1].number, 2);
    let listed = store.newest_of_class(now, class(1000), 10);
    assert_eq!(
        listed.iter().map(|item| (&item.key[..], item.value_bytes)).collect::<Vec<_>>(),
        [(&b"d"[..], 1000), (&b"c"[..], 1000)]
    );
    assert_eq!(store.newest_of_class(now, class(1000), 1).len(), 1);
    store.reset_stats();
    let stats = store.class_stats(now)[class(1000) as usize - 1];
    assert_eq!((stats.number, stats.hits_to_small, store.stats().total_items), (2, 0, 0));
    check_sound(&store, now);
}
