//! A server for the client's tests: keeps items in a map, answers what it is told to be, and can fall silent or die.
//!
//! Reads requests with the server's own grammar. Must not know what the client is to do with its answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memring_protocol::ring::{Epoch, NodeName, RingConfig, RingId, RingMember, Share, Standing};
use memring_protocol::text::{
    Command, MemberState, MetaCode, MetaFacts, Step, StoreVerb, TextLimits, ToldMember, ToldRing, meta_line, parse,
    ring_text,
};
use memring_protocol::version::Slot;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

const LIMITS: TextLimits = TextLimits { item_bytes_max: 1 << 20, get_line_bytes_max: 1 << 20 };

/// What a server is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Nature {
    /// The text of the ring it tells; it knows no ring command if there is none.
    pub(crate) ring: Option<String>,
    /// Whether it has memring's own statistics.
    pub(crate) is_memring: bool,
    /// The addresses it lists as the cluster; it knows no cluster command if there are none.
    pub(crate) cluster: Vec<String>,
    /// It reads, and answers nothing.
    pub(crate) is_silent: bool,
    /// The next reads are answered by this.
    pub(crate) says: Option<&'static str>,
    /// It closes a connection on the next write that it reads, without doing it.
    pub(crate) closes_on_write: bool,
    /// The same of the next read.
    pub(crate) closes_on_read: bool,
}

#[derive(Debug, Default)]
struct State {
    nature: Nature,
    items: BTreeMap<Vec<u8>, (u32, Vec<u8>)>,
    lines: Vec<String>,
    connections: usize,
}

/// See the file's head.
#[derive(Debug)]
pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl StandIn {
    /// Listens on a free port.
    pub(crate) async fn start(nature: Nature) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), nature).await
    }

    /// Listens there.
    pub(crate) async fn at(address: SocketAddr, nature: Nature) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { nature, ..State::default() }));
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, task }
    }

    /// Changes what it is.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Nature)) {
        change(&mut self.state.lock().nature);
    }

    /// The lines of commands so far that begin with this word.
    pub(crate) fn lines(&self, word: &str) -> Vec<String> {
        let state = self.state.lock();
        state.lines.iter().filter(|line| line.split(' ').next() == Some(word)).cloned().collect()
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.lock().connections
    }

    /// Whether it keeps this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.state.lock().items.contains_key(key.as_bytes())
    }

    /// Keeps a value.
    pub(crate) fn keep(&self, key: &str, value: &str) {
        self.state.lock().items.insert(key.into(), (0, value.into()));
    }

    /// Closes everything, and listens no more.
    pub(crate) async fn kill(self) -> SocketAddr {
        self.task.abort();
        let address = self.address;
        let _ = self.task.await;
        address
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        state.lock().connections += 1;
        let state = Arc::clone(&state);
        // A connection that the client closes has ended, however that shows.
        connections.spawn(async move {
            let _ = serve(stream, state).await;
        });
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) -> std::io::Result<()> {
    let (mut received, mut out) = (BytesMut::new(), BytesMut::new());
    loop {
        if stream.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
        loop {
            let (consumed, is_closed) = match parse(&received, &LIMITS) {
                Step::Command { consumed, command } => {
                    let line = received[..].split(|&byte| byte == b'\r').next().unwrap_or_default();
                    let line = String::from_utf8_lossy(line).into_owned();
                    (consumed, !state.lock().answer(line, &command, &mut out))
                }
                Step::Reject { consumed, .. } => {
                    out.extend_from_slice(b"ERROR\r\n");
                    (consumed, false)
                }
                _ => break,
            };
            received.advance(consumed);
            if is_closed {
                return Ok(());
            }
        }
        if !out.is_empty() {
            stream.write_all_buf(&mut out).await?;
        }
    }
}

impl State {
    /// False: the connection is to be closed.
    fn answer(&mut self, line: String, command: &Command<'_>, out: &mut BytesMut) -> bool {
        self.lines.push(line);
        if self.nature.is_silent {
            return true;
        }
        let is_write = matches!(command, Command::Store { .. } | Command::Arithmetic { .. } | Command::MetaSet { .. });
        if is_write && std::mem::take(&mut self.nature.closes_on_write) {
            return false;
        }
        let is_read = matches!(command, Command::Get { .. });
        if is_read && std::mem::take(&mut self.nature.closes_on_read) {
            return false;
        }
        match self.nature.says.take_if(|_| is_read) {
            Some(says) => out.extend_from_slice(says.as_bytes()),
            None => self.say(command, out),
        }
        true
    }

    fn say(&mut self, command: &Command<'_>, out: &mut BytesMut) {
        match command {
            Command::Get { keys, .. } => {
                for key in keys.iter() {
                    if let Some((flags, value)) = self.items.get(key) {
                        let head = format!("VALUE {} {flags} {}\r\n", key.escape_ascii(), value.len());
                        out.extend_from_slice(head.as_bytes());
                        out.extend_from_slice(value);
                        out.extend_from_slice(b"\r\n");
                    }
                }
                out.extend_from_slice(b"END\r\n");
            }
            Command::Store { verb: StoreVerb::Set, key, flags, value, .. } => {
                self.items.insert(key.to_vec(), (*flags, value.to_vec()));
                out.extend_from_slice(b"STORED\r\n");
            }
            Command::Delete { key, .. } => {
                let words = if self.items.remove(*key).is_some() { "DELETED\r\n" } else { "NOT_FOUND\r\n" };
                out.extend_from_slice(words.as_bytes());
            }
            Command::MetaGet(request) => {
                let key = request.key().to_key();
                let Some((flags, value)) = self.items.get(key.as_bytes()) else {
                    return out.extend_from_slice(b"EN\r\n");
                };
                let facts = MetaFacts { key: key.as_bytes(), flags: Some(*flags), ..MetaFacts::default() };
                out.extend_from_slice(&meta_line(MetaCode::Value(value.len()), &request.echo(), &facts));
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
            Command::MetaSet { request, value, .. } => {
                let key = request.key().to_key();
                self.items.insert(key.as_bytes().to_vec(), (request.flags(), value.to_vec()));
                out.extend_from_slice(b"HD\r\n");
            }
            Command::FlushAll { .. } => {
                self.items.clear();
                out.extend_from_slice(b"OK\r\n");
            }
            Command::Version => out.extend_from_slice(b"VERSION 1.6.45\r\n"),
            Command::Stats { .. } => {
                let own = if self.nature.is_memring { "STAT ring_epoch 1\r\n" } else { "" };
                out.extend_from_slice(format!("STAT pid 1\r\n{own}END\r\n").as_bytes());
            }
            Command::ConfigGetRing => put_config("ring", self.nature.ring.as_deref(), out),
            Command::ConfigGetCluster => {
                let node = |address: &String| {
                    let (ip, port) = address.rsplit_once(':').unwrap();
                    format!("{ip}|{ip}|{port}")
                };
                let nodes: Vec<String> = self.nature.cluster.iter().map(node).collect();
                let text = format!("1\n{}\n", nodes.join(" "));
                put_config("cluster", Some(&*text).filter(|_| !nodes.is_empty()), out);
            }
            _ => out.extend_from_slice(b"ERROR\r\n"),
        }
    }
}

fn put_config(name: &str, text: Option<&str>, out: &mut BytesMut) {
    match text {
        Some(text) => {
            out.extend_from_slice(format!("CONFIG {name} 0 {}\r\n{text}\r\nEND\r\n", text.len()).as_bytes());
        }
        None => out.extend_from_slice(b"ERROR\r\n"),
    }
}

/// The text of a ring of N = 3 whose members, `n0` and so on, are at these addresses.
pub(crate) fn ring_of(epoch: u64, addresses: &[SocketAddr]) -> String {
    let member = |number: usize| RingMember {
        name: NodeName::new(&format!("n{number}")).unwrap(),
        slot: Slot::new(number as u16).unwrap(),
        share: Share { zone: String::new(), weight: 100 },
        standing: Standing::Active,
    };
    let config = RingConfig {
        ring_id: RingId(1),
        epoch: Epoch(epoch),
        cluster: "test".to_owned(),
        replicas: 3,
        vnodes: 64,
        members: (0..addresses.len()).map(member).collect(),
    };
    let health =
        |client: &SocketAddr| ToldMember { client: Some(*client), state: MemberState::Alive, synced_permille: 1000 };
    ring_text(Some(&ToldRing { config, members: addresses.iter().map(health).collect() }))
}

/// Waits until something holds; fails if that takes far longer than it may.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..2000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within twenty seconds");
}
