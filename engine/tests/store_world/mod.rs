//! A tiny store, always full, beside a plain map with a clock: every call is made of both, and what they say is compared.
//!
//! The store says what it evicts, so the map is exact: what was not evicted must be there, with every byte. Shared by
//! the property test of tiny stores and by the fuzz target of the same; must not know how a store lies in memory.

mod check;
mod flow;
mod model;
mod names;
pub(crate) mod op;
mod writes;

use std::ops::ControlFlow;

use bytes::Bytes;
use memring_engine::store::{Change, Missing, Store, StoreConfig, StoreStats, TOMBSTONE_LIFE_MS};
use memring_protocol::entry::{Body, UnixMillis};
use memring_protocol::flush::FlushState;
use memring_protocol::version::{Ballot, STAMP_EPOCH_UNIX_MS, Slot, Stamp};

use self::flow::Flow;
use self::model::Model;
use self::names::{name, partition_of};
use self::op::{HOT_KEYS, ITEM_BYTES_MAX, Op, What};

/// An evicting store takes an item of so many bytes whatever else it holds, if a shard has [`SHARD_BYTES_MIN`].
const SURE_BYTES: usize = 65 << 10;

/// The smallest limit of a store: that of a shard in most stories.
const SHARD_BYTES_MIN: usize = 1 << 20;

/// So many items of so many bytes fill a shard.
const FILLING: (u16, usize) = (16, 45_000);

/// See the top of the file.
pub(crate) struct World {
    store: Store,
    model: Model,
    evicts: bool,
    shards: usize,
    now: UnixMillis,
    /// What the store had counted after the last call.
    stats: StoreStats,
    /// What it may use: its limit, or a higher one that was before until it has come down.
    ceiling: u64,
    /// Writes so far: no two have the same stamp.
    writes: u64,
    /// The last entry that was taken for each hot key.
    taken: Vec<Option<memring_protocol::entry::Entry>>,
    /// What one reader holds on to, and what it must be.
    reading: Option<(Bytes, Bytes)>,
    hits: u64,
    misses: u64,
    /// Items that went, but neither by eviction nor by being reclaimed: overwritten, deleted, refused, cleared.
    gone: i64,
}

impl World {
    /// The setting chooses whether the store evicts, how many shards it has, and whether it is full from the start.
    pub(crate) fn new(setting: u8) -> Self {
        let mut world = Self::empty(setting);
        if setting >= 32 {
            let what = What::Item { len: FILLING.1, flags: 0, seconds: None };
            world.step(&Op::Scan { first: HOT_KEYS, count: FILLING.0 * world.shards as u16, what });
        }
        world
    }

    fn empty(setting: u8) -> Self {
        let (evicts, shards) = (setting % 4 != 1, if setting % 4 == 2 { 2 } else { 1 });
        let memory_limit_bytes = if shards == 2 { 32 << 20 } else { SHARD_BYTES_MIN };
        let item_bytes_max = ITEM_BYTES_MAX;
        let store = Store::new(StoreConfig {
            memory_limit_bytes,
            item_bytes_max,
            threads: 1,
            evict: evicts,
            hash_seed: 0x5eed,
        });
        store.note_evictions(true);
        let now = UnixMillis(STAMP_EPOCH_UNIX_MS + 1_000_000_000);
        if shards == 2 {
            assert!(
                store.set_limit(shards * SHARD_BYTES_MIN) && store.fit(now, 1),
                "an empty store takes a lower limit"
            );
        }
        let stats = store.stats();
        Self {
            store,
            model: Model::default(),
            evicts,
            shards,
            now,
            stats,
            ceiling: stats.limit_maxbytes,
            writes: 0,
            taken: vec![None; usize::from(HOT_KEYS)],
            reading: None,
            hits: 0,
            misses: 0,
            gone: 0,
        }
    }

    /// Makes one call, and checks all that it tells.
    ///
    /// # Panics
    ///
    /// When the store says something else than the map, or its counts do not add up.
    pub(crate) fn step(&mut self, op: &Op) {
        if let ControlFlow::Continue(()) = self.step_untimed(op) {
            self.model.pass_time(self.now);
            self.step_timed(op);
            assert_eq!(self.store.flush(), self.model.flush, "the flush state");
        }
        self.check_counts();
    }

    /// The calls that are not told the time.
    fn step_untimed(&mut self, op: &Op) -> ControlFlow<()> {
        match *op {
            Op::Advance { ms } => self.now.0 += ms,
            Op::Promise { key, round, raise } => self.promise(key, round, raise),
            Op::Clear { key } => self.clear(key),
            Op::Floor { age_ms } => {
                self.merge_flush(FlushState { floor: Stamp::end_of(self.now.0 - age_ms), ..FlushState::default() });
            }
            Op::Pending { identity, in_ms } => {
                let pending = Some((Stamp(identity), UnixMillis(self.now.0 + in_ms)));
                self.merge_flush(FlushState { pending, ..FlushState::default() });
            }
            Op::Limit { kib } => self.set_limit(kib << 10),
            Op::Reset => self.reset(),
            _ => return ControlFlow::Continue(()),
        }
        ControlFlow::Break(())
    }

    fn step_timed(&mut self, op: &Op) {
        match *op {
            Op::Get { key, noticed } => drop(self.get(key, noticed)),
            Op::Read { key, noticed } => self.read(key, noticed),
            Op::Version { key, noticed } => self.version(key, noticed),
            Op::Listing { key } => self.check_listing(key),
            Op::Apply { key, fence, round, age_ms, what } => self.apply(key, fence, round, age_ms, what),
            Op::ApplyAgain { key } => self.apply_again(key),
            Op::ApplyTouch { key, seconds } => self.apply_touch(key, seconds),
            Op::Put { key, what } => self.put(key, what),
            Op::Resize { key, by } => self.resize(key, by),
            Op::Amend { key, seconds, marks, noticed } => self.amend(key, seconds, marks, noticed),
            Op::Decide { key, notice } => self.decide(key, notice),
            Op::Sweep { places } => self.sweep(places),
            Op::Fit { records } => self.fit(records),
            Op::Page { key, limit_bytes } => drop(self.page(partition_of(key), limit_bytes)),
            Op::List { key, items_max } => self.list(partition_of(key), items_max),
            Op::Newest { size, items_max } => self.check_newest(size, items_max),
            Op::Scan { first, count, what } => (first..first + count).for_each(|key| self.apply(key, None, 1, 0, what)),
            Op::Hold { key } => self.hold(key),
            _ => unreachable!("not told the time: {op:?}"),
        }
    }

    /// Makes a call, and takes in what it evicted. `own`: the key that it writes.
    fn call<R>(&mut self, own: Option<u16>, call: impl FnOnce(&Store) -> R) -> (R, Flow) {
        let before = self.stats;
        let result = call(&self.store);
        let noted = self.store.take_evictions();
        self.stats = self.store.stats();
        let flow = self.take_in(own, &before, noted);
        assert!(self.stats.used_bytes <= self.ceiling, "{} over {}", self.stats.used_bytes, self.ceiling);
        (result, flow)
    }

    /// The same for a call that reads: it may reclaim what it meets, and changes nothing else.
    fn read_call<R>(&mut self, call: impl FnOnce(&Store) -> R) -> R {
        let (result, flow) = self.call(None, call);
        assert!(flow.items == -flow.reclaimed && flow.total == 0 && flow.evicted == 0, "reading changed {flow:?}");
        assert!(flow.tombstones <= 0 && flow.tombstones_dropped == 0, "reading changed {flow:?}");
        result
    }

    fn get(&mut self, key: u16, noticed: bool) -> Option<Bytes> {
        let (now, live) = (self.now, self.model.live_item(self.now, key));
        let expected = live.and_then(|record| Some((record.entry.live_item(now)?.clone(), record.seen(now))));
        let got = self.read_call(|store| store.fetch(now, name(key), noticed));
        assert_eq!(got, expected, "get of key {key}");
        if got.is_some() {
            self.hits += 1
        } else {
            self.misses += 1
        }
        self.meet(key, noticed);
        got.map(|(item, _)| item.value)
    }

    fn read(&mut self, key: u16, noticed: bool) {
        let now = self.now;
        let expected = self.model.live(now, key).map(|record| (record.entry.clone(), record.seen(now)));
        let got = self.read_call(|store| store.read(now, name(key), noticed));
        let unseen = |(entry, seen): (memring_protocol::entry::Entry, _)| match entry.body {
            // How a tombstone was read is nobody's business.
            Body::Tombstone => (entry, None),
            Body::Item(_) => (entry, Some(seen)),
        };
        assert_eq!(got.map(unseen), expected.map(unseen), "read of key {key}");
        self.meet(key, noticed);
    }

    fn version(&mut self, key: u16, noticed: bool) {
        let now = self.now;
        let expected = self.model.live(now, key).map(|record| record.entry.version);
        assert_eq!(self.read_call(|store| store.version(now, name(key), noticed)), expected, "version of key {key}");
        self.meet(key, noticed);
    }

    /// What a reader met: dead, it is reclaimed; alive, it was read.
    fn meet(&mut self, key: u16, noticed: bool) {
        let now = self.now;
        self.model.forget_dead(now, |met, record| met == key && record.is_item());
        let is_live = self.model.live_item(now, key).is_some();
        if noticed
            && is_live
            && let Some(record) = self.model.records.get_mut(&key)
        {
            record.notice(now);
        }
    }

    /// A reader that takes its time. It reads short values only: what it pins may count.
    fn hold(&mut self, key: u16) {
        self.check_reading();
        let short = |value: &Bytes| value.len() <= 4 << 10;
        let held = self.get(key, true).filter(short);
        self.reading = held.map(|value| (Bytes::copy_from_slice(&value), value));
    }

    fn promise(&mut self, key: u16, round: u64, raise: bool) {
        let (partition, ballot) = (partition_of(key), ballot(round));
        let promised = self.model.promise(partition, ballot);
        if raise {
            self.store.raise_promised(partition, ballot);
        } else {
            let expected = promised.map(|()| self.store.digest(partition));
            assert_eq!(self.store.promise(partition, ballot), expected, "promise for key {key}");
        }
        assert_eq!(self.store.promised(partition), self.model.promised(partition), "promised for key {key}");
    }

    fn clear(&mut self, key: u16) {
        let partition = partition_of(key);
        let ((), flow) = self.call(None, |store| store.clear_partition(partition));
        assert!(flow.items <= 0 && flow.evicted == 0 && flow.reclaimed == 0 && flow.total == 0, "clearing: {flow:?}");
        self.gone -= flow.items;
        self.model.clear(partition);
        assert_eq!((self.store.digest(partition), self.store.promised(partition)), (0, Ballot::NONE), "cleared");
    }

    fn merge_flush(&mut self, state: FlushState) {
        self.store.merge_flush(state);
        self.model.merge_flush(state);
    }

    fn sweep(&mut self, places: usize) {
        let now = self.now;
        let (removed, flow) = self.call(None, |store| store.sweep(now, places));
        assert!(removed <= places, "a sweep of {places} removed {removed}");
        assert_eq!(removed as i64, -flow.items - flow.tombstones, "what a sweep says it removed: {flow:?}");
        let quiet = flow.items == -flow.reclaimed && flow.evicted == 0 && flow.total == 0;
        assert!(quiet && flow.tombstones_dropped == 0, "a sweep changed {flow:?}");
        let is_old = |record: &model::Record| {
            let age = now.0.saturating_sub(record.entry.version.stamp.unix_ms());
            !record.is_item() && age > TOMBSTONE_LIFE_MS
        };
        if places == usize::MAX {
            self.model.forget_dead(now, |_, _| true);
            self.model.records.retain(|_, record| !is_old(record));
        } else {
            let is_held = |key: u16| self.store.version(now, name(key), false).is_some();
            self.model.records.retain(|key, record| !is_old(record) || is_held(*key));
        }
    }

    fn set_limit(&mut self, limit: usize) {
        let limit = limit * self.shards;
        let before = self.store.limit_bytes();
        let (taken, flow) = self.call(None, |store| store.set_limit(limit));
        assert_eq!(flow, Flow::default(), "a limit alone drops nothing");
        let expected = if taken { limit } else { before };
        assert_eq!((self.store.limit_bytes(), self.stats.limit_maxbytes), (expected, expected as u64), "the limit");
        self.ceiling = self.ceiling.max(expected as u64);
    }

    fn fit(&mut self, records: usize) {
        let now = self.now;
        let (fits, flow) = self.call(None, |store| store.fit(now, records));
        assert!(flow.items == -flow.evicted - flow.reclaimed && flow.total == 0, "fitting: {flow:?}");
        let dropped = flow.evicted + flow.reclaimed + flow.tombstones_dropped;
        assert!(dropped as usize <= records.saturating_mul(self.shards), "fitting {records}: {flow:?}");
        // Without eviction, writes between the two calls may have filled what was above the new limit.
        if fits && (self.evicts || self.stats.used_bytes <= self.stats.limit_maxbytes) {
            assert!(self.stats.used_bytes <= self.stats.limit_maxbytes, "it says it fits: {:?}", self.stats);
            self.ceiling = self.stats.limit_maxbytes;
        }
        assert!(fits || records < usize::MAX, "all may go, and it does not fit: {:?}", self.stats);
    }

    fn reset(&mut self) {
        let before = self.stats;
        self.store.reset_stats();
        self.stats = self.store.stats();
        let kept = StoreStats {
            curr_items: before.curr_items,
            bytes: before.bytes,
            limit_maxbytes: before.limit_maxbytes,
            used_bytes: before.used_bytes,
            index_bytes: before.index_bytes,
            tombstones: before.tombstones,
            dead_bytes: before.dead_bytes,
            ..StoreStats::default()
        };
        assert_eq!(self.stats, kept, "after a reset");
        (self.hits, self.misses) = (0, 0);
        // So that the sums start from what is held.
        self.gone = -(before.curr_items as i64);
    }

    /// The store's word on one item, without touching it.
    fn listing(&self, key: u16) -> Result<memring_engine::store::Listing, Missing> {
        self.store.listing(self.now, name(key))
    }

    fn decide(&mut self, key: u16, notice: bool) {
        let change = if notice { Change::Notice } else { Change::Keep };
        self.update(key, move |_, _| change);
        let is_live = self.model.live_item(self.now, key).is_some();
        if notice
            && is_live
            && let Some(record) = self.model.records.get_mut(&key)
        {
            record.notice(self.now);
        }
    }
}

fn ballot(round: u64) -> Ballot {
    Ballot::new(round, Slot::new(1).expect("a slot"))
}
