//! `memring serve`: runs a node, or says how it would be run.
//!
//! Must not know how arguments are read (`memring_server::config`), nor how a node works.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};
use memring_server::config;
use serde_json::{Map, Value, json};

use crate::outcome::{self, Failure};
use crate::{json, say};

const EXAMPLES: &str = "\
Every flag can also be set in the environment (MEMRING_MEMORY_LIMIT=1g) or in the file (memory-limit = \"1g\");
the file can also give levels by key prefix:

  [[namespace]]
  prefix = \"lock:\"
  read = \"all\"
  write = \"quorum\"

--check reads all of them, tries the folders they name, looks no name up and opens no port; what it shows can be kept as
the file. Exit code 2 and one line if something is wrong.

Examples:
  memring serve                                           alone, on 127.0.0.1
  memring serve -l 0.0.0.0 -m 4g --join memring-headless --expect 3
  memring serve --replicas 3 --read one --write one       fastest, for data that can be fetched again
  memring serve --config memring.toml --check             is that file right, and what would hold?";

pub(crate) fn command() -> Command {
    config::command(Command::new("serve").about("Run a node").after_help(EXAMPLES))
        .arg(
            Arg::new("check")
                .long("check")
                .action(ArgAction::SetTrue)
                .help("Show what would hold, and where it comes from, instead of running"),
        )
        .arg(json::argument("With --check: one object").requires("check"))
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    if matches.get_flag("check") {
        return outcome::told(check(matches));
    }
    match config::from_arguments(matches) {
        Ok(config) => memring_server::serve(&config),
        Err(error) => outcome::told(Err(Failure::Usage(error.to_string()))),
    }
}

fn check(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let effective = config::effective(matches).map_err(|error| Failure::Usage(error.to_string()))?;
    say(&if json::is_wanted(matches) { as_json(&effective) } else { effective.to_string() });
    Ok(ExitCode::SUCCESS)
}

fn as_json(effective: &config::Effective) -> String {
    let options: Map<String, Value> = effective
        .options
        .iter()
        .map(|option| {
            let shown = json!({ "value": option.value, "derived": option.derived, "from": option.origin.name() });
            (option.name.to_owned(), shown)
        })
        .collect();
    let namespaces: Vec<Value> = effective
        .namespaces
        .iter()
        .map(|namespace| {
            let level = |level: Option<_>| level.map(|level| ToString::to_string(&level));
            let prefix = String::from_utf8_lossy(&namespace.prefix);
            json!({ "prefix": prefix, "read": level(namespace.read), "write": level(namespace.write) })
        })
        .collect();
    format!("{}\n", json!({ "options": options, "namespaces": namespaces }))
}
