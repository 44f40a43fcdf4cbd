//! The store: what this node remembers. Bounded, sharded, evicting by S3-FIFO, the same for one node and for many.
//!
//! Must not know wires, clusters, clocks or threads: `now` is an argument and all is done when a call returns. How
//! records lie in memory is private to this room.
//!
//! ```text
//! Store ── flush register
//!   └─ Shard (partition mod S, one lock each)
//!        ├─ index     key -> place of its record; digests; promised ballots of partitions
//!        ├─ logs      the small, the main and the tombstone queue: records one after another, in …
//!        ├─ segments  … equal pieces of memory, each in one of the queues, or free
//!        ├─ larges    values too large for the log
//!        └─ ghost     fingerprints of what was evicted unread
//! ```
//!
//! Words: an entry is *held* while its record is in memory. A held entry is *dead* when it has expired or is flushed: no
//! reader sees it, but it is held until an access, an eviction, a page or a sweep meets and reclaims it.

mod accounting;
mod background;
mod changes;
mod classes;
mod counting;
mod evict;
mod expiries;
mod flush;
mod ghost;
mod hash;
mod held;
mod hot;
mod index;
mod large;
mod limit;
mod listing;
mod log;
mod partitions;
mod proofs;
mod reading;
mod record;
mod segments;
mod shape;
mod shard;
mod stats;
mod sweep;
mod sync;
mod terms;
#[cfg(test)]
mod tests;
mod walk;
mod warm;
mod writing;

use std::cell::Cell;

use memring_protocol::entry::{Entry, EntryRef, Item, Seen, UnixMillis};
use memring_protocol::flush::FlushState;
use memring_protocol::key::{Key, KeyRef, Partition};
use memring_protocol::version::{Ballot, Stamp, Version};

pub use self::background::HotKey;
pub use self::changes::{Applied, Change, Look, Updated};
pub use self::classes::{CLASSES, ClassStats, class_bytes, class_of};
pub use self::held::Held;
pub use self::listing::{Evictions, Listing, Missing};
pub use self::partitions::{Heat, Versions};
pub use self::reading::ItemView;
pub use self::stats::StoreStats;
pub use self::warm::WARMED_MAX;

use self::flush::FlushRegister;
use self::shard::{Moment, NoRoom, Shard};
use self::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering};

/// How long, in milliseconds, a tombstone is kept, by the stamp of its version: 10 minutes, far longer than any message
/// is under way, so that a late write cannot bring back what was deleted.
pub const TOMBSTONE_LIFE_MS: u64 = 10 * 60 * 1000;

/// The smallest memory limit, in bytes: a smaller one counts as this. A quarter of it is the index of the partitions.
pub const MEMORY_LIMIT_MIN_BYTES: usize = 1 << 20;

/// Memory for which there is one shard: enough that a tenth of it is a useful small queue.
const SHARD_BYTES: usize = 16 << 20;

/// One in so many reads is taken for the sketch of hot keys.
const HOT_SAMPLE: u64 = 64;

/// Of the largest items so many fit into a shard, or the store has but one.
const LARGEST_ITEMS: usize = 2;

/// Shards for each thread: few, so that keys that are looked for together meet in them ([`Store::warm`]).
const SHARDS_A_THREAD: usize = 8;

/// More shards than threads could ever wait for.
const SHARDS_MAX: usize = 256;

/// What a store is made with.
#[derive(Clone, Copy, Debug)]
pub struct StoreConfig {
    /// The limit (`-m`) of all that the store keeps, in bytes: items, index, queues, ghosts, tombstones, with what the
    /// allocator adds to each. Below [`MEMORY_LIMIT_MIN_BYTES`] it counts as that.
    pub memory_limit_bytes: usize,
    /// The most bytes of a key and its value together (`-I`).
    pub item_bytes_max: usize,
    /// Threads that will use it, about: so many more shards are there that two of them seldom want the same one.
    pub threads: u16,
    /// Whether live items are dropped for room; if not (`-M`), a write that does not fit is an error.
    pub evict: bool,
    /// A secret: clients that do not know it cannot choose keys that collide in the tables.
    pub hash_seed: u64,
}

/// A shard on cache lines of its own, so that two threads on two shards do not slow each other down.
#[repr(align(128))]
struct Padded(Mutex<Shard>);

impl std::ops::Deref for Padded {
    type Target = Mutex<Shard>;

    fn deref(&self) -> &Mutex<Shard> {
        &self.0
    }
}

/// See the top of the file. Shared between threads by `Arc`; every call locks at most one shard at a time, and none
/// returns with a lock held.
pub struct Store {
    shards: Box<[Padded]>,
    flush: FlushRegister,
    limit_bytes: AtomicUsize,
    /// The shard that the next sweep starts from.
    sweep_from: AtomicUsize,
    /// The shard that the next tidying starts from.
    tidy_from: AtomicUsize,
    /// How often sweeps have come past the last shard.
    laps: AtomicU64,
    /// Whether evicted items are noted.
    notes_evictions: AtomicBool,
    /// Whether a shard has noted one since they were last taken.
    has_evictions: AtomicBool,
}

impl Store {
    /// An empty store.
    pub fn new(config: StoreConfig) -> Self {
        let limit_bytes = config.memory_limit_bytes.max(MEMORY_LIMIT_MIN_BYTES);
        let share_min = SHARD_BYTES.max(config.item_bytes_max.saturating_mul(LARGEST_ITEMS));
        let useful = usize::from(config.threads.max(1)).next_power_of_two() * SHARDS_A_THREAD;
        let count = 1 << (limit_bytes / share_min).clamp(1, useful.min(SHARDS_MAX)).ilog2();
        Self {
            shards: (0..count).map(|_| Padded(Mutex::new(Shard::new(&config, limit_bytes, count)))).collect(),
            flush: FlushRegister::new(),
            limit_bytes: AtomicUsize::new(limit_bytes),
            sweep_from: AtomicUsize::new(0),
            tidy_from: AtomicUsize::new(0),
            laps: AtomicU64::new(0),
            notes_evictions: AtomicBool::new(false),
            has_evictions: AtomicBool::new(false),
        }
    }

    /// A live item for a client's read: bumps its frequency and counts a hit or a miss.
    pub fn get(&self, now: UnixMillis, key: &Key) -> Option<Item> {
        self.fetch(now, key, true).map(|(item, _)| item)
    }

    /// As [`Store::get`], with how the item had been read before; bumps only if the read is to be noticed.
    pub fn fetch(&self, now: UnixMillis, key: &Key, noticed: bool) -> Option<(Item, Seen)> {
        self.with_item(now, key, noticed, |item| (item.to_item(), item.seen()))
    }

    /// A live item for a client's read, as by [`Store::fetch`], shown under its shard's lock: `look` must be short and
    /// must not call the store.
    pub fn with_item<'k, R>(
        &self,
        now: UnixMillis,
        key: impl Into<KeyRef<'k>>,
        noticed: bool,
        look: impl FnOnce(&ItemView<'_>) -> R,
    ) -> Option<R> {
        match self.look(now, key, noticed, |item| Some(look(item))) {
            Look::Found(found) => Some(found),
            Look::Absent | Look::Declined => None,
        }
    }

    /// As [`Store::with_item`], but where `look` finds that the item is not for it and returns `None`, it is as if nobody
    /// had asked: nothing is counted or noticed.
    #[inline]
    pub fn look<'k, R>(
        &self,
        now: UnixMillis,
        key: impl Into<KeyRef<'k>>,
        noticed: bool,
        look: impl FnOnce(&ItemView<'_>) -> Option<R>,
    ) -> Look<R> {
        let (moment, key) = (self.moment(now), key.into());
        let mut shard = self.lock(key.partition());
        let Some(place) = shard.fetch(moment, &key) else { return Look::Absent };
        let view = ItemView::new(&shard, place, now);
        let (found, size) = (look(&view), view.size());
        let Some(found) = found else { return Look::Declined };
        shard.count_hit();
        if noticed {
            shard.notice_item(moment, place, size);
        }
        Look::Found(found)
    }

    /// What is held, a tombstone too, for a peer's read: no count. Expired and flushed entries are `None`. With it, how
    /// it had been read before; bumps the frequency only if the read is to be noticed.
    pub fn read(&self, now: UnixMillis, key: &Key, noticed: bool) -> Option<(Entry, Seen)> {
        let moment = self.moment(now);
        let mut shard = self.lock(key.partition());
        let place = shard.find_live(moment, &key.into(), noticed)?;
        let found = (shard.entry(place), shard.record(place).seen(now));
        if noticed {
            shard.notice(moment, place);
        }
        Some(found)
    }

    /// What [`Store::read`] finds, unnoticed.
    pub fn peek(&self, now: UnixMillis, key: &Key) -> Option<Entry> {
        self.read(now, key, false).map(|(entry, _)| entry)
    }

    /// The version of what [`Store::read`] would return, without a copy of the value.
    pub fn version<'k>(&self, now: UnixMillis, key: impl Into<KeyRef<'k>>, noticed: bool) -> Option<Version> {
        let (moment, key) = (self.moment(now), key.into());
        let mut shard = self.lock(key.partition());
        let place = shard.find_live(moment, &key, noticed)?;
        if noticed {
            shard.notice(moment, place);
        }
        Some(shard.version(place))
    }

    /// As [`Store::version`], with an item shown under the same lock, as by [`Store::look`]; no hit or miss is counted.
    pub fn look_held<'k, R>(
        &self,
        now: UnixMillis,
        key: impl Into<KeyRef<'k>>,
        noticed: bool,
        look: impl FnOnce(&ItemView<'_>) -> Option<R>,
    ) -> (Option<Version>, Look<R>) {
        let (moment, key) = (self.moment(now), key.into());
        let mut shard = self.lock(key.partition());
        let Some(place) = shard.find_live(moment, &key, noticed) else { return (None, Look::Absent) };
        let version = Some(shard.version(place));
        if shard.record(place).is_tombstone() {
            return (version, Look::Absent);
        }
        let view = ItemView::new(&shard, place, now);
        let (found, size) = (look(&view), view.size());
        let Some(found) = found else { return (version, Look::Declined) };
        if noticed {
            shard.notice_item(moment, place, size);
        }
        (version, Look::Found(found))
    }

    /// Keeps an entry that another node ordered, if it is newer than what is held and its term still stands.
    ///
    /// With a fence it is refused when the partition has promised a ballot above, and raises the promise to the fence
    /// otherwise, even if the entry is superseded. Without one the version alone decides.
    pub fn apply<'a>(
        &self,
        now: UnixMillis,
        key: impl Into<KeyRef<'a>>,
        fence: Option<Ballot>,
        entry: impl Into<EntryRef<'a>>,
    ) -> Applied {
        let (moment, key) = (self.moment(now), key.into());
        let mut shard = self.lock(key.partition());
        let applied = shard.apply(moment, &key, fence, &entry.into());
        self.heed_evictions(&shard);
        // Freeing a gigabyte takes its time: not under the lock.
        let gone = shard.larges.take_gone();
        drop(shard);
        drop(gone);
        applied
    }

    /// Read-modify-write of one key under its shard's lock: `decide` must be short and must not call the store.
    ///
    /// # Panics
    ///
    /// When `decide` puts a version that is not above [`Held::version`]: the caller lost the order of writes.
    pub fn update<'a, R>(
        &self,
        now: UnixMillis,
        key: impl Into<KeyRef<'a>>,
        decide: impl FnOnce(&Held<'_>) -> (Change<'a>, R),
    ) -> (Updated, R) {
        let (moment, key) = (self.moment(now), key.into());
        let mut shard = self.lock(key.partition());
        let place = shard.index.find(&shard.segments, &key);
        let held = Held { place, shard: &shard, partition: key.partition(), moment, met_dead: Cell::new(false) };
        let version = held.version();
        let (change, result) = decide(&held);
        if held.met_dead.get()
            && let Some(place) = place
        {
            shard.count_dead(moment, place);
        }
        let made;
        let (entry, amends, noticed) = match &change {
            Change::Keep => return (Updated::Kept, result),
            Change::Notice => {
                if let Some(place) = place {
                    shard.notice(moment, place);
                }
                return (Updated::Kept, result);
            }
            Change::Write(entry) => (entry, false, false),
            Change::Put(entry) => {
                made = EntryRef::from(entry);
                (&made, false, false)
            }
            Change::Amend { entry, noticed } => {
                made = EntryRef::from(entry);
                (&made, true, *noticed)
            }
        };
        assert!(version.is_none_or(|version| entry.version > version), "a new version is above the one it replaces");
        let kept = shard.keep(moment, &key, place.zip(version), entry, amends);
        if noticed && let Ok(place) = kept {
            shard.notice(moment, place);
        }
        self.heed_evictions(&shard);
        let gone = shard.larges.take_gone();
        drop(shard);
        drop(gone);
        let updated = match kept {
            Ok(_) => Updated::Put,
            Err(NoRoom::TooLarge) => Updated::TooLarge,
            Err(NoRoom::OutOfMemory) => Updated::OutOfMemory,
        };
        (updated, result)
    }

    /// The flush state. A pending or paced flush does what is due when an access or a sweep finds it so.
    pub fn flush(&self) -> FlushState {
        self.flush.state()
    }

    /// Takes in a flush state: the higher floor, and of the pending flushes the one with the later identity. When `now` of
    /// some call reaches its moment, the floor rises to the end of that millisecond. A flush at once that must also replace
    /// a pending one is (its floor, pending: (its floor as identity, a moment in the past)). Of two paced flushes the later
    /// one goes on, and the floor rises to the other one's stamp.
    pub fn merge_flush(&self, other: FlushState) {
        self.flush.merge(other);
    }

    /// Whether what is stamped so in a partition is flushed.
    pub fn is_flushed(&self, now: UnixMillis, partition: Partition, stamp: Stamp) -> bool {
        self.moment(now).flushes(partition, stamp)
    }

    fn moment(&self, now: UnixMillis) -> Moment {
        Moment { now, floors: self.flush.floors(now), notes_evictions: self.notes_evictions.load(Ordering::Relaxed) }
    }

    fn lock(&self, partition: Partition) -> MutexGuard<'_, Shard> {
        self.shards[self.shard_of(partition)].lock()
    }

    fn shard_of(&self, partition: Partition) -> usize {
        partition.index() & (self.shards.len() - 1)
    }
}

/// Bytes that an item takes as `stats` tells them: key, value and the store's header.
pub fn item_size(key_len: usize, value_len: usize) -> usize {
    record::FIXED_BYTES + key_len + value_len
}
