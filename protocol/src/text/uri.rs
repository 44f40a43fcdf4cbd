//! Percent-encoding of keys in log lines and dumps (RFC 3986, section 2.1): all but its unreserved characters.
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
            assert_eq!(String::from_utf8(out).expect("ASCII"), encoded);
        }
    }
}
