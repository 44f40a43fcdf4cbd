//! The first frame of each side of a link: who it is, and what it speaks.
//!
//! Must not know who may dial. Its layout holds for every wire version, so that nodes of different versions can tell
//! each other apart: later versions may only add fields behind, which this one skips, and flags are not looked at.
//!
//! ```text
//! header   kind 0x00, wire version: the sender's, request id 0
//! magic    8 bytes
//! features u64, cluster u64, generation u64, name: length u8 and bytes
//! ```

use bytes::{Buf, BufMut, BytesMut};

use super::FrameError;
use super::WIRE_VERSION;
use super::header::{HEADER_BYTES, Header, KIND_AT, PREAMBLE_KIND, put_header};
use super::reader::Reader;
use crate::key::Token;
use crate::message::RequestId;
use crate::ring::{NODE_NAME_BYTES_MAX, NodeName};

/// The largest preamble, header included: the one allocation that a stranger can cause.
pub const PREAMBLE_BYTES_MAX: usize = 512;

const MAGIC: [u8; 8] = *b"memring\0";

/// Bytes of the fields before the name's.
const FIXED_BYTES: usize = MAGIC.len() + 8 + 8 + 8 + 1;

// The longest name fits, with room for later fields.
const _: () = assert!(HEADER_BYTES + FIXED_BYTES + NODE_NAME_BYTES_MAX + 128 <= PREAMBLE_BYTES_MAX);
// A name's length is one byte on the wire.
const _: () = assert!(NODE_NAME_BYTES_MAX <= u8::MAX as usize);

/// Feature: messages may come in fragments, and a link that is dialled is answered with a preamble before anything else.
pub const FRAGMENTS: u64 = 1;

/// Feature: acknowledgements may come many to a frame.
pub const ACKNOWLEDGEMENTS: u64 = 1 << 1;

/// What each side of a link says first: the one that dialled, and, if that knows [`FRAGMENTS`], the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Preamble {
    /// The wire version it speaks.
    pub wire_version: u8,
    /// What it understands beyond that version, one bit each; unknown bits are ignored.
    pub features: u64,
    /// [`cluster_hash`] of its cluster's name.
    pub cluster: u64,
    /// Who it is.
    pub sender: NodeName,
    /// Its start, as in [`crate::message::NodeStatus::generation`].
    pub generation: u64,
}

/// Why a peer's link is not accepted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PreambleError {
    /// It would not understand us.
    #[error("{sender} speaks wire version {theirs}, this node {WIRE_VERSION}")]
    WireVersion {
        /// Who dialled.
        sender: NodeName,
        /// What it speaks.
        theirs: u8,
    },
    /// It is misdirected.
    #[error("{0} belongs to a cluster of another name")]
    Cluster(NodeName),
}

impl Preamble {
    /// What this node says first.
    pub fn new(cluster_name: &str, sender: NodeName, generation: u64) -> Self {
        Self {
            wire_version: WIRE_VERSION,
            features: FRAGMENTS | ACKNOWLEDGEMENTS,
            cluster: cluster_hash(cluster_name),
            sender,
            generation,
        }
    }

    /// Whether a node of `cluster_name` may go on with a link that begins so.
    pub fn check(&self, cluster_name: &str) -> Result<(), PreambleError> {
        if self.wire_version != WIRE_VERSION {
            return Err(PreambleError::WireVersion { sender: self.sender.clone(), theirs: self.wire_version });
        }
        if self.cluster != cluster_hash(cluster_name) {
            return Err(PreambleError::Cluster(self.sender.clone()));
        }
        Ok(())
    }
}

/// A cluster's name in 64 bits. Guards against mistakes, not against attackers: those are the keys' and TLS's business.
pub fn cluster_hash(cluster_name: &str) -> u64 {
    Token::of(cluster_name.as_bytes()).0
}

/// Appends a preamble.
pub fn encode_preamble(preamble: &Preamble, out: &mut BytesMut) {
    let name = preamble.sender.as_str().as_bytes();
    put_header(preamble.wire_version, (FIXED_BYTES + name.len()) as u32, PREAMBLE_KIND, RequestId(0), out);
    out.put_slice(&MAGIC);
    out.put_u64_le(preamble.features);
    out.put_u64_le(preamble.cluster);
    out.put_u64_le(preamble.generation);
    out.put_u8(name.len() as u8);
    out.put_slice(name);
}

/// Whether the bytes begin with a preamble; `None` while that cannot be told.
pub fn is_preamble(bytes: &[u8]) -> Option<bool> {
    bytes.get(KIND_AT).map(|kind| *kind == PREAMBLE_KIND)
}

/// Takes a preamble from the front of `buffer`; `None` if it is not all there yet. After an error the link is over.
pub fn decode_preamble(buffer: &mut BytesMut) -> Result<Option<Preamble>, FrameError> {
    // A client that dialled the wrong port sends text, whose first four letters are a large number: it is told at once.
    let Ok(header) = Header::peek(buffer, PREAMBLE_BYTES_MAX - HEADER_BYTES) else {
        return Err(FrameError::NotPreamble);
    };
    let Some(header) = header else { return Ok(None) };
    if header.kind != PREAMBLE_KIND {
        return Err(FrameError::NotPreamble);
    }
    let Some(body) = buffer.get(HEADER_BYTES..HEADER_BYTES + header.body_len) else { return Ok(None) };
    let preamble = take_preamble(header.version, &mut Reader::new(body))?;
    buffer.advance(HEADER_BYTES + header.body_len);
    Ok(Some(preamble))
}

fn take_preamble(wire_version: u8, reader: &mut Reader<'_>) -> Result<Preamble, FrameError> {
    if reader.bytes(MAGIC.len())? != MAGIC {
        return Err(FrameError::NotPreamble);
    }
    let (features, cluster, generation) = (reader.u64()?, reader.u64()?, reader.u64()?);
    let length = usize::from(reader.u8()?);
    let name = std::str::from_utf8(reader.bytes(length)?).ok().and_then(|name| NodeName::new(name).ok());
    let sender = name.ok_or(FrameError::Value { what: "node name's length", value: length as u64 })?;
    Ok(Preamble { wire_version, features, cluster, sender, generation })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preamble() -> Preamble {
        Preamble::new("memring", NodeName::new("n1").expect("legal"), 7)
    }

    fn encoded(preamble: &Preamble) -> BytesMut {
        let mut bytes = BytesMut::new();
        encode_preamble(preamble, &mut bytes);
        bytes
    }

    #[test]
    fn a_preamble_comes_back_from_any_split() {
        let longest = NodeName::new(&"n".repeat(NODE_NAME_BYTES_MAX)).expect("legal");
        for sent in [preamble(), Preamble::new("", longest, u64::MAX)] {
            let bytes = encoded(&sent);
            assert!(bytes.len() <= PREAMBLE_BYTES_MAX);
            for split in 0..bytes.len() {
                let mut buffer = BytesMut::from(&bytes[..split]);
                assert!(matches!(decode_preamble(&mut buffer), Ok(None)), "{split} of {} bytes", bytes.len());
                buffer.extend_from_slice(&bytes[split..]);
                buffer.put_u8(9);
                assert_eq!(decode_preamble(&mut buffer).expect("a preamble"), Some(sent.clone()));
                assert_eq!(&buffer[..], [9]);
            }
        }
    }

    #[test]
    fn a_later_preamble_is_understood_far_enough_to_be_refused() {
        let mut later = encoded(&Preamble { wire_version: 2, ..preamble() });
        // A flag and a field that this version does not know.
        later[7] = 0x80;
        later[0] += 3;
        later.extend_from_slice(b"new");
        let seen = decode_preamble(&mut later).expect("a preamble").expect("whole");
        assert!(later.is_empty());
        let refused = seen.check("memring").expect_err("another version");
        assert_eq!(refused.to_string(), "n1 speaks wire version 2, this node 1");
    }

    #[test]
    fn only_the_same_cluster_name_passes() {
        assert_eq!(preamble().check("memring"), Ok(()));
        let refused = preamble().check("other").expect_err("another cluster");
        assert_eq!(refused.to_string(), "n1 belongs to a cluster of another name");
    }

    #[test]
    fn strangers_are_told_from_their_first_bytes() {
        let mut wrong_magic = encoded(&preamble());
        wrong_magic[HEADER_BYTES] ^= 1;
        let mut wrong_kind = encoded(&preamble());
        wrong_kind[5] = 1;
        for stranger in [&b"get a\r\n"[..], b"GET / HTTP/1.1\r\n", &[0x16, 3, 1, 2], &wrong_magic, &wrong_kind] {
            let outcome = decode_preamble(&mut BytesMut::from(stranger));
            assert!(matches!(outcome, Err(FrameError::NotPreamble)), "{:?}: {outcome:?}", stranger.escape_ascii());
        }
        let mut wrong_name = encoded(&preamble());
        *wrong_name.last_mut().expect("a name") = b',';
        assert!(matches!(decode_preamble(&mut wrong_name), Err(FrameError::Value { .. })));
    }
}
