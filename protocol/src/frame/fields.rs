//! The fields that hand-written bodies are made of.
//!
//! Must not know messages. Layouts: a key is its length (u8) and bytes; a value its length (u32) and bytes; a version
//! its ballot and stamp (u64 each); an option or a truth a byte 0 or 1; a choice a byte from 1 on, then its fields.

use bytes::{BufMut, Bytes, BytesMut};

use super::FrameError;
use crate::entry::{Body, BodyRef, Entry, EntryRef, Expiry, ItemRef, Seen, ValueRef};
use crate::key::{KEY_BYTES_MAX, KeyRef};
use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, WHOLE_BYTES_MAX};
use crate::message::Refusal;
use crate::version::Version;

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

pub(super) const TOMBSTONE: u8 = 1;
pub(super) const ITEM: u8 = 2;

pub(super) const RECOVERING: u8 = 1;
pub(super) const EPOCH: u8 = 2;
pub(super) const NOT_HOME: u8 = 3;
pub(super) const BUSY: u8 = 4;
pub(super) const FENCED: u8 = 5;

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

/// The error of a choice that does not exist.
pub(super) fn no(what: &'static str, choice: u8) -> FrameError {
    FrameError::Value { what, value: u64::from(choice) }
}

/// The error of a list that is too long, or empty where it may not be.
pub(super) fn check_count(what: &'static str, count: usize, max: usize) -> Result<(), FrameError> {
    if count > max { Err(FrameError::Count { what, count, max }) } else { Ok(()) }
}
