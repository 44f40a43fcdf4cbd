//! What all threads of a process share: store, clock, topology, terms, hints, counters.
//!
//! Must not hold a lock while anything else is called. The order of locks is: one at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU64, AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Cache, Guard};
use dashmap::DashMap;
use memring_protocol::key::{Key, KeyRef, PARTITIONS, Partition};
use memring_protocol::level::Level;
use memring_protocol::ring::{Epoch, Standing};
use memring_protocol::text::WatchKinds;
use memring_protocol::version::{Ballot, Slot, Stamp, Version};
use parking_lot::Mutex;

use super::counters::CounterSets;
use super::namespaces::NamespaceSets;
use super::peers::Peers;
use super::settings::Settings;
use super::stats::{Details, ProcessFacts};
use super::topology::Topology;
use super::touch::Touch;
use super::turn::TopologyView;
use super::view::{DrainState, DrainView};
use super::wanted::Wanted;
use crate::clock::HybridClock;
use crate::cluster::hints::Hints;
use crate::cluster::repair::Agreements;
use crate::store::{Store, StoreConfig};

/// A map between threads whose order does not depend on the run.
pub(crate) type SharedMap<K, V> = DashMap<K, V, std::hash::BuildHasherDefault<std::hash::DefaultHasher>>;

/// The term in which this node leads a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lead {
    pub(crate) ballot: Ballot,
    /// Whether this node's copy was the same as those of a majority when the term began, so that no key of it needs a
    /// look at other homes first.
    pub(crate) whole: bool,
}

/// Partition by partition: how this node stands to it.
#[derive(Debug)]
pub(crate) struct Standings {
    synced: Box<[AtomicBool]>,
    copies: Box<[AtomicU64]>,
    lead: Box<[AtomicU64]>,
    whole: Box<[AtomicBool]>,
    taking_over: Box<[AtomicBool]>,
    holder: Box<[AtomicU16]>,
}

/// Memory for what other homes were found to lack, in bytes: some 100,000 short keys. What finds no room is found again.
pub(crate) const REPAIR_QUEUE_BYTES_MAX: usize = 16 << 20;

const NO_HOLDER: u16 = u16::MAX;

impl Standings {
    fn new() -> Self {
        let flags = || (0..PARTITIONS).map(|_| AtomicBool::new(false)).collect();
        let numbers = || (0..PARTITIONS).map(|_| AtomicU64::new(0)).collect();
        Self {
            synced: flags(),
            copies: numbers(),
            lead: numbers(),
            whole: flags(),
            taking_over: flags(),
            holder: (0..PARTITIONS).map(|_| AtomicU16::new(NO_HOLDER)).collect(),
        }
    }

    /// Whether this node's copy is complete.
    pub(crate) fn is_synced(&self, partition: Partition) -> bool {
        self.synced[partition.index()].load(Ordering::Acquire)
    }

    pub(crate) fn set_synced(&self, partition: Partition, synced: bool) {
        self.synced[partition.index()].store(synced, Ordering::Release);
    }

    /// The copy is complete from now on; `copy` is a number that it has not had before.
    pub(crate) fn set_copied(&self, partition: Partition, copy: u64) {
        self.copies[partition.index()].store(copy, Ordering::Release);
        self.set_synced(partition, true);
    }

    /// The number of a complete copy.
    pub(crate) fn copy(&self, partition: Partition) -> u64 {
        self.copies[partition.index()].load(Ordering::Acquire)
    }

    /// The term this node leads, if it does.
    pub(crate) fn lead(&self, partition: Partition) -> Option<Lead> {
        let ballot = Ballot(self.lead[partition.index()].load(Ordering::Acquire));
        let whole = self.whole[partition.index()].load(Ordering::Acquire);
        (ballot != Ballot::NONE).then_some(Lead { ballot, whole })
    }

    /// A reader that pairs the old ballot with the new `whole` does no harm: the store has promised the new ballot by
    /// then, and refuses the old one.
    pub(crate) fn set_lead(&self, partition: Partition, lead: Lead) {
        self.whole[partition.index()].store(lead.whole, Ordering::Release);
        self.lead[partition.index()].store(lead.ballot.0, Ordering::Release);
    }

    /// The term `ballot` is over; a later one, begun meanwhile by another thread, stays.
    pub(crate) fn end_lead(&self, partition: Partition, ballot: Ballot) {
        let lead = &self.lead[partition.index()];
        let _ = lead.compare_exchange(ballot.0, 0, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The partition is no longer this node's: no term of it is.
    pub(crate) fn forget(&self, partition: Partition) {
        self.lead[partition.index()].store(Ballot::NONE.0, Ordering::Release);
        self.whole[partition.index()].store(false, Ordering::Release);
        self.set_holder(partition, None);
    }

    /// One thread at a time takes a partition over; true for the one that may.
    pub(crate) fn claim_takeover(&self, partition: Partition) -> bool {
        !self.taking_over[partition.index()].swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_takeover(&self, partition: Partition) {
        self.taking_over[partition.index()].store(false, Ordering::Release);
    }

    /// Who was last heard to hold the ballot of a partition that this node is no home of.
    pub(crate) fn holder(&self, partition: Partition) -> Option<Slot> {
        Slot::new(self.holder[partition.index()].load(Ordering::Relaxed))
    }

    pub(crate) fn set_holder(&self, partition: Partition, slot: Option<Slot>) {
        self.holder[partition.index()].store(slot.map_or(NO_HOLDER, Slot::number), Ordering::Relaxed);
    }
}

/// What the control thread has heard of a node in pings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    /// The ring config that it says so about.
    pub(crate) epoch: Epoch,
    pub(crate) synced_permille: u16,
    pub(crate) client_port: u16,
    pub(crate) admin_port: u16,
}

/// Shared by the threads of one process.
pub struct Shared {
    settings: Settings,
    pub(crate) store: Store,
    pub(crate) clock: HybridClock,
    pub(crate) standings: Standings,
    pub(crate) touch: Touch,
    pub(crate) wanted: Wanted,
    pub(crate) hints: Mutex<Hints>,
    /// What other homes were found to lack: kept and sent as hints are, but paced, and of no use once it is evicted.
    pub(crate) repairs: Mutex<Hints>,
    /// Partitions in which a home has missed something that found no room among the hints.
    pub(crate) suspects: Mutex<BTreeSet<(Slot, Partition)>>,
    /// How far other homes are known to agree with this one.
    pub(crate) agreements: Mutex<Agreements>,
    /// Partitions that are waiting to be compared for a reason, or differ.
    pub(crate) repairs_pending: AtomicUsize,
    pub(crate) counters: CounterSets,
    pub(crate) namespace_reads: NamespaceSets,
    topology: Arc<ArcSwap<Topology>>,
    /// The ring config's number in it, for those who work from a view that they took before.
    epoch: AtomicU64,
    /// What this node's own traffic says of its peers.
    pub(crate) peers: Peers,
    /// By name.
    pub(crate) heard: SharedMap<String, Heard>,
    pub(crate) process: ArcSwap<ProcessFacts>,
    /// The facts at the last `stats reset`, whose counts are told from there on.
    pub(crate) process_at_reset: ArcSwap<ProcessFacts>,
    pub(crate) details: Details,
    /// Whether expired items are looked for.
    pub(crate) crawler_enabled: AtomicBool,
    /// Whether a client's crawl is under way.
    pub(crate) crawling: AtomicBool,
    /// Crawls that clients have asked for.
    pub(crate) crawls: AtomicU64,
    pub(crate) stopping: AtomicBool,
    departure: Mutex<(DrainView, bool)>,
    /// By how much cluster time is ahead of this node's own clock.
    pub(crate) clock_offset_ms: AtomicI64,
    pub(crate) synced_permille: AtomicU16,
    /// Bits of the kinds of events that somebody watches.
    watched: AtomicU8,
}

impl Shared {
    /// Everything a process needs before its threads start.
    pub fn new(settings: Settings) -> Arc<Self> {
        let store = Store::new(StoreConfig {
            memory_limit_bytes: settings.memory_limit_bytes,
            item_bytes_max: settings.item_bytes_max,
            threads: settings.workers,
            evict: settings.evict,
            hash_seed: settings.seed,
        });
        Arc::new(Self {
            store,
            clock: HybridClock::default(),
            standings: Standings::new(),
            touch: Touch::new(),
            wanted: Wanted::new(),
            hints: Mutex::new(match settings.hint_disk_bytes {
                0 => Hints::new(settings.hint_memory_bytes),
                disk_bytes => Hints::with_disk(settings.hint_memory_bytes, disk_bytes),
            }),
            repairs: Mutex::new(Hints::new(REPAIR_QUEUE_BYTES_MAX)),
            suspects: Mutex::default(),
            agreements: Mutex::default(),
            repairs_pending: AtomicUsize::new(0),
            counters: CounterSets::default(),
            namespace_reads: NamespaceSets::new(settings.namespaces.len()),
            topology: Arc::default(),
            epoch: AtomicU64::new(0),
            peers: Peers::default(),
            heard: SharedMap::default(),
            process: ArcSwap::default(),
            process_at_reset: ArcSwap::default(),
            details: Details::default(),
            crawler_enabled: AtomicBool::new(true),
            crawling: AtomicBool::new(false),
            crawls: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            departure: Mutex::default(),
            clock_offset_ms: AtomicI64::new(0),
            synced_permille: AtomicU16::new(0),
            watched: AtomicU8::new(WatchKinds::NONE.bits()),
            settings,
        })
    }

    /// What the node was told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The current view.
    pub fn topology(&self) -> Guard<Arc<Topology>> {
        self.topology.load()
    }

    /// The current view for one thread, now and whenever it looks again.
    pub(crate) fn follow_topology(&self) -> TopologyView {
        Cache::new(Arc::clone(&self.topology))
    }

    pub(crate) fn set_topology(&self, topology: Topology) {
        // First: whoever is given a copy by the new view must be seen by those who write by an older one.
        self.epoch.store(topology.epoch().0, Ordering::Release);
        self.topology.store(Arc::new(topology));
    }

    /// Whether placement is still that of this view. To be asked after an entry was stored by it: a new home may have
    /// copied the partition before that, and then the entry must reach it by the new view. The shard's lock orders the two.
    #[inline]
    pub(crate) fn is_current(&self, topology: &Topology) -> bool {
        self.epoch.load(Ordering::Acquire) == topology.epoch().0
    }

    /// The number of the ring config.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    /// What the server measures of the process, for `stats`.
    pub fn set_process_facts(&self, facts: ProcessFacts) {
        self.process.store(Arc::new(facts));
    }

    /// Whether `lru_crawler` has not been switched off.
    pub fn is_crawler_enabled(&self) -> bool {
        self.crawler_enabled.load(Ordering::Relaxed)
    }

    /// Has nodes give events of these kinds from now on, and of no other.
    pub fn set_watched(&self, kinds: WatchKinds) {
        self.watched.store(kinds.bits(), Ordering::Relaxed);
        self.store.note_evictions(kinds.has(WatchKinds::EVICTIONS));
    }

    /// Which kinds of events are wanted.
    pub fn watched(&self) -> WatchKinds {
        WatchKinds::from_bits(self.watched.load(Ordering::Relaxed))
    }

    /// Whether this node may be sent requests: it has a topology and is not leaving.
    pub fn is_ready(&self) -> bool {
        self.topology().me().is_some() && !self.stopping.load(Ordering::Relaxed)
    }

    /// How far this node is in leaving the ring.
    pub fn drain_view(&self) -> DrainView {
        self.departure.lock().0.clone()
    }

    /// Whether a node that was told to stop may end now: see [`super::Control::depart`].
    pub fn may_stop(&self) -> bool {
        self.departure.lock().1
    }

    pub(crate) fn note_departure(&self, state: DrainState, (left, total): (usize, usize), may_stop: bool) {
        *self.departure.lock() = (DrainView::of(state, left, total), may_stop);
    }

    /// Whether all its partitions are synced.
    pub fn is_synced(&self) -> bool {
        self.topology().me().is_some() && self.synced_permille.load(Ordering::Relaxed) == 1000
    }

    /// Whether it holds all that it should, as a full member of the ring: what it takes over is its own.
    pub fn is_settled(&self) -> bool {
        let topology = self.topology();
        let member = topology.layout().zip(topology.me()).and_then(|(layout, me)| layout.config.member(me));
        member.is_some_and(|member| member.standing == Standing::Active) && self.is_synced()
    }

    /// Notes that a home has missed a write: by a hint, or, where that finds no room, by comparing the partition.
    pub(crate) fn keep_hint(&self, target: Slot, key: &Key, version: Version) {
        let kept = self.hints.lock().keep(target, key, version);
        if !kept {
            self.suspects.lock().insert((target, key.partition()));
        }
    }

    /// Whether hints are only in memory that a disk has room for: see [`Control::save_hints`](super::Control::save_hints).
    pub fn has_unsaved_hints(&self) -> bool {
        self.hints.lock().is_unsaved()
    }

    /// Another home of a partition is known to hold what this one does up to a stamp.
    pub(crate) fn agree(&self, partition: Partition, other: Slot, upto: Stamp) {
        // Held until the store knows: two threads must not tell it in the other order.
        let mut agreements = self.agreements.lock();
        if let Some(settled) = agreements.note(partition, other, upto) {
            self.store.set_settled(partition, settled);
        }
    }

    /// Whether something of a partition is still to be sent to that home.
    pub(crate) fn owes(&self, target: Slot, partition: Partition) -> bool {
        let repairs = self.repairs.lock().has_any(target, partition);
        repairs || self.hints.lock().has_any(target, partition)
    }

    /// The digest of this node's copy of a partition, by keys and versions; `None` where it is no home. Two complete copies
    /// that agree have the same.
    pub fn digest(&self, partition: Partition) -> Option<u64> {
        let topology = self.topology();
        let (layout, me) = (topology.layout()?, topology.me()?);
        layout.homes(partition).contains(&me).then(|| self.store.digest(partition))
    }

    /// Whether one copy is enough for a read of the key, at the request's level or its own, and this node has one that is
    /// complete, and that what all homes have taken is in after a move that may have ended.
    #[inline]
    pub(crate) fn reads_alone(&self, topology: &Topology, key: KeyRef<'_>, level: Option<Level>) -> bool {
        let (Some(layout), Some(me)) = (topology.layout(), topology.me()) else { return false };
        let (partition, homes) = (key.partition(), layout.homes(key.partition()));
        let level = level.unwrap_or_else(|| self.read_level(topology, key.as_bytes()));
        level.needed(homes.len()) == 1
            && homes.contains(&me)
            && layout.next_homes(partition).is_none_or(|next| next.contains(&me))
            && self.standings.is_synced(partition)
    }
}
