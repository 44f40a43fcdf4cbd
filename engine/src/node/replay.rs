//! Replaying what a home has missed: hints as soon as it can be asked again, and what comparing copies has found.
//!
//! One thread of a process does it. What is sent is the replicate that was missed, fenced by the entry's own term; so it
//! does what that one would have done, had it come late. Where a later term is promised, its serializer is given the entry
//! instead, fenced by the later term: that one alone may take what is older than its term, for it orders by what it holds.
//! Then the key is confirmed through it, which brings the entry to all homes in that term.
//!
//! Hints go at `--hint-rate` a target: as answers come, the next are sent. Must not know why a home lacks something.

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
use crate::now::Mono;

/// How often targets are looked at.
pub(crate) const REPLAY_EVERY: Duration = Duration::from_millis(50);

/// Hints in flight to one target: with 1 KB values, 40 MB/s where each takes 50 ms to be answered.
const HINTS_IN_FLIGHT: usize = 2048;

/// Repairs in flight to one target: 10,000 small ones a second; what holds back large ones is [`REPAIR_BYTES_A_SECOND`].
const REPAIRS_IN_FLIGHT: usize = 512;

/// Bytes of values in flight to one target, behind which no other replay begins; one may pass it. Clients' writes to the same
/// target wait behind them: some ten milliseconds of a gigabit's line.
const REPLAY_BYTES_IN_FLIGHT: usize = 1024 * 1024;

/// A target that was given nothing for a while is given at most so much at once: two rounds' worth, for rounds come late.
const BURST: Duration = REPLAY_EVERY.saturating_mul(2);

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
    pace: Pace,
}

/// A token bucket of bytes that may be sent; below nothing while the last has not been paid for.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    room: i64,
    filled_at: Option<Mono>,
}

impl Pace {
    /// Fills it up to `now`, at so many bytes a second.
    fn fill(&mut self, now: Mono, bytes_a_second: u64) {
        let worth = |time: Duration| (u128::from(bytes_a_second) * time.as_micros() / 1_000_000) as i64;
        let since = self.filled_at.map_or(BURST, |at| now.since(at).min(BURST));
        let more = worth(since);
        // At a low rate a moment is worth nothing, and is not passed over for that.
        if more > 0 {
            self.filled_at = Some(now);
            self.room = (self.room + more).min(worth(BURST));
        }
    }
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
                } else if self.shared.is_usable(turn.topology, target) && self.replay_to(turn, errand, target) == 0 {
                    // From the front again: those that were lost, and those that came meanwhile.
                    if let Some(replaying) = self.replaying.get_mut(&(errand, target)) {
                        replaying.after = None;
                    }
                }
            }
        }
    }

    /// Sends what may be on its way now, and returns how much there was to be sent.
    fn replay_to(&mut self, turn: &mut Turn<'_>, errand: Errand, target: Slot) -> usize {
        let replaying = self.replaying.entry((errand, target)).or_default();
        let rate = self.shared.settings().hint_rate_bytes;
        replaying.pace.fill(turn.mono(), rate);
        let room = errand.in_flight_max().saturating_sub(replaying.keys.len());
        if room == 0 || self.must_wait(errand, target) {
            return room.max(1);
        }
        let after = self.replaying.get(&(errand, target)).and_then(|replaying| replaying.after.as_ref());
        let batch = errand.queue(&self.shared).lock().batch(target, after, room);
        let found = batch.len();
        for Hint { key, version, inherited } in batch {
            if self.must_wait(errand, target) {
                break;
            }
            let replaying = self.replaying.entry((errand, target)).or_default();
            replaying.after = Some(key.clone());
            if replaying.keys.insert(key.clone()) {
                self.replay(turn, Missed { errand, target, key, version, inherited });
            }
        }
        found
    }

    /// Whether there is as much on its way as may be, or as has been paid for.
    fn must_wait(&self, errand: Errand, target: Slot) -> bool {
        let Some(replaying) = self.replaying.get(&(errand, target)) else { return false };
        let room = if errand == Errand::Hint { replaying.pace.room } else { self.repair_room };
        replaying.bytes > REPLAY_BYTES_IN_FLIGHT || room <= 0
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
        // Whichever way it goes: where the key is confirmed, its value goes to all homes.
        let bytes = missed.key.len() + held.as_ref().map_or(0, Entry::value_len);
        self.replaying.entry((missed.errand, missed.target)).or_default().pace.room -= bytes as i64;
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
            // Others may hold it, so it is not said in a later term, nor by who was a home and has given its copy away. Nor
            // where this node was restarted since: if no other home had the write, it has never been, and what was before it
            // is true.
            (None, Errand::Hint) if missed.inherited || !is_mine || promised > missed.version.ballot => {
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
        let replaying = self.replaying.entry((missed.errand, missed.target)).or_default();
        replaying.bytes += value_bytes;
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

    /// The answer to what was sent; `None` when it is lost, and it is sent again. Hints go on when half of what may be on its
    /// way has arrived; the rest goes round by round.
    pub(crate) fn on_replay_reply(&mut self, turn: &mut Turn<'_>, missed: Missed, bytes: usize, reply: Option<Reply>) {
        let (errand, target, is_answered) = (missed.errand, missed.target, reply.is_some());
        let replaying = self.replaying.entry((errand, target)).or_default();
        replaying.bytes = replaying.bytes.saturating_sub(bytes);
        self.judge_replay(turn, missed, reply);
        let is_half_free = self.replaying.get(&(errand, target)).is_some_and(|replaying| {
            replaying.bytes < REPLAY_BYTES_IN_FLIGHT / 2 && replaying.keys.len() < HINTS_IN_FLIGHT / 2
        });
        if errand == Errand::Hint && is_answered && is_half_free && self.shared.is_usable(turn.topology, target) {
            self.replay_to(turn, errand, target);
        }
    }

    fn judge_replay(&mut self, turn: &mut Turn<'_>, missed: Missed, reply: Option<Reply>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_lets_through_what_its_rate_says_however_often_it_is_asked() {
        for (every_us, rate) in [(100, 50_000_000_u64), (1_000, 64 << 20), (50_000, 1 << 20), (7, 10_000)] {
            let (mut pace, mut sent) = (Pace::default(), 0_u64);
            let mut now = Mono(0);
            while now < Mono(5_000_000) {
                pace.fill(now, rate);
                while pace.room > 0 {
                    pace.room -= 1_000;
                    sent += 1_000;
                }
                now = Mono(now.0 + every_us);
            }
            let (least, most) = (rate * 5 * 98 / 100, rate * 5 * 104 / 100 + 1_000);
            assert!((least..=most).contains(&sent), "{sent} bytes in 5 s at {rate} every {every_us} us");
        }
    }
}
