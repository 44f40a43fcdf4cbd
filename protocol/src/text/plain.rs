//! What is sent most, read in one pass over its bytes: a get of one key, and an `mg` whose flags have no arguments.
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
    let mut request = MetaRequest::plain(key);
    let mut behind = flags;
    // A letter that is followed by another is one with an argument: the next turn finds no space.
    while let [b' ', letter, more @ ..] = behind {
        if !request.take_plain(*letter) {
            return None;
        }
        behind = more;
    }
    let line_end = match behind {
        [b'\r', b'\n', ..] => 2,
        [b'\n', ..] => 1,
        _ => return None,
    };
    let flags = &flags[..flags.len() - behind.len()];
    Some((request.with_line(flags), key.len() + flags.len() + line_end))
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
            for start in [&b"get "[..], b"mg ", b"mg k "] {
                let sent: Vec<u8> = start.iter().copied().chain(tail.clone()).collect();
                plain += usize::from(check(&sent));
            }
        }
        assert!(plain > 1000, "only {plain} of these lines are plain");
    }
}
