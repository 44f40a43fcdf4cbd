//! Meta commands as bytes, for a client: what calls with a level of their own are sent as, since only these have the flag `L`.
//!
//! Must not know connections or what will be answered. As in `encode`, keys are the caller's to check.

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};

use super::command::{Direction, StoreVerb};
use super::encode::{put_key, put_number};
use super::names;
use crate::level::Level;

/// What a meta get asks for beside the value, its client flags and its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MetaRead {
    /// The cas token.
    pub with_cas: bool,
    /// A new exptime for the item.
    pub exptime: Option<i64>,
}

/// `mg` of a sendable key, for its value. Answered by `VA` with the flags `f`, `k` and perhaps `c`, or by `EN`.
pub fn encode_meta_get(key: &[u8], read: MetaRead, level: Option<Level>, out: &mut BytesMut) {
    out.put_slice(names::META_GET);
    put_key(key, out);
    out.put_slice(b" v f k");
    if read.with_cas {
        out.put_slice(b" c");
    }
    if let Some(exptime) = read.exptime {
        put_flag(b'T', exptime, out);
    }
    end_line(level, out);
}

/// `mg` of a sendable key that gives it a new exptime and brings no value. Answered by `HD`, or by `EN`.
pub fn encode_meta_touch(key: &[u8], exptime: i64, level: Option<Level>, out: &mut BytesMut) {
    out.put_slice(names::META_GET);
    put_key(key, out);
    put_flag(b'T', exptime, out);
    end_line(level, out);
}

/// `ms` of a sendable key with its data block. Answered by `HD`, `NS`, and for a cas by `EX` or `NF`.
pub fn encode_meta_store(
    verb: StoreVerb,
    key: &[u8],
    flags: u32,
    exptime: i64,
    value: &[u8],
    level: Option<Level>,
    out: &mut BytesMut,
) {
    out.put_slice(names::META_SET);
    put_key(key, out);
    put_number(value.len(), out);
    put_flag(b'F', flags, out);
    put_flag(b'T', exptime, out);
    match verb {
        StoreVerb::Set => {}
        StoreVerb::Add => out.put_slice(b" ME"),
        StoreVerb::Replace => out.put_slice(b" MR"),
        StoreVerb::Append => out.put_slice(b" MA"),
        StoreVerb::Prepend => out.put_slice(b" MP"),
        StoreVerb::Cas(cas) => put_flag(b'C', cas, out),
    }
    end_line(level, out);
    out.put_slice(value);
    out.put_slice(names::CRLF);
}

/// `ma` of a sendable key. Answered by `VA` with the number, or by `NF`.
pub fn encode_meta_arithmetic(direction: Direction, key: &[u8], delta: u64, level: Option<Level>, out: &mut BytesMut) {
    out.put_slice(names::META_ARITHMETIC);
    put_key(key, out);
    out.put_slice(match direction {
        Direction::Increase => b" v MI",
        Direction::Decrease => b" v MD",
    });
    put_flag(b'D', delta, out);
    end_line(level, out);
}

/// `md` of a sendable key. Answered by `HD` or `NF`.
pub fn encode_meta_delete(key: &[u8], level: Option<Level>, out: &mut BytesMut) {
    out.put_slice(names::META_DELETE);
    put_key(key, out);
    end_line(level, out);
}

fn put_flag(letter: u8, argument: impl itoa::Integer, out: &mut BytesMut) {
    out.put_slice(&[b' ', letter]);
    out.put_slice(itoa::Buffer::new().format(argument).as_bytes());
}

fn end_line(level: Option<Level>, out: &mut BytesMut) {
    if let Some(level) = level {
        write!(out, " L{level}").expect("memory grows");
    }
    out.put_slice(names::CRLF);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::StoreMode;
    use crate::text::{Command, Step, TextLimits, parse};

    const LIMITS: TextLimits = TextLimits { item_bytes_max: 1 << 20, get_line_bytes_max: 1 << 20 };

    /// What the server's own grammar makes of the bytes.
    fn read(bytes: &BytesMut) -> Command<'_> {
        match parse(bytes, &LIMITS) {
            Step::Command { consumed, command } if consumed == bytes.len() => command,
            other => panic!("{}: {other:?}", bytes.escape_ascii()),
        }
    }

    fn encoded(encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let mut out = BytesMut::new();
        encode(&mut out);
        out
    }

    #[test]
    fn the_server_reads_what_was_meant() {
        let two = Some("2".parse().expect("a level"));
        let bytes = encoded(|out| encode_meta_get(b"k", MetaRead { with_cas: true, exptime: Some(60) }, two, out));
        assert_eq!(bytes.escape_ascii().to_string(), "mg k v f k c T60 L2\\r\\n");
        let Command::MetaGet(request) = read(&bytes) else { panic!() };
        assert_eq!((request.level(), request.exptime(), request.wants_value()), (two, Some(60), true));

        let bytes = encoded(|out| encode_meta_touch(b"k", -1, None, out));
        let Command::MetaGet(request) = read(&bytes) else { panic!() };
        assert_eq!((request.level(), request.exptime(), request.wants_value()), (None, Some(-1), false));

        for (verb, expected) in [
            (StoreVerb::Set, StoreMode::Set),
            (StoreVerb::Add, StoreMode::Add),
            (StoreVerb::Replace, StoreMode::Replace),
            (StoreVerb::Append, StoreMode::Append),
            (StoreVerb::Prepend, StoreMode::Prepend),
            (StoreVerb::Cas(77), StoreMode::Set),
        ] {
            let bytes = encoded(|out| encode_meta_store(verb, b"k", 5, 60, b"a\r\nb", Some(Level::One), out));
            let Command::MetaSet { request, mode, value } = read(&bytes) else { panic!() };
            assert_eq!((mode, value, request.flags(), request.exptime()), (expected, &b"a\r\nb"[..], 5, Some(60)));
            assert_eq!(request.compare().is_some(), matches!(verb, StoreVerb::Cas(_)));
            assert_eq!(request.level(), Some(Level::One));
        }

        for (direction, delta) in [(Direction::Increase, u64::MAX), (Direction::Decrease, 0)] {
            let bytes = encoded(|out| encode_meta_arithmetic(direction, b"k", delta, Some(Level::Quorum), out));
            let Command::MetaArithmetic { request, direction: read } = read(&bytes) else { panic!() };
            assert_eq!((read, request.delta(), request.wants_value()), (direction, delta, true));
        }

        let bytes = encoded(|out| encode_meta_delete(b"k", Some(Level::All), out));
        let Command::MetaDelete(request) = read(&bytes) else { panic!() };
        assert_eq!(request.level(), Some(Level::All));
    }
}
