//! A write from the coordinator's side: find the serializer, hand the write over, try the next one if that is safe.
//!
//! Must not order anything itself: see `serializer`.

use std::time::Duration;

use memring_protocol::entry::Marks;
use memring_protocol::key::Key;
use memring_protocol::level::Level;
use memring_protocol::message::{COPIES_ALL, Mutation, Outcome, Refusal, Remove, Request, WriteReply, WriteRequest};
use memring_protocol::version::{Ballot, Slot};

use super::asks::Asker;
use super::calls::{Attempt, Purpose};
use super::effect::Ticket;
use super::events::Before;
use super::meta::MetaCall;
use super::moving::patience_with;
use super::reads::Target;
use super::replay::Missed;
use super::requests::Unkept;
use super::serializer::Origin;
use super::takeover::round_at;
use super::turn::Turn;
use super::{Node, Op, OpId};
use crate::cluster::mutation::is_repeatable;
use crate::cluster::quorum::Slots;
use crate::now::Mono;

/// How long a write is tried before it is given up as in doubt.
pub(crate) const WRITE_PATIENCE: Duration = Duration::from_millis(3000);

/// After this a silent serializer is passed over, if the write may be repeated.
const ATTEMPT_PATIENCE: Duration = Duration::from_millis(600);

/// How long to wait when no home can be asked, or the homes do not agree on the ring config yet.
const RETRY_AFTER: Duration = Duration::from_millis(15);

/// So many redirects are followed at once; then the write waits a little.
const REDIRECTS_AT_ONCE: u8 = 4;

/// So many attempts of a write that may be repeated may end in doubt before it does.
const DOUBTS_MAX: u8 = 3;

/// How far above this node's clock, in milliseconds, the terms may be that an attempt is meant for: a takeover's way, and
/// clocks that differ.
const ROUNDS_AHEAD: u64 = 500;

/// Who waits for a write.
#[derive(Clone, Debug)]
pub(crate) enum WriteParent {
    /// A client's command.
    Client(Ticket),
    /// A client's meta command.
    Meta(MetaCall),
    /// A client's value that was not received: the old value goes, and the answer says why.
    Refused(Ticket, Unkept),
    /// One key of a gat.
    Gather(Asker),
    /// A key of a read whose homes differ.
    Read(Asker),
    /// What a home has missed, where a later term was promised.
    Replay(Box<Missed>),
}

/// A write on its way.
#[derive(Debug)]
pub(crate) struct Write {
    pub(crate) key: Key,
    pub(crate) mutation: Mutation,
    pub(crate) parent: WriteParent,
    /// What was there when it came, if somebody watches.
    pub(crate) before: Before,
    copies: usize,
    /// The same as it is asked for: see [`WriteRequest::copies`].
    copies_asked: u8,
    pub(crate) asked: Option<Slot>,
    /// Homes that could not take it; asked again only when no other is left.
    tried: Slots,
    /// The home that another one named as the holder of the ballot.
    named: Option<Slot>,
    redirects: u8,
    takeover: bool,
    pub(crate) attempt: u32,
    /// How many attempts ended in doubt.
    doubts: u8,
    /// What was sent and may yet be ordered, is ordered in a term up to this one or not at all.
    above: Ballot,
    /// Up to which term the present attempt may be ordered.
    upto: Ballot,
    /// An earlier attempt may have been applied.
    in_doubt: bool,
    pub(crate) deadline: Mono,
}

/// How a write ended.
#[derive(Debug)]
pub(crate) enum WriteEnd {
    Done(Outcome),
    /// In doubt: so many of so many.
    Unmet(usize, usize),
}

impl Node {
    /// Starts a write at the request's level or its key's; `deadline` if the one who waits has its own.
    pub(crate) fn start_write(
        &mut self,
        turn: &mut Turn<'_>,
        target: Target,
        mutation: Mutation,
        parent: WriteParent,
        deadline: Option<Mono>,
    ) {
        let Target { key, level } = target;
        let homes = turn.topology.layout().map_or(0, |layout| layout.homes(key.partition()).len());
        let level = level.unwrap_or_else(|| self.shared.write_level(turn.topology, key.as_bytes()));
        let copies = self.shared.copies_wanted(turn.topology, &key, level, &mutation);
        let deadline = deadline.unwrap_or_else(|| turn.mono().after(WRITE_PATIENCE + patience_with(&mutation)));
        let write = Write {
            before: self.look_before(turn, &key, &parent),
            key,
            mutation,
            parent,
            copies,
            copies_asked: copies_asked(level, copies),
            asked: None,
            tried: Slots::new(),
            named: None,
            redirects: 0,
            takeover: false,
            attempt: 0,
            doubts: 0,
            above: Ballot::NONE,
            upto: Ballot::NONE,
            in_doubt: false,
            deadline,
        };
        if homes == 0 || copies > homes {
            self.end_write(turn, write, WriteEnd::Unmet(0, copies));
            return;
        }
        let id = self.open(Op::Write(write));
        self.attempt_write(turn, id);
    }

    /// Asks the home that is most likely to hold the ballot; with nobody to ask, waits a little.
    fn attempt_write(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Write(write)) = self.ops.get(&id) else { return };
        if turn.mono() >= write.deadline || self.shared.is_in_vain(turn.topology, write.key.partition()) {
            let needed = write.copies;
            let Some(Op::Write(write)) = self.close(id) else { return };
            self.end_write(turn, write, WriteEnd::Unmet(0, needed));
            return;
        }
        let named = write.named.filter(|slot| self.shared.is_usable(turn.topology, *slot));
        let target = named.map(|slot| (slot, false)).or_else(|| self.serializer_for(turn, write));
        let Some(Op::Write(write)) = self.ops.get_mut(&id) else { return };
        write.named = None;
        let Some((slot, takeover)) = target else {
            write.tried.clear();
            write.asked = None;
            self.set_timer(turn.mono().after(RETRY_AFTER), id);
            return;
        };
        write.asked = Some(slot);
        write.attempt = write.attempt.wrapping_add(1);
        // Rounds follow the clock, so the terms of now are most likely not above this; a serializer says if they are.
        let round = round_at(turn.cluster()).max(write.above.round()) + ROUNDS_AHEAD;
        write.upto = write.upto.max(Ballot::end_of(round));
        let attempt = Attempt { write: id, number: write.attempt };
        let takeover = takeover || write.takeover;
        let patience = write.deadline.since(turn.mono());
        let request = WriteRequest {
            epoch: turn.topology.epoch(),
            key: write.key.clone(),
            mutation: write.mutation.clone(),
            copies: write.copies_asked,
            takeover,
            above: write.above,
            upto: write.upto,
            patience_ms: patience.as_millis() as u32,
        };
        self.set_timer(turn.mono().after(ATTEMPT_PATIENCE.min(patience)), id);
        if Some(slot) == turn.topology.me() {
            self.start_order(turn, Origin::Local(attempt), request);
        } else if !self.call(turn, slot, Purpose::Write(attempt), Request::Write(request)) {
            self.on_write_lost(turn, attempt, slot, false);
        }
    }

    /// The home to ask, and whether it is to take over from a holder that this node cannot reach.
    fn serializer_for(&self, turn: &Turn<'_>, write: &Write) -> Option<(Slot, bool)> {
        let (layout, partition) = (turn.topology.layout()?, write.key.partition());
        let homes = layout.homes(partition);
        let usable = |slot: Slot| self.shared.is_usable(turn.topology, slot) && !write.tried.contains(&slot);
        let mine = turn.topology.me().is_some_and(|me| homes.contains(&me));
        let holder =
            if mine { self.shared.store.promised(partition).holder() } else { self.shared.standings.holder(partition) };
        let holder = holder.filter(|slot| homes.contains(slot));
        if let Some(slot) = holder.filter(|slot| usable(*slot)) {
            return Some((slot, false));
        }
        // A term that a slow home leads goes on: to move it would put writes in flight in doubt. But none begins there.
        let quickest = |slot: &Slot| self.shared.is_slow(turn.topology, *slot);
        let slot = homes.iter().copied().filter(|slot| usable(*slot)).min_by_key(quickest).or_else(|| {
            let may_ask = |slot: &Slot| self.shared.may_ask(turn.topology, *slot) && !write.tried.contains(slot);
            homes.iter().copied().find(may_ask)
        })?;
        Some((slot, holder.is_some_and(|holder| holder != slot)))
    }

    /// The answer to an attempt. Of one that was passed over even a success must not count: a later one is under way, and
    /// would be ordered after what the client writes next.
    pub(crate) fn on_write_reply(&mut self, turn: &mut Turn<'_>, attempt: Attempt, from: Slot, reply: WriteReply) {
        let id = attempt.write;
        let Some(Op::Write(write)) = self.ops.get_mut(&id) else { return };
        let awaited = write.asked == Some(from) && write.attempt == attempt.number;
        if !awaited {
            return;
        }
        match reply {
            WriteReply::Done(outcome) => {
                let Some(Op::Write(write)) = self.close(id) else { return };
                self.shared.standings.set_holder(write.key.partition(), Some(from));
                self.end_write(turn, write, WriteEnd::Done(outcome));
            }
            WriteReply::Redirect(slot) => self.on_redirect(turn, id, from, slot),
            WriteReply::Deposed(slot) => {
                write.in_doubt = true;
                self.on_redirect(turn, id, from, slot);
            }
            WriteReply::Refused(refusal) => {
                match refusal {
                    Refusal::Epoch(_) => {
                        write.asked = None;
                        self.set_timer(turn.mono().after(RETRY_AFTER), id);
                        return;
                    }
                    Refusal::Fenced(ballot) => return self.on_later_term(turn, id, from, ballot),
                    _ => {}
                }
                write.tried.push(from);
                self.attempt_write(turn, id);
            }
            // Two that take over from each other get in each other's way only for a moment.
            WriteReply::InDoubt { .. } if is_repeatable(&write.mutation) && write.doubts < DOUBTS_MAX => {
                write.doubts += 1;
                write.in_doubt = true;
                write.asked = None;
                self.set_timer(turn.mono().after(RETRY_AFTER), id);
            }
            WriteReply::InDoubt { acknowledged, needed } => {
                let Some(Op::Write(write)) = self.close(id) else { return };
                self.end_write(turn, write, WriteEnd::Unmet(usize::from(acknowledged), usize::from(needed)));
            }
        }
    }

    /// `from` says that `holder` holds the ballot. If this node cannot reach it, `from` is to take over.
    fn on_redirect(&mut self, turn: &mut Turn<'_>, id: OpId, from: Slot, holder: Slot) {
        let Some(Op::Write(write)) = self.ops.get_mut(&id) else { return };
        self.shared.standings.set_holder(write.key.partition(), Some(holder));
        write.asked = None;
        if self.shared.is_usable(turn.topology, holder) && !write.tried.contains(&holder) {
            write.takeover = false;
            write.named = Some(holder);
        } else {
            write.takeover = true;
            write.named = Some(from);
        }
        self.attempt_again(turn, id);
    }

    /// `from` leads a term that the attempt was not meant for; nothing was done.
    fn on_later_term(&mut self, turn: &mut Turn<'_>, id: OpId, from: Slot, ballot: Ballot) {
        let Some(Op::Write(write)) = self.ops.get_mut(&id) else { return };
        write.upto = write.upto.max(ballot);
        write.asked = None;
        write.named = Some(from);
        self.attempt_again(turn, id);
    }

    /// Two homes that point at each other must not keep a thread busy.
    fn attempt_again(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Write(write)) = self.ops.get_mut(&id) else { return };
        write.redirects = write.redirects.saturating_add(1);
        if write.redirects.is_multiple_of(REDIRECTS_AT_ONCE) {
            self.set_timer(turn.mono().after(RETRY_AFTER), id);
        } else {
            self.attempt_write(turn, id);
        }
    }

    /// The home that was asked is lost. `sent`: it may have got the write.
    pub(crate) fn on_write_lost(&mut self, turn: &mut Turn<'_>, attempt: Attempt, from: Slot, sent: bool) {
        let id = attempt.write;
        let Some(Op::Write(write)) = self.ops.get_mut(&id) else { return };
        if write.asked != Some(from) || write.attempt != attempt.number {
            return;
        }
        if sent && !is_repeatable(&write.mutation) {
            let Some(Op::Write(write)) = self.close(id) else { return };
            let needed = write.copies;
            self.end_write(turn, write, WriteEnd::Unmet(0, needed));
            return;
        }
        if sent {
            write.in_doubt = true;
            write.above = write.upto;
        }
        write.takeover = true;
        write.asked = None;
        write.tried.push(from);
        self.attempt_write(turn, id);
    }

    pub(crate) fn on_write_timer(&mut self, turn: &mut Turn<'_>, id: OpId) {
        let Some(Op::Write(write)) = self.ops.get(&id) else { return };
        match write.asked {
            None => self.attempt_write(turn, id),
            Some(slot) if turn.mono() < write.deadline => {
                let silent = Some(slot) != turn.topology.me() && !self.shared.is_usable(turn.topology, slot);
                if silent && is_repeatable(&write.mutation) {
                    let attempt = Attempt { write: id, number: write.attempt };
                    self.on_write_lost(turn, attempt, slot, true);
                } else {
                    let again = turn.mono().after(ATTEMPT_PATIENCE).min(write.deadline);
                    self.set_timer(again, id);
                }
            }
            Some(_) => {
                let Some(Op::Write(write)) = self.close(id) else { return };
                let needed = write.copies;
                self.end_write(turn, write, WriteEnd::Unmet(0, needed));
            }
        }
    }

    fn end_write(&mut self, turn: &mut Turn<'_>, write: Write, end: WriteEnd) {
        let end = match end {
            WriteEnd::Done(outcome) if write.in_doubt => after_doubt(&write, outcome),
            end => end,
        };
        if let (WriteParent::Client(_) | WriteParent::Meta(_), WriteEnd::Done(outcome)) = (&write.parent, &end) {
            self.count_cas(write.key.len(), &write.mutation, outcome);
        }
        self.tell_write(turn, &write, &end);
        match write.parent {
            WriteParent::Client(ticket) => self.answer_write(turn, ticket, &write.mutation, end),
            WriteParent::Meta(call) => self.answer_meta(turn, &write.key, &write.mutation, &call, end),
            WriteParent::Refused(ticket, why) => self.answer_unkept(turn, ticket, why),
            WriteParent::Read(asker) => {
                let outcome = match end {
                    WriteEnd::Done(outcome) => Some(outcome),
                    WriteEnd::Unmet(..) => None,
                };
                self.on_confirmed(turn, asker, outcome);
            }
            WriteParent::Gather(asker) => {
                let result = match end {
                    WriteEnd::Done(Outcome::Item(fetched)) => Ok(Some((fetched.item, fetched.seen))),
                    WriteEnd::Done(_) => Ok(None),
                    WriteEnd::Unmet(..) => Err(()),
                };
                self.set_result(turn, asker, result);
            }
            WriteParent::Replay(missed) => {
                self.on_missed_confirmed(turn, &missed, matches!(end, WriteEnd::Done(_)));
            }
        }
    }
}

/// All homes are so many as there are when the write is ordered, and in each of two placements: a move may be under way.
fn copies_asked(level: Level, copies: usize) -> u8 {
    if level == Level::All && copies > 1 { COPIES_ALL } else { copies.min(usize::from(COPIES_ALL) - 1) as u8 }
}

/// What the client is told when an earlier attempt may have been applied, too.
fn after_doubt(write: &Write, outcome: Outcome) -> WriteEnd {
    match (&write.mutation, outcome) {
        // An earlier attempt of this very delete has most likely been applied.
        (Mutation::Remove(remove), Outcome::NotFound) if *remove == Remove::default() => {
            WriteEnd::Done(Outcome::Deleted)
        }
        // The earlier attempt may have touched what is seen again, if a write in doubt is what it met.
        (Mutation::Touch(_) | Mutation::GetAndTouch(_) | Mutation::Fetch(_), Outcome::NotFound | Outcome::Miss) => {
            WriteEnd::Unmet(0, write.copies)
        }
        // The earlier attempt may be the one that won. A client that is told to wait for another would wait for itself.
        (Mutation::Fetch(_), Outcome::Item(fetched)) if fetched.item.marks.has(Marks::WON) && !fetched.won => {
            WriteEnd::Unmet(0, write.copies)
        }
        (_, outcome) => WriteEnd::Done(outcome),
    }
}
