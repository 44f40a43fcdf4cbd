//! The keys and values that are written: a key's bytes are a function of its number, a value's length of a draw.
//!
//! Must not know who writes them, nor where to.

use crate::chance::{mix, unit};

/// Every key is so long: what `prefix:kind:number` of a typical application comes to.
pub(crate) const KEY_BYTES: usize = 30;

/// Lengths of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sizes {
    /// All of so many bytes.
    Fixed(usize),
    /// Log-uniform: as many values between 100 and 1000 bytes as between 1000 and 10,000.
    LogUniform {
        /// The shortest, in bytes.
        least: usize,
        /// The longest, in bytes.
        most: usize,
    },
}

impl Sizes {
    /// The length, in bytes, that goes with a number: of a key, so that each keeps its own, or of a draw.
    pub(crate) fn of(self, number: u64) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::LogUniform { least, most } => {
                // Mixed once more, so that the length tells nothing of what else is derived from the number.
                let share = unit(mix(number ^ 0x5157_4553));
                (least as f64 * (most as f64 / least as f64).powf(share)) as usize
            }
        }
    }

    /// The longest, in bytes.
    pub(crate) fn most(self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::LogUniform { most, .. } => most,
        }
    }
}

/// Appends key `number`.
pub(crate) fn put_key(out: &mut Vec<u8>, number: u64) {
    let mut key = *b"side-by-side:00000000000000000";
    put_digits(&mut key, number);
    out.extend_from_slice(&key);
}

/// The number of a key, if it is one of these.
pub(crate) fn key_number(key: &[u8]) -> Option<u64> {
    let digits = key.strip_prefix(b"side-by-side:").filter(|_| key.len() == KEY_BYTES)?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Appends a number. Not by `write!`, which takes longer than a server takes to store a small value.
pub(crate) fn put_decimal(out: &mut Vec<u8>, number: u64) {
    let mut digits = [b'0'; 20];
    let first = put_digits(&mut digits, number).min(digits.len() - 1);
    out.extend_from_slice(&digits[first..]);
}

/// Writes a number to the end of `digits` and gives where it begins; zero has no digit.
fn put_digits(digits: &mut [u8], number: u64) -> usize {
    let (mut rest, mut at) = (number, digits.len());
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::{KEY_BYTES, Sizes, key_number, put_decimal, put_key};

    #[test]
    fn a_key_is_thirty_bytes_and_ends_in_its_number() {
        for (number, expected) in [(0, "side-by-side:00000000000000000"), (4_000_017, "side-by-side:00000000004000017")]
        {
            let mut key = Vec::new();
            put_key(&mut key, number);
            assert_eq!(String::from_utf8_lossy(&key), expected);
            assert_eq!(key.len(), KEY_BYTES);
            assert_eq!(key_number(&key), Some(number));
        }
    }

    #[test]
    fn what_is_not_such_a_key_has_no_number() {
        for key in ["side-by-side:7", "side-by-side:0000000000000000x", "another-one!:00000000000000007"] {
            assert_eq!(key_number(key.as_bytes()), None, "{key}");
        }
    }

    #[test]
    fn log_uniform_lengths_are_as_many_below_1000_bytes_as_above() {
        let sizes = Sizes::LogUniform { least: 100, most: 10_000 };
        let lengths: Vec<usize> = (0..100_000).map(|number| sizes.of(number)).collect();
        let short = lengths.iter().filter(|length| **length < 1000).count();
        assert!((49_000..51_000).contains(&short), "{short} of 100000");
        assert!(lengths.iter().all(|length| (100..=10_000).contains(length)));
        assert_eq!(sizes.of(7), lengths[7]);
    }

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        for number in [0, 7, 10, 10_240, u64::MAX] {
            let mut written = Vec::new();
            put_decimal(&mut written, number);
            assert_eq!(written, number.to_string().as_bytes());
        }
    }
}
