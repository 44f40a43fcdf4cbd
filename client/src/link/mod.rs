//! A server as this client reaches it: some connections, each with a queue and a task, and a breaker.
//!
//! Must not know which keys belong to the server, nor what is to be done when it does not answer.
//!
//! ```text
//! callers ── queue ── driver ── coalesce, flight ── socket          breaker: may callers ask at all?
//! ```

mod breaker;
mod coalesce;
mod driver;
mod flight;
mod queue;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout_at};

use self::breaker::{Breaker, Failure};
use self::driver::Terms;
pub(crate) use self::queue::{Asking, Fits};
use self::queue::{Job, Queue, QueueLimits};
use crate::answer::Answer;
use crate::chance::chance;
use crate::error::Error;

pub(crate) use self::coalesce::LINE_KEYS_MAX;

/// How a client reaches its servers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkTerms {
    /// Connections to each server.
    pub(crate) connections: usize,
    /// How long connecting may take.
    pub(crate) connect_within: Duration,
    /// How long nothing may come while answers are due.
    pub(crate) silent_for_max: Duration,
    /// Requests that wait for one connection or are on their way over it.
    pub(crate) requests_max: usize,
    /// Bytes that wait for one connection.
    pub(crate) request_bytes_max: usize,
    /// Bytes of one answer line with its block.
    pub(crate) answer_bytes_max: usize,
}

/// What is known of a server's health, by its callers and its drivers.
#[derive(Debug)]
pub(crate) struct Health {
    breaker: Mutex<Breaker>,
    /// What callers look at: the breaker without its lock.
    is_closed: AtomicBool,
    is_troubled: AtomicBool,
    is_being_tried: AtomicBool,
    /// Told when a server fails, so that somebody looks how the cluster is now.
    alarm: Arc<Notify>,
}

impl Health {
    fn new(alarm: Arc<Notify>) -> Self {
        let breaker = Mutex::new(Breaker::new());
        Self {
            breaker,
            is_closed: AtomicBool::new(true),
            is_troubled: AtomicBool::new(false),
            is_being_tried: AtomicBool::new(false),
            alarm,
        }
    }

    fn on_success(&self) {
        if self.is_troubled.load(Ordering::Relaxed) {
            self.change(|breaker, now| breaker.on_success(now));
        }
    }

    fn on_failure(&self, failure: Failure) {
        self.change(|breaker, now| breaker.on_failure(failure, now, chance()));
        self.alarm.notify_one();
    }

    /// A connection ended: no failure yet, for the next dial tells, but the cluster may have changed.
    fn on_lost(&self) {
        self.alarm.notify_one();
    }

    fn change(&self, change: impl FnOnce(&mut Breaker, Instant)) {
        let mut breaker = self.breaker.lock();
        change(&mut breaker, Instant::now());
        self.is_closed.store(breaker.is_closed(), Ordering::Relaxed);
        self.is_troubled.store(breaker.is_troubled(), Ordering::Relaxed);
    }
}

/// A server. Its connections end when this is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    address: Arc<str>,
    queues: Box<[Arc<Queue>]>,
    health: Arc<Health>,
}

impl Link {
    /// Connects when something is asked. Needs a runtime, which runs its tasks.
    pub(crate) fn new(address: &str, terms: LinkTerms, alarm: &Arc<Notify>) -> Self {
        let address: Arc<str> = address.into();
        let health = Arc::new(Health::new(Arc::clone(alarm)));
        let limits = QueueLimits { requests_max: terms.requests_max, bytes_max: terms.request_bytes_max };
        let queues = (0..terms.connections.max(1)).map(|_| {
            let queue = Arc::new(Queue::new(limits));
            let terms = Terms {
                address: Arc::clone(&address),
                connect_within: terms.connect_within,
                silent_for_max: terms.silent_for_max,
                answer_bytes_max: terms.answer_bytes_max,
            };
            tokio::spawn(driver::drive(Arc::clone(&queue), Arc::clone(&health), terms));
            queue
        });
        Self { queues: queues.collect(), address, health }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Whether callers may ask it.
    pub(crate) fn is_open_to_calls(&self) -> bool {
        self.health.is_closed.load(Ordering::Relaxed)
    }

    /// When a trial is due, if callers may not ask and none is under way.
    pub(crate) fn trial_at(&self) -> Option<Instant> {
        if self.is_open_to_calls() || self.health.is_being_tried.load(Ordering::Acquire) {
            return None;
        }
        self.health.breaker.lock().trial_at()
    }

    /// Whether the caller may begin a trial: it is the only one, until [`Link::end_trial`].
    pub(crate) fn begin_trial(&self) -> bool {
        !self.health.is_being_tried.swap(true, Ordering::AcqRel)
    }

    /// A trial is over, and its outcome known. The next one is due later.
    pub(crate) fn end_trial(&self) {
        self.health.is_being_tried.store(false, Ordering::Release);
        self.health.alarm.notify_one();
    }

    /// Asks, and waits for the answer until `deadline`, which is `within` after the call began.
    pub(crate) async fn call(&self, asking: Asking, deadline: Instant, within: Duration) -> Result<Answer, Error> {
        self.begin(asking, deadline).await?.answer(deadline, within).await
    }

    /// Asks, once there is room before `deadline`; the answer is waited for later.
    pub(crate) async fn begin(&self, asking: Asking, deadline: Instant) -> Result<Begun<'_>, Error> {
        let (answered, answer) = oneshot::channel();
        let queue = &self.queues[lane(self.queues.len())];
        match timeout_at(deadline, queue.put(Job { asking, answered })).await {
            Ok(put) => put?,
            Err(_) => return Err(Error::NotSent("there was no room in the whole time of the call")),
        }
        Ok(Begun { link: self, answer })
    }
}

/// A request that is on its way. Dropped, its answer is read and dropped too.
#[derive(Debug)]
pub(crate) struct Begun<'a> {
    link: &'a Link,
    answer: oneshot::Receiver<Result<Answer, Error>>,
}

impl Begun<'_> {
    /// Waits for the answer until `deadline`, which is `within` after the call began. Silence counts against the server.
    pub(crate) async fn answer(self, deadline: Instant, within: Duration) -> Result<Answer, Error> {
        let outcome = match timeout_at(deadline, self.answer).await {
            Ok(Ok(outcome)) => outcome,
            // Its driver is gone, with the runtime that ran it.
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => {
                self.link.health.on_failure(Failure::Silent);
                Err(Error::Deadline(within))
            }
        };
        if outcome.is_ok() {
            self.link.health.on_success();
        }
        outcome
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.queues.iter().for_each(|queue| queue.close());
    }
}

/// The connection for this thread, of so many: a thread keeps to one, so that what its tasks ask goes together.
fn lane(lanes: usize) -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    if lanes == 1 {
        return 0;
    }
    let number = NUMBER.get().unwrap_or_else(|| {
        let number = THREADS.fetch_add(1, Ordering::Relaxed);
        NUMBER.set(Some(number));
        number
    });
    number % lanes
}
