//! What `-h`, `-V` and `-i` print.
//!
//! Must not know what options do beyond their rows in the table.

use std::fmt::Write as _;

use memring_server::MEMCACHED_VERSION;

use super::extended;
use super::table::{Fate, ROWS, Row, Takes};

/// Scripts look for memcached's name and a number: the same that the server tells its clients.
pub(super) fn version() -> String {
    format!("memcached {MEMCACHED_VERSION} (memring {})\n", env!("CARGO_PKG_VERSION"))
}

pub(super) const LICENSE: &str = concat!(
    "memring ",
    env!("CARGO_PKG_VERSION"),
    ", licensed under either of MIT or Apache-2.0, at your option\n\n",
    include_str!("../../../LICENSE-MIT"),
);

const INTRODUCTION: &str = "\
A memring node that is started like memcached 1.6.45 and has memcached's defaults.

Usage: memring memcached [OPTIONS]
       memcached [OPTIONS]               where the binary, or a link to it, is called memcached

Flag and value may stand in one word (\"-m 8192\", -m8192, --memory-limit=8192), flags without a value together (-vM).
";

const ENDING: &str = "\
It is alone, with one copy of each item, and its peer and admin ports are any free ones of 127.0.0.1, until MEMRING_JOIN
names other nodes (or join does in the file that MEMRING_CONFIG names). Then it is one of a cluster: MEMRING_NAME,
MEMRING_REPLICAS [3], MEMRING_PEER_PORT [11212], MEMRING_ADMIN_PORT [11213] and so on, as in memring serve --help. What
is given here wins over the environment, and that over the file.

Examples:
  memring memcached -m 1024 -I 2m -c 4096
  memring memcached \"-m 8192\" \"-I 5m\" \"-c 16384\" --extended=modern,track_sizes
  MEMRING_JOIN=memring-headless memring memcached -m 4096
";

/// The whole help.
pub(super) fn help() -> String {
    let (ignored, refused) = extended::names();
    let mut text = INTRODUCTION.to_owned();
    section(&mut text, "What has an effect:", Fate::Honoured, &[]);
    section(&mut text, "Taken without an effect, with a warning where it may be missed:", Fate::Ignored, &ignored);
    section(&mut text, "Refused:", Fate::Refused, &refused);
    let _ = write!(text, "\n{ENDING}");
    text
}

fn section(text: &mut String, title: &str, fate: Fate, suboptions: &[&str]) {
    let _ = writeln!(text, "\n{title}");
    for row in ROWS.iter().filter(|row| row.fate == fate) {
        let _ = writeln!(text, "  {:<38} {}", flags(row), row.help);
    }
    let mut line = "  -o".to_owned();
    for (index, name) in suboptions.iter().enumerate() {
        if line.len() + name.len() + 2 > WIDTH {
            let _ = writeln!(text, "{line}");
            line = "    ".to_owned();
        }
        let _ = write!(line, " {name}{}", if index + 1 < suboptions.len() { "," } else { "" });
    }
    if !suboptions.is_empty() {
        let _ = writeln!(text, "{line}");
    }
}

const WIDTH: usize = 118;

/// Both ways to write an option, with its value.
fn flags(row: &Row) -> String {
    let (letter, long) = (row.letter, row.long);
    match row.takes {
        Takes::Value(name) if long.is_empty() => format!("-{letter} {name}"),
        Takes::Value(name) => format!("-{letter}, --{long}={name}"),
        Takes::Nothing | Takes::Perhaps => format!("-{letter}, --{long}"),
    }
}
