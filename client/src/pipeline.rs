//! Several requests as one piece of bytes, and how the answer to each will look.
//!
//! Must not know sockets. Every request is checked here, before any of it is sent.

use bytes::{Bytes, BytesMut};
use memring_protocol::level::Level;
use memring_protocol::text::{
    Direction, MetaRead, StoreVerb, encode_arithmetic, encode_config_get, encode_delete, encode_flush_all,
    encode_flush_over, encode_get, encode_get_and_touch, encode_meta_arithmetic, encode_meta_delete, encode_meta_get,
    encode_meta_store, encode_meta_touch, encode_stats, encode_store, encode_touch, encode_version, is_sendable_key,
    is_sendable_line,
};

use crate::answer::MetaAsked;
use crate::error::Error;

/// How an answer ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expected {
    /// One line.
    Line,
    /// `VALUE` blocks up to `END`.
    Values,
    /// `STAT` lines up to `END`.
    Stats,
    /// `CONFIG` with a block, and `END`.
    Config,
    /// One line of a meta command, with its block.
    Meta(MetaAsked),
}

/// Requests to be sent together. [`Connection::run`](crate::Connection::run) answers them in the order they were added.
///
/// A refused request adds nothing. There is no noreply here: its errors could not be told from the answers to other
/// requests.
#[derive(Clone, Default, Debug)]
pub struct Pipeline {
    bytes: BytesMut,
    expected: Vec<Expected>,
    level: Option<Level>,
}

impl Pipeline {
    /// No requests yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many requests there are, and so how many answers there will be.
    pub fn len(&self) -> usize {
        self.expected.len()
    }

    /// Whether there is no request.
    pub fn is_empty(&self) -> bool {
        self.expected.is_empty()
    }

    /// Forgets the requests but keeps their memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.expected.clear();
    }

    /// The requests for keys that are added from here on ask for this level, or for none of their own. Those that do are
    /// sent as meta commands, of one key each, and answered as the classic ones are. memcached passes over the level.
    pub fn ask_level(&mut self, level: Option<Level>) {
        self.level = level;
    }

    /// The values of keys, with cas tokens if asked: get or gets. Answered by
    /// [`Answer::Values`](crate::Answer::Values). With a [level](Self::ask_level) of one key only.
    pub fn get<K: AsRef<[u8]>>(&mut self, keys: &[K], with_cas: bool) -> Result<(), Error> {
        check_keys(keys)?;
        if self.level.is_some() {
            return self.meta_get(keys, MetaRead { with_cas, exptime: None });
        }
        encode_get(keys.iter().map(AsRef::as_ref), with_cas, &mut self.bytes);
        self.expected.push(Expected::Values);
        Ok(())
    }

    /// The values of keys, which get a new exptime: gat or gats.
    pub fn get_and_touch<K: AsRef<[u8]>>(&mut self, exptime: i32, keys: &[K], with_cas: bool) -> Result<(), Error> {
        check_keys(keys)?;
        if self.level.is_some() {
            return self.meta_get(keys, MetaRead { with_cas, exptime: Some(exptime.into()) });
        }
        encode_get_and_touch(exptime.into(), keys.iter().map(AsRef::as_ref), with_cas, &mut self.bytes);
        self.expected.push(Expected::Values);
        Ok(())
    }

    /// set, add, replace, append, prepend or cas.
    pub fn store(&mut self, verb: StoreVerb, key: &[u8], value: &[u8], flags: u32, exptime: i32) -> Result<(), Error> {
        check_key(key)?;
        if self.level.is_some() {
            encode_meta_store(verb, key, flags, exptime.into(), value, self.level, &mut self.bytes);
            self.expected.push(Expected::Meta(MetaAsked::Store));
        } else {
            encode_store(verb, key, flags, exptime.into(), value, false, &mut self.bytes);
            self.expected.push(Expected::Line);
        }
        Ok(())
    }

    /// incr or decr.
    pub fn arithmetic(&mut self, direction: Direction, key: &[u8], delta: u64) -> Result<(), Error> {
        check_key(key)?;
        if self.level.is_some() {
            encode_meta_arithmetic(direction, key, delta, self.level, &mut self.bytes);
            self.expected.push(Expected::Meta(MetaAsked::Arithmetic));
        } else {
            encode_arithmetic(direction, key, delta, false, &mut self.bytes);
            self.expected.push(Expected::Line);
        }
        Ok(())
    }

    /// touch.
    pub fn touch(&mut self, key: &[u8], exptime: i32) -> Result<(), Error> {
        check_key(key)?;
        if self.level.is_some() {
            encode_meta_touch(key, exptime.into(), self.level, &mut self.bytes);
            self.expected.push(Expected::Meta(MetaAsked::Touch));
        } else {
            encode_touch(key, exptime.into(), false, &mut self.bytes);
            self.expected.push(Expected::Line);
        }
        Ok(())
    }

    /// delete.
    pub fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        check_key(key)?;
        if self.level.is_some() {
            encode_meta_delete(key, self.level, &mut self.bytes);
            self.expected.push(Expected::Meta(MetaAsked::Delete));
        } else {
            encode_delete(key, false, &mut self.bytes);
            self.expected.push(Expected::Line);
        }
        Ok(())
    }

    /// flush_all, now or at an exptime.
    pub fn flush_all(&mut self, exptime: Option<i32>) {
        encode_flush_all(exptime.map(i64::from), false, &mut self.bytes);
        self.expected.push(Expected::Line);
    }

    /// flush_over: everything goes, evenly over so many seconds. memring's own.
    pub fn flush_over(&mut self, seconds: u32) {
        encode_flush_over(seconds, false, &mut self.bytes);
        self.expected.push(Expected::Line);
    }

    /// version.
    pub fn version(&mut self) {
        encode_version(&mut self.bytes);
        self.expected.push(Expected::Line);
    }

    /// `config get`, of `cluster` or `ring`. Answered by [`Answer::Config`](crate::Answer::Config); memcached answers ERROR.
    pub fn config_get(&mut self, what: &'static str) {
        encode_config_get(what, &mut self.bytes);
        self.expected.push(Expected::Config);
    }

    /// stats, with arguments or an empty string. `reset` is answered by [`Answer::Reset`](crate::Answer::Reset), the
    /// others by [`Answer::Stats`](crate::Answer::Stats).
    pub fn stats(&mut self, arguments: &str) -> Result<(), Error> {
        if !is_sendable_line(arguments.as_bytes()) {
            return Err(Error::InvalidRequest("control characters in the arguments of stats"));
        }
        encode_stats(arguments.as_bytes(), &mut self.bytes);
        self.expected.push(Expected::Stats);
        Ok(())
    }

    fn meta_get<K: AsRef<[u8]>>(&mut self, keys: &[K], read: MetaRead) -> Result<(), Error> {
        let [key] = keys else { return Err(Error::InvalidRequest("a read of several keys at a level of its own")) };
        encode_meta_get(key.as_ref(), read, self.level, &mut self.bytes);
        self.expected.push(Expected::Meta(MetaAsked::Get));
        Ok(())
    }

    /// The bytes of its only request, and how its answer ends.
    pub(crate) fn into_only(self) -> (Bytes, Expected) {
        let [expected] = self.expected[..] else { panic!("it has one request") };
        (self.bytes.freeze(), expected)
    }

    /// Bytes of memory held for requests.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn expected(&self) -> &[Expected] {
        &self.expected
    }
}

fn check_key(key: &[u8]) -> Result<(), Error> {
    if is_sendable_key(key) { Ok(()) } else { Err(Error::InvalidKey) }
}

fn check_keys<K: AsRef<[u8]>>(keys: &[K]) -> Result<(), Error> {
    if keys.is_empty() {
        return Err(Error::InvalidRequest("a read of no keys"));
    }
    keys.iter().try_for_each(|key| check_key(key.as_ref()))
}
