//! A voter that may have voted in an earlier life asks the others what it forgot, before it votes again; and members
//! keep count of each other's lives, so that nobody counts what an earlier life said.
//!
//! Must not know proposals: what the answers amount to is `acceptor`'s.

use memring_protocol::ring::NodeName;
use memring_protocol::ring_message::{Lives, VoteStep};

use super::acceptor::{Acceptor, Franchise, Memory};
use super::agreement::{RESEND_PERIOD, vote};
use super::{RingEffect, RingKeeper};
use crate::now::Mono;

impl RingKeeper {
    /// Takes note of members' lives. A higher life of this very node means that its clock went back between two starts:
    /// it counts on from there, else nobody would count its votes.
    pub(super) fn note_lives(&mut self, lives: &Lives) {
        let Some(ring) = &mut self.ring else { return };
        for (slot, life) in lives {
            let Some(name) = ring.config.member(*slot).map(|member| member.name.clone()) else { continue };
            let known = ring.lives.entry(name.clone()).or_insert(*life);
            *known = (*known).max(*life);
            if name == self.own.name && *known > self.life {
                self.life = known.saturating_add(1);
                *known = self.life;
                ring.proposal = None;
            }
        }
    }

    /// Asks the other voters for what an earlier life of this node may have promised.
    pub(super) fn recover_on(&mut self, now: Mono, out: &mut Vec<RingEffect>) {
        let Some(ring) = self.ring.as_mut().filter(|ring| ring.recover_at.is_some_and(|at| at <= now)) else { return };
        let Franchise::Recovering(recovery) = &ring.franchise else {
            ring.recover_at = None;
            return;
        };
        let step = VoteStep::Recover { life: self.life };
        let others = ring.voters().into_iter().filter(|name| *name != self.own.name);
        let missing: Vec<NodeName> = others.filter(|name| !recovery.has(name, &ring.lives)).collect();
        out.extend(missing.iter().map(|name| vote(ring, name, step.clone())));
        ring.recover_at = Some(now.after(RESEND_PERIOD));
        self.regain_franchise();
    }

    pub(super) fn on_recover(&mut self, from: &NodeName, life: u64, out: &mut Vec<RingEffect>) {
        let Some(ring) = &mut self.ring else { return };
        // Before the answer: from now on whoever counts our votes learns that this voter's earlier ones are void.
        let known = ring.lives.entry(from.clone()).or_insert(life);
        *known = (*known).max(life);
        let Acceptor { promised, accepted } = ring.acceptor.clone();
        let may_vote = matches!(ring.franchise, Franchise::Voting { .. });
        let lives = ring.lives_by_slot();
        out.push(vote(ring, from, VoteStep::Memory { asked: life, may_vote, promised, accepted, lives }));
    }

    pub(super) fn on_memory(&mut self, from: &NodeName, asked: u64, acceptor: Option<Acceptor>, lives: &Lives) {
        let Some(ring) = &mut self.ring else { return };
        let slot = ring.config.member_named(from).map(|member| member.slot);
        let life = lives.iter().find(|(of, _)| Some(*of) == slot).map(|(_, life)| *life);
        if let (Franchise::Recovering(recovery), Some(life), true) = (&mut ring.franchise, life, asked == self.life) {
            recovery.note(from.clone(), Memory { life, acceptor });
            self.regain_franchise();
        }
    }

    fn regain_franchise(&mut self) {
        let Some(ring) = &mut self.ring else { return };
        let others: Vec<NodeName> = ring.voters().into_iter().filter(|name| *name != self.own.name).collect();
        let Franchise::Recovering(recovery) = &ring.franchise else { return };
        if let Some(acceptor) = recovery.verdict(&others, &ring.lives) {
            ring.franchise = Franchise::Voting { for_good: acceptor.accepted.is_none() };
            ring.acceptor = acceptor;
            ring.recover_at = None;
        }
    }
}
