//! One client: bytes in, commands to the node, replies out in order.
//!
//! Each round reads once, runs every whole command that may start, and writes once. Must not know what commands do.
//! Nothing a client does or leaves undone makes this grow: what it sends is bounded by the parser's limits, what it is
//! owed by [`replies::OUTPUT_BYTES_MAX`], what it has in flight by `pipeline`; over a limit it is simply not read.
//!
//! ```text
//! socket ─> input ─> parse ─> footprint: may it start? ─> node
//! socket <─ replies: encode in order <─ pipeline <─────── answers
//! ```

mod dumping;
mod footprint;
mod front;
mod input;
mod lapse;
mod large_block;
mod long_get;
mod pipeline;
mod replies;
mod sending;
mod table;
mod watching;

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use memring_engine::node::{Effect, Node, Ticket};
use memring_engine::now::{Mono, Now};
use memring_protocol::text::{Command, LineScanner, MetaKey, Step, WatchKinds};
use tokio::io::Interest;

use self::dumping::{DUMP_AHEAD_BYTES, Dump};
use self::input::Input;
use self::large_block::is_awaited;
use self::long_get::LongGet;
use self::replies::Part;
pub(crate) use self::table::Clients;
use self::table::Shelf;
use crate::arrival::Arrived;
use crate::client_socket::ClientStream;
use crate::event_loop::EventLoop;
use crate::gauges::Admission;
use crate::registry::Entry;
use crate::signals::Stop;
use crate::watch::CloseReason;

/// A worker's event loop.
pub(crate) type WorkerLoop = EventLoop<Node, Clients>;

/// Bytes that are read and dropped before a close, so that the kernel does not answer them with a reset that would take
/// our last replies with it.
const DRAIN_BYTES_MAX: usize = 64 * 1024;

struct Connection {
    thread: Rc<WorkerLoop>,
    stream: ClientStream,
    id: u64,
    entry: Arc<Entry>,
    shelf: Rc<Shelf>,
    input: Input,
    scanner: LineScanner,
    /// How many bytes the command at the front needs at least.
    needed: usize,
    long_get: Option<LongGet>,
    /// No more commands are taken; what is owed is sent, then the connection is closed.
    ending: bool,
    /// Why it ends, if it does.
    reason: CloseReason,
    mode: Mode,
    /// The client has sent the command at the front without waiting for the answer to the one before.
    batched: bool,
    /// Whether commands are taken; until then only logins are.
    logged_in: bool,
    /// When the client last sent a command, or data of one.
    heard: Mono,
    /// When it last took bytes that were waiting for it, if some are.
    taken: Option<Mono>,
    /// What the process is told once the connection is closed.
    farewell: Option<Stop>,
}

/// What the connection is for.
#[derive(Debug)]
enum Mode {
    /// Answers commands.
    Commands,
    /// Watches, once all that is owed is sent.
    Watching(WatchKinds),
    /// Lists the node's items.
    Dumping(Dump),
}

/// Why no further command can be run now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stall {
    /// There is no whole command.
    Input,
    /// Earlier ones must be answered first.
    InFlight,
    /// The client must read first.
    Output,
    /// Others may have their turn.
    Turn,
}

/// What a node is asked.
enum Ask<'a> {
    Command(&'a Command<'a>),
    /// A command whose value is a part of this frame.
    Large {
        command: &'a Command<'a>,
        frame: &'a Bytes,
    },
    TooLarge {
        key: &'a MetaKey<'a>,
        removes: bool,
    },
    NoMemory {
        key: &'a MetaKey<'a>,
        removes: bool,
    },
}

/// Serves a client until either side ends it.
pub(crate) async fn serve(thread: Rc<WorkerLoop>, stream: ClientStream, admission: Admission) {
    let entry = Arc::clone(admission.entry());
    let id = entry.number();
    let shelf = thread.surroundings.enter(id);
    let logged_in = thread.surroundings.door.auth.is_none();
    let heard = thread.clock.now().mono;
    let mut connection = Connection {
        thread: Rc::clone(&thread),
        stream,
        id,
        entry,
        shelf,
        input: Input::default(),
        scanner: LineScanner::default(),
        needed: 1,
        long_get: None,
        ending: false,
        reason: CloseReason::Normal,
        mode: Mode::Commands,
        batched: false,
        logged_in,
        heard,
        taken: None,
        farewell: None,
    };
    let watchers = &thread.surroundings.door.watchers;
    watchers.tell_opened(id, connection.entry.from());
    if let Err(error) = connection.run().await {
        if connection.reason == CloseReason::Normal {
            connection.reason = CloseReason::Error;
        }
        let from = connection.entry.from();
        tracing::debug!(connection = id, %from, %error, "connection broken");
    }
    watchers.tell_closed(id, connection.entry.from(), connection.close_reason());
    thread.surroundings.leave(id);
    drop(admission);
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        loop {
            let mut stall = self.advance();
            if self.shelf.is_stopping() && stall == Stall::Input && !self.ending {
                // What had arrived before the stop is still answered: a client cannot tell whether a request that is
                // dropped was done.
                self.read().await?;
                stall = self.advance();
                self.ending |= stall == Stall::Input;
            }
            let sent = self.flush()?;
            let unsent = sent.bytes;
            if let Mode::Watching(kinds) = self.mode
                && unsent == 0
            {
                if self.watch(kinds).await? {
                    return self.close();
                }
                continue;
            }
            if self.ending && unsent == 0 && self.long_get.is_none() && self.shelf.replies.borrow().is_idle() {
                return self.close();
            }
            // One client with much to say must not starve this thread's others.
            tokio::task::consume_budget().await;
            if unsent > 0 && !sent.blocked {
                tokio::task::yield_now().await;
                continue;
            }
            if stall == Stall::Turn && unsent < DUMP_AHEAD_BYTES {
                tokio::task::yield_now().await;
                continue;
            }
            if stall == Stall::Output && !self.shelf.replies.borrow().is_full() {
                continue;
            }
            self.input.rest(&self.thread.surroundings.spare);
            self.entry.is_now(self.state(stall, unsent));
            self.wait(stall == Stall::Input && !self.ending, unsent).await?;
        }
    }

    /// Waits for something to do, and reads if there is something to read.
    async fn wait(&mut self, may_read: bool, unsent: usize) -> io::Result<()> {
        let interest = match (may_read, unsent > 0) {
            (true, true) => Interest::READABLE | Interest::WRITABLE,
            (true, false) => Interest::READABLE,
            (false, true) => Interest::WRITABLE,
            (false, false) => {
                self.shelf.wake.notified().await;
                return Ok(());
            }
        };
        let lapse = self.next_lapse(may_read, unsent);
        let readable = tokio::select! {
            ready = self.stream.ready(interest) => ready?.is_readable(),
            () = self.shelf.wake.notified() => false,
            lapsed = self.lapsed(lapse) => return self.end_for(lapsed),
        };
        if may_read && readable { self.read().await } else { Ok(()) }
    }

    async fn read(&mut self) -> io::Result<()> {
        match self.input.read(&mut self.stream, self.needed, &self.thread.surroundings.spare).await? {
            Arrived::Bytes(count) => {
                self.thread.surroundings.traffic.count_read(count);
                self.hear_data();
                if self.input.has_block() {
                    // The next part of a large value can wait for others' turn.
                    tokio::task::yield_now().await;
                }
            }
            Arrived::Nothing => {}
            Arrived::End => self.ending = true,
        }
        Ok(())
    }

    /// Runs every whole command that may start.
    fn advance(&mut self) -> Stall {
        let now = self.thread.clock.now();
        loop {
            if self.shelf.replies.borrow().is_full() {
                return Stall::Output;
            }
            let stalled = match self.long_get.take() {
                Some(long_get) => self.advance_long_get(now, long_get),
                None if self.ending => Some(Stall::Input),
                None if !self.logged_in => self.advance_login(now),
                None => match self.mode {
                    Mode::Commands => self.advance_command(now),
                    Mode::Watching(_) => Some(Stall::InFlight),
                    Mode::Dumping(_) => Some(self.advance_dump(now)),
                },
            };
            if let Some(stall) = stalled {
                // All that had come is dealt with: what comes next was sent later.
                self.batched &= stall != Stall::Input;
                return stall;
            }
        }
    }

    /// Runs the command at the front.
    fn advance_command(&mut self, now: Now) -> Option<Stall> {
        // Taken out, so that the command can borrow it while the rest of the connection works.
        let mut input = std::mem::take(&mut self.input);
        if input.has_block() {
            let stalled = self.advance_block(now, &mut input);
            self.input = input;
            return stalled;
        }
        let bytes = input.bytes();
        if bytes.len() < self.needed {
            self.input = input;
            return Some(Stall::Input);
        }
        let (limits, keys_max) = (self.thread.surroundings.limits, self.thread.surroundings.get_keys_max);
        // memcached sends what it owes at an mn.
        let mut ends_batch = false;
        let done = match self.scanner.parse(bytes, &limits) {
            Step::Incomplete { needed } => {
                self.needed = needed;
                if is_awaited(needed, bytes.len()) { self.expect_block(now, &mut input) } else { Err(Stall::Input) }
            }
            Step::Command { consumed, command: Command::Quit } => {
                self.ending = true;
                Ok((consumed, 0))
            }
            Step::Command { consumed, command: Command::Get { keys, .. } } if keys.count() > keys_max => {
                self.long_get = Some(LongGet::new(input.split(consumed), 1));
                Ok((0, 0))
            }
            Step::Command { consumed, command: Command::GetAndTouch { keys, .. } } if keys.count() > keys_max => {
                // The command and its exptime.
                self.long_get = Some(LongGet::new(input.split(consumed), 2));
                Ok((0, 0))
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
        if let Ok((consumed, swallow)) = done {
            self.hear_command(now);
            self.batched = !ends_batch;
            input.consume(consumed, swallow);
            self.needed = 1;
        }
        self.input = input;
        done.err()
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
    fn start(&self, now: Now, part: Part, ask: &Ask<'_>) -> Result<(), Stall> {
        let footprint = || match ask {
            Ask::Command(command) | Ask::Large { command, .. } => footprint::of(command),
            Ask::TooLarge { key, .. } | Ask::NoMemory { key, .. } => footprint::of_meta(key, true),
        };
        let replies = self.shelf.replies.borrow();
        let ticket = Ticket { connection: self.id, sequence: replies.next_sequence() };
        // With nothing in flight, most requests are answered before `call_at` returns and never need a footprint.
        let known = if replies.is_idle() { None } else { Some(footprint()) };
        if known.as_ref().is_some_and(|footprint| !replies.may_start(footprint)) {
            return Err(Stall::InFlight);
        }
        drop(replies);
        if matches!(ask, Ask::Command(Command::Stats { .. })) {
            let door = &self.thread.surroundings.door;
            door.facts.tell(&door.shared);
        }
        let ask_node = |node: &mut Node, now: Now, fx: &mut Vec<Effect>| match ask {
            Ask::Command(command) => node.on_request(now, ticket, command, fx),
            Ask::Large { command, frame } => node.on_large_request(now, ticket, command, frame, fx),
            Ask::TooLarge { key, removes } => node.on_too_large(now, ticket, key, *removes, fx),
            Ask::NoMemory { key, removes } => node.on_no_memory(now, ticket, key, *removes, fx),
        };
        self.thread.call_at(now, ask_node, |effects| {
            let mut replies = self.shelf.replies.borrow_mut();
            let answers_this = |effect: &Effect| matches!(effect, Effect::Respond(to, _) if *to == ticket);
            if known.is_none() && effects.first().is_some_and(answers_this) {
                if let Effect::Respond(_, response) = effects.remove(0) {
                    replies.pass(part, &response);
                }
            } else {
                replies.start(part, known.unwrap_or_else(footprint));
            }
        });
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        if let Some(stop) = self.farewell {
            // A full queue holds reasons enough.
            let _ = self.thread.surroundings.door.stops.try_send(stop);
        }
        self.stream.end_writing()?;
        let mut dropped = vec![0; DRAIN_BYTES_MAX];
        let _ = self.stream.try_read(&mut dropped);
        Ok(())
    }
}
