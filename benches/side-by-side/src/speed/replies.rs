//! Checks replies as they come, in whatever pieces: every length, every head with its key, and whose value it is.
//!
//! The middle of a value is passed over: to compare it would cost the generator more than a server needs to send it. Must not
//! know where the bytes come from.

use std::io::{Error, Result};

use crate::items::{KEY_BYTES, put_decimal, put_key};
use crate::speed::requests::{Digits, digits_of};
use crate::speed::workloads::{Batch, Command, Dialect, Workload};

/// Room for the longest head: `VALUE`, a key, two numbers, and the value's first bytes, which are the key again.
const HEAD_BYTES_MAX: usize = 128;

/// What of an unexpected reply is quoted.
const QUOTE_BYTES_MAX: usize = 120;

/// In which order the values of one request come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As they were asked for: so do memcached and memring.
    AsAsked,
    /// Any: a proxy puts together what several servers answer.
    Any,
}

/// What the replies to one batch of keys look like: for each key a head, a body and a tail; after all of them an end.
pub(crate) struct Layout {
    head: Vec<u8>,
    /// Where in the head the key's digits stand.
    places: Vec<usize>,
    body_bytes: usize,
    tail: &'static [u8],
    end: &'static [u8],
    order: Order,
}

/// How far the replies to one batch have come.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    /// Whose reply is coming: an index of the keys, or their number for the end.
    key: usize,
    /// Bytes of it that have come.
    at: usize,
    /// What has come of a head that is not whole yet.
    head: Vec<u8>,
}

impl Layout {
    pub(crate) fn new(workload: &Workload, order: Order) -> Self {
        let is_multiple = matches!(workload.batch, Batch::Keys(_));
        let (tail, end): (&[u8], &[u8]) = match (workload.command, workload.dialect, is_multiple) {
            (Command::Set, ..) => (b"", b""),
            (Command::Get, Dialect::Classic, false) => (b"\r\nEND\r\n", b""),
            (Command::Get, Dialect::Classic, true) => (b"\r\n", b"END\r\n"),
            (Command::Get, Dialect::Meta, false) => (b"\r\n", b""),
            (Command::Get, Dialect::Meta, true) => (b"\r\n", b"MN\r\n"),
        };
        let mut layout = Self { head: Vec::new(), places: Vec::new(), body_bytes: 0, tail, end, order };
        match (workload.command, workload.dialect) {
            (Command::Set, Dialect::Classic) => layout.head.extend_from_slice(b"STORED\r\n"),
            (Command::Set, Dialect::Meta) => layout.head.extend_from_slice(b"HD\r\n"),
            (Command::Get, dialect) => layout.put_value_head(dialect, workload.items.value_bytes),
        }
        assert!(layout.head.len() <= HEAD_BYTES_MAX);
        layout
    }

    fn put_value_head(&mut self, dialect: Dialect, value_bytes: usize) {
        if dialect == Dialect::Classic {
            self.head.extend_from_slice(b"VALUE ");
            self.put_place();
            self.head.extend_from_slice(b" 0 ");
            put_decimal(&mut self.head, value_bytes as u64);
        } else {
            self.head.extend_from_slice(b"VA ");
            put_decimal(&mut self.head, value_bytes as u64);
            self.head.extend_from_slice(b" k");
            self.put_place();
        }
        self.head.extend_from_slice(b"\r\n");
        self.put_place();
        self.body_bytes = value_bytes - KEY_BYTES;
    }

    fn put_place(&mut self) {
        put_key(&mut self.head, 0);
        self.places.push(self.head.len() - size_of::<Digits>());
    }

    /// Takes what came next, and tells whether the replies to `keys` are complete. An error quotes what should not be there.
    /// Keys whose values came are moved to the front in the order of their values.
    pub(crate) fn take(&self, progress: &mut Progress, keys: &mut [u32], mut bytes: &[u8]) -> Result<bool> {
        let (head, body) = (self.head.len(), self.head.len() + self.body_bytes);
        let whole = body + self.tail.len();
        while !bytes.is_empty() {
            if progress.key == keys.len() {
                bytes = fixed(self.end, &mut progress.at, bytes)?;
                if !bytes.is_empty() {
                    return Err(unexpected(bytes));
                }
                break;
            }
            if progress.at < head {
                bytes = self.take_head(progress, keys, bytes)?;
            } else if progress.at < body {
                let passed = bytes.len().min(body - progress.at);
                bytes = &bytes[passed..];
                progress.at += passed;
            } else {
                let mut at = progress.at - body;
                bytes = fixed(self.tail, &mut at, bytes)?;
                progress.at = body + at;
            }
            if progress.at == whole {
                progress.key += 1;
                progress.at = 0;
            }
        }
        let is_complete = progress.key == keys.len() && progress.at == self.end.len();
        if is_complete {
            (progress.key, progress.at) = (0, 0);
        }
        Ok(is_complete)
    }

    fn take_head<'a>(&self, progress: &mut Progress, keys: &mut [u32], bytes: &'a [u8]) -> Result<&'a [u8]> {
        let wanted = self.head.len() - progress.at;
        if progress.at == 0 && bytes.len() >= wanted {
            if !self.is_head(progress.key, keys, &bytes[..wanted]) {
                return Err(unexpected(bytes));
            }
        } else {
            let more = bytes.len().min(wanted);
            progress.head.extend_from_slice(&bytes[..more]);
            // An error may be shorter than what is waited for.
            let known = progress.head.len().min(self.places.first().copied().unwrap_or(self.head.len()));
            let is_right = if more < wanted {
                progress.head[..known] == self.head[..known]
            } else {
                self.is_head(progress.key, keys, &progress.head)
            };
            if !is_right {
                return Err(unexpected(&[&progress.head, &bytes[more..]].concat()));
            }
            if more < wanted {
                progress.at += more;
                return Ok(&bytes[more..]);
            }
            progress.head.clear();
        }
        progress.at += wanted;
        Ok(&bytes[wanted..])
    }

    /// Whether these bytes, as many as our head has, are the head of a reply to the key at `at`, or to one that may come now.
    fn is_head(&self, at: usize, keys: &mut [u32], head: &[u8]) -> bool {
        let Some(first) = self.places.first() else { return head == self.head };
        let mut digits = digits_of(keys[at]);
        if self.order == Order::Any && head[*first..first + digits.len()] != digits {
            let is_found = |key: &u32| head[*first..first + digits.len()] == digits_of(*key);
            let Some(found) = keys[at..].iter().position(is_found) else { return false };
            keys.swap(at, at + found);
            digits = digits_of(keys[at]);
        }
        let mut from = 0;
        for place in &self.places {
            let digits_end = place + digits.len();
            if head[from..*place] != self.head[from..*place] || head[*place..digits_end] != digits {
                return false;
            }
            from = digits_end;
        }
        head[from..] == self.head[from..]
    }
}

impl Progress {
    /// What has come of the reply that is waited for, for an error's text.
    pub(crate) fn so_far(&self) -> String {
        format!("{} replies, and {} bytes: {}", self.key, self.at, quoted(&self.head))
    }
}

/// Takes what `expected` has left from `at` on.
fn fixed<'a>(expected: &[u8], at: &mut usize, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let more = bytes.len().min(expected.len() - *at);
    if bytes[..more] != expected[*at..*at + more] {
        return Err(unexpected(bytes));
    }
    *at += more;
    Ok(&bytes[more..])
}

fn unexpected(bytes: &[u8]) -> Error {
    Error::other(format!("unexpected reply: {}", quoted(bytes)))
}

fn quoted(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(QUOTE_BYTES_MAX)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::{Layout, Order, Progress};
    use crate::speed::workloads::{
        Batch, GET_PIPELINE, Items, META_MULTIGET, META_SET, MULTIGET_1K, SET_PIPELINE, Workload,
    };

    const ITEMS: Items = Items { first: 0, count: 10, value_bytes: 32 };

    fn pair(workload: Workload) -> Workload {
        let batch = if matches!(workload.batch, Batch::Keys(_)) { Batch::Keys(2) } else { Batch::Pipeline(2) };
        Workload { items: ITEMS, batch, ..workload }
    }

    fn key(number: u32) -> String {
        format!("side-by-side:{number:017}")
    }

    fn value(number: u32) -> String {
        format!("VALUE {0} 0 32\r\n{0}vv\r\n", key(number))
    }

    /// Feeds a reply to keys 5 and 6 in pieces of so many bytes; whether it was complete, and only at its last byte.
    fn feed(workload: &Workload, order: Order, reply: &str, piece: usize) -> Result<bool, String> {
        let layout = Layout::new(workload, order);
        let (mut progress, mut keys) = (Progress::default(), [5, 6]);
        let mut pieces = reply.as_bytes().chunks(piece).peekable();
        while let Some(bytes) = pieces.next() {
            let is_complete = layout.take(&mut progress, &mut keys, bytes).map_err(|error| error.to_string())?;
            if is_complete || pieces.peek().is_none() {
                return Ok(is_complete && pieces.peek().is_none());
            }
        }
        Ok(false)
    }

    #[test]
    fn replies_are_taken_however_they_are_cut() {
        let replies = [
            (GET_PIPELINE, format!("{}END\r\n{}END\r\n", value(5), value(6))),
            (MULTIGET_1K, format!("{}{}END\r\n", value(5), value(6))),
            (META_MULTIGET, format!("VA 32 k{0}\r\n{0}vv\r\nVA 32 k{1}\r\n{1}vv\r\nMN\r\n", key(5), key(6))),
            (SET_PIPELINE, "STORED\r\nSTORED\r\n".to_owned()),
            (Workload { batch: Batch::Pipeline(2), ..META_SET }, "HD\r\nHD\r\n".to_owned()),
        ];
        for (workload, reply) in replies {
            for piece in [1, 3, 40, 1000] {
                assert_eq!(feed(&pair(workload), Order::AsAsked, &reply, piece), Ok(true), "{reply} by {piece}");
            }
            let short = &reply[..reply.len() - 1];
            assert_eq!(feed(&pair(workload), Order::AsAsked, short, 7), Ok(false), "{reply}");
        }
    }

    #[test]
    fn what_was_not_asked_for_is_an_error_that_quotes_it() {
        let swapped = format!("{}{}END\r\n", value(6), value(5));
        let foreign = format!("{}{}END\r\n", value(5), value(7));
        let other_value = value(5).replace("\r\nside-by-side:0", "\r\nside-by-side:1");
        let long = format!("{}{}END\r\nEND\r\n", value(5), value(6));
        for reply in ["END\r\n", "SERVER_ERROR out of memory\r\n", &swapped, &foreign, &other_value, &long] {
            for piece in [1, 1000] {
                let error = feed(&pair(MULTIGET_1K), Order::AsAsked, reply, piece);
                // In single bytes, the batch is complete before what should not follow it.
                let is_noticed = error.as_ref().is_err_and(|text| text.starts_with("unexpected reply: "))
                    || (piece == 1 && reply == long && error == Ok(false));
                assert!(is_noticed, "{reply} by {piece}: {error:?}");
            }
        }
    }

    #[test]
    fn a_proxy_may_answer_in_any_order_but_each_key_once() {
        let reply = |first, second| format!("{}{}END\r\n", value(first), value(second));
        for piece in [1, 1000] {
            assert_eq!(feed(&pair(MULTIGET_1K), Order::Any, &reply(6, 5), piece), Ok(true));
            assert!(feed(&pair(MULTIGET_1K), Order::Any, &reply(6, 6), piece).is_err());
        }
    }
}
