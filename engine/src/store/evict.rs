//! Making room: S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP'23, algorithm 1).
//!
//! New items are on probation in the small queue; those read more than once by its end move to the main queue, the others
//! leave their fingerprint in the ghost queue and go. So a scan of items that nobody reads twice passes through a tenth of
//! the memory and leaves the rest alone.
//!
//! The queues are logs, so room comes back where a tail passes. Dead bytes in the middle of a queue are *cleaned*: while
//! there are too many, what the tail of that queue meets alive moves to its head as it is, and nothing live goes for them.
//! A write pays for the bytes it takes by work in proportion, ahead of need: [`SLACK_SEGMENTS`] are kept free or half
//! free. What is short of that is won by cleaning, if there is something to clean, and else by eviction; what is short by
//! more than a segment, by eviction.
//!
//! Must not know keys' bytes or partitions' ballots.

use memring_protocol::entry::Expiry;

use super::log::{Log, Tail};
use super::record::set_frequency;
use super::segments::EXPIRIES_BYTES;
use super::shard::{Moment, Queue, Shard};

/// The small queue's part of the memory: a tenth, as in the paper.
const SMALL_SHARE: usize = 10;

/// Frequency above which an item of the small queue is proven.
const PROVEN_ABOVE: u8 = 1;

/// Records that one write may move before it drops whatever is oldest: bounds the time under the lock.
const MOVES_MAX: u32 = 256;

/// Bytes that a write may move for each byte that it takes: once ahead of need, and once before it drops whatever is
/// oldest.
const WORK_FACTOR: usize = 4;

/// What even the smallest write may move, in bytes.
const WORK_BYTES_MIN: usize = 8 << 10;

/// What looking at a record counts as that is not moved, in bytes.
const LOOK_BYTES: usize = 32;

/// Passing over a dead byte is so much cheaper than copying a live one.
const DEAD_DISCOUNT: usize = 16;

/// Above this part of the memory dead bytes are cleaned.
const DEAD_SHARE: usize = 16;

/// Segments, or as much as the largest records take, that are kept free, or are the free parts of those at the heads and
/// tails.
const SLACK_SEGMENTS: usize = 5;

/// Of these, segments that a write leaves to the moves of the next one.
const RESERVE_SEGMENTS: usize = 2;

/// Without eviction: how many bytes of live records a write looks at for dead ones.
const SEARCH_BYTES_MAX: usize = 1 << 20;

/// What a write takes.
pub(super) struct Need {
    pub(super) queue: Queue,
    /// Bytes that lie in one piece.
    pub(super) head_len: usize,
    /// Bytes in the log.
    pub(super) len: usize,
    /// Bytes elsewhere.
    pub(super) extra: usize,
    /// Whether a held item goes on, a few bytes longer.
    pub(super) amends: bool,
}

/// What work at a tail is for.
#[derive(Clone, Copy)]
enum Aim {
    /// Something live goes.
    Evict,
    /// What is dead goes, and nothing live.
    Clean,
}

/// What one piece of work came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Something was done.
    Done,
    /// The oldest record must stay where it is for now.
    Stuck,
    /// There is nothing in the queue.
    Empty,
}

/// What making room has come to.
#[derive(Default)]
struct Work {
    /// Bytes of records that were looked at.
    bytes: usize,
    /// So many bytes are enough: from there on whatever is oldest goes.
    quota: usize,
    /// Bytes that are wanted in the log.
    wanted: usize,
    /// Records moved.
    moves: u32,
    /// Whether anything was moved or dropped.
    changed: bool,
    /// Whether it is for a tombstone.
    for_tombstone: bool,
    /// Whether it is ahead of need: then nothing goes because the quota is used up.
    is_ahead: bool,
}

impl Work {
    fn is_exhausted(&self) -> bool {
        self.bytes > self.quota || self.moves >= MOVES_MAX
    }
}

impl Shard {
    /// Drops records until a write has what it needs, and some more towards the next one. `None` if it cannot have it;
    /// else whether any record is gone or somewhere else.
    pub(super) fn make_room(&mut self, moment: Moment, need: &Need) -> Option<bool> {
        let for_tombstone = need.queue == Queue::Tombstones;
        self.largest = self.largest.max(need.len);
        let quota = if self.evicts { WORK_FACTOR * need.len + WORK_BYTES_MIN } else { SEARCH_BYTES_MAX };
        let mut work = Work { quota, wanted: need.len, for_tombstone, ..Work::default() };
        let extra = need.extra + self.ghost.growth(self.items() + 1);
        // What can never be had is not tried for at the expense of all the others.
        if self.fixed() + need.extra + need.len + RESERVE_SEGMENTS * self.unit() + self.segments.size() > self.budget {
            return None;
        }
        // A store that may refuse keeps room for the tombstone of what it is full of.
        let for_first_tombstone = !self.evicts && !for_tombstone && self.log(Queue::Tombstones).segments() == 0;
        // A touch is not refused for the few bytes that it adds: what it leaves dead makes up for what it takes.
        let is_touch = need.amends && !self.evicts;
        let reserve = RESERVE_SEGMENTS * self.unit().div_ceil(self.segments.size());
        let reserve = if is_touch { 0 } else { reserve + usize::from(for_first_tombstone) };
        work.is_ahead = true;
        while self.evicts && !work.is_exhausted() && self.work_ahead(moment, &mut work, extra) {}
        // What was moved ahead of need is no reason to drop something hot now.
        (work.is_ahead, work.bytes, work.moves) = (false, 0, 0);
        loop {
            let missing = self.log(need.queue).segments_for(&self.segments, need.head_len, need.len) + reserve;
            // If the system has no more memory than this, what there is has to do.
            while self.segments.free() < missing
                && self.used() + extra + self.segments.cost_of_next() <= self.budget
                && self.segments.map()
            {}
            let mut over = self.used() + extra > self.budget;
            while over && self.segments.unmap() {
                over = self.used() + extra > self.budget;
            }
            if self.segments.free() >= missing && !over {
                break;
            }
            if !self.make_way(moment, &mut work) {
                self.give_back_excess();
                return None;
            }
        }
        self.ghost.fit(self.items() + 1);
        Some(work.changed)
    }

    /// Goes towards another budget, dropping up to `records_max` records. True once the shard keeps to it, or when there
    /// is nothing left to drop.
    pub(super) fn fit(&mut self, moment: Moment, budget: usize, records_max: usize) -> bool {
        // A tail that goes round for less than a segment gives nothing back, and would for ever.
        let wanted = self.segments.size();
        let mut work = Work { quota: usize::MAX, wanted, for_tombstone: true, ..Work::default() };
        let mut may_go_on = true;
        for _ in 0..records_max {
            if self.used() <= budget {
                break;
            }
            self.ghost.fit(self.items());
            if self.segments.free() > RESERVE_SEGMENTS {
                self.segments.unmap();
                continue;
            }
            work.moves = 0;
            may_go_on = self.make_way(moment, &mut work) || self.segments.unmap();
            if !may_go_on {
                break;
            }
        }
        // Writes meanwhile keep to what is used now.
        self.budget = budget.max(self.used());
        self.budget == budget || !may_go_on
    }

    /// Pays for what has grown a little without room being made for it, a list or a table, out of the free segments.
    pub(super) fn give_back_excess(&mut self) {
        while self.used() > self.budget && self.segments.unmap() {}
    }

    /// Whether [`Shard::fit`] can come down to this budget with room to work in.
    pub(super) fn can_fit(&self, budget: usize) -> bool {
        if self.evicts {
            return self.fixed() < budget - budget / 8;
        }
        let live: usize = self.logs.iter().map(|log| log.live()).sum();
        let rounding = (Queue::ALL.len() + SLACK_SEGMENTS) * self.segments.size();
        self.overhead() + self.larges.bytes() + live + live / 128 + rounding <= budget
    }

    /// Moves up to `bytes_max` bytes of live records from the tail to the head of their queue, while too many bytes are
    /// dead. What is over by now goes.
    pub(super) fn clean_dead(&mut self, moment: Moment, bytes_max: usize) {
        let mut work = Work { quota: bytes_max, for_tombstone: true, is_ahead: true, ..Work::default() };
        while work.bytes < bytes_max && self.has_many_dead() && self.clean(moment, &mut work) {}
        self.give_back_excess();
    }

    /// Does one piece of work towards the slack that should be. False when it is there, or nothing can be done.
    fn work_ahead(&mut self, moment: Moment, work: &mut Work, extra: usize) -> bool {
        let (slack, unit) = (self.slack(extra), self.unit());
        if slack >= SLACK_SEGMENTS * unit {
            return false;
        }
        let cleaned = self.has_many_dead() && slack >= (SLACK_SEGMENTS - 1) * unit && self.clean(moment, work);
        cleaned || (slack < (SLACK_SEGMENTS - 1) * unit && self.make_way(moment, work))
    }

    /// Does one piece of work at a tail, so that something goes. False when nothing may.
    fn make_way(&mut self, moment: Moment, work: &mut Work) -> bool {
        if !self.evicts && self.clean(moment, work) {
            return true;
        }
        let first = if self.takes_from_small() { Queue::Small } else { Queue::Main };
        let other = if first == Queue::Small { Queue::Main } else { Queue::Small };
        let queues: &[Queue] = if self.evicts { &[first, other] } else { &[] };
        for &queue in queues {
            match self.step(moment, work, queue, Aim::Evict) {
                Step::Empty => {}
                step => return step == Step::Done,
            }
        }
        // An item does not push tombstones out of a store that may refuse: they hold back what was deleted.
        work.changed = true;
        !work.is_ahead && (self.evicts || work.for_tombstone) && self.give_up_tombstone()
    }

    /// Does one piece of work at the tail of the queue that wastes most, or else of the other. False when that is of no use.
    fn clean(&mut self, moment: Moment, work: &mut Work) -> bool {
        let [small, main, _] = &self.logs;
        let share = |log: &Log, other: &Log| log.dead() as u64 * (other.live() + other.dead() + 1) as u64;
        let is_main_first = share(main, small) > share(small, main);
        let queues = if is_main_first { [Queue::Main, Queue::Small] } else { [Queue::Small, Queue::Main] };
        queues.into_iter().any(|queue| self.step(moment, work, queue, Aim::Clean) == Step::Done)
    }

    /// Which queue has to give something live: the small one above its share.
    fn takes_from_small(&self) -> bool {
        let bytes = self.log(Queue::Small).live() + self.large_bytes[Queue::Small as usize];
        bytes > self.budget / SMALL_SHARE || self.log(Queue::Main).len() == 0
    }

    fn has_many_dead(&self) -> bool {
        self.log(Queue::Small).dead() + self.log(Queue::Main).dead() > self.budget / DEAD_SHARE
    }

    fn step(&mut self, moment: Moment, work: &mut Work, queue: Queue, aim: Aim) -> Step {
        match self.logs[queue as usize].tail(&mut self.segments) {
            Tail::Empty => Step::Empty,
            Tail::Dead(bytes) => {
                work.bytes += bytes / DEAD_DISCOUNT;
                Step::Done
            }
            Tail::Live(place) if self.judge(moment, work, queue, place, aim) => Step::Done,
            Tail::Live(_) => Step::Stuck,
        }
    }

    /// Decides what becomes of the oldest record of a queue. False if it must stay where it is.
    fn judge(&mut self, moment: Moment, work: &mut Work, queue: Queue, place: u32, aim: Aim) -> bool {
        let record = self.record(place);
        let (len, frequency) = (record.len(), record.frequency());
        work.bytes += LOOK_BYTES;
        if moment.is_dead(record) {
            self.count_reclaim_for_room(place);
            self.reclaim(moment, place);
            work.changed = true;
            return true;
        }
        let onward = match (aim, queue) {
            // Going round is of use only for what lies dead there.
            (Aim::Clean, _) if self.log(queue).dead() + self.log(queue).passed() < work.wanted => return false,
            (Aim::Clean, _) => Some((queue, frequency)),
            (Aim::Evict, Queue::Small) => (frequency > PROVEN_ABOVE).then_some((Queue::Main, 0)),
            (Aim::Evict, _) => frequency.checked_sub(1).map(|frequency| (Queue::Main, frequency)),
        };
        match onward {
            Some((to, frequency))
                if !work.is_exhausted() && self.can_move_to(to, len) && self.can_note_move(place, to) =>
            {
                work.bytes += len;
                self.pass(moment, work, place, to, frequency);
            }
            Some(_) if work.is_ahead || matches!(aim, Aim::Clean) => return false,
            _ => {
                self.evict(moment, place, queue);
                work.changed = true;
            }
        }
        true
    }

    /// Whether a record of this many bytes can be moved to the head of a queue.
    pub(super) fn can_move_to(&self, queue: Queue, len: usize) -> bool {
        self.log(queue).segments_for(&self.segments, len.min(self.segments.size()), len) <= self.segments.free()
    }

    /// Whether what is known of expiries where a record would be moved to can be paid for. A store that evicts pays with
    /// what goes next; one that may refuse has nothing else that goes.
    fn can_note_move(&self, place: u32, to: Queue) -> bool {
        let record = self.record(place);
        if self.evicts || record.expiry() == Expiry::NEVER {
            return true;
        }
        let (log, len) = (self.log(to), record.len());
        match log.segments_for(&self.segments, len.min(self.segments.size()), len) {
            0 => self.can_note_expiry(log.newest_segment()),
            taken => self.segments.free() > taken || self.used() + EXPIRIES_BYTES <= self.budget,
        }
    }

    /// Moves a record on to the head of a queue.
    fn pass(&mut self, moment: Moment, work: &mut Work, place: u32, to: Queue, frequency: u8) {
        self.count_move(place, to);
        let moved = self.relocate(moment, place, to);
        set_frequency(self.segments.bytes_mut(moved), frequency);
        work.moves += 1;
        work.changed = true;
    }

    fn evict(&mut self, moment: Moment, place: u32, queue: Queue) {
        if moment.notes_evictions {
            let listing = self.listing_of(place);
            self.evictions.note(listing);
        }
        self.evicted_upto = self.evicted_upto.max(self.record(place).stamp());
        self.count_eviction(moment, place, queue);
        if queue == Queue::Small {
            let hash = self.index.hash(self.record(place).token());
            self.ghost.remember(hash);
        }
        self.remove(place);
    }

    /// Drops the oldest tombstone, or passes over dead bytes before it. False when there is none.
    fn give_up_tombstone(&mut self) -> bool {
        match self.logs[Queue::Tombstones as usize].tail(&mut self.segments) {
            Tail::Empty => return false,
            Tail::Dead(_) => {}
            Tail::Live(place) => self.drop_tombstone(place),
        }
        true
    }

    /// What slack and reserve are counted in: a segment, or the largest record there was, which a move may have to copy.
    fn unit(&self) -> usize {
        self.segments.size().max(self.largest)
    }

    /// Bytes that are free, or will be as soon as a tail or a head gets to the end of its segment, beside `extra` bytes.
    fn slack(&self, extra: usize) -> usize {
        let size = self.segments.size();
        let heads_and_tails: usize = self.logs[..2].iter().map(|log| log.slack(&self.segments)).sum();
        let unmapped = self.budget.saturating_sub(self.used() + extra) / size * size;
        self.segments.free() * size + unmapped + heads_and_tails
    }
}
