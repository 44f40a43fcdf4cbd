//! Two mixes of a key's token: one keyed by a secret, for tables; one the same on every node, for digests.
//!
//! Must not know tables or queues.

use memring_protocol::version::Version;

/// The low and high half of a 128-bit product, folded (the multiply of wyhash, Wang Yi 2019).
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

/// Where a key lies in the tables of one store. Tokens are public, and the low 50 bits of them are free within a
/// partition, so a client could choose keys that fall together: the seed keeps it from knowing which do.
pub(super) fn table_hash(token: u64, seed: u64) -> u64 {
    let once = fold(token ^ seed, 0x9e37_79b9_7f4a_7c15);
    fold(once ^ seed.rotate_left(32), 0xe703_7ed1_a0b4_28db)
}

/// What a held entry adds to (and, being an XOR, takes from) its partition's digest. Compared between nodes: changing it
/// changes the peer protocol.
pub(super) fn digest_share(token: u64, version: Version) -> u64 {
    let key = fold(token ^ 0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db);
    let term = fold(key ^ version.ballot.0, 0x8ebc_6af0_9c88_c6e3);
    fold(term ^ version.stamp.0, 0x5899_65cc_7537_4cc3).wrapping_add(key)
}

#[cfg(test)]
mod tests {
    use memring_protocol::version::{Ballot, Stamp, Version};

    use super::*;

    #[test]
    fn the_share_of_an_entry_is_the_same_on_every_node() {
        let version = |ballot, stamp| Version { ballot: Ballot(ballot), stamp: Stamp(stamp) };
        let share = digest_share(1, version(2, 3));
        assert_eq!(share, GOLDEN, "{share:#x}: nodes of two builds would never agree");
        for other in [digest_share(2, version(2, 3)), digest_share(1, version(3, 3)), digest_share(1, version(2, 4))] {
            assert_ne!(share, other);
        }
    }

    /// Pinned: see [`digest_share`].
    const GOLDEN: u64 = 0xd758_69dc_2e8a_dcdf;

    #[test]
    fn the_seed_changes_where_keys_lie() {
        let low = |seed| (0..64u64).map(|token| table_hash(token, seed) & 0xff).collect::<Vec<_>>();
        assert_ne!(low(1), low(2));
    }
}
