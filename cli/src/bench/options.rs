//! What `memring bench` is told, checked: a [`Plan`] that exists can be carried out.
//!
//! Must not know how.

use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use memring_server::config;

use super::keys::{Distribution, KEYS_MAX};
use super::values::Sizes;
use crate::{json, servers};

/// The longest load.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The most connections of a load, and threads.
const CONNECTIONS_MAX: u64 = 10_000;
const THREADS_MAX: u64 = 64;

/// The deepest pipeline: what one connection may have on its way.
const PIPELINE_MAX: u64 = super::connection::WAITING_MAX as u64;

/// The most keys of a get.
const KEYS_PER_GET_MAX: u64 = 1000;

/// The highest rate: one request a nanosecond would not be told from the next.
const RATE_MAX: u64 = 100_000_000;

/// The longest prefix of keys: with its number a key has up to 250 bytes.
const PREFIX_BYTES_MAX: usize = 200;

/// Exponents of Zipf's law.
const EXPONENT_MIN: f64 = 0.01;
const EXPONENT_MAX: f64 = 10.0;
const EXPONENT_DEFAULT: f64 = 0.99;

/// How requests follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Loop {
    /// A reply makes room for the next request.
    Closed {
        /// Requests on their way on a connection.
        pipeline: usize,
    },
    /// Requests a second, whatever the replies.
    Open {
        /// Of all threads together.
        rate: u64,
    },
}

/// When a load is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Length {
    /// After this time.
    For(Duration),
    /// After so many requests.
    Operations(u64),
}

/// A load.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Plan {
    pub(super) servers: Vec<String>,
    pub(super) keys: u64,
    pub(super) prefix: String,
    pub(super) distribution: Distribution,
    pub(super) sizes: Sizes,
    pub(super) gets: u32,
    pub(super) sets: u32,
    pub(super) keys_per_get: u16,
    pub(super) ttl_s: u32,
    pub(super) connections: usize,
    pub(super) threads: usize,
    pub(super) requests: Loop,
    pub(super) length: Length,
    pub(super) warm_up: Duration,
    pub(super) fill: bool,
    pub(super) patience: Duration,
    pub(super) seed: u64,
    pub(super) as_json: bool,
}

pub(super) fn command() -> Command {
    let value = |name: &'static str, shown: &'static str, default: &'static str, help: &'static str| {
        let argument = Arg::new(name).long(name).value_name(shown).help(help);
        if default.is_empty() { argument } else { argument.default_value(default) }
    };
    Command::new("bench")
        .about("Put load on servers and time their answers")
        .arg(servers::argument().help("Client ports; connections are dealt over them in turn"))
        .arg(value("keys", "NUMBER", "100k", "How many keys there are"))
        .arg(value("prefix", "TEXT", "bench:", "What keys begin with; a number of ten digits follows"))
        .arg(value("distribution", "HOW", "zipf", "Which key is asked for: uniform, zipf or zipf:EXPONENT (0.99)"))
        .arg(value("value-size", "SIZE", "100", "Bytes of a value: SIZE, a range FROM..TO, or SIZE:WEIGHT,…"))
        .arg(value("ratio", "GETS:SETS", "9:1", "So many gets come with so many sets"))
        .arg(value("multi-get", "NUMBER", "1", "Keys a get asks for"))
        .arg(value("ttl", "TIME", "", "Let what is set expire after this time, 1s to 720h [never]"))
        .arg(value("connections", "NUMBER", "16", "Connections, of all threads and to all servers together"))
        .arg(value("threads", "NUMBER", "1", "Threads"))
        .arg(value("pipeline", "NUMBER", "1", "Closed loop: requests that wait on each connection"))
        .arg(value("rate", "NUMBER", "", "Open loop: requests a second, whatever the replies [closed loop]"))
        .arg(value("duration", "TIME", "10s", "How long, after the warm-up").conflicts_with("operations"))
        .arg(value("operations", "NUMBER", "", "How many requests, after the warm-up [--duration]"))
        .arg(value("warm-up", "TIME", "1s", "How long what happens does not count yet"))
        .arg(
            Arg::new("fill").long("fill").action(ArgAction::SetTrue).help("Set every key once before, on every server"),
        )
        .arg(value("timeout", "TIME", "5s", "How long a reply may take before its connection is made anew"))
        .arg(value("seed", "NUMBER", "1", "The same seed, the same requests on each connection"))
        .arg(json::argument("One object at the end: what was asked, counts, latencies, a series by seconds"))
        .after_help(EXAMPLES)
}

const EXAMPLES: &str = "\
Closed loop: each connection sends its next request when a reply has come; a slow server slows the load down, and is asked
little while it is slow. Open loop (--rate): requests are due at even distances, sent then whatever the replies, and timed
from when they were due, so that one stall shows in all requests that it delayed (coordinated omission). Both times are
told. What fails is counted by kind, and not timed. Ctrl-C ends a load and tells what was measured.

Examples:
  memring bench --fill                                        16 connections, as fast as they answer
  memring bench --rate 20k --duration 1m --json > run.json    20,000 requests a second for a minute
  memring bench --pipeline 32 --threads 2 --connections 64    how much a server can do at most
  memring bench --ratio 1:0 --multi-get 100 --value-size 4k --distribution uniform
  memring bench --server memcached-0:11211,memcached-1:11211 --value-size 100:70,1k:20,10k:10";

impl Plan {
    /// What the flags say; an error names the flag and its value.
    pub(super) fn from_arguments(matches: &ArgMatches) -> Result<Self, String> {
        let flags = Flags(matches);
        let servers: Vec<String> =
            flags.text("server").split(',').map(str::trim).filter(|s| !s.is_empty()).map(servers::with_port).collect();
        let (gets, sets) = flags.read("ratio", ratio)?;
        let connections = flags.read("connections", |text| count(text, 1, CONNECTIONS_MAX))? as usize;
        let threads = flags.read("threads", |text| count(text, 1, THREADS_MAX))? as usize;
        let plan = Self {
            keys: flags.read("keys", |text| count(text, 1, KEYS_MAX))?,
            prefix: flags.read("prefix", prefix)?,
            distribution: flags.read("distribution", distribution)?,
            sizes: flags.read("value-size", Sizes::parse)?,
            gets,
            sets,
            keys_per_get: flags.read("multi-get", |text| count(text, 1, KEYS_PER_GET_MAX))? as u16,
            ttl_s: flags.given("ttl", ttl)?.unwrap_or(0),
            requests: requests(&flags)?,
            length: length(&flags)?,
            warm_up: flags.read("warm-up", time)?,
            fill: matches.get_flag("fill"),
            patience: flags.read("timeout", time)?,
            seed: flags.read("seed", |text| count(text, 0, u64::MAX))?,
            as_json: json::is_wanted(matches),
            servers,
            connections,
            threads,
        };
        plan.check()
    }

    fn check(self) -> Result<Self, String> {
        if self.servers.is_empty() {
            return Err("--server: no server is named".to_owned());
        }
        if self.connections < self.servers.len() || self.connections < self.threads {
            let (connections, servers, threads) = (self.connections, self.servers.len(), self.threads);
            return Err(format!(
                "--connections {connections}: fewer than {}",
                if connections < servers { format!("{servers} servers") } else { format!("--threads {threads}") }
            ));
        }
        if self.patience.is_zero() {
            return Err("--timeout 0s: expected more than nothing".to_owned());
        }
        Ok(self)
    }
}

/// The flags by their names.
struct Flags<'a>(&'a ArgMatches);

impl Flags<'_> {
    fn text(&self, name: &str) -> &str {
        self.0.get_one::<String>(name).map_or("", String::as_str)
    }

    fn is_given(&self, name: &str) -> bool {
        self.0.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
    }

    fn read<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, String> {
        let text = self.text(name);
        parse(text).map_err(|why| format!("--{name} {text}: {why}"))
    }

    fn given<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        if self.is_given(name) { self.read(name, parse).map(Some) } else { Ok(None) }
    }
}

fn requests(flags: &Flags<'_>) -> Result<Loop, String> {
    let pipeline = flags.read("pipeline", |text| count(text, 1, PIPELINE_MAX))? as usize;
    match flags.given("rate", |text| count(text, 1, RATE_MAX))? {
        Some(_) if flags.is_given("pipeline") => {
            Err(format!("--pipeline {pipeline}: --rate does not wait for replies"))
        }
        Some(rate) => Ok(Loop::Open { rate }),
        None => Ok(Loop::Closed { pipeline }),
    }
}

fn length(flags: &Flags<'_>) -> Result<Length, String> {
    if let Some(operations) = flags.given("operations", |text| count(text, 1, u64::MAX))? {
        return Ok(Length::Operations(operations));
    }
    let length = flags.read("duration", time)?;
    if length.is_zero() { Err("--duration 0s: expected more than nothing".to_owned()) } else { Ok(Length::For(length)) }
}

/// A whole number; k, m and g stand for thousands, millions and milliards.
fn count(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1000),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1_000_000),
        Some(b'g' | b'G') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| match max {
        u64::MAX => format!("expected a whole number, {min} or more"),
        _ => format!("expected a whole number from {min} to {max}"),
    })
}

fn time(text: &str) -> Result<Duration, String> {
    let time = config::duration(text)?;
    if time <= DURATION_MAX { Ok(time) } else { Err("the longest is 24h".to_owned()) }
}

fn ttl(text: &str) -> Result<u32, String> {
    let time = config::duration(text)?;
    let seconds = u32::try_from(time.as_secs()).ok().filter(|seconds| (1..=30 * 24 * 60 * 60).contains(seconds));
    seconds.filter(|_| time.subsec_nanos() == 0).ok_or_else(|| "expected whole seconds, from 1s to 720h".to_owned())
}

fn ratio(text: &str) -> Result<(u32, u32), String> {
    let parts = text.split_once(':').and_then(|(gets, sets)| Some((gets.parse().ok()?, sets.parse().ok()?)));
    parts.filter(|parts| *parts != (0, 0)).ok_or_else(|| "expected GETS:SETS, such as 9:1 or 1:0".to_owned())
}

fn prefix(text: &str) -> Result<String, String> {
    let is_legal = text.len() <= PREFIX_BYTES_MAX && text.bytes().all(|byte| byte > b' ' && byte != 0x7f);
    if is_legal { Ok(text.to_owned()) } else { Err(format!("expected up to {PREFIX_BYTES_MAX} bytes without spaces")) }
}

fn distribution(text: &str) -> Result<Distribution, String> {
    let exponent = match text.split_once(':') {
        None if text == "uniform" => return Ok(Distribution::Uniform),
        None if text == "zipf" => Some(EXPONENT_DEFAULT),
        Some(("zipf", exponent)) => exponent.parse().ok(),
        _ => return Err("expected uniform, zipf or zipf:EXPONENT".to_owned()),
    };
    exponent
        .filter(|exponent| (EXPONENT_MIN..=EXPONENT_MAX).contains(exponent))
        .map(|exponent| Distribution::Zipf { exponent })
        .ok_or_else(|| format!("expected an exponent from {EXPONENT_MIN} to {EXPONENT_MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(words: &str) -> Result<Plan, String> {
        let words = std::iter::once("bench").chain(words.split_whitespace());
        Plan::from_arguments(&command().try_get_matches_from(words).map_err(|error| error.to_string())?)
    }

    #[test]
    fn nothing_said_is_a_load_of_its_own() {
        let plan = plan("").expect("a plan");
        assert_eq!((plan.keys, plan.gets, plan.sets, plan.keys_per_get), (100_000, 9, 1, 1));
        assert_eq!((plan.connections, plan.threads, plan.requests), (16, 1, Loop::Closed { pipeline: 1 }));
        assert_eq!(plan.length, Length::For(Duration::from_secs(10)));
        assert_eq!((plan.distribution, plan.sizes), (Distribution::Zipf { exponent: 0.99 }, Sizes::Fixed(100)));
        assert_eq!(plan.servers, ["127.0.0.1:11211"]);
    }

    #[test]
    fn flags_make_a_plan() {
        let plan = plan(
            "--server a,b:1 --rate 20k --operations 1m --distribution zipf:1.2 --ratio 1:0 --multi-get 100 --ttl 10m \
             --keys 5m --seed 9 --threads 2 --connections 8 --warm-up 0s --fill --json",
        );
        let plan = plan.expect("a plan");
        assert_eq!((plan.requests, plan.length), (Loop::Open { rate: 20_000 }, Length::Operations(1_000_000)));
        assert_eq!(plan.servers, ["a:11211", "b:1"]);
        assert_eq!((plan.distribution, plan.ttl_s, plan.keys), (Distribution::Zipf { exponent: 1.2 }, 600, 5_000_000));
        assert!(plan.fill && plan.as_json && plan.warm_up.is_zero());
    }

    #[test]
    fn a_wrong_flag_is_one_line() {
        for (words, line) in [
            ("--keys 0", "--keys 0: expected a whole number from 1 to 10000000000"),
            ("--ratio 9", "--ratio 9: expected GETS:SETS, such as 9:1 or 1:0"),
            ("--ratio 0:0", "--ratio 0:0: expected GETS:SETS, such as 9:1 or 1:0"),
            ("--distribution zipf:0", "--distribution zipf:0: expected an exponent from 0.01 to 10"),
            ("--distribution even", "--distribution even: expected uniform, zipf or zipf:EXPONENT"),
            ("--value-size 9..1", "--value-size 9..1: the range is empty"),
            ("--duration 0s", "--duration 0s: expected more than nothing"),
            ("--duration 25h", "--duration 25h: the longest is 24h"),
            ("--rate 1k --pipeline 2", "--pipeline 2: --rate does not wait for replies"),
            ("--connections 1 --threads 2", "--connections 1: fewer than --threads 2"),
            ("--connections 1 --server a,b", "--connections 1: fewer than 2 servers"),
            ("--ttl 800h", "--ttl 800h: expected whole seconds, from 1s to 720h"),
            ("--server ,", "--server: no server is named"),
            ("--timeout 0s", "--timeout 0s: expected more than nothing"),
            ("--seed x", "--seed x: expected a whole number, 0 or more"),
        ] {
            assert_eq!(plan(words).map(|_| ()), Err(line.to_owned()), "{words}");
        }
        assert!(plan("--duration 1s --operations 5").is_err());
    }
}
