//! The fields that hand-written bodies are made of.
//!
//! Must not know messages. Layouts: a key is its length (u8) and bytes; a value its length (u32) and bytes; a version
//! its ballot and stamp (u64 each); an option or a truth a byte 0 or 1; a choice a byte from 1 on, then its fields.

use bytes::{BufMut, Bytes, BytesMut};

use super::FrameError;
use crate::entry::{Body, BodyRef, Entry, EntryRef, Expiry, Item, ItemRef, Marks, Seen, ValueRef};
use crate::key::{KEY_BYTES_MAX, Key, KeyRef};
use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, WHOLE_BYTES_MAX};
use crate::message::Refusal;
use crate::ring::Epoch;
use crate::version::{Ballot, Slot, Stamp, Version};

// A key's length is one byte on the wire.
const _: () = assert!(KEY_BYTES_MAX <= u8::MAX as usize);

/// Bytes of the shortest key field.
pub(super) const KEY_FIELD_BYTES_MIN: usize = 1 + 1;

/// Bytes of a version.
const VERSION_BYTES: usize = 8 + 8;

/// Bytes of a tombstone: the shortest entry.
pub(super) const ENTRY_BYTES_MIN: usize = VERSION_BYTES + 1;

/// Bytes of an item beside its value.
const ITEM_FIELDS_BYTES: usize = 4 + 8 + 4 + 1 + 4;

const TOMBSTONE: u8 = 1;
const ITEM: u8 = 2;

const RECOVERING: u8 = 1;
const EPOCH: u8 = 2;
const NOT_HOME: u8 = 3;
const BUSY: u8 = 4;
const FENCED: u8 = 5;

/// Bytes that [`Writer::key`] writes.
pub(super) fn key_len<'k>(key: impl Into<KeyRef<'k>>) -> usize {
    1 + key.into().len()
}

/// Bytes that [`Writer::entry`] writes.
pub(super) fn entry_len(entry: &Entry) -> usize {
    match &entry.body {
        Body::Tombstone => ENTRY_BYTES_MIN,
        Body::Item(item) => ENTRY_BYTES_MIN + ITEM_FIELDS_BYTES + item.value.len(),
    }
}

/// Appends fields to a body.
pub(super) struct Writer<'a> {
    out: &'a mut BytesMut,
    start: usize,
    /// Large values that are not copied, and where in `out` they belong; `None` where the body must be one piece.
    apart: Option<&'a mut Vec<Apart>>,
    apart_bytes: usize,
}

/// A value that is kept out of the body that it belongs to.
pub(super) struct Apart {
    /// Bytes written before it.
    pub(super) at: usize,
    pub(super) value: Bytes,
}

impl<'a> Writer<'a> {
    /// Writes a body that begins at the end of `out`.
    pub(super) fn new(out: &'a mut BytesMut) -> Self {
        let start = out.len();
        Self { out, start, apart: None, apart_bytes: 0 }
    }

    /// The same, with values above [`WHOLE_BYTES_MAX`] put into `apart` instead.
    pub(super) fn in_pieces(out: &'a mut BytesMut, apart: &'a mut Vec<Apart>) -> Self {
        let start = out.len();
        Self { out, start, apart: Some(apart), apart_bytes: 0 }
    }

    pub(super) fn u8(&mut self, number: u8) {
        self.out.put_u8(number);
    }

    pub(super) fn u16(&mut self, number: u16) {
        self.out.put_u16_le(number);
    }

    pub(super) fn u32(&mut self, number: u32) {
        self.out.put_u32_le(number);
    }

    pub(super) fn u64(&mut self, number: u64) {
        self.out.put_u64_le(number);
    }

    pub(super) fn truth(&mut self, truth: bool) {
        self.out.put_u8(u8::from(truth));
    }

    pub(super) fn key<'k>(&mut self, key: impl Into<KeyRef<'k>>) -> Result<(), FrameError> {
        let key = key.into();
        self.check_room(key_len(key))?;
        self.out.put_u8(key.len() as u8);
        self.out.put_slice(key.as_bytes());
        Ok(())
    }

    pub(super) fn value(&mut self, value: ValueRef<'_>) -> Result<(), FrameError> {
        self.check_room(4 + value.len())?;
        self.out.put_u32_le(value.len() as u32);
        self.value_bytes(value);
        Ok(())
    }

    fn value_bytes(&mut self, value: ValueRef<'_>) {
        match &mut self.apart {
            Some(apart) if value.len() > WHOLE_BYTES_MAX => {
                self.apart_bytes += value.len();
                apart.push(Apart { at: self.out.len(), value: value.to_bytes() });
            }
            _ => self.out.put_slice(&value),
        }
    }

    /// Keys and values are what lets a body grow: refused before they are copied, not after.
    fn check_room(&self, bytes: usize) -> Result<(), FrameError> {
        let body_len = self.out.len() - self.start + self.apart_bytes + bytes;
        let max = if self.apart.is_some() { MESSAGE_BYTES_MAX } else { FRAME_BYTES_MAX };
        if body_len > max { Err(FrameError::TooLong(body_len)) } else { Ok(()) }
    }

    pub(super) fn version(&mut self, version: Version) {
        self.u64(version.ballot.0);
        self.u64(version.stamp.0);
    }

    pub(super) fn expiry(&mut self, expiry: Expiry) {
        self.u32(expiry.unix_seconds().unwrap_or(0));
    }

    pub(super) fn item(&mut self, item: &ItemRef<'_>) -> Result<(), FrameError> {
        self.check_room(ITEM_FIELDS_BYTES + item.value.len())?;
        // In one piece: entries are what homes send most.
        let mut fields = [0; ITEM_FIELDS_BYTES];
        fields[..4].copy_from_slice(&item.flags.to_le_bytes());
        fields[4..12].copy_from_slice(&item.cas.to_le_bytes());
        fields[12..16].copy_from_slice(&item.expiry.unix_seconds().unwrap_or(0).to_le_bytes());
        fields[16] = item.marks.bits();
        fields[17..].copy_from_slice(&(item.value.len() as u32).to_le_bytes());
        self.out.put_slice(&fields);
        self.value_bytes(item.value);
        Ok(())
    }

    pub(super) fn seen(&mut self, seen: Seen) {
        self.truth(seen.fetched);
        self.u32(seen.idle_s);
    }

    /// An option: a byte 0 or 1, then what it holds.
    pub(super) fn option<T>(&mut self, option: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.truth(option.is_some());
        if let Some(held) = option {
            put(self, held);
        }
    }

    pub(super) fn entry<'e>(&mut self, entry: impl Into<EntryRef<'e>>) -> Result<(), FrameError> {
        let entry = entry.into();
        let mut fields = [0; ENTRY_BYTES_MIN];
        fields[..8].copy_from_slice(&entry.version.ballot.0.to_le_bytes());
        fields[8..16].copy_from_slice(&entry.version.stamp.0.to_le_bytes());
        fields[16] = if matches!(entry.body, BodyRef::Item(_)) { ITEM } else { TOMBSTONE };
        self.out.put_slice(&fields);
        match &entry.body {
            BodyRef::Tombstone => Ok(()),
            BodyRef::Item(item) => self.item(item),
        }
    }

    pub(super) fn refusal(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Recovering => self.u8(RECOVERING),
            Refusal::Epoch(epoch) => {
                self.u8(EPOCH);
                self.u64(epoch.0);
            }
            Refusal::NotHome => self.u8(NOT_HOME),
            Refusal::Busy => self.u8(BUSY),
            Refusal::Fenced(ballot) => {
                self.u8(FENCED);
                self.u64(ballot.0);
            }
        }
    }

    /// What `codec` writes behind the fields so far.
    pub(super) fn behind(&mut self) -> &mut BytesMut {
        self.out
    }
}

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
        if count > self.rest.len() / bytes_each {
            return Err(FrameError::Short);
        }
        Ok(Vec::with_capacity(count))
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

/// The error of a choice that does not exist.
pub(super) fn no(what: &'static str, choice: u8) -> FrameError {
    FrameError::Value { what, value: u64::from(choice) }
}

/// The error of a list that is too long, or empty where it may not be.
pub(super) fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), FrameError> {
    if count > max { Err(FrameError::Count { what, count, max }) } else { Ok(()) }
}
