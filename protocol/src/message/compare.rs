//! Comparing what two homes hold of many keys, by versions: a read whose values one home has and the other confirms.
//!
//! Must not know bytes of frames, nor what becomes of the answer.

use std::fmt;

use bytes::Bytes;

use crate::key::{KeyRef, Token};
use crate::limits::COMPARED_KEYS_MAX;
use crate::ring::Epoch;
use crate::version::Version;

/// [`Request::Compare`](super::Request::Compare): does the receiver hold these very versions?
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CompareRequest {
    /// The sender's ring config.
    pub epoch: Epoch,
    /// Whether a client reads: the copies take note of it.
    pub noticed: bool,
    /// What the sender holds.
    pub holdings: Holdings,
}

/// A key and the version that is held of it: an item's, a tombstone's, or none.
pub type Holding<'a> = (KeyRef<'a>, Option<Version>);

/// What a home holds of 1 to [`COMPARED_KEYS_MAX`] keys, whose bytes share one allocation.
#[derive(Clone)]
pub struct Holdings {
    keys: Bytes,
    rows: Vec<Row>,
}

#[derive(Clone)]
struct Row {
    start: u32,
    len: u8,
    token: Token,
    version: Option<Version>,
}

impl Holdings {
    /// Of keys that lie in these bytes; none of them yet.
    pub fn of_keys_in(keys: Bytes, count: usize) -> Self {
        Self { keys, rows: Vec::with_capacity(count.min(COMPARED_KEYS_MAX)) }
    }

    /// Adds the key that lies at `start`. False, and nothing is added, if there are [`COMPARED_KEYS_MAX`] already.
    ///
    /// # Panics
    ///
    /// When the key does not lie there.
    pub fn push(&mut self, start: usize, (key, version): Holding<'_>) -> bool {
        if self.rows.len() == COMPARED_KEYS_MAX {
            return false;
        }
        debug_assert_eq!(&self.keys[start..start + key.len()], key.as_bytes());
        let start = u32::try_from(start).expect("keys of one request come to less than 4 GiB");
        self.rows.push(Row { start, len: key.len() as u8, token: key.digest().token(), version });
        true
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Each key, in the order that they were added.
    pub fn iter(&self) -> impl Iterator<Item = Holding<'_>> {
        self.rows.iter().map(|row| {
            let start = row.start as usize;
            let bytes = &self.keys[start..start + usize::from(row.len)];
            (KeyRef::of_token(bytes, row.token).expect("it was a key when it was added"), row.version)
        })
    }
}

impl PartialEq for Holdings {
    /// Equal when the keys and versions are, wherever the keys lie.
    fn eq(&self, other: &Self) -> bool {
        self.rows.len() == other.rows.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Holdings {}

impl fmt::Debug for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
