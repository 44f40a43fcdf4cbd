//! The flush register: which stamps are flushed, the one flush to come, and the one that goes on.
//!
//! Must not know entries. Reads are a few atomic loads, for every access to the store asks.

use memring_protocol::entry::UnixMillis;
use memring_protocol::flush::{FlushState, PacedFlush};
use memring_protocol::key::PARTITIONS;
use memring_protocol::version::Stamp;

use super::sync::{AtomicU64, Mutex, Ordering};

/// Nothing is to come.
const NEVER: u64 = u64::MAX;

/// What is flushed at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Floors {
    /// Above this nothing is.
    pub(super) highest: Stamp,
    /// At or below this everything is. The same as `highest`, unless a paced flush goes on.
    pub(super) everywhere: Stamp,
    /// In so many partitions, those of the lowest numbers, everything up to `highest` is.
    pub(super) reached: usize,
}

/// See the top of the file.
pub(super) struct FlushRegister {
    highest: AtomicU64,
    everywhere: AtomicU64,
    reached: AtomicU64,
    /// When there is something to do next, in unix milliseconds.
    due: AtomicU64,
    state: Mutex<State>,
}

struct State {
    flush: FlushState,
    /// The identity of the last pending flush that has happened.
    applied: Option<Stamp>,
    /// How many partitions the paced flush has been through here: a clock that is set back takes none of them back.
    reached: u16,
}

impl FlushRegister {
    pub(super) fn new() -> Self {
        Self {
            highest: AtomicU64::new(Stamp::ZERO.0),
            everywhere: AtomicU64::new(Stamp::ZERO.0),
            reached: AtomicU64::new(0),
            due: AtomicU64::new(NEVER),
            state: Mutex::new(State { flush: FlushState::default(), applied: None, reached: 0 }),
        }
    }

    /// What is flushed at `now`. Does first what is due.
    #[inline]
    pub(super) fn floors(&self, now: UnixMillis) -> Floors {
        if self.due.load(Ordering::Acquire) <= now.0 {
            self.apply_due(now);
        }
        // In the order opposite to that of `publish`.
        let highest = Stamp(self.highest.load(Ordering::Acquire));
        let reached = self.reached.load(Ordering::Acquire) as usize;
        Floors { highest, everywhere: Stamp(self.everywhere.load(Ordering::Acquire)), reached }
    }

    pub(super) fn state(&self) -> FlushState {
        self.state.lock().flush
    }

    /// The later of both, part by part: any order of merges ends the same.
    pub(super) fn merge(&self, other: FlushState) {
        let mut state = self.state.lock();
        let mine = state.flush;
        let identity = |flush: FlushState| flush.pending.map(|(identity, _)| identity);
        if identity(other) > identity(mine) {
            state.flush.pending = other.pending;
        }
        state.flush.floor = mine.floor.max(other.floor);
        state.merge_paced(other.paced);
        self.publish(&state);
    }

    #[cold]
    fn apply_due(&self, now: UnixMillis) {
        let mut state = self.state.lock();
        if let Some((identity, at)) = state.to_come()
            && at <= now
        {
            state.flush.floor = state.flush.floor.max(Stamp::end_of(at.0));
            state.applied = Some(identity);
        }
        if let Some(paced) = state.running() {
            state.reached = state.reached.max(paced.reached(now));
            if state.reached == PARTITIONS {
                state.flush.floor = paced.stamp;
            }
        }
        self.publish(&state);
    }

    fn publish(&self, state: &State) {
        let (floor, running) = (state.flush.floor, state.running());
        // In this order: who sees a higher stamp sees how far it reaches, who sees that it begins anew sees that what it
        // replaced holds everywhere, and who sees that nothing is due any more sees what came of it.
        self.everywhere.store(floor.0, Ordering::Release);
        self.reached.store(state.reached.into(), Ordering::Release);
        self.highest.store(running.map_or(floor, |paced| paced.stamp).0, Ordering::Release);
        let next_step = running.map_or(NEVER, |paced| paced.reaches(state.reached + 1).0);
        self.due.store(state.to_come().map_or(NEVER, |(_, at)| at.0).min(next_step), Ordering::Release);
    }
}

impl State {
    /// The flush to come.
    fn to_come(&self) -> Option<(Stamp, UnixMillis)> {
        self.flush.pending.filter(|(identity, _)| self.applied != Some(*identity))
    }

    /// The paced flush that goes on.
    fn running(&self) -> Option<PacedFlush> {
        self.flush.paced.filter(|paced| paced.stamp > self.flush.floor)
    }

    /// Of two paced flushes the later one goes on; the other is done at once, for what it has flushed somewhere must not
    /// come back.
    fn merge_paced(&mut self, other: Option<PacedFlush>) {
        let Some(other) = other else { return };
        match self.flush.paced {
            Some(mine) if mine.stamp >= other.stamp => {
                if mine.stamp > other.stamp {
                    self.flush.floor = self.flush.floor.max(other.stamp);
                }
            }
            mine => {
                self.flush.floor = self.flush.floor.max(mine.map_or(Stamp::ZERO, |mine| mine.stamp));
                (self.flush.paced, self.reached) = (Some(other), 0);
            }
        }
    }
}
