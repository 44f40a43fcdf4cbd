//! What a node knows of its ring, and how configs spread: a decided config is sent to all and again to those who do
//! not show it; members tell a few others where they stand; whoever is behind is sent the newer config.
//!
//! Must not know how a config is decided: that is `agreement`. Rings with different ids never merge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use memring_protocol::level::majority;
use memring_protocol::ring::{Epoch, LABEL_BYTES_MAX, NodeName, RingConfig, RingId, Standing};
use memring_protocol::ring_message::{Lives, RingMessage};
use memring_protocol::version::Slot;

use super::acceptor::{Acceptor, Franchise, Recovery};
use super::agreement::JoinWish;
use super::bootstrap::Seek;
use super::proposal::Proposal;
use super::{GOSSIP_FANOUT, NAMES_MAX, RingEffect, RingKeeper, change, send};
use crate::now::Mono;

/// How long to wait before a new config is sent again to those who have not shown it.
const ANNOUNCE_PERIOD: Duration = Duration::from_millis(250);

/// How often it is sent again: then gossip has to reach who was away.
const ANNOUNCE_TRIES: u32 = 20;

/// The longest time between two looks at who is there, that of gossip with room: after a longer one this node was stopped.
pub(super) const WATCH_GAP_MAX: Duration = Duration::from_secs(5);

/// The members, besides the one that moves, who collect the word that everyone is synced: two, so that one may fail.
const COLLECTORS: usize = 2;

/// What a node knows of its ring.
pub(super) struct Ring {
    pub(super) config: Arc<RingConfig>,
    /// Slots that the config before had and this one has not.
    pub(super) freed: Vec<Slot>,
    /// The latest life known of each member that spoke of its life.
    pub(super) lives: BTreeMap<NodeName, u64>,
    pub(super) acceptor: Acceptor,
    pub(super) franchise: Franchise,
    /// When to ask again for what was forgotten.
    pub(super) recover_at: Option<Mono>,
    pub(super) proposal: Option<Proposal>,
    /// When to propose, if there is something to propose.
    pub(super) propose_at: Option<Mono>,
    /// Attempts in a row that came to nothing.
    pub(super) attempts: u32,
    /// The highest round heard of.
    pub(super) round: u64,
    pub(super) joins: BTreeMap<NodeName, JoinWish>,
    pub(super) removals: BTreeSet<NodeName>,
    /// Members that hold all they own in the next placement of this config.
    pub(super) synced: BTreeSet<NodeName>,
    /// Members that gossip does not hold for alive, and since when.
    pub(super) absent: BTreeMap<NodeName, Mono>,
    announcement: Option<Announcement>,
}

/// A config on its way to those who have not shown it.
struct Announcement {
    message: RingMessage,
    waiting: BTreeSet<NodeName>,
    tries: u32,
    again_at: Mono,
}

impl Ring {
    pub(super) fn new(config: Arc<RingConfig>) -> Self {
        Self {
            config,
            freed: Vec::new(),
            lives: BTreeMap::new(),
            acceptor: Acceptor::default(),
            franchise: Franchise::None,
            recover_at: None,
            proposal: None,
            propose_at: None,
            attempts: 0,
            round: 0,
            joins: BTreeMap::new(),
            removals: BTreeSet::new(),
            synced: BTreeSet::new(),
            absent: BTreeMap::new(),
            announcement: None,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let proposal = self.proposal.as_ref().map(|proposal| proposal.resend_at.min(proposal.give_up_at));
        let announcement = self.announcement.as_ref().map(|announcement| announcement.again_at);
        [proposal, announcement, self.propose_at, self.recover_at].into_iter().flatten().min()
    }

    /// The lives known, by slot.
    pub(super) fn lives_by_slot(&self) -> Lives {
        let slot = |(name, life): (&NodeName, &u64)| Some((self.config.member_named(name)?.slot, *life));
        self.lives.iter().filter_map(slot).collect()
    }

    /// Everyone who decides the next config.
    pub(super) fn voters(&self) -> Vec<NodeName> {
        self.config.voters().map(|member| member.name.clone()).collect()
    }
}

impl RingKeeper {
    /// Only members answer: a node that left long ago would lead others to a ring that may be gone.
    pub(super) fn on_query(&mut self, from: &NodeName, cluster: &str, out: &mut Vec<RingEffect>) {
        let Some(ring) = self.ring.as_ref().filter(|_| self.is_member()) else { return };
        let message = if cluster == ring.config.cluster {
            RingMessage::Config((*ring.config).clone())
        } else {
            RingMessage::OtherCluster { cluster: ring.config.cluster.clone() }
        };
        out.push(send(from, message));
    }

    pub(super) fn on_config(&mut self, now: Mono, from: &NodeName, config: RingConfig, out: &mut Vec<RingEffect>) {
        if config.check().is_err() {
            return;
        }
        if config.cluster != self.own.cluster {
            return self.on_other_cluster(from, &config.cluster, out);
        }
        match &self.ring {
            Some(ring) if ring.config.ring_id == config.ring_id => {
                if config.epoch < ring.config.epoch {
                    return self.send_config(from, out);
                }
                if config.epoch > ring.config.epoch {
                    self.adopt(now, config, out);
                }
                self.confirm(from, out);
            }
            Some(_) if !self.gives_way() => self.report_rival(from, config.ring_id, out),
            _ => {
                self.ring = None;
                self.adopt(now, config, out);
                self.confirm(from, out);
            }
        }
    }

    pub(super) fn on_here(
        &mut self,
        from: &NodeName,
        ring_id: RingId,
        epoch: Epoch,
        synced: bool,
        out: &mut Vec<RingEffect>,
    ) {
        if !self.is_at(from, ring_id, epoch, out) {
            return;
        }
        let Some(ring) = &mut self.ring else { return };
        if let Some(announcement) = &mut ring.announcement {
            announcement.waiting.remove(from);
        }
        if !synced {
            ring.synced.remove(from);
        } else if ring.config.member_named(from).is_some() {
            ring.synced.insert(from.clone());
        }
    }

    /// Whether a message about this config of this ring concerns the config this node has. If not, whoever is behind
    /// is helped.
    pub(super) fn is_at(&mut self, from: &NodeName, ring_id: RingId, epoch: Epoch, out: &mut Vec<RingEffect>) -> bool {
        let Some(ring) = &self.ring else {
            out.push(self.query(from));
            return false;
        };
        let own = ring.config.epoch;
        if ring.config.ring_id != ring_id {
            if self.gives_way() {
                out.push(self.query(from));
            } else {
                self.report_rival(from, ring_id, out);
            }
            return false;
        }
        if epoch < own {
            self.send_config(from, out);
        } else if epoch > own {
            out.push(self.query(from));
        }
        epoch == own
    }

    /// Takes over a config of the same ring with a higher epoch, or the first config of a ring.
    pub(super) fn adopt(&mut self, now: Mono, config: RingConfig, out: &mut Vec<RingEffect>) {
        let config = Arc::new(config);
        let old = self.ring.take();
        if old.is_none() {
            self.warn_of_differences(&config, out);
        }
        let mut ring = Ring::new(Arc::clone(&config));
        let was_voting_for_good = match old {
            None => false,
            Some(old) => {
                let gone = |slot: &Slot| config.member(*slot).is_none();
                ring.freed = old.config.members.iter().map(|member| member.slot).filter(gone).collect();
                let stays = |name: &NodeName| config.member_named(name).is_some();
                ring.lives = old.lives.into_iter().filter(|(name, _)| stays(name)).collect();
                ring.joins = old.joins.into_iter().filter(|(name, _)| !stays(name)).collect();
                ring.removals = old.removals.into_iter().filter(stays).collect();
                ring.absent = old.absent;
                old.franchise == Franchise::Voting { for_good: true }
            }
        };
        let standing = config.member_named(&self.own.name).map(|member| &member.standing);
        if standing.is_some() {
            ring.lives.insert(self.own.name.clone(), self.life);
        }
        ring.franchise = match standing {
            None | Some(Standing::Joining) => Franchise::None,
            Some(_) if was_voting_for_good => Franchise::Voting { for_good: true },
            Some(_) => {
                ring.recover_at = Some(now);
                Franchise::Recovering(Recovery::default())
            }
        };
        self.ring = Some(ring);
        self.seek = match (standing, self.leaving) {
            (None, false) => self.seek.take().or_else(|| Some(Seek::new(now, now))).map(Seek::heard_of_a_ring),
            _ => None,
        };
        self.note_absent(now);
        out.push(RingEffect::Adopted(config));
    }

    /// Sends a config this node made or decided to everyone it concerns, and again to those who do not show it.
    pub(super) fn announce(&mut self, now: Mono, message: RingMessage, out: &mut Vec<RingEffect>) {
        let waiting: BTreeSet<NodeName> = self.visible.keys().cloned().chain(self.other_members()).collect();
        out.extend(waiting.iter().map(|name| send(name, message.clone())));
        let members: BTreeSet<NodeName> = self.other_members().collect();
        if let Some(ring) = &mut self.ring {
            let again_at = now.after(ANNOUNCE_PERIOD);
            ring.announcement = Some(Announcement { message, waiting: members, tries: ANNOUNCE_TRIES, again_at });
        }
    }

    pub(super) fn announce_on(&mut self, now: Mono, out: &mut Vec<RingEffect>) {
        let Some(ring) = &mut self.ring else { return };
        let Some(announcement) = ring.announcement.as_mut().filter(|announcement| announcement.again_at <= now) else {
            return;
        };
        if announcement.tries == 0 || announcement.waiting.is_empty() {
            ring.announcement = None;
            return;
        }
        announcement.tries -= 1;
        announcement.again_at = now.after(ANNOUNCE_PERIOD);
        out.extend(announcement.waiting.iter().map(|name| send(name, announcement.message.clone())));
    }

    /// Tells a few others where this node stands; strangers too, so that two rings learn of each other.
    pub(super) fn gossip(&mut self, out: &mut Vec<RingEffect>) {
        let others = self.alive().cloned().collect();
        for name in self.pick(others, GOSSIP_FANOUT) {
            self.confirm(&name, out);
        }
        self.tell_collectors(out);
    }

    /// While a member moves and this node is synced, it says so to those who watch for it.
    pub(super) fn tell_collectors(&self, out: &mut Vec<RingEffect>) {
        let Some(ring) = &self.ring else { return };
        if ring.config.is_in_transition() && ring.synced.contains(&self.own.name) {
            let others = self.collectors().into_iter().filter(|name| *name != self.own.name);
            others.for_each(|name| self.confirm(&name, out));
        }
    }

    /// The member that moves, and the first of the others that are alive.
    pub(super) fn collectors(&self) -> Vec<NodeName> {
        let Some(ring) = &self.ring else { return Vec::new() };
        let mover = change::mover(&ring.config).map(|member| member.name.clone());
        let is_here = |name: &NodeName| *name == self.own.name || self.is_alive(name);
        let others = ring.voters().into_iter().filter(|name| Some(name) != mover.as_ref() && is_here(name));
        others.take(COLLECTORS).chain(mover.clone()).collect()
    }

    /// Says where this node stands.
    pub(super) fn confirm(&self, to: &NodeName, out: &mut Vec<RingEffect>) {
        if let Some(ring) = &self.ring {
            let synced = ring.synced.contains(&self.own.name);
            let (ring, epoch) = (ring.config.ring_id, ring.config.epoch);
            out.push(send(to, RingMessage::Here { ring, epoch, synced }));
        }
    }

    pub(super) fn send_config(&self, to: &NodeName, out: &mut Vec<RingEffect>) {
        if let Some(ring) = &self.ring {
            out.push(send(to, RingMessage::Config((*ring.config).clone())));
        }
    }

    pub(super) fn query(&self, to: &NodeName) -> RingEffect {
        send(to, RingMessage::Query { cluster: self.own.cluster.clone() })
    }

    /// Notes since when members have not been alive, and since when this node can tell.
    pub(super) fn note_absent(&mut self, now: Mono) {
        let Some(ring) = &mut self.ring else { return };
        let is_here = |name: &NodeName| *name == self.own.name || self.visible.get(name).is_some_and(|seen| seen.alive);
        let here = ring.config.members.iter().filter(|member| is_here(&member.name)).count();
        if here < majority(ring.config.members.len()) || now.since(self.watched_at) > WATCH_GAP_MAX {
            self.watching_since = now;
        }
        self.watched_at = now;
        let before = std::mem::take(&mut ring.absent);
        for member in ring.config.members.iter().filter(|member| !is_here(&member.name)) {
            let since = before.get(&member.name).copied().unwrap_or(now);
            ring.absent.insert(member.name.clone(), since);
        }
    }

    fn other_members(&self) -> impl Iterator<Item = NodeName> {
        let members = self.ring.iter().flat_map(|ring| &ring.config.members);
        members.map(|member| member.name.clone()).filter(|name| *name != self.own.name)
    }

    /// Whether this node's ring yields to another one that it hears of: if it is not in it and nobody who is can be
    /// seen, or if it is alone in it and was started to give it up.
    fn gives_way(&self) -> bool {
        let Some(ring) = &self.ring else { return true };
        if self.is_member() {
            return self.own.rejoin_empty && ring.config.members.len() == 1;
        }
        !ring.config.members.iter().any(|member| self.is_alive(&member.name))
    }

    fn report_rival(&mut self, from: &NodeName, theirs: RingId, out: &mut Vec<RingEffect>) {
        let Some(ring) = self.ring.as_ref().filter(|_| self.is_member()) else { return };
        if self.rivals.len() < NAMES_MAX && self.rivals.insert(from.clone()) {
            let ours = ring.config.ring_id;
            out.push(RingEffect::Fatal(format!(
                "{from} is in ring {theirs}, this node in ring {ours}, and rings never merge: restart the nodes of one \
                 of them with --rejoin-empty"
            )));
        }
    }

    pub(super) fn on_other_cluster(&mut self, from: &NodeName, cluster: &str, out: &mut Vec<RingEffect>) {
        if let Some(seek) = &mut self.seek {
            seek.note_stranger(from);
        }
        if self.rivals.len() < NAMES_MAX && self.rivals.insert(from.clone()) {
            let theirs: String = cluster.chars().take(LABEL_BYTES_MAX).collect();
            let ours = &self.own.cluster;
            out.push(RingEffect::Fatal(format!("{from} is of cluster {theirs:?}, this node of {ours:?}")));
        }
    }

    fn warn_of_differences(&self, config: &RingConfig, out: &mut Vec<RingEffect>) {
        let differences = [
            ("replicas", u64::from(self.own.replicas), u64::from(config.replicas)),
            ("vnodes", u64::from(self.own.vnodes), u64::from(config.vnodes)),
        ];
        for (what, own, ring) in differences.into_iter().filter(|(_, own, ring)| own != ring) {
            out.push(RingEffect::Warn(format!("{what} {own} is ignored: the ring has {ring}")));
        }
    }
}
