//! Numbers as memcached reads them: C's ways, in which spaces and text around a number matter less than elsewhere.
//!
//! Must not know which option a number is for.

/// C's isspace.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// A number and how much of the text it was.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Read<T> {
    pub(super) number: T,
    /// Whether there was nothing beside it but spaces.
    pub(super) whole: bool,
}

/// The number at the beginning of a text, 0 if there is none; what follows is ignored. Saturates.
pub(super) fn leading_integer(text: &str, radix: u32) -> Read<i64> {
    let (negative, digits, rest) = split_integer(text, radix);
    let magnitude = digits.chars().filter_map(|c| c.to_digit(radix)).fold(0_i64, |sum, digit| {
        let sum = sum.saturating_mul(i64::from(radix));
        sum.saturating_add(i64::from(digit))
    });
    let whole = !digits.is_empty() && rest.chars().all(is_space);
    Read { number: if negative { -magnitude } else { magnitude }, whole }
}

/// The decimal at the beginning of a text, 0 if there is none; what follows is ignored.
pub(super) fn leading_decimal(text: &str) -> Read<f64> {
    let text = text.trim_start_matches(is_space);
    // "1e5" is longer than "1", and "1e" between them is none.
    let mut ends = (1..=text.len().min(DECIMAL_BYTES_MAX)).rev().filter(|&end| text.is_char_boundary(end));
    let longest = ends.find_map(|end| Some((end, decimal(&text[..end])?)));
    let Some((end, number)) = longest else { return Read { number: 0.0, whole: false } };
    Read { number, whole: text[end..].chars().all(is_space) }
}

/// A number not below 0 that is followed by the end or a space; none if there is anything else.
pub(super) fn unsigned(text: &str) -> Option<u64> {
    let (negative, digits, rest) = split_integer(text, 10);
    let ends = rest.chars().next().is_none_or(is_space);
    let number: u64 = digits.parse().ok()?;
    (ends && (!negative || number == 0)).then_some(number)
}

/// A number that is followed by the end or a space; none if there is anything else.
pub(super) fn signed(text: &str) -> Option<i64> {
    let (_, digits, rest) = split_integer(text, 10);
    let ends = rest.chars().next().is_none_or(is_space);
    (ends && !digits.is_empty()).then(|| leading_integer(text, 10).number)
}

/// Longer ones are no numbers that anyone means.
const DECIMAL_BYTES_MAX: usize = 64;

fn decimal(text: &str) -> Option<f64> {
    // Rust also knows "inf" and "nan", and C does: as an option's value neither makes sense.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    if plain { text.parse().ok() } else { None }
}

/// Whether there is a minus, the digits, and what follows them.
fn split_integer(text: &str, radix: u32) -> (bool, &str, &str) {
    let text = text.trim_start_matches(is_space);
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_digit(radix)).unwrap_or(unsigned.len());
    (text.starts_with('-'), &unsigned[..end], &unsigned[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_is_what_a_text_begins_with() {
        for (text, radix, number, whole) in [
            ("8192", 10, 8192, true),
            (" \t8192 ", 10, 8192, true),
            ("10g", 10, 10, false),
            ("-5", 10, -5, true),
            ("+5", 10, 5, true),
            ("--5", 10, 0, false),
            ("abc", 10, 0, false),
            ("", 10, 0, false),
            ("99999999999999999999", 10, i64::MAX, true),
            ("755", 8, 0o755, true),
            ("799", 8, 7, false),
            ("5µ", 10, 5, false),
        ] {
            assert_eq!(leading_integer(text, radix), Read { number, whole }, "{text:?}");
        }
    }

    #[test]
    fn a_decimal_is_what_a_text_begins_with() {
        for (text, number, whole) in [
            ("1.25", 1.25, true),
            (" .5", 0.5, true),
            ("1.", 1.0, true),
            ("-2e1", -20.0, true),
            ("2e", 2.0, false),
            ("1.25x", 1.25, false),
            ("x", 0.0, false),
            ("", 0.0, false),
            ("inf", 0.0, false),
        ] {
            assert_eq!(leading_decimal(text), Read { number, whole }, "{text:?}");
        }
    }

    #[test]
    fn strict_numbers_end_at_a_space() {
        for (text, as_unsigned, as_signed) in [
            ("5", Some(5), Some(5)),
            (" 5 x", Some(5), Some(5)),
            ("5x", None, None),
            ("-5", None, Some(-5)),
            ("", None, None),
            ("99999999999999999999999", None, Some(i64::MAX)),
        ] {
            assert_eq!((unsigned(text), signed(text)), (as_unsigned, as_signed), "{text:?}");
        }
    }
}
