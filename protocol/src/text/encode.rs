//! Requests as bytes, for a client: the other half of `parse`.
//!
//! Must not know connections or what will be answered. Keys and free words are the caller's to check, with
//! [`is_sendable_key`] and [`is_sendable_line`]: an unchecked one could smuggle in a command of its own.

use bytes::{BufMut, BytesMut};

use super::command::{Direction, StoreVerb};
use super::names;
use crate::key::KEY_BYTES_MAX;

/// Whether bytes may be sent as a key: 1 to 250 of them, none a space or a control character (protocol.txt, "Keys").
pub fn is_sendable_key(key: &[u8]) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len()) && key.iter().all(|&byte| byte > b' ' && byte != 0x7f)
}

/// Whether bytes may be sent as the rest of a line, such as the arguments of stats: no control characters.
pub fn is_sendable_line(words: &[u8]) -> bool {
    words.iter().all(|byte| !byte.is_ascii_control())
}

/// `get` or `gets` of at least one sendable key.
pub fn encode_get<'a>(keys: impl IntoIterator<Item = &'a [u8]>, with_cas: bool, out: &mut BytesMut) {
    out.put_slice(if with_cas { names::GETS } else { names::GET });
    put_keys(keys, out);
    out.put_slice(names::CRLF);
}

/// `gat` or `gats` of at least one sendable key.
pub fn encode_get_and_touch<'a>(
    exptime: i64,
    keys: impl IntoIterator<Item = &'a [u8]>,
    with_cas: bool,
    out: &mut BytesMut,
) {
    out.put_slice(if with_cas { names::GATS } else { names::GAT });
    put_number(exptime, out);
    put_keys(keys, out);
    out.put_slice(names::CRLF);
}

/// A storage command with its data block.
pub fn encode_store(
    verb: StoreVerb,
    key: &[u8],
    flags: u32,
    exptime: i64,
    value: &[u8],
    quiet: bool,
    out: &mut BytesMut,
) {
    out.put_slice(verb.name());
    put_key(key, out);
    put_number(flags, out);
    put_number(exptime, out);
    put_number(value.len(), out);
    if let StoreVerb::Cas(cas) = verb {
        put_number(cas, out);
    }
    end_line(quiet, out);
    out.put_slice(value);
    out.put_slice(names::CRLF);
}

/// `incr` or `decr` of a sendable key.
pub fn encode_arithmetic(direction: Direction, key: &[u8], delta: u64, quiet: bool, out: &mut BytesMut) {
    out.put_slice(match direction {
        Direction::Increase => names::INCR,
        Direction::Decrease => names::DECR,
    });
    put_key(key, out);
    put_number(delta, out);
    end_line(quiet, out);
}

/// `touch` of a sendable key.
pub fn encode_touch(key: &[u8], exptime: i64, quiet: bool, out: &mut BytesMut) {
    out.put_slice(names::TOUCH);
    put_key(key, out);
    put_number(exptime, out);
    end_line(quiet, out);
}

/// `delete` of a sendable key.
pub fn encode_delete(key: &[u8], quiet: bool, out: &mut BytesMut) {
    out.put_slice(names::DELETE);
    put_key(key, out);
    if key == names::NOREPLY && !quiet {
        // As the last word it would be taken for more than a key. An argument of 0 means nothing.
        put_number(0, out);
    }
    end_line(quiet, out);
}

/// `flush_all`, now or at an exptime.
pub fn encode_flush_all(exptime: Option<i64>, quiet: bool, out: &mut BytesMut) {
    out.put_slice(names::FLUSH_ALL);
    if let Some(exptime) = exptime {
        put_number(exptime, out);
    }
    end_line(quiet, out);
}

/// `flush_over`, which memcached does not know.
pub fn encode_flush_over(seconds: u32, quiet: bool, out: &mut BytesMut) {
    out.put_slice(names::FLUSH_OVER);
    put_number(seconds, out);
    end_line(quiet, out);
}

/// `version`.
pub fn encode_version(out: &mut BytesMut) {
    out.put_slice(names::VERSION);
    out.put_slice(names::CRLF);
}

/// `verbosity`.
pub fn encode_verbosity(level: u32, quiet: bool, out: &mut BytesMut) {
    out.put_slice(names::VERBOSITY);
    put_number(level, out);
    end_line(quiet, out);
}

/// `stats` with arguments that are a sendable line, or none.
pub fn encode_stats(arguments: &[u8], out: &mut BytesMut) {
    debug_assert!(is_sendable_line(arguments), "the caller checks");
    out.put_slice(names::STATS);
    if !arguments.is_empty() {
        out.put_u8(b' ');
        out.put_slice(arguments);
    }
    out.put_slice(names::CRLF);
}

/// `quit`.
pub fn encode_quit(out: &mut BytesMut) {
    out.put_slice(names::QUIT);
    out.put_slice(names::CRLF);
}

fn put_keys<'a>(keys: impl IntoIterator<Item = &'a [u8]>, out: &mut BytesMut) {
    let before = out.len();
    for key in keys {
        put_key(key, out);
    }
    debug_assert!(out.len() > before, "the caller has a key");
}

pub(super) fn put_key(key: &[u8], out: &mut BytesMut) {
    debug_assert!(is_sendable_key(key), "the caller checks");
    out.put_u8(b' ');
    out.put_slice(key);
}

pub(super) fn put_number(number: impl itoa::Integer, out: &mut BytesMut) {
    out.put_u8(b' ');
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn end_line(quiet: bool, out: &mut BytesMut) {
    if quiet {
        out.put_u8(b' ');
        out.put_slice(names::NOREPLY);
    }
    out.put_slice(names::CRLF);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_could_be_more_than_a_key_is_not_sendable() {
        for (key, sendable) in [
            (&b"k"[..], true),
            (b"noreply", true),
            ("schlüssel".as_bytes(), true),
            (&[b'k'; 250], true),
            (&[b'k'; 251], false),
            (b"", false),
            (b"a b", false),
            (b"a\r\nflush_all", false),
            (b"a\r", false),
            (b"a\tb", false),
            (b"a\0", false),
            (b"a\x7f", false),
        ] {
            assert_eq!(is_sendable_key(key), sendable, "{}", key.escape_ascii());
        }
        assert!(is_sendable_line(b"detail on") && is_sendable_line(b"") && !is_sendable_line(b"a\r\nquit"));
    }
}
