//! `stats settings`: memcached's names in its order, then memring's own.
//!
//! Must not hold a line without a value: a scrape fails on it. What memring does not have is told as memcached tells of
//! it switched off.

use std::sync::atomic::Ordering;

use super::{Lines, put, yes_no};
use crate::node::shared::Shared;
use crate::store::class_bytes;

pub(super) fn lines(shared: &Shared) -> Lines {
    let mut lines = Lines::new();
    front_lines(shared, &mut lines);
    store_lines(shared, &mut lines);
    absent_lines(&mut lines);
    own_lines(shared, &mut lines);
    lines
}

/// A text that was given, as one word: nothing is NULL, and blanks are told as underscores.
fn word(text: &str) -> String {
    if text.is_empty() {
        return "NULL".to_owned();
    }
    text.chars().map(|letter| if letter.is_whitespace() || letter.is_control() { '_' } else { letter }).collect()
}

fn front_lines(shared: &Shared, lines: &mut Lines) {
    let (settings, process) = (shared.settings(), shared.process.load());
    put(lines, "maxbytes", shared.store.limit_bytes());
    put(lines, "maxconns", process.max_connections);
    put(lines, "tcpport", settings.client_port);
    put(lines, "udpport", 0);
    put(lines, "inter", word(&settings.listen));
    put(lines, "verbosity", 0);
    put(lines, "oldest", 0);
    put(lines, "evictions", if settings.evict { "on" } else { "off" });
    put(lines, "domain_socket", settings.socket.as_deref().map_or("NULL".to_owned(), word));
    put(lines, "umask", format!("{:o}", settings.socket_mode));
    put(lines, "shutdown_command", yes_no(settings.shutdown_enabled));
    put(lines, "growth_factor", "2.00");
    put(lines, "chunk_size", class_bytes(1));
    put(lines, "num_threads", settings.workers);
    put(lines, "num_threads_per_udp", 0);
    put(lines, "stat_key_prefix", ":");
    put(lines, "detail_enabled", yes_no(shared.details.is_on()));
    put(lines, "reqs_per_event", 0);
    put(lines, "cas_enabled", "yes");
    put(lines, "tcp_backlog", 1024);
    put(lines, "binding_protocol", "ascii");
    put(lines, "auth_enabled_sasl", "no");
    put(lines, "auth_enabled_ascii", settings.auth_file.as_deref().map_or("no".to_owned(), word));
    put(lines, "item_size_max", settings.item_bytes_max);
    put(lines, "maxconns_fast", "yes");
}

fn store_lines(shared: &Shared, lines: &mut Lines) {
    put(lines, "hashpower_init", 0);
    put(lines, "slab_reassign", "no");
    put(lines, "slab_automove", 0);
    put(lines, "slab_automove_ratio", "0.00");
    put(lines, "slab_automove_window", 0);
    put(lines, "slab_chunk_max", 0);
    put(lines, "lru_crawler", yes_no(shared.crawler_enabled.load(Ordering::Relaxed)));
    put(lines, "lru_crawler_sleep", 0);
    put(lines, "lru_crawler_tocrawl", 0);
    put(lines, "tail_repair_time", 0);
    let settings = shared.settings();
    put(lines, "flush_enabled", yes_no(settings.flush_enabled));
    put(lines, "dump_enabled", yes_no(settings.dump_enabled));
    put(lines, "hash_algorithm", "sha1");
    put(lines, "lru_maintainer_thread", "no");
    put(lines, "lru_segmented", "no");
    // The small queue's part of the memory, and what is left for the main one.
    put(lines, "hot_lru_pct", 10);
    put(lines, "warm_lru_pct", 90);
    put(lines, "hot_max_factor", "0.00");
    put(lines, "warm_max_factor", "0.00");
    put(lines, "temp_lru", "no");
    put(lines, "temporary_ttl", 0);
    put(lines, "idle_timeout", settings.idle_timeout_s);
}

fn absent_lines(lines: &mut Lines) {
    for (name, value) in [
        // What a watcher may leave unread.
        ("watcher_logbuf_size", "262144"),
        ("worker_logbuf_size", "0"),
        ("read_buf_mem_limit", "0"),
        ("track_sizes", "no"),
        ("inline_ascii_response", "no"),
        ("ext_item_size", "0"),
        ("ext_item_age", "0"),
        ("ext_low_ttl", "0"),
        ("ext_recache_rate", "0"),
        ("ext_wbuf_size", "0"),
        ("ext_compact_under", "0"),
        ("ext_drop_under", "0"),
        ("ext_max_sleep", "0"),
        ("ext_max_frag", "0.00"),
        ("slab_automove_freeratio", "0.000"),
        ("ext_drop_unread", "no"),
        ("num_napi_ids", "0"),
        ("memory_file", "(null)"),
        ("client_flags_size", "4"),
    ] {
        put(lines, name, value);
    }
}

fn own_lines(shared: &Shared, lines: &mut Lines) {
    let (settings, topology) = (shared.settings(), shared.topology());
    put(lines, "node_name", &settings.name);
    put(lines, "peer_port", settings.peer.port());
    put(lines, "admin_port", settings.admin_port);
    put(lines, "replicas", topology.layout().map_or(settings.replicas, |layout| layout.config.replicas));
    let levels = shared.levels_view(&topology);
    put(lines, "read_level", levels.read);
    put(lines, "write_level", levels.write);
    put(lines, "unmet", levels.unmet);
    put(lines, "sloppy", if levels.sloppy { "yes" } else { "no" });
    put(lines, "namespaces", levels.namespaces.len());
    for (number, namespace) in (1..).zip(levels.namespaces) {
        let (prefix, read, write) = (namespace.prefix, namespace.read, namespace.write);
        lines.push((format!("namespace_{number}").into(), format!("prefix={prefix},read={read},write={write}")));
    }
}
