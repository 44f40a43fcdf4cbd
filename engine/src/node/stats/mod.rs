//! `stats`: every part of it that one node answers from what it has.
//!
//! Must not know connections (`stats conns` is the server's) nor ask other nodes (`sum` does). Names, order and form are
//! memcached 1.6.45's; memring's own names come behind them and hold no colon, on which exporters stumble.
//!
//! ```text
//! general   stats              classes   stats items, slabs, sizes, cachedump
//! settings  stats settings     detail    stats detail
//! ```

mod classes;
mod detail;
mod general;
mod settings;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use memring_protocol::entry::UnixMillis;
use memring_protocol::text::{ErrorReply, Response};

pub(crate) use self::detail::Details;

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
    /// Clients closed because they sent nothing within a large data block.
    pub slow_senders_closed: u64,
    /// Clients closed because they took nothing of what waited for them.
    pub slow_readers_closed: u64,
    /// Bytes of replies that wait for clients to take them.
    pub unsent_reply_bytes: u64,
    /// Bytes of large values that are being received.
    pub large_bytes_in: u64,
    /// Bytes of large values that are being sent.
    pub large_bytes_out: u64,
    /// Large values that were told to be missing, for want of room to send them.
    pub large_reads_missed: u64,
    /// Links to peers that were given up because too much waited to be sent on them.
    pub links_given_up: u64,
}

type Lines = Vec<(Cow<'static, str>, String)>;

fn put(lines: &mut Lines, name: &'static str, value: impl ToString) {
    lines.push((Cow::Borrowed(name), value.to_string()));
}

fn yes_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// Answers `stats` with these arguments; what follows those that are known is ignored, as memcached does.
pub(crate) fn respond(shared: &Shared, now: UnixMillis, arguments: &[u8]) -> Response {
    let mut words = arguments.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    match words.next() {
        None => Response::Stats(general::lines(shared, now)),
        Some(b"settings") => Response::Stats(settings::lines(shared)),
        Some(b"items") => Response::Stats(classes::items(shared, now)),
        Some(b"slabs") => Response::Stats(classes::slabs(shared, now)),
        Some(b"sizes") => Response::Stats(vec![(Cow::Borrowed("sizes_status"), "disabled".to_owned())]),
        // There is no such storage: nothing to tell, as from a memcached that was built for it and runs without.
        Some(b"extstore") => Response::Stats(Lines::new()),
        Some(b"reset") => {
            reset(shared);
            Response::Reset
        }
        Some(b"detail") if !shared.settings().dump_enabled => Response::Failed(ErrorReply::StatsDetailDisabled),
        Some(b"detail") => detail::respond(shared, words.next()),
        Some(b"cachedump") if !shared.settings().dump_enabled => Response::Failed(ErrorReply::CachedumpDisabled),
        Some(b"cachedump") => classes::dump(shared, now, words.next(), words.next()),
        Some(_) => Response::Failed(ErrorReply::Unknown),
    }
}

impl Shared {
    /// What `stats` with these arguments tells, as names and values; nothing where it tells no figures.
    pub fn stat_lines(&self, now: UnixMillis, arguments: &str) -> Vec<(Cow<'static, str>, String)> {
        match respond(self, now, arguments.as_bytes()) {
            Response::Stats(lines) => lines,
            _ => Lines::new(),
        }
    }
}

/// The counts that can be added up over the nodes of a cluster.
pub(crate) fn summable(shared: &Shared, now: UnixMillis) -> Vec<(String, u64)> {
    let lines = general::lines(shared, now);
    let counts = lines.into_iter().filter(|(name, _)| general::SUMMABLE.contains(&&**name));
    counts.filter_map(|(name, value)| Some((name.into_owned(), value.parse().ok()?))).collect()
}

/// What has been counted starts over; what is held, and what the cluster came to, stays.
fn reset(shared: &Shared) {
    shared.counters.reset();
    shared.store.reset_stats();
    shared.details.clear();
    shared.crawls.store(0, std::sync::atomic::Ordering::Relaxed);
    shared.process_at_reset.store(shared.process.load_full());
}
