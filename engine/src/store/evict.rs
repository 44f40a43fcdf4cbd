//! Making room: S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP'23, algorithm 1).
//!
//! Must not know keys' bytes or partitions' ballots. New items are on probation in the small queue; those read more than
//! once by its end move to the main queue, the others leave their fingerprint in the ghost queue and go. So a scan of
//! items that nobody reads twice passes through a tenth of the memory and leaves the rest alone.

use memring_protocol::key::Partition;

use super::accounting::allocation;
use super::record::Place;
use super::shard::{Moment, Shard};
use super::slab::Queue;

/// The small queue's part of the memory: a tenth, as in the paper.
const SMALL_SHARE: usize = 10;

/// Frequency above which an item of the small queue is proven.
const PROVEN_ABOVE: u8 = 1;

/// Items that one write may move before it drops whatever is oldest: bounds the time under the lock.
const MOVES_MAX: u32 = 64;

/// Records that a store without eviction looks at for a dead one, from the tail of each queue.
const SEARCH_MAX: usize = 64;

impl Shard {
    /// Drops records until `bytes` (as allocated) of a record fit in place of `held`, with all that keeping it adds
    /// elsewhere. False when they cannot. `held` is `None` afterwards if it was dropped.
    pub(super) fn make_room(
        &mut self,
        moment: Moment,
        partition: Partition,
        held: &mut Option<u32>,
        bytes: usize,
        for_tombstone: bool,
    ) -> bool {
        if self.overhead() + bytes > self.budget {
            return false;
        }
        let mut moves = 0;
        let ghost_growth = self.ghost.growth(self.small.len() + self.main.len());
        // The ghost queue doubles at once, but the room for it is freed two items a write: no write drops thousands.
        let mut extra: u32 = if ghost_growth > 0 && self.evicts { 2 } else { 0 };
        loop {
            let need = match *held {
                Some(id) => bytes.saturating_sub(allocation(self.slab.record(id).len())),
                None => bytes + self.slab.growth() + self.index.growth(partition),
            };
            let free = self.budget.saturating_sub(self.used());
            if need + ghost_growth <= free {
                self.ghost.fit(self.small.len() + self.main.len());
                return true;
            }
            if need <= free && extra == 0 {
                return true;
            }
            extra = extra.saturating_sub(1);
            let Some(dropped) = self.drop_one(moment, &mut moves, for_tombstone) else { return need <= free };
            *held = held.filter(|&id| id != dropped);
        }
    }

    /// Goes towards another budget, dropping up to `records_max` records. True once the shard keeps to it, or when there
    /// is nothing left to drop.
    pub(super) fn fit(&mut self, moment: Moment, budget: usize, records_max: usize) -> bool {
        let mut may_go_on = true;
        for _ in 0..records_max {
            if self.used() <= budget {
                break;
            }
            let mut moves = 0;
            may_go_on = self.drop_one(moment, &mut moves, true).is_some();
            self.ghost.fit(self.small.len() + self.main.len());
            if !may_go_on {
                break;
            }
        }
        // Writes meanwhile keep to what is used now.
        self.budget = budget.max(self.used());
        self.budget == budget || !may_go_on
    }

    /// Whether [`Shard::fit`] can come down to this budget with room to work in.
    pub(super) fn can_fit(&self, budget: usize) -> bool {
        if self.evicts { self.overhead() < budget - budget / 8 } else { self.used() <= budget }
    }

    /// Drops the record that is worth least, and says which slot is free now; `None` when nothing may go.
    fn drop_one(&mut self, moment: Moment, moves: &mut u32, for_tombstone: bool) -> Option<u32> {
        if self.evicts {
            return self.evict_one(moment, moves).or_else(|| self.drop_tombstone());
        }
        let dead = self.dead_near_tail(moment, &self.small).or_else(|| self.dead_near_tail(moment, &self.main));
        if let Some(id) = dead {
            self.count_reclaim_for_room(id);
            self.reclaim(moment, id);
            return Some(id);
        }
        // An item does not push tombstones out: they hold back what was deleted, and a write may be refused here.
        if for_tombstone { self.drop_tombstone() } else { None }
    }

    fn evict_one(&mut self, moment: Moment, moves: &mut u32) -> Option<u32> {
        loop {
            let from_small = self.small.bytes() > self.budget / SMALL_SHARE || self.main.len() == 0;
            let queue = if from_small { &self.small } else { &self.main };
            let id = queue.oldest()?;
            let record = self.slab.record(id);
            if moment.is_dead(record) {
                self.count_reclaim_for_room(id);
                self.reclaim(moment, id);
                return Some(id);
            }
            let frequency = record.frequency();
            let stays = if from_small { frequency > PROVEN_ABOVE } else { frequency > 0 };
            if !stays || *moves == MOVES_MAX {
                self.evict(moment, id, from_small);
                return Some(id);
            }
            *moves += 1;
            if from_small {
                self.move_to_main(Place::Small, id, 0);
            } else {
                self.move_to_main(Place::Main, id, frequency - 1);
            }
        }
    }

    fn evict(&mut self, moment: Moment, id: u32, from_small: bool) {
        if moment.notes_evictions {
            self.evictions.note(self.slab.record(id).listing());
        }
        self.count_eviction(moment, id);
        if from_small {
            let token = self.slab.record(id).token().0;
            self.ghost.remember(self.index.hash(token));
        }
        self.remove(id);
    }

    fn move_to_main(&mut self, from: Place, id: u32, frequency: u8) {
        self.count_move(from, id);
        let (queue, slab) = self.queue_and_slab(from);
        queue.unlink(slab, id);
        slab.record_mut(id).put_in(Place::Main);
        slab.record_mut(id).set_frequency(frequency);
        self.main.push(&mut self.slab, id);
    }

    fn drop_tombstone(&mut self) -> Option<u32> {
        let oldest = self.tombstones.oldest()?;
        self.stats.tombstones_dropped += 1;
        self.remove(oldest);
        Some(oldest)
    }

    fn dead_near_tail(&self, moment: Moment, queue: &Queue) -> Option<u32> {
        let from_tail = std::iter::successors(queue.oldest(), |&id| Queue::newer_than(&self.slab, id));
        from_tail.take(SEARCH_MAX).find(|&id| moment.is_dead(self.slab.record(id)))
    }
}
