//! One pair of homes, from the side that asks: what is compared next, and what came of it.
//!
//! ```text
//! marked ── an answer names a stamp ──► waiting ── that stamp has settled ──► urgent ─┐
//! a slice of all partitions, every second ─────────────────────────────────────┴─► digests
//!    equal, or as they were when nothing was missing: done
//!    else a pass: buckets ─► lists ─┬─ nothing missing: agreed up to the pass's stamp
//!                                   └─ delivering, until neither has anything left to send: agreed, and digests again
//! ```
//!
//! Must not know the store, nor what came of a question: see `answers`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use memring_protocol::key::Partition;
use memring_protocol::limits::{LISTED_PARTITIONS_MAX, SURVEYED_BUCKETS_MAX, SURVEYED_PARTITIONS_MAX};
use memring_protocol::message::Agreed;
use memring_protocol::version::Stamp;

use super::SETTLED_AFTER;
use crate::now::Mono;

/// How long a question may take, or not move, before the home may be asked again.
const QUESTION_PATIENCE: Duration = Duration::from_secs(6);

/// How often a slice of all partitions is compared, for no reason.
const SLICE_EVERY: Duration = Duration::from_secs(1);

/// Partitions of a slice: all of them in half a minute, at some 10 KB a second.
const SLICE_PARTITIONS: usize = 512;

/// All partitions are gone through no oftener than this.
const ROUND_EVERY: Duration = Duration::from_secs(30);

/// Passes under way: above this no more digests are compared.
const PASSES_MAX: usize = 4096;

/// What is to be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Digests of these partitions; of none, where only a stamp is wanted.
    Digests(Vec<Agreed>),
    /// Digests of their buckets.
    Buckets(Vec<Partition>),
    /// Lists of entries: as many of these, from the first on, as fit a message. See [`Pair::listed`].
    Lists(Vec<Wanted>),
}

/// A list to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Of which partition.
    pub partition: Partition,
    /// A bit for each bucket.
    pub buckets: u64,
    /// The token to begin at.
    pub first: u64,
    /// See [`memring_protocol::message::List::agreed`].
    pub agreed: Stamp,
    /// See [`memring_protocol::message::List::upto`].
    pub upto: Stamp,
    /// See [`memring_protocol::message::List::all`].
    pub all: bool,
}

/// What is known of a partition.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Memory {
    /// The number of the other home's copy.
    pub(super) copy: u64,
    /// Everything up to this stamp was offered.
    pub(super) agreed: Stamp,
    /// Both digests, the last time that nothing was missing on either side.
    pub(super) settled: Option<(u64, u64)>,
    /// Something was left to the home that has made it: not looked at again before this moment, and then all is sent.
    pub(super) again_at: Option<Mono>,
}

/// What a home takes upon itself to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owed {
    /// How many entries.
    pub count: u32,
    /// How many it leaves to the home that has made them.
    pub left: u32,
    /// Whether all of the former found room.
    pub whole: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Buckets,
    /// From this token on.
    Lists(u64),
    /// To be asked about at this moment.
    Delivering(Mono),
}

/// A partition that differs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) stage: Stage,
    pub(super) buckets: u64,
    pub(super) upto: Stamp,
    /// Both digests when it began.
    pub(super) digests: (u64, u64),
    /// Whether anything is to be delivered.
    pub(super) gave: bool,
    /// Whether something was too young.
    pub(super) young: bool,
    /// Whether something was left to the home that has made it.
    pub(super) left: bool,
    /// Whether all that is to be delivered found room.
    pub(super) whole: bool,
}

/// See the top of the file.
#[derive(Debug, Default)]
pub struct Pair {
    pub(super) memory: BTreeMap<Partition, Memory>,
    pub(super) marked: BTreeSet<Partition>,
    pub(super) waiting: BTreeSet<Partition>,
    /// What the waiting ones wait for.
    pub(super) waits_for: Stamp,
    pub(super) urgent: BTreeSet<Partition>,
    pub(super) passes: BTreeMap<Partition, Pass>,
    /// What is up to this stamp has settled.
    pub(super) upto: Stamp,
    /// The next such stamp, and when it was named.
    pub(super) mark: Option<(Stamp, Mono)>,
    /// Where the next slice begins, when, and when the round began.
    pub(super) next: Option<Partition>,
    pub(super) slice_at: Mono,
    pub(super) round_began: Mono,
    /// No question before this moment.
    pub(super) ask_at: Mono,
    /// The last lists were so long that no question follows before this moment.
    pub(super) rests_until: Mono,
}

impl Pair {
    /// The partitions that the two share from now on. Those that are new are compared soon.
    pub fn share(&mut self, now: Mono, partitions: &BTreeSet<Partition>) {
        for gone in self.memory.keys().filter(|partition| !partitions.contains(*partition)).copied().collect::<Vec<_>>()
        {
            self.memory.remove(&gone);
            self.passes.remove(&gone);
            for set in [&mut self.marked, &mut self.waiting, &mut self.urgent] {
                set.remove(&gone);
            }
        }
        if self.memory.is_empty() {
            self.slice_at = now.after(SLICE_EVERY);
        }
        for partition in partitions {
            self.memory.entry(*partition).or_default();
        }
    }

    /// There is reason to compare this partition.
    pub fn mark(&mut self, partition: Partition) {
        if let Some(memory) = self.memory.get_mut(&partition) {
            memory.again_at = None;
            self.marked.insert(partition);
        }
    }

    /// The other home is back: there is reason to compare everything.
    pub fn mark_all(&mut self) {
        self.memory.values_mut().for_each(|memory| memory.again_at = None);
        self.marked = self.memory.keys().copied().collect();
        self.ask_at = Mono(0);
    }

    /// Nothing is agreed upon any more: this node's copy was made anew.
    pub fn forget_agreed(&mut self, partition: Partition) {
        if let Some(memory) = self.memory.get_mut(&partition) {
            *memory = Memory { copy: memory.copy, ..Memory::default() };
            self.passes.remove(&partition);
        }
    }

    /// Up to which stamp everything was offered; `None` if the two do not share the partition.
    pub fn agreed(&self, partition: Partition) -> Option<Stamp> {
        self.memory.get(&partition).map(|memory| memory.agreed)
    }

    /// How many partitions are marked, or being compared closely.
    pub fn pending(&self) -> usize {
        self.marked.len() + self.waiting.len() + self.urgent.len() + self.passes.len()
    }

    /// What to ask now, if anything. `can_list`: what a list may find to be missing has room. `is_ready`: this node's copy
    /// is complete, and it has nothing to send of the partition to the other home.
    pub fn question(&mut self, now: Mono, can_list: bool, is_ready: impl Fn(Partition) -> bool) -> Option<Question> {
        if let Some((stamp, _)) = self.mark.filter(|(_, at)| now >= at.after(SETTLED_AFTER)) {
            (self.upto, self.mark) = (self.upto.max(stamp), None);
        }
        if self.upto >= self.waits_for {
            self.urgent.append(&mut self.waiting);
        }
        if now < self.ask_at {
            return None;
        }
        let question = self.lists(can_list).or_else(|| self.buckets()).or_else(|| self.digests(now, is_ready))?;
        self.ask_at = now.after(QUESTION_PATIENCE);
        Some(question)
    }

    fn lists(&self, can_list: bool) -> Option<Question> {
        let of_pass = |(partition, pass): (&Partition, &Pass)| match pass.stage {
            Stage::Lists(first) => Some(Wanted {
                partition: *partition,
                buckets: pass.buckets,
                first,
                agreed: self.memory.get(partition).map_or(Stamp::ZERO, |memory| memory.agreed),
                upto: pass.upto,
                all: self.memory.get(partition).is_some_and(|memory| memory.again_at.is_some()),
            }),
            Stage::Buckets | Stage::Delivering(_) => None,
        };
        if !can_list {
            return None;
        }
        let wanted: Vec<_> = self.passes.iter().filter_map(of_pass).take(LISTED_PARTITIONS_MAX).collect();
        (!wanted.is_empty()).then_some(Question::Lists(wanted))
    }

    fn buckets(&self) -> Option<Question> {
        let unlooked = self.passes.iter().filter(|(_, pass)| pass.stage == Stage::Buckets);
        let partitions: Vec<_> = unlooked.map(|(partition, _)| *partition).take(SURVEYED_BUCKETS_MAX).collect();
        (!partitions.is_empty()).then_some(Question::Buckets(partitions))
    }

    fn digests(&mut self, now: Mono, is_ready: impl Fn(Partition) -> bool) -> Option<Question> {
        let delivered = |(partition, pass): (&Partition, &Pass)| match pass.stage {
            Stage::Delivering(look_at) if look_at <= now && is_ready(*partition) => Some(*partition),
            _ => None,
        };
        let mut asked: BTreeSet<Partition> =
            self.passes.iter().filter_map(delivered).take(SURVEYED_PARTITIONS_MAX).collect();
        if self.passes.len() < PASSES_MAX {
            let room = SURVEYED_PARTITIONS_MAX - asked.len();
            let urgent = self.urgent.iter().filter(|partition| is_ready(**partition));
            let urgent: Vec<_> = urgent.take(room).copied().collect();
            for partition in urgent {
                self.urgent.remove(&partition);
                if !self.passes.contains_key(&partition) {
                    asked.insert(partition);
                }
            }
            if now >= self.slice_at {
                let room = SURVEYED_PARTITIONS_MAX - asked.len();
                let slice = self.next_slice(now, room.min(SLICE_PARTITIONS));
                asked.extend(slice.into_iter().filter(|p| !self.passes.contains_key(p) && is_ready(*p)));
            }
        }
        // A stamp is wanted for those that are marked, and for those that wait for one to settle.
        let wants_stamp =
            (!self.marked.is_empty() && self.waiting.is_empty()) || (!self.waiting.is_empty() && self.mark.is_none());
        if asked.is_empty() && !wants_stamp {
            return None;
        }
        let agreed = |partition: Partition| Agreed { partition, upto: self.agreed(partition).unwrap_or_default() };
        Some(Question::Digests(asked.into_iter().map(agreed).collect()))
    }

    /// The next partitions of a round.
    fn next_slice(&mut self, now: Mono, count: usize) -> Vec<Partition> {
        let Some(first) = self.next.or_else(|| self.memory.keys().next().copied()) else { return Vec::new() };
        if self.next.is_none() {
            self.round_began = now;
        }
        let mut rest = self.memory.range(first..).map(|(partition, _)| *partition);
        let slice = rest.by_ref().take(count).collect();
        self.next = rest.next();
        let soon = now.after(SLICE_EVERY);
        self.slice_at = if self.next.is_none() { soon.max(self.round_began.after(ROUND_EVERY)) } else { soon };
        slice
    }
}
