//! The commands of memcached as calls of a connection: arguments in, what the answer means out.
//!
//! Must not know how requests are sent and answers received.

use memring_protocol::text::{Direction, StoreVerb, ToldRing, read_ring_text};

use crate::answer::{Answer, Value};
use crate::connection::Connection;
use crate::error::Error;
use crate::pipeline::Pipeline;

/// Calls. An exptime is in seconds: 0 for ever, negative at once, up to 30 days from now, above that a unix time.
impl Connection {
    /// The value of a key, if there is one.
    pub async fn get(&mut self, key: &[u8]) -> Result<Option<Value>, Error> {
        self.call(|requests| requests.get(&[key], false), |answer| value_of(key, answer)).await
    }

    /// The value of a key with its cas token, if there is one.
    pub async fn gets(&mut self, key: &[u8]) -> Result<Option<Value>, Error> {
        self.call(|requests| requests.get(&[key], true), |answer| value_of(key, answer)).await
    }

    /// The values of those keys that have one, in order, duplicates repeated.
    pub async fn get_many<K: AsRef<[u8]>>(&mut self, keys: &[K]) -> Result<Vec<Value>, Error> {
        self.call(|requests| requests.get(keys, false), values).await
    }

    /// As [`get_many`](Self::get_many), with cas tokens.
    pub async fn gets_many<K: AsRef<[u8]>>(&mut self, keys: &[K]) -> Result<Vec<Value>, Error> {
        self.call(|requests| requests.get(keys, true), values).await
    }

    /// The value of a key with its cas token, if there is one, which gets a new exptime.
    pub async fn get_and_touch(&mut self, key: &[u8], exptime: i32) -> Result<Option<Value>, Error> {
        self.call(|requests| requests.get_and_touch(exptime, &[key], true), |answer| value_of(key, answer)).await
    }

    /// Stores a value whatever was there.
    pub async fn set(&mut self, key: &[u8], value: &[u8], flags: u32, exptime: i32) -> Result<(), Error> {
        let read = |answer| match answer {
            Answer::Stored => Ok(()),
            other => Err(other),
        };
        self.call(|requests| requests.store(StoreVerb::Set, key, value, flags, exptime), read).await
    }

    /// Stores a value if the key has none; whether it did.
    pub async fn add(&mut self, key: &[u8], value: &[u8], flags: u32, exptime: i32) -> Result<bool, Error> {
        self.call(|requests| requests.store(StoreVerb::Add, key, value, flags, exptime), is_stored).await
    }

    /// Stores a value if the key has one; whether it did.
    pub async fn replace(&mut self, key: &[u8], value: &[u8], flags: u32, exptime: i32) -> Result<bool, Error> {
        self.call(|requests| requests.store(StoreVerb::Replace, key, value, flags, exptime), is_stored).await
    }

    /// Puts bytes after the value there is; whether there was one with room for them.
    pub async fn append(&mut self, key: &[u8], value: &[u8]) -> Result<bool, Error> {
        self.call(|requests| requests.store(StoreVerb::Append, key, value, 0, 0), is_stored).await
    }

    /// Puts bytes before the value there is; whether there was one with room for them.
    pub async fn prepend(&mut self, key: &[u8], value: &[u8]) -> Result<bool, Error> {
        self.call(|requests| requests.store(StoreVerb::Prepend, key, value, 0, 0), is_stored).await
    }

    /// Stores a value if the item still has this cas token.
    pub async fn cas(
        &mut self,
        key: &[u8],
        value: &[u8],
        flags: u32,
        exptime: i32,
        cas: u64,
    ) -> Result<CasOutcome, Error> {
        let read = |answer| match answer {
            Answer::Stored => Ok(CasOutcome::Stored),
            Answer::Exists => Ok(CasOutcome::Exists),
            Answer::NotFound => Ok(CasOutcome::NotFound),
            other => Err(other),
        };
        self.call(|requests| requests.store(StoreVerb::Cas(cas), key, value, flags, exptime), read).await
    }

    /// Adds to a number, modulo 2^64; the sum, or `None` when there is no item.
    pub async fn increase(&mut self, key: &[u8], delta: u64) -> Result<Option<u64>, Error> {
        self.call(|requests| requests.arithmetic(Direction::Increase, key, delta), number).await
    }

    /// Subtracts from a number, stopping at 0; the difference, or `None` when there is no item.
    pub async fn decrease(&mut self, key: &[u8], delta: u64) -> Result<Option<u64>, Error> {
        self.call(|requests| requests.arithmetic(Direction::Decrease, key, delta), number).await
    }

    /// Gives an item a new exptime; whether there is one.
    pub async fn touch(&mut self, key: &[u8], exptime: i32) -> Result<bool, Error> {
        let read = |answer| match answer {
            Answer::Touched => Ok(true),
            Answer::NotFound => Ok(false),
            other => Err(other),
        };
        self.call(|requests| requests.touch(key, exptime), read).await
    }

    /// Removes an item; whether there was one.
    pub async fn delete(&mut self, key: &[u8]) -> Result<bool, Error> {
        let read = |answer| match answer {
            Answer::Deleted => Ok(true),
            Answer::NotFound => Ok(false),
            other => Err(other),
        };
        self.call(|requests| requests.delete(key), read).await
    }

    /// Removes everything, now or at an exptime.
    pub async fn flush_all(&mut self, exptime: Option<i32>) -> Result<(), Error> {
        let add = |requests: &mut Pipeline| {
            requests.flush_all(exptime);
            Ok(())
        };
        self.call(add, is_ok).await
    }

    /// Removes everything that is there now, evenly over so many seconds, 1 to
    /// [`FLUSH_OVER_MAX_S`](memring_protocol::flush::FLUSH_OVER_MAX_S). Returns when it has begun. memcached answers ERROR.
    pub async fn flush_over(&mut self, seconds: u32) -> Result<(), Error> {
        let add = |requests: &mut Pipeline| {
            requests.flush_over(seconds);
            Ok(())
        };
        self.call(add, is_ok).await
    }

    /// The server's version.
    pub async fn version(&mut self) -> Result<String, Error> {
        let add = |requests: &mut Pipeline| {
            requests.version();
            Ok(())
        };
        let read = |answer| match answer {
            Answer::Version(version) => Ok(version),
            other => Err(other),
        };
        self.call(add, read).await
    }

    /// The ring as this node tells it, if it knows one. memcached, and memring before 0.2, answer ERROR.
    pub async fn ring(&mut self) -> Result<Option<ToldRing>, Error> {
        let add = |requests: &mut Pipeline| {
            requests.config_get("ring");
            Ok(())
        };
        let read = |answer| match answer {
            Answer::Config(text) => Ok(text),
            other => Err(other),
        };
        let text = self.call(add, read).await?;
        read_ring_text(&text).map_err(|error| Error::OutOfProtocol(error.to_string()))
    }

    /// Names and values of statistics, of the kind the arguments name; none for `reset` and `detail on|off`.
    pub async fn stats(&mut self, arguments: &str) -> Result<Vec<(String, String)>, Error> {
        let read = |answer| match answer {
            Answer::Stats(stats) => Ok(stats),
            Answer::Reset | Answer::Ok => Ok(Vec::new()),
            other => Err(other),
        };
        self.call(|requests| requests.stats(arguments), read).await
    }
}

/// What a cas did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CasOutcome {
    /// The item had that token and has the new value.
    Stored,
    /// The item has another token, and its old value.
    Exists,
    /// There is no item.
    NotFound,
}

fn values(answer: Answer) -> Result<Vec<Value>, Answer> {
    match answer {
        Answer::Values(values) => Ok(values),
        other => Err(other),
    }
}

/// The one value of this very key; another key's is an answer to another request.
fn value_of(key: &[u8], answer: Answer) -> Result<Option<Value>, Answer> {
    match answer {
        Answer::Values(mut values) if values.len() <= 1 && values.iter().all(|value| value.key == key) => {
            Ok(values.pop())
        }
        other => Err(other),
    }
}

fn is_ok(answer: Answer) -> Result<(), Answer> {
    match answer {
        Answer::Ok => Ok(()),
        other => Err(other),
    }
}

fn is_stored(answer: Answer) -> Result<bool, Answer> {
    match answer {
        Answer::Stored => Ok(true),
        Answer::NotStored => Ok(false),
        other => Err(other),
    }
}

fn number(answer: Answer) -> Result<Option<u64>, Answer> {
    match answer {
        Answer::Number(number) => Ok(Some(number)),
        Answer::NotFound => Ok(None),
        other => Err(other),
    }
}
