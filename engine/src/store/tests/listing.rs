//! Listings: what is told of items, in pages, and of what was evicted.

use std::collections::BTreeSet;

use memring_protocol::entry::Expiry;
use memring_protocol::key::{Key, Partition};

use super::{at, item, item_of, key, store_of, tombstone, version_at};
use crate::store::{Heat, Listing, Missing, Store};

fn list_all(store: &Store, seconds: u64, items_max: usize) -> Vec<Listing> {
    let mut all = Vec::new();
    for partition in Partition::all() {
        let mut cursor = 0;
        loop {
            let (page, next) = store.list(at(seconds), partition, cursor, items_max);
            assert!(page.len() <= items_max, "tokens that collide are not to be expected");
            all.extend(page);
            match next {
                Some(next) => cursor = next,
                None => break,
            }
        }
    }
    all
}

#[test]
fn every_live_item_is_listed_once_whatever_the_pages() {
    let store = store_of(1 << 20);
    let names: BTreeSet<String> = (0..1000).map(|number| format!("k{number}")).collect();
    for name in &names {
        store.apply(at(0), &key(name), None, &item(at(0), b"value"));
    }
    for items_max in [1, 2, 1000] {
        let listed = list_all(&store, 1, items_max);
        let keys: BTreeSet<String> =
            listed.iter().map(|listing| String::from_utf8(listing.key.to_vec()).expect("text")).collect();
        assert_eq!((listed.len(), &keys), (names.len(), &names));
    }
    assert_eq!(store.stats().get_hits, 0, "listing is not reading");
}

#[test]
fn what_expired_was_flushed_or_deleted_is_not_listed() {
    let store = store_of(1 << 20);
    let ends = Expiry::at(u32::try_from(at(5).seconds()).expect("before 2106"));
    store.apply(at(0), &key("expires"), None, &item_of(version_at(at(0)), b"v", ends));
    store.apply(at(0), &key("deleted"), None, &tombstone(at(0)));
    store.apply(at(0), &key("stays"), None, &item(at(0), b"four"));
    let keys = |listed: Vec<Listing>| listed.into_iter().map(|listing| listing.key).collect::<BTreeSet<_>>();
    assert_eq!(keys(list_all(&store, 4, 10)), ["expires".into(), "stays".into()].into());
    assert_eq!(keys(list_all(&store, 5, 10)), ["stays".into()].into());
    let listing = store.listing(at(5), &key("stays")).expect("listed");
    assert_eq!((listing.value_bytes, listing.fetched, listing.expiry), (4, false, Expiry::NEVER));
    assert_eq!(u64::from(listing.accessed_s), at(0).seconds());
    for (name, why) in [("expires", Missing::Expired), ("deleted", Missing::Absent), ("other", Missing::Absent)] {
        assert_eq!(store.listing(at(5), &key(name)), Err(why), "{name}");
    }
    store.get(at(9), &key("stays"));
    let listing = store.listing(at(9), &key("stays")).expect("listed");
    assert_eq!((u64::from(listing.accessed_s), listing.fetched), (at(9).seconds(), true));
}

#[test]
fn evictions_are_noted_while_they_are_wanted_up_to_a_bound() {
    let fill = |store: &Store, name: &str| {
        for number in 0..2000 {
            store.apply(at(0), &key(&format!("{name}{number}")), None, &item(at(0), &[7; 1000]));
        }
    };
    let store = store_of(1 << 20);
    fill(&store, "unseen");
    assert_eq!(store.take_evictions().items, []);
    store.note_evictions(true);
    let before = store.stats().evictions;
    fill(&store, "seen");
    let noted = store.take_evictions();
    assert_eq!(noted.items.len() as u64 + noted.missed, store.stats().evictions - before);
    assert_eq!(noted.items.len(), 128, "and no more");
    assert!(noted.items.iter().all(|listing| listing.value_bytes == 1000));
    assert_eq!(store.take_evictions().missed, 0);
    fill(&store, "again");
    store.note_evictions(false);
    assert_eq!(store.take_evictions().items, [], "nobody wants them any more");
}

#[test]
fn the_pages_of_all_heats_and_the_digests_of_all_buckets_are_the_partition() {
    let store = store_of(16 << 20);
    let partition = key("0").partition();
    let members: Vec<Key> =
        (0..2_000_000).map(|n| key(&n.to_string())).filter(|key| key.partition() == partition).take(40).collect();
    for (n, key) in members.iter().enumerate() {
        store.apply(at(0), key, None, &item(at(0), &[b'v'; 100]));
        (0..n % 4).for_each(|_| assert!(store.get(at(0), key).is_some()));
    }
    let pages = Heat::ALL.map(|heat| store.page_of_heat(at(0), partition, heat, 0, usize::MAX).0);
    assert_eq!(pages.each_ref().map(Vec::len), [20, 10, 10]);
    let mut all = pages.concat();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(all, store.page(at(0), partition, 0, usize::MAX).0);
    let digests = store.bucket_digests(at(0), partition);
    assert_eq!(digests.iter().fold(0, |sum, digest| sum ^ digest), store.digest(partition));
    assert!(digests.iter().filter(|&&digest| digest != 0).count() > 20);
}

#[test]
fn the_hottest_keys_are_told() {
    let store = store_of(64 << 20);
    let hot = ["a", "b"].map(key);
    for name in &hot {
        store.apply(at(0), name, None, &item(at(0), b"v"));
    }
    for n in 0..20_000 {
        store.get(at(0), &hot[usize::from(n % 4 == 0)]);
    }
    let told = store.hot_keys(2);
    assert_eq!(told.iter().map(|hot| &hot.key[..]).collect::<Vec<_>>(), [b"a", b"b"]);
    assert!((13_000..=17_000).contains(&told[0].reads) && told[0].error <= told[0].reads, "{told:?}");
}
