//! Members agree on the next config: which move is wanted, who proposes it when, and the votes on it.
//!
//! A config's voters decide the next one by single-decree Paxos (Lamport, "Paxos Made Simple", 2001). Must not know how
//! a decided config spreads: that is `standing`.

use std::time::Duration;

use memring_protocol::ring::{Epoch, NodeName, RingConfig, RingId, Share, Standing};
use memring_protocol::ring_message::{Lives, RingBallot, RingMessage, VoteStep};
use memring_protocol::version::SLOTS_MAX;

use super::acceptor::{Acceptor, Franchise};
use super::change::{self, Move};
use super::proposal::Proposal;
use super::standing::{Ring, WATCH_GAP_MAX};
use super::{RingEffect, RingKeeper, send};
use crate::now::Mono;

/// How long to wait for votes before asking again.
pub(super) const RESEND_PERIOD: Duration = Duration::from_millis(250);

/// How long one attempt may take before a higher number is tried.
const ATTEMPT_TIME: Duration = Duration::from_millis(2000);

/// How long a proposer steps back after an attempt that failed; doubled up to [`BACKOFF_DOUBLINGS`] times.
const BACKOFF: Duration = Duration::from_millis(150);
const BACKOFF_DOUBLINGS: u32 = 4;

/// How long a proposer waits when it is the natural one, and when it only stands in.
const PROPOSE_SOON: Duration = Duration::from_millis(20);
const PROPOSE_LATE: Duration = Duration::from_millis(2000);

/// How long a wish to join is kept without being repeated.
const JOIN_WISH_TIME: Duration = Duration::from_secs(3);

/// The most newcomers that wait for their turn at one member; the others ask again.
const JOIN_WISHES_MAX: usize = 64;

/// How long a member that is coming or changing may be away before its move is taken back.
const ABORT_AFTER: Duration = Duration::from_secs(10);

/// How long another member may be away before a move no longer waits for it: its copies are lost for now either way,
/// and a ring that waited could neither complete the move nor begin to remove the member.
const UNSYNCED_AFTER: Duration = Duration::from_secs(30);

/// A newcomer that asked to be let in.
pub(super) struct JoinWish {
    share: Share,
    asked_at: Mono,
}

impl RingKeeper {
    pub(super) fn on_join(
        &mut self,
        now: Mono,
        from: &NodeName,
        cluster: &str,
        share: Share,
        out: &mut Vec<RingEffect>,
    ) {
        if cluster != self.own.cluster {
            let cluster = self.own.cluster.clone();
            return out.push(send(from, RingMessage::OtherCluster { cluster }));
        }
        let is_member = self.is_member();
        let Some(ring) = &mut self.ring else { return };
        if ring.config.member_named(from).is_some() {
            if is_member {
                return self.send_config(from, out);
            }
            if ring.config.members.len() == 1 {
                // Two nodes gave way to each other, each alone in its ring: the last member of the one we know is out.
                self.ring = None;
            }
            return;
        }
        if share.is_legal() && (ring.joins.len() < JOIN_WISHES_MAX || ring.joins.contains_key(from)) {
            ring.joins.insert(from.clone(), JoinWish { share, asked_at: now });
        }
    }

    pub(super) fn forget_old_joins(&mut self, now: Mono) {
        if let Some(ring) = &mut self.ring {
            ring.joins.retain(|_, wish| now.since(wish.asked_at) < JOIN_WISH_TIME);
        }
    }

    /// The move this node would propose now. What is under way comes first: there is one move at a time.
    fn wish(&self, now: Mono) -> Option<Move> {
        let ring = self.ring.as_ref().filter(|_| self.is_member())?;
        if let Some(mover) = change::mover(&ring.config) {
            let is_joiner = mover.standing == Standing::Joining;
            let away = |name: &NodeName, wait| ring.absent.get(name).is_some_and(|since| now.since(*since) >= wait);
            let gives_up = (mover.name == self.own.name && self.leaving)
                || ring.removals.contains(&mover.name)
                || away(&mover.name, ABORT_AFTER);
            if mover.standing != Standing::Leaving && gives_up {
                return Some(Move::Abort);
            }
            let is_done =
                ring.config.members.iter().filter(|member| member.standing != Standing::Leaving).all(|member| {
                    let waits_for_ever = is_joiner && member.name == mover.name;
                    ring.synced.contains(&member.name) || (!waits_for_ever && away(&member.name, UNSYNCED_AFTER))
                });
            return (is_done && self.collectors().contains(&self.own.name)).then_some(Move::Complete);
        }
        if ring.config.members.len() > 1 {
            let removed = ring.removals.iter().find(|name| ring.config.member_named(name).is_some());
            let leaver = removed.or(self.leaving.then_some(&self.own.name)).or_else(|| self.gone_for_good(now));
            if let Some(name) = leaver {
                return Some(Move::Leave(name.clone()));
            }
        }
        if self.own.share.is_legal() && self.own_member().is_some_and(|member| member.share != self.own.share) {
            return Some(Move::Change(self.own.name.clone(), self.own.share.clone()));
        }
        if ring.config.members.len() + ring.freed.len() >= usize::from(SLOTS_MAX) {
            return None;
        }
        let (name, wish) = ring.joins.iter().find(|(_, wish)| now.since(wish.asked_at) < JOIN_WISH_TIME)?;
        Some(Move::Join(name.clone(), wish.share.clone()))
    }

    /// A member that gossip has not held for alive for so long that it is not expected back. Who was cut off from a majority
    /// meanwhile, or stopped, has missed members that were there: it begins anew.
    fn gone_for_good(&self, now: Mono) -> Option<&NodeName> {
        let (ring, wait) = (self.ring.as_ref()?, self.own.remove_after?);
        if now.since(self.watching_since) < wait || now.since(self.watched_at) > WATCH_GAP_MAX {
            return None;
        }
        ring.absent.iter().find(|(_, since)| now.since(**since) >= wait).map(|(name, _)| name)
    }

    /// Sets a time to propose when there is something to propose, and none when there is not. Called after everything
    /// that may change a wish; what only time changes is seen at the next gossip.
    pub(super) fn consider(&mut self, now: Mono, out: &mut Vec<RingEffect>) {
        let wish = self.wish(now);
        let mover = self.ring.as_ref().and_then(|ring| change::mover(&ring.config));
        let stands_in = mover.is_some_and(|mover| mover.name != self.own.name);
        let wait = self.jitter(if stands_in { PROPOSE_LATE } else { PROPOSE_SOON });
        let Some(ring) = &mut self.ring else { return };
        match wish {
            None => ring.propose_at = None,
            Some(_) if ring.proposal.is_none() && ring.propose_at.is_none() => {
                ring.propose_at = Some(now.after(wait));
            }
            Some(_) => {}
        }
        self.advance(now, out);
    }

    /// Begins an attempt, sends again, or gives an attempt up, when it is time.
    pub(super) fn propose_on(&mut self, now: Mono, out: &mut Vec<RingEffect>) {
        let Some(ring) = &mut self.ring else { return };
        if let Some(proposal) = &mut ring.proposal {
            if proposal.give_up_at <= now {
                self.step_back(now);
            } else if proposal.resend_at <= now {
                proposal.resend_at = now.after(RESEND_PERIOD);
                self.send_proposal(out);
            }
        } else if ring.propose_at.is_some_and(|at| at <= now) {
            ring.propose_at = None;
            self.propose(now, out);
        }
    }

    fn propose(&mut self, now: Mono, out: &mut Vec<RingEffect>) {
        let Some(ring) = &mut self.ring else { return };
        let Some(slot) = ring.config.member_named(&self.own.name).map(|member| member.slot.number()) else { return };
        ring.round = ring.round.max(ring.acceptor.promised.round).saturating_add(1);
        let ballot = RingBallot { round: ring.round, slot, life: self.life };
        let mut proposal = Proposal::new(ballot, now.after(RESEND_PERIOD), now.after(ATTEMPT_TIME));
        if let Franchise::Voting { .. } = ring.franchise {
            let Ok(accepted) = ring.acceptor.prepare(ballot) else { return };
            proposal.promise(self.own.name.clone(), self.life, accepted);
        }
        ring.proposal = Some(proposal);
        self.send_proposal(out);
        self.advance(now, out);
    }

    /// Tries again later, the later the more often it failed.
    fn step_back(&mut self, now: Mono) {
        let attempts = self.ring.as_ref().map_or(0, |ring| ring.attempts.min(BACKOFF_DOUBLINGS));
        let wait = self.jitter(BACKOFF * (1 << attempts));
        if let Some(ring) = &mut self.ring {
            ring.proposal = None;
            ring.attempts = ring.attempts.saturating_add(1);
            ring.propose_at = Some(now.after(wait));
        }
    }

    /// Sends the current phase to the voters whose vote is missing.
    fn send_proposal(&self, out: &mut Vec<RingEffect>) {
        let Some((ring, proposal)) = self.ring.as_ref().and_then(|ring| Some((ring, ring.proposal.as_ref()?))) else {
            return;
        };
        let ballot = proposal.ballot;
        let step = match &proposal.value {
            None => VoteStep::Prepare(ballot),
            Some(config) => VoteStep::Accept { ballot, config: config.clone() },
        };
        let missing = ring.voters().into_iter().filter(|name| !proposal.has(name, &ring.lives));
        out.extend(missing.filter(|name| *name != self.own.name).map(|name| vote(ring, &name, step.clone())));
    }

    /// Goes on to phase 2, or to the decided config, when the votes suffice.
    fn advance(&mut self, now: Mono, out: &mut Vec<RingEffect>) {
        let carried = |ring: &Ring| {
            let proposal = ring.proposal.as_ref()?;
            proposal.is_carried(&ring.voters(), &ring.lives).then(|| proposal.clone())
        };
        while let Some(proposal) = self.ring.as_ref().and_then(carried) {
            let Some(decided) = &proposal.value else {
                self.begin_phase_two(now, proposal, out);
                continue;
            };
            self.adopt(now, decided.clone(), out);
            self.announce(now, RingMessage::Config(decided.clone()), out);
            // The new config may leave another wish; it is considered at the next call, soon enough.
        }
    }

    fn begin_phase_two(&mut self, now: Mono, mut proposal: Proposal, out: &mut Vec<RingEffect>) {
        let wish = self.wish(now);
        let gone = self.gone_for_good(now).filter(|name| wish == Some(Move::Leave((*name).clone()))).cloned();
        let Some(ring) = &mut self.ring else { return };
        let wished = || change::after(&ring.config, wish.as_ref()?, &ring.freed);
        let Some(value) = proposal.bound_to().cloned().or_else(wished) else {
            ring.proposal = None;
            return;
        };
        if let (Some(name), Some(wait)) = (gone, self.own.remove_after) {
            out.push(RingEffect::Warn(format!("{name} has failed for {wait:?}: asking to remove it from the ring")));
        }
        proposal.value = Some(value.clone());
        proposal.resend_at = now.after(RESEND_PERIOD);
        proposal.give_up_at = now.after(ATTEMPT_TIME);
        if let Franchise::Voting { .. } = ring.franchise
            && ring.acceptor.accept(proposal.ballot, &value).is_ok()
        {
            proposal.accept(self.own.name.clone(), self.life);
        }
        ring.proposal = Some(proposal);
        self.send_proposal(out);
    }

    pub(super) fn on_vote(
        &mut self,
        now: Mono,
        from: &NodeName,
        ring_id: RingId,
        epoch: Epoch,
        step: VoteStep,
        out: &mut Vec<RingEffect>,
    ) {
        let is_at = self.is_at(from, ring_id, epoch, out);
        let is_member = |ring: &Ring| ring.config.member_named(from).is_some();
        if !is_at || !self.ring.as_ref().is_some_and(is_member) {
            return;
        }
        match step {
            VoteStep::Prepare(ballot) => self.on_prepare(from, ballot, out),
            VoteStep::Accept { ballot, config } => self.on_accept(from, ballot, &config, out),
            VoteStep::Promise { ballot, accepted, lives } => {
                self.note_lives(&lives);
                let accepted = accepted.filter(|(_, config)| self.is_next(config));
                self.with_proposal(ballot, from, &lives, |proposal, life| {
                    if proposal.value.is_none() {
                        proposal.promise(from.clone(), life, accepted);
                    }
                });
            }
            VoteStep::Accepted { ballot, lives } => {
                self.note_lives(&lives);
                self.with_proposal(ballot, from, &lives, |proposal, life| proposal.accept(from.clone(), life));
            }
            VoteStep::Outbid(promised) => self.on_outbid(now, promised),
            VoteStep::Recover { life } => self.on_recover(from, life, out),
            VoteStep::Memory { asked, may_vote, promised, accepted, lives } => {
                self.note_lives(&lives);
                let accepted = accepted.filter(|(_, config)| self.is_next(config));
                let memory = may_vote.then_some(Acceptor { promised, accepted });
                self.on_memory(from, asked, memory, &lives);
            }
        }
    }

    /// Whether a config from elsewhere may follow this node's.
    fn is_next(&self, config: &RingConfig) -> bool {
        self.ring.as_ref().is_some_and(|ring| change::is_step(&ring.config, config))
    }

    fn on_prepare(&mut self, from: &NodeName, ballot: RingBallot, out: &mut Vec<RingEffect>) {
        let Some(ring) = &mut self.ring else { return };
        ring.round = ring.round.max(ballot.round);
        if !matches!(ring.franchise, Franchise::Voting { .. }) {
            return;
        }
        let step = match ring.acceptor.prepare(ballot) {
            Ok(accepted) => VoteStep::Promise { ballot, accepted, lives: ring.lives_by_slot() },
            Err(promised) => VoteStep::Outbid(promised),
        };
        out.push(vote(ring, from, step));
    }

    fn on_accept(&mut self, from: &NodeName, ballot: RingBallot, config: &RingConfig, out: &mut Vec<RingEffect>) {
        let is_next = self.is_next(config);
        let Some(ring) = &mut self.ring else { return };
        if !is_next || !matches!(ring.franchise, Franchise::Voting { .. }) {
            return;
        }
        let step = match ring.acceptor.accept(ballot, config) {
            Ok(()) => VoteStep::Accepted { ballot, lives: ring.lives_by_slot() },
            Err(promised) => VoteStep::Outbid(promised),
        };
        out.push(vote(ring, from, step));
    }

    fn on_outbid(&mut self, now: Mono, promised: RingBallot) {
        let Some(ring) = &mut self.ring else { return };
        ring.round = ring.round.max(promised.round);
        if ring.proposal.as_ref().is_some_and(|proposal| proposal.ballot < promised) {
            self.step_back(now);
        }
    }

    /// Hands a vote for the current proposal, with the life that gave it, to `take`.
    fn with_proposal(
        &mut self,
        ballot: RingBallot,
        from: &NodeName,
        lives: &Lives,
        take: impl FnOnce(&mut Proposal, u64),
    ) {
        let Some(ring) = &mut self.ring else { return };
        let slot = ring.config.member_named(from).map(|member| member.slot);
        let life = lives.iter().find(|(of, _)| Some(*of) == slot).map(|(_, life)| *life);
        let proposal = ring.proposal.as_mut().filter(|proposal| proposal.ballot == ballot);
        if let (Some(proposal), Some(life)) = (proposal, life) {
            take(proposal, life);
        }
    }
}

/// A step of the vote on the config after this ring's.
pub(super) fn vote(ring: &Ring, to: &NodeName, step: VoteStep) -> RingEffect {
    send(to, RingMessage::Vote { ring: ring.config.ring_id, epoch: ring.config.epoch, step })
}
