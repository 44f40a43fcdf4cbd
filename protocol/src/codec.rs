//! bincode, bounded: the one module of the repository that may name it.
//!
//! Everything decoded here came from a network, so every call has a limit, known when it is compiled: without one, a
//! length of 2^63 in a packet aborts the process. Whoever reads a whole message from a frame also refuses what is left
//! over ([`decode_all`]). Must not know what it encodes: the messages live with their protocols.
//!
//! To stay decodable, types that come through here hold no lists of zero-sized elements (the limit counts no bytes for
//! them), do not nest in themselves (the stack is not counted), and do not use serde's `flatten`, `untagged` or
//! `skip_serializing_if` (bincode does not describe itself).

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bytes::{Buf, BufMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::CONTROL_BYTES_MAX;

/// Why a value could not be encoded or decoded. A decoder that failed may have read part of its buffer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    /// The value does not fit the buffer or the limit.
    #[error("cannot encode: {0}")]
    Encode(String),
    /// The bytes are not a value of this type, or need more than the limit.
    #[error("cannot decode: {0}")]
    Decode(String),
    /// A value was followed by bytes that belong to nothing.
    #[error("{0} bytes left over after the value")]
    LeftOver(usize),
}

/// Appends a value of at most [`CONTROL_BYTES_MAX`] bytes.
pub fn encode<T: Serialize>(value: &T, out: &mut impl BufMut) -> Result<(), CodecError> {
    encode_limited::<CONTROL_BYTES_MAX, T>(value, out)
}

/// Reads a value of at most [`CONTROL_BYTES_MAX`] bytes from the front.
pub fn decode<T: DeserializeOwned>(from: &mut impl Buf) -> Result<T, CodecError> {
    decode_limited::<CONTROL_BYTES_MAX, T>(from)
}

/// Reads a value of at most [`CONTROL_BYTES_MAX`] bytes that must take up the whole buffer.
pub fn decode_all<T: DeserializeOwned>(mut from: &[u8]) -> Result<T, CodecError> {
    let value = decode(&mut from)?;
    if from.is_empty() { Ok(value) } else { Err(CodecError::LeftOver(from.len())) }
}

/// Appends a value of at most `LIMIT` bytes. On an error part of it may have been written.
pub fn encode_limited<const LIMIT: usize, T: Serialize>(value: &T, out: &mut impl BufMut) -> Result<(), CodecError> {
    // bincode checks its limit only when it decodes.
    let mut writer = out.limit(LIMIT).writer();
    bincode::serde::encode_into_std_write(value, &mut writer, config::<LIMIT>())
        .map(|_bytes| ())
        .map_err(|error| CodecError::Encode(error.to_string()))
}

/// Reads a value of at most `LIMIT` bytes from the front.
pub fn decode_limited<const LIMIT: usize, T: DeserializeOwned>(from: &mut impl Buf) -> Result<T, CodecError> {
    bincode::serde::decode_from_std_read(&mut from.reader(), config::<LIMIT>())
        .map_err(|error| CodecError::Decode(error.to_string()))
}

fn config<const LIMIT: usize>() -> Configuration<LittleEndian, Varint, Limit<LIMIT>> {
    bincode::config::standard().with_limit::<LIMIT>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_and_leaves_what_follows() {
        let value = (7_u64, String::from("name"), Some(3_u16));
        let mut bytes = Vec::new();
        encode(&value, &mut bytes).expect("fits");
        assert_eq!(decode_all::<(u64, String, Option<u16>)>(&bytes), Ok(value.clone()));
        bytes.push(9);
        let mut rest = bytes.as_slice();
        assert_eq!(decode::<(u64, String, Option<u16>)>(&mut rest), Ok(value));
        assert_eq!(rest, [9]);
        assert_eq!(decode_all::<(u64, String, Option<u16>)>(&bytes), Err(CodecError::LeftOver(1)));
    }

    #[test]
    fn limits_hold_in_both_directions() {
        let text = "x".repeat(64);
        let mut bytes = Vec::new();
        assert!(matches!(encode_limited::<32, _>(&text, &mut bytes), Err(CodecError::Encode(_))));
        assert!(bytes.len() <= 32);
        bytes.clear();
        encode(&text, &mut bytes).expect("fits");
        assert!(matches!(decode_limited::<32, String>(&mut bytes.as_slice()), Err(CodecError::Decode(_))));
    }

    #[test]
    fn a_monstrous_length_is_an_error_not_an_allocation() {
        let mut bytes = vec![253];
        bytes.extend_from_slice(&(u64::MAX / 2).to_le_bytes());
        assert!(matches!(decode::<Vec<u8>>(&mut bytes.as_slice()), Err(CodecError::Decode(_))));
        assert!(matches!(decode::<String>(&mut bytes.as_slice()), Err(CodecError::Decode(_))));
        assert!(matches!(decode::<Vec<(u64, String)>>(&mut bytes.as_slice()), Err(CodecError::Decode(_))));
    }
}
