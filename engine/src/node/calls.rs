//! Requests to peers that are not answered yet: who was asked, and for which operation.
//!
//! Bounded by time: a call that is neither answered nor lost within [`CALL_PATIENCE`] counts as lost. A large one, or one
//! with a large answer, waits on for as long as it moves.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use memring_protocol::key::{Key, Partition};
use memring_protocol::message::RequestId;
use memring_protocol::version::{Ballot, Slot, Version};
use smallvec::SmallVec;

use super::OpId;
use crate::now::Mono;

/// After this an unanswered request counts as lost. Longer than any operation waits.
pub(crate) const CALL_PATIENCE: Duration = Duration::from_secs(5);

/// Threads number their calls apart, so that an answer that goes astray is not taken for another's.
const THREAD_SHIFT: u32 = 48;

/// Why a peer was asked.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// A batch of reads, in the order of the keys sent.
    Read(SmallVec<[OpId; 4]>),
    /// One key, in this term.
    Look(OpId, Ballot),
    Write(Attempt),
    Replicate(OpId),
    Prepare(Partition, Ballot),
    FlushProbe(OpId),
    FlushCommit(OpId),
    Stats(OpId),
    /// With the bytes of the value.
    Replay(Key, Version, usize),
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
    next: u64,
    open: BTreeMap<RequestId, Open>,
    deadlines: VecDeque<(Mono, RequestId)>,
}

impl Calls {
    pub(crate) fn new(thread: u16) -> Self {
        Self { next: u64::from(thread) << THREAD_SHIFT, open: BTreeMap::new(), deadlines: VecDeque::new() }
    }

    pub(crate) fn open(&mut self, now: Mono, call: Call) -> RequestId {
        self.next += 1;
        let id = RequestId(self.next);
        self.open.insert(id, Open { call, moved: false });
        self.deadlines.push_back((now.after(CALL_PATIENCE), id));
        id
    }

    /// Takes out the call that this reply answers, if it came from the peer that was asked.
    pub(crate) fn answered(&mut self, from: SocketAddr, id: RequestId) -> Option<Call> {
        if self.open.get(&id)?.call.peer != from {
            return None;
        }
        self.open.remove(&id).map(|open| open.call)
    }

    /// More of the request was sent to that peer, or more of its answer came from there: what it is for.
    pub(crate) fn moved(&mut self, from: SocketAddr, id: RequestId) -> Option<(Slot, Purpose)> {
        let open = self.open.get_mut(&id).filter(|open| open.call.peer == from)?;
        open.moved = true;
        Some((open.call.slot, open.call.purpose.clone()))
    }

    /// Takes out the calls that a lost link leaves unanswered.
    pub(crate) fn lost(&mut self, peer: SocketAddr) -> Vec<Call> {
        self.open.extract_if(.., |_, open| open.call.peer == peer).map(|(_, open)| open.call).collect()
    }

    /// Takes out the calls that have waited too long.
    pub(crate) fn expired(&mut self, now: Mono) -> Vec<Call> {
        let mut calls = Vec::new();
        while let Some((deadline, id)) = self.deadlines.front().copied() {
            let answered = !self.open.contains_key(&id);
            if deadline > now && !answered {
                break;
            }
            self.deadlines.pop_front();
            if let Some(open) = self.open.get_mut(&id).filter(|open| open.moved) {
                open.moved = false;
                self.deadlines.push_back((now.after(CALL_PATIENCE), id));
                continue;
            }
            calls.extend(self.open.remove(&id).map(|open| open.call));
        }
        calls
    }

    /// When the next call expires, at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }
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
        let (still, moving) = (calls.open(Mono(0), call(1)), calls.open(Mono(0), call(2)));
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
}
