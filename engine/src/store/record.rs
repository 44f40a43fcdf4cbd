//! One entry as bytes: a head (fixed fields, the rare fields that it has, the key), then the value.
//!
//! ```text
//!  0  2  tag: what it is, which rare fields it has, how it was read
//!  2  1  key length                       rare fields, in this order, each only when its bit is set:
//!  3  2  value length, the low 16 bits      8 ballot   4 flags   8 cas token   4 expiry
//!  5  4  last access, unix seconds          1 marks    2 value length, the high bits    4 number of a large value
//!  9  8  token
//! 17  2  number of the ballot's term      then the key, then the value
//! 19  8  stamp
//! ```
//!
//! Must not know where records are kept, nor what a term's number stands for. The layout is private to the store and may
//! change from build to build.

use memring_protocol::entry::{Expiry, Marks, Seen, UnixMillis};
use memring_protocol::key::{Partition, Token};
use memring_protocol::version::{Ballot, Stamp};

pub(super) const KEY_LEN_AT: usize = 2;
pub(super) const VALUE_LEN_AT: usize = 3;
pub(super) const ACCESS_AT: usize = 5;
pub(super) const TOKEN_AT: usize = 9;
pub(super) const TERM_AT: usize = 17;
pub(super) const STAMP_AT: usize = 19;

/// Bytes of the fields that every record has.
pub(super) const FIXED_BYTES: usize = 27;

pub(super) const TOMBSTONE: u16 = 1;
const DEAD: u16 = 1 << 1;
pub(super) const HAS_BALLOT: u16 = 1 << 2;
pub(super) const HAS_FLAGS: u16 = 1 << 3;
pub(super) const HAS_CAS: u16 = 1 << 4;
pub(super) const HAS_EXPIRY: u16 = 1 << 5;
pub(super) const HAS_MARKS: u16 = 1 << 6;
/// Never set in the low byte, so that no record begins like a filler.
const ALWAYS_ZERO: u16 = 1 << 7;
pub(super) const HAS_LONG: u16 = 1 << 8;
pub(super) const HAS_LARGE: u16 = 1 << 9;
pub(super) const FETCHED: u16 = 1 << 10;
pub(super) const FREQUENCY_SHIFT: u32 = 11;
const FREQUENCY_BITS: u16 = 0b11 << FREQUENCY_SHIFT;

pub(super) const RARE_BITS: u16 = HAS_BALLOT | HAS_FLAGS | HAS_CAS | HAS_EXPIRY | HAS_MARKS | HAS_LONG | HAS_LARGE;

const RARE: [(u16, u8); 7] =
    [(HAS_BALLOT, 8), (HAS_FLAGS, 4), (HAS_CAS, 8), (HAS_EXPIRY, 4), (HAS_MARKS, 1), (HAS_LONG, 2), (HAS_LARGE, 4)];

/// The first byte of a filler that has its length, 4 bytes, behind it.
pub(super) const FILLER: u8 = 0xff;

/// A filler of one byte.
pub(super) const FILLER_BYTE: u8 = 0xfe;

/// The highest frequency: two bits, as in S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction",
/// SOSP'23, section 4.1).
const FREQUENCY_MAX: u8 = 3;

/// How an entry's ballot is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Term {
    /// By the number that the shard gave it.
    Number(u16),
    /// As it is: the shard has no number left.
    Whole(Ballot),
}

/// Where the bytes of a value are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Home {
    /// Behind the head.
    Log,
    /// Beside the log, under this number.
    Large(u32),
}

/// How a record was read, to be handed on to the record that takes its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct History {
    pub(super) fetched: bool,
    pub(super) frequency: u8,
    /// Unix seconds.
    pub(super) accessed_s: u32,
}

impl History {
    /// Of what is stored now.
    pub(super) fn beginning(now: UnixMillis) -> Self {
        Self { fetched: false, frequency: 0, accessed_s: second_of(now) }
    }
}

/// Bytes of the rare fields that a tag names.
#[inline]
pub(super) fn rare_len(tag: u16) -> usize {
    if tag & RARE_BITS == 0 { 0 } else { some_rare_len(tag) }
}

#[cold]
fn some_rare_len(tag: u16) -> usize {
    RARE.iter().map(|&(bit, len)| if tag & bit == 0 { 0 } else { usize::from(len) }).sum()
}

/// A record as it lies in the log: its head, in one piece, and as much of the value as lies behind it.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    fixed: &'a [u8; FIXED_BYTES],
    /// The fixed fields, too; to the end of the segment.
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// The record that these bytes begin with; they go on to the end of its segment.
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { fixed: bytes.first_chunk().expect("a record has the fixed fields"), bytes }
    }

    /// The bytes from its first one to the end of its segment.
    #[inline]
    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub(super) fn token(self) -> Token {
        Token(u64::from_le_bytes(self.fixed[TOKEN_AT..TERM_AT].try_into().expect("8 bytes")))
    }

    #[inline]
    pub(super) fn partition(self) -> Partition {
        self.token().partition()
    }

    #[inline]
    pub(super) fn term(self) -> Term {
        if self.tag() & HAS_BALLOT == 0 {
            Term::Number(u16::from_le_bytes([self.fixed[TERM_AT], self.fixed[TERM_AT + 1]]))
        } else {
            Term::Whole(Ballot(self.word(FIXED_BYTES)))
        }
    }

    #[inline]
    pub(super) fn stamp(self) -> Stamp {
        Stamp(self.fixed_stamp())
    }

    #[inline]
    pub(super) fn key(self) -> &'a [u8] {
        let start = self.key_start();
        &self.bytes[start..start + self.key_len()]
    }

    /// Whether this is the key.
    #[inline(always)]
    pub(super) fn has_key(self, key: &[u8]) -> bool {
        let start = self.key_start();
        self.key_len() == key.len() && self.bytes.get(start..start + key.len()) == Some(key)
    }

    /// Bytes of the head.
    #[inline]
    pub(super) fn head_len(self) -> usize {
        self.key_start() + self.key_len()
    }

    /// Bytes of the value in the log: none if it is beside it.
    #[inline]
    pub(super) fn value_len(self) -> usize {
        let low = usize::from(u16::from_le_bytes([self.fixed[VALUE_LEN_AT], self.fixed[VALUE_LEN_AT + 1]]));
        if self.tag() & HAS_LONG == 0 { low } else { low | usize::from(self.short(self.rare(HAS_LONG))) << 16 }
    }

    /// Its bytes in the log, all told.
    #[inline]
    pub(super) fn len(self) -> usize {
        self.head_len() + self.value_len()
    }

    /// The number of its value, if that is beside the log.
    #[inline]
    pub(super) fn large(self) -> Option<u32> {
        (self.tag() & HAS_LARGE != 0).then(|| self.half(self.rare(HAS_LARGE)))
    }

    #[inline]
    pub(super) fn is_tombstone(self) -> bool {
        self.tag() & TOMBSTONE != 0
    }

    /// Whether it was removed or replaced: only its bytes are still there.
    #[inline]
    pub(super) fn is_dead(self) -> bool {
        self.tag() & DEAD != 0
    }

    #[inline]
    pub(super) fn flags(self) -> u32 {
        if self.tag() & HAS_FLAGS == 0 { 0 } else { self.half(self.rare(HAS_FLAGS)) }
    }

    /// The cas token; `None` for a tombstone.
    #[inline]
    pub(super) fn cas(self) -> Option<u64> {
        match self.tag() {
            tag if tag & TOMBSTONE != 0 => None,
            tag if tag & HAS_CAS == 0 => Some(self.fixed_stamp()),
            _ => Some(self.word(self.rare(HAS_CAS))),
        }
    }

    #[inline]
    pub(super) fn expiry(self) -> Expiry {
        if self.tag() & HAS_EXPIRY == 0 { Expiry::NEVER } else { Expiry::at(self.half(self.rare(HAS_EXPIRY))) }
    }

    /// Whether it is an item whose time is over.
    #[inline]
    pub(super) fn is_expired(self, now: UnixMillis) -> bool {
        self.tag() & HAS_EXPIRY != 0 && self.expiry().is_past(now)
    }

    #[inline]
    pub(super) fn marks(self) -> Marks {
        if self.tag() & HAS_MARKS == 0 {
            return Marks::NONE;
        }
        Marks::from_bits(self.bytes[self.rare(HAS_MARKS)]).expect("they were encoded from marks")
    }

    #[inline]
    pub(super) fn was_fetched(self) -> bool {
        self.tag() & FETCHED != 0
    }

    /// Reads since it was stored or last moved, up to 3.
    #[inline]
    pub(super) fn frequency(self) -> u8 {
        ((self.tag() & FREQUENCY_BITS) >> FREQUENCY_SHIFT) as u8
    }

    /// When it was last read or stored, in unix seconds.
    #[inline]
    pub(super) fn accessed_s(self) -> u32 {
        u32::from_le_bytes(self.fixed[ACCESS_AT..TOKEN_AT].try_into().expect("4 bytes"))
    }

    #[inline]
    pub(super) fn history(self) -> History {
        History { fetched: self.was_fetched(), frequency: self.frequency(), accessed_s: self.accessed_s() }
    }

    /// How it has been read so far.
    #[inline]
    pub(super) fn seen(self, now: UnixMillis) -> Seen {
        Seen { fetched: self.was_fetched(), idle_s: second_of(now).saturating_sub(self.accessed_s()) }
    }

    #[inline]
    fn tag(self) -> u16 {
        u16::from_le_bytes([self.fixed[0], self.fixed[1]])
    }

    /// Bytes of the key.
    #[inline]
    pub(super) fn key_len(self) -> usize {
        usize::from(self.fixed[KEY_LEN_AT])
    }

    #[inline]
    fn key_start(self) -> usize {
        FIXED_BYTES + rare_len(self.tag())
    }

    /// Where a rare field begins that the record has: behind those whose bits come before its own in [`RARE`].
    #[inline]
    fn rare(self, field: u16) -> usize {
        FIXED_BYTES + rare_len(self.tag() & (field - 1))
    }

    #[inline]
    fn fixed_stamp(self) -> u64 {
        u64::from_le_bytes(self.fixed[STAMP_AT..].try_into().expect("8 bytes"))
    }

    #[inline]
    fn word(self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("8 bytes"))
    }

    #[inline]
    fn half(self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().expect("4 bytes"))
    }

    #[inline]
    fn short(self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes[at..at + 2].try_into().expect("2 bytes"))
    }
}

/// Counts a client's read of the record that begins here.
#[inline]
pub(super) fn note_fetch(bytes: &mut [u8], now: UnixMillis) {
    let fixed: &mut [u8; FIXED_BYTES] = bytes.first_chunk_mut().expect("a record has the fixed fields");
    let tag = u16::from_le_bytes([fixed[0], fixed[1]]);
    let more = if tag & FREQUENCY_BITS == FREQUENCY_BITS { tag } else { tag + (1 << FREQUENCY_SHIFT) };
    fixed[..2].copy_from_slice(&(more | FETCHED).to_le_bytes());
    fixed[ACCESS_AT..TOKEN_AT].copy_from_slice(&second_of(now).to_le_bytes());
}

pub(super) fn set_frequency(bytes: &mut [u8], frequency: u8) {
    assert!(frequency <= FREQUENCY_MAX, "two bits");
    set_tag(bytes, Record::new(bytes).tag() & !FREQUENCY_BITS | u16::from(frequency) << FREQUENCY_SHIFT);
}

/// Notes that the record that begins here is no more.
pub(super) fn set_dead(bytes: &mut [u8]) {
    set_tag(bytes, Record::new(bytes).tag() | DEAD);
}

#[inline]
fn set_tag(bytes: &mut [u8], tag: u16) {
    assert_eq!(tag & ALWAYS_ZERO, 0, "or it would look like a filler");
    bytes[..2].copy_from_slice(&tag.to_le_bytes());
}

/// Seconds fit until 2106.
pub(super) fn second_of(now: UnixMillis) -> u32 {
    u32::try_from(now.seconds()).unwrap_or(u32::MAX)
}

const _: () = assert!(FREQUENCY_BITS & (DEAD | FETCHED | RARE_BITS | ALWAYS_ZERO | TOMBSTONE) == 0);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use memring_protocol::entry::{Body, Entry, Item};
    use memring_protocol::key::Key;
    use memring_protocol::version::Version;

    use super::super::shape::{Shape, Written};
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn entry(flags: u32, cas: u64, expiry: Expiry, marks: Marks, value: &[u8]) -> Entry {
        let version = Version { ballot: Ballot(7 << 10 | 3), stamp: Stamp(0x0123_4567_89ab_cdef) };
        Entry { version, body: Body::Item(Item { value: Bytes::copy_from_slice(value), flags, cas, expiry, marks }) }
    }

    #[test]
    fn every_field_comes_back_as_it_was_put() {
        let key = Key::copy_from(b"some key").expect("a key");
        let stamp = 0x0123_4567_89ab_cdef;
        let cases = [
            (0, stamp, Expiry::NEVER, Marks::NONE),
            (9, stamp, Expiry::NEVER, Marks::STALE),
            (0, 4, Expiry::NEVER, Marks::NONE),
            (0, stamp, Expiry::at(77), Marks::WON.with(Marks::BINARY_KEY)),
            (u32::MAX, 0, Expiry::at(u32::MAX), Marks::STALE),
        ];
        let homes = [(Home::Log, None), (Home::Large(77), Some(77))];
        for (flags, cas, expiry, marks) in cases {
            for term in [Term::Number(513), Term::Whole(Ballot(u64::MAX))] {
                for (value_len, (home, large)) in [0, 1, 3000, 70_000].into_iter().zip(homes.into_iter().cycle()) {
                    let entry = entry(flags, cas, expiry, marks, &vec![1; value_len]);
                    let shape = Shape::of(&(&key).into(), &(&entry).into(), term, large.is_some());
                    let history = History { fetched: true, frequency: 2, accessed_s: 5 };
                    let mut head = vec![0; shape.head_len];
                    shape.write_head(&mut head, &(&key).into(), &(&entry).into(), &Written { term, home, history });
                    let record = Record::new(&head);
                    assert_eq!((record.flags(), record.cas()), (flags, Some(cas)));
                    assert_eq!((record.expiry(), record.marks()), (expiry, marks));
                    assert_eq!((record.term(), record.stamp()), (term, entry.version.stamp));
                    assert_eq!((record.key(), record.token()), (key.as_bytes(), key.digest().token()));
                    assert_eq!((record.large(), record.history()), (large, history));
                    assert_eq!(record.value_len(), if large.is_some() { 0 } else { value_len });
                    assert_eq!((record.len(), record.head_len()), (shape.len(), shape.head_len));
                    assert!(!record.is_dead() && !record.is_tombstone() && head[0] < FILLER_BYTE);
                }
            }
        }
        let tombstone = Entry { version: Version::default(), body: Body::Tombstone };
        let shape = Shape::of(&(&key).into(), &(&tombstone).into(), Term::Number(0), false);
        let written = Written { term: Term::Number(0), home: Home::Log, history: History::beginning(NOW) };
        let mut head = vec![0; shape.head_len];
        shape.write_head(&mut head, &(&key).into(), &(&tombstone).into(), &written);
        let record = Record::new(&head);
        assert!(record.is_tombstone() && record.cas().is_none() && record.key() == key.as_bytes());
    }

    #[test]
    fn reads_and_death_do_not_disturb_the_rest() {
        let key = Key::copy_from(b"k").expect("a key");
        let entry = entry(1, 2, Expiry::at(3), Marks::WON, b"v");
        let shape = Shape::of(&(&key).into(), &(&entry).into(), Term::Number(1), false);
        let written = Written { term: Term::Number(1), home: Home::Log, history: History::beginning(UnixMillis(0)) };
        let mut bytes = vec![0; shape.head_len];
        shape.write_head(&mut bytes, &(&key).into(), &(&entry).into(), &written);
        for expected in [1, 2, 3, 3] {
            note_fetch(&mut bytes, NOW);
            let record = Record::new(&bytes);
            assert_eq!(
                (record.frequency(), record.was_fetched(), record.accessed_s()),
                (expected, true, 1_800_000_000)
            );
        }
        set_frequency(&mut bytes, 1);
        set_dead(&mut bytes);
        let record = Record::new(&bytes);
        assert!(record.is_dead() && record.frequency() == 1 && record.was_fetched());
        assert_eq!((record.flags(), record.cas(), record.key()), (1, Some(2), &b"k"[..]));
    }
}
