//! When a suspect counts as failed: two members must report it.
//!
//! foca hands out the timer that ends a suspicion, so it can be held until the reports are in. Must not count reporters:
//! the roster does.

use memring_protocol::gossip::{NodeId, Rumour};

use super::timers::{Due, Slot};
use super::{Membership, MembershipEffect};
use crate::now::Mono;

impl Membership {
    /// This node's own probe failed: foca asks for a verdict later, and the others hear of it now.
    pub(super) fn suspect(&mut self, slot: Slot, at: Mono, timer: foca::Timer<NodeId>) {
        let foca::Timer::ChangeSuspectToDown { member_id, incarnation, .. } = &timer else {
            return;
        };
        let report = Rumour::Report {
            subject: member_id.name.clone(),
            generation: member_id.generation,
            incarnation: *incarnation,
            reporter: self.me.name.clone(),
        };
        // Fails only when a rumour of this node's own making is illegal.
        let _ = self.foca.add_broadcast(&report.to_bytes());
        // Every probe that fails asks for a verdict anew. The first one's time counts, unless it was of another incarnation,
        // or of before this node itself was renewed (the token).
        let earlier = self.timers.armed(&slot).filter(|(_, held)| *held == Some(&timer)).map(|(held_at, _)| held_at);
        self.timers.arm(slot, earlier.unwrap_or(at), Some(timer));
    }

    /// foca would now count a suspect as down. It is told so only once enough members report the same incarnation.
    pub(super) fn on_verdict_due(&mut self, now: Mono, due: Due, out: &mut Vec<MembershipEffect>) {
        let Some(foca::Timer::ChangeSuspectToDown { member_id, incarnation, .. }) = &due.timer else {
            return;
        };
        let (is_suspect, is_confirmed) = {
            let roster = self.roster.lock();
            (
                roster.is_suspect(member_id, *incarnation),
                roster.is_confirmed(member_id, *incarnation, self.config.reporters_needed),
            )
        };
        if !is_suspect {
            // Refuted, in a new life, or down already.
            return;
        }
        if now.since(due.at) > self.config.probe_rtt {
            // This node slept. What would clear the suspect may wait in its socket: listen first, judge then.
            self.timers.arm(due.slot, now.after(self.config.probe_period), due.timer);
        } else if is_confirmed {
            self.tell_foca(now, due, out);
        } else {
            self.timers.arm(due.slot, now.after(self.config.recheck_after), due.timer);
        }
    }
}
