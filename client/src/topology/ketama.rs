//! libmemcached's ketama: 160 points a server on a circle of 32 bits, by MD5; a key belongs to the next point.
//!
//! As libmemcached does it with `MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED` and equal weights (libmemcached/hosts.cc,
//! `update_continuum`; hash.cc, `dispatch_host`): names of points are `host-n` on port 11211 and `host:port-n` on others. Must
//! not know servers beyond their addresses.

use md5::{Digest, Md5};

/// Points a server, where servers weigh the same.
const POINTS: f32 = 160.0;

/// Points that one digest gives.
const POINTS_A_DIGEST: usize = 4;

/// The port that names of points leave out.
const DEFAULT_PORT: &str = "11211";

/// The circle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ketama {
    /// Points and the servers they belong to, as places in the list, in order.
    points: Vec<(u32, usize)>,
}

impl Ketama {
    pub(super) fn of(addresses: &[String]) -> Self {
        let digests = digests(addresses.len());
        let mut points = Vec::with_capacity(addresses.len() * digests * POINTS_A_DIGEST);
        for (server, address) in addresses.iter().enumerate() {
            let name = match address.rsplit_once(':') {
                Some((host, DEFAULT_PORT)) => host,
                _ => address,
            };
            for number in 0..digests {
                let digest = Md5::digest(format!("{name}-{number}"));
                points.extend((0..POINTS_A_DIGEST).map(|part| (word(&digest, part), server)));
            }
        }
        points.sort_unstable();
        Self { points }
    }

    /// The server of a key, as its place in the list; `None` where there is no server.
    pub(super) fn server_of(&self, key: &[u8]) -> Option<usize> {
        let hash = word(&Md5::digest(key), 0);
        let next = self.points.partition_point(|(point, _)| *point < hash);
        self.points.get(next).or(self.points.first()).map(|(_, server)| *server)
    }
}

/// Digests a server: 40, reckoned as libmemcached does in single precision, where some numbers of servers come to one less.
fn digests(servers: usize) -> usize {
    let servers = servers as f32;
    let share = 1.0 / servers;
    let digests = share * POINTS / POINTS_A_DIGEST as f32 * servers;
    ((f64::from(digests) + 0.000_000_000_1) as f32).floor() as usize
}

/// Four bytes of a digest, the lowest first.
fn word(digest: &[u8], part: usize) -> u32 {
    u32::from_le_bytes(digest[part * 4..part * 4 + 4].try_into().expect("four bytes of sixteen"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_server_has_160_points_and_the_default_port_is_not_named() {
        let ketama = Ketama::of(&addresses(&["10.0.1.1:11211"]));
        assert_eq!(ketama.points.len(), 160);
        assert_eq!(ketama, Ketama::of(&addresses(&["10.0.1.1"])));
        assert_ne!(ketama, Ketama::of(&addresses(&["10.0.1.1:11212"])));
        // MD5("10.0.1.1-0"), its first four bytes read backwards.
        let digest = Md5::digest("10.0.1.1-0");
        let first = u32::from_be_bytes([digest[3], digest[2], digest[1], digest[0]]);
        assert!(ketama.points.contains(&(first, 0)));
    }

    #[test]
    fn keys_lie_where_libmemcached_lays_them() {
        // What `memcached_generate_hash` of libmemcached 1.0.16 says, by pylibmc's `Client.hash`.
        let ketama =
            Ketama::of(&addresses(&["10.0.0.1:11211", "10.0.0.2:11211", "10.0.0.3:11212", "cache.example:11213"]));
        let placed: Vec<usize> =
            (0..20).map(|key| ketama.server_of(format!("key-{key}").as_bytes()).expect("one")).collect();
        assert_eq!(placed, [3, 2, 0, 3, 3, 0, 2, 0, 1, 2, 2, 0, 0, 0, 3, 1, 3, 3, 3, 1]);
    }

    #[test]
    fn servers_have_forty_digests_or_one_less() {
        // Held against libmemcached by the keys' places, at 3, 7, 25, 47, 50 and 55 servers.
        let fewer: Vec<usize> = (1..=100).filter(|&servers| digests(servers) != 40).collect();
        assert_eq!(fewer, [25, 47, 50, 55, 61, 71, 94, 100]);
        assert!(fewer.into_iter().all(|servers| digests(servers) == 39));
    }

    #[test]
    fn a_key_belongs_to_the_next_point_and_behind_the_last_to_the_first() {
        let ketama = Ketama { points: vec![(10, 0), (word(&Md5::digest("key"), 0), 1), (u32::MAX - 1, 2)] };
        assert_eq!(ketama.server_of(b"key"), Some(1), "a point's own place is its server's");
        let low = Ketama { points: vec![(0, 7), (1, 8)] };
        assert_eq!(low.server_of(b"key"), Some(7));
    }

    #[test]
    fn a_server_that_goes_moves_its_keys_only() {
        let (all, without) = (["a:1", "b:1", "c:1", "d:1"], ["a:1", "c:1", "d:1"]);
        let (before, after) = (Ketama::of(&addresses(&all)), Ketama::of(&addresses(&without)));
        for key in 0..2000 {
            let key = format!("key-{key}");
            let was = all[before.server_of(key.as_bytes()).expect("one")];
            let is = without[after.server_of(key.as_bytes()).expect("one")];
            assert!(was == "b:1" || was == is, "{key}: {was} {is}");
        }
    }
}
