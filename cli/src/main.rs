//! The one binary `memring`: runs a node or a local cluster, and asks, changes and measures one.
//!
//! Only reads arguments and hands over; must not know how a node works (`memring_server`).

mod bench;
mod cluster;
mod completions;
mod delete;
mod drain;
mod flush;
mod get;
mod http;
mod json;
mod keys;
mod kubernetes;
mod level;
mod members;
mod memcached;
mod outcome;
mod prestop;
mod ring;
mod serve;
mod servers;
mod set;
mod stats;
mod status;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;

use crate::outcome::USAGE;

const EXAMPLES: &str = "\
Examples:
  memring cluster --nodes 3                     a local cluster, ready to use
  memring serve --name n1 -m 1g                 one node, 1 GB for items
  memring serve --name n2 --join host1          another one, which joins it
  memring memcached -m 1024 -I 2m               one node in memcached's place, with its options and defaults
  memring status                                how the cluster on this host is
  memring ring greeting                         who has a key, and why
  memring set greeting hello                    store a value, and
  memring get greeting                          show it
  memring flush --over 10m                      empty it bit by bit
  memring drain --server host2                  have a node leave, with all it holds
  memring bench --rate 20k --duration 1m        how fast it answers

Any memcached client works:
  printf 'set greeting 0 0 5\\r\\nhello\\r\\nget greeting\\r\\nquit\\r\\n' | nc 127.0.0.1 11211";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let called = arguments.next().unwrap_or_default();
    if Path::new(&called).file_name().is_some_and(|name| name == memcached::NAME) {
        return memcached::run(memcached::NAME, arguments.collect());
    }
    if std::env::args_os().nth(1).is_some_and(|word| word == memcached::NAME) {
        return memcached::run("memring memcached", arguments.skip(1).collect());
    }
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => return refuse(&error),
        // Help and version.
        Err(shown) => shown.exit(),
    };
    match matches.subcommand() {
        Some(("serve", matches)) => serve::run(matches),
        Some(("cluster", matches)) => cluster::run(matches),
        Some(("status", matches)) => status::run(matches),
        Some(("flush", matches)) => flush::run(matches),
        Some(("drain", matches)) => drain::run(matches),
        Some(("prestop", matches)) => prestop::run(matches),
        Some(("get", matches)) => get::run(matches),
        Some(("set", matches)) => set::run(matches),
        Some(("delete", matches)) => delete::run(matches),
        Some(("stats", matches)) => stats::run(matches),
        Some(("bench", matches)) => bench::run(matches),
        Some(("ring", matches)) => ring::run(matches),
        Some(("completions", matches)) => completions::run(matches),
        _ => ExitCode::from(USAGE),
    }
}

fn command() -> Command {
    Command::new("memring")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A distributed cache for any memcached client")
        .after_help(EXAMPLES)
        .subcommand_required(true)
        .subcommand(serve::command())
        .subcommand(memcached::command())
        .subcommand(cluster::command())
        .subcommand(status::command())
        .subcommand(flush::command())
        .subcommand(drain::command())
        .subcommand(prestop::command())
        .subcommand(get::command())
        .subcommand(set::command())
        .subcommand(delete::command())
        .subcommand(stats::command())
        .subcommand(bench::command())
        .subcommand(ring::command())
        .subcommand(completions::command())
}

/// To standard output. Whoever reads it may stop at any time (`memring status | head -1`): that is no failure of ours.
pub(crate) fn say(text: &str) {
    say_bytes(text.as_bytes());
}

/// The same with bytes that may be no text.
pub(crate) fn say_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// One line, whatever clap would say.
fn refuse(error: &clap::Error) -> ExitCode {
    let shown = error.to_string();
    let line = shown.lines().find(|line| !line.trim().is_empty()).unwrap_or("wrong arguments");
    eprintln!("memring: {} (see --help)", line.trim().trim_start_matches("error: "));
    ExitCode::from(USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_s_help_has_examples() {
        let mut command = command();
        command.build();
        command.clone().debug_assert();
        assert!(command.get_subcommands().count() >= 12);
        for command in command.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            let help = command.render_help().to_string();
            assert!(help.contains("Examples:\n"), "{}:\n{help}", command.get_name());
        }
    }
}
