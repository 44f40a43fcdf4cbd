//! Client commands: from the grammar's command to operations, and from their outcomes to responses and counters.
//!
//! Must not know connections: a ticket stands for the place where the answer goes.

use bytes::Bytes;
use memring_protocol::entry::{Expiry, RELATIVE_EXPTIME_MAX, UnixMillis};
use memring_protocol::key::Key;
use memring_protocol::message::{Count, Mutation, NewValue, Outcome, Remove, Step, Store, StoreMode};
use memring_protocol::text::{Command, Direction, ErrorReply, Keys, MetaKey, Response, StoreVerb};

use super::Node;
use super::asks::Asker;
use super::effect::{Effect, Ticket};
use super::events::StoreWord;
use super::flush::When;
use super::gather::Read;
use super::reads::{Shape, Target};
use super::turn::Turn;
use super::writes::{WriteEnd, WriteParent};

/// What `version` answers: the memcached whose protocol this is. Clients parse it, and decide by it what they may send:
/// libmemcached takes a server below 1.6 for one with the errors of long ago. memring's own is told by `memring --version`
/// and by the line that the log has of the start.
pub const VERSION: &str = "1.6.45";

/// Why a value was not received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unkept {
    /// It is over the item limit.
    TooLarge,
    /// Too much is being received already.
    NoMemory,
}

pub(crate) fn key_of(bytes: &[u8]) -> Key {
    Key::copy_from(bytes).expect("the grammar lets only keys of 1 to 250 bytes pass")
}

impl Node {
    pub(crate) fn start_command(&mut self, turn: &mut Turn<'_>, ticket: Ticket, command: &Command<'_>) {
        let expiry = |exptime: i64| Expiry::from_exptime(exptime, turn.now.cluster);
        let client = WriteParent::Client(ticket);
        match command {
            Command::Get { keys, with_cas } => self.start_reads(turn, ticket, keys, *with_cas),
            Command::GetAndTouch { exptime, keys, with_cas } => {
                let expiry = expiry(*exptime);
                self.start_touching_reads(turn, ticket, keys, expiry, *with_cas);
            }
            Command::Store { verb, key, flags, exptime, value, .. } => {
                self.count_store(key.len(), value.len());
                self.shared.details.note_store(key);
                let expiry = expiry(*exptime);
                let store = store_of(*verb, *flags, expiry, turn.owned(value));
                self.start_write(turn, Target::of(key_of(key)), Mutation::Store(store), client, None);
            }
            Command::Arithmetic { direction, key, delta, .. } => {
                let step = match direction {
                    Direction::Increase => Step::Up(*delta),
                    Direction::Decrease => Step::Down(*delta),
                };
                let mutation = Mutation::Count(Count::plain(step));
                self.start_write(turn, Target::of(key_of(key)), mutation, client, None);
            }
            Command::Touch { key, exptime, .. } => {
                self.counters.cmd_touch.increment();
                let mutation = Mutation::Touch(expiry(*exptime));
                self.start_write(turn, Target::of(key_of(key)), mutation, client, None);
            }
            Command::Delete { key, .. } => {
                self.shared.details.note_delete(key);
                let mutation = Mutation::Remove(Remove::default());
                self.start_write(turn, Target::of(key_of(key)), mutation, client, None);
            }
            Command::FlushAll { .. } | Command::FlushOver { .. } => self.flush(turn, ticket, command),
            Command::MetaGet(_)
            | Command::MetaSet { .. }
            | Command::MetaDelete(_)
            | Command::MetaArithmetic { .. }
            | Command::MetaDebug { .. } => self.start_meta(turn, ticket, command),
            other => self.answer_at_once(turn, ticket, other),
        }
    }

    fn flush(&mut self, turn: &mut Turn<'_>, ticket: Ticket, command: &Command<'_>) {
        self.counters.cmd_flush.increment();
        if !self.shared.settings().flush_enabled {
            turn.effects.push(Effect::Respond(ticket, Response::Failed(ErrorReply::FlushDisabled)));
            return;
        }
        let when = match command {
            Command::FlushOver { seconds, .. } => When::Over(u64::from(*seconds) * 1000),
            Command::FlushAll { exptime: Some(exptime), .. } => {
                flush_moment(*exptime, turn.cluster()).map_or(When::Now, When::At)
            }
            _ => When::Now,
        };
        self.start_flush(turn, ticket, when);
    }

    fn start_meta(&mut self, turn: &mut Turn<'_>, ticket: Ticket, command: &Command<'_>) {
        let level = match command {
            Command::MetaGet(request) | Command::MetaDelete(request) => request.level(),
            Command::MetaSet { request, .. } | Command::MetaArithmetic { request, .. } => request.level(),
            _ => None,
        };
        let replicas = turn.topology.layout().map_or(usize::MAX, |layout| usize::from(layout.config.replicas));
        if level.is_some_and(|level| level.needed(replicas) > replicas) {
            turn.effects.push(Effect::Respond(ticket, Response::Failed(ErrorReply::LevelTooHigh)));
            return;
        }
        match command {
            Command::MetaGet(request) => self.start_meta_get(turn, ticket, request),
            Command::MetaSet { request, mode, value } => self.start_meta_set(turn, ticket, request, *mode, value),
            Command::MetaDelete(request) => self.start_meta_delete(turn, ticket, request),
            Command::MetaArithmetic { request, direction } => {
                self.start_meta_arithmetic(turn, ticket, request, *direction);
            }
            Command::MetaDebug { key } => self.start_meta_debug(turn, ticket, *key),
            _ => {}
        }
    }

    /// Commands that need nobody else. The server takes those that are about its connections before they come here.
    fn answer_at_once(&mut self, turn: &mut Turn<'_>, ticket: Ticket, command: &Command<'_>) {
        let response = match command {
            Command::Version => Response::Version(VERSION),
            Command::Accepted { .. } => Response::Ok,
            Command::MetaNoop => Response::MetaNoop,
            Command::Quit => return,
            Command::Stats { .. }
            | Command::MemoryLimit { .. }
            | Command::Crawler(_)
            | Command::ConfigGetCluster
            | Command::ConfigGetRing => return self.administer(turn, ticket, command),
            _ => Response::Failed(ErrorReply::Unknown),
        };
        turn.effects.push(Effect::Respond(ticket, response));
    }

    fn start_touching_reads(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        keys: &Keys<'_>,
        expiry: Expiry,
        with_cas: bool,
    ) {
        let keys: Vec<Key> = keys.iter().map(key_of).collect();
        self.counters.cmd_touch.add(keys.len() as u64);
        let reads = keys.iter().cloned().map(Read::of).collect();
        let gather = self.open_gather(turn, Shape::Values { ticket, with_cas, touching: true }, reads);
        for (index, key) in keys.into_iter().enumerate() {
            let parent = WriteParent::Gather(Asker { gather, index: index as u32 });
            self.start_write(turn, Target::of(key), Mutation::GetAndTouch(expiry), parent, None);
        }
    }

    /// A value that was not received: set and ms remove the old one, so that nobody is served what is stale; the others
    /// leave it (protocol.txt, "Storage commands").
    pub(crate) fn refuse_value(
        &mut self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        key: &MetaKey<'_>,
        removes: bool,
        why: Unkept,
    ) {
        match why {
            Unkept::TooLarge => self.counters.store_too_large.increment(),
            Unkept::NoMemory => self.counters.store_no_memory.increment(),
        }
        let key = key.to_key();
        self.shared.details.note_store(key.as_bytes());
        if removes {
            let mutation = Mutation::Remove(Remove::default());
            self.start_write(turn, Target::of(key), mutation, WriteParent::Refused(ticket, why), None);
        } else {
            self.tell_unkept(turn, ticket, key, why, StoreWord::Unknown);
            self.answer_unkept(turn, ticket, why);
        }
    }

    pub(crate) fn answer_unkept(&mut self, turn: &mut Turn<'_>, ticket: Ticket, why: Unkept) {
        let error = match why {
            Unkept::TooLarge => ErrorReply::ObjectTooLarge,
            Unkept::NoMemory => ErrorReply::OutOfMemoryStoring,
        };
        turn.effects.push(Effect::Respond(ticket, Response::Failed(error)));
    }

    pub(crate) fn answer_write(&mut self, turn: &mut Turn<'_>, ticket: Ticket, mutation: &Mutation, end: WriteEnd) {
        let response = match end {
            WriteEnd::Done(outcome) => {
                self.count_write(mutation, &outcome);
                response_to(outcome)
            }
            WriteEnd::Unmet(acknowledged, needed) => {
                self.counters.writes_unmet.increment();
                Response::ServerError(format!("quorum not reached ({acknowledged} of {needed})"))
            }
        };
        turn.effects.push(Effect::Respond(ticket, response));
    }
}

/// When a delayed flush is due, to the millisecond: unlike an expiry it need not fit a whole second. `None`: at once.
fn flush_moment(exptime: i64, now: UnixMillis) -> Option<UnixMillis> {
    let at = match exptime {
        ..=0 => return None,
        1..=RELATIVE_EXPTIME_MAX => UnixMillis(now.0 + exptime as u64 * 1000),
        absolute => UnixMillis(absolute as u64 * 1000),
    };
    (at > now).then_some(at)
}

fn store_of(verb: StoreVerb, flags: u32, expiry: Expiry, value: Bytes) -> Store {
    let new = NewValue { value, flags, expiry, binary_key: false };
    let (mode, compare) = match verb {
        StoreVerb::Set => (StoreMode::Set, None),
        StoreVerb::Add => (StoreMode::Add, None),
        StoreVerb::Replace => (StoreMode::Replace, None),
        StoreVerb::Append => (StoreMode::Append, None),
        StoreVerb::Prepend => (StoreMode::Prepend, None),
        StoreVerb::Cas(token) => (StoreMode::Set, Some(token)),
    };
    Store { compare, ..Store::plain(mode, new) }
}

fn response_to(outcome: Outcome) -> Response {
    match outcome {
        Outcome::Stored { .. } => Response::Stored,
        Outcome::NotStored => Response::NotStored,
        Outcome::Exists => Response::Exists,
        Outcome::NotFound | Outcome::Miss => Response::NotFound,
        Outcome::Deleted => Response::Deleted,
        Outcome::Touched | Outcome::Item(_) => Response::Touched,
        Outcome::Number(counted) => Response::Number(counted.number),
        Outcome::NonNumeric => Response::Failed(ErrorReply::NonNumeric),
        Outcome::TooLarge => Response::Failed(ErrorReply::ObjectTooLarge),
        Outcome::OutOfMemory => Response::Failed(ErrorReply::OutOfMemoryStoring),
    }
}
