//! Answers to meta commands as clients read them. Must not know what was asked.

use bytes::Bytes;
use memring_protocol::text::Response;

/// An answer line, taken apart, and its value.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetaAnswer {
    /// `HD`, `VA`, `EN` ….
    pub code: String,
    /// `c`.
    pub token: Option<u64>,
    /// `f`.
    pub flags: Option<u32>,
    /// `t`: seconds to live, -1 for an item that does not end.
    pub ttl_s: Option<i64>,
    /// `W`.
    pub won: bool,
    /// `X`.
    pub stale: bool,
    /// `Z`.
    pub lost: bool,
    /// The value, if one was sent.
    pub value: Option<Bytes>,
}

impl MetaAnswer {
    /// Reads a response; `None` if it is none to a meta command.
    pub fn read(response: &Response) -> Option<Self> {
        let Response::Meta(line, value) = response else { return None };
        let line = std::str::from_utf8(line).expect("answers to these tests' commands are text");
        let mut words = line.trim_end().split(' ');
        let mut answer = Self { code: words.next()?.to_owned(), value: value.clone(), ..Self::default() };
        for word in words {
            match word {
                "W" => answer.won = true,
                "X" => answer.stale = true,
                "Z" => answer.lost = true,
                _ => answer.take(word),
            }
        }
        Some(answer)
    }

    /// A word with a number.
    fn take(&mut self, word: &str) {
        match word.split_at_checked(1) {
            Some(("c", token)) => self.token = token.parse().ok(),
            Some(("f", flags)) => self.flags = flags.parse().ok(),
            Some(("t", ttl_s)) => self.ttl_s = ttl_s.parse().ok(),
            _ => {}
        }
    }
}
