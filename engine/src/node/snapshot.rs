//! What the only member of a ring holds, page by page: kept while its process does not run, and taken back.
//!
//! Where a ring has other members, they answer meanwhile: what this node kept would be older than what they have, and it
//! gets its share back from them. Must not know where pages are kept.

use memring_protocol::entry::{Body, Entry, UnixMillis};
use memring_protocol::key::{Key, Partition};
use memring_protocol::message::FetchReply;
use memring_protocol::version::{Ballot, Version};

use super::shared::Shared;
use crate::store::{Applied, Heat};

/// Keys and values of a page, in bytes: one item may pass it.
const PAGE_BYTES: usize = 1024 * 1024;

/// Partitions that one page looks into: bounds the time of a page of a store that is nearly empty.
const PAGE_PARTITIONS_MAX: usize = 1024;

/// The largest value that is kept: a page with it must fit a frame.
const VALUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where a snapshot goes on; by default at its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SnapshotCursor {
    heat: usize,
    partition: usize,
    token: u64,
}

impl Shared {
    /// Whether this node is the only member of its ring: then nobody else can change anything while it does not run.
    pub fn is_only_member(&self) -> bool {
        let topology = self.topology();
        topology.me().is_some() && topology.layout().is_some_and(|layout| layout.config.members.len() == 1)
    }

    /// The next live items, about a mebibyte of them and possibly none, the most read first; and where to go on, `None` at
    /// the end. Values above 4 MiB are left out. With them goes what the node knows of flushes.
    pub fn snapshot_page(&self, now: UnixMillis, from: SnapshotCursor) -> (FetchReply, Option<SnapshotCursor>) {
        let mut page = FetchReply { partitions: Vec::new(), entries: Vec::new(), flush: self.store.flush() };
        let (mut room, mut cursor) = (PAGE_BYTES, from);
        let heat = Heat::ALL[from.heat];
        for partition in Partition::all().skip(from.partition).take(PAGE_PARTITIONS_MAX) {
            let (found, next) = self.store.page_of_heat(now, partition, heat, cursor.token, room);
            let kept = found.into_iter().filter(|(_, entry)| is_kept(now, entry));
            for (key, entry) in kept {
                room = room.saturating_sub(key.len() + entry.value_len());
                page.entries.push((key, entry));
            }
            cursor.token = next.unwrap_or(0);
            cursor.partition += usize::from(next.is_none());
            if room == 0 {
                break;
            }
        }
        if cursor.partition < Partition::all().count() {
            return (page, Some(cursor));
        }
        let heat = from.heat + 1;
        (page, (heat < Heat::ALL.len()).then_some(SnapshotCursor { heat, partition: 0, token: 0 }))
    }

    /// Takes back what a former life of this node has kept: before there is a ring, so that nothing has been ordered yet.
    /// Versions keep their stamps, which are cas tokens, and lose their ballots: those were promised in another ring. Returns
    /// how many entries found room.
    pub fn restore(&self, now: UnixMillis, page: FetchReply) -> usize {
        debug_assert!(self.topology().layout().is_none(), "a ring has been found already");
        self.take_flush(page.flush);
        let taken = |(key, entry): (Key, Entry)| {
            self.clock.observe(entry.version.stamp);
            let version = Version { ballot: Ballot::NONE, stamp: entry.version.stamp };
            self.store.apply(now, &key, None, &Entry { version, ..entry }) == Applied::Stored
        };
        page.entries.into_iter().map(taken).filter(|taken| *taken).count()
    }
}

fn is_kept(now: UnixMillis, entry: &Entry) -> bool {
    entry.live_item(now).is_some() && matches!(&entry.body, Body::Item(item) if item.value.len() <= VALUE_BYTES_MAX)
}
