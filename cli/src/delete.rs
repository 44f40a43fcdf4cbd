//! `memring delete`: removes keys.
//!
//! Must not know how a server forgets them.

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use memring_client::Answer;
use serde_json::{Map, Value, json};

use crate::outcome::{self, FAILED, Failure};
use crate::{json, keys, level, say, servers};

pub(crate) fn command() -> Command {
    Command::new("delete")
        .about("Remove keys")
        .arg(keys::several())
        .arg(level::argument())
        .arg(servers::argument())
        .arg(json::argument("One object: keys in the order given, and whether each was there"))
        .after_help(
            "Exit code 1 if a key was not there; the others are removed all the same.\n\n\
             Examples:\n  memring delete greeting\n  memring delete user:1 user:2 --server memring-0:11211",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    outcome::of(delete(matches))
}

async fn delete(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let keys = keys::of(matches)?;
    let level = level::of(matches)?;
    let answers = servers::first_of(matches, async |connection| {
        level::ask(connection, level, |requests| keys.iter().try_for_each(|key| requests.delete(key))).await
    });
    let deleted: Vec<bool> = answers.await?.iter().map(|answer| *answer == Answer::Deleted).collect();
    if json::is_wanted(matches) {
        let shown: Vec<Value> = keys
            .iter()
            .zip(&deleted)
            .map(|(key, deleted)| {
                let mut object = Map::new();
                json::put_bytes(&mut object, "key", key);
                object.insert("deleted".to_owned(), (*deleted).into());
                Value::Object(object)
            })
            .collect();
        say(&format!("{}\n", json!({ "keys": shown })));
    } else {
        let lines = keys.iter().zip(&deleted).filter(|(_, deleted)| **deleted);
        say(&lines.map(|(key, _)| format!("{} deleted\n", keys::escaped(key))).collect::<String>());
    }
    let mut code = ExitCode::SUCCESS;
    for (key, _) in keys.iter().zip(&deleted).filter(|(_, deleted)| !**deleted) {
        eprintln!("memring: {}: not found", keys::escaped(key));
        code = ExitCode::from(FAILED);
    }
    Ok(code)
}
