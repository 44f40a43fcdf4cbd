//! Tests of the watchers' table, without sockets.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use memring_engine::node::{Event, Shared};
use memring_engine::store::Missing;
use memring_protocol::ring::NodeName;
use memring_protocol::text::WatchKinds;

use super::{WATCH_BUFFER_BYTES_MAX, WATCHERS_MAX, Watchers, Watching};
use crate::clock::Clock;
use crate::config::{Config, Whereabouts};

fn watchers() -> (Arc<Shared>, Arc<Watchers>) {
    let name = NodeName::new("n1").expect("legal");
    let address = "127.0.0.1:1".parse().expect("an address");
    let places = Whereabouts { peer: address, client_port: 2, admin_port: 3 };
    let shared = Shared::new(Config::default().settings(name, places, 1, 1, 1));
    let watchers = Arc::new(Watchers::new(Arc::clone(&shared), Clock::start()));
    (shared, watchers)
}

fn lookup(key: &[u8]) -> Event {
    Event::Fetched { connection: 7, key: Bytes::copy_from_slice(key), found: Err(Missing::Absent), class: 0 }
}

/// All that a watcher has waiting.
fn drain(watching: &Watching) -> String {
    let mut all = String::new();
    loop {
        let mut out = BytesMut::new();
        watching.take(&mut out);
        if out.is_empty() {
            return all;
        }
        all += std::str::from_utf8(&out).expect("ASCII");
    }
}

#[test]
fn only_what_somebody_watches_is_wanted_and_each_gets_what_it_asked_for() {
    let (shared, watchers) = watchers();
    assert_eq!(shared.watched(), WatchKinds::NONE);
    let fetchers = watchers.enter(WatchKinds::FETCHERS).expect("room");
    let evictions = watchers.enter(WatchKinds::EVICTIONS.with(WatchKinds::DELETIONS)).expect("room");
    let all = WatchKinds::FETCHERS.with(WatchKinds::EVICTIONS).with(WatchKinds::DELETIONS);
    assert_eq!(shared.watched(), all);
    watchers.tell(&lookup(b"a b"));
    watchers.tell(&Event::EvictionsMissed(5));
    let deleted = Event::Deleted { key: Bytes::from_static(b"k"), meta: true, class: 2, size: 3 };
    watchers.tell(&deleted);
    let lines = drain(&fetchers);
    assert!(lines.starts_with("OK\r\nts="), "{lines}");
    assert!(
        lines.ends_with(" gid=3 type=item_get key=a%20b status=not_found clsid=0 cfd=7 size=0\n"),
        "two watchers came before: {lines}"
    );
    let lines = drain(&evictions);
    assert!(lines.starts_with("OK\r\nskipped=5\nts="), "{lines}");
    assert!(lines.ends_with(" gid=4 type=deleted key=k cmd=md clsid=2 size=3\n"), "{lines}");
    drop(evictions);
    assert_eq!(shared.watched(), WatchKinds::FETCHERS);
    drop(fetchers);
    assert_eq!(shared.watched(), WatchKinds::NONE);
}

#[test]
fn a_watcher_that_does_not_read_costs_its_buffer_and_is_told_what_it_missed() {
    const EVENTS: usize = 10_000;
    let (_shared, watchers) = watchers();
    let watching = watchers.enter(WatchKinds::FETCHERS).expect("room");
    for _ in 0..EVENTS {
        watchers.tell(&lookup(&[b'k'; 250]));
    }
    let lines = drain(&watching);
    assert!(lines.len() <= WATCH_BUFFER_BYTES_MAX, "{} bytes", lines.len());
    let kept = lines.lines().filter(|line| line.starts_with("ts=")).count();
    watchers.tell(&lookup(b"last"));
    let lines = drain(&watching);
    assert!(lines.starts_with(&format!("skipped={}\nts=", EVENTS - kept)), "{lines}");
    assert!(lines.contains("key=last "), "{lines}");
}

#[test]
fn there_is_room_for_so_many_watchers_and_no_more() {
    let (_shared, watchers) = watchers();
    let mut seats: Vec<_> = (0..WATCHERS_MAX).map(|_| watchers.enter(WatchKinds::NONE).expect("room")).collect();
    assert!(watchers.enter(WatchKinds::NONE).is_none());
    seats.pop();
    assert!(watchers.enter(WatchKinds::NONE).is_some());
}
