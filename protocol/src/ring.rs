//! The ring config that members agree on; `placement` says which members it makes the homes of each partition.
//!
//! Must not know liveness, addresses or the engine.

mod placement;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::placement::{NODE_POINTS_MAX, Placement};
use crate::version::Slot;

/// A ring's random identity: nodes of different rings never merge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RingId(pub u64);

impl fmt::Display for RingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Number of a ring config; 0 means "none yet".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// The longest node name, in bytes: a DNS label's limit times four, so that a pod's full name fits.
pub const NODE_NAME_BYTES_MAX: usize = 253;

/// A node's name: 1 to [`NODE_NAME_BYTES_MAX`] visible ASCII bytes without space or comma. It is its identity on the ring.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(Arc<str>);

/// Why a text is not a node name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a node name is 1 to {NODE_NAME_BYTES_MAX} visible ASCII characters without space or comma")]
pub struct NodeNameError;

impl NodeName {
    /// Checks and takes a name.
    pub fn new(name: &str) -> Result<Self, NodeNameError> {
        let legal = |byte: u8| byte.is_ascii_graphic() && byte != b',';
        if name.is_empty() || name.len() > NODE_NAME_BYTES_MAX || !name.bytes().all(legal) {
            return Err(NodeNameError);
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NodeName {
    type Error = NodeNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// How far a member's move into, within or out of the ring has come.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Standing {
    /// Coming: owns partitions only in the next placement, has no vote.
    Joining,
    /// In.
    Active,
    /// Going: owns partitions only in the current placement; votes until it is gone.
    Leaving,
    /// In, and about to have another share: in the next placement it counts with this one.
    Changing(Share),
}

/// Which part of the ring a member takes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Share {
    /// Its failure domain; empty when there are none. At most [`LABEL_BYTES_MAX`].
    pub zone: String,
    /// How much in hundredths: 100 is one full share of vnodes; 1 to [`WEIGHT_MAX`].
    pub weight: u32,
}

impl Share {
    /// Whether both parts are within their limits.
    pub fn is_legal(&self) -> bool {
        self.zone.len() <= LABEL_BYTES_MAX && (1..=WEIGHT_MAX).contains(&self.weight)
    }
}

/// A node in the ring config. Its address is not here: that is liveness, told by gossip.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RingMember {
    /// Its identity.
    pub name: NodeName,
    /// Its number.
    pub slot: Slot,
    /// What it takes of the ring.
    pub share: Share,
    /// Whether it is coming, in, changing or going.
    pub standing: Standing,
}

/// The longest name of a zone or a cluster, in bytes: a full domain name fits, a thousand of them fit a control message.
pub const LABEL_BYTES_MAX: usize = 253;

/// The largest weight: a hundred full shares.
pub const WEIGHT_MAX: u32 = 10_000;

/// The numbered, agreed list of ring members. Decided by a majority, replaced whole.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RingConfig {
    /// Which ring.
    pub ring_id: RingId,
    /// Which config of it, from 1.
    pub epoch: Epoch,
    /// The cluster's name.
    pub cluster: String,
    /// N: how many home replicas a partition has when there are enough nodes.
    pub replicas: u8,
    /// Vnodes of a node of weight 100.
    pub vnodes: u16,
    /// Sorted by name.
    pub members: Vec<RingMember>,
}

/// What is wrong with a ring config that came from elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed ring config: {0}")]
pub struct RingConfigError(&'static str);

impl RingConfig {
    /// Whether it holds together: a config from the network is used only after this.
    pub fn check(&self) -> Result<(), RingConfigError> {
        let mut slots: Vec<Slot> = self.members.iter().map(|member| member.slot).collect();
        slots.sort_unstable();
        let movers = self.members.iter().filter(|member| member.standing != Standing::Active).count();
        let shares = |member: &RingMember| match &member.standing {
            Standing::Changing(next) => member.share.is_legal() && next.is_legal(),
            _ => member.share.is_legal(),
        };
        let faults = [
            (self.epoch == Epoch::default(), "epoch 0"),
            (self.replicas == 0 || self.vnodes == 0, "no replicas or vnodes"),
            (self.voters().next().is_none(), "nobody votes"),
            (movers > 1, "more than one member moves"),
            (slots.windows(2).any(|pair| pair[0] == pair[1]), "two members share a slot"),
            (self.members.windows(2).any(|pair| pair[0].name >= pair[1].name), "members not sorted by name"),
            (self.cluster.len() > LABEL_BYTES_MAX, "long cluster name"),
            (!self.members.iter().all(shares), "long zone name, or weight out of range"),
        ];
        match faults.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, fault)) => Err(RingConfigError(fault)),
            None => Ok(()),
        }
    }

    /// The member with this slot.
    pub fn member(&self, slot: Slot) -> Option<&RingMember> {
        self.members.iter().find(|member| member.slot == slot)
    }

    /// The member with this name.
    pub fn member_named(&self, name: &NodeName) -> Option<&RingMember> {
        self.members.iter().find(|member| member.name == *name)
    }

    /// Those who decide the next config: everyone but joiners.
    pub fn voters(&self) -> impl Iterator<Item = &RingMember> {
        self.members.iter().filter(|member| member.standing != Standing::Joining)
    }

    /// Whether a member is coming, changing or going, so that the current and the next placement differ.
    pub fn is_in_transition(&self) -> bool {
        self.members.iter().any(|member| member.standing != Standing::Active)
    }
}
