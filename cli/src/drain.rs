//! `memring drain`: has one node leave the ring, and shows how far it is.
//!
//! Must not know how a share goes over to others: the node does that by itself, and goes on without this command, which only
//! begins it and watches. Called again, it watches again.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use serde::{Deserialize, Serialize};

use crate::outcome::{self, Failure, INTERRUPTED};
use crate::{http, json, say, servers};

/// How often the node is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// For so long the node may not answer before watching is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Letters of the bar on a terminal.
const BAR_LETTERS: usize = 30;

const PATH: &str = "/api/drain";

/// What a node says of its drain.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
struct Drain {
    state: String,
    partitions_total: usize,
    partitions_left: usize,
    #[serde(skip_serializing)]
    error: Option<String>,
}

/// How progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shown {
    /// One line that changes.
    Bar,
    /// A line for each change.
    Lines,
    /// An object for each change, a line each.
    Json,
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
        .arg(json::argument("An object a line: one for each change, the last says drained"))
        .after_help(
            "Nothing is lost: the node serves until its share is complete elsewhere. Then it is out of the ring, and forwards\n\
             clients until it is stopped; started again with --join it joins anew. If this command is stopped the node goes\n\
             on; called again, the command goes on watching.\n\n\
             Examples:\n  memring drain\n  memring drain --server memring-2:11211 --json",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let server = matches.get_one::<String>("server").map_or("", String::as_str);
    let shown = match json::is_wanted(matches) {
        true => Shown::Json,
        false if std::io::stdout().is_terminal() => Shown::Bar,
        false => Shown::Lines,
    };
    outcome::of(drain(server, shown))
}

async fn drain(server: &str, shown: Shown) -> Result<ExitCode, Failure> {
    if server.contains(',') {
        return Err(Failure::Usage("--server: one node at a time is drained".to_owned()));
    }
    // The port may be left out.
    let admin = servers::first(server, servers::admin_address).await?;
    begin(&admin).await?;
    let mut progress = Progress { shown, last: None };
    let watched = tokio::select! {
        watched = watch_shown(&admin, &mut progress) => Some(watched?),
        _ = tokio::signal::ctrl_c() => None,
    };
    let line_end = progress.line_end();
    match watched {
        Some(drain) if shown == Shown::Json => progress.show(&drain),
        Some(Drain { partitions_total: total, .. }) => say(&format!(
            "{line_end}drained: {total} partitions are complete elsewhere, and the node is out of the ring\n"
        )),
        None => {
            eprintln!("{line_end}memring: the node goes on by itself; the same command watches again");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    Ok(ExitCode::SUCCESS)
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

/// Until all is done, with a line for each change: how many partitions that were.
pub(crate) async fn watch(admin: &str) -> Result<usize, String> {
    let mut progress = Progress { shown: Shown::Lines, last: None };
    watch_shown(admin, &mut progress).await.map(|drain| drain.partitions_total)
}

/// Until all is done: what the node says then.
async fn watch_shown(admin: &str, progress: &mut Progress) -> Result<Drain, String> {
    let mut silent = Duration::ZERO;
    loop {
        match http::get(admin, PATH).await.map_err(|error| error.to_string()).and_then(|body| read(&body)) {
            Ok(drain) if drain.state == "drained" => return Ok(drain),
            Ok(drain) => {
                silent = Duration::ZERO;
                progress.show(&drain);
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

/// What was shown last.
struct Progress {
    shown: Shown,
    last: Option<Drain>,
}

impl Progress {
    fn show(&mut self, drain: &Drain) {
        if self.last.as_ref() == Some(drain) {
            return;
        }
        match self.shown {
            Shown::Bar => say(&format!("\r{} {}\x1b[K", bar(percent(drain)), sentence(drain))),
            Shown::Lines => say(&format!("{}\n", sentence(drain))),
            Shown::Json => say(&format!("{}\n", serde_json::to_string(drain).unwrap_or_default())),
        }
        self.last = Some(drain.clone());
    }

    /// Before anything else is said.
    fn line_end(&self) -> &'static str {
        if self.shown == Shown::Bar && self.last.is_some() { "\n" } else { "" }
    }
}

/// Rounded down: 100 is said only when nothing is left.
fn percent(drain: &Drain) -> usize {
    let Drain { partitions_total: total, partitions_left: left, .. } = *drain;
    (total - left.min(total)) * 100 / total.max(1)
}

fn bar(percent: usize) -> String {
    let done = (percent * BAR_LETTERS / 100).min(BAR_LETTERS);
    format!("[{}{}]", "#".repeat(done), "-".repeat(BAR_LETTERS - done))
}

fn sentence(drain: &Drain) -> String {
    format!("{} %: {} of {} partitions left", percent(drain), drain.partitions_left, drain.partitions_total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_what_a_node_says() {
        let drain = read(br#"{"state":"draining","partitions_total":5461,"partitions_left":1365,"later":1}"#);
        assert_eq!(drain.as_ref().map(sentence), Ok("75 %: 1365 of 5461 partitions left".to_owned()));
        let shown = drain.map(|drain| serde_json::to_string(&drain).expect("JSON"));
        assert_eq!(shown.as_deref(), Ok(r#"{"state":"draining","partitions_total":5461,"partitions_left":1365}"#));
        let refused = read(br#"{"state":"none","partitions_total":0,"partitions_left":0,"error":"no"}"#);
        let refused = refused.expect("understood");
        assert_eq!(
            (sentence(&refused).as_str(), refused.error.as_deref()),
            ("0 %: 0 of 0 partitions left", Some("no"))
        );
        assert!(read(b"leaving").is_err());
    }

    #[test]
    fn a_bar_is_as_full_as_the_drain() {
        assert_eq!(bar(0), format!("[{}]", "-".repeat(30)));
        assert_eq!(bar(50), format!("[{}{}]", "#".repeat(15), "-".repeat(15)));
        assert_eq!((bar(99).matches('-').count(), bar(100)), (1, format!("[{}]", "#".repeat(30))));
    }
}
