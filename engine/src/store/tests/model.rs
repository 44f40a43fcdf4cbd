//! A roomy store against a plain map: any story of calls ends with the same answers. Must not know eviction: see `full`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, UnixMillis};
use memring_protocol::flush::{FlushState, PacedFlush};
use memring_protocol::key::{Key, Partition};
use memring_protocol::version::{Ballot, Slot, Stamp, Version};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any};
use proptest::test_runner::TestCaseError;
use proptest::{prop_assert_eq, prop_oneof, proptest};

use super::{at, ballot, check_sound, config_of, key};
use crate::store::{Applied, Change, Store, StoreConfig, TOMBSTONE_LIFE_MS, Updated};

/// Key and value of an item in these stories.
const ITEM_BYTES_MAX: usize = 64;

/// Twelve keys in three partitions, so that partitions have several.
static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let partition = |n: u32| key(&n.to_string()).partition();
    let partitions = [1, 2, 3].map(partition);
    let member = |of: Partition| (1u32..).map(|n| key(&n.to_string())).filter(move |key| key.partition() == of).take(4);
    partitions.into_iter().flat_map(member).collect()
});

#[derive(Clone, Debug)]
pub(super) enum What {
    Tombstone,
    Item { len: usize, flags: u32, touched: bool, seconds: Option<i64> },
}

#[derive(Clone, Debug)]
enum Call {
    Get(usize),
    Peek(usize),
    Version(usize),
    Apply { key: usize, fence: Option<u64>, round: u64, age_ms: u64, what: What },
    Update { key: usize, what: Option<What> },
    Promise { key: usize, round: u64, raise: bool },
    Clear(usize),
    Floor { age_ms: u64 },
    Pending { identity: u64, in_ms: u64 },
    Paced { age_ms: u64, over_ms: u64 },
    Sweep,
    Page { key: usize, limit: usize },
    Advance { ms: u64 },
}

pub(super) fn what(len_max: usize) -> impl Strategy<Value = What> + Clone {
    let item = (0..=len_max, 0..3u32, any::<bool>(), option::of(-1..5i64))
        .prop_map(|(len, flags, touched, seconds)| What::Item { len, flags, touched, seconds });
    prop_oneof![1 => Just(What::Tombstone), 3 => item]
}

fn call() -> impl Strategy<Value = Call> {
    let key = || 0..12usize;
    prop_oneof![
        6 => key().prop_map(Call::Get),
        2 => key().prop_map(Call::Peek),
        2 => key().prop_map(Call::Version),
        9 => (key(), option::of(1..5u64), 1..4u64, 0..3000u64, what(70))
            .prop_map(|(key, fence, round, age_ms, what)| Call::Apply { key, fence, round, age_ms, what }),
        6 => (key(), option::of(what(70))).prop_map(|(key, what)| Call::Update { key, what }),
        2 => (key(), 1..6u64, any::<bool>()).prop_map(|(key, round, raise)| Call::Promise { key, round, raise }),
        1 => key().prop_map(Call::Clear),
        1 => (0..4000u64).prop_map(|age_ms| Call::Floor { age_ms }),
        1 => (0..6u64, 0..3000u64).prop_map(|(identity, in_ms)| Call::Pending { identity, in_ms }),
        1 => (0..4000u64, 0..8000u64).prop_map(|(age_ms, over_ms)| Call::Paced { age_ms, over_ms }),
        1 => Just(Call::Sweep),
        2 => (key(), 0..300usize).prop_map(|(key, limit)| Call::Page { key, limit }),
        4 => prop_oneof![9 => 0..2500u64, 1 => 0..2 * TOMBSTONE_LIFE_MS].prop_map(|ms| Call::Advance { ms }),
    ]
}

/// An entry whose every byte follows from its version, so that a mixture of two would show.
pub(super) fn entry_of(what: &What, version: Version, now: UnixMillis) -> Entry {
    let What::Item { len, flags, touched, seconds } = *what else { return Entry { version, body: Body::Tombstone } };
    let byte = (version.stamp.0 >> 10 ^ version.stamp.0 >> 22 ^ version.ballot.0) as u8;
    let expiry = seconds.map_or(Expiry::NEVER, |seconds| Expiry::from_exptime(seconds, now));
    let cas = if touched { version.stamp.0 - 1 } else { version.stamp.0 };
    let marks = Marks::from_bits(byte & 0b111).expect("three marks");
    Entry { version, body: Body::Item(Item { value: Bytes::from(vec![byte; len]), flags, cas, expiry, marks }) }
}

pub(super) fn slot(number: u64) -> Slot {
    Slot::new(number as u16).expect("a slot")
}

/// The plain store: what is held, dead or alive, and the rules in their plainest words.
#[derive(Default)]
struct Model {
    held: BTreeMap<Key, Entry>,
    promised: BTreeMap<Partition, Ballot>,
    flush: FlushState,
    applied_flush: Option<Stamp>,
    hits: u64,
    misses: u64,
    total_items: u64,
}

impl Model {
    fn pass_time(&mut self, now: UnixMillis) {
        if let Some((identity, at)) = self.flush.pending
            && at <= now
            && self.applied_flush != Some(identity)
        {
            self.flush.floor = self.flush.floor.max(Stamp::end_of(at.0));
            self.applied_flush = Some(identity);
        }
        if let Some(paced) = self.flush.paced
            && now.0 >= paced.from.0 + paced.over_ms
        {
            self.flush.floor = self.flush.floor.max(paced.stamp);
        }
    }

    fn is_flushed(&self, now: UnixMillis, key: &Key, stamp: Stamp) -> bool {
        let paced = self.flush.paced.filter(|paced| stamp <= paced.stamp);
        stamp <= self.flush.floor || paced.is_some_and(|paced| paced.has_reached(key.partition(), now))
    }

    fn is_dead(&self, now: UnixMillis, key: &Key, entry: &Entry) -> bool {
        let is_item = matches!(entry.body, Body::Item(_));
        self.is_flushed(now, key, entry.version.stamp) || (is_item && entry.live_item(now).is_none())
    }

    fn peek(&mut self, now: UnixMillis, key: &Key) -> Option<Entry> {
        let entry = self.held.get(key)?.clone();
        if self.is_dead(now, key, &entry) {
            self.held.remove(key);
            return None;
        }
        Some(entry)
    }

    fn get(&mut self, now: UnixMillis, key: &Key) -> Option<Item> {
        let is_item = matches!(self.held.get(key), Some(Entry { body: Body::Item(_), .. }));
        let item = if is_item { self.peek(now, key).and_then(|entry| entry.live_item(now).cloned()) } else { None };
        if item.is_some() {
            self.hits += 1
        } else {
            self.misses += 1
        }
        item
    }

    fn promised(&self, partition: Partition) -> Ballot {
        self.promised.get(&partition).copied().unwrap_or(Ballot::NONE)
    }

    fn promise(&mut self, partition: Partition, ballot: Ballot) -> Result<(), Ballot> {
        let promised = self.promised(partition);
        if promised > ballot {
            return Err(promised);
        }
        self.promised.insert(partition, ballot);
        Ok(())
    }

    fn fits(key: &Key, entry: &Entry) -> bool {
        entry.body == Body::Tombstone || key.len() + entry.value_len() <= ITEM_BYTES_MAX
    }

    fn put(&mut self, key: &Key, entry: &Entry) {
        self.total_items += u64::from(entry.body != Body::Tombstone);
        self.held.insert(key.clone(), entry.clone());
    }

    fn apply(&mut self, now: UnixMillis, key: &Key, fence: Option<Ballot>, entry: &Entry) -> Applied {
        if let Some(ballot) = fence
            && let Err(promised) = self.promise(key.partition(), ballot)
        {
            return Applied::Fenced(promised);
        }
        let is_old = self.held.get(key).is_some_and(|held| held.version >= entry.version);
        if is_old || self.is_flushed(now, key, entry.version.stamp) {
            return Applied::Superseded;
        }
        if !Self::fits(key, entry) {
            self.held.remove(key);
            return Applied::TooLarge;
        }
        self.put(key, entry);
        Applied::Stored
    }

    fn merge_flush(&mut self, other: FlushState) {
        self.flush.floor = self.flush.floor.max(other.floor);
        if other.pending.map(|pending| pending.0) > self.flush.pending.map(|pending| pending.0) {
            self.flush.pending = other.pending;
        }
        let mut both: Vec<PacedFlush> = self.flush.paced.into_iter().chain(other.paced).collect();
        both.sort_by_key(|paced| paced.stamp);
        both.dedup_by_key(|paced| paced.stamp);
        self.flush.paced = both.pop();
        if let Some(replaced) = both.pop() {
            self.flush.floor = self.flush.floor.max(replaced.stamp);
        }
    }

    fn sweep(&mut self, now: UnixMillis) -> usize {
        let is_over = |model: &Self, key: &Key, entry: &Entry| {
            let age = now.0.saturating_sub(entry.version.stamp.unix_ms());
            model.is_dead(now, key, entry) || (entry.body == Body::Tombstone && age > TOMBSTONE_LIFE_MS)
        };
        let over: Vec<_> =
            self.held.iter().filter(|(key, entry)| is_over(self, key, entry)).map(|(key, _)| key.clone()).collect();
        over.iter().for_each(|key| drop(self.held.remove(key)));
        over.len()
    }

    fn partition(&mut self, now: UnixMillis, partition: Partition) -> Vec<(Key, Entry)> {
        let members: Vec<_> = self.held.keys().filter(|key| key.partition() == partition).cloned().collect();
        members.into_iter().filter_map(|key| self.peek(now, &key).map(|entry| (key, entry))).collect()
    }
}

/// Makes one call of both, and compares what they say.
fn step(store: &Store, model: &mut Model, now: &mut UnixMillis, call: &Call) -> Result<(), TestCaseError> {
    let key_of = |at: usize| &KEYS[at];
    match call {
        Call::Advance { ms } => now.0 += ms,
        Call::Promise { key, round, raise } => {
            let partition = key_of(*key).partition();
            if *raise {
                store.raise_promised(partition, ballot(*round));
                let _ = model.promise(partition, ballot(*round));
            } else {
                let expected = model.promise(partition, ballot(*round)).map(|()| store.digest(partition));
                prop_assert_eq!(store.promise(partition, ballot(*round)), expected);
            }
        }
        Call::Clear(key) => {
            let partition = key_of(*key).partition();
            store.clear_partition(partition);
            model.held.retain(|key, _| key.partition() != partition);
            model.promised.remove(&partition);
        }
        Call::Floor { age_ms } => {
            let state = FlushState { floor: Stamp::end_of(now.0 - age_ms), ..FlushState::default() };
            store.merge_flush(state);
            model.merge_flush(state);
        }
        Call::Pending { identity, in_ms } => {
            let pending = Some((Stamp(*identity), UnixMillis(now.0 + in_ms)));
            let state = FlushState { pending, ..FlushState::default() };
            store.merge_flush(state);
            model.merge_flush(state);
        }
        Call::Paced { age_ms, over_ms } => {
            let paced = PacedFlush { stamp: Stamp::end_of(now.0 - age_ms), from: *now, over_ms: *over_ms };
            let known = model.flush.paced.is_some_and(|known| known.stamp == paced.stamp);
            if !known {
                let state = FlushState { paced: Some(paced), ..FlushState::default() };
                store.merge_flush(state);
                model.merge_flush(state);
            }
        }
        timed => {
            model.pass_time(*now);
            step_at(store, model, *now, timed)?;
            prop_assert_eq!(store.flush(), model.flush);
        }
    }
    Ok(())
}

/// The calls that are told the time.
fn step_at(store: &Store, model: &mut Model, now: UnixMillis, call: &Call) -> Result<(), TestCaseError> {
    let key_of = |at: &usize| &KEYS[*at];
    match call {
        Call::Get(key) => prop_assert_eq!(store.get(now, key_of(key)), model.get(now, key_of(key))),
        Call::Peek(key) => prop_assert_eq!(store.peek(now, key_of(key)), model.peek(now, key_of(key))),
        Call::Version(key) => {
            let expected = model.peek(now, key_of(key)).map(|entry| entry.version);
            prop_assert_eq!(store.version(now, key_of(key), false), expected);
        }
        Call::Apply { key, fence, round, age_ms, what } => {
            let version = Version { ballot: ballot(*round), stamp: Stamp::at(now.0 - age_ms, slot(1)) };
            let (entry, fence) = (entry_of(what, version, now), fence.map(ballot));
            let applied = store.apply(now, key_of(key), fence, &entry);
            prop_assert_eq!(applied, model.apply(now, key_of(key), fence, &entry));
        }
        Call::Update { key, what } => step_update(store, model, now, key_of(key), what.as_ref())?,
        Call::Sweep => prop_assert_eq!(store.sweep(now, usize::MAX), model.sweep(now)),
        Call::Page { key, limit } => {
            let partition = key_of(key).partition();
            let (mut paged, mut cursor) = (Vec::new(), Some(0));
            while let Some(from) = cursor {
                let (entries, next) = store.page(now, partition, from, *limit);
                paged.extend(entries);
                cursor = next;
            }
            prop_assert_eq!(paged, model.partition(now, partition));
        }
        _ => unreachable!("not told the time"),
    }
    Ok(())
}

fn step_update(
    store: &Store,
    model: &mut Model,
    now: UnixMillis,
    key: &Key,
    what: Option<&What>,
) -> Result<(), TestCaseError> {
    let held = model.held.get(key).cloned();
    let promised = model.promised(key.partition());
    let stamp =
        held.as_ref().map_or(Stamp::ZERO, |held| held.version.stamp).max(Stamp::at(now.0, slot(2))).next(slot(2));
    let top = held.as_ref().map_or(Ballot::NONE, |held| held.version.ballot).max(promised);
    let put = what.map(|what| entry_of(what, Version { ballot: top, stamp }, now));
    let change = put.clone().map_or(Change::Keep, Change::Put);
    let (updated, seen) = store.update(now, key, |held| (change, (held.version(), held.entry(), held.promised())));
    let live = held.clone().filter(|held| !model.is_dead(now, key, held));
    prop_assert_eq!(seen, (held.map(|held| held.version), live, promised));
    let expected = match &put {
        None => Updated::Kept,
        Some(entry) if !Model::fits(key, entry) => Updated::TooLarge,
        Some(entry) => {
            model.put(key, entry);
            Updated::Put
        }
    };
    prop_assert_eq!(updated, expected);
    Ok(())
}

proptest! {
    #[test]
    fn a_roomy_store_answers_as_a_plain_map_does(megabytes in prop_oneof![1..2usize, 40..41usize], calls in vec(call(), 1..120)) {
        let store = Store::new(StoreConfig { item_bytes_max: ITEM_BYTES_MAX, ..config_of(megabytes << 20) });
        let (mut model, mut now) = (Model::default(), at(0));
        for call in &calls {
            step(&store, &mut model, &mut now, call)?;
        }
        let stats = store.stats();
        let items = model.held.values().filter(|entry| entry.body != Body::Tombstone).count();
        prop_assert_eq!((stats.curr_items, stats.tombstones), (items as u64, (model.held.len() - items) as u64));
        prop_assert_eq!((stats.get_hits, stats.get_misses), (model.hits, model.misses));
        prop_assert_eq!((stats.total_items, stats.evictions, stats.out_of_memory), (model.total_items, 0, 0));
        check_sound(&store, now);
    }
}
