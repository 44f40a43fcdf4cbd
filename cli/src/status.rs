//! `memring status`: how a cluster is, as one of its nodes sees it.
//!
//! Must not know how nodes find out.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use memring_client::Connection;

use crate::http;
use crate::members::ClusterState;
use crate::say;

/// How long one server may take to answer on its client port.
const STATS_TIMEOUT: Duration = Duration::from_secs(3);

pub(crate) fn command() -> Command {
    Command::new("status")
        .about("Show the nodes of a cluster")
        .arg(
            Arg::new("server")
                .long("server")
                .value_name("HOST:PORT,…")
                .default_value("127.0.0.1:11211")
                .help("Client ports of nodes; the first that answers is asked"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As /api/cluster says it"))
        .after_help("Examples:\n  memring status\n  memring status --server memring-0:11211,memring-1:11211 --json")
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let servers = matches.get_one::<String>("server").map_or("", String::as_str);
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(ask_any(servers)));
    match outcome {
        Ok(body) => show(&body, matches.get_flag("json")),
        Err(error) => {
            eprintln!("memring: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(body: &[u8], as_json: bool) -> ExitCode {
    if as_json {
        say(&format!("{}\n", String::from_utf8_lossy(body)));
        return ExitCode::SUCCESS;
    }
    match serde_json::from_slice::<ClusterState>(body) {
        Ok(state) => {
            say(&state.table());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("memring: the answer is not understood: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The answer of the first server that gives one.
async fn ask_any(servers: &str) -> Result<Vec<u8>, String> {
    let mut failures = Vec::new();
    for server in servers.split(',').map(str::trim).filter(|server| !server.is_empty()) {
        let server = with_port(server);
        match ask(&server).await {
            Ok(body) => return Ok(body),
            Err(error) => failures.push(format!("{server}: {error}")),
        }
    }
    if failures.is_empty() {
        return Err("--server: no server is named".to_owned());
    }
    Err(failures.join("; "))
}

fn with_port(server: &str) -> String {
    let has_port =
        server.rsplit_once(':').is_some_and(|(host, port)| !host.ends_with(':') && port.parse::<u16>().is_ok());
    if has_port { server.to_owned() } else { format!("{server}:11211") }
}

async fn ask(server: &str) -> Result<Vec<u8>, String> {
    let admin_port = tokio::time::timeout(STATS_TIMEOUT, admin_port(server))
        .await
        .map_err(|_elapsed| "no answer in time".to_owned())??;
    let host = server.rsplit_once(':').map_or(server, |(host, _port)| host);
    http::get(&format!("{host}:{admin_port}"), "/api/cluster")
        .await
        .map_err(|error| format!("admin port {admin_port}: {error}"))
}

/// Nodes tell it to anyone on the client port, so that people need to know one port only.
async fn admin_port(server: &str) -> Result<u16, String> {
    let mut connection = Connection::connect(server).await.map_err(|error| with_cause(&error))?;
    let settings = connection.stats("settings").await.map_err(|error| with_cause(&error))?;
    let port = settings.iter().find(|(name, _)| name == "admin_port").map(|(_, value)| value.as_str());
    port.and_then(|port| port.parse().ok()).ok_or_else(|| "it does not say its admin port: not memring?".to_owned())
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_port_may_be_left_out() {
        for (server, expected) in [
            ("a", "a:11211"),
            ("a:1", "a:1"),
            ("10.0.0.1", "10.0.0.1:11211"),
            ("[::1]:7", "[::1]:7"),
            ("[::1]", "[::1]:11211"),
        ] {
            assert_eq!(with_port(server), expected);
        }
    }
}
