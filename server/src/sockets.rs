//! The sockets a node listens on, and the address it tells others.
//!
//! Must not know what is said on them.

use std::fs::{self, Permissions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UdpSocket, UnixListener, lookup_host};

use crate::client_socket::{ClientListener, SocketFile};
use crate::config::{Config, ListenAddress, Whereabouts};

/// Clients that may wait to be accepted, as in memcached.
const BACKLOG: i32 = 1024;

/// All of a node's sockets.
pub(crate) struct Sockets {
    pub(crate) clients: Vec<ClientListener>,
    pub(crate) peers: TcpListener,
    pub(crate) gossip: UdpSocket,
    pub(crate) admin: TcpListener,
    pub(crate) at: Whereabouts,
}

/// Binds them all; an error is one line that says which.
pub(crate) async fn bind(config: &Config) -> Result<Sockets, String> {
    let mut clients = Vec::new();
    if config.tcp_for_clients {
        clients.extend(listen_for_clients(config).await?);
    }
    let client_port = match clients.first() {
        Some(ClientListener::Tcp(_, address)) => address.port(),
        _ => 0,
    };
    let flag = if config.peer_listen.is_some() { "peer-listen" } else { "listen" };
    let host = config.peer_host();
    let ip = first_address(host).await.map_err(|why| format!("--{flag} {host}: {why}"))?;
    let peers = listen(ip, config.peer_port, "peer-port").await?;
    let admin = listen(ip, config.admin_port, "admin-port").await?;
    let peer_port = port_of(&peers)?;
    let gossip = UdpSocket::bind(SocketAddr::new(ip, peer_port))
        .await
        .map_err(|error| cannot_listen(SocketAddr::new(ip, peer_port), "peer-port, UDP", &error))?;
    // Until the runtime has looked at it once, it would take no packet.
    gossip.writable().await.map_err(|error| error.to_string())?;
    let advertised = advertised(config, ip, flag).await?;
    let at = Whereabouts { peer: SocketAddr::new(advertised, peer_port), client_port, admin_port: port_of(&admin)? };
    // Last, so that a start that fails leaves no file behind.
    if let Some(path) = &config.socket {
        let listener = listen_on_path(path, config.socket_mode);
        clients.push(listener.map_err(|why| format!("cannot listen on --socket {path}: {why}"))?);
    }
    Ok(Sockets { clients, peers, gossip, admin, at })
}

async fn listen_for_clients(config: &Config) -> Result<Vec<ClientListener>, String> {
    let mut places = Vec::new();
    for place in &config.listen {
        let found = all_addresses(place, config.port).await.map_err(|why| format!("--listen {place}: {why}"))?;
        places.push((place, found));
    }
    let all: Vec<SocketAddr> = places.iter().flat_map(|(_, found)| found.iter().copied()).collect();
    let mut listeners = Vec::new();
    for (place, found) in places {
        let bound_before = listeners.len();
        let mut missing = None;
        for &address in &found {
            match listen_tcp(address, takes_only_v6(address, &all)) {
                Ok((listener, address)) => listeners.push(ClientListener::Tcp(listener, address)),
                // A name may have addresses of a kind that this host is without, as localhost often has.
                Err(error) if found.len() > 1 && is_not_here(&error) => {
                    missing.get_or_insert((address, error));
                }
                Err(error) => return Err(cannot_listen(address, &format!("listen {place}"), &error)),
            }
        }
        if let Some((address, error)) = missing.filter(|_| listeners.len() == bound_before) {
            return Err(cannot_listen(address, &format!("listen {place}"), &error));
        }
    }
    Ok(listeners)
}

/// `::` would take IPv4 too where the system has it so, and so the port of a listener beside it.
fn takes_only_v6(address: SocketAddr, all: &[SocketAddr]) -> bool {
    let is_rival = |other: &SocketAddr| other.is_ipv4() && other.port() == address.port() && other.port() != 0;
    address.is_ipv6() && address.ip().is_unspecified() && all.iter().any(is_rival)
}

fn listen_tcp(address: SocketAddr, only_v6: bool) -> io::Result<(TcpListener, SocketAddr)> {
    // A host without IPv6 has no such sockets at all.
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)
        .map_err(|error| io::Error::new(io::ErrorKind::Unsupported, error))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if only_v6 {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn is_not_here(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
}

/// Takes a path over from a process that is gone, but from no other.
fn listen_on_path(path: &str, mode: u32) -> Result<ClientListener, String> {
    let told = |error: io::Error| error.to_string();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(told(error)),
        Ok(file) if !file.file_type().is_socket() => return Err("there is a file that is no socket".to_owned()),
        Ok(_) => match knock(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(told)?,
            Err(error) => return Err(format!("it may be in use: {error}")),
            Ok(_) => return Err("another process listens there".to_owned()),
        },
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(told)?;
    socket.set_nonblocking(true).map_err(told)?;
    socket.bind(&SockAddr::unix(path).map_err(told)?).map_err(told)?;
    let file = SocketFile::of(path.into()).map_err(told)?;
    // Before it listens nobody can connect, so there is no moment with other permissions.
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(told)?;
    socket.listen(BACKLOG).map_err(told)?;
    let listener = UnixListener::from_std(socket.into()).map_err(told)?;
    Ok(ClientListener::Unix(file, listener))
}

/// Connects, without waiting for a listener whose backlog is full.
fn knock(path: &str) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&SockAddr::unix(path)?)
}

async fn listen(ip: IpAddr, port: u16, flag: &str) -> Result<TcpListener, String> {
    let address = SocketAddr::new(ip, port);
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, flag, &error))
}

fn cannot_listen(address: SocketAddr, flag: &str, error: &io::Error) -> String {
    format!("cannot listen on {address} (--{flag}): {error}")
}

fn port_of(listener: &TcpListener) -> Result<u16, String> {
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

async fn advertised(config: &Config, listen: IpAddr, flag: &str) -> Result<IpAddr, String> {
    if let Some(host) = &config.advertise {
        return first_address(host).await.map_err(|why| format!("--advertise {host}: {why}"));
    }
    if !listen.is_unspecified() {
        return Ok(listen);
    }
    outward_address(listen).map_err(|error| {
        format!(
            "--{flag} {listen}: cannot tell which address other nodes reach this one at ({error}): give --advertise"
        )
    })
}

/// Which of this host's addresses packets to the world would come from. Nothing is sent: the addresses are those set
/// aside for documentation, and connecting a UDP socket only asks the routing table.
fn outward_address(listen: IpAddr) -> io::Result<IpAddr> {
    let world: IpAddr = match listen {
        IpAddr::V4(_) => Ipv4Addr::new(192, 0, 2, 1).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let socket = std::net::UdpSocket::bind(SocketAddr::new(listen, 0))?;
    socket.connect(SocketAddr::new(world, 9))?;
    let ip = socket.local_addr()?.ip();
    if ip.is_unspecified() { Err(io::ErrorKind::AddrNotAvailable.into()) } else { Ok(ip) }
}

async fn first_address(host: &str) -> Result<IpAddr, String> {
    let mut found = lookup_host((host, 0)).await.map_err(|error| error.to_string())?;
    found.next().map(|address| address.ip()).ok_or_else(|| "no such host".to_owned())
}

async fn all_addresses(place: &ListenAddress, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = lookup_host((place.host.as_str(), place.port.unwrap_or(port))).await;
    let mut addresses = Vec::new();
    for address in found.map_err(|error| error.to_string())? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err("no such host".to_owned()) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_ipv6_is_not_every_address_of_ipv4() {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        for (own, other, only_v6) in [
            ("[::]:1", "0.0.0.0:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("[::]:1", "0.0.0.0:2", false),
            ("[::]:0", "0.0.0.0:0", false),
            ("[::]:1", "[::1]:1", false),
            ("[::1]:1", "0.0.0.0:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", false),
        ] {
            assert_eq!(takes_only_v6(address(own), &[address(own), address(other)]), only_v6, "{own} {other}");
        }
    }

    #[test]
    fn a_path_is_taken_over_from_the_dead_only() {
        let runtime = crate::threads::runtime().expect("a runtime");
        let _inside = runtime.enter();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("m.sock");
        let path = path.to_str().expect("text");
        let listen = || listen_on_path(path, 0o640);

        let first = listen().expect("a free path");
        assert_eq!(first.endpoint().to_string(), format!("unix:{path}"));
        assert_eq!(fs::metadata(path).expect("a file").permissions().mode() & 0o777, 0o640);
        assert_eq!(listen().err().as_deref(), Some("another process listens there"));
        // A second name keeps the number of its file from being given to another.
        fs::hard_link(path, format!("{path}.old")).expect("linked");
        let ClientListener::Unix(file, listener) = first else { panic!("no Unix socket") };
        // Without its listener the file is what a killed process leaves.
        drop(listener);
        let second = listen().expect("a dead one's path");
        drop(file);
        assert!(fs::exists(path).expect("a folder"), "the file is another's by now");
        drop(second);
        assert!(!fs::exists(path).expect("a folder"));

        fs::write(path, "precious").expect("written");
        assert_eq!(listen().err().as_deref(), Some("there is a file that is no socket"));
        assert_eq!(fs::read_to_string(path).expect("a file"), "precious");
        let nowhere = listen_on_path("/nowhere/m.sock", 0o700).err();
        assert_eq!(nowhere.as_deref(), Some("No such file or directory (os error 2)"));
    }
}
