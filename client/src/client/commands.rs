//! The commands of memcached as calls of a client: arguments in, what the answer means out.
//!
//! Must not know servers: `attempts` asks them. Which answers a command can have is told with it, so that a connection on which
//! another one comes is given up.

use bytes::Bytes;
use memring_protocol::text::{Direction, StoreVerb, is_sendable_key};
use tokio::time::Instant;

use super::Client;
use super::attempts::understood;
use crate::answer::{Answer, Value};
use crate::calls::CasOutcome;
use crate::error::Error;
use crate::link::{Asking, Fits};
use crate::pipeline::Pipeline;
use crate::routing::Purpose;

/// Calls. An exptime is in seconds: 0 for ever, negative at once, up to 30 days from now, above that a unix time. `flags` are
/// the client's own 32 bits, kept with the value.
impl Client {
    /// The value of a key, if there is one. Gets of many tasks that wait together are sent as one multi-get; where a server
    /// answers that with an error (memring does so with `--unmet error` only), all of them have it.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>, Error> {
        self.read(key.as_ref(), false).await
    }

    /// The value of a key with its cas token, if there is one.
    pub async fn gets(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>, Error> {
        self.read(key.as_ref(), true).await
    }

    async fn read(&self, key: &[u8], with_cas: bool) -> Result<Option<Value>, Error> {
        let asking = self.reading(key, with_cas)?;
        self.ask(key, Purpose::Read, asking, only_value).await
    }

    /// How one key is asked for.
    pub(super) fn reading<'a>(&self, key: &'a [u8], with_cas: bool) -> Result<impl Fn() -> Asking + use<'a>, Error> {
        if !is_sendable_key(key) {
            return Err(Error::InvalidKey);
        }
        let said = match self.terms.level {
            Some(level) => {
                let mut request = Pipeline::new();
                request.ask_level(Some(level));
                request.get(&[key], with_cas)?;
                Some(request.into_only())
            }
            None => None,
        };
        Ok(move || match &said {
            Some((bytes, expected)) => {
                let fits = Fits::ValueOf(Bytes::copy_from_slice(key));
                Asking::Say { bytes: bytes.clone(), expected: *expected, fits }
            }
            None => Asking::Read { keys: [Bytes::copy_from_slice(key)].into(), with_cas },
        })
    }

    /// Stores a value whatever was there.
    pub async fn set(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        flags: u32,
        exptime: i32,
    ) -> Result<(), Error> {
        let stored = self.store(StoreVerb::Set, key.as_ref(), value.as_ref(), flags, exptime).await?;
        if stored == CasOutcome::Stored { Ok(()) } else { Err(Error::OutOfProtocol("a set was not stored".to_owned())) }
    }

    /// Stores a value if the key has none; whether it did.
    pub async fn add(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        flags: u32,
        exptime: i32,
    ) -> Result<bool, Error> {
        self.store(StoreVerb::Add, key.as_ref(), value.as_ref(), flags, exptime).await.map(is_stored)
    }

    /// Stores a value if the key has one; whether it did.
    pub async fn replace(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        flags: u32,
        exptime: i32,
    ) -> Result<bool, Error> {
        self.store(StoreVerb::Replace, key.as_ref(), value.as_ref(), flags, exptime).await.map(is_stored)
    }

    /// Puts bytes after the value there is; whether there was one with room for them.
    pub async fn append(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.store(StoreVerb::Append, key.as_ref(), value.as_ref(), 0, 0).await.map(is_stored)
    }

    /// Puts bytes before the value there is; whether there was one with room for them.
    pub async fn prepend(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<bool, Error> {
        self.store(StoreVerb::Prepend, key.as_ref(), value.as_ref(), 0, 0).await.map(is_stored)
    }

    /// Stores a value if the item still has this cas token, of [`Client::gets`].
    pub async fn cas(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        flags: u32,
        exptime: i32,
        cas: u64,
    ) -> Result<CasOutcome, Error> {
        self.store(StoreVerb::Cas(cas), key.as_ref(), value.as_ref(), flags, exptime).await
    }

    async fn store(
        &self,
        verb: StoreVerb,
        key: &[u8],
        value: &[u8],
        flags: u32,
        exptime: i32,
    ) -> Result<CasOutcome, Error> {
        let fits =
            |answer: &Answer| matches!(answer, Answer::Stored | Answer::NotStored | Answer::Exists | Answer::NotFound);
        let outcome = |answer| match answer {
            Answer::Stored => Some(CasOutcome::Stored),
            Answer::NotStored | Answer::NotFound => Some(CasOutcome::NotFound),
            Answer::Exists => Some(CasOutcome::Exists),
            _ => None,
        };
        self.change(key, |request| request.store(verb, key, value, flags, exptime), fits, outcome).await
    }

    /// Adds to a number, modulo 2^64; the sum, or `None` when there is no item. `incr`.
    #[doc(alias = "incr")]
    pub async fn increase(&self, key: impl AsRef<[u8]>, delta: u64) -> Result<Option<u64>, Error> {
        self.count(Direction::Increase, key.as_ref(), delta).await
    }

    /// Subtracts from a number, stopping at 0; the difference, or `None` when there is no item. `decr`.
    #[doc(alias = "decr")]
    pub async fn decrease(&self, key: impl AsRef<[u8]>, delta: u64) -> Result<Option<u64>, Error> {
        self.count(Direction::Decrease, key.as_ref(), delta).await
    }

    async fn count(&self, direction: Direction, key: &[u8], delta: u64) -> Result<Option<u64>, Error> {
        let fits = |answer: &Answer| matches!(answer, Answer::Number(_) | Answer::NotFound);
        let number = |answer| match answer {
            Answer::Number(number) => Some(Some(number)),
            Answer::NotFound => Some(None),
            _ => None,
        };
        self.change(key, |request| request.arithmetic(direction, key, delta), fits, number).await
    }

    /// Gives an item a new exptime; whether there is one.
    pub async fn touch(&self, key: impl AsRef<[u8]>, exptime: i32) -> Result<bool, Error> {
        let fits = |answer: &Answer| matches!(answer, Answer::Touched | Answer::NotFound);
        let key = key.as_ref();
        self.change(key, |request| request.touch(key, exptime), fits, |answer| Some(answer == Answer::Touched)).await
    }

    /// Removes an item; whether there was one.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let fits = |answer: &Answer| matches!(answer, Answer::Deleted | Answer::NotFound);
        let key = key.as_ref();
        self.change(key, |request| request.delete(key), fits, |answer| Some(answer == Answer::Deleted)).await
    }

    async fn change<T>(
        &self,
        key: &[u8],
        add: impl FnOnce(&mut Pipeline) -> Result<(), Error>,
        fits: fn(&Answer) -> bool,
        read: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T, Error> {
        let mut request = Pipeline::new();
        request.ask_level(self.terms.level);
        add(&mut request)?;
        let (bytes, expected) = request.into_only();
        if bytes.len() > self.shared.options.request_bytes_max {
            let bytes_max = self.shared.options.request_bytes_max;
            return Err(Error::RequestTooLarge { bytes: bytes.len(), bytes_max });
        }
        let asking = || Asking::Say { bytes: bytes.clone(), expected, fits: Fits::If(fits) };
        self.ask(key, Purpose::Write, asking, read).await
    }

    /// Removes everything, now or at an exptime: of a cluster by one of its nodes, of memcached servers one after the other.
    ///
    /// # Errors
    /// That of the first server that fails; of memcached servers those before it are empty, and it and those behind may not
    /// be.
    pub async fn flush_all(&self, exptime: Option<i32>) -> Result<(), Error> {
        let mut request = Pipeline::new();
        request.flush_all(exptime);
        let (bytes, expected) = request.into_only();
        let fits = |answer: &Answer| *answer == Answer::Ok;
        let asking = || Asking::Say { bytes: bytes.clone(), expected, fits: Fits::If(fits) };
        if self.shared.view.load().topology.is_one_cache() {
            return self.ask(b"", Purpose::Write, asking, |_| Some(())).await;
        }
        for (_, flushed) in self.ask_all(asking, |_| Some(())).await {
            flushed?;
        }
        Ok(())
    }

    /// Names and values of statistics of every server, by its address, of the kind the arguments name: `stats`, `stats items` ….
    /// None for `reset` and `detail on|off`.
    ///
    /// # Errors
    /// If the arguments are no line; a server's own failure is told in its place.
    pub async fn stats(&self, arguments: &str) -> Result<Vec<(String, Result<Vec<(String, String)>, Error>)>, Error> {
        let mut request = Pipeline::new();
        request.stats(arguments)?;
        let (bytes, expected) = request.into_only();
        let fits = |answer: &Answer| matches!(answer, Answer::Stats(_) | Answer::Reset | Answer::Ok);
        let asking = || Asking::Say { bytes: bytes.clone(), expected, fits: Fits::If(fits) };
        let stats = |answer| match answer {
            Answer::Stats(stats) => Some(stats),
            _ => Some(Vec::new()),
        };
        Ok(self.ask_all(asking, stats).await)
    }

    /// Asks every server whose address is known, all at once.
    async fn ask_all<T>(
        &self,
        asking: impl Fn() -> Asking,
        read: impl Fn(Answer) -> Option<T>,
    ) -> Vec<(String, Result<T, Error>)> {
        let (view, within) = (self.shared.view.load_full(), self.terms.deadline);
        let deadline = Instant::now() + within;
        let mut begun = Vec::new();
        for link in view.links() {
            begun.push((link.address().to_owned(), link.begin(asking(), deadline).await));
        }
        let mut answers = Vec::with_capacity(begun.len());
        for (address, begun) in begun {
            let answer = match begun {
                Ok(begun) => begun.answer(deadline, within).await,
                Err(error) => Err(error),
            };
            answers.push((address, answer.and_then(|answer| understood(answer, &read))));
        }
        answers
    }
}

fn is_stored(outcome: CasOutcome) -> bool {
    outcome == CasOutcome::Stored
}

fn only_value(answer: Answer) -> Option<Option<Value>> {
    match answer {
        Answer::Values(mut values) => Some(values.pop()),
        _ => None,
    }
}
