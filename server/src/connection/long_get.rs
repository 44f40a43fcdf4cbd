//! A get of more keys than one request may have, taken apart.
//!
//! The answer to a get line of 8 MiB can be a million times as long as the line. So a long one is run as many short ones,
//! each started when the client has read enough of what came before. Must not know how replies are put together again
//! (`replies`).

use bytes::{Buf, BytesMut};
use memring_protocol::text::{Command, Step, TextLimits, parse};

/// The keys of a get that have not been asked for.
#[derive(Debug)]
pub(super) struct LongGet {
    /// Key after key, with spaces between them.
    keys: BytesMut,
    with_cas: bool,
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
    /// Takes a command line that has been parsed as a get or gets.
    pub(super) fn new(mut line: BytesMut, with_cas: bool) -> Self {
        while line.last().is_some_and(|&byte| matches!(byte, b'\n' | b'\r' | b' ')) {
            line.truncate(line.len() - 1);
        }
        skip(&mut line, |byte| byte == b' ');
        skip(&mut line, |byte| byte != b' ');
        skip(&mut line, |byte| byte == b' ');
        Self { keys: line, with_cas }
    }

    /// The next up to `keys_max` keys.
    pub(super) fn next_batch(&self, keys_max: usize) -> Batch {
        let mut covers = 0;
        for _ in 0..keys_max.max(1) {
            let rest = &self.keys[covers..];
            let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
            let key = rest[spaces..].iter().take_while(|&&byte| byte != b' ').count();
            covers += spaces + key;
        }
        let name: &[u8] = if self.with_cas { b"gets " } else { b"get " };
        let line = [name, &self.keys[..covers], b"\r\n"].concat();
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

fn skip(line: &mut BytesMut, what: impl Fn(u8) -> bool) {
    let count = line.iter().take_while(|&&byte| what(byte)).count();
    line.advance(count);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: TextLimits = TextLimits { item_bytes_max: 1024, get_line_bytes_max: 8 << 20 };

    #[test]
    fn a_long_get_is_asked_in_batches() {
        for (line, keys_max, batches) in [
            ("get a b c\r\n", 2, &["a b", "c"][..]),
            ("  gets  a   b c d  \n", 2, &["a b", "c d"]),
            ("get a\r\n", 1, &["a"]),
            ("get get gets\r\n", 1, &["get", "gets"]),
            ("get a b c\r\n", 100, &["a b c"]),
        ] {
            let mut long = LongGet::new(BytesMut::from(line), line.contains("gets  "));
            for (number, expected) in batches.iter().enumerate() {
                let batch = long.next_batch(keys_max);
                let Some(Command::Get { keys, with_cas }) = batch.command(&LIMITS) else { panic!("{line:?}: no get") };
                let keys: Vec<_> = keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
                assert_eq!(keys.join(" "), *expected, "{line:?}");
                assert_eq!(with_cas, long.with_cas);
                assert_eq!(batch.is_last, number + 1 == batches.len(), "{line:?}");
                long.asked(&batch);
            }
        }
    }
}
