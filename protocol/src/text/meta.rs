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

/// The words of a line that memcached looks at before it counts them.
const WORDS_SEEN: usize = 23;

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

/// The flags that have no argument and do not change the key.
const PLAIN: u64 = letters(b"kstcfhlvquxI");

/// The flags whose argument must be a number.
const NUMBERED: u64 = letters(b"TNRCEJDF");

/// The flags that come back, or that change what comes back behind them.
const ECHOED: u64 = letters(b"kOstcflhTN");

/// Every flag that means something, and `P`, which is for proxies.
const KNOWN: u64 = letters(b"bkOqPLcCEfFhlstTNRuvIxMJD");

/// The bit of a letter. What is none has a bit that no letter has, or 0.
const fn bit(letter: u8) -> u64 {
    let place = letter.wrapping_sub(b'A');
    if place < u64::BITS as u8 { 1 << place } else { 0 }
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

/// What is wrong with a meta command's flags.
pub(super) enum Wrong {
    /// A word is none: the line is taken for no meta command at all.
    NoFlags,
    /// The flags, or the key, are wrong.
    Flags(ErrorReply),
}

impl Wrong {
    /// What most commands say.
    pub(super) fn reply(self) -> ErrorReply {
        match self {
            Self::NoFlags => ErrorReply::BadLineFormat,
            Self::Flags(error) => error,
        }
    }
}

/// Reads the words behind `mg <key>`, `ms <key> <len>` and so on. `words_before` counts those before `line`.
///
/// One pass over a line that is in order, as most are; what is wrong with another is then looked for step by step.
pub(super) fn read<'a>(key: &'a [u8], line: &'a [u8], words_before: usize) -> Result<MetaRequest<'a>, Wrong> {
    let mut request = MetaRequest::plain(key).with_line(line);
    if key.len() > KEY_BYTES_MAX {
        return Err(diagnose(key, line, words_before));
    }
    let mut words = words_before;
    let mut rest = line;
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first == b' ' {
            continue;
        }
        words += 1;
        let letter = bit(*first);
        let is_new_and_known = KNOWN & letter & !request.sent != 0;
        request.sent |= letter;
        let argument_len = behind.iter().position(|&byte| byte == b' ').unwrap_or(behind.len());
        let (argument, behind) = behind.split_at(argument_len);
        if !is_new_and_known || (NUMBERED & letter != 0 && !is_number(*first, argument)) {
            return Err(diagnose(key, line, words_before));
        }
        rest = behind;
    }
    if request.has(b'b') {
        request.key = MetaKey::base64(key).ok_or_else(|| diagnose(key, line, words_before))?;
    }
    if words > WORDS_MAX {
        return Err(diagnose(key, line, words_before));
    }
    Ok(request)
}

/// Whether the argument of a flag with a number is one.
fn is_number(letter: u8, argument: &[u8]) -> bool {
    match letter {
        b'T' | b'N' | b'R' => number::strict_i32(argument).is_some(),
        b'F' => number::strict_u32(argument).is_some(),
        _ => number::strict_u64(argument).is_some(),
    }
}

/// Whether the words behind the key look like flags, as far as memcached looks.
pub(super) fn is_flags(line: &[u8], words_before: usize) -> bool {
    let is_flag = |word: &[u8]| word[0].is_ascii_digit() || (b'A'..=b'z').contains(&word[0]);
    tokens(line).take(WORDS_SEEN - words_before).all(is_flag)
}

/// The first thing that memcached finds wrong with a line that is not in order.
#[cold]
fn diagnose(key: &[u8], line: &[u8], words_before: usize) -> Wrong {
    if !is_flags(line, words_before) {
        return Wrong::NoFlags;
    }
    if key.len() > KEY_BYTES_MAX {
        return Wrong::Flags(ErrorReply::BadLineFormat);
    }
    if tokens(line).count() + words_before > WORDS_MAX {
        return Wrong::Flags(ErrorReply::OptionsTooLong);
    }
    let mut sent = 0;
    // A wrong number is told only if no flag behind it is unknown or sent twice; the last one gives its name.
    let mut wrong = None;
    for word in tokens(line) {
        let letter = bit(word[0]);
        if sent & letter != 0 {
            return Wrong::Flags(ErrorReply::DuplicateFlag);
        }
        if KNOWN & letter == 0 {
            return Wrong::Flags(ErrorReply::InvalidFlag);
        }
        sent |= letter;
        let is_wrong = match word[0] {
            b'b' => MetaKey::base64(key).is_none(),
            letter => NUMBERED & bit(letter) != 0 && !is_number(letter, &word[1..]),
        };
        match word[0] {
            _ if !is_wrong => {}
            b'b' => wrong = Some(ErrorReply::KeyDecoding),
            b'J' => wrong = Some(ErrorReply::InvalidInitial),
            b'D' => wrong = Some(ErrorReply::InvalidMetaDelta),
            // memcached has no words of its own for wrong flags.
            b'F' => wrong = wrong.or(Some(ErrorReply::BadLineFormat)),
            _ => wrong = Some(ErrorReply::BadToken),
        }
    }
    Wrong::Flags(wrong.expect("a line that is not in order has something wrong with it"))
}
