//! The grammar against memcached 1.6.45: what it called wrong must be called the same here, and what it read must be
//! read.
//!
//! The answers are in text_answers.txt. Must not know what a command does: answers that depend on items are not in it.

mod text_stream;

use memring_protocol::text::TextLimits;
use text_stream::Feed;

const ANSWERS: &str = include_str!("text_answers.txt");

const LIMITS: TextLimits = TextLimits { item_bytes_max: 1 << 20, get_line_bytes_max: 8 << 20 };

/// The first words of error lines.
const ERRORS: [&str; 6] =
    ["ERROR", "CLIENT_ERROR", "SERVER_ERROR", "BADCLASS", "MEMLIMIT_TOO_SMALL", "MEMLIMIT_ADJUST_FAILED"];

#[test]
fn every_line_is_called_wrong_or_read_as_memcached_does() {
    let mut rows = 0;
    for row in ANSWERS.lines().filter(|row| !row.starts_with('#')) {
        let (sent, answer) = row.split_once(" => ").expect("bytes and an answer");
        let sent = [&bytes_of(sent)[..], b"mn\r\n"].concat();
        let expected: Vec<&str> = if answer == "read" { Vec::new() } else { answer.split(" | ").collect() };
        let whole = Feed::of(LIMITS, [&sent[..]]);
        let pieces = Feed::of(LIMITS, sent.chunks(1));
        assert_eq!(errors(&whole), expected, "{row}");
        assert_eq!(whole.seen, pieces.seen, "{row}");
        assert!(whole.seen.ends_with("mn\n") && whole.waiting().is_empty(), "{row}: {}", whole.seen);
        rows += 1;
    }
    assert!(rows > 900, "only {rows} answers");
}

/// The errors that a client is told.
fn errors(feed: &Feed) -> Vec<&str> {
    let is_told = |line: &&str| {
        let word = line.split(' ').next().expect("a line has a word");
        ERRORS.contains(&word) && !line.ends_with(" (quiet)")
    };
    feed.seen.lines().filter(is_told).collect()
}

/// The bytes of a row's left side.
fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some((repeated, behind)) = rest.strip_prefix('<').and_then(|run| run.split_once('>')) {
            let (byte, count) = repeated.split_once('*').expect("a byte and a count");
            bytes.extend_from_slice(&byte.as_bytes().repeat(count.parse().expect("a count")));
            rest = behind;
        } else if let Some(escape) = rest.strip_prefix('\\') {
            let (byte, len) = match escape.as_bytes()[0] {
                b'r' => (b'\r', 1),
                b'n' => (b'\n', 1),
                b't' => (b'\t', 1),
                b'x' => (u8::from_str_radix(&escape[1..3], 16).expect("two digits"), 3),
                other => (other, 1),
            };
            bytes.push(byte);
            rest = &escape[len..];
        } else {
            bytes.push(first as u8);
            rest = &rest[1..];
        }
    }
    bytes
}
