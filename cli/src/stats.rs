//! `memring stats`: what a node counts.
//!
//! Must not know what the names mean (docs/statistics.md).

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use serde_json::{Map, Value};

use crate::outcome::{self, Failure};
use crate::{json, say, servers};

pub(crate) fn command() -> Command {
    Command::new("stats")
        .about("Show what a node counts")
        .arg(
            Arg::new("of")
                .value_name("OF")
                .num_args(0..)
                .help("What to show: settings, items, slabs, conns, sizes, cluster … [the node's counters]"),
        )
        .arg(servers::argument())
        .arg(json::argument("One object: names and values, numbers as numbers"))
        .after_help(
            "What follows stats in memcached's protocol may follow here, reset too. docs/statistics.md says what the names\n\
             mean.\n\n\
             Examples:\n  memring stats\n  memring stats cluster --json\n  memring stats settings --server memring-0:11211",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    outcome::of(stats(matches))
}

async fn stats(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let words: Vec<&str> = matches.get_many::<String>("of").into_iter().flatten().map(String::as_str).collect();
    let of = words.join(" ");
    let stats = servers::first_of(matches, async |connection| connection.stats(&of).await).await?;
    say(&if json::is_wanted(matches) { as_json(&stats) } else { table(&stats) });
    Ok(ExitCode::SUCCESS)
}

fn as_json(stats: &[(String, String)]) -> String {
    let object: Map<String, Value> = stats.iter().map(|(name, value)| (name.clone(), json::figure(value))).collect();
    format!("{}\n", Value::Object(object))
}

/// In the order sent: what belongs together stands together.
fn table(stats: &[(String, String)]) -> String {
    let width = stats.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    stats.iter().map(|(name, value)| format!("{name:width$}  {value}").trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_a_table_or_an_object() {
        let stats: Vec<(String, String)> =
            [("pid", "17"), ("version", "1.6.45"), ("rusage_user", "0.250000"), ("zone", "")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec();
        assert_eq!(table(&stats), "pid          17\nversion      1.6.45\nrusage_user  0.250000\nzone\n");
        assert_eq!(as_json(&stats), "{\"pid\":17,\"rusage_user\":0.25,\"version\":\"1.6.45\",\"zone\":\"\"}\n");
        assert_eq!((table(&[]), as_json(&[])), (String::new(), "{}\n".to_owned()));
    }
}
