//! Commands from the input to the node, and its answers at once to the replies.
//!
//! Must not know sockets, nor what commands do.

use std::cell::Cell;
use std::slice;

use memring_engine::node::{Effect, Node, Ticket};
use memring_engine::now::Now;
use memring_engine::store::WARMED_MAX;
use memring_protocol::text::{Command, Keys, Step, parse};
use smallvec::SmallVec;

use super::input::Input;
use super::large_block::is_awaited;
use super::long_get::LongGet;
use super::pipeline::Footprint;
use super::replies::{Due, OUTPUT_BYTES_MAX, Part};
use super::{Ask, Connection, Mode, Stall, footprint};
use crate::stopwatch::{Asked, Outcome};
use crate::watch::CloseReason;

/// Commands that are read ahead.
type Ahead<T> = SmallVec<[T; WARMED_MAX]>;

impl Connection {
    /// Runs commands from the front of the input until one stalls, or something else than commands is next.
    pub(super) fn advance_commands(&mut self, now: Now) -> Option<Stall> {
        // Taken out, so that a command can borrow it while the rest of the connection works.
        let mut input = std::mem::take(&mut self.input);
        // A single command holds nothing back that its own turn does not send together.
        let mut holds = false;
        let stalled = loop {
            let stalled = if input.has_block() {
                self.advance_block(now, &mut input)
            } else {
                self.advance_command(now, &mut input)
            };
            if stalled.is_some() {
                break stalled;
            }
            let goes_on = !self.ending && self.long_get.is_none() && matches!(self.mode, Mode::Commands);
            if !goes_on {
                break None;
            }
            if self.shelf.replies.borrow().is_full() {
                break Some(Stall::Output);
            }
            if !input.has_block() {
                self.answer_ahead(now, &mut input);
            }
            if !holds && !input.bytes().is_empty() {
                self.thread.hold_asks();
                holds = true;
            }
        };
        if holds {
            self.thread.release_asks(now);
        }
        self.input = input;
        stalled
    }

    /// Has the node answer the commands at the front together, as far as it can alone: where one command has come with
    /// others behind it, it can look for all their keys at once.
    fn answer_ahead(&mut self, now: Now, input: &mut Input) {
        if input.bytes().len() < self.needed || !self.thread.answers_alone() {
            return;
        }
        if let Some((end, ends_batch)) = self.answer_together(now, input.bytes()) {
            input.consume(end, 0);
            self.note_command(now, ends_batch);
        }
    }

    /// Where the last of the commands ends that were answered, and whether it was an mn; `None` if none was.
    fn answer_together(&self, now: Now, bytes: &[u8]) -> Option<(usize, bool)> {
        let (mut commands, mut ends) = (Ahead::<Command<'_>>::new(), Ahead::<usize>::new());
        let mut end = 0;
        while commands.len() < commands.inline_size()
            && let Step::Command { consumed, command } = parse(&bytes[end..], &self.thread.surroundings.limits)
        {
            end += consumed;
            commands.push(command);
            ends.push(end);
        }
        if commands.len() < 2 {
            return None;
        }
        let allowance = self.shelf.replies.borrow().allowance();
        let stopwatch = &self.thread.surroundings.stopwatch;
        let told = |command: &Command<'_>, answered| stopwatch.answered_alone(command, answered);
        let answer = |out: &mut _| self.thread.answer_together(now, &commands, allowance, out, told);
        let answered = self.shelf.replies.borrow_mut().pass_together(answer);
        let last = answered.checked_sub(1)?;
        Some((ends[last], commands[last] == Command::MetaNoop))
    }

    /// Runs the command at the front.
    fn advance_command(&mut self, now: Now, input: &mut Input) -> Option<Stall> {
        let bytes = input.bytes();
        if bytes.len() < self.needed {
            return Some(Stall::Input);
        }
        let limits = &self.thread.surroundings.limits;
        // memcached sends what it owes at an mn.
        let mut ends_batch = false;
        let done = match self.scanner.parse(bytes, limits) {
            Step::Incomplete { needed } => {
                self.needed = needed;
                if is_awaited(needed, bytes.len()) { self.expect_block(now, input) } else { Err(Stall::Input) }
            }
            Step::Command { consumed, command: Command::Quit } => {
                self.ending = true;
                Ok((consumed, 0))
            }
            // The command itself is one word before its keys.
            Step::Command { consumed, command: ref command @ Command::Get { ref keys, .. } } if self.is_long(keys) => {
                match self.start_long(now, command) {
                    Ok(true) => Ok((consumed, 0)),
                    Ok(false) => {
                        self.long_get = Some(LongGet::new(input.split(consumed), 1));
                        return self.note_command(now, false);
                    }
                    Err(stall) => Err(stall),
                }
            }
            // The command and its exptime.
            Step::Command { consumed, command: Command::GetAndTouch { ref keys, .. } } if self.is_long(keys) => {
                self.long_get = Some(LongGet::new(input.split(consumed), 2));
                return self.note_command(now, false);
            }
            Step::Command { consumed, command } => {
                ends_batch = command == Command::MetaNoop;
                self.start_command(now, &command).map(|()| (consumed, 0))
            }
            Step::TooLarge { consumed, swallow, key, removes, quiet } => {
                let part = if quiet { Part::Quiet } else { Part::Whole };
                self.start(now, part, &Ask::TooLarge { key: &key, removes }).map(|()| (consumed, swallow))
            }
            Step::Reject { consumed, swallow, error, quiet } => {
                self.reject(now, error, quiet);
                Ok((consumed, swallow))
            }
            Step::Close => {
                self.ending = true;
                self.reason = CloseReason::Error;
                Err(Stall::Input)
            }
        };
        match done {
            Ok((consumed, swallow)) => {
                input.consume(consumed, swallow);
                self.note_command(now, ends_batch)
            }
            Err(stall) => Some(stall),
        }
    }

    /// Notes that the command at the front was taken; nothing stalls.
    fn note_command(&mut self, now: Now, ends_batch: bool) -> Option<Stall> {
        self.hear_command(now);
        self.batched = !ends_batch;
        self.needed = 1;
        None
    }

    /// Whether the items of so many keys may come to more than the output's limit.
    fn is_long(&self, keys: &Keys<'_>) -> bool {
        keys.count() > self.thread.surroundings.get_keys_max
    }

    /// Has the node answer here and now, if it can alone.
    fn answer_alone(&self, now: Now, part: Part, command: &Command<'_>) -> bool {
        let stopwatch = &self.thread.surroundings.stopwatch;
        let told = |command: &Command<'_>, answered| stopwatch.answered_alone(command, answered);
        let command = slice::from_ref(command);
        let answer = |out: &mut _| self.thread.answer_together(now, command, OUTPUT_BYTES_MAX, out, told);
        self.shelf.replies.borrow_mut().pass_alone(part, answer)
    }

    /// Runs a long get as far as it goes: what its parts ask of peers goes out together.
    pub(super) fn advance_long_gets(&mut self, now: Now, long_get: LongGet) -> Option<Stall> {
        self.thread.hold_asks();
        let mut stalled = self.advance_long_get(now, long_get);
        while stalled.is_none()
            && !self.shelf.replies.borrow().is_full()
            && let Some(long_get) = self.long_get.take()
        {
            stalled = self.advance_long_get(now, long_get);
        }
        self.thread.release_asks(now);
        stalled
    }

    /// Runs the next keys of a long get.
    fn advance_long_get(&mut self, now: Now, mut long_get: LongGet) -> Option<Stall> {
        let batch = long_get.next_batch(self.thread.surroundings.get_keys_max);
        let Some(command) = batch.command(&self.thread.surroundings.limits) else {
            self.ending = true;
            return Some(Stall::Input);
        };
        let part = if batch.is_last { Part::Last } else { Part::Some };
        let started = self.start(now, part, &Ask::Command(&command));
        if started.is_ok() {
            long_get.asked(&batch);
        }
        if started.is_err() || !batch.is_last {
            self.long_get = Some(long_get);
        }
        started.err()
    }

    /// Asks the node, unless an earlier request must be answered first.
    pub(super) fn start(&self, now: Now, part: Part, ask: &Ask<'_>) -> Result<(), Stall> {
        if let Ask::Command(command) = ask
            && self.answer_alone(now, part, command)
        {
            return Ok(());
        }
        let footprint = || match ask {
            Ask::Command(command) | Ask::Large { command, .. } => footprint::of(command),
            Ask::TooLarge { key, .. } | Ask::NoMemory { key, .. } => footprint::of_meta(key, true),
        };
        if matches!(ask, Ask::Command(Command::Stats { .. })) {
            let door = &self.thread.surroundings.door;
            door.facts.tell(&door.shared);
        }
        let ask_node = |ticket, node: &mut Node, now, fx: &mut Vec<Effect>| {
            match ask {
                Ask::Command(command) => node.on_request(now, ticket, command, fx),
                Ask::Large { command, frame } => node.on_large_request(now, ticket, command, frame, fx),
                Ask::TooLarge { key, removes } => node.on_too_large(now, ticket, key, *removes, fx),
                Ask::NoMemory { key, removes } => node.on_no_memory(now, ticket, key, *removes, fx),
            }
            true
        };
        let command = match ask {
            Ask::Command(command) | Ask::Large { command, .. } => Some(*command),
            Ask::TooLarge { .. } | Ask::NoMemory { .. } => None,
        };
        self.start_by(now, (part, command), footprint, ask_node).map(|_begun| ())
    }

    /// Asks the node for all of a long get at once, if it can do that; whether it could.
    fn start_long(&self, now: Now, command: &Command<'_>) -> Result<bool, Stall> {
        if self.answer_alone(now, Part::Whole, command) {
            return Ok(true);
        }
        let ask_node = |ticket, node: &mut Node, now, fx: &mut Vec<Effect>| node.on_long_get(now, ticket, command, fx);
        self.start_by(now, (Part::Whole, Some(command)), || footprint::of(command), ask_node)
    }

    /// Asks the node by `ask`, which says whether it has taken the request, unless an earlier one must be answered first. The
    /// command is timed, if one is given.
    fn start_by(
        &self,
        now: Now,
        (part, command): (Part, Option<&Command<'_>>),
        footprint: impl Fn() -> Footprint,
        ask: impl FnOnce(Ticket, &mut Node, Now, &mut Vec<Effect>) -> bool,
    ) -> Result<bool, Stall> {
        let replies = self.shelf.replies.borrow();
        let ticket = Ticket { connection: self.id, sequence: replies.next_sequence() };
        // With nothing in flight, most requests are answered before `call_at` returns and never need a footprint.
        let known = if replies.is_idle() { None } else { Some(footprint()) };
        if known.as_ref().is_some_and(|footprint| !replies.may_start(footprint)) {
            return Err(Stall::InFlight);
        }
        drop(replies);
        let clients = &self.thread.surroundings;
        let timed = command.filter(|_| clients.stopwatch.is_on());
        let (begun, asked) = (Cell::new(false), Cell::new(None));
        self.thread.call_at(
            now,
            |node, now, fx| {
                asked.set(timed.and_then(|command| Asked::of(command, node.level_of(command))));
                begun.set(ask(ticket, node, now, fx));
            },
            |effects| {
                if !begun.get() {
                    return;
                }
                let mut replies = self.shelf.replies.borrow_mut();
                let answers_this = |effect: &Effect| matches!(effect, Effect::Respond(to, _) if *to == ticket);
                if known.is_none() && effects.first().is_some_and(answers_this) {
                    if let Effect::Respond(_, response) = effects.remove(0) {
                        clients.stopwatch.answered(asked.get(), Outcome::of(&response), now.mono, now.mono);
                        replies.pass(part, &response);
                    }
                } else {
                    clients.traffic.count_begun();
                    let due = Due { part, asked: asked.get(), begun: now.mono };
                    replies.start(due, known.unwrap_or_else(footprint));
                }
            },
        );
        Ok(begun.get())
    }
}
