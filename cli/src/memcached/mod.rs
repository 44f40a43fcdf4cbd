//! `memring memcached`, and the binary when it is called memcached: memcached's own options and defaults.
//!
//! So that a memring node can take memcached's place under a chart, a unit file or a script that starts it. Here are the
//! effects: what is printed, who runs it, how it ends. Must not know what an option means.
//!
//! ```text
//! table, extended   the options and those of -o      getopt    how they are split
//! translate         what they mean                   limits    what they mean together
//! numbers, listen   how values are written           help      what -h prints
//! ```

mod extended;
mod getopt;
mod help;
mod limits;
mod listen;
mod numbers;
mod table;
mod translate;

use std::ffi::OsString;
use std::net::{Ipv6Addr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use memring_server::config;

use self::translate::{Asked, Translation, translate};

/// The name under which the binary behaves as memcached.
pub(crate) const NAME: &str = "memcached";

/// Why arguments make no sense: one line.
#[derive(Clone, PartialEq, Eq, Debug)]
struct UsageError {
    line: String,
    code: u8,
}

impl UsageError {
    /// An option that memcached does not have, or without its value: memcached's exit code for it.
    fn unknown(line: String) -> Self {
        Self { line, code: 1 }
    }

    /// A value that cannot be, or what memring refuses.
    fn value(line: String) -> Self {
        Self { line, code: crate::USAGE }
    }
}

/// For the list of subcommands and `memring help memcached`: the arguments never get to clap.
pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Run a node with memcached's own options and defaults")
        .override_help(help::help().trim_end().to_owned())
}

/// Runs a node, or says why not, in the name of `program`.
pub(crate) fn run(program: &str, arguments: Vec<OsString>) -> ExitCode {
    match start(program, arguments) {
        Ok(code) => code,
        Err(UsageError { line, code }) => {
            eprintln!("{program}: {line}");
            ExitCode::from(code)
        }
    }
}

fn start(program: &str, arguments: Vec<OsString>) -> Result<ExitCode, UsageError> {
    let translation = match translate(&readable(arguments)?)? {
        Asked::Help => return Ok(say(&help::help())),
        Asked::License => return Ok(say(help::LICENSE)),
        Asked::Version => return Ok(say(&help::version())),
        Asked::Serve(translation) => translation,
    };
    let Translation { meant, warnings, user, pid_file } = translation;
    let pid_file = pid_file.map(Into::into);
    let config = config::from_memcached(&meant, all_addresses(), pid_file);
    let config = config.map_err(|error| UsageError::value(error.to_string()))?;
    for warning in warnings {
        eprintln!("{program}: {warning}");
    }
    if let Some(user) = user.filter(|user| !["", "root"].contains(&user.as_str()) && is_root()) {
        eprintln!("{program}: -u {user}: stays root: memring does not change users");
    }
    Ok(memring_server::serve(&config))
}

fn say(text: &str) -> ExitCode {
    crate::say(text);
    ExitCode::SUCCESS
}

fn readable(arguments: Vec<OsString>) -> Result<Vec<String>, UsageError> {
    let text = |argument: OsString| {
        argument.into_string().map_err(|raw| UsageError::value(format!("{}: not UTF-8", raw.to_string_lossy())))
    };
    arguments.into_iter().map(text).collect()
}

/// Every address of this host, of both families where there are both.
fn all_addresses() -> &'static str {
    if UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok() { "0.0.0.0,::" } else { "0.0.0.0" }
}

fn is_root() -> bool {
    Path::new("/proc/self").metadata().is_ok_and(|process| process.uid() == 0)
}

#[cfg(test)]
mod tests;
