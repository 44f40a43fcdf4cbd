//! Client reads: one gather a request, one read operation a key, one message a peer.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use memring_protocol::entry::{Entry, Item, Seen};
use memring_protocol::key::Key;
use memring_protocol::level::Level;
use memring_protocol::limits::{FRAME_BYTES_MAX, READ_KEYS_MAX};
use memring_protocol::message::{Mutation, Outcome, ReadRequest, ReadResult, Refusal, Reply, Request, Want};
use memring_protocol::text::{Keys, Response, WatchKinds};
use memring_protocol::version::Slot;
use smallvec::SmallVec;

use super::calls::Purpose;
use super::effect::{Effect, Ticket};
use super::meta::MetaCall;
use super::requests::key_of;
use super::settings::Unmet;
use super::turn::Turn;
use super::writes::WriteParent;
use super::{Node, Op, OpId, replica};
use crate::cluster::quorum::Slots;
use crate::cluster::read::{ReadOp, ReadStep, ReadSteps};
use crate::now::Mono;
use crate::store::Missing;

/// After this a read asks one more home than it needs.
const HEDGE_AFTER: Duration = Duration::from_millis(100);

/// After this a read that too few homes have answered is unmet.
pub(crate) const READ_PATIENCE: Duration = Duration::from_millis(1500);

/// The most bytes of values that one reply may have to carry; one value may pass it. A message asks for so few keys that
/// their values fit, so there is never a rest to be asked for.
const READ_REPLY_BYTES: usize = FRAME_BYTES_MAX / 4;

/// A key to be read or written, and the level that the request itself asks for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) key: Key,
    pub(crate) level: Option<Level>,
}

impl Target {
    /// At the node's level for the key.
    pub(crate) fn of(key: Key) -> Self {
        Self { key, level: None }
    }
}

/// What a gather's results are put together to.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// get, gets; gat and gats, which touch.
    Values { ticket: Ticket, with_cas: bool, touching: bool },
    /// mg or me of one key.
    Meta(MetaCall),
}

/// A key's item, and how the copy that answered had been read.
pub(crate) type Found = Option<(Item, Seen)>;

/// A client's read: the keys' results on their way.
#[derive(Debug)]
pub(crate) struct Gather {
    shape: Shape,
    keys: Vec<Key>,
    /// Why those that are not found are not there; empty where nobody watches.
    missing: Vec<Missing>,
    found: Vec<Found>,
    waiting: usize,
    unmet: bool,
}

/// One key of a gather.
#[derive(Debug)]
pub(crate) struct Read {
    gather: OpId,
    index: usize,
    key: Key,
    level: Option<Level>,
    noticed: bool,
    op: ReadOp,
    hedged: bool,
    pub(crate) deadline: Mono,
}

/// A question to a home that has not been put into a message yet.
#[derive(Debug)]
pub(crate) struct Ask {
    slot: Slot,
    want: Want,
    noticed: bool,
    op: OpId,
    key: Key,
}

impl Node {
    /// get and gets.
    pub(crate) fn start_reads(&mut self, turn: &mut Turn<'_>, ticket: Ticket, keys: &Keys<'_>, with_cas: bool) {
        let keys: Vec<Key> = keys.iter().map(key_of).collect();
        let gather = self.open_gather(turn, Shape::Values { ticket, with_cas, touching: false }, &keys);
        for (index, key) in keys.into_iter().enumerate() {
            let target = Target::of(key);
            match self.read_at_once(turn, &target, true) {
                Some(found) => self.set_result(gather, index, Ok(found)),
                None => self.start_read(turn, gather, index, target, true),
            }
        }
        self.finish_gather(turn, gather);
    }

    /// A gather whose keys' results come from elsewhere.
    pub(crate) fn open_gather(&mut self, turn: &Turn<'_>, shape: Shape, keys: &[Key]) -> OpId {
        let watched = self.shared.watched().has(WatchKinds::FETCHERS);
        let told = if watched { keys } else { &[] };
        let missing = told.iter().map(|key| self.missing_before(turn, key)).collect();
        let (found, waiting) = (vec![None; keys.len()], keys.len());
        self.open(Op::Gather(Gather { shape, keys: keys.to_vec(), missing, found, waiting, unmet: false }))
    }

    /// At level one a synced home answers by itself. `None`: others must be asked.
    pub(crate) fn read_at_once(&self, turn: &Turn<'_>, target: &Target, noticed: bool) -> Option<Found> {
        let (layout, me) = (turn.topology.layout()?, turn.topology.me()?);
        let key = &target.key;
        let homes = layout.homes(key.partition());
        let level = self.read_level(turn, target);
        let alone =
            level.needed(homes.len()) == 1 && homes.contains(&me) && self.shared.standings.is_synced(key.partition());
        alone.then(|| self.shared.store.fetch(turn.cluster(), key, noticed))
    }

    fn read_level(&self, turn: &Turn<'_>, target: &Target) -> Level {
        target.level.unwrap_or_else(|| self.shared.read_level(turn.topology, target.key.as_bytes()))
    }

    pub(crate) fn start_read(
        &mut self,
        turn: &mut Turn<'_>,
        gather: OpId,
        index: usize,
        target: Target,
        noticed: bool,
    ) {
        let level = self.read_level(turn, &target);
        let needed = turn.topology.layout().map(|layout| {
            let homes = layout.homes(target.key.partition()).len();
            (level.needed(homes), homes)
        });
        let Target { key, level } = target;
        let Some((needed, homes)) = needed.filter(|(needed, homes)| needed <= homes) else {
            self.set_result(gather, index, Err(()));
            return;
        };
        debug_assert!(homes > 0);
        let mut op = ReadOp::new(self.candidates(turn, &key), needed);
        let mut steps = ReadSteps::new();
        op.advance(&mut steps);
        let deadline = turn.mono().after(READ_PATIENCE);
        let id = self.open(Op::Read(Read { gather, index, key, level, noticed, op, hedged: false, deadline }));
        self.set_timer(turn.mono().after(HEDGE_AFTER), id);
        self.take_steps(turn, id, steps);
    }

    /// The homes of a key, best first: this node, then those that are usable, then the rest.
    fn candidates(&self, turn: &Turn<'_>, key: &Key) -> Slots {
        let homes = turn.topology.layout().map_or(&[][..], |layout| layout.homes(key.partition()));
        let mut candidates: Slots = homes.into();
        candidates.sort_by_key(|slot| {
            let mine = Some(*slot) == turn.topology.me();
            (!mine, !self.shared.is_usable(turn.topology, *slot), !turn.topology.is_up(*slot))
        });
        candidates
    }

    fn take_steps(&mut self, turn: &mut Turn<'_>, id: OpId, steps: ReadSteps) {
        for step in steps {
            let Some(Op::Read(read)) = self.ops.get(&id) else { return };
            let (gather, index) = (read.gather, read.index);
            match step {
                ReadStep::Ask(slot, want) => {
                    let (key, noticed) = (read.key.clone(), read.noticed);
                    self.asks.push(Ask { slot, want, noticed, op: id, key });
                }
                ReadStep::Answer(found) => {
                    let live = |(entry, seen): (Entry, Seen)| Some((entry.live_item(turn.cluster())?.clone(), seen));
                    self.close(id);
                    self.set_result(gather, index, Ok(found.and_then(live)));
                }
                ReadStep::Confirm => {
                    self.counters.read_repairs.increment();
                    let target = Target { key: read.key.clone(), level: read.level };
                    let deadline = read.deadline;
                    self.start_write(turn, target, Mutation::Confirm, WriteParent::Read(id), Some(deadline));
                }
                ReadStep::Unmet => {
                    self.close(id);
                    self.set_result(gather, index, Err(()));
                }
            }
            self.finish_gather(turn, gather);
        }
    }

    /// Puts the questions of this turn into one message a peer.
    pub(crate) fn send_asks(&mut self, turn: &mut Turn<'_>) {
        let mut batches: BTreeMap<(Slot, Want, bool), Vec<(OpId, Key)>> = BTreeMap::new();
        for ask in std::mem::take(&mut self.asks) {
            batches.entry((ask.slot, ask.want, ask.noticed)).or_default().push((ask.op, ask.key));
        }
        let epoch = turn.topology.epoch();
        for ((slot, want, noticed), batch) in batches {
            if Some(slot) == turn.topology.me() {
                for (op, key) in batch {
                    let how = ReadRequest { epoch, want, noticed, keys: Vec::new() };
                    let result = replica::read_key(&self.shared, turn.topology, turn.cluster(), &how, &key);
                    self.on_read_result(turn, op, slot, result);
                }
                continue;
            }
            for chunk in batch.chunks(self.keys_a_message()) {
                let ops: SmallVec<[OpId; 4]> = chunk.iter().map(|(op, _)| *op).collect();
                let keys = chunk.iter().map(|(_, key)| key.clone()).collect();
                let request = Request::Read(ReadRequest { epoch, want, noticed, keys });
                if !self.call(turn, slot, Purpose::Read(ops.clone()), request) {
                    for op in ops {
                        self.on_read_lost(turn, op, slot);
                    }
                }
            }
        }
    }

    /// So many keys that their values fit in one reply, whatever their size.
    fn keys_a_message(&self) -> usize {
        (READ_REPLY_BYTES / self.shared.settings().item_bytes_max.max(1)).clamp(1, READ_KEYS_MAX)
    }

    pub(crate) fn on_read_reply(&mut self, turn: &mut Turn<'_>, ops: &[OpId], from: Slot, reply: Reply) {
        let results = match reply {
            Reply::Read(results) if results.len() == ops.len() => results,
            _ => {
                for op in ops {
                    self.on_read_lost(turn, *op, from);
                }
                return;
            }
        };
        for (op, result) in ops.iter().zip(results) {
            self.on_read_result(turn, *op, from, result);
        }
    }

    fn on_read_result(&mut self, turn: &mut Turn<'_>, id: OpId, from: Slot, result: ReadResult) {
        let Some(Op::Read(read)) = self.ops.get_mut(&id) else { return };
        let mut steps = ReadSteps::new();
        read.op.on_result(from, result, &mut steps);
        self.take_steps(turn, id, steps);
    }

    pub(crate) fn on_read_lost(&mut self, turn: &mut Turn<'_>, id: OpId, from: Slot) {
        self.on_read_result(turn, id, from, ReadResult::Refused(Refusal::Busy));
    }

    /// The serializer has made the homes agree, or could not.
    pub(crate) fn on_confirmed(&mut self, turn: &mut Turn<'_>, id: OpId, outcome: Option<Outcome>) {
        let Some(Op::Read(read)) = self.close(id) else { return };
        let result = match outcome {
            Some(Outcome::Item(fetched)) => Ok(Some((fetched.item, fetched.seen))),
            Some(_) => Ok(None),
            None => Err(()),
        };
        self.set_result(read.gather, read.index, result);
        self.finish_gather(turn, read.gather);
    }

    pub(crate) fn on_read_timer(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Read(read)) = self.ops.get_mut(&id) else { return };
        if turn.mono() >= read.deadline {
            let (gather, index) = (read.gather, read.index);
            self.close(id);
            self.set_result(gather, index, Err(()));
            self.finish_gather(turn, gather);
            return;
        }
        let deadline = read.deadline;
        let mut steps = ReadSteps::new();
        if !read.hedged {
            read.hedged = true;
            read.op.on_slow(&mut steps);
        }
        self.set_timer(deadline, id);
        self.take_steps(turn, id, steps);
    }

    /// One key's result; `Err` when too few homes could answer.
    pub(crate) fn set_result(&mut self, gather: OpId, index: usize, result: Result<Found, ()>) {
        let Some(Op::Gather(gather)) = self.ops.get_mut(&gather) else { return };
        gather.waiting -= 1;
        match result {
            Ok(found) => gather.found[index] = found,
            Err(()) => {
                gather.unmet = true;
                self.counters.reads_unmet.increment();
            }
        }
    }

    /// Answers the client once every key has its result.
    pub(crate) fn finish_gather(&mut self, turn: &mut Turn<'_>, id: OpId) {
        match self.ops.get(&id) {
            Some(Op::Gather(gather)) if gather.waiting == 0 => {}
            _ => return,
        }
        let Some(Op::Gather(mut gather)) = self.close(id) else { return };
        match gather.shape {
            Shape::Values { ticket, with_cas, touching } => {
                for ((key, found), why) in gather.keys.iter().zip(&gather.found).zip(&gather.missing) {
                    let size = found.as_ref().map(|(item, _)| item.value.len());
                    self.tell_fetch(turn, ticket, key, size.ok_or(*why));
                }
                let response = self.values_response(&mut gather, with_cas, touching);
                turn.effects.push(Effect::Respond(ticket, response));
            }
            Shape::Meta(call) => {
                let found = if gather.unmet { Err(()) } else { Ok(gather.found.pop().flatten()) };
                if let Some(key) = gather.keys.pop() {
                    self.end_meta_read(turn, key, call, found);
                }
            }
        }
    }

    fn values_response(&self, gather: &mut Gather, with_cas: bool, touching: bool) -> Response {
        if gather.unmet && self.shared.settings().unmet == Unmet::Error {
            return Response::ServerError("quorum not reached".to_owned());
        }
        let (keys, found) = (std::mem::take(&mut gather.keys), std::mem::take(&mut gather.found));
        let count = keys.len() as u64;
        self.shared.details.note_reads(&keys, &found);
        let values: Vec<(Bytes, Item)> =
            keys.iter().zip(found).filter_map(|(key, found)| Some((key.to_bytes(), found?.0))).collect();
        let hits = values.len() as u64;
        self.count_reads(touching, hits, count - hits);
        for (key, item) in &values {
            self.count_hit(touching, key.len(), item.value.len());
        }
        Response::Values { with_cas, values }
    }
}
