//! `memring get`: the values of keys, as they are or as JSON.
//!
//! Must not know how a server finds them.

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{ArgMatches, Command};
use memring_client::{Answer, Value};
use serde_json::{Map, json};

use crate::outcome::{self, FAILED, Failure};
use crate::{json, keys, level, say, say_bytes, servers};

pub(crate) fn command() -> Command {
    Command::new("get")
        .about("Show the values of keys")
        .arg(keys::several())
        .arg(level::argument())
        .arg(servers::argument())
        .arg(json::argument("One object: keys in the order asked for, what is not UTF-8 in value_base64"))
        .after_help(
            "One key's value is written as it is, byte for byte; on a terminal its line is ended. Several are written as\n\
             KEY VALUE, a line each, with unprintable bytes escaped. Exit code 1 if a key has no value.\n\n\
             Examples:\n  memring get greeting\n  memring get page-1 > page-1.bin\n  memring get lock:1 --level all\n  memring get user:1 user:2 --json \
             --server memring-0:11211,memring-1:11211",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    outcome::of(get(matches))
}

async fn get(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let keys = keys::of(matches)?;
    let level = level::of(matches)?;
    let values = servers::first_of(matches, async |connection| {
        // One key a request: with a level they are meta commands.
        let answers =
            level::ask(connection, level, |requests| keys.iter().try_for_each(|key| requests.get(&[key], false)));
        let values = answers.await?.into_iter().filter_map(|answer| match answer {
            Answer::Values(values) => Some(values),
            _ => None,
        });
        Ok(values.flatten().collect::<Vec<Value>>())
    });
    let values = values.await?;
    let found: Vec<(&[u8], Option<&Value>)> =
        keys.iter().map(|key| (*key, values.iter().find(|value| value.key == *key))).collect();
    if json::is_wanted(matches) {
        let shown: Vec<_> = found.iter().map(|(key, value)| as_json(key, *value)).collect();
        say(&format!("{}\n", json!({ "keys": shown })));
    } else if let [(_, Some(value))] = found.as_slice() {
        say_bytes(&value.bytes);
        if std::io::stdout().is_terminal() && !value.bytes.ends_with(b"\n") {
            say("\n");
        }
    } else {
        let lines = found
            .iter()
            .filter_map(|(key, value)| Some(format!("{} {}\n", keys::escaped(key), keys::escaped(&(*value)?.bytes))));
        say(&lines.collect::<String>());
    }
    let mut code = ExitCode::SUCCESS;
    for (key, _) in found.iter().filter(|(_, value)| value.is_none()) {
        eprintln!("memring: {}: not found", keys::escaped(key));
        code = ExitCode::from(FAILED);
    }
    Ok(code)
}

fn as_json(key: &[u8], value: Option<&Value>) -> Map<String, serde_json::Value> {
    let mut object = Map::new();
    json::put_bytes(&mut object, "key", key);
    object.insert("found".to_owned(), value.is_some().into());
    if let Some(value) = value {
        object.insert("flags".to_owned(), value.flags.into());
        object.insert("bytes".to_owned(), value.bytes.len().into());
        json::put_bytes(&mut object, "value", &value.bytes);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_tells_what_is_there_and_what_is_not() {
        let value = |bytes: &'static [u8]| Value { key: "k".into(), bytes: bytes.into(), flags: 7, cas: None };
        let shown = |value: Option<&Value>| serde_json::Value::Object(as_json(b"k", value));
        assert_eq!(
            shown(Some(&value(b"hello"))),
            json!({ "key": "k", "found": true, "flags": 7, "bytes": 5, "value": "hello" })
        );
        assert_eq!(
            shown(Some(&value(&[0xff, 0]))),
            json!({ "key": "k", "found": true, "flags": 7, "bytes": 2, "value_base64": "/wA=" })
        );
        assert_eq!(shown(None), json!({ "key": "k", "found": false }));
    }
}
