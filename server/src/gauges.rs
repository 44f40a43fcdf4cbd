//! What this process counts about itself: connections and bytes.
//!
//! Must not know who asks (`stats` through the engine). Counters that every read and write touches are one a worker and
//! written by it alone, so that workers do not fight over a cache line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use memring_engine::node::Counter;
use memring_engine::now::Mono;

use crate::client_socket::Endpoint;
use crate::registry::{Entry, Registry};

/// A counter that any thread may add to, for what happens rarely.
#[derive(Debug, Default)]
pub(crate) struct SharedCounter(AtomicU64);

impl SharedCounter {
    /// One more.
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Client connections of the process.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) registry: Registry,
    current: AtomicU64,
    total: SharedCounter,
    rejected: SharedCounter,
    /// Closed because they were idle.
    pub(crate) idle_kicks: SharedCounter,
    /// Closed because they sent nothing within a large data block.
    pub(crate) slow_senders: SharedCounter,
    /// Closed because they took nothing of much that waited for them.
    pub(crate) slow_readers: SharedCounter,
    /// Logins tried.
    pub(crate) logins: SharedCounter,
    /// Logins tried in vain.
    pub(crate) failed_logins: SharedCounter,
    /// Listeners that cannot accept for now.
    paused: AtomicU64,
    pauses: SharedCounter,
    paused_us: SharedCounter,
}

impl Connections {
    /// Counts a connection in, unless `limit` are here; then counts it as rejected.
    pub(crate) fn admit(self: &Arc<Self>, limit: u64, from: Endpoint, to: Endpoint, now: Mono) -> Option<Admission> {
        // Only the control thread adds, so nobody can pass the limit between the two lines.
        if self.current() >= limit {
            self.rejected.increment();
            return None;
        }
        self.current.fetch_add(1, Ordering::Relaxed);
        self.total.increment();
        let entry = self.registry.enter_client(from, to, now);
        Some(Admission { connections: Arc::clone(self), entry })
    }

    /// Notes that a listener cannot accept.
    pub(crate) fn pause(&self) {
        self.pauses.increment();
        self.paused.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes how much longer that has been so.
    pub(crate) fn paused_for(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.paused_us.add(us);
    }

    /// Notes that it can again.
    pub(crate) fn resume(&self) {
        self.paused.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether all listeners can accept.
    pub(crate) fn is_accepting(&self) -> bool {
        self.paused.load(Ordering::Relaxed) == 0
    }

    /// How often one could not.
    pub(crate) fn pauses(&self) -> u64 {
        self.pauses.value()
    }

    /// For how long, in microseconds.
    pub(crate) fn paused_us(&self) -> u64 {
        self.paused_us.value()
    }

    pub(crate) fn current(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    pub(crate) fn total(&self) -> u64 {
        self.total.value()
    }

    pub(crate) fn rejected(&self) -> u64 {
        self.rejected.value()
    }
}

/// A counted connection; counted out when dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    connections: Arc<Connections>,
    entry: Arc<Entry>,
}

impl Admission {
    /// Its place in the registry.
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.connections.registry.leave(&self.entry);
        self.connections.current.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes that one worker read from and wrote to clients, and its requests that others must answer first. Only its thread
/// counts.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Traffic {
    read: Counter,
    written: Counter,
    begun: Counter,
    ended: Counter,
}

impl Traffic {
    pub(crate) fn count_read(&self, bytes: usize) {
        self.read.add(bytes as u64);
    }

    pub(crate) fn count_written(&self, bytes: usize) {
        self.written.add(bytes as u64);
    }

    /// A request waits for others from now on.
    pub(crate) fn count_begun(&self) {
        self.begun.increment();
    }

    /// So many requests wait no more.
    pub(crate) fn count_ended(&self, requests: usize) {
        self.ended.add(requests as u64);
    }

    /// Requests that wait for others.
    pub(crate) fn in_flight(&self) -> u64 {
        // Another thread may end some between the two readings.
        let ended = self.ended.value();
        self.begun.value().saturating_sub(ended)
    }

    /// Read and written.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.read.value(), self.written.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_in_and_out() {
        let connections = Arc::new(Connections::default());
        let admit = || {
            let end = Endpoint::Unix("/run/m.sock".into());
            connections.admit(1, end.clone(), end, Mono(0))
        };
        let first = admit().expect("there is room");
        assert!(admit().is_none());
        assert_eq!(connections.registry.lines(Mono(0)).len(), 4);
        drop(first);
        assert!(connections.registry.lines(Mono(0)).is_empty());
        assert!(admit().is_some());
        assert_eq!((connections.current(), connections.total(), connections.rejected()), (0, 2, 1));
    }

    #[test]
    fn requests_are_in_flight_until_they_end() {
        let traffic = Traffic::default();
        (0..3).for_each(|_| traffic.count_begun());
        traffic.count_ended(1);
        assert_eq!(traffic.in_flight(), 2);
        traffic.count_ended(2);
        assert_eq!(traffic.in_flight(), 0);
    }

    #[test]
    fn the_node_accepts_unless_a_listener_cannot() {
        let connections = Connections::default();
        connections.pause();
        connections.pause();
        connections.paused_for(Duration::from_millis(3));
        connections.resume();
        assert!(!connections.is_accepting());
        connections.resume();
        assert!(connections.is_accepting());
        assert_eq!((connections.pauses(), connections.paused_us()), (2, 3000));
    }
}
