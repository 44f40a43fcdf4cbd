//! Gossip packets: whatever opens could have been sealed, and names no more than a packet can hold.
//!
//! Must not know what a node makes of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memring_protocol::gossip::{Envelope, GossipSummary, PACKET_BYTES_MAX, Packet, Rumour};

/// Bytes of the envelope before the body, taken from a sealed packet without one.
fn envelope_bytes(envelope: &Envelope) -> Vec<u8> {
    envelope.seal(&Packet::Gossip(&[]))
}

fuzz_target!(|bytes: &[u8]| {
    let envelope = Envelope::new("memring");
    check(&envelope, bytes);
    // Once more in a true envelope, so that most inputs reach a body: the first byte chooses the kind.
    if let Some((&kind, body)) = bytes.split_first() {
        let mut sealed = envelope_bytes(&envelope);
        sealed[2] = kind % 8;
        sealed.extend_from_slice(body);
        check(&envelope, &sealed);
    }
    if let Ok(rumour) = Rumour::from_bytes(bytes) {
        assert_eq!(Rumour::from_bytes(&rumour.to_bytes()), Ok(rumour));
    }
});

fn check(envelope: &Envelope, bytes: &[u8]) {
    let Ok(packet) = envelope.open(bytes) else { return };
    assert!(bytes.len() <= PACKET_BYTES_MAX, "a packet over the limit was opened");
    let sealed = envelope.seal(&packet);
    assert!(sealed.len() <= bytes.len(), "a packet grew");
    assert_eq!(envelope.open(&sealed).as_ref(), Ok(&packet));
    if let Packet::Gossip(body) = packet
        && let Ok(summary) = GossipSummary::read(body)
    {
        assert!(summary.mentioned.len() <= body.len(), "more members than bytes");
    }
    assert!(Envelope::new("another").open(bytes).is_err(), "a packet of another cluster was opened");
}
