//! The ring keeper: founds a ring or joins one, leaves it, and agrees with the other members on each next ring config.
//!
//! A pure machine: members, messages and time come in, [`RingEffect`]s go out, and one seed makes all its choices. Must
//! not know sockets, placement, or what is copied where: its owner says when this node holds what it will own.
//!
//! ```text
//! bootstrap   a node without a place in a ring: asks, founds with others' consent, asks to be let in
//! standing    what a node knows of its ring: hears and tells configs, adopts the newest
//! agreement   which move is wanted next, and the vote on it
//! franchise   a voter that forgot asks before it votes again
//! change, acceptor, proposal    the pure parts of that: one move, one voter, one attempt
//! ```

mod acceptor;
mod agreement;
mod bootstrap;
mod change;
mod franchise;
mod proposal;
mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use memring_protocol::ring::{Epoch, NodeName, RingConfig, RingMember, Share, WEIGHT_MAX};
use memring_protocol::ring_message::RingMessage;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::bootstrap::Seek;
use self::standing::Ring;
use crate::now::Mono;

/// How often a member tells a few others where it stands.
const GOSSIP_PERIOD: Duration = Duration::from_millis(1000);

/// How many it tells: a lost config reaches a thousand members in a handful of periods.
const GOSSIP_FANOUT: usize = 3;

/// The most other nodes that are looked at: four rings full.
const VISIBLE_MAX: usize = 4096;

/// The most removals that wait for their turn, and peers of other rings that are reported.
const NAMES_MAX: usize = 1024;

/// What a node brings along.
#[derive(Clone, PartialEq, Debug)]
pub struct KeeperConfig {
    /// Its name: its identity on the ring.
    pub name: NodeName,
    /// Its life: the wall clock's milliseconds at its start. A later start under the same name has a higher one.
    pub generation: u64,
    /// The cluster it belongs to; others are refused.
    pub cluster: String,
    /// What it takes of the ring. A member that comes back with another one changes the ring.
    pub share: Share,
    /// N of a ring it founds.
    pub replicas: u8,
    /// Vnodes of a ring it founds.
    pub vnodes: u16,
    /// Whether it was told of others (`--join`): without, it founds a ring at once.
    pub joining: bool,
    /// How many joiners must see each other for one of them to found (`--expect`).
    pub expect: Option<usize>,
    /// Whether it gives up a ring that it is alone in when it hears of another (`--rejoin-empty`).
    pub rejoin_empty: bool,
    /// How long a member must have failed until this one proposes to remove it (`--remove-after`); `None`: never.
    pub remove_after: Option<Duration>,
}

/// A node that gossip knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VisibleNode {
    /// Its name.
    pub name: NodeName,
    /// Its peer address.
    pub peer: SocketAddr,
    /// Its life.
    pub generation: u64,
    /// Whether gossip holds it for alive, not failed.
    pub alive: bool,
}

/// What the owner has to do.
#[derive(Clone, PartialEq, Debug)]
pub enum RingEffect {
    /// Send a message; it may get lost.
    Send {
        /// To whom.
        to: NodeName,
        /// What.
        message: RingMessage,
    },
    /// A newer config was learnt. This node may not be in it (not yet, or no longer).
    Adopted(Arc<RingConfig>),
    /// Nothing will come of it without the operator: one line for the log.
    Fatal(String),
    /// Worth a line in the log.
    Warn(String),
}

/// What is remembered of a [`VisibleNode`].
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seen {
    generation: u64,
    alive: bool,
}

/// See the module.
pub struct RingKeeper {
    own: KeeperConfig,
    /// This life's number in votes; see [`RingKeeper::note_lives`] for when it is not the generation.
    life: u64,
    random: StdRng,
    /// Whether it founds no ring, nor consents to one.
    founding_held: bool,
    visible: BTreeMap<NodeName, Seen>,
    /// The ring this node knows; it need not be a member of it yet.
    ring: Option<Ring>,
    /// While the node has no place in a ring and wants one.
    seek: Option<Seek>,
    /// Whether it asked for its own removal.
    leaving: bool,
    /// Peers of which it was reported that they are in another ring.
    rivals: BTreeSet<NodeName>,
    gossip_at: Mono,
    /// Since when it has looked who is there without a break, and seen a majority.
    watching_since: Mono,
    /// When it looked last.
    watched_at: Mono,
}

impl RingKeeper {
    /// A node that starts. Without `joining` it is in a ring of its own from now on: see [`RingKeeper::config`].
    pub fn new(config: KeeperConfig, now: Mono, seed: u64) -> Self {
        let share = Share { weight: config.share.weight.clamp(1, WEIGHT_MAX), ..config.share };
        let (replicas, vnodes) = (config.replicas.max(1), config.vnodes.max(1));
        let config = KeeperConfig { share, replicas, vnodes, ..config };
        let mut keeper = Self {
            life: config.generation,
            random: StdRng::seed_from_u64(seed),
            founding_held: false,
            visible: BTreeMap::new(),
            ring: None,
            seek: None,
            leaving: false,
            rivals: BTreeSet::new(),
            gossip_at: now,
            watching_since: now,
            watched_at: now,
            own: config,
        };
        if keeper.own.joining {
            keeper.seek = Some(Seek::new(now, now.after(keeper.jitter(Duration::from_millis(20)))));
        } else {
            // The effects only say what the caller learns from `config` anyway: nobody else is there.
            keeper.found_with(now, Default::default(), &mut Vec::new());
        }
        keeper
    }

    /// Whether this node may found no ring for now, nor consent to one. At first it may.
    pub fn hold_founding(&mut self, held: bool) {
        self.founding_held = held;
    }

    /// The newest decided config known, whether this node is in it or not.
    pub fn config(&self) -> Option<&Arc<RingConfig>> {
        self.ring.as_ref().map(|ring| &ring.config)
    }

    /// Everyone gossip knows except this node; called on each change.
    pub fn on_members(&mut self, now: Mono, visible: &[VisibleNode], out: &mut Vec<RingEffect>) {
        let seen = |node: &VisibleNode| Seen { generation: node.generation, alive: node.alive };
        let others = visible.iter().filter(|node| node.name != self.own.name).take(VISIBLE_MAX);
        let visible: BTreeMap<NodeName, Seen> = others.map(|node| (node.name.clone(), seen(node))).collect();
        if let Some(ring) = &mut self.ring {
            // A later life has lost what the earlier one had copied.
            ring.synced.retain(|name| match (self.visible.get(name), visible.get(name)) {
                (Some(before), Some(after)) => before.generation == after.generation,
                _ => true,
            });
        }
        self.visible = visible;
        self.note_absent(now);
        self.consider(now, out);
    }

    /// A message of another node.
    pub fn on_message(&mut self, now: Mono, from: &NodeName, message: RingMessage, out: &mut Vec<RingEffect>) {
        if *from == self.own.name {
            return;
        }
        match message {
            RingMessage::Query { cluster } => self.on_query(from, &cluster, out),
            RingMessage::Config(config) => self.on_config(now, from, config, out),
            RingMessage::Here { ring, epoch, synced } => self.on_here(from, ring, epoch, synced, out),
            RingMessage::Join { cluster, share } => self.on_join(now, from, &cluster, share, out),
            RingMessage::OtherCluster { cluster } => self.on_other_cluster(from, &cluster, out),
            RingMessage::FoundProposal { cluster, ring } => self.on_found_proposal(now, from, &cluster, ring, out),
            RingMessage::FoundConsent { ring, life, share } => {
                self.on_found_consent(now, from, ring, bootstrap::Consenter { life, share }, out);
            }
            RingMessage::Founded { config, lives } => self.on_founded(now, from, config, &lives, out),
            RingMessage::Vote { ring, epoch, step } => self.on_vote(now, from, ring, epoch, step, out),
        }
        self.consider(now, out);
    }

    /// Time has passed; a call too early does nothing.
    pub fn on_timer(&mut self, now: Mono, out: &mut Vec<RingEffect>) {
        self.seek_on(now, out);
        if self.is_member() && self.gossip_at <= now {
            self.gossip_at = now.after(self.jitter(GOSSIP_PERIOD));
            self.note_absent(now);
            self.gossip(out);
            self.forget_old_joins(now);
        }
        self.announce_on(now, out);
        self.recover_on(now, out);
        self.propose_on(now, out);
        self.consider(now, out);
    }

    /// When [`RingKeeper::on_timer`] is due.
    pub fn next_deadline(&self) -> Option<Mono> {
        let seek = self.seek.as_ref().map(|seek| seek.tick_at);
        let gossip = self.is_member().then_some(self.gossip_at);
        let ring = self.ring.as_ref().and_then(Ring::next_deadline);
        [seek, gossip, ring].into_iter().flatten().min()
    }

    /// This node holds everything it owns in the next placement of the config of this epoch. When all members of that
    /// placement do, the move in progress is completed.
    pub fn on_synced(&mut self, now: Mono, epoch: Epoch, out: &mut Vec<RingEffect>) {
        let Some(ring) = &mut self.ring else { return };
        if ring.config.epoch == epoch && ring.config.member_named(&self.own.name).is_some() {
            ring.synced.insert(self.own.name.clone());
            self.tell_collectors(out);
            self.consider(now, out);
        }
    }

    /// Asks for this node's own removal: its share goes to the others, then it is out.
    pub fn leave(&mut self, now: Mono, out: &mut Vec<RingEffect>) {
        self.leaving = true;
        self.seek = None;
        let alone = self.ring.as_ref().is_none_or(|ring| ring.config.members.len() == 1);
        if alone {
            out.push(RingEffect::Warn("there is nobody else in the ring to leave the data to".to_owned()));
        }
        self.consider(now, out);
    }

    /// Asks for the removal of a member that failed.
    pub fn remove(&mut self, now: Mono, name: NodeName, out: &mut Vec<RingEffect>) {
        if let Some(ring) = &mut self.ring
            && ring.removals.len() < NAMES_MAX
        {
            ring.removals.insert(name);
        }
        self.consider(now, out);
    }

    /// Whether this node has a place in the ring it knows.
    fn is_member(&self) -> bool {
        self.own_member().is_some()
    }

    fn own_member(&self) -> Option<&RingMember> {
        self.ring.as_ref()?.config.member_named(&self.own.name)
    }

    /// Half to one and a half times `period`, so that nodes do not act in step.
    fn jitter(&mut self, period: Duration) -> Duration {
        let micros = u64::try_from(period.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(micros / 2 + self.random.next_u64() % micros)
    }

    /// Up to `count` different names, chosen at random.
    fn pick(&mut self, mut names: Vec<NodeName>, count: usize) -> Vec<NodeName> {
        let count = count.min(names.len());
        for place in 0..count {
            let other = place + self.random.next_u64() as usize % (names.len() - place);
            names.swap(place, other);
        }
        names.truncate(count);
        names
    }

    fn is_alive(&self, name: &NodeName) -> bool {
        self.visible.get(name).is_some_and(|seen| seen.alive)
    }

    fn alive(&self) -> impl Iterator<Item = &NodeName> {
        self.visible.iter().filter(|(_, seen)| seen.alive).map(|(name, _)| name)
    }
}

/// A message to one node.
fn send(to: &NodeName, message: RingMessage) -> RingEffect {
    RingEffect::Send { to: to.clone(), message }
}
