//! `memring status`: how a cluster is, as one of its nodes sees it.
//!
//! Must not know how nodes find out.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::http;
use crate::members::ClusterState;
use crate::{say, servers};

pub(crate) fn command() -> Command {
    Command::new("status")
        .about("Show the nodes of a cluster")
        .arg(servers::argument())
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("As /api/cluster says it"))
        .after_help("Examples:\n  memring status\n  memring status --server memring-0:11211,memring-1:11211 --json")
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let servers = matches.get_one::<String>("server").map_or("", String::as_str);
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(servers::first(servers, ask)));
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

async fn ask(server: &str) -> Result<Vec<u8>, String> {
    let admin = servers::admin_address(server).await?;
    http::get(&admin, "/api/cluster").await.map_err(|error| format!("admin port at {admin}: {error}"))
}
