//! What membership waits for, in order.
//!
//! There is one slot a purpose, so whatever peers do, timers cannot pile up: a new one replaces the old one in its slot.
//! That is sound for foca, whose timers of an earlier connection carry a stale token and mean nothing. Must not know what
//! the timers are for beyond telling them apart.

use std::collections::BTreeMap;

use memring_protocol::gossip::NodeId;
use memring_protocol::ring::NodeName;

use crate::now::Mono;

/// What a timer is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Slot {
    Probe,
    IndirectProbe,
    Announce,
    AnnounceToFailed,
    Gossip,
    /// Whether this suspect has failed.
    Verdict(NodeName),
    Greet,
    Forget,
}

impl Slot {
    /// The slot of foca's timer; `None` for what its configuration switches off.
    pub(super) fn of(timer: &foca::Timer<NodeId>) -> Option<Self> {
        Some(match timer {
            foca::Timer::ProbeRandomMember(_) => Self::Probe,
            foca::Timer::SendIndirectProbe { .. } => Self::IndirectProbe,
            foca::Timer::ChangeSuspectToDown { member_id, .. } => Self::Verdict(member_id.name.clone()),
            foca::Timer::PeriodicAnnounce(_) => Self::Announce,
            foca::Timer::PeriodicAnnounceDown(_) => Self::AnnounceToFailed,
            foca::Timer::PeriodicGossip(_) => Self::Gossip,
            foca::Timer::RemoveDown(_) => return None,
        })
    }
}

/// A timer that is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Due {
    /// When it was due: perhaps a while ago.
    pub(super) at: Mono,
    pub(super) slot: Slot,
    /// What to tell foca, when it is foca's.
    pub(super) timer: Option<foca::Timer<NodeId>>,
}

/// The time, and the order of arming among equal times, so that runs repeat exactly.
type Place = (Mono, u64);

/// All timers of one machine.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeMap<Place, Slot>,
    armed: BTreeMap<Slot, (Place, Option<foca::Timer<NodeId>>)>,
    armed_ever: u64,
}

impl Timers {
    /// Arms a slot, in place of what it held.
    pub(super) fn arm(&mut self, slot: Slot, at: Mono, timer: Option<foca::Timer<NodeId>>) {
        self.disarm(&slot);
        self.armed_ever += 1;
        let place = (at, self.armed_ever);
        self.queue.insert(place, slot.clone());
        self.armed.insert(slot, (place, timer));
    }

    /// Empties a slot.
    pub(super) fn disarm(&mut self, slot: &Slot) {
        if let Some((place, _timer)) = self.armed.remove(slot) {
            self.queue.remove(&place);
        }
    }

    /// Empties all slots.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.armed.clear();
    }

    /// How many are armed.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        debug_assert_eq!(self.queue.len(), self.armed.len(), "each has its place");
        self.armed.len()
    }

    /// What a slot holds, and when it is due.
    pub(super) fn armed(&self, slot: &Slot) -> Option<(Mono, Option<&foca::Timer<NodeId>>)> {
        self.armed.get(slot).map(|((at, _), timer)| (*at, timer.as_ref()))
    }

    /// When the next timer is due.
    pub(super) fn next(&self) -> Option<Mono> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    /// Takes the earliest timer that is due at `now`.
    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Due> {
        let (at, _) = *self.queue.keys().next().filter(|(at, _)| *at <= now)?;
        let (_place, slot) = self.queue.pop_first()?;
        let (_place, timer) = self.armed.remove(&slot)?;
        Some(Due { at, slot, timer })
    }
}
