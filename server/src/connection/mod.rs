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

mod commands;
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
mod spare;
mod table;
mod waiting;
mod watching;

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use memring_engine::node::Node;
use memring_engine::now::{Mono, Now};
use memring_protocol::text::{Command, LineScanner, MetaKey, WatchKinds};

use self::dumping::{DUMP_AHEAD_BYTES, Dump};
use self::input::Input;
use self::long_get::LongGet;
use self::replies::OUTPUT_BYTES_MAX;
pub(crate) use self::table::Clients;
use self::table::Shelf;
use crate::backlog::Owed;
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
    /// What waits for it, as a part of what waits for all clients.
    owed: Owed,
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
        owed: Owed::none(&thread.surroundings.door.facts.backlog),
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
                self.shelf.replies.borrow_mut().rest();
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
            self.shelf.replies.borrow_mut().rest();
            self.entry.is_now(self.state(stall, unsent));
            self.wait(stall == Stall::Input && !self.ending, unsent).await?;
        }
    }

    /// Runs every whole command that may start.
    fn advance(&mut self) -> Stall {
        let now = self.thread.clock.now();
        self.thread.surroundings.stopwatch.begin_turn(now.mono);
        let stall = self.advance_at(now);
        self.thread.surroundings.stopwatch.end_turn(|| self.thread.clock.mono());
        stall
    }

    fn advance_at(&mut self, now: Now) -> Stall {
        let allowance = self.thread.surroundings.door.facts.backlog.allowance(OUTPUT_BYTES_MAX);
        self.shelf.replies.borrow_mut().allow(allowance);
        loop {
            if self.shelf.replies.borrow().is_full() {
                return Stall::Output;
            }
            let stalled = match self.long_get.take() {
                Some(long_get) => self.advance_long_gets(now, long_get),
                None if self.ending => Some(Stall::Input),
                None if !self.logged_in => self.advance_login(now),
                None => match self.mode {
                    Mode::Commands => self.advance_commands(now),
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
