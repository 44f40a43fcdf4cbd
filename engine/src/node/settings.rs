//! What a node is told at its start. Parsed and checked by whoever makes it (the server's config, a test).

use std::net::SocketAddr;
use std::time::Duration;

use memring_protocol::level::Level;
use memring_protocol::ring::NodeName;

/// What to answer when too few replicas can answer a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unmet {
    /// A miss: the truth is at the source.
    Miss,
    /// SERVER_ERROR.
    Error,
}

/// Levels for the keys that begin with a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Namespace {
    /// The keys' prefix; the longest that matches wins.
    pub prefix: Vec<u8>,
    /// Instead of the node's read level.
    pub read: Option<Level>,
    /// Instead of the node's write level.
    pub write: Option<Level>,
}

/// All that a node is told.
#[derive(Clone, PartialEq, Debug)]
pub struct Settings {
    /// Its name on the ring.
    pub name: NodeName,
    /// The cluster's name.
    pub cluster: String,
    /// Its failure domain; may be empty.
    pub zone: String,
    /// Its share of the ring in hundredths.
    pub weight: u32,
    /// N, when it founds a ring.
    pub replicas: u8,
    /// Vnodes of weight 100, when it founds a ring.
    pub vnodes: u16,
    /// The read level; `None` by default: quorum, or one where N is 2.
    pub read: Option<Level>,
    /// The write level; `None` by default: quorum, or one where N is 2.
    pub write: Option<Level>,
    /// Levels by key prefix.
    pub namespaces: Vec<Namespace>,
    /// What to answer to unmet reads.
    pub unmet: Unmet,
    /// Whether hints count as copies where a set or delete finds too few homes.
    pub sloppy: bool,
    /// `-m`, in bytes.
    pub memory_limit_bytes: usize,
    /// `-I`, in bytes of key and value.
    pub item_bytes_max: usize,
    /// Whether a full store evicts; with `-M` it answers an error.
    pub evict: bool,
    /// Whether `--join` was given.
    pub joining: bool,
    /// `--expect`.
    pub expect: Option<usize>,
    /// `--rejoin-empty`.
    pub rejoin_empty: bool,
    /// How long a failed home is waited for before the synced remainder is taken for the truth.
    pub refound_after: Duration,
    /// How long a member must have failed to be removed from the ring; `None`: it is expected back for ever.
    pub remove_after: Option<Duration>,
    /// The most memory for hints.
    pub hint_memory_bytes: usize,
    /// The most bytes of disk for hints that memory has no room for; 0 where there is no disk.
    pub hint_disk_bytes: u64,
    /// How many bytes of values a second each home is given of what it has missed.
    pub hint_rate_bytes: u64,
    /// Whether flush_all is allowed (not `-F`).
    pub flush_enabled: bool,
    /// Whether keys may be listed (not `-X`).
    pub dump_enabled: bool,
    /// Whether watch is allowed (not `-W`).
    pub watch_enabled: bool,
    /// Whether shutdown is allowed (`-A`).
    pub shutdown_enabled: bool,
    /// Seconds without a command after which the server closes a client; 0 for never.
    pub idle_timeout_s: u32,
    /// `--listen`, as it may be given.
    pub listen: String,
    /// The path of the Unix socket for clients.
    pub socket: Option<String>,
    /// Its permissions.
    pub socket_mode: u32,
    /// The file with those who may log in; everyone may do everything if `None`.
    pub auth_file: Option<String>,
    /// Where peers reach it.
    pub peer: SocketAddr,
    /// Where clients reach it by TCP; 0 if they do not.
    pub client_port: u16,
    /// Where its admin HTTP is.
    pub admin_port: u16,
    /// Its start, in unix milliseconds: a later life has a higher one.
    pub generation: u64,
    /// Source of all its randomness.
    pub seed: u64,
    /// Worker threads.
    pub workers: u16,
}

impl Settings {
    /// A node that founds a ring of its own with one copy of each item, and lets clients do everything but shut it down:
    /// where tests and benchmarks start from. 16 MiB of memory, items up to 1 MiB, ports of 127.0.0.1, one worker; its
    /// generation and its seed are the same every time.
    pub fn alone(name: NodeName) -> Self {
        Self {
            name,
            cluster: "memring".to_owned(),
            zone: String::new(),
            weight: 100,
            replicas: 1,
            vnodes: 256,
            read: None,
            write: None,
            namespaces: Vec::new(),
            unmet: Unmet::Miss,
            sloppy: false,
            memory_limit_bytes: 16 << 20,
            item_bytes_max: 1 << 20,
            evict: true,
            joining: false,
            expect: None,
            rejoin_empty: false,
            refound_after: Duration::from_secs(30),
            remove_after: Some(Duration::from_secs(15 * 60)),
            hint_memory_bytes: 1 << 20,
            hint_disk_bytes: 0,
            hint_rate_bytes: 64 << 20,
            flush_enabled: true,
            dump_enabled: true,
            watch_enabled: true,
            shutdown_enabled: false,
            idle_timeout_s: 0,
            listen: String::new(),
            socket: None,
            socket_mode: 0o700,
            auth_file: None,
            peer: SocketAddr::from(([127, 0, 0, 1], 11212)),
            client_port: 11211,
            admin_port: 11213,
            generation: 1,
            seed: 0x5eed,
            workers: 1,
        }
    }
}
