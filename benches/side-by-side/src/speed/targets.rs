//! Who is asked: a server alone, nodes that form a ring, or a proxy in front of servers; started, filled, and stopped when
//! dropped.
//!
//! Must not know what is measured.

use std::io::{Error, Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::clock::{Deadline, pause};
use crate::servers::{Contestant, STARTS_MAX, Server, Settings, free_ports, free_ports_of, launch};
use crate::speed::generator::{Generator, Keys};
use crate::speed::replies::Order;
use crate::speed::workloads::{Items, Workload};

/// Nodes that do not hold all of their share after this time are given up.
const TOGETHER_TIME_MAX: Duration = Duration::from_secs(60);

/// A write is answered before its last copy is made: so long a node may lack what was set.
const COPY_TIME_MAX: Duration = Duration::from_secs(20);

/// Between two looks.
const LOOK_TIME: Duration = Duration::from_millis(100);

/// Servers behind a proxy.
const PROXIED: usize = 3;

/// A running target, killed when dropped.
pub(crate) struct Target {
    pub(crate) name: String,
    /// Connections are spread over these.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Every process that works for a reply.
    pub(crate) pids: Vec<u32>,
    pub(crate) order: Order,
    servers: Vec<Server>,
}

impl Target {
    pub(crate) fn alone(contestant: &Contestant, settings: &Settings) -> Result<Self> {
        let server = contestant.start(settings)?;
        Ok(Self::of(contestant.name.clone(), vec![server.address()], vec![server], Order::AsAsked))
    }

    /// So many nodes with three copies of each item, told `more` besides.
    pub(crate) fn cluster(contestant: &Contestant, settings: &Settings, nodes: usize, more: &str) -> Result<Self> {
        let mut last = Error::other("never started");
        for _ in 0..STARTS_MAX {
            match together(contestant, settings, nodes, more) {
                Ok(servers) => {
                    let addresses = servers.iter().map(Server::address).collect();
                    return Ok(Self::of(contestant.name.clone(), addresses, servers, Order::AsAsked));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A nutcracker in front of three servers, each of which keeps a third of the items.
    pub(crate) fn proxied(proxy: &Path, contestant: &Contestant, settings: &Settings) -> Result<Self> {
        let behind: Vec<Server> = (0..PROXIED).map(|_| contestant.start(settings)).collect::<Result<_>>()?;
        let [port, statistics, _] = free_ports()?;
        let addresses: Vec<SocketAddr> = behind.iter().map(Server::address).collect();
        let file = std::env::temp_dir().join(format!("side-by-side-{}-{port}.yml", std::process::id()));
        std::fs::write(&file, proxy_file(port, &addresses))?;
        let line =
            format!("{} -c {} -s {statistics} -a 127.0.0.1 -i 3600000 -o /dev/null", proxy.display(), file.display());
        let started = launch(line.split_ascii_whitespace(), settings.cores, port).and_then(Server::ready);
        // It has been read.
        std::fs::remove_file(&file)?;
        let server = started?;
        let address = server.address();
        let servers = std::iter::once(server).chain(behind).collect();
        let name = format!("{} and {PROXIED} {}", proxy_version(proxy), contestant.name);
        Ok(Self::of(name, vec![address], servers, Order::Any))
    }

    fn of(name: String, addresses: Vec<SocketAddr>, servers: Vec<Server>, order: Order) -> Self {
        let pids = servers.iter().map(Server::pid).collect();
        Self { name, addresses, pids, order, servers }
    }

    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Its processes.
    pub(crate) fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Sets all items of a size, and sees that each address answers them.
    pub(crate) fn fill(&self, items: Items) -> Result<()> {
        let failed = |error| Error::other(format!("{}, filling it: {error}", self.name));
        ask_all(&Workload::filling(items), self.addresses[0], self.order).map_err(failed)?;
        let deadline = Deadline::after(COPY_TIME_MAX);
        for address in &self.addresses {
            while let Err(error) = ask_all(&Workload::checking(items), *address, self.order) {
                if self.addresses.len() == 1 || deadline.is_over() {
                    return Err(failed(error));
                }
                pause(LOOK_TIME);
            }
        }
        Ok(())
    }
}

fn ask_all(workload: &Workload, address: SocketAddr, order: Order) -> Result<()> {
    let items = workload.items;
    let mut generator = Generator::connect(workload, &[address], order, Keys::in_order(items))?;
    generator.run_batches(u64::from(items.count) / workload.batch.keys() as u64)
}

/// Nodes that see each other. Fails when one ends, or when it takes too long.
fn together(contestant: &Contestant, settings: &Settings, nodes: usize, more: &str) -> Result<Vec<Server>> {
    let ports = free_ports_of(nodes)?;
    let joined: Vec<String> = ports.iter().map(|[_, peers, _]| format!("127.0.0.1:{peers}")).collect();
    let more = format!("--advertise 127.0.0.1 --join {} --expect {nodes} {more}", joined.join(","));
    let start = |ports: &[u16; 3]| contestant.launch(settings, *ports, &more);
    let servers: Vec<Server> = ports.iter().map(start).collect::<Result<_>>()?;
    let deadline = Deadline::after(TOGETHER_TIME_MAX);
    while !ports.iter().all(|[_, _, administrators]| is_together(*administrators, nodes)) {
        if deadline.is_over() || servers.iter().any(|server| server.resident_bytes().is_err()) {
            return Err(Error::other(format!("{nodes} nodes did not come together: {more}")));
        }
        pause(LOOK_TIME);
    }
    Ok(servers)
}

/// Whether a node sees as many nodes as there are, each with all of its share.
fn is_together(administrators: u16, nodes: usize) -> bool {
    fetched(administrators, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
        && fetched(administrators, "/api/cluster").is_ok_and(|answer| all_hold_their_share(&answer, nodes))
}

fn all_hold_their_share(answer: &str, nodes: usize) -> bool {
    let count = |what: &str| answer.matches(what).count();
    count("\"state\":\"alive\"") == nodes && count("\"synced\":1.0") == nodes && count("\"state\":") == nodes
}

fn fetched(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn proxy_file(port: u16, servers: &[SocketAddr]) -> String {
    let servers: String = servers.iter().map(|server| format!("   - {server}:1\n")).collect();
    format!(
        "side:\n  listen: 127.0.0.1:{port}\n  hash: fnv1a_64\n  distribution: ketama\n  auto_eject_hosts: false\n  \
         servers:\n{servers}"
    )
}

/// It tells its version on standard error: `This is nutcracker-0.5.0`.
fn proxy_version(proxy: &Path) -> String {
    let output = Command::new(proxy).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).unwrap_or_default();
    let word = text.split_ascii_whitespace().find(|word| word.starts_with("nutcracker-"));
    word.unwrap_or("nutcracker").replace('-', " ")
}

#[cfg(test)]
mod tests {
    use super::{all_hold_their_share, proxy_file};

    #[test]
    fn nodes_are_together_when_all_are_alive_and_hold_their_share() {
        let member = |state: &str, synced: &str| format!(r#"{{"name":"n","state":"{state}","synced":{synced}}}"#);
        let both = |second: String| format!("[{},{second}]", member("alive", "1.0"));
        assert!(all_hold_their_share(&both(member("alive", "1.0")), 2));
        assert!(!all_hold_their_share(&both(member("alive", "1.0")), 3));
        assert!(!all_hold_their_share(&both(member("alive", "0.5")), 2));
        assert!(!all_hold_their_share(&both(member("failed", "1.0")), 2));
    }

    #[test]
    fn a_proxys_file_names_its_servers() {
        let servers = ["127.0.0.1:7".parse().expect("an address"), "127.0.0.1:8".parse().expect("an address")];
        let file = proxy_file(9, &servers);
        assert!(file.starts_with("side:\n  listen: 127.0.0.1:9\n"), "{file}");
        assert!(file.ends_with("  servers:\n   - 127.0.0.1:7:1\n   - 127.0.0.1:8:1\n"), "{file}");
    }
}
