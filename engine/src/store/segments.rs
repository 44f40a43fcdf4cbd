//! The memory of one shard: equal segments, mapped from the system one by one and given back one by one.
//!
//! Must not know records' fields or queues' order. A place is a byte of this memory: number of the segment times its size,
//! plus the offset in it, in 32 bits. So one shard has 4 GiB at most, and a store of the most shards 1 TiB.

use memmap2::MmapMut;
use memring_protocol::version::Stamp;

use super::accounting::allocation;
use super::expiries::Expiries;
use super::record::{FILLER, FILLER_BYTE, Record};

/// No segment.
pub(super) const NONE: u32 = u32::MAX;

/// Segments of a shard's share: five of them are slack, so this many make it half a hundredth.
const SEGMENTS_A_SHARE: usize = 1024;

/// The smallest segment: a page, which is what the system gives.
const SEGMENT_BYTES_MIN: usize = 4 << 10;

/// The largest segment: what a sweep looks through in one go.
const SEGMENT_BYTES_MAX: usize = 1 << 20;

/// Bytes of what is known of the expiries of one segment.
pub(super) const EXPIRIES_BYTES: usize = allocation(size_of::<Expiries>());

/// Descriptors that are added at once, at least; else an eighth of what there is.
const DESCRIBED_MIN: usize = 64;

/// One piece of memory, and what is known of it: on a cache line of its own, for every access to a record comes here.
#[repr(align(64))]
pub(super) struct Segment {
    memory: Option<MmapMut>,
    /// The next newer segment of its queue.
    pub(super) newer: u32,
    /// The next older segment of its queue.
    pub(super) older: u32,
    /// Bytes written.
    pub(super) used: u32,
    /// Where the first record begins that begins here; [`NONE`] if none does. Before it is the rest of an older one.
    pub(super) first: u32,
    /// How often it was taken for a queue: offsets in it are good for one time.
    pub(super) life: u32,
    /// Which queue it belongs to.
    pub(super) queue: u8,
    /// The flush floor when it was last looked through.
    pub(super) floor: Stamp,
    /// When the bytes of its records end, if any do.
    pub(super) expiries: Option<Box<Expiries>>,
}

impl Segment {
    fn vacant() -> Self {
        Self {
            memory: None,
            newer: NONE,
            older: NONE,
            used: 0,
            first: NONE,
            life: 0,
            queue: 0,
            floor: Stamp::ZERO,
            expiries: None,
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.as_deref().expect("a segment in use has memory")
    }

    #[inline]
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.memory.as_deref_mut().expect("a segment in use has memory")
    }

    /// The first record, dead or alive, that begins at `offset` or behind it.
    pub(super) fn record_from(&self, offset: u32) -> Option<u32> {
        let mut offset = offset.max(self.first);
        let bytes = self.bytes();
        while offset < self.used {
            let at = offset as usize;
            match bytes[at] {
                FILLER_BYTE => offset += 1,
                FILLER => offset += u32::from_le_bytes(bytes[at + 1..at + 5].try_into().expect("4 bytes")),
                _ => return Some(offset),
            }
        }
        None
    }

    /// The record that begins at an offset, as far as it lies here, with what lies behind it.
    #[inline(always)]
    pub(super) fn record(&self, offset: u32) -> Record<'_> {
        Record::new(&self.bytes()[offset as usize..])
    }

    /// Where the record behind the one that begins at `offset` may begin.
    pub(super) fn behind(&self, offset: u32) -> u32 {
        // A record has less than 2^31 bytes.
        self.used.min(offset + self.record(offset).len() as u32)
    }
}

/// See the top of the file.
pub(super) struct Segments {
    /// Bytes of each, as a power of two.
    size_bits: u32,
    all: Vec<Segment>,
    /// Segments that have memory and no queue.
    free: Vec<u32>,
    /// Segments without memory.
    vacant: Vec<u32>,
    /// How many have memory.
    mapped: usize,
    /// Bytes of the lists.
    descriptors_bytes: usize,
    /// Bytes of what is known of expiries.
    expiries_bytes: usize,
}

impl Segments {
    /// None yet, of a size for a share of so many bytes.
    pub(super) fn new(share_bytes: usize) -> Self {
        let size_bits = (share_bytes / SEGMENTS_A_SHARE).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX).ilog2();
        Self {
            size_bits,
            all: Vec::new(),
            free: Vec::new(),
            vacant: Vec::new(),
            mapped: 0,
            descriptors_bytes: 0,
            expiries_bytes: 0,
        }
    }

    /// Bytes of one segment, a power of two.
    pub(super) fn size(&self) -> usize {
        1 << self.size_bits
    }

    /// Bytes of all that has memory, used or free, with the descriptors.
    pub(super) fn bytes(&self) -> usize {
        (self.mapped << self.size_bits) + self.descriptors_bytes + self.expiries_bytes
    }

    /// Bytes that the next [`Segments::map`] adds to [`Segments::bytes`].
    pub(super) fn cost_of_next(&self) -> usize {
        let described = if self.vacant.is_empty() { self.more() } else { self.all.len() };
        self.size() + descriptors_bytes(described) - self.descriptors_bytes
    }

    /// How many have memory and no queue.
    pub(super) fn free(&self) -> usize {
        self.free.len()
    }

    /// Maps memory for one more; false if there is none to be had, or all places are taken.
    pub(super) fn map(&mut self) -> bool {
        if self.vacant.is_empty() && !self.describe_more() {
            return false;
        }
        let Ok(memory) = MmapMut::map_anon(self.size()) else { return false };
        let number = self.vacant.pop().expect("there is one");
        self.get_mut(number).memory = Some(memory);
        self.free.push(number);
        self.mapped += 1;
        true
    }

    /// Gives the memory of a free one back to the system; false if there is none.
    pub(super) fn unmap(&mut self) -> bool {
        let Some(number) = self.free.pop() else { return false };
        self.get_mut(number).memory = None;
        self.vacant.push(number);
        self.mapped -= 1;
        true
    }

    /// Takes a free one for a queue. Records that come into it are above the flush floor.
    ///
    /// # Panics
    ///
    /// If there is none: whoever writes has made room before.
    pub(super) fn take(&mut self, queue: u8, floor: Stamp) -> u32 {
        let number = self.free.pop().expect("room was made");
        let segment = self.get_mut(number);
        assert!(segment.expiries.is_none(), "a free segment holds nothing");
        let (memory, life) = (segment.memory.take(), segment.life.wrapping_add(1));
        *segment = Segment { memory, life, queue, floor, ..Segment::vacant() };
        number
    }

    /// Notes that so many bytes of a segment end at a second.
    pub(super) fn note_expiry(&mut self, number: u32, now_s: u32, at_s: u32, bytes: u32) {
        let segment = &mut self.all[number as usize];
        let expiries = segment.expiries.get_or_insert_with(|| {
            self.expiries_bytes += EXPIRIES_BYTES;
            Box::new(Expiries::new(now_s))
        });
        expiries.add(at_s, bytes);
    }

    /// Takes one back that nothing is in any more.
    pub(super) fn give_back(&mut self, number: u32) {
        let segment = self.get_mut(number);
        (segment.used, segment.first) = (0, NONE);
        if segment.expiries.take().is_some() {
            self.expiries_bytes -= EXPIRIES_BYTES;
        }
        self.free.push(number);
    }

    #[inline]
    pub(super) fn get(&self, number: u32) -> &Segment {
        &self.all[number as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> &mut Segment {
        &mut self.all[number as usize]
    }

    /// One more than the largest number of a segment.
    pub(super) fn end(&self) -> u32 {
        self.all.len() as u32
    }

    /// Whether it has memory and may be in a queue.
    pub(super) fn is_mapped(&self, number: u32) -> bool {
        self.get(number).memory.is_some()
    }

    #[inline]
    pub(super) fn place(&self, number: u32, offset: u32) -> u32 {
        (number << self.size_bits) + offset
    }

    /// The segment of a place, and the offset in it.
    #[inline]
    pub(super) fn split(&self, place: u32) -> (u32, u32) {
        (place >> self.size_bits, place & ((1 << self.size_bits) - 1))
    }

    /// The record that begins at a place.
    #[inline(always)]
    pub(super) fn record(&self, place: u32) -> Record<'_> {
        let (number, offset) = self.split(place);
        self.get(number).record(offset)
    }

    /// The bytes from a place to the end of its segment.
    #[inline]
    pub(super) fn bytes_mut(&mut self, place: u32) -> &mut [u8] {
        let (number, offset) = self.split(place);
        &mut self.get_mut(number).bytes_mut()[offset as usize..]
    }

    /// The queue that a place is in.
    #[inline]
    pub(super) fn queue(&self, place: u32) -> u8 {
        self.get(self.split(place).0).queue
    }

    /// Copies bytes from one segment to another, or within one.
    pub(super) fn copy(&mut self, from: (u32, u32), to: (u32, u32), len: usize) {
        let (from_at, to_at) = (from.1 as usize, to.1 as usize);
        if from.0 == to.0 {
            return self.get_mut(from.0).bytes_mut().copy_within(from_at..from_at + len, to_at);
        }
        let mut memory = self.get_mut(to.0).memory.take().expect("a segment in use has memory");
        memory[to_at..to_at + len].copy_from_slice(&self.get(from.0).bytes()[from_at..from_at + len]);
        self.get_mut(to.0).memory = Some(memory);
    }

    /// How many are described once it is more.
    fn more(&self) -> usize {
        self.all.len() + (self.all.len() / 8).max(DESCRIBED_MIN)
    }

    /// Describes more segments, all vacant; false if all places are taken.
    fn describe_more(&mut self) -> bool {
        let (count, more) = (self.all.len(), self.more());
        // The last place is no place.
        if more << self.size_bits >= u32::MAX as usize {
            return false;
        }
        self.all.reserve_exact(more - count);
        self.all.resize_with(more, Segment::vacant);
        for list in [&mut self.free, &mut self.vacant] {
            list.reserve_exact(more - list.len());
        }
        self.vacant.extend((count as u32..more as u32).rev());
        self.descriptors_bytes = descriptors_bytes(more);
        true
    }
}

/// Bytes of the lists of so many segments.
fn descriptors_bytes(count: usize) -> usize {
    allocation(count * size_of::<Segment>()) + 2 * allocation(count * size_of::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_a_1024th_of_a_share_within_bounds() {
        for (share, size) in [(1 << 20, 4 << 10), (16 << 20, 16 << 10), (31 << 20, 16 << 10), (4 << 30, 1 << 20)] {
            assert_eq!(Segments::new(share).size(), size, "{share}");
        }
    }

    #[test]
    fn memory_is_counted_as_it_comes_and_goes() {
        let mut segments = Segments::new(1 << 20);
        assert_eq!(segments.bytes(), 0);
        for _ in 0..100 {
            let expected = segments.bytes() + segments.cost_of_next();
            assert!(segments.map());
            assert_eq!(segments.bytes(), expected);
        }
        let numbers: Vec<u32> = (0..100).map(|_| segments.take(1, Stamp(7))).collect();
        assert!(numbers.iter().all(|&number| segments.get(number).queue == 1 && segments.get(number).used == 0));
        let (a, b) = (numbers[3], numbers[70]);
        segments.get_mut(a).bytes_mut()[5..8].copy_from_slice(b"abc");
        segments.copy((a, 5), (b, 4093), 3);
        segments.copy((b, 4093), (b, 4092), 3);
        assert_eq!(&segments.get(b).bytes()[4092..], b"abcc");
        assert_eq!(segments.split(segments.place(b, 4093)), (b, 4093));
        let full = segments.bytes();
        numbers.into_iter().for_each(|number| segments.give_back(number));
        while segments.unmap() {}
        assert_eq!(full - segments.bytes(), 100 * segments.size());
    }
}
