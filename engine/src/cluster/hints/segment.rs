//! Segments: how hints look in a file. A header says whose hints they are, then records follow, each with a checksum.
//!
//! ```text
//! header  magic 8 | format 2 | ring 8 | made 8, unix ms | length 1 | target's name | crc32 of all that 4
//! record  crc32 of what follows 4 | length 1 | ballot 8 | stamp 8 | key
//! ```
//!
//! Numbers are little-endian. A file that a crash has cut ends before its last record; one that was changed is believed
//! up to the change. Must not know files, or what becomes of hints.

use std::fmt;

use memring_protocol::entry::UnixMillis;
use memring_protocol::key::{KEY_BYTES_MAX, Key, PARTITIONS, Partition};
use memring_protocol::ring::{NODE_NAME_BYTES_MAX, NodeName, RingId};
use memring_protocol::version::{Ballot, Stamp, Version};

const MAGIC: [u8; 8] = *b"mrhints\0";

/// The one format so far.
const FORMAT: u16 = 1;

const BEFORE_NAME: usize = MAGIC.len() + 2 + 8 + 8 + 1;
const CRC_BYTES: usize = 4;
const BEFORE_KEY: usize = CRC_BYTES + 1 + 8 + 8;

/// The longest header, in bytes.
pub const HEADER_BYTES_MAX: usize = BEFORE_NAME + NODE_NAME_BYTES_MAX + CRC_BYTES;

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = BEFORE_KEY + KEY_BYTES_MAX;

/// The largest segment, in bytes: many small files, so that those whose hints were delivered go soon.
pub const SEGMENT_BYTES_MAX: usize = 8 << 20;

/// A segment's number: of one node none is used twice, and a later segment has a higher one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentId(pub u64);

impl SegmentId {
    /// What its file is called.
    pub fn file_name(self) -> String {
        format!("{:016x}.hints", self.0)
    }

    /// The segment whose file is called so.
    pub fn of_file_name(name: &str) -> Option<Self> {
        let number = u64::from_str_radix(name.strip_suffix(".hints")?, 16).ok()?;
        // No node comes to write so many: one beyond was not made by any.
        Some(Self(number)).filter(|id| id.file_name() == name && number >> 63 == 0)
    }
}

/// Whose hints a segment holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The ring: hints of another one mean nothing.
    pub ring: RingId,
    /// The member that has missed something. By name, for numbers are given to others in time.
    pub target: NodeName,
    /// When the segment was begun.
    pub made: UnixMillis,
}

impl Header {
    /// Its bytes: at most [`HEADER_BYTES_MAX`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let name = self.target.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(BEFORE_NAME + name.len() + CRC_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.ring.0.to_le_bytes());
        bytes.extend_from_slice(&self.made.0.to_le_bytes());
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name);
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header that `bytes` begin with, and how long it is.
    pub fn read(bytes: &[u8]) -> Result<(Self, usize), SegmentError> {
        let mut rest = bytes;
        let magic = take(&mut rest, MAGIC.len()).ok_or(SegmentError::Cut)?;
        if magic != MAGIC {
            return Err(SegmentError::Foreign);
        }
        let format = u16::from_le_bytes(array(&mut rest)?);
        if format != FORMAT {
            return Err(SegmentError::Format(format));
        }
        let (ring, made) = (u64::from_le_bytes(array(&mut rest)?), u64::from_le_bytes(array(&mut rest)?));
        let [length] = array(&mut rest)?;
        let name = take(&mut rest, usize::from(length)).ok_or(SegmentError::Cut)?;
        let checked = &bytes[..bytes.len() - rest.len()];
        if crc32fast::hash(checked) != u32::from_le_bytes(array(&mut rest)?) {
            return Err(SegmentError::Changed);
        }
        let name = std::str::from_utf8(name).ok().and_then(|name| NodeName::new(name).ok());
        let target = name.ok_or(SegmentError::Changed)?;
        Ok((Self { ring: RingId(ring), target, made: UnixMillis(made) }, bytes.len() - rest.len()))
    }
}

/// Why a file is no segment that can be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SegmentError {
    /// It ends within its header: the process that made it was killed.
    #[error("it ends within its header")]
    Cut,
    /// It does not begin as segments do.
    #[error("it is no segment of hints")]
    Foreign,
    /// A format of another release.
    #[error("its format {0} is not known")]
    Format(u16),
    /// The header is not what was written.
    #[error("the checksum of its header is wrong")]
    Changed,
    /// A record is not what was written: all before it is used.
    #[error("it is not what was written from byte {0} on")]
    ChangedAt(u64),
    /// The file could not be read.
    #[error("it cannot be read")]
    Unreadable,
}

/// How many bytes the record of a key takes.
pub(super) fn record_bytes(key: &Key) -> usize {
    BEFORE_KEY + key.len()
}

/// Appends a record.
pub fn write_record(key: &Key, version: Version, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; CRC_BYTES]);
    out.push(key.len() as u8);
    out.extend_from_slice(&version.ballot.0.to_le_bytes());
    out.extend_from_slice(&version.stamp.0.to_le_bytes());
    out.extend_from_slice(key.as_bytes());
    let crc = crc32fast::hash(&out[start + CRC_BYTES..]);
    out[start..start + CRC_BYTES].copy_from_slice(&crc.to_le_bytes());
}

/// What lies at the front of a segment's records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Front {
    /// A hint, and how many bytes it takes.
    Hint(Key, Version, usize),
    /// Nothing, or less than a record: what was read ends here, or the file does, or nothing was written behind it.
    End,
    /// Not what was written: nothing behind it can be believed, for where records begin is not known any more.
    Changed,
}

/// Reads the front of `bytes`, which are records.
pub fn read_record(bytes: &[u8]) -> Front {
    let Some((before, after)) = bytes.split_at_checked(BEFORE_KEY) else { return Front::End };
    let length = usize::from(before[CRC_BYTES]);
    if length == 0 {
        // A file can have grown before what is in it was written.
        return if bytes.iter().all(|byte| *byte == 0) { Front::End } else { Front::Changed };
    }
    let Some(key) = after.get(..length) else {
        return if length > KEY_BYTES_MAX { Front::Changed } else { Front::End };
    };
    let crc = u32::from_le_bytes(before[..CRC_BYTES].try_into().expect("4 bytes"));
    if crc32fast::hash(&bytes[CRC_BYTES..BEFORE_KEY + length]) != crc {
        return Front::Changed;
    }
    let number = |at: usize| u64::from_le_bytes(before[at..at + 8].try_into().expect("8 bytes"));
    let version = Version { ballot: Ballot(number(CRC_BYTES + 1)), stamp: Stamp(number(CRC_BYTES + 9)) };
    match Key::copy_from(key) {
        Ok(key) => Front::Hint(key, version, BEFORE_KEY + length),
        Err(_) => Front::Changed,
    }
}

/// What a whole segment holds, without its keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Whose hints.
    pub header: Header,
    /// Where the header ends.
    pub begins: u64,
    /// Where the last record ends that can be believed.
    pub ends: u64,
    /// How many records there are.
    pub hints: u64,
    /// Partitions of their keys.
    pub partitions: PartitionSet,
    /// Whether something behind them is not what was written.
    pub changed: bool,
    /// How long the file is.
    pub file_bytes: u64,
}

/// Looks through a segment's bytes, all of them.
pub fn scan(bytes: &[u8]) -> Result<Found, SegmentError> {
    let (header, begins) = Header::read(bytes)?;
    let (mut at, mut hints, mut partitions) = (begins, 0, PartitionSet::default());
    let changed = loop {
        match read_record(&bytes[at..]) {
            Front::Hint(key, _, length) => {
                at += length;
                hints += 1;
                partitions.insert(key.partition());
            }
            Front::End => break false,
            Front::Changed => break true,
        }
    };
    let (begins, ends, file_bytes) = (begins as u64, at as u64, bytes.len() as u64);
    Ok(Found { header, begins, ends, hints, partitions, changed, file_bytes })
}

/// A set of partitions: 2 KiB, however many they are.
#[derive(Clone, PartialEq, Eq)]
pub struct PartitionSet(Box<[u64]>);

impl Default for PartitionSet {
    fn default() -> Self {
        Self(vec![0; usize::from(PARTITIONS).div_ceil(64)].into())
    }
}

impl PartitionSet {
    /// One more.
    pub fn insert(&mut self, partition: Partition) {
        self.0[partition.index() / 64] |= 1 << (partition.index() % 64);
    }

    /// Whether it is among them.
    pub fn contains(&self, partition: Partition) -> bool {
        self.0[partition.index() / 64] & 1 << (partition.index() % 64) != 0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Partition> {
        Partition::all().filter(|partition| self.contains(*partition))
    }
}

impl fmt::Debug for PartitionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], SegmentError> {
    take(rest, N).and_then(|bytes| bytes.try_into().ok()).ok_or(SegmentError::Cut)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header() -> Header {
        let target = NodeName::new("n2").expect("a legal name");
        Header { ring: RingId(0x1234), target, made: UnixMillis(1_800_000_000_000) }
    }

    fn hints(count: u64) -> Vec<(Key, Version)> {
        let version = |number| Version { ballot: Ballot(7), stamp: Stamp(number) };
        let key = |number: u64| Key::copy_from(format!("key-{number}").as_bytes()).expect("a legal key");
        (0..count).map(|number| (key(number), version(number))).collect()
    }

    fn segment(hints: &[(Key, Version)]) -> Vec<u8> {
        let mut bytes = header().to_bytes();
        hints.iter().for_each(|(key, version)| write_record(key, *version, &mut bytes));
        bytes
    }

    /// What can be read of a segment's records.
    fn records(mut bytes: &[u8]) -> (Vec<(Key, Version)>, Front) {
        let mut read = Vec::new();
        loop {
            match read_record(bytes) {
                Front::Hint(key, version, length) => {
                    read.push((key, version));
                    bytes = &bytes[length..];
                }
                end => return (read, end),
            }
        }
    }

    #[test]
    fn a_segment_has_these_bytes() {
        let bytes = segment(&hints(1));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let header = "6d7268696e747300 0100 3412000000000000 00505c18a3010000 02 6e32 f777a6c2";
        let record = "89b88e35 05 0700000000000000 0000000000000000 6b65792d30";
        assert_eq!(hex, format!("{header}{record}").replace(' ', ""));
    }

    #[test]
    fn a_segment_cut_at_any_byte_gives_the_records_before_the_cut() {
        let all = hints(5);
        let bytes = segment(&all);
        let begins = header().to_bytes().len();
        for cut in 0..=bytes.len() {
            let Ok(found) = scan(&bytes[..cut]) else {
                assert!(cut < begins, "cut at {cut}");
                assert_eq!(scan(&bytes[..cut]), Err(SegmentError::Cut));
                continue;
            };
            let (read, end) = records(&bytes[begins..cut]);
            assert_eq!((read.as_slice(), end), (&all[..read.len()], Front::End));
            assert_eq!((found.hints, found.changed), (read.len() as u64, false), "cut at {cut}");
            assert_eq!(found.ends as usize, segment(&read).len());
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed_and_only_what_is_before_it_is_believed() {
        let all = hints(4);
        let bytes = segment(&all);
        let begins = header().to_bytes().len();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            match scan(&changed) {
                Err(_) => assert!(bit / 8 < begins, "bit {bit}"),
                Ok(found) => {
                    assert!(bit / 8 >= begins, "bit {bit} of the header");
                    let (read, _) = records(&changed[begins..]);
                    assert!(read.len() < all.len() && read == all[..read.len()], "bit {bit}");
                    assert_eq!(found.hints, read.len() as u64);
                    // A longer length may reach beyond the end, which looks as if it were cut.
                    let of_length = (begins..).step_by(record_bytes(&all[0].0)).take(4).any(|at| at + 4 == bit / 8);
                    assert!(found.changed || of_length, "bit {bit}");
                }
            }
        }
    }

    #[test]
    fn zeros_behind_the_records_are_their_end() {
        let mut bytes = segment(&hints(3));
        let ends = bytes.len();
        bytes.resize(ends + 4096, 0);
        let found = scan(&bytes).expect("a segment");
        assert_eq!((found.hints, found.ends as usize, found.changed), (3, ends, false));
        bytes[ends + 100] = 1;
        assert!(scan(&bytes).expect("a segment").changed);
    }

    #[test]
    fn what_is_no_segment_is_named_so() {
        assert_eq!(scan(b"once upon a time"), Err(SegmentError::Foreign));
        let mut later = segment(&hints(1));
        later[8] = 9;
        assert_eq!(scan(&later), Err(SegmentError::Format(9)));
        for (name, id) in
            [("000000000000002a.hints", Some(SegmentId(42))), ("2a.hints", None), ("ffffffffffffffff.hints", None)]
        {
            assert_eq!(SegmentId::of_file_name(name), id);
        }
    }

    #[test]
    fn a_set_holds_the_partitions_of_the_hints() {
        let found = scan(&segment(&hints(50))).expect("a segment");
        let mut wanted: Vec<Partition> = hints(50).iter().map(|(key, _)| key.partition()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        assert_eq!(found.partitions.iter().collect::<Vec<_>>(), wanted);
    }

    proptest! {
        #[test]
        fn every_hint_comes_back(
            written in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 1..=KEY_BYTES_MAX), any::<u64>(), any::<u64>()), 0..40),
        ) {
            let written: Vec<(Key, Version)> = written.into_iter().map(|(key, ballot, stamp)| {
                let version = Version { ballot: Ballot(ballot), stamp: Stamp(stamp) };
                (Key::copy_from(&key).expect("a legal key"), version)
            }).collect();
            let bytes = segment(&written);
            let (read_header, begins) = Header::read(&bytes).expect("its header");
            prop_assert_eq!(read_header, header());
            prop_assert_eq!(records(&bytes[begins..]), (written, Front::End));
        }

        #[test]
        fn any_bytes_are_looked_through(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = scan(&bytes);
            let mut behind = header().to_bytes();
            behind.extend_from_slice(&bytes);
            let found = scan(&behind).expect("a segment");
            prop_assert!(found.begins <= found.ends && found.ends <= found.file_bytes);
        }
    }
}
