//! What a replica keeps for a key: an item or a tombstone, with its version.
//!
//! Must not know how entries are laid out in memory (the store) or on the wire (`frame`).

use std::num::NonZeroU32;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::version::Version;

/// A moment in cluster time, in unix milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Whole unix seconds, rounded down.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

/// The longest time, in seconds, that an exptime counts as relative (protocol.txt, "Expiration times").
pub const RELATIVE_EXPTIME_MAX: i64 = 60 * 60 * 24 * 30;

/// When an item ends, in absolute unix seconds, the same on every copy; or never.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Expiry(Option<NonZeroU32>);

impl Expiry {
    /// The item lives until it is evicted.
    pub const NEVER: Self = Self(None);

    /// In the past whatever the clock says.
    pub const PAST: Self = Self(Some(NonZeroU32::MIN));

    /// At an absolute unix second; 0 counts as 1 (1970 either way). Ends in 2106.
    pub fn at(unix_seconds: u32) -> Self {
        Self(Some(NonZeroU32::new(unix_seconds).unwrap_or(NonZeroU32::MIN)))
    }

    /// memcached's reading of an exptime: 0 never, negative at once, up to 30 days relative, above absolute.
    /// A relative time is rounded up to a whole second of the cluster's clock, so an item never lives shorter than asked.
    pub fn from_exptime(exptime: i64, now: UnixMillis) -> Self {
        match exptime {
            0 => Self::NEVER,
            i64::MIN..0 => Self::PAST,
            1..=RELATIVE_EXPTIME_MAX => {
                let at = now.0.div_ceil(1000) + exptime as u64;
                Self::at(u32::try_from(at).unwrap_or(u32::MAX))
            }
            _ => Self::at(u32::try_from(exptime).unwrap_or(u32::MAX)),
        }
    }

    /// Whether an item with this expiry is gone at `now`.
    pub fn is_past(self, now: UnixMillis) -> bool {
        self.0.is_some_and(|at| u64::from(at.get()) <= now.seconds())
    }

    /// The absolute unix second; `None` for never.
    pub fn unix_seconds(self) -> Option<u32> {
        self.0.map(NonZeroU32::get)
    }

    /// Whole seconds left at `now`, below 0 once it is long past; `None` for never. `now` is rounded up, as where a
    /// relative exptime is read, so that right after it was set it is what was set.
    pub fn seconds_left(self, now: UnixMillis) -> Option<i64> {
        self.unix_seconds().map(|at| i64::from(at) - now.0.div_ceil(1000) as i64)
    }
}

/// What meta commands note on an item beside its value (protocol.txt, "Meta Get"): the same on every copy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Marks(u8);

impl Marks {
    /// Nothing noted.
    pub const NONE: Self = Self(0);
    /// Invalidated: to be served until it is fetched anew, which one client is asked to do.
    pub const STALE: Self = Self(1);
    /// A client has been asked to fetch it anew.
    pub const WON: Self = Self(1 << 1);
    /// Its key was sent in base64, and is shown so.
    pub const BINARY_KEY: Self = Self(1 << 2);

    const ALL: u8 = Self::STALE.0 | Self::WON.0 | Self::BINARY_KEY.0;

    /// Marks by their bits; `None` if one of them means nothing.
    pub fn from_bits(bits: u8) -> Option<Self> {
        (bits & !Self::ALL == 0).then_some(Self(bits))
    }

    /// Their bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` are noted.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With `other` as well.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// How one copy of an item has been read: each node's own, never sent with the item.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Whether a client has read it since it was stored.
    pub fetched: bool,
    /// Whole seconds since it was last read or stored.
    pub idle_s: u32,
}

/// A value with what memcached keeps beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// The bytes a client stored.
    pub value: Bytes,
    /// The client's flags.
    pub flags: u32,
    /// The cas token: the stamp of the last change of the value; a touch leaves it.
    pub cas: u64,
    /// When it ends.
    pub expiry: Expiry,
    /// What meta commands noted on it.
    pub marks: Marks,
}

/// What a version of a key says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// The key has this value.
    Item(Item),
    /// The key was deleted.
    Tombstone,
}

/// One version of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its place in the order of writes.
    pub version: Version,
    /// What it says.
    pub body: Body,
}

impl Entry {
    /// The item, when there is one and it has not expired at `now`.
    pub fn live_item(&self, now: UnixMillis) -> Option<&Item> {
        match &self.body {
            Body::Item(item) if !item.expiry.is_past(now) => Some(item),
            Body::Item(_) | Body::Tombstone => None,
        }
    }

    /// As [`Entry::live_item`], to be kept.
    pub fn into_live_item(self, now: UnixMillis) -> Option<Item> {
        match self.body {
            Body::Item(item) if !item.expiry.is_past(now) => Some(item),
            Body::Item(_) | Body::Tombstone => None,
        }
    }

    /// Bytes of its value; 0 for a tombstone.
    pub fn value_len(&self) -> usize {
        match &self.body {
            Body::Item(item) => item.value.len(),
            Body::Tombstone => 0,
        }
    }
}

/// A value that somebody else holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueRef<'a> {
    /// Bytes of something larger: whoever keeps them copies them.
    Part(&'a [u8]),
    /// Bytes that may be kept by reference.
    Whole(&'a Bytes),
}

impl std::ops::Deref for ValueRef<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Part(bytes) => bytes,
            Self::Whole(bytes) => bytes,
        }
    }
}

impl ValueRef<'_> {
    /// To be kept: copied only if it must be.
    pub fn to_bytes(self) -> Bytes {
        match self {
            Self::Part(bytes) => Bytes::copy_from_slice(bytes),
            Self::Whole(bytes) => bytes.clone(),
        }
    }
}

/// An [`Item`] whose value lies elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ItemRef<'a> {
    /// The bytes a client stored.
    pub value: ValueRef<'a>,
    /// The client's flags.
    pub flags: u32,
    /// The cas token, as of an [`Item`].
    pub cas: u64,
    /// When it ends.
    pub expiry: Expiry,
    /// What meta commands noted on it.
    pub marks: Marks,
}

/// A [`Body`] whose value lies elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyRef<'a> {
    /// The key has this value.
    Item(ItemRef<'a>),
    /// The key was deleted.
    Tombstone,
}

/// An [`Entry`] whose value lies elsewhere: what is stored of it is copied once, from there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryRef<'a> {
    /// Its place in the order of writes.
    pub version: Version,
    /// What it says.
    pub body: BodyRef<'a>,
}

impl EntryRef<'_> {
    /// Bytes of its value; 0 for a tombstone.
    #[inline]
    pub fn value_len(&self) -> usize {
        match &self.body {
            BodyRef::Item(item) => item.value.len(),
            BodyRef::Tombstone => 0,
        }
    }

    /// To be kept: its value is copied only if it must be.
    pub fn to_entry(&self) -> Entry {
        let body = match self.body {
            BodyRef::Item(ItemRef { value, flags, cas, expiry, marks }) => {
                Body::Item(Item { value: value.to_bytes(), flags, cas, expiry, marks })
            }
            BodyRef::Tombstone => Body::Tombstone,
        };
        Entry { version: self.version, body }
    }
}

impl<'a> From<&'a Item> for ItemRef<'a> {
    #[inline]
    fn from(item: &'a Item) -> Self {
        let Item { value, flags, cas, expiry, marks } = item;
        Self { value: ValueRef::Whole(value), flags: *flags, cas: *cas, expiry: *expiry, marks: *marks }
    }
}

impl<'a> From<&'a Entry> for EntryRef<'a> {
    #[inline]
    fn from(entry: &'a Entry) -> Self {
        let body = match &entry.body {
            Body::Item(item) => BodyRef::Item(item.into()),
            Body::Tombstone => BodyRef::Tombstone,
        };
        Self { version: entry.version, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exptime_is_read_as_memcached_reads_it() {
        let now = UnixMillis(1_800_000_000_400);
        let cases: [(i64, Option<u32>); 6] = [
            (0, None),
            (-1, Some(1)),
            (1, Some(1_800_000_002)),
            (2_592_000, Some(1_802_592_001)),
            (2_592_001, Some(2_592_001)),
            (1_900_000_000, Some(1_900_000_000)),
        ];
        for (exptime, expected) in cases {
            assert_eq!(Expiry::from_exptime(exptime, now).unix_seconds(), expected, "exptime {exptime}");
        }
        assert!(Expiry::PAST.is_past(now) && !Expiry::NEVER.is_past(now));
        assert!(!Expiry::from_exptime(1, now).is_past(UnixMillis(now.0 + 999)));
        assert!(Expiry::from_exptime(1, now).is_past(UnixMillis(now.0 + 2000)));
    }

    #[test]
    fn what_was_just_set_has_all_its_seconds_left() {
        for now in [1_800_000_000_000, 1_800_000_000_001, 1_800_000_000_999].map(UnixMillis) {
            let expiry = Expiry::from_exptime(50, now);
            for (later_ms, left) in [(0, 50), (1000, 49), (50_000, 0), (53_000, -3)] {
                assert_eq!(expiry.seconds_left(UnixMillis(now.0 + later_ms)), Some(left), "{now:?} and {later_ms} ms");
            }
        }
        assert_eq!(Expiry::at(1_800_000_001).seconds_left(UnixMillis(1_800_000_000_000)), Some(1));
        assert_eq!(Expiry::at(1_800_000_001).seconds_left(UnixMillis(1_800_000_000_001)), Some(0));
        assert_eq!(Expiry::PAST.seconds_left(UnixMillis(1_800_000_000_000)), Some(-1_799_999_999));
        assert_eq!(Expiry::NEVER.seconds_left(UnixMillis(1_800_000_000_000)), None);
    }
}
