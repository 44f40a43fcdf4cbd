//! Plain `stats`.
//!
//! Must not count anything itself. What memring does not have is told as the 0 that it is: docs/statistics.md says which.

use std::sync::atomic::Ordering;

use memring_protocol::entry::UnixMillis;
use memring_protocol::key::PARTITIONS;

use super::{Lines, put};
use crate::node::requests::VERSION;
use crate::node::shared::Shared;
use crate::store::StoreStats;

/// What `stats cluster` adds up.
pub(super) const SUMMABLE: &[&str] = &[
    "max_connections",
    "curr_connections",
    "total_connections",
    "rejected_connections",
    "cmd_get",
    "cmd_set",
    "cmd_flush",
    "cmd_touch",
    "cmd_meta",
    "get_hits",
    "get_misses",
    "get_expired",
    "get_flushed",
    "delete_misses",
    "delete_hits",
    "incr_misses",
    "incr_hits",
    "decr_misses",
    "decr_hits",
    "cas_misses",
    "cas_hits",
    "cas_badval",
    "touch_hits",
    "touch_misses",
    "store_too_large",
    "store_no_memory",
    "auth_cmds",
    "auth_errors",
    "bytes_read",
    "bytes_written",
    "limit_maxbytes",
    "threads",
    "hash_bytes",
    "bytes",
    "curr_items",
    "total_items",
    "expired_unfetched",
    "evicted_unfetched",
    "evicted_active",
    "evictions",
    "reclaimed",
    "crawler_reclaimed",
    "crawler_items_checked",
    "moves_to_warm",
    "moves_within_lru",
    "direct_reclaims",
    "tombstones",
    "tombstones_dropped",
    "used_bytes",
    "reads_unmet",
    "writes_unmet",
    "reads_forwarded",
    "read_repairs",
    "takeovers",
    "partitions_refounded",
    "hints",
    "hint_bytes",
    "hints_dropped",
    "hints_replayed",
    "hints_on_disk",
    "hint_disk_bytes",
    "hint_segments_bad",
    "partitions_compared",
    "partitions_differing",
    "partitions_emptied",
    "repairs",
    "repairs_pending",
    "repairs_sent",
    "repair_bytes",
    "large_bytes_in",
    "large_bytes_out",
    "large_reads_missed",
    "slow_senders_closed",
    "slow_readers_closed",
    "unsent_reply_bytes",
];

pub(super) fn lines(shared: &Shared, now: UnixMillis) -> Lines {
    let mut lines = Lines::new();
    let store = shared.store.stats();
    process_lines(shared, &mut lines);
    command_lines(shared, &store, &mut lines);
    traffic_lines(shared, &store, &mut lines);
    absent_lines(shared, &mut lines);
    item_lines(&store, &mut lines);
    own_lines(shared, &store, &mut lines);
    flush_lines(shared, now, &mut lines);
    lines
}

fn process_lines(shared: &Shared, lines: &mut Lines) {
    let (process, before) = (shared.process.load(), shared.process_at_reset.load());
    let cpu = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    put(lines, "pid", process.pid);
    put(lines, "uptime", process.uptime_s);
    put(lines, "time", process.unix_s);
    put(lines, "version", VERSION);
    put(lines, "libevent", "none");
    put(lines, "pointer_size", usize::BITS);
    put(lines, "rusage_user", cpu(process.rusage_user_us));
    put(lines, "rusage_system", cpu(process.rusage_system_us));
    put(lines, "max_connections", process.max_connections);
    put(lines, "curr_connections", process.curr_connections);
    put(lines, "total_connections", process.total_connections.saturating_sub(before.total_connections));
    put(lines, "rejected_connections", process.rejected_connections.saturating_sub(before.rejected_connections));
    // A connection's structure goes with it.
    put(lines, "connection_structures", process.curr_connections);
    for name in [
        "response_obj_oom",
        "response_obj_count",
        "response_obj_bytes",
        "read_buf_count",
        "read_buf_bytes",
        "read_buf_bytes_free",
        "read_buf_oom",
        "reserved_fds",
    ] {
        put(lines, name, 0);
    }
}

fn command_lines(shared: &Shared, store: &StoreStats, lines: &mut Lines) {
    let counters = shared.counters.sums();
    for (name, count) in [
        ("cmd_get", counters.cmd_get.value()),
        ("cmd_set", counters.cmd_set.value()),
        ("cmd_flush", counters.cmd_flush.value()),
        ("cmd_touch", counters.cmd_touch.value()),
        ("cmd_meta", counters.cmd_meta.value()),
        ("get_hits", counters.get_hits.value()),
        ("get_misses", counters.get_misses.value()),
        ("get_expired", store.get_expired),
        ("get_flushed", store.get_flushed),
        ("delete_misses", counters.delete_misses.value()),
        ("delete_hits", counters.delete_hits.value()),
        ("incr_misses", counters.incr_misses.value()),
        ("incr_hits", counters.incr_hits.value()),
        ("decr_misses", counters.decr_misses.value()),
        ("decr_hits", counters.decr_hits.value()),
        ("cas_misses", counters.cas_misses.value()),
        ("cas_hits", counters.cas_hits.value()),
        ("cas_badval", counters.cas_badval.value()),
        ("touch_hits", counters.touch_hits.value()),
        ("touch_misses", counters.touch_misses.value()),
        ("store_too_large", counters.store_too_large.value()),
        ("store_no_memory", counters.store_no_memory.value()),
    ] {
        put(lines, name, count);
    }
}

fn traffic_lines(shared: &Shared, store: &StoreStats, lines: &mut Lines) {
    let (process, before) = (shared.process.load(), shared.process_at_reset.load());
    put(lines, "auth_cmds", process.auth_cmds.saturating_sub(before.auth_cmds));
    put(lines, "auth_errors", process.auth_errors.saturating_sub(before.auth_errors));
    if shared.settings().idle_timeout_s > 0 {
        put(lines, "idle_kicks", process.idle_kicks.saturating_sub(before.idle_kicks));
    }
    put(lines, "bytes_read", process.bytes_read.saturating_sub(before.bytes_read));
    put(lines, "bytes_written", process.bytes_written.saturating_sub(before.bytes_written));
    put(lines, "limit_maxbytes", store.limit_maxbytes);
    put(lines, "accepting_conns", u8::from(process.accepting));
    put(lines, "listen_disabled_num", process.listen_disabled_num.saturating_sub(before.listen_disabled_num));
    let disabled_us = process.listen_disabled_us.saturating_sub(before.listen_disabled_us);
    put(lines, "time_in_listen_disabled_us", disabled_us);
    put(lines, "threads", process.threads);
    put(lines, "conn_yields", 0);
    put(lines, "hash_power_level", 0);
    put(lines, "hash_bytes", store.index_bytes);
    put(lines, "hash_is_expanding", 0);
}

/// What there is no such thing of here, but for the crawler.
fn absent_lines(shared: &Shared, lines: &mut Lines) {
    for name in [
        "slab_reassign_rescues",
        "slab_reassign_chunk_rescues",
        "slab_reassign_inline_reclaim",
        "slab_reassign_busy_items",
        "slab_reassign_busy_deletes",
        "slab_reassign_busy_nomem",
    ] {
        put(lines, name, 0);
    }
    put(lines, "slab_reassign_last_busy_status", "none");
    put(lines, "slab_reassign_running", 0);
    put(lines, "slabs_moved", 0);
    put(lines, "lru_crawler_running", u8::from(shared.crawling.load(Ordering::Relaxed)));
    put(lines, "lru_crawler_starts", shared.store.laps() + shared.crawls.load(Ordering::Relaxed));
    for name in [
        "lru_maintainer_juggles",
        "malloc_fails",
        "log_worker_dropped",
        "log_worker_written",
        "log_watcher_skipped",
        "log_watcher_sent",
        "log_watchers",
        "unexpected_napi_ids",
        "round_robin_fallback",
    ] {
        put(lines, name, 0);
    }
}

fn item_lines(store: &StoreStats, lines: &mut Lines) {
    for (name, count) in [
        ("bytes", store.bytes),
        ("curr_items", store.curr_items),
        ("total_items", store.total_items),
        ("slab_global_page_pool", 0),
        ("expired_unfetched", store.expired_unfetched),
        ("evicted_unfetched", store.evicted_unfetched),
        ("evicted_active", store.evicted_active),
        ("evictions", store.evictions),
        ("reclaimed", store.reclaimed_for_room),
        ("crawler_reclaimed", store.crawler_reclaimed),
        ("crawler_items_checked", store.crawler_items_checked),
        ("lrutail_reflocked", 0),
        ("moves_to_cold", 0),
        ("moves_to_warm", store.moves_to_main),
        ("moves_within_lru", store.moves - store.moves_to_main),
        // Every item that goes for room goes under the write that needs it.
        ("direct_reclaims", store.evictions + store.reclaimed_for_room),
        ("lru_bumps_dropped", 0),
    ] {
        put(lines, name, count);
    }
}

/// How far the last paced flush has come.
fn flush_lines(shared: &Shared, now: UnixMillis, lines: &mut Lines) {
    let flush = shared.store.flush();
    let done = flush.paced_partitions(now);
    put(lines, "flush_over_partitions", done);
    put(lines, "flush_over_left", flush.running(now).map_or(0, |_| PARTITIONS - done));
}

/// memring's own.
fn own_lines(shared: &Shared, store: &StoreStats, lines: &mut Lines) {
    let counters = shared.counters.sums();
    put(lines, "clock_offset_ms", shared.clock_offset_ms.load(Ordering::Relaxed));
    put(lines, "ring_epoch", shared.topology().epoch().0);
    put(lines, "used_bytes", store.used_bytes);
    put(lines, "tombstones", store.tombstones);
    put(lines, "tombstones_dropped", store.tombstones_dropped);
    put(lines, "reads_unmet", counters.reads_unmet.value());
    put(lines, "writes_unmet", counters.writes_unmet.value());
    put(lines, "reads_forwarded", counters.reads_forwarded.value());
    put(lines, "read_repairs", counters.read_repairs.value());
    put(lines, "hedged_reads", counters.hedged_reads.value());
    put(lines, "hedges_refused", counters.hedges_refused.value());
    let (avoided, slow) = shared.peers.counts();
    put(lines, "peers_avoided", avoided);
    put(lines, "peers_slow", slow);
    put(lines, "peer_trips", shared.peers.trips.load(Ordering::Relaxed));
    put(lines, "calls_rerouted", counters.calls_rerouted.value());
    put(lines, "takeovers", counters.takeovers.value());
    put(lines, "partitions_refounded", counters.partitions_refounded.value());
    let hints = shared.hints.lock();
    put(lines, "hints", hints.len());
    put(lines, "hint_bytes", hints.bytes());
    put(lines, "hints_dropped", hints.dropped());
    put(lines, "hints_replayed", counters.hints_replayed.value());
    put(lines, "hints_on_disk", hints.on_disk_len());
    put(lines, "hint_disk_bytes", hints.disk_bytes());
    put(lines, "hint_segments_bad", hints.bad_segments());
    drop(hints);
    put(lines, "partitions_compared", counters.partitions_compared.value());
    put(lines, "partitions_differing", counters.partitions_differing.value());
    put(lines, "partitions_emptied", counters.partitions_emptied.value());
    put(lines, "repairs", shared.repairs.lock().len());
    put(lines, "repairs_pending", shared.repairs_pending.load(Ordering::Relaxed));
    put(lines, "repairs_sent", counters.repairs_sent.value());
    put(lines, "repair_bytes", counters.repair_bytes.value());
    let (process, before) = (shared.process.load(), shared.process_at_reset.load());
    put(lines, "large_bytes_in", process.large_bytes_in);
    put(lines, "large_bytes_out", process.large_bytes_out);
    put(lines, "large_reads_missed", process.large_reads_missed.saturating_sub(before.large_reads_missed));
    put(lines, "links_given_up", process.links_given_up);
    put(lines, "slow_senders_closed", process.slow_senders_closed.saturating_sub(before.slow_senders_closed));
    put(lines, "slow_readers_closed", process.slow_readers_closed.saturating_sub(before.slow_readers_closed));
    put(lines, "unsent_reply_bytes", process.unsent_reply_bytes);
}
