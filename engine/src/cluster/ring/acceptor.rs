//! A voter's memory: what it promised and accepted for the config that comes next, and how it gets that memory back
//! from the others after a restart, since nothing of it is on disk.
//!
//! Lamport, "Paxos Made Simple" (2001), 2.2, one instance an epoch; recovery and the check of quorums by lives after
//! Michael et al., "Recovering Shared Objects Without Stable Storage" (2017). Must not know messages or time.

use std::collections::BTreeMap;

use memring_protocol::ring::{NodeName, RingConfig};
use memring_protocol::ring_message::RingBallot;

/// What is left of all earlier proposals for the next config.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Acceptor {
    /// Lower proposals are refused.
    pub(super) promised: RingBallot,
    /// The last accepted.
    pub(super) accepted: Option<(RingBallot, RingConfig)>,
}

impl Acceptor {
    /// Phase 1. `Err` is the higher proposal that was promised.
    pub(super) fn prepare(&mut self, ballot: RingBallot) -> Result<Option<(RingBallot, RingConfig)>, RingBallot> {
        if ballot < self.promised {
            return Err(self.promised);
        }
        self.promised = ballot;
        Ok(self.accepted.clone())
    }

    /// Phase 2.
    pub(super) fn accept(&mut self, ballot: RingBallot, config: &RingConfig) -> Result<(), RingBallot> {
        if ballot < self.promised {
            return Err(self.promised);
        }
        self.promised = ballot;
        self.accepted = Some((ballot, config.clone()));
        Ok(())
    }

    fn merge(&mut self, other: &Self) {
        self.promised = self.promised.max(other.promised);
        let number = |acceptor: &Self| acceptor.accepted.as_ref().map(|(ballot, _)| *ballot);
        if number(other) > number(self) {
            self.accepted.clone_from(&other.accepted);
        }
    }
}

/// Whether this node may vote.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Franchise {
    /// It has no vote in this config.
    None,
    /// An earlier life of it may have voted: it asks the others what it forgot.
    Recovering(Recovery),
    /// It votes.
    Voting {
        /// Whether no earlier life can have voted in a later config either: then a new config needs no recovery.
        /// If a config was accepted somewhere, it may be decided, and an earlier life may have gone on from there.
        for_good: bool,
    },
}

/// The memories of the other voters, as they come in.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Recovery {
    memories: BTreeMap<NodeName, Memory>,
}

/// One other voter's answer.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Memory {
    /// The life that answered.
    pub(super) life: u64,
    /// What it remembers; `None` when it may not vote itself.
    pub(super) acceptor: Option<Acceptor>,
}

impl Recovery {
    /// Takes an answer of one of the voters.
    pub(super) fn note(&mut self, from: NodeName, memory: Memory) {
        self.memories.insert(from, memory);
    }

    /// Whether this voter need not be asked again.
    pub(super) fn has(&self, voter: &NodeName, lives: &BTreeMap<NodeName, u64>) -> bool {
        self.memories.get(voter).is_some_and(|memory| memory.acceptor.is_some() && is_alive(memory, voter, lives))
    }

    /// The memory to go on with, once it is certain to hold all that an earlier life's votes helped to decide.
    ///
    /// A decision has a majority M of the V voters, so at least M - 1 besides this one, and any V - M + 1 others meet
    /// them. Answers of lives that are over do not count. When everybody answers and too few remember, more was lost
    /// at once than the ring promises to survive, and what remains is the truth.
    pub(super) fn verdict(&self, others: &[NodeName], lives: &BTreeMap<NodeName, u64>) -> Option<Acceptor> {
        let voters = others.len() + 1;
        let needed = voters - majority(voters) + 1;
        let answers: Vec<&Memory> = others
            .iter()
            .filter_map(|voter| self.memories.get(voter).filter(|memory| is_alive(memory, voter, lives)))
            .collect();
        let remembered = answers.iter().filter_map(|memory| memory.acceptor.as_ref());
        if remembered.clone().count() < needed && answers.len() < others.len() {
            return None;
        }
        let mut merged = Acceptor::default();
        remembered.for_each(|acceptor| merged.merge(acceptor));
        Some(merged)
    }
}

fn is_alive(memory: &Memory, voter: &NodeName, lives: &BTreeMap<NodeName, u64>) -> bool {
    lives.get(voter).is_none_or(|latest| memory.life >= *latest)
}

/// More than half.
pub(super) fn majority(voters: usize) -> usize {
    voters / 2 + 1
}
