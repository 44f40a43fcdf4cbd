//! Replaying what a home has missed: hints as soon as it can be asked again, and what comparing copies has found.
//!
//! One thread of a process does it. What is sent is the replicate that was missed, fenced by the entry's own term; so it
//! does what that one would have done, had it come late. Where a later term is promised, its serializer is given the entry
//! instead, fenced by the later term: that one alone may take what is older than its term, for it orders by what it holds.
//! Then the key is confirmed through it, which brings the entry to all homes in that term. Must not know why a home lacks
//! something.

use std::collections::BTreeSet;
use std::time::Duration;

use memring_protocol::entry::{Body, Entry};
use memring_protocol::key::Key;
use memring_protocol::message::{Acknowledgement, Mutation, Refusal, Replicate, Reply, Request};
use memring_protocol::version::{Ballot, Slot, Stamp, Version};
use parking_lot::Mutex;

use super::calls::Purpose;
use super::reads::Target;
use super::shared::Shared;
use super::turn::Turn;
use super::writes::WriteParent;
use super::{Node, Timer};
use crate::cluster::hints::{Hint, Hints};

/// How often targets are looked at.
pub(crate) const REPLAY_EVERY: Duration = Duration::from_millis(50);

/// Hints in flight to one target: small enough to leave room for clients, and with 10 KB values and a
/// round of [`REPLAY_EVERY`] at worst, still 25 MB/s.
const HINTS_IN_FLIGHT: usize = 128;

/// Repairs in flight to one target: 10,000 small ones a second; what holds back large ones is [`REPAIR_BYTES_A_SECOND`].
const REPAIRS_IN_FLIGHT: usize = 512;

/// Bytes of values in flight to one target, behind which no other replay begins; one may pass it.
const REPLAY_BYTES_IN_FLIGHT: usize = 4 * 1024 * 1024;

/// Bytes of entries that a node sends in a second to mend others' copies, about: an eighth of a gigabit's line.
const REPAIR_BYTES_A_SECOND: u64 = 16 << 20;

/// Why a home is sent something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Errand {
    /// It was away when the entry was written.
    Hint,
    /// Comparing copies has found that it lacks the entry.
    Repair,
}

impl Errand {
    fn queue(self, shared: &Shared) -> &Mutex<Hints> {
        match self {
            Self::Hint => &shared.hints,
            Self::Repair => &shared.repairs,
        }
    }

    fn in_flight_max(self) -> usize {
        match self {
            Self::Hint => HINTS_IN_FLIGHT,
            Self::Repair => REPAIRS_IN_FLIGHT,
        }
    }
}

/// Something that a home has missed, on its way.
#[derive(Clone, Debug)]
pub(crate) struct Missed {
    pub(crate) errand: Errand,
    pub(crate) target: Slot,
    pub(crate) key: Key,
    pub(crate) version: Version,
    /// See [`Hint::inherited`].
    pub(crate) inherited: bool,
}

/// What is under way to one target.
#[derive(Debug, Default)]
pub(crate) struct Replaying {
    bytes: usize,
    after: Option<Key>,
    keys: BTreeSet<Key>,
}

impl Node {
    pub(crate) fn on_replay_timer(&mut self, turn: &mut Turn<'_>) {
        self.arm(turn.mono().after(REPLAY_EVERY), Timer::Replay);
        let in_a_round = (REPAIR_BYTES_A_SECOND as u128 * REPLAY_EVERY.as_millis() / 1000) as i64;
        self.repair_room = (self.repair_room + in_a_round).min(in_a_round);
        for errand in [Errand::Hint, Errand::Repair] {
            let targets: Vec<Slot> = errand.queue(&self.shared).lock().targets().collect();
            for target in targets {
                let known = turn.topology.layout().is_some_and(|layout| layout.config.member(target).is_some());
                if !known {
                    errand.queue(&self.shared).lock().forget(target);
                } else if self.shared.is_usable(turn.topology, target) {
                    self.replay_to(turn, errand, target);
                }
            }
        }
    }

    fn replay_to(&mut self, turn: &mut Turn<'_>, errand: Errand, target: Slot) {
        let replaying = self.replaying.entry((errand, target)).or_default();
        let room = errand.in_flight_max().saturating_sub(replaying.keys.len());
        if room == 0 {
            return;
        }
        let batch = errand.queue(&self.shared).lock().batch(target, replaying.after.as_ref(), room);
        if batch.is_empty() {
            // From the front again: those that were lost.
            replaying.after = None;
        }
        for Hint { key, version, inherited } in batch {
            let replaying = self.replaying.entry((errand, target)).or_default();
            if replaying.bytes > REPLAY_BYTES_IN_FLIGHT || (errand == Errand::Repair && self.repair_room <= 0) {
                return;
            }
            replaying.after = Some(key.clone());
            if replaying.keys.insert(key.clone()) {
                self.replay(turn, Missed { errand, target, key, version, inherited });
            }
        }
    }

    fn replay(&mut self, turn: &mut Turn<'_>, mut missed: Missed) {
        let partition = missed.key.partition();
        let layout = turn.topology.layout();
        let is_home = |slot| layout.is_some_and(|layout| layout.all_homes(partition).contains(&slot));
        if missed.errand == Errand::Hint && !is_home(missed.target) {
            // A home no more: it misses nothing.
            return self.end_replay(&missed, true);
        }
        let is_mine = turn.topology.me().is_some_and(is_home);
        if missed.inherited && is_mine && !self.shared.standings.is_synced(partition) {
            // What it holds by then says more.
            return self.end_replay(&missed, false);
        }
        let held = self.shared.store.peek(turn.cluster(), &missed.key);
        let promised = self.shared.store.promised(partition);
        let entry = match (held.filter(|entry| entry.version >= missed.version), missed.errand) {
            (Some(entry), _) if promised > entry.version.ballot => {
                missed.version = entry.version;
                return self.offer(turn, missed, entry, promised);
            }
            (Some(entry), _) => {
                missed.version = entry.version;
                entry
            }
            // Others may hold it, so it is not said in a later term. Nor where this node was restarted since: if no other home
            // had the write, it has never been, and what was before it is true.
            (None, Errand::Hint) if missed.inherited || promised > missed.version.ballot => {
                return self.confirm_missed(turn, missed);
            }
            (None, Errand::Hint) => forgotten(missed.version),
            (None, Errand::Repair) => return self.end_replay(&missed, true),
        };
        let (to, fence) = (missed.target, entry.version.ballot);
        self.send_missed(turn, missed, entry, to, fence);
    }

    /// Sends an entry to its target, or to the serializer of a later term.
    fn send_missed(&mut self, turn: &mut Turn<'_>, missed: Missed, entry: Entry, to: Slot, fence: Ballot) {
        let (bytes, value_bytes) = (missed.key.len() + entry.value_len(), entry.value_len());
        let key = missed.key.clone();
        let request = Replicate { epoch: turn.topology.epoch(), fence: Some(fence), key, entry: Some(entry) };
        let purpose = Purpose::Replay(Box::new(missed.clone()), value_bytes);
        if !self.call(turn, to, purpose, Request::Replicate(request)) {
            return self.end_replay(&missed, false);
        }
        self.replaying.entry((missed.errand, missed.target)).or_default().bytes += value_bytes;
        if missed.errand == Errand::Repair {
            self.repair_room -= bytes as i64;
            self.counters.repairs_sent.increment();
            self.counters.repair_bytes.add(bytes as u64);
        }
    }

    /// A later term than the entry's is promised: its serializer is to have it.
    fn offer(&mut self, turn: &mut Turn<'_>, missed: Missed, entry: Entry, promised: Ballot) {
        let holder = promised.holder().filter(|slot| self.shared.is_usable(turn.topology, *slot));
        match holder {
            Some(slot) if Some(slot) != turn.topology.me() => self.send_missed(turn, missed, entry, slot, promised),
            // It is held here: whoever is serializer now or takes over, by this node or a look at it.
            _ => self.confirm_missed(turn, missed),
        }
    }

    /// Has the key's serializer bring all homes to the same version.
    fn confirm_missed(&mut self, turn: &mut Turn<'_>, missed: Missed) {
        let target = Target::of(missed.key.clone());
        self.start_write(turn, target, Mutation::Confirm, WriteParent::Replay(Box::new(missed)), None);
    }

    /// The key was confirmed, or could not be. What this node holds says whether the entry was part of it: if it was, it is
    /// in the later term by now, or soon.
    pub(crate) fn on_missed_confirmed(&mut self, turn: &mut Turn<'_>, missed: &Missed, is_done: bool) {
        let held = self.shared.store.version(turn.cluster(), &missed.key, false);
        self.end_replay(missed, is_done && held != Some(missed.version));
    }

    /// The answer to what was sent; `None` when it is lost, and it is sent again.
    pub(crate) fn on_replay_reply(&mut self, turn: &mut Turn<'_>, missed: Missed, bytes: usize, reply: Option<Reply>) {
        let replaying = self.replaying.entry((missed.errand, missed.target)).or_default();
        replaying.bytes = replaying.bytes.saturating_sub(bytes);
        let Some(Reply::Replicate(said)) = reply else { return self.end_replay(&missed, false) };
        let partition = missed.key.partition();
        match said {
            // The serializer of a later term was given it. That may be the target.
            Acknowledgement::Held { .. } if self.shared.store.promised(partition) > missed.version.ballot => {
                self.confirm_missed(turn, missed);
            }
            Acknowledgement::Held { .. } => {
                if missed.errand == Errand::Hint {
                    self.counters.hints_replayed.increment();
                }
                self.end_replay(&missed, true);
            }
            Acknowledgement::Fenced(ballot) => {
                self.shared.store.raise_promised(partition, ballot);
                match self.shared.store.peek(turn.cluster(), &missed.key) {
                    Some(entry) if entry.version == missed.version => self.offer(turn, missed, entry, ballot),
                    _ => self.confirm_missed(turn, missed),
                }
            }
            // It has no room for it, or is no home: it is the same as evicted.
            Acknowledgement::Refused(Refusal::Busy | Refusal::NotHome) if missed.errand == Errand::Repair => {
                self.end_replay(&missed, true);
            }
            Acknowledgement::Refused(_) => self.end_replay(&missed, false),
        }
    }

    /// Nothing of it is under way any more; it is tried again unless there is nothing left to do.
    fn end_replay(&mut self, missed: &Missed, is_settled: bool) {
        if is_settled {
            missed.errand.queue(&self.shared).lock().settle(missed.target, &missed.key, missed.version);
        }
        if let Some(replaying) = self.replaying.get_mut(&(missed.errand, missed.target)) {
            replaying.keys.remove(&missed.key);
        }
    }
}

/// What there is to say when the value is gone: evicted, expired, flushed, or no longer this node's. Anything older must go;
/// but homes that have the version itself must still differ, or they would agree on a version that one of them misses.
fn forgotten(version: Version) -> Entry {
    let before = Version { stamp: Stamp(version.stamp.0.saturating_sub(1)), ..version };
    Entry { version: before, body: Body::Tombstone }
}
