//! Room for large values on their way between clients and the node, over all connections of the process.
//!
//! What a client sends is counted as soon as it is announced, so that whatever is begun can end; what is sent to clients
//! is counted once a value, however many are sent it, for they share its bytes. Must not know sockets, commands or the
//! store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use memring_protocol::limits::COPIED_VALUE_BYTES_MAX;
use parking_lot::Mutex;

use crate::gauges::SharedCounter;

/// A value of more bytes is received into an allocation of its own, and sent from where it lies.
pub(crate) const LARGE_VALUE_BYTES: usize = COPIED_VALUE_BYTES_MAX;

/// A value of so many bytes needs room to be sent: smaller ones are bounded by what one connection may be owed.
pub(crate) const PINNED_VALUE_BYTES_MIN: usize = 1024 * 1024;

/// The share of the memory limit that large values on their way may take in each direction, if one value is not more.
const MEMORY_SHARE: usize = 8;

/// See the top of the file.
#[derive(Debug)]
pub(crate) struct LargeValues {
    bytes_max: usize,
    received_bytes: AtomicUsize,
    sent: Mutex<Pinned>,
    /// Values that were told to be missing, because there was no room to send them.
    pub(crate) missed: SharedCounter,
}

/// Values that clients are being sent, by the address of their first byte: nothing else can lie there meanwhile.
#[derive(Debug, Default)]
struct Pinned {
    bytes: usize,
    readers: BTreeMap<usize, usize>,
}

impl LargeValues {
    /// Room for the largest item, and for an eighth of the memory limit.
    pub(crate) fn new(item_bytes_max: usize, memory_limit_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max: item_bytes_max.max(memory_limit_bytes / MEMORY_SHARE),
            received_bytes: AtomicUsize::new(0),
            sent: Mutex::default(),
            missed: SharedCounter::default(),
        })
    }

    /// Room to receive a value of so many bytes, if there is.
    pub(crate) fn receive(self: &Arc<Self>, bytes: usize) -> Option<Receiving> {
        let take = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= self.bytes_max);
        self.received_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(Receiving { bytes, large: Arc::clone(self) })
    }

    /// Room to send a value, if there is: always, if somebody is being sent the very same.
    pub(crate) fn send(self: &Arc<Self>, value: &Bytes) -> Option<Sending> {
        let mut sent = self.sent.lock();
        let Pinned { bytes, readers } = &mut *sent;
        let address = value.as_ptr().addr();
        match readers.get_mut(&address) {
            Some(readers) => *readers += 1,
            None if *bytes + value.len() > self.bytes_max => return None,
            None => {
                *bytes += value.len();
                readers.insert(address, 1);
            }
        }
        Some(Sending { value: value.clone(), large: Arc::clone(self) })
    }

    /// Bytes of values that are being received.
    pub(crate) fn received_bytes(&self) -> usize {
        self.received_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of values that are being sent.
    pub(crate) fn sent_bytes(&self) -> usize {
        self.sent.lock().bytes
    }
}

/// Room for a value that comes; given back when dropped.
#[derive(Debug)]
pub(crate) struct Receiving {
    bytes: usize,
    large: Arc<LargeValues>,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.large.received_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Room for a value that is sent; given back when dropped.
#[derive(Debug)]
pub(crate) struct Sending {
    /// Held, so that its address stays its own.
    value: Bytes,
    large: Arc<LargeValues>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut sent = self.large.sent.lock();
        let address = self.value.as_ptr().addr();
        let Some(readers) = sent.readers.get_mut(&address) else { return };
        *readers -= 1;
        if *readers == 0 {
            sent.readers.remove(&address);
            sent.bytes -= self.value.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_received_is_bounded_by_one_item_or_an_eighth_of_memory() {
        for (item, memory, most) in [(100, 80, 100), (10, 800, 100)] {
            let large = LargeValues::new(item, memory);
            let first = large.receive(most - 1).expect("there is room");
            assert!(large.receive(2).is_none() && large.receive(usize::MAX).is_none());
            let second = large.receive(1).expect("there is room");
            assert_eq!(large.received_bytes(), most);
            drop(first);
            assert_eq!(large.received_bytes(), 1);
            drop(second);
            assert!(large.receive(most).is_some());
        }
    }

    #[test]
    fn a_value_that_many_are_sent_counts_once() {
        let large = LargeValues::new(100, 0);
        let (one, other) = (Bytes::from(vec![1; 60]), Bytes::from(vec![2; 60]));
        let pins: Vec<_> = (0..3).map(|_| large.send(&one).expect("there is room")).collect();
        assert_eq!(large.sent_bytes(), 60);
        assert!(large.send(&other).is_none());
        for pin in pins {
            assert!(large.send(&other).is_none());
            drop(pin);
        }
        assert_eq!(large.sent_bytes(), 0);
        assert!(large.send(&other).is_some());
    }
}
