//! Numbers as the text protocol writes them: decimal only, and each argument as strict about its form as memcached is.
//!
//! Must not know which argument is of which kind.

/// The largest `<bytes>` of a data block: a signed 32-bit number that leaves room for the CR LF.
const BLOCK_BYTES_MAX: i32 = 2_147_483_645;

/// The longest strict 32-bit number, in bytes; leading zeros count.
const STRICT_32_BYTES_MAX: usize = 11;

/// The longest strict 64-bit number, in bytes; leading zeros count.
const STRICT_64_BYTES_MAX: usize = 22;

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

/// Deltas, cas tokens and numbers of meta flags: digits only.
pub(super) fn strict_u64(token: &[u8]) -> Option<u64> {
    if token.len() > STRICT_64_BYTES_MAX { None } else { digits(token) }
}

/// `F`, and numbers of the rare commands: digits only.
pub(super) fn strict_u32(token: &[u8]) -> Option<u32> {
    if token.len() > STRICT_32_BYTES_MAX { None } else { u32::try_from(digits(token)?).ok() }
}

/// `<bytes>`, and the exptimes that are not in a storage line: digits, perhaps behind a minus. A minus alone is 0.
pub(super) fn strict_i32(token: &[u8]) -> Option<i32> {
    if token.len() > STRICT_32_BYTES_MAX {
        return None;
    }
    match token.strip_prefix(b"-") {
        Some([]) => Some(0),
        Some(magnitude) => i32::try_from(0i64.checked_sub_unsigned(digits(magnitude)?)?).ok(),
        None => i32::try_from(digits(token)?).ok(),
    }
}

/// The flags of a storage line, of which 32 bits are kept.
pub(super) fn flags(token: &[u8]) -> Option<u32> {
    let (is_negative, magnitude) = lenient(token)?;
    // Wraps below 0 as strtoul does; what looks negative even then is refused.
    let number = if is_negative { magnitude.wrapping_neg() } else { magnitude };
    (!is_negative || number <= i64::MAX as u64).then_some(number as u32)
}

/// The exptime of a storage line, of which 32 bits are kept: 2^31 acts as past, and 2^32 + 5 as 5.
pub(super) fn exptime(token: &[u8]) -> Option<i64> {
    let number = match lenient(token)? {
        (true, magnitude) => 0i64.checked_sub_unsigned(magnitude)?,
        (false, magnitude) => i64::try_from(magnitude).ok()?,
    };
    Some(i64::from(number as i32))
}

/// `<bytes>`: at most [`BLOCK_BYTES_MAX`].
pub(super) fn block_len(token: &[u8]) -> Option<usize> {
    let number = strict_i32(token).filter(|&number| number <= BLOCK_BYTES_MAX)?;
    usize::try_from(number).ok()
}

/// As C's strtoul and strtol read: blanks, a sign, digits; then the end, or a blank and whatever follows it. The sign
/// and the magnitude. Spaces part words, so the blanks here are the other ones.
fn lenient(token: &[u8]) -> Option<(bool, u64)> {
    let is_blank = |byte: u8| matches!(byte, b'\t' | 0x0b | 0x0c | b'\r');
    let start = token.iter().position(|&byte| !is_blank(byte))?;
    let (is_negative, unsigned) = match &token[start..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let end = unsigned.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(unsigned.len());
    let is_ended = unsigned.get(end).is_none_or(|&byte| byte == 0 || is_blank(byte));
    if is_ended { Some((is_negative, digits(&unsigned[..end])?)) } else { None }
}

/// A number with a fraction, of at most 31 bytes, as C's strtod reads it but for its hexadecimal form.
pub(super) fn fraction(token: &[u8]) -> Option<f64> {
    const BYTES_MAX: usize = 31;
    let text = std::str::from_utf8(token).ok().filter(|text| text.len() <= BYTES_MAX)?;
    let number: f64 = text.parse().ok()?;
    // Too large is refused, "inf" is a number.
    (number.is_finite() || !token.iter().any(u8::is_ascii_digit)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_numbers_are_those_that_memcached_accepts() {
        for (token, u64_value, u32_value, i32_value, block_value) in [
            ("0", Some(0), Some(0), Some(0), Some(0)),
            ("01", Some(1), Some(1), Some(1), Some(1)),
            ("00000000001", Some(1), Some(1), Some(1), Some(1)),
            ("000000000001", Some(1), None, None, None),
            ("0000000000000000000001", Some(1), None, None, None),
            ("00000000000000000000001", None, None, None, None),
            ("+5", None, None, None, None),
            ("-0", None, None, Some(0), Some(0)),
            ("-", None, None, Some(0), Some(0)),
            ("-1", None, None, Some(-1), None),
            ("--1", None, None, None, None),
            ("", None, None, None, None),
            ("0x10", None, None, None, None),
            ("12abc", None, None, None, None),
            ("1.5", None, None, None, None),
            ("1\t", None, None, None, None),
            ("\t1", None, None, None, None),
            ("2147483645", Some(2_147_483_645), Some(2_147_483_645), Some(2_147_483_645), Some(2_147_483_645)),
            ("2147483646", Some(2_147_483_646), Some(2_147_483_646), Some(2_147_483_646), None),
            ("2147483648", Some(2_147_483_648), Some(2_147_483_648), None, None),
            ("-2147483648", None, None, Some(i32::MIN), None),
            ("-2147483649", None, None, None, None),
            ("4294967295", Some(4_294_967_295), Some(u32::MAX), None, None),
            ("4294967296", Some(4_294_967_296), None, None, None),
            ("18446744073709551615", Some(u64::MAX), None, None, None),
            ("18446744073709551616", None, None, None, None),
        ] {
            assert_eq!(strict_u64(token.as_bytes()), u64_value, "64 bits {token:?}");
            assert_eq!(strict_u32(token.as_bytes()), u32_value, "32 bits {token:?}");
            assert_eq!(strict_i32(token.as_bytes()), i32_value, "31 bits and a sign {token:?}");
            assert_eq!(block_len(token.as_bytes()), block_value, "bytes {token:?}");
        }
    }

    #[test]
    fn flags_and_exptimes_of_storage_lines_are_as_lenient_as_memcached() {
        for (token, flags_value, exptime_value) in [
            ("0", Some(0), Some(0)),
            ("000000000000000000000000005", Some(5), Some(5)),
            ("+5", Some(5), Some(5)),
            ("-0", Some(0), Some(0)),
            ("-1", None, Some(-1)),
            ("", None, None),
            ("+", None, None),
            ("-", None, None),
            ("+-5", None, None),
            ("0x10", None, None),
            ("12abc", None, None),
            ("\t1", Some(1), Some(1)),
            ("1\tx", Some(1), Some(1)),
            ("1\0x", Some(1), Some(1)),
            ("\0", None, None),
            ("\t", None, None),
            ("2147483648", Some(2_147_483_648), Some(-2_147_483_648)),
            ("-2147483649", None, Some(2_147_483_647)),
            ("4294967396", Some(100), Some(100)),
            ("9223372036854775807", Some(u32::MAX), Some(-1)),
            ("9223372036854775808", Some(0), None),
            ("-9223372036854775808", None, Some(0)),
            ("-9223372036854775809", Some(u32::MAX), None),
            ("-18446744073709551615", Some(1), None),
            ("18446744073709551615", Some(u32::MAX), None),
            ("18446744073709551616", None, None),
        ] {
            assert_eq!(flags(token.as_bytes()), flags_value, "flags {token:?}");
            assert_eq!(exptime(token.as_bytes()), exptime_value, "exptime {token:?}");
        }
    }

    #[test]
    fn fractions_are_finite_unless_they_say_otherwise() {
        for (token, value) in [
            ("0.5", Some(0.5)),
            ("-2", Some(-2.0)),
            (".5", Some(0.5)),
            ("1e3", Some(1000.0)),
            ("inf", Some(f64::INFINITY)),
            ("1e999", None),
            ("", None),
            ("abc", None),
            ("1x", None),
            ("0.0000000000000000000000000000001", None),
        ] {
            assert_eq!(fraction(token.as_bytes()), value, "{token:?}");
        }
    }
}
