//! What a node is told at its start: flags, environment, file, defaults, in this order.
//!
//! Parsed and checked here, once: a [`Config`] that exists makes sense. A bad value is one line that names the flag (or
//! variable, or key of the file) and the value. Must not know sockets, threads or what the values are used for.
//!
//! ```text
//! options  the table: one line an option       units, join, listen, accounts  how values are written
//! layers   which source a value comes from     check                          what values mean together
//! effective  what holds, option by option
//! memcached   the same for a node that is started like memcached
//! ```

mod accounts;
mod check;
mod effective;
mod join;
mod layers;
mod listen;
mod memcached;
mod options;
mod units;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use memring_engine::node::{Namespace, Settings, Unmet};
use memring_protocol::level::Level;
use memring_protocol::ring::NodeName;

pub use self::accounts::Accounts;
pub use self::effective::{Effective, EffectiveOption, Origin, effective};
pub use self::join::JoinTarget;
pub use self::layers::{command, config_file_argument, from_arguments, given_flags};
pub use self::listen::ListenAddress;
pub use self::memcached::{Meant, from_memcached};
pub use self::options::THREADS_MAX;
pub use self::units::{bytes, duration};

/// Everything that `memring serve` can be told, checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// For clients, where [`Self::listen`] names none; 0 for a free one.
    pub port: u16,
    /// Where clients are waited for: at least one.
    pub listen: Vec<ListenAddress>,
    /// Whether clients may come by TCP at all.
    pub tcp_for_clients: bool,
    /// The path of a Unix socket for clients.
    pub socket: Option<String>,
    /// Its permissions.
    pub socket_mode: u32,
    /// Memory for items.
    pub memory_limit_bytes: usize,
    /// The largest key and value together.
    pub item_bytes_max: usize,
    /// Whether a full store refuses instead of evicting.
    pub disable_evictions: bool,
    /// The most client connections at once.
    pub conn_limit: usize,
    /// Seconds without a command after which a client is closed; 0 for never.
    pub idle_timeout_s: u32,
    /// Who may log in; everyone may do everything if `None`.
    pub auth_file: Option<AuthFile>,
    /// Whether clients may stop the node.
    pub enable_shutdown: bool,
    /// Whether flush_all is refused.
    pub disable_flush_all: bool,
    /// Whether lists of keys are refused.
    pub disable_dumping: bool,
    /// Whether watch is refused.
    pub disable_watch: bool,
    /// Worker threads; one a core if `None`.
    pub threads: Option<u16>,
    /// The node's name; the host's if `None`.
    pub name: Option<NodeName>,
    /// Its failure domain.
    pub zone: String,
    /// Its share of the ring in hundredths.
    pub weight: u32,
    /// What the peer and admin ports listen on; the first of [`Self::listen`] if `None`.
    pub peer_listen: Option<String>,
    /// For the other nodes, TCP and UDP.
    pub peer_port: u16,
    /// For HTTP.
    pub admin_port: u16,
    /// Where the other nodes reach it.
    pub advertise: Option<String>,
    /// Whom to join.
    pub join: Vec<JoinTarget>,
    /// How many joiners must see each other before one founds a ring.
    pub expect: Option<usize>,
    /// N, when this node founds a ring.
    pub replicas: u8,
    /// Vnodes of weight 1, when this node founds a ring.
    pub vnodes: u16,
    /// The read level.
    pub read: Option<Level>,
    /// The write level.
    pub write: Option<Level>,
    /// What an unmet read answers.
    pub unmet: Unmet,
    /// Whether hints count as copies.
    pub sloppy: bool,
    /// How long a failed home is waited for.
    pub refound_after: Duration,
    /// How long a member must have failed to be removed; zero: for ever.
    pub remove_after: Duration,
    /// The most that a planned stop waits.
    pub stop_wait: Duration,
    /// Memory for hints.
    pub hint_memory_bytes: usize,
    /// The folder for what outlives the process.
    pub data_dir: Option<PathBuf>,
    /// Bytes of it for hints that memory has no room for.
    pub hint_disk_bytes: u64,
    /// Bytes a second that each home is given of what it has missed.
    pub hint_rate_bytes: u64,
    /// Whether to drop everything when a different ring is met.
    pub rejoin_empty: bool,
    /// The cluster's name.
    pub cluster_name: String,
    /// Levels by key prefix.
    pub namespaces: Vec<Namespace>,
    /// Whether to measure how long clients wait.
    pub metrics: bool,
    /// How much to log.
    pub verbosity: u8,
    /// How to log.
    pub log_format: LogFormat,
    /// Whether to stop when stdin ends: so that the nodes of `memring cluster` never outlive it.
    pub until_stdin_closes: bool,
    /// Where the process id is kept while the node serves.
    pub pid_file: Option<PathBuf>,
}

/// Who may log in, and where that is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuthFile {
    /// The file.
    pub path: String,
    /// What it said when the config was read.
    pub accounts: Accounts,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a config does not make sense: one line that names the option and the value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// What is known only once the node has its sockets.
#[derive(Clone, Copy, Debug)]
pub struct Whereabouts {
    /// Where peers reach it.
    pub peer: SocketAddr,
    /// The client port.
    pub client_port: u16,
    /// The admin port.
    pub admin_port: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 11_211,
            listen: vec![ListenAddress { host: "127.0.0.1".to_owned(), port: None }],
            tcp_for_clients: true,
            socket: None,
            socket_mode: 0o700,
            memory_limit_bytes: 64 * 1024 * 1024,
            item_bytes_max: 10 * 1024,
            disable_evictions: false,
            conn_limit: 16_384,
            idle_timeout_s: 0,
            auth_file: None,
            enable_shutdown: false,
            disable_flush_all: false,
            disable_dumping: false,
            disable_watch: false,
            threads: None,
            name: None,
            zone: String::new(),
            weight: 100,
            peer_listen: None,
            peer_port: DEFAULT_PEER_PORT,
            admin_port: 11_213,
            advertise: None,
            join: Vec::new(),
            expect: None,
            replicas: 3,
            vnodes: 256,
            read: None,
            write: None,
            unmet: Unmet::Miss,
            sloppy: false,
            refound_after: Duration::from_secs(30),
            remove_after: Duration::from_secs(15 * 60),
            stop_wait: Duration::from_secs(60),
            hint_memory_bytes: 64 * 1024 * 1024,
            data_dir: None,
            hint_disk_bytes: 1024 * 1024 * 1024,
            hint_rate_bytes: 64 * 1024 * 1024,
            rejoin_empty: false,
            cluster_name: "memring".to_owned(),
            namespaces: Vec::new(),
            metrics: true,
            verbosity: 0,
            log_format: LogFormat::Text,
            until_stdin_closes: false,
            pid_file: None,
        }
    }
}

/// Where peers listen unless told otherwise.
const DEFAULT_PEER_PORT: u16 = 11_212;

impl Config {
    /// The peer port of a join target that names none: other nodes are likely to be told the same as this one.
    pub fn join_port(&self) -> u16 {
        if self.peer_port == 0 { DEFAULT_PEER_PORT } else { self.peer_port }
    }

    /// The host that the peer and admin ports listen on.
    pub fn peer_host(&self) -> &str {
        match (&self.peer_listen, self.listen.first()) {
            (Some(host), _) => host,
            (None, Some(first)) => &first.host,
            (None, None) => "127.0.0.1",
        }
    }

    /// What the engine is told.
    pub fn settings(&self, name: NodeName, at: Whereabouts, generation: u64, seed: u64, workers: u16) -> Settings {
        Settings {
            name,
            cluster: self.cluster_name.clone(),
            zone: self.zone.clone(),
            weight: self.weight,
            replicas: self.replicas,
            vnodes: self.vnodes,
            read: self.read,
            write: self.write,
            namespaces: self.namespaces.clone(),
            unmet: self.unmet,
            sloppy: self.sloppy,
            memory_limit_bytes: self.memory_limit_bytes,
            item_bytes_max: self.item_bytes_max,
            evict: !self.disable_evictions,
            joining: !self.join.is_empty(),
            expect: self.expect,
            rejoin_empty: self.rejoin_empty,
            refound_after: self.refound_after,
            remove_after: Some(self.remove_after).filter(|wait| !wait.is_zero()),
            hint_memory_bytes: self.hint_memory_bytes,
            hint_disk_bytes: self.data_dir.as_ref().map_or(0, |_| self.hint_disk_bytes),
            hint_rate_bytes: self.hint_rate_bytes,
            flush_enabled: !self.disable_flush_all,
            dump_enabled: !self.disable_dumping,
            watch_enabled: !self.disable_watch,
            shutdown_enabled: self.enable_shutdown,
            idle_timeout_s: self.idle_timeout_s,
            listen: self.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            socket: self.socket.clone(),
            socket_mode: self.socket_mode,
            auth_file: self.auth_file.as_ref().map(|file| file.path.clone()),
            peer: at.peer,
            client_port: at.client_port,
            admin_port: at.admin_port,
            generation,
            seed,
            workers,
        }
    }
}
