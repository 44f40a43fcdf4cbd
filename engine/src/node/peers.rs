//! What this process's own traffic says of its peers, for all threads: who is best avoided, who is slow, and how soon each
//! answers a thread.
//!
//! Workers note what they see; the control thread judges it once a tick (`cluster::health`, `cluster::pace`). Must not
//! judge, and must not know gossip.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use memring_protocol::key::Partition;
use memring_protocol::version::{SLOTS_MAX, Slot};
use parking_lot::Mutex;

use super::shared::{Shared, SharedMap};
use super::topology::{Liveness, Topology};
use crate::cluster::health::Trust;
use crate::now::Mono;

/// A set of peers that is looked at by every request, and nearly always empty.
#[derive(Debug, Default)]
struct Few {
    peers: SharedMap<SocketAddr, Trust>,
    /// How many they are, so that nobody looks for one among none: a look takes a lock that all threads share.
    count: AtomicUsize,
}

impl Few {
    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    fn trust_of(&self, peer: SocketAddr) -> Trust {
        if self.is_empty() { Trust::Trusted } else { self.peers.get(&peer).map_or(Trust::Trusted, |trust| *trust) }
    }

    fn set(&self, peer: SocketAddr, trust: Trust) {
        let (before, after) = match trust {
            Trust::Trusted => (self.peers.remove(&peer).is_some(), false),
            doubt => (self.peers.insert(peer, doubt).is_some(), true),
        };
        match (before, after) {
            (false, true) => self.count.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.count.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
    }

    fn retain(&self, keep: impl Fn(&SocketAddr) -> bool) {
        self.peers.retain(|peer, _| {
            let kept = keep(peer);
            if !kept {
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
            kept
        });
    }
}

/// Shared by the threads of one process.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    doubted: Few,
    slow: Few,
    /// Peers whose links workers have lost since the control thread looked: as many as there are peers.
    lost: SharedMap<SocketAddr, Mono>,
    /// One a worker.
    replies: Mutex<BTreeMap<u16, Arc<Replies>>>,
    /// How often this node began to avoid a peer.
    pub(crate) trips: AtomicU64,
}

impl Peers {
    /// How far a peer is trusted.
    pub(crate) fn trust_of(&self, peer: SocketAddr) -> Trust {
        self.doubted.trust_of(peer)
    }

    /// What the control thread has found.
    pub(crate) fn set_trust(&self, peer: SocketAddr, trust: Trust) {
        self.doubted.set(peer, trust);
    }

    /// Whether a peer answers much later than others.
    pub(crate) fn is_slow(&self, peer: SocketAddr) -> bool {
        self.slow.trust_of(peer) != Trust::Trusted
    }

    /// Whether nobody does.
    pub(crate) fn none_is_slow(&self) -> bool {
        self.slow.is_empty()
    }

    pub(crate) fn set_slow(&self, peer: SocketAddr, is_slow: bool) {
        self.slow.set(peer, if is_slow { Trust::Doubted } else { Trust::Trusted });
    }

    /// A worker's link to a peer is gone: it is avoided at once, and the control thread hears of it.
    pub(crate) fn lose(&self, peer: SocketAddr, now: Mono) {
        if self.trust_of(peer) == Trust::Trusted {
            self.set_trust(peer, Trust::Doubted);
        }
        self.lost.insert(peer, now);
    }

    /// What workers have lost since this was asked last.
    pub(crate) fn take_lost(&self) -> Vec<(SocketAddr, Mono)> {
        if self.lost.is_empty() {
            return Vec::new();
        }
        let peers: Vec<SocketAddr> = self.lost.iter().map(|lost| *lost.key()).collect();
        peers.into_iter().filter_map(|peer| self.lost.remove(&peer)).collect()
    }

    /// Keeps what is known of these addresses only.
    pub(crate) fn retain(&self, keep: impl Fn(&SocketAddr) -> bool) {
        self.doubted.retain(&keep);
        self.slow.retain(&keep);
    }

    /// How many are avoided, and how many are slow.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.doubted.count.load(Ordering::Relaxed), self.slow.count.load(Ordering::Relaxed))
    }

    /// A worker's part; only its thread may note in it.
    pub(crate) fn replies_of(&self, worker: u16) -> Arc<Replies> {
        Arc::clone(self.replies.lock().entry(worker).or_insert_with(|| Arc::new(Replies::new())))
    }

    /// Since when a member has left all unanswered that a worker has asked: the longest wait of any worker.
    pub(crate) fn asked_since(&self, slot: Slot) -> Option<Mono> {
        self.replies.lock().values().filter_map(|replies| replies.of(slot).asked_since()).min()
    }

    /// How many replies of a member have come so far, and how long all of them took together, in microseconds.
    pub(crate) fn paces(&self, slot: Slot) -> (u64, u64) {
        let replies = self.replies.lock();
        let sums = replies.values().map(|replies| replies.of(slot));
        sums.fold((0, 0), |(count, sum), of| {
            (count + of.count.load(Ordering::Relaxed), sum.wrapping_add(of.took_us.load(Ordering::Relaxed)))
        })
    }
}

/// How one worker's peers answer what they could answer at once, by slot.
#[derive(Debug)]
pub(crate) struct Replies {
    each: Box<[OfPeer]>,
}

/// No time: what was asked last is answered. What was asked before that and is not says nothing of silence: links keep the
/// order, so it was lost on its way.
const NOTHING: u64 = u64::MAX;

/// Written by one thread, without locked instructions.
#[derive(Debug, Default)]
struct OfPeer {
    waiting: AtomicU64,
    /// Since when nothing was answered of what is waiting, and was asked behind what was answered last; else [`NOTHING`].
    since: AtomicU64,
    last_asked: AtomicU64,
    count: AtomicU64,
    took_us: AtomicU64,
}

impl OfPeer {
    fn asked_since(&self) -> Option<Mono> {
        let since = self.since.load(Ordering::Relaxed);
        (self.waiting.load(Ordering::Relaxed) > 0 && since != NOTHING).then_some(Mono(since))
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

impl Replies {
    fn new() -> Self {
        Self { each: (0..SLOTS_MAX).map(|_| OfPeer::default()).collect() }
    }

    fn of(&self, slot: Slot) -> &OfPeer {
        &self.each[slot.index()]
    }

    /// It was asked something.
    #[inline]
    pub(crate) fn on_asked(&self, slot: Slot, now: Mono) {
        let of = self.of(slot);
        if of.waiting.load(Ordering::Relaxed) == 0 || of.since.load(Ordering::Relaxed) == NOTHING {
            of.since.store(now.0, Ordering::Relaxed);
        }
        of.last_asked.store(now.0, Ordering::Relaxed);
        add(&of.waiting, 1);
    }

    /// It has answered what it was asked at `asked`; `counts`: the time that took says how quick it is.
    #[inline]
    pub(crate) fn on_answered(&self, slot: Slot, asked: Mono, now: Mono, counts: bool) {
        self.on_given_up(slot);
        let of = self.of(slot);
        let is_last = asked.0 >= of.last_asked.load(Ordering::Relaxed);
        of.since.store(if is_last { NOTHING } else { now.0 }, Ordering::Relaxed);
        if counts {
            add(&of.count, 1);
            add(&of.took_us, now.since(asked).as_micros() as u64);
        }
    }

    /// A part of something has gone there or come from there.
    #[inline]
    pub(crate) fn on_moved(&self, slot: Slot, now: Mono) {
        let of = self.of(slot);
        if of.since.load(Ordering::Relaxed) != NOTHING {
            of.since.store(now.0, Ordering::Relaxed);
        }
    }

    /// What it was asked is not waited for any more.
    #[inline]
    pub(crate) fn on_given_up(&self, slot: Slot) {
        let of = self.of(slot);
        of.waiting.store(of.waiting.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }
}

impl Shared {
    /// Whether a member is worth asking: up by gossip, and not avoided by this node.
    pub(crate) fn is_usable(&self, topology: &Topology, slot: Slot) -> bool {
        Some(slot) == topology.me()
            || (topology.is_up(slot)
                && topology.peer(slot).is_some_and(|peer| self.peers.trust_of(peer.address) == Trust::Trusted))
    }

    /// Whether a member may be asked where no other is left: whoever asks it must not have to wait for one that is silent,
    /// or that the cluster counts as failed.
    pub(crate) fn may_ask(&self, topology: &Topology, slot: Slot) -> bool {
        Some(slot) == topology.me() || (topology.peer(slot).is_some() && !self.is_hopeless(topology, slot))
    }

    /// Whether a member may be asked, and is up by gossip: whether there is any use in asking it now.
    pub(crate) fn can_answer(&self, topology: &Topology, slot: Slot) -> bool {
        topology.is_up(slot) && self.may_ask(topology, slot)
    }

    /// Whether a member is known to be silent, or to have failed.
    pub(crate) fn is_hopeless(&self, topology: &Topology, slot: Slot) -> bool {
        topology
            .peer(slot)
            .is_some_and(|peer| peer.liveness == Liveness::Failed || self.peers.trust_of(peer.address) == Trust::Silent)
    }

    /// Whether no home of a partition will answer soon.
    pub(crate) fn is_in_vain(&self, topology: &Topology, partition: Partition) -> bool {
        let homes = topology.layout().map_or(&[][..], |layout| layout.homes(partition));
        topology.has_lost(partition)
            || homes.iter().all(|slot| Some(*slot) != topology.me() && self.is_hopeless(topology, *slot))
    }

    /// Whether a member answers much later than the others do.
    pub(crate) fn is_slow(&self, topology: &Topology, slot: Slot) -> bool {
        !self.peers.none_is_slow() && topology.peer(slot).is_some_and(|peer| self.peers.is_slow(peer.address))
    }

    /// How long a member takes on average, of the replies since `before`, and what [`Peers::paces`] said now.
    pub(crate) fn pace_since(&self, slot: Slot, before: (u64, u64), least: u64) -> (Option<Duration>, (u64, u64)) {
        let after = self.peers.paces(slot);
        let (count, took_us) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
        ((count >= least.max(1)).then(|| Duration::from_micros(took_us / count)), after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_peer_is_avoided_until_it_is_not_or_is_forgotten() {
        let (peers, a, b) = (Peers::default(), address(1), address(2));
        let trusts = || [a, b].map(|peer| peers.trust_of(peer));
        for (peer, trust, expected, count) in [
            (a, Trust::Silent, [Trust::Silent, Trust::Trusted], 1),
            (a, Trust::Doubted, [Trust::Doubted, Trust::Trusted], 1),
            (b, Trust::Silent, [Trust::Doubted, Trust::Silent], 2),
            (a, Trust::Trusted, [Trust::Trusted, Trust::Silent], 1),
            (a, Trust::Trusted, [Trust::Trusted, Trust::Silent], 1),
        ] {
            peers.set_trust(peer, trust);
            assert_eq!((trusts(), peers.counts().0), (expected, count));
        }
        peers.lose(a, Mono(7));
        peers.lose(b, Mono(8));
        assert_eq!(trusts(), [Trust::Doubted, Trust::Silent], "a lost link breaks no silence");
        let mut lost = peers.take_lost();
        lost.sort_unstable();
        assert_eq!((lost, peers.take_lost()), (vec![(a, Mono(7)), (b, Mono(8))], Vec::new()));
        peers.set_slow(a, true);
        assert!(peers.is_slow(a) && !peers.is_slow(b) && !peers.none_is_slow());
        peers.retain(|address| *address == b);
        assert_eq!((trusts(), peers.counts()), ([Trust::Trusted, Trust::Silent], (1, 0)));
    }

    #[test]
    fn silence_lasts_from_the_last_word_while_something_is_unanswered() {
        let (peers, slot) = (Peers::default(), Slot::new(3).expect("a slot"));
        let (one, other) = (peers.replies_of(0), peers.replies_of(1));
        assert_eq!(peers.asked_since(slot), None);
        one.on_asked(slot, Mono(100));
        one.on_asked(slot, Mono(200));
        other.on_asked(slot, Mono(150));
        assert_eq!(peers.asked_since(slot), Some(Mono(100)));
        one.on_answered(slot, Mono(200), Mono(300), true);
        assert_eq!(peers.asked_since(slot), Some(Mono(150)), "the other worker's");
        other.on_moved(slot, Mono(400));
        assert_eq!(
            peers.asked_since(slot),
            Some(Mono(400)),
            "what was asked before an answered one was lost on its way"
        );
        one.on_given_up(slot);
        assert_eq!(peers.asked_since(slot), Some(Mono(400)));
        other.on_answered(slot, Mono(150), Mono(650), false);
        assert_eq!((peers.asked_since(slot), peers.paces(slot)), (None, (1, 100)));
        one.on_asked(slot, Mono(900));
        one.on_asked(slot, Mono(950));
        one.on_answered(slot, Mono(900), Mono(970), true);
        assert_eq!(peers.asked_since(slot), Some(Mono(970)));
    }
}
