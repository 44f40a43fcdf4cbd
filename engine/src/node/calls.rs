//! Requests to peers that are not answered yet: who was asked, and for which operation.
//!
//! A call to a peer that falls silent is given up as soon as that is known, so that who waits can ask elsewhere. Bounded by
//! time: a call that is neither answered nor lost within [`CALL_PATIENCE`] counts as lost. A large one, or one
//! with a large answer, waits on for as long as it moves.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use memring_protocol::key::Partition;
use memring_protocol::message::RequestId;
use memring_protocol::version::{Ballot, Slot};
use smallvec::SmallVec;

use super::asks::Askers;
use super::counters::{Counter, Counters};
use super::peers::Replies;
use super::replay::Missed;
use super::slab::{Place, Slab};
use super::turn::Turn;
use super::{Node, OpId};
use crate::now::Mono;

/// After this an unanswered request counts as lost. Longer than any operation waits.
pub(crate) const CALL_PATIENCE: Duration = Duration::from_secs(5);

/// A call that has waited for so long is looked at: whoever is not to be asked by now is not waited for.
const LOOK_AFTER: Duration = Duration::from_millis(100);

/// And so often from then on, while it waits.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Threads number their calls apart, so that an answer that goes astray is not taken for another's.
const THREAD_SHIFT: u32 = 48;

/// Below the thread's number comes one that tells apart what was asked from one place, then the place's: in this order, and
/// with so many bits for places, ids make short acknowledgements.
const GENERATION_SHIFT: u32 = 20;
const GENERATIONS: u32 = (1 << (THREAD_SHIFT - GENERATION_SHIFT)) - 1;

/// How many calls of a thread may be unanswered: as many as there are places, and more than links hold.
const CALLS_MAX: usize = 1 << GENERATION_SHIFT;

/// So many deadlines are kept whether or not their calls have been answered.
const DEADLINES_SWEPT_ABOVE: usize = 1024;

/// Why a peer was asked.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// A batch of reads, in the order of the keys sent.
    Read(Askers),
    /// Many keys' versions.
    Compare(OpId),
    /// One key, in this term.
    Look(OpId, Ballot),
    Write(Attempt),
    Replicate(OpId),
    Prepare(Partition, Ballot),
    FlushProbe(OpId),
    FlushCommit(OpId),
    Stats(OpId),
    /// With the bytes of the value.
    Replay(Box<Missed>, usize),
}

/// One of the tries of a write: only the last one's answer counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Attempt {
    pub(crate) write: OpId,
    pub(crate) number: u32,
}

/// One unanswered request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) slot: Slot,
    pub(crate) peer: SocketAddr,
    pub(crate) purpose: Purpose,
}

impl Counters {
    /// The counter of what is asked for this purpose.
    #[inline]
    pub(crate) fn hops_of(&self, purpose: &Purpose) -> &Counter {
        match purpose {
            Purpose::Read(_) => &self.hops_read,
            Purpose::Compare(_) => &self.hops_compare,
            Purpose::Look(..) => &self.hops_look,
            Purpose::Write(_) => &self.hops_forward,
            Purpose::Replicate(_) => &self.hops_replicate,
            Purpose::Prepare(..) => &self.hops_promise,
            Purpose::FlushProbe(_) | Purpose::FlushCommit(_) => &self.hops_flush,
            Purpose::Stats(_) => &self.hops_stats,
            Purpose::Replay(..) => &self.hops_replay,
        }
    }
}

impl Purpose {
    /// Whether a peer can answer it by itself, at once: its silence is then the peer's own.
    fn is_prompt(&self) -> bool {
        match self {
            Self::Read(_)
            | Self::Compare(_)
            | Self::Look(..)
            | Self::Replicate(_)
            | Self::Prepare(..)
            | Self::Replay(..) => true,
            Self::Write(_) | Self::FlushProbe(_) | Self::FlushCommit(_) | Self::Stats(_) => false,
        }
    }

    /// Whether it is better not to wait for a peer that has fallen silent. Who counts the members that answer does wait.
    fn is_rerouted(&self) -> bool {
        !matches!(self, Self::FlushProbe(_) | Self::FlushCommit(_) | Self::Stats(_))
    }
}

/// A call, when it was made, and whether it has moved since its patience began, and at all.
#[derive(Debug)]
struct Open {
    call: Call,
    asked: Mono,
    moved: bool,
    is_large: bool,
}

/// All unanswered requests of a thread.
#[derive(Debug)]
pub(crate) struct Calls {
    thread: u64,
    open: Slab<Open>,
    /// In their order; those at the front are unanswered.
    deadlines: VecDeque<(Mono, RequestId)>,
    /// When those that wait were last looked at.
    looked_at: Mono,
    /// What the control thread is told of peers' answers.
    replies: Arc<Replies>,
}

impl Calls {
    pub(crate) fn new(thread: u16, replies: Arc<Replies>) -> Self {
        let thread = u64::from(thread) << THREAD_SHIFT;
        let (open, deadlines) = (Slab::new(GENERATIONS), VecDeque::new());
        Self { thread, open, deadlines, looked_at: Mono(0), replies }
    }

    /// A call's number. Too many unanswered: given back.
    pub(crate) fn open(&mut self, now: Mono, call: Call) -> Result<RequestId, Call> {
        if self.open.len() >= CALLS_MAX {
            return Err(call);
        }
        if call.purpose.is_prompt() {
            self.replies.on_asked(call.slot, now);
        }
        let place = self.open.insert(Open { call, asked: now, moved: false, is_large: false });
        let id = RequestId(self.thread | u64::from(place.generation) << GENERATION_SHIFT | u64::from(place.index));
        let deadlines = self.deadlines.len();
        if deadlines == self.deadlines.capacity() && deadlines > DEADLINES_SWEPT_ABOVE + 2 * self.open.len() {
            self.deadlines.retain(|(_, id)| self.open.get(place_of(*id)).is_some());
        }
        self.deadlines.push_back((now.after(CALL_PATIENCE), id));
        Ok(id)
    }

    /// Takes out the call that this reply answers, if it came from the peer that was asked.
    pub(crate) fn answered(&mut self, now: Mono, from: SocketAddr, id: RequestId) -> Option<Call> {
        self.named(id).filter(|open| open.call.peer == from)?;
        let open = self.open.remove(place_of(id))?;
        if open.call.purpose.is_prompt() {
            self.replies.on_answered(open.call.slot, open.asked, now, !open.is_large);
        }
        self.drop_answered();
        Some(open.call)
    }

    /// The call of this number: of this thread, and not of one that had its place before.
    fn named(&mut self, id: RequestId) -> Option<&mut Open> {
        if id.0 >> THREAD_SHIFT == self.thread >> THREAD_SHIFT { self.open.get_mut(place_of(id)) } else { None }
    }

    fn drop_answered(&mut self) {
        while self.deadlines.front().is_some_and(|(_, id)| self.open.get(place_of(*id)).is_none()) {
            self.deadlines.pop_front();
        }
    }

    /// More of the request was sent to that peer, or more of its answer came from there: what it is for.
    pub(crate) fn moved(&mut self, now: Mono, from: SocketAddr, id: RequestId) -> Option<(Slot, Purpose)> {
        let open = self.named(id).filter(|open| open.call.peer == from)?;
        (open.moved, open.is_large) = (true, true);
        let (slot, purpose) = (open.call.slot, open.call.purpose.clone());
        self.replies.on_moved(slot, now);
        Some((slot, purpose))
    }

    /// Takes out the calls that a lost link leaves unanswered.
    pub(crate) fn lost(&mut self, peer: SocketAddr) -> Vec<Call> {
        let lost = self.open.remove_where(|open| open.call.peer == peer);
        self.give_up(lost)
    }

    /// Takes out the calls to a peer that need not be waited for, now that it is silent. What is large and has moved has a
    /// patience of its own.
    fn unheard(&mut self, peer: SocketAddr) -> Vec<Call> {
        let is_unheard = |open: &Open| open.call.peer == peer && !open.is_large && open.call.purpose.is_rerouted();
        let unheard = self.open.remove_where(is_unheard);
        self.give_up(unheard)
    }

    fn give_up(&mut self, calls: Vec<Open>) -> Vec<Call> {
        self.drop_answered();
        for open in calls.iter().filter(|open| open.call.purpose.is_prompt()) {
            self.replies.on_given_up(open.call.slot);
        }
        calls.into_iter().map(|open| open.call).collect()
    }

    /// Whom the calls wait for that have waited for [`LOOK_AFTER`], each once.
    fn overdue(&mut self, now: Mono) -> SmallVec<[(Slot, SocketAddr); 4]> {
        self.looked_at = now;
        let mut peers = SmallVec::new();
        for (deadline, id) in &self.deadlines {
            if *deadline > now.after(CALL_PATIENCE - LOOK_AFTER) {
                break;
            }
            let waits_for = self.open.get(place_of(*id)).map(|open| (open.call.slot, open.call.peer));
            peers.extend(waits_for.filter(|peer| !peers.contains(peer)));
        }
        peers
    }

    /// Takes out the calls that have waited too long.
    pub(crate) fn expired(&mut self, now: Mono) -> Vec<Call> {
        let mut calls = Vec::new();
        while let Some((_, id)) = self.deadlines.pop_front_if(|(deadline, _)| *deadline <= now) {
            if let Some(open) = self.named(id).filter(|open| open.moved) {
                open.moved = false;
                self.deadlines.push_back((now.after(CALL_PATIENCE), id));
                continue;
            }
            calls.extend(self.open.remove(place_of(id)));
        }
        self.give_up(calls)
    }

    /// When the calls are to be looked at again; none has expired before.
    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        let (deadline, _) = self.deadlines.front()?;
        let look_at = Mono(deadline.0.saturating_sub((CALL_PATIENCE - LOOK_AFTER).as_micros() as u64));
        Some(look_at.max(self.looked_at.after(LOOK_EVERY)))
    }
}

impl Node {
    /// Nobody waits for a peer that has fallen silent since it was asked, or failed: those who do try elsewhere.
    pub(super) fn reroute(&mut self, turn: &mut Turn<'_>) {
        for (slot, peer) in self.calls.overdue(turn.mono()) {
            if self.shared.may_ask(turn.topology, slot) {
                continue;
            }
            for call in self.calls.unheard(peer) {
                self.counters.calls_rerouted.increment();
                self.on_answer(turn, call, None);
            }
        }
    }
}

fn place_of(id: RequestId) -> Place {
    let index = id.0 as u32 & (CALLS_MAX as u32 - 1);
    Place { index, generation: (id.0 >> GENERATION_SHIFT) as u32 & GENERATIONS }
}

#[cfg(test)]
mod tests {
    use super::super::peers::Peers;
    use super::*;

    fn calls_of(thread: u16) -> Calls {
        Calls::new(thread, Peers::default().replies_of(thread))
    }

    #[test]
    fn a_call_that_moves_is_waited_for_and_one_that_has_stopped_is_not() {
        let (slot, peer) = (Slot::new(1).unwrap(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let other = SocketAddr::from(([127, 0, 0, 1], 2));
        let mut calls = calls_of(0);
        let call = |op| Call { slot, peer, purpose: Purpose::Replicate(op) };
        let (still, moving) = (calls.open(Mono(0), call(1)).unwrap(), calls.open(Mono(0), call(2)).unwrap());
        assert!(calls.moved(Mono(0), peer, moving).is_some() && calls.moved(Mono(0), other, still).is_none());
        let mut now = Mono(0);
        for expected in [1, 0] {
            now = now.after(CALL_PATIENCE);
            assert_eq!(calls.expired(now).len(), expected, "a call that has moved is not lost");
            assert!(calls.moved(Mono(0), peer, moving).is_some());
        }
        now = now.after(CALL_PATIENCE);
        assert_eq!(calls.expired(now).len(), 0);
        assert_eq!(calls.expired(now.after(CALL_PATIENCE)).len(), 1, "it has not moved since");
        assert_eq!(calls.next_deadline(), None);
    }

    #[test]
    fn an_answer_finds_its_own_call_and_no_later_one() {
        let (slot, peer) = (Slot::new(1).unwrap(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let mut calls = calls_of(7);
        let call = |op| Call { slot, peer, purpose: Purpose::Replicate(op) };
        let first = calls.open(Mono(0), call(1)).unwrap();
        assert_eq!(first.0 >> THREAD_SHIFT, 7);
        assert!(calls.answered(Mono(0), SocketAddr::from(([127, 0, 0, 1], 2)), first).is_none(), "another peer's");
        assert!(calls.answered(Mono(0), peer, RequestId(first.0 ^ (1 << THREAD_SHIFT))).is_none(), "another thread's");
        assert!(calls.answered(Mono(0), peer, first).is_some());
        let second = calls.open(Mono(0), call(2)).unwrap();
        assert_ne!(first, second);
        assert!(calls.answered(Mono(0), peer, first).is_none() && calls.moved(Mono(0), peer, first).is_none());
        assert_eq!(calls.lost(peer).len(), 1);
        assert!(calls.answered(Mono(0), peer, second).is_none() && calls.next_deadline().is_none());
    }

    #[test]
    fn deadlines_of_answered_calls_take_no_room_behind_one_that_waits() {
        let (slot, peer) = (Slot::new(1).unwrap(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let mut calls = calls_of(0);
        let call = || Call { slot, peer, purpose: Purpose::Replicate(1) };
        calls.open(Mono(0), call()).unwrap();
        for at in 1..20_000 {
            let id = calls.open(Mono(at), call()).unwrap();
            assert!(calls.answered(Mono(0), peer, id).is_some());
            assert!(calls.deadlines.len() <= 4 * DEADLINES_SWEPT_ABOVE);
        }
        assert_eq!(calls.next_deadline(), Some(Mono(0).after(LOOK_AFTER)));
    }

    #[test]
    fn calls_that_wait_are_looked_at_and_those_to_a_silent_peer_given_up_but_for_what_counts_answers() {
        let peers = Peers::default();
        let mut calls = Calls::new(0, peers.replies_of(0));
        let of = |number: u16| (Slot::new(number).unwrap(), SocketAddr::from(([127, 0, 0, 1], number)));
        let call = |number, purpose| Call { slot: of(number).0, peer: of(number).1, purpose };
        for number in [1, 2] {
            calls.open(Mono(1_000), call(number, Purpose::Replicate(7))).unwrap();
            calls.open(Mono(2_000), call(number, Purpose::FlushProbe(8))).unwrap();
            calls.open(Mono(3_000), call(number, Purpose::Write(Attempt { write: 9, number: 0 }))).unwrap();
        }
        let large = calls.open(Mono(4_000), call(1, Purpose::Replicate(10))).unwrap();
        assert!(calls.moved(Mono(5_000), of(1).1, large).is_some());
        let look_at = calls.next_deadline().unwrap();
        assert_eq!(look_at, Mono(1_000).after(LOOK_AFTER));
        assert_eq!(calls.overdue(Mono(2_000)).len(), 0);
        assert_eq!(calls.overdue(look_at)[..], [of(1)]);
        assert_eq!(calls.next_deadline(), Some(look_at.after(LOOK_EVERY)));
        assert_eq!(calls.overdue(look_at.after(LOOK_EVERY))[..], [of(1), of(2)], "each once");
        let given_up: Vec<Purpose> = calls.unheard(of(1).1).into_iter().map(|call| call.purpose).collect();
        assert!(matches!(given_up[..], [Purpose::Replicate(7), Purpose::Write(_)]), "{given_up:?}");
        assert_eq!([1, 2].map(|number| peers.asked_since(of(number).0)), [Some(Mono(5_000)), Some(Mono(1_000))]);
        assert_eq!((calls.lost(of(1).1).len(), peers.asked_since(of(1).0)), (2, None));
        assert_eq!((calls.expired(Mono(9_000_000)).len(), peers.asked_since(of(2).0)), (3, None));
    }
}
