//! `memring status`: how a cluster is, as one of its nodes sees it.
//!
//! Must not know how nodes find out.

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::members::ClusterState;
use crate::outcome::{self, Failure};
use crate::{http, json, say, servers};

pub(crate) fn command() -> Command {
    Command::new("status")
        .about("Show the nodes of a cluster")
        .arg(servers::argument())
        .arg(json::argument("As /api/cluster says it"))
        .after_help("Examples:\n  memring status\n  memring status --server memring-0:11211,memring-1:11211 --json")
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let servers = matches.get_one::<String>("server").map_or("", String::as_str);
    outcome::of(async {
        let body = servers::first(servers, ask).await?;
        say(&if json::is_wanted(matches) { format!("{}\n", String::from_utf8_lossy(&body)) } else { table(&body)? });
        Ok(ExitCode::SUCCESS)
    })
}

fn table(body: &[u8]) -> Result<String, Failure> {
    let state = serde_json::from_slice::<ClusterState>(body);
    let state = state.map_err(|error| Failure::Failed(format!("the answer is not understood: {error}")))?;
    Ok(state.table())
}

async fn ask(server: &str) -> Result<Vec<u8>, String> {
    let admin = servers::admin_address(server).await?;
    http::get(&admin, "/api/cluster").await.map_err(|error| format!("admin port at {admin}: {error}"))
}
