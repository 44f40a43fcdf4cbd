//! What an entry will take up as a record, and the writing of its head: the other side of `record`, which reads.
//!
//! Must not know where it is written.

use memring_protocol::entry::{BodyRef, EntryRef, Expiry, Marks};
use memring_protocol::key::KeyRef;

use super::record::{
    ACCESS_AT, FETCHED, FIXED_BYTES, FREQUENCY_SHIFT, HAS_BALLOT, HAS_CAS, HAS_EXPIRY, HAS_FLAGS, HAS_LARGE, HAS_LONG,
    HAS_MARKS, History, Home, KEY_LEN_AT, RARE_BITS, STAMP_AT, TERM_AT, TOKEN_AT, TOMBSTONE, Term, VALUE_LEN_AT,
    rare_len,
};

/// What a record will take up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Shape {
    tag: u16,
    /// Bytes of the head, which lies in one piece.
    pub(super) head_len: usize,
    /// Bytes of the value in the log.
    pub(super) value_len: usize,
}

impl Shape {
    /// Of an entry whose value goes beside the log if `is_large`.
    pub(super) fn of(key: &KeyRef<'_>, entry: &EntryRef<'_>, term: Term, is_large: bool) -> Self {
        let mut tag = if matches!(term, Term::Whole(_)) { HAS_BALLOT } else { 0 };
        let mut value_len = 0;
        match &entry.body {
            BodyRef::Tombstone => tag |= TOMBSTONE,
            BodyRef::Item(item) => {
                let set = |bit: u16, wanted: bool| if wanted { bit } else { 0 };
                value_len = if is_large { 0 } else { item.value.len() };
                tag |= set(HAS_FLAGS, item.flags != 0)
                    // Every write but a touch makes the token equal to the stamp.
                    | set(HAS_CAS, item.cas != entry.version.stamp.0)
                    | set(HAS_EXPIRY, item.expiry != Expiry::NEVER)
                    | set(HAS_MARKS, item.marks != Marks::NONE)
                    | set(HAS_LONG, value_len > usize::from(u16::MAX))
                    | set(HAS_LARGE, is_large);
            }
        }
        Self { tag, head_len: FIXED_BYTES + rare_len(tag) + key.len(), value_len }
    }

    /// Whether it ends.
    pub(super) fn expires(&self) -> bool {
        self.tag & HAS_EXPIRY != 0
    }

    /// Bytes in the log, all told.
    pub(super) fn len(&self) -> usize {
        self.head_len + self.value_len
    }

    /// Writes the head of a record over the first [`Shape::head_len`] bytes. The entry is the one that the shape was
    /// taken of.
    pub(super) fn write_head(&self, into: &mut [u8], key: &KeyRef<'_>, entry: &EntryRef<'_>, written: &Written) {
        let into = &mut into[..self.head_len];
        let (fixed, mut rest) = into.split_first_chunk_mut::<FIXED_BYTES>().expect("a head has the fixed fields");
        let History { fetched, frequency, accessed_s } = written.history;
        let tag = self.tag | if fetched { FETCHED } else { 0 } | u16::from(frequency) << FREQUENCY_SHIFT;
        fixed[..KEY_LEN_AT].copy_from_slice(&tag.to_le_bytes());
        fixed[KEY_LEN_AT] = key.len() as u8;
        fixed[VALUE_LEN_AT..ACCESS_AT].copy_from_slice(&(self.value_len as u16).to_le_bytes());
        fixed[ACCESS_AT..TOKEN_AT].copy_from_slice(&accessed_s.to_le_bytes());
        fixed[TOKEN_AT..TERM_AT].copy_from_slice(&key.digest().token().0.to_le_bytes());
        let number = if let Term::Number(number) = written.term { number } else { 0 };
        fixed[TERM_AT..STAMP_AT].copy_from_slice(&number.to_le_bytes());
        fixed[STAMP_AT..].copy_from_slice(&entry.version.stamp.0.to_le_bytes());
        if self.tag & RARE_BITS != 0 {
            rest = self.write_rare(rest, entry, written);
        }
        rest.copy_from_slice(key.as_bytes());
    }

    #[cold]
    fn write_rare<'a>(&self, mut into: &'a mut [u8], entry: &EntryRef<'_>, written: &Written) -> &'a mut [u8] {
        let mut put = |field: &[u8]| {
            let (at, rest) = std::mem::take(&mut into).split_at_mut(field.len());
            at.copy_from_slice(field);
            into = rest;
        };
        if let Term::Whole(ballot) = written.term {
            put(&ballot.0.to_le_bytes());
        }
        if let BodyRef::Item(item) = &entry.body {
            if self.tag & HAS_FLAGS != 0 {
                put(&item.flags.to_le_bytes());
            }
            if self.tag & HAS_CAS != 0 {
                put(&item.cas.to_le_bytes());
            }
            if let Some(second) = item.expiry.unix_seconds() {
                put(&second.to_le_bytes());
            }
            if self.tag & HAS_MARKS != 0 {
                put(&[item.marks.bits()]);
            }
            if self.tag & HAS_LONG != 0 {
                put(&((self.value_len >> 16) as u16).to_le_bytes());
            }
            if let Home::Large(number) = written.home {
                put(&number.to_le_bytes());
            }
        }
        into
    }
}

/// What a record says beside its entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) term: Term,
    pub(super) home: Home,
    pub(super) history: History,
}
