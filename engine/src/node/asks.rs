//! Questions to homes on their way into messages: all that are alike and go to one peer travel together.
//!
//! A turn sends its questions when it ends. Whoever runs many commands at once holds them back meanwhile
//! ([`Node::hold_asks`]), so that all of them come to one message a peer. Must not know what becomes of answers.

use memring_protocol::key::Key;
use memring_protocol::limits::READ_KEYS_MAX;
use memring_protocol::message::{ReadRequest, Request, Want};
use memring_protocol::ring::Epoch;
use memring_protocol::version::Slot;
use smallvec::SmallVec;

use super::calls::Purpose;
use super::effect::Effect;
use super::turn::Turn;
use super::{Node, OpId};
use crate::now::Now;

/// So many questions are held back at most: a few messages' worth, and far more than one read of a socket brings.
const HELD_MAX: usize = 4 * READ_KEYS_MAX;

/// How a home is asked: what all keys of one message have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct How {
    /// The ring config by which the homes were chosen.
    pub(crate) epoch: Epoch,
    pub(crate) want: Want,
    pub(crate) noticed: bool,
}

/// Who waits for the answer: a key of a gather, by its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asker {
    pub(crate) gather: OpId,
    pub(crate) index: u32,
}

/// In the order of the keys of a message.
pub(crate) type Askers = SmallVec<[Asker; 3]>;

#[derive(Debug)]
struct Batch {
    slot: Slot,
    how: How,
    keys: Vec<Key>,
    askers: Askers,
}

/// All questions that have not been sent.
#[derive(Debug)]
pub(crate) struct Asks {
    batches: Vec<Batch>,
    waiting: usize,
    held: bool,
}

impl Asks {
    pub(crate) fn new() -> Self {
        Self { batches: Vec::new(), waiting: 0, held: false }
    }

    /// Whether something is to be sent at the end of this turn.
    pub(crate) fn are_due(&self) -> bool {
        self.waiting > 0 && (!self.held || self.waiting >= HELD_MAX)
    }

    pub(crate) fn push(&mut self, slot: Slot, how: How, asker: Asker, key: &Key) {
        self.waiting += 1;
        // The last one of its kind: those before it are full.
        let batch = self.batches.iter_mut().rev().find(|batch| batch.slot == slot && batch.how == how);
        match batch.filter(|batch| batch.keys.len() < READ_KEYS_MAX) {
            Some(batch) => {
                batch.keys.push(key.clone());
                batch.askers.push(asker);
            }
            None => {
                let askers = Askers::from_slice(&[asker]);
                self.batches.push(Batch { slot, how, keys: vec![key.clone()], askers });
            }
        }
    }
}

impl Node {
    /// Holds back what the commands to come ask of peers, until [`Node::release_asks`]: to be called in the same stretch of
    /// work, before the thread waits for anything, for nobody is asked before. With 4096 questions or more a turn sends
    /// them all the same, and [`Node::on_timer`] ends the holding.
    pub fn hold_asks(&mut self) {
        self.asks.held = true;
    }

    /// Sends what was held back since [`Node::hold_asks`]: one message a peer of all that is asked for alike. Does nothing
    /// if nothing was.
    pub fn release_asks(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.asks.held = false;
        if self.asks.are_due() {
            self.turn(now, effects, |_, _| {});
        }
    }

    /// Whoever forgot to release them must not make clients wait for ever.
    pub(super) fn stop_holding_asks(&mut self) {
        self.asks.held = false;
    }

    pub(super) fn send_asks(&mut self, turn: &mut Turn<'_>) {
        self.asks.waiting = 0;
        let mut batches = std::mem::take(&mut self.asks.batches);
        for Batch { slot, how: How { epoch, want, noticed }, keys, askers } in batches.drain(..) {
            let request = Request::Read(ReadRequest { epoch, want, noticed, keys });
            if let Err(Purpose::Read(askers)) = self.call_or_give_back(turn, slot, Purpose::Read(askers), request) {
                for asker in askers {
                    self.on_read_lost(turn, asker, slot);
                }
            }
        }
        if self.asks.batches.is_empty() {
            // Their memory is kept for the next ones.
            self.asks.batches = batches;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(asks: &Asks) -> Vec<(u16, usize)> {
        asks.batches.iter().map(|batch| (batch.slot.number(), batch.keys.len())).collect()
    }

    #[test]
    fn a_message_has_one_peer_and_one_way_of_asking() {
        let mut asks = Asks::new();
        let slot = |number| Slot::new(number).unwrap();
        let how = |want, noticed| How { epoch: Epoch(1), want, noticed };
        let key = Key::copy_from(b"key").unwrap();
        for index in 0..7 {
            let asker = Asker { gather: 1, index };
            asks.push(slot(1), how(Want::Value, true), asker, &key);
            asks.push(slot(2), how(Want::Digest, true), asker, &key);
        }
        assert_eq!(sizes(&asks), [(1, 7), (2, 7)]);
        asks.push(slot(1), how(Want::Value, false), Asker { gather: 2, index: 0 }, &key);
        asks.push(slot(1), How { epoch: Epoch(2), ..how(Want::Value, true) }, Asker { gather: 2, index: 0 }, &key);
        assert_eq!(sizes(&asks)[2..], [(1, 1), (1, 1)], "others are asked otherwise");
        for index in 0..READ_KEYS_MAX as u32 {
            asks.push(slot(2), how(Want::Digest, true), Asker { gather: 3, index }, &key);
        }
        assert_eq!(sizes(&asks)[4..], [(2, 7)], "a message has no more than {READ_KEYS_MAX} keys");
    }

    #[test]
    fn what_is_held_back_is_sent_when_it_is_a_lot() {
        let mut asks = Asks::new();
        let how = How { epoch: Epoch(1), want: Want::Digest, noticed: true };
        let key = Key::copy_from(b"key").unwrap();
        asks.held = true;
        assert!(!asks.are_due());
        for index in 1..=HELD_MAX as u32 {
            asks.push(Slot::new(1).unwrap(), how, Asker { gather: 1, index }, &key);
            assert_eq!(asks.are_due(), index as usize == HELD_MAX);
        }
    }
}
