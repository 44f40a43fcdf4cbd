//! What a client asks for: one value per classic command, borrowing from the connection's buffer.
//!
//! Must not know how the bytes were framed (`parse`, `grammar`) or what a command does.

use std::fmt;

use super::names;

/// A whole, well-formed command. Every key in it has 1 to 250 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command<'a> {
    /// `get` or `gets`: the values of these keys, in order, duplicates repeated, misses left out.
    Get {
        /// What to read.
        keys: Keys<'a>,
        /// Whether cas tokens are wanted (`gets`).
        with_cas: bool,
    },
    /// `gat` or `gats`: as get, and every hit gets a new expiry.
    GetAndTouch {
        /// The new exptime, as [`Expiry::from_exptime`](crate::entry::Expiry::from_exptime) reads it.
        exptime: i64,
        /// What to read and touch.
        keys: Keys<'a>,
        /// Whether cas tokens are wanted (`gats`).
        with_cas: bool,
    },
    /// `set`, `add`, `replace`, `append`, `prepend` or `cas`, with its whole data block.
    Store {
        /// Which of them.
        verb: StoreVerb,
        /// Where to keep it.
        key: &'a [u8],
        /// The client's flags; append and prepend ignore them.
        flags: u32,
        /// The exptime; append and prepend ignore it.
        exptime: i64,
        /// The data block without its CR LF.
        value: &'a [u8],
        /// Whether to keep silent whatever happens.
        quiet: bool,
    },
    /// `incr` or `decr`.
    Arithmetic {
        /// Up or down.
        direction: Direction,
        /// The number's key.
        key: &'a [u8],
        /// By how much.
        delta: u64,
        /// Whether to keep silent whatever happens.
        quiet: bool,
    },
    /// `touch`: a new expiry and nothing else.
    Touch {
        /// The item's key.
        key: &'a [u8],
        /// The new exptime.
        exptime: i64,
        /// Whether to keep silent whatever happens.
        quiet: bool,
    },
    /// `delete`.
    Delete {
        /// The item's key.
        key: &'a [u8],
        /// Whether to keep silent whatever happens.
        quiet: bool,
    },
    /// `flush_all`.
    FlushAll {
        /// When, as an exptime; absent, 0 and negative mean now.
        exptime: Option<i64>,
        /// Whether to keep silent whatever happens.
        quiet: bool,
    },
    /// `version`.
    Version,
    /// `verbosity`: accepted; the level changes nothing.
    Verbosity {
        /// Whether to keep silent.
        quiet: bool,
    },
    /// `stats`.
    Stats {
        /// The rest of the line as sent, without the spaces around it; empty for plain `stats`.
        arguments: &'a [u8],
    },
    /// `quit`: close once earlier replies are written, and ignore later bytes.
    Quit,
}

impl Command<'_> {
    /// Whether every reply to this command, errors included, is to be dropped (`noreply`).
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Store { quiet, .. }
            | Self::Arithmetic { quiet, .. }
            | Self::Touch { quiet, .. }
            | Self::Delete { quiet, .. }
            | Self::FlushAll { quiet, .. }
            | Self::Verbosity { quiet } => *quiet,
            Self::Get { .. } | Self::GetAndTouch { .. } | Self::Version | Self::Stats { .. } | Self::Quit => false,
        }
    }

    /// Whether it may change what is stored; gat does, because it makes a new version of every hit.
    pub fn is_write(&self) -> bool {
        match self {
            Self::GetAndTouch { .. }
            | Self::Store { .. }
            | Self::Arithmetic { .. }
            | Self::Touch { .. }
            | Self::Delete { .. }
            | Self::FlushAll { .. } => true,
            Self::Get { .. } | Self::Version | Self::Verbosity { .. } | Self::Stats { .. } | Self::Quit => false,
        }
    }
}

/// Which of the storage commands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StoreVerb {
    /// Always.
    Set,
    /// Only if the key has no item.
    Add,
    /// Only if the key has an item.
    Replace,
    /// After the bytes of the item there is.
    Append,
    /// Before the bytes of the item there is.
    Prepend,
    /// Only if the item still has this cas token; 0 is no item's token.
    Cas(u64),
}

impl StoreVerb {
    /// The command's name on the wire.
    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Self::Set => names::SET,
            Self::Add => names::ADD,
            Self::Replace => names::REPLACE,
            Self::Append => names::APPEND,
            Self::Prepend => names::PREPEND,
            Self::Cas(_) => names::CAS,
        }
    }
}

/// Up or down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// `incr`, modulo 2^64.
    Increase,
    /// `decr`, stopping at 0.
    Decrease,
}

/// The keys of one read, in request order: at least one, each of 1 to 250 bytes, checked when the line was read.
///
/// Borrows the line, so a get of 18,000 keys allocates nothing.
#[derive(Clone)]
pub struct Keys<'a> {
    line: &'a [u8],
    count: usize,
}

impl<'a> Keys<'a> {
    /// The tokens of `line`, which the caller has checked and counted.
    pub(super) fn of_checked_line(line: &'a [u8], count: usize) -> Self {
        Self { line, count }
    }

    /// Each key, duplicates repeated.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        tokens(self.line)
    }

    /// How many keys there are, duplicates counted; never 0.
    pub fn count(&self) -> usize {
        self.count
    }
}

impl PartialEq for Keys<'_> {
    /// Equal when the keys are: how many spaces stood between them means nothing.
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.iter().eq(other.iter())
    }
}

impl Eq for Keys<'_> {}

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|key| key.escape_ascii().to_string())).finish()
    }
}

/// The words of a line: split on SPACE only, runs of spaces count as one, spaces at either end for nothing.
pub(super) fn tokens(line: &[u8]) -> Tokens<'_> {
    Tokens { rest: line }
}

/// See [`tokens`].
#[derive(Clone)]
pub(super) struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    /// What has not been read yet, as sent.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let start = self.rest.iter().position(|&byte| byte != b' ')?;
        let rest = &self.rest[start..];
        let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
        self.rest = &rest[end..];
        Some(&rest[..end])
    }
}
