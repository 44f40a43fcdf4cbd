//! What clients' commands and their outcomes count, by memcached's rules.
//!
//! Must not know what is answered. The node that takes a command counts it; hits of a size class that only the ordering
//! node can tell are counted there.

use memring_protocol::message::{Count, Mutation, Outcome, Step};

use super::Node;
use crate::cluster::mutation::counts_as_cas;
use crate::store::item_size;

impl Node {
    /// The data block of a storage command did not end where its length said: it counts as a set all the same.
    pub fn on_bad_chunk(&self) {
        self.counters.cmd_set.increment();
    }

    /// A storage command whose value was read: it counts whatever becomes of it.
    pub(crate) fn count_store(&self, key_len: usize, value_len: usize) {
        let counters = &self.counters;
        counters.cmd_set.increment();
        counters.class_of(item_size(key_len, value_len)).cmd_set.increment();
    }

    pub(crate) fn count_reads(&self, touching: bool, hits: u64, misses: u64) {
        let counters = &self.counters;
        if touching {
            counters.touch_hits.add(hits);
            counters.touch_misses.add(misses);
        } else {
            counters.cmd_get.add(hits + misses);
            counters.get_hits.add(hits);
            counters.get_misses.add(misses);
        }
    }

    /// The size class of an item that was found.
    pub(crate) fn count_hit(&self, touching: bool, key_len: usize, value_len: usize) {
        let class = self.counters.class_of(item_size(key_len, value_len));
        if touching { class.touch_hits.increment() } else { class.get_hits.increment() }
    }

    pub(crate) fn count_write(&self, mutation: &Mutation, outcome: &Outcome) {
        let counters = &self.counters;
        let found = match outcome {
            Outcome::NonNumeric | Outcome::TooLarge => return,
            Outcome::OutOfMemory => {
                counters.store_no_memory.increment();
                return;
            }
            // A number that was created has neither been found nor missed.
            Outcome::Stored { .. } if matches!(mutation, Mutation::Count(_)) => return,
            outcome => *outcome != Outcome::NotFound,
        };
        let counter = match mutation {
            Mutation::Count(Count { step: Step::Up(_), .. }) if found => &counters.incr_hits,
            Mutation::Count(Count { step: Step::Up(_), .. }) => &counters.incr_misses,
            Mutation::Count(Count { step: Step::Down(_), .. }) if found => &counters.decr_hits,
            Mutation::Count(Count { step: Step::Down(_), .. }) => &counters.decr_misses,
            Mutation::Touch(_) if found => &counters.touch_hits,
            Mutation::Touch(_) => &counters.touch_misses,
            Mutation::Remove(_) if found => &counters.delete_hits,
            Mutation::Remove(_) => &counters.delete_misses,
            Mutation::Store(_) if !counts_as_cas(mutation) => return,
            Mutation::Store(_) if *outcome == Outcome::Exists => &counters.cas_badval,
            Mutation::Store(_) if found => &counters.cas_hits,
            Mutation::Store(_) => &counters.cas_misses,
            Mutation::Fetch(_) | Mutation::GetAndTouch(_) | Mutation::Confirm => return,
        };
        counter.increment();
    }

    /// What an order met in the size class of the item there was.
    pub(crate) fn count_order(&self, key_len: usize, mutation: &Mutation, held_len: Option<usize>, outcome: &Outcome) {
        let class = |value_len| self.counters.class_of(item_size(key_len, value_len));
        match (mutation, outcome, held_len) {
            (Mutation::Count(Count { step: Step::Up(_), .. }), Outcome::Number(_), Some(held)) => {
                class(held).incr_hits.increment();
            }
            (Mutation::Count(_), Outcome::Number(_), Some(held)) => class(held).decr_hits.increment(),
            (Mutation::Touch(_), Outcome::Touched, Some(held)) => class(held).touch_hits.increment(),
            (Mutation::Remove(remove), Outcome::Deleted, Some(held)) if remove.instead.is_none_or(|it| !it.stale) => {
                class(held).delete_hits.increment();
            }
            _ => {}
        }
    }

    /// What a cas met, in the size class of the value sent and at the node that took it: no class has more cas than sets.
    pub(crate) fn count_cas(&self, key_len: usize, mutation: &Mutation, outcome: &Outcome) {
        let Mutation::Store(store) = mutation else { return };
        if !counts_as_cas(mutation) {
            return;
        }
        let class = self.counters.class_of(item_size(key_len, store.new.value.len()));
        match outcome {
            Outcome::Stored { .. } => class.cas_hits.increment(),
            Outcome::Exists => class.cas_badval.increment(),
            _ => {}
        }
    }
}
