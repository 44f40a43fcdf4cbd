//! This node's own departure: it was told to stop, or to leave the ring for good.
//!
//! It asks the other homes what they hold, leaves the ring where nobody else holds it, and says when the process may end.
//! What that takes is decided in `cluster::departure`. Other homes are asked by a survey of no entries: whether they may answer
//! as a complete home is all that is wanted, and every release knows the question. Must not end anything: the server does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use memring_protocol::key::Partition;
use memring_protocol::message::{List, Refusal, Request, Survey, SurveyReply, SurveyRequest, Surveyed};
use memring_protocol::ring::{Epoch, Standing};
use memring_protocol::version::{Slot, Stamp};

use super::super::effect::Effect;
use super::super::topology::{Layout, Topology};
use super::super::view::DrainState;
use super::{Asked, Control};
use crate::cluster::departure::{Claim, OtherCopies};
use crate::cluster::quorum::Slots;
use crate::now::{Mono, Now};

/// How often the others are told that this node is to stop: packets get lost.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// How long a node that has left the ring goes on answering: others may not have heard yet where its keys are now, and learn
/// it from its refusals.
const LINGER: Duration = Duration::from_millis(300);

/// A departure under way.
#[derive(Debug, Default)]
pub(super) struct Departing {
    /// When it stops whatever is not safe yet; `None`: it leaves the ring, and goes on until it is stopped.
    give_up_at: Option<Mono>,
    copies: OtherCopies,
    say_at: Mono,
    /// It has asked to leave the ring.
    is_leaving: bool,
    /// Since when it is no member.
    out_since: Option<Mono>,
    total: usize,
    left: usize,
    may_stop: bool,
}

impl Control {
    /// The process was told to stop: it may once [`super::super::Shared::may_stop`] says so, after `wait` at the latest. Until
    /// then it serves as ever. Where it is the only home of what it holds, it leaves the ring meanwhile, to join it again at
    /// its next start.
    pub fn depart(&mut self, now: Now, wait: Duration, effects: &mut Vec<Effect>) {
        self.departing.get_or_insert_default().give_up_at = Some(now.mono.after(wait));
        self.go_on_departing(now, effects);
        self.settle(now, effects);
    }

    /// Leaves the ring: the others take over this node's share, then it is no member any more. It forwards clients from then
    /// on, until it is stopped. The last member of a ring stays.
    pub fn drain(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.departing.get_or_insert_default().is_leaving = true;
        let mut out = Vec::new();
        self.keeper.leave(now.mono, &mut out);
        self.take_ring(now, out, effects);
        self.go_on_departing(now, effects);
        self.settle(now, effects);
    }

    /// At each tick.
    pub(super) fn go_on_departing(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(mut departing) = self.departing.take() else { return };
        self.weigh_departure(now, &mut departing, effects);
        let state = match (departing.is_leaving, departing.out_since) {
            (false, _) => DrainState::None,
            (true, None) => DrainState::Draining,
            (true, Some(_)) => DrainState::Drained,
        };
        self.shared.note_departure(state, (departing.left, departing.total), departing.may_stop);
        self.departing = Some(departing);
    }

    fn weigh_departure(&mut self, now: Now, departing: &mut Departing, effects: &mut Vec<Effect>) {
        if departing.give_up_at.is_some() && departing.say_at <= now.mono {
            departing.say_at = now.mono.after(SAY_EVERY);
            let mut out = Vec::new();
            self.membership.say_stopping(&mut out);
            self.take_membership(out, effects);
        }
        let topology = Arc::clone(&self.shared.topology());
        let (Some(layout), Some(me)) = (topology.layout(), topology.me()) else {
            let since = *departing.out_since.get_or_insert(now.mono);
            departing.left = 0;
            departing.may_stop = !departing.is_leaving || now.mono.since(since) >= LINGER;
            return;
        };
        departing.out_since = None;
        let staying = self.staying(&topology, layout, me);
        let lends = departing.is_leaving || (layout.replicas() == 1 && !staying.is_empty());
        let moves_itself = layout.config.member(me).is_some_and(|member| member.standing != Standing::Active);
        if lends && !departing.is_leaving && (moves_itself || !layout.config.is_in_transition()) {
            departing.is_leaving = true;
            tracing::info!("lending what only this node holds to the others until it is back");
            let mut out = Vec::new();
            self.keeper.leave(now.mono, &mut out);
            self.take_ring(now, out, effects);
        }
        let claims = self.claims(layout, me, lends, &staying);
        departing.copies.go_by(layout.config.epoch);
        for slot in &staying {
            let holds_all = layout.config.member(*slot).is_some_and(|member| {
                let heard = self.shared.heard.get(member.name.as_str());
                heard.is_some_and(|heard| heard.synced_permille == 1000 && heard.epoch == layout.config.epoch)
            });
            departing.copies.note_all(*slot, holds_all);
        }
        (departing.total, departing.left) = (claims.len(), departing.copies.unmet(&claims));
        let is_late = departing.give_up_at.is_some_and(|at| at <= now.mono);
        if is_late && !departing.may_stop {
            let Departing { left, total, .. } = departing;
            tracing::warn!("{left} of {total} partitions are not safe elsewhere: stopping all the same");
        }
        // What was to be lent is out of this node's hands once it is no member; nobody takes it where all others go too.
        let is_safe = if lends { staying.is_empty() } else { departing.left == 0 };
        departing.may_stop = departing.give_up_at.is_some() && (is_late || is_safe);
        self.ask_for_copies(now, departing, &topology, &claims, effects);
    }

    /// The other members that are there, and stay.
    fn staying(&self, topology: &Topology, layout: &Layout, me: Slot) -> BTreeSet<Slot> {
        let stopping: BTreeSet<_> =
            self.membership.members().filter(|member| member.is_stopping).map(|member| member.id.name).collect();
        let others = layout.config.members.iter().filter(|member| {
            member.slot != me && member.standing != Standing::Leaving && !stopping.contains(&member.name)
        });
        others.map(|member| member.slot).filter(|slot| topology.is_up(*slot)).collect()
    }

    /// What this node holds, and who is to hold it when it goes.
    fn claims(&self, layout: &Layout, me: Slot, lends: bool, staying: &BTreeSet<Slot>) -> Vec<Claim> {
        let claim = |partition: Partition| {
            let homes = layout.homes(partition);
            if !homes.contains(&me) {
                return None;
            }
            if !lends {
                let others: Slots = homes.iter().copied().filter(|slot| staying.contains(slot)).collect();
                let is_held = self.shared.standings.is_synced(partition);
                return is_held.then(|| Claim::of_stop(partition, homes.len(), others));
            }
            match layout.next_homes(partition) {
                Some(next) => {
                    let heirs = next.iter().copied().filter(|slot| !homes.contains(slot)).collect();
                    Some(Claim::of_leave(partition, heirs))
                }
                // The move has not begun, or is another's.
                None => Some(Claim { partition, others: Slots::new(), needed: 1 }),
            }
        };
        Partition::all().filter_map(claim).collect()
    }

    fn ask_for_copies(
        &mut self,
        now: Now,
        departing: &mut Departing,
        topology: &Topology,
        claims: &[Claim],
        effects: &mut Vec<Effect>,
    ) {
        let Some(me) = topology.me() else { return };
        for (slot, partitions) in departing.copies.questions(now.mono, claims) {
            let Some(peer) = topology.peer(slot).filter(|_| self.shared.is_usable(topology, slot)) else {
                departing.copies.on_lost(now.mono, slot);
                continue;
            };
            let (epoch, latest) = (topology.epoch(), self.shared.clock.latest());
            let what = Survey::Lists(partitions.iter().map(|partition| list_of_nothing(*partition)).collect());
            let request = SurveyRequest { epoch, sender: me, latest, what };
            self.copies_asked.insert(slot, (epoch, partitions));
            self.call(now, peer.address, Asked::Copies(slot), Request::Survey(request), effects);
        }
    }

    /// A home's answer; `None` if it is lost, or no answer to such a question.
    pub(super) fn on_copies(&mut self, now: Now, from: Slot, reply: Option<SurveyReply>, effects: &mut Vec<Effect>) {
        let Some((epoch, partitions)) = self.copies_asked.remove(&from) else { return };
        let Some(departing) = &mut self.departing else { return };
        let Some(SurveyReply { latest, found: Surveyed::Lists(found) }) = reply else {
            return departing.copies.on_lost(now.mono, from);
        };
        self.shared.clock.observe(latest);
        // One that is busy would answer.
        let holds = |said: &Result<_, Refusal>| matches!(said, Ok(_) | Err(Refusal::Busy));
        let answers: Vec<(Partition, bool)> = partitions.into_iter().zip(found.iter().map(holds)).collect();
        departing.copies.on_answer(now.mono, epoch, from, &answers);
        self.go_on_departing(now, effects);
    }
}

/// A list that says nothing and asks for nothing.
fn list_of_nothing(partition: Partition) -> List {
    let (agreed, evicted, upto) = (Stamp::ZERO, Stamp::ZERO, Stamp::ZERO);
    List { partition, buckets: 0, first: 0, last: 0, agreed, evicted, upto, all: false, entries: Vec::new() }
}

/// What a home was asked about its copies, and in which ring config.
pub(super) type CopiesAsked = std::collections::BTreeMap<Slot, (Epoch, Vec<Partition>)>;
