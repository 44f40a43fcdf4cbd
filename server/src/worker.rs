//! A worker thread: its node, its clients, its links.
//!
//! Must not know how sockets are accepted, or what the control thread does.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use memring_engine::node::{Node, Shared};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::LocalSet;

use crate::client_socket::DetachedClient;
use crate::connection::{self, Clients, WorkerLoop};
use crate::event_loop::{EventLoop, Wiring};
use crate::front_door::FrontDoor;
use crate::gauges::{Admission, Traffic};
use crate::link;
use crate::stopwatch::{Latencies, Stopwatch};
use crate::threads;

/// Sockets on their way to one worker. A worker that is so far behind gets no more.
pub(crate) const HANDOFFS_MAX: usize = 1024;

/// How long clients' requests in flight may take to finish when the node stops.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(1);

/// How often a stopping worker looks whether its clients are gone.
const STOP_POLL: Duration = Duration::from_millis(10);

/// A socket for a worker. Between runtimes sockets travel as the standard library's.
pub(crate) enum Handoff {
    Client(DetachedClient, Admission),
    /// With the preamble's features and the bytes that came behind it.
    Peer(std::net::TcpStream, u64, BytesMut, OwnedSemaphorePermit),
}

/// How far the process is in stopping.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    Serving,
    /// Clients get what they are owed and are closed; peers are served.
    Finishing,
    /// Threads end.
    Ended,
}

/// What a worker is started with.
pub(crate) struct Worker {
    pub(crate) number: u16,
    pub(crate) shared: Arc<Shared>,
    pub(crate) traffic: Arc<Traffic>,
    /// Where it counts how long clients wait; `None` where that is not measured.
    pub(crate) latencies: Option<Arc<Latencies>>,
    pub(crate) door: Arc<FrontDoor>,
    pub(crate) handoffs: mpsc::Receiver<Handoff>,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Worker {
    /// Runs on the calling thread until the phase is [`Phase::Ended`].
    pub(crate) fn run(self, wiring: Wiring) -> io::Result<()> {
        let runtime = threads::runtime()?;
        LocalSet::new().block_on(&runtime, self.serve(wiring));
        Ok(())
    }

    async fn serve(mut self, wiring: Wiring) {
        let stopwatch = Stopwatch::new(self.latencies);
        let clients = Clients::new(self.shared.settings().item_bytes_max, self.traffic, stopwatch, self.door);
        let thread = EventLoop::new(Node::new(self.shared, self.number), clients, wiring);
        tokio::task::spawn_local(Rc::clone(&thread).run_timers());
        loop {
            tokio::select! {
                handoff = self.handoffs.recv() => match handoff {
                    Some(handoff) => take(&thread, handoff),
                    None => return,
                },
                changed = self.phase.changed() => {
                    let phase = *self.phase.borrow_and_update();
                    if changed.is_err() || phase == Phase::Ended {
                        return;
                    }
                    if phase == Phase::Finishing {
                        tokio::task::spawn_local(finish(Rc::clone(&thread)));
                    }
                }
            }
        }
    }
}

fn take(thread: &Rc<WorkerLoop>, handoff: Handoff) {
    let thread = Rc::clone(thread);
    match handoff {
        Handoff::Client(stream, admission) => match stream.attach() {
            Ok(stream) => drop(tokio::task::spawn_local(connection::serve(thread, stream, admission))),
            Err(error) => tracing::warn!(%error, "a client's socket cannot be used"),
        },
        Handoff::Peer(stream, features, input, permit) => match TcpStream::from_std(stream) {
            Ok(stream) => drop(tokio::task::spawn_local(link::serve(thread, stream, features, input, permit))),
            Err(error) => tracing::warn!(%error, "a peer's socket cannot be used"),
        },
    }
}

/// Has clients close, those too that were on their way here.
async fn finish(thread: Rc<WorkerLoop>) {
    loop {
        thread.surroundings.stop();
        if thread.surroundings.is_empty() {
            return;
        }
        tokio::time::sleep(STOP_POLL).await;
    }
}
