//! Placement: which nodes are the home replicas of each partition, walked once for a ring config.
//!
//! A function of the config alone, so that client and server, old and new, agree: the golden vectors below pin it. Must
//! not know liveness: who of the homes is up is the topology's business. Consistent hashing with virtual nodes and
//! preference lists follow DeCandia et al., "Dynamo" (2007), sections 4.2 and 4.3.

use std::fmt::Write as _;

use super::{NodeName, RingConfig, Share, Standing};
use crate::key::{PARTITIONS, Partition, Token};
use crate::version::Slot;

/// The most points one node may have, whatever its weight: a config from the network never makes us hash without end,
/// and 16 full shares of the default 256 vnodes are still told apart.
pub const NODE_POINTS_MAX: u32 = 4096;

/// The home replicas of every partition. Immutable: a new config makes a new one.
#[derive(Clone, PartialEq, Eq)]
pub struct Placement {
    replicas: usize,
    /// `replicas` slots a partition, in ring order: one allocation, and a request looks up an array.
    homes: Box<[Slot]>,
}

impl Placement {
    /// Where the copies are now: joiners own nothing yet, those who leave own still.
    pub fn current(config: &RingConfig) -> Self {
        let stay = config.members.iter().filter(|member| member.standing != Standing::Joining);
        Self::of(
            config,
            stay.map(|member| Owner { name: &member.name, slot: member.slot, share: &member.share }).collect(),
        )
    }

    /// Where the copies will be when the move in progress is complete; the same as now when there is none.
    pub fn next(config: &RingConfig) -> Self {
        let stay = config.members.iter().filter(|member| member.standing != Standing::Leaving);
        let owners = stay.map(|member| {
            let share = if let Standing::Changing(next) = &member.standing { next } else { &member.share };
            Owner { name: &member.name, slot: member.slot, share }
        });
        Self::of(config, owners.collect())
    }

    /// The preference list: the homes of a partition, the first clockwise first.
    pub fn homes(&self, partition: Partition) -> &[Slot] {
        let start = partition.index() * self.replicas;
        &self.homes[start..start + self.replicas]
    }

    /// How many homes a partition has: N, or fewer while there are fewer nodes.
    pub fn replicas(&self) -> usize {
        self.replicas
    }

    /// Whether both give a partition the same homes in the same order.
    pub fn places_alike(&self, other: &Self, partition: Partition) -> bool {
        self.homes(partition) == other.homes(partition)
    }

    fn of(config: &RingConfig, mut owners: Vec<Owner<'_>>) -> Self {
        // Points of equal tokens go by name, so that the order of the list they came in does not matter.
        owners.sort_unstable_by(|a, b| a.name.cmp(b.name));
        let replicas = usize::from(config.replicas).min(owners.len());
        let mut homes = Vec::with_capacity(usize::from(PARTITIONS) * replicas);
        if replicas > 0 {
            let points = points_of(&owners, config.vnodes);
            let mut walk = Walk::new(&owners, replicas);
            let mut start = 0;
            for partition in Partition::all() {
                while start < points.len() && points[start].token < partition.first_token() {
                    start += 1;
                }
                let clockwise = points[start..].iter().chain(&points[..start]);
                homes.extend(walk.prefer(clockwise).iter().map(|&owner| owners[owner].slot));
            }
        }
        Self { replicas, homes: homes.into_boxed_slice() }
    }
}

/// A member that owns a part of the ring, and which.
struct Owner<'a> {
    name: &'a NodeName,
    slot: Slot,
    share: &'a Share,
}

/// A vnode: a point on the ring and the node that owns it, as an index into the owners.
struct Point {
    token: Token,
    owner: usize,
}

/// All vnodes in ring order.
fn points_of(owners: &[Owner<'_>], vnodes: u16) -> Vec<Point> {
    let mut points = Vec::new();
    let mut label = String::new();
    for (owner, Owner { name, share, .. }) in owners.iter().enumerate() {
        for vnode in 0..point_count(vnodes, share.weight) {
            label.clear();
            write!(label, "{name}-{vnode}").expect("writing to a string does not fail");
            points.push(Point { token: Token::of(label.as_bytes()), owner });
        }
    }
    points.sort_unstable_by_key(|point| (point.token, point.owner));
    points
}

/// `vnodes * weight / 100`, rounded half up, from 1 to [`NODE_POINTS_MAX`].
fn point_count(vnodes: u16, weight: u32) -> u32 {
    let count = (u64::from(vnodes) * u64::from(weight) + 50) / 100;
    count.clamp(1, u64::from(NODE_POINTS_MAX)) as u32
}

/// The memory of the walk, reused from partition to partition.
struct Walk {
    /// Homes wanted.
    replicas: usize,
    /// Number of the zone of each owner; an owner without a zone is a zone of its own.
    zone_of: Vec<usize>,
    /// Zones there are.
    zones: usize,
    /// In which walk an owner was last met, and a zone last taken: nothing needs clearing between walks.
    met: Vec<u32>,
    taken: Vec<u32>,
    number: u32,
    /// The preference list being built.
    homes: Vec<usize>,
    /// Owners passed over because their zone was taken, in the order met.
    passed: Vec<usize>,
}

impl Walk {
    fn new(owners: &[Owner<'_>], replicas: usize) -> Self {
        let mut names: Vec<&str> = owners.iter().map(|owner| owner.share.zone.as_str()).collect();
        names.retain(|zone| !zone.is_empty());
        names.sort_unstable();
        names.dedup();
        let mut zones = names.len();
        let zone_of = owners
            .iter()
            .map(|owner| {
                names.binary_search(&owner.share.zone.as_str()).unwrap_or_else(|_| {
                    zones += 1;
                    zones - 1
                })
            })
            .collect();
        let (met, taken) = (vec![0; owners.len()], vec![0; zones]);
        Self { replicas, zone_of, zones, met, taken, number: 0, homes: Vec::new(), passed: Vec::new() }
    }

    /// The first distinct owners clockwise, those of a zone not yet taken first while there is one.
    fn prefer<'a>(&mut self, clockwise: impl Iterator<Item = &'a Point>) -> &[usize] {
        self.number += 1;
        self.homes.clear();
        self.passed.clear();
        let zones_wanted = self.zones.min(self.replicas);
        let mut zones_taken = 0;
        for point in clockwise {
            let enough = self.homes.len() + if zones_taken == zones_wanted { self.passed.len() } else { 0 };
            if enough >= self.replicas {
                break;
            }
            if std::mem::replace(&mut self.met[point.owner], self.number) == self.number {
                continue;
            }
            let zone = self.zone_of[point.owner];
            if std::mem::replace(&mut self.taken[zone], self.number) == self.number {
                self.passed.push(point.owner);
            } else {
                zones_taken += 1;
                self.homes.push(point.owner);
            }
        }
        // Every zone has its copy: the rest goes to the nearest nodes that were passed over.
        self.homes.extend(&self.passed);
        self.homes.truncate(self.replicas);
        &self.homes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{Epoch, NodeName, RingId, RingMember};

    /// Name, zone, weight.
    type Node = (&'static str, &'static str, u32);

    fn config(replicas: u8, vnodes: u16, nodes: &[Node]) -> RingConfig {
        let members = nodes.iter().enumerate().map(|(slot, &(name, zone, weight))| RingMember {
            name: NodeName::new(name).expect("a legal name"),
            slot: Slot::new(slot as u16).expect("few nodes"),
            share: Share { zone: zone.to_owned(), weight },
            standing: Standing::Active,
        });
        let (ring_id, cluster) = (RingId(1), "memring".to_owned());
        RingConfig { ring_id, epoch: Epoch(1), cluster, replicas, vnodes, members: members.collect() }
    }

    fn names(config: &RingConfig, slots: &[Slot]) -> Vec<String> {
        slots.iter().map(|&slot| config.member(slot).expect("a member").name.to_string()).collect()
    }

    const KEYS: [(&str, u64, u16); 6] = [
        ("a", 0x86f7_e437_faa5_a7fc, 8637),
        ("foo", 0x0bee_c7b5_ea3f_0fdb, 763),
        ("user:1", 0xc0bc_9142_6abe_d0c9, 12335),
        ("chunk/0001", 0x78ef_5f3d_d492_ec73, 7739),
        ("zzzzzzzz", 0xfd15_e5dc_4583_9815, 16197),
        ("123456789012345678901234567890", 0xcc84_fa5a_361f_86a5, 13089),
    ];

    /// Checks the golden homes of [`KEYS`], in their order.
    fn check(replicas: u8, vnodes: u16, nodes: &[Node], golden: [&str; KEYS.len()]) {
        let config = config(replicas, vnodes, nodes);
        let placement = Placement::current(&config);
        for ((key, token, partition), homes) in KEYS.into_iter().zip(golden) {
            let found = Token::of(key.as_bytes());
            assert_eq!((found.0, found.partition().number()), (token, partition), "{key}");
            assert_eq!(names(&config, placement.homes(found.partition())).join(" "), homes, "{key}");
        }
    }

    /// Golden vectors: never change them, nodes of two versions would disagree on who owns what. Derived on their own
    /// with Python's hashlib and a literal reading of the rule: sort `(sha1(f"{name}-{i}")[:8], name)` of all vnodes;
    /// list the nodes in order of first appearance from the first point at or after the partition's first token; then
    /// N times take the first of the list whose zone is not taken, or, if there is none, the first not yet taken.
    #[test]
    fn keys_keep_their_homes_for_ever() {
        let plain = [("n1", "", 100), ("n2", "", 100), ("n3", "", 100)];
        check(3, 256, &plain, ["n1 n3 n2", "n3 n1 n2", "n2 n1 n3", "n3 n1 n2", "n3 n1 n2", "n2 n3 n1"]);

        let ten = ["p-0", "p-1", "p-2", "p-3", "p-4", "p-5", "p-6", "p-7", "p-8", "p-9"].map(|name| (name, "", 100));
        let golden = ["p-9 p-0 p-2", "p-8 p-5 p-9", "p-6 p-7 p-0", "p-3 p-5 p-9", "p-2 p-4 p-8", "p-2 p-3 p-9"];
        check(3, 256, &ten, golden);

        let two_zones = [("a1", "a", 100), ("a2", "a", 100), ("a3", "a", 100), ("b1", "b", 100), ("b2", "b", 100)];
        check(3, 256, &two_zones, ["b1 a2 a3", "b2 a2 b1", "b1 a3 a1", "b2 a3 a2", "a2 b2 a1", "b2 a1 a3"]);

        let weights = [("big", "", 300), ("mid", "", 100), ("small", "", 1), ("tiny", "", 33)];
        check(2, 16, &weights, ["big small", "big mid", "big mid", "mid big", "big mid", "big mid"]);

        let one_alone = [("loner", "", 100), ("x1", "x", 100), ("x2", "x", 100), ("x3", "x", 50), ("y1", "y", 200)];
        let golden = ["y1 x1 loner", "x2 y1 loner", "y1 x2 loner", "x2 y1 loner", "loner x2 y1", "loner y1 x1"];
        check(3, 64, &one_alone, golden);
    }

    #[test]
    fn there_are_never_more_homes_than_nodes() {
        let empty = Placement::current(&config(3, 256, &[]));
        assert_eq!((empty.replicas(), empty.homes(Partition::new(5).expect("small"))), (0, &[][..]));
        let two = Placement::current(&config(3, 8, &[("n1", "z", 100), ("n2", "z", 100)]));
        assert_eq!(two.replicas(), 2);
        assert!(Partition::all().all(|partition| two.homes(partition)[0] != two.homes(partition)[1]));
    }

    #[test]
    fn every_zone_has_a_copy_while_there_are_enough_copies() {
        let nodes = [("a1", "a", 300), ("a2", "a", 300), ("a3", "a", 300), ("b1", "b", 20), ("c1", "c", 1)];
        let config = config(3, 64, &nodes);
        let placement = Placement::current(&config);
        for partition in Partition::all() {
            let mut zones: Vec<_> = placement
                .homes(partition)
                .iter()
                .map(|&slot| &config.member(slot).expect("a member").share.zone)
                .collect();
            zones.sort();
            assert_eq!(zones, ["a", "b", "c"]);
        }
    }

    #[test]
    fn a_joiner_owns_only_next_and_a_leaver_only_now() {
        let mut config = config(2, 32, &[("n1", "", 100), ("n2", "", 100), ("n3", "", 100), ("n4", "", 100)]);
        config.members[2].standing = Standing::Joining;
        config.members[3].standing = Standing::Leaving;
        let owns = |placement: &Placement, slot| {
            let slot = Slot::new(slot).expect("small");
            Partition::all().any(|partition| placement.homes(partition).contains(&slot))
        };
        let (current, next) = (Placement::current(&config), Placement::next(&config));
        assert_eq!([2, 3].map(|slot| owns(&current, slot)), [false, true]);
        assert_eq!([2, 3].map(|slot| owns(&next, slot)), [true, false]);
        assert!(Partition::all().any(|partition| !current.places_alike(&next, partition)));
        assert!(Partition::all().all(|partition| current.places_alike(&current.clone(), partition)));
    }

    #[test]
    fn a_member_that_changes_counts_with_its_old_share_now_and_its_new_one_next() {
        let zone = |zone: &str, weight| Share { zone: zone.to_owned(), weight };
        let before = config(2, 32, &[("n1", "a", 100), ("n2", "a", 100), ("n3", "b", 100), ("n4", "b", 100)]);
        let mut changing = before.clone();
        changing.members[2].standing = Standing::Changing(zone("a", 250));
        let mut after = before.clone();
        after.members[2].share = zone("a", 250);
        assert!(Placement::current(&changing) == Placement::current(&before));
        assert!(Placement::next(&changing) == Placement::current(&after));
        assert!(Placement::next(&changing) != Placement::current(&changing));
        assert_eq!(changing.check(), Ok(()));
        for bad in [zone("a", 0), zone("a", u32::MAX), zone(&"z".repeat(254), 100)] {
            changing.members[2].standing = Standing::Changing(bad);
            assert!(changing.check().is_err());
        }
    }

    #[test]
    fn weights_scale_points_within_limits() {
        assert_eq!([0, 1, 33, 100, 150, u32::MAX].map(|weight| point_count(256, weight)), [1, 3, 84, 256, 384, 4096]);
        assert_eq!(point_count(0, 100), 1);
    }
}
