//! Splits arguments into options as memcached's own reading of them does (getopt_long of the GNU C library).
//!
//! Flags in a cluster (`-vM`), values glued or in the next word, any unambiguous beginning of a long option, words that
//! are no options in between, and `--`, behind which there are none. Must not know what an option means.

use std::collections::VecDeque;

use super::UsageError;
use super::table::{ROWS, Row, Takes};

/// One option as it was found.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) row: &'static Row,
    /// The flag as it was written, a long one in full.
    pub(super) flag: String,
    /// Its value without the spaces before it: charts write `-m 8192` in one word. Empty if there is none.
    pub(super) value: &'a str,
}

impl Found<'_> {
    /// Flag and value as in a command line, to name them in an error.
    pub(super) fn written(&self) -> String {
        match self.row.takes {
            Takes::Value(_) => format!("{} {}", self.flag, self.value),
            Takes::Nothing | Takes::Perhaps => self.flag.clone(),
        }
    }
}

/// Goes through the arguments, one option at a time, so that `-h` shows the help whatever stands behind it.
pub(super) struct Options<'a> {
    words: VecDeque<&'a str>,
    /// What is left of a word of short flags.
    cluster: &'a str,
}

impl<'a> Options<'a> {
    pub(super) fn new(arguments: &'a [String]) -> Self {
        Self { words: arguments.iter().map(String::as_str).collect(), cluster: "" }
    }

    fn long(&mut self, word: &'a str) -> Result<Found<'a>, UsageError> {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let row = long_row(name)?;
        let flag = format!("--{}", row.long);
        let value = match (row.takes, value) {
            (Takes::Nothing, Some(_)) => return Err(UsageError::unknown(format!("{flag}: takes no value"))),
            (Takes::Nothing, None) | (Takes::Perhaps, _) => "",
            (Takes::Value(_), Some(value)) => value,
            (Takes::Value(name), None) => self.words.pop_front().ok_or_else(|| missing(&flag, name))?,
        };
        Ok(Found { row, flag, value: trim(value) })
    }

    fn short(&mut self, letter: char) -> Result<Found<'a>, UsageError> {
        let flag = format!("-{letter}");
        let row = ROWS.iter().find(|row| row.letter == letter);
        let row = row.ok_or_else(|| UsageError::unknown(format!("{flag}: no such option (see -h)")))?;
        let value = match row.takes {
            Takes::Nothing | Takes::Perhaps => "",
            Takes::Value(_) if !self.cluster.is_empty() => std::mem::take(&mut self.cluster),
            Takes::Value(name) => self.words.pop_front().ok_or_else(|| missing(&flag, name))?,
        };
        Ok(Found { row, flag, value: trim(value) })
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<Found<'a>, UsageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(letter) = self.cluster.chars().next() {
                self.cluster = &self.cluster[letter.len_utf8()..];
                return Some(self.short(letter));
            }
            match self.words.pop_front()? {
                "--" => return None,
                word if word.starts_with("--") => return Some(self.long(&word[2..])),
                // "-" alone, like any word without a dash, is no option, and memcached has no use for it.
                word => self.cluster = word.strip_prefix('-').unwrap_or_default(),
            }
        }
    }
}

fn long_row(name: &str) -> Result<&'static Row, UsageError> {
    let named = || ROWS.iter().filter(|row| !row.long.is_empty());
    if let Some(row) = named().find(|row| row.long == name) {
        return Ok(row);
    }
    let beginnings: Vec<&Row> = named().filter(|row| row.long.starts_with(name)).collect();
    match *beginnings.as_slice() {
        [row] => Ok(row),
        [] => Err(UsageError::unknown(format!("--{name}: no such option (see -h)"))),
        _ => {
            let names: Vec<String> = beginnings.iter().map(|row| format!("--{}", row.long)).collect();
            Err(UsageError::unknown(format!("--{name}: could be {}", names.join(", "))))
        }
    }
}

fn missing(flag: &str, value: &str) -> UsageError {
    UsageError::unknown(format!("{flag}: a value is missing: {flag} {value}"))
}

fn trim(value: &str) -> &str {
    value.trim_start_matches(super::numbers::is_space)
}
