//! The keys of one client request, each on its way from home to home: see `reads`, which answers with what they find.
//!
//! Must not know clients, nor how questions get into messages.

use memring_protocol::entry::{Item, Seen, UnixMillis};
use memring_protocol::key::Key;
use memring_protocol::level::Level;
use memring_protocol::message::Want;
use memring_protocol::version::Slot;

use super::asks::{Asker, Asks, How};
use super::counters::Counters;
use super::hedging::{HEDGE_AFTER_MAX, Hedging};
use super::reads::Shape;
use super::replica;
use super::shared::Shared;
use super::topology::Topology;
use crate::cluster::quorum::Slots;
use crate::cluster::read::{ReadOp, ReadStep};
use crate::now::Mono;
use crate::store::Missing;

/// The moment of what is not to happen.
pub(super) const NEVER: Mono = Mono(u64::MAX);

/// A key's item, and how the copy that answered had been read.
pub(crate) type Found = Option<(Item, Seen)>;

/// A client's read: the keys' results on their way.
#[derive(Debug)]
pub(crate) struct Gather {
    pub(super) shape: Shape,
    /// What the request itself asks for.
    pub(super) level: Option<Level>,
    pub(super) noticed: bool,
    pub(super) reads: Vec<Read>,
    /// Why those that are not found are not there; empty where nobody watches.
    pub(super) missing: Vec<Missing>,
    pub(super) waiting: usize,
    pub(super) unmet: bool,
    /// When others were asked.
    pub(super) begun: Option<Mono>,
    pub(super) deadline: Mono,
}

/// One key of a gather.
#[derive(Debug)]
pub(crate) struct Read {
    pub(super) key: Key,
    /// When one more home is asked.
    pub(super) hedge_at: Mono,
    pub(super) progress: Progress,
}

#[derive(Debug)]
pub(crate) enum Progress {
    Asking(ReadOp),
    /// The serializer makes the homes agree. With the newest value that they held, by its cas token, and how its copy had
    /// been read: this very read has been noted by now.
    Confirming(Option<(u64, Seen)>),
    /// The result comes from a write.
    Written,
    Done(Found),
}

/// What is to be done for a key.
pub(super) enum Next {
    Wait,
    Done,
    Confirm,
    Unmet,
}

/// What a read of a key needs of its node.
pub(super) struct Reader<'a> {
    pub(super) shared: &'a Shared,
    pub(super) topology: &'a Topology,
    pub(super) now: UnixMillis,
    pub(super) noticed: bool,
    pub(super) asks: &'a mut Asks,
}

impl Reader<'_> {
    /// Takes the next steps of a key's read, up to where others must answer.
    pub(super) fn go_on(&mut self, asker: Asker, read: &mut Read) -> Next {
        loop {
            let Progress::Asking(op) = &mut read.progress else { return Next::Wait };
            match op.next_step() {
                None => return Next::Wait,
                Some(ReadStep::Ask(slot, want)) => self.ask(asker, &read.key, op, slot, want),
                Some(ReadStep::Answer(found)) => {
                    let live = found.and_then(|(entry, seen)| Some((entry.into_live_item(self.now)?, seen)));
                    read.progress = Progress::Done(live);
                    return Next::Done;
                }
                Some(ReadStep::Confirm) => {
                    read.progress = Progress::Confirming(op.seen_before());
                    return Next::Confirm;
                }
                Some(ReadStep::Unmet) => {
                    read.progress = Progress::Done(None);
                    return Next::Unmet;
                }
            }
        }
    }

    fn ask(&mut self, asker: Asker, key: &Key, op: &mut ReadOp, slot: Slot, want: Want) {
        let how = How { epoch: self.topology.epoch(), want, noticed: self.noticed };
        if !self.topology.is_up(slot) {
            // Gossip has given it up: whoever waited for its answer would wait in vain.
            op.on_lost(slot);
        } else if Some(slot) == self.topology.me() {
            op.on_result(slot, replica::read_key(self.shared, self.topology, self.now, how, key));
        } else {
            self.asks.push(slot, how, asker, key);
        }
    }

    /// Asks one more home than the read needs, if one is left that answers, and not too many reads have been so dear.
    pub(super) fn hedge(
        &mut self,
        asker: Asker,
        read: &mut Read,
        now: Mono,
        hedging: &mut Hedging,
        counters: &Counters,
    ) -> Next {
        read.hedge_at = NEVER;
        let Progress::Asking(op) = &mut read.progress else { return Next::Wait };
        if op.spare().is_some_and(|slot| self.shared.is_usable(self.topology, slot)) {
            if !hedging.spend() {
                counters.hedges_refused.increment();
                read.hedge_at = now.after(HEDGE_AFTER_MAX);
            } else if let Some(ReadStep::Ask(slot, want)) = op.on_slow() {
                counters.hedged_reads.increment();
                self.ask(asker, &read.key, op, slot, want);
            }
        }
        self.go_on(asker, read)
    }

    /// The read of a key from its homes; while a move is under way, first from those that stay homes.
    pub(super) fn read_op(&self, homes: &[Slot], next: Option<&[Slot]>, needed: usize) -> ReadOp {
        let mut candidates = self.candidates(homes);
        let Some(next) = next else { return ReadOp::new(candidates, needed) };
        candidates.sort_by_key(|slot| (!self.shared.is_usable(self.topology, *slot), !next.contains(slot)));
        let op = ReadOp::new(candidates, needed).through_move(next);
        let is_leave = self.topology.layout().is_some_and(|layout| layout.is_leave());
        if is_leave { op.with_heirs(next) } else { op }
    }

    /// The homes of a key, best first: this node, then those that are usable, the slow ones last, then those that may be
    /// asked all the same. Who is silent or has failed is not asked, however few are left: nobody is to wait for it.
    fn candidates(&self, homes: &[Slot]) -> Slots {
        let mut candidates = Slots::from_slice(homes);
        if let Some(mine) = homes.iter().position(|slot| Some(*slot) == self.topology.me()) {
            for at in (0..mine).rev() {
                candidates.swap(at, at + 1);
            }
        }
        let topology = self.topology;
        let all_usable = candidates.iter().all(|slot| self.shared.is_usable(topology, *slot));
        if topology.has_far() || !all_usable || !self.shared.peers.none_is_slow() {
            candidates.sort_by_key(|slot| {
                let mine = Some(*slot) == topology.me();
                let usable = self.shared.is_usable(topology, *slot);
                let slow = self.shared.is_slow(topology, *slot);
                (!mine, !usable, !topology.is_up(*slot), slow, topology.is_far(*slot))
            });
        }
        if !all_usable {
            candidates.retain(|slot| !self.shared.is_hopeless(topology, *slot));
        }
        candidates
    }
}

impl Read {
    /// A key of which nothing has been asked.
    pub(super) fn of(key: Key) -> Self {
        Self { key, hedge_at: NEVER, progress: Progress::Written }
    }

    pub(super) fn found(&self) -> Option<&(Item, Seen)> {
        match &self.progress {
            Progress::Done(found) => found.as_ref(),
            _ => None,
        }
    }
}
