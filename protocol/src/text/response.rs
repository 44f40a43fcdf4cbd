//! What a server answers, and its bytes.
//!
//! Must not know how an answer came about.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use super::error_reply::ErrorReply;
use super::meta_reply::MetaLine;
use super::names;
use crate::entry::Item;

/// The whole answer to one command that is not quiet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// To get, gets, gat and gats: a `VALUE` block for each hit, then `END`.
    Values {
        /// Whether the lines carry cas tokens.
        with_cas: bool,
        /// Hits only, in request order, duplicates repeated, each with its key as sent.
        values: Vec<(Bytes, Item)>,
    },
    /// To get and gets: `VALUE` blocks that are written already, to be followed by `END`.
    Blocks(Bytes),
    /// The value was stored.
    Stored,
    /// add, replace, append or prepend did not find what it needs.
    NotStored,
    /// cas: the item has another cas token.
    Exists,
    /// There is no such item.
    NotFound,
    /// The item is gone.
    Deleted,
    /// The item has its new expiry.
    Touched,
    /// Done.
    Ok,
    /// What incr or decr made of the value.
    Number(u64),
    /// The server's version: digits and dots, which clients parse.
    Version(&'static str),
    /// `STAT` lines of name and value, then `END`.
    Stats(Vec<(Cow<'static, str>, String)>),
    /// stats reset.
    Reset,
    /// To a meta command: its answer line, and behind it the value with its CR LF if there is one.
    Meta(MetaLine, Option<Bytes>),
    /// To `mn`.
    MetaNoop,
    /// Nothing at all: `q` hides it.
    Hidden,
    /// Lines as they are, the last one ended: rare answers of forms of their own.
    Text(Bytes),
    /// An error memcached also knows.
    Failed(ErrorReply),
    /// `SERVER_ERROR` and this text: memring's own, such as a quorum that was not reached.
    ServerError(String),
}

impl Response {
    /// Appends the answer to `out`, which grows at most once for the values.
    ///
    /// CR and LF inside a text or a statistic become spaces, so that no answer can be mistaken for two. Keys come from
    /// command lines and cannot hold them.
    pub fn encode(&self, out: &mut BytesMut) {
        self.encode_around(out, usize::MAX, |_, _| {});
    }

    /// As [`Response::encode`], but a value of more than `copied_bytes_max` is not copied to `out`: `apart` is given it
    /// when all that stands before it is in `out`.
    #[inline]
    pub fn encode_around(
        &self,
        out: &mut BytesMut,
        copied_bytes_max: usize,
        mut apart: impl FnMut(&mut BytesMut, &Bytes),
    ) {
        match self {
            Self::Values { with_cas, values } => encode_values(*with_cas, values, out, copied_bytes_max, apart),
            Self::Blocks(blocks) => {
                if blocks.len() > copied_bytes_max {
                    apart(out, blocks);
                } else {
                    out.put_slice(blocks);
                }
                put_end(out);
            }
            Self::Stored => put_line(names::STORED, out),
            Self::NotStored => put_line(names::NOT_STORED, out),
            Self::Exists => put_line(names::EXISTS, out),
            Self::NotFound => put_line(names::NOT_FOUND, out),
            Self::Deleted => put_line(names::DELETED, out),
            Self::Touched => put_line(names::TOUCHED, out),
            Self::Ok => put_line(names::OK, out),
            Self::Reset => put_line(names::RESET, out),
            Self::Number(number) => put_line(itoa::Buffer::new().format(*number).as_bytes(), out),
            Self::Version(version) => {
                out.put_slice(names::VERSION_SPACE);
                put_line(version.as_bytes(), out);
            }
            Self::Stats(stats) => encode_stats(stats, out),
            Self::Meta(line, value) => {
                out.put_slice(line);
                match value {
                    Some(value) if value.len() > copied_bytes_max => {
                        apart(out, value);
                        out.put_slice(names::CRLF);
                    }
                    Some(value) => put_line(value, out),
                    None => {}
                }
            }
            Self::MetaNoop => put_line(names::META_NOOP_REPLY, out),
            Self::Hidden => {}
            Self::Text(lines) => out.put_slice(lines),
            Self::Failed(error) => put_line(error.as_str().as_bytes(), out),
            Self::ServerError(text) => {
                out.put_slice(names::SERVER_ERROR);
                out.put_u8(b' ');
                put_text(text, out);
                out.put_slice(names::CRLF);
            }
        }
    }
}

/// "VALUE ", three numbers with a space before each, and two line ends: what a value takes beside itself and its key.
pub const VALUE_OVERHEAD: usize = 6 + 11 + 21 + 21 + 4;

/// The line before a value of a get's answer; the value and CR LF follow.
#[inline]
pub fn put_value_line(key: &[u8], flags: u32, value_len: usize, cas: Option<u64>, out: &mut BytesMut) {
    let mut digits = itoa::Buffer::new();
    out.put_slice(names::VALUE_SPACE);
    out.put_slice(key);
    if flags == 0 {
        out.put_slice(b" 0 ");
    } else {
        out.put_u8(b' ');
        out.put_slice(digits.format(flags).as_bytes());
        out.put_u8(b' ');
    }
    out.put_slice(digits.format(value_len).as_bytes());
    if let Some(cas) = cas {
        out.put_u8(b' ');
        out.put_slice(digits.format(cas).as_bytes());
    }
    out.put_slice(names::CRLF);
}

/// The end of a get's answer.
pub fn put_end(out: &mut BytesMut) {
    put_line(names::END, out);
}

fn encode_values(
    with_cas: bool,
    values: &[(Bytes, Item)],
    out: &mut BytesMut,
    copied_bytes_max: usize,
    mut apart: impl FnMut(&mut BytesMut, &Bytes),
) {
    let copied = |value: &Bytes| if value.len() > copied_bytes_max { 0 } else { value.len() };
    let bytes: usize = values.iter().map(|(key, item)| VALUE_OVERHEAD + key.len() + copied(&item.value)).sum();
    out.reserve(bytes + names::END.len() + names::CRLF.len());
    for (key, item) in values {
        put_value_line(key, item.flags, item.value.len(), with_cas.then_some(item.cas), out);
        if item.value.len() > copied_bytes_max {
            apart(out, &item.value);
        } else {
            out.put_slice(&item.value);
        }
        out.put_slice(names::CRLF);
    }
    put_line(names::END, out);
}

fn encode_stats(stats: &[(Cow<'static, str>, String)], out: &mut BytesMut) {
    for (name, value) in stats {
        out.put_slice(names::STAT_SPACE);
        put_text(name, out);
        out.put_u8(b' ');
        put_text(value, out);
        out.put_slice(names::CRLF);
    }
    put_line(names::END, out);
}

fn put_line(line: &[u8], out: &mut BytesMut) {
    out.put_slice(line);
    out.put_slice(names::CRLF);
}

fn put_text(text: &str, out: &mut BytesMut) {
    let start = out.len();
    out.put_slice(text.as_bytes());
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Expiry, Marks};

    fn check(response: Response, expected: &str) {
        let mut out = BytesMut::from(&b"before "[..]);
        response.encode(&mut out);
        assert_eq!(out.escape_ascii().to_string(), format!("before {expected}").escape_default().to_string());
    }

    fn value(key: &'static str, flags: u32, value: &'static str, cas: u64) -> (Bytes, Item) {
        let value = Bytes::from(value);
        let item = Item { value, flags, cas, expiry: Expiry::NEVER, marks: Marks::NONE };
        (Bytes::from(key), item)
    }

    #[test]
    fn answers_are_spelled_as_memcached_spells_them() {
        check(Response::Stored, "STORED\r\n");
        check(Response::NotStored, "NOT_STORED\r\n");
        check(Response::Exists, "EXISTS\r\n");
        check(Response::NotFound, "NOT_FOUND\r\n");
        check(Response::Deleted, "DELETED\r\n");
        check(Response::Touched, "TOUCHED\r\n");
        check(Response::Ok, "OK\r\n");
        check(Response::Reset, "RESET\r\n");
        check(Response::Number(u64::MAX), "18446744073709551615\r\n");
        check(Response::Version("1.6.45"), "VERSION 1.6.45\r\n");
        check(Response::Failed(ErrorReply::Unknown), "ERROR\r\n");
        check(
            Response::Failed(ErrorReply::NonNumeric),
            "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
        );
        check(Response::Failed(ErrorReply::TooManyConnections), "ERROR Too many open connections\r\n");
    }

    #[test]
    fn values_come_in_order_with_their_cas_only_when_asked() {
        let values = vec![value("a", 5, "x y", 77), value("b", u32::MAX, "", 78), value("a", 5, "x y", 77)];
        check(
            Response::Values { with_cas: false, values: values.clone() },
            "VALUE a 5 3\r\nx y\r\nVALUE b 4294967295 0\r\n\r\nVALUE a 5 3\r\nx y\r\nEND\r\n",
        );
        check(
            Response::Values { with_cas: true, values },
            "VALUE a 5 3 77\r\nx y\r\nVALUE b 4294967295 0 78\r\n\r\nVALUE a 5 3 77\r\nx y\r\nEND\r\n",
        );
        check(Response::Values { with_cas: true, values: Vec::new() }, "END\r\n");
        check(Response::Blocks(Bytes::from_static(b"VALUE k 0 1\r\nv\r\n")), "VALUE k 0 1\r\nv\r\nEND\r\n");
    }

    #[test]
    fn meta_answers_are_their_line_and_the_value_behind_it() {
        let line = |text: &str| MetaLine::from_slice(text.as_bytes());
        check(Response::Meta(line("HD t-1\r\n"), None), "HD t-1\r\n");
        check(Response::Meta(line("VA 3 kkey\r\n"), Some(Bytes::from("a b"))), "VA 3 kkey\r\na b\r\n");
        check(Response::Meta(line("VA 0\r\n"), Some(Bytes::new())), "VA 0\r\n\r\n");
        check(Response::MetaNoop, "MN\r\n");
        check(Response::Hidden, "");
        check(Response::Text(Bytes::from("ME key exp=-1\r\n")), "ME key exp=-1\r\n");
    }

    #[test]
    fn large_values_are_given_apart_at_their_place() {
        let values = vec![value("a", 1, "xyz", 7), value("b", 2, "four", 8), value("c", 3, "fives", 9)];
        let large = Response::Meta(MetaLine::from_slice(b"VA 4 t1\r\n"), Some(Bytes::from("four")));
        for (response, expected) in [
            (
                Response::Values { with_cas: false, values },
                "VALUE a 1 3\r\nxyz\r\nVALUE b 2 4\r\n<four>\r\nVALUE c 3 5\r\n<fives>\r\nEND\r\n",
            ),
            (large, "VA 4 t1\r\n<four>\r\n"),
            (Response::Meta(MetaLine::from_slice(b"VA 3\r\n"), Some(Bytes::from("one"))), "VA 3\r\none\r\n"),
        ] {
            let (mut out, mut sent) = (BytesMut::new(), Vec::new());
            response.encode_around(&mut out, 3, |out, value| {
                sent.extend_from_slice(&out.split());
                sent.extend_from_slice(&[b"<", &value[..], b">"].concat());
            });
            sent.extend_from_slice(&out);
            assert_eq!(sent.escape_ascii().to_string(), expected.escape_default().to_string());
        }
    }

    #[test]
    fn no_text_can_end_its_line_early() {
        check(
            Response::ServerError("quorum not reached (1 of 2)".into()),
            "SERVER_ERROR quorum not reached (1 of 2)\r\n",
        );
        check(Response::ServerError("a\r\nEND".into()), "SERVER_ERROR a  END\r\n");
        check(
            Response::Stats(vec![("pid".into(), "1".into()), ("odd\n".into(), "a\rb".into())]),
            "STAT pid 1\r\nSTAT odd  a b\r\nEND\r\n",
        );
        check(Response::Stats(Vec::new()), "END\r\n");
    }
}
