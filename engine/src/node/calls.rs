//! Requests to peers that are not answered yet: who was asked, and for which operation.
//!
//! Bounded by time: a call that is neither answered nor lost within [`CALL_PATIENCE`] counts as lost.

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
    Replay(Key, Version),
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

/// All unanswered requests of a thread.
#[derive(Debug)]
pub(crate) struct Calls {
    next: u64,
    open: BTreeMap<RequestId, Call>,
    deadlines: VecDeque<(Mono, RequestId)>,
}

impl Calls {
    pub(crate) fn new(thread: u16) -> Self {
        Self { next: u64::from(thread) << THREAD_SHIFT, open: BTreeMap::new(), deadlines: VecDeque::new() }
    }

    pub(crate) fn open(&mut self, now: Mono, call: Call) -> RequestId {
        self.next += 1;
        let id = RequestId(self.next);
        self.open.insert(id, call);
        self.deadlines.push_back((now.after(CALL_PATIENCE), id));
        id
    }

    /// Takes out the call that this reply answers, if it came from the peer that was asked.
    pub(crate) fn answered(&mut self, from: SocketAddr, id: RequestId) -> Option<Call> {
        if self.open.get(&id)?.peer != from {
            return None;
        }
        self.open.remove(&id)
    }

    /// Takes out the calls that a lost link leaves unanswered.
    pub(crate) fn lost(&mut self, peer: SocketAddr) -> Vec<Call> {
        self.open.extract_if(.., |_, call| call.peer == peer).map(|(_, call)| call).collect()
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
            calls.extend(self.open.remove(&id));
        }
        calls
    }

    /// When the next call expires, at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }
}
