//! Reply lines put together to one answer a request.
//!
//! Must not know sockets or requests beyond how their answers end.

use bytes::Bytes;
use memring_protocol::text::ReplyLine;

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
}

impl Partial {
    pub(crate) fn new(expected: Expected) -> Self {
        Self { expected, values: Vec::new(), stats: Vec::new() }
    }

    /// Takes the next line; the answer when it was the last one. A server error in the middle of values is the answer.
    pub(crate) fn take(&mut self, line: ReplyLine<'_>) -> Result<Option<Answer>, Error> {
        let answer = match (self.expected, line) {
            (_, ReplyLine::Error(words)) => Answer::Refused(text_or(words, "ERROR")),
            (_, ReplyLine::ClientError(words)) => Answer::Refused(text_or(words, "CLIENT_ERROR")),
            (_, ReplyLine::ServerError(words)) => Answer::Failed(text_or(words, "SERVER_ERROR")),
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
            (expected, line) => return Err(Error::OutOfProtocol(format!("{line:?} where {expected:?} was due"))),
        };
        Ok(Some(answer))
    }
}

/// Statistics and errors are for people: what is not UTF-8 is shown, not refused.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn text_or(bytes: &[u8], otherwise: &str) -> String {
    if bytes.is_empty() { otherwise.to_owned() } else { text(bytes) }
}
