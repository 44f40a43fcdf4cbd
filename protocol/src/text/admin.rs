//! The rare commands of operators, one line to a command.
//!
//! Must not know what they do. What has no meaning here (slab classes, the parts of an LRU) answers as memcached does
//! with that feature off. Words are matched whole: that memcached takes `lru_crawler m` for metadump is an accident of its
//! comparisons, and not copied.

use super::command::{Classes, Command, Crawler, ShutdownMode, Tokens, WatchKinds, tokens};
use super::error_reply::ErrorReply;
use super::grammar::Fallible;
use super::{names, number};
use crate::flush::FLUSH_OVER_MAX_S;

/// The longest `sleep` of the LRU crawler, in microseconds.
const CRAWLER_SLEEP_US_MAX: u32 = 1_000_000;

/// The largest sum of `lru tune`'s hot and warm shares, in percent.
const LRU_SHARES_MAX: u32 = 80;

/// The greatest `cache_memlimit`, in megabytes: whoever sends more means bytes.
const MEMORY_LIMIT_MB_MAX: u32 = 1_000_000_000;

/// The smallest `cache_memlimit`, in megabytes.
const MEMORY_LIMIT_MB_MIN: u32 = 8;

/// `verbosity <level>`
pub(super) fn verbosity(mut arguments: Tokens<'_>, quiet: bool) -> Fallible<Command<'_>> {
    let level = arguments.next().and_then(number::strict_u32);
    level.map(|_| Command::Accepted { quiet }).ok_or(ErrorReply::BadLineFormat)
}

/// `flush_over <seconds>`
pub(super) fn flush_over(mut arguments: Tokens<'_>, quiet: bool) -> Fallible<Command<'_>> {
    let seconds = arguments.next().and_then(number::strict_u32);
    let seconds = seconds.filter(|seconds| (1..=FLUSH_OVER_MAX_S).contains(seconds));
    seconds.map(|seconds| Command::FlushOver { seconds, quiet }).ok_or(ErrorReply::BadLineFormat)
}

/// `shutdown [graceful]`
pub(super) fn shutdown(mut arguments: Tokens<'_>, quiet: bool) -> Fallible<Command<'_>> {
    let mode = match (arguments.next(), arguments.next()) {
        (None, _) => Some(ShutdownMode::Immediate),
        (Some(names::GRACEFUL), None) => Some(ShutdownMode::Graceful),
        (Some(_), _) => None,
    };
    Ok(Command::Shutdown { mode, quiet })
}

/// `cache_memlimit <megabytes>`
pub(super) fn cache_memlimit(mut arguments: Tokens<'_>, quiet: bool) -> Fallible<Command<'_>> {
    let megabytes = arguments.next().and_then(number::strict_u32).ok_or(ErrorReply::Unknown)?;
    match megabytes {
        ..MEMORY_LIMIT_MB_MIN => Err(ErrorReply::MemoryLimitTooSmall),
        MEMORY_LIMIT_MB_MIN..=MEMORY_LIMIT_MB_MAX => Ok(Command::MemoryLimit { megabytes, quiet }),
        _ => Err(ErrorReply::MemoryLimitInBytes),
    }
}

/// `lru tune <hot share> <warm share> <hot factor> <warm factor>`; `lru mode` and `lru temp_ttl` are unknown where the
/// LRU is not kept in parts.
pub(super) fn lru(mut arguments: Tokens<'_>, quiet: bool) -> Fallible<Command<'_>> {
    let (Some(b"tune"), Some(hot), Some(warm), Some(hot_factor), Some(warm_factor)) =
        (arguments.next(), arguments.next(), arguments.next(), arguments.next(), arguments.next())
    else {
        return Err(ErrorReply::Unknown);
    };
    let shares = (number::strict_u32(hot), number::strict_u32(warm));
    let factors = (number::fraction(hot_factor), number::fraction(warm_factor));
    let ((Some(hot), Some(warm)), (Some(hot_factor), Some(warm_factor))) = (shares, factors) else {
        return Err(ErrorReply::Unknown);
    };
    if hot.wrapping_add(warm) > LRU_SHARES_MAX {
        return Err(ErrorReply::LruShares);
    }
    if hot_factor <= 0.0 || warm_factor <= 0.0 {
        return Err(ErrorReply::LruFactors);
    }
    Ok(Command::Accepted { quiet })
}

/// `slabs reassign <from> <to>`, `slabs automove …`
pub(super) fn slabs(mut arguments: Tokens<'_>, quiet: bool) -> Fallible<Command<'_>> {
    match (arguments.next(), arguments.clone().count()) {
        (Some(b"reassign"), 2) => Err(ErrorReply::ReassignDisabled),
        (Some(b"automove"), 1..) => automove(arguments).map(|()| Command::Accepted { quiet }),
        _ => Err(ErrorReply::Unknown),
    }
}

/// `automove 0|1|2`, `automove ratio|freeratio <fraction>`, `automove window <turns>`
fn automove(mut arguments: Tokens<'_>) -> Fallible<()> {
    match (arguments.next(), arguments.next()) {
        (Some(b"ratio" | b"freeratio"), ratio) => {
            ratio.and_then(number::fraction).map(|_| ()).ok_or(ErrorReply::Unknown)
        }
        (Some(b"window"), turns) => match turns.and_then(number::strict_u32) {
            Some(3..=1800) => Ok(()),
            Some(_) => Err(ErrorReply::AutomoveWindow),
            None => Err(ErrorReply::BadLineFormat),
        },
        (level, _) => match level.and_then(number::strict_u32) {
            Some(0..=2) => Ok(()),
            Some(_) => Err(ErrorReply::Unknown),
            None => Err(ErrorReply::BadLineFormat),
        },
    }
}

/// `lru_crawler <part> [<argument>]`. A noreply behind is one word too many, and silences what is said of it.
pub(super) fn lru_crawler(mut arguments: Tokens<'_>, quiet: bool) -> Fallible<Command<'_>> {
    let (part, argument) = (arguments.next(), arguments.next());
    if arguments.next().is_some() {
        return Err(ErrorReply::Unknown);
    }
    match (part, argument) {
        (Some(b"enable"), None) => Ok(Command::Crawler(Crawler::Enable)),
        (Some(b"disable"), None) => Ok(Command::Crawler(Crawler::Disable)),
        (Some(b"crawl"), Some(classes)) => {
            Classes::read(classes).map(|_| Command::Crawler(Crawler::Crawl)).ok_or(ErrorReply::BadClass)
        }
        // Wrong classes are told after all else that can be wrong with a dump.
        (Some(b"metadump"), Some(classes)) => Ok(Command::Crawler(Crawler::Metadump(Classes::read(classes)))),
        (Some(b"mgdump"), Some(classes)) => Ok(Command::Crawler(Crawler::Mgdump(Classes::read(classes)))),
        (Some(b"tocrawl"), Some(items)) => {
            number::strict_u32(items).map(|_| Command::Accepted { quiet }).ok_or(ErrorReply::BadLineFormat)
        }
        (Some(b"sleep"), Some(microseconds)) => match number::strict_u32(microseconds) {
            Some(0..=CRAWLER_SLEEP_US_MAX) => Ok(Command::Accepted { quiet }),
            Some(_) => Err(ErrorReply::CrawlerSleep),
            None => Err(ErrorReply::BadLineFormat),
        },
        _ => Err(ErrorReply::Unknown),
    }
}

/// `watch <kinds>`; reads of items if it names none. Takes no noreply.
pub(super) fn watch(arguments: Tokens<'_>) -> Fallible<Command<'_>> {
    let mut kinds = None;
    for word in arguments {
        let kind = match word {
            b"fetchers" => WatchKinds::FETCHERS,
            b"mutations" => WatchKinds::MUTATIONS,
            b"evictions" => WatchKinds::EVICTIONS,
            b"connevents" => WatchKinds::CONNEVENTS,
            b"deletions" => WatchKinds::DELETIONS,
            b"rawcmds" | b"sysevents" | b"proxyreqs" | b"proxyevents" | b"proxyuser" => WatchKinds::NONE,
            _ => return Err(ErrorReply::Unknown),
        };
        kinds = Some(kinds.unwrap_or(WatchKinds::NONE).with(kind));
    }
    Ok(Command::Watch(kinds.unwrap_or(WatchKinds::FETCHERS)))
}

/// `config get cluster`, that ElastiCache's clients send, and `config get ring`; `None` for anything else.
pub(super) fn config(rest: &[u8]) -> Option<Command<'static>> {
    let mut words = tokens(rest);
    match (words.next(), words.next(), words.next()) {
        (Some(b"get"), Some(b"cluster"), None) => Some(Command::ConfigGetCluster),
        (Some(b"get"), Some(b"ring"), None) => Some(Command::ConfigGetRing),
        _ => None,
    }
}
