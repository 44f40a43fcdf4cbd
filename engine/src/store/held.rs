//! What a read-modify-write sees of one key.
//!
//! Must not change anything: what is wanted is a [`Change`](super::Change), which the store carries out.

use std::cell::Cell;

use memring_protocol::entry::{Entry, Seen};
use memring_protocol::key::Partition;
use memring_protocol::version::{Ballot, Version};

use super::shard::{Moment, Shard};

/// What is held for one key, seen under the shard's lock.
pub struct Held<'a> {
    pub(super) shard: &'a Shard,
    pub(super) place: Option<u32>,
    pub(super) partition: Partition,
    pub(super) moment: Moment,
    /// Whether it was asked for and found dead.
    pub(super) met_dead: Cell<bool>,
}

impl Held<'_> {
    /// The version that is held, also of a tombstone, and also of an expired or flushed entry for as long as its record
    /// is there: a new version must be above it.
    pub fn version(&self) -> Option<Version> {
        self.place.map(|place| self.shard.version(place))
    }

    /// The entry, its value copied: a live item or a tombstone. `None` when it is absent, expired or flushed.
    pub fn entry(&self) -> Option<Entry> {
        let place = self.place?;
        let dead = self.moment.is_dead(self.shard.record(place));
        self.met_dead.set(dead);
        (!dead).then(|| self.shard.entry(place))
    }

    /// How the entry has been read.
    pub fn seen(&self) -> Seen {
        self.place.map_or(Seen::default(), |place| self.shard.record(place).seen(self.moment.now))
    }

    /// The ballot that the key's partition has promised.
    pub fn promised(&self) -> Ballot {
        self.shard.index.promised(self.partition)
    }
}
