//! `memring cluster`: a local cluster of real processes, in the foreground.
//!
//! Must not know how nodes find each other: it starts `memring serve` with flags that anyone could give.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use memring_server::config::{self, Config};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command as Process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::http;
use crate::members::ClusterState;

/// Ports from one node to the next: a round number, so that people can count them.
const PORT_STEP: u16 = 10;

/// The most nodes: they share one machine.
const NODES_MAX: u16 = 64;

/// How long nodes may take to see each other before the user is told so.
const TOGETHER_TIMEOUT: Duration = Duration::from_secs(30);

/// How often the first node is asked meanwhile.
const TOGETHER_POLL: Duration = Duration::from_millis(200);

/// How long nodes may take to stop before they are killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Flags that the cluster itself gives.
const OWN_FLAGS: [&str; 6] = ["port", "peer-port", "admin-port", "name", "join", "expect"];

pub(crate) fn command() -> Command {
    let command = Command::new("cluster")
        .about("Run a local cluster of several nodes, ready to use")
        .arg(
            Arg::new("nodes")
                .long("nodes")
                .value_name("NUMBER")
                .default_value("3")
                .value_parser(value_parser!(u16).range(1..=i64::from(NODES_MAX)))
                .help("How many nodes"),
        )
        .arg(
            Arg::new("base-port")
                .long("base-port")
                .value_name("PORT")
                .default_value("11211")
                .value_parser(value_parser!(u16).range(1..))
                .help("The first node's port for clients; +1 for peers, +2 for HTTP; the next node 10 higher"),
        )
        .after_help(
            "Takes the flags of `memring serve` too and gives them to each node.\n\n\
             Examples:\n  memring cluster\n  memring cluster --nodes 5 -m 256m --replicas 3 --read one --write one",
        );
    let command = config::command(command);
    OWN_FLAGS.into_iter().fold(command, |command, flag| command.mut_arg(flag, |argument| argument.hide(true)))
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let plan = match Plan::from_arguments(matches) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("memring: {error}");
            return ExitCode::from(crate::outcome::USAGE);
        }
    };
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(plan.run()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("memring: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What to start.
struct Plan {
    nodes: u16,
    base_port: u16,
    /// Where the nodes listen for clients.
    listen: Vec<String>,
    /// Where this machine reaches them.
    host: String,
    /// Where they listen for each other and for HTTP.
    peer_listen: String,
    /// Where this machine reaches that.
    peer_host: String,
    /// The path of their Unix sockets, to which each adds its name.
    socket: Option<String>,
    /// The folder in which each has one of its own.
    data_dir: Option<PathBuf>,
    /// The user's flags for each node.
    flags: Vec<String>,
}

impl Plan {
    fn from_arguments(matches: &ArgMatches) -> Result<Self, String> {
        let given = config::given_flags(matches);
        if let Some((name, _)) = given.iter().find(|(name, _)| OWN_FLAGS.contains(name)) {
            return Err(format!("--{name}: cluster gives it to each node itself (see --base-port)"));
        }
        // Checked here, so that a wrong value is told once and not by every node.
        let config: Config = config::from_arguments(matches).map_err(|error| error.to_string())?;
        if let Some(place) = config.listen.iter().find(|place| place.port.is_some()) {
            return Err(format!("--listen {place}: cluster gives each node a port itself (see --base-port)"));
        }
        let number = |name| matches.get_one::<u16>(name).copied().unwrap_or_default();
        let (nodes, base_port) = (number("nodes"), number("base-port"));
        if base_port.checked_add((nodes - 1) * PORT_STEP + 2).is_none() {
            return Err(format!("--base-port {base_port}: there are no ports for {nodes} nodes above it"));
        }
        let listen: Vec<String> = config.listen.iter().map(|place| place.host.clone()).collect();
        let host = reachable(listen.first().map_or("127.0.0.1", String::as_str));
        let peer_listen = config.peer_host().to_owned();
        let peer_host = reachable(&peer_listen);
        let given = given.into_iter().filter(|(name, _)| !["socket", "data-dir"].contains(name));
        let mut flags: Vec<String> = given.flat_map(|(_, words)| words).collect();
        if let Some(file) = config::config_file_argument(matches) {
            flags.extend(["--config".to_owned(), file.to_owned()]);
        }
        let (socket, data_dir) = (config.socket, config.data_dir);
        Ok(Self { nodes, base_port, listen, host, peer_listen, peer_host, socket, data_dir, flags })
    }

    /// Node i's port for clients.
    fn port(&self, node: u16) -> u16 {
        self.base_port + node * PORT_STEP
    }

    /// Tries all ports first: with some of them taken, by another cluster more often than not, there would be half a
    /// cluster, and its first node might be the other's.
    fn check_ports(&self) -> Result<(), String> {
        for node in 0..self.nodes {
            let port = self.port(node);
            let for_clients = self.listen.iter().map(|host| (host.as_str(), port));
            let for_nodes = [1, 2].map(|offset| (self.peer_listen.as_str(), port + offset));
            for (host, port) in for_clients.chain(for_nodes) {
                TcpListener::bind((host, port)).map_err(|error| {
                    format!("cannot listen on {host}:{port}: {error} (--base-port takes other ports)")
                })?;
            }
        }
        Ok(())
    }

    async fn run(self) -> Result<(), String> {
        self.check_ports()?;
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
        let (mut stdins, mut ends) = (Vec::new(), JoinSet::new());
        for node in 0..self.nodes {
            let mut child = self.start(node).map_err(|error| format!("cannot start node {}: {error}", node + 1))?;
            stdins.extend(child.stdin.take());
            ends.spawn(follow(format!("n{}", node + 1), child));
        }
        let welcome = tokio::spawn(self.welcome());
        loop {
            tokio::select! {
                end = ends.join_next() => {
                    let Some(end) = end else { return Err("all nodes have ended".to_owned()) };
                    eprintln!("memring: {}; the others go on", end.unwrap_or_else(|error| error.to_string()));
                    if ends.is_empty() {
                        return Err("all nodes have ended".to_owned());
                    }
                }
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        welcome.abort();
        stop(stdins, ends).await;
        Ok(())
    }

    fn start(&self, node: u16) -> std::io::Result<Child> {
        let port = self.port(node);
        let join: Vec<String> =
            (0..self.nodes).map(|other| format!("{}:{}", self.peer_host, self.port(other) + 1)).collect();
        let mut process = Process::new(std::env::current_exe()?);
        process.arg("serve").args(&self.flags).arg("--until-stdin-closes");
        for (flag, value) in [
            ("--name", format!("n{}", node + 1)),
            ("--port", port.to_string()),
            ("--peer-port", (port + 1).to_string()),
            ("--admin-port", (port + 2).to_string()),
            ("--join", join.join(",")),
            ("--expect", self.nodes.to_string()),
        ] {
            process.args([flag, &value]);
        }
        if let Some(path) = &self.socket {
            process.args(["--socket", &format!("{path}.n{}", node + 1)]);
        }
        if let Some(path) = &self.data_dir {
            process.arg("--data-dir").arg(path.join(format!("n{}", node + 1)));
        }
        // A group of its own: Ctrl-C reaches this process, which then stops the nodes. The stdin pipe stops them even if
        // this process is killed.
        process.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        process.spawn()
    }

    /// Waits until the nodes see each other, then says how to use them.
    async fn welcome(self) {
        let together = tokio::time::timeout(TOGETHER_TIMEOUT, self.until_together()).await;
        if together.is_err() {
            eprintln!("memring: the nodes do not all see each other after {} s", TOGETHER_TIMEOUT.as_secs());
        }
        crate::say(&format!("{}\n", self.instructions()));
    }

    async fn until_together(&self) {
        let admin = format!("{}:{}", self.peer_host, self.base_port + 2);
        loop {
            if let Ok(body) = http::get(&admin, "/api/cluster").await
                && let Ok(state) = serde_json::from_slice::<ClusterState>(&body)
                && state.alive() >= usize::from(self.nodes)
            {
                return;
            }
            tokio::time::sleep(TOGETHER_POLL).await;
        }
    }

    fn instructions(&self) -> String {
        let (host, peer_host) = (&self.host, &self.peer_host);
        let bare = host.trim_matches(['[', ']']);
        let mut lines = vec![String::new(), format!("{} memring nodes are ready.", self.nodes), String::new()];
        for node in 0..self.nodes {
            let port = self.port(node);
            lines.push(format!(
                "  n{:<3} clients {host}:{port}   admin http://{peer_host}:{}/api/cluster",
                node + 1,
                port + 2
            ));
        }
        let last = self.port(self.nodes - 1);
        lines.extend([
            String::new(),
            "Any memcached client works with any of them. Try:".to_owned(),
            String::new(),
            format!("  printf 'set greeting 0 0 5\\r\\nhello\\r\\nquit\\r\\n' | nc {bare} {}", self.base_port),
            format!("  printf 'get greeting\\r\\nquit\\r\\n' | nc {bare} {last}"),
            format!("  {} status --server {host}:{}", own_name(), self.base_port),
            String::new(),
            "Ctrl-C stops them all.".to_owned(),
        ]);
        lines.join("\n")
    }
}

/// Where this machine reaches what listens there.
fn reachable(listen: &str) -> String {
    match listen {
        "0.0.0.0" | "::" => "127.0.0.1".to_owned(),
        v6 if v6.contains(':') => format!("[{v6}]"),
        other => other.to_owned(),
    }
}

/// This program as the user called it, so that what is printed can be typed.
fn own_name() -> String {
    std::env::args().next().unwrap_or_else(|| "memring".to_owned())
}

/// Shows a node's log lines under its name until it ends; returns how it ended.
async fn follow(name: String, mut child: Child) -> String {
    if let Some(stderr) = child.stderr.take() {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("{name} | {line}");
        }
    }
    match child.wait().await {
        Ok(status) => format!("{name} has ended ({status})"),
        Err(error) => format!("{name} is lost ({error})"),
    }
}

/// Nodes stop when their stdin closes; those that do not are killed when `ends` is dropped.
async fn stop(stdins: Vec<ChildStdin>, mut ends: JoinSet<String>) {
    drop(stdins);
    let all = async { while ends.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIMEOUT, all).await.is_err() {
        eprintln!("memring: some nodes do not stop and are killed");
    }
}
