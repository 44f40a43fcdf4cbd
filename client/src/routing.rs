//! Which server a request for a key goes to, and which one next.
//!
//! | what | first | why |
//! |---|---|---|
//! | a write | the first home | it orders the partition's writes while all is well: no hop before that |
//! | a read | the first home, in the reader's own zone if it has one there | see below |
//! | either | then the other homes, those whose copies are complete first; then any node | any node answers for any key |
//! | either, at memcached servers | the key's only server | |
//!
//! A home with a complete copy reads it without a hop at level one, and saves one at quorum. Of the homes the first is asked:
//! the ring makes each node first for its share of the partitions, so the load is even; all clients ask the same one, so that a
//! value is kept warm once; and since writes go there too, a client that reads what it wrote finds it, at level one as well.
//! Must not know connections: whether a server may be asked is an argument.

use crate::topology::{Homes, Server, Topology};

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    Read,
    Write,
}

/// The way of one request: servers, as places in the topology, each given once.
#[derive(Debug)]
pub(crate) struct Route {
    homes: Homes,
    /// Where the others begin.
    rotation: usize,
    at: usize,
}

impl Route {
    /// The way of a request for `key`, of a client in `zone`, which may be empty.
    pub(crate) fn of(topology: &Topology, zone: &str, key: &[u8], purpose: Purpose) -> Self {
        let (mut homes, rotation) = topology.placed(key);
        if homes.len() > 1 {
            let is_far = |server: &Server| purpose == Purpose::Read && !zone.is_empty() && server.zone != zone;
            // Stable: the ring's order among those alike.
            homes.sort_by_key(|home| {
                let server = &topology.servers()[*home];
                (server.synced_permille < 1000, is_far(server))
            });
        }
        Self { homes, rotation, at: 0 }
    }

    /// The next server that may be asked: homes that are up, other nodes that are up, then whoever is left.
    pub(crate) fn next(&mut self, topology: &Topology, may_ask: impl Fn(usize) -> bool) -> Option<usize> {
        let (homes, servers) = (self.homes.len(), topology.servers());
        loop {
            let at = self.at;
            self.at += 1;
            if let Some(&home) = self.homes.get(at) {
                if (servers[home].is_up() || !topology.is_one_cache()) && may_ask(home) {
                    return Some(home);
                }
            } else if !topology.is_one_cache() {
                return None;
            } else if at - homes < servers.len() {
                let other = (self.rotation + at - homes) % servers.len();
                if !self.homes.contains(&other) && servers[other].is_up() && may_ask(other) {
                    return Some(other);
                }
            } else if at - homes < 2 * servers.len() {
                let left = (self.rotation + at - homes) % servers.len();
                if !servers[left].is_up() && may_ask(left) {
                    return Some(left);
                }
            } else {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use memring_protocol::ring::Standing;
    use memring_protocol::text::MemberState;

    use super::*;
    use crate::topology::{Hash, Ring, ring_tests::told};

    /// Five nodes, n0 to n4, in the zones a, b, c, a, b.
    fn five(adjust: impl FnOnce(&mut memring_protocol::text::ToldRing)) -> Topology {
        let zones = ["a", "b", "c", "a", "b"].map(|zone| (zone, Standing::Active));
        let mut told = told(1, &zones);
        adjust(&mut told);
        Topology::of_ring(Ring::of(told, None))
    }

    fn way(topology: &Topology, zone: &str, key: &[u8], purpose: Purpose, refused: &[usize]) -> Vec<usize> {
        let mut route = Route::of(topology, zone, key, purpose);
        std::iter::from_fn(|| route.next(topology, |server| !refused.contains(&server))).collect()
    }

    fn keys() -> impl Iterator<Item = Vec<u8>> {
        (0..500).map(|number| format!("key-{number}").into_bytes())
    }

    #[test]
    fn homes_come_first_in_the_rings_order_then_everybody_else_once() {
        let topology = five(|_| {});
        for key in keys() {
            let homes: Vec<usize> = topology.home_numbers(&key).to_vec();
            for purpose in [Purpose::Read, Purpose::Write] {
                let way = way(&topology, "", &key, purpose, &[]);
                assert_eq!(way[..3], homes[..]);
                let mut all = way.clone();
                all.sort_unstable();
                assert_eq!(all, [0, 1, 2, 3, 4]);
            }
        }
    }

    #[test]
    fn each_node_is_first_for_its_share_of_the_keys() {
        let topology = five(|_| {});
        let mut first = [0; 5];
        keys().for_each(|key| first[way(&topology, "", &key, Purpose::Read, &[])[0]] += 1);
        assert!(first.iter().all(|&count| (60..=140).contains(&count)), "{first:?}");
    }

    #[test]
    fn a_reader_asks_its_own_zone_first_and_a_writer_who_orders() {
        let topology = five(|_| {});
        for key in keys() {
            let homes: Vec<usize> = topology.home_numbers(&key).to_vec();
            let read = way(&topology, "b", &key, Purpose::Read, &[]);
            assert_eq!(topology.servers()[read[0]].zone, "b", "homes are of distinct zones, and there are three");
            assert_eq!(way(&topology, "b", &key, Purpose::Write, &[])[..3], homes[..]);
            assert_eq!(way(&topology, "elsewhere", &key, Purpose::Read, &[])[..3], homes[..]);
        }
    }

    #[test]
    fn homes_that_lack_entries_come_after_the_others_and_those_that_are_away_last() {
        let topology = five(|told| {
            told.members[0].synced_permille = 999;
            told.members[1].state = MemberState::Failed;
            told.members[2].client = None;
        });
        for key in keys() {
            // Without an address there is no connection to ask.
            let way = way(&topology, "", &key, Purpose::Read, &[2]);
            assert_eq!(way.len(), 4);
            assert_eq!(way[3], 1, "{way:?}");
            let homes: Vec<usize> =
                topology.home_numbers(&key).into_iter().filter(|home| ![1, 2].contains(home)).collect();
            assert_eq!(way[..homes.len()].iter().filter(|home| homes.contains(home)).count(), homes.len());
            if let Some(place) = way[..homes.len()].iter().position(|home| *home == 0) {
                assert_eq!(place, homes.len() - 1, "{way:?}");
            }
        }
    }

    #[test]
    fn a_key_of_memcached_servers_goes_to_its_server_or_nowhere() {
        let addresses: Vec<String> = (0..3).map(|number| format!("10.0.0.{number}:11211")).collect();
        for hash in [Hash::Ketama, Hash::Jump] {
            let topology = Topology::of_memcached(&addresses, hash);
            for key in keys() {
                let home = topology.home_numbers(&key).first().copied().expect("one");
                assert_eq!(way(&topology, "a", &key, Purpose::Write, &[]), [home]);
                assert_eq!(way(&topology, "", &key, Purpose::Read, &[home]), [0; 0]);
            }
        }
        assert_eq!(way(&Topology::of_any_node(&[]), "", b"key", Purpose::Read, &[]), [0; 0]);
    }
}
