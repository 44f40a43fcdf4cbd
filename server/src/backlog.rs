//! Replies that wait for clients to take them, of all connections together: bounded, so that many clients that do not read
//! cannot take the machine's memory.
//!
//! Over the limit a connection may owe its client no more than [`CROWDED_BYTES_MAX`] and one reply, and clients that take
//! nothing are closed after [`CROWDED_PATIENCE`]. Values that are sent from where they lie count too, though they are not
//! copies. Must not know sockets, nor what replies say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The limit is at least this, …
const LIMIT_BYTES_MIN: usize = 64 << 20;

/// … and this part of the memory limit.
const MEMORY_PART: usize = 8;

/// What one connection may owe its client before it stops taking requests, while too much waits for clients.
const CROWDED_BYTES_MAX: usize = 64 * 1024;

/// How long a client may take nothing of what waits for it, while too much waits for clients.
pub(crate) const CROWDED_PATIENCE: Duration = Duration::from_secs(1);

/// What waits for all clients.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    limit_bytes: usize,
}

impl Backlog {
    /// Nothing waits, in a process that may use so much memory for items.
    pub(crate) fn new(memory_limit_bytes: usize) -> Arc<Self> {
        let limit_bytes = LIMIT_BYTES_MIN.max(memory_limit_bytes / MEMORY_PART);
        Arc::new(Self { bytes: AtomicUsize::new(0), limit_bytes })
    }

    /// Whether too much waits.
    pub(crate) fn is_over(&self) -> bool {
        self.bytes() > self.limit_bytes
    }

    /// What one connection may owe its client now, if `usually` is what it may owe otherwise.
    pub(crate) fn allowance(&self, usually: usize) -> usize {
        if self.is_over() { usually.min(CROWDED_BYTES_MAX) } else { usually }
    }

    /// How much may.
    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// How much waits.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// One connection's part; nothing once it is dropped.
#[derive(Debug)]
pub(crate) struct Owed {
    backlog: Arc<Backlog>,
    bytes: usize,
}

impl Owed {
    /// A connection that owes nothing.
    pub(crate) fn none(backlog: &Arc<Backlog>) -> Self {
        Self { backlog: Arc::clone(backlog), bytes: 0 }
    }

    /// It owes so much now.
    pub(crate) fn is_now(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.backlog.bytes.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else if bytes < self.bytes {
            self.backlog.bytes.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.is_now(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connections_owe_is_summed_and_given_back() {
        let backlog = Backlog::new(0);
        let (mut one, mut other) = (Owed::none(&backlog), Owed::none(&backlog));
        one.is_now(LIMIT_BYTES_MIN);
        assert_eq!((backlog.is_over(), backlog.allowance(1 << 20)), (false, 1 << 20));
        other.is_now(5);
        assert_eq!((backlog.is_over(), backlog.allowance(1 << 20)), (true, CROWDED_BYTES_MAX));
        other.is_now(0);
        assert!(!backlog.is_over());
        other.is_now(7);
        drop(one);
        assert_eq!(backlog.bytes(), 7);
        drop(other);
        assert_eq!(backlog.bytes(), 0);
    }

    #[test]
    fn a_node_with_more_memory_may_owe_more() {
        let backlog = Backlog::new(8 << 30);
        let mut owed = Owed::none(&backlog);
        owed.is_now(1 << 30);
        assert!(!backlog.is_over());
        owed.is_now((1 << 30) + 1);
        assert!(backlog.is_over());
    }
}
