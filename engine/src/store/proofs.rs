//! What may be forgotten: up to which stamp all homes of a partition are known to agree, and what went before that.
//!
//! A tombstone, and the version of an item that has expired, hold back what a home that missed them still has. They go when
//! they are old enough and nobody can have missed them; or when there is no room for them, which is noted: a home that was
//! away meanwhile must not count with what it had. Must not know how homes agree.

use memring_protocol::entry::{BodyRef, EntryRef, Expiry};
use memring_protocol::key::{KEY_BYTES_MAX, KeyRef, PARTITIONS, Partition};
use memring_protocol::version::{Ballot, Stamp};

use super::Store;
use super::accounting::allocation;
use super::log::Tail;
use super::record::{FIXED_BYTES, History, Home, Record, Term};
use super::shape::{Shape, Written};
use super::shard::{Moment, Queue, Shard};

/// The part of a shard's memory that tombstones may take: 2 %.
const TOMBSTONES_SHARE: usize = 50;

/// Tombstones that one tidying looks at.
const OLD_TOMBSTONES_MAX: usize = 64;

/// No head of a tombstone is longer: fixed fields, a ballot, a key.
const HEAD_BYTES_MAX: usize = FIXED_BYTES + size_of::<Ballot>() + KEY_BYTES_MAX;

/// What is known of one partition.
#[derive(Clone, Copy, Debug)]
struct Proof {
    /// Every home has what was written up to here, or something newer.
    settled: Stamp,
    /// The highest stamp above that which was forgotten for want of room.
    dropped: Stamp,
    /// What came late came before this: it may be below `settled` of earlier, and was not known then.
    late: Stamp,
}

/// Of the partitions of a shard. Takes no memory until there is another home.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    of: Box<[Proof]>,
    bytes: usize,
}

impl Proofs {
    /// Bytes of its memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn get(&self, local: usize) -> Proof {
        self.of.get(local).copied().unwrap_or(Proof { settled: Stamp::MAX, dropped: Stamp::ZERO, late: Stamp::ZERO })
    }

    fn get_mut(&mut self, local: usize, partitions: usize) -> &mut Proof {
        if self.of.is_empty() {
            self.of = vec![self.get(local); partitions].into();
            self.bytes = allocation(size_of_val(&*self.of));
        }
        &mut self.of[local]
    }
}

impl Store {
    /// Every home of the partition has what was written up to this stamp, or something newer: that may be forgotten once
    /// it is old enough or has expired. Without other homes that is [`Stamp::MAX`], as at the start.
    pub fn set_settled(&self, partition: Partition, settled: Stamp) {
        let mut shard = self.lock(partition);
        let local = shard.index.local(partition);
        if settled == Stamp::MAX && shard.proofs.of.is_empty() {
            return;
        }
        let partitions = usize::from(PARTITIONS) / self.shards.len();
        let proof = shard.proofs.get_mut(local, partitions);
        proof.settled = if settled < proof.late { Stamp::ZERO } else { settled };
        if proof.dropped <= settled {
            proof.dropped = Stamp::ZERO;
        }
    }

    /// The copy was made anew: nothing that homes agreed upon before this stamp was said of what it holds.
    pub fn distrust_settled(&self, partition: Partition, now: Stamp) {
        let mut shard = self.lock(partition);
        let local = shard.index.local(partition);
        if let Some(proof) = shard.proofs.of.get_mut(local)
            && proof.settled != Stamp::MAX
        {
            (proof.settled, proof.late) = (Stamp::ZERO, now);
        }
    }

    /// The highest stamp of a tombstone that went for want of room before all homes were known to have it;
    /// [`Stamp::ZERO`] if there is none. A home that was away then may hold what it held back.
    pub fn dropped(&self, partition: Partition) -> Stamp {
        let shard = self.lock(partition);
        shard.proofs.get(shard.index.local(partition)).dropped
    }
}

impl Shard {
    /// Whether every home is known to have this, or something newer.
    pub(super) fn is_settled(&self, record: Record<'_>) -> bool {
        record.stamp() <= self.proofs.get(self.index.local(record.partition())).settled
    }

    /// Another node's tombstone, or item that ends, is about to be kept. If all homes agreed further than its stamp before
    /// it came here, that says nothing of it: they must agree anew.
    #[inline]
    pub(super) fn note_late(&mut self, moment: Moment, key: &KeyRef<'_>, entry: &EntryRef<'_>) {
        let ends = match &entry.body {
            BodyRef::Tombstone => true,
            BodyRef::Item(item) => item.expiry != Expiry::NEVER,
        };
        if ends && !self.proofs.of.is_empty() {
            self.note_ending_late(moment, key, entry);
        }
    }

    fn note_ending_late(&mut self, moment: Moment, key: &KeyRef<'_>, entry: &EntryRef<'_>) {
        let local = self.index.local(key.partition());
        if let Some(proof) = self.proofs.of.get_mut(local)
            && entry.version.stamp <= proof.settled
        {
            (proof.settled, proof.late) = (Stamp::ZERO, Stamp::end_of(moment.now.0));
        }
    }

    /// Drops the oldest tombstones over their share; the last one stays. If most of what is in their queue is dead, they
    /// move up instead.
    #[inline]
    pub(super) fn cap_tombstones(&mut self, moment: Moment) {
        if self.has_tombstones_above_cap() {
            self.drop_tombstones_above_cap(moment);
        }
    }

    #[inline]
    fn has_tombstones_above_cap(&self) -> bool {
        let (log, size) = (self.log(Queue::Tombstones), self.segments.size());
        log.segments() * size > (self.budget / TOMBSTONES_SHARE).max(2 * size) && log.len() > 1
    }

    #[cold]
    fn drop_tombstones_above_cap(&mut self, moment: Moment) {
        while self.has_tombstones_above_cap() {
            let log = self.log(Queue::Tombstones);
            let is_mostly_dead = log.dead() > log.live();
            match self.logs[Queue::Tombstones as usize].tail(&mut self.segments) {
                Tail::Live(place)
                    if is_mostly_dead && self.can_move_to(Queue::Tombstones, self.record(place).len()) =>
                {
                    self.relocate(moment, place, Queue::Tombstones);
                }
                Tail::Live(place) => self.drop_tombstone(place),
                Tail::Dead(_) | Tail::Empty => {}
            }
        }
    }

    /// Whether a tombstone has been kept for long enough, and no home can have missed it.
    pub(super) fn is_outlived(&self, tombstone: Record<'_>, moment: Moment) -> bool {
        let age_ms = moment.now.0.saturating_sub(tombstone.stamp().unix_ms());
        age_ms > super::TOMBSTONE_LIFE_MS && self.is_settled(tombstone)
    }

    /// Removes the oldest tombstones that have been kept for long enough, [`OLD_TOMBSTONES_MAX`] at most.
    pub(super) fn drop_old_tombstones(&mut self, moment: Moment) {
        for _ in 0..OLD_TOMBSTONES_MAX {
            match self.logs[Queue::Tombstones as usize].tail(&mut self.segments) {
                Tail::Live(place) if self.is_outlived(self.record(place), moment) => self.remove(place),
                Tail::Dead(_) => {}
                Tail::Live(_) | Tail::Empty => return,
            }
        }
    }

    /// Removes a tombstone, or what should become one, for want of room.
    pub(super) fn drop_tombstone(&mut self, place: u32) {
        let record = self.record(place);
        if !self.is_settled(record) {
            let (local, stamp) = (self.index.local(record.partition()), record.stamp());
            // Not settled: so there is memory for it.
            let proof = &mut self.proofs.of[local];
            proof.dropped = proof.dropped.max(stamp);
        }
        self.stats.tombstones_dropped += 1;
        self.remove(place);
    }

    /// Puts a tombstone of the same version in the place of an expired item, and says where it is; or drops it, where
    /// there is no room.
    pub(super) fn entomb(&mut self, moment: Moment, place: u32) -> Option<u32> {
        let version = self.version(place);
        // The most that its head can be: its term may have no number.
        let len_max = HEAD_BYTES_MAX - KEY_BYTES_MAX + self.record(place).key_len();
        if !self.has_room_for_tombstone(len_max) {
            self.drop_tombstone(place);
            return None;
        }
        let term = self.terms.enter(version.ballot).map_or(Term::Whole(version.ballot), Term::Number);
        let record = self.segments.record(place);
        let key = KeyRef::of_token(record.key(), record.token()).expect("the store holds keys only");
        let entry = EntryRef { version, body: BodyRef::Tombstone };
        let shape = Shape::of(&key, &entry, term, false);
        let mut head = [0; HEAD_BYTES_MAX];
        let history = History::beginning(moment.now);
        shape.write_head(&mut head, &key, &entry, &Written { term, home: Home::Log, history });
        let write_head = |into: &mut [u8]| into.copy_from_slice(&head[..shape.head_len]);
        let log = &mut self.logs[Queue::Tombstones as usize];
        let tomb = log.append(&mut self.segments, moment.floors.everywhere, shape.head_len, write_head, &[]);
        self.count_in(tomb);
        self.count_out(place);
        // Key and version are what they were: so is the digest.
        self.index.replace(&self.segments, place, tomb);
        self.bury(place);
        Some(tomb)
    }

    /// Whether a tombstone of so many bytes has room without anything else making way for it.
    fn has_room_for_tombstone(&mut self, len: usize) -> bool {
        let fits = |shard: &Self| {
            shard.log(Queue::Tombstones).segments_for(&shard.segments, len, len) <= shard.segments.free()
        };
        fits(self) || (self.used() + self.segments.cost_of_next() <= self.budget && self.segments.map() && fits(self))
    }
}
