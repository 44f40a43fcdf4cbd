//! Meta commands: their key, their flags, and which of them come back in the answer (protocol.txt, "Meta Commands").
//!
//! Must not know how flags are checked (`flags`), what a command does with them, or how an answer is spelled
//! (`meta_reply`).

use std::fmt;

use smallvec::SmallVec;

use super::command::{Direction, tokens};
use super::error_reply::ErrorReply;
use super::flags::{ECHOED, PLAIN, bit};
use super::{base64, number};
use crate::key::{KEY_BYTES_MAX, Key};
use crate::level::Level;
use crate::message::StoreMode;

/// The longest opaque token, its `O` included, in bytes.
const OPAQUE_BYTES_MAX: usize = 32;

/// A key as a meta command sends it: 1 to 250 bytes, as they are or in base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MetaKey<'a> {
    sent: &'a [u8],
    is_base64: bool,
}

impl<'a> MetaKey<'a> {
    /// A key that is stored as it was sent. The caller has checked its length.
    pub(super) fn plain(sent: &'a [u8]) -> Self {
        Self { sent, is_base64: false }
    }

    /// A key in base64; `None` if it is none.
    pub(super) fn base64(sent: &'a [u8]) -> Option<Self> {
        let mut decoded = [0; KEY_BYTES_MAX];
        base64::decode(sent, &mut decoded).map(|_| Self { sent, is_base64: true })
    }

    /// Bytes as sent.
    pub(super) fn sent_len(&self) -> usize {
        self.sent.len()
    }

    /// Whether it was sent in base64.
    pub fn is_base64(&self) -> bool {
        self.is_base64
    }

    /// As it is stored.
    pub fn to_key(&self) -> Key {
        let mut decoded = [0; KEY_BYTES_MAX];
        Key::copy_from(self.bytes(&mut decoded)).expect("a meta key is 1 to 250 bytes long")
    }

    /// The bytes that are stored; `scratch` is where base64 is decoded to.
    pub fn bytes<'b>(&self, scratch: &'b mut [u8; KEY_BYTES_MAX]) -> &'b [u8]
    where
        'a: 'b,
    {
        if !self.is_base64 {
            return self.sent;
        }
        let len = base64::decode(self.sent, scratch).expect("checked when it was read");
        &scratch[..len]
    }
}

impl fmt::Debug for MetaKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.is_base64 { "base64:" } else { "" }, self.sent.escape_ascii())
    }
}

/// What `mg`, `ms`, `md` and `ma` have in common: a key, and flags that were checked when the line was read. Each command
/// heeds those that mean something to it.
///
/// Small, since every request is one: the arguments of flags are read again when they are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetaRequest<'a> {
    key: MetaKey<'a>,
    /// The flags as sent.
    line: &'a [u8],
    /// Which letters were sent: bit 0 is `A`.
    sent: u64,
}

impl<'a> MetaRequest<'a> {
    /// A request without flags so far. The caller has checked the key's length.
    pub(super) fn plain(key: &'a [u8]) -> Self {
        Self { key: MetaKey::plain(key), line: &[], sent: 0 }
    }

    /// Notes a flag without an argument; false if it is none, or sent before.
    #[inline]
    pub(super) fn take_plain(&mut self, letter: u8) -> bool {
        let letter = bit(letter);
        let is_new = PLAIN & !self.sent & letter != 0;
        self.sent |= letter;
        is_new
    }

    /// With these flags, all of which the caller has checked; `sent` are the bits of their letters.
    pub(super) fn of_checked(key: MetaKey<'a>, line: &'a [u8], sent: u64) -> Self {
        Self { key, line, sent }
    }

    /// With the words of the flags that were noted.
    pub(super) fn with_line(self, line: &'a [u8]) -> Self {
        Self { line, ..self }
    }

    /// The key.
    pub fn key(&self) -> MetaKey<'a> {
        self.key
    }

    /// `q`: hide the answers that say nothing new.
    pub fn is_quiet(&self) -> bool {
        self.has(b'q')
    }

    /// `v`: the value is wanted.
    pub fn wants_value(&self) -> bool {
        self.has(b'v')
    }

    /// `u`: the read is not to be noticed.
    pub fn is_unnoticed(&self) -> bool {
        self.has(b'u')
    }

    /// `T`: an exptime.
    pub fn exptime(&self) -> Option<i64> {
        self.seconds(b'T')
    }

    /// `N`: create what is absent, with this exptime.
    pub fn vivify(&self) -> Option<i64> {
        self.seconds(b'N')
    }

    /// `R`: win if the item ends sooner than this exptime says.
    pub fn recache(&self) -> Option<i64> {
        self.seconds(b'R')
    }

    /// Whether `T` stands before `R`, which then judges the new expiry.
    pub fn recaches_after_touch(&self) -> bool {
        self.is_before(b'T', b'R')
    }

    /// Whether `T` stands behind `N`, and so gives the expiry of what is created.
    pub fn touches_after_vivify(&self) -> bool {
        self.is_before(b'N', b'T')
    }

    /// `C`: the cas token that the item must have.
    pub fn compare(&self) -> Option<u64> {
        self.number(b'C')
    }

    /// `E`: the cas token that the item is to get.
    pub fn token(&self) -> Option<u64> {
        self.number(b'E')
    }

    /// `I`: invalidate; on a store, accept an older cas token.
    pub fn invalidates(&self) -> bool {
        self.has(b'I')
    }

    /// `x`: empty the value, keep the item.
    pub fn empties(&self) -> bool {
        self.has(b'x')
    }

    /// `F`: the client's flags; 0 by default.
    pub fn flags(&self) -> u32 {
        self.argument(b'F').and_then(number::strict_u32).unwrap_or(0)
    }

    /// `J`: the number of what is created; 0 by default.
    pub fn initial(&self) -> u64 {
        self.number(b'J').unwrap_or(0)
    }

    /// `D`: by how much to count; 1 by default.
    pub fn delta(&self) -> u64 {
        self.number(b'D').unwrap_or(1)
    }

    /// `L`, which memcached ignores: the level of this request; `None` also for a word that is no level.
    pub fn level(&self) -> Option<Level> {
        std::str::from_utf8(self.argument(b'L')?).ok()?.parse().ok()
    }

    /// Whether one of these letters was sent.
    pub fn has_any(&self, letters: &[u8]) -> bool {
        letters.iter().any(|&letter| self.has(letter))
    }

    /// What of the flags comes back.
    pub fn echo(&self) -> Echo {
        let mut words = SmallVec::new();
        for word in self.echoed() {
            words.extend_from_slice(word);
            words.push(b' ');
        }
        Echo { words, is_base64: self.key.is_base64 }
    }

    /// The words of [`MetaRequest::echo`].
    pub(super) fn echoed(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let echoed = tokens(self.line).filter(|word| ECHOED & bit(word[0]) != 0);
        echoed.map(|word| if word[0] == b'O' { word } else { &word[..1] })
    }

    fn has(&self, letter: u8) -> bool {
        self.sent & bit(letter) != 0
    }

    /// What stands behind a letter; `None` if it was not sent.
    fn argument(&self, letter: u8) -> Option<&'a [u8]> {
        if self.has(letter) { tokens(self.line).find(|word| word[0] == letter).map(|word| &word[1..]) } else { None }
    }

    fn number(&self, letter: u8) -> Option<u64> {
        self.argument(letter).and_then(number::strict_u64)
    }

    fn seconds(&self, letter: u8) -> Option<i64> {
        self.argument(letter).and_then(number::strict_i32).map(i64::from)
    }

    /// Whether both were sent, in this order.
    fn is_before(&self, first: u8, second: u8) -> bool {
        let place = |letter| tokens(self.line).position(|word| word[0] == letter);
        self.has(first) && self.has(second) && place(first) < place(second)
    }

    /// An opaque token that is too long is told last, after all else was found right.
    pub(super) fn check_opaque(&self) -> Result<(), ErrorReply> {
        match self.argument(b'O') {
            Some(opaque) if opaque.len() >= OPAQUE_BYTES_MAX => Err(ErrorReply::OpaqueTooLong),
            _ => Ok(()),
        }
    }

    /// `M` of ms: its first letter counts.
    pub(super) fn store_mode(&self) -> Result<StoreMode, ErrorReply> {
        Ok(match self.mode() {
            b'S' | NO_MODE => StoreMode::Set,
            b'E' => StoreMode::Add,
            b'A' => StoreMode::Append,
            b'P' => StoreMode::Prepend,
            b'R' => StoreMode::Replace,
            _ => return Err(ErrorReply::InvalidStoreMode),
        })
    }

    /// The first letter of `M`'s argument.
    fn mode(&self) -> u8 {
        self.argument(b'M').map_or(NO_MODE, |mode| mode.first().copied().unwrap_or(b' '))
    }

    /// `M` of ma.
    pub(super) fn direction(&self) -> Result<Direction, ErrorReply> {
        Ok(match self.mode() {
            b'I' | b'+' | NO_MODE => Direction::Increase,
            b'D' | b'-' => Direction::Decrease,
            _ => return Err(ErrorReply::InvalidCountMode),
        })
    }
}

/// `M` was not sent. memcached takes a NUL for the same.
const NO_MODE: u8 = 0;

/// The flags of a request that come back in its answer, in the order sent, kept until the answer is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Echo {
    /// Each with a space behind it.
    pub(super) words: SmallVec<[u8; 36]>,
    /// Whether the key was sent in base64.
    pub(super) is_base64: bool,
}
