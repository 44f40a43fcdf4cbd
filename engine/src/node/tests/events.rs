//! Events of a node alone: which are given, for whom, and that none is where nobody watches.

use memring_protocol::text::{ErrorReply, Response, Step, WatchKinds, parse};

use super::{Alone, LIMITS};
use crate::node::{DumpCursor, Event, StoreStatus, StoreWord};
use crate::store::Missing;

fn watched(kinds: &[WatchKinds]) -> Alone {
    let alone = Alone::founded();
    alone.shared.set_watched(kinds.iter().fold(WatchKinds::NONE, |all, kind| all.with(*kind)));
    alone
}

#[test]
fn nothing_is_told_where_nobody_watches() {
    let mut alone = Alone::founded();
    for line in ["set a 0 0 1\r\nx\r\n", "get a b\r\n", "mg a v\r\n", "gat 5 a\r\n", "md a\r\n", "delete b\r\n"] {
        assert_eq!(alone.request(line).1, [], "{line:?}");
    }
}

#[test]
fn only_the_kinds_that_are_watched_are_told() {
    let count = |events: &[Event], kind| events.iter().filter(|event| event.kind() == kind).count();
    for (kind, expected) in [(WatchKinds::FETCHERS, 7), (WatchKinds::MUTATIONS, 2), (WatchKinds::DELETIONS, 1)] {
        let mut alone = watched(&[kind]);
        let mut events = Vec::new();
        for line in ["set a 0 0 1\r\nx\r\n", "get a b\r\n", "mg a v\r\n", "append a 0 0 1\r\ny\r\n", "delete a\r\n"] {
            events.extend(alone.request(line).1);
        }
        events.extend(alone.request("flush_all\r\n").1);
        events.extend(alone.request("touch a 5\r\n").1);
        assert_eq!((count(&events, kind), events.len()), (expected, expected), "{events:?}");
    }
}

#[test]
fn an_event_names_connection_key_size_and_outcome() {
    let mut alone = watched(&[WatchKinds::FETCHERS, WatchKinds::MUTATIONS, WatchKinds::DELETIONS]);
    let lookup = |size: Option<usize>| Event::Fetched {
        connection: 9,
        key: "key".into(),
        found: size.ok_or(Missing::Absent),
        class: u32::from(size.is_some()) * crate::store::class_of(crate::store::item_size(3, size.unwrap_or(0))),
    };
    let stored = |status, word, ttl_s, size| Event::Stored {
        connection: 9,
        key: "key".into(),
        status,
        word,
        ttl_s,
        class: crate::store::class_of(crate::store::item_size(3, size)),
        size,
    };
    let rows = [
        ("add key 0 50 3\r\nabc\r\n", vec![lookup(None), stored(StoreStatus::Stored, StoreWord::Add, 50, 3)]),
        ("append key 0 9 1\r\nd\r\n", vec![lookup(Some(3)), stored(StoreStatus::Stored, StoreWord::Append, 50, 4)]),
        ("cas key 0 9 1 1\r\nd\r\n", vec![lookup(Some(4)), stored(StoreStatus::Exists, StoreWord::Cas, 9, 1)]),
        ("incr key 1\r\n", vec![lookup(Some(4))]),
        ("mg key N30\r\n", vec![lookup(Some(4))]),
        ("me key\r\n", vec![lookup(Some(4))]),
    ];
    for (line, expected) in rows {
        assert_eq!(alone.request(line).1, expected, "{line:?}");
    }
    let (_, events) = alone.request("md key q\r\n");
    let class = crate::store::class_of(crate::store::item_size(3, 4));
    assert_eq!(events, [lookup(Some(4)), Event::Deleted { key: "key".into(), meta: true, class, size: 4 }]);
    assert_eq!(alone.request("mg key N30\r\n").1, [lookup(None)], "what it creates it has not found");
}

#[test]
fn whoever_meets_a_dead_item_is_told_why_it_is_not_there() {
    let status = |events: &[Event]| match events {
        [Event::Fetched { found, .. }] => *found,
        other => panic!("{other:?}"),
    };
    let mut alone = watched(&[WatchKinds::FETCHERS]);
    for read in ["get k\r\n", "gat 0 k\r\n", "mg k v\r\n", "touch k 0\r\n", "delete k\r\n"] {
        alone.request("set k 0 -1 1\r\nx\r\n");
        assert_eq!(status(&alone.request(read).1), Err(Missing::Expired), "{read:?}");
        // A get reclaims it, if it still lies there.
        alone.request("get k\r\n");
        assert_eq!(status(&alone.request("get k\r\n").1), Err(Missing::Absent), "{read:?}");
        alone.request("set k 0 0 1\r\nx\r\n");
        alone.request("flush_all\r\n");
        alone.now.cluster.0 += 1;
        assert_eq!(status(&alone.request(read).1), Err(Missing::Flushed), "{read:?}");
        alone.request("delete k\r\n");
    }
}

#[test]
fn values_that_are_not_received_are_told() {
    let mut alone = watched(&[WatchKinds::MUTATIONS]);
    for (line, word) in [("set big 0 0 20000\r\n", StoreWord::Set), ("add big 0 0 20000\r\n", StoreWord::Unknown)] {
        let Step::TooLarge { key, removes, .. } = parse(line.as_bytes(), &LIMITS) else { panic!("not too large") };
        let (_, events) = alone.ask(|node, now, ticket, effects| {
            node.on_too_large(now, ticket, &key, removes, effects);
        });
        let told = Event::Stored {
            connection: 9,
            key: "big".into(),
            status: StoreStatus::TooLarge,
            word,
            ttl_s: 0,
            class: 0,
            size: 0,
        };
        assert_eq!(events, std::slice::from_ref(&told));
        let (response, events) = alone.ask(|node, now, ticket, effects| {
            node.on_no_memory(now, ticket, &key, removes, effects);
        });
        assert_eq!(response, Response::Failed(ErrorReply::OutOfMemoryStoring));
        let Event::Stored { connection, key, word, ttl_s, class, size, .. } = told else { panic!("it is a store") };
        let status = StoreStatus::NoMemory;
        assert_eq!(events, [Event::Stored { connection, key, status, word, ttl_s, class, size }]);
    }
}

#[test]
fn every_eviction_is_told_or_counted() {
    let mut alone = watched(&[WatchKinds::EVICTIONS]);
    let (value, mut told) = ("x".repeat(5000), 0);
    for number in 0..500 {
        for event in alone.request(&format!("set key{number} 0 100 5000\r\n{value}\r\n")).1 {
            match event {
                Event::Evicted { key, fetched: false, ttl_s: 100, idle_s: 0, size: 5000, .. } => {
                    assert!(key.starts_with(b"key"));
                    told += 1;
                }
                Event::EvictionsMissed(count) => told += count,
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(told > 100, "{told}");
    assert_eq!(told, alone.shared.store.stats().evictions);
}

#[test]
fn a_dump_is_made_of_bounded_pages() {
    let mut alone = Alone::founded();
    for number in 0..500 {
        alone.request(&format!("set key{number} 0 0 1\r\nx\r\n"));
    }
    let (mut keys, mut pages, mut cursor) = (std::collections::BTreeSet::new(), 0, DumpCursor::default());
    loop {
        let (page, next) = alone.node.dump(alone.now, cursor, 10);
        assert!(page.len() <= 10);
        keys.extend(page.into_iter().map(|listing| listing.key));
        pages += 1;
        match next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert_eq!(keys.len(), 500);
    assert!((50..150).contains(&pages), "{pages}");
}
