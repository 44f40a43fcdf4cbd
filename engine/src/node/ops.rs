//! What takes more than one turn, by its number; and when it is to be woken.
//!
//! Must not know what an operation does.

use super::slab::{Place, Slab};
use super::{Node, Op, Timer};
use crate::now::Mono;

/// An operation of this thread. That of one that has ended finds nothing, though another has its place.
pub(crate) type OpId = u64;

/// A number's upper half tells apart what was held in one place.
const GENERATION_SHIFT: u32 = 32;

#[derive(Debug)]
struct Running {
    op: Op,
    wake_at: Option<Mono>,
}

/// All operations of a thread.
#[derive(Debug)]
pub(crate) struct Ops {
    running: Slab<Running>,
}

impl Ops {
    pub(crate) fn new() -> Self {
        Self { running: Slab::new(u32::MAX) }
    }

    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    #[inline]
    pub(super) fn insert(&mut self, op: Op) -> OpId {
        let place = self.running.insert(Running { op, wake_at: None });
        u64::from(place.generation) << GENERATION_SHIFT | u64::from(place.index)
    }

    /// Takes an operation out, with the moment that it was to be woken at.
    #[inline]
    pub(super) fn remove(&mut self, id: OpId) -> Option<(Op, Option<Mono>)> {
        self.running.remove(place_of(id)).map(|running| (running.op, running.wake_at))
    }

    /// Drops an operation; as [`Ops::remove`] otherwise.
    pub(super) fn discard(&mut self, id: OpId) -> Option<Mono> {
        let wake_at = self.running.get(place_of(id))?.wake_at;
        self.running.discard(place_of(id));
        wake_at
    }

    pub(crate) fn get(&self, id: &OpId) -> Option<&Op> {
        self.running.get(place_of(*id)).map(|running| &running.op)
    }

    pub(crate) fn get_mut(&mut self, id: &OpId) -> Option<&mut Op> {
        self.running.get_mut(place_of(*id)).map(|running| &mut running.op)
    }

    /// The moment that an operation is to be woken at, if it has one; `None` if it has ended.
    pub(super) fn wake_at(&mut self, id: OpId) -> Option<&mut Option<Mono>> {
        self.running.get_mut(place_of(id)).map(|running| &mut running.wake_at)
    }

    /// Whether an operation is still to be woken at this very moment.
    pub(super) fn wakes_at(&self, id: OpId, at: Mono) -> bool {
        self.running.get(place_of(id)).is_some_and(|running| running.wake_at == Some(at))
    }
}

fn place_of(id: OpId) -> Place {
    Place { index: id as u32, generation: (id >> GENERATION_SHIFT) as u32 }
}

impl Node {
    #[inline]
    pub(super) fn open(&mut self, op: Op) -> OpId {
        self.ops.insert(op)
    }

    /// Ends an operation, and its timer.
    #[inline]
    pub(super) fn close(&mut self, id: OpId) -> Option<Op> {
        let (op, wake_at) = self.ops.remove(id)?;
        if let Some(at) = wake_at {
            self.timers.cancel(at);
        }
        Some(op)
    }

    /// The same, for what nobody asks about any more.
    pub(super) fn discard(&mut self, id: OpId) {
        if let Some(at) = self.ops.discard(id) {
            self.timers.cancel(at);
        }
    }

    pub(super) fn clear_timer(&mut self, id: OpId) {
        if let Some(at) = self.ops.wake_at(id).and_then(Option::take) {
            self.timers.cancel(at);
        }
    }

    /// Wakes an operation at `at`, instead of any moment set before.
    pub(super) fn set_timer(&mut self, at: Mono, id: OpId) {
        self.clear_timer(id);
        let at = self.arm(at, Timer::Op(id));
        if let Some(wake_at) = self.ops.wake_at(id) {
            *wake_at = Some(at);
        }
    }

    /// Sets a timer, and says for which moment. An operation's is set by [`Node::set_timer`], which notes it.
    pub(super) fn arm(&mut self, at: Mono, timer: Timer) -> Mono {
        let ops = &self.ops;
        self.timers.insert(at, timer, |at, timer| stands(ops, at, timer))
    }

    pub(super) fn pop_due(&mut self, now: Mono) -> Option<Timer> {
        let ops = &self.ops;
        let (_, timer) = self.timers.pop_due(now, |at, timer| stands(ops, at, timer))?;
        if let Timer::Op(id) = timer
            && let Some(wake_at) = self.ops.wake_at(id)
        {
            *wake_at = None;
        }
        Some(timer)
    }
}

/// Whether a timer has not been cancelled: only operations cancel theirs.
fn stands(ops: &Ops, at: Mono, timer: Timer) -> bool {
    match timer {
        Timer::Op(id) => ops.wakes_at(id, at),
        Timer::Takeover(..) | Timer::Replay => true,
    }
}
