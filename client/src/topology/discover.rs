//! Finds out what a server is part of, by asking it.
//!
//! Must not know which server is asked, nor what becomes of the answer.

use std::time::Duration;

use memring_protocol::text::read_ring_text;
use tokio::time::Instant;

use super::{Hash, Ring, Topology};
use crate::answer::Answer;
use crate::error::Error;
use crate::link::{Asking, Fits, Link};
use crate::pipeline::Pipeline;

/// A name of `stats` that memcached does not have.
const MEMRINGS_OWN: &str = "ring_epoch";

/// What is known before anybody is asked.
pub(crate) struct Discovered<'a> {
    /// The servers to fall back on where none tells of others.
    pub(crate) seeds: &'a [String],
    /// How keys are placed on memcached servers.
    pub(crate) hash: Hash,
    /// The last topology, whose placement is kept if it still holds.
    pub(crate) before: Option<&'a Topology>,
    /// How long an answer may take.
    pub(crate) within: Duration,
}

/// Asks for the ring; then, of nodes before 0.2 and of memcached, for what they have.
pub(crate) async fn discover(link: &Link, known: &Discovered<'_>) -> Result<Topology, Error> {
    match ask(link, known, |request| request.config_get("ring")).await? {
        Answer::Config(text) => match read_ring_text(&text) {
            Ok(Some(told)) => {
                let before = known.before.and_then(Topology::ring);
                return Ok(Topology::of_ring(Ring::of(told, before)));
            }
            Ok(None) => return Ok(Topology::of_any_node(known.seeds)),
            // Of a release to come: it is memring, and any of its nodes answers.
            Err(_) => {}
        },
        Answer::Refused(_) => {
            if !is_memring(link, known).await? {
                let list = cluster(link, known).await?;
                return Ok(Topology::of_memcached(list.as_deref().unwrap_or(known.seeds), known.hash));
            }
        }
        other => return Err(unexpected(&other)),
    }
    let list = cluster(link, known).await?;
    Ok(Topology::of_any_node(list.as_deref().unwrap_or(known.seeds)))
}

/// memring calls itself by the version of memcached that it answers as, and tells more statistics.
async fn is_memring(link: &Link, known: &Discovered<'_>) -> Result<bool, Error> {
    let stats = ask(link, known, |request| request.stats("").expect("no words are a line")).await?;
    Ok(matches!(stats, Answer::Stats(stats) if stats.iter().any(|(name, _)| name == MEMRINGS_OWN)))
}

/// `config get cluster`, which hosted memcached has too; `None` where it is not known, or lists nobody.
async fn cluster(link: &Link, known: &Discovered<'_>) -> Result<Option<Vec<String>>, Error> {
    match ask(link, known, |request| request.config_get("cluster")).await? {
        Answer::Config(text) => Ok(Some(listed(&text)).filter(|list| !list.is_empty())),
        Answer::Refused(_) => Ok(None),
        other => Err(unexpected(&other)),
    }
}

/// The nodes of `<version>\n<host>|<ip>|<port> …`; what is none is passed over.
fn listed(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let nodes = text.lines().nth(1).unwrap_or_default().split_whitespace();
    let address = |node: &str| {
        let mut parts = node.split('|');
        let (host, ip, port) = (parts.next()?, parts.next()?, parts.next()?.parse::<u16>().ok()?);
        let host = if host.is_empty() { ip } else { host };
        (!host.is_empty()).then(|| format!("{host}:{port}"))
    };
    nodes.filter_map(address).collect()
}

async fn ask(link: &Link, known: &Discovered<'_>, add: impl FnOnce(&mut Pipeline)) -> Result<Answer, Error> {
    let mut request = Pipeline::new();
    add(&mut request);
    let (bytes, expected) = request.into_only();
    link.call(Asking::Say { bytes, expected, fits: Fits::If(|_| true) }, Instant::now() + known.within, known.within)
        .await
}

fn unexpected(answer: &Answer) -> Error {
    match answer {
        Answer::Failed(text) => Error::Failed(text.clone()),
        other => Error::OutOfProtocol(format!("{other:?} does not tell of the cluster")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_nodes_is_read_as_hosted_caches_write_it() {
        for (text, addresses) in [
            ("12\na.example|10.0.0.1|11211 b.example|10.0.0.2|11212\n", &["a.example:11211", "b.example:11212"][..]),
            ("12\na.example||11211\n", &["a.example:11211"]),
            ("3\n127.0.0.1|127.0.0.1|11211 [::1]|::1|11213\n", &["127.0.0.1:11211", "[::1]:11213"]),
            ("3\n|10.0.0.1|11211 a|b ||1 a|b|x\n", &["10.0.0.1:11211"]),
            ("3\n\n", &[]),
            ("3", &[]),
            ("", &[]),
        ] {
            assert_eq!(listed(text.as_bytes()), addresses, "{text:?}");
        }
    }
}
