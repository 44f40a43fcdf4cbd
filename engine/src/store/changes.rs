//! What is wanted of a key, and what came of it.
//!
//! Must not know how it is carried out.

use memring_protocol::entry::{Entry, EntryRef};
use memring_protocol::version::Ballot;

/// What became of an entry from elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It is held now.
    Stored,
    /// The same or a newer version is held, or it is flushed: nothing was changed.
    Superseded,
    /// The partition has promised this ballot, above the fence: nothing was changed.
    Fenced(Ballot),
    /// Key and value exceed the item limit. An older version is no longer held: it would be stale.
    TooLarge,
    /// There is no room. An older version is no longer held: it would be stale.
    OutOfMemory,
}

/// What a read-modify-write wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// Nothing.
    Keep,
    /// Nothing but to take note that the item was read.
    Notice,
    /// Hold this instead: the same item changed in place, so that how it has been read goes on.
    Amend {
        /// As for [`Change::Put`].
        entry: Entry,
        /// Whether to take note that it was read, too.
        noticed: bool,
    },
    /// Hold this instead. Its version must be above [`Held::version`](super::Held::version) (asserted), and its stamp above the flush floor
    /// (else it is absent at once).
    Put(Entry),
    /// As [`Change::Put`], its value copied from where it lies.
    Write(EntryRef<'a>),
}

/// What became of a [`Change`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Updated {
    /// It was [`Change::Keep`].
    Kept,
    /// The entry is held now.
    Put,
    /// Key and value exceed the item limit: what was held is held still.
    TooLarge,
    /// There is no room: what was held is held still, if nothing else could go for it.
    OutOfMemory,
}

/// What [`Store::look`](super::Store::look) came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look<R> {
    /// There is no live item.
    Absent,
    /// There is one that was not looked at.
    Declined,
    /// There is one, and this was made of it.
    Found(R),
}
