//! What each command does to a key's value: memcached's semantics as one pure function.
//!
//! Must not know replication: the serializer gives it the newest live item and carries out what it returns.

use bytes::{BufMut, Bytes, BytesMut};
use memring_protocol::entry::{Expiry, Item};
use memring_protocol::message::{Mutation, NewValue, Outcome};

/// What becomes of the key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It stays as it is.
    Keep,
    /// It gets this value; its cas token becomes the stamp of the new version.
    Value(NewValue),
    /// Only its expiry changes; value, flags and cas token stay.
    Expiry(Expiry),
    /// It is deleted.
    Delete,
}

/// Whether the mutation's effect depends on what is there. Those that do not need no look at other homes first.
pub fn is_blind(mutation: &Mutation) -> bool {
    matches!(mutation, Mutation::Set(_))
}

/// Whether doing it twice is as good as doing it once, so that it may be tried again when its first fate is unknown.
pub fn is_repeatable(mutation: &Mutation) -> bool {
    matches!(
        mutation,
        Mutation::Set(_) | Mutation::Delete | Mutation::Confirm | Mutation::Touch(_) | Mutation::GetAndTouch(_)
    )
}

/// Applies `mutation` to the newest live item. `value_bytes_max` is the item limit less the key.
pub fn mutate(mutation: &Mutation, held: Option<&Item>, value_bytes_max: usize) -> (Outcome, Change) {
    match (mutation, held) {
        (Mutation::Set(new), _) => store(new, value_bytes_max),
        (Mutation::Add(new), None) | (Mutation::Replace(new), Some(_)) => store(new, value_bytes_max),
        (Mutation::Add(_), Some(_)) | (Mutation::Replace(_) | Mutation::Append(_) | Mutation::Prepend(_), None) => {
            (Outcome::NotStored, Change::Keep)
        }
        (Mutation::Cas(new, token), Some(item)) if item.cas == *token => store(new, value_bytes_max),
        (Mutation::Cas(..), Some(_)) => (Outcome::Exists, Change::Keep),
        (Mutation::Append(more), Some(item)) => join(item, &item.value, more, value_bytes_max),
        (Mutation::Prepend(more), Some(item)) => join(item, more, &item.value, value_bytes_max),
        (Mutation::Incr(delta), Some(item)) => count(item, |number| number.wrapping_add(*delta)),
        (Mutation::Decr(delta), Some(item)) => count(item, |number| number.saturating_sub(*delta)),
        (Mutation::Touch(expiry), Some(_)) => (Outcome::Touched, Change::Expiry(*expiry)),
        (Mutation::GetAndTouch(expiry), Some(item)) => {
            (Outcome::Item(Item { expiry: *expiry, ..item.clone() }), Change::Expiry(*expiry))
        }
        (Mutation::Delete, Some(_)) => (Outcome::Deleted, Change::Delete),
        (Mutation::Confirm, Some(item)) => (Outcome::Item(item.clone()), Change::Keep),
        (Mutation::Confirm | Mutation::GetAndTouch(_), None) => (Outcome::Miss, Change::Keep),
        (Mutation::Cas(..) | Mutation::Incr(_) | Mutation::Decr(_) | Mutation::Touch(_) | Mutation::Delete, None) => {
            (Outcome::NotFound, Change::Keep)
        }
    }
}

fn store(new: &NewValue, value_bytes_max: usize) -> (Outcome, Change) {
    if new.value.len() > value_bytes_max {
        return (Outcome::TooLarge, Change::Keep);
    }
    (Outcome::Stored, Change::Value(new.clone()))
}

/// append and prepend: flags and expiry stay; a result over the limit is NOT_STORED, as in memcached.
fn join(item: &Item, first: &Bytes, second: &Bytes, value_bytes_max: usize) -> (Outcome, Change) {
    if first.len() + second.len() > value_bytes_max {
        return (Outcome::NotStored, Change::Keep);
    }
    let mut value = BytesMut::with_capacity(first.len() + second.len());
    value.put_slice(first);
    value.put_slice(second);
    let new = NewValue { value: value.freeze(), flags: item.flags, expiry: item.expiry };
    (Outcome::Stored, Change::Value(new))
}

/// incr and decr: flags and expiry stay; the stored text never gets shorter, spaces fill it up (protocol.txt,
/// "Increment/Decrement").
fn count(item: &Item, step: impl FnOnce(u64) -> u64) -> (Outcome, Change) {
    let Some(number) = parse_counter(&item.value) else { return (Outcome::NonNumeric, Change::Keep) };
    let number = step(number);
    let value = Bytes::from(format!("{number:<width$}", width = item.value.len()));
    (Outcome::Number(number), Change::Value(NewValue { value, flags: item.flags, expiry: item.expiry }))
}

/// A counter's text: spaces, a plus sign, digits, then the end or a space.
fn parse_counter(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let digits = text.split(|byte| *byte == b' ').next()?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(value: &'static str) -> Item {
        Item { value: Bytes::from_static(value.as_bytes()), flags: 7, cas: 42, expiry: Expiry::at(2_000_000_000) }
    }

    fn new(value: &'static str) -> NewValue {
        NewValue { value: Bytes::from_static(value.as_bytes()), flags: 9, expiry: Expiry::NEVER }
    }

    /// `expected` is the outcome and the value afterwards (`None`: unchanged).
    fn check(mutation: &Mutation, held: Option<&'static str>, expected: (Outcome, Option<&str>)) {
        let held_item = held.map(item);
        let (outcome, change) = mutate(mutation, held_item.as_ref(), 20);
        let value = match &change {
            Change::Value(new) => Some(std::str::from_utf8(&new.value).unwrap()),
            _ => None,
        };
        assert_eq!((outcome, value), expected, "{mutation:?} on {held:?}");
    }

    #[test]
    fn storage_commands_look_at_presence_and_token() {
        check(&Mutation::Set(new("b")), None, (Outcome::Stored, Some("b")));
        check(&Mutation::Set(new("b")), Some("a"), (Outcome::Stored, Some("b")));
        check(&Mutation::Add(new("b")), None, (Outcome::Stored, Some("b")));
        check(&Mutation::Add(new("b")), Some("a"), (Outcome::NotStored, None));
        check(&Mutation::Replace(new("b")), None, (Outcome::NotStored, None));
        check(&Mutation::Replace(new("b")), Some("a"), (Outcome::Stored, Some("b")));
        check(&Mutation::Cas(new("b"), 42), Some("a"), (Outcome::Stored, Some("b")));
        check(&Mutation::Cas(new("b"), 0), Some("a"), (Outcome::Exists, None));
        check(&Mutation::Cas(new("b"), 42), None, (Outcome::NotFound, None));
        check(&Mutation::Append(Bytes::from_static(b"z")), Some("a"), (Outcome::Stored, Some("az")));
        check(&Mutation::Prepend(Bytes::from_static(b"z")), Some("a"), (Outcome::Stored, Some("za")));
        check(&Mutation::Append(Bytes::from_static(b"z")), None, (Outcome::NotStored, None));
        check(&Mutation::Append(Bytes::from(vec![b'z'; 20])), Some("a"), (Outcome::NotStored, None));
        check(&Mutation::Set(new("123456789012345678901")), Some("a"), (Outcome::TooLarge, None));
    }

    #[test]
    fn counters_wrap_stop_at_zero_and_never_get_shorter() {
        let (incr, decr) = (Mutation::Incr, Mutation::Decr);
        check(&incr(1), Some("99"), (Outcome::Number(100), Some("100")));
        check(&decr(1), Some("100"), (Outcome::Number(99), Some("99 ")));
        check(&incr(1), Some("99 5"), (Outcome::Number(100), Some("100 ")));
        check(&incr(1), Some("18446744073709551615"), (Outcome::Number(0), Some("0                   ")));
        check(&decr(5), Some("3"), (Outcome::Number(0), Some("0")));
        check(&incr(1), Some("007"), (Outcome::Number(8), Some("8  ")));
        check(&incr(1), Some(" +5"), (Outcome::Number(6), Some("6  ")));
        for text in ["", "hi", "5a", "-5", "1.5", "18446744073709551616", "+", " "] {
            check(&incr(1), Some(text), (Outcome::NonNumeric, None));
        }
        check(&incr(1), None, (Outcome::NotFound, None));
    }

    #[test]
    fn touches_deletes_and_confirmations_keep_the_value() {
        let at = Expiry::at(1_900_000_000);
        assert_eq!(mutate(&Mutation::Touch(at), Some(&item("a")), 20), (Outcome::Touched, Change::Expiry(at)));
        assert_eq!(mutate(&Mutation::Delete, Some(&item("a")), 20), (Outcome::Deleted, Change::Delete));
        assert_eq!(mutate(&Mutation::Confirm, Some(&item("a")), 20), (Outcome::Item(item("a")), Change::Keep));
        for mutation in [Mutation::Touch(at), Mutation::Delete] {
            assert_eq!(mutate(&mutation, None, 20), (Outcome::NotFound, Change::Keep));
        }
        for mutation in [Mutation::GetAndTouch(at), Mutation::Confirm] {
            assert_eq!(mutate(&mutation, None, 20), (Outcome::Miss, Change::Keep));
        }
    }
}
