//! Taking a partition over: a new term, promised by a majority of the homes (DESIGN's rule 1).
//!
//! After a majority has promised ballot b, no write of a lower ballot can reach a majority any more, so whatever was
//! acknowledged before is on a home that this serializer can look at. Where all promised digests equal its own, it need
//! not look at all. Must not know what waits for the lead.

use std::time::Duration;

use memring_protocol::entry::UnixMillis;
use memring_protocol::key::Partition;
use memring_protocol::message::{ControlReply, ControlRequest, PromiseReply, Reply, Request, WriteReply};
use memring_protocol::version::{Ballot, STAMP_EPOCH_UNIX_MS, Slot};

use super::calls::Purpose;
use super::shared::Lead;
use super::turn::Turn;
use super::{Node, Op, OpId, Timer};
use crate::cluster::quorum::{Quorum, Verdict};

/// After this a takeover that too few homes have promised is given up; whoever needs it tries again.
const TAKEOVER_PATIENCE: Duration = Duration::from_millis(700);

/// The round of a term that begins now.
pub(crate) fn round_at(now: UnixMillis) -> u64 {
    now.0.saturating_sub(STAMP_EPOCH_UNIX_MS)
}

/// A term being asked for.
#[derive(Debug)]
pub(crate) struct Takeover {
    ballot: Ballot,
    digest: u64,
    whole: bool,
    quorum: Quorum,
    waiting: Vec<OpId>,
}

impl Node {
    /// Asks for a term, or waits with those who have. False if another thread of this process is at it.
    /// The term is to be above `above` and, if it can be, not above `upto`.
    pub(crate) fn take_over(
        &mut self,
        turn: &mut Turn<'_>,
        partition: Partition,
        waiting: OpId,
        above: Ballot,
        upto: Ballot,
    ) -> bool {
        if let Some(takeover) = self.takeovers.get_mut(&partition) {
            if !takeover.waiting.contains(&waiting) {
                takeover.waiting.push(waiting);
            }
            return true;
        }
        let (Some(layout), Some(me)) = (turn.topology.layout(), turn.topology.me()) else { return false };
        if !self.shared.standings.claim_takeover(partition) {
            return false;
        }
        // Rounds follow the clock, so that a term begun after all memory of earlier ones was lost is above them.
        let round = round_at(turn.cluster()).min(upto.round());
        let (ballot, digest) = loop {
            let ballot = self.shared.store.promised(partition).max(above).above(round, me);
            if let Ok(digest) = self.shared.store.promise(partition, ballot) {
                break (ballot, digest);
            }
        };
        let mut quorum = Quorum::of_promises(layout.homes(partition), layout.next_homes(partition));
        quorum.yes(me, true);
        let others: Vec<Slot> = quorum.homes().into_iter().filter(|slot| *slot != me).collect();
        self.takeovers.insert(partition, Takeover { ballot, digest, whole: true, quorum, waiting: vec![waiting] });
        self.arm(turn.mono().after(TAKEOVER_PATIENCE), Timer::Takeover(partition, ballot));
        for slot in others {
            let prepare =
                ControlRequest::Prepare { epoch: turn.topology.epoch(), proposals: vec![(partition, ballot)] };
            let asked = self.shared.can_answer(turn.topology, slot)
                && self.call(turn, slot, Purpose::Prepare(partition, ballot), Request::Control(prepare));
            if !asked {
                self.on_promise(turn, partition, ballot, slot, None);
            }
        }
        self.judge_takeover(turn, partition);
        true
    }

    /// One home's word; `None` when it is lost. Only words about this very ballot count: a home that promised an earlier
    /// one may have promised another node's since.
    pub(crate) fn on_promise(
        &mut self,
        turn: &mut Turn<'_>,
        partition: Partition,
        ballot: Ballot,
        from: Slot,
        reply: Option<Reply>,
    ) {
        let Some(takeover) = self.takeovers.get_mut(&partition).filter(|takeover| takeover.ballot == ballot) else {
            return;
        };
        let promise = match reply {
            Some(Reply::Control(ControlReply::Promises(promises))) => promises.first().copied(),
            _ => None,
        };
        match promise {
            Some(PromiseReply::Promised { synced, digest, stamp }) => {
                self.shared.clock.observe(stamp);
                takeover.whole &= digest == takeover.digest;
                takeover.quorum.yes(from, synced);
            }
            Some(PromiseReply::Outbid(higher)) => {
                self.shared.store.raise_promised(partition, higher);
                takeover.quorum.no(from);
            }
            Some(PromiseReply::Refused(_)) | None => takeover.quorum.no(from),
        }
        self.judge_takeover(turn, partition);
    }

    fn judge_takeover(&mut self, turn: &mut Turn<'_>, partition: Partition) {
        let Some(takeover) = self.takeovers.get(&partition) else { return };
        let verdict = takeover.quorum.verdict();
        let outbid = self.shared.store.promised(partition) != takeover.ballot;
        match verdict {
            Verdict::Pending if !outbid => {}
            Verdict::Reached if !outbid => {
                let lead = Lead { ballot: takeover.ballot, whole: takeover.whole };
                self.shared.standings.set_lead(partition, lead);
                self.counters.takeovers.increment();
                self.end_takeover(turn, partition, Duration::ZERO);
            }
            Verdict::Impossible if !outbid && is_hopeless(turn, partition) => self.give_up_takeover(turn, partition),
            _ => self.end_takeover(turn, partition, self.backoff()),
        }
    }

    /// So many homes are down that nobody can take the partition over: those who wait are told at once.
    fn give_up_takeover(&mut self, turn: &mut Turn<'_>, partition: Partition) {
        let Some(takeover) = self.takeovers.remove(&partition) else { return };
        self.shared.standings.end_takeover(partition);
        for waiting in takeover.waiting {
            if let Some(Op::Order(order)) = self.close(waiting) {
                let needed = takeover.quorum.needed().min(usize::from(u8::MAX)) as u8;
                self.answer_order(turn, order.origin, WriteReply::InDoubt { acknowledged: 0, needed });
            }
        }
    }

    /// Lets those who wait go on, now or a little later.
    fn end_takeover(&mut self, turn: &mut Turn<'_>, partition: Partition, wait: Duration) {
        let Some(takeover) = self.takeovers.remove(&partition) else { return };
        self.shared.standings.end_takeover(partition);
        for waiting in takeover.waiting {
            if wait.is_zero() {
                self.advance_order(turn, waiting);
            } else {
                self.set_timer(turn.mono().after(wait), waiting);
            }
        }
    }

    pub(crate) fn on_takeover_timer(&mut self, turn: &mut Turn<'_>, partition: Partition, ballot: Ballot) {
        if self.takeovers.get(&partition).is_some_and(|takeover| takeover.ballot == ballot) {
            self.end_takeover(turn, partition, self.backoff());
        }
    }

    /// Different from node to node, so that two that outbid each other do not go on for ever.
    fn backoff(&self) -> Duration {
        let name = self.shared.settings().name.as_str();
        let spread = memring_protocol::key::Token::of(name.as_bytes()).0 % 20;
        Duration::from_millis(5 + spread + u64::from(self.worker) % 3)
    }
}

/// Whether a majority cannot be had by gossip's word, however the homes that are up answer.
fn is_hopeless(turn: &Turn<'_>, partition: Partition) -> bool {
    let Some(layout) = turn.topology.layout() else { return false };
    let mut quorum = Quorum::of_promises(layout.homes(partition), layout.next_homes(partition));
    for slot in quorum.homes() {
        if turn.topology.is_up(slot) { quorum.yes(slot, true) } else { quorum.no(slot) }
    }
    quorum.verdict() == Verdict::Impossible
}
