//! Memcached's semantics, case by case. Must not know replication.

use super::*;

const LIMIT: usize = 20;

fn item(value: &'static str) -> Item {
    Item {
        value: Bytes::from_static(value.as_bytes()),
        flags: 7,
        cas: 42,
        expiry: Expiry::at(2_000_000_000),
        marks: Marks::NONE,
    }
}

fn marked(marks: Marks) -> Item {
    Item { marks, ..item("a") }
}

fn new(value: &'static str) -> NewValue {
    NewValue { value: Bytes::from_static(value.as_bytes()), flags: 9, expiry: Expiry::NEVER, binary_key: false }
}

fn plain(mode: StoreMode, value: &'static str) -> Mutation {
    Mutation::Store(Store::plain(mode, new(value)))
}

fn cas(mode: StoreMode, token: u64) -> Mutation {
    Mutation::Store(Store { compare: Some(token), ..Store::plain(mode, new("b")) })
}

fn apply(mutation: &Mutation, held: Option<&Item>) -> (Outcome, Change) {
    mutate(mutation, held, Seen::default(), LIMIT)
}

fn put_of(change: Change) -> Put {
    match change {
        Change::Put(put) => put,
        other => panic!("{other:?}"),
    }
}

/// `expected` is the outcome, its token left out, and the value afterwards (`None`: unchanged).
fn check(mutation: &Mutation, held: Option<&'static str>, expected: (Outcome, Option<&str>)) {
    let (outcome, change) = apply(mutation, held.map(item).as_ref());
    let value = match &change {
        Change::Put(put) => Some(std::str::from_utf8(&put.item.value).unwrap()),
        _ => None,
    };
    assert_eq!((outcome, value), expected, "{mutation:?} on {held:?}");
}

fn stored(bytes: u32) -> Outcome {
    Outcome::Stored { token: 0, bytes }
}

#[test]
fn storage_commands_look_at_presence_and_token() {
    use StoreMode::{Add, Append, Prepend, Replace, Set};
    check(&plain(Set, "b"), None, (stored(1), Some("b")));
    check(&plain(Set, "b"), Some("a"), (stored(1), Some("b")));
    check(&plain(Add, "b"), None, (stored(1), Some("b")));
    check(&plain(Add, "b"), Some("a"), (Outcome::NotStored, None));
    check(&plain(Replace, "b"), None, (Outcome::NotStored, None));
    check(&plain(Replace, "b"), Some("a"), (stored(1), Some("b")));
    check(&plain(Append, "z"), Some("a"), (stored(2), Some("az")));
    check(&plain(Prepend, "z"), Some("a"), (stored(2), Some("za")));
    check(&plain(Append, "z"), None, (Outcome::NotStored, None));
    check(&plain(Append, "zzzzzzzzzzzzzzzzzzzz"), Some("a"), (Outcome::NotStored, None));
    check(&plain(Set, "123456789012345678901"), Some("a"), (Outcome::TooLarge, None));
    for (mode, token, on_item, on_nothing) in [
        (Set, 42, stored(1), Outcome::NotFound),
        (Set, 0, Outcome::Exists, Outcome::NotFound),
        (Set, 41, Outcome::Exists, Outcome::NotFound),
        (Replace, 42, stored(1), Outcome::NotFound),
        (Replace, 43, Outcome::Exists, Outcome::NotFound),
        (Append, 42, stored(2), Outcome::NotStored),
        (Append, 0, stored(2), Outcome::NotStored),
        (Append, 41, Outcome::Exists, Outcome::NotStored),
        (Add, 41, Outcome::NotStored, stored(1)),
    ] {
        assert_eq!(apply(&cas(mode, token), Some(&item("a"))).0, on_item, "{mode:?} {token} on an item");
        assert_eq!(apply(&cas(mode, token), None).0, on_nothing, "{mode:?} {token} on nothing");
    }
}

#[test]
fn an_append_keeps_flags_and_expiry_and_creates_only_when_asked() {
    let (_, change) = apply(&plain(StoreMode::Append, "z"), Some(&marked(Marks::STALE)));
    let put = put_of(change);
    assert_eq!((put.item.flags, put.item.expiry, put.item.marks), (7, item("").expiry, Marks::NONE));
    assert!(put.stamped && !put.amends);
    let create = Mutation::Store(Store { create: true, ..Store::plain(StoreMode::Prepend, new("z")) });
    check(&create, None, (stored(1), Some("z")));
}

#[test]
fn an_older_token_is_taken_only_with_leave_and_makes_the_value_stale() {
    let older = |token| {
        Mutation::Store(Store {
            compare: Some(token),
            accept_older: true,
            token: Some(99),
            ..Store::plain(StoreMode::Set, new("b"))
        })
    };
    let held = marked(Marks::WON.with(Marks::STALE));
    let (outcome, change) = apply(&older(41), Some(&held));
    let put = put_of(change);
    assert_eq!(outcome, Outcome::Stored { token: 99, bytes: 1 });
    assert_eq!((put.item.expiry, put.item.cas, put.stamped), (held.expiry, 99, false));
    assert_eq!(put.item.marks, Marks::WON.with(Marks::STALE));
    assert_eq!(apply(&older(43), Some(&held)).0, Outcome::Exists);
    assert_eq!(apply(&older(0), Some(&held)).0, Outcome::Exists);
    let put = put_of(apply(&older(42), Some(&held)).1);
    assert_eq!((put.item.marks, put.item.expiry), (Marks::NONE, Expiry::NEVER), "the right token: a plain set");
}

#[test]
fn counters_wrap_stop_at_zero_and_never_get_shorter() {
    let at = |value, number, after| {
        let expiry = item(value).expiry;
        (Outcome::Number(Counted { number, token: 0, before: expiry, expiry }), Some(after))
    };
    let incr = |by| Mutation::Count(Count::plain(Step::Up(by)));
    let decr = |by| Mutation::Count(Count::plain(Step::Down(by)));
    for (mutation, value, number, after) in [
        (incr(1), "99", 100, "100"),
        (decr(1), "100", 99, "99 "),
        (incr(1), "99 5", 100, "100 "),
        (incr(1), "18446744073709551615", 0, "0                   "),
        (decr(5), "3", 0, "0"),
        (incr(1), "007", 8, "8  "),
        (incr(1), " +5", 6, "6  "),
        (incr(1), "\t5\tx", 6, "6   "),
    ] {
        check(&mutation, Some(value), at(value, number, after));
    }
    for text in ["", "hi", "5a", "-5", "1.5", "18446744073709551616", "+", " "] {
        check(&incr(1), Some(text), (Outcome::NonNumeric, None));
    }
    check(&incr(1), None, (Outcome::NotFound, None));
}

#[test]
fn a_counter_is_created_checked_and_marked_as_its_flags_say() {
    let count = |count: Count| Mutation::Count(count);
    let create = Count { create: Some((13, Expiry::at(9))), token: Some(5), ..Count::plain(Step::Up(1)) };
    let (outcome, change) = apply(&count(create), None);
    assert_eq!(outcome, Outcome::Stored { token: 5, bytes: 2 });
    let put = put_of(change);
    assert_eq!((&put.item.value[..], put.item.expiry, put.item.cas), (&b"13"[..], Expiry::at(9), 5));

    let number = Item { value: Bytes::from_static(b"9"), ..marked(Marks::STALE) };
    let mismatch = Count { compare: Some(41), ..Count::plain(Step::Up(1)) };
    assert_eq!(apply(&count(mismatch), Some(&number)), (Outcome::Exists, Change::Keep));
    let grown =
        put_of(apply(&count(Count { expiry: Some(Expiry::at(7)), ..Count::plain(Step::Up(1)) }), Some(&number)).1);
    assert_eq!((grown.amends, grown.item.marks, grown.item.expiry), (false, Marks::NONE, Expiry::at(7)));
    let in_place = put_of(apply(&count(Count::plain(Step::Down(1))), Some(&number)).1);
    assert_eq!((in_place.amends, in_place.item.marks), (true, Marks::STALE));
}

#[test]
fn the_first_to_fetch_a_stale_soon_gone_or_absent_item_wins_and_nobody_after_it() {
    let won = |outcome: &Outcome| match outcome {
        Outcome::Item(fetched) => fetched.won,
        other => panic!("{other:?}"),
    };
    let plain = Fetch::default();
    let soon = Fetch { recache: Some(Expiry::at(2_000_000_001)), ..plain };
    let late = Fetch { recache: Some(Expiry::at(2_000_000_000)), ..plain };
    let create = Fetch { create: Some(Expiry::at(30)), ..plain };
    let eternal = Item { expiry: Expiry::NEVER, ..item("a") };
    for (how, held, wins) in [
        (plain, item("a"), false),
        (plain, marked(Marks::STALE), true),
        (plain, marked(Marks::STALE.with(Marks::WON)), false),
        (soon, item("a"), true),
        (soon, marked(Marks::WON), false),
        (late, item("a"), false),
        (soon, eternal.clone(), false),
        (create, item("a"), false),
        (Fetch { expiry: Some(Expiry::at(1_999_999_999)), recache_after_touch: true, ..late }, item("a"), true),
        (Fetch { expiry: Some(Expiry::at(1_999_999_999)), ..late }, item("a"), false),
    ] {
        let (outcome, change) = apply(&Mutation::Fetch(how), Some(&held));
        assert_eq!(won(&outcome), wins, "{how:?} on {held:?}");
        if wins {
            let after = put_of(change);
            assert!(after.item.marks.has(Marks::WON) && after.amends && !after.stamped);
            assert!(!won(&apply(&Mutation::Fetch(how), Some(&after.item)).0), "the second does not win");
        }
    }
    let (outcome, change) = apply(&Mutation::Fetch(create), None);
    let stub = put_of(change);
    assert!(won(&outcome) && stub.stamped && stub.item.value.is_empty());
    assert_eq!((stub.item.marks, stub.item.expiry), (Marks::WON, Expiry::at(30)));
    assert_eq!(apply(&Mutation::Fetch(plain), None), (Outcome::Miss, Change::Keep));
    assert_eq!(apply(&Mutation::Fetch(plain), Some(&item("a"))).1, Change::Notice);
    let unnoticed = Fetch { unnoticed: true, ..plain };
    assert_eq!(apply(&Mutation::Fetch(unnoticed), Some(&item("a"))).1, Change::Keep);
}

#[test]
fn a_gat_leaves_the_win_to_readers_that_can_be_told() {
    let touch = Mutation::GetAndTouch(Expiry::at(1_999_999_999));
    for marks in [Marks::NONE, Marks::STALE, Marks::STALE.with(Marks::WON)] {
        let (outcome, change) = apply(&touch, Some(&marked(marks)));
        let after = put_of(change);
        assert_eq!((after.item.marks, after.item.expiry), (marks, Expiry::at(1_999_999_999)));
        assert!(after.amends && after.noticed && !after.stamped);
        assert!(matches!(outcome, Outcome::Item(Fetched { item, won: false, .. }) if item == after.item));
    }
    assert_eq!(apply(&touch, None), (Outcome::Miss, Change::Keep));
}

#[test]
fn a_delete_can_leave_the_item_stale_or_empty() {
    let remove = |compare, instead| Mutation::Remove(Remove { compare, instead });
    assert_eq!(apply(&remove(None, None), Some(&item("a"))), (Outcome::Deleted, Change::Delete));
    assert_eq!(apply(&remove(Some(42), None), Some(&item("a"))), (Outcome::Deleted, Change::Delete));
    assert_eq!(apply(&remove(Some(0), None), Some(&item("a"))), (Outcome::Exists, Change::Keep));
    assert_eq!(apply(&remove(None, None), None), (Outcome::NotFound, Change::Keep));

    let stale = Invalidate { stale: true, expiry: Some(Expiry::at(5)), ..Invalidate::default() };
    let put = put_of(apply(&remove(None, Some(stale)), Some(&marked(Marks::WON))).1);
    assert_eq!((put.item.marks, put.item.expiry, put.stamped), (Marks::STALE, Expiry::at(5), true));
    assert_eq!(&put.item.value[..], b"a");

    let empty = Invalidate { empty: Some(3), expiry: Some(Expiry::at(5)), ..Invalidate::default() };
    let put = put_of(apply(&remove(None, Some(empty)), Some(&marked(Marks::STALE))).1);
    assert_eq!((put.item.flags, put.item.cas, put.stamped), (3, 42, false), "the token stays");
    assert!(put.item.value.is_empty() && put.item.marks == Marks::NONE && put.item.expiry == Expiry::at(5));
    let forever = put_of(apply(&remove(None, Some(Invalidate { expiry: None, ..empty })), Some(&item("a"))).1);
    assert_eq!(forever.item.expiry, Expiry::NEVER);

    let both = Invalidate { stale: true, empty: Some(0), token: Some(9), ..Invalidate::default() };
    let put = put_of(apply(&remove(None, Some(both)), Some(&item("a"))).1);
    assert_eq!((put.item.cas, put.stamped, put.item.marks), (9, false, Marks::STALE));
}

#[test]
fn touches_and_confirmations_keep_the_value() {
    let at = Expiry::at(1_900_000_000);
    let (outcome, change) = apply(&Mutation::Touch(at), Some(&marked(Marks::WON)));
    let put = put_of(change);
    assert_eq!((outcome, put.item), (Outcome::Touched, Item { expiry: at, ..marked(Marks::WON) }));
    assert!(!put.stamped && put.amends);
    assert_eq!(apply(&Mutation::Touch(at), None), (Outcome::NotFound, Change::Keep));
    let (outcome, change) = apply(&Mutation::Confirm, Some(&item("a")));
    assert!(matches!(outcome, Outcome::Item(fetched) if fetched.item == item("a")));
    assert_eq!(change, Change::Keep);
    assert_eq!(apply(&Mutation::Confirm, None), (Outcome::Miss, Change::Keep));
}

#[test]
fn a_number_may_stand_before_much_space_but_not_too_much() {
    for (len, counts) in [(100_000, true), (COUNTER_BYTES_MAX, true), (COUNTER_BYTES_MAX + 1, false)] {
        let mut value = vec![b' '; len];
        value[0] = b'9';
        let held = Item { value: Bytes::from(value.clone()), ..item("") };
        let (outcome, change) =
            mutate(&Mutation::Count(Count::plain(Step::Up(1))), Some(&held), Seen::default(), 1 << 20);
        if counts {
            value[..2].copy_from_slice(b"10");
            assert!(matches!(outcome, Outcome::Number(counted) if counted.number == 10));
            assert!(put_of(change).item.value == value, "{len} bytes");
        } else {
            assert_eq!((outcome, change), (Outcome::NonNumeric, Change::Keep));
        }
    }
}
