//! A worker's clients: where an answer finds the connection that waits for it.
//!
//! Must not know sockets. Shelves are shared between a connection's task and whatever brings its answers; they are
//! borrowed only within one call, never across an await.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use memring_engine::node::Effect;
use memring_engine::now::Now;
use memring_protocol::limits::READ_KEYS_MAX;
use memring_protocol::text::TextLimits;

use super::input::SPARE_INPUT_BYTES_MAX;
use super::replies::{OUTPUT_BYTES_MAX, Replies, SPARE_OUTPUT_BYTES_MAX};
use super::spare::SpareBuffer;
use crate::bell::Bell;
use crate::event_loop::Surroundings;
use crate::front_door::FrontDoor;
use crate::gauges::Traffic;
use crate::stopwatch::{Outcome, Stopwatch};

/// The longest get line, as the design says: 18,000 keys are seen in the wild and take 187 KB.
const GET_LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a connection's task shares with those who answer.
pub(super) struct Shelf {
    pub(super) replies: RefCell<Replies>,
    /// An answer came, or the node stops.
    pub(super) bell: Bell,
    stopping: Cell<bool>,
}

impl Shelf {
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }
}

/// All clients of one worker.
pub(crate) struct Clients {
    shelves: RefCell<BTreeMap<u64, Rc<Shelf>>>,
    pub(super) limits: TextLimits,
    /// The most keys of one request to the node: their items fit the output's limit.
    pub(super) get_keys_max: usize,
    /// Read buffers.
    pub(super) spare: SpareBuffer,
    /// Output buffers.
    spare_output: Rc<SpareBuffer>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) stopwatch: Stopwatch,
    pub(super) door: Arc<FrontDoor>,
}

impl Clients {
    pub(crate) fn new(
        item_bytes_max: usize,
        traffic: Arc<Traffic>,
        stopwatch: Stopwatch,
        door: Arc<FrontDoor>,
    ) -> Self {
        Self {
            shelves: RefCell::default(),
            limits: TextLimits { item_bytes_max, get_line_bytes_max: GET_LINE_BYTES_MAX },
            get_keys_max: (OUTPUT_BYTES_MAX / item_bytes_max.max(1)).clamp(1, READ_KEYS_MAX),
            spare: SpareBuffer::new(SPARE_INPUT_BYTES_MAX),
            spare_output: Rc::new(SpareBuffer::new(SPARE_OUTPUT_BYTES_MAX)),
            traffic,
            stopwatch,
            door,
        }
    }

    /// Has every connection send what it owes and close.
    pub(crate) fn stop(&self) {
        for shelf in self.shelves.borrow().values() {
            shelf.stopping.set(true);
            shelf.bell.ring();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.shelves.borrow().is_empty()
    }

    /// Makes the shelf of the connection of this number.
    pub(super) fn enter(&self, id: u64) -> Rc<Shelf> {
        let shelf = Rc::new(Shelf {
            replies: RefCell::new(Replies::new(Arc::clone(&self.door.facts.large), Rc::clone(&self.spare_output))),
            bell: Bell::default(),
            stopping: Cell::new(false),
        });
        self.shelves.borrow_mut().insert(id, Rc::clone(&shelf));
        shelf
    }

    pub(super) fn leave(&self, id: u64) {
        if let Some(shelf) = self.shelves.borrow_mut().remove(&id) {
            self.traffic.count_ended(shelf.replies.borrow().in_flight());
        }
    }
}

impl Surroundings for Clients {
    fn perform(&self, now: Now, effect: Effect) {
        match effect {
            Effect::Respond(ticket, response) => {
                let shelves = self.shelves.borrow();
                let Some(shelf) = shelves.get(&ticket.connection) else { return };
                let outcome = Outcome::of(&response);
                let due = shelf.replies.borrow_mut().answer(ticket.sequence, response);
                if let Some(due) = due {
                    self.traffic.count_ended(1);
                    self.stopwatch.answered(due.asked, outcome, due.begun, now.mono);
                    shelf.bell.ring();
                } else {
                    tracing::warn!(?ticket, "an answer that nobody waits for");
                }
            }
            Effect::Event(event) => self.door.watchers.tell(&event),
            // Not shown: effects can hold values.
            _ => tracing::error!("an effect that a worker does not have"),
        }
    }
}
