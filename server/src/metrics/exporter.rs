//! memcached_exporter's metrics: its names, labels and types, from the statistics that it would read.
//!
//! Dashboards and alerts made for memcached work on them unchanged. What the exporter leaves out where a statistic is
//! missing is left out here. Must not know where statistics come from.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::families::{Families, Kind, Labels, Value};

type Lines = Vec<(Cow<'static, str>, String)>;

/// A statistic, the metric that tells it, its kind, and a sentence for people.
type Row = (&'static str, &'static str, Kind, &'static str);

use Kind::{BareCounter, Counter, Gauge};

/// Of plain `stats`.
#[rustfmt::skip]
const GENERAL: &[Row] = &[
    ("uptime", "memcached_uptime_seconds", BareCounter, "Seconds since the start."),
    ("time", "memcached_time_seconds", Gauge, "The node's time, in unix seconds."),
    ("rusage_user", "memcached_process_user_cpu_seconds_total", Counter, "CPU time in user mode."),
    ("rusage_system", "memcached_process_system_cpu_seconds_total", Counter, "CPU time in the kernel."),
    ("bytes", "memcached_current_bytes", Gauge, "Bytes of the items held."),
    ("limit_maxbytes", "memcached_limit_bytes", Gauge, "Memory for items, in bytes."),
    ("curr_items", "memcached_current_items", Gauge, "Items held."),
    ("total_items", "memcached_items_total", Counter, "Items ever stored."),
    ("bytes_read", "memcached_read_bytes_total", Counter, "Bytes read from clients."),
    ("bytes_written", "memcached_written_bytes_total", Counter, "Bytes written to clients."),
    ("curr_connections", "memcached_current_connections", Gauge, "Open client connections."),
    ("total_connections", "memcached_connections_total", Counter, "Client connections accepted."),
    ("rejected_connections", "memcached_connections_rejected_total", Counter, "Client connections refused: there were too many."),
    ("conn_yields", "memcached_connections_yielded_total", Counter, "Always 0: memring has no such limit."),
    ("listen_disabled_num", "memcached_connections_listener_disabled_total", Counter, "How often a listener could not accept."),
    ("evictions", "memcached_items_evicted_total", Counter, "Live items dropped for room."),
    ("reclaimed", "memcached_items_reclaimed_total", Counter, "Dead items dropped for room."),
    ("store_too_large", "memcached_item_too_large_total", Counter, "Values refused: above the item limit."),
    ("store_no_memory", "memcached_item_no_memory_total", Counter, "Values refused for want of memory."),
    ("lru_crawler_starts", "memcached_lru_crawler_starts_total", Counter, "Sweeps for expired items."),
    ("direct_reclaims", "memcached_direct_reclaims_total", Counter, "Items dropped for room by the write that needed it: all are."),
    ("crawler_items_checked", "memcached_lru_crawler_items_checked_total", Counter, "Items that sweeps have looked at."),
    ("crawler_reclaimed", "memcached_lru_crawler_reclaimed_total", Counter, "Dead items that sweeps removed."),
    ("moves_to_cold", "memcached_lru_crawler_moves_to_cold_total", Counter, "Always 0: memring has no such queue."),
    ("moves_to_warm", "memcached_lru_crawler_moves_to_warm_total", Counter, "Items moved from the small queue to the main one."),
    ("moves_within_lru", "memcached_lru_crawler_moves_within_lru_total", Counter, "Items moved within a queue."),
    ("accepting_conns", "memcached_accepting_connections", Gauge, "Whether all listeners can accept."),
];

/// Of `stats settings`.
const SETTINGS: &[Row] = &[("maxconns", "memcached_max_connections", Gauge, "The most client connections at once.")];

/// The same, while there are sweeps.
#[rustfmt::skip]
const CRAWLER: &[Row] = &[
    ("lru_crawler", "memcached_lru_crawler_enabled", Gauge, "Whether expired items are looked for."),
    ("lru_crawler_sleep", "memcached_lru_crawler_sleep", Gauge, "Always 0."),
    ("lru_crawler_tocrawl", "memcached_lru_crawler_to_crawl", Gauge, "Always 0."),
    ("lru_maintainer_thread", "memcached_lru_crawler_maintainer_thread", Gauge, "Always 0."),
    ("hot_lru_pct", "memcached_lru_crawler_hot_percent", Gauge, "The small queue's part of the memory."),
    ("warm_lru_pct", "memcached_lru_crawler_warm_percent", Gauge, "The main queue's part of the memory."),
    ("hot_max_factor", "memcached_lru_crawler_hot_max_factor", Gauge, "Always 0."),
    ("warm_max_factor", "memcached_lru_crawler_warm_max_factor", Gauge, "Always 0."),
];

/// Of `stats slabs`, by size class.
#[rustfmt::skip]
const SLABS: &[Row] = &[
    ("chunk_size", "memcached_slab_chunk_size_bytes", Gauge, "The largest item of the size class."),
    ("chunks_per_page", "memcached_slab_chunks_per_page", Gauge, "How many of them a mebibyte holds."),
    ("total_pages", "memcached_slab_current_pages", Gauge, "Mebibytes of the class's items."),
    ("total_chunks", "memcached_slab_current_chunks", Gauge, "Items of the class."),
    ("used_chunks", "memcached_slab_chunks_used", Gauge, "Items of the class."),
    ("free_chunks", "memcached_slab_chunks_free", Gauge, "Always 0."),
    ("free_chunks_end", "memcached_slab_chunks_free_end", Gauge, "Always 0."),
];

/// Of `stats items`, by size class.
#[rustfmt::skip]
const ITEMS: &[Row] = &[
    ("number", "memcached_slab_current_items", Gauge, "Items of the class."),
    ("age", "memcached_slab_items_age_seconds", Gauge, "Age of the class's oldest item."),
    ("evicted", "memcached_slab_items_evicted_total", Counter, "Live items dropped for room."),
    ("evicted_nonzero", "memcached_slab_items_evicted_nonzero_total", Counter, "Those of them that had an expiry."),
    ("evicted_time", "memcached_slab_items_evicted_time_seconds", BareCounter, "Seconds since the last one of them was read."),
    ("evicted_unfetched", "memcached_slab_items_evicted_unfetched_total", Counter, "Those of them that nobody had read."),
    ("expired_unfetched", "memcached_slab_items_expired_unfetched_total", Counter, "Expired items that nobody had read."),
    ("outofmemory", "memcached_slab_items_outofmemory_total", Counter, "Values refused for want of memory."),
    ("reclaimed", "memcached_slab_items_reclaimed_total", Counter, "Dead items dropped for room."),
    ("tailrepairs", "memcached_slab_items_tailrepairs_total", Counter, "Always 0."),
    ("crawler_reclaimed", "memcached_slab_items_crawler_reclaimed_total", Counter, "Dead items that sweeps removed."),
    ("mem_requested", "memcached_slab_mem_requested_bytes", BareCounter, "Bytes of the class's items."),
    ("moves_to_cold", "memcached_slab_items_moves_to_cold", BareCounter, "Always 0."),
    ("moves_to_warm", "memcached_slab_items_moves_to_warm", BareCounter, "Items moved from the small queue to the main one."),
    ("moves_within_lru", "memcached_slab_items_moves_within_lru", BareCounter, "Items moved within a queue."),
    ("number_hot", "memcached_slab_hot_items", Gauge, "Items in the small queue."),
    ("number_warm", "memcached_slab_warm_items", Gauge, "Items in the main queue."),
    ("number_cold", "memcached_slab_cold_items", Gauge, "Always 0."),
    ("age_hot", "memcached_slab_hot_age_seconds", Gauge, "Age of the small queue's oldest item."),
    ("age_warm", "memcached_slab_warm_age_seconds", Gauge, "Age of the main queue's oldest item."),
];

/// By queue: a statistic of `stats items`, and the queue's name.
const QUEUE_HITS: &[(&str, &str)] =
    &[("hits_to_hot", "hot"), ("hits_to_warm", "warm"), ("hits_to_cold", "cold"), ("hits_to_temp", "temporary")];

/// By command and outcome: the statistic.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("get", "hit", "get_hits"),
    ("get", "miss", "get_misses"),
    ("delete", "hit", "delete_hits"),
    ("delete", "miss", "delete_misses"),
    ("incr", "hit", "incr_hits"),
    ("incr", "miss", "incr_misses"),
    ("decr", "hit", "decr_hits"),
    ("decr", "miss", "decr_misses"),
    ("cas", "hit", "cas_hits"),
    ("cas", "miss", "cas_misses"),
    ("cas", "badval", "cas_badval"),
    ("touch", "hit", "touch_hits"),
    ("touch", "miss", "touch_misses"),
    ("flush", "hit", "cmd_flush"),
];

/// The same within a size class.
const SLAB_COMMANDS: &[(&str, &str, &str)] = &[
    ("get", "hit", "get_hits"),
    ("delete", "hit", "delete_hits"),
    ("incr", "hit", "incr_hits"),
    ("decr", "hit", "decr_hits"),
    ("cas", "hit", "cas_hits"),
    ("cas", "badval", "cas_badval"),
    ("touch", "hit", "touch_hits"),
];

/// Statistics by name.
type Stats = BTreeMap<String, Value>;

/// Tells all of it, from what `stats` with these arguments answers.
pub(super) fn tell(stats: impl Fn(&str) -> Lines, families: &mut Families) {
    let lines = stats("");
    let version = lines.iter().find(|(name, _)| name == "version").map(|(_, version)| version.clone());
    families.add_one(("memcached_up", Gauge, "Always 1: who answers is up."), Value::Whole(1));
    let version = version.map(|version| (vec![("version", Cow::Owned(version))], Value::Whole(1)));
    families.add(("memcached_version", Gauge, "The memcached whose protocol this is."), version);
    let general = figures(lines);
    add_rows(GENERAL, &general, families);
    let commands = commands_of(&general, COMMANDS, &["cas_hits", "cas_misses", "cas_badval"], None);
    families.add(("memcached_commands_total", Counter, "Commands of clients by what came of them."), commands);
    let settings = figures(stats("settings"));
    add_rows(SETTINGS, &settings, families);
    if settings.get("lru_crawler") == Some(&Value::Whole(1)) {
        add_rows(CRAWLER, &settings, families);
    }
    let (items, mut slabs) = (by_class(stats("items"), Some("items")), by_class(stats("slabs"), None));
    let malloced = slabs.remove("").and_then(|mut all| all.remove("total_malloced"));
    let malloced = malloced.map(|bytes| (Labels::new(), bytes));
    families.add(("memcached_malloced_bytes", Gauge, "Memory in use for items, and what they need beside."), malloced);
    add_classes(ITEMS, &items, families);
    add_classes(SLABS, &slabs, families);
    add_class_hits(&items, &slabs, families);
}

/// What is a number, yes or no.
fn figures(lines: Lines) -> Stats {
    lines.into_iter().filter_map(|(name, value)| Some((name.into_owned(), figure(&value)?))).collect()
}

fn figure(text: &str) -> Option<Value> {
    match text {
        "yes" => return Some(Value::Whole(1)),
        "no" => return Some(Value::Whole(0)),
        _ => {}
    }
    text.parse().map(Value::Whole).or_else(|_| text.parse().map(Value::Number)).ok()
}

/// Statistics of `[prefix:]class:name`, by class; under no class those that have none.
fn by_class(lines: Lines, prefix: Option<&str>) -> BTreeMap<String, Stats> {
    let mut classes = BTreeMap::<String, Stats>::new();
    for (name, value) in lines {
        let name = prefix.and_then(|prefix| name.strip_prefix(prefix)?.strip_prefix(':')).unwrap_or(&name);
        let (class, name) = name.split_once(':').unwrap_or(("", name));
        if let Some(value) = figure(&value) {
            classes.entry(class.to_owned()).or_default().insert(name.to_owned(), value);
        }
    }
    classes
}

fn add_rows(rows: &[Row], stats: &Stats, families: &mut Families) {
    for &(stat, name, kind, help) in rows {
        if let Some(value) = stats.get(stat) {
            families.add_one((name, kind, help), value.clone());
        }
    }
}

fn add_classes(rows: &[Row], classes: &BTreeMap<String, Stats>, families: &mut Families) {
    for &(stat, name, kind, help) in rows {
        let of_class = |(class, stats): (&String, &Stats)| Some((slab(class), stats.get(stat)?.clone()));
        families.add((name, kind, help), classes.iter().filter_map(of_class));
    }
}

fn add_class_hits(items: &BTreeMap<String, Stats>, slabs: &BTreeMap<String, Stats>, families: &mut Families) {
    let mut hits = Vec::new();
    for (class, stats) in items {
        for (stat, queue) in QUEUE_HITS {
            let Some(count) = stats.get(*stat) else { continue };
            let mut labels = slab(class);
            labels.push(("lru", Cow::Borrowed(*queue)));
            hits.push((labels, count.clone()));
        }
    }
    families.add(("memcached_slab_lru_hits_total", Counter, "Hits by queue."), hits);
    let of_class =
        |(class, stats): (&String, &Stats)| commands_of(stats, SLAB_COMMANDS, &["cas_hits", "cas_badval"], Some(class));
    let commands: Vec<(Labels, Value)> = slabs.iter().flat_map(of_class).collect();
    families.add(("memcached_slab_commands_total", Counter, "Commands of clients by what came of them."), commands);
}

fn slab(class: &str) -> Labels {
    vec![("slab", Cow::Owned(class.to_owned()))]
}

/// Commands by outcome; sets are those that are no cas.
fn commands_of(
    stats: &Stats,
    commands: &[(&'static str, &'static str, &str)],
    cas: &[&str],
    class: Option<&String>,
) -> Vec<(Labels, Value)> {
    let whole = |name: &str| match stats.get(name) {
        Some(Value::Whole(count)) => *count,
        _ => 0,
    };
    let labels = |command: &'static str, status: &'static str| {
        let mut labels = class.map_or_else(Labels::new, |class| slab(class));
        labels.extend([("command", Cow::Borrowed(command)), ("status", Cow::Borrowed(status))]);
        labels
    };
    let sets = whole("cmd_set").saturating_sub(cas.iter().map(|name| whole(name)).sum());
    let told = commands.iter().map(|&(command, status, stat)| (labels(command, status), Value::Whole(whole(stat))));
    told.chain([(labels("set", "hit"), Value::Whole(sets))]).collect()
}
