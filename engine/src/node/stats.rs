//! `stats`: the general form, and the few settings that memring's own tools need.
//!
//! Names and meanings are memcached's (protocol.txt, "General-purpose statistics"); memring's own come behind them.

use std::borrow::Cow;

use memring_protocol::text::{ErrorReply, Response};

use super::requests::VERSION;
use super::shared::Shared;

/// What the server knows of its process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessFacts {
    /// The process's number.
    pub pid: u32,
    /// Seconds since its start.
    pub uptime_s: u64,
    /// CPU time in user mode, in microseconds.
    pub rusage_user_us: u64,
    /// CPU time in the kernel, in microseconds.
    pub rusage_system_us: u64,
    /// The wall clock, in unix seconds.
    pub unix_s: u64,
    /// Worker threads.
    pub threads: u16,
    /// Open client connections.
    pub curr_connections: u64,
    /// The most there may be.
    pub max_connections: u64,
    /// Accepted since the start.
    pub total_connections: u64,
    /// Refused because there were too many.
    pub rejected_connections: u64,
    /// Clients closed because they were idle.
    pub idle_kicks: u64,
    /// Logins tried.
    pub auth_cmds: u64,
    /// Logins tried in vain.
    pub auth_errors: u64,
    /// Whether all listeners for clients can accept: not while the system has no file or memory for another connection.
    pub accepting: bool,
    /// How often one could not.
    pub listen_disabled_num: u64,
    /// For how long, in microseconds.
    pub listen_disabled_us: u64,
    /// Bytes read from clients.
    pub bytes_read: u64,
    /// Bytes written to clients.
    pub bytes_written: u64,
}

type Lines = Vec<(Cow<'static, str>, String)>;

/// Answers `stats` with these arguments.
pub(crate) fn respond(shared: &Shared, arguments: &[u8]) -> Response {
    match arguments {
        b"" => Response::Stats(general(shared)),
        b"settings" => Response::Stats(settings(shared)),
        _ => Response::Failed(ErrorReply::Unknown),
    }
}

fn general(shared: &Shared) -> Lines {
    let mut lines = Lines::new();
    let mut put = |name: &'static str, value: String| lines.push((Cow::Borrowed(name), value));
    let (process, store, counters) = (shared.process.load(), shared.store.stats(), &shared.counters);
    let cpu = |us: u64| format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    put("pid", process.pid.to_string());
    put("uptime", process.uptime_s.to_string());
    put("time", process.unix_s.to_string());
    put("version", VERSION.to_owned());
    put("pointer_size", usize::BITS.to_string());
    put("rusage_user", cpu(process.rusage_user_us));
    put("rusage_system", cpu(process.rusage_system_us));
    put("max_connections", process.max_connections.to_string());
    put("curr_connections", process.curr_connections.to_string());
    put("total_connections", process.total_connections.to_string());
    put("rejected_connections", process.rejected_connections.to_string());
    for (name, counter) in [
        ("cmd_get", &counters.cmd_get),
        ("cmd_set", &counters.cmd_set),
        ("cmd_flush", &counters.cmd_flush),
        ("cmd_touch", &counters.cmd_touch),
        ("get_hits", &counters.get_hits),
        ("get_misses", &counters.get_misses),
        ("delete_misses", &counters.delete_misses),
        ("delete_hits", &counters.delete_hits),
        ("incr_misses", &counters.incr_misses),
        ("incr_hits", &counters.incr_hits),
        ("decr_misses", &counters.decr_misses),
        ("decr_hits", &counters.decr_hits),
        ("cas_misses", &counters.cas_misses),
        ("cas_hits", &counters.cas_hits),
        ("cas_badval", &counters.cas_badval),
        ("touch_hits", &counters.touch_hits),
        ("touch_misses", &counters.touch_misses),
        ("store_too_large", &counters.store_too_large),
        ("store_no_memory", &counters.store_no_memory),
    ] {
        put(name, counter.value().to_string());
    }
    put("bytes_read", process.bytes_read.to_string());
    put("bytes_written", process.bytes_written.to_string());
    put("limit_maxbytes", store.limit_maxbytes.to_string());
    put("accepting_conns", "1".to_owned());
    put("threads", process.threads.to_string());
    put("bytes", store.bytes.to_string());
    put("curr_items", store.curr_items.to_string());
    put("total_items", store.total_items.to_string());
    put("evictions", store.evictions.to_string());
    put("reclaimed", store.reclaimed.to_string());
    put("get_expired", store.get_expired.to_string());
    put("get_flushed", store.get_flushed.to_string());
    put("expired_unfetched", store.expired_unfetched.to_string());
    put("evicted_unfetched", store.evicted_unfetched.to_string());
    cluster_lines(shared, &mut lines);
    lines
}

fn cluster_lines(shared: &Shared, lines: &mut Lines) {
    let mut put = |name: &'static str, value: u64| lines.push((Cow::Borrowed(name), value.to_string()));
    let counters = &shared.counters;
    put("ring_epoch", shared.topology().epoch().0);
    put("tombstones", shared.store.stats().tombstones);
    put("reads_unmet", counters.reads_unmet.value());
    put("writes_unmet", counters.writes_unmet.value());
    put("read_repairs", counters.read_repairs.value());
    put("takeovers", counters.takeovers.value());
    put("partitions_refounded", counters.partitions_refounded.value());
    let hints = shared.hints.lock();
    put("hints", hints.len() as u64);
    put("hint_bytes", hints.bytes() as u64);
    put("hints_dropped", hints.dropped());
    put("hints_replayed", counters.hints_replayed.value());
}

fn settings(shared: &Shared) -> Lines {
    let mut lines = Lines::new();
    let mut put = |name: &'static str, value: String| lines.push((Cow::Borrowed(name), value));
    let (settings, process, topology) = (shared.settings(), shared.process.load(), shared.topology());
    put("maxbytes", settings.memory_limit_bytes.to_string());
    put("maxconns", process.max_connections.to_string());
    put("tcpport", settings.client_port.to_string());
    put("udpport", "0".to_owned());
    put("domain_socket", "NULL".to_owned());
    put("evictions", if settings.evict { "on" } else { "off" }.to_owned());
    put("num_threads", settings.workers.to_string());
    put("cas_enabled", "yes".to_owned());
    put("auth_enabled_sasl", "no".to_owned());
    put("item_size_max", settings.item_bytes_max.to_string());
    put("shutdown_command", "no".to_owned());
    put("node_name", settings.name.to_string());
    put("peer_port", settings.peer.port().to_string());
    put("admin_port", settings.admin_port.to_string());
    put("replicas", topology.layout().map_or(settings.replicas, |layout| layout.config.replicas).to_string());
    put("read_level", shared.read_level(&topology, b"").to_string());
    put("write_level", shared.write_level(&topology, b"").to_string());
    lines
}
