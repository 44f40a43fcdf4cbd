//! Messages by which nodes found a ring, join, leave and agree on the next ring config.
//!
//! One-way: each may be lost, late, doubled or out of order, and an answer is a message of its own. Must not know what
//! follows from them: that is the engine's ring keeper.

use serde::{Deserialize, Serialize};

use crate::ring::{Epoch, RingConfig, RingId, Share};
use crate::version::Slot;

/// Number of a proposal for the next ring config. The life keeps a proposer that lost its memory from using one number
/// for two values (Lamport, "Paxos Made Simple", 2.2: different proposers choose from disjoint sets of numbers).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct RingBallot {
    /// Compared first; 0 is below every proposal.
    pub round: u64,
    /// The proposer's slot in the config that decides.
    pub slot: u16,
    /// The proposer's life.
    pub life: u64,
}

/// The latest life known of each member, the sender's own included: a start later than another has a higher number.
/// (The crash vector of Michael et al., "Recovering Shared Objects Without Stable Storage", 2017.)
pub type Lives = Vec<(Slot, u64)>;

/// What nodes say about their ring.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum RingMessage {
    /// Which ring are you in? Answered by [`RingMessage::Config`] by those who are in one.
    Query {
        /// The asking node's cluster.
        cluster: String,
    },
    /// The newest config the sender knows.
    Config(RingConfig),
    /// Where the sender stands. Who is further answers with the config.
    Here {
        /// Its ring.
        ring: RingId,
        /// Its config.
        epoch: Epoch,
        /// Whether it holds everything it owns in the next placement of that config.
        synced: bool,
    },
    /// Let me in: from a node without a place in the ring, to any member.
    Join {
        /// Its cluster.
        cluster: String,
        /// What it would take of the ring.
        share: Share,
    },
    /// No: the sender is of this other cluster.
    OtherCluster {
        /// The sender's cluster.
        cluster: String,
    },
    /// May I found this ring with you in it? From a node without a ring, which knows no smaller name than its own.
    FoundProposal {
        /// Its cluster.
        cluster: String,
        /// The ring to be; another attempt has another.
        ring: RingId,
    },
    /// Yes, to a [`RingMessage::FoundProposal`].
    FoundConsent {
        /// The ring to be.
        ring: RingId,
        /// The life that consents: only it may vote without asking, see [`RingMessage::Founded`].
        life: u64,
        /// What the sender would take of the ring.
        share: Share,
    },
    /// The first config of a ring, from its founder.
    Founded {
        /// The config, of epoch 1.
        config: RingConfig,
        /// The lives that consented.
        lives: Lives,
    },
    /// About the config that follows the one of this epoch.
    Vote {
        /// The ring.
        ring: RingId,
        /// The config whose voters decide.
        epoch: Epoch,
        /// The step.
        step: VoteStep,
    },
}

/// The steps of single-decree Paxos for one config, and of a voter that lost its memory.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum VoteStep {
    /// Phase 1a.
    Prepare(RingBallot),
    /// Phase 1b.
    Promise {
        /// To which proposal.
        ballot: RingBallot,
        /// What the voter accepted last.
        accepted: Option<(RingBallot, RingConfig)>,
        /// The lives it knows.
        lives: Lives,
    },
    /// Phase 2a.
    Accept {
        /// The proposal.
        ballot: RingBallot,
        /// Its value.
        config: RingConfig,
    },
    /// Phase 2b.
    Accepted {
        /// Which proposal.
        ballot: RingBallot,
        /// The lives it knows.
        lives: Lives,
    },
    /// No: this higher proposal was promised.
    Outbid(RingBallot),
    /// I have lost my memory, what is yours?
    Recover {
        /// The sender's life.
        life: u64,
    },
    /// Answer to [`VoteStep::Recover`].
    Memory {
        /// The life that asked.
        asked: u64,
        /// Whether the sender may vote; if not, the rest says nothing.
        may_vote: bool,
        /// The highest proposal it promised.
        promised: RingBallot,
        /// What it accepted last.
        accepted: Option<(RingBallot, RingConfig)>,
        /// The lives it knows.
        lives: Lives,
    },
}
