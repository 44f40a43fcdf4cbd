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

use memring_protocol::entry::{Body, Entry, Expiry, Marks, Seen, UnixMillis};
use memring_protocol::key::{KEY_BYTES_MAX, Key, Partition, Token};
use memring_protocol::version::{Ballot, Stamp};

const KEY_LEN_AT: usize = 2;
const VALUE_LEN_AT: usize = 3;
const ACCESS_AT: usize = 5;
const TOKEN_AT: usize = 9;
const TERM_AT: usize = 17;
const STAMP_AT: usize = 19;

/// Bytes of the fields that every record has.
pub(super) const FIXED_BYTES: usize = 27;

/// The longest head: every rare field and the longest key.
pub(super) const HEAD_BYTES_MAX: usize = FIXED_BYTES + RARE_BYTES_MAX + KEY_BYTES_MAX;

const RARE_BYTES_MAX: usize = 31;

const TOMBSTONE: u16 = 1;
const DEAD: u16 = 1 << 1;
const HAS_BALLOT: u16 = 1 << 2;
const HAS_FLAGS: u16 = 1 << 3;
const HAS_CAS: u16 = 1 << 4;
const HAS_EXPIRY: u16 = 1 << 5;
const HAS_MARKS: u16 = 1 << 6;
/// Never set in the low byte, so that no record begins like a filler.
const ALWAYS_ZERO: u16 = 1 << 7;
const HAS_LONG: u16 = 1 << 8;
const HAS_LARGE: u16 = 1 << 9;
const FETCHED: u16 = 1 << 10;
const FREQUENCY_SHIFT: u32 = 11;
const FREQUENCY_BITS: u16 = 0b11 << FREQUENCY_SHIFT;

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
    pub(super) fn of(key: &Key, entry: &Entry, term: Term, is_large: bool) -> Self {
        let mut tag = if matches!(term, Term::Whole(_)) { HAS_BALLOT } else { 0 };
        let mut value_len = 0;
        match &entry.body {
            Body::Tombstone => tag |= TOMBSTONE,
            Body::Item(item) => {
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

    /// Bytes in the log, all told.
    pub(super) fn len(&self) -> usize {
        self.head_len + self.value_len
    }

    /// Writes the head. The entry is the one that the shape was taken of.
    pub(super) fn head(&self, key: &Key, entry: &Entry, term: Term, home: Home, history: History) -> Head {
        let mut head = Head { bytes: [0; HEAD_BYTES_MAX], len: 0 };
        let fetched = if history.fetched { FETCHED } else { 0 };
        head.put(&(self.tag | fetched | u16::from(history.frequency) << FREQUENCY_SHIFT).to_le_bytes());
        head.put(&[key.len() as u8]);
        head.put(&(self.value_len as u16).to_le_bytes());
        head.put(&history.accessed_s.to_le_bytes());
        head.put(&key.digest().token().0.to_le_bytes());
        head.put(&(if let Term::Number(number) = term { number } else { 0 }).to_le_bytes());
        head.put(&entry.version.stamp.0.to_le_bytes());
        if let Term::Whole(ballot) = term {
            head.put(&ballot.0.to_le_bytes());
        }
        if let Body::Item(item) = &entry.body {
            if self.tag & HAS_FLAGS != 0 {
                head.put(&item.flags.to_le_bytes());
            }
            if self.tag & HAS_CAS != 0 {
                head.put(&item.cas.to_le_bytes());
            }
            if let Some(second) = item.expiry.unix_seconds() {
                head.put(&second.to_le_bytes());
            }
            if self.tag & HAS_MARKS != 0 {
                head.put(&[item.marks.bits()]);
            }
            if self.tag & HAS_LONG != 0 {
                head.put(&((self.value_len >> 16) as u16).to_le_bytes());
            }
            if let Home::Large(number) = home {
                head.put(&number.to_le_bytes());
            }
        }
        head.put(key.as_bytes());
        assert_eq!(head.len, self.head_len, "a head is as long as was accounted for");
        head
    }
}

/// The bytes of a head, on their way into the log.
pub(super) struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    len: usize,
}

impl Head {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn put(&mut self, field: &[u8]) {
        self.bytes[self.len..self.len + field.len()].copy_from_slice(field);
        self.len += field.len();
    }
}

/// Bytes of the rare fields that a tag names.
fn rare_len(tag: u16) -> usize {
    if tag & (HAS_BALLOT | HAS_FLAGS | HAS_CAS | HAS_EXPIRY | HAS_MARKS | HAS_LONG | HAS_LARGE) == 0 {
        return 0;
    }
    RARE.iter().map(|&(bit, len)| if tag & bit == 0 { 0 } else { usize::from(len) }).sum()
}

/// A record as it lies in the log: its head, in one piece, and as much of the value as lies behind it.
#[derive(Clone, Copy)]
pub(super) struct Record<'a>(pub(super) &'a [u8]);

impl<'a> Record<'a> {
    pub(super) fn token(self) -> Token {
        Token(self.word(TOKEN_AT))
    }

    pub(super) fn partition(self) -> Partition {
        self.token().partition()
    }

    pub(super) fn term(self) -> Term {
        if self.tag() & HAS_BALLOT == 0 {
            Term::Number(self.short(TERM_AT))
        } else {
            Term::Whole(Ballot(self.word(FIXED_BYTES)))
        }
    }

    pub(super) fn stamp(self) -> Stamp {
        Stamp(self.word(STAMP_AT))
    }

    pub(super) fn key(self) -> &'a [u8] {
        let start = self.key_start();
        &self.0[start..start + self.key_len()]
    }

    /// Bytes of the head.
    pub(super) fn head_len(self) -> usize {
        self.key_start() + self.key_len()
    }

    /// Bytes of the value in the log: none if it is beside it.
    pub(super) fn value_len(self) -> usize {
        let low = usize::from(self.short(VALUE_LEN_AT));
        if self.tag() & HAS_LONG == 0 { low } else { low | usize::from(self.short(self.rare(HAS_LONG))) << 16 }
    }

    /// Its bytes in the log, all told.
    pub(super) fn len(self) -> usize {
        self.head_len() + self.value_len()
    }

    /// The number of its value, if that is beside the log.
    pub(super) fn large(self) -> Option<u32> {
        (self.tag() & HAS_LARGE != 0).then(|| self.half(self.rare(HAS_LARGE)))
    }

    pub(super) fn is_tombstone(self) -> bool {
        self.tag() & TOMBSTONE != 0
    }

    /// Whether it was removed or replaced: only its bytes are still there.
    pub(super) fn is_dead(self) -> bool {
        self.tag() & DEAD != 0
    }

    pub(super) fn flags(self) -> u32 {
        if self.tag() & HAS_FLAGS == 0 { 0 } else { self.half(self.rare(HAS_FLAGS)) }
    }

    /// The cas token; `None` for a tombstone.
    pub(super) fn cas(self) -> Option<u64> {
        match self.tag() {
            tag if tag & TOMBSTONE != 0 => None,
            tag if tag & HAS_CAS == 0 => Some(self.word(STAMP_AT)),
            _ => Some(self.word(self.rare(HAS_CAS))),
        }
    }

    pub(super) fn expiry(self) -> Expiry {
        if self.tag() & HAS_EXPIRY == 0 { Expiry::NEVER } else { Expiry::at(self.half(self.rare(HAS_EXPIRY))) }
    }

    /// Whether it is an item whose time is over.
    pub(super) fn is_expired(self, now: UnixMillis) -> bool {
        self.tag() & HAS_EXPIRY != 0 && self.expiry().is_past(now)
    }

    pub(super) fn marks(self) -> Marks {
        if self.tag() & HAS_MARKS == 0 {
            return Marks::NONE;
        }
        Marks::from_bits(self.0[self.rare(HAS_MARKS)]).expect("they were encoded from marks")
    }

    pub(super) fn was_fetched(self) -> bool {
        self.tag() & FETCHED != 0
    }

    /// Reads since it was stored or last moved, up to 3.
    pub(super) fn frequency(self) -> u8 {
        ((self.tag() & FREQUENCY_BITS) >> FREQUENCY_SHIFT) as u8
    }

    /// When it was last read or stored, in unix seconds.
    pub(super) fn accessed_s(self) -> u32 {
        self.half(ACCESS_AT)
    }

    pub(super) fn history(self) -> History {
        History { fetched: self.was_fetched(), frequency: self.frequency(), accessed_s: self.accessed_s() }
    }

    /// How it has been read so far.
    pub(super) fn seen(self, now: UnixMillis) -> Seen {
        Seen { fetched: self.was_fetched(), idle_s: second_of(now).saturating_sub(self.accessed_s()) }
    }

    fn tag(self) -> u16 {
        self.short(0)
    }

    fn key_len(self) -> usize {
        usize::from(self.0[KEY_LEN_AT])
    }

    fn key_start(self) -> usize {
        FIXED_BYTES + rare_len(self.tag())
    }

    /// Where a rare field begins that the record has: behind those whose bits come before its own in [`RARE`].
    fn rare(self, field: u16) -> usize {
        FIXED_BYTES + rare_len(self.tag() & (field - 1))
    }

    fn word(self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("8 bytes"))
    }

    fn half(self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("4 bytes"))
    }

    fn short(self, at: usize) -> u16 {
        u16::from_le_bytes(self.0[at..at + 2].try_into().expect("2 bytes"))
    }
}

/// Counts a client's read of the record that begins here.
pub(super) fn note_fetch(bytes: &mut [u8], now: UnixMillis) {
    let frequency = (Record(bytes).frequency() + 1).min(FREQUENCY_MAX);
    set_frequency(bytes, frequency);
    set_tag(bytes, Record(bytes).tag() | FETCHED);
    bytes[ACCESS_AT..TOKEN_AT].copy_from_slice(&second_of(now).to_le_bytes());
}

pub(super) fn set_frequency(bytes: &mut [u8], frequency: u8) {
    assert!(frequency <= FREQUENCY_MAX, "two bits");
    set_tag(bytes, Record(bytes).tag() & !FREQUENCY_BITS | u16::from(frequency) << FREQUENCY_SHIFT);
}

/// Notes that the record that begins here is no more.
pub(super) fn set_dead(bytes: &mut [u8]) {
    set_tag(bytes, Record(bytes).tag() | DEAD);
}

fn set_tag(bytes: &mut [u8], tag: u16) {
    assert_eq!(tag & ALWAYS_ZERO, 0, "or it would look like a filler");
    bytes[..2].copy_from_slice(&tag.to_le_bytes());
}

/// Seconds fit until 2106.
pub(super) fn second_of(now: UnixMillis) -> u32 {
    u32::try_from(now.seconds()).unwrap_or(u32::MAX)
}

const _: () = assert!(RARE_BYTES_MAX == 8 + 4 + 8 + 4 + 1 + 2 + 4 && FREQUENCY_BITS & (DEAD | FETCHED) == 0);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use memring_protocol::entry::Item;
    use memring_protocol::version::Version;

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
                    let shape = Shape::of(&key, &entry, term, large.is_some());
                    let history = History { fetched: true, frequency: 2, accessed_s: 5 };
                    let head = shape.head(&key, &entry, term, home, history);
                    let record = Record(head.as_bytes());
                    assert_eq!((record.flags(), record.cas()), (flags, Some(cas)));
                    assert_eq!((record.expiry(), record.marks()), (expiry, marks));
                    assert_eq!((record.term(), record.stamp()), (term, entry.version.stamp));
                    assert_eq!((record.key(), record.token()), (key.as_bytes(), key.digest().token()));
                    assert_eq!((record.large(), record.history()), (large, history));
                    assert_eq!(record.value_len(), if large.is_some() { 0 } else { value_len });
                    assert_eq!((record.len(), record.head_len()), (shape.len(), shape.head_len));
                    assert!(!record.is_dead() && !record.is_tombstone() && head.as_bytes()[0] < FILLER_BYTE);
                }
            }
        }
        let tombstone = Entry { version: Version::default(), body: Body::Tombstone };
        let shape = Shape::of(&key, &tombstone, Term::Number(0), false);
        let head = shape.head(&key, &tombstone, Term::Number(0), Home::Log, History::beginning(NOW));
        let record = Record(head.as_bytes());
        assert!(record.is_tombstone() && record.cas().is_none() && record.key() == key.as_bytes());
    }

    #[test]
    fn reads_and_death_do_not_disturb_the_rest() {
        let key = Key::copy_from(b"k").expect("a key");
        let entry = entry(1, 2, Expiry::at(3), Marks::WON, b"v");
        let shape = Shape::of(&key, &entry, Term::Number(1), false);
        let head = shape.head(&key, &entry, Term::Number(1), Home::Log, History::beginning(UnixMillis(0)));
        let mut bytes = head.as_bytes().to_vec();
        for expected in [1, 2, 3, 3] {
            note_fetch(&mut bytes, NOW);
            let record = Record(&bytes);
            assert_eq!(
                (record.frequency(), record.was_fetched(), record.accessed_s()),
                (expected, true, 1_800_000_000)
            );
        }
        set_frequency(&mut bytes, 1);
        set_dead(&mut bytes);
        let record = Record(&bytes);
        assert!(record.is_dead() && record.frequency() == 1 && record.was_fetched());
        assert_eq!((record.flags(), record.cas(), record.key()), (1, Some(2), &b"k"[..]));
    }
}
