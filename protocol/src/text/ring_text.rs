//! The ring as `config get ring` tells it: what a client needs to place keys itself, as lines of words.
//!
//! ```text
//! CONFIG ring 0 <bytes>
//! 1
//! ring id=<16 hex digits> epoch=<n> replicas=<n> vnodes=<n> cluster=<name>
//! member name=<name> slot=<n> zone=<zone> weight=<n> standing=<word> client=<ip:port> state=<word> synced=<permille>
//!
//! END
//! ```
//!
//! The first line is the version of this form: who does not know it must not go on. Lines that begin with another word, and
//! words with another name, are for later releases and passed over. Zone and cluster are percent-encoded. A node that knows
//! no ring yet tells none. Must not know where the ring comes from, nor who asks.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::str::FromStr;

use bytes::{BufMut, BytesMut};

use super::uri::{put_uri_encoded, uri_decoded};
use crate::ring::{Epoch, NodeName, RingConfig, RingConfigError, RingId, RingMember, Share, Standing};
use crate::version::{SLOTS_MAX, Slot};

/// The version of the form.
const FORM: u32 = 1;

/// The longest text of a ring, in bytes: as many members as there are slots, with names and zones of the greatest length.
pub const RING_TEXT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What the node that tells the ring knows of a member's health.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MemberState {
    /// Never heard of in the life of the node that tells.
    #[default]
    Unknown,
    /// Alive.
    Alive,
    /// Suspected by someone; still asked.
    Suspect,
    /// Said that it is restarting.
    Restarting,
    /// Failed.
    Failed,
}

const STATES: [(MemberState, &str); 5] = [
    (MemberState::Unknown, "unknown"),
    (MemberState::Alive, "alive"),
    (MemberState::Suspect, "suspect"),
    (MemberState::Restarting, "restarting"),
    (MemberState::Failed, "failed"),
];

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = STATES.iter().find(|(state, _)| state == self).map_or("unknown", |(_, word)| word);
        f.write_str(word)
    }
}

/// A member's health, as the node that tells it knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ToldMember {
    /// Where clients reach it, if that is known.
    pub client: Option<SocketAddr>,
    /// Whether it can be expected to answer.
    pub state: MemberState,
    /// The part of its partitions whose copies are complete, in thousandths.
    pub synced_permille: u16,
}

/// A ring, and how its members are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ToldRing {
    /// The ring config. One that was read has passed [`RingConfig::check`].
    pub config: RingConfig,
    /// One for each of its members, in the same order.
    pub members: Vec<ToldMember>,
}

/// Why a text is not a ring.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RingTextError {
    /// The form is of a release to come.
    #[error("the ring is told in form {0}, this release reads {FORM}")]
    Form(u32),
    /// A line does not say what it should.
    #[error("malformed ring: {0}")]
    Malformed(&'static str),
    /// The parts do not hold together.
    #[error(transparent)]
    Config(#[from] RingConfigError),
}

/// `config get` with what is asked for: `cluster` or `ring`.
pub fn encode_config_get(what: &'static str, out: &mut BytesMut) {
    out.put_slice(b"config get ");
    out.put_slice(what.as_bytes());
    out.put_slice(b"\r\n");
}

/// The text of a ring, without the lines before and behind it.
pub fn ring_text(told: Option<&ToldRing>) -> String {
    let mut text = format!("{FORM}\n");
    let Some(ToldRing { config, members }) = told else { return text };
    let RingConfig { ring_id, epoch: Epoch(epoch), replicas, vnodes, cluster, .. } = config;
    let cluster = encoded(cluster);
    let _ = writeln!(text, "ring id={ring_id} epoch={epoch} replicas={replicas} vnodes={vnodes} cluster={cluster}");
    for (RingMember { name, slot, share, standing }, told) in config.members.iter().zip(members) {
        let (zone, slot) = (encoded(&share.zone), slot.number());
        let _ = write!(text, "member name={name} slot={slot} zone={zone} weight={} standing=", share.weight);
        let _ = match standing {
            Standing::Joining => write!(text, "joining"),
            Standing::Active => write!(text, "active"),
            Standing::Leaving => write!(text, "leaving"),
            Standing::Changing(next) => {
                write!(text, "changing next_zone={} next_weight={}", encoded(&next.zone), next.weight)
            }
        };
        if let Some(client) = told.client {
            let _ = write!(text, " client={client}");
        }
        let _ = writeln!(text, " state={} synced={}", told.state, told.synced_permille);
    }
    text
}

fn encoded(label: &str) -> String {
    let mut out = Vec::new();
    put_uri_encoded(label.as_bytes(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Reads the text of a ring; `None` where the node that tells knows none yet.
pub fn read_ring_text(text: &[u8]) -> Result<Option<ToldRing>, RingTextError> {
    if text.len() > RING_TEXT_BYTES_MAX {
        return Err(RingTextError::Malformed("too long"));
    }
    let text = std::str::from_utf8(text).map_err(|_| RingTextError::Malformed("not UTF-8"))?;
    let mut lines = text.lines();
    let form = lines.next().and_then(|form| form.parse().ok()).ok_or(RingTextError::Malformed("no form"))?;
    if form != FORM {
        return Err(RingTextError::Form(form));
    }
    let mut config: Option<RingConfig> = None;
    let mut members = Vec::new();
    for line in lines {
        let (kind, words) = line.split_once(' ').unwrap_or((line, ""));
        match kind {
            "ring" if config.is_some() => return Err(RingTextError::Malformed("two rings")),
            "ring" => config = Some(read_ring(Words(words))?),
            "member" if members.len() == usize::from(SLOTS_MAX) => return Err(RingTextError::Malformed("members")),
            "member" => {
                let config = config.as_mut().ok_or(RingTextError::Malformed("a member before its ring"))?;
                let (member, told) = read_member(Words(words))?;
                config.members.push(member);
                members.push(told);
            }
            _ => {}
        }
    }
    let Some(config) = config else { return Ok(None) };
    config.check()?;
    Ok(Some(ToldRing { config, members }))
}

fn read_ring(words: Words<'_>) -> Result<RingConfig, RingTextError> {
    let id = words.find("id").and_then(|id| u64::from_str_radix(id, 16).ok());
    Ok(RingConfig {
        ring_id: RingId(id.ok_or(RingTextError::Malformed("id"))?),
        epoch: Epoch(words.parsed("epoch")?),
        cluster: words.label("cluster")?,
        replicas: words.parsed("replicas")?,
        vnodes: words.parsed("vnodes")?,
        members: Vec::new(),
    })
}

fn read_member(words: Words<'_>) -> Result<(RingMember, ToldMember), RingTextError> {
    let name = words.find("name").and_then(|name| NodeName::new(name).ok());
    let slot = Slot::new(words.parsed("slot")?).ok_or(RingTextError::Malformed("slot"))?;
    let standing = match words.find("standing") {
        Some("joining") => Standing::Joining,
        Some("active") => Standing::Active,
        Some("leaving") => Standing::Leaving,
        Some("changing") => {
            Standing::Changing(Share { zone: words.label("next_zone")?, weight: words.parsed("next_weight")? })
        }
        _ => return Err(RingTextError::Malformed("standing")),
    };
    let share = Share { zone: words.label("zone")?, weight: words.parsed("weight")? };
    // What is new in a later release's health of a member is not known here, and no reason to know no ring.
    let state = words.find("state").and_then(|word| STATES.iter().find(|(_, known)| *known == word));
    let told = ToldMember {
        client: words.find("client").and_then(|client| client.parse().ok()),
        state: state.map_or(MemberState::Unknown, |(state, _)| *state),
        synced_permille: words.parsed("synced")?,
    };
    Ok((RingMember { name: name.ok_or(RingTextError::Malformed("name"))?, slot, share, standing }, told))
}

/// Words of the form `name=value`.
#[derive(Clone, Copy)]
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn find(self, name: &str) -> Option<&'a str> {
        self.0.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    fn parsed<T: FromStr>(self, name: &'static str) -> Result<T, RingTextError> {
        self.find(name).and_then(|value| value.parse().ok()).ok_or(RingTextError::Malformed(name))
    }

    fn label(self, name: &'static str) -> Result<String, RingTextError> {
        let bytes = self.find(name).and_then(|value| uri_decoded(value.as_bytes()));
        bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(RingTextError::Malformed(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, slot: u16, zone: &str, standing: Standing) -> RingMember {
        let (name, slot) = (NodeName::new(name).expect("a name"), Slot::new(slot).expect("a slot"));
        RingMember { name, slot, share: Share { zone: zone.to_owned(), weight: 100 }, standing }
    }

    fn ring() -> ToldRing {
        let next = Share { zone: "b 2".to_owned(), weight: 250 };
        let config = RingConfig {
            ring_id: RingId(0xab),
            epoch: Epoch(7),
            cluster: "my cluster".to_owned(),
            replicas: 3,
            vnodes: 256,
            members: vec![
                member("a=1", 0, "", Standing::Active),
                member("b", 5, "ü,b", Standing::Changing(next)),
                member("c", 2, "b", Standing::Active),
            ],
        };
        let told =
            |client: &str, state, synced_permille| ToldMember { client: client.parse().ok(), state, synced_permille };
        let members = vec![
            told("10.0.0.1:11211", MemberState::Alive, 1000),
            told("[::1]:11211", MemberState::Suspect, 250),
            told("", MemberState::Failed, 0),
        ];
        ToldRing { config, members }
    }

    #[test]
    fn a_ring_is_read_as_it_was_told() {
        let text = ring_text(Some(&ring()));
        assert_eq!(
            text,
            "1\n\
             ring id=00000000000000ab epoch=7 replicas=3 vnodes=256 cluster=my%20cluster\n\
             member name=a=1 slot=0 zone= weight=100 standing=active client=10.0.0.1:11211 state=alive synced=1000\n\
             member name=b slot=5 zone=%C3%BC%2Cb weight=100 standing=changing next_zone=b%202 next_weight=250 \
             client=[::1]:11211 state=suspect synced=250\n\
             member name=c slot=2 zone=b weight=100 standing=active state=failed synced=0\n"
        );
        assert_eq!(read_ring_text(text.as_bytes()), Ok(Some(ring())));
        assert_eq!(read_ring_text(ring_text(None).as_bytes()), Ok(None));
        for (word, standing) in [("joining", Standing::Joining), ("leaving", Standing::Leaving)] {
            let mut told = ring();
            told.config.members[1].standing = standing;
            let text = ring_text(Some(&told));
            assert!(text.contains(&format!("standing={word} ")), "{text}");
            assert_eq!(read_ring_text(text.as_bytes()), Ok(Some(told)));
        }
    }

    #[test]
    fn what_a_later_release_adds_is_passed_over_and_a_later_form_is_refused() {
        let text = ring_text(Some(&ring()));
        let later = text.replace(" weight=", " disk=ssd weight=").replace("state=suspect", "state=tired");
        let mut expected = ring();
        expected.members[1].state = MemberState::Unknown;
        assert_eq!(read_ring_text(format!("{later}racks 1 2 3\n\n").as_bytes()), Ok(Some(expected)));
        assert_eq!(read_ring_text(text.replacen('1', "2", 1).as_bytes()), Err(RingTextError::Form(2)));
    }

    #[test]
    fn a_ring_that_does_not_hold_together_is_refused() {
        let text = ring_text(Some(&ring()));
        for (from, to) in [
            ("1\n", ""),
            ("1\n", "one\n"),
            ("epoch=7", "epoch=0"),
            ("epoch=7", "epoch=-7"),
            ("id=00000000000000ab", "id=x"),
            ("vnodes=256", "vnodes=65536"),
            ("my%20cluster", "my%2"),
            ("slot=5", "slot=0"),
            ("slot=5", "slot=1024"),
            ("zone=%C3%BC", "zone=%FF"),
            ("standing=active", "standing=up"),
            ("weight=100", "weight=0"),
            ("name=b ", "nome=b "),
            ("name=b ", "name=z "),
            ("synced=250", "synced=all"),
            ("ring id", "rang id"),
            ("member", "ring id=1 epoch=1 replicas=1 vnodes=1 cluster=\nmember"),
        ] {
            let wrong = text.replacen(from, to, 1);
            assert_ne!(wrong, text, "{from}");
            assert!(read_ring_text(wrong.as_bytes()).is_err(), "{from} -> {to}");
        }
        assert!(read_ring_text(b"1\nring \xff\n").is_err());
        let long = format!("{text}{}", "x\n".repeat(RING_TEXT_BYTES_MAX / 2));
        assert_eq!(read_ring_text(long.as_bytes()), Err(RingTextError::Malformed("too long")));
    }

    #[test]
    fn the_largest_ring_fits() {
        let mut told = ring();
        let health = told.members[0];
        let of = |number: u16| {
            let name = format!("{number:0>width$}", width = crate::ring::NODE_NAME_BYTES_MAX);
            let zone = "\u{1}".repeat(crate::ring::LABEL_BYTES_MAX);
            let next = Share { zone: zone.clone(), weight: 100 };
            member(&name, number, &zone, if number == 0 { Standing::Changing(next) } else { Standing::Active })
        };
        told.config.members = (0..SLOTS_MAX).map(of).collect();
        told.members = vec![health; SLOTS_MAX.into()];
        assert_eq!(read_ring_text(ring_text(Some(&told)).as_bytes()), Ok(Some(told)));
    }
}
