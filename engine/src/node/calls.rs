//! Requests to peers that are not answered yet: who was asked, and for which operation.
//!
//! Bounded by time: a call that is neither answered nor lost within [`CALL_PATIENCE`] counts as lost. A large one, or one
//! with a large answer, waits on for as long as it moves.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use memring_protocol::key::Partition;
use memring_protocol::message::RequestId;
use memring_protocol::version::{Ballot, Slot};

use super::OpId;
use super::asks::Askers;
use super::replay::Missed;
use super::slab::{Place, Slab};
use crate::now::Mono;

/// After this an unanswered request counts as lost. Longer than any operation waits.
pub(crate) const CALL_PATIENCE: Duration = Duration::from_secs(5);

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

/// A call, and whether it has moved since its patience began.
#[derive(Debug)]
struct Open {
    call: Call,
    moved: bool,
}

/// All unanswered requests of a thread.
#[derive(Debug)]
pub(crate) struct Calls {
    thread: u64,
    open: Slab<Open>,
    /// In their order; those at the front are unanswered.
    deadlines: VecDeque<(Mono, RequestId)>,
}

impl Calls {
    pub(crate) fn new(thread: u16) -> Self {
        let thread = u64::from(thread) << THREAD_SHIFT;
        Self { thread, open: Slab::new(GENERATIONS), deadlines: VecDeque::new() }
    }

    /// A call's number. Too many unanswered: given back.
    pub(crate) fn open(&mut self, now: Mono, call: Call) -> Result<RequestId, Call> {
        if self.open.len() >= CALLS_MAX {
            return Err(call);
        }
        let place = self.open.insert(Open { call, moved: false });
        let id = RequestId(self.thread | u64::from(place.generation) << GENERATION_SHIFT | u64::from(place.index));
        let deadlines = self.deadlines.len();
        if deadlines == self.deadlines.capacity() && deadlines > DEADLINES_SWEPT_ABOVE + 2 * self.open.len() {
            self.deadlines.retain(|(_, id)| self.open.get(place_of(*id)).is_some());
        }
        self.deadlines.push_back((now.after(CALL_PATIENCE), id));
        Ok(id)
    }

    /// Takes out the call that this reply answers, if it came from the peer that was asked.
    pub(crate) fn answered(&mut self, from: SocketAddr, id: RequestId) -> Option<Call> {
        self.named(id).filter(|open| open.call.peer == from)?;
        let open = self.open.remove(place_of(id))?;
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
    pub(crate) fn moved(&mut self, from: SocketAddr, id: RequestId) -> Option<(Slot, Purpose)> {
        let open = self.named(id).filter(|open| open.call.peer == from)?;
        open.moved = true;
        Some((open.call.slot, open.call.purpose.clone()))
    }

    /// Takes out the calls that a lost link leaves unanswered.
    pub(crate) fn lost(&mut self, peer: SocketAddr) -> Vec<Call> {
        let lost = self.open.remove_where(|open| open.call.peer == peer);
        self.drop_answered();
        lost.into_iter().map(|open| open.call).collect()
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
            calls.extend(self.open.remove(place_of(id)).map(|open| open.call));
        }
        self.drop_answered();
        calls
    }

    /// When the next call expires, unless it moves.
    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }
}

fn place_of(id: RequestId) -> Place {
    let index = id.0 as u32 & (CALLS_MAX as u32 - 1);
    Place { index, generation: (id.0 >> GENERATION_SHIFT) as u32 & GENERATIONS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_moves_is_waited_for_and_one_that_has_stopped_is_not() {
        let (slot, peer) = (Slot::new(1).unwrap(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let other = SocketAddr::from(([127, 0, 0, 1], 2));
        let mut calls = Calls::new(0);
        let call = |op| Call { slot, peer, purpose: Purpose::Replicate(op) };
        let (still, moving) = (calls.open(Mono(0), call(1)).unwrap(), calls.open(Mono(0), call(2)).unwrap());
        assert!(calls.moved(peer, moving).is_some() && calls.moved(other, still).is_none());
        let mut now = Mono(0);
        for expected in [1, 0] {
            now = now.after(CALL_PATIENCE);
            assert_eq!(calls.expired(now).len(), expected, "a call that has moved is not lost");
            assert!(calls.moved(peer, moving).is_some());
        }
        now = now.after(CALL_PATIENCE);
        assert_eq!(calls.expired(now).len(), 0);
        assert_eq!(calls.expired(now.after(CALL_PATIENCE)).len(), 1, "it has not moved since");
        assert_eq!(calls.next_deadline(), None);
    }

    #[test]
    fn an_answer_finds_its_own_call_and_no_later_one() {
        let (slot, peer) = (Slot::new(1).unwrap(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let mut calls = Calls::new(7);
        let call = |op| Call { slot, peer, purpose: Purpose::Replicate(op) };
        let first = calls.open(Mono(0), call(1)).unwrap();
        assert_eq!(first.0 >> THREAD_SHIFT, 7);
        assert!(calls.answered(SocketAddr::from(([127, 0, 0, 1], 2)), first).is_none(), "another peer's");
        assert!(calls.answered(peer, RequestId(first.0 ^ (1 << THREAD_SHIFT))).is_none(), "another thread's");
        assert!(calls.answered(peer, first).is_some());
        let second = calls.open(Mono(0), call(2)).unwrap();
        assert_ne!(first, second);
        assert!(calls.answered(peer, first).is_none() && calls.moved(peer, first).is_none());
        assert_eq!(calls.lost(peer).len(), 1);
        assert!(calls.answered(peer, second).is_none() && calls.next_deadline().is_none());
    }

    #[test]
    fn deadlines_of_answered_calls_take_no_room_behind_one_that_waits() {
        let (slot, peer) = (Slot::new(1).unwrap(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let mut calls = Calls::new(0);
        let call = || Call { slot, peer, purpose: Purpose::Replicate(1) };
        calls.open(Mono(0), call()).unwrap();
        for at in 1..20_000 {
            let id = calls.open(Mono(at), call()).unwrap();
            assert!(calls.answered(peer, id).is_some());
            assert!(calls.deadlines.len() <= 4 * DEADLINES_SWEPT_ABOVE);
        }
        assert_eq!(calls.next_deadline(), Some(Mono(0).after(CALL_PATIENCE)));
    }
}
