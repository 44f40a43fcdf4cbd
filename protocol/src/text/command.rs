//! What a client asks for: one value per classic command, borrowing from the connection's buffer.
//!
//! Must not know how the bytes were framed (`parse`, `grammar`) or what a command does.

use std::fmt;

use super::meta::{MetaKey, MetaRequest};
use super::{names, number};
use crate::message::StoreMode;

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
    /// `flush_over`, memring's own: all that is there now goes, partition by partition.
    FlushOver {
        /// Over how long: 1 to [`FLUSH_OVER_MAX_S`](crate::flush::FLUSH_OVER_MAX_S).
        seconds: u32,
        /// Whether to keep silent whatever happens.
        quiet: bool,
    },
    /// `version`.
    Version,
    /// `mg`.
    MetaGet(MetaRequest<'a>),
    /// `ms`, with its whole data block.
    MetaSet {
        /// Key and flags.
        request: MetaRequest<'a>,
        /// Its `M` flag; set by default.
        mode: StoreMode,
        /// The data block without its CR LF.
        value: &'a [u8],
    },
    /// `md`.
    MetaDelete(MetaRequest<'a>),
    /// `ma`.
    MetaArithmetic {
        /// Key and flags.
        request: MetaRequest<'a>,
        /// Its `M` flag; up by default.
        direction: Direction,
    },
    /// `me`: what is known of an item.
    MetaDebug {
        /// The item's key.
        key: MetaKey<'a>,
    },
    /// `mn`: answers `MN`, so that a client knows that all before it has been answered.
    MetaNoop,
    /// What means nothing here and is answered `OK`: verbosity, lru tune, slabs automove, lru_crawler sleep ….
    Accepted {
        /// Whether to keep silent.
        quiet: bool,
    },
    /// `cache_memlimit`.
    MemoryLimit {
        /// The new limit, 8 to 1,000,000,000.
        megabytes: u32,
        /// Whether to keep silent whatever happens.
        quiet: bool,
    },
    /// `lru_crawler`, but for its parts that are merely [`Command::Accepted`].
    Crawler(Crawler),
    /// `watch`: from now on the connection gets log lines.
    Watch(WatchKinds),
    /// `shutdown`.
    Shutdown {
        /// `None` for a word that is no mode, which matters only where shutdown is enabled.
        mode: Option<ShutdownMode>,
        /// Whether to keep silent if it is refused.
        quiet: bool,
    },
    /// `config get cluster`, as ElastiCache has it: who is in the cluster.
    ConfigGetCluster,
    /// `config get ring`, memring's own: the ring, so that a client places keys itself.
    ConfigGetRing,
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
            | Self::FlushOver { quiet, .. }
            | Self::Accepted { quiet }
            | Self::MemoryLimit { quiet, .. }
            | Self::Shutdown { quiet, .. } => *quiet,
            // The `q` of meta commands hides some of their answers only.
            Self::Get { .. }
            | Self::GetAndTouch { .. }
            | Self::MetaGet(_)
            | Self::MetaSet { .. }
            | Self::MetaDelete(_)
            | Self::MetaArithmetic { .. }
            | Self::MetaDebug { .. }
            | Self::MetaNoop
            | Self::Crawler(_)
            | Self::Watch(_)
            | Self::ConfigGetCluster
            | Self::ConfigGetRing
            | Self::Version
            | Self::Stats { .. }
            | Self::Quit => false,
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

/// Parts of `lru_crawler`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Crawler {
    /// `enable`.
    Enable,
    /// `disable`.
    Disable,
    /// `crawl <classes>|all`: reclaim what has expired.
    Crawl,
    /// `metadump all|hash|<classes>`: a line for each item. `None` for a word that names no classes.
    Metadump(Option<Classes>),
    /// `mgdump all|hash|<classes>`: an `mg` for each item. `None` for a word that names no classes.
    Mgdump(Option<Classes>),
}

/// Size classes, 1 to 63: those of a dump.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Classes(u64);

impl Classes {
    /// All that there may ever be.
    pub const ALL: Self = Self(u64::MAX);

    /// Reads `all`, `hash` or numbers with commas between them.
    pub fn read(word: &[u8]) -> Option<Self> {
        if word == b"all" || word == b"hash" {
            return Some(Self::ALL);
        }
        let mut classes = Self(0);
        for number in word.split(|&byte| byte == b',').filter(|number| !number.is_empty()) {
            let number = number::flags(number).filter(|number| (1..64).contains(number))?;
            classes.0 |= 1 << number;
        }
        Some(classes)
    }

    /// Whether this one is among them.
    pub fn has(self, class: u32) -> bool {
        self == Self::ALL || (class < 64 && self.0 & 1 << class != 0)
    }
}

/// How `shutdown` is to go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ShutdownMode {
    /// At once, as by SIGINT.
    Immediate,
    /// `graceful`, as by SIGTERM.
    Graceful,
}

/// Which events a watcher is told: the words of `watch`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct WatchKinds(u8);

impl WatchKinds {
    /// Reads of items.
    pub const FETCHERS: Self = Self(1);
    /// Writes of items.
    pub const MUTATIONS: Self = Self(1 << 1);
    /// Items dropped for room.
    pub const EVICTIONS: Self = Self(1 << 2);
    /// Connections that come and go.
    pub const CONNEVENTS: Self = Self(1 << 3);
    /// Items deleted by clients.
    pub const DELETIONS: Self = Self(1 << 4);
    /// Nothing: what `watch` knows beside these never happens here.
    pub const NONE: Self = Self(0);

    /// Both.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// As bits, for an atomic that threads share.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// From [`WatchKinds::bits`]; unknown bits are dropped.
    pub fn from_bits(bits: u8) -> Self {
        Self(bits & 0b1_1111)
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
    /// Cut already, since most reads have one key only.
    first: &'a [u8],
    /// What follows it.
    line: &'a [u8],
    count: usize,
}

impl<'a> Keys<'a> {
    /// A key that the caller has checked.
    pub(super) fn one(first: &'a [u8]) -> Self {
        Self { first, line: &[], count: 1 }
    }

    /// A key and the tokens of `line`, all of which the caller has checked, and counted together.
    pub(super) fn of_checked_line(first: &'a [u8], line: &'a [u8], count: usize) -> Self {
        Self { first, line, count }
    }

    /// Each key, duplicates repeated.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        std::iter::once(self.first).chain(tokens(self.line))
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

#[cfg(test)]
mod tests {
    use super::Classes;

    #[test]
    fn classes_are_read_as_memcached_reads_them() {
        for (word, has) in [
            ("all", Some(&[1, 5, 63, 64, 1000][..])),
            ("hash", Some(&[1, 5, 63, 64, 1000][..])),
            ("5", Some(&[5][..])),
            ("1,63", Some(&[1, 63][..])),
            ("0", None),
            ("64", None),
            ("1,x", None),
            ("2-3", None),
            ("-1", None),
        ] {
            let among = |classes: Classes| [1, 5, 63, 64, 1000].into_iter().filter(move |&class| classes.has(class));
            let found = Classes::read(word.as_bytes()).map(|classes| Vec::from_iter(among(classes)));
            assert_eq!(found.as_deref(), has, "{word}");
        }
    }
}
