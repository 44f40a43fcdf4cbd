//! Slots for records, numbered in 32 bits and linked into queues; freed slots are used again.
//!
//! Must not know what the records say nor which queue means what. Slots are never given back to the allocator: a store
//! that once held many small items keeps 24 bytes for each.

use super::accounting::allocation;
use super::record::Record;

/// No slot.
pub(super) const NIL: u32 = u32::MAX;

/// Slots that are allocated together: small, for stores of a megabyte.
const CHUNK_SLOTS: usize = 128;

/// A record and its neighbours in the queue that it waits in.
#[derive(Debug)]
struct Slot {
    record: Record,
    /// The next newer record of the queue.
    newer: u32,
    /// The next older record of the queue; of a free slot, the next free one.
    older: u32,
}

const _: () = assert!(size_of::<Slot>() == SLOT_BYTES);

/// Bytes of a slot without its record.
pub(super) const SLOT_BYTES: usize = 24;

/// See the top of the file.
#[derive(Debug)]
pub(super) struct Slab {
    chunks: Vec<Box<[Slot]>>,
    free: u32,
    /// Slots from here on were never used.
    fresh: u32,
}

impl Slab {
    pub(super) fn new() -> Self {
        Self { chunks: Vec::new(), free: NIL, fresh: 0 }
    }

    /// Bytes of the slots, without the records.
    pub(super) fn bytes(&self) -> usize {
        Self::bytes_of(self.chunks.len(), self.chunks.capacity())
    }

    /// Bytes that the next [`Slab::insert`] adds to [`Slab::bytes`].
    pub(super) fn growth(&self) -> usize {
        if self.free != NIL || self.fresh as usize != self.chunks.len() * CHUNK_SLOTS {
            return 0;
        }
        Self::bytes_of(self.chunks.len() + 1, self.capacity_after_growth()) - self.bytes()
    }

    /// Slots ever used: every record's id is below this.
    pub(super) fn end(&self) -> u32 {
        self.fresh
    }

    /// Puts a record into a free slot, in no queue.
    pub(super) fn insert(&mut self, record: Record) -> u32 {
        assert!(!record.is_empty(), "an empty record means a free slot");
        let id = if self.free != NIL {
            let id = self.free;
            self.free = self.slot(id).older;
            id
        } else {
            if self.fresh as usize == self.chunks.len() * CHUNK_SLOTS {
                self.grow();
            }
            self.fresh += 1;
            assert!(self.fresh < NIL, "slots are numbered in 32 bits");
            self.fresh - 1
        };
        *self.slot_mut(id) = Slot { record, newer: NIL, older: NIL };
        id
    }

    /// Frees a slot that is in no queue.
    pub(super) fn remove(&mut self, id: u32) -> Record {
        let free = self.free;
        let slot = self.slot_mut(id);
        let record = std::mem::take(&mut slot.record);
        assert!(!record.is_empty(), "a slot is freed once");
        slot.older = free;
        self.free = id;
        record
    }

    /// The record in a slot; empty when the slot is free.
    pub(super) fn record(&self, id: u32) -> &Record {
        &self.slot(id).record
    }

    pub(super) fn record_mut(&mut self, id: u32) -> &mut Record {
        &mut self.slot_mut(id).record
    }

    fn bytes_of(chunks: usize, capacity: usize) -> usize {
        chunks * allocation(CHUNK_SLOTS * SLOT_BYTES) + allocation(capacity * size_of::<Box<[Slot]>>())
    }

    fn capacity_after_growth(&self) -> usize {
        if self.chunks.len() < self.chunks.capacity() { self.chunks.capacity() } else { (self.chunks.len() * 2).max(4) }
    }

    fn grow(&mut self) {
        let capacity = self.capacity_after_growth();
        self.chunks.reserve_exact(capacity - self.chunks.len());
        let slot = || Slot { record: Record::default(), newer: NIL, older: NIL };
        self.chunks.push(std::iter::repeat_with(slot).take(CHUNK_SLOTS).collect());
    }

    fn slot(&self, id: u32) -> &Slot {
        &self.chunks[id as usize / CHUNK_SLOTS][id as usize % CHUNK_SLOTS]
    }

    fn slot_mut(&mut self, id: u32) -> &mut Slot {
        &mut self.chunks[id as usize / CHUNK_SLOTS][id as usize % CHUNK_SLOTS]
    }
}

/// A FIFO of slots, with the bytes of their records.
#[derive(Debug)]
pub(super) struct Queue {
    newest: u32,
    oldest: u32,
    len: usize,
    bytes: usize,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { newest: NIL, oldest: NIL, len: 0, bytes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of its records as allocated, without their slots.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NIL).then_some(self.oldest)
    }

    pub(super) fn newest(&self) -> Option<u32> {
        (self.newest != NIL).then_some(self.newest)
    }

    /// The next older member after `id`.
    pub(super) fn older_than(slab: &Slab, id: u32) -> Option<u32> {
        let older = slab.slot(id).older;
        (older != NIL).then_some(older)
    }

    /// The next newer member after `id`.
    pub(super) fn newer_than(slab: &Slab, id: u32) -> Option<u32> {
        let newer = slab.slot(id).newer;
        (newer != NIL).then_some(newer)
    }

    /// Puts a slot that is in no queue behind all others.
    pub(super) fn push(&mut self, slab: &mut Slab, id: u32) {
        let newest = self.newest;
        let slot = slab.slot_mut(id);
        slot.newer = NIL;
        slot.older = newest;
        self.bytes += allocation(slot.record.len());
        self.len += 1;
        self.newest = id;
        if newest == NIL {
            self.oldest = id;
        } else {
            slab.slot_mut(newest).newer = id;
        }
    }

    /// Takes a member out.
    pub(super) fn unlink(&mut self, slab: &mut Slab, id: u32) {
        let slot = slab.slot(id);
        let (newer, older) = (slot.newer, slot.older);
        self.bytes -= allocation(slot.record.len());
        self.len -= 1;
        if newer == NIL {
            assert_eq!(self.newest, id, "a member without a newer one is the newest");
            self.newest = older;
        } else {
            slab.slot_mut(newer).older = older;
        }
        if older == NIL {
            assert_eq!(self.oldest, id, "a member without an older one is the oldest");
            self.oldest = newer;
        } else {
            slab.slot_mut(older).newer = newer;
        }
    }

    /// Replaces a member's record where it stands.
    pub(super) fn replace(&mut self, slab: &mut Slab, id: u32, record: Record) {
        let held = slab.record_mut(id);
        self.bytes = self.bytes + allocation(record.len()) - allocation(held.len());
        *held = record;
    }
}
