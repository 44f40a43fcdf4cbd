//! What the store counts.
//!
//! Must not know how a client asks for it, nor its name in `stats` or metrics.

use std::ops::AddAssign;

/// Sums over all shards; see each field. Counters start at 0 with the store and at
/// [`Store::reset_stats`](super::Store::reset_stats); what is held is never reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreStats {
    /// Items held, also expired ones that were not reclaimed yet.
    pub curr_items: u64,
    /// Bytes of these items as memcached counts them: key, value and the store's header for each.
    pub bytes: u64,
    /// The limit of the store, in bytes.
    pub limit_maxbytes: u64,
    /// Bytes of everything that the limit covers, as accounted; never above it.
    pub used_bytes: u64,
    /// Bytes of the index, a part of `used_bytes`.
    pub index_bytes: u64,
    /// Items ever stored; one that changes in place does not count.
    pub total_items: u64,
    /// Tombstones held.
    pub tombstones: u64,
    /// Items dropped for room while they were live.
    pub evictions: u64,
    /// Those of them that were on probation, in the small queue; the others were in the main one.
    pub evictions_small: u64,
    /// Items whose memory was taken back because they had expired or were flushed.
    pub reclaimed: u64,
    /// Expired items that were reclaimed without ever being read by a client.
    pub expired_unfetched: u64,
    /// Live items that were evicted without ever being read by a client.
    pub evicted_unfetched: u64,
    /// Tombstones dropped before their time: over their cap, or for room.
    pub tombstones_dropped: u64,
    /// Client reads that found a live item.
    pub get_hits: u64,
    /// Client reads that did not, including the two counts below.
    pub get_misses: u64,
    /// Client reads that found an expired item.
    pub get_expired: u64,
    /// Client reads that found a flushed item.
    pub get_flushed: u64,
    /// Entries refused because key and value exceed the item limit.
    pub too_large: u64,
    /// Entries refused for want of room.
    pub out_of_memory: u64,
    /// Bytes of records that were removed or replaced, whose memory is not free yet: a part of `used_bytes`.
    pub dead_bytes: u64,
    /// Items moved between or within queues instead of being dropped.
    pub moves: u64,
    /// Bytes of these items.
    pub moved_bytes: u64,
    /// Those of them that were proven: from the small queue to the main one.
    pub moves_to_main: u64,
    /// Expired and flushed items dropped to make room: a part of `reclaimed`.
    pub reclaimed_for_room: u64,
    /// Expired and flushed items that a sweep removed: a part of `reclaimed`.
    pub crawler_reclaimed: u64,
    /// Items that sweeps have looked at.
    pub crawler_items_checked: u64,
    /// Items evicted although they had been read since they were last moved.
    pub evicted_active: u64,
}

impl AddAssign for StoreStats {
    fn add_assign(&mut self, other: Self) {
        // Named one by one: a new field does not compile until it is added up.
        let Self {
            curr_items,
            bytes,
            limit_maxbytes,
            used_bytes,
            index_bytes,
            total_items,
            tombstones,
            evictions,
            evictions_small,
            reclaimed,
            expired_unfetched,
            evicted_unfetched,
            tombstones_dropped,
            get_hits,
            get_misses,
            get_expired,
            get_flushed,
            too_large,
            out_of_memory,
            dead_bytes,
            moves,
            moved_bytes,
            moves_to_main,
            reclaimed_for_room,
            crawler_reclaimed,
            crawler_items_checked,
            evicted_active,
        } = other;
        self.curr_items += curr_items;
        self.bytes += bytes;
        self.limit_maxbytes += limit_maxbytes;
        self.used_bytes += used_bytes;
        self.index_bytes += index_bytes;
        self.total_items += total_items;
        self.tombstones += tombstones;
        self.evictions += evictions;
        self.evictions_small += evictions_small;
        self.reclaimed += reclaimed;
        self.expired_unfetched += expired_unfetched;
        self.evicted_unfetched += evicted_unfetched;
        self.tombstones_dropped += tombstones_dropped;
        self.get_hits += get_hits;
        self.get_misses += get_misses;
        self.get_expired += get_expired;
        self.get_flushed += get_flushed;
        self.too_large += too_large;
        self.out_of_memory += out_of_memory;
        self.dead_bytes += dead_bytes;
        self.moves += moves;
        self.moved_bytes += moved_bytes;
        self.moves_to_main += moves_to_main;
        self.reclaimed_for_room += reclaimed_for_room;
        self.crawler_reclaimed += crawler_reclaimed;
        self.crawler_items_checked += crawler_items_checked;
        self.evicted_active += evicted_active;
    }
}
