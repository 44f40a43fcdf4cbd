//! Replaying hints: what a home has missed goes to it as soon as it can be asked again.
//!
//! One thread of a process does it. A replay is an ordinary replicated entry, fenced by the entry's own term; where the
//! target has promised a later term, the key is confirmed through its present serializer instead.

use std::time::Duration;

use memring_protocol::entry::{Body, Entry};
use memring_protocol::key::Key;
use memring_protocol::message::{Acknowledgement, Mutation, Replicate, Reply, Request};
use memring_protocol::version::{Slot, Stamp, Version};

use super::calls::Purpose;
use super::reads::Target;
use super::turn::Turn;
use super::writes::WriteParent;
use super::{Node, Timer};

/// How often targets are looked at.
pub(crate) const REPLAY_EVERY: Duration = Duration::from_millis(50);

/// Replays in flight to one target: small enough to leave room for clients, and with 10 KB values and a
/// round of [`REPLAY_EVERY`] at worst, still 25 MB/s.
const REPLAYS_IN_FLIGHT: usize = 128;

/// Bytes of values in flight to one target, behind which no other replay begins; one may pass it.
const REPLAY_BYTES_IN_FLIGHT: usize = 4 * 1024 * 1024;

impl Node {
    pub(crate) fn on_replay_timer(&mut self, turn: &mut Turn<'_>) {
        self.arm(turn.mono().after(REPLAY_EVERY), Timer::Replay);
        let targets: Vec<Slot> = self.shared.hints.lock().targets().collect();
        for target in targets {
            let known = turn.topology.layout().is_some_and(|layout| layout.config.member(target).is_some());
            if !known {
                self.shared.hints.lock().forget(target);
            } else if self.shared.is_usable(turn.topology, target) {
                self.replay_to(turn, target);
            }
        }
    }

    fn replay_to(&mut self, turn: &mut Turn<'_>, target: Slot) {
        let in_flight = self.replaying.entry(target).or_default();
        let room = REPLAYS_IN_FLIGHT.saturating_sub(in_flight.count);
        if room == 0 {
            return;
        }
        let batch = self.shared.hints.lock().batch(target, in_flight.after.as_ref(), room);
        if batch.is_empty() {
            // From the front again: those that were lost.
            in_flight.after = None;
        }
        for (key, version) in batch {
            let in_flight = self.replaying.entry(target).or_default();
            if in_flight.bytes > REPLAY_BYTES_IN_FLIGHT {
                return;
            }
            in_flight.after = Some(key.clone());
            self.replay(turn, target, key, version);
        }
    }

    fn replay(&mut self, turn: &mut Turn<'_>, target: Slot, key: Key, version: Version) {
        let entry = self.shared.store.peek(turn.cluster(), &key).filter(|entry| entry.version >= version);
        let version = entry.as_ref().map_or(version, |entry| entry.version);
        let entry = entry.unwrap_or_else(|| forgotten(version));
        let fence = Some(entry.version.ballot);
        let bytes = entry.value_len();
        let request = Replicate { epoch: turn.topology.epoch(), fence, key: key.clone(), entry: Some(entry) };
        if self.call(turn, target, Purpose::Replay(key, version, bytes), Request::Replicate(request)) {
            let in_flight = self.replaying.entry(target).or_default();
            in_flight.count += 1;
            in_flight.bytes += bytes;
        }
    }

    /// A replay to the target is not in flight any more.
    pub(crate) fn on_replayed(&mut self, target: Slot, bytes: usize) {
        let in_flight = self.replaying.entry(target).or_default();
        in_flight.count = in_flight.count.saturating_sub(1);
        in_flight.bytes = in_flight.bytes.saturating_sub(bytes);
    }

    /// The target's answer; `None` when it is lost, and the hint stays.
    pub(crate) fn on_replay_reply(
        &mut self,
        turn: &mut Turn<'_>,
        target: Slot,
        key: Key,
        version: Version,
        reply: Option<Reply>,
    ) {
        match reply {
            Some(Reply::Replicate(Acknowledgement::Held { .. })) => {
                self.counters.hints_replayed.increment();
                self.shared.hints.lock().settle(target, &key, version);
            }
            Some(Reply::Replicate(Acknowledgement::Fenced(ballot))) => {
                self.shared.store.raise_promised(key.partition(), ballot);
                let parent = WriteParent::Replay { target, version };
                self.start_write(turn, Target::of(key), Mutation::Confirm, parent, None);
            }
            _ => {}
        }
    }
}

/// What there is to say when the value is gone: evicted, expired, flushed, or no longer this node's. Anything older must go;
/// but homes that have the version itself must still differ, or they would agree on a version that one of them misses.
fn forgotten(version: Version) -> Entry {
    let before = Version { stamp: Stamp(version.stamp.0.saturating_sub(1)), ..version };
    Entry { version: before, body: Body::Tombstone }
}
