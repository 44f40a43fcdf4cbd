//! Three real nodes that form a ring: on loopback, with a relay between them, or each in a network namespace.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::clock::wait_for;
use super::namespaces::Namespaces;
use super::node::Node;

/// How many nodes.
pub const NODES: usize = 3;

/// How long a start or a return may take until every node sees all of them whole.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// Ports of one node from the ports of the one before it.
const PORTS_A_NODE: u16 = 10;

/// Before a command: the kernel ends it with the thread that starts it, even while it is stopped.
pub const ENDS_WITH_US: [&str; 3] = ["setpriv", "--pdeathsig=KILL", "--"];

/// Where nodes live.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// On one address.
    Loopback,
    /// Each node's peer port on [`peer_address`], told to the others as [`relay_address`].
    Relayed,
    /// Each in its namespace.
    Apart(&'a Namespaces),
}

/// Where node number `node` listens for the others when a relay is between them.
pub fn peer_address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 77, 1 + node as u8)
}

/// Where the others think it is.
pub fn relay_address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 78, 1 + node as u8)
}

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Where their logs are.
    pub logs: PathBuf,
    /// Their peer ports; with [`Place::Relayed`] also those of the relay.
    pub peer_ports: Vec<u16>,
}

impl Cluster {
    /// Nodes of these programs, told only where they are and whom to join, and `more`. None runs yet.
    pub fn new(
        programs: [&str; NODES],
        place: Place<'_>,
        more: &[&str],
        logs: &Path,
        random: &mut StdRng,
    ) -> Result<Self, String> {
        std::fs::create_dir_all(logs).map_err(|error| format!("{}: {error}", logs.display()))?;
        let base = match place {
            Place::Apart(_) => 11_211,
            _ => free_base_port(random)?,
        };
        let ports: Vec<u16> = match place {
            Place::Apart(_) => vec![base; NODES],
            _ => (0..NODES as u16).map(|node| base + PORTS_A_NODE * node).collect(),
        };
        let known: Vec<IpAddr> = (0..NODES).map(|node| known_address(place, node)).collect();
        let join: Vec<String> = known.iter().zip(&ports).map(|(ip, port)| format!("{ip}:{}", port + 1)).collect();
        let mut nodes = Vec::new();
        for (number, port) in ports.iter().copied().enumerate() {
            let (client, peer) = match place {
                Place::Relayed => (Ipv4Addr::LOCALHOST.into(), IpAddr::from(peer_address(number))),
                _ => (known[number], known[number]),
            };
            let command = match place {
                Place::Apart(namespaces) => namespaces.inside(number),
                _ => Vec::new(),
            };
            let seat = Seat { client, peer, known: known[number], port };
            nodes.push(seat.node(number, command, programs[number], &join, more, logs));
        }
        let peer_ports = ports.iter().map(|port| port + 1).collect();
        Ok(Self { nodes, logs: logs.to_owned(), peer_ports })
    }

    /// One more node on loopback, which joins the others. It does not run yet.
    pub fn add(&mut self, program: &str, more: &[&str]) -> Result<&mut Node, String> {
        let after = self.nodes.iter().map(|node| node.client.port()).max().unwrap_or_default();
        let is_free = |port: &u16| (*port..port + 3).all(|port| is_free_on(Ipv4Addr::LOCALHOST, port));
        let mut ports = (1..100).map(|number| after + PORTS_A_NODE * number);
        let port = ports.find(is_free).ok_or("no free ports found")?;
        let join: Vec<String> = self.peer_ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let here = IpAddr::from(Ipv4Addr::LOCALHOST);
        let seat = Seat { client: here, peer: here, known: here, port };
        self.nodes.push(seat.node(self.nodes.len(), Vec::new(), program, &join, more, &self.logs));
        self.peer_ports.push(port + 1);
        Ok(self.nodes.last_mut().expect("it was just added"))
    }

    /// Starts all and waits until they are whole.
    pub fn start(&mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            node.start()?;
        }
        self.wait_whole()
    }

    /// Where clients find the nodes.
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.client).collect()
    }

    /// Waits until every node sees all of them alive and holding all that they should.
    pub fn wait_whole(&mut self) -> Result<(), String> {
        wait_for(WHOLE_WITHIN, || {
            if let Some(node) = self.nodes.iter_mut().find_map(|node| node.has_died().then(|| node.name.clone())) {
                return Err(format!("{node} has ended by itself"));
            }
            self.nodes.iter().try_for_each(|node| sees_all_whole(node, self.nodes.len()))
        })
        .map_err(|why| format!("the cluster is not whole {why}"))
    }
}

/// Where a node listens.
struct Seat {
    client: IpAddr,
    peer: IpAddr,
    /// Where the others think it is.
    known: IpAddr,
    /// The clients'; those of peers and admin follow it.
    port: u16,
}

impl Seat {
    /// A node of this program, started by `command`, which may be empty.
    fn node(
        &self,
        number: usize,
        mut command: Vec<String>,
        program: &str,
        join: &[String],
        more: &[&str],
        logs: &Path,
    ) -> Node {
        let (name, port) = (format!("n{}", number + 1), self.port);
        let options = [
            ("--name", name.clone()),
            ("--listen", self.client.to_string()),
            ("--peer-listen", self.peer.to_string()),
            ("--advertise", self.known.to_string()),
            ("--port", port.to_string()),
            ("--peer-port", (port + 1).to_string()),
            ("--admin-port", (port + 2).to_string()),
            ("--join", join.join(",")),
            ("--expect", NODES.to_string()),
        ];
        command.extend([&ENDS_WITH_US[..], &[program, "serve"]].concat().into_iter().map(str::to_owned));
        command.extend(options.into_iter().flat_map(|(option, value)| [option.to_owned(), value]));
        command.extend(more.iter().map(|&word| word.to_owned()));
        let (client, admin) = (SocketAddr::new(self.client, port), SocketAddr::new(self.peer, port + 2));
        Node::new(name, client, admin, command, logs)
    }
}

fn known_address(place: Place<'_>, node: usize) -> IpAddr {
    match place {
        Place::Loopback => Ipv4Addr::LOCALHOST.into(),
        Place::Relayed => relay_address(node).into(),
        Place::Apart(namespaces) => namespaces.address(node).into(),
    }
}

fn sees_all_whole(node: &Node, count: usize) -> Result<(), String> {
    let (_, body) = node.admin("/api/cluster")?;
    let view: serde_json::Value = serde_json::from_str(&body).map_err(|error| format!("{}: {error}", node.name))?;
    let members = view["members"].as_array().ok_or_else(|| format!("{} lists no members", node.name))?;
    let is_whole = |member: &&serde_json::Value| member["state"] == "alive" && member["synced"] == 1.0;
    if members.len() == count && members.iter().filter(is_whole).count() == count {
        return Ok(());
    }
    let seen = members.iter().map(|member| format!("{} {} {}", member["name"], member["state"], member["synced"]));
    Err(format!("{} sees {}", node.name, seen.collect::<Vec<_>>().join(", ")))
}

/// A port from which on those of all nodes are free, below those that systems give away.
fn free_base_port(random: &mut StdRng) -> Result<u16, String> {
    let is_free = |port: u16| {
        let mut hosts = vec![Ipv4Addr::LOCALHOST];
        hosts.extend((0..NODES).flat_map(|node| [peer_address(node), relay_address(node)]));
        hosts.into_iter().all(|host| is_free_on(host, port))
    };
    for _ in 0..100 {
        let base = random.random_range(1200..3000) * 10;
        let mut ports = (0..NODES as u16).flat_map(|node| (0..3).map(move |port| base + PORTS_A_NODE * node + port));
        if ports.all(is_free) {
            return Ok(base);
        }
    }
    Err("no free ports found".to_owned())
}

fn is_free_on(host: Ipv4Addr, port: u16) -> bool {
    TcpListener::bind((host, port)).is_ok() && UdpSocket::bind((host, port)).is_ok()
}
