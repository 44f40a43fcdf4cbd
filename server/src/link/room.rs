//! Room for large messages between nodes, shared by all links of the process.
//!
//! What is half received, and what waits to be sent as a reply, counts against `-I` and `-m`; who finds no room waits.
//! Must not know messages or links.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use memring_protocol::limits::{ITEM_BYTES_MAX, MESSAGE_BYTES_MAX};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::gauges::SharedCounter;

/// What a message has beside the largest item: the fields of it, and a page of smaller ones.
const BESIDE_ITEM_BYTES: usize = MESSAGE_BYTES_MAX - ITEM_BYTES_MAX;

/// Room is given in pieces of this size.
const UNIT_BYTES: usize = 64 * 1024;

/// The process's room.
#[derive(Debug)]
pub(crate) struct Room {
    /// For messages that come in fragments: their whole length, from when they may go on until they are handed over.
    incoming: Arc<Semaphore>,
    incoming_bytes_max: usize,
    /// Bytes of large replies that are not sent yet, on all links.
    replies_bytes: AtomicUsize,
    /// For large requests that are not sent yet, on one link. They are held by the operations that they belong to anyway.
    requests_bytes_max: usize,
    /// Links that were given up, and what waited on them refused, since their peers let too much pile up.
    pub(crate) links_given_up: SharedCounter,
    /// One a thread.
    queues: Mutex<Vec<Arc<PeerQueues>>>,
}

/// Bytes that one thread has to send to each peer, as its loop has told last.
pub(super) type PeerQueues = Mutex<BTreeMap<SocketAddr, usize>>;

impl Room {
    /// For a node with these `-I` and `-m`.
    pub(crate) fn new(item_bytes_max: usize, memory_limit_bytes: usize) -> Self {
        let largest = item_bytes_max.saturating_add(BESIDE_ITEM_BYTES);
        let incoming_bytes_max = largest.max(memory_limit_bytes / 8);
        Self {
            incoming: Arc::new(Semaphore::new(units(incoming_bytes_max) as usize)),
            incoming_bytes_max,
            replies_bytes: AtomicUsize::new(0),
            requests_bytes_max: largest.max(memory_limit_bytes / 4),
            links_given_up: SharedCounter::default(),
            queues: Mutex::default(),
        }
    }

    /// Where a thread tells how much it has to send.
    pub(super) fn add_queues(&self) -> Arc<PeerQueues> {
        let queues = Arc::new(PeerQueues::default());
        self.queues.lock().push(Arc::clone(&queues));
        queues
    }

    /// Bytes that all threads have to send to each peer, a second old at most: as many peers as have links.
    pub(crate) fn queued(&self) -> BTreeMap<SocketAddr, usize> {
        let mut sums = BTreeMap::new();
        for queues in self.queues.lock().iter() {
            for (peer, bytes) in queues.lock().iter() {
                *sums.entry(*peer).or_default() += bytes;
            }
        }
        sums
    }

    /// Whether a message is too large for this node at any time.
    pub(super) fn never_fits(&self, bytes: usize) -> bool {
        bytes > self.incoming_bytes_max
    }

    /// Room for a message that comes in, if there is some now and nobody waits for it.
    pub(super) fn take_now(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.incoming).try_acquire_many_owned(units(bytes)).ok()
    }

    /// Room for a message that comes in; first come, first served. `None` never comes: nobody closes it.
    pub(super) async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.incoming).acquire_many_owned(units(bytes)).await.ok()
    }

    pub(super) fn add_reply(&self, bytes: usize) {
        self.replies_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn end_reply(&self, bytes: usize) {
        self.replies_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether so much waits to be sent that no further request is to be answered. One reply may pass it.
    pub(super) fn is_full_of_replies(&self) -> bool {
        self.replies_bytes.load(Ordering::Relaxed) > self.incoming_bytes_max
    }

    pub(super) fn requests_bytes_max(&self) -> usize {
        self.requests_bytes_max
    }
}

/// Far below what a semaphore counts: it is asked for messages that fit.
fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn the_largest_item_always_fits_alone() {
        for (item, memory) in [(10 * 1024, 64 * MIB), (128 * MIB, 256 * MIB), (ITEM_BYTES_MAX, 2 * ITEM_BYTES_MAX)] {
            let room = Room::new(item, memory);
            let largest = item + BESIDE_ITEM_BYTES;
            assert!(!room.never_fits(largest) && room.never_fits(largest.max(memory / 8) + 1));
            let taken = room.take_now(largest).expect("nothing is taken");
            assert!(room.take_now(memory / 8 + 1).is_none());
            drop(taken);
            assert!(room.take_now(largest).is_some());
        }
    }

    #[test]
    fn what_threads_have_to_send_is_summed_by_peer() {
        let room = Room::new(MIB, 8 * MIB);
        let [a, b] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let (one, other) = (room.add_queues(), room.add_queues());
        *one.lock() = BTreeMap::from([(a, 5), (b, 7)]);
        *other.lock() = BTreeMap::from([(b, 1)]);
        assert_eq!(room.queued(), BTreeMap::from([(a, 5), (b, 8)]));
        one.lock().clear();
        assert_eq!(room.queued(), BTreeMap::from([(b, 1)]));
    }

    #[test]
    fn one_reply_may_pass_the_limit() {
        let room = Room::new(MIB, 8 * MIB);
        room.add_reply(2 * MIB);
        assert!(!room.is_full_of_replies());
        room.add_reply(1);
        assert!(room.is_full_of_replies());
        room.end_reply(2 * MIB);
        assert!(!room.is_full_of_replies());
    }
}
