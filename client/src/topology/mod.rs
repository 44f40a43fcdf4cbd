//! What the cluster is: its servers, and which of them a key belongs to. A value of one moment, replaced whole.
//!
//! Must not know connections, nor which server can be asked now: `routing` goes by this and by the breakers.
//!
//! ```text
//! Topology ── Ring     memring that tells its ring: the server's own placement
//!           ├ AnyNode  memring that does not: every node answers for every key
//!           └ Modulus  memcached servers, each with keys of its own: ketama, or Grafana's jump hash
//! ```

mod discover;
mod jump;
mod ketama;
mod ring;

use memring_protocol::key::Token;
use memring_protocol::ring::Epoch;
use memring_protocol::text::MemberState;

pub(crate) use self::discover::{Discovered, discover};
use self::jump::JumpHash;
use self::ketama::Ketama;
pub(crate) use self::ring::Homes;
pub use self::ring::Ring;
#[cfg(test)]
pub(crate) use self::ring::tests as ring_tests;

/// How keys are placed on servers that are no cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Hash {
    /// As libmemcached with `KETAMA_WEIGHTED`, and the many that follow it, with equal weights: 160 points a server, MD5. A
    /// server that comes or goes moves only its share of the keys, wherever it stands in the list. The default.
    #[default]
    Ketama,
    /// As Grafana's clients (dskit): jump hash of the key's XXH64 over the names in natural order. A server that comes or
    /// goes anywhere but at the end of that order moves many keys.
    Jump,
}

/// One server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// Its name on the ring; its address where there is no ring.
    pub name: String,
    /// `host:port` for clients; empty if no node knows it yet.
    pub address: String,
    /// Its failure domain; empty if it has none.
    pub zone: String,
    /// Its health as the node says that told the ring.
    pub state: MemberState,
    /// The part of its partitions whose copies are complete, in thousandths.
    pub synced_permille: u16,
}

impl Server {
    /// One of which no more is known than where it is.
    fn at(address: &str) -> Self {
        Self {
            name: address.to_owned(),
            address: address.to_owned(),
            zone: String::new(),
            state: MemberState::Unknown,
            synced_permille: 1000,
        }
    }

    /// Whether it can be asked, as far as the cluster knows: it has an address and is not known to be away.
    pub fn is_up(&self) -> bool {
        !self.address.is_empty() && !matches!(self.state, MemberState::Failed | MemberState::Restarting)
    }
}

/// How keys find their servers.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Placing {
    Ring(Ring),
    AnyNode,
    Ketama(Ketama),
    Jump(JumpHash),
}

/// The servers of a moment, and which keys belong to them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topology {
    servers: Vec<Server>,
    placing: Placing,
}

impl Topology {
    /// A memring ring.
    pub fn of_ring(ring: Ring) -> Self {
        Self { servers: ring.servers(), placing: Placing::Ring(ring) }
    }

    /// Nodes of one memring cluster, any of which answers for any key.
    pub fn of_any_node(addresses: &[String]) -> Self {
        Self { servers: addresses.iter().map(|address| Server::at(address)).collect(), placing: Placing::AnyNode }
    }

    /// memcached servers that know nothing of each other.
    pub fn of_memcached(addresses: &[String], hash: Hash) -> Self {
        let placing = match hash {
            Hash::Ketama => Placing::Ketama(Ketama::of(addresses)),
            Hash::Jump => Placing::Jump(JumpHash::of(addresses)),
        };
        Self { servers: addresses.iter().map(|address| Server::at(address)).collect(), placing }
    }

    /// All servers.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The ring, where there is one.
    pub fn ring(&self) -> Option<&Ring> {
        match &self.placing {
            Placing::Ring(ring) => Some(ring),
            _ => None,
        }
    }

    /// The ring config's number; 0 where there is no ring.
    pub fn epoch(&self) -> Epoch {
        self.ring().map_or(Epoch(0), |ring| ring.config().epoch)
    }

    /// Whether every server answers for every key, so that one that is no home of a key may be asked too.
    pub fn is_one_cache(&self) -> bool {
        matches!(self.placing, Placing::Ring(_) | Placing::AnyNode)
    }

    /// The servers that a key belongs to, the first in the ring's order first: its homes on a ring, all where any node
    /// answers, one of several memcached servers.
    pub fn homes(&self, key: &[u8]) -> Vec<&Server> {
        self.home_numbers(key).into_iter().map(|number| &self.servers[number]).collect()
    }

    /// The same as places in [`Topology::servers`].
    pub(crate) fn home_numbers(&self, key: &[u8]) -> Homes {
        self.placed(key).0
    }

    /// The homes of a key, and where its way among all servers begins. One hash of the key is all it takes.
    pub(crate) fn placed(&self, key: &[u8]) -> (Homes, usize) {
        let count = self.servers.len();
        let rotation = |token: Token| (token.0 % count.max(1) as u64) as usize;
        match &self.placing {
            Placing::Ring(ring) => {
                let token = Token::of(key);
                (ring.home_numbers(token), rotation(token))
            }
            // By key, so that gets of one key go the same way, and meet.
            Placing::AnyNode => {
                let start = rotation(Token::of(key));
                ((start..start + count).map(|number| number % count).collect(), start)
            }
            Placing::Ketama(ketama) => (ketama.server_of(key).into_iter().collect(), 0),
            Placing::Jump(jump) => (jump.server_of(key).into_iter().collect(), 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("10.0.0.{number}:11211")).collect()
    }

    #[test]
    fn any_node_answers_for_any_key_and_keys_begin_everywhere() {
        let topology = Topology::of_any_node(&addresses(3));
        let mut first = [0; 3];
        for key in 0..300 {
            let homes: Vec<usize> = topology.home_numbers(format!("key-{key}").as_bytes()).to_vec();
            assert_eq!(homes.len(), 3);
            assert!((0..3).all(|server| homes.contains(&server)));
            first[homes[0]] += 1;
        }
        assert!(first.iter().all(|&count| count > 60), "{first:?}");
        assert!(topology.is_one_cache() && topology.ring().is_none());
    }

    #[test]
    fn a_key_has_one_memcached_server_and_all_have_keys() {
        for hash in [Hash::Ketama, Hash::Jump] {
            let topology = Topology::of_memcached(&addresses(4), hash);
            let mut counts = [0; 4];
            for key in 0..4000 {
                let homes: Vec<usize> = topology.home_numbers(format!("key-{key}").as_bytes()).to_vec();
                let [home] = homes[..] else { panic!("{homes:?}") };
                counts[home] += 1;
            }
            assert!(counts.iter().all(|&count| count > 700), "{hash:?}: {counts:?}");
            assert!(!topology.is_one_cache());
        }
    }

    #[test]
    fn no_servers_have_no_keys() {
        for topology in [
            Topology::of_any_node(&[]),
            Topology::of_memcached(&[], Hash::Ketama),
            Topology::of_memcached(&[], Hash::Jump),
        ] {
            assert!(topology.homes(b"key").is_empty());
        }
    }
}
