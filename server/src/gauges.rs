//! What this process counts about itself: connections and bytes.
//!
//! Must not know who asks (`stats` through the engine). Counters that every read and write touches are one a worker, so
//! that workers do not fight over a cache line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Client connections of the process.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    current: AtomicU64,
    total: AtomicU64,
    rejected: AtomicU64,
}

impl Connections {
    /// Counts a connection in, unless `limit` are here; then counts it as rejected.
    pub(crate) fn admit(self: &Arc<Self>, limit: u64) -> Option<Admission> {
        // Only the acceptor adds, so nobody can pass the limit between the two lines.
        if self.current() >= limit {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        self.current.fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(1, Ordering::Relaxed);
        Some(Admission(Arc::clone(self)))
    }

    pub(crate) fn current(&self) -> u64 {
        self.current.load(Ordering::Relaxed)
    }

    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(crate) fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }
}

/// A counted connection; counted out when dropped.
#[derive(Debug)]
pub(crate) struct Admission(Arc<Connections>);

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.current.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes that one worker read from and wrote to clients.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Traffic {
    read: AtomicU64,
    written: AtomicU64,
}

impl Traffic {
    pub(crate) fn count_read(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Read and written.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_in_and_out() {
        let connections = Arc::new(Connections::default());
        let first = connections.admit(1).expect("there is room");
        assert!(connections.admit(1).is_none());
        drop(first);
        assert!(connections.admit(1).is_some());
        assert_eq!((connections.current(), connections.total(), connections.rejected()), (0, 2, 1));
    }
}
