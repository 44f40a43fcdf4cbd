//! Meta commands: from their flags to reads and mutations, and on to what came of those.
//!
//! mg is a read like any other unless it may change something: then it runs at the serializer, so that of all clients
//! exactly one is told to fetch a value anew, whichever nodes they ask. Must not know connections, nor how lines are read
//! or spelled (`meta_answers`).

use memring_protocol::entry::{Expiry, Item, Marks, Seen, UnixMillis};
use memring_protocol::key::Key;
use memring_protocol::level::Level;
use memring_protocol::message::{
    Count, Fetch, Fetched, Invalidate, Mutation, NewValue, Outcome, Remove, Step, Store, StoreMode,
};
use memring_protocol::text::{Direction, Echo, MetaCode, MetaFacts, MetaKey, MetaRequest, Response, meta_line};

use super::Node;
use super::effect::{Effect, Ticket};
use super::gather::Read;
use super::meta_answers::{debug_response, hit_response, respond};
use super::reads::{Shape, Target};
use super::settings::Unmet;
use super::turn::Turn;
use super::writes::{WriteEnd, WriteParent};
use crate::cluster::mutation::counts_as_cas;
use crate::store::Missing;

/// A meta command whose answer is on its way.
#[derive(Clone, Debug)]
pub(crate) struct MetaCall {
    ticket: Ticket,
    pub(super) kind: Kind,
    pub(super) echo: Echo,
    pub(super) quiet: bool,
    /// `v`.
    pub(super) wants_value: bool,
    /// `C` of mg: with this token the value is not sent again.
    pub(super) known: Option<u64>,
    /// `T`.
    pub(super) touched: Option<Expiry>,
    /// `N`.
    pub(super) vivified: Option<Expiry>,
    /// `u`.
    unnoticed: bool,
    /// `L`.
    level: Option<Level>,
    /// Why its read finds nothing, where somebody watches.
    missing: Missing,
    /// How the item had been read, if it was read before it came to be asked for as a lease.
    pub(super) seen: Option<Seen>,
}

/// Which meta command, and what its answer needs to know of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Get,
    /// Bytes that were sent.
    Set(usize),
    /// Whether the item was to be marked stale.
    Delete(bool),
    Arithmetic,
    Debug,
}

impl MetaCall {
    fn new(now: UnixMillis, ticket: Ticket, kind: Kind, request: &MetaRequest<'_>) -> Self {
        let expiry = |exptime| Expiry::from_exptime(exptime, now);
        Self {
            ticket,
            kind,
            echo: request.echo(),
            quiet: request.is_quiet(),
            wants_value: request.wants_value(),
            known: request.compare(),
            touched: request.exptime().map(expiry),
            vivified: request.vivify().map(expiry),
            unnoticed: request.is_unnoticed(),
            level: request.level(),
            missing: Missing::Absent,
            seen: None,
        }
    }

    /// Who asked.
    pub(crate) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Whether it answers with what there is, whatever it changes on the way.
    fn is_read(&self) -> bool {
        matches!(self.kind, Kind::Get | Kind::Debug)
    }

    /// Whether its read is one that copies take note of.
    pub(crate) fn is_noticed(&self) -> bool {
        !self.unnoticed && self.kind != Kind::Debug
    }
}

impl Node {
    pub(crate) fn start_meta_get(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: &MetaRequest<'_>) {
        let call = MetaCall::new(turn.cluster(), ticket, Kind::Get, request);
        let target = Target { key: request.key().to_key(), level: request.level() };
        let expiry = |exptime: Option<i64>| exptime.map(|exptime| Expiry::from_exptime(exptime, turn.cluster()));
        if request.has_any(b"NRT") {
            let touched = expiry(request.exptime());
            let fetch = Fetch {
                expiry: touched,
                // What ends before a moment that is over has ended; whoever asks for that asks for nothing.
                recache: expiry(request.recache()).filter(|recache| !recache.is_past(turn.cluster())),
                recache_after_touch: request.recaches_after_touch(),
                create: expiry(request.vivify()).map(|expiry| created_expiry(request, expiry, touched)),
                token: request.token(),
                unnoticed: request.is_unnoticed(),
            };
            self.start_write(turn, target, Mutation::Fetch(fetch), WriteParent::Meta(call), None);
        } else {
            self.start_meta_read(turn, target.key, call);
        }
    }

    pub(crate) fn start_meta_debug(&mut self, turn: &mut Turn<'_>, ticket: Ticket, key: MetaKey<'_>) {
        let call = MetaCall {
            ticket,
            kind: Kind::Debug,
            echo: Echo::default(),
            quiet: false,
            wants_value: false,
            known: None,
            touched: None,
            vivified: None,
            unnoticed: true,
            level: None,
            missing: Missing::Absent,
            seen: None,
        };
        self.counters.cmd_meta.increment();
        self.start_meta_read(turn, key.to_key(), call);
    }

    /// A read that changes nothing, unless it meets an item that is stale or whose lease is out.
    fn start_meta_read(&mut self, turn: &mut Turn<'_>, key: Key, mut call: MetaCall) {
        call.missing = self.missing_before(turn, &key);
        let (noticed, target) = (call.is_noticed(), Target { key, level: call.level });
        match self.read_at_once(turn, &target, noticed) {
            Some(found) => self.end_meta_read(turn, target.key, call, Ok(found)),
            None => self.start_gather(turn, Shape::Meta(call), vec![Read::of(target.key)], target.level, noticed),
        }
    }

    /// What a read found; `Err` when too few homes could answer.
    pub(crate) fn end_meta_read(
        &mut self,
        turn: &mut Turn<'_>,
        key: Key,
        mut call: MetaCall,
        found: Result<Option<(Item, Seen)>, ()>,
    ) {
        let marked = |item: &Item| item.marks.has(Marks::STALE) || item.marks.has(Marks::WON);
        match found {
            Ok(Some((item, seen))) if call.kind == Kind::Get && marked(&item) => {
                call.seen = Some(seen);
                let fetch = Fetch { unnoticed: call.unnoticed, ..Fetch::default() };
                let target = Target { key, level: call.level };
                self.start_write(turn, target, Mutation::Fetch(fetch), WriteParent::Meta(call), None);
            }
            Ok(found) => {
                let size = found.as_ref().map(|(item, _)| item.value.len());
                self.tell_fetch(turn, call.ticket, &key, size.ok_or(call.missing));
                let fetched = found.map(|(item, seen)| {
                    let before = item.expiry;
                    Fetched { item, seen, before, won: false, created: false }
                });
                self.answer_fetched(turn, &key, &call, fetched);
            }
            Err(()) => self.answer_meta_unmet(turn, &key, &call, "quorum not reached"),
        }
    }

    pub(crate) fn start_meta_set(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        request: &MetaRequest<'_>,
        mode: StoreMode,
        value: &[u8],
    ) {
        let target = Target { key: request.key().to_key(), level: request.level() };
        self.count_store(target.key.len(), value.len());
        let call = MetaCall::new(turn.cluster(), ticket, Kind::Set(value.len()), request);
        let joins = matches!(mode, StoreMode::Append | StoreMode::Prepend);
        let exptime = if joins { request.vivify() } else { request.exptime() };
        let new = NewValue {
            value: turn.owned(value),
            flags: request.flags(),
            expiry: exptime.map_or(Expiry::NEVER, |exptime| Expiry::from_exptime(exptime, turn.cluster())),
            binary_key: request.key().is_base64(),
        };
        let store = Store {
            mode,
            new,
            compare: request.compare().filter(|_| mode != StoreMode::Add),
            accept_older: request.invalidates(),
            // memcached takes a token of 0 for none.
            token: request.token().filter(|&token| token != 0),
            create: joins && request.vivify().is_some(),
        };
        self.start_write(turn, target, Mutation::Store(store), WriteParent::Meta(call), None);
    }

    pub(crate) fn start_meta_delete(&mut self, turn: &mut Turn<'_>, ticket: Ticket, request: &MetaRequest<'_>) {
        let expiry = request.exptime().map(|exptime| Expiry::from_exptime(exptime, turn.cluster()));
        let stays = request.invalidates() || request.empties();
        let instead = stays.then(|| Invalidate {
            stale: request.invalidates(),
            empty: request.empties().then(|| request.flags()),
            expiry,
            token: request.token(),
        });
        let remove = Remove { compare: request.compare(), instead };
        let call = MetaCall::new(turn.cluster(), ticket, Kind::Delete(request.invalidates()), request);
        let target = Target { key: request.key().to_key(), level: request.level() };
        self.start_write(turn, target, Mutation::Remove(remove), WriteParent::Meta(call), None);
    }

    pub(crate) fn start_meta_arithmetic(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        request: &MetaRequest<'_>,
        direction: Direction,
    ) {
        let expiry = |exptime: i64| Expiry::from_exptime(exptime, turn.cluster());
        let touched = request.exptime().map(expiry);
        let created = |exptime| created_expiry(request, expiry(exptime), touched);
        let count = Count {
            step: match direction {
                Direction::Increase => Step::Up(request.delta()),
                Direction::Decrease => Step::Down(request.delta()),
            },
            compare: request.compare(),
            token: request.token(),
            expiry: touched,
            create: request.vivify().map(|exptime| (request.initial(), created(exptime))),
        };
        let call = MetaCall::new(turn.cluster(), ticket, Kind::Arithmetic, request);
        let target = Target { key: request.key().to_key(), level: request.level() };
        self.start_write(turn, target, Mutation::Count(count), WriteParent::Meta(call), None);
    }

    /// Answers a meta command that went through the serializer.
    pub(crate) fn answer_meta(
        &mut self,
        turn: &mut Turn<'_>,
        key: &Key,
        mutation: &Mutation,
        call: &MetaCall,
        end: WriteEnd,
    ) {
        let outcome = match end {
            WriteEnd::Done(outcome) => outcome,
            WriteEnd::Unmet(acknowledged, needed) => {
                if call.is_read() {
                    self.counters.reads_unmet.increment();
                }
                let text = format!("quorum not reached ({acknowledged} of {needed})");
                return self.answer_meta_unmet(turn, key, call, &text);
            }
        };
        match outcome {
            Outcome::Item(fetched) => self.answer_fetched(turn, key, call, Some(fetched)),
            Outcome::Miss => self.answer_fetched(turn, key, call, None),
            outcome => {
                self.count_meta(mutation, call.kind, &outcome);
                let response = respond(turn.cluster(), key, call, mutation, &outcome);
                turn.effects.push(Effect::Respond(call.ticket, response));
            }
        }
    }

    /// Too few copies could answer: mg is a miss, which never wins; the others are in doubt.
    fn answer_meta_unmet(&mut self, turn: &mut Turn<'_>, key: &Key, call: &MetaCall, text: &str) {
        let reads = call.is_read();
        if reads && self.shared.settings().unmet == Unmet::Miss {
            return self.answer_fetched(turn, key, call, None);
        }
        if !reads {
            self.counters.writes_unmet.increment();
        }
        turn.effects.push(Effect::Respond(call.ticket, Response::ServerError(text.to_owned())));
    }

    fn answer_fetched(&mut self, turn: &mut Turn<'_>, key: &Key, call: &MetaCall, fetched: Option<Fetched>) {
        let response = match (call.kind, fetched) {
            (Kind::Debug, Some(fetched)) => debug_response(turn.cluster(), key, &fetched),
            (Kind::Debug, None) => {
                Response::Meta(meta_line(MetaCode::Miss, &Echo::default(), &MetaFacts::default()), None)
            }
            (_, Some(fetched)) => {
                if call.touched.is_some() {
                    self.counters.cmd_touch.increment();
                }
                self.count_reads(call.touched.is_some(), 1, 0);
                self.count_hit(call.touched.is_some(), key.len(), fetched.item.value.len());
                if call.touched.is_none() {
                    self.count_in_namespace(key.as_bytes(), true);
                }
                hit_response(turn.cluster(), key, call, fetched)
            }
            (_, None) => {
                self.count_reads(false, 0, 1);
                self.count_in_namespace(key.as_bytes(), false);
                if call.quiet {
                    Response::Hidden
                } else {
                    let facts = MetaFacts { key: key.as_bytes(), ..MetaFacts::default() };
                    Response::Meta(meta_line(MetaCode::Miss, &call.echo, &facts), None)
                }
            }
        };
        turn.effects.push(Effect::Respond(call.ticket, response));
    }

    fn count_meta(&self, mutation: &Mutation, kind: Kind, outcome: &Outcome) {
        match (kind, outcome) {
            (_, Outcome::OutOfMemory) => self.count_write(mutation, outcome),
            // An invalidated item is no deleted one.
            (Kind::Delete(true), Outcome::Deleted) => {}
            (Kind::Delete(_), Outcome::Exists) => self.counters.delete_misses.increment(),
            (Kind::Arithmetic, Outcome::Exists) => {}
            (Kind::Set(_), _) if !counts_as_cas(mutation) => {}
            _ => self.count_write(mutation, outcome),
        }
    }
}

/// `T` and `N` on an absent key: the one that stands last holds.
fn created_expiry(request: &MetaRequest<'_>, vivified: Expiry, touched: Option<Expiry>) -> Expiry {
    touched.filter(|_| request.touches_after_vivify()).unwrap_or(vivified)
}
