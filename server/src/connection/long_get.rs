//! A get of more keys than one request may have, taken apart.
//!
//! The answer to a get line of 8 MiB can be a million times as long as the line. So a long one is run as many short ones,
//! each started when the client has read enough of what came before. Must not know how replies are put together again
//! (`replies`).

use bytes::{Buf, Bytes};
use memring_protocol::text::{Command, Step, TextLimits, parse};

/// The keys of a get or gat that have not been asked for.
#[derive(Debug)]
pub(super) struct LongGet {
    /// The command and what stands before its keys.
    name: Bytes,
    /// Key after key, with spaces between them.
    keys: Bytes,
}

/// A short get.
pub(super) struct Batch {
    /// A whole command line.
    line: Vec<u8>,
    /// Bytes of the long get that it covers.
    covers: usize,
    /// Whether nothing is left behind it.
    pub(super) is_last: bool,
}

impl LongGet {
    /// Takes a command line that has been parsed, and of which the first `words_before` words are no keys.
    pub(super) fn new(line: Bytes, words_before: usize) -> Self {
        let end = line.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r' | b' ')).map_or(0, |last| last + 1);
        let mut start = 0;
        for _ in 0..words_before {
            start += word_len(&line[start..end]);
        }
        Self { name: line.slice(..start), keys: line.slice(start..end) }
    }

    /// The next up to `keys_max` keys.
    pub(super) fn next_batch(&self, keys_max: usize) -> Batch {
        let mut covers = 0;
        for _ in 0..keys_max.max(1) {
            covers += word_len(&self.keys[covers..]);
        }
        let line = [&self.name, &self.keys[..covers], b"\r\n"].concat();
        Batch { line, covers, is_last: covers == self.keys.len() }
    }

    /// Notes that a batch was asked for.
    pub(super) fn asked(&mut self, batch: &Batch) {
        self.keys.advance(batch.covers);
    }
}

impl Batch {
    /// The batch as a command.
    pub(super) fn command(&self, limits: &TextLimits) -> Option<Command<'_>> {
        match parse(&self.line, limits) {
            Step::Command { command, .. } => Some(command),
            // Not to be reached: the keys were part of a good line.
            _ => None,
        }
    }
}

/// Bytes of the first word, with the spaces before it.
fn word_len(line: &[u8]) -> usize {
    let spaces = line.iter().take_while(|&&byte| byte == b' ').count();
    spaces + line[spaces..].iter().take_while(|&&byte| byte != b' ').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TextLimits = TextLimits { item_bytes_max: 1024, get_line_bytes_max: 8 << 20 };

    #[test]
    fn a_long_get_is_asked_in_batches() {
        for (line, words_before, keys_max, batches) in [
            ("get a b c\r\n", 1, 2, &["get a b", "get c"][..]),
            ("gets  a   b c d  \n", 1, 2, &["gets a b", "gets c d"]),
            ("gat 10 a b\r\n", 2, 1, &["gat a", "gat b"]),
            ("gats -1 a b c\r\n", 2, 2, &["gats a b", "gats c"]),
            ("get a\r\n", 1, 1, &["get a"]),
            ("get get gets\r\n", 1, 1, &["get get", "get gets"]),
            ("get a b c\r\n", 1, 100, &["get a b c"]),
        ] {
            let mut long = LongGet::new(Bytes::from_static(line.as_bytes()), words_before);
            for (number, expected) in batches.iter().enumerate() {
                let batch = long.next_batch(keys_max);
                let (name, keys) = match batch.command(&LIMITS) {
                    Some(Command::Get { keys, with_cas }) => (if with_cas { "gets" } else { "get" }, keys),
                    Some(Command::GetAndTouch { keys, with_cas, .. }) => (if with_cas { "gats" } else { "gat" }, keys),
                    other => panic!("{line:?}: {other:?}"),
                };
                let keys: Vec<_> = keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
                assert_eq!(format!("{name} {}", keys.join(" ")), *expected, "{line:?}");
                assert_eq!(batch.is_last, number + 1 == batches.len(), "{line:?}");
                long.asked(&batch);
            }
        }
    }
}
