//! One entry as bytes: tag, key length, marks, last access, token, version, the rare fields that it has, key, value.
//!
//! Must not know where records are kept. The layout is private to the store and may change from build to build.

use bytes::Bytes;
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, Seen, UnixMillis};
use memring_protocol::key::{Key, Partition, Token};
use memring_protocol::version::{Ballot, Stamp, Version};

use super::listing::Listing;

/// Tag, key length, marks, last access, token, ballot, stamp.
const FIXED_BYTES: usize = STAMP_AT + 8;

const MARKS_AT: usize = 2;
const ACCESS_AT: usize = 3;
const TOKEN_AT: usize = ACCESS_AT + 4;
const BALLOT_AT: usize = TOKEN_AT + 8;
const STAMP_AT: usize = BALLOT_AT + 8;

const TOMBSTONE: u8 = 1;
const HAS_FLAGS: u8 = 1 << 1;
const HAS_CAS: u8 = 1 << 2;
const HAS_EXPIRY: u8 = 1 << 3;
const FETCHED: u8 = 1 << 4;
const IN_MAIN: u8 = 1 << 5;
const FREQUENCY_SHIFT: u32 = 6;

/// The highest frequency: two bits, as in S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction",
/// SOSP'23, section 4.1).
const FREQUENCY_MAX: u8 = 3;

/// Which queue a record waits in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// On probation.
    Small,
    /// Proven.
    Main,
    /// The queue of tombstones.
    Tombstones,
}

/// Bytes of a record beside its rare fields, key and value, with its slot.
pub(super) const fn header_bytes() -> usize {
    FIXED_BYTES + super::slab::SLOT_BYTES
}

/// Bytes of the record that [`Record::encode`] makes.
pub(super) fn record_len(key: &Key, entry: &Entry) -> usize {
    FIXED_BYTES + rare_len(rare_fields(entry)) + key.len() + entry.value_len()
}

/// Which rare fields an entry has, as tag bits.
fn rare_fields(entry: &Entry) -> u8 {
    let Body::Item(item) = &entry.body else { return TOMBSTONE };
    let mut tag = 0;
    if item.flags != 0 {
        tag |= HAS_FLAGS;
    }
    // Every write but a touch makes the token equal to the stamp.
    if item.cas != entry.version.stamp.0 {
        tag |= HAS_CAS;
    }
    if item.expiry != Expiry::NEVER {
        tag |= HAS_EXPIRY;
    }
    tag
}

fn rare_len(tag: u8) -> usize {
    let field = |bit: u8, len: usize| if tag & bit == 0 { 0 } else { len };
    field(HAS_FLAGS, 4) + field(HAS_CAS, 8) + field(HAS_EXPIRY, 4)
}

/// How a record was read.
#[derive(Clone, Copy)]
pub(super) struct SeenBytes {
    fetched: u8,
    access: u32,
}

/// A record; empty when its slot is free.
#[derive(Debug, Default)]
pub(super) struct Record(Box<[u8]>);

impl Record {
    /// Encodes an entry that is stored now: not fetched, frequency 0, in no particular queue.
    pub(super) fn encode(key: &Key, entry: &Entry, now: UnixMillis) -> Self {
        let tag = rare_fields(entry);
        let len = record_len(key, entry);
        let mut bytes = Vec::with_capacity(len);
        bytes.push(tag);
        bytes.push(key.len() as u8);
        bytes.push(match &entry.body {
            Body::Item(item) => item.marks.bits(),
            Body::Tombstone => Marks::NONE.bits(),
        });
        bytes.extend_from_slice(&second_of(now).to_le_bytes());
        bytes.extend_from_slice(&key.digest().token().0.to_le_bytes());
        bytes.extend_from_slice(&entry.version.ballot.0.to_le_bytes());
        bytes.extend_from_slice(&entry.version.stamp.0.to_le_bytes());
        if let Body::Item(item) = &entry.body {
            if tag & HAS_FLAGS != 0 {
                bytes.extend_from_slice(&item.flags.to_le_bytes());
            }
            if tag & HAS_CAS != 0 {
                bytes.extend_from_slice(&item.cas.to_le_bytes());
            }
            if let Some(second) = item.expiry.unix_seconds() {
                bytes.extend_from_slice(&second.to_le_bytes());
            }
            bytes.extend_from_slice(key.as_bytes());
            bytes.extend_from_slice(&item.value);
        } else {
            bytes.extend_from_slice(key.as_bytes());
        }
        assert_eq!(bytes.len(), len, "a record is as long as was accounted for");
        Self(bytes.into_boxed_slice())
    }

    /// Whether its slot is free.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its bytes, all told.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn token(&self) -> Token {
        Token(self.word(TOKEN_AT))
    }

    pub(super) fn partition(&self) -> Partition {
        self.token().partition()
    }

    pub(super) fn version(&self) -> Version {
        Version { ballot: Ballot(self.word(BALLOT_AT)), stamp: Stamp(self.word(STAMP_AT)) }
    }

    pub(super) fn key(&self) -> &[u8] {
        let start = self.key_start();
        &self.0[start..start + usize::from(self.0[1])]
    }

    /// The bytes of key and value together.
    pub(super) fn payload_len(&self) -> usize {
        self.len() - self.key_start()
    }

    /// Bytes of the item as its size class is told by: without its rare fields.
    pub(super) fn item_size(&self) -> usize {
        header_bytes() + self.payload_len()
    }

    pub(super) fn marks(&self) -> Marks {
        Marks::from_bits(self.0[MARKS_AT]).expect("they were encoded from marks")
    }

    pub(super) fn is_tombstone(&self) -> bool {
        self.tag() & TOMBSTONE != 0
    }

    pub(super) fn expiry(&self) -> Expiry {
        if self.tag() & HAS_EXPIRY == 0 {
            return Expiry::NEVER;
        }
        Expiry::at(self.half(FIXED_BYTES + rare_len(self.tag() & (HAS_FLAGS | HAS_CAS))))
    }

    /// Whether it is an item whose time is over.
    pub(super) fn is_expired(&self, now: UnixMillis) -> bool {
        self.expiry().is_past(now)
    }

    /// The item, its value copied; `None` for a tombstone.
    pub(super) fn item(&self) -> Option<Item> {
        let cas = self.cas()?;
        let value = Bytes::copy_from_slice(&self.0[self.value_start()..]);
        Some(Item { value, flags: self.flags(), cas, expiry: self.expiry(), marks: self.marks() })
    }

    /// All that can be told of an item without its value; `None` for a tombstone.
    pub(super) fn listing(&self) -> Option<Listing> {
        Some(Listing {
            key: Bytes::copy_from_slice(self.key()),
            expiry: self.expiry(),
            accessed_s: self.half(ACCESS_AT),
            cas: self.cas()?,
            fetched: self.was_fetched(),
            flags: self.flags(),
            marks: self.marks(),
            value_bytes: self.len() - self.value_start(),
        })
    }

    /// The cas token; `None` for a tombstone.
    pub(super) fn cas(&self) -> Option<u64> {
        let at = match self.tag() {
            tag if tag & TOMBSTONE != 0 => return None,
            tag if tag & HAS_CAS == 0 => STAMP_AT,
            tag => FIXED_BYTES + rare_len(tag & HAS_FLAGS),
        };
        Some(self.word(at))
    }

    /// The entry, its value copied.
    pub(super) fn entry(&self) -> Entry {
        Entry { version: self.version(), body: self.item().map_or(Body::Tombstone, Body::Item) }
    }

    pub(super) fn place(&self) -> Place {
        match self.tag() {
            tag if tag & TOMBSTONE != 0 => Place::Tombstones,
            tag if tag & IN_MAIN != 0 => Place::Main,
            _ => Place::Small,
        }
    }

    /// Notes which queue an item is in; a tombstone has only one.
    pub(super) fn put_in(&mut self, place: Place) {
        assert_eq!(self.is_tombstone(), place == Place::Tombstones, "tombstones have a queue of their own");
        self.0[0] = self.0[0] & !IN_MAIN | if place == Place::Main { IN_MAIN } else { 0 };
    }

    pub(super) fn was_fetched(&self) -> bool {
        self.tag() & FETCHED != 0
    }

    /// Counts a client's read of it.
    pub(super) fn note_fetch(&mut self, now: UnixMillis) {
        let frequency = (self.frequency() + 1).min(FREQUENCY_MAX);
        self.0[0] |= FETCHED;
        self.set_frequency(frequency);
        self.0[ACCESS_AT..TOKEN_AT].copy_from_slice(&second_of(now).to_le_bytes());
    }

    /// How it has been read so far.
    pub(super) fn seen(&self, now: UnixMillis) -> Seen {
        let idle_s = second_of(now).saturating_sub(self.half(ACCESS_AT));
        Seen { fetched: self.was_fetched(), idle_s }
    }

    /// How it has been read so far, to be handed on to the record that takes its place.
    pub(super) fn seen_bytes(&self) -> SeenBytes {
        SeenBytes { fetched: self.tag() & FETCHED, access: self.half(ACCESS_AT) }
    }

    /// Takes over how an earlier record of the same key was read.
    pub(super) fn inherit(&mut self, earlier: SeenBytes) {
        self.0[0] |= earlier.fetched;
        self.0[ACCESS_AT..TOKEN_AT].copy_from_slice(&earlier.access.to_le_bytes());
    }

    /// Reads since it was stored or last moved, up to 3.
    pub(super) fn frequency(&self) -> u8 {
        self.tag() >> FREQUENCY_SHIFT
    }

    pub(super) fn set_frequency(&mut self, frequency: u8) {
        assert!(frequency <= FREQUENCY_MAX, "two bits");
        self.0[0] = self.0[0] & ((1 << FREQUENCY_SHIFT) - 1) | frequency << FREQUENCY_SHIFT;
    }

    fn tag(&self) -> u8 {
        self.0[0]
    }

    fn flags(&self) -> u32 {
        if self.tag() & HAS_FLAGS == 0 { 0 } else { self.half(FIXED_BYTES) }
    }

    fn value_start(&self) -> usize {
        self.key_start() + usize::from(self.0[1])
    }

    fn key_start(&self) -> usize {
        FIXED_BYTES + rare_len(self.tag())
    }

    fn word(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("8 bytes"))
    }

    fn half(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("4 bytes"))
    }
}

/// Seconds fit until 2106.
fn second_of(now: UnixMillis) -> u32 {
    u32::try_from(now.seconds()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn version() -> Version {
        Version { ballot: Ballot(7 << 10 | 3), stamp: Stamp(0x0123_4567_89ab_cdef) }
    }

    #[test]
    fn an_entry_comes_back_as_it_was_encoded() {
        let key = Key::copy_from(b"some key").expect("a key");
        let stamp = version().stamp.0;
        for (flags, cas, expiry) in [
            (0, stamp, Expiry::NEVER),
            (9, stamp, Expiry::NEVER),
            (0, 4, Expiry::NEVER),
            (0, stamp, Expiry::at(77)),
            (u32::MAX, 0, Expiry::at(u32::MAX)),
        ] {
            for value in [&b""[..], b"v", &[0xff; 3000]] {
                let item = Item {
                    value: Bytes::copy_from_slice(value),
                    flags,
                    cas,
                    expiry,
                    marks: Marks::STALE.with(Marks::BINARY_KEY),
                };
                let entry = Entry { version: version(), body: Body::Item(item) };
                let record = Record::encode(&key, &entry, NOW);
                assert_eq!((record.entry(), record.len()), (entry.clone(), record_len(&key, &entry)));
                assert_eq!((record.key(), record.token()), (key.as_bytes(), key.digest().token()));
                assert_eq!(record.payload_len(), key.len() + value.len());
            }
        }
        let tombstone = Entry { version: version(), body: Body::Tombstone };
        let record = Record::encode(&key, &tombstone, NOW);
        assert_eq!((record.entry(), record.key(), record.place()), (tombstone, key.as_bytes(), Place::Tombstones));
    }

    #[test]
    fn frequency_place_and_fetch_do_not_disturb_each_other() {
        let key = Key::copy_from(b"k").expect("a key");
        let item =
            Item { value: Bytes::from_static(b"v"), flags: 1, cas: 2, expiry: Expiry::at(3), marks: Marks::NONE };
        let entry = Entry { version: version(), body: Body::Item(item) };
        let mut record = Record::encode(&key, &entry, NOW);
        assert_eq!((record.place(), record.frequency(), record.was_fetched()), (Place::Small, 0, false));
        record.put_in(Place::Main);
        for expected in [1, 2, 3, 3] {
            record.note_fetch(NOW);
            assert_eq!((record.place(), record.frequency(), record.was_fetched()), (Place::Main, expected, true));
        }
        record.put_in(Place::Small);
        record.set_frequency(1);
        assert_eq!((record.place(), record.frequency(), record.entry()), (Place::Small, 1, entry));
    }
}
