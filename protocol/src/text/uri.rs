//! Percent-encoding of keys and labels in lines and dumps (RFC 3986, section 2.1): all but its unreserved characters.
//!
//! Must not know what the bytes are.

use bytes::BufMut;

const DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Appends `bytes` encoded: at most three times as many.
pub fn put_uri_encoded(bytes: &[u8], out: &mut impl BufMut) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.put_u8(byte);
        } else {
            out.put_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

/// What was encoded; `None` where a percent sign is not followed by two hexadecimal digits.
pub fn uri_decoded(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        decoded.push((digit(digits[0])? << 4 | digit(digits[1])?) as u8);
        rest = behind;
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_unreserved_characters_are_encoded() {
        let cases: [(&[u8], &str); 3] = [
            (b"aZ09-._~", "aZ09-._~"),
            (b"a%b&c/d=\x01\xc3\xbc~_-.", "a%25b%26c%2Fd%3D%01%C3%BC~_-."),
            (b" +\r\n\0\xff", "%20%2B%0D%0A%00%FF"),
        ];
        for (bytes, encoded) in cases {
            let mut out = Vec::new();
            put_uri_encoded(bytes, &mut out);
            assert_eq!(uri_decoded(&out).as_deref(), Some(bytes));
            assert_eq!(String::from_utf8(out).expect("ASCII"), encoded);
        }
    }

    #[test]
    fn what_is_not_encoded_is_not_decoded() {
        for wrong in [&b"%"[..], b"a%2", b"%2x", b"%+1"] {
            assert_eq!(uri_decoded(wrong), None, "{}", wrong.escape_ascii());
        }
    }
}
