//! Numbers with units, as people write them in options.
//!
//! Must not know which option they are for: an error says what was expected, the caller adds where.

use std::time::Duration;

const KIB: u64 = 1024;

/// A size in bytes; a bare number counts `bare_unit` bytes each. Suffixes k, m and g, in either case, as in memcached.
pub fn bytes(text: &str, bare_unit: u64) -> Result<u64, String> {
    let expected = || "expected a size such as 512k, 64m or 2g".to_owned();
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], KIB),
        Some(b'm' | b'M') => (&text[..text.len() - 1], KIB * KIB),
        Some(b'g' | b'G') => (&text[..text.len() - 1], KIB * KIB * KIB),
        _ => (text, bare_unit),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(expected)
}

/// A duration: a whole number with its unit, ms, s, m or h.
pub fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a duration such as 500ms, 30s or 15m".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return Err(expected()),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(expected)
}

/// A weight, in hundredths: a decimal from 0.01 to 100.
pub(super) fn weight(text: &str) -> Result<u32, String> {
    let expected = || "expected a weight from 0.01 to 100, such as 1 or 0.5".to_owned();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || fraction.len() > 2 {
        return Err(expected());
    }
    let hundredths = if fraction.len() == 1 { 10 } else { 1 };
    let fraction = fraction.parse::<u32>().map_err(|_| expected())? * hundredths;
    let weight = whole.parse::<u32>().ok().and_then(|whole| whole.checked_mul(100)?.checked_add(fraction));
    weight.filter(|weight| (1..=10_000).contains(weight)).ok_or_else(expected)
}

/// A truth, for the environment and the file; a flag is true by being there.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_memcached_reads_them() {
        const MIB: u64 = 1024 * 1024;
        for (text, bare_unit, size) in [
            ("64", MIB, Some(64 * MIB)),
            ("64m", MIB, Some(64 * MIB)),
            ("2G", MIB, Some(2048 * MIB)),
            ("10k", 1, Some(10_240)),
            ("10240", 1, Some(10_240)),
            ("", 1, None),
            ("m", 1, None),
            ("-1", 1, None),
            ("1.5g", 1, None),
            ("64mb", 1, None),
            ("64µ", 1, None),
            ("99999999999g", 1, None),
        ] {
            assert_eq!(bytes(text, bare_unit).ok(), size, "{text}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, ms) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("15m", Some(900_000)),
            ("1h", Some(3_600_000)),
            ("0s", Some(0)),
            ("30", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(duration(text).ok(), ms.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn a_weight_is_a_decimal() {
        for (text, hundredths) in [
            ("1", Some(100)),
            ("1.0", Some(100)),
            ("0.5", Some(50)),
            ("2.25", Some(225)),
            ("0.01", Some(1)),
            ("100", Some(10_000)),
            ("0", None),
            ("101", None),
            ("0.001", None),
            ("-1", None),
            (".5", None),
            ("1e2", None),
        ] {
            assert_eq!(weight(text).ok(), hundredths, "{text}");
        }
    }
}
