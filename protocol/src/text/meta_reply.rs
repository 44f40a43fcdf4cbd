//! The answer line of a meta command: a code, then what the request's flags ask for, in their order.
//!
//! Must not know how the answer came about. A fact that the command does not give is left out, whatever flag asks for it.

use bytes::{BufMut, BytesMut};
use smallvec::SmallVec;

use super::base64;
use super::meta::{Echo, MetaRequest};
use super::names;

/// An answer line with its CR LF. The usual ones need no heap.
pub type MetaLine = SmallVec<[u8; 96]>;

/// What the line begins with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MetaCode {
    /// `VA <bytes>`: a value follows.
    Value(usize),
    /// `HD`: done, or a hit without its value.
    Done,
    /// `EN`: a miss of mg.
    Miss,
    /// `NF`: not found.
    NotFound,
    /// `NS`: not stored.
    NotStored,
    /// `EX`: exists, with another cas token.
    Exists,
}

/// What an answer can tell. Times are in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MetaFacts<'a> {
    /// `k`: the key as stored.
    pub key: &'a [u8],
    /// Whether the key is shown in base64; as the request sent it if `None`.
    pub binary_key: Option<bool>,
    /// `s`: bytes of the value.
    pub size: Option<usize>,
    /// `t`: what is left of the item's life, -1 for ever.
    pub ttl: Option<i64>,
    /// `t` behind a `T` of the request.
    pub ttl_touched: Option<i64>,
    /// `t` behind an `N` of the request that created the item.
    pub ttl_created: Option<i64>,
    /// `c`: the cas token.
    pub token: Option<u64>,
    /// `f`: the client's flags.
    pub flags: Option<u32>,
    /// `l`: since the last access.
    pub idle: Option<u32>,
    /// `h`: whether it had been read.
    pub fetched: Option<bool>,
    /// `Z`: another client has been asked to fetch the value anew.
    pub lost: bool,
    /// `X`: the value is stale.
    pub stale: bool,
    /// `W`: this client is asked to fetch the value anew.
    pub won: bool,
}

/// Spells an answer line.
pub fn meta_line(code: MetaCode, echo: &Echo, facts: &MetaFacts<'_>) -> MetaLine {
    let mut line = MetaLine::new();
    let words = echo.words.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    spell(code, words, echo.is_base64, facts, |bytes| line.extend_from_slice(bytes));
    line
}

/// Spells an answer line straight behind what is in `out`.
pub fn put_meta_line(code: MetaCode, request: &MetaRequest<'_>, facts: &MetaFacts<'_>, out: &mut BytesMut) {
    spell(code, request.echoed(), request.key().is_base64(), facts, |bytes| out.put_slice(bytes));
}

#[inline]
fn spell<'a>(
    code: MetaCode,
    echoed: impl Iterator<Item = &'a [u8]>,
    is_base64: bool,
    facts: &MetaFacts<'_>,
    mut line: impl FnMut(&[u8]),
) {
    let mut number = itoa::Buffer::new();
    line(code.word());
    if let MetaCode::Value(bytes) = code {
        line(b" ");
        line(number.format(bytes).as_bytes());
    }
    let mut ttl = facts.ttl;
    for word in echoed {
        let mut put = |text: Option<&str>| {
            if let Some(text) = text {
                line(&[b' ', word[0]]);
                line(text.as_bytes());
            }
        };
        match word[0] {
            b'T' => ttl = facts.ttl_touched,
            b'N' => ttl = facts.ttl_created.or(ttl),
            b's' => put(facts.size.map(|size| number.format(size))),
            b't' => put(ttl.map(|ttl| number.format(ttl))),
            b'c' => put(facts.token.map(|token| number.format(token))),
            b'f' => put(facts.flags.map(|flags| number.format(flags))),
            b'l' => put(facts.idle.map(|idle| number.format(idle))),
            b'h' => put(facts.fetched.map(|fetched| if fetched { "1" } else { "0" })),
            b'k' => put_key(facts.key, facts.binary_key.unwrap_or(is_base64), &mut line),
            _ => {
                line(b" ");
                line(word);
            }
        }
    }
    for (letter, holds) in [(b'Z', facts.lost), (b'X', facts.stale), (b'W', facts.won)] {
        if holds {
            line(&[b' ', letter]);
        }
    }
    line(names::CRLF);
}

/// The answer line of a miss in place of that of a hit, which a miss repeats the key and the opaque token of.
pub fn miss_line(hit: &[u8]) -> MetaLine {
    let mut line = MetaLine::from_slice(MetaCode::Miss.word());
    let hit = hit.strip_suffix(names::CRLF).unwrap_or(hit);
    let repeated = |word: &&[u8]| *word == b"b" || matches!(word.first(), Some(b'O' | b'k'));
    for word in hit.split(|&byte| byte == b' ').filter(repeated) {
        line.push(b' ');
        line.extend_from_slice(word);
    }
    line.extend_from_slice(names::CRLF);
    line
}

fn put_key(key: &[u8], binary: bool, line: &mut impl FnMut(&[u8])) {
    line(b" k");
    if binary {
        base64::encode(key, |letters| line(letters));
        line(b" b");
    } else {
        line(key);
    }
}

impl MetaCode {
    /// The code that this word is, but for `VA`.
    pub(super) fn without_value(word: &[u8]) -> Option<Self> {
        [Self::Done, Self::Miss, Self::NotFound, Self::NotStored, Self::Exists]
            .into_iter()
            .find(|code| code.word() == word)
    }

    fn word(self) -> &'static [u8] {
        match self {
            Self::Value(_) => b"VA",
            Self::Done => b"HD",
            Self::Miss => b"EN",
            Self::NotFound => b"NF",
            Self::NotStored => b"NS",
            Self::Exists => b"EX",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_repeats_what_does_not_tell_of_the_item() {
        for (hit, miss) in [
            ("VA 3\r\n", "EN\r\n"),
            ("VA 3 f5 kkey Oabc t-1 h0 l3 s3 c77\r\n", "EN kkey Oabc\r\n"),
            ("VA 3 kZm9v b O1 W\r\n", "EN kZm9v b O1\r\n"),
        ] {
            assert_eq!(miss_line(hit.as_bytes()).escape_ascii().to_string(), miss.escape_default().to_string());
        }
    }
}
