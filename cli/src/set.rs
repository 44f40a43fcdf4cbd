//! `memring set`: stores one value, from the command line or standard input.
//!
//! Must not know how a server keeps it.

use std::ffi::OsString;
use std::io::Read;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use memring_client::{Answer, StoreVerb};
use memring_server::config;
use serde_json::{Map, Value};

use crate::outcome::{self, Failure};
use crate::{json, keys, level, say, servers};

/// The longest `--ttl`: memcached takes what is above 30 days for a date.
const TTL_MAX_S: u64 = 30 * 24 * 60 * 60;

/// The largest value: what a server can be told to take (`memring serve -I`).
const VALUE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

pub(crate) fn command() -> Command {
    Command::new("set")
        .about("Store a value")
        .arg(keys::one())
        .arg(
            Arg::new("value")
                .value_name("VALUE")
                .required(true)
                .allow_negative_numbers(true)
                .value_parser(value_parser!(OsString))
                .help("The value; - for what comes on standard input"),
        )
        .arg(Arg::new("ttl").long("ttl").value_name("TIME").help("Forget it after this time, 1s to 720h [never]"))
        .arg(
            Arg::new("flags")
                .long("flags")
                .value_name("NUMBER")
                .default_value("0")
                .value_parser(value_parser!(u32))
                .help("Client flags: what a client library notes beside the value"),
        )
        .arg(level::argument())
        .arg(servers::argument())
        .arg(json::argument("One object: the key, the bytes stored"))
        .after_help(
            "Examples:\n  memring set greeting hello\n  memring set page-1 - --ttl 10m < page-1.bin\n  \
             memring set counter 41 --server memring-0:11211,memring-1:11211",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    outcome::of(set(matches))
}

async fn set(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let keys = keys::of(matches)?;
    let key = keys.first().copied().unwrap_or_default();
    let ttl = matches.get_one::<String>("ttl").map_or(Ok(0), |text| ttl(text))?;
    let flags = matches.get_one("flags").copied().unwrap_or_default();
    let level = level::of(matches)?;
    let value = match matches.get_one::<OsString>("value") {
        Some(word) if word != "-" => word.as_encoded_bytes().to_vec(),
        _ => standard_input()?,
    };
    let stored = servers::first_of(matches, async |connection| {
        level::ask(connection, level, |requests| requests.store(StoreVerb::Set, key, &value, flags, ttl)).await
    });
    match stored.await?.as_slice() {
        [Answer::Stored] => {}
        other => return Err(Failure::Failed(format!("the server answered {other:?} to a set"))),
    }
    if json::is_wanted(matches) {
        let mut object = Map::new();
        json::put_bytes(&mut object, "key", key);
        object.insert("stored".to_owned(), true.into());
        object.insert("bytes".to_owned(), value.len().into());
        say(&format!("{}\n", Value::Object(object)));
    } else {
        say("stored\n");
    }
    Ok(ExitCode::SUCCESS)
}

fn ttl(text: &str) -> Result<i32, Failure> {
    let wrong = |why: &str| Failure::Usage(format!("--ttl {text}: {why}"));
    let time = config::duration(text).map_err(|why| wrong(&why))?;
    let seconds = i32::try_from(time.as_secs()).ok().filter(|seconds| (1..=TTL_MAX_S as i32).contains(seconds));
    match seconds {
        Some(seconds) if time.subsec_nanos() == 0 => Ok(seconds),
        _ => Err(wrong("expected whole seconds, from 1s to 720h")),
    }
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    let read = std::io::stdin().take(VALUE_BYTES_MAX + 1).read_to_end(&mut value);
    read.map_err(|error| Failure::Failed(format!("standard input: {error}")))?;
    if value.len() as u64 > VALUE_BYTES_MAX {
        return Err(Failure::Failed(format!("standard input: more than {VALUE_BYTES_MAX} bytes")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_whole_seconds_up_to_thirty_days() {
        for (text, seconds) in [
            ("1s", Some(1)),
            ("10m", Some(600)),
            ("720h", Some(2_592_000)),
            ("721h", None),
            ("0s", None),
            ("1500ms", None),
            ("soon", None),
        ] {
            assert_eq!(ttl(text).ok(), seconds, "{text}");
        }
    }
}
