//! A relay between the peer ports of nodes: delays everything, doubles and reorders datagrams, and can go silent.
//!
//! Each node listens on an address of its own and tells the others the relay's address for it, where the relay takes
//! connections and datagrams and passes them on. Bytes of a connection keep their order, datagrams need not. Which datagram
//! meets what follows from the seed and the order of arrival. Must not know what is said.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::cluster::{peer_address, relay_address};

/// Bytes read at once; a connection has so many of them under way at most: [`CHUNKS_MAX`].
const CHUNK_BYTES: usize = 64 * 1024;

/// Chunks of one direction of a connection that are being delayed at a time; the sender waits for room.
const CHUNKS_MAX: usize = 64;

/// Datagrams that are being delayed at a time; what comes above is lost.
const DATAGRAMS_MAX: u64 = 4096;

/// The largest datagram.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// What happens on the way.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Everything takes so long at least …
    pub delay: Duration,
    /// … and up to so much longer, each chunk and datagram for itself.
    pub jitter: Duration,
    /// Of a hundred datagrams so many arrive twice, …
    pub doubled_percent: u8,
    /// … and so many are held back for long, behind those that come later.
    pub held_back_percent: u8,
}

/// How long a datagram is held back.
const HELD_BACK: Duration = Duration::from_millis(150);

/// What the relay has done, and whether it passes things on.
#[derive(Debug)]
pub struct Switch {
    /// Nothing is passed on to this node, of connections and datagrams.
    silent: Vec<AtomicBool>,
    /// Bytes of connections.
    pub bytes: AtomicU64,
    /// Datagrams passed on, …
    pub datagrams: AtomicU64,
    /// … those passed on twice, …
    pub doubled: AtomicU64,
    /// … and those held back.
    pub held_back: AtomicU64,
    under_way: AtomicU64,
}

impl Switch {
    /// A switch for so many nodes, all of which are reached.
    pub fn new(nodes: usize) -> Self {
        let [bytes, datagrams, doubled, held_back, under_way] = [(); 5].map(|()| AtomicU64::new(0));
        let silent = (0..nodes).map(|_| AtomicBool::new(false)).collect();
        Self { silent, bytes, datagrams, doubled, held_back, under_way }
    }

    /// Nothing arrives at the node any more, or everything again. What it sends goes on arriving.
    pub fn silence(&self, node: usize, silent: bool) {
        self.silent[node].store(silent, Ordering::Relaxed);
    }

    async fn wait_until_passing(&self, node: Option<usize>) {
        while node.is_some_and(|node| self.silent[node].load(Ordering::Relaxed)) {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Relays until `is_over`; fails if the relay's addresses cannot be had. Tells `ready` once they are.
pub fn run(
    ports: &[u16],
    weather: Weather,
    seed: u64,
    switch: &Arc<Switch>,
    is_over: &AtomicBool,
    ready: impl FnOnce(),
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut sockets = Vec::new();
        for (node, port) in ports.iter().enumerate() {
            sockets.push(Arc::new(UdpSocket::bind((relay_address(node), *port)).await?));
            let listener = TcpListener::bind((relay_address(node), *port)).await?;
            let to = SocketAddr::new(peer_address(node).into(), *port);
            let route = Route { node, to, weather, seed: seed ^ ((node as u64) << 32), switch: Arc::clone(switch) };
            tokio::spawn(route.accept(listener));
        }
        let known: BTreeMap<SocketAddr, usize> =
            (0..ports.len()).map(|node| (SocketAddr::new(peer_address(node).into(), ports[node]), node)).collect();
        for (node, port) in ports.iter().enumerate() {
            let to = SocketAddr::new(peer_address(node).into(), *port);
            let seed = seed ^ 0x7564_7000 ^ node as u64;
            let post = Post { node, to, weather, sockets: sockets.clone(), known: known.clone() };
            tokio::spawn(post.carry(StdRng::seed_from_u64(seed), Arc::clone(switch)));
        }
        ready();
        while !is_over.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    })
}

/// Connections to one node.
struct Route {
    node: usize,
    to: SocketAddr,
    weather: Weather,
    seed: u64,
    switch: Arc<Switch>,
}

impl Route {
    async fn accept(self, listener: TcpListener) {
        let mut count = 0;
        loop {
            let Ok((near, _)) = listener.accept().await else {
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            count += 1;
            let (weather, node, to) = (self.weather, self.node, self.to);
            let (seed, switch) = (self.seed ^ (count << 8), Arc::clone(&self.switch));
            tokio::spawn(async move {
                // The dialler sees a connection that ends at once if the node is not there.
                let Ok(far) = TcpStream::connect(to).await else { return };
                let no_wait = [near.set_nodelay(true), far.set_nodelay(true)];
                if no_wait.iter().any(Result::is_err) {
                    return;
                }
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                let there = Lane { weather, seed, node: Some(node), switch };
                let back = Lane { seed: !seed, node: None, ..there.clone() };
                // Whichever direction ends first ends both: a peer that is gone is gone for good.
                tokio::select! {
                    () = there.carry(near_in, far_out) => {}
                    () = back.carry(far_in, near_out) => {}
                }
            });
        }
    }
}

/// One direction of a connection.
#[derive(Clone)]
struct Lane {
    weather: Weather,
    seed: u64,
    /// The node that it leads to, if that can be silenced.
    node: Option<usize>,
    switch: Arc<Switch>,
}

impl Lane {
    async fn carry(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut random = StdRng::seed_from_u64(self.seed);
        let (push, mut pull) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
        let (switch, node) = (Arc::clone(&self.switch), self.node);
        let reading = async {
            let mut chunk = vec![0; CHUNK_BYTES];
            while let Ok(length @ 1..) = from.read(&mut chunk).await {
                let due = Instant::now() + late(&self.weather, &mut random);
                if push.send((due, chunk[..length].to_vec())).await.is_err() {
                    return;
                }
            }
        };
        let writing = async {
            while let Some((due, bytes)) = pull.recv().await {
                sleep_until(due).await;
                switch.wait_until_passing(node).await;
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
                switch.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
        };
        // An end of the stream overtakes what is being delayed, as a reset does.
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
    }
}

/// Datagrams to one node.
struct Post {
    node: usize,
    to: SocketAddr,
    weather: Weather,
    sockets: Vec<Arc<UdpSocket>>,
    known: BTreeMap<SocketAddr, usize>,
}

impl Post {
    async fn carry(self, mut random: StdRng, switch: Arc<Switch>) {
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            // A node that is not there answers so; its datagram is lost.
            let Ok((length, from)) = self.sockets[self.node].recv_from(&mut datagram).await else { continue };
            let Some(&sender) = self.known.get(&from) else { continue };
            if switch.silent[self.node].load(Ordering::Relaxed) {
                continue;
            }
            let doubled = random.random_range(0..100) < self.weather.doubled_percent;
            switch.doubled.fetch_add(u64::from(doubled), Ordering::Relaxed);
            for _ in 0..=usize::from(doubled) {
                let mut delay = late(&self.weather, &mut random);
                if random.random_range(0..100) < self.weather.held_back_percent {
                    switch.held_back.fetch_add(1, Ordering::Relaxed);
                    delay += HELD_BACK;
                }
                if switch.under_way.fetch_add(1, Ordering::Relaxed) >= DATAGRAMS_MAX {
                    switch.under_way.fetch_sub(1, Ordering::Relaxed);
                    continue;
                }
                // It comes from where the receiver thinks that the sender is.
                let (socket, to) = (Arc::clone(&self.sockets[sender]), self.to);
                let (bytes, switch) = (datagram[..length].to_vec(), Arc::clone(&switch));
                tokio::spawn(async move {
                    sleep(delay).await;
                    if socket.send_to(&bytes, to).await.is_ok() {
                        switch.datagrams.fetch_add(1, Ordering::Relaxed);
                    }
                    switch.under_way.fetch_sub(1, Ordering::Relaxed);
                });
            }
        }
    }
}

fn late(weather: &Weather, random: &mut StdRng) -> Duration {
    weather.delay + weather.jitter.mul_f64(random.random())
}
