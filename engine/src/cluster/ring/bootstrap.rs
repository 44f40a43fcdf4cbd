//! A node without a place in a ring: it asks who has one, founds one with the consent of all other joiners it sees, or
//! asks a member to let it in.
//!
//! Must not know how members agree. Founding is not a vote: nobody can know how many nodes there will be. So it asks
//! everyone who can be seen, only the smallest name does it, and who has consented stays true for longer than the
//! founder may still count on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use memring_protocol::ring::{Epoch, NodeName, RingConfig, RingId, RingMember, Share, Standing};
use memring_protocol::ring_message::{Lives, RingMessage};
use memring_protocol::version::{SLOTS_MAX, Slot};
use rand::Rng;

use super::acceptor::Franchise;
use super::{NAMES_MAX, RingEffect, RingKeeper, send};
use crate::now::Mono;

/// How often a node without a place asks.
const SEEK_PERIOD: Duration = Duration::from_millis(300);

/// How many nodes it asks at a time.
const QUERY_FANOUT: usize = 4;

/// How long without hearing of a ring until the smallest name founds, however few can be seen; and until a ring none of
/// whose members can be seen is given up.
const RING_SILENCE: Duration = Duration::from_secs(10);

/// A tick that is so late says that this process did not run: it heard of no ring, whether or not there is one.
const ASLEEP_FROM: Duration = Duration::from_secs(1);

/// How long one attempt to found may take.
const FOUNDING_TIME: Duration = Duration::from_secs(2);

/// How long a consent binds: the rest of the attempt, and then until the config has certainly come.
const CONSENT_TIME: Duration = Duration::from_secs(6);

/// The state of a node without a place.
pub(super) struct Seek {
    /// When it will act next.
    pub(super) tick_at: Mono,
    /// Its start, or when the last ring it knew went silent.
    quiet_since: Mono,
    /// Whom it consented to, and until when.
    consent: Option<(NodeName, Mono)>,
    founding: Option<Founding>,
    /// Nodes of other clusters.
    strangers: BTreeSet<NodeName>,
}

/// An attempt to found.
struct Founding {
    ring: RingId,
    give_up_at: Mono,
    asked: BTreeSet<NodeName>,
    consenters: BTreeMap<NodeName, Consenter>,
}

/// A joiner that agreed to be founded with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Consenter {
    pub(super) life: u64,
    pub(super) share: Share,
}

impl Seek {
    pub(super) fn new(now: Mono, tick_at: Mono) -> Self {
        Self { tick_at, quiet_since: now, consent: None, founding: None, strangers: BTreeSet::new() }
    }

    /// There is a ring to join: nothing is founded any more.
    pub(super) fn heard_of_a_ring(mut self) -> Self {
        self.founding = None;
        self
    }

    pub(super) fn note_stranger(&mut self, name: &NodeName) {
        if self.strangers.len() < NAMES_MAX {
            self.strangers.insert(name.clone());
        }
    }

    fn is_bound_to_another(&self, founder: &NodeName, now: Mono) -> bool {
        self.consent.as_ref().is_some_and(|(other, until)| other != founder && now < *until)
    }
}

impl RingKeeper {
    /// Asks again, when it is time.
    pub(super) fn seek_on(&mut self, now: Mono, out: &mut Vec<RingEffect>) {
        if self.seek.as_ref().is_none_or(|seek| now < seek.tick_at) {
            return;
        }
        let tick_at = now.after(self.jitter(SEEK_PERIOD));
        if let Some(seek) = &mut self.seek {
            let late = now.since(seek.tick_at);
            if late >= ASLEEP_FROM {
                seek.quiet_since = seek.quiet_since.after(late);
            }
            seek.tick_at = tick_at;
        }
        if self.ring.is_some() {
            return self.ask_to_join(now, out);
        }
        let others = self.fellow_joiners();
        for name in self.pick(others, QUERY_FANOUT) {
            out.push(self.query(&name));
        }
        self.seek_to_found(now, out);
    }

    fn ask_to_join(&mut self, now: Mono, out: &mut Vec<RingEffect>) {
        let Some(ring) = &self.ring else { return };
        let members: Vec<NodeName> = ring.config.members.iter().map(|member| member.name.clone()).collect();
        let here: Vec<NodeName> = members.into_iter().filter(|name| self.is_alive(name)).collect();
        let Some(seek) = &mut self.seek else { return };
        if !here.is_empty() {
            seek.quiet_since = now;
        } else if now.since(seek.quiet_since) >= RING_SILENCE {
            self.ring = None;
            seek.quiet_since = now;
            return;
        }
        let message = RingMessage::Join { cluster: self.own.cluster.clone(), share: self.own.share.clone() };
        out.extend(self.pick(here, 1).iter().map(|member| send(member, message.clone())));
    }

    /// Everyone alive who may be a joiner like this node.
    fn fellow_joiners(&self) -> Vec<NodeName> {
        let is_stranger = |name: &NodeName| self.seek.as_ref().is_some_and(|seek| seek.strangers.contains(name));
        self.alive().filter(|name| !is_stranger(name)).cloned().collect()
    }

    fn seek_to_found(&mut self, now: Mono, out: &mut Vec<RingEffect>) {
        if self.founding_held {
            if let Some(seek) = &mut self.seek {
                seek.founding = None;
            }
            return;
        }
        let others = self.fellow_joiners();
        let new_ring = RingId(self.random.next_u64());
        let Some(seek) = &mut self.seek else { return };
        let is_smallest = others.iter().all(|name| self.own.name < *name);
        if !is_smallest || seek.is_bound_to_another(&self.own.name, now) {
            seek.founding = None;
            return;
        }
        if seek.founding.as_ref().is_some_and(|founding| founding.give_up_at <= now) {
            seek.founding = None;
        }
        if seek.founding.is_none() {
            let enough = self.own.expect.is_some_and(|expected| others.len() + 1 >= expected);
            if !enough && now.since(seek.quiet_since) < RING_SILENCE {
                return;
            }
            let asked = others.into_iter().take(usize::from(SLOTS_MAX) - 1).collect();
            let give_up_at = now.after(FOUNDING_TIME);
            seek.founding = Some(Founding { ring: new_ring, give_up_at, asked, consenters: BTreeMap::new() });
        }
        let Some(founding) = &seek.founding else { return };
        let message = RingMessage::FoundProposal { cluster: self.own.cluster.clone(), ring: founding.ring };
        let silent = founding.asked.iter().filter(|name| !founding.consenters.contains_key(*name));
        out.extend(silent.map(|name| send(name, message.clone())));
        self.found_if_all_consent(now, out);
    }

    pub(super) fn on_found_proposal(
        &mut self,
        now: Mono,
        from: &NodeName,
        cluster: &str,
        ring: RingId,
        out: &mut Vec<RingEffect>,
    ) {
        if cluster != self.own.cluster {
            let cluster = self.own.cluster.clone();
            return out.push(send(from, RingMessage::OtherCluster { cluster }));
        }
        if self.ring.is_some() {
            return self.send_config(from, out);
        }
        let smallest = self.fellow_joiners().into_iter().next();
        let knows_smaller = self.own.name < *from || smallest.is_some_and(|name| name < *from);
        let Some(seek) = &mut self.seek else { return };
        if self.founding_held || knows_smaller || seek.is_bound_to_another(from, now) {
            return;
        }
        seek.founding = None;
        seek.consent = Some((from.clone(), now.after(CONSENT_TIME)));
        let share = self.own.share.clone();
        out.push(send(from, RingMessage::FoundConsent { ring, life: self.life, share }));
    }

    pub(super) fn on_found_consent(
        &mut self,
        now: Mono,
        from: &NodeName,
        ring: RingId,
        consenter: Consenter,
        out: &mut Vec<RingEffect>,
    ) {
        if self.founding_held {
            return;
        }
        let founding = self.seek.as_mut().and_then(|seek| seek.founding.as_mut());
        let Some(founding) = founding.filter(|founding| founding.ring == ring && now < founding.give_up_at) else {
            return;
        };
        if consenter.share.is_legal() && founding.asked.contains(from) {
            // The first answer stands: a later life's may overtake it, but this one is in the config's lives.
            founding.consenters.entry(from.clone()).or_insert(consenter);
            self.found_if_all_consent(now, out);
        }
    }

    fn found_if_all_consent(&mut self, now: Mono, out: &mut Vec<RingEffect>) {
        let founding = self.seek.as_mut().and_then(|seek| seek.founding.as_mut());
        if let Some(founding) = founding.filter(|founding| founding.consenters.len() == founding.asked.len()) {
            let founders = (Some(founding.ring), std::mem::take(&mut founding.consenters));
            self.found_with(now, founders, out);
        }
    }

    /// Makes the first config of a ring: all who consented are in at once, and may vote at once.
    pub(super) fn found_with(
        &mut self,
        now: Mono,
        (ring_id, mut founders): (Option<RingId>, BTreeMap<NodeName, Consenter>),
        out: &mut Vec<RingEffect>,
    ) {
        founders.insert(self.own.name.clone(), Consenter { life: self.life, share: self.own.share.clone() });
        let numbered = (0..SLOTS_MAX).filter_map(Slot::new).zip(&founders);
        let members = numbered.map(|(slot, (name, founder))| RingMember {
            name: name.clone(),
            slot,
            share: founder.share.clone(),
            standing: Standing::Active,
        });
        let config = RingConfig {
            ring_id: ring_id.unwrap_or_else(|| RingId(self.random.next_u64())),
            epoch: Epoch(1),
            cluster: self.own.cluster.clone(),
            replicas: self.own.replicas,
            vnodes: self.own.vnodes,
            members: members.collect(),
        };
        debug_assert_eq!(config.check(), Ok(()));
        let lives: Lives = config.members.iter().map(|member| (member.slot, founders[&member.name].life)).collect();
        self.adopt(now, config.clone(), out);
        self.vote_as_founder(&lives);
        self.announce(now, RingMessage::Founded { config, lives }, out);
    }

    pub(super) fn on_founded(
        &mut self,
        now: Mono,
        from: &NodeName,
        config: RingConfig,
        lives: &Lives,
        out: &mut Vec<RingEffect>,
    ) {
        let founded = (config.ring_id, config.epoch);
        self.on_config(now, from, config, out);
        let is_there = self.ring.as_ref().is_some_and(|ring| (ring.config.ring_id, ring.config.epoch) == founded);
        if is_there && founded.1 == Epoch(1) {
            self.vote_as_founder(lives);
        }
    }

    /// A founder votes at once if it is this life of it that consented: no earlier life can have voted in this ring.
    fn vote_as_founder(&mut self, lives: &Lives) {
        let Some(ring) = &mut self.ring else { return };
        let own_slot = ring.config.member_named(&self.own.name).map(|member| member.slot);
        let consented = lives.iter().any(|(slot, life)| Some(*slot) == own_slot && *life == self.life);
        if consented && matches!(ring.franchise, Franchise::Recovering(_)) {
            ring.franchise = Franchise::Voting { for_good: true };
            ring.recover_at = None;
        }
        self.note_lives(lives);
    }
}
