//! Reply lines put together to one answer a request.
//!
//! Must not know sockets or requests beyond how their answers end.

use bytes::Bytes;
use memring_protocol::text::{MetaCode, ReplyLine, meta_fact};

use crate::error::Error;
use crate::pipeline::Expected;

/// A value as a server sent it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value {
    /// Its key.
    pub key: Bytes,
    /// The value.
    pub bytes: Bytes,
    /// The client flags it was stored with.
    pub flags: u32,
    /// The cas token, when it was asked for.
    pub cas: Option<u64>,
}

/// The answer to one request.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Answer {
    /// The hits, in request order, duplicates repeated.
    Values(Vec<Value>),
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
    /// The server's version.
    Version(String),
    /// Names and values of statistics, as sent.
    Stats(Vec<(String, String)>),
    /// stats reset.
    Reset,
    /// The block that `config get` is answered by.
    Config(Bytes),
    /// `ERROR` or `CLIENT_ERROR` and this text: the request was not applied.
    Refused(String),
    /// `SERVER_ERROR` and this text: the request may have been applied.
    Failed(String),
}

/// An answer whose last line has not arrived yet.
#[derive(Debug)]
pub(crate) struct Partial {
    expected: Expected,
    values: Vec<Value>,
    stats: Vec<(String, String)>,
    config: Bytes,
}

impl Partial {
    pub(crate) fn new(expected: Expected) -> Self {
        Self { expected, values: Vec::new(), stats: Vec::new(), config: Bytes::new() }
    }

    /// Takes the next line; the answer when it was the last one. A server error in the middle of values is the answer.
    pub(crate) fn take(&mut self, line: ReplyLine<'_>) -> Result<Option<Answer>, Error> {
        if let Some(answer) = refusal(line) {
            return Ok(Some(answer));
        }
        let answer = match (self.expected, line) {
            (Expected::Values, ReplyLine::Value { key, flags, cas, value }) => {
                let (key, bytes) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                self.values.push(Value { key, bytes, flags, cas });
                return Ok(None);
            }
            (Expected::Values, ReplyLine::End) => Answer::Values(std::mem::take(&mut self.values)),
            (Expected::Stats, ReplyLine::Stat { name, value }) => {
                self.stats.push((text(name), text(value)));
                return Ok(None);
            }
            (Expected::Stats, ReplyLine::End) => Answer::Stats(std::mem::take(&mut self.stats)),
            (Expected::Stats, ReplyLine::Reset) => Answer::Reset,
            (Expected::Stats, ReplyLine::Ok) | (Expected::Line, ReplyLine::Ok) => Answer::Ok,
            (Expected::Line, ReplyLine::Stored) => Answer::Stored,
            (Expected::Line, ReplyLine::NotStored) => Answer::NotStored,
            (Expected::Line, ReplyLine::Exists) => Answer::Exists,
            (Expected::Line, ReplyLine::NotFound) => Answer::NotFound,
            (Expected::Line, ReplyLine::Deleted) => Answer::Deleted,
            (Expected::Line, ReplyLine::Touched) => Answer::Touched,
            (Expected::Line, ReplyLine::Number(number)) => Answer::Number(number),
            (Expected::Line, ReplyLine::Version(version)) => Answer::Version(text(version)),
            (Expected::Config, ReplyLine::Config { block, .. }) => {
                self.config = Bytes::copy_from_slice(block);
                return Ok(None);
            }
            (Expected::Config, ReplyLine::End) => Answer::Config(std::mem::take(&mut self.config)),
            (Expected::Meta(asked), ReplyLine::Meta { code, flags, value }) => match asked.answer(code, flags, value) {
                Some(answer) => answer,
                None => return Err(Error::OutOfProtocol(format!("{line:?} does not answer {asked:?}"))),
            },
            (expected, line) => return Err(Error::OutOfProtocol(format!("{line:?} where {expected:?} was due"))),
        };
        Ok(Some(answer))
    }
}

/// An answer that says no, whatever was asked.
pub(crate) fn refusal(line: ReplyLine<'_>) -> Option<Answer> {
    match line {
        ReplyLine::Error(words) => Some(Answer::Refused(text_or(words, "ERROR"))),
        ReplyLine::ClientError(words) => Some(Answer::Refused(text_or(words, "CLIENT_ERROR"))),
        ReplyLine::ServerError(words) => Some(Answer::Failed(text_or(words, "SERVER_ERROR"))),
        _ => None,
    }
}

/// Which meta command was sent for a request, so that its answer is told as that of the classic one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum MetaAsked {
    /// `mg` for a value; answers as get.
    Get,
    /// `mg` without one; answers as touch.
    Touch,
    /// `ms`.
    Store,
    /// `md`.
    Delete,
    /// `ma`.
    Arithmetic,
}

impl MetaAsked {
    fn answer(self, code: MetaCode, flags: &[u8], value: &[u8]) -> Option<Answer> {
        Some(match (self, code) {
            (Self::Get, MetaCode::Value(_)) => Answer::Values(vec![meta_value(flags, value)?]),
            (Self::Get, MetaCode::Miss) => Answer::Values(Vec::new()),
            (Self::Touch, MetaCode::Done) => Answer::Touched,
            (Self::Touch, MetaCode::Miss) => Answer::NotFound,
            (Self::Store, MetaCode::Done) => Answer::Stored,
            (Self::Store, MetaCode::NotStored) => Answer::NotStored,
            (Self::Store, MetaCode::Exists) => Answer::Exists,
            (Self::Delete, MetaCode::Done) => Answer::Deleted,
            (Self::Arithmetic, MetaCode::Value(_)) => Answer::Number(parsed(value)?),
            (Self::Store | Self::Delete | Self::Arithmetic, MetaCode::NotFound) => Answer::NotFound,
            _ => return None,
        })
    }
}

/// What `mg key v f k c` is answered by.
fn meta_value(flags: &[u8], value: &[u8]) -> Option<Value> {
    Some(Value {
        key: Bytes::copy_from_slice(meta_fact(flags, b'k')?),
        bytes: Bytes::copy_from_slice(value),
        flags: parsed(meta_fact(flags, b'f')?)?,
        cas: match meta_fact(flags, b'c') {
            Some(cas) => Some(parsed(cas)?),
            None => None,
        },
    })
}

fn parsed<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// Statistics and errors are for people: what is not UTF-8 is shown, not refused.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn text_or(bytes: &[u8], otherwise: &str) -> String {
    if bytes.is_empty() { otherwise.to_owned() } else { text(bytes) }
}
