//! A proposer's attempt to get one next config decided: which votes came, and whether they are a majority.
//!
//! Lamport, "Paxos Made Simple" (2001), 2.2. A vote counts only while the life that gave it is the latest known: a voter
//! that restarted has forgotten it. Must not know messages; deadlines are the keeper's.

use std::collections::BTreeMap;

use memring_protocol::ring::{NodeName, RingConfig};
use memring_protocol::ring_message::RingBallot;

use super::acceptor::majority;
use crate::now::Mono;

/// One attempt under one number.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Proposal {
    /// Its number.
    pub(super) ballot: RingBallot,
    /// What is proposed; `None` in phase 1.
    pub(super) value: Option<RingConfig>,
    /// When to send again to those who have not answered.
    pub(super) resend_at: Mono,
    /// When to try again under a higher number.
    pub(super) give_up_at: Mono,
    promises: BTreeMap<NodeName, Vote>,
    accepts: BTreeMap<NodeName, Vote>,
}

#[derive(Clone, PartialEq, Debug)]
struct Vote {
    life: u64,
    accepted: Option<(RingBallot, RingConfig)>,
}

impl Vote {
    fn counts(&self, voter: &NodeName, lives: &BTreeMap<NodeName, u64>) -> bool {
        lives.get(voter).is_none_or(|latest| self.life >= *latest)
    }
}

impl Proposal {
    /// Phase 1 begins.
    pub(super) fn new(ballot: RingBallot, resend_at: Mono, give_up_at: Mono) -> Self {
        let (promises, accepts) = (BTreeMap::new(), BTreeMap::new());
        Self { ballot, value: None, resend_at, give_up_at, promises, accepts }
    }

    /// A promise of one of the voters.
    pub(super) fn promise(&mut self, from: NodeName, life: u64, accepted: Option<(RingBallot, RingConfig)>) {
        self.promises.insert(from, Vote { life, accepted });
    }

    /// An acceptance of one of the voters.
    pub(super) fn accept(&mut self, from: NodeName, life: u64) {
        self.accepts.insert(from, Vote { life, accepted: None });
    }

    /// Whether a voter's vote in this phase is in.
    pub(super) fn has(&self, voter: &NodeName, lives: &BTreeMap<NodeName, u64>) -> bool {
        self.votes().get(voter).is_some_and(|vote| vote.counts(voter, lives))
    }

    /// Whether this phase has its majority.
    pub(super) fn is_carried(&self, voters: &[NodeName], lives: &BTreeMap<NodeName, u64>) -> bool {
        voters.iter().filter(|voter| self.has(voter, lives)).count() >= majority(voters.len())
    }

    /// The value that the promises bind the proposer to.
    pub(super) fn bound_to(&self) -> Option<&RingConfig> {
        let accepted = self.promises.values().filter_map(|vote| vote.accepted.as_ref());
        accepted.max_by_key(|(ballot, _)| *ballot).map(|(_, config)| config)
    }

    fn votes(&self) -> &BTreeMap<NodeName, Vote> {
        if self.value.is_none() { &self.promises } else { &self.accepts }
    }
}
