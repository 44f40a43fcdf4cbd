//! The immutable view a node works from: ring config, placement, and who can be asked. Replaced whole.
//!
//! Must not decide anything: it answers questions about one moment.

use std::net::SocketAddr;
use std::sync::Arc;

use memring_protocol::key::Partition;
use memring_protocol::ring::{Epoch, NodeName, Placement, RingConfig, RingMember, Standing};
use memring_protocol::version::Slot;

use crate::cluster::quorum::Slots;

/// What gossip says of a ring member.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Liveness {
    /// Never heard of in this life.
    #[default]
    Unknown,
    /// Alive.
    Alive,
    /// Suspected by someone; still asked.
    Suspect,
    /// Said that it is restarting.
    Restarting,
    /// Failed: two members reported it.
    Failed,
}

/// A ring member that gossip has heard of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Its name.
    pub name: NodeName,
    /// Where it listens for peers.
    pub address: SocketAddr,
    /// What gossip says of it.
    pub liveness: Liveness,
}

/// Where the partitions of one ring config lie.
pub struct Layout {
    /// The config.
    pub config: Arc<RingConfig>,
    current: Placement,
    next: Option<Placement>,
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Layout").field(&self.config).finish()
    }
}

impl Layout {
    /// Walks the ring of `config`; expensive, once a config.
    pub fn of(config: Arc<RingConfig>) -> Self {
        let current = Placement::current(&config);
        let next = config.is_in_transition().then(|| Placement::next(&config));
        Self { config, current, next }
    }

    /// How many homes a partition has: N, or fewer while there are fewer nodes.
    pub fn replicas(&self) -> usize {
        self.current.replicas()
    }

    /// The home replicas that reads ask and that writes must reach.
    pub fn homes(&self, partition: Partition) -> &[Slot] {
        self.current.homes(partition)
    }

    /// The home replicas to be, where a move under way changes them.
    pub fn next_homes(&self, partition: Partition) -> Option<&[Slot]> {
        let next = self.next.as_ref()?.homes(partition);
        (next != self.homes(partition)).then_some(next)
    }

    /// Whether the move under way is a member's leave: the one move that is never taken back.
    pub fn is_leave(&self) -> bool {
        self.config.members.iter().any(|member| member.standing == Standing::Leaving)
    }

    /// Current and next homes, each once.
    pub fn all_homes(&self, partition: Partition) -> Slots {
        let mut all: Slots = self.homes(partition).into();
        for slot in self.next_homes(partition).unwrap_or_default() {
            if !all.contains(slot) {
                all.push(*slot);
            }
        }
        all
    }

    fn places_alike(&self, other: &Self, partition: Partition) -> bool {
        self.homes(partition) == other.homes(partition) && self.next_homes(partition) == other.next_homes(partition)
    }
}

/// The view. Cheap to make anew when only liveness changes.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    layout: Option<Arc<Layout>>,
    previous: Option<Arc<Layout>>,
    me: Option<Slot>,
    /// By slot number: who is of another failure domain than this node. Empty if nobody is of this node's.
    far: Arc<[bool]>,
    /// By slot number.
    peers: Arc<[Option<Peer>]>,
}

impl Topology {
    /// The view after a change of layout; remembers the one before, to tell where epochs differ.
    pub fn with_layout(&self, layout: Arc<Layout>, me: &NodeName) -> Self {
        let me = layout.config.member_named(me).map(|member| member.slot);
        let far = far_from(&layout.config, me).into();
        Self { previous: self.layout.clone(), layout: Some(layout), me, far, peers: Arc::default() }
    }

    /// The view after a change of liveness.
    pub fn with_peers(&self, peers: &[(Slot, Peer)]) -> Self {
        let length = peers.iter().map(|(slot, _)| slot.index() + 1).max().unwrap_or(0);
        let mut by_slot = vec![None; length];
        for (slot, peer) in peers {
            by_slot[slot.index()] = Some(peer.clone());
        }
        Self { peers: by_slot.into(), ..self.clone() }
    }

    /// Where partitions lie; `None` before a ring is known.
    pub fn layout(&self) -> Option<&Arc<Layout>> {
        self.layout.as_ref()
    }

    /// This node's slot; `None` when it is not a member.
    pub fn me(&self) -> Option<Slot> {
        self.me
    }

    /// The ring config's number; 0 before a ring is known.
    pub fn epoch(&self) -> Epoch {
        self.layout.as_ref().map_or(Epoch(0), |layout| layout.config.epoch)
    }

    /// The peer with this slot, if gossip knows it.
    pub fn peer(&self, slot: Slot) -> Option<&Peer> {
        self.peers.get(slot.index())?.as_ref()
    }

    /// The ring member that listens on this peer address.
    pub fn slot_at(&self, address: SocketAddr) -> Option<Slot> {
        let index = self.peers.iter().position(|peer| peer.as_ref().is_some_and(|peer| peer.address == address))?;
        Slot::new(index as u16)
    }

    /// Whether a member can be expected to answer, by gossip.
    pub fn is_up(&self, slot: Slot) -> bool {
        Some(slot) == self.me
            || self.peer(slot).is_some_and(|peer| matches!(peer.liveness, Liveness::Alive | Liveness::Suspect))
    }

    /// Whether gossip has given up all homes of a partition, and no move is under way that gives it others: nobody can order
    /// a write of it before one of them is back.
    pub fn has_lost(&self, partition: Partition) -> bool {
        self.layout.as_ref().is_some_and(|layout| {
            layout.next_homes(partition).is_none() && !layout.homes(partition).iter().any(|slot| self.is_up(*slot))
        })
    }

    /// Whether some members are of this node's failure domain and others are not.
    pub fn has_far(&self) -> bool {
        !self.far.is_empty()
    }

    /// Whether a member is of another failure domain, and some are of this node's.
    pub fn is_far(&self, slot: Slot) -> bool {
        self.far.get(slot.index()).is_some_and(|far| *far)
    }

    /// Whether the sender of a request, at `epoch`, has this partition on the same homes.
    pub fn agrees(&self, epoch: Epoch, partition: Partition) -> bool {
        let Some(layout) = &self.layout else { return false };
        let previous = self.previous.as_ref().filter(|previous| previous.config.epoch == epoch);
        layout.config.epoch == epoch || previous.is_some_and(|previous| layout.places_alike(previous, partition))
    }
}

/// By slot number, who is of another zone than `me`; empty if that is nobody, or everybody but itself.
fn far_from(config: &RingConfig, me: Option<Slot>) -> Vec<bool> {
    let Some(own) = me.and_then(|me| config.member(me)).filter(|own| !own.share.zone.is_empty()) else {
        return Vec::new();
    };
    let is_near = |member: &RingMember| member.share.zone == own.share.zone;
    let near = config.members.iter().filter(|member| is_near(member)).count();
    if near == 1 || near == config.members.len() {
        return Vec::new();
    }
    let slots = config.members.iter().map(|member| member.slot.index() + 1).max().unwrap_or(0);
    let mut far = vec![false; slots];
    config.members.iter().for_each(|member| far[member.slot.index()] = !is_near(member));
    far
}
