//! What the records of a shard say: versions, values, listings.
//!
//! Must not change anything.

use bytes::{BufMut, Bytes, BytesMut};
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, Seen, UnixMillis};
use memring_protocol::version::{Ballot, Version};

use super::listing::Listing;
use super::log::Log;
use super::record::{FIXED_BYTES, Record, Term};
use super::shard::Shard;

impl Shard {
    #[inline(always)]
    pub(super) fn record(&self, place: u32) -> Record<'_> {
        self.segments.record(place)
    }

    #[inline(always)]
    pub(super) fn version(&self, place: u32) -> Version {
        let record = self.record(place);
        let ballot: Ballot = match record.term() {
            Term::Number(number) => self.terms.ballot(number),
            Term::Whole(ballot) => ballot,
        };
        Version { ballot, stamp: record.stamp() }
    }

    /// Bytes of a record's value, wherever it is.
    pub(super) fn value_len(&self, place: u32) -> usize {
        let record = self.record(place);
        record.large().map_or_else(|| record.value_len(), |number| self.larges.get(number).len())
    }

    /// Bytes of the item as its size class is told by: without its rare fields.
    pub(super) fn item_size(&self, place: u32) -> usize {
        FIXED_BYTES + self.record(place).key().len() + self.value_len(place)
    }

    /// The item; its value is copied unless it is a large one. `None` for a tombstone.
    pub(super) fn item(&self, place: u32) -> Option<Item> {
        let record = self.record(place);
        let cas = record.cas()?;
        let value = self.value(place);
        Some(Item { value, flags: record.flags(), cas, expiry: record.expiry(), marks: record.marks() })
    }

    /// The entry, its value as for [`Shard::item`].
    pub(super) fn entry(&self, place: u32) -> Entry {
        Entry { version: self.version(place), body: self.item(place).map_or(Body::Tombstone, Body::Item) }
    }

    /// All that can be told of an item without its value; `None` for a tombstone.
    pub(super) fn listing_of(&self, place: u32) -> Option<Listing> {
        let record = self.record(place);
        Some(Listing {
            cas: record.cas()?,
            key: Bytes::copy_from_slice(record.key()),
            expiry: record.expiry(),
            accessed_s: record.accessed_s(),
            fetched: record.was_fetched(),
            flags: record.flags(),
            marks: record.marks(),
            value_bytes: self.value_len(place),
        })
    }

    fn value(&self, place: u32) -> Bytes {
        if let Some(number) = self.record(place).large() {
            return self.larges.get(number).clone();
        }
        let record = self.record(place);
        let mut value = BytesMut::with_capacity(record.value_len());
        self.copy_value(place, record, &mut value);
        value.freeze()
    }

    #[cold]
    fn copy_parts(&self, place: u32, into: &mut impl BufMut) {
        Log::value(&self.segments, place).for_each(|part| into.put_slice(part));
    }

    /// Copies the value of a record, that is in the log.
    #[inline]
    fn copy_value(&self, place: u32, record: Record<'_>, into: &mut impl BufMut) {
        let (start, len) = (record.head_len(), record.value_len());
        // Most lie in one piece.
        match record.bytes().get(start..start + len) {
            Some(value) => into.put_slice(value),
            None => self.copy_parts(place, into),
        }
    }
}

/// A live item, seen under its shard's lock: nothing of it is copied until it is asked for.
pub struct ItemView<'a> {
    shard: &'a Shard,
    place: u32,
    record: Record<'a>,
    now: UnixMillis,
}

impl<'a> ItemView<'a> {
    #[inline]
    pub(super) fn new(shard: &'a Shard, place: u32, now: UnixMillis) -> Self {
        Self { shard, place, record: shard.record(place), now }
    }

    /// The client's flags.
    pub fn flags(&self) -> u32 {
        self.record.flags()
    }

    /// The cas token.
    pub fn cas(&self) -> u64 {
        self.record.cas().expect("a view is of an item")
    }

    /// When it ends.
    pub fn expiry(&self) -> Expiry {
        self.record.expiry()
    }

    /// What meta commands noted on it.
    pub fn marks(&self) -> Marks {
        self.record.marks()
    }

    /// How it had been read before.
    pub fn seen(&self) -> Seen {
        self.record.seen(self.now)
    }

    /// Bytes of its value.
    pub fn value_len(&self) -> usize {
        match self.record.large() {
            Some(number) => self.shard.larges.get(number).len(),
            None => self.record.value_len(),
        }
    }

    /// Its bytes as its size class is told by.
    #[inline]
    pub(super) fn size(&self) -> usize {
        super::item_size(self.record.key_len(), self.value_len())
    }

    /// Copies its value behind what is there: at most [`ItemView::value_len`] bytes that `into` has room for.
    #[inline]
    pub fn copy_value(&self, into: &mut impl BufMut) {
        match self.large_value() {
            Some(value) => into.put_slice(&value),
            None => self.shard.copy_value(self.place, self.record, into),
        }
    }

    /// Its value by reference, if it is one of the large ones that are not copied.
    #[inline]
    pub fn large_value(&self) -> Option<Bytes> {
        self.record.large().map(|number| self.shard.larges.get(number).clone())
    }

    /// The item, its value copied unless it is a large one.
    pub fn to_item(&self) -> Item {
        self.shard.item(self.place).expect("a view is of an item")
    }
}
