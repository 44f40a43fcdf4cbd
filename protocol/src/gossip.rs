//! What nodes say over UDP: who they are, the envelope around foca's bytes, and the rumours foca carries.
//!
//! Must not know when anything is sent or believed: that is the engine's membership. Packets are not authenticated; they
//! are bounded, and decoding them never panics.
//!
//! ```text
//! magic+version 1 | features 1 | kind 1 | cluster 8 | body: foca's bytes, or a bincode value
//! ```

use std::net::SocketAddr;

use bytes::{Buf, BufMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Why a piece of gossip does not read.
pub use crate::codec::CodecError as GossipError;
use crate::codec::{CodecError, decode_limited, encode_limited};
use crate::key::Token;
use crate::ring::NodeName;

/// The largest packet: fits the MTU of every usual network with room for tunnels, so packets are not fragmented.
pub const PACKET_BYTES_MAX: usize = 1400;

/// The largest gossip body, foca's `max_packet_size`.
pub const GOSSIP_BYTES_MAX: usize = PACKET_BYTES_MAX - ENVELOPE_BYTES;

const ENVELOPE_BYTES: usize = 11;

/// First byte of every packet: a fixed high half, and the version of what follows in the low one.
const MAGIC_AND_VERSION: u8 = 0xd1;

/// What a sender can do beyond version 1. Unknown bits are ignored, so old and new nodes mix during an upgrade.
const FEATURES: u8 = 0;

/// Feature: the sender was told to stop. It serves until the copies are safe, and then says goodbye.
const STOPPING: u8 = 1;

/// A life of a node: its name, when that life began, and where it is reached. foca's identity.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct NodeId {
    /// Its name on the ring: stays through restarts and moves.
    pub name: NodeName,
    /// When it started, in unix milliseconds; one more for each time it had to refute its own failure.
    pub generation: u64,
    /// Where peers reach it, TCP and UDP.
    pub peer: SocketAddr,
    /// Where clients reach it, at the same address.
    pub client_port: u16,
    /// Where its admin interface is, at the same address.
    pub admin_port: u16,
}

impl foca::Identity for NodeId {
    type Addr = NodeName;

    fn renew(&self) -> Option<Self> {
        Some(Self { generation: self.generation.checked_add(1)?, ..self.clone() })
    }

    fn addr(&self) -> NodeName {
        self.name.clone()
    }

    /// The later life wins, so a pod that restarts elsewhere replaces its old address. The other fields only make the
    /// order total: every node must come to the same answer.
    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        let rank = |id: &Self| (id.generation, id.peer, id.client_port, id.admin_port);
        rank(self) > rank(adversary)
    }
}

/// foca's codec: bincode within a packet.
#[derive(Clone, Copy, Debug, Default)]
pub struct GossipCodec;

impl foca::Codec<NodeId> for GossipCodec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &foca::Header<NodeId>, mut out: impl BufMut) -> Result<(), CodecError> {
        encode_limited::<PACKET_BYTES_MAX, _>(header, &mut out)
    }

    fn decode_header(&mut self, mut from: impl Buf) -> Result<foca::Header<NodeId>, CodecError> {
        decode_limited::<PACKET_BYTES_MAX, _>(&mut from)
    }

    fn encode_member(&mut self, member: &foca::Member<NodeId>, mut out: impl BufMut) -> Result<(), CodecError> {
        encode_limited::<PACKET_BYTES_MAX, _>(member, &mut out)
    }

    fn decode_member(&mut self, mut from: impl Buf) -> Result<foca::Member<NodeId>, CodecError> {
        decode_limited::<PACKET_BYTES_MAX, _>(&mut from)
    }
}

/// Who sent a gossip body, and whom it tells of, without acting on it: what is needed to refuse it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GossipSummary {
    /// The sender.
    pub sender: NodeId,
    /// The sender's incarnation.
    pub incarnation: u16,
    /// Whether it says that the receiver counts as failed.
    pub turns_undead: bool,
    /// Everyone it has an update on.
    pub mentioned: Vec<NodeId>,
}

impl GossipSummary {
    /// Reads a gossip body up to the rumours.
    pub fn read(mut body: &[u8]) -> Result<Self, CodecError> {
        let header: foca::Header<NodeId> = decode_limited::<PACKET_BYTES_MAX, _>(&mut body)?;
        let mut mentioned = Vec::new();
        if header.message != foca::Message::Broadcast && body.len() >= 2 {
            for _update in 0..body.get_u16() {
                let member: foca::Member<NodeId> = decode_limited::<PACKET_BYTES_MAX, _>(&mut body)?;
                mentioned.push(member.id().clone());
            }
        }
        let turns_undead = header.message == foca::Message::TurnUndead;
        Ok(Self { sender: header.src, incarnation: header.src_incarnation, turns_undead, mentioned })
    }
}

/// What travels with gossip from node to node, beside foca's own updates.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Rumour {
    /// `reporter` has probed this life of `subject` in vain. It counts for this incarnation only: by raising its
    /// incarnation the subject refutes it.
    Report {
        /// Who does not answer.
        subject: NodeName,
        /// In which life.
        generation: u64,
        /// And incarnation.
        incarnation: u16,
        /// Who found out.
        reporter: NodeName,
    },
    /// This life of `subject` ended by its own will: a restart, not a failure.
    BackSoon {
        /// Who left.
        subject: NodeName,
        /// Which life ended.
        generation: u64,
    },
}

impl Rumour {
    /// Its bytes, as foca carries them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_limited::<GOSSIP_BYTES_MAX, _>(self, &mut bytes).expect("two names fit a packet");
        bytes
    }

    /// Reads what [`Rumour::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        decode_whole(bytes)
    }

    /// Whom it is about.
    pub fn subject(&self) -> &NodeName {
        match self {
            Self::Report { subject, .. } | Self::BackSoon { subject, .. } => subject,
        }
    }

    /// Later lives and incarnations are newer, and an ended life is newer than any report on it.
    fn age(&self) -> (u64, u32) {
        match self {
            Self::Report { generation, incarnation, .. } => (*generation, u32::from(*incarnation)),
            Self::BackSoon { generation, .. } => (*generation, u32::MAX),
        }
    }
}

impl foca::Invalidates for Rumour {
    /// So at most one incarnation of a subject is rumoured about at a time.
    fn invalidates(&self, other: &Self) -> bool {
        self.subject() == other.subject() && (self.age() > other.age() || self == other)
    }
}

/// A packet, opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    /// foca's bytes.
    Gossip(&'a [u8]),
    /// Who is at this address? From a node that knows only addresses. Answered by [`Packet::Welcome`].
    Hello(NodeId),
    /// Answer to [`Packet::Hello`].
    Welcome {
        /// Who answers.
        from: NodeId,
        /// Whom the answering node knows by the name of the asker: a life that the asker must outrank.
        yours: Option<NodeId>,
    },
    /// You speak, yet are suspected in this incarnation: refute it. (Lifeguard's "buddy system", Dadgar et al., 2018.)
    Doubt {
        /// Who is suspected.
        of: NodeId,
        /// In which incarnation.
        incarnation: u16,
    },
}

/// Why a packet was not opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PacketError {
    /// Longer than [`PACKET_BYTES_MAX`].
    #[error("{0} bytes are more than a packet holds")]
    TooLong(usize),
    /// Not memring's, or of a version this node does not speak.
    #[error("not a packet of this version")]
    Foreign,
    /// Of a cluster with another name.
    #[error("a packet of another cluster")]
    OtherCluster,
    /// A kind this node does not know.
    #[error("unknown packet kind {0}")]
    Kind(u8),
    /// The body is broken.
    #[error(transparent)]
    Body(#[from] CodecError),
}

const KIND_GOSSIP: u8 = 0;
const KIND_HELLO: u8 = 1;
const KIND_WELCOME: u8 = 2;
const KIND_DOUBT: u8 = 3;

/// Seals and opens the packets of one cluster. Packets of clusters with other names do not open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Envelope {
    cluster: u64,
    features: u8,
}

impl Envelope {
    /// For the cluster of this name. Keeps neighbours apart by mistake, not by force: it is not a secret.
    pub fn new(cluster: &str) -> Self {
        Self { cluster: Token::of(cluster.as_bytes()).0, features: FEATURES }
    }

    /// Packets that are sealed from now on say that their sender was told to stop.
    pub fn set_stopping(&mut self) {
        self.features |= STOPPING;
    }

    /// Whether the sender of a packet that opens was told to stop.
    pub fn is_from_stopping(bytes: &[u8]) -> bool {
        bytes.get(1).is_some_and(|features| features & STOPPING != 0)
    }

    /// The bytes to send.
    pub fn seal(&self, packet: &Packet<'_>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ENVELOPE_BYTES + 64);
        bytes.put_slice(&[MAGIC_AND_VERSION, self.features]);
        let body = match packet {
            Packet::Gossip(body) => {
                debug_assert!(body.len() <= GOSSIP_BYTES_MAX, "foca's max_packet_size is set to this");
                self.put_kind(&mut bytes, KIND_GOSSIP);
                bytes.put_slice(body);
                Ok(())
            }
            Packet::Hello(from) => {
                self.put_kind(&mut bytes, KIND_HELLO);
                encode_limited::<GOSSIP_BYTES_MAX, _>(from, &mut bytes)
            }
            Packet::Welcome { from, yours } => {
                self.put_kind(&mut bytes, KIND_WELCOME);
                encode_limited::<GOSSIP_BYTES_MAX, _>(&(from, yours), &mut bytes)
            }
            Packet::Doubt { of, incarnation } => {
                self.put_kind(&mut bytes, KIND_DOUBT);
                encode_limited::<GOSSIP_BYTES_MAX, _>(&(of, incarnation), &mut bytes)
            }
        };
        body.expect("two identities fit a packet");
        bytes
    }

    /// Reads a received packet.
    pub fn open<'a>(&self, bytes: &'a [u8]) -> Result<Packet<'a>, PacketError> {
        if bytes.len() > PACKET_BYTES_MAX {
            return Err(PacketError::TooLong(bytes.len()));
        }
        let Some((mut envelope, body)) = bytes.split_at_checked(ENVELOPE_BYTES) else {
            return Err(PacketError::Foreign);
        };
        if envelope.get_u8() != MAGIC_AND_VERSION {
            return Err(PacketError::Foreign);
        }
        let _features = envelope.get_u8();
        let kind = envelope.get_u8();
        if envelope.get_u64() != self.cluster {
            return Err(PacketError::OtherCluster);
        }
        Ok(match kind {
            KIND_GOSSIP => Packet::Gossip(body),
            KIND_HELLO => Packet::Hello(decode_whole(body)?),
            KIND_WELCOME => {
                let (from, yours) = decode_whole(body)?;
                Packet::Welcome { from, yours }
            }
            KIND_DOUBT => {
                let (of, incarnation) = decode_whole(body)?;
                Packet::Doubt { of, incarnation }
            }
            other => return Err(PacketError::Kind(other)),
        })
    }

    fn put_kind(&self, bytes: &mut Vec<u8>, kind: u8) {
        bytes.put_u8(kind);
        bytes.put_u64(self.cluster);
    }
}

fn decode_whole<T: DeserializeOwned>(mut bytes: &[u8]) -> Result<T, CodecError> {
    let value = decode_limited::<PACKET_BYTES_MAX, T>(&mut bytes)?;
    if bytes.is_empty() { Ok(value) } else { Err(CodecError::LeftOver(bytes.len())) }
}

#[cfg(test)]
mod tests {
    use foca::{Codec, Identity, Invalidates};

    use super::*;

    fn id(name: &str, generation: u64) -> NodeId {
        NodeId {
            name: NodeName::new(name).expect("legal"),
            generation,
            peer: SocketAddr::from(([10, 0, 0, 1], 7946)),
            client_port: 11211,
            admin_port: 8080,
        }
    }

    #[test]
    fn a_sender_that_is_to_stop_says_so_in_one_bit() {
        let mut envelope = Envelope::new("c");
        let hello = Packet::Hello(id("a", 1));
        let before = envelope.seal(&hello);
        envelope.set_stopping();
        let stopping = envelope.seal(&hello);
        assert_eq!([&before, &stopping].map(|bytes| Envelope::is_from_stopping(bytes)), [false, true]);
        assert_eq!([&before, &stopping].map(|bytes| envelope.open(bytes)), [Ok(hello.clone()), Ok(hello)]);
        assert_eq!((before[1], stopping[1], &before[2..]), (0, 1, &stopping[2..]), "an earlier release reads the same");
    }

    #[test]
    fn packets_come_back_as_they_were_sealed() {
        let envelope = Envelope::new("memring");
        let packets = [
            Packet::Gossip(b"anything"),
            Packet::Hello(id("a", 1)),
            Packet::Welcome { from: id("a", 1), yours: None },
            Packet::Welcome { from: id("a", 1), yours: Some(id("b", u64::MAX)) },
            Packet::Doubt { of: id("a", 7), incarnation: 3 },
        ];
        for packet in packets {
            let sealed = envelope.seal(&packet);
            assert_eq!(envelope.open(&sealed), Ok(packet.clone()));
            assert_eq!(Envelope::new("other").open(&sealed), Err(PacketError::OtherCluster));
            if !matches!(packet, Packet::Gossip(_)) {
                assert!(envelope.open(&sealed[..sealed.len() - 1]).is_err(), "cut short: {packet:?}");
                assert!(envelope.open(&[&sealed[..], &[0]].concat()).is_err(), "left over: {packet:?}");
            }
        }
    }

    #[test]
    fn what_is_not_a_packet_does_not_open() {
        let envelope = Envelope::new("memring");
        let sealed = envelope.seal(&Packet::Hello(id("a", 1)));
        let mut newer = sealed.clone();
        newer[0] += 1;
        assert_eq!(envelope.open(&newer), Err(PacketError::Foreign));
        let mut unknown = sealed.clone();
        unknown[2] = 99;
        assert_eq!(envelope.open(&unknown), Err(PacketError::Kind(99)));
        let mut feature = sealed;
        feature[1] = 0xff;
        assert_eq!(envelope.open(&feature), Ok(Packet::Hello(id("a", 1))), "unknown features are ignored");
        assert_eq!(envelope.open(&[]), Err(PacketError::Foreign));
        assert_eq!(envelope.open(&[0; PACKET_BYTES_MAX + 1]), Err(PacketError::TooLong(PACKET_BYTES_MAX + 1)));
    }

    #[test]
    fn the_bytes_on_the_wire_do_not_change() {
        let sealed = Envelope::new("memring").seal(&Packet::Hello(id("node-1", 300)));
        let golden = "d1000197a9e2dbad9b2f00066e6f64652d31fb2c01000a000001fb0a1ffbcb2bfb901f";
        assert_eq!(sealed.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), golden);
    }

    #[test]
    fn a_header_with_the_longest_names_fits_a_packet() {
        let longest = id(&"x".repeat(crate::ring::NODE_NAME_BYTES_MAX), u64::MAX);
        let header = foca::Header {
            src: longest.clone(),
            src_incarnation: u16::MAX,
            dst: longest.clone(),
            message: foca::Message::PingReq { target: longest.clone(), probe_number: 255 },
        };
        let mut bytes = Vec::new();
        GossipCodec.encode_header(&header, &mut bytes).expect("fits");
        GossipCodec.encode_member(&foca::Member::alive(longest.clone()), &mut bytes).expect("fits");
        assert!(bytes.len() <= GOSSIP_BYTES_MAX, "{} bytes", bytes.len());
        let rumour = Rumour::Report {
            subject: longest.name.clone(),
            generation: u64::MAX,
            incarnation: u16::MAX,
            reporter: longest.name,
        };
        assert_eq!(Rumour::from_bytes(&rumour.to_bytes()), Ok(rumour));
    }

    #[test]
    fn the_later_life_wins_and_the_order_is_total() {
        let (old, new) = (id("a", 1), id("a", 2));
        assert!(new.win_addr_conflict(&old) && !old.win_addr_conflict(&new));
        let elsewhere = NodeId { peer: SocketAddr::from(([10, 0, 0, 2], 7946)), ..old.clone() };
        assert_ne!(elsewhere.win_addr_conflict(&old), old.win_addr_conflict(&elsewhere));
        assert!(!old.win_addr_conflict(&old));
        assert!(old.renew().is_some_and(|renewed| renewed.win_addr_conflict(&old)));
        assert_eq!(id("a", u64::MAX).renew(), None);
    }

    #[test]
    fn newer_rumours_silence_older_ones_on_the_same_subject() {
        let report = |subject: &str, incarnation, reporter: &str| Rumour::Report {
            subject: NodeName::new(subject).expect("legal"),
            generation: 5,
            incarnation,
            reporter: NodeName::new(reporter).expect("legal"),
        };
        let gone = Rumour::BackSoon { subject: NodeName::new("a").expect("legal"), generation: 5 };
        assert!(report("a", 1, "b").invalidates(&report("a", 0, "c")));
        assert!(report("a", 1, "b").invalidates(&report("a", 1, "b")));
        assert!(!report("a", 1, "b").invalidates(&report("a", 1, "c")), "both count");
        assert!(!report("a", 1, "b").invalidates(&report("c", 0, "b")));
        assert!(gone.invalidates(&report("a", 9, "b")));
    }
}
