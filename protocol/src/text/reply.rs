//! What a server answered, for a client: bytes to one reply line at a time, a value with its data block.
//!
//! Must not know which command is being answered: a client that pipelines knows what it expects. Values are bounded by
//! the client, which sees in [`ReplyStep::Incomplete`] how much one needs before it buffers it.

use super::command::tokens;
use super::meta_reply::MetaCode;
use super::{names, number};
use crate::key::KEY_BYTES_MAX;

/// The longest reply line, in bytes with its end; the longest known are some statistics of a few hundred.
pub const REPLY_LINE_BYTES_MAX: usize = 16 * 1024;

/// What the front of the buffer holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyStep<'a> {
    /// Need more bytes.
    Incomplete {
        /// At least this many bytes in the buffer, counted from its front; more than there are now. Up to 2 GiB when
        /// the server announces such a value: hold it against a limit before growing anything.
        needed: usize,
    },
    /// One line, with its data block if it has one.
    Reply {
        /// Bytes of the buffer that were it.
        consumed: usize,
        /// What it says.
        reply: ReplyLine<'a>,
    },
    /// Not the memcached protocol, or out of step with it: the connection is of no further use.
    Malformed,
}

/// One line of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyLine<'a> {
    /// `STORED`
    Stored,
    /// `NOT_STORED`
    NotStored,
    /// `EXISTS`
    Exists,
    /// `NOT_FOUND`
    NotFound,
    /// `DELETED`
    Deleted,
    /// `TOUCHED`
    Touched,
    /// `OK`
    Ok,
    /// `END`: of values or of statistics.
    End,
    /// `RESET`
    Reset,
    /// The number that incr or decr made.
    Number(u64),
    /// `VERSION` and this.
    Version(&'a [u8]),
    /// `STAT`, one of several.
    Stat {
        /// Up to the first space.
        name: &'a [u8],
        /// The rest of the line, which may be empty or hold spaces.
        value: &'a [u8],
    },
    /// `VALUE` with its data block, one of several.
    Value {
        /// As the request had it; 1 to 250 bytes.
        key: &'a [u8],
        /// The client flags.
        flags: u32,
        /// The cas token, in replies to gets and gats.
        cas: Option<u64>,
        /// The data block without its CR LF.
        value: &'a [u8],
    },
    /// `CONFIG` with its block: the answer to `config get`, which ends with `END`.
    Config {
        /// What was asked for, such as `cluster`.
        name: &'a [u8],
        /// The block without its CR LF.
        block: &'a [u8],
    },
    /// The answer to a meta command: one line, and a data block behind `VA`.
    Meta {
        /// What it begins with.
        code: MetaCode,
        /// The flags that came back, as sent: [`meta_fact`] finds one.
        flags: &'a [u8],
        /// The data block without its CR LF; empty but for `VA`.
        value: &'a [u8],
    },
    /// `ERROR`, with the text after it if there is any: the command is unknown or the connection unwanted.
    Error(&'a [u8]),
    /// `CLIENT_ERROR` and this text: the request was wrong and did nothing.
    ClientError(&'a [u8]),
    /// `SERVER_ERROR` and this text: the server could not, or does not know whether it could.
    ServerError(&'a [u8]),
}

/// Reads one reply line from the front of `buffer`. Costs one pass over the line, not over the data block.
pub fn parse_reply(buffer: &[u8]) -> ReplyStep<'_> {
    let within = &buffer[..buffer.len().min(REPLY_LINE_BYTES_MAX)];
    let Some(lf) = memchr::memchr(b'\n', within) else {
        return match buffer.len() {
            REPLY_LINE_BYTES_MAX.. => ReplyStep::Malformed,
            len => ReplyStep::Incomplete { needed: len + 1 },
        };
    };
    let line_end = lf + 1;
    let line = buffer[..lf].strip_suffix(b"\r").unwrap_or(&buffer[..lf]);
    let step = if let Some(head) = line.strip_prefix(names::VALUE_SPACE) {
        value(buffer, line_end, head)
    } else if let Some(head) = line.strip_prefix(names::CONFIG_SPACE) {
        config(buffer, line_end, head)
    } else if let Some(head) = line.strip_prefix(names::META_VALUE_SPACE) {
        meta_value(buffer, line_end, head)
    } else {
        plain(line).map(|reply| ReplyStep::Reply { consumed: line_end, reply })
    };
    step.unwrap_or(ReplyStep::Malformed)
}

/// The argument of a flag in the answer to a meta command, empty if it has none; `None` if the flag did not come back.
pub fn meta_fact(flags: &[u8], letter: u8) -> Option<&[u8]> {
    tokens(flags).find(|word| word[0] == letter).map(|word| &word[1..])
}

/// `<key> <flags> <bytes> [<cas>]` and the data block after the line; `None` when malformed.
fn value<'a>(buffer: &'a [u8], line_end: usize, head: &'a [u8]) -> Option<ReplyStep<'a>> {
    let mut words = tokens(head);
    let key = words.next().filter(|key| key.len() <= KEY_BYTES_MAX)?;
    let flags = u32::try_from(number::digits(words.next()?)?).ok()?;
    let value_len = number::block_len(words.next()?)?;
    let cas = match words.next() {
        Some(word) => Some(number::digits(word)?),
        None => None,
    };
    if words.next().is_some() {
        return None;
    }
    with_block(buffer, line_end, value_len, |value| ReplyLine::Value { key, flags, cas, value })
}

/// `<name> <flags> <bytes>` and the block after the line. What stands behind is for later releases.
fn config<'a>(buffer: &'a [u8], line_end: usize, head: &'a [u8]) -> Option<ReplyStep<'a>> {
    let mut words = tokens(head);
    let name = words.next()?;
    let _flags = number::digits(words.next()?)?;
    let block_len = number::block_len(words.next()?)?;
    with_block(buffer, line_end, block_len, |block| ReplyLine::Config { name, block })
}

/// `<bytes> <flags>*` and the data block after the line.
fn meta_value<'a>(buffer: &'a [u8], line_end: usize, head: &'a [u8]) -> Option<ReplyStep<'a>> {
    let mut words = tokens(head);
    let value_len = number::block_len(words.next()?)?;
    let (code, flags) = (MetaCode::Value(value_len), words.rest());
    with_block(buffer, line_end, value_len, |value| ReplyLine::Meta { code, flags, value })
}

/// A reply whose block begins at `line_end`.
fn with_block<'a>(
    buffer: &'a [u8],
    line_end: usize,
    block_len: usize,
    reply: impl FnOnce(&'a [u8]) -> ReplyLine<'a>,
) -> Option<ReplyStep<'a>> {
    let consumed = line_end + block_len + names::CRLF.len();
    let Some(block) = buffer.get(line_end..consumed) else {
        return Some(ReplyStep::Incomplete { needed: consumed });
    };
    Some(ReplyStep::Reply { consumed, reply: reply(block.strip_suffix(names::CRLF)?) })
}

/// A reply that is complete with its line.
fn plain(line: &[u8]) -> Option<ReplyLine<'_>> {
    let reply = match line {
        names::STORED => ReplyLine::Stored,
        names::NOT_STORED => ReplyLine::NotStored,
        names::EXISTS => ReplyLine::Exists,
        names::NOT_FOUND => ReplyLine::NotFound,
        names::DELETED => ReplyLine::Deleted,
        names::TOUCHED => ReplyLine::Touched,
        names::OK => ReplyLine::Ok,
        names::END => ReplyLine::End,
        names::RESET => ReplyLine::Reset,
        _ => return worded(line),
    };
    Some(reply)
}

/// A reply with something of its own to say.
fn worded(line: &[u8]) -> Option<ReplyLine<'_>> {
    if let Some(stat) = line.strip_prefix(names::STAT_SPACE) {
        let name_end = memchr::memchr(b' ', stat).unwrap_or(stat.len());
        let (name, rest) = stat.split_at(name_end);
        return Some(ReplyLine::Stat { name, value: rest.get(1..).unwrap_or_default() });
    }
    if let Some(version) = line.strip_prefix(names::VERSION_SPACE) {
        return Some(ReplyLine::Version(version));
    }
    if let Some(reply) = meta(line) {
        return Some(reply);
    }
    if let Some(text) = after_word(line, names::SERVER_ERROR) {
        return Some(ReplyLine::ServerError(text));
    }
    if let Some(text) = after_word(line, names::CLIENT_ERROR) {
        return Some(ReplyLine::ClientError(text));
    }
    if let Some(text) = after_word(line, names::ERROR) {
        return Some(ReplyLine::Error(text));
    }
    number::digits(line).map(ReplyLine::Number)
}

/// The answer to a meta command that brings no value.
fn meta(line: &[u8]) -> Option<ReplyLine<'_>> {
    let (word, flags) = line.split_at_checked(2)?;
    let code = MetaCode::without_value(word).filter(|_| flags.is_empty() || flags[0] == b' ')?;
    Some(ReplyLine::Meta { code, flags, value: b"" })
}

/// The text after an error word: nothing, or after one space, or after the colon of `SERVER_ERROR: shutdown not enabled`.
fn after_word<'a>(line: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(word)?;
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sent: &[u8], expected: ReplyLine<'_>) {
        let next = b"END\r\n";
        let mut stream = sent.to_vec();
        stream.extend_from_slice(next);
        for end in 0..sent.len() {
            let step = parse_reply(&stream[..end]);
            assert!(
                matches!(step, ReplyStep::Incomplete { needed } if (end + 1..=sent.len()).contains(&needed)),
                "{} cut at {end}: {step:?}",
                sent.escape_ascii()
            );
        }
        assert_eq!(parse_reply(&stream), ReplyStep::Reply { consumed: sent.len(), reply: expected });
    }

    #[test]
    fn every_reply_line_is_understood_once_it_is_whole() {
        check(b"STORED\r\n", ReplyLine::Stored);
        check(b"NOT_STORED\r\n", ReplyLine::NotStored);
        check(b"EXISTS\r\n", ReplyLine::Exists);
        check(b"NOT_FOUND\r\n", ReplyLine::NotFound);
        check(b"DELETED\r\n", ReplyLine::Deleted);
        check(b"TOUCHED\r\n", ReplyLine::Touched);
        check(b"OK\r\n", ReplyLine::Ok);
        check(b"END\r\n", ReplyLine::End);
        check(b"RESET\r\n", ReplyLine::Reset);
        check(b"18446744073709551615\r\n", ReplyLine::Number(u64::MAX));
        check(b"VERSION 1.6.45\r\n", ReplyLine::Version(b"1.6.45"));
        check(b"STAT pid 12\r\n", ReplyLine::Stat { name: b"pid", value: b"12" });
        check(b"STAT log a  b\r\n", ReplyLine::Stat { name: b"log", value: b"a  b" });
        check(b"STAT inter \r\n", ReplyLine::Stat { name: b"inter", value: b"" });
        check(b"ERROR\r\n", ReplyLine::Error(b""));
        check(b"ERROR Too many open connections\r\n", ReplyLine::Error(b"Too many open connections"));
        check(b"CLIENT_ERROR bad data chunk\r\n", ReplyLine::ClientError(b"bad data chunk"));
        check(b"SERVER_ERROR: shutdown not enabled\r\n", ReplyLine::ServerError(b"shutdown not enabled"));
        check(b"SERVER_ERROR quorum not reached (1 of 2)\r\n", ReplyLine::ServerError(b"quorum not reached (1 of 2)"));
    }

    #[test]
    fn a_value_is_read_by_its_length_and_not_by_its_look() {
        let value = ReplyLine::Value { key: b"k", flags: 7, cas: None, value: b"END\r\n" };
        check(b"VALUE k 7 5\r\nEND\r\n\r\n", value);
        let value = ReplyLine::Value { key: b"k", flags: u32::MAX, cas: Some(u64::MAX), value: b"" };
        check(b"VALUE k 4294967295 0 18446744073709551615\r\n\r\n", value);
    }

    #[test]
    fn the_answers_to_meta_commands_and_config_bring_flags_and_blocks() {
        let flags = b"f7 c77 kkey";
        check(
            b"VA 3 f7 c77 kkey\r\nEN\n\r\n",
            ReplyLine::Meta { code: MetaCode::Value(3), flags: b" f7 c77 kkey", value: b"EN\n" },
        );
        assert_eq!((meta_fact(flags, b'c'), meta_fact(flags, b'W')), (Some(&b"77"[..]), None));
        for (word, code) in [
            ("HD", MetaCode::Done),
            ("EN", MetaCode::Miss),
            ("NF", MetaCode::NotFound),
            ("NS", MetaCode::NotStored),
            ("EX", MetaCode::Exists),
        ] {
            check(format!("{word}\r\n").as_bytes(), ReplyLine::Meta { code, flags: b"", value: b"" });
            check(format!("{word} W t5\r\n").as_bytes(), ReplyLine::Meta { code, flags: b" W t5", value: b"" });
        }
        check(b"CONFIG cluster 0 4\r\n1\na\n\r\n", ReplyLine::Config { name: b"cluster", block: b"1\na\n" });
    }

    #[test]
    fn what_is_not_a_reply_is_malformed() {
        for sent in [
            &b"\r\n"[..],
            b"stored\r\n",
            b"STORED \r\n",
            b"VALUE k 0\r\n",
            b"VALUE k 0 -1\r\n",
            b"VALUE k 0 1 2 3\r\n\r\n",
            b"VALUE k 4294967296 0\r\n\r\n",
            b"VALUE k 0 1\r\nab\r\n",
            b"VALUE k 0 2147483646\r\n",
            b"12abc\r\n",
            b"ERRORS\r\n",
            b"VA x\r\n",
            b"VA 1\r\nab\r\n",
            b"HDX\r\n",
            b"CONFIG cluster 0\r\n",
            b"CONFIG cluster 0 -1\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
        ] {
            assert_eq!(parse_reply(sent), ReplyStep::Malformed, "{}", sent.escape_ascii());
        }
        assert_eq!(parse_reply(&[b'S'; REPLY_LINE_BYTES_MAX]), ReplyStep::Malformed);
        let long_but_whole = [&vec![b'1'; REPLY_LINE_BYTES_MAX][..], b"\r\n"].concat();
        assert_eq!(parse_reply(&long_but_whole), ReplyStep::Malformed, "whole or in pieces, the same answer");
    }
}
