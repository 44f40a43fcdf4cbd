//! Bytes and figures of a server as JSON.
//!
//! Must not know which command shows them.

use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Map, Number, Value};

/// The `--json` flag; `help` says what the JSON is.
pub(crate) fn argument(help: &'static str) -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help(help)
}

/// Whether it was given.
pub(crate) fn is_wanted(matches: &ArgMatches) -> bool {
    matches.get_flag("json")
}

/// Puts bytes into an object: as text under their name, or, if they are not UTF-8, as base64 under `name_base64`.
pub(crate) fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), base64(bytes).into()),
    };
}

/// A number, if the text is just how a number is written, else the text: a version or a leading zero stays as it is.
pub(crate) fn figure(text: &str) -> Value {
    let number = if let Ok(number) = text.parse::<u64>() {
        Some(Number::from(number))
    } else if let Ok(number) = text.parse::<i64>() {
        Some(Number::from(number))
    } else {
        // As memcached writes times; what JSON would write otherwise stays text.
        text.parse().ok().filter(|_| text.contains('.')).and_then(Number::from_f64)
    };
    let is_written_so = |number: &Number| match number.as_f64() {
        Some(value) if number.is_f64() => text.split_once('.').is_some_and(|(whole, digits)| {
            let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            is_plain(whole) && is_plain(digits) && (whole == "0" || !whole.starts_with('0')) && value.is_finite()
        }),
        _ => number.to_string() == text,
    };
    number.filter(is_written_so).map_or_else(|| text.into(), Value::Number)
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for block in bytes.chunks(3) {
        let byte = |at: usize| u32::from(block.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let sextet = bits >> (18 - 6 * digit) & 63;
            text.push(if digit <= block.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        // RFC 4648, section 10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfd]), "//79");
    }

    #[test]
    fn bytes_that_are_not_utf_8_have_another_name() {
        let mut object = Map::new();
        put_bytes(&mut object, "value", "hällo".as_bytes());
        put_bytes(&mut object, "other", &[0xff]);
        assert_eq!(Value::Object(object).to_string(), r#"{"other_base64":"/w==","value":"hällo"}"#);
    }

    #[test]
    fn only_what_is_written_as_a_number_is_one() {
        for (text, shown) in [
            ("17", "17"),
            ("-3", "-3"),
            ("18446744073709551615", "18446744073709551615"),
            ("0.250000", "0.25"),
            ("007", "\"007\""),
            ("1.6.45", "\"1.6.45\""),
            ("00.5", "\"00.5\""),
            ("1e5", "\"1e5\""),
            ("+1", "\"+1\""),
            ("nan", "\"nan\""),
            (".5", "\".5\""),
            ("", "\"\""),
            ("on", "\"on\""),
        ] {
            assert_eq!(figure(text).to_string(), shown, "{text}");
        }
    }
}
