//! The total order of writes: ballots, stamps, versions.
//!
//! Must not read a clock: the engine's hybrid clock makes stamps, this file only says what they are.
//! Hybrid logical clocks follow Kulkarni et al., "Logical Physical Clocks" (2014), packed into 64 bits.

use serde::{Deserialize, Serialize};

/// Unix milliseconds of 2025-01-01T00:00:00Z, where stamps begin.
pub const STAMP_EPOCH_UNIX_MS: u64 = 1_735_689_600_000;

const SLOT_BITS: u32 = 10;
const COUNTER_BITS: u32 = 12;

/// A member's small number in the ring config, below [`SLOTS_MAX`]; never reused while the member is in the ring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Slot(u16);

/// The most members a ring can number.
pub const SLOTS_MAX: u16 = 1 << SLOT_BITS;

impl Slot {
    /// A slot by number; `None` at or above [`SLOTS_MAX`].
    pub fn new(number: u16) -> Option<Self> {
        (number < SLOTS_MAX).then_some(Self(number))
    }

    /// Its number, below [`SLOTS_MAX`].
    pub fn number(self) -> u16 {
        self.0
    }

    /// Its number as an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl TryFrom<u16> for Slot {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        Self::new(number).ok_or_else(|| format!("slot {number} is not below {SLOTS_MAX}"))
    }
}

impl From<Slot> for u16 {
    fn from(slot: Slot) -> Self {
        slot.0
    }
}

/// 64-bit hybrid logical clock reading: 42 bits of milliseconds since 2025, 12-bit counter, 10-bit slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Before every stamp that a clock makes.
    pub const ZERO: Self = Self(0);

    /// Not below any stamp.
    pub const MAX: Self = Self(u64::MAX);

    /// The first stamp of a millisecond for a slot. Times before 2025 count as 2025; 42 bits last until 2164.
    pub fn at(unix_ms: u64, slot: Slot) -> Self {
        let ms = unix_ms.saturating_sub(STAMP_EPOCH_UNIX_MS) & ((1 << (64 - SLOT_BITS - COUNTER_BITS)) - 1);
        Self(ms << (SLOT_BITS + COUNTER_BITS) | u64::from(slot.0))
    }

    /// The last stamp of a millisecond, whatever the slot.
    pub fn end_of(unix_ms: u64) -> Self {
        let last = Self::at(unix_ms, Slot(0));
        Self(last.0 | ((1 << (SLOT_BITS + COUNTER_BITS)) - 1))
    }

    /// The smallest stamp of `slot` that is above `self`.
    pub fn next(self, slot: Slot) -> Self {
        let low = (1 << SLOT_BITS) - 1;
        let same_tick = (self.0 & !low) | u64::from(slot.0);
        Self(if same_tick > self.0 { same_tick } else { same_tick + (1 << SLOT_BITS) })
    }

    /// Unix milliseconds of its clock part.
    pub fn unix_ms(self) -> u64 {
        (self.0 >> (SLOT_BITS + COUNTER_BITS)) + STAMP_EPOCH_UNIX_MS
    }

    /// The slot of the node that made it.
    pub fn slot(self) -> Slot {
        Slot((self.0 & ((1 << SLOT_BITS) - 1)) as u16)
    }
}

/// Number of a serializer's term for a partition: a round, then the slot of the node that leads it.
/// (Lamport, "Paxos Made Simple": proposal numbers are unique to their proposer.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Ballot(pub u64);

impl Ballot {
    /// No term yet: below every ballot that a node can hold.
    pub const NONE: Self = Self(0);

    /// The ballot of `slot` in `round`; round 0 is not used, so that [`Ballot::NONE`] stays below all.
    pub fn new(round: u64, slot: Slot) -> Self {
        Self(round << SLOT_BITS | u64::from(slot.0))
    }

    /// The smallest ballot of `slot` above `self` whose round is at least `round_min`.
    /// Rounds start from the clock's milliseconds, so that a ballot taken after every holder of an earlier one lost its
    /// memory is above it all the same.
    pub fn above(self, round_min: u64, slot: Slot) -> Self {
        Self::new((self.round() + 1).max(round_min), slot)
    }

    /// The highest ballot of a round, whoever leads it.
    pub fn end_of(round: u64) -> Self {
        Self::new(round, Slot(SLOTS_MAX - 1))
    }

    /// The round.
    pub fn round(self) -> u64 {
        self.0 >> SLOT_BITS
    }

    /// Who leads it; `None` for [`Ballot::NONE`].
    pub fn holder(self) -> Option<Slot> {
        (self != Self::NONE).then_some(Slot((self.0 & ((1 << SLOT_BITS) - 1)) as u16))
    }
}

/// (ballot, stamp): the total order of writes to a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Version {
    /// The serializer's term; compared first.
    pub ballot: Ballot,
    /// When, within the term.
    pub stamp: Stamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_stamp_is_above_and_keeps_its_slot() {
        let (low, high) = (Slot(3), Slot(9));
        let stamp = Stamp::at(STAMP_EPOCH_UNIX_MS + 5, low);
        assert!(stamp.next(high) > stamp && stamp.next(high).slot() == high);
        assert!(stamp.next(high).next(low) > stamp.next(high) && stamp.next(high).next(low).slot() == low);
        assert_eq!(stamp.unix_ms(), STAMP_EPOCH_UNIX_MS + 5);
        assert!(Stamp::end_of(stamp.unix_ms()) > stamp.next(high));
        assert!(Stamp::end_of(stamp.unix_ms()) < Stamp::at(stamp.unix_ms() + 1, Slot(0)));
    }

    #[test]
    fn a_ballot_names_its_holder_and_rises() {
        let ballot = Ballot::NONE.above(7, Slot(4));
        assert_eq!((ballot.round(), ballot.holder()), (7, Some(Slot(4))));
        assert!(ballot.above(0, Slot(1)) > ballot);
        assert_eq!(Ballot::NONE.holder(), None);
    }

    #[test]
    fn a_version_compares_ballots_first() {
        let version = |ballot, stamp| Version { ballot: Ballot(ballot), stamp: Stamp(stamp) };
        assert!(version(2, 1) > version(1, 9));
        assert!(version(2, 3) > version(2, 2));
    }
}
