//! A cache as one thing: a handle that many tasks share, which sends each key to a server that has it.
//!
//! Must not know bytes or sockets (`link`), nor placement (`topology`, `routing`): it ties them to calls with deadlines.
//!
//! ```text
//! commands, many ── attempts ── routing ── link         tend: the topology, and trials of servers that failed
//! ```

mod attempts;
pub(crate) mod budget;
mod commands;
pub(crate) mod many;
pub(crate) mod options;
mod tend;
mod view;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use memring_protocol::level::Level;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::budget::Budget;
use self::options::Options;
use self::view::View;
use crate::error::Error;
use crate::topology::Topology;

/// A cache: a memring cluster, or memcached servers. Cheap to clone; all clones share connections, and tasks of a runtime
/// serve them, so it needs tokio. They end when the last clone is dropped.
///
/// Every call has a deadline, and its error says whether it may have been applied
/// ([`Error::may_have_been_applied`]). A future that is dropped leaves nothing out of step; its request may have been sent.
///
/// ```no_run
/// use memring_client::{Client, Level};
///
/// # async fn example() -> Result<(), memring_client::Error> {
/// let cache = Client::connect(["10.0.0.1:11211", "10.0.0.2:11211"]).await?;
/// cache.set("greeting", "hello", 0, 60).await?;
/// let value = cache.get("greeting").await?;
/// assert_eq!(value.map(|value| value.bytes), Some("hello".into()));
/// // One copy is enough for this one.
/// let views = cache.at(Level::One).get("views").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    terms: Terms,
}

/// What a handle asks for beside the command.
#[derive(Clone, Copy, Debug)]
struct Terms {
    level: Option<Level>,
    deadline: Duration,
    repeats_writes: bool,
}

/// What all clones share.
#[derive(Debug)]
struct Shared {
    seeds: Vec<String>,
    options: Options,
    view: ArcSwap<View>,
    budget: Mutex<Budget>,
    /// When the budget began to fill.
    began: Instant,
    /// Calls so far.
    calls: AtomicU64,
    /// Calls that were asked of a further server because the one before failed them.
    repeats: AtomicU64,
    alarm: Arc<Notify>,
}

impl Client {
    /// Finds the cluster behind these servers (`host:port`) with the default [`Options`]. One of a memring cluster's nodes is
    /// enough, more are for when it is away; of memcached servers all are needed.
    ///
    /// # Errors
    /// The last server's, if none of them could be asked within the deadline.
    pub async fn connect(seeds: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, Error> {
        Self::connect_with(seeds, Options::default()).await
    }

    /// As [`Client::connect`] with other options.
    pub async fn connect_with(
        seeds: impl IntoIterator<Item = impl Into<String>>,
        options: Options,
    ) -> Result<Self, Error> {
        let seeds: Vec<String> = seeds.into_iter().map(Into::into).collect();
        let alarm = Arc::new(Notify::new());
        let terms = Terms { level: None, deadline: options.deadline, repeats_writes: false };
        let view = tend::find(&seeds, &options, &alarm).await?;
        let shared = Arc::new(Shared {
            budget: Mutex::new(Budget::new(options.retries)),
            seeds,
            options,
            view: ArcSwap::from_pointee(view),
            began: Instant::now(),
            calls: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
            alarm,
        });
        tokio::spawn(tend::tend(Arc::downgrade(&shared), Arc::clone(&shared.alarm)));
        Ok(Self { shared, terms })
    }

    /// The same cache, asked at this level: how many copies its reads ask and its writes wait for. memcached passes over it.
    /// Gets at a level of their own are not put together to multi-gets.
    #[must_use]
    pub fn at(&self, level: Level) -> Self {
        Self { terms: Terms { level: Some(level), ..self.terms }, ..self.clone() }
    }

    /// The same cache, whose calls may take this long.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self { terms: Terms { deadline, ..self.terms }, ..self.clone() }
    }

    /// The same cache, whose writes are asked of another server, as reads are, also when they may have been applied: for
    /// writes that may be applied twice, such as a set of a value that only depends on its key.
    #[must_use]
    pub fn repeating_writes(&self) -> Self {
        Self { terms: Terms { repeats_writes: true, ..self.terms }, ..self.clone() }
    }

    /// The servers as they are known now, and where keys belong.
    pub fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.shared.view.load().topology)
    }

    /// Calls so far, and how often one was asked of a further server because the one before had failed it.
    pub fn calls_and_repeats(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        (count(&self.shared.calls), count(&self.shared.repeats))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("seeds", &self.shared.seeds).field("terms", &self.terms).finish()
    }
}
