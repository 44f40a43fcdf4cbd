//! Numbers as the text protocol writes them: decimal only, no blanks, no trailing letters.
//!
//! Must not know which argument is which beyond the three kinds of number there are.

/// The largest `<bytes>` of a data block: a signed 32-bit number that leaves room for the CR LF.
pub(super) const BLOCK_BYTES_MAX: u64 = 2_147_483_645;

/// Digits only, below 2^64. Leading zeros are fine: "01" is 1.
pub(super) fn digits(token: &[u8]) -> Option<u64> {
    if token.is_empty() {
        return None;
    }
    token.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// An unsigned 64-bit number with an optional plus sign: flags, cas tokens and deltas.
pub(super) fn unsigned(token: &[u8]) -> Option<u64> {
    digits(token.strip_prefix(b"+").unwrap_or(token))
}

/// An exptime: a signed number. memcached keeps 32 bits of it, and whatever does not fit acts as past; so it becomes
/// -1 here, where every later reader sees "expired at once". Outside 64 bits it is not a number.
pub(super) fn exptime(token: &[u8]) -> Option<i64> {
    let number = match token.strip_prefix(b"-") {
        Some(magnitude) => 0i64.checked_sub_unsigned(digits(magnitude)?)?,
        None => i64::try_from(unsigned(token)?).ok()?,
    };
    Some(i32::try_from(number).map_or(-1, i64::from))
}

/// The exptime of commands that are strict about it: touch, gat, flush_all and meta flags. A signed 32-bit number
/// without a plus sign.
pub(super) fn strict_exptime(token: &[u8]) -> Option<i64> {
    let number = match token.strip_prefix(b"-") {
        Some(magnitude) => 0i64.checked_sub_unsigned(digits(magnitude)?)?,
        None => i64::try_from(digits(token)?).ok()?,
    };
    i32::try_from(number).ok().map(i64::from)
}

/// `<bytes>`: digits only, at most [`BLOCK_BYTES_MAX`].
pub(super) fn block_len(token: &[u8]) -> Option<usize> {
    let number = digits(token).filter(|&number| number <= BLOCK_BYTES_MAX)?;
    usize::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_number_accepts_what_memcached_accepts() {
        for (token, unsigned_value, exptime_value, block_value) in [
            ("0", Some(0), Some(0), Some(0)),
            ("01", Some(1), Some(1), Some(1)),
            ("+5", Some(5), Some(5), None),
            ("-0", None, Some(0), None),
            ("-1", None, Some(-1), None),
            ("", None, None, None),
            ("+", None, None, None),
            ("-", None, None, None),
            ("+-5", None, None, None),
            ("0x10", None, None, None),
            ("12abc", None, None, None),
            ("1.5", None, None, None),
            ("1\t", None, None, None),
            ("2147483645", Some(2_147_483_645), Some(2_147_483_645), Some(2_147_483_645)),
            ("2147483646", Some(2_147_483_646), Some(2_147_483_646), None),
            ("2147483647", Some(2_147_483_647), Some(2_147_483_647), None),
            ("2147483648", Some(2_147_483_648), Some(-1), None),
            ("-2147483648", None, Some(-2_147_483_648), None),
            ("-2147483649", None, Some(-1), None),
            ("4294967396", Some(4_294_967_396), Some(-1), None),
            ("9223372036854775807", Some(9_223_372_036_854_775_807), Some(-1), None),
            ("9223372036854775808", Some(9_223_372_036_854_775_808), None, None),
            ("-9223372036854775808", None, Some(-1), None),
            ("-9223372036854775809", None, None, None),
            ("18446744073709551615", Some(u64::MAX), None, None),
            ("18446744073709551616", None, None, None),
        ] {
            assert_eq!(unsigned(token.as_bytes()), unsigned_value, "unsigned {token:?}");
            assert_eq!(exptime(token.as_bytes()), exptime_value, "exptime {token:?}");
            assert_eq!(block_len(token.as_bytes()), block_value, "bytes {token:?}");
        }
    }
}
