//! The table of options: one line each gives a flag, an environment variable and a key of the file.
//!
//! Must not know where a value came from; what values mean together is `check`'s business.

use std::path::{Path, PathBuf};

use memring_engine::node::Unmet;
use memring_protocol::ring::NodeName;

use super::accounts::Accounts;
use super::units::{bytes, duration, truth, weight};
use super::{AuthFile, Config, LogFormat, join, listen};
use crate::data_dir::DataDir;

const MIB: u64 = 1024 * 1024;

/// The most worker threads (`--threads`).
pub const THREADS_MAX: u16 = 256;

/// One option.
pub(super) struct Choice {
    /// Its flag without the dashes, its key in the file; `MEMRING_` and this in capitals is its variable.
    pub name: &'static str,
    /// Its one-letter flag.
    pub short: Option<char>,
    /// What its value is called in the help.
    pub takes: Takes,
    /// What holds if nothing is given, for the help; empty when there is nothing to say.
    pub default: &'static str,
    /// One line of help; empty hides it.
    pub help: &'static str,
    /// Reads a value into the config, or says what was expected.
    pub set: Setter,
}

/// What follows a flag.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// A value of this name.
    Value(&'static str),
    /// Values of this name, with commas between them or the flag given again.
    Values(&'static str),
    /// Nothing: it is on or off.
    Nothing,
    /// Nothing: it counts how often it is given.
    Count,
}

type Setter = fn(&mut Config, &str) -> Result<(), String>;

use Takes::{Count, Nothing, Value, Values};

/// All of them, in the order of the help.
#[rustfmt::skip]
pub(super) const CHOICES: &[Choice] = &[
    choice("port", Some('p'), Value("PORT"), "11211", "Port for clients", |c, t| put(&mut c.port, number(t, 0, 65_535))),
    choice("listen", Some('l'), Values("ADDRESS[:PORT],…"), "127.0.0.1", "Where to listen for clients; 0.0.0.0 or :: for every address", |c, t| put(&mut c.listen, listen::addresses(t))),
    choice("socket", Some('s'), Value("PATH"), "", "Unix socket for clients; without --port or --listen there is no TCP for them", |c, t| put(&mut c.socket, socket_path(t).map(Some))),
    choice("socket-mode", Some('a'), Value("MODE"), "0700", "Who may use the Unix socket, in octal", |c, t| put(&mut c.socket_mode, mode(t))),
    choice("memory-limit", Some('m'), Value("SIZE"), "64m", "Memory for items; megabytes if bare", |c, t| put(&mut c.memory_limit_bytes, size(t, MIB, MIB, u64::MAX))),
    choice("max-item-size", Some('I'), Value("SIZE"), "10k", "Largest key and value together, of half the memory limit at most; up to 1024m", |c, t| put(&mut c.item_bytes_max, size(t, 1, 1024, ITEM_MAX))),
    choice("disable-evictions", Some('M'), Nothing, "", "Answer an error when memory is full, instead of evicting", |c, t| put(&mut c.disable_evictions, truth(t))),
    choice("conn-limit", Some('c'), Value("NUMBER"), "16384", "Most client connections at once", |c, t| put(&mut c.conn_limit, number(t, 1, 1_000_000))),
    choice("idle-timeout", None, Value("SECONDS"), "0", "Close clients that send no command for so long; 0 for never", |c, t| put(&mut c.idle_timeout_s, number(t, 0, IDLE_TIMEOUT_MAX_S))),
    choice("auth-file", Some('Y'), Value("FILE"), "", "Clients must log in as one of its user:password lines; SIGHUP reads it again", |c, t| put(&mut c.auth_file, auth_file(t).map(Some))),
    choice("enable-shutdown", Some('A'), Nothing, "", "Let clients stop the node with shutdown", |c, t| put(&mut c.enable_shutdown, truth(t))),
    choice("disable-flush-all", Some('F'), Nothing, "", "Refuse flush_all", |c, t| put(&mut c.disable_flush_all, truth(t))),
    choice("disable-dumping", Some('X'), Nothing, "", "Refuse to list keys (stats cachedump, lru_crawler metadump)", |c, t| put(&mut c.disable_dumping, truth(t))),
    choice("disable-watch", Some('W'), Nothing, "", "Refuse watch", |c, t| put(&mut c.disable_watch, truth(t))),
    choice("threads", Some('t'), Value("NUMBER"), "one a core", "Worker threads", |c, t| put(&mut c.threads, number(t, 1, THREADS_MAX.into()).map(Some))),
    choice("name", None, Value("NAME"), "the host's name", "This node's name: its identity on the ring", |c, t| put(&mut c.name, NodeName::new(t).map(Some).map_err(|error| error.to_string()))),
    choice("zone", None, Value("ZONE"), "", "The node's failure domain: copies go to distinct zones first; may change at a restart", |c, t| put(&mut c.zone, word(t))),
    choice("weight", None, Value("WEIGHT"), "1", "The node's share of the ring; may change at a restart", |c, t| put(&mut c.weight, weight(t))),
    choice("peer-port", None, Value("PORT"), "11212", "Port for the other nodes, TCP and UDP", |c, t| put(&mut c.peer_port, number(t, 0, 65_535))),
    choice("peer-listen", None, Value("ADDRESS"), "the first one of --listen", "Address that the peer and admin ports listen on", |c, t| put(&mut c.peer_listen, one_host(t).map(Some))),
    choice("admin-port", None, Value("PORT"), "11213", "Port for HTTP: probes, /metrics and /api/cluster", |c, t| put(&mut c.admin_port, number(t, 0, 65_535))),
    choice("advertise", None, Value("HOST"), "the address peers are listened for", "Where the other nodes reach this one", |c, t| put(&mut c.advertise, one_host(t).map(Some))),
    choice("join", None, Values("HOST[:PEERPORT],…"), "", "Nodes to join; a name stands for all its addresses", |c, t| put(&mut c.join, join::targets(t))),
    choice("expect", None, Value("NUMBER"), "", "Found a ring once this many joiners see each other", |c, t| put(&mut c.expect, number(t, 1, 1024).map(Some))),
    choice("replicas", None, Value("NUMBER"), "3", "Copies of each item, when this node founds a ring", |c, t| put(&mut c.replicas, number(t, 1, 15))),
    choice("vnodes", None, Value("NUMBER"), "256", "", |c, t| put(&mut c.vnodes, number(t, 1, 4096))),
    choice("read", None, Value("LEVEL"), "quorum; one if replicas is 2", "Copies a read asks: one, quorum, all or a number", |c, t| put(&mut c.read, level(t).map(Some))),
    choice("write", None, Value("LEVEL"), "quorum; one if replicas is 2", "Copies a write waits for: one, quorum, all or a number", |c, t| put(&mut c.write, level(t).map(Some))),
    choice("unmet", None, Value("ANSWER"), "miss", "What a read answers when too few copies can: miss or error", |c, t| put(&mut c.unmet, unmet(t))),
    choice("sloppy", None, Nothing, "", "Count hints as copies where a set or delete finds too few nodes", |c, t| put(&mut c.sloppy, truth(t))),
    choice("refound-after", None, Value("TIME"), "30s", "How long a failed node's copies are waited for", |c, t| put(&mut c.refound_after, duration(t))),
    choice("remove-after", None, Value("TIME"), "15m", "Remove a member that has failed for so long from the ring; 0s for never", |c, t| put(&mut c.remove_after, duration(t))),
    choice("stop-wait", None, Value("TIME"), "60s", "The most that SIGTERM waits until other nodes hold enough copies", |c, t| put(&mut c.stop_wait, duration(t))),
    choice("hint-memory", None, Value("SIZE"), "64m", "Memory for writes kept for absent nodes; megabytes if bare", |c, t| put(&mut c.hint_memory_bytes, size(t, MIB, 0, u64::MAX))),
    choice("data-dir", None, Value("DIR"), "", "Folder for what outlives the process: hints, and the items of a node that is alone; for one process", |c, t| put(&mut c.data_dir, data_dir(t).map(Some))),
    choice("hint-disk", None, Value("SIZE"), "1g", "Disk below --data-dir for hints that memory has no room for; megabytes if bare", |c, t| put(&mut c.hint_disk_bytes, size(t, MIB, MIB, u64::MAX).map(|size| size as u64))),
    choice("hint-rate", None, Value("SIZE"), "64m", "Bytes a second that each node is given of what it has missed; megabytes if bare", |c, t| put(&mut c.hint_rate_bytes, size(t, MIB, HINT_RATE_MIN, HINT_RATE_MAX).map(|size| size as u64))),
    choice("rejoin-empty", None, Nothing, "", "Drop everything and join if a different ring is met", |c, t| put(&mut c.rejoin_empty, truth(t))),
    choice("cluster-name", None, Value("NAME"), "memring", "Nodes of different names never meet", |c, t| put(&mut c.cluster_name, word(t))),
    choice("metrics", None, Value("on|off"), "on", "Measure how long clients wait; /metrics tells everything else even without", |c, t| put(&mut c.metrics, on_or_off(t))),
    choice("verbose", Some('v'), Count, "", "Log more; twice: much more", |c, t| put(&mut c.verbosity, number(t, 0, 255))),
    choice("log-format", None, Value("FORMAT"), "text", "text or json, on stderr", |c, t| put(&mut c.log_format, log_format(t))),
    choice("until-stdin-closes", None, Nothing, "", "", |c, t| put(&mut c.until_stdin_closes, truth(t))),
];

const fn choice(
    name: &'static str,
    short: Option<char>,
    takes: Takes,
    default: &'static str,
    help: &'static str,
    set: Setter,
) -> Choice {
    Choice { name, short, takes, default, help, set }
}

fn put<T>(slot: &mut T, value: Result<T, String>) -> Result<(), String> {
    *slot = value?;
    Ok(())
}

fn number<T: TryFrom<u64>>(text: &str, min: u64, max: u64) -> Result<T, String> {
    let in_range = text.parse::<u64>().ok().filter(|number| (min..=max).contains(number));
    in_range.and_then(|number| T::try_from(number).ok()).ok_or_else(|| format!("expected a number from {min} to {max}"))
}

fn size(text: &str, bare_unit: u64, min: u64, max: u64) -> Result<usize, String> {
    let size = bytes(text, bare_unit)?;
    if size < min {
        return Err(format!("the least is {}", in_units(min)));
    }
    if size > max {
        return Err(format!("the most is {}", in_units(max)));
    }
    usize::try_from(size).map_err(|_| "more than this machine can address".to_owned())
}

fn in_units(size: u64) -> String {
    if size.is_multiple_of(MIB) { format!("{}m", size / MIB) } else { format!("{}k", size / 1024) }
}

/// The largest item: memcached's.
const ITEM_MAX: u64 = 1024 * MIB;

/// Thirty years: more is a slip of the keyboard.
const IDLE_TIMEOUT_MAX_S: u64 = 1_000_000_000;

/// Slower than this, a home would hardly ever catch up …
const HINT_RATE_MIN: u64 = 64 * 1024;

/// … and no line is faster than this.
const HINT_RATE_MAX: u64 = 1 << 40;

/// The longest path of a Unix socket: `sun_path` of unix(7), with its NUL.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The longest zone or cluster name: as a label of Kubernetes.
const WORD_BYTES_MAX: usize = 63;

fn word(text: &str) -> Result<String, String> {
    if text.len() <= WORD_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(format!("expected at most {WORD_BYTES_MAX} visible ASCII characters without spaces"))
}

fn one_host(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if bare.is_empty() || bare.contains([',', ' ', '/']) {
        return Err("expected one address or host name".to_owned());
    }
    Ok(bare.to_owned())
}

fn socket_path(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > SOCKET_PATH_BYTES_MAX || text.contains('\0') {
        return Err(format!("expected a path of 1 to {SOCKET_PATH_BYTES_MAX} bytes"));
    }
    Ok(text.to_owned())
}

/// Made, and tried, so that a node does not find out later.
fn data_dir(text: &str) -> Result<PathBuf, String> {
    DataDir::check(Path::new(text)).map_err(|error| error.to_string())?;
    Ok(PathBuf::from(text))
}

fn mode(text: &str) -> Result<u32, String> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = if digits { u32::from_str_radix(text, 8).ok() } else { None };
    mode.filter(|&mode| mode <= 0o777).ok_or_else(|| "expected octal digits from 0 to 777".to_owned())
}

fn auth_file(text: &str) -> Result<AuthFile, String> {
    Ok(AuthFile { path: text.to_owned(), accounts: Accounts::read(text)? })
}

fn level(text: &str) -> Result<memring_protocol::level::Level, String> {
    text.parse().map_err(|error: memring_protocol::level::LevelError| error.to_string())
}

fn unmet(text: &str) -> Result<Unmet, String> {
    match text {
        "miss" => Ok(Unmet::Miss),
        "error" => Ok(Unmet::Error),
        _ => Err("expected miss or error".to_owned()),
    }
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected text or json".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_of_the_help_are_the_defaults() {
        for choice in CHOICES {
            // Some defaults are words about something that is only known at the start.
            if choice.default.is_empty() || choice.default.contains(' ') {
                continue;
            }
            let mut config = Config::default();
            (choice.set)(&mut config, choice.default).expect("a default is legal");
            assert_eq!(config, Config::default(), "--{}", choice.name);
        }
    }
}
