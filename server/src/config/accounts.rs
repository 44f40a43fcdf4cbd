//! Who may log in: the file of `--auth-file`, with memcached's limits.
//!
//! Must not know connections. Passwords are never shown, nor is a line that could be one.

use std::fmt;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Read;

/// The most accounts, as in memcached; it drops what is behind them, here it is an error.
const ACCOUNTS_MAX: usize = 8;

/// The longest line without its end, as in memcached; it cuts a longer one, here it is an error.
const LINE_BYTES_MAX: usize = 255;

/// The largest file: far above eight lines.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Users with their passwords.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Accounts(Vec<Account>);

#[derive(Clone, PartialEq, Eq)]
struct Account {
    user: Secret,
    password: Secret,
}

/// Bytes that are compared without telling how many of them were right: padded, so that the time follows only the
/// length of what they are compared with.
#[derive(Clone, PartialEq, Eq)]
struct Secret {
    padded: [u8; LINE_BYTES_MAX],
    len: usize,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} accounts", self.0.len())
    }
}

impl Accounts {
    /// Reads a file of `user:password` lines. An error says which line is wrong, and not what it says.
    pub fn read(path: &str) -> Result<Self, String> {
        // Opening a pipe would wait for somebody to write to it, and hold the node up at a SIGHUP.
        if !fs::metadata(path).map_err(|error| error.to_string())?.is_file() {
            return Err("not a regular file".to_owned());
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|error| error.to_string())?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("more than {FILE_BYTES_MAX} bytes"));
        }
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        if bytes.is_empty() {
            return Err("empty: expected lines of user:password".to_owned());
        }
        let mut accounts = Vec::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let number = index + 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.len() > LINE_BYTES_MAX {
                return Err(format!("line {number}: longer than {LINE_BYTES_MAX} bytes"));
            }
            let colon = line.iter().position(|&byte| byte == b':').filter(|_| !line.contains(&0));
            let Some(colon) = colon else { return Err(format!("line {number}: expected user:password")) };
            accounts.push(Account { user: Secret::new(&line[..colon]), password: Secret::new(&line[colon + 1..]) });
        }
        if accounts.len() > ACCOUNTS_MAX {
            return Err(format!("{} users are more than {ACCOUNTS_MAX}", accounts.len()));
        }
        Ok(Self(accounts))
    }

    /// Whether there is such an account. How long it takes says nothing about which byte was wrong.
    pub fn hold(&self, user: &[u8], password: &[u8]) -> bool {
        self.0.iter().fold(false, |held, account| held | (account.user.is(user) & account.password.is(password)))
    }
}

impl Secret {
    fn new(bytes: &[u8]) -> Self {
        let mut padded = [0; LINE_BYTES_MAX];
        padded[..bytes.len()].copy_from_slice(bytes);
        Self { padded, len: bytes.len() }
    }

    fn is(&self, other: &[u8]) -> bool {
        let differing = self.padded.iter().zip(other).fold(0, |bits, (own, other)| bits | (own ^ other));
        (black_box(differing) == 0) & (self.len == other.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_lines_of_user_and_password() {
        let long = |bytes: usize| ["u:", &"p".repeat(bytes - 2)].concat();
        let users = |count: usize| "u:p\n".repeat(count);
        for (text, error) in [
            ("u:p", None),
            ("u:p\n", None),
            ("u:p\r\nv:q\r\n", None),
            ("u:p:q r\n:\n", None),
            (&long(255), None),
            (&users(8), None),
            ("", Some("empty: expected lines of user:password")),
            ("\n", Some("empty: expected lines of user:password")),
            ("u\n", Some("line 1: expected user:password")),
            ("u:p\n\n", Some("line 2: expected user:password")),
            ("u:p\n# v:q\nw\n", Some("line 3: expected user:password")),
            ("u:\0\n", Some("line 1: expected user:password")),
            (&long(256), Some("line 1: longer than 255 bytes")),
            (&users(9), Some("9 users are more than 8")),
        ] {
            assert_eq!(Accounts::parse(text.as_bytes()).err().as_deref(), error, "{text:?}");
        }
    }

    #[test]
    fn an_account_is_a_user_with_the_whole_password() {
        let accounts = Accounts::parse(b"user:pass word\nbob:x\nempty:\n").expect("legal");
        for (user, password, held) in [
            ("user", "pass word", true),
            ("bob", "x", true),
            ("empty", "", true),
            ("user", "x", false),
            ("bob", "pass word", false),
            ("user", "pass", false),
            ("user", "pass word ", false),
            ("user", "pass word\0", false),
            ("use", "pass word", false),
            ("", "", false),
            ("user", &"x".repeat(16_384), false),
        ] {
            assert_eq!(accounts.hold(user.as_bytes(), password.as_bytes()), held, "{user} {password:?}");
        }
        assert_eq!(format!("{accounts:?}"), "3 accounts");
    }
}
