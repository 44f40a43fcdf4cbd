//! Links between nodes: one outgoing link from each thread to each peer that it talks to, and those that peers dialled.
//!
//! Must not know what messages mean. The side that dials sends requests, the other side replies; when an outgoing link
//! ends, whatever was unanswered on it is lost, and the machine is told so once.
//!
//! ```text
//! outgoing   dial, preamble, requests out, replies in        outbox      what waits to be sent, bounded
//! incoming   requests in, replies out                        long_queue  of it, what goes in fragments
//! handshake  whose link is this, and which thread's?         arrivals    what comes, and its room
//! exchange   the loop that both run                          room        for large messages, the process's
//! ```

mod arrivals;
mod exchange;
pub(crate) mod handshake;
mod incoming;
mod long_queue;
mod outbox;
mod outgoing;
mod room;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memring_engine::node::LinkId;
use memring_engine::now::Mono;
use memring_protocol::message::{Acknowledgement, Message, RequestId};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

pub(crate) use self::incoming::serve;
pub(crate) use self::outbox::Outbox;
pub(crate) use self::outgoing::send;
use self::room::PeerQueues;
pub(crate) use self::room::Room;

/// Set in a preamble's features by a control thread: the link is for the other side's control thread.
pub(crate) const CONTROL_LINK: u64 = 1 << 63;

/// Unsent bytes of whole frames at which an outgoing link is given up: a peer that lets so much pile up is lost for now.
/// Long messages have a limit of their own ([`Room`]).
const LINK_QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Unsent bytes of replies in whole frames at which an incoming link is no longer read. One frame may pass it. Long
/// replies have a limit of their own ([`Room`]).
const LINK_REPLY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long a dial may take: a node of the same cluster answers within milliseconds.
const DIAL_TIMEOUT: Duration = Duration::from_millis(500);

/// After a failed dial, or a link that ended as soon as it was up, a peer counts as lost for this long without another
/// dial, or as little as half of it by chance, so that all who lost it at once do not come back at once; twice as long after
/// each failure…
const REDIAL_PAUSE_MIN: Duration = Duration::from_millis(100);

/// … up to this: a node that is back waits no longer for its traffic.
const REDIAL_PAUSE_MAX: Duration = Duration::from_millis(400);

/// A link that lived for so long was no failure.
const LINK_LIFE_MIN: Duration = Duration::from_secs(1);

/// How long after its last failed dial a peer's pause is remembered: addresses that are gone must not pile up.
const PAUSE_MEMORY: Duration = Duration::from_secs(60);

/// How long sent bytes may stay unacknowledged: after a cut the kernel would go on for a quarter of an hour, and try
/// again a minute after it healed. Longer than any stall that is not a failure.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);

/// How much the kernel may hold unsent: enough to keep a fast network busy between two turns, and what a small message
/// that overtakes a large one waits behind at most, with what is on the way.
#[cfg(target_os = "linux")]
const KERNEL_UNSENT_BYTES_MAX: u32 = 512 * 1024;

/// How often it is told how much waits to be sent.
const QUEUES_TOLD_EVERY: Duration = Duration::from_millis(500);

/// A thread's links.
pub(crate) struct Links {
    preamble: Bytes,
    room: Arc<Room>,
    outgoing: RefCell<BTreeMap<SocketAddr, Rc<Outbox>>>,
    pauses: RefCell<BTreeMap<SocketAddr, Pause>>,
    incoming: RefCell<BTreeMap<LinkId, Rc<Outbox>>>,
    next_link: Cell<u64>,
    queues: Arc<PeerQueues>,
    queues_told: Cell<Option<Mono>>,
    /// Of chance: the state of a generator (SplitMix64: Steele, Lea and Flood, 2014).
    chance: Cell<u64>,
}

/// A peer whose last dial failed.
#[derive(Clone, Copy)]
struct Pause {
    until: Mono,
    wait: Duration,
}

impl Links {
    /// No links yet. `preamble` is what this thread says first, encoded; `room` is the process's; `seed` is the thread's own.
    pub(crate) fn new(preamble: Bytes, room: Arc<Room>, seed: u64) -> Self {
        Self {
            preamble,
            queues: room.add_queues(),
            queues_told: Cell::new(None),
            room,
            outgoing: RefCell::default(),
            pauses: RefCell::default(),
            incoming: RefCell::default(),
            next_link: Cell::new(1),
            chance: Cell::new(seed),
        }
    }

    /// Queues a reply on the link that its request came on; dropped if the link is gone.
    pub(crate) fn answer(&self, link: LinkId, message: &Message) {
        if let Some(outbox) = self.incoming.borrow().get(&link) {
            outbox.push(message);
        }
    }

    /// The same, for an acknowledgement.
    pub(crate) fn acknowledge(&self, link: LinkId, id: RequestId, said: Acknowledgement) {
        if let Some(outbox) = self.incoming.borrow().get(&link) {
            outbox.acknowledge(id, said);
        }
    }

    /// Tells how much waits to be sent to each peer, once in [`QUEUES_TOLD_EVERY`].
    pub(crate) fn tell_queues(&self, now: Mono) {
        if self.queues_told.get().is_some_and(|told| now.since(told) < QUEUES_TOLD_EVERY) {
            return;
        }
        self.queues_told.set(Some(now));
        let outgoing = self.outgoing.borrow();
        *self.queues.lock() = outgoing.iter().map(|(peer, outbox)| (*peer, outbox.queued_bytes())).collect();
    }

    fn enter(&self, outbox: &Rc<Outbox>) -> LinkId {
        let link = LinkId(self.next_link.replace(self.next_link.get() + 1));
        self.incoming.borrow_mut().insert(link, Rc::clone(outbox));
        link
    }

    fn leave(&self, link: LinkId) {
        self.incoming.borrow_mut().remove(&link);
    }

    fn forget(&self, peer: SocketAddr) {
        self.outgoing.borrow_mut().remove(&peer);
    }

    fn is_paused(&self, peer: SocketAddr, now: Mono) -> bool {
        self.pauses.borrow().get(&peer).is_some_and(|pause| now < pause.until)
    }

    fn dial_failed(&self, peer: SocketAddr, now: Mono) {
        let mut pauses = self.pauses.borrow_mut();
        pauses.retain(|_, pause| now.since(pause.until) < PAUSE_MEMORY);
        let wait = pauses.get(&peer).map_or(REDIAL_PAUSE_MIN, |pause| (pause.wait * 2).min(REDIAL_PAUSE_MAX));
        let until = now.after(wait / 2).after(self.part_of(wait / 2));
        pauses.insert(peer, Pause { until, wait });
    }

    /// A link that was up at `since` has ended.
    fn link_ended(&self, peer: SocketAddr, since: Mono, now: Mono) {
        if now.since(since) >= LINK_LIFE_MIN {
            self.pauses.borrow_mut().remove(&peer);
        } else {
            self.dial_failed(peer, now);
        }
    }

    /// A part of a time, as long as chance has it.
    fn part_of(&self, time: Duration) -> Duration {
        let state = self.chance.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.chance.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let chance = (mixed ^ (mixed >> 31)) % 1024;
        time * chance as u32 / 1024
    }
}

/// Sets what every link's socket needs. A socket that refuses still works, only slower to notice a cut.
pub(crate) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(UNACKNOWLEDGED_MAX).with_interval(Duration::from_secs(1));
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(KERNEL_UNSENT_BYTES_MAX);
}

#[cfg(test)]
mod tests;
