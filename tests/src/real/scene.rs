//! What the clients of a real cluster share: where the nodes are, which may be asked, and when it is over.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::clock::now_us;

/// The keys written last that are remembered, to be read soon.
const RECENT: usize = 512;

/// How a read is answered that too few copies answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unmet {
    /// As a miss, which is the default: a miss may be no news.
    Miss,
    /// As an error: a miss says that nothing is there.
    Error,
}

/// A scene.
#[derive(Debug)]
pub struct Scene {
    /// Where clients find the nodes.
    pub clients: Vec<SocketAddr>,
    /// What a miss says.
    pub unmet: Unmet,
    /// From which all choices follow.
    pub seed: u64,
    /// Writes of registers that were acknowledged.
    pub acknowledged: AtomicU64,
    /// Those whose fate is not known.
    pub in_doubt: AtomicU64,
    /// Writes a second of all clients together; 0 for as many as they can.
    pace: u64,
    begin_us: u64,
    is_over: AtomicBool,
    recent: Vec<AtomicUsize>,
    recent_at: AtomicUsize,
}

impl Scene {
    /// A scene with nodes at these addresses.
    pub fn new(clients: Vec<SocketAddr>, unmet: Unmet, seed: u64) -> Self {
        let recent = (0..RECENT).map(|_| AtomicUsize::new(0)).collect();
        let [acknowledged, in_doubt] = [(); 2].map(|()| AtomicU64::new(0));
        let (is_over, recent_at) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (pace, begin_us) = (0, now_us());
        Self { clients, unmet, seed, acknowledged, in_doubt, pace, begin_us, is_over, recent, recent_at }
    }

    /// Clients write no more than so often a second.
    pub fn paced(self, writes_per_s: u64) -> Self {
        Self { pace: writes_per_s, ..self }
    }

    /// Whether a client that has done so many writes is to wait, if there are so many clients.
    pub(crate) fn is_ahead(&self, writes: u64, clients: u64) -> bool {
        self.pace > 0 && writes * clients * 1_000_000 > (now_us() - self.begin_us) * self.pace
    }

    /// Clients end what they are at, and stop.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether they are to.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// A key has been written.
    pub(crate) fn note_written(&self, key: usize) {
        let at = self.recent_at.fetch_add(1, Ordering::Relaxed) % RECENT;
        self.recent[at].store(key, Ordering::Relaxed);
    }

    /// One that was written of late.
    pub(crate) fn written_lately(&self, choice: usize) -> usize {
        self.recent[choice % RECENT].load(Ordering::Relaxed)
    }
}
