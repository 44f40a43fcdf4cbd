//! The login that comes first on a connection where memcached is started with `-Y`: a `set` whose data is
//! `user password`.
//!
//! Answers what memcached 1.6.45 answers to each login that arrives alone, its oddities included: the line's key, flags,
//! exptime and later words are never looked at, `noreply` is one of those, and the byte before the line's LF is dropped
//! whatever it is. Not copied: of several refusals in one packet 1.6.45 sends only some. Must not know who may log in.

use super::error_reply::ErrorReply;
use super::number;
use super::parse::{LINE_BYTES_MAX, UNFINISHED_LINE_BYTES_MAX};

/// The longest `user password`.
const LOGIN_BYTES_MAX: u32 = 16_384;

/// Bytes before anything is looked at.
const BYTES_MIN: usize = 3;

/// The shortest line, its LF not counted: a shorter one closes the connection.
const LINE_BYTES_MIN: usize = 6;

/// The most digits of the data's length.
const LENGTH_DIGITS_MAX: usize = 11;

/// What the front of the buffer of a client that has not logged in holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoginStep<'a> {
    /// Need more bytes.
    Incomplete {
        /// At least this many in the buffer, counted from its front; more than there are now, and at most the line,
        /// 16,384 and 2.
        needed: usize,
    },
    /// Not a login, or a malformed one. Another try is allowed.
    Refused {
        /// Bytes of the buffer that were it.
        consumed: usize,
        /// What to answer.
        error: ErrorReply,
    },
    /// A login. The answer is `STORED`, or [`ErrorReply::AuthenticationFailure`] and another try.
    Attempt {
        /// Bytes of the buffer that were it.
        consumed: usize,
        /// Up to the first space.
        user: &'a [u8],
        /// All behind it, spaces too.
        password: &'a [u8],
    },
    /// Close without a word.
    Close,
}

/// Reads one login from the front of `buffer`. One pass over a line of at most 16 KiB, each time it is called.
pub fn parse_login(buffer: &[u8]) -> LoginStep<'_> {
    if buffer.len() < BYTES_MIN {
        return LoginStep::Incomplete { needed: BYTES_MIN };
    }
    let Some(line_len) = memchr::memchr(b'\n', buffer) else {
        if buffer.len() > UNFINISHED_LINE_BYTES_MAX {
            return LoginStep::Close;
        }
        return LoginStep::Incomplete { needed: buffer.len() + 1 };
    };
    if !(LINE_BYTES_MIN..LINE_BYTES_MAX).contains(&line_len) {
        return LoginStep::Close;
    }
    let data_at = line_len + 1;
    match data_len(&buffer[..line_len]) {
        None => LoginStep::Refused { consumed: data_at, error: ErrorReply::Unauthenticated },
        Some(len) if len > LOGIN_BYTES_MAX => {
            LoginStep::Refused { consumed: data_at, error: ErrorReply::AuthTokenTooLong }
        }
        Some(len) => data(buffer, data_at, len as usize),
    }
}

/// The `user password` of `len` bytes that begins at `data_at`, and its CR LF.
fn data(buffer: &[u8], data_at: usize, len: usize) -> LoginStep<'_> {
    let consumed = data_at + len + 2;
    let Some(data) = buffer.get(data_at..consumed) else {
        return LoginStep::Incomplete { needed: consumed };
    };
    let Some(token) = data.strip_suffix(b"\r\n") else {
        return LoginStep::Refused { consumed, error: ErrorReply::BadTermination };
    };
    match memchr::memchr(b' ', token) {
        Some(space) => LoginStep::Attempt { consumed, user: &token[..space], password: &token[space + 1..] },
        None => LoginStep::Refused { consumed, error: ErrorReply::BadAuthToken },
    }
}

/// The length in a line without its LF: its fifth word, if the line begins with `set`, not even as a word of its own.
fn data_len(line: &[u8]) -> Option<u32> {
    let line = &line[..line.len() - 1];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.starts_with(b"set") {
        return None;
    }
    let word = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).nth(4)?;
    if word.len() > LENGTH_DIGITS_MAX {
        return None;
    }
    u32::try_from(number::digits(word)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_judged_as_memcached_does() {
        let refused = |consumed, error| LoginStep::Refused { consumed, error };
        let unknown = |consumed| refused(consumed, ErrorReply::Unauthenticated);
        let attempt = |consumed, user: &'static str, password: &'static str| LoginStep::Attempt {
            consumed,
            user: user.as_bytes(),
            password: password.as_bytes(),
        };
        let needs = |needed| LoginStep::Incomplete { needed };
        for (buffer, expected) in [
            ("set a 0 0 5\r\nbob x\r\nget a\r\n", attempt(20, "bob", "x")),
            ("set a 0 0 5 noreply\r\nbob x\r\n", attempt(28, "bob", "x")),
            ("set a 0 0 9\r\nbob x y z\r\n", attempt(24, "bob", "x y z")),
            ("set a 0 0 1\r\n \r\n", attempt(16, "", "")),
            ("settle a b c 05 6 7 8\r\nbob x\r\n", attempt(30, "bob", "x")),
            ("set  a  0  0  5  \r\nbob x\r\n", attempt(26, "bob", "x")),
            ("set\t a 0 0 5\r\nbob x\r\n", attempt(21, "bob", "x")),
            // The byte before the LF is no part of the line.
            ("set a 0 0 50\nbob x\r\n", attempt(20, "bob", "x")),
            ("set a 0 0 5\r\r\nbob x\r\n", attempt(21, "bob", "x")),
            ("set a 0 0 5\nbob x\r\n", unknown(12)),
            (" set a 0 0 5\r\nbob x\r\n", unknown(14)),
            ("set a 0 0\r\nbob x\r\n", unknown(11)),
            ("set a 0 0 +5\r\nbob x\r\n", unknown(14)),
            ("set a 0 0 -5\r\nbob x\r\n", unknown(14)),
            ("set a 0 0 5x\r\nbob x\r\n", unknown(14)),
            ("set a 0 0 4294967296\r\n", unknown(22)),
            ("set a 0 0 000000000005\r\n", unknown(24)),
            ("get a\r\n", unknown(7)),
            ("version\r\n", unknown(9)),
            ("GET / HTTP/1.1\r\n\r\n", unknown(16)),
            ("       \r\n", unknown(9)),
            ("set a 0 0 16385\r\n", refused(17, ErrorReply::AuthTokenTooLong)),
            ("set a 0 0 5\r\nbob xyz", refused(20, ErrorReply::BadTermination)),
            ("set a 0 0 4\r\nbobx\r\n", refused(19, ErrorReply::BadAuthToken)),
            ("set a 0 0 0\r\n\r\n", refused(15, ErrorReply::BadAuthToken)),
            ("", needs(3)),
            ("\r\n", needs(3)),
            ("a\n", needs(3)),
            ("set a 0 0 5\r", needs(13)),
            ("set a 0 0 5\r\n", needs(20)),
            ("set a 0 0 5\r\nbob x\r", needs(20)),
            ("ab\n", LoginStep::Close),
            ("mn\r\n", LoginStep::Close),
            ("quit\r\n", LoginStep::Close),
            ("get a\n", LoginStep::Close),
            ("quitt\r\n", unknown(7)),
        ] {
            assert_eq!(parse_login(buffer.as_bytes()), expected, "{buffer:?}");
            // It makes no difference how it arrives.
            let consumed = match expected {
                LoginStep::Refused { consumed, .. } | LoginStep::Attempt { consumed, .. } => consumed,
                LoginStep::Incomplete { .. } | LoginStep::Close => buffer.len(),
            };
            for arrived in 0..consumed {
                let step = parse_login(&buffer.as_bytes()[..arrived]);
                let is_patient = matches!(step, LoginStep::Incomplete { needed } if needed > arrived);
                assert!(is_patient || step == expected, "{buffer:?} up to {arrived}: {step:?}");
            }
        }
    }

    #[test]
    fn a_line_without_an_end_is_waited_for_up_to_a_limit() {
        let junk = |count: usize, end: &str| [&"get ".repeat(count / 4), end].concat().into_bytes();
        assert_eq!(parse_login(&junk(2048, "")), LoginStep::Incomplete { needed: 2049 });
        assert_eq!(parse_login(&junk(2048, "x")), LoginStep::Close);
        let refused = |consumed| LoginStep::Refused { consumed, error: ErrorReply::Unauthenticated };
        assert_eq!(parse_login(&junk(4096, "\r\n")), refused(4098));
        assert_eq!(parse_login(&junk(16_384, "\r\n")), LoginStep::Close);
    }
}
