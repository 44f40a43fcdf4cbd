//! What a client is told of the cluster by `config get`: whom to ask, and the ring by which it can place keys itself.
//!
//! Must not know how a client chooses. Addresses, since names on the ring need not be in any DNS.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use memring_protocol::ring::RingMember;
use memring_protocol::text::{MemberState, Response, ToldMember, ToldRing, ring_text};

use super::shared::Shared;
use super::topology::{Liveness, Topology};

impl Shared {
    /// `config get cluster` as ElastiCache answers it: the ring config's number, then `host|ip|port` of every node that is
    /// up and whose client port is known. The length counts what stands before the empty line's CR LF.
    pub(crate) fn discovery(&self) -> Response {
        let topology = self.topology();
        let mut nodes = Vec::new();
        for member in topology.layout().map_or(&[][..], |layout| &layout.config.members[..]) {
            if !topology.is_up(member.slot) {
                continue;
            }
            if let Some(client) = self.client_address(&topology, member) {
                let (ip, port) = (client.ip(), client.port());
                let host = if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() };
                nodes.push(format!("{host}|{ip}|{port}"));
            }
        }
        config_text("cluster", &format!("{}\n{}\n", topology.epoch().0, nodes.join(" ")))
    }

    /// `config get ring`: see [`ring_text`].
    pub(crate) fn told_ring(&self) -> Response {
        let topology = self.topology();
        let told = topology.layout().map(|layout| ToldRing {
            config: (*layout.config).clone(),
            members: layout.config.members.iter().map(|member| self.told_member(&topology, member)).collect(),
        });
        config_text("ring", &ring_text(told.as_ref()))
    }

    fn told_member(&self, topology: &Topology, member: &RingMember) -> ToldMember {
        let client = self.client_address(topology, member);
        if Some(member.slot) == topology.me() {
            let synced_permille = self.synced_permille.load(Ordering::Relaxed);
            return ToldMember { client, state: MemberState::Alive, synced_permille };
        }
        let liveness = topology.peer(member.slot).map_or(Liveness::Unknown, |peer| peer.liveness);
        let state = match liveness {
            Liveness::Unknown => MemberState::Unknown,
            Liveness::Alive => MemberState::Alive,
            Liveness::Suspect => MemberState::Suspect,
            Liveness::Restarting => MemberState::Restarting,
            Liveness::Failed => MemberState::Failed,
        };
        let synced_permille = self.heard.get(member.name.as_str()).map_or(0, |heard| heard.synced_permille);
        ToldMember { client, state, synced_permille }
    }

    /// Where clients reach a member, if that is known.
    fn client_address(&self, topology: &Topology, member: &RingMember) -> Option<SocketAddr> {
        let (ip, port) = if Some(member.slot) == topology.me() {
            (self.settings().peer.ip(), self.settings().client_port)
        } else {
            let port = self.heard.get(member.name.as_str())?.client_port;
            (topology.peer(member.slot)?.address.ip(), port)
        };
        (port != 0).then(|| SocketAddr::new(ip, port))
    }
}

fn config_text(name: &str, payload: &str) -> Response {
    Response::Text(format!("CONFIG {name} 0 {}\r\n{payload}\r\nEND\r\n", payload.len()).into())
}
