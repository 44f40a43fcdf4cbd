//! The cluster as this node sees it: what `/api/cluster` shows.
//!
//! Field names are a contract that scripts rely on: later fields are added, none is renamed.

use memring_protocol::key::PARTITIONS;
use memring_protocol::ring::Standing;
use memring_protocol::text::Response;
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

impl Shared {
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

    /// `config get cluster` as ElastiCache answers it: the ring config's number, then `host|ip|port` of every node that is
    /// up and whose client port is known. The length counts what stands before the empty line's CR LF. Hosts are
    /// addresses, since names on the ring need not be in any DNS.
    pub(crate) fn discovery(&self) -> Response {
        let topology = self.topology();
        let mut nodes = Vec::new();
        for member in topology.layout().map_or(&[][..], |layout| &layout.config.members[..]) {
            let mine = Some(member.slot) == topology.me();
            if !mine && !topology.is_up(member.slot) {
                continue;
            }
            let (ip, port) = if mine {
                (Some(self.settings().peer.ip()), self.settings().client_port)
            } else {
                let port = self.heard.get(member.name.as_str()).map_or(0, |heard| heard.client_port);
                (topology.peer(member.slot).map(|peer| peer.address.ip()), port)
            };
            if let (Some(ip), true) = (ip, port != 0) {
                let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
                nodes.push(format!("{host}|{ip}|{port}"));
            }
        }
        let payload = format!("{}\n{}\n", topology.epoch().0, nodes.join(" "));
        Response::Text(format!("CONFIG cluster 0 {}\r\n{payload}\r\nEND\r\n", payload.len()).into())
    }

    fn row(&self, topology: &Topology, member: &memring_protocol::ring::RingMember) -> MemberRow {
        let settings = self.settings();
        let mine = Some(member.slot) == topology.me();
        let peer = topology.peer(member.slot);
        let liveness = if mine { Liveness::Alive } else { peer.map_or(Liveness::Unknown, |peer| peer.liveness) };
        let heard = if mine {
            let synced_permille = self.synced_permille.load(std::sync::atomic::Ordering::Relaxed);
            Heard { synced_permille, client_port: settings.client_port, admin_port: settings.admin_port }
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
