//! Client reads: one operation a request, however many keys it has, and one message a peer.
//!
//! This node's own copy is read at once; what is asked of others is put together by `asks`. One timer guards all keys of a
//! request. Must not know how messages are made, nor how a key's answers are weighed (`cluster::read`).

use std::time::Duration;

use bytes::Bytes;
use memring_protocol::entry::{Item, Seen};
use memring_protocol::key::Key;
use memring_protocol::level::Level;
use memring_protocol::message::{Mutation, Outcome, ReadResult, Refusal, Reply, Want};
use memring_protocol::text::{Keys, Response, WatchKinds};
use memring_protocol::version::Slot;

use super::asks::{Asker, How};
use super::effect::{Effect, Ticket};
use super::gather::{Found, Gather, NEVER, Next, Progress, Read, Reader};
use super::hedging::HEDGE_AFTER_MAX;
use super::meta::MetaCall;
use super::replica::warm;
use super::requests::key_of;
use super::settings::Unmet;
use super::turn::Turn;
use super::writes::WriteParent;
use super::{Node, Op, OpId};
use crate::store::WARMED_MAX;

/// After this a read that too few homes have answered is unmet.
pub(crate) const READ_PATIENCE: Duration = Duration::from_millis(1500);

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

impl Node {
    /// get and gets.
    pub(crate) fn start_reads(&mut self, turn: &mut Turn<'_>, ticket: Ticket, keys: &Keys<'_>, with_cas: bool) {
        if self.start_comparing(turn, ticket, keys, with_cas) {
            return;
        }
        let shape = Shape::Values { ticket, with_cas, touching: false };
        self.start_gather(turn, shape, reads_of(keys), None, true);
    }

    /// Reads keys at the request's level or their own.
    pub(crate) fn start_gather(
        &mut self,
        turn: &mut Turn<'_>,
        shape: Shape,
        reads: Vec<Read>,
        level: Option<Level>,
        noticed: bool,
    ) {
        let gather = self.new_gather(turn, shape, reads, level, noticed);
        let id = self.open(Op::Gather(gather));
        let hedge_at = turn.mono().after(self.hedging.after());
        let Self { ops, asks, shared, counters, .. } = self;
        let Some(Op::Gather(gather)) = ops.get_mut(&id) else { return };
        let mut reader = Reader { shared, topology: turn.topology, now: turn.now.cluster, noticed, asks };
        let mut disputed = Vec::new();
        for index in 0..gather.reads.len() {
            if index % WARMED_MAX == 0 {
                warm(&shared.store, gather.reads[index..].iter().map(|read| &read.key));
            }
            let read = &mut gather.reads[index];
            read.hedge_at = hedge_at;
            let layout = turn.topology.layout();
            let homes = layout.map_or(&[][..], |layout| layout.homes(read.key.partition()));
            let level = level.unwrap_or_else(|| shared.read_level(turn.topology, read.key.as_bytes()));
            let needed = level.needed(homes.len());
            let next = if shared.reads_alone(turn.topology, (&read.key).into(), Some(level)) {
                // One copy is enough, and it is here: that is a client's read of the store, and counted as one.
                read.progress = Progress::Done(shared.store.fetch(turn.now.cluster, &read.key, noticed));
                Next::Done
            } else if homes.is_empty() || needed > homes.len() {
                read.progress = Progress::Done(None);
                Next::Unmet
            } else {
                shared.wanted.note(read.key.partition());
                if turn.topology.me().is_none_or(|me| !homes.contains(&me)) {
                    counters.reads_forwarded.increment();
                }
                let next = layout.and_then(|layout| layout.next_homes(read.key.partition()));
                read.progress = Progress::Asking(reader.read_op(homes, next, needed));
                reader.go_on(Asker { gather: id, index: index as u32 }, read)
            };
            match next {
                Next::Wait => {}
                // The only home of a key that moves has answered itself: whether it still is one, its serializer tells.
                Next::Confirm => disputed.push(Asker { gather: id, index: index as u32 }),
                Next::Done => gather.waiting -= 1,
                Next::Unmet => {
                    gather.waiting -= 1;
                    gather.unmet = true;
                    counters.reads_unmet.increment();
                }
            }
        }
        if gather.waiting == 0 {
            return self.finish_gather(turn, id);
        }
        gather.begun = Some(turn.mono());
        self.hedging.on_begun(gather.waiting);
        self.set_timer(hedge_at, id);
        for asker in disputed {
            self.after_steps(turn, asker, Next::Confirm);
        }
    }

    /// A gather whose keys' results come from writes.
    pub(crate) fn open_gather(&mut self, turn: &Turn<'_>, shape: Shape, reads: Vec<Read>) -> OpId {
        let gather = self.new_gather(turn, shape, reads, None, true);
        self.open(Op::Gather(gather))
    }

    fn new_gather(
        &self,
        turn: &Turn<'_>,
        shape: Shape,
        reads: Vec<Read>,
        level: Option<Level>,
        noticed: bool,
    ) -> Gather {
        let watched = self.shared.watched().has(WatchKinds::FETCHERS);
        let told = if watched { &reads[..] } else { &[] };
        let missing = told.iter().map(|read| self.missing_before(turn, &read.key)).collect();
        let (waiting, deadline) = (reads.len(), turn.mono().after(READ_PATIENCE));
        Gather { shape, level, noticed, reads, missing, waiting, unmet: false, begun: None, deadline }
    }

    /// At level one a synced home answers by itself. `None`: others must be asked.
    pub(crate) fn read_at_once(&self, turn: &Turn<'_>, target: &Target, noticed: bool) -> Option<Found> {
        let alone = self.shared.reads_alone(turn.topology, (&target.key).into(), target.level);
        alone.then(|| self.shared.store.fetch(turn.cluster(), &target.key, noticed))
    }

    pub(crate) fn on_read_reply(&mut self, turn: &mut Turn<'_>, askers: &[Asker], from: Slot, reply: Reply) {
        match reply {
            Reply::Read(results) if results.len() == askers.len() && results[0] != ReadResult::Later => {
                for (asker, result) in askers.iter().zip(results) {
                    self.on_read_result(turn, *asker, from, result);
                }
            }
            _ => {
                for asker in askers {
                    self.on_read_lost(turn, *asker, from);
                }
            }
        }
    }

    pub(crate) fn on_read_lost(&mut self, turn: &mut Turn<'_>, asker: Asker, from: Slot) {
        self.on_read_result(turn, asker, from, ReadResult::Refused(Refusal::Busy));
    }

    fn on_read_result(&mut self, turn: &mut Turn<'_>, asker: Asker, from: Slot, result: ReadResult) {
        let Self { ops, asks, shared, .. } = self;
        let Some(Op::Gather(gather)) = ops.get_mut(&asker.gather) else { return };
        let noticed = gather.noticed;
        let Some(read) = gather.reads.get_mut(asker.index as usize) else { return };
        let Progress::Asking(op) = &mut read.progress else { return };
        if result == ReadResult::Later {
            // The reply was full of others' values: this one is not slow.
            gather.deadline = gather.deadline.max(turn.mono().after(READ_PATIENCE));
            read.hedge_at = turn.mono().after(HEDGE_AFTER_MAX);
            let how = How { epoch: turn.topology.epoch(), want: Want::Value, noticed };
            return asks.push(from, how, asker, &read.key);
        }
        op.on_result(from, result);
        let mut reader = Reader { shared, topology: turn.topology, now: turn.now.cluster, noticed, asks };
        let next = reader.go_on(asker, read);
        self.after_steps(turn, asker, next);
    }

    fn after_steps(&mut self, turn: &mut Turn<'_>, asker: Asker, next: Next) {
        match next {
            Next::Wait => {}
            Next::Done => self.end_read(turn, asker.gather, false),
            Next::Unmet => self.end_read(turn, asker.gather, true),
            Next::Confirm => {
                let Some(Op::Gather(gather)) = self.ops.get(&asker.gather) else { return };
                // A key of many shares its bytes with the others; what is written is kept for longer than they are.
                let key = key_of(gather.reads[asker.index as usize].key.as_bytes());
                let (target, deadline) = (Target { key, level: gather.level }, Some(gather.deadline));
                self.counters.read_repairs.increment();
                self.start_write(turn, target, Mutation::Confirm, WriteParent::Read(asker), deadline);
            }
        }
    }

    /// The serializer has made the homes agree, or could not.
    pub(crate) fn on_confirmed(&mut self, turn: &mut Turn<'_>, asker: Asker, outcome: Option<Outcome>) {
        let Some(Op::Gather(gather)) = self.ops.get(&asker.gather) else { return };
        let before = match gather.reads.get(asker.index as usize).map(|read| &read.progress) {
            Some(Progress::Confirming(before)) => *before,
            _ => return,
        };
        let result = match outcome {
            Some(Outcome::Item(fetched)) => {
                // The homes have taken note of this read before the serializer looked. A copy that did not hold the value
                // had not been read.
                let seen = match before {
                    Some((cas, seen)) if cas == fetched.item.cas => seen,
                    _ => Seen { fetched: false, ..fetched.seen },
                };
                Ok(Some((fetched.item, seen)))
            }
            Some(_) => Ok(None),
            None => Err(()),
        };
        self.set_result(turn, asker, result);
    }

    /// One more home for keys that are slow; or no more patience.
    pub(crate) fn on_gather_timer(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Self { ops, asks, shared, counters, hedging, .. } = self;
        let Some(Op::Gather(gather)) = ops.get_mut(&id) else { return };
        let now = turn.mono();
        if now >= gather.deadline {
            gather.unmet = true;
            counters.reads_unmet.add(gather.waiting as u64);
            self.finish_gather(turn, id);
            return;
        }
        let (noticed, mut wake_at) = (gather.noticed, gather.deadline);
        let mut reader = Reader { shared, topology: turn.topology, now: turn.now.cluster, noticed, asks };
        let mut decided = Vec::new();
        for (index, read) in gather.reads.iter_mut().enumerate() {
            match read.progress {
                Progress::Asking(_) if read.hedge_at <= now => {
                    let asker = Asker { gather: id, index: index as u32 };
                    match reader.hedge(asker, read, turn.mono(), hedging, counters) {
                        Next::Wait => {}
                        next => decided.push((asker, next)),
                    }
                    wake_at = wake_at.min(read.hedge_at);
                }
                Progress::Asking(_) => wake_at = wake_at.min(read.hedge_at),
                Progress::Confirming(_) | Progress::Written | Progress::Done(_) => {}
            }
        }
        self.set_timer(wake_at, id);
        for (asker, next) in decided {
            self.after_steps(turn, asker, next);
        }
    }

    /// Something of what this key waits for has moved: it is waited for, and no other home asked before `look_after`.
    pub(crate) fn read_moved(&mut self, turn: &mut Turn<'_>, asker: Asker, look_after: Duration) {
        let Some(Op::Gather(gather)) = self.ops.get_mut(&asker.gather) else { return };
        gather.deadline = gather.deadline.max(turn.mono().after(READ_PATIENCE));
        if let Some(read) = gather.reads.get_mut(asker.index as usize)
            && read.hedge_at != NEVER
        {
            read.hedge_at = turn.mono().after(look_after);
        }
    }

    /// The result of a key that came from a write; `Err` when too few homes could answer.
    pub(crate) fn set_result(&mut self, turn: &mut Turn<'_>, asker: Asker, result: Result<Found, ()>) {
        let Some(Op::Gather(gather)) = self.ops.get_mut(&asker.gather) else { return };
        let Some(read) = gather.reads.get_mut(asker.index as usize) else { return };
        if matches!(read.progress, Progress::Done(_)) {
            return;
        }
        let is_unmet = result.is_err();
        read.progress = Progress::Done(result.unwrap_or_default());
        self.end_read(turn, asker.gather, is_unmet);
    }

    /// One key has its result, or too few homes could answer; with the last one the client is answered.
    fn end_read(&mut self, turn: &mut Turn<'_>, id: OpId, is_unmet: bool) {
        let Some(Op::Gather(gather)) = self.ops.get_mut(&id) else { return };
        gather.waiting -= 1;
        if is_unmet {
            gather.unmet = true;
            self.counters.reads_unmet.increment();
        }
        if gather.waiting == 0 {
            self.finish_gather(turn, id);
        }
    }

    fn finish_gather(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Gather(gather)) = self.close(id) else { return };
        let Gather { shape, mut reads, missing, unmet, begun, .. } = gather;
        if let Some(begun) = begun {
            self.hedging.on_ended(turn.mono().since(begun));
        }
        match shape {
            Shape::Values { ticket, with_cas, touching } => {
                for (read, why) in reads.iter().zip(&missing) {
                    let size = read.found().map(|(item, _)| item.value.len());
                    self.tell_fetch(turn, ticket, &read.key, size.ok_or(*why));
                }
                let response = if unmet && self.shared.settings().unmet == Unmet::Error {
                    Response::ServerError("quorum not reached".to_owned())
                } else {
                    self.values_response(reads, with_cas, touching)
                };
                turn.effects.push(Effect::Respond(ticket, response));
            }
            Shape::Meta(call) => {
                if let Some(Read { key, progress, .. }) = reads.pop() {
                    let found = if let Progress::Done(found) = progress { found } else { None };
                    self.end_meta_read(turn, key, call, if unmet { Err(()) } else { Ok(found) });
                }
            }
        }
    }

    fn values_response(&self, reads: Vec<Read>, with_cas: bool, touching: bool) -> Response {
        self.shared.details.note_reads(reads.iter().map(|read| (&read.key, read.found().is_some())));
        let count = reads.len() as u64;
        let mut values: Vec<(Bytes, Item)> = Vec::with_capacity(reads.len());
        for Read { key, progress, .. } in reads {
            let found = if let Progress::Done(found) = progress { found } else { None };
            if !touching {
                self.count_in_namespace(key.as_bytes(), found.is_some());
            }
            if let Some((item, _)) = found {
                self.count_hit(touching, key.len(), item.value.len());
                values.push((key.into_bytes(), item));
            }
        }
        let hits = values.len() as u64;
        self.count_reads(touching, hits, count - hits);
        Response::Values { with_cas, values }
    }
}

/// The keys of a request, to be kept: many share one copy of their bytes, which lives as long as the last of them.
fn reads_of(keys: &Keys<'_>) -> Vec<Read> {
    let mut reads = Vec::with_capacity(keys.count());
    if keys.count() == 1 {
        reads.extend(keys.iter().map(|key| Read::of(key_of(key))));
        return reads;
    }
    let mut all = Vec::with_capacity(keys.iter().map(<[u8]>::len).sum());
    keys.iter().for_each(|key| all.extend_from_slice(key));
    let all = Bytes::from(all);
    let mut at = 0;
    for key in keys.iter() {
        let bytes = all.slice(at..at + key.len());
        at += key.len();
        reads.push(Read::of(Key::new(bytes).expect("the grammar lets only keys of 1 to 250 bytes pass")));
    }
    reads
}
