//! Keys as clients send them, and where SHA-1 puts them on the ring.
//!
//! Must not know who owns a partition: that is `ring`.

use std::fmt;

use bytes::Bytes;
use sha1::{Digest, Sha1};

/// The longest key, in bytes, as in memcached (protocol.txt, "Keys").
pub const KEY_BYTES_MAX: usize = 250;

/// Number of partitions: equal arcs of the ring, the unit of ownership, digests, transfer and fencing.
pub const PARTITIONS: u16 = 1 << PARTITION_BITS;

/// `partition = token >> (64 - PARTITION_BITS)`.
const PARTITION_BITS: u32 = 14;

/// A point on the ring: the first 64 bits (big-endian) of SHA-1 of a key or of a vnode's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

impl Token {
    /// The token of any bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(KeyDigest::of(bytes).token)
    }

    /// The arc of the ring that this point lies in.
    pub fn partition(self) -> Partition {
        Partition((self.0 >> (64 - PARTITION_BITS)) as u16)
    }
}

/// One of [`PARTITIONS`] equal arcs of the ring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Partition(u16);

impl Partition {
    /// A partition by number; `None` at or above [`PARTITIONS`].
    pub fn new(number: u16) -> Option<Self> {
        (number < PARTITIONS).then_some(Self(number))
    }

    /// Its number, below [`PARTITIONS`].
    pub fn number(self) -> u16 {
        self.0
    }

    /// Its number as an index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The first token of the arc.
    pub fn first_token(self) -> Token {
        Token(u64::from(self.0) << (64 - PARTITION_BITS))
    }

    /// All partitions, in ring order.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..PARTITIONS).map(Self)
    }
}

impl TryFrom<u16> for Partition {
    type Error = String;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        Self::new(number).ok_or_else(|| format!("partition {number} is not below {PARTITIONS}"))
    }
}

impl From<Partition> for u16 {
    fn from(partition: Partition) -> Self {
        partition.0
    }
}

/// What is kept of a key's SHA-1: its point on the ring, from which the store's hash tables are keyed too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyDigest {
    token: u64,
}

impl KeyDigest {
    /// Hashes once; everything else reads from the result.
    pub fn of(bytes: &[u8]) -> Self {
        let hash: [u8; 20] = Sha1::digest(bytes).into();
        Self { token: u64::from_be_bytes(hash[..8].try_into().expect("8 bytes of 20")) }
    }

    /// The key's point on the ring.
    pub fn token(self) -> Token {
        Token(self.token)
    }
}

/// A key that is certainly 1 to [`KEY_BYTES_MAX`] bytes long, with its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    bytes: Bytes,
    digest: KeyDigest,
}

/// Why bytes are not a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a key has 1 to {KEY_BYTES_MAX} bytes, not {0}")]
pub struct KeyLengthError(pub usize);

impl Key {
    /// Takes the bytes as they are: which bytes a client may use is the text grammar's business.
    pub fn new(bytes: Bytes) -> Result<Self, KeyLengthError> {
        if bytes.is_empty() || bytes.len() > KEY_BYTES_MAX {
            return Err(KeyLengthError(bytes.len()));
        }
        let digest = KeyDigest::of(&bytes);
        Ok(Self { bytes, digest })
    }

    /// Copies the bytes: what a key read from a connection's buffer needs, so that it does not pin the buffer.
    pub fn copy_from(bytes: &[u8]) -> Result<Self, KeyLengthError> {
        if bytes.is_empty() || bytes.len() > KEY_BYTES_MAX {
            return Err(KeyLengthError(bytes.len()));
        }
        Self::new(Bytes::copy_from_slice(bytes))
    }

    /// The key as sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key as sent, shared.
    pub fn to_bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The key as sent, where it is not needed as a key any more.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Its length in bytes, 1 to [`KEY_BYTES_MAX`].
    #[expect(clippy::len_without_is_empty, reason = "a key is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Its SHA-1, hashed once.
    pub fn digest(&self) -> KeyDigest {
        self.digest
    }

    /// The arc of the ring that owns it.
    pub fn partition(&self) -> Partition {
        self.digest.token().partition()
    }
}

/// A key whose bytes lie elsewhere, hashed: for whoever only asks for it and need not keep it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyRef<'a> {
    bytes: &'a [u8],
    digest: KeyDigest,
}

impl<'a> KeyRef<'a> {
    /// As [`Key::new`], without a copy.
    pub fn new(bytes: &'a [u8]) -> Result<Self, KeyLengthError> {
        if bytes.is_empty() || bytes.len() > KEY_BYTES_MAX {
            return Err(KeyLengthError(bytes.len()));
        }
        Ok(Self { bytes, digest: KeyDigest::of(bytes) })
    }

    /// A key whose token another node tells, so that it need not be hashed again. With a wrong one it is only not found: for
    /// lookups, not for what is to be kept.
    pub fn of_token(bytes: &'a [u8], token: Token) -> Result<Self, KeyLengthError> {
        if bytes.is_empty() || bytes.len() > KEY_BYTES_MAX {
            return Err(KeyLengthError(bytes.len()));
        }
        Ok(Self { bytes, digest: KeyDigest { token: token.0 } })
    }

    /// The key as sent.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Its length in bytes, 1 to [`KEY_BYTES_MAX`].
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a key is never empty")]
    pub fn len(self) -> usize {
        self.bytes.len()
    }

    /// Its SHA-1, hashed once.
    #[inline]
    pub fn digest(self) -> KeyDigest {
        self.digest
    }

    /// The arc of the ring that owns it.
    #[inline]
    pub fn partition(self) -> Partition {
        self.digest.token().partition()
    }

    /// To be kept; the bytes are copied, and not hashed again.
    pub fn to_key(self) -> Key {
        Key { bytes: Bytes::copy_from_slice(self.bytes), digest: self.digest }
    }
}

impl<'a> From<&'a Key> for KeyRef<'a> {
    #[inline]
    fn from(key: &'a Key) -> Self {
        Self { bytes: &key.bytes, digest: key.digest }
    }
}

impl fmt::Debug for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.bytes.escape_ascii())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    /// Ring order, so that the keys of a partition are neighbours.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.digest.cmp(&other.digest).then_with(|| self.bytes.cmp(&other.bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.bytes.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_the_first_eight_bytes_of_sha1() {
        // SHA-1("abc") = a9993e36 4706816a ba3e2571 7850c26c 9cd0d89d (FIPS 180-4 example).
        let digest = KeyDigest::of(b"abc");
        assert_eq!(digest.token().0, 0xa999_3e36_4706_816a);
        assert_eq!(digest.token().partition().number(), 0xa999 >> 2);
    }

    #[test]
    fn a_key_has_1_to_250_bytes() {
        assert_eq!(Key::copy_from(b""), Err(KeyLengthError(0)));
        assert!(Key::copy_from(&[b'k'; 250]).is_ok());
        assert_eq!(Key::copy_from(&[b'k'; 251]), Err(KeyLengthError(251)));
    }
}
