//! What a node tells those who watch: lookups, stores, deletions and evictions, as plain data.
//!
//! With nobody watching this costs one relaxed load a request. Must not know who watches or what a line looks like.
//! As in memcached, a write looks its key up first, and that is told too: what this node itself holds then, without
//! asking others.

use bytes::Bytes;
use memring_protocol::entry::{Expiry, UnixMillis};
use memring_protocol::key::Key;
use memring_protocol::message::{Mutation, Outcome, Remove, Store, StoreMode};
use memring_protocol::text::WatchKinds;

use super::Node;
use super::effect::{Effect, Ticket};
use super::requests::Unkept;
use super::turn::Turn;
use super::writes::{Write, WriteEnd, WriteParent};
use crate::cluster::mutation::counts_as_cas;
use crate::store::{Listing, Missing, class_of, item_size};

/// Something that happened. Sizes are bytes of the value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A client's key was looked up.
    Fetched {
        /// The client's connection.
        connection: u64,
        /// The key.
        key: Bytes,
        /// The item's size, or why there is none as far as this node knows.
        found: Result<usize, Missing>,
        /// Its class; 0 if there is none.
        class: u32,
    },
    /// A client wanted to store something.
    Stored {
        /// The client's connection.
        connection: u64,
        /// The key.
        key: Bytes,
        /// What became of it.
        status: StoreStatus,
        /// By which command.
        word: StoreWord,
        /// Seconds that the item has left; 0 for ever. What is in the past wraps around, as in memcached.
        ttl_s: u32,
        /// The item's class; 0 if none could be made.
        class: u32,
        /// The item's size; of what was sent, if it was not stored.
        size: usize,
    },
    /// A client deleted an item.
    Deleted {
        /// The key.
        key: Bytes,
        /// By md.
        meta: bool,
        /// Its class; 0 if this node does not hold the key.
        class: u32,
        /// Its size; 0 if this node does not hold the key.
        size: usize,
    },
    /// An item was dropped for room.
    Evicted {
        /// The key.
        key: Bytes,
        /// Whether a client had read it.
        fetched: bool,
        /// Seconds that it had left; -1 for ever.
        ttl_s: i64,
        /// Seconds since it was last read or stored.
        idle_s: u64,
        /// Its class.
        class: u32,
        /// Its size.
        size: usize,
    },
    /// So many more were dropped than could be noted.
    EvictionsMissed(u64),
}

impl Event {
    /// The kind that one must watch to be told.
    pub fn kind(&self) -> WatchKinds {
        match self {
            Self::Fetched { .. } => WatchKinds::FETCHERS,
            Self::Stored { .. } => WatchKinds::MUTATIONS,
            Self::Deleted { .. } => WatchKinds::DELETIONS,
            Self::Evicted { .. } | Self::EvictionsMissed(_) => WatchKinds::EVICTIONS,
        }
    }
}

/// What became of a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreStatus {
    /// STORED.
    Stored,
    /// NOT_STORED.
    NotStored,
    /// EXISTS.
    Exists,
    /// NOT_FOUND.
    NotFound,
    /// Over the item limit.
    TooLarge,
    /// No room.
    NoMemory,
}

/// The command that stored, in memcached's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreWord {
    /// set; what md leaves empty.
    Set,
    /// add; what ma creates.
    Add,
    /// replace.
    Replace,
    /// append.
    Append,
    /// prepend.
    Prepend,
    /// cas; a set or replace with a token.
    Cas,
    /// Not known any more.
    Unknown,
}

/// What this node held of a key when a write of it came.
#[derive(Clone, Debug)]
pub(crate) enum Before {
    /// Nobody watches, or this node is no home of the key.
    Unknown,
    Missing(Missing),
    Held(Box<Listing>),
}

impl Before {
    fn size(&self) -> Option<usize> {
        match self {
            Self::Held(listing) => Some(listing.value_bytes),
            Self::Unknown | Self::Missing(_) => None,
        }
    }
}

impl Node {
    /// A client's lookup of a key.
    pub(crate) fn tell_fetch(&self, turn: &mut Turn<'_>, ticket: Ticket, key: &Key, found: Result<usize, Missing>) {
        if self.shared.watched().has(WatchKinds::FETCHERS) {
            let class = found.map_or(0, |size| class(key, size));
            let (connection, key) = (ticket.connection, key.to_bytes());
            turn.effects.push(Effect::Event(Event::Fetched { connection, key, found, class }));
        }
    }

    /// Why a read will find nothing, if it does: a read reclaims a dead item, and the next cannot tell any more.
    pub(crate) fn missing_before(&self, turn: &Turn<'_>, key: &Key) -> Missing {
        if !self.shared.watched().has(WatchKinds::FETCHERS) {
            return Missing::Absent;
        }
        self.shared.store.listing(turn.cluster(), key).err().unwrap_or_default()
    }

    /// What a client's write will meet.
    pub(crate) fn look_before(&self, turn: &Turn<'_>, key: &Key, parent: &WriteParent) -> Before {
        let watched = self.shared.watched();
        let kinds = [WatchKinds::FETCHERS, WatchKinds::MUTATIONS, WatchKinds::DELETIONS];
        if watched == WatchKinds::NONE || !kinds.iter().any(|kind| watched.has(*kind)) || ticket_of(parent).is_none() {
            return Before::Unknown;
        }
        let homes = turn.topology.layout().map_or(&[][..], |layout| layout.homes(key.partition()));
        if turn.topology.me().is_none_or(|me| !homes.contains(&me)) {
            return Before::Unknown;
        }
        match self.shared.store.listing(turn.cluster(), key) {
            Ok(listing) => Before::Held(Box::new(listing)),
            Err(why) => Before::Missing(why),
        }
    }

    /// How a client's write ended. What is in doubt is not told.
    pub(crate) fn tell_write(&self, turn: &mut Turn<'_>, write: &Write, end: &WriteEnd) {
        if self.shared.watched() == WatchKinds::NONE {
            return;
        }
        let (Some(ticket), WriteEnd::Done(outcome)) = (ticket_of(&write.parent), end) else { return };
        let (key, before) = (&write.key, &write.before);
        if let WriteParent::Refused(_, why) = write.parent {
            self.tell_unkept(turn, ticket, key.clone(), why, StoreWord::Set);
            self.tell_lookup(turn, ticket, key, before);
            return;
        }
        match (&write.mutation, outcome) {
            (Mutation::Store(store), _) => {
                self.tell_lookup(turn, ticket, key, before);
                if let Some((status, size)) = stored_size(store, outcome) {
                    let ttl_s = ttl_s(stored_expiry(store, outcome, before), turn.cluster());
                    self.tell_store(turn, ticket, key, (status, word_of(&write.mutation, store.mode)), (size, ttl_s));
                }
            }
            (Mutation::Count(_), Outcome::Stored { bytes, .. }) => {
                // memcached looks again before it adds, and sets the expiry afterwards.
                self.tell_lookup(turn, ticket, key, before);
                if matches!(before, Before::Missing(_)) {
                    self.tell_lookup(turn, ticket, key, &Before::Missing(Missing::Absent));
                }
                self.tell_store(turn, ticket, key, (StoreStatus::Stored, StoreWord::Add), (*bytes as usize, 0));
            }
            (Mutation::Remove(remove), Outcome::Deleted) => self.tell_removal(turn, ticket, write, remove),
            (Mutation::Fetch(fetch), Outcome::Item(fetched)) => {
                let size = fetched.item.value.len();
                let created = fetch.create.is_some() && fetched.won && size == 0 && !before.is_held();
                self.tell_fetch(turn, ticket, key, if created { Err(before.missing()) } else { Ok(size) });
            }
            (Mutation::GetAndTouch(_), Outcome::Item(fetched)) => {
                self.tell_fetch(turn, ticket, key, Ok(fetched.item.value.len()));
            }
            (Mutation::Fetch(_) | Mutation::GetAndTouch(_), _) => {
                self.tell_fetch(turn, ticket, key, Err(before.missing()));
            }
            (Mutation::Count(_) | Mutation::Touch(_) | Mutation::Remove(_) | Mutation::Confirm, _) => {
                self.tell_lookup(turn, ticket, key, before);
            }
        }
    }

    fn tell_removal(&self, turn: &mut Turn<'_>, ticket: Ticket, write: &Write, remove: &Remove) {
        let (key, before) = (&write.key, &write.before);
        self.tell_lookup(turn, ticket, key, before);
        let instead = remove.instead.unwrap_or_default();
        let empties = instead.empty.is_some();
        if empties {
            self.tell_lookup(turn, ticket, key, before);
            let ttl_s = ttl_s(instead.expiry.unwrap_or(Expiry::NEVER), turn.cluster());
            self.tell_store(turn, ticket, key, (StoreStatus::Stored, StoreWord::Set), (0, ttl_s));
        }
        if !instead.stale && self.shared.watched().has(WatchKinds::DELETIONS) {
            let size = if empties { Some(0) } else { before.size() };
            let deleted = Event::Deleted {
                key: key.to_bytes(),
                meta: matches!(write.parent, WriteParent::Meta(_)),
                class: size.map_or(0, |size| class(key, size)),
                size: size.unwrap_or(0),
            };
            turn.effects.push(Effect::Event(deleted));
        }
    }

    /// A value that was not received.
    pub(crate) fn tell_unkept(&self, turn: &mut Turn<'_>, ticket: Ticket, key: Key, why: Unkept, word: StoreWord) {
        if self.shared.watched().has(WatchKinds::MUTATIONS) {
            let stored = Event::Stored {
                connection: ticket.connection,
                key: key.to_bytes(),
                status: match why {
                    Unkept::TooLarge => StoreStatus::TooLarge,
                    Unkept::NoMemory => StoreStatus::NoMemory,
                },
                word,
                ttl_s: 0,
                class: 0,
                size: 0,
            };
            turn.effects.push(Effect::Event(stored));
        }
    }

    /// What was evicted since the last turn of any thread.
    pub(crate) fn tell_evictions(&self, turn: &mut Turn<'_>) {
        if !self.shared.watched().has(WatchKinds::EVICTIONS) {
            return;
        }
        let evictions = self.shared.store.take_evictions();
        let now = turn.cluster();
        turn.effects.extend(evictions.items.into_iter().map(|item| {
            Effect::Event(Event::Evicted {
                fetched: item.fetched,
                ttl_s: item.expiry.seconds_left(now).unwrap_or(-1),
                idle_s: now.seconds().saturating_sub(u64::from(item.accessed_s)),
                class: item.class(),
                size: item.value_bytes,
                key: item.key,
            })
        }));
        if evictions.missed > 0 {
            turn.effects.push(Effect::Event(Event::EvictionsMissed(evictions.missed)));
        }
    }

    /// The lookup that a write begins with, where this node made one.
    fn tell_lookup(&self, turn: &mut Turn<'_>, ticket: Ticket, key: &Key, before: &Before) {
        if !matches!(before, Before::Unknown) {
            self.tell_fetch(turn, ticket, key, before.size().ok_or(before.missing()));
        }
    }

    fn tell_store(
        &self,
        turn: &mut Turn<'_>,
        ticket: Ticket,
        key: &Key,
        (status, word): (StoreStatus, StoreWord),
        (size, ttl_s): (usize, u32),
    ) {
        if self.shared.watched().has(WatchKinds::MUTATIONS) {
            let (connection, class) = (ticket.connection, class(key, size));
            let key = key.to_bytes();
            turn.effects.push(Effect::Event(Event::Stored { connection, key, status, word, ttl_s, class, size }));
        }
    }
}

impl Before {
    fn missing(&self) -> Missing {
        match self {
            Self::Missing(why) => *why,
            Self::Unknown | Self::Held(_) => Missing::Absent,
        }
    }

    fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }
}

/// The request that a write is; `None` if it is a part or a consequence of one.
fn ticket_of(parent: &WriteParent) -> Option<Ticket> {
    match parent {
        WriteParent::Client(ticket) | WriteParent::Refused(ticket, _) => Some(*ticket),
        WriteParent::Meta(call) => Some(call.ticket()),
        WriteParent::Gather(_) | WriteParent::Read(_) | WriteParent::Replay { .. } => None,
    }
}

fn class(key: &Key, size: usize) -> u32 {
    class_of(item_size(key.len(), size))
}

/// Whole seconds left, 0 for ever; what is past wraps around in 32 bits.
fn ttl_s(expiry: Expiry, now: UnixMillis) -> u32 {
    expiry.seconds_left(now).map_or(0, |left| left as u32)
}

fn word_of(mutation: &Mutation, mode: StoreMode) -> StoreWord {
    match mode {
        StoreMode::Set | StoreMode::Replace if counts_as_cas(mutation) => StoreWord::Cas,
        StoreMode::Set => StoreWord::Set,
        StoreMode::Add => StoreWord::Add,
        StoreMode::Replace => StoreWord::Replace,
        StoreMode::Append => StoreWord::Append,
        StoreMode::Prepend => StoreWord::Prepend,
    }
}

/// What became of a store, and how large its item is.
fn stored_size(store: &Store, outcome: &Outcome) -> Option<(StoreStatus, usize)> {
    let sent = store.new.value.len();
    Some(match outcome {
        Outcome::Stored { bytes, .. } => (StoreStatus::Stored, *bytes as usize),
        Outcome::NotStored => (StoreStatus::NotStored, sent),
        Outcome::Exists => (StoreStatus::Exists, sent),
        Outcome::NotFound => (StoreStatus::NotFound, sent),
        Outcome::TooLarge => (StoreStatus::TooLarge, sent),
        Outcome::OutOfMemory => (StoreStatus::NoMemory, sent),
        _ => return None,
    })
}

/// When the item of a store ends: an item that is joined to, or replaced by an older state of it, keeps its expiry.
fn stored_expiry(store: &Store, outcome: &Outcome, before: &Before) -> Expiry {
    let joins = matches!(store.mode, StoreMode::Append | StoreMode::Prepend);
    match before {
        Before::Held(item) if matches!(outcome, Outcome::Stored { .. }) => {
            let older = store.accept_older && store.compare.is_some_and(|token| token < item.cas);
            if joins || older { item.expiry } else { store.new.expiry }
        }
        _ => store.new.expiry,
    }
}
