//! A queue of records as a log: written at its head, emptied at its tail, in segments that may be anywhere.
//!
//! A record's head lies in one segment; its value flows on into the next ones, so no room is lost at their ends. Records
//! that are removed leave their bytes, *dead*, until the tail comes past. Must not know what records say.
//!
//! ```text
//! tail                                                     head
//! [xxxxx......|.........x..|.....x......|...               ]
//!       ^cursor: all before it is done with
//! ```

use memring_protocol::version::Stamp;

use super::record::{FILLER, FILLER_BYTE, set_dead};
use super::segments::{NONE, Segments};

/// Bytes of a filler that says its length.
const FILLER_BYTES: usize = 5;

/// See the top of the file.
#[derive(Debug)]
pub(super) struct Log {
    /// Its number among the queues of the shard.
    queue: u8,
    oldest: u32,
    newest: u32,
    segments: usize,
    /// In the oldest segment: what is before it is done with.
    cursor: u32,
    /// Bytes written from the cursor on, dead ones too.
    written: usize,
    /// Records from the cursor on, dead ones too.
    records: usize,
    /// Live records, and their bytes.
    len: usize,
    live: usize,
}

/// What the tail of a log holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tail {
    /// Nothing: the log is empty.
    Empty,
    /// So many dead bytes, which are gone now.
    Dead(usize),
    /// A record.
    Live(u32),
}

impl Log {
    pub(super) fn new(queue: u8) -> Self {
        Self { queue, oldest: NONE, newest: NONE, segments: 0, cursor: 0, written: 0, records: 0, len: 0, live: 0 }
    }

    /// Live records.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Segments it holds.
    pub(super) fn segments(&self) -> usize {
        self.segments
    }

    /// Records in it, dead ones too.
    pub(super) fn records(&self) -> usize {
        self.records
    }

    /// Bytes of records that were removed, and of what fills gaps.
    pub(super) fn dead(&self) -> usize {
        self.written - self.live
    }

    /// Bytes of live records.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// Bytes of the oldest segment that are done with.
    pub(super) fn passed(&self) -> usize {
        self.cursor as usize
    }

    pub(super) fn newest_segment(&self) -> u32 {
        self.newest
    }

    /// Bytes of its segments that hold nothing: before the cursor, and behind the last record.
    pub(super) fn slack(&self, segments: &Segments) -> usize {
        if self.newest == NONE {
            0
        } else {
            self.cursor as usize + segments.size() - segments.get(self.newest).used as usize
        }
    }

    /// How many more segments a record would take.
    pub(super) fn segments_for(&self, segments: &Segments, head_len: usize, len: usize) -> usize {
        let room = if self.newest == NONE { 0 } else { segments.size() - segments.get(self.newest).used as usize };
        let usable = if room < head_len { 0 } else { room };
        len.saturating_sub(usable).div_ceil(segments.size())
    }

    /// Writes a record at the head. Room was made: as many segments are free as [`Log::segments_for`] says.
    pub(super) fn append(
        &mut self,
        segments: &mut Segments,
        floor: Stamp,
        head_len: usize,
        write_head: impl FnOnce(&mut [u8]),
        mut value: &[u8],
    ) -> u32 {
        let (place, len) = (self.begin(segments, floor, head_len), head_len + value.len());
        let ((number, at), _) = self.room(segments, floor, head_len);
        write_head(&mut segments.get_mut(number).bytes_mut()[at as usize..at as usize + head_len]);
        while !value.is_empty() {
            let ((number, at), room) = self.room(segments, floor, value.len());
            segments.get_mut(number).bytes_mut()[at as usize..at as usize + room].copy_from_slice(&value[..room]);
            value = &value[room..];
        }
        self.count_in(len);
        place
    }

    /// Copies a record of any log of these segments to the head. Room was made, as for [`Log::append`].
    pub(super) fn append_copy(&mut self, segments: &mut Segments, floor: Stamp, from: u32) -> u32 {
        let record = segments.record(from);
        let (head_len, len) = (record.head_len(), record.len());
        let place = self.begin(segments, floor, head_len);
        let (mut source, mut left) = (segments.split(from), len);
        while left > 0 {
            let here = segments.get(source.0);
            if source.1 == here.used {
                source = (here.newer, 0);
                continue;
            }
            let run = left.min((here.used - source.1) as usize);
            let (at, room) = self.room(segments, floor, run);
            segments.copy(source, at, room);
            source.1 += room as u32;
            left -= room;
        }
        self.count_in(len);
        place
    }

    /// Replaces a record by one that is not longer, and whose head fits in its segment, where it stands.
    #[inline(always)] // It has one caller, most writes' way.
    pub(super) fn overwrite(
        &mut self,
        segments: &mut Segments,
        place: u32,
        head_len: usize,
        write_head: impl FnOnce(&mut [u8]),
        mut value: &[u8],
    ) {
        let begin = segments.split(place);
        let old_len = segments.get(begin.0).record(begin.1).len();
        let new_len = head_len + value.len();
        assert!(new_len <= old_len, "a longer record does not fit");
        let mut at = (begin.0, begin.1 + head_len as u32);
        write_head(&mut segments.get_mut(at.0).bytes_mut()[begin.1 as usize..at.1 as usize]);
        while !value.is_empty() {
            let segment = segments.get_mut(at.0);
            if at.1 == segment.used {
                at = (segment.newer, 0);
                continue;
            }
            let room = value.len().min((segment.used - at.1) as usize);
            let start = at.1 as usize;
            segment.bytes_mut()[start..start + room].copy_from_slice(&value[..room]);
            at.1 += room as u32;
            value = &value[room..];
        }
        if at.0 == begin.0 && new_len < old_len {
            // In later segments, all before their first record is passed over anyway.
            let segment = segments.get_mut(at.0);
            let end = segment.used.min(at.1 + (old_len - new_len) as u32);
            fill(&mut segment.bytes_mut()[at.1 as usize..end as usize]);
        }
        self.live -= old_len - new_len;
    }

    /// Marks a record dead.
    pub(super) fn kill(&mut self, segments: &mut Segments, place: u32) {
        self.live -= segments.record(place).len();
        self.len -= 1;
        set_dead(segments.bytes_mut(place));
    }

    /// The oldest live record; or passes over dead bytes, to the end of a segment at most, which is free then.
    pub(super) fn tail(&mut self, segments: &mut Segments) -> Tail {
        if self.oldest == NONE {
            return Tail::Empty;
        }
        let segment = segments.get(self.oldest);
        let before = self.cursor;
        let mut at = self.cursor;
        while let Some(offset) = segment.record_from(at) {
            if !segment.record(offset).is_dead() {
                self.written -= (offset - before) as usize;
                self.cursor = offset;
                return Tail::Live(segments.place(self.oldest, offset));
            }
            self.records -= 1;
            at = segment.behind(offset);
        }
        let passed = (segment.used - before) as usize;
        self.written -= passed;
        self.free_oldest(segments);
        Tail::Dead(passed)
    }

    /// Its records, dead ones too, from the oldest on.
    pub(super) fn oldest_first<'a>(&self, segments: &'a Segments) -> impl Iterator<Item = u32> + use<'a> {
        let (mut number, mut at) = (self.oldest, self.cursor);
        std::iter::from_fn(move || {
            while number != NONE {
                let segment = segments.get(number);
                if let Some(offset) = segment.record_from(at) {
                    at = segment.behind(offset);
                    return Some(segments.place(number, offset));
                }
                (number, at) = (segment.newer, 0);
            }
            None
        })
    }

    /// The parts of a record's value, in order.
    pub(super) fn value(segments: &Segments, place: u32) -> impl Iterator<Item = &[u8]> {
        let record = segments.record(place);
        let (mut left, (mut number, offset)) = (record.value_len(), segments.split(place));
        let mut start = offset as usize + record.head_len();
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let mut segment = segments.get(number);
            if start == segment.used as usize {
                (number, start) = (segment.newer, 0);
                segment = segments.get(number);
            }
            let part = left.min(segment.used as usize - start);
            let bytes = &segment.bytes()[start..start + part];
            left -= part;
            start += part;
            Some(bytes)
        })
    }

    /// Opens a segment unless the head fits into the newest one, and says where the record begins.
    fn begin(&mut self, segments: &mut Segments, floor: Stamp, head_len: usize) -> u32 {
        if self.newest == NONE || segments.size() - (segments.get(self.newest).used as usize) < head_len {
            self.open(segments, floor);
        }
        let segment = segments.get_mut(self.newest);
        if segment.first == NONE {
            segment.first = segment.used;
        }
        let used = segment.used;
        segments.place(self.newest, used)
    }

    /// Takes room for up to `len` bytes, one at least, in the newest segment: where it is, and how much.
    fn room(&mut self, segments: &mut Segments, floor: Stamp, len: usize) -> ((u32, u32), usize) {
        if segments.get(self.newest).used as usize == segments.size() {
            self.open(segments, floor);
        }
        let size = segments.size();
        let segment = segments.get_mut(self.newest);
        let at = segment.used;
        let room = len.min(size - at as usize);
        segment.used += room as u32;
        ((self.newest, at), room)
    }

    fn open(&mut self, segments: &mut Segments, floor: Stamp) {
        let number = segments.take(self.queue, floor);
        segments.get_mut(number).older = self.newest;
        if self.newest == NONE {
            self.oldest = number;
            self.cursor = 0;
        } else {
            segments.get_mut(self.newest).newer = number;
        }
        self.newest = number;
        self.segments += 1;
    }

    fn free_oldest(&mut self, segments: &mut Segments) {
        let next = segments.get(self.oldest).newer;
        segments.give_back(self.oldest);
        self.segments -= 1;
        self.oldest = next;
        self.cursor = 0;
        if next == NONE {
            self.newest = NONE;
            assert_eq!((self.segments, self.records, self.written), (0, 0, 0), "an empty log holds nothing");
        } else {
            segments.get_mut(next).older = NONE;
        }
    }

    fn count_in(&mut self, len: usize) {
        self.records += 1;
        self.written += len;
        self.live += len;
        self.len += 1;
    }
}

/// Fills a gap behind a record that became shorter.
fn fill(gap: &mut [u8]) {
    if gap.len() < FILLER_BYTES {
        gap.fill(FILLER_BYTE);
    } else {
        let len = gap.len() as u32;
        gap[0] = FILLER;
        gap[1..FILLER_BYTES].copy_from_slice(&len.to_le_bytes());
    }
}
