//! The sockets a node listens on, and the address it tells others.
//!
//! Must not know what is said on them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, UdpSocket, lookup_host};

use crate::config::{Config, Whereabouts};

/// All of a node's sockets.
pub(crate) struct Sockets {
    pub(crate) clients: TcpListener,
    pub(crate) peers: TcpListener,
    pub(crate) gossip: UdpSocket,
    pub(crate) admin: TcpListener,
    pub(crate) at: Whereabouts,
}

/// Binds them all; an error is one line that says which.
pub(crate) async fn bind(config: &Config) -> Result<Sockets, String> {
    let ip = first_address(&config.listen).await.map_err(|why| format!("--listen {}: {why}", config.listen))?;
    let clients = listen(ip, config.port, "port").await?;
    let peers = listen(ip, config.peer_port, "peer-port").await?;
    let admin = listen(ip, config.admin_port, "admin-port").await?;
    let peer_port = port_of(&peers)?;
    let gossip = UdpSocket::bind(SocketAddr::new(ip, peer_port))
        .await
        .map_err(|error| cannot_listen(SocketAddr::new(ip, peer_port), "peer-port, UDP", &error))?;
    // Until the runtime has looked at it once, it would take no packet.
    gossip.writable().await.map_err(|error| error.to_string())?;
    let advertised = advertised(config, ip).await?;
    let at = Whereabouts {
        peer: SocketAddr::new(advertised, peer_port),
        client_port: port_of(&clients)?,
        admin_port: port_of(&admin)?,
    };
    Ok(Sockets { clients, peers, gossip, admin, at })
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

async fn advertised(config: &Config, listen: IpAddr) -> Result<IpAddr, String> {
    if let Some(host) = &config.advertise {
        return first_address(host).await.map_err(|why| format!("--advertise {host}: {why}"));
    }
    if !listen.is_unspecified() {
        return Ok(listen);
    }
    outward_address(listen).map_err(|error| {
        format!(
            "--listen {listen}: cannot tell which address other nodes reach this one at ({error}): give --advertise"
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
