//! One command line, without its line end, to a command: names, arguments, noreply, and which error is due.
//!
//! Must not know where a line starts and ends in the stream or whether its data block has arrived: that is `parse`.
//! Here a command's name is looked up; the flags of meta commands are read in `flags`, the
//! rare commands in `admin`.

use super::command::{Command, Direction, Keys, StoreVerb, Tokens, tokens};
use super::error_reply::ErrorReply;
use super::flags::{self, Wrong};
use super::meta::{MetaKey, MetaRequest};
use super::{admin, names, number};
use crate::key::KEY_BYTES_MAX;
use crate::message::StoreMode;

/// What a line says.
pub(super) enum Statement<'a> {
    /// A command that is complete with its line.
    Whole(Command<'a>),
    /// A storage command; its data block follows the line.
    Block(StoreLine<'a>),
    /// A malformed command.
    Fault(Fault),
    /// A web browser or scanner: to be closed without a word.
    Http,
}

/// A well-formed storage line.
pub(super) struct StoreLine<'a> {
    pub(super) what: StoreWhat<'a>,
    /// Bytes of the value, without the CR LF that follows it.
    pub(super) value_len: usize,
}

/// A storage command without its value.
pub(super) enum StoreWhat<'a> {
    Classic { verb: StoreVerb, key: &'a [u8], flags: u32, exptime: i64, quiet: bool },
    Meta { request: MetaRequest<'a>, mode: StoreMode },
}

impl<'a> StoreWhat<'a> {
    /// Its key, whether its old value goes if the new one is not received, and whether nobody is to be told.
    pub(super) fn if_refused(&self) -> (MetaKey<'a>, bool, bool) {
        match self {
            Self::Classic { verb, key, quiet, .. } => (MetaKey::plain(key), *verb == StoreVerb::Set, *quiet),
            Self::Meta { request, .. } => (request.key(), true, false),
        }
    }
}

/// A malformed command.
pub(super) struct Fault {
    pub(super) error: ErrorReply,
    /// Bytes after the line that belong to it: its data block with CR LF, when its length was readable.
    pub(super) swallow: usize,
    pub(super) quiet: bool,
}

/// A fault but for its noreply, which the caller knows.
pub(super) type Fallible<T> = Result<T, ErrorReply>;

/// Reads a line. A leading space makes the name empty, and an empty name is no command.
pub(super) fn read_line(line: &[u8]) -> Statement<'_> {
    // Names are short: looked through byte by byte.
    let (name, rest) = line.split_at(line.iter().position(|&byte| byte == b' ').unwrap_or(line.len()));
    let arguments = tokens(rest);
    if let [b'm', letter] = name {
        return meta_command(*letter, arguments).unwrap_or_else(|| unknown(line));
    }
    let whole = match name {
        names::GET => get(arguments, false),
        names::GETS => get(arguments, true),
        names::GAT => get_and_touch(arguments, false),
        names::GATS => get_and_touch(arguments, true),
        names::SET => return store(StoreVerb::Set, rest),
        names::ADD => return store(StoreVerb::Add, rest),
        names::REPLACE => return store(StoreVerb::Replace, rest),
        names::APPEND => return store(StoreVerb::Append, rest),
        names::PREPEND => return store(StoreVerb::Prepend, rest),
        names::CAS => return store(StoreVerb::Cas(0), rest),
        names::INCR => return of_two_words(rest, |words, quiet| arithmetic(Direction::Increase, words, quiet)),
        names::DECR => return of_two_words(rest, |words, quiet| arithmetic(Direction::Decrease, words, quiet)),
        names::TOUCH => return of_two_words(rest, touch),
        names::DELETE => return delete(rest),
        names::FLUSH_ALL => return with_noreply(rest, flush_all),
        names::FLUSH_OVER => return with_noreply(rest, admin::flush_over),
        names::VERBOSITY => return with_noreply(rest, admin::verbosity),
        names::VERSION => Ok(Command::Version),
        names::STATS => Ok(Command::Stats { arguments: trimmed(rest) }),
        names::QUIT => Ok(Command::Quit),
        names::SHUTDOWN => return with_noreply(rest, admin::shutdown),
        names::CACHE_MEMLIMIT => return with_noreply(rest, admin::cache_memlimit),
        names::LRU => return with_noreply(rest, admin::lru),
        names::LRU_CRAWLER => return with_noreply(rest, admin::lru_crawler),
        names::SLABS => return with_noreply(rest, admin::slabs),
        names::WATCH => admin::watch(arguments),
        names::CONFIG => match admin::config(rest) {
            Some(command) => Ok(command),
            None => return unknown(line),
        },
        _ => return unknown(line),
    };
    or_fault(whole, false)
}

/// Reads the arguments of a command that takes noreply, which also silences its errors.
fn with_noreply<'a>(rest: &'a [u8], read: impl FnOnce(Tokens<'a>, bool) -> Fallible<Command<'a>>) -> Statement<'a> {
    let quiet = ends_quiet(rest);
    or_fault(read(tokens(rest), quiet), quiet)
}

/// The same of a command of two words at least. What has fewer is told of whatever it ends in.
fn of_two_words<'a>(rest: &'a [u8], read: impl FnOnce(Tokens<'a>, bool) -> Fallible<Command<'a>>) -> Statement<'a> {
    if tokens(rest).nth(1).is_none() {
        return or_fault(Err(ErrorReply::BadLineFormat), false);
    }
    with_noreply(rest, read)
}

fn or_fault(outcome: Fallible<Command<'_>>, quiet: bool) -> Statement<'_> {
    match outcome {
        Ok(command) => Statement::Whole(command),
        Err(error) => Statement::Fault(Fault { error, swallow: 0, quiet }),
    }
}

fn unknown(line: &[u8]) -> Statement<'_> {
    let is_only_word = tokens(line).nth(1).is_none();
    let last = last_token(line);
    if !is_only_word && last.starts_with(b"HTTP/") {
        return Statement::Http;
    }
    // Even as the only word.
    let quiet = last == names::NOREPLY;
    Statement::Fault(Fault { error: ErrorReply::Unknown, swallow: 0, quiet })
}

fn get(arguments: Tokens<'_>, with_cas: bool) -> Fallible<Command<'_>> {
    Ok(Command::Get { keys: keys(arguments)?, with_cas })
}

fn get_and_touch(mut arguments: Tokens<'_>, with_cas: bool) -> Fallible<Command<'_>> {
    let exptime = arguments.next().ok_or(ErrorReply::BadLineFormat)?;
    // Arguments are counted before they are read, so `gat soon` lacks a key before its exptime is wrong.
    if arguments.clone().next().is_none() {
        return Err(ErrorReply::BadLineFormat);
    }
    let exptime = strict_exptime(exptime).ok_or(ErrorReply::InvalidExptime)?;
    Ok(Command::GetAndTouch { exptime, keys: keys(arguments)?, with_cas })
}

/// The rest of the line as keys. One key over the limit refuses them all: one error line and no values.
fn keys(mut arguments: Tokens<'_>) -> Fallible<Keys<'_>> {
    let is_key = |key: &&[u8]| key.len() <= KEY_BYTES_MAX;
    let first = arguments.next().filter(is_key).ok_or(ErrorReply::BadLineFormat)?;
    let line = arguments.rest();
    let mut count = 1;
    for key in arguments {
        if !is_key(&key) {
            return Err(ErrorReply::BadLineFormat);
        }
        count += 1;
    }
    Ok(Keys::of_checked_line(first, line, count))
}

/// `<verb> <key> <flags> <exptime> <bytes> [<cas>] [noreply]`; further tokens are ignored.
fn store(verb: StoreVerb, rest: &[u8]) -> Statement<'_> {
    // A line whose data cannot be told is told of, noreply or not: memcached has not looked for that yet.
    let misread = Statement::Fault(Fault { error: ErrorReply::BadLineFormat, swallow: 0, quiet: false });
    let mut arguments = tokens(rest);
    let (Some(key), Some(flags), Some(exptime), Some(bytes)) =
        (arguments.next(), arguments.next(), arguments.next(), arguments.next())
    else {
        return misread;
    };
    let Some(value_len) = number::block_len(bytes) else {
        return misread;
    };
    let quiet = ends_quiet(rest);
    let fault = |swallow| Statement::Fault(Fault { error: ErrorReply::BadLineFormat, swallow, quiet });
    // From here on it is known where the data ends; it must never be run as commands, whatever else is wrong.
    let swallow = value_len + names::CRLF.len();
    if key.len() > KEY_BYTES_MAX {
        return fault(swallow);
    }
    let (Some(flags), Some(exptime)) = (number::flags(flags), number::exptime(exptime)) else {
        return fault(swallow);
    };
    let verb = match verb {
        StoreVerb::Cas(_) => match arguments.next().and_then(number::strict_u64) {
            Some(cas) => StoreVerb::Cas(cas),
            None => return fault(swallow),
        },
        plain => plain,
    };
    let what = StoreWhat::Classic { verb, key, flags, exptime, quiet };
    Statement::Block(StoreLine { what, value_len })
}

/// A command of two letters, the first of which is `m`; `None` if there is no such one.
fn meta_command(letter: u8, arguments: Tokens<'_>) -> Option<Statement<'_>> {
    let whole = match letter {
        b'g' => meta_get(arguments),
        b's' => return Some(meta_set(arguments)),
        b'd' => meta_delete(arguments),
        b'a' => meta_arithmetic(arguments),
        b'e' => meta_debug(arguments),
        b'n' => Ok(Command::MetaNoop),
        _ => return None,
    };
    Some(or_fault(whole, false))
}

/// `ms <key> <bytes> <flags>*`
fn meta_set(mut arguments: Tokens<'_>) -> Statement<'_> {
    let fault = |error, swallow| Statement::Fault(Fault { error, swallow, quiet: false });
    let (Some(key), Some(bytes)) = (arguments.next(), arguments.next()) else {
        return fault(ErrorReply::BadLineFormat, 0);
    };
    let Some(value_len) = number::block_len(bytes) else {
        return fault(ErrorReply::BadLineFormat, 0);
    };
    let swallow = value_len + names::CRLF.len();
    match flags::read(key, arguments.rest(), 3) {
        Ok(request) => match request.store_mode() {
            Ok(mode) => Statement::Block(StoreLine { what: StoreWhat::Meta { request, mode }, value_len }),
            Err(error) => fault(error, swallow),
        },
        Err(Wrong::NoFlags) => fault(ErrorReply::BadLineFormat, 0),
        Err(Wrong::Flags(error)) => fault(error, swallow),
    }
}

/// `mg|md|ma <key> <flags>*`
fn meta_request(mut arguments: Tokens<'_>) -> Result<MetaRequest<'_>, Wrong> {
    let key = arguments.next().ok_or(Wrong::NoFlags)?;
    flags::read(key, arguments.rest(), 2)
}

fn meta_get(arguments: Tokens<'_>) -> Fallible<Command<'_>> {
    let request = meta_request(arguments).map_err(Wrong::reply)?;
    request.check_opaque().map(|()| Command::MetaGet(request))
}

fn meta_delete(arguments: Tokens<'_>) -> Fallible<Command<'_>> {
    let request = meta_request(arguments).map_err(Wrong::reply)?;
    request.check_opaque().map(|()| Command::MetaDelete(request))
}

fn meta_arithmetic(arguments: Tokens<'_>) -> Fallible<Command<'_>> {
    let request = meta_request(arguments).map_err(|wrong| match wrong {
        Wrong::NoFlags => ErrorReply::BadLineFormat,
        // It has one error for all that can be wrong with a flag.
        Wrong::Flags(_) => ErrorReply::InvalidOrDuplicateFlag,
    })?;
    let direction = request.direction()?;
    request.check_opaque().map(|()| Command::MetaArithmetic { request, direction })
}

/// `me <key> [b]`
fn meta_debug(mut arguments: Tokens<'_>) -> Fallible<Command<'_>> {
    let key = arguments.next().filter(|key| key.len() <= KEY_BYTES_MAX).ok_or(ErrorReply::BadLineFormat)?;
    if !flags::is_flags(arguments.rest(), 2) {
        return Err(ErrorReply::BadLineFormat);
    }
    let key = match arguments.next() {
        Some(b"b") => MetaKey::base64(key).ok_or(ErrorReply::BadLineFormat)?,
        Some(_) | None => MetaKey::plain(key),
    };
    Ok(Command::MetaDebug { key })
}

fn arithmetic(direction: Direction, mut arguments: Tokens<'_>, quiet: bool) -> Fallible<Command<'_>> {
    let key = key_before_more(&mut arguments)?;
    let delta = arguments.next().and_then(number::strict_u64).ok_or(ErrorReply::InvalidDelta)?;
    Ok(Command::Arithmetic { direction, key, delta, quiet })
}

fn touch(mut arguments: Tokens<'_>, quiet: bool) -> Fallible<Command<'_>> {
    let key = key_before_more(&mut arguments)?;
    let exptime = arguments.next().and_then(strict_exptime).ok_or(ErrorReply::InvalidExptime)?;
    Ok(Command::Touch { key, exptime, quiet })
}

/// The exptime of touch, gat and flush_all.
fn strict_exptime(word: &[u8]) -> Option<i64> {
    number::strict_i32(word).map(i64::from)
}

/// A key that must be followed by another argument.
fn key_before_more<'a>(arguments: &mut Tokens<'a>) -> Fallible<&'a [u8]> {
    let key = arguments.next().filter(|key| key.len() <= KEY_BYTES_MAX).ok_or(ErrorReply::BadLineFormat)?;
    arguments.clone().next().map(|_| key).ok_or(ErrorReply::BadLineFormat)
}

/// `delete <key> [0] [noreply]`. memcached ignores one more word; more than that is a mistake worth telling.
fn delete(rest: &[u8]) -> Statement<'_> {
    let mut arguments = tokens(rest);
    let key = arguments.next();
    let more = arguments.take(3).count();
    // `delete noreply` deletes a key of that name, in silence.
    let quiet = ends_quiet(rest);
    let outcome = match key {
        Some(_) if more > 2 => Err(ErrorReply::DeleteUsage),
        Some(key) if key.len() <= KEY_BYTES_MAX => Ok(Command::Delete { key, quiet }),
        Some(_) | None => Err(ErrorReply::BadLineFormat),
    };
    or_fault(outcome, quiet)
}

fn flush_all(mut arguments: Tokens<'_>, quiet: bool) -> Fallible<Command<'_>> {
    let first = arguments.next();
    // Whether the first word is also the last one, and so the noreply itself.
    let is_bare = first.is_none() || (quiet && arguments.next().is_none());
    let exptime = match first {
        Some(word) if !is_bare => Some(strict_exptime(word).ok_or(ErrorReply::InvalidExptime)?),
        Some(_) | None => None,
    };
    Ok(Command::FlushAll { exptime, quiet })
}

/// Whether the arguments end in `noreply`. Only the last token counts: anywhere else it is an ordinary word.
fn ends_quiet(rest: &[u8]) -> bool {
    last_token(rest) == names::NOREPLY
}

fn last_token(line: &[u8]) -> &[u8] {
    let line = trimmed(line);
    &line[memchr::memrchr(b' ', line).map_or(0, |space| space + 1)..]
}

/// Without the spaces at either end.
fn trimmed(line: &[u8]) -> &[u8] {
    let Some(start) = line.iter().position(|&byte| byte != b' ') else {
        return &[];
    };
    let end = line.iter().rposition(|&byte| byte != b' ').map_or(start, |last| last + 1);
    &line[start..end]
}
