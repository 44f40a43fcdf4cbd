//! One node from start to stop.
//!
//! Puts the parts together; must not know what any of them does inside. The calling thread becomes the control thread:
//! it accepts connections, runs the engine's control, the admin port and the signals. Every other thread is a worker.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use memring_engine::node::{Control, Settings, Shared};
use memring_protocol::frame::{Preamble, encode_preamble};
use memring_protocol::ring::NodeName;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle as JoinTask, LocalSet};

use crate::acceptor::{self, Dealer};
use crate::admin::{self, Admin};
use crate::backlog::Backlog;
use crate::client_socket::ClientListener;
use crate::clock::Clock;
use crate::config::Config;
use crate::control::{self, ControlLoop, Outside};
use crate::data_dir::DataDir;
use crate::event_loop::{EventLoop, Wiring};
use crate::facts::FactSources;
use crate::front_door::{Auth, FrontDoor};
use crate::gauges::{Connections, Traffic};
use crate::hint_disk::{self, HintDisk};
use crate::large::LargeValues;
use crate::link::{CONTROL_LINK, Links, Room};
use crate::metrics::Metrics;
use crate::pid_file::PidFile;
use crate::signals::{self, Signals, Stop};
use crate::snapshot;
use crate::sockets::{self, Sockets};
use crate::stopwatch::Latencies;
use crate::worker::{HANDOFFS_MAX, Phase, STOP_GRACE, Worker};
use crate::{cgroup, log, process, threads};

/// How long what was announced at the stop has to leave on links that are up.
const FAREWELL: Duration = Duration::from_millis(100);

/// Clients that connect right after the start wait for the ring this long, instead of being told that there is none.
const ACCEPT_WAIT: Duration = Duration::from_secs(2);

/// How often it is looked whether there is one.
const READY_POLL: Duration = Duration::from_millis(2);

/// How often a node that is to stop looks whether it may.
const STOP_WAIT_POLL: Duration = Duration::from_millis(20);

/// Exit code when an option cannot be used, as of a wrong command line.
const BAD_OPTION: u8 = 2;

/// How often a thread that ended by itself is looked for.
const SUPERVISE_EVERY: Duration = Duration::from_secs(1);

/// Reasons to stop that may wait: the first is enough.
const STOPS_MAX: usize = 4;

/// Runs a node until it is told to stop, on this thread and as many workers as the config says.
pub fn serve(config: &Config) -> ExitCode {
    let data_dir = match config.data_dir.as_deref().map(DataDir::open).transpose() {
        Ok(data_dir) => data_dir,
        Err(error) => {
            eprintln!("memring: --data-dir {}: {error}", config.data_dir.as_deref().unwrap_or(Path::new("")).display());
            return ExitCode::from(BAD_OPTION);
        }
    };
    log::start(config);
    let outcome = threads::runtime().map_err(|error| format!("cannot start: {error}")).and_then(|runtime| {
        let outcome = LocalSet::new().block_on(&runtime, run(config, data_dir));
        // A name that is being looked up must not hold the process.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            tracing::error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// What all threads of the process share.
struct Process {
    clock: Clock,
    shared: Arc<Shared>,
    heartbeats: Vec<Arc<AtomicU64>>,
    traffic: Vec<Arc<Traffic>>,
    connections: Arc<Connections>,
    door: Arc<FrontDoor>,
    /// One a worker; none where nothing is timed.
    latencies: Vec<Arc<Latencies>>,
    room: Arc<Room>,
    phase: watch::Sender<Phase>,
    stopping: Arc<AtomicBool>,
}

async fn run(config: &Config, data_dir: Option<DataDir>) -> Result<(), String> {
    let (stops, told) = mpsc::channel(STOPS_MAX);
    let mut signals =
        Signals::new(config.until_stdin_closes, told).map_err(|error| format!("cannot watch signals: {error}"))?;
    let fitted = cgroup::fit(config);
    let config = fitted.as_ref().unwrap_or(config);
    let clock = Clock::start();
    let name = node_name(config)?;
    let sockets = sockets::bind(config).await?;
    let _pid_file = config.pid_file.as_deref().and_then(PidFile::write_or_warn);
    let workers = config.threads.unwrap_or_else(threads::cores).max(1);
    let settings = config.settings(name, sockets.at, clock.wall_at_start().0, random_seed(), workers);
    say_hello(config, &settings, &sockets);
    let process = Process::new(config, clock, Shared::new(settings), stops);
    if let Some(data_dir) = &data_dir {
        snapshot::read(data_dir.path(), &process.shared, clock);
    }
    let (senders, handles) = start_workers(&process).map_err(|error| format!("cannot start a worker: {error}"))?;

    let disk = data_dir.as_ref().map(HintDisk::start).transpose();
    let (disk, told) = disk.map_err(|error| format!("cannot use the data folder: {error}"))?.unzip();
    let control = control_loop(&process, Outside::new(Rc::new(sockets.gossip), disk));
    if let Some(told) = told {
        tokio::task::spawn_local(hint_disk::receive_answers(Rc::clone(&control), told));
    }
    let dealer = Rc::new(Dealer::new(senders));
    let drain = Arc::new(Notify::new());
    let accepting = process.accept_clients(sockets.clients, &dealer);
    let cluster = Rc::from(config.cluster_name.as_str());
    tokio::task::spawn_local(acceptor::accept_peers(sockets.peers, dealer, Rc::clone(&control), cluster));
    tokio::task::spawn_local(admin::serve(sockets.admin, process.admin(&drain)));
    tokio::task::spawn_local(Rc::clone(&control).run_timers());
    tokio::task::spawn_local(control::receive_packets(Rc::clone(&control)));
    tokio::task::spawn_local(control::drain_when_told(Rc::clone(&control), drain));
    let door = Arc::clone(&process.door);
    tokio::task::spawn_local(async move { door.facts.keep_telling(&door.shared).await });
    tokio::task::spawn_local(log::keep_telling());
    let door = Arc::clone(&process.door);
    tokio::task::spawn_local(signals::at_hangup(move || door.auth.iter().for_each(Auth::reload)));
    if !config.join.is_empty() {
        let shared = Arc::clone(&process.shared);
        let joining = control::keep_joining(Rc::clone(&control), shared, config.join.clone(), config.join_port());
        tokio::task::spawn_local(joining);
    }

    let mut is_planned = false;
    let outcome = tokio::select! {
        stop = signals.next() => {
            tracing::info!("{stop}");
            if stop.is_gentle() && process.copies_are_safe(&control, config.stop_wait, &mut signals).await {
                accepting.iter().for_each(JoinTask::abort);
                is_planned = process.stop_gently(&control, &mut signals).await;
            }
            Ok(())
        }
        () = until_one_ends(&handles) => Err("a worker thread has ended".to_owned()),
    };
    process.end(handles).await;
    if is_planned {
        hint_disk::save(&control, &process.shared).await;
        if let Some(data_dir) = &data_dir {
            snapshot::write(data_dir.path(), &process.shared, clock, config.stop_wait);
        }
    }
    outcome
}

impl Process {
    fn new(config: &Config, clock: Clock, shared: Arc<Shared>, stops: mpsc::Sender<Stop>) -> Self {
        let workers = usize::from(shared.settings().workers);
        let heartbeat = || Arc::new(AtomicU64::new(clock.now().mono.0));
        let connections = Arc::new(Connections::default());
        let traffic: Vec<_> = (0..workers).map(|_| Arc::new(Traffic::default())).collect();
        let room = Arc::new(Room::new(config.item_bytes_max, config.memory_limit_bytes));
        let facts = FactSources {
            clock,
            room: Arc::clone(&room),
            connections: Arc::clone(&connections),
            traffic: traffic.clone(),
            large: LargeValues::new(shared.settings().item_bytes_max, shared.settings().memory_limit_bytes),
            backlog: Backlog::new(shared.settings().memory_limit_bytes),
            conn_limit: connections_max(config.conn_limit),
        };
        let timed = if config.metrics { workers } else { 0 };
        let door = Arc::new(FrontDoor::new(config, Arc::clone(&shared), facts, stops));
        Self {
            room,
            clock,
            shared,
            // The last one is the control thread's.
            heartbeats: (0..=workers).map(|_| heartbeat()).collect(),
            traffic,
            connections,
            door,
            latencies: (0..timed).map(|_| Arc::new(Latencies::new())).collect(),
            phase: watch::Sender::new(Phase::Serving),
            stopping: Arc::new(AtomicBool::new(false)),
        }
    }

    /// What a thread's first frame on each link says.
    fn preamble(&self, features: u64) -> Bytes {
        let settings = self.shared.settings();
        let mut preamble = Preamble::new(&settings.cluster, settings.name.clone(), settings.generation);
        preamble.features |= features;
        let mut encoded = BytesMut::new();
        encode_preamble(&preamble, &mut encoded);
        encoded.freeze()
    }

    fn admin(&self, drain: &Arc<Notify>) -> Admin {
        Admin {
            shared: Arc::clone(&self.shared),
            clock: self.clock,
            heartbeats: self.heartbeats.clone(),
            stopping: Arc::clone(&self.stopping),
            drain: Arc::clone(drain),
            metrics: Metrics { door: Arc::clone(&self.door), latencies: self.latencies.clone() },
        }
    }

    /// Accepts on each of the listeners, once the node can answer: who connects earlier waits in the listener's queue.
    fn accept_clients(&self, listeners: Vec<ClientListener>, dealer: &Rc<Dealer>) -> Vec<JoinTask<()>> {
        let accept = |listener| {
            let (dealer, connections) = (Rc::clone(dealer), Arc::clone(&self.connections));
            let (shared, conn_limit) = (Arc::clone(&self.shared), self.door.facts.conn_limit);
            let accepting = acceptor::accept_clients(listener, dealer, connections, self.clock, conn_limit);
            tokio::task::spawn_local(async move {
                // A node that founds a ring is ready in a moment; one that joins may have to answer misses for a while.
                let _ = tokio::time::timeout(ACCEPT_WAIT, until_answering(&shared)).await;
                accepting.await;
            })
        };
        listeners.into_iter().map(accept).collect()
    }

    /// Goes on serving until enough others hold what this node holds, or for `stop_wait`: in a rolling restart, stopping
    /// while the node before is still copying would leave partitions with one copy, or none. False at a second signal.
    async fn copies_are_safe(&self, control: &Rc<ControlLoop>, stop_wait: Duration, signals: &mut Signals) -> bool {
        self.stopping.store(true, Ordering::Relaxed);
        control.call(|control, now, fx| control.depart(now, stop_wait, fx));
        let safe = async {
            while !self.shared.may_stop() {
                tokio::time::sleep(STOP_WAIT_POLL).await;
            }
        };
        tokio::select! {
            () = safe => true,
            stop = signals.next() => {
                tracing::info!("{stop}");
                false
            }
        }
    }

    /// Announces the stop, lets requests in flight finish and their replies leave; ends early, and says false, at a second signal.
    async fn stop_gently(&self, control: &Rc<ControlLoop>, signals: &mut Signals) -> bool {
        control.call(Control::stop);
        self.phase.send_replace(Phase::Finishing);
        let finished = async {
            tokio::time::sleep(FAREWELL).await;
            while self.connections.current() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(STOP_GRACE, finished) => true,
            stop = signals.next() => {
                tracing::info!("{stop}");
                false
            }
        }
    }

    /// Ends the workers, and waits for them unless they hang.
    async fn end(&self, handles: Vec<JoinHandle<io::Result<()>>>) {
        self.phase.send_replace(Phase::Ended);
        let ended = async {
            while !handles.iter().all(JoinHandle::is_finished) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(STOP_GRACE, ended).await.is_err() {
            tracing::warn!("a worker hangs and is left behind");
            return;
        }
        for handle in handles {
            if let Ok(Err(error)) = handle.join() {
                tracing::error!(%error, "a worker failed");
            }
        }
    }
}

/// Until requests can be answered: there is a ring. In one of its own this node is also the only one with copies.
async fn until_answering(shared: &Shared) {
    while !(shared.is_ready() && (shared.settings().joining || shared.is_synced())) {
        tokio::time::sleep(READY_POLL).await;
    }
}

type Workers = (Vec<mpsc::Sender<crate::worker::Handoff>>, Vec<JoinHandle<io::Result<()>>>);

fn start_workers(process: &Process) -> io::Result<Workers> {
    let (mut senders, mut handles) = (Vec::new(), Vec::new());
    for number in 0..process.shared.settings().workers {
        let index = usize::from(number);
        let (sender, handoffs) = mpsc::channel(HANDOFFS_MAX);
        let worker = Worker {
            number,
            shared: Arc::clone(&process.shared),
            traffic: Arc::clone(&process.traffic[index]),
            latencies: process.latencies.get(index).cloned(),
            door: Arc::clone(&process.door),
            handoffs,
            phase: process.phase.subscribe(),
        };
        // Links are made on the thread they belong to.
        let (clock, preamble, room) = (process.clock, process.preamble(0), Arc::clone(&process.room));
        let seed = process.shared.settings().seed.wrapping_add(1 + index as u64);
        let heartbeat = Arc::clone(&process.heartbeats[index]);
        let work = move || worker.run(Wiring { clock, links: Links::new(preamble, room, seed), heartbeat });
        senders.push(sender);
        handles.push(threads::spawn(format!("worker-{number}"), work)?);
    }
    Ok((senders, handles))
}

fn control_loop(process: &Process, outside: Outside) -> Rc<ControlLoop> {
    let wiring = Wiring {
        clock: process.clock,
        links: Links::new(process.preamble(CONTROL_LINK), Arc::clone(&process.room), process.shared.settings().seed),
        heartbeat: Arc::clone(process.heartbeats.last().expect("one for each worker, then the control thread's")),
    };
    EventLoop::new(Control::new(Arc::clone(&process.shared)), outside, wiring)
}

fn node_name(config: &Config) -> Result<NodeName, String> {
    if let Some(name) = &config.name {
        return Ok(name.clone());
    }
    let host = process::host_name().ok_or("cannot tell the host's name: give --name")?;
    NodeName::new(&host)
        .map_err(|error| format!("the host's name {host:?} cannot be the node's ({error}): give --name"))
}

/// From the operating system, by way of the standard library's randomly keyed hasher: the one place where randomness
/// enters the engine.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

async fn until_one_ends(handles: &[JoinHandle<io::Result<()>>]) {
    while !handles.iter().any(JoinHandle::is_finished) {
        tokio::time::sleep(SUPERVISE_EVERY).await;
    }
}

fn say_hello(config: &Config, settings: &Settings, sockets: &Sockets) {
    let address =
        |listener: &tokio::net::TcpListener| listener.local_addr().map_or_else(|_| "?".into(), |at| at.to_string());
    let clients: Vec<String> = sockets.clients.iter().map(|listener| listener.endpoint().to_string()).collect();
    tracing::info!(
        "memring {} node {}: clients on {}, peers on {} (told to others as {}), admin on http://{}",
        env!("CARGO_PKG_VERSION"),
        settings.name,
        clients.join(", "),
        address(&sockets.peers),
        settings.peer,
        address(&sockets.admin),
    );
    if config.replicas == 2 && config.read.is_none() && config.write.is_none() {
        tracing::info!(
            "two replicas: levels default to one, since a quorum of two would stop writes at the first crash"
        );
    }
    if config.expect.is_some() && config.join.is_empty() {
        tracing::warn!("--expect means nothing without --join: this node founds a ring alone");
    }
}

/// As many connections as are wanted, unless too few files may be open: a line says so.
fn connections_max(wanted: usize) -> usize {
    let open_files_max = process::open_files_max();
    let fit = process::connections_that_fit(wanted, open_files_max);
    if let Some(files) = open_files_max.filter(|_| fit < wanted) {
        tracing::warn!("--conn-limit {wanted}: made {fit}, for only {files} files may be open (ulimit -n)");
    }
    fit
}
