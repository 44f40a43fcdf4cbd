//! `memring flush`: empties a cluster, at once or over a time.
//!
//! Must not know how a flush spreads: the nodes do it by themselves, and a paced one goes on without this command, which
//! only begins it and watches.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use memring_client::Connection;
use memring_server::config;

use crate::outcome::{self, Failure, INTERRUPTED};
use crate::{json, say, servers};

/// How often it is asked how far it has come.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// For so long no server may answer before watching is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// The longest `--over`, in seconds: the servers' own limit, a week.
const OVER_MAX_S: u64 = 7 * 24 * 60 * 60;

pub(crate) fn command() -> Command {
    Command::new("flush")
        .about("Empty a cluster, at once or over a time")
        .arg(Arg::new("over").long("over").value_name("TIME").help(
            "Go through the cluster evenly over this time, 1s to 168h, so that what is behind it is asked bit by bit",
        ))
        .arg(servers::argument())
        .arg(json::argument("An object a line: with --over one for each per cent; the last says that all is flushed"))
        .after_help(
            "What is written after the command has begun stays. With --over the nodes go on by themselves, through\n\
             restarts too, also if this command is stopped; a flush without --over does at once what is left.\n\n\
             Examples:\n  memring flush\n  memring flush --over 10m --server memring-0:11211,memring-1:11211",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    outcome::of(async {
        let over = matches.get_one::<String>("over").map(|text| over(text)).transpose().map_err(Failure::Usage)?;
        let servers = matches.get_one::<String>("server").map_or("", String::as_str);
        flush(servers, over, json::is_wanted(matches)).await
    })
}

fn over(text: &str) -> Result<u32, String> {
    let time = config::duration(text).map_err(|why| format!("--over {text}: {why}"))?;
    let seconds = u32::try_from(time.as_secs()).ok().filter(|seconds| u64::from(*seconds) <= OVER_MAX_S);
    match seconds {
        Some(seconds @ 1..) if time.subsec_nanos() == 0 => Ok(seconds),
        _ => Err(format!("--over {text}: expected whole seconds, from 1s to 168h")),
    }
}

async fn flush(servers: &str, over: Option<u32>, as_json: bool) -> Result<ExitCode, Failure> {
    let done = if as_json { "{\"flushed\":true}\n" } else { "flushed\n" };
    let Some(seconds) = over else {
        let flush = async |server: &str| servers::connect(server).await?.flush_all(None).await.map_err(servers::told);
        servers::first(servers, flush).await?;
        say(done);
        return Ok(ExitCode::SUCCESS);
    };
    let begun = servers::first(servers, async |server| {
        servers::connect(server).await?.flush_over(seconds).await.map_err(servers::told)
    });
    tokio::select! {
        begun = begun => begun?,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("memring: stopped before the servers have answered: a flush may have begun or not");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    let mut progress = Progress::new(seconds, as_json);
    tokio::select! {
        done = watch(servers, &mut progress) => done?,
        _ = tokio::signal::ctrl_c() => {
            eprintln!("{}memring: {}", progress.line_end(), progress.farewell());
            return Ok(ExitCode::from(INTERRUPTED));
        }
    }
    say(&format!("{}{done}", progress.line_end()));
    Ok(ExitCode::SUCCESS)
}

/// Until all is done.
async fn watch(servers: &str, progress: &mut Progress) -> Result<(), String> {
    let mut silent = Duration::ZERO;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        match servers::first(servers, async |server| look(&mut servers::connect(server).await?).await).await {
            Ok((_, 0)) => return Ok(()),
            Ok((done, left)) => {
                silent = Duration::ZERO;
                progress.show(done, left);
            }
            Err(error) if silent >= SILENCE_MAX => {
                return Err(format!("{}; {error}", progress.farewell()));
            }
            Err(_) => silent += LOOK_EVERY,
        }
    }
}

/// How many partitions are done and how many are left.
async fn look(connection: &mut Connection) -> Result<(u32, u32), String> {
    let stats = connection.stats("").await.map_err(servers::told)?;
    let count = |wanted: &str| {
        let found = stats.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| value.parse().ok());
        found.ok_or_else(|| format!("it does not tell {wanted}: not memring?"))
    };
    Ok((count("flush_over_partitions")?, count("flush_over_left")?))
}

/// What was seen of a paced flush.
struct Progress {
    seconds: u32,
    done: u32,
    left: u32,
    shown: Option<u32>,
    as_json: bool,
    on_terminal: bool,
}

impl Progress {
    fn new(seconds: u32, as_json: bool) -> Self {
        let on_terminal = std::io::stdout().is_terminal() && !as_json;
        Self { seconds, done: 0, left: 1, shown: None, as_json, on_terminal }
    }

    fn percent(&self) -> u32 {
        self.done * 100 / (self.done + self.left).max(1)
    }

    fn seconds_left(&self) -> u64 {
        let all = u64::from(self.done + self.left).max(1);
        (u64::from(self.seconds) * u64::from(self.left)).div_ceil(all)
    }

    fn left_shown(&self) -> String {
        let seconds = self.seconds_left();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match (hours, minutes) {
            (0, 0) => format!("{seconds} s"),
            (0, _) => format!("{minutes} min {seconds} s"),
            _ => format!("{hours} h {minutes} min"),
        }
    }

    /// One line that changes on a terminal, a line for each per cent elsewhere.
    fn show(&mut self, done: u32, left: u32) {
        (self.done, self.left) = (done, left);
        let (percent, left) = (self.percent(), self.left_shown());
        if self.on_terminal {
            say(&format!("\r{percent} % flushed, {left} left    "));
        } else if self.as_json && self.shown != Some(percent) {
            say(&format!("{}\n", self.object()));
        } else if self.shown != Some(percent) {
            say(&format!("{percent} % flushed, {left} left\n"));
        }
        self.shown = Some(percent);
    }

    fn object(&self) -> serde_json::Value {
        serde_json::json!({
            "flushed": false,
            "percent": self.percent(),
            "partitions_done": self.done,
            "partitions_left": self.left,
            "seconds_left": self.seconds_left(),
        })
    }

    fn line_end(&self) -> &'static str {
        if self.on_terminal && self.shown.is_some() { "\n" } else { "" }
    }

    /// What was done and what was not, for whoever stops watching.
    fn farewell(&self) -> String {
        let (done, left) = (self.done, self.left_shown());
        format!(
            "{} % is flushed ({done} of {} partitions); the rest is not, and follows within {left} without this command \
             (memring flush does it at once)",
            self.percent(),
            self.done + self.left
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_whole_seconds_up_to_a_week() {
        for (text, seconds) in
            [("1s", Some(1)), ("10m", Some(600)), ("1000ms", Some(1)), ("0s", None), ("1500ms", None)]
        {
            assert_eq!(over(text).ok(), seconds, "{text}");
        }
        let whole = "expected whole seconds, from 1s to 168h";
        assert_eq!(over("604800s"), Ok(604_800));
        assert_eq!(over("604801s"), Err(format!("--over 604801s: {whole}")));
        assert!(over("soon").is_err_and(|error| error.starts_with("--over soon: ")));
    }

    #[test]
    fn progress_says_what_is_done_and_what_is_not() {
        let mut progress = Progress { on_terminal: false, ..Progress::new(600, false) };
        (progress.done, progress.left) = (6717, 9667);
        assert_eq!((progress.percent(), progress.left_shown()), (40, "5 min 55 s".to_owned()));
        assert_eq!(
            progress.farewell(),
            "40 % is flushed (6717 of 16384 partitions); the rest is not, and follows within 5 min 55 s without this \
             command (memring flush does it at once)"
        );
        assert_eq!(
            progress.object().to_string(),
            r#"{"flushed":false,"partitions_done":6717,"partitions_left":9667,"percent":40,"seconds_left":355}"#
        );
        (progress.done, progress.left) = (16_383, 1);
        assert_eq!((progress.percent(), progress.left_shown()), (99, "1 s".to_owned()));
        assert_eq!(Progress { seconds: 604_800, left: 16_384, ..progress }.left_shown(), "84 h 0 min");
    }
}
