//! Tests of what is remembered because another home may have missed it.

use memring_protocol::entry::{Body, Expiry, UnixMillis};
use memring_protocol::version::Stamp;

use super::super::{Applied, TOMBSTONE_LIFE_MS};
use super::{at, check_sound, item, item_of, key, store_of, tombstone, version_at};

/// The last stamp of a moment.
fn upto(now: UnixMillis) -> Stamp {
    Stamp::end_of(now.0)
}

fn later(now: UnixMillis) -> UnixMillis {
    UnixMillis(now.0 + TOMBSTONE_LIFE_MS + 1)
}

/// Looks through everything.
fn tidy_up(store: &super::Store, now: UnixMillis) {
    while store.tidy(now, 1 << 20) > 0 {}
    store.sweep(now, usize::MAX);
}

#[test]
fn a_tombstone_goes_when_it_is_old_and_every_home_has_it() {
    let (store, gone) = (store_of(1 << 20), key("gone"));
    store.set_settled(gone.partition(), Stamp::ZERO);
    store.apply(at(0), &gone, None, &tombstone(at(0)));
    tidy_up(&store, later(at(0)));
    assert_eq!(store.stats().tombstones, 1, "it is old, but somebody may not know");
    store.set_settled(gone.partition(), upto(at(0)));
    tidy_up(&store, at(5));
    assert_eq!(store.stats().tombstones, 1, "everybody knows, but a late write may be under way");
    tidy_up(&store, later(at(0)));
    assert_eq!((store.stats().tombstones, store.dropped(gone.partition())), (0, Stamp::ZERO));
}

#[test]
fn an_item_that_has_expired_leaves_its_version_where_it_may_have_been_missed() {
    let entry = item_of(version_at(at(1)), &[b'v'; 900], Expiry::from_exptime(5, at(1)));
    for settled in [Stamp::ZERO, Stamp::MAX] {
        let (store, name) = (store_of(1 << 20), key("short"));
        store.set_settled(name.partition(), settled);
        store.apply(at(1), &name, None, &entry);
        let digest = store.digest(name.partition());
        tidy_up(&store, at(20));
        let is_known = settled == Stamp::ZERO;
        let held = store.peek(at(20), &name);
        assert_eq!(
            held.as_ref().map(|held| (held.version, held.body == Body::Tombstone)),
            is_known.then_some((entry.version, true))
        );
        assert_eq!(store.digest(name.partition()) == digest, is_known);
        let stats = store.stats();
        assert_eq!((stats.curr_items, stats.tombstones, stats.reclaimed), (0, u64::from(is_known), 1));
        assert!(store.get(at(20), &name).is_none());
        check_sound(&store, at(20));
        let older = store.apply(at(21), &name, None, &item(at(0), b"older"));
        assert_eq!(older, if is_known { Applied::Superseded } else { Applied::Stored });
    }
}

#[test]
fn what_comes_late_is_not_taken_for_agreed_upon() {
    let (store, late) = (store_of(1 << 20), key("late"));
    store.set_settled(late.partition(), upto(at(9)));
    store.apply(at(100), &late, None, &tombstone(at(1)));
    store.set_settled(late.partition(), upto(at(50)));
    tidy_up(&store, later(at(100)));
    assert_eq!(store.stats().tombstones, 1, "they agreed before it came");
    store.set_settled(late.partition(), upto(at(100)));
    tidy_up(&store, later(at(100)));
    assert_eq!(store.stats().tombstones, 0);
}

#[test]
fn what_finds_no_room_is_noted_until_every_home_is_known_to_have_it() {
    let store = store_of(1 << 20);
    let names: Vec<_> = (0..2000).map(|n| key(&format!("t-{n}"))).collect();
    for name in &names {
        store.set_settled(name.partition(), Stamp::ZERO);
    }
    for (n, name) in names.iter().enumerate() {
        store.apply(at(n as u64), name, None, &tombstone(at(n as u64)));
    }
    let is_dropped = |n: usize| store.dropped(names[n].partition()) >= tombstone(at(n as u64)).version.stamp;
    assert!(store.stats().tombstones_dropped > 100);
    for (n, name) in names.iter().enumerate() {
        assert_eq!(is_dropped(n), store.peek(at(0), name).is_none(), "t-{n}");
    }
    store.set_settled(names[0].partition(), upto(at(2000)));
    assert!(!is_dropped(0), "nobody has missed it after all");
    check_sound(&store, at(2000));
}
