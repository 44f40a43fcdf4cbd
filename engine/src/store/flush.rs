//! The flush register: which stamps are flushed, and the one flush to come.
//!
//! Must not know entries. Reads are two atomic loads, for every access to the store asks.

use memring_protocol::entry::UnixMillis;
use memring_protocol::flush::FlushState;
use memring_protocol::version::Stamp;

use super::sync::{AtomicU64, Mutex, Ordering};

/// No flush is to come.
const NEVER: u64 = u64::MAX;

/// See the top of the file.
pub(super) struct FlushRegister {
    /// A copy of the floor in `state`.
    floor: AtomicU64,
    /// When the pending flush is due, in unix milliseconds.
    due: AtomicU64,
    state: Mutex<State>,
}

struct State {
    flush: FlushState,
    /// The identity of the last pending flush that was applied: it, or one before it, does not come back.
    applied: Option<Stamp>,
}

impl FlushRegister {
    pub(super) fn new() -> Self {
        Self {
            floor: AtomicU64::new(Stamp::ZERO.0),
            due: AtomicU64::new(NEVER),
            state: Mutex::new(State { flush: FlushState::default(), applied: None }),
        }
    }

    /// Entries stamped at or below this are gone at `now`. Applies the pending flush when it is due.
    pub(super) fn floor(&self, now: UnixMillis) -> Stamp {
        if self.due.load(Ordering::Acquire) <= now.0 {
            self.apply_due(now);
        }
        Stamp(self.floor.load(Ordering::Acquire))
    }

    pub(super) fn state(&self) -> FlushState {
        self.state.lock().flush
    }

    /// The later of both, part by part: any order of merges ends the same.
    pub(super) fn merge(&self, other: FlushState) {
        let mut state = self.state.lock();
        state.flush.floor = state.flush.floor.max(other.floor);
        let known = state.applied.max(state.flush.pending.map(|(identity, _)| identity));
        if let Some((identity, _)) = other.pending
            && known.is_none_or(|known| identity > known)
        {
            state.flush.pending = other.pending;
        }
        self.publish(&state);
    }

    #[cold]
    fn apply_due(&self, now: UnixMillis) {
        let mut state = self.state.lock();
        if let Some((identity, at)) = state.flush.pending
            && at <= now
        {
            state.flush.floor = state.flush.floor.max(Stamp::end_of(at.0));
            state.flush.pending = None;
            state.applied = Some(identity);
            self.publish(&state);
        }
    }

    fn publish(&self, state: &State) {
        // In this order: who sees that nothing is due any more sees the floor that came of it.
        self.floor.store(state.flush.floor.0, Ordering::Release);
        self.due.store(state.flush.pending.map_or(NEVER, |(_, at)| at.0), Ordering::Release);
    }
}
