//! Keys on the command line.
//!
//! Must not know what is done with them.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, value_parser};
use memring_client::raw::is_sendable_key;

use crate::outcome::Failure;

/// The most keys of one command: what one request asks for.
const KEYS_MAX: usize = 10_000;

/// The name of the argument.
pub(crate) const KEY: &str = "key";

/// The argument `KEY`.
pub(crate) fn one() -> Arg {
    Arg::new(KEY)
        .value_name("KEY")
        .required(true)
        .value_parser(value_parser!(OsString))
        .help("1 to 250 bytes without spaces and control characters")
}

/// The arguments `KEY…`, at least one.
pub(crate) fn several() -> Arg {
    one().num_args(1..)
}

/// The keys that were given, in their order.
pub(crate) fn of(matches: &ArgMatches) -> Result<Vec<&[u8]>, Failure> {
    let keys: Vec<&[u8]> =
        matches.get_many::<OsString>(KEY).into_iter().flatten().map(|key| key.as_encoded_bytes()).collect();
    if let Some(wrong) = keys.iter().find(|key| !is_sendable_key(key)) {
        let shown = escaped(wrong);
        return Err(Failure::Usage(format!(
            "KEY {shown:.60}: expected 1 to 250 bytes without spaces and control characters"
        )));
    }
    if keys.len() > KEYS_MAX {
        return Err(Failure::Usage(format!("{} keys are more than {KEYS_MAX}", keys.len())));
    }
    Ok(keys)
}

/// Bytes for people: text as it is, what is unprintable or no text escaped.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    bytes.utf8_chunks().fold(String::new(), |mut shown, chunk| {
        for letter in chunk.valid().chars() {
            if letter.is_control() || letter == '\\' {
                shown.extend(letter.escape_default());
            } else {
                shown.push(letter);
            }
        }
        shown + &chunk.invalid().escape_ascii().to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unprintable_is_escaped() {
        for (bytes, shown) in [
            ("grün".as_bytes(), "grün"),
            (b"a b", "a b"),
            (b"a\r\n\0", "a\\r\\n\\u{0}"),
            (b"\\", "\\\\"),
            (b"a\xffb", "a\\xffb"),
        ] {
            assert_eq!(escaped(bytes), shown);
        }
    }
}
