//! The flags of meta commands: which there are, and what is wrong with them (protocol.txt, "Meta Commands").
//!
//! Must not know what a flag means.

use super::command::tokens;
use super::error_reply::ErrorReply;
use super::meta::{MetaKey, MetaRequest};
use super::number;
use crate::key::KEY_BYTES_MAX;

/// The most words of a meta command's line, its name included.
const WORDS_MAX: usize = 20;

/// The words of a line that memcached looks at before it counts them.
const WORDS_SEEN: usize = 23;

/// The flags that have no argument and do not change the key.
pub(super) const PLAIN: u64 = letters(b"kstcfhlvquxI");

/// The flags whose argument must be a number.
const NUMBERED: u64 = letters(b"TNRCEJDF");

/// The flags that come back, or that change what comes back behind them.
pub(super) const ECHOED: u64 = letters(b"kOstcflhTN");

/// Every flag that means something, and `P`, which is for proxies.
const KNOWN: u64 = letters(b"bkOqPLcCEfFhlstTNRuvIxMJD");

/// The bit of a letter. What is none has a bit that no letter has, or 0.
pub(super) const fn bit(letter: u8) -> u64 {
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
    let mut sent = 0;
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
        let is_new_and_known = KNOWN & letter & !sent != 0;
        sent |= letter;
        let argument_len = behind.iter().position(|&byte| byte == b' ').unwrap_or(behind.len());
        let (argument, behind) = behind.split_at(argument_len);
        if !is_new_and_known || (NUMBERED & letter != 0 && !is_number(*first, argument)) {
            return Err(diagnose(key, line, words_before));
        }
        rest = behind;
    }
    let key_as_sent = if sent & bit(b'b') != 0 { MetaKey::base64(key) } else { Some(MetaKey::plain(key)) };
    match key_as_sent {
        Some(key) if words <= WORDS_MAX => Ok(MetaRequest::of_checked(key, line, sent)),
        _ => Err(diagnose(key, line, words_before)),
    }
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
