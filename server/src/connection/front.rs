//! What a connection answers itself because the sockets are its own: logins, `stats conns`, `shutdown`.
//!
//! Must not know what the node does.

use std::borrow::Cow;

use memring_engine::now::Now;
use memring_protocol::text::{Command, Crawler, ErrorReply, LoginStep, Response, ShutdownMode, parse_login};

use super::dumping::Form;
use super::replies::Part;
use super::{Ask, Connection, Stall};
use crate::registry::State;
use crate::signals::Stop;
use crate::watch::CloseReason;

/// Whether the arguments of `stats` are those of `stats conns`; memcached too ignores what stands behind.
pub(super) fn asks_for_connections(arguments: &[u8]) -> bool {
    arguments.split(|&byte| byte == b' ').next() == Some(b"conns")
}

/// What of a command's reply is to be sent.
pub(super) fn part_of(command: &Command<'_>) -> Part {
    match command {
        Command::MetaGet(request) if request.is_quiet() => Part::HidesMiss,
        command if command.is_quiet() => Part::Quiet,
        _ => Part::Whole,
    }
}

impl Connection {
    /// Starts a command: here if it is about connections, else at the node.
    pub(super) fn start_command(&mut self, now: Now, command: &Command<'_>) -> Result<(), Stall> {
        match command {
            Command::Stats { arguments } if asks_for_connections(arguments) => {
                self.answer_here(|own| own.connections(now))
            }
            Command::Shutdown { mode, quiet } => self.shut_down(*mode, *quiet),
            Command::Watch(kinds) => self.start_watch(*kinds),
            Command::Crawler(Crawler::Metadump(classes)) => self.start_dump(Form::Metadump, *classes),
            Command::Crawler(Crawler::Mgdump(classes)) => self.start_dump(Form::Mgdump, *classes),
            command => self.start(now, part_of(command), &Ask::Command(command)),
        }
    }

    /// Takes the login at the front.
    pub(super) fn advance_login(&mut self, now: Now) -> Option<Stall> {
        let mut input = std::mem::take(&mut self.input);
        let done = match parse_login(input.bytes()) {
            LoginStep::Incomplete { needed } => {
                self.needed = needed;
                Err(Stall::Input)
            }
            LoginStep::Refused { consumed, error } => Ok((consumed, Response::Failed(error))),
            LoginStep::Attempt { consumed, user, password } => Ok((consumed, self.log_in(user, password))),
            LoginStep::Close => {
                self.ending = true;
                Err(Stall::Input)
            }
        };
        let stall = match done {
            Ok((consumed, response)) => {
                input.consume(consumed, 0);
                self.needed = 1;
                self.hear_command(now);
                // Nothing else can be in flight.
                self.shelf.replies.borrow_mut().pass(Part::Whole, &response);
                None
            }
            Err(stall) => Some(stall),
        };
        self.input = input;
        stall
    }

    fn log_in(&mut self, user: &[u8], password: &[u8]) -> Response {
        let door = &self.thread.surroundings.door;
        let connections = &door.facts.connections;
        connections.logins.increment();
        if door.auth.as_ref().is_some_and(|auth| !auth.admits(user, password)) {
            connections.failed_logins.increment();
            return Response::Failed(ErrorReply::AuthenticationFailure);
        }
        self.logged_in = true;
        Response::Stored
    }

    /// Gives an answer of the server's own, once all before it is answered.
    pub(super) fn answer_here(&self, answer: impl FnOnce(&Self) -> Response) -> Result<(), Stall> {
        if !self.shelf.replies.borrow().is_idle() {
            return Err(Stall::InFlight);
        }
        let response = answer(self);
        self.shelf.replies.borrow_mut().pass(Part::Whole, &response);
        Ok(())
    }

    /// `stats conns`.
    pub(super) fn connections(&self, now: Now) -> Response {
        self.entry.commanded(now.mono);
        self.entry.is_now(State::Command);
        let lines = self.thread.surroundings.door.facts.connections.registry.lines(now.mono);
        Response::Stats(lines.into_iter().map(|(name, value)| (Cow::Owned(name), value)).collect())
    }

    /// `shutdown`: the process is told when all that is owed is sent.
    pub(super) fn shut_down(&mut self, mode: Option<ShutdownMode>, quiet: bool) -> Result<(), Stall> {
        if !self.shelf.replies.borrow().is_idle() {
            return Err(Stall::InFlight);
        }
        let refusal = match mode {
            _ if !self.thread.surroundings.door.shared.settings().shutdown_enabled => ErrorReply::ShutdownDisabled,
            None => ErrorReply::InvalidShutdownMode,
            Some(mode) => {
                self.farewell = Some(Stop::Shutdown { graceful: mode == ShutdownMode::Graceful });
                self.ending = true;
                return Ok(());
            }
        };
        let part = if quiet { Part::Quiet } else { Part::Whole };
        self.shelf.replies.borrow_mut().pass(part, &Response::Failed(refusal));
        Ok(())
    }

    /// Notes that the client has sent a command.
    pub(super) fn hear_command(&mut self, now: Now) {
        self.heard = now.mono;
        self.entry.commanded(now.mono);
    }

    /// Notes that bytes have come, if they are data: a large value on a slow line is no idleness.
    pub(super) fn hear_data(&mut self) {
        let counts = self.thread.surroundings.door.idle_timeout.is_some()
            && (self.input.swallows() || self.input.lacks_data(self.needed));
        if counts || self.input.has_block() {
            self.heard = self.thread.clock.now().mono;
        }
    }

    /// What the connection does while it waits.
    pub(super) fn state(&self, stall: Stall, unsent: usize) -> State {
        match stall {
            _ if unsent > 0 => State::Write,
            Stall::Output | Stall::Turn => State::Write,
            Stall::InFlight => State::InFlight,
            Stall::Input if self.input.swallows() => State::Swallow,
            Stall::Input if self.input.lacks_data(self.needed) => State::DataBlock,
            Stall::Input => State::Read,
        }
    }

    /// Why the connection has ended.
    pub(super) fn close_reason(&self) -> CloseReason {
        let stops = self.shelf.is_stopping() || self.farewell.is_some();
        if stops && self.reason == CloseReason::Normal { CloseReason::Shutdown } else { self.reason }
    }
}
