//! The serializer's step under the shard lock: a mutation meets what is held, and an entry comes of it.
//!
//! Must not know who waits for it (`serializer`) nor how it reaches the other homes (`spread`).

use memring_protocol::entry::{Body, BodyRef, Entry, EntryRef, Item, ItemRef, ValueRef};
use memring_protocol::message::{Mutation, Outcome, Remove, WriteRequest};
use memring_protocol::version::{Slot, Stamp, Version};

use super::Node;
use super::serializer::{Order, newest};
use super::shared::Lead;
use super::turn::Turn;
use crate::cluster::mutation::{Change, Put, is_blind, mutate, with_token};
use crate::store::{self, Held, Updated};

/// What came of applying an order to the store.
pub(crate) enum Applied {
    /// The term is over.
    Deposed,
    /// The key has not been seen in this term: the other homes must be looked at first.
    Look,
    /// Ordered: the outcome, what the others must hold, and whether anything changed.
    Ordered(Outcome, Option<Entry>, bool),
}

/// Whether the mutation may go without an order at level one.
pub(crate) fn is_unordered_at_one(mutation: &Mutation) -> bool {
    is_blind(mutation) || *mutation == Mutation::Remove(Remove::default())
}

impl Node {
    /// Applies the mutation under the shard lock, in the term of `lead`.
    pub(crate) fn apply_order(&self, turn: &Turn<'_>, order: &Order, lead: Lead) -> Applied {
        let (shared, request, now) = (&self.shared, &order.request, turn.cluster());
        let me = member(turn);
        let looked = order.looked.as_deref().filter(|(ballot, _)| *ballot == lead.ballot).map(|(_, found)| found);
        let decide = |held: &Held<'_>| -> (store::Change<'_>, Applied) {
            if held.promised() != lead.ballot {
                return (store::Change::Keep, Applied::Deposed);
            }
            let seen = lead.whole || held.version().is_some_and(|version| version.ballot == lead.ballot);
            let blind = is_blind(&request.mutation);
            if !seen && !blind && looked.is_none() {
                return (store::Change::Keep, Applied::Look);
            }
            let held_entry = if blind { None } else { held.entry() };
            // What expired here is newer than what another home has kept from before it.
            let looked = looked.cloned().flatten().filter(|entry| !seen && held.version() < Some(entry.version));
            let base = newest(held_entry, looked);
            let item = base.as_ref().and_then(|entry| entry.live_item(now));
            let (outcome, change) = mutate(&request.mutation, item, held.seen(), self.value_bytes_max(request));
            self.count_order(request.key.len(), &request.mutation, item.map(|item| item.value.len()), &outcome);
            let floor = held.version().max(base.as_ref().map(|entry| entry.version)).unwrap_or_default().stamp;
            let noticed = change == Change::Notice;
            let version = |stamp| Version { ballot: lead.ballot, stamp };
            match make(&request.mutation, outcome, change, || version(shared.clock.stamp(now, me, floor))) {
                // Also what is only touched: it may be seen, whatever a later attempt meets.
                Made::New(outcome, change, entry) => (change, Applied::Ordered(outcome, Some(entry), true)),
                Made::Same(outcome) => {
                    let entry = base.map(|entry| Entry { version: version(entry.version.stamp), ..entry });
                    let change = match &entry {
                        // The same entry, in this term: homes that hold an older one must take it.
                        Some(entry) if held.version() < Some(entry.version) => {
                            store::Change::Amend { entry: entry.clone(), noticed }
                        }
                        _ if noticed => store::Change::Notice,
                        _ => store::Change::Keep,
                    };
                    (change, Applied::Ordered(outcome, entry, false))
                }
            }
        };
        match shared.store.update(now, &request.key, decide) {
            (Updated::Kept | Updated::Put, applied) => applied,
            (Updated::TooLarge, _) => Applied::Ordered(Outcome::TooLarge, None, false),
            (Updated::OutOfMemory, _) => Applied::Ordered(Outcome::OutOfMemory, None, false),
        }
    }

    /// Applies a set or delete at level one: stamped here, outside any order but its version's. The entry that the
    /// others must hold, if anything changed.
    pub(crate) fn apply_unordered(&self, turn: &Turn<'_>, request: &WriteRequest) -> (Outcome, Option<Entry>) {
        let (shared, now, me) = (&self.shared, turn.cluster(), member(turn));
        let decide = |held: &Held<'_>| {
            let entry = if is_blind(&request.mutation) { None } else { held.entry() };
            let item = entry.as_ref().and_then(|entry| entry.live_item(now));
            let (outcome, change) = mutate(&request.mutation, item, held.seen(), self.value_bytes_max(request));
            self.count_order(request.key.len(), &request.mutation, item.map(|item| item.value.len()), &outcome);
            let version = held.version().unwrap_or_default();
            let ballot = held.promised().max(version.ballot);
            let next = || Version { ballot, stamp: shared.clock.stamp(now, me, version.stamp) };
            match make(&request.mutation, outcome, change, next) {
                Made::New(outcome, change, entry) => (change, (outcome, Some(entry))),
                Made::Same(outcome) => (store::Change::Keep, (outcome, None)),
            }
        };
        match shared.store.update(now, &request.key, decide) {
            (Updated::Kept | Updated::Put, applied) => applied,
            (Updated::TooLarge, _) => (Outcome::TooLarge, None),
            (Updated::OutOfMemory, _) => (Outcome::OutOfMemory, None),
        }
    }

    fn value_bytes_max(&self, request: &WriteRequest) -> usize {
        self.shared.settings().item_bytes_max.saturating_sub(request.key.len())
    }
}

fn member(turn: &Turn<'_>) -> Slot {
    turn.topology.me().expect("orders are admitted by members only")
}

/// What a change makes of a key.
enum Made<'a> {
    /// A new version.
    New(Outcome, store::Change<'a>, Entry),
    /// None.
    Same(Outcome),
}

fn make(mutation: &Mutation, outcome: Outcome, change: Change, next_version: impl FnOnce() -> Version) -> Made<'_> {
    match change {
        Change::Keep | Change::Notice => Made::Same(outcome),
        Change::Delete => {
            let entry = Entry { version: next_version(), body: Body::Tombstone };
            Made::New(outcome, store::Change::Put(entry.clone()), entry)
        }
        Change::Put(put) => {
            let version = next_version();
            let (amends, noticed) = (put.amends, put.noticed);
            let (outcome, item) = stamped(outcome, put, version.stamp);
            let entry = Entry { version, body: Body::Item(item) };
            let change = if amends || noticed {
                store::Change::Amend { entry: entry.clone(), noticed }
            } else {
                holding(mutation, &entry)
            };
            Made::New(outcome, change, entry)
        }
    }
}

/// Holds the entry, by its value where the mutation has it: the most usual one is not shared for that.
fn holding<'a>(mutation: &'a Mutation, entry: &Entry) -> store::Change<'a> {
    match (mutation, &entry.body) {
        (Mutation::Store(store), Body::Item(item)) if item.value.as_ptr_range() == store.new.value.as_ptr_range() => {
            let Item { flags, cas, expiry, marks, .. } = *item;
            let item = ItemRef { value: ValueRef::Whole(&store.new.value), flags, cas, expiry, marks };
            store::Change::Write(EntryRef { version: entry.version, body: BodyRef::Item(item) })
        }
        _ => store::Change::Put(entry.clone()),
    }
}

fn stamped(outcome: Outcome, put: Put, stamp: Stamp) -> (Outcome, Item) {
    if put.stamped { (with_token(outcome, stamp.0), Item { cas: stamp.0, ..put.item }) } else { (outcome, put.item) }
}
