//! Client commands: from the grammar's command to operations, and from their outcomes to responses and counters.
//!
//! Must not know connections: a ticket stands for the place where the answer goes.

use bytes::Bytes;
use memring_protocol::entry::{Expiry, UnixMillis};
use memring_protocol::key::Key;
use memring_protocol::message::{Mutation, NewValue, Outcome};
use memring_protocol::text::{Command, Direction, ErrorReply, Keys, Response, StoreVerb};

use super::effect::{Effect, Ticket};
use super::turn::Turn;
use super::writes::{WriteEnd, WriteParent};
use super::{Node, stats};

/// What `version` answers: digits and dots only, because clients parse it.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION_MAJOR"),
    ".",
    env!("CARGO_PKG_VERSION_MINOR"),
    ".",
    env!("CARGO_PKG_VERSION_PATCH")
);

fn key_of(bytes: &[u8]) -> Key {
    Key::copy_from(bytes).expect("the grammar lets only keys of 1 to 250 bytes pass")
}

impl Node {
    pub(crate) fn start_command(&mut self, turn: &mut Turn<'_>, ticket: Ticket, command: &Command<'_>) {
        let expiry = |exptime: i64| Expiry::from_exptime(exptime, turn.now.cluster);
        match command {
            Command::Get { keys, with_cas } => {
                let keys = keys.iter().map(key_of).collect();
                self.start_reads(turn, ticket, keys, *with_cas);
            }
            Command::GetAndTouch { exptime, keys, with_cas } => {
                let expiry = expiry(*exptime);
                self.start_touching_reads(turn, ticket, keys, expiry, *with_cas);
            }
            Command::Store { verb, key, flags, exptime, value, .. } => {
                self.shared.counters.cmd_set.increment();
                let expiry = expiry(*exptime);
                let mutation = store_mutation(*verb, *flags, expiry, value);
                self.start_write(turn, key_of(key), mutation, WriteParent::Client(ticket), None);
            }
            Command::Arithmetic { direction, key, delta, .. } => {
                let mutation = match direction {
                    Direction::Increase => Mutation::Incr(*delta),
                    Direction::Decrease => Mutation::Decr(*delta),
                };
                self.start_write(turn, key_of(key), mutation, WriteParent::Client(ticket), None);
            }
            Command::Touch { key, exptime, .. } => {
                self.shared.counters.cmd_touch.increment();
                let mutation = Mutation::Touch(expiry(*exptime));
                self.start_write(turn, key_of(key), mutation, WriteParent::Client(ticket), None);
            }
            Command::Delete { key, .. } => {
                self.start_write(turn, key_of(key), Mutation::Delete, WriteParent::Client(ticket), None);
            }
            Command::FlushAll { exptime, .. } => {
                self.shared.counters.cmd_flush.increment();
                let at = exptime.filter(|exptime| *exptime > 0).and_then(|exptime| expiry(exptime).unix_seconds());
                let at = at.map(|seconds| UnixMillis(u64::from(seconds) * 1000)).filter(|at| *at > turn.now.cluster);
                self.start_flush(turn, ticket, at);
            }
            Command::Version => turn.effects.push(Effect::Respond(ticket, Response::Version(VERSION))),
            Command::Verbosity { .. } => turn.effects.push(Effect::Respond(ticket, Response::Ok)),
            Command::Stats { arguments } => {
                turn.effects.push(Effect::Respond(ticket, stats::respond(&self.shared, arguments)));
            }
            Command::Quit => {}
        }
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
        self.shared.counters.cmd_touch.add(keys.len() as u64);
        let gather = self.open_gather(ticket, &keys, with_cas, true);
        for (index, key) in keys.into_iter().enumerate() {
            let parent = WriteParent::Gather(gather, index);
            self.start_write(turn, key, Mutation::GetAndTouch(expiry), parent, None);
        }
    }

    /// A value over the limit: set removes the old one, the others leave it (protocol.txt, "Storage commands").
    pub(crate) fn start_too_large(&mut self, turn: &mut Turn<'_>, ticket: Ticket, key: &[u8], verb: StoreVerb) {
        self.shared.counters.cmd_set.increment();
        self.shared.counters.store_too_large.increment();
        match verb {
            StoreVerb::Set => {
                self.start_write(turn, key_of(key), Mutation::Delete, WriteParent::TooLarge(ticket), None);
            }
            _ => self.answer_too_large(turn, ticket),
        }
    }

    pub(crate) fn answer_too_large(&mut self, turn: &mut Turn<'_>, ticket: Ticket) {
        turn.effects.push(Effect::Respond(ticket, Response::Failed(ErrorReply::ObjectTooLarge)));
    }

    pub(crate) fn answer_write(&mut self, turn: &mut Turn<'_>, ticket: Ticket, mutation: &Mutation, end: WriteEnd) {
        let response = match end {
            WriteEnd::Done(outcome) => {
                self.count_write(mutation, &outcome);
                response_to(outcome)
            }
            WriteEnd::Unmet(acknowledged, needed) => {
                self.shared.counters.writes_unmet.increment();
                Response::ServerError(format!("quorum not reached ({acknowledged} of {needed})"))
            }
        };
        turn.effects.push(Effect::Respond(ticket, response));
    }

    pub(crate) fn count_reads(&self, touching: bool, hits: u64, misses: u64) {
        let counters = &self.shared.counters;
        if touching {
            counters.touch_hits.add(hits);
            counters.touch_misses.add(misses);
        } else {
            counters.cmd_get.add(hits + misses);
            counters.get_hits.add(hits);
            counters.get_misses.add(misses);
        }
    }

    fn count_write(&self, mutation: &Mutation, outcome: &Outcome) {
        let counters = &self.shared.counters;
        let found = *outcome != Outcome::NotFound;
        let counter = match mutation {
            Mutation::Incr(_) if found => &counters.incr_hits,
            Mutation::Incr(_) => &counters.incr_misses,
            Mutation::Decr(_) if found => &counters.decr_hits,
            Mutation::Decr(_) => &counters.decr_misses,
            Mutation::Touch(_) if found => &counters.touch_hits,
            Mutation::Touch(_) => &counters.touch_misses,
            Mutation::Delete if found => &counters.delete_hits,
            Mutation::Delete => &counters.delete_misses,
            Mutation::Cas(..) if *outcome == Outcome::Exists => &counters.cas_badval,
            Mutation::Cas(..) if found => &counters.cas_hits,
            Mutation::Cas(..) => &counters.cas_misses,
            _ => return,
        };
        counter.increment();
    }
}

fn store_mutation(verb: StoreVerb, flags: u32, expiry: Expiry, value: &[u8]) -> Mutation {
    // Copied: a slice of the connection's buffer would pin all of it for as long as the write is on its way.
    let value = Bytes::copy_from_slice(value);
    let new = |value| NewValue { value, flags, expiry };
    match verb {
        StoreVerb::Set => Mutation::Set(new(value)),
        StoreVerb::Add => Mutation::Add(new(value)),
        StoreVerb::Replace => Mutation::Replace(new(value)),
        StoreVerb::Append => Mutation::Append(value),
        StoreVerb::Prepend => Mutation::Prepend(value),
        StoreVerb::Cas(token) => Mutation::Cas(new(value), token),
    }
}

fn response_to(outcome: Outcome) -> Response {
    match outcome {
        Outcome::Stored => Response::Stored,
        Outcome::NotStored => Response::NotStored,
        Outcome::Exists => Response::Exists,
        Outcome::NotFound | Outcome::Miss => Response::NotFound,
        Outcome::Deleted => Response::Deleted,
        Outcome::Touched | Outcome::Item(_) => Response::Touched,
        Outcome::Number(number) => Response::Number(number),
        Outcome::NonNumeric => Response::Failed(ErrorReply::NonNumeric),
        Outcome::TooLarge => Response::Failed(ErrorReply::ObjectTooLarge),
        Outcome::OutOfMemory => Response::Failed(ErrorReply::OutOfMemoryStoring),
    }
}
