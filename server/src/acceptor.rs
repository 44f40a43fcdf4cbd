//! Takes connections and deals them to the workers in turn, as memcached does.
//!
//! The kernel's own dealing (SO_REUSEPORT) goes by hash, and leaves workers idle when clients are few. Must not know what
//! is said on a connection, beyond whose link it is.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::client_socket::ClientListener;
use crate::clock::Clock;
use crate::control::ControlLoop;
use crate::gauges::Connections;
use crate::link::handshake::{PEER_LINKS_MAX, handshake};
use crate::link::{self, CONTROL_LINK};
use crate::worker::Handoff;

/// How long to wait when the system has no file or memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// memcached's words.
const TOO_MANY: &[u8] = b"ERROR Too many open connections\r\n";

/// Hands sockets to workers in turn.
pub(crate) struct Dealer {
    workers: Vec<mpsc::Sender<Handoff>>,
    next: Cell<usize>,
}

impl Dealer {
    pub(crate) fn new(workers: Vec<mpsc::Sender<Handoff>>) -> Self {
        Self { workers, next: Cell::new(0) }
    }

    /// Gives a socket to the next worker; closes it if that one is too far behind.
    fn deal(&self, handoff: Handoff) {
        let turn = self.next.get();
        self.next.set((turn + 1) % self.workers.len());
        if self.workers[turn].try_send(handoff).is_err() {
            tracing::warn!(worker = turn, "the worker is too far behind to take a connection");
        }
    }
}

/// Accepts clients of one listener for ever.
pub(crate) async fn accept_clients(
    listener: ClientListener,
    dealer: Rc<Dealer>,
    connections: Arc<Connections>,
    clock: Clock,
    conn_limit: usize,
) {
    connections.registry.enter_listener(listener.endpoint(), clock.now().mono);
    loop {
        let mut client = accept(async || listener.accept().await, "clients", Some(&connections)).await;
        let now = clock.now().mono;
        let Some(admission) = connections.admit(conn_limit as u64, client.from, client.to, now) else {
            // A fresh socket takes this line at once; one that does not is closed without it.
            let _ = client.stream.say(TOO_MANY);
            continue;
        };
        dealer.deal(Handoff::Client(client.stream, admission));
    }
}

/// Accepts peers for ever.
pub(crate) async fn accept_peers(
    listener: TcpListener,
    dealer: Rc<Dealer>,
    control: Rc<ControlLoop>,
    cluster: Rc<str>,
) {
    let permits = Arc::new(Semaphore::new(PEER_LINKS_MAX));
    loop {
        let (stream, _from) = accept(async || listener.accept().await, "peers", None).await;
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            tracing::warn!("{PEER_LINKS_MAX} peer links are open: another is closed");
            continue;
        };
        tokio::task::spawn_local(greet(stream, permit, Rc::clone(&dealer), Rc::clone(&control), Rc::clone(&cluster)));
    }
}

async fn greet(
    mut stream: TcpStream,
    permit: OwnedSemaphorePermit,
    dealer: Rc<Dealer>,
    control: Rc<ControlLoop>,
    cluster: Rc<str>,
) {
    let (preamble, input) = match handshake(&mut stream, &cluster).await {
        Ok(greeting) => greeting,
        Err(error) => {
            let from = stream.peer_addr().ok();
            tracing::warn!(?from, %error, "a link is refused");
            return;
        }
    };
    if preamble.features & CONTROL_LINK != 0 {
        link::serve(control, stream, preamble.features, input, permit).await;
        return;
    }
    match stream.into_std() {
        Ok(stream) => dealer.deal(Handoff::Peer(stream, preamble.features, input, permit)),
        Err(error) => tracing::warn!(%error, "a peer's socket cannot be used"),
    }
}

/// The next connection, however long the system has no means for one; `gauge` is told of that.
async fn accept<T>(next: impl AsyncFn() -> io::Result<T>, whom: &str, gauge: Option<&Connections>) -> T {
    let mut paused = false;
    loop {
        match next().await {
            Ok(accepted) => {
                if let Some(gauge) = gauge.filter(|_| paused) {
                    gauge.resume();
                }
                return accepted;
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if !paused {
                    tracing::warn!(%error, "cannot accept {whom} for now");
                    paused = true;
                    if let Some(gauge) = gauge {
                        gauge.pause();
                    }
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                if let Some(gauge) = gauge {
                    gauge.paused_for(ACCEPT_PAUSE);
                }
            }
        }
    }
}

/// The other side gave up before it was accepted: accept(2) says to go on.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
