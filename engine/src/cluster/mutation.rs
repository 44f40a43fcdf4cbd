//! What each command does to a key's value: memcached's semantics as one pure function.
//!
//! Must not know replication: the serializer gives it the newest live item and carries out what it returns.

use bytes::{BufMut, Bytes, BytesMut};
use memring_protocol::entry::{Expiry, Item, Marks, Seen};
use memring_protocol::message::{
    Count, Counted, Fetch, Fetched, Invalidate, Mutation, NewValue, Outcome, Remove, Step, Store, StoreMode,
};

/// What becomes of the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It stays as it is.
    Keep,
    /// It stays as it is, and was read.
    Notice,
    /// It gets this item.
    Put(Put),
    /// It is deleted.
    Delete,
}

/// An item that a key gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Put {
    /// The item; its cas token is still to come if `stamped`.
    pub item: Item,
    /// Whether its cas token becomes the stamp of the new version.
    pub stamped: bool,
    /// Whether it is the item there was, changed in place: how that has been read goes on.
    pub amends: bool,
    /// Whether it was read, too.
    pub noticed: bool,
}

/// The longest value that is read as a number: memcached counts in nothing that its slabs keep in several chunks.
const COUNTER_BYTES_MAX: usize = 512 * 1024;

/// Whether the mutation's effect depends on what is there. Those that do not need no look at other homes first.
pub fn is_blind(mutation: &Mutation) -> bool {
    matches!(mutation, Mutation::Store(Store { mode: StoreMode::Set, compare: None, .. }))
}

/// Whether doing it twice is as good as doing it once, so that it may be tried again when its first fate is unknown.
/// A fetch is: who asks again for a lease that was given finds it given, and is told that its fate is unknown.
pub fn is_repeatable(mutation: &Mutation) -> bool {
    match mutation {
        Mutation::Store(_) => is_blind(mutation),
        Mutation::Remove(remove) => *remove == Remove::default(),
        Mutation::Confirm | Mutation::Touch(_) | Mutation::GetAndTouch(_) | Mutation::Fetch(_) => true,
        Mutation::Count(_) => false,
    }
}

/// Whether it is counted as a cas.
pub fn counts_as_cas(mutation: &Mutation) -> bool {
    match mutation {
        Mutation::Store(store) => store.compare.is_some() && matches!(store.mode, StoreMode::Set | StoreMode::Replace),
        _ => false,
    }
}

/// The outcome, once the cas token is known that a stamped item got.
pub fn with_token(outcome: Outcome, token: u64) -> Outcome {
    match outcome {
        Outcome::Stored { bytes, .. } => Outcome::Stored { token, bytes },
        Outcome::Number(counted) => Outcome::Number(Counted { token, ..counted }),
        Outcome::Item(fetched) => Outcome::Item(Fetched { item: Item { cas: token, ..fetched.item }, ..fetched }),
        other => other,
    }
}

/// Applies `mutation` to the newest live item, which has been read as `seen` says. `value_bytes_max` is the item limit
/// less the key.
pub fn mutate(mutation: &Mutation, held: Option<&Item>, seen: Seen, value_bytes_max: usize) -> (Outcome, Change) {
    match mutation {
        Mutation::Store(new) => store(new, held, value_bytes_max),
        Mutation::Count(by) => count(by, held),
        Mutation::Fetch(how) => fetch(how, held, seen),
        Mutation::Touch(expiry) => match held {
            Some(item) => (Outcome::Touched, amend(Item { expiry: *expiry, ..item.clone() }, false, true)),
            None => (Outcome::NotFound, Change::Keep),
        },
        Mutation::GetAndTouch(expiry) => match held {
            Some(item) => {
                let touched = Item { expiry: *expiry, ..item.clone() };
                (shown(touched.clone(), item.expiry, seen), amend(touched, false, true))
            }
            None => (Outcome::Miss, Change::Keep),
        },
        Mutation::Remove(how) => remove(how, held),
        Mutation::Confirm => match held {
            Some(item) => (shown(item.clone(), item.expiry, seen), Change::Keep),
            None => (Outcome::Miss, Change::Keep),
        },
    }
}

fn shown(item: Item, before: Expiry, seen: Seen) -> Outcome {
    Outcome::Item(Fetched { item, seen, before, won: false, created: false })
}

fn amend(item: Item, stamped: bool, noticed: bool) -> Change {
    Change::Put(Put { item, stamped, amends: true, noticed })
}

fn store(new: &Store, held: Option<&Item>, value_bytes_max: usize) -> (Outcome, Change) {
    match (new.mode, held, new.compare) {
        (StoreMode::Add, Some(_), _) => (Outcome::NotStored, Change::Keep),
        (StoreMode::Add, None, _) | (StoreMode::Set, _, None) | (StoreMode::Replace, Some(_), None) => {
            put_new(new, None, value_bytes_max)
        }
        (StoreMode::Set | StoreMode::Replace, Some(item), Some(token)) if token != 0 && token == item.cas => {
            put_new(new, None, value_bytes_max)
        }
        (StoreMode::Set | StoreMode::Replace, Some(item), Some(token))
            if new.accept_older && token != 0 && token < item.cas =>
        {
            put_new(new, Some(item), value_bytes_max)
        }
        (StoreMode::Set | StoreMode::Replace, Some(_), Some(_)) => (Outcome::Exists, Change::Keep),
        (StoreMode::Set | StoreMode::Replace, None, Some(_)) => (Outcome::NotFound, Change::Keep),
        (StoreMode::Append | StoreMode::Prepend, Some(item), Some(token)) if token != 0 && token != item.cas => {
            (Outcome::Exists, Change::Keep)
        }
        (StoreMode::Append, Some(item), _) => join(new, item, &item.value, &new.new.value, value_bytes_max),
        (StoreMode::Prepend, Some(item), _) => join(new, item, &new.new.value, &item.value, value_bytes_max),
        (StoreMode::Append | StoreMode::Prepend, None, _) if new.create => put_new(new, None, value_bytes_max),
        (StoreMode::Replace | StoreMode::Append | StoreMode::Prepend, None, _) => (Outcome::NotStored, Change::Keep),
    }
}

/// Stores the value. If it was fetched for an older state of an item that has been invalidated since, it is stale, too.
fn put_new(new: &Store, newer: Option<&Item>, value_bytes_max: usize) -> (Outcome, Change) {
    let NewValue { value, flags, expiry, binary_key } = new.new.clone();
    if value.len() > value_bytes_max {
        return (Outcome::TooLarge, Change::Keep);
    }
    let mut marks = if binary_key { Marks::BINARY_KEY } else { Marks::NONE };
    let mut expiry = expiry;
    if let Some(item) = newer {
        expiry = item.expiry;
        marks = marks.with(Marks::STALE);
        if item.marks.has(Marks::WON) {
            marks = marks.with(Marks::WON);
        }
    }
    put(Item { value, flags, expiry, marks, cas: 0 }, new.token)
}

/// A new item in place of what is there; its cas token is given, or to come.
fn put(item: Item, token: Option<u64>) -> (Outcome, Change) {
    let bytes = u32::try_from(item.value.len()).unwrap_or(u32::MAX);
    (Outcome::Stored { token: token.unwrap_or(0), bytes }, Change::Put(replacing(item, token)))
}

fn replacing(item: Item, token: Option<u64>) -> Put {
    let item = Item { cas: token.unwrap_or(0), ..item };
    Put { item, stamped: token.is_none(), amends: false, noticed: false }
}

/// An item without anything.
fn empty(expiry: Expiry) -> Item {
    Item { value: Bytes::new(), flags: 0, cas: 0, expiry, marks: Marks::NONE }
}

/// append and prepend: flags and expiry stay; a result over the limit is NOT_STORED, as in memcached.
fn join(new: &Store, item: &Item, first: &Bytes, second: &Bytes, value_bytes_max: usize) -> (Outcome, Change) {
    if first.len() + second.len() > value_bytes_max {
        return (Outcome::NotStored, Change::Keep);
    }
    let mut value = BytesMut::with_capacity(first.len() + second.len());
    value.put_slice(first);
    value.put_slice(second);
    put(Item { value: value.freeze(), marks: Marks::NONE, ..item.clone() }, new.token)
}

/// incr, decr and ma: flags and expiry stay; the stored text never gets shorter, spaces fill it up (protocol.txt,
/// "Increment/Decrement"). Marks stay unless it gets longer, as in memcached, where it is a new item then.
/// One that is created is Stored: it was not counted up or down.
fn count(by: &Count, held: Option<&Item>) -> (Outcome, Change) {
    let (number, width, item) = match (held, by.create) {
        (None, None) => return (Outcome::NotFound, Change::Keep),
        (None, Some((number, expiry))) => {
            return put(Item { value: Bytes::from(number.to_string()), ..empty(expiry) }, by.token);
        }
        (Some(item), _) if item.value.is_empty() => return (Outcome::NonNumeric, Change::Keep),
        (Some(item), _) if by.compare.is_some_and(|token| token != 0 && token != item.cas) => {
            return (Outcome::Exists, Change::Keep);
        }
        (Some(item), _) => {
            let number = if item.value.len() > COUNTER_BYTES_MAX { None } else { parse_counter(&item.value) };
            let Some(number) = number else { return (Outcome::NonNumeric, Change::Keep) };
            let number = match by.step {
                Step::Up(by) => number.wrapping_add(by),
                Step::Down(by) => number.saturating_sub(by),
            };
            let expiry = by.expiry.unwrap_or(item.expiry);
            (number, item.value.len(), Item { expiry, ..item.clone() })
        }
    };
    let mut text = number.to_string().into_bytes();
    text.resize(width.max(text.len()), b' ');
    let value = Bytes::from(text);
    let amends = value.len() == width;
    let marks = if amends { item.marks } else { Marks::NONE };
    let before = held.map_or(Expiry::NEVER, |item| item.expiry);
    let counted = Counted { number, token: by.token.unwrap_or(0), before, expiry: item.expiry };
    let put = Put { amends, ..replacing(Item { value, marks, ..item }, by.token) };
    (Outcome::Number(counted), Change::Put(put))
}

/// A counter's text: blanks, a plus sign, digits, then the end or a blank.
fn parse_counter(text: &[u8]) -> Option<u64> {
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = text.iter().position(|byte| !is_blank(byte))?;
    let text = text[start..].strip_prefix(b"+").unwrap_or(&text[start..]);
    let digits = text.split(|byte| is_blank(byte) || *byte == 0).next()?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// mg. The one who wins is told once; marks say so to everyone after it.
fn fetch(how: &Fetch, held: Option<&Item>, seen: Seen) -> (Outcome, Change) {
    let noticed = !how.unnoticed;
    let Some(item) = held else {
        let Some(expiry) = how.create else { return (Outcome::Miss, Change::Keep) };
        let put = replacing(Item { marks: Marks::WON, ..empty(expiry) }, how.token);
        let (item, seen) = (put.item.clone(), Seen::default());
        let fetched = Fetched { item, seen, before: Expiry::NEVER, won: true, created: true };
        return (Outcome::Item(fetched), Change::Put(Put { noticed, ..put }));
    };
    let expiry = how.expiry.unwrap_or(item.expiry);
    let judged = if how.recache_after_touch { expiry } else { item.expiry };
    let ends_soon = match (judged.unix_seconds(), how.recache.and_then(Expiry::unix_seconds)) {
        (Some(ends), Some(recache)) => ends < recache,
        _ => false,
    };
    let won = !item.marks.has(Marks::WON) && (ends_soon || item.marks.has(Marks::STALE));
    let marks = if won { item.marks.with(Marks::WON) } else { item.marks };
    let next = Item { expiry, marks, ..item.clone() };
    let change = match (expiry == item.expiry && !won, noticed) {
        (false, noticed) => amend(next.clone(), false, noticed),
        (true, true) => Change::Notice,
        (true, false) => Change::Keep,
    };
    (Outcome::Item(Fetched { item: next, seen, before: item.expiry, won, created: false }), change)
}

fn remove(how: &Remove, held: Option<&Item>) -> (Outcome, Change) {
    match (held, how.instead) {
        (None, _) => (Outcome::NotFound, Change::Keep),
        (Some(item), _) if how.compare.is_some_and(|token| token != item.cas) => (Outcome::Exists, Change::Keep),
        (Some(_), None) => (Outcome::Deleted, Change::Delete),
        (Some(item), Some(instead)) => (Outcome::Deleted, invalidate(&instead, item)),
    }
}

fn invalidate(instead: &Invalidate, item: &Item) -> Change {
    let mut next = match instead.empty {
        Some(flags) => Item { flags, cas: item.cas, ..empty(instead.expiry.unwrap_or(Expiry::NEVER)) },
        None => item.clone(),
    };
    if instead.stale {
        next.expiry = instead.expiry.unwrap_or(next.expiry);
        next.marks = next.marks.with(Marks::STALE).without(Marks::WON);
    }
    if let Some(token) = instead.token {
        next.cas = token;
    }
    let stamped = instead.stale && instead.token.is_none();
    Change::Put(Put { item: next, stamped, amends: instead.empty.is_none(), noticed: false })
}

#[cfg(test)]
mod tests;
