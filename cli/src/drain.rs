//! `memring drain`: has one node leave the ring, and shows how far it is.
//!
//! Must not know how a share goes over to others: the node does that by itself, and goes on without this command, which only
//! begins it and watches. Called again, it watches again.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use serde::Deserialize;

use crate::{http, say, servers};

/// How often the node is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// For so long the node may not answer before watching is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What a shell expects of a command that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

const PATH: &str = "/api/drain";

/// What a node says of its drain.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
struct Drain {
    state: String,
    partitions_total: usize,
    partitions_left: usize,
    error: Option<String>,
}

pub(crate) fn command() -> Command {
    Command::new("drain")
        .about("Have a node leave the ring, and wait until the others hold all it had")
        .arg(
            Arg::new("server")
                .long("server")
                .value_name("HOST:PORT")
                .default_value("127.0.0.1:11211")
                .help("Client port of the node that leaves"),
        )
        .after_help(
            "Nothing is lost: the node serves until its share is complete elsewhere. Then it is out of the ring, and forwards\n\
             clients until it is stopped; started again with --join it joins anew. If this command is stopped the node goes\n\
             on; called again, the command goes on watching.\n\n\
             Examples:\n  memring drain\n  memring drain --server memring-2:11211",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let server = matches.get_one::<String>("server").map_or("", String::as_str);
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(drain(server)));
    outcome.unwrap_or_else(|error| {
        eprintln!("memring: {error}");
        ExitCode::FAILURE
    })
}

async fn drain(server: &str) -> Result<ExitCode, String> {
    if server.contains(',') {
        return Err("--server: one node at a time is drained".to_owned());
    }
    // The port may be left out.
    let admin = servers::first(server, servers::admin_address).await?;
    begin(&admin).await?;
    let watched = tokio::select! {
        watched = watch(&admin) => Some(watched?),
        _ = tokio::signal::ctrl_c() => None,
    };
    match watched {
        Some(total) => {
            say(&format!("drained: {total} partitions are complete elsewhere, and the node is out of the ring\n"));
            Ok(ExitCode::SUCCESS)
        }
        None => {
            eprintln!("memring: the node goes on by itself; the same command watches again");
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// Tells the node to leave; the error says why it cannot.
pub(crate) async fn begin(admin: &str) -> Result<(), String> {
    let (status, body) = http::post(admin, PATH).await.map_err(|error| format!("admin port at {admin}: {error}"))?;
    match (status, read(&body)) {
        (202, Ok(_)) => Ok(()),
        (_, Ok(Drain { error: Some(error), .. })) => Err(error),
        (status, _) => Err(format!("admin port at {admin}: HTTP status {status}")),
    }
}

/// Until all is done: how many partitions that were.
pub(crate) async fn watch(admin: &str) -> Result<usize, String> {
    let (mut silent, mut shown) = (Duration::ZERO, None);
    let on_terminal = std::io::stdout().is_terminal();
    loop {
        match http::get(admin, PATH).await.map_err(|error| error.to_string()).and_then(|body| read(&body)) {
            Ok(drain) if drain.state == "drained" => {
                if on_terminal && shown.is_some() {
                    say("\n");
                }
                return Ok(drain.partitions_total);
            }
            Ok(drain) => {
                silent = Duration::ZERO;
                let line = progress(&drain);
                match (on_terminal, shown.as_ref() == Some(&line)) {
                    (true, _) => say(&format!("\r{line}    ")),
                    (false, false) => say(&format!("{line}\n")),
                    (false, true) => {}
                }
                shown = Some(line);
            }
            Err(error) if silent >= SILENCE_MAX => return Err(format!("the node does not answer: {error}")),
            Err(_) => silent += LOOK_EVERY,
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn read(body: &[u8]) -> Result<Drain, String> {
    serde_json::from_slice(body).map_err(|error| format!("the answer is not understood: {error}"))
}

fn progress(drain: &Drain) -> String {
    let Drain { partitions_total: total, partitions_left: left, .. } = *drain;
    let percent = (total - left.min(total)) * 100 / total.max(1);
    format!("{percent} %: {left} of {total} partitions left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_what_a_node_says() {
        let drain = read(br#"{"state":"draining","partitions_total":5461,"partitions_left":1365,"later":1}"#);
        assert_eq!(drain.as_ref().map(progress), Ok("75 %: 1365 of 5461 partitions left".to_owned()));
        let refused = read(br#"{"state":"none","partitions_total":0,"partitions_left":0,"error":"no"}"#);
        let refused = refused.expect("understood");
        assert_eq!(
            (progress(&refused).as_str(), refused.error.as_deref()),
            ("0 %: 0 of 0 partitions left", Some("no"))
        );
        assert!(read(b"leaving").is_err());
    }
}
