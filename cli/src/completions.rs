//! `memring completions`: what a shell needs to complete memring's commands and flags.
//!
//! Must not know what the commands are: it is made from the same description as their help.

use std::process::ExitCode;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;

use crate::say_bytes;

pub(crate) fn command() -> Command {
    Command::new("completions")
        .about("Write completions for a shell")
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(PossibleValuesParser::new(["bash", "zsh", "fish"]))
                .help("Which shell"),
        )
        .after_help(
            "Examples:\n  memring completions bash > /etc/bash_completion.d/memring\n  \
             memring completions zsh > \"${fpath[1]}/_memring\"\n  \
             memring completions fish > ~/.config/fish/completions/memring.fish",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let shell = match matches.get_one::<String>("shell").map(String::as_str) {
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::command(), "memring", &mut script);
    say_bytes(&script);
    ExitCode::SUCCESS
}
