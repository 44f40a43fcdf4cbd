//! What this node believes of every other member: a mirror of foca's list, with what foca has no place for: who reported
//! whom, and who said goodbye.
//!
//! Bounded by the number of members foca holds, which `Membership` bounds. Must not know foca, packets or timers.

use std::collections::BTreeMap;

use memring_protocol::gossip::{NodeId, Rumour};
use memring_protocol::ring::NodeName;

use super::{MemberState, MemberView};
use crate::now::Mono;

/// Reporters remembered for one suspect. Two decide; the rest covers reporters that fail meanwhile.
const REPORTERS_MAX: usize = 16;

/// What foca says of a member.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Liveness {
    Alive,
    Suspect,
    Down,
}

#[derive(Debug)]
struct Known {
    id: NodeId,
    incarnation: u16,
    liveness: Liveness,
    /// When it came to be down.
    down_since: Mono,
    /// The state last told of.
    told: MemberState,
    reports: Reports,
    /// The life it ended by its own will.
    farewell: Option<u64>,
    /// The life that was told to stop, by its own word.
    stopping: Option<u64>,
}

/// Who probed a member in vain, in one incarnation.
#[derive(Debug, Default)]
struct Reports {
    generation: u64,
    incarnation: u16,
    by: Vec<NodeName>,
}

impl Known {
    fn state(&self) -> MemberState {
        match self.liveness {
            Liveness::Alive => MemberState::Alive,
            Liveness::Suspect => MemberState::Suspect,
            Liveness::Down if self.farewell == Some(self.id.generation) => MemberState::Restarting,
            Liveness::Down => MemberState::Failed,
        }
    }

    fn has_reports_on_now(&self) -> bool {
        !self.reports.by.is_empty()
            && (self.reports.generation, self.reports.incarnation) == (self.id.generation, self.incarnation)
    }
}

/// Everyone known but this node.
#[derive(Debug)]
pub(super) struct Roster {
    me: NodeName,
    members: BTreeMap<NodeName, Known>,
}

impl Roster {
    pub(super) fn new(me: NodeName) -> Self {
        Self { me, members: BTreeMap::new() }
    }

    /// Takes over what foca says of one member; the change, if that is one.
    pub(super) fn update(
        &mut self,
        now: Mono,
        id: &NodeId,
        incarnation: u16,
        liveness: Liveness,
    ) -> Option<(NodeId, MemberState)> {
        let mut is_new = false;
        let known = self.members.entry(id.name.clone()).or_insert_with(|| {
            is_new = true;
            Known {
                id: id.clone(),
                incarnation,
                liveness,
                down_since: now,
                told: MemberState::Alive,
                reports: Reports::default(),
                farewell: None,
                stopping: None,
            }
        });
        if known.liveness != liveness && liveness == Liveness::Down {
            known.down_since = now;
        }
        known.incarnation = incarnation;
        known.liveness = liveness;
        let is_new_life = known.id != *id;
        if is_new_life {
            known.id = id.clone();
        }
        let state = known.state();
        if !is_new && !is_new_life && known.told == state {
            return None;
        }
        known.told = state;
        Some((id.clone(), state))
    }

    /// Takes in a rumour that arrived, or that is this node's own; whether it is worth telling others.
    pub(super) fn hear(&mut self, rumour: &Rumour, is_own: bool) -> bool {
        match rumour {
            Rumour::Report { subject, generation, incarnation, reporter } => {
                (is_own || self.is_active(reporter))
                    && self.hear_report(subject, *generation, *incarnation, reporter, is_own)
            }
            // Its own farewell a node has only to tell.
            Rumour::BackSoon { subject, generation } => is_own || self.hear_farewell(subject, *generation),
        }
    }

    fn hear_report(
        &mut self,
        subject: &NodeName,
        generation: u64,
        incarnation: u16,
        reporter: &NodeName,
        is_own: bool,
    ) -> bool {
        let Some(known) = self.members.get_mut(subject) else {
            return false;
        };
        if known.liveness == Liveness::Down || generation != known.id.generation || incarnation < known.incarnation {
            return false;
        }
        if (generation, incarnation) != (known.reports.generation, known.reports.incarnation) {
            // A report may be ahead of what foca knows of the incarnation, but a claim must not push out what counts now.
            let is_ahead = incarnation > known.incarnation;
            let is_older_claim = generation == known.reports.generation && incarnation < known.reports.incarnation;
            if is_ahead && (known.has_reports_on_now() || is_older_claim) {
                return false;
            }
            known.reports = Reports { generation, incarnation, by: Vec::new() };
        }
        if known.reports.by.contains(reporter) {
            // Its own report a node repeats, as long as its probes fail: a packet may have been lost.
            return is_own;
        }
        let has_room = known.reports.by.len() < REPORTERS_MAX;
        if has_room {
            known.reports.by.push(reporter.clone());
        }
        has_room || is_own
    }

    fn hear_farewell(&mut self, subject: &NodeName, generation: u64) -> bool {
        match self.members.get_mut(subject) {
            Some(known) if known.id.generation == generation && known.farewell != Some(generation) => {
                known.farewell = Some(generation);
                true
            }
            _ => false,
        }
    }

    /// A member says that it was told to stop; the change, if that is news.
    pub(super) fn note_stopping(&mut self, id: &NodeId) -> Option<(NodeId, MemberState)> {
        let known = self.members.get_mut(&id.name).filter(|known| known.id.generation == id.generation)?;
        let is_news = known.stopping.replace(id.generation) != Some(id.generation);
        is_news.then(|| (known.id.clone(), known.state()))
    }

    /// Whether enough members report this incarnation of a suspect: `wanted`, or all that could if those are fewer.
    pub(super) fn is_confirmed(&self, suspect: &NodeId, incarnation: u16, wanted: usize) -> bool {
        let Some(known) = self.members.get(&suspect.name) else {
            return false;
        };
        let others = self.members.values().filter(|other| other.liveness != Liveness::Down && other.id != *suspect);
        let needed = wanted.min(1 + others.count());
        let reports = &known.reports;
        let counts = (reports.generation, reports.incarnation) == (suspect.generation, incarnation);
        // This node is one of them: it asks because its own probe failed.
        let by_others = reports.by.iter().filter(|name| **name != self.me && self.is_active(name)).count();
        1 + if counts { by_others } else { 0 } >= needed
    }

    /// Whether this very life is suspected in this very incarnation.
    pub(super) fn is_suspect(&self, id: &NodeId, incarnation: u16) -> bool {
        self.members.get(&id.name).is_some_and(|known| {
            known.liveness == Liveness::Suspect && known.id == *id && known.incarnation == incarnation
        })
    }

    /// The life known by this name.
    pub(super) fn id_of(&self, name: &NodeName) -> Option<&NodeId> {
        self.members.get(name).map(|known| &known.id)
    }

    /// Whether the member is alive or merely suspected.
    pub(super) fn is_active(&self, name: &NodeName) -> bool {
        self.members.get(name).is_some_and(|known| known.liveness != Liveness::Down)
    }

    /// Forgets a member.
    pub(super) fn remove(&mut self, name: &NodeName) {
        self.members.remove(name);
    }

    /// Everyone, in the order of names.
    pub(super) fn views(&self) -> Vec<MemberView> {
        let view = |known: &Known| MemberView {
            id: known.id.clone(),
            state: known.state(),
            is_stopping: known.stopping == Some(known.id.generation),
        };
        self.members.values().map(view).collect()
    }

    /// Those who are down, and since when.
    pub(super) fn down(&self) -> impl Iterator<Item = (&NodeId, Mono)> {
        let down = self.members.values().filter(|known| known.liveness == Liveness::Down);
        down.map(|known| (&known.id, known.down_since))
    }

    /// Those who are not down.
    pub(super) fn active(&self) -> impl Iterator<Item = &NodeId> {
        self.members.values().filter(|known| known.liveness != Liveness::Down).map(|known| &known.id)
    }
}
