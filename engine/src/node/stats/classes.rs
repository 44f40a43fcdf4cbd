//! `stats items`, `stats slabs` and `stats cachedump`: the store by size class.
//!
//! Must not know how the store keeps its items. A class has no pages: memory goes where it is needed, so that a class's
//! chunks are its items, and none is free.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use memring_protocol::entry::{Marks, UnixMillis};
use memring_protocol::text::{ErrorReply, Response, put_key_as_sent};

use super::Lines;
use crate::node::shared::Shared;
use crate::store::{CLASSES, ClassStats, class_bytes};

/// A page of memcached's, in bytes: in these words sizes are told.
const PAGE_BYTES: usize = 1 << 20;

/// The largest number that memcached takes for a class.
const CLASS_NUMBER_MAX: u32 = 63;

/// Where a dump ends, in bytes: as memcached's does.
const DUMP_BYTES_MAX: usize = 2 << 20;

/// The most items that one dump lists: the shortest lines fill its bytes with fewer.
const DUMP_ITEMS_MAX: usize = DUMP_BYTES_MAX / 16;

fn numbered(stats: &[ClassStats]) -> impl Iterator<Item = (u32, &ClassStats)> {
    (1..).zip(stats)
}

pub(super) fn items(shared: &Shared, now: UnixMillis) -> Lines {
    let mut lines = Lines::new();
    for (number, class) in numbered(&shared.store.class_stats(now)).filter(|(_, class)| class.number > 0) {
        let mut put = |name: &str, value: u64| {
            lines.push((Cow::Owned(format!("items:{number}:{name}")), value.to_string()));
        };
        put("number", class.number);
        put("number_hot", class.small);
        put("number_warm", class.number - class.small);
        put("number_cold", 0);
        put("age_hot", class.age_small_s);
        put("age_warm", class.age_main_s);
        put("age", class.age_small_s.max(class.age_main_s));
        put("mem_requested", class.bytes);
        put("evicted", class.evicted);
        put("evicted_nonzero", class.evicted_nonzero);
        put("evicted_time", class.evicted_time_s);
        put("outofmemory", class.out_of_memory);
        put("tailrepairs", 0);
        put("reclaimed", class.reclaimed);
        put("expired_unfetched", class.expired_unfetched);
        put("evicted_unfetched", class.evicted_unfetched);
        put("evicted_active", class.evicted_active);
        put("crawler_reclaimed", class.crawler_reclaimed);
        put("crawler_items_checked", class.crawler_items_checked);
        put("lrutail_reflocked", 0);
        put("moves_to_cold", 0);
        put("moves_to_warm", class.moves_to_main);
        put("moves_within_lru", class.moves_within_main);
        put("direct_reclaims", class.evicted + class.reclaimed);
        put("hits_to_hot", class.hits_to_small);
        put("hits_to_warm", class.hits_to_main);
        put("hits_to_cold", 0);
        put("hits_to_temp", 0);
    }
    lines
}

pub(super) fn slabs(shared: &Shared, now: UnixMillis) -> Lines {
    let mut lines = Lines::new();
    let (stats, counters) = (shared.store.class_stats(now), shared.counters.sums());
    for (number, class) in numbered(&stats).filter(|(_, class)| class.used > 0) {
        let counters = counters.class(number);
        let mut put = |name: &str, value: u64| lines.push((Cow::Owned(format!("{number}:{name}")), value.to_string()));
        let chunk = class_bytes(number);
        put("chunk_size", chunk as u64);
        put("chunks_per_page", (PAGE_BYTES / chunk).max(1) as u64);
        put("total_pages", class.bytes.div_ceil(PAGE_BYTES as u64));
        put("total_chunks", class.number);
        put("used_chunks", class.number);
        put("free_chunks", 0);
        put("free_chunks_end", 0);
        put("get_hits", counters.get_hits.value());
        put("cmd_set", counters.cmd_set.value());
        put("delete_hits", counters.delete_hits.value());
        put("incr_hits", counters.incr_hits.value());
        put("decr_hits", counters.decr_hits.value());
        put("cas_hits", counters.cas_hits.value());
        put("cas_badval", counters.cas_badval.value());
        put("touch_hits", counters.touch_hits.value());
    }
    let active = stats.iter().filter(|class| class.used > 0).count();
    super::put(&mut lines, "active_slabs", active);
    super::put(&mut lines, "total_malloced", shared.store.stats().used_bytes);
    lines
}

/// `stats cachedump <class> <limit>`: `ITEM <key> [<bytes> b; <expiry> s]` for each; a limit of 0 is none.
pub(super) fn dump(shared: &Shared, now: UnixMillis, class: Option<&[u8]>, limit: Option<&[u8]>) -> Response {
    let (Some(class), Some(limit)) = (class, limit) else { return Response::Failed(ErrorReply::BadLine) };
    let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<u32>().ok();
    let (Some(class), Some(limit)) = (number(class), number(limit)) else {
        return Response::Failed(ErrorReply::BadLineFormat);
    };
    if class > CLASS_NUMBER_MAX {
        return Response::Failed(ErrorReply::IllegalSlab);
    }
    let limit = if limit == 0 { DUMP_ITEMS_MAX } else { DUMP_ITEMS_MAX.min(limit as usize) };
    let listed =
        if (1..=CLASSES).contains(&class) { shared.store.newest_of_class(now, class, limit) } else { Vec::new() };
    let mut out = BytesMut::new();
    let mut key = Vec::new();
    for item in listed {
        key.clear();
        put_key_as_sent(&item.key, item.marks.has(Marks::BINARY_KEY), &mut key);
        let end = item.expiry.unix_seconds().unwrap_or(0);
        let rest = format!(" [{} b; {end} s]\r\n", item.value_bytes);
        if out.len() + key.len() + rest.len() > DUMP_BYTES_MAX {
            break;
        }
        out.put_slice(b"ITEM ");
        out.put_slice(&key);
        out.put_slice(rest.as_bytes());
    }
    out.put_slice(b"END\r\n");
    Response::Text(out.freeze())
}
