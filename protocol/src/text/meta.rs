//! Meta commands: their key, their flags, and which of them come back in the answer (protocol.txt, "Meta Commands").
//!
//! Must not know what a command does with its flags, nor how an answer is spelled (`meta_reply`).

use std::fmt;

use smallvec::SmallVec;

use super::base64;
use super::command::{Direction, tokens};
use super::error_reply::ErrorReply;
use super::number;
use crate::key::{KEY_BYTES_MAX, Key};
use crate::level::Level;
use crate::message::StoreMode;

/// The most words of a meta command's line, its name included.
const WORDS_MAX: usize = 20;

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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetaRequest<'a> {
    key: MetaKey<'a>,
    /// The flags as sent.
    line: &'a [u8],
    /// Which letters were sent: bit 0 is `A`.
    sent: u64,
    exptime: i64,
    vivify: i64,
    recache: i64,
    compare: u64,
    token: u64,
    initial: u64,
    delta: u64,
    flags: u32,
    level: Option<Level>,
    mode: u8,
    recache_after_touch: bool,
    touches_after_vivify: bool,
    opaque_too_long: bool,
}

impl<'a> MetaRequest<'a> {
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
        self.has(b'T').then_some(self.exptime)
    }

    /// `N`: create what is absent, with this exptime.
    pub fn vivify(&self) -> Option<i64> {
        self.has(b'N').then_some(self.vivify)
    }

    /// `R`: win if the item ends sooner than this exptime says.
    pub fn recache(&self) -> Option<i64> {
        self.has(b'R').then_some(self.recache)
    }

    /// Whether `T` stands before `R`, which then judges the new expiry.
    pub fn recaches_after_touch(&self) -> bool {
        self.recache_after_touch
    }

    /// Whether `T` stands behind `N`, and so gives the expiry of what is created.
    pub fn touches_after_vivify(&self) -> bool {
        self.touches_after_vivify
    }

    /// `C`: the cas token that the item must have.
    pub fn compare(&self) -> Option<u64> {
        self.has(b'C').then_some(self.compare)
    }

    /// `E`: the cas token that the item is to get.
    pub fn token(&self) -> Option<u64> {
        self.has(b'E').then_some(self.token)
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
        self.flags
    }

    /// `J`: the number of what is created; 0 by default.
    pub fn initial(&self) -> u64 {
        self.initial
    }

    /// `D`: by how much to count; 1 by default.
    pub fn delta(&self) -> u64 {
        self.delta
    }

    /// `L`, which memcached ignores: the level of this request; `None` also for a word that is no level.
    pub fn level(&self) -> Option<Level> {
        self.level
    }

    /// Whether one of these letters was sent.
    pub fn has_any(&self, letters: &[u8]) -> bool {
        letters.iter().any(|&letter| self.has(letter))
    }

    /// What of the flags comes back.
    pub fn echo(&self) -> Echo {
        let mut words = SmallVec::new();
        for word in tokens(self.line) {
            if ECHOED & bit(word[0]) != 0 {
                words.extend_from_slice(if word[0] == b'O' { word } else { &word[..1] });
                words.push(b' ');
            }
        }
        Echo { words, is_base64: self.key.is_base64 }
    }

    fn has(&self, letter: u8) -> bool {
        self.sent & bit(letter) != 0
    }

    /// An opaque token that is too long is told last, after all else was found right.
    pub(super) fn check_opaque(&self) -> Result<(), ErrorReply> {
        if self.opaque_too_long { Err(ErrorReply::OpaqueTooLong) } else { Ok(()) }
    }

    /// `M` of ms: its first letter counts.
    pub(super) fn store_mode(&self) -> Result<StoreMode, ErrorReply> {
        Ok(match self.mode {
            b'S' | NO_MODE => StoreMode::Set,
            b'E' => StoreMode::Add,
            b'A' => StoreMode::Append,
            b'P' => StoreMode::Prepend,
            b'R' => StoreMode::Replace,
            _ => return Err(ErrorReply::InvalidStoreMode),
        })
    }

    /// `M` of ma.
    pub(super) fn direction(&self) -> Result<Direction, ErrorReply> {
        Ok(match self.mode {
            b'I' | b'+' | NO_MODE => Direction::Increase,
            b'D' | b'-' => Direction::Decrease,
            _ => return Err(ErrorReply::InvalidCountMode),
        })
    }
}

/// `M` was not sent.
const NO_MODE: u8 = 0;

/// The flags that come back, or that change what comes back behind them.
const ECHOED: u64 = letters(b"kOstcflhTN");

/// Every flag that means something, and `P`, which is for proxies.
const KNOWN: u64 = letters(b"bkOqPLcCEfFhlstTNRuvIxMJD");

/// The bit of a letter; 0 for what is none.
const fn bit(letter: u8) -> u64 {
    if letter.is_ascii_alphabetic() { 1 << (letter - b'A') } else { 0 }
}

const fn letters(letters: &[u8]) -> u64 {
    let (mut bits, mut at) = (0, 0);
    while at < letters.len() {
        bits |= bit(letters[at]);
        at += 1;
    }
    bits
}

/// The flags of a request that come back in its answer, in the order sent, kept until the answer is known.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Echo {
    /// Each with a space behind it.
    pub(super) words: SmallVec<[u8; 36]>,
    /// Whether the key was sent in base64.
    pub(super) is_base64: bool,
}

/// Whether all words behind the key look like flags. A line with others is taken for no meta command at all.
pub(super) fn is_flags(line: &[u8]) -> bool {
    tokens(line).all(|word| word[0].is_ascii_digit() || (b'A'..=b'z').contains(&word[0]))
}

/// Reads the words behind `mg <key>`, `ms <key> <len>` and so on. `words_before` counts those before `line`.
pub(super) fn read<'a>(key: &'a [u8], line: &'a [u8], words_before: usize) -> Result<MetaRequest<'a>, ErrorReply> {
    if key.len() > KEY_BYTES_MAX {
        return Err(ErrorReply::BadLineFormat);
    }
    let mut request = MetaRequest {
        key: MetaKey::plain(key),
        line,
        sent: 0,
        exptime: 0,
        vivify: 0,
        recache: 0,
        compare: 0,
        token: 0,
        initial: 0,
        delta: 1,
        flags: 0,
        level: None,
        mode: NO_MODE,
        recache_after_touch: false,
        touches_after_vivify: false,
        opaque_too_long: false,
    };
    if tokens(line).count() + words_before > WORDS_MAX {
        return Err(ErrorReply::OptionsTooLong);
    }
    // A wrong number is told only if no flag behind it is unknown or sent twice; the last one gives its name.
    let mut wrong = None;
    for word in tokens(line) {
        let letter = bit(word[0]);
        if request.sent & letter != 0 || word[0] >= 0x7f {
            return Err(ErrorReply::DuplicateFlag);
        }
        if KNOWN & letter == 0 {
            return Err(ErrorReply::InvalidFlag);
        }
        request.sent |= letter;
        match request.take(word[0], &word[1..]) {
            Ok(()) => {}
            // memcached has no words of its own for wrong flags.
            Err(ErrorReply::BadLineFormat) => wrong = wrong.or(Some(ErrorReply::BadLineFormat)),
            Err(error) => wrong = Some(error),
        }
    }
    match wrong {
        Some(error) => Err(error),
        None => Ok(request),
    }
}

impl MetaRequest<'_> {
    fn take(&mut self, letter: u8, argument: &[u8]) -> Result<(), ErrorReply> {
        let unsigned = |error| number::digits(argument).ok_or(error);
        let exptime = || number::strict_exptime(argument).ok_or(ErrorReply::BadToken);
        match letter {
            b'b' => self.key = MetaKey::base64(self.key.sent).ok_or(ErrorReply::KeyDecoding)?,
            b'O' => self.opaque_too_long = argument.len() >= OPAQUE_BYTES_MAX,
            b'T' => {
                self.exptime = exptime()?;
                self.touches_after_vivify = self.has(b'N');
            }
            b'N' => self.vivify = exptime()?,
            b'R' => {
                self.recache = exptime()?;
                self.recache_after_touch = self.has(b'T');
            }
            b'C' => self.compare = unsigned(ErrorReply::BadToken)?,
            b'E' => self.token = unsigned(ErrorReply::BadToken)?,
            b'J' => self.initial = unsigned(ErrorReply::InvalidInitial)?,
            b'D' => self.delta = unsigned(ErrorReply::InvalidMetaDelta)?,
            b'F' => {
                let flags = number::digits(argument).and_then(|flags| u32::try_from(flags).ok());
                self.flags = flags.ok_or(ErrorReply::BadLineFormat)?;
            }
            b'L' => self.level = std::str::from_utf8(argument).ok().and_then(|word| word.parse().ok()),
            b'M' => self.mode = argument.first().copied().unwrap_or(b' '),
            _ => {}
        }
        Ok(())
    }
}
