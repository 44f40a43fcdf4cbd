//! What can be done to a key, and what came of it: the verbs of the text protocol with every relative thing absolute.
//!
//! Must not know how a verb is spelled (`text`), carried (`frame`) or carried out (the engine).

use bytes::Bytes;

use crate::entry::{Expiry, Item, Seen};

/// A change of one key, with every relative thing (times) already made absolute by the coordinator.
#[derive(Clone, PartialEq, Debug)]
pub enum Mutation {
    /// set, add, replace, append, prepend, cas, ms.
    Store(Store),
    /// incr, decr, ma.
    Count(Count),
    /// mg where it may change something.
    Fetch(Fetch),
    /// Change the expiry only.
    Touch(Expiry),
    /// gat: change the expiry and return the item. Its client is never told to fetch a value anew, and so never is the one.
    GetAndTouch(Expiry),
    /// delete, md.
    Remove(Remove),
    /// Change nothing: make the newest version the majority's, and return it. (The identity function of CASPaxos reads:
    /// Rystsov, "CASPaxos: Replicated State Machines without logs", 2018.)
    Confirm,
}

/// When a value is stored, and what becomes of the one there is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StoreMode {
    /// Whatever is there.
    Set,
    /// Only if absent.
    Add,
    /// Only if present.
    Replace,
    /// Behind the value there is; its flags and expiry stay.
    Append,
    /// Before the value there is; its flags and expiry stay.
    Prepend,
}

/// [`Mutation::Store`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    /// Under which condition.
    pub mode: StoreMode,
    /// What.
    pub new: NewValue,
    /// Only if the item has this cas token; makes set and replace need an item. Means nothing to add.
    pub compare: Option<u64>,
    /// A token below the item's is taken too: the item gets the value, keeps its expiry and is stale.
    pub accept_older: bool,
    /// The new cas token; the new version's stamp if `None`.
    pub token: Option<u64>,
    /// append and prepend to an absent item store it, with the flags and expiry of `new`.
    pub create: bool,
}

impl Store {
    /// A set: whatever is there.
    pub fn set(new: NewValue) -> Self {
        Self::plain(StoreMode::Set, new)
    }

    /// A store without conditions beside its mode.
    pub fn plain(mode: StoreMode, new: NewValue) -> Self {
        Self { mode, new, compare: None, accept_older: false, token: None, create: false }
    }
}

/// The value of a storage command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewValue {
    /// The bytes.
    pub value: Bytes,
    /// The client's flags.
    pub flags: u32,
    /// When it ends.
    pub expiry: Expiry,
    /// Whether its key was sent in base64.
    pub binary_key: bool,
}

/// How a decimal number changes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// Up, modulo 2^64.
    Up(u64),
    /// Down, stopping at 0.
    Down(u64),
}

/// [`Mutation::Count`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// By how much.
    pub step: Step,
    /// Only if the item has this cas token.
    pub compare: Option<u64>,
    /// The new cas token; the new version's stamp if `None`.
    pub token: Option<u64>,
    /// The item's new expiry.
    pub expiry: Option<Expiry>,
    /// An absent item is stored with this number and expiry.
    pub create: Option<(u64, Expiry)>,
}

impl Count {
    /// incr or decr.
    pub fn plain(step: Step) -> Self {
        Self { step, compare: None, token: None, expiry: None, create: None }
    }
}

/// [`Mutation::Fetch`]: a read that may change the expiry, create an empty item, and choose the one client that is to
/// fetch the value anew (a lease: Nishtala et al., "Scaling Memcache at Facebook", NSDI'13, section 3.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Fetch {
    /// The item's new expiry.
    pub expiry: Option<Expiry>,
    /// The first client to ask wins if the item ends before this.
    pub recache: Option<Expiry>,
    /// Whether that is judged by the new expiry.
    pub recache_after_touch: bool,
    /// An absent item is stored empty, with this expiry, and the client wins.
    pub create: Option<Expiry>,
    /// The cas token of what is created; the new version's stamp if `None`.
    pub token: Option<u64>,
    /// Whether the read is not to be noticed by the item's copies.
    pub unnoticed: bool,
}

/// [`Mutation::Remove`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Remove {
    /// Only if the item has this cas token.
    pub compare: Option<u64>,
    /// The item stays, changed like this.
    pub instead: Option<Invalidate>,
}

/// What becomes of an item instead of its removal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Invalidate {
    /// It is marked stale, and the next reader wins.
    pub stale: bool,
    /// Its value becomes empty, its flags these, its expiry `expiry`.
    pub empty: Option<u32>,
    /// Its new expiry.
    pub expiry: Option<Expiry>,
    /// Its new cas token. `None`: the new version's stamp where it is marked stale, else the one it has.
    pub token: Option<u64>,
}

/// What a mutation did: the serializer's verdict, in memcached's words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// STORED.
    Stored {
        /// The cas token it has now.
        token: u64,
        /// Bytes of its value now.
        bytes: u32,
    },
    /// NOT_STORED.
    NotStored,
    /// EXISTS.
    Exists,
    /// NOT_FOUND.
    NotFound,
    /// DELETED; or it stays, invalidated.
    Deleted,
    /// TOUCHED.
    Touched,
    /// The new number of incr, decr and ma; one that was created is [`Outcome::Stored`].
    Number(Counted),
    /// The item of a fetch or a confirmation.
    Item(Fetched),
    /// Nothing there: a fetch's or a confirmation's miss.
    Miss,
    /// CLIENT_ERROR cannot increment or decrement non-numeric value.
    NonNumeric,
    /// SERVER_ERROR object too large for cache. The old value is as protocol.txt says for the command.
    TooLarge,
    /// SERVER_ERROR out of memory storing object.
    OutOfMemory,
}

/// [`Outcome::Number`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// The number.
    pub number: u64,
    /// The item's cas token.
    pub token: u64,
    /// When the item ended before.
    pub before: Expiry,
    /// When it ends now.
    pub expiry: Expiry,
}

/// [`Outcome::Item`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// The item as it is now.
    pub item: Item,
    /// How the serializer's copy had been read before.
    pub seen: Seen,
    /// When it ended before.
    pub before: Expiry,
    /// Whether this client is the one to fetch the value anew.
    pub won: bool,
    /// Whether there was none before.
    pub created: bool,
}
