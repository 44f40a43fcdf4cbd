//! A memring ring as a node told it, with the placement that the server's own code makes of it.
//!
//! Must not know who can be asked now. While a member moves, the homes of before answer; those that stay homes come first,
//! for they answer alone where the others would ask once more (`engine/src/node/shared.rs`, `reads_alone`).

use std::sync::Arc;

use memring_protocol::key::{Partition, Token};
use memring_protocol::ring::{Placement, RingConfig, RingMember};
use memring_protocol::text::{ToldMember, ToldRing};
use memring_protocol::version::Slot;
use smallvec::SmallVec;

use super::Server;

/// The homes of a key, as places among the servers.
pub(crate) type Homes = SmallVec<[usize; 4]>;

/// A ring.
#[derive(Clone, PartialEq, Eq)]
pub struct Ring {
    told: ToldRing,
    current: Arc<Placement>,
    /// Where a move under way will bring copies.
    next: Option<Arc<Placement>>,
    /// By slot number: the place among the members.
    places: Vec<Option<u16>>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ring").field(&self.told).finish()
    }
}

impl Ring {
    /// Places all partitions: some milliseconds, unless `before` has the same config.
    pub fn of(told: ToldRing, before: Option<&Ring>) -> Self {
        let config = &told.config;
        let (current, next) = match before.filter(|before| before.told.config == *config) {
            Some(before) => (Arc::clone(&before.current), before.next.clone()),
            None => {
                let next = config.is_in_transition().then(|| Arc::new(Placement::next(config)));
                (Arc::new(Placement::current(config)), next)
            }
        };
        let slots = config.members.iter().map(|member| member.slot.index() + 1).max().unwrap_or(0);
        let mut places = vec![None; slots];
        for (place, member) in config.members.iter().enumerate() {
            places[member.slot.index()] = Some(place as u16);
        }
        Self { told, current, next, places }
    }

    /// The agreed config: members with weights, zones and slots, N, vnodes, epoch.
    pub fn config(&self) -> &RingConfig {
        &self.told.config
    }

    /// Each member of the config with its health, in the config's order.
    pub fn members(&self) -> impl Iterator<Item = (&RingMember, &ToldMember)> {
        self.told.config.members.iter().zip(&self.told.members)
    }

    /// Where the copies are now.
    pub fn placement(&self) -> &Placement {
        &self.current
    }

    /// Where the copies will be, while a member is coming, going or changing its share.
    pub fn next_placement(&self) -> Option<&Placement> {
        self.next.as_deref()
    }

    /// The members that are homes of a partition now, in the ring's order.
    pub fn homes(&self, partition: Partition) -> impl Iterator<Item = &RingMember> {
        self.current
            .homes(partition)
            .iter()
            .filter_map(|slot| self.place(*slot))
            .map(|at| &self.told.config.members[at])
    }

    fn place(&self, slot: Slot) -> Option<usize> {
        self.places.get(slot.index()).copied().flatten().map(usize::from)
    }

    /// The homes of a key; those that also will be are first.
    pub(super) fn home_numbers(&self, token: Token) -> Homes {
        let partition = token.partition();
        let homes = self.current.homes(partition);
        let Some(next) = &self.next else { return homes.iter().filter_map(|slot| self.place(*slot)).collect() };
        let next = next.homes(partition);
        let (stay, go): (Homes, Homes) = homes
            .iter()
            .filter_map(|slot| Some((self.place(*slot)?, next.contains(slot))))
            .fold((Homes::new(), Homes::new()), |(mut stay, mut go), (place, stays)| {
                if stays {
                    stay.push(place)
                } else {
                    go.push(place)
                };
                (stay, go)
            });
        stay.into_iter().chain(go).collect()
    }

    /// The members as servers, in the config's order.
    pub(super) fn servers(&self) -> Vec<Server> {
        let server = |(member, told): (&RingMember, &ToldMember)| Server {
            name: member.name.to_string(),
            address: told.client.map(|client| client.to_string()).unwrap_or_default(),
            zone: member.share.zone.clone(),
            state: told.state,
            synced_permille: told.synced_permille,
        };
        self.members().map(server).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use memring_protocol::ring::{Epoch, NodeName, RingId, Share, Standing};
    use memring_protocol::text::MemberState;

    use super::*;
    use crate::topology::Topology;

    /// A ring of N = 3 of members with these zones and standings, named `n0` …, at `10.0.0.<number>:11211`, all well.
    pub(crate) fn told(epoch: u64, members: &[(&str, Standing)]) -> ToldRing {
        let config = RingConfig {
            ring_id: RingId(1),
            epoch: Epoch(epoch),
            cluster: "test".to_owned(),
            replicas: 3,
            vnodes: 64,
            members: members
                .iter()
                .enumerate()
                .map(|(number, (zone, standing))| RingMember {
                    name: NodeName::new(&format!("n{number}")).expect("a name"),
                    // Slots need not be in the order of names.
                    slot: Slot::new(100 - number as u16).expect("a slot"),
                    share: Share { zone: (*zone).to_owned(), weight: 100 },
                    standing: standing.clone(),
                })
                .collect(),
        };
        let health = |number| ToldMember {
            client: format!("10.0.0.{number}:11211").parse().ok(),
            state: MemberState::Alive,
            synced_permille: 1000,
        };
        ToldRing { members: (0..members.len()).map(health).collect(), config }
    }

    #[test]
    fn homes_are_those_of_the_servers_own_placement() {
        let told =
            told(1, &[("", Standing::Active), ("", Standing::Active), ("", Standing::Active), ("", Standing::Active)]);
        let placement = Placement::current(&told.config);
        let topology = Topology::of_ring(Ring::of(told.clone(), None));
        for number in 0..1000 {
            let key = format!("key-{number}");
            let slots = placement.homes(Token::of(key.as_bytes()).partition());
            let expected: Vec<String> =
                slots.iter().map(|slot| told.config.member(*slot).expect("a member").name.to_string()).collect();
            let found: Vec<&str> = topology.homes(key.as_bytes()).iter().map(|server| server.name.as_str()).collect();
            assert_eq!(found, expected, "{key}");
            let ring = topology.ring().expect("a ring");
            let named: Vec<String> =
                ring.homes(Token::of(key.as_bytes()).partition()).map(|member| member.name.to_string()).collect();
            assert_eq!(named, expected);
        }
        assert_eq!(topology.servers()[2].address, "10.0.0.2:11211");
    }

    #[test]
    fn while_a_member_joins_homes_that_stay_come_before_those_that_go() {
        let active = ("", Standing::Active);
        let told = told(2, &[active.clone(), active.clone(), active, ("", Standing::Joining)]);
        let next = Placement::next(&told.config);
        let topology = Topology::of_ring(Ring::of(told.clone(), None));
        let mut moving = 0;
        for number in 0..1000 {
            let key = format!("key-{number}");
            let partition = Token::of(key.as_bytes()).partition();
            let stays: Vec<bool> = topology
                .home_numbers(key.as_bytes())
                .into_iter()
                .map(|place| next.homes(partition).contains(&told.config.members[place].slot))
                .collect();
            assert_eq!(stays.len(), 3);
            assert!(stays.is_sorted_by(|a, b| a >= b), "{stays:?}");
            moving += u32::from(stays.contains(&false));
        }
        assert!(moving > 400, "{moving} of a thousand keys move");
    }

    #[test]
    fn a_ring_that_differs_in_health_alone_is_not_placed_anew() {
        let active = ("", Standing::Active);
        let members = [active.clone(), active.clone(), active];
        let before = Ring::of(told(3, &members), None);
        let mut sick = told(3, &members);
        sick.members[1].state = MemberState::Failed;
        let after = Ring::of(sick, Some(&before));
        assert!(Arc::ptr_eq(&before.current, &after.current));
        assert!(before != after && !after.servers()[1].is_up() && after.servers()[0].is_up());
        let later = Ring::of(told(4, &members), Some(&after));
        assert!(!Arc::ptr_eq(&later.current, &after.current));
    }
}
