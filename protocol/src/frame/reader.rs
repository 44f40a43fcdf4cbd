//! The fields that hand-written bodies are made of, read; written by `fields`, which tells their layouts.
//!
//! Must not know messages. Nothing is allocated for a length or a count that the bytes there could not bear out.

use bytes::Bytes;

use super::FrameError;
use super::fields::{BUSY, EPOCH, FENCED, ITEM, KEY_FIELD_BYTES_MIN, NOT_HOME, RECOVERING, TOMBSTONE, no};
use crate::entry::{Body, BodyRef, Entry, EntryRef, Expiry, Item, ItemRef, Marks, Seen, ValueRef};
use crate::key::{Key, KeyRef};
use crate::message::Refusal;
use crate::ring::Epoch;
use crate::version::{Ballot, Slot, Stamp, Version};

/// Takes fields from the front of a body.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// The body, if it is an allocation of its own that a value may be a part of.
    own: Option<&'a Bytes>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { rest: body, own: None }
    }

    /// Reads a body whose allocation is given away with the value that is most of it.
    pub(super) fn of_own(body: &'a Bytes) -> Self {
        Self { rest: body, own: Some(body) }
    }

    /// Nothing may be behind the last field.
    pub(super) fn finish(self) -> Result<(), FrameError> {
        if self.rest.is_empty() { Ok(()) } else { Err(FrameError::Trailing(self.rest.len())) }
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>().ok_or(FrameError::Short)?;
        self.rest = rest;
        Ok(*chunk)
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], FrameError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(FrameError::Short)?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, FrameError> {
        self.chunk::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, FrameError> {
        self.chunk().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, FrameError> {
        self.chunk().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, FrameError> {
        self.chunk().map(u64::from_le_bytes)
    }

    pub(super) fn truth(&mut self) -> Result<bool, FrameError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(no("truth", other)),
        }
    }

    /// An empty list for `count` things of at least `bytes_each` bytes. A count that the rest of the body cannot hold
    /// is refused before anything is allocated for it.
    pub(super) fn list<T>(&self, count: usize, bytes_each: usize) -> Result<Vec<T>, FrameError> {
        self.check_count(count, bytes_each)?;
        Ok(Vec::with_capacity(count))
    }

    /// Whether the rest of the body can hold `count` things of at least `bytes_each` bytes.
    pub(super) fn check_count(&self, count: usize, bytes_each: usize) -> Result<(), FrameError> {
        if count > self.rest.len() / bytes_each { Err(FrameError::Short) } else { Ok(()) }
    }

    pub(super) fn key(&mut self) -> Result<Key, FrameError> {
        Ok(self.key_view()?.to_key())
    }

    /// A key where it lies.
    pub(super) fn key_view(&mut self) -> Result<KeyRef<'a>, FrameError> {
        let length = usize::from(self.u8()?);
        Ok(KeyRef::new(self.bytes(length)?)?)
    }

    /// So many keys, one behind the other. They share one copy of their bytes: who keeps one of many, keeps all.
    pub(super) fn keys(&mut self, count: usize) -> Result<Vec<Key>, FrameError> {
        let mut keys = self.list(count, KEY_FIELD_BYTES_MIN)?;
        if count == 1 {
            keys.push(self.key()?);
            return Ok(keys);
        }
        let from = self.rest;
        for _ in 0..count {
            let length = usize::from(self.u8()?);
            self.bytes(length)?;
        }
        let all = Bytes::copy_from_slice(&from[..from.len() - self.rest.len()]);
        let mut at = 0;
        for _ in 0..count {
            let length = usize::from(all[at]);
            keys.push(Key::new(all.slice(at + 1..at + 1 + length))?);
            at += 1 + length;
        }
        Ok(keys)
    }

    pub(super) fn value(&mut self) -> Result<Bytes, FrameError> {
        let bytes = self.value_view()?;
        Ok(self.kept(bytes))
    }

    fn value_view(&mut self) -> Result<&'a [u8], FrameError> {
        let length = self.u32()? as usize;
        self.bytes(length)
    }

    /// A part of the body, to be kept.
    fn kept(&self, bytes: &[u8]) -> Bytes {
        match self.own {
            // A smaller part would pin more than itself for as long as it is stored.
            Some(own) if bytes.len() > own.len() / 2 => own.slice_ref(bytes),
            _ => Bytes::copy_from_slice(bytes),
        }
    }

    pub(super) fn version(&mut self) -> Result<Version, FrameError> {
        Ok(Version { ballot: Ballot(self.u64()?), stamp: Stamp(self.u64()?) })
    }

    pub(super) fn slot(&mut self) -> Result<Slot, FrameError> {
        let number = self.u16()?;
        Slot::new(number).ok_or(FrameError::Value { what: "slot", value: u64::from(number) })
    }

    pub(super) fn expiry(&mut self) -> Result<Expiry, FrameError> {
        let seconds = self.u32()?;
        Ok(if seconds == 0 { Expiry::NEVER } else { Expiry::at(seconds) })
    }

    pub(super) fn item(&mut self) -> Result<Item, FrameError> {
        let item = self.item_view()?;
        Ok(self.kept_item(&item))
    }

    fn item_view(&mut self) -> Result<ItemRef<'a>, FrameError> {
        let (flags, cas, expiry, marks) = (self.u32()?, self.u64()?, self.expiry()?, self.marks()?);
        Ok(ItemRef { value: ValueRef::Part(self.value_view()?), flags, cas, expiry, marks })
    }

    fn kept_item(&self, item: &ItemRef<'_>) -> Item {
        let ItemRef { value, flags, cas, expiry, marks } = item;
        Item { value: self.kept(value), flags: *flags, cas: *cas, expiry: *expiry, marks: *marks }
    }

    fn marks(&mut self) -> Result<Marks, FrameError> {
        let bits = self.u8()?;
        Marks::from_bits(bits).ok_or(no("set of marks", bits))
    }

    pub(super) fn seen(&mut self) -> Result<Seen, FrameError> {
        Ok(Seen { fetched: self.truth()?, idle_s: self.u32()? })
    }

    pub(super) fn option<T>(
        &mut self,
        take: impl FnOnce(&mut Self) -> Result<T, FrameError>,
    ) -> Result<Option<T>, FrameError> {
        if self.truth()? { take(self).map(Some) } else { Ok(None) }
    }

    pub(super) fn entry(&mut self) -> Result<Entry, FrameError> {
        let entry = self.entry_view()?;
        Ok(self.kept_entry(&entry))
    }

    /// An entry whose value stays where it lies.
    pub(super) fn entry_view(&mut self) -> Result<EntryRef<'a>, FrameError> {
        let version = self.version()?;
        let body = match self.u8()? {
            TOMBSTONE => BodyRef::Tombstone,
            ITEM => BodyRef::Item(self.item_view()?),
            other => return Err(no("entry", other)),
        };
        Ok(EntryRef { version, body })
    }

    /// An entry of this body, to be kept.
    pub(super) fn kept_entry(&self, entry: &EntryRef<'_>) -> Entry {
        let body = match &entry.body {
            BodyRef::Tombstone => Body::Tombstone,
            BodyRef::Item(item) => Body::Item(self.kept_item(item)),
        };
        Entry { version: entry.version, body }
    }

    pub(super) fn refusal(&mut self) -> Result<Refusal, FrameError> {
        match self.u8()? {
            RECOVERING => Ok(Refusal::Recovering),
            EPOCH => Ok(Refusal::Epoch(Epoch(self.u64()?))),
            NOT_HOME => Ok(Refusal::NotHome),
            BUSY => Ok(Refusal::Busy),
            FENCED => Ok(Refusal::Fenced(Ballot(self.u64()?))),
            other => Err(no("refusal", other)),
        }
    }

    /// What `codec` reads.
    pub(super) fn rest(&mut self) -> &mut &'a [u8] {
        &mut self.rest
    }
}
