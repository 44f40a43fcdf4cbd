//! One thread of a load: its connections, and when they are asked for what.
//!
//! Closed loop: a connection always has as many requests on their way as its pipeline is deep; a reply makes room for the next.
//! Open loop: a request goes out when it is due, whether or not earlier ones were answered. Must not know what is counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use tokio::sync::mpsc;

use super::alarm::{Alarm, TICK};
use super::connection::{Connection, READ_BYTES};
use super::schedule::{Arrivals, Timeline};
use super::tally::{ErrorKind, Interval, Recorder};
use super::workload::{Mix, Workload};

/// Events taken from the poll at once.
const EVENTS_MAX: usize = 1024;

/// A load of so many requests ends when no connection could be made for so long; one of some time ends by itself.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);

/// The alarm's token; connections have their numbers.
const ALARM: Token = Token(usize::MAX);

/// What decides when the next request is sent.
#[derive(Clone, Debug)]
pub(super) enum Pace {
    /// As soon as fewer than so many wait on a connection.
    Closed {
        /// At least 1.
        pipeline: usize,
    },
    /// At these times.
    Open(Arrivals),
}

/// What a thread is told.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    pub(super) pace: Pace,
    pub(super) timeline: Timeline,
    /// How many requests that count are sent at most.
    pub(super) budget: u64,
    /// How long a reply may take.
    pub(super) patience: Duration,
}

/// What a thread tells.
#[derive(Debug)]
pub(super) enum Told {
    /// All of one of its seconds, or of the rest of one.
    Interval(u32, Box<Interval>),
    /// It has ended, and when the last answer that counts had come.
    Ended { last_answer: u64 },
    /// It cannot go on.
    Failed(io::Error),
}

/// One thread.
#[derive(Debug)]
pub(super) struct Driver {
    orders: Orders,
    poll: Poll,
    alarm: Alarm,
    connections: Vec<Connection>,
    recorder: Recorder,
    /// The connection whose turn it is.
    turn: usize,
    /// Connections that may have more to read.
    unread: Vec<usize>,
    /// When a connection was there last.
    connected_at: u64,
    stop: Arc<AtomicBool>,
    told: mpsc::Sender<Told>,
}

impl Driver {
    /// With sockets that are connected, each with the number of its connection.
    pub(super) fn new(
        orders: Orders,
        mix: &Arc<Mix>,
        sockets: Vec<(u64, std::net::TcpStream, SocketAddr)>,
        stop: Arc<AtomicBool>,
        told: mpsc::Sender<Told>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry(), ALARM)?;
        let connections = sockets
            .into_iter()
            .enumerate()
            .map(|(at, (number, stream, address))| {
                let workload = Workload::new(Arc::clone(mix), number);
                Connection::new(stream, address, workload, Token(at), poll.registry())
            })
            .collect::<io::Result<_>>()?;
        let recorder = Recorder::new(orders.timeline, matches!(orders.pace, Pace::Open(_)));
        Ok(Self {
            orders,
            poll,
            alarm,
            connections,
            recorder,
            turn: 0,
            unread: Vec::new(),
            connected_at: 0,
            stop,
            told,
        })
    }

    /// Until the load is over and everything is answered or given up.
    pub(super) fn run(mut self, start: Instant) {
        let told = match self.drive(start) {
            Ok(()) => {
                let (second, interval) = self.recorder.take();
                let _ = self.told.blocking_send(Told::Interval(second, Box::new(interval)));
                Told::Ended { last_answer: self.recorder.last_answer }
            }
            Err(error) => Told::Failed(error),
        };
        // Whoever listened has gone only if the process is ending.
        let _ = self.told.blocking_send(told);
    }

    fn drive(&mut self, start: Instant) -> io::Result<()> {
        let (mut events, mut scratch) = (Events::with_capacity(EVENTS_MAX), vec![0; READ_BYTES]);
        let mut ticked = 0;
        loop {
            let now = nanos_since(start);
            let sends = self.may_send(now);
            if sends {
                self.send(now);
            } else if self.connections.iter().all(|connection| connection.waiting() == 0) {
                return Ok(());
            }
            let wait = if self.unread.is_empty() { self.wait(start, sends)? } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                Err(_) | Ok(()) => {}
            }
            let now = nanos_since(start);
            for at in std::mem::take(&mut self.unread) {
                self.on_ready(at, &mut scratch, now);
            }
            for event in events.iter().filter(|event| event.token() != ALARM) {
                self.on_ready(event.token().0, &mut scratch, now);
            }
            if now - ticked >= TICK.as_nanos() as u64 {
                ticked = now;
                self.tick(now);
            }
        }
    }

    fn may_send(&mut self, now: u64) -> bool {
        if self.stop.load(Ordering::Relaxed) {
            self.recorder.ends_at(now);
            return false;
        }
        let due = match &self.orders.pace {
            Pace::Closed { .. } => now,
            // What was due before the end is sent, however late, or it would be missing among the latencies.
            Pace::Open(arrivals) => arrivals.due(),
        };
        self.orders.budget > 0 && !self.orders.timeline.is_over(due)
    }

    /// How long nothing is due.
    fn wait(&mut self, start: Instant, sends: bool) -> io::Result<Duration> {
        match &self.orders.pace {
            Pace::Open(arrivals) if sends => {
                let due = arrivals.due();
                let now = nanos_since(start);
                if due <= now && !self.connections.iter().any(Connection::has_room) {
                    // It is late already: a reply makes room for it.
                    return Ok(TICK);
                }
                self.alarm.set(Duration::from_nanos(due.saturating_sub(now)))
            }
            Pace::Open(_) | Pace::Closed { .. } => Ok(TICK),
        }
    }

    fn send(&mut self, now: u64) {
        match self.orders.pace.clone() {
            Pace::Closed { pipeline } => {
                for at in 0..self.connections.len() {
                    self.fill(at, pipeline, now);
                }
            }
            Pace::Open(arrivals) => {
                let arrivals = self.send_due(arrivals, now);
                self.orders.pace = Pace::Open(arrivals);
            }
        }
    }

    /// Everything that is due and finds room, dealt over the connections. What has found none for longer than a reply may
    /// take, after the end, is not sent any more.
    fn send_due(&mut self, mut arrivals: Arrivals, now: u64) -> Arrivals {
        let patience = self.orders.patience.as_nanos() as u64;
        let is_too_late = self.orders.timeline.ends_at.is_some_and(|end| now > end.saturating_add(patience));
        while arrivals.due() <= now && self.orders.budget > 0 && !self.orders.timeline.is_over(arrivals.due()) {
            let due = arrivals.due();
            let count = self.connections.len();
            let places = (0..count).map(|step| (self.turn + step) % count);
            match places.clone().find(|&at| self.connections[at].has_room()) {
                _ if is_too_late => self.recorder.failed(ErrorKind::Unsent, due),
                Some(at) => {
                    self.connections[at].ask(due, now);
                    self.turn = (at + 1) % count;
                }
                None if places.clone().any(|at| self.connections[at].is_up()) => break,
                None => self.recorder.failed(ErrorKind::Unsent, due),
            }
            self.spend(due);
            arrivals.advance();
        }
        for connection in &mut self.connections {
            connection.flush(now, &mut self.recorder);
        }
        arrivals
    }

    /// Sends until the pipeline is full.
    fn fill(&mut self, at: usize, pipeline: usize, now: u64) {
        while self.orders.budget > 0 && self.connections[at].waiting() < pipeline && self.connections[at].has_room() {
            self.connections[at].ask(now, now);
            self.spend(now);
        }
        self.connections[at].flush(now, &mut self.recorder);
    }

    fn spend(&mut self, due: u64) {
        if self.orders.timeline.counts(due) {
            self.orders.budget -= 1;
        }
    }

    fn on_ready(&mut self, at: usize, scratch: &mut [u8], now: u64) {
        if self.connections[at].on_ready(scratch, now, &mut self.recorder) {
            self.unread.push(at);
        }
    }

    fn tick(&mut self, now: u64) {
        for connection in &mut self.connections {
            connection.tick(now, self.orders.patience, self.poll.registry(), &mut self.recorder);
        }
        if self.connections.iter().any(Connection::is_up) {
            self.connected_at = now;
        } else if self.orders.timeline.ends_at.is_none() && now - self.connected_at > GIVE_UP_AFTER.as_nanos() as u64 {
            self.orders.budget = 0;
        }
        while let Some((second, interval)) = self.recorder.next_complete(now) {
            let _ = self.told.blocking_send(Told::Interval(second, Box::new(interval)));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a load is timed by the real clock, here and nowhere else")]
pub(super) fn now() -> Instant {
    Instant::now()
}

fn nanos_since(start: Instant) -> u64 {
    u64::try_from(now().saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}
