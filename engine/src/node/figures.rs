//! What a node tells of itself in numbers, for metrics: gathered when somebody asks.
//!
//! Must not know what a figure is called there, nor how it is drawn. A scrape takes each lock for a moment and looks once at
//! every partition: some hundred microseconds.

use std::sync::atomic::Ordering;

use memring_protocol::entry::UnixMillis;
use memring_protocol::key::Partition;
use memring_protocol::version::Slot;

use super::counters::Counters;
use super::namespaces::NamespaceFigures;
use super::shared::{REPAIR_QUEUE_BYTES_MAX, Shared};
use super::stats::ProcessFacts;
use super::topology::Topology;
use super::view::DrainView;
use crate::cluster::health::Trust;
use crate::store::StoreStats;

/// The states that a member can be in: those of [`MemberRow::state`](super::MemberRow::state).
const MEMBER_STATES: [&str; 6] = ["alive", "suspect", "failed", "joining", "leaving", "restarting"];

/// Everything, at one moment; parts of it may be a little apart.
#[derive(Debug)]
pub struct Figures {
    /// What clients' commands and the cluster came to.
    pub counters: Counters,
    /// The store.
    pub store: StoreStats,
    /// The process, as the server told last.
    pub process: ProcessFacts,
    /// Writes kept for homes that have missed them.
    pub hints: HintFigures,
    /// Entries that wait to be sent to homes that lack them, their bytes, and the most these may be.
    pub repairs: (usize, usize, usize),
    /// Partitions that wait to be compared for a reason, or differ.
    pub repairs_pending: usize,
    /// The ring config's number; 0 before there is one.
    pub epoch: u64,
    /// N; 0 before there is a ring.
    pub replicas: u8,
    /// How many members are in each state; every state is there.
    pub members: Vec<(&'static str, usize)>,
    /// Partitions that this node is a home of and holds in full, and those that it does not yet.
    pub partitions: (usize, usize),
    /// Partitions whose writes it orders.
    pub partitions_led: usize,
    /// How far it is in leaving the ring.
    pub drain: DrainView,
    /// Whether it may be sent requests.
    pub is_ready: bool,
    /// The other members, by name.
    pub peers: Vec<PeerFigures>,
    /// How often it began to avoid a peer.
    pub breaker_trips: u64,
    /// Reads by namespace.
    pub namespaces: Vec<NamespaceFigures>,
    /// By how much cluster time is ahead of this node's own clock, in milliseconds.
    pub clock_offset_ms: i64,
}

/// Hints, in memory and on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HintFigures {
    /// How many, in memory and on disk.
    pub count: (u64, u64),
    /// Their bytes there.
    pub bytes: (u64, u64),
    /// The most these may be; 0 where there is no disk.
    pub limit_bytes: (u64, u64),
    /// How long ago the oldest write was made that some member has not been given yet, in milliseconds.
    pub oldest_age_ms: u64,
    /// How many found no room since the start, or were lost by the disk.
    pub dropped: u64,
    /// Segments on disk that were not what was written.
    pub bad_segments: u64,
}

/// What this node's own traffic says of another member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerFigures {
    /// Its name.
    pub name: String,
    /// Where it listens for peers, if gossip has told.
    pub address: Option<std::net::SocketAddr>,
    /// The circuit breaker's state: closed, doubted or silent.
    pub breaker: &'static str,
    /// Whether it answers much later than the others do.
    pub is_slow: bool,
    /// How many of its replies came, of those that say how quick it is.
    pub replies: u64,
    /// How long they took together, in microseconds.
    pub replies_took_us: u64,
}

impl PeerFigures {
    /// The states that [`PeerFigures::breaker`] can have.
    pub const BREAKERS: [&str; 3] = ["closed", "doubted", "silent"];
}

impl Shared {
    /// How things are now.
    pub fn figures(&self, now: UnixMillis) -> Figures {
        let topology = self.topology();
        let counters = self.counters.sums();
        let total = (counters.get_hits.value(), counters.get_misses.value());
        let (partitions, partitions_led) = self.partition_figures(&topology);
        let repairs = self.repairs.lock();
        let repairs = (repairs.len(), repairs.bytes(), REPAIR_QUEUE_BYTES_MAX);
        Figures {
            namespaces: self.namespace_figures(total),
            counters,
            store: self.store.stats(),
            process: **self.process.load(),
            hints: self.hint_figures(now),
            repairs,
            repairs_pending: self.repairs_pending.load(Ordering::Relaxed),
            epoch: topology.epoch().0,
            replicas: topology.layout().map_or(0, |layout| layout.config.replicas),
            members: self.member_figures(),
            partitions,
            partitions_led,
            drain: self.drain_view(),
            is_ready: self.is_ready(),
            peers: self.peer_figures(&topology),
            breaker_trips: self.peers.trips.load(Ordering::Relaxed),
            clock_offset_ms: self.clock_offset_ms.load(Ordering::Relaxed),
        }
    }

    fn hint_figures(&self, now: UnixMillis) -> HintFigures {
        let hints = self.hints.lock();
        let (memory, disk) = hints.limits();
        HintFigures {
            count: (hints.len() as u64, hints.on_disk_len()),
            bytes: (hints.bytes() as u64, hints.disk_bytes()),
            limit_bytes: (memory as u64, disk),
            oldest_age_ms: hints.oldest().map_or(0, |oldest| now.0.saturating_sub(oldest.0)),
            dropped: hints.dropped(),
            bad_segments: hints.bad_segments(),
        }
    }

    /// Those this node is a home of, held in full and not, and those it leads.
    fn partition_figures(&self, topology: &Topology) -> ((usize, usize), usize) {
        let (Some(layout), Some(me)) = (topology.layout(), topology.me()) else { return ((0, 0), 0) };
        let mine = Partition::all().filter(|partition| layout.homes(*partition).contains(&me));
        let (mut synced, mut recovering, mut led) = (0, 0, 0);
        for partition in mine {
            if self.standings.is_synced(partition) {
                synced += 1
            } else {
                recovering += 1
            }
            led += usize::from(self.standings.lead(partition).is_some());
        }
        ((synced, recovering), led)
    }

    fn member_figures(&self) -> Vec<(&'static str, usize)> {
        let members = self.cluster_view().members;
        let in_state = |state: &'static str| members.iter().filter(|member| member.state == state).count();
        MEMBER_STATES.iter().map(|state| (*state, in_state(state))).collect()
    }

    fn peer_figures(&self, topology: &Topology) -> Vec<PeerFigures> {
        let members = topology.layout().map_or(&[][..], |layout| &layout.config.members[..]);
        let others = members.iter().filter(|member| Some(member.slot) != topology.me());
        others.map(|member| self.figures_of(topology, member.name.to_string(), member.slot)).collect()
    }

    fn figures_of(&self, topology: &Topology, name: String, slot: Slot) -> PeerFigures {
        let address = topology.peer(slot).map(|peer| peer.address);
        let [closed, doubted, silent] = PeerFigures::BREAKERS;
        let breaker = match address.map(|address| self.peers.trust_of(address)) {
            Some(Trust::Doubted) => doubted,
            Some(Trust::Silent) => silent,
            Some(Trust::Trusted) | None => closed,
        };
        let (replies, replies_took_us) = self.peers.paces(slot);
        PeerFigures { name, address, breaker, is_slow: self.is_slow(topology, slot), replies, replies_took_us }
    }
}
