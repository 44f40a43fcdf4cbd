//! What is sent most, read in one pass over its bytes: a get of one key, a set with plain numbers, `mg` and `ms` whose
//! flags have no arguments.
//!
//! Must not know anything that `parse` and `grammar` do not: they read all else, and would say the same of these lines.

use super::meta::MetaRequest;
use crate::key::KEY_BYTES_MAX;

/// Reads what follows `get `: the key and how many bytes it has with the line end.
#[inline]
pub(super) fn get(rest: &[u8]) -> Option<(&[u8], usize)> {
    let (key, behind) = split_key(rest)?;
    match behind {
        [b'\r', b'\n', ..] => Some((key, key.len() + 2)),
        [b'\n', ..] => Some((key, key.len() + 1)),
        _ => None,
    }
}

/// Reads what follows `mg `: the request and how many bytes it has with the line end.
#[inline]
pub(super) fn meta_get(rest: &[u8]) -> Option<(MetaRequest<'_>, usize)> {
    let (key, flags) = split_key(rest)?;
    let (request, behind) = split_flags(key, flags)?;
    let line_end = match behind {
        [b'\r', b'\n', ..] => 2,
        [b'\n', ..] => 1,
        _ => return None,
    };
    Some((request, rest.len() - behind.len() + line_end))
}

/// A set as [`set`] reads it.
#[derive(Debug)]
pub(super) struct PlainSet<'a> {
    pub(super) key: &'a [u8],
    pub(super) flags: u32,
    pub(super) exptime: i64,
    pub(super) value: &'a [u8],
    pub(super) quiet: bool,
    /// Bytes of it all.
    pub(super) len: usize,
}

/// Reads what follows `set `, if its whole data block is there and the item is within the limit.
#[inline]
pub(super) fn set(rest: &[u8], item_bytes_max: usize) -> Option<PlainSet<'_>> {
    let (key, behind) = split_key(rest)?;
    let (flags, behind) = split_number(behind)?;
    let (exptime, behind) = split_number(behind)?;
    let (value_len, behind) = split_number(behind)?;
    let (quiet, behind) = behind.strip_prefix(b" noreply").map_or((false, behind), |behind| (true, behind));
    let (value, behind) = split_block(behind.strip_prefix(b"\r\n")?, key, value_len, item_bytes_max)?;
    Some(PlainSet { key, flags, exptime: i64::from(exptime), value, quiet, len: rest.len() - behind.len() })
}

/// Reads what follows `ms `, under the same conditions: the request, its value and how many bytes it all has.
#[inline]
pub(super) fn meta_set(rest: &[u8], item_bytes_max: usize) -> Option<(MetaRequest<'_>, &[u8], usize)> {
    let (key, behind) = split_key(rest)?;
    let (value_len, flags) = split_number(behind)?;
    let (request, behind) = split_flags(key, flags)?;
    let (value, behind) = split_block(behind.strip_prefix(b"\r\n")?, key, value_len, item_bytes_max)?;
    Some((request, value, rest.len() - behind.len()))
}

/// Splits behind flags without arguments: the request that they make with a key.
#[inline]
fn split_flags<'a>(key: &'a [u8], flags: &'a [u8]) -> Option<(MetaRequest<'a>, &'a [u8])> {
    let mut request = MetaRequest::plain(key);
    let mut behind = flags;
    // A letter that is followed by another is one with an argument: the next turn finds no space.
    while let [b' ', letter, more @ ..] = behind {
        if !request.take_plain(*letter) {
            return None;
        }
        behind = more;
    }
    Some((request.with_line(&flags[..flags.len() - behind.len()]), behind))
}

/// Splits behind a space and a number of few digits.
#[inline]
fn split_number(line: &[u8]) -> Option<(u32, &[u8])> {
    /// So many that any number of them fits.
    const DIGITS_MAX: usize = 9;
    let rest = line.strip_prefix(b" ")?;
    let mut number = 0;
    let mut digits = 0;
    while let Some(digit) = rest.get(digits).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
        if digits == DIGITS_MAX {
            return None;
        }
        number = number * 10 + u32::from(digit);
        digits += 1;
    }
    if digits > 0 { Some((number, &rest[digits..])) } else { None }
}

/// Splits behind a data block and its line end.
#[inline]
fn split_block<'a>(rest: &'a [u8], key: &[u8], len: u32, item_bytes_max: usize) -> Option<(&'a [u8], &'a [u8])> {
    let len = len as usize;
    if key.len() + len > item_bytes_max {
        return None;
    }
    let (value, behind) = rest.split_at_checked(len)?;
    Some((value, behind.strip_prefix(b"\r\n")?))
}

/// Splits behind a key of legal length, eight bytes at a time: at the first byte that is no more than a space.
#[inline]
fn split_key(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    /// Each byte the first above the space.
    const ABOVE: u64 = u64::from_le_bytes([b' ' + 1; 8]);
    const HIGH_BITS: u64 = u64::from_le_bytes([0x80; 8]);
    let within = &rest[..rest.len().min(KEY_BYTES_MAX + 1)];
    let (chunks, tail) = within.as_chunks::<8>();
    let mut len = 0;
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk);
        // The high bit of each byte below; borrows spoil only bytes behind the first such one.
        let below = word.wrapping_sub(ABOVE) & !word & HIGH_BITS;
        if below != 0 {
            len += below.trailing_zeros() as usize / 8;
            return if len > 0 { rest.split_at_checked(len) } else { None };
        }
        len += 8;
    }
    len += tail.iter().position(|&byte| byte <= b' ')?;
    if len > 0 { rest.split_at_checked(len) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{LineScanner, TextLimits};

    const LIMITS: TextLimits = TextLimits { item_bytes_max: 1 << 20, get_line_bytes_max: 8 << 20 };

    #[track_caller]
    fn check(sent: &[u8]) -> bool {
        let framed = LineScanner::default().framed(sent, &LIMITS);
        assert_eq!(LineScanner::default().parse(sent, &LIMITS), framed, "{}", sent.escape_ascii());
        match sent {
            [b'g', b'e', b't', b' ', rest @ ..] => get(rest).is_some(),
            [b'm', b'g', b' ', rest @ ..] => meta_get(rest).is_some(),
            [b's', b'e', b't', b' ', rest @ ..] => set(rest, LIMITS.item_bytes_max).is_some(),
            [b'm', b's', b' ', rest @ ..] => meta_set(rest, LIMITS.item_bytes_max).is_some(),
            _ => false,
        }
    }

    #[test]
    fn plain_lines_are_read_as_the_grammar_reads_them() {
        let (longest, too_long) = ("k".repeat(250), "k".repeat(251));
        for (sent, is_plain) in [
            ("get k\r\n", true),
            ("get k\nget a", true),
            ("get k\r\r\n", false),
            ("get a\tb\r\n", false),
            ("get k \r\n", false),
            ("get  k\r\n", false),
            ("get k a\r\n", false),
            ("get \r\n", false),
            ("get k", false),
            ("gets k\r\n", false),
            (&format!("get {longest}\r\n"), true),
            (&format!("get {too_long}\r\n"), false),
            (&format!("get {too_long}\n"), false),
            ("mg k v\r\n", true),
            ("mg k v t\n", true),
            ("mg k k s t c f h l v q u x I\r\nmn\r\n", true),
            ("mg k v v\r\n", false),
            ("mg k v \r\n", false),
            ("mg k  v\r\n", false),
            ("mg k\r\n", true),
            ("mg k b\r\n", false),
            ("mg k z\r\n", false),
            ("mg k T5\r\n", false),
            ("mg k v\r", false),
            ("mg k v\rx\r\n", false),
            ("mg k v", false),
            (&format!("mg {longest} v\r\n"), true),
            (&format!("mg {too_long} v\r\n"), false),
            ("set k 0 0 1\r\nv\r\n", true),
            ("set k 4294967 999999999 1\r\nv\r\nget k\r\n", true),
            ("set k 0 0 0\r\n\r\n", true),
            ("set k 0 0 3 noreply\r\na\r\n\r\n", true),
            ("set k 0 0 1 noreply \r\nv\r\n", false),
            ("set k 0 0 1 noreplyx\r\nv\r\n", false),
            ("set k 0 0 1 5\r\nv\r\n", false),
            ("set k 0 0 1\nv\r\n", false),
            ("set k 0 0 1\r\nv\n", false),
            ("set k 0 0 1\r\nvv\r\n", false),
            ("set k 0 0 1\r\n", false),
            ("set k 0 0 2\r\nv\r\n", false),
            ("set k 1234567890 0 1\r\nv\r\n", false),
            ("set k -1 0 1\r\nv\r\n", false),
            ("set k 0 -1 1\r\nv\r\n", false),
            ("set k 0 0 999999999\r\nv\r\n", false),
            ("set k  0 0 1\r\nv\r\n", false),
            (&format!("set {longest} 0 0 1\r\nv\r\n"), true),
            (&format!("set {too_long} 0 0 1\r\nv\r\n"), false),
            ("ms k 1\r\nv\r\n", true),
            ("ms k 1 c q k\r\nv\r\nmn\r\n", true),
            ("ms k 1 c c\r\nv\r\n", false),
            ("ms k 1 T0\r\nv\r\n", false),
            ("ms k 1 b\r\nv\r\n", false),
            ("ms k 01 I x\r\nv\r\n", true),
            ("ms k S1\r\nv\r\n", false),
            ("ms k 1\r\nvv\r\n", false),
            ("ms k 1\r\n", false),
        ] {
            assert_eq!(check(sent.as_bytes()), is_plain, "{sent:?}");
        }
    }

    #[test]
    fn every_short_line_of_these_bytes_is_read_as_the_grammar_reads_it() {
        const BYTES: &[u8] = b" kvtqTb5\r\n";
        const LEN: u32 = 5;
        let mut plain = 0;
        for number in 0..BYTES.len().pow(LEN) {
            let tail = (0..LEN).map(|place| BYTES[number / BYTES.len().pow(place) % BYTES.len()]);
            for start in [&b"get "[..], b"mg ", b"mg k ", b"set k 1 5 ", b"ms k ", b"ms k 5 "] {
                let sent: Vec<u8> = start.iter().copied().chain(tail.clone()).collect();
                plain += usize::from(check(&sent));
            }
        }
        assert!(plain > 1000, "only {plain} of these lines are plain");
    }
}
