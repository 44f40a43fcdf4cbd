//! Framing: where a command starts and ends in the bytes of a connection, and what to do when it never does.
//!
//! Must not know the commands (`grammar`) or sockets: the caller owns the buffer, drops what was consumed and swallows
//! what is to be swallowed.

use super::command::{Command, Keys, StoreVerb};
use super::error_reply::ErrorReply;
use super::grammar::{self, Statement, StoreLine, StoreWhat};
use super::meta::MetaKey;
use super::plain::PlainSet;
use super::{names, plain};
use crate::message::StoreMode;

/// The shortest line, its end included; shorter ones are refused whatever they say.
const LINE_BYTES_MIN: usize = 4;

/// Bytes that may be waiting for their line end, except for get and gets: what memcached waits for.
pub(super) const UNFINISHED_LINE_BYTES_MAX: usize = 2048;

/// The longest line, its end included, except for get and gets: memcached's read buffer. A line above
/// [`UNFINISHED_LINE_BYTES_MAX`] gets this far only when its end arrived together with it.
pub(super) const LINE_BYTES_MAX: usize = 16 * 1024;

/// How many leading spaces a get may have and still count as one that may be long.
const LEADING_SPACES_MAX: usize = 100;

/// Limits the parser needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TextLimits {
    /// `-I`: a value is too large when its bytes and those of its key together are more than this. So at the default of
    /// 1 MiB a value of 1,048,576 bytes is refused whatever its key, as in memcached.
    pub item_bytes_max: usize,
    /// The longest get or gets line, its end included; a longer one closes the connection. 8 MiB holds 30,000 keys of
    /// the greatest length. Below 16 KiB it bounds only lines that arrive without their end.
    pub get_line_bytes_max: usize,
}

/// What the front of the buffer holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// Need more bytes.
    Incomplete {
        /// At least this many bytes in the buffer, counted from its front: a hint for its growth. More than there are
        /// now; at most the line, [`TextLimits::item_bytes_max`] and 2.
        needed: usize,
    },
    /// A whole command.
    Command {
        /// Bytes of the buffer that were it.
        consumed: usize,
        /// What it asks for.
        command: Command<'a>,
    },
    /// A malformed command.
    Reject {
        /// Bytes of the buffer that were it.
        consumed: usize,
        /// Bytes of the stream after those that are to be thrown away; they may not have arrived yet.
        swallow: usize,
        /// What to answer.
        error: ErrorReply,
        /// Whether to keep silent instead.
        quiet: bool,
    },
    /// A value over the limit, told as soon as its line is complete, so that it is never buffered. The answer is
    /// [`ErrorReply::ObjectTooLarge`].
    TooLarge {
        /// Bytes of the buffer that were its line.
        consumed: usize,
        /// Bytes of the stream after those that are to be thrown away: the data block.
        swallow: usize,
        /// The key.
        key: MetaKey<'a>,
        /// Whether its old value goes, as for set and ms; the other storage commands keep it.
        removes: bool,
        /// Whether to keep silent instead.
        quiet: bool,
    },
    /// Close without a word: an over-long line, or HTTP.
    Close,
}

/// Reads one command from the front of `buffer`.
///
/// Costs one pass over the line, however long the data block. When a line arrives in pieces each call scans it again:
/// at most 2 KiB for most commands, but up to [`TextLimits::get_line_bytes_max`] for a get, where a [`LineScanner`]
/// avoids it.
pub fn parse<'a>(buffer: &'a [u8], limits: &TextLimits) -> Step<'a> {
    LineScanner::default().parse(buffer, limits)
}

/// A storage command whose line is there and whose data block is not, as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AwaitedBlock<'a> {
    /// Bytes of the buffer that are its line.
    pub consumed: usize,
    /// Bytes of the stream after those that are its data block.
    pub swallow: usize,
    /// The key.
    pub key: MetaKey<'a>,
    /// Whether its old value goes if the new one cannot be received, as for set and ms.
    pub removes: bool,
    /// Whether to keep silent then.
    pub quiet: bool,
}

impl AwaitedBlock<'_> {
    /// Bytes of its value.
    pub fn value_len(&self) -> usize {
        self.swallow - names::CRLF.len()
    }
}

/// What [`Step::Incomplete`] waits for, if it is the data block of the command at the front of `buffer`: for a caller that
/// must know more of a large one before it makes room. `None` while the line itself has not come. The block is within
/// [`TextLimits::item_bytes_max`], or the step would have been another one.
pub fn awaited_block(buffer: &[u8]) -> Option<AwaitedBlock<'_>> {
    let consumed = memchr::memchr(b'\n', buffer)? + 1;
    let line = &buffer[..consumed - 1];
    match grammar::read_line(line.strip_suffix(b"\r").unwrap_or(line)) {
        Statement::Block(StoreLine { what, value_len }) => {
            let (key, removes, quiet) = what.if_refused();
            Some(AwaitedBlock { consumed, swallow: value_len + names::CRLF.len(), key, removes, quiet })
        }
        Statement::Whole(_) | Statement::Fault(_) | Statement::Http => None,
    }
}

/// [`parse`] that remembers how much of an unfinished line it has seen, so that a line in n pieces is scanned once and
/// not n times. One for each connection.
///
/// Between calls the buffer may only grow at its end, until a call returns something other than
/// [`Step::Incomplete`]; then the consumed front goes and the next command starts afresh.
#[derive(Clone, Default, Debug)]
pub struct LineScanner {
    /// Bytes at the front of the buffer that hold no line end.
    scanned: usize,
}

impl LineScanner {
    /// Reads one command from the front of `buffer`, as [`parse`] does.
    pub fn parse<'a>(&mut self, buffer: &'a [u8], limits: &TextLimits) -> Step<'a> {
        if let Some((b"get ", rest)) = buffer.split_first_chunk() {
            if let Some((key, len)) = plain::get(rest) {
                self.scanned = 0;
                let command = Command::Get { keys: Keys::one(key), with_cas: false };
                return Step::Command { consumed: b"get ".len() + len, command };
            }
        } else if let Some((b"set ", rest)) = buffer.split_first_chunk() {
            if let Some(plain) = plain::set(rest, limits.item_bytes_max) {
                self.scanned = 0;
                let PlainSet { key, flags, exptime, value, quiet, len } = plain;
                let command = Command::Store { verb: StoreVerb::Set, key, flags, exptime, value, quiet };
                return Step::Command { consumed: b"set ".len() + len, command };
            }
        } else if let Some((b"ms ", rest)) = buffer.split_first_chunk() {
            if let Some((request, value, len)) = plain::meta_set(rest, limits.item_bytes_max) {
                self.scanned = 0;
                let command = Command::MetaSet { request, mode: StoreMode::Set, value };
                return Step::Command { consumed: b"ms ".len() + len, command };
            }
        } else if let Some((b"mg ", rest)) = buffer.split_first_chunk()
            && let Some((request, len)) = plain::meta_get(rest)
        {
            self.scanned = 0;
            return Step::Command { consumed: b"mg ".len() + len, command: Command::MetaGet(request) };
        }
        self.framed(buffer, limits)
    }

    /// [`LineScanner::parse`] without a shortcut for what is sent most. Kept apart from it, so that the short way stays
    /// short.
    #[inline(never)]
    pub(super) fn framed<'a>(&mut self, buffer: &'a [u8], limits: &TextLimits) -> Step<'a> {
        let scanned = std::mem::take(&mut self.scanned).min(buffer.len());
        match memchr::memchr(b'\n', &buffer[scanned..]) {
            Some(at) => finished(buffer, scanned + at + 1, limits),
            None => {
                let step = unfinished(buffer, limits);
                if matches!(step, Step::Incomplete { .. }) {
                    self.scanned = buffer.len();
                }
                step
            }
        }
    }
}

/// The buffer holds no line end.
fn unfinished<'a>(buffer: &[u8], limits: &TextLimits) -> Step<'a> {
    // Decided by length first: nobody looks at the words of a short line.
    if buffer.len() > UNFINISHED_LINE_BYTES_MAX && (!may_be_long(buffer) || buffer.len() > limits.get_line_bytes_max) {
        return Step::Close;
    }
    Step::Incomplete { needed: buffer.len() + 1 }
}

/// The buffer's first line is `buffer[..line_end]`, its LF included.
fn finished<'a>(buffer: &'a [u8], line_end: usize, limits: &TextLimits) -> Step<'a> {
    if line_end < LINE_BYTES_MIN {
        return Step::Reject { consumed: line_end, swallow: 0, error: ErrorReply::BadLineFormat, quiet: false };
    }
    if line_end > LINE_BYTES_MAX && (!may_be_long(buffer) || line_end > limits.get_line_bytes_max) {
        return Step::Close;
    }
    let line = &buffer[..line_end - 1];
    match grammar::read_line(line.strip_suffix(b"\r").unwrap_or(line)) {
        Statement::Whole(command) => Step::Command { consumed: line_end, command },
        Statement::Block(line) => block(buffer, line_end, line, limits),
        Statement::Fault(fault) => {
            Step::Reject { consumed: line_end, swallow: fault.swallow, error: fault.error, quiet: fault.quiet }
        }
        Statement::Http => Step::Close,
    }
}

/// The data block after a storage line. Only its length says where it ends, and its end must be CR LF.
fn block<'a>(buffer: &'a [u8], line_end: usize, line: StoreLine<'a>, limits: &TextLimits) -> Step<'a> {
    let StoreLine { what, value_len } = line;
    let (key, removes, quiet) = what.if_refused();
    let swallow = value_len + names::CRLF.len();
    if key.sent_len() + value_len > limits.item_bytes_max {
        return Step::TooLarge { consumed: line_end, swallow, key, removes, quiet };
    }
    if let StoreWhat::Meta { request, .. } = &what
        && let Err(error) = request.check_opaque()
    {
        return Step::Reject { consumed: line_end, swallow, error, quiet };
    }
    let consumed = line_end + swallow;
    let Some(block) = buffer.get(line_end..consumed) else {
        return Step::Incomplete { needed: consumed };
    };
    let Some(value) = block.strip_suffix(names::CRLF) else {
        return Step::Reject { consumed, swallow: 0, error: ErrorReply::BadDataChunk, quiet };
    };
    let command = match what {
        StoreWhat::Classic { verb, key, flags, exptime, quiet } => {
            Command::Store { verb, key, flags, exptime, value, quiet }
        }
        StoreWhat::Meta { request, mode } => Command::MetaSet { request, mode, value },
    };
    Step::Command { consumed, command }
}

/// Whether this is a get or gets, the only lines that may be long.
fn may_be_long(buffer: &[u8]) -> bool {
    let spaces = buffer.iter().take(LEADING_SPACES_MAX).take_while(|&&byte| byte == b' ').count();
    let line = &buffer[spaces..];
    [names::GET, names::GETS]
        .iter()
        .any(|name| line.strip_prefix(*name).is_some_and(|rest| rest.first() == Some(&b' ')))
}
