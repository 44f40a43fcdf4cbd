//! The cluster as this node sees it: what `/api/cluster` shows.
//!
//! Field names are a contract that scripts rely on: later fields are added, none is renamed.

use memring_protocol::key::PARTITIONS;
use memring_protocol::level::majority;
use memring_protocol::ring::Standing;
use serde::Serialize;

use super::levels::LevelsView;
use super::shared::{Heard, Shared};
use super::topology::{Liveness, Topology};

/// The JSON of `/api/cluster`.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterView {
    /// The cluster's name.
    pub cluster: String,
    /// The ring's id in hexadecimal; empty before there is a ring.
    pub ring_id: String,
    /// The ring config's number.
    pub epoch: u64,
    /// How many partitions a ring has.
    pub partitions: u16,
    /// N.
    pub replicas: u8,
    /// The node that says so.
    pub node: String,
    /// How many copies that node's reads ask and its writes wait for.
    pub levels: LevelsView,
    /// The ring's members, by name.
    pub members: Vec<MemberRow>,
}

/// One member.
#[derive(Clone, Debug, Serialize)]
pub struct MemberRow {
    /// Its name.
    pub name: String,
    /// alive, suspect, failed, joining, leaving or restarting.
    pub state: &'static str,
    /// Its failure domain.
    pub zone: String,
    /// Its share of the ring; 1 is one full share.
    pub weight: f64,
    /// Where clients reach it.
    pub client: String,
    /// Where peers reach it.
    pub peer: String,
    /// Where its admin HTTP is.
    pub admin: String,
    /// The part of its partitions whose copies are complete.
    pub synced: f64,
}

/// How far a node is in leaving the ring: the JSON of `/api/drain`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct DrainView {
    /// Whether it leaves.
    pub state: DrainState,
    /// How many partitions it had to hand over.
    pub partitions_total: usize,
    /// How many of them their new homes do not hold in full yet.
    pub partitions_left: usize,
    /// Why nothing comes of it, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whether a node leaves the ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainState {
    /// It does not.
    #[default]
    None,
    /// It does: its share is on its way to the others.
    Draining,
    /// It has: it holds nothing any more, and forwards clients.
    Drained,
}

impl DrainState {
    /// As the JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Draining => "draining",
            Self::Drained => "drained",
        }
    }
}

impl DrainView {
    pub(crate) fn of(state: DrainState, left: usize, total: usize) -> Self {
        Self { state, partitions_total: total, partitions_left: left, error: None }
    }
}

impl Shared {
    /// Why this node cannot leave the ring now; `None` if it can.
    pub fn drain_refusal(&self) -> Option<String> {
        let topology = self.topology();
        if self.drain_view().state != DrainState::None {
            return None;
        }
        let (Some(layout), Some(me)) = (topology.layout(), topology.me()) else {
            return Some("this node is in no ring".to_owned());
        };
        let members = &layout.config.members;
        if members.len() == 1 {
            return Some("this is the last node of its ring: nobody can take over what it holds".to_owned());
        }
        let voters: Vec<_> = layout.config.voters().map(|member| member.slot).collect();
        let here = voters.iter().filter(|slot| self.is_usable(&topology, **slot)).count();
        if here < majority(voters.len()) {
            return Some(format!(
                "{here} of {} members can be reached: only a majority changes the ring",
                voters.len()
            ));
        }
        let takers = members.iter().filter(|member| member.slot != me && topology.is_up(member.slot)).count();
        (takers == 0).then(|| "no other member is up: nobody can take over what this node holds".to_owned())
    }

    /// What `/api/cluster` shows.
    pub fn cluster_view(&self) -> ClusterView {
        let topology = self.topology();
        let mut view = ClusterView {
            cluster: self.settings().cluster.clone(),
            ring_id: String::new(),
            epoch: topology.epoch().0,
            partitions: PARTITIONS,
            replicas: self.settings().replicas,
            node: self.settings().name.to_string(),
            levels: self.levels_view(&topology),
            members: Vec::new(),
        };
        if let Some(layout) = topology.layout() {
            view.cluster = layout.config.cluster.clone();
            view.ring_id = layout.config.ring_id.to_string();
            view.replicas = layout.config.replicas;
            view.members = layout.config.members.iter().map(|member| self.row(&topology, member)).collect();
        }
        view
    }

    fn row(&self, topology: &Topology, member: &memring_protocol::ring::RingMember) -> MemberRow {
        let settings = self.settings();
        let mine = Some(member.slot) == topology.me();
        let peer = topology.peer(member.slot);
        let liveness = if mine { Liveness::Alive } else { peer.map_or(Liveness::Unknown, |peer| peer.liveness) };
        let heard = if mine {
            let synced_permille = self.synced_permille.load(std::sync::atomic::Ordering::Relaxed);
            Heard {
                epoch: topology.epoch(),
                synced_permille,
                client_port: settings.client_port,
                admin_port: settings.admin_port,
            }
        } else {
            self.heard.get(member.name.as_str()).map(|heard| heard.clone()).unwrap_or_default()
        };
        let address = if mine { Some(settings.peer) } else { peer.map(|peer| peer.address) };
        let at = |port: Option<u16>| match (address, port) {
            (Some(address), None) => address.to_string(),
            (Some(address), Some(port)) if port != 0 => std::net::SocketAddr::new(address.ip(), port).to_string(),
            _ => String::new(),
        };
        MemberRow {
            name: member.name.to_string(),
            state: state_of(&member.standing, liveness),
            zone: member.share.zone.clone(),
            weight: f64::from(member.share.weight) / 100.0,
            client: at(Some(heard.client_port)),
            peer: at(None),
            admin: at(Some(heard.admin_port)),
            synced: f64::from(heard.synced_permille) / 1000.0,
        }
    }
}

fn state_of(standing: &Standing, liveness: Liveness) -> &'static str {
    match (liveness, standing) {
        (Liveness::Failed | Liveness::Unknown, _) => "failed",
        (Liveness::Restarting, _) => "restarting",
        (_, Standing::Joining) => "joining",
        (_, Standing::Leaving) => "leaving",
        (Liveness::Suspect, _) => "suspect",
        (Liveness::Alive, _) => "alive",
    }
}
