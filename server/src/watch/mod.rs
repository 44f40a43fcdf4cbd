//! Those who watch: what happens on any thread becomes a line in the buffer of each watcher that wants to know.
//!
//! With nobody watching no event is made: the engine looks at an atomic first, and so do connections. A watcher that
//! reads too slowly misses lines and is told how many. Must not know sockets; the lock is held for one line, never
//! across an await.

mod line;

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use memring_engine::node::{Event, Shared};
use memring_protocol::text::WatchKinds;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::client_socket::Endpoint;
use crate::clock::Clock;

/// The most watchers at once, as in memcached.
const WATCHERS_MAX: usize = 20;

/// Bytes of lines that a watcher may not have read yet, as in memcached (watcher_logbuf_size).
const WATCH_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Room that is kept for telling how many lines were skipped.
const SKIPPED_LINE_BYTES: usize = 128;

/// The most bytes that a watcher's connection takes at once.
const WATCH_WRITE_BYTES: usize = 16 * 1024;

/// Why a connection ended, in memcached's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CloseReason {
    /// The client closed it, or said quit.
    Normal,
    /// It broke, or what the client sent was no protocol.
    Error,
    /// The client was silent for too long.
    IdleTimeout,
    /// The node stops.
    Shutdown,
}

/// All watchers of the process.
pub(crate) struct Watchers {
    shared: Arc<Shared>,
    clock: Clock,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// The number of the last line, or of the last watcher that came.
    gid: u64,
    seats: Vec<Seat>,
    /// Kept for its memory.
    line: BytesMut,
}

struct Seat {
    gid: u64,
    kinds: WatchKinds,
    buffer: BytesMut,
    skipped: u64,
    wake: Arc<Notify>,
}

impl Watchers {
    pub(crate) fn new(shared: Arc<Shared>, clock: Clock) -> Self {
        Self { shared, clock, table: Mutex::default() }
    }

    /// Adds a watcher, with its `OK` in its buffer; `None` if there are too many.
    pub(crate) fn enter(self: &Arc<Self>, kinds: WatchKinds) -> Option<Watching> {
        let mut table = self.table.lock();
        if table.seats.len() >= WATCHERS_MAX {
            return None;
        }
        table.gid += 1;
        let (gid, wake) = (table.gid, Arc::new(Notify::new()));
        let seat = Seat { gid, kinds, buffer: BytesMut::from("OK\r\n"), skipped: 0, wake: Arc::clone(&wake) };
        table.seats.push(seat);
        self.set_watched(&table);
        Some(Watching { watchers: Arc::clone(self), gid, wake })
    }

    /// A client has come.
    pub(crate) fn tell_opened(&self, connection: u64, from: &Endpoint) {
        if self.shared.watched().has(WatchKinds::CONNEVENTS) {
            self.put_line(WatchKinds::CONNEVENTS, |line| line::put_opened(connection, from, line));
        }
    }

    /// A client has gone.
    pub(crate) fn tell_closed(&self, connection: u64, from: &Endpoint, reason: CloseReason) {
        if self.shared.watched().has(WatchKinds::CONNEVENTS) {
            self.put_line(WatchKinds::CONNEVENTS, |line| line::put_closed(connection, from, reason, line));
        }
    }

    /// An event of a node.
    pub(crate) fn tell(&self, event: &Event) {
        match event {
            Event::EvictionsMissed(count) => {
                let mut table = self.table.lock();
                for seat in table.seats.iter_mut().filter(|seat| seat.kinds.has(event.kind())) {
                    seat.skipped += count;
                }
            }
            event => self.put_line(event.kind(), |line| line::put_event(event, line)),
        }
    }

    fn put_line(&self, kind: WatchKinds, put: impl FnOnce(&mut BytesMut)) {
        let mut table = self.table.lock();
        let Table { gid, seats, line } = &mut *table;
        if !seats.iter().any(|seat| seat.kinds.has(kind)) {
            return;
        }
        *gid += 1;
        line.clear();
        line::put_start(self.clock.unix_us(), *gid, line);
        put(line);
        for seat in seats.iter_mut().filter(|seat| seat.kinds.has(kind)) {
            seat.offer(line);
        }
    }

    /// Called with the table locked, so that of two changes the later one holds.
    fn set_watched(&self, table: &Table) {
        let kinds = table.seats.iter().fold(WatchKinds::NONE, |kinds, seat| kinds.with(seat.kinds));
        self.shared.set_watched(kinds);
    }
}

impl Seat {
    fn offer(&mut self, line: &[u8]) {
        if self.buffer.len() + line.len() + SKIPPED_LINE_BYTES > WATCH_BUFFER_BYTES_MAX {
            self.skipped += 1;
            return;
        }
        if self.skipped > 0 {
            line::put_skipped(self.skipped, &mut self.buffer);
            self.skipped = 0;
        }
        self.buffer.extend_from_slice(line);
        self.wake.notify_one();
    }
}

/// A watcher's place; given up when dropped.
pub(crate) struct Watching {
    watchers: Arc<Watchers>,
    gid: u64,
    wake: Arc<Notify>,
}

impl Watching {
    /// Moves the next lines to `out`, up to 16 KiB, once it is empty.
    pub(crate) fn take(&self, out: &mut BytesMut) {
        if !out.is_empty() {
            return;
        }
        let mut table = self.watchers.table.lock();
        let Some(seat) = table.seats.iter_mut().find(|seat| seat.gid == self.gid) else { return };
        let count = seat.buffer.len().min(WATCH_WRITE_BYTES);
        out.extend_from_slice(&seat.buffer[..count]);
        seat.buffer.advance(count);
    }

    /// Waits for more lines.
    pub(crate) async fn more(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut table = self.watchers.table.lock();
        table.seats.retain(|seat| seat.gid != self.gid);
        self.watchers.set_watched(&table);
    }
}

#[cfg(test)]
mod tests;
