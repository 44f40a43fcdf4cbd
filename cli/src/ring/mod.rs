//! `memring ring`: how evenly a ring is dealt out, and who has a key and why.
//!
//! Places keys with the servers' own code (`memring_client::Ring`). Must not know how members find out about each other.
//!
//! ```text
//! evenness  the share of each member, and how far shares are from fair
//! owners    the homes of a key, in their order
//! ```

mod evenness;
mod owners;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use memring_client::{MemberState, Ring};

use self::evenness::Evenness;
use self::owners::Owners;
use crate::outcome::{self, Failure};
use crate::{json, keys, say, servers};

pub(crate) fn command() -> Command {
    Command::new("ring")
        .about("Show how evenly a ring is dealt out, or who has a key")
        .arg(
            Arg::new(keys::KEY)
                .value_name("KEY")
                .value_parser(value_parser!(OsString))
                .help("Show who has this key, in the ring's order, and why [the shares of all members]"),
        )
        .arg(servers::argument())
        .arg(json::argument("One object: the members with their shares, or the key's homes"))
        .after_help(
            "A member's fair share of the copies goes by its weight. Zones come before evenness: a small zone has a copy of\n\
             as much as a large one. Where there are no more members than copies, every member has all, and only first\n\
             homes tell something.\n\n\
             Examples:\n  memring ring\n  memring ring greeting\n  memring ring user:17 --server memring-0:11211 --json",
        )
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    outcome::of(ring(matches))
}

async fn ring(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let keys = keys::of(matches)?;
    let told = servers::first_of(matches, async |connection| connection.ring().await).await?;
    let Some(told) = told else { return Err(Failure::Failed("that node is in no ring yet".to_owned())) };
    let ring = Ring::of(told, None);
    let as_json = json::is_wanted(matches);
    let paint = Paint::of_standard_output();
    say(&match keys.first() {
        Some(key) => {
            let owners = Owners::of(&ring, key);
            if as_json { owners.json() } else { owners.text(paint) }
        }
        None => {
            let evenness = Evenness::of(&ring);
            if as_json { evenness.json() } else { evenness.text(paint) }
        }
    });
    Ok(ExitCode::SUCCESS)
}

/// Colours, where they are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Paint {
    on: bool,
}

impl Paint {
    /// On a terminal, unless its user wants none (no-color.org).
    fn of_standard_output() -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
        Self { on: std::io::stdout().is_terminal() && !unwanted }
    }

    fn yellow(self, text: &str) -> String {
        self.coloured("33", text)
    }

    fn red(self, text: &str) -> String {
        self.coloured("31", text)
    }

    fn state(self, state: MemberState, text: &str) -> String {
        match state {
            MemberState::Alive => text.to_owned(),
            MemberState::Failed => self.red(text),
            MemberState::Suspect | MemberState::Restarting | MemberState::Unknown => self.yellow(text),
        }
    }

    fn coloured(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use memring_client::{Ring, read_ring_text};

    use super::Paint;

    pub(super) const PLAIN: Paint = Paint { on: false };
    pub(super) const COLOURED: Paint = Paint { on: true };

    /// A ring of members as `name zone weight standing state synced`, with so many copies.
    pub(super) fn ring(replicas: usize, members: &[&str]) -> Ring {
        let mut text = format!("1\nring id=00000000000000ab epoch=7 replicas={replicas} vnodes=256 cluster=memring\n");
        for (number, member) in members.iter().enumerate() {
            let words: Vec<&str> = member.split(' ').collect();
            let [name, zone, weight, standing, state, synced] = words[..] else { panic!("{member}") };
            text += &format!(
                "member name={name} slot={} zone={} weight={weight} standing={standing} client=10.0.0.{number}:11211 \
                 state={state} synced={synced}\n",
                number + 1,
                zone.trim_matches('-'),
            );
        }
        Ring::of(read_ring_text(text.as_bytes()).expect("legal").expect("a ring"), None)
    }

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!((PLAIN.red("x"), COLOURED.red("x")), ("x".to_owned(), "\x1b[31mx\x1b[0m".to_owned()));
    }
}
