//! Base64 of keys (RFC 4648, section 4), with and into buffers of the caller's.
//!
//! Lenient where memcached is: bytes outside the alphabet are skipped, and what follows the padding is ignored. Must not
//! know what the bytes are.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// No sextet.
const SKIP: u8 = 0xff;

/// The sextet of each byte; padding counts as 0.
const SEXTETS: [u8; 256] = {
    let mut sextets = [SKIP; 256];
    let mut at = 0;
    while at < ALPHABET.len() {
        sextets[ALPHABET[at] as usize] = at as u8;
        at += 1;
    }
    sextets[b'=' as usize] = 0;
    sextets
};

/// Decodes to the front of `out` and returns how many bytes there are; `None` if `text` is no base64, is that of
/// nothing, or does not fit.
pub(super) fn decode(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let sextets = || text.iter().copied().filter(|&byte| SEXTETS[usize::from(byte)] != SKIP);
    let count = sextets().count();
    if count == 0 || !count.is_multiple_of(4) || count / 4 * 3 > out.len() {
        return None;
    }
    let mut rest = sextets();
    let mut len = 0;
    while let (Some(a), Some(b), Some(c), Some(d)) = (rest.next(), rest.next(), rest.next(), rest.next()) {
        let block = [a, b, c, d];
        let bits = block.iter().fold(0u32, |bits, &byte| bits << 6 | u32::from(SEXTETS[usize::from(byte)]));
        let [_, bytes @ ..] = bits.to_be_bytes();
        out[len..len + 3].copy_from_slice(&bytes);
        len += 3;
        match block.iter().filter(|&&byte| byte == b'=').count() {
            0 => {}
            padding @ 1..=2 => {
                len -= padding;
                break;
            }
            _ => return None,
        }
    }
    (len > 0).then_some(len)
}

/// Appends a key as it was sent: in base64, or as it is.
pub fn put_key_as_sent(key: &[u8], in_base64: bool, out: &mut Vec<u8>) {
    if in_base64 {
        encode(key, |letters| out.extend_from_slice(letters));
    } else {
        out.extend_from_slice(key);
    }
}

/// Hands the base64 of `bytes` to `put`, four letters at a time.
pub(super) fn encode(bytes: &[u8], mut put: impl FnMut(&[u8; 4])) {
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let letter = |at: usize| {
            if at <= chunk.len() { ALPHABET[(bits >> (18 - 6 * at) & 0x3f) as usize] } else { b'=' }
        };
        put(&[letter(0), letter(1), letter(2), letter(3)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(bytes, |letters| out.extend_from_slice(letters));
        out
    }

    #[test]
    fn the_vectors_of_rfc_4648_go_both_ways() {
        for (bytes, text) in
            [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(encoded(bytes.as_bytes()), text.as_bytes());
            let mut out = [0; 250];
            let len = decode(text.as_bytes(), &mut out).expect("base64");
            assert_eq!(&out[..len], bytes.as_bytes());
        }
    }

    #[test]
    fn bytes_of_every_length_a_key_can_have_come_back() {
        for len in 1..=186 {
            for step in [0u8, 1, 7, 85, 255] {
                let bytes: Vec<u8> =
                    (0..len).map(|at: usize| (at as u8).wrapping_mul(step).wrapping_sub(step)).collect();
                let text = encoded(&bytes);
                assert_eq!(text.len(), len.div_ceil(3) * 4);
                let mut out = [0; 250];
                assert_eq!(decode(&text, &mut out).map(|len| &out[..len]), Some(&bytes[..]), "{len} bytes by {step}");
            }
        }
    }

    #[test]
    fn what_is_no_base64_is_refused_or_skipped_as_in_memcached() {
        let mut out = [0; 250];
        for text in ["", "Zg", "Zg=", "Z===", "====", "!!!!"] {
            assert_eq!(decode(text.as_bytes(), &mut out), None, "{text}");
        }
        assert_eq!(decode(b"Z!m-9_v", &mut out), Some(3));
        assert_eq!(&out[..3], b"foo");
        assert_eq!(decode(b"Zg==Zg==", &mut out), Some(1));
        assert_eq!(decode(&[b'A'; 400], &mut out), None);
    }
}
