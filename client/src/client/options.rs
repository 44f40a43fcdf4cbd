//! What a client is told: its servers, its zone, its limits.
//!
//! Must not know how they are kept.

use std::time::Duration;

use super::budget::RetryBudget;
use crate::link::LinkTerms;
use crate::topology::Hash;

/// How a client finds and asks its servers. [`Options::default`] suits a service beside its cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where this client is, as nodes are told by `--zone`: reads ask homes there first. Empty: anywhere.
    pub zone: String,
    /// How keys are placed on memcached servers that are no cluster.
    pub hash: Hash,
    /// How long a call may take, with all that is tried for it. 1 s: above what a cluster needs to leave a dead node behind.
    pub deadline: Duration,
    /// How long a read, or a write that may be repeated, waits for one server before the next is asked. 400 ms: a node takes a
    /// third of a second to find that another is silent, and then answers.
    pub attempt: Duration,
    /// How long connecting to a server may take. 250 ms.
    pub connect_within: Duration,
    /// How often the cluster is asked whether it has changed, about; after a failure it is asked at once. 5 s. It costs one
    /// small request.
    pub refresh: Duration,
    /// Connections to each server; 0, the default, for one a core. A thread keeps to one of them.
    pub connections: usize,
    /// Requests that wait for one connection or are on their way over it. 8,192. Who finds no room waits.
    pub requests_max: usize,
    /// Bytes of requests that wait for one connection. 64 MiB. A larger request goes alone.
    pub request_bytes_max: usize,
    /// Bytes of one value in an answer, with its line. 64 MiB. A server that announces more is disconnected.
    pub answer_bytes_max: usize,
    /// How much may be asked a second time.
    pub retries: RetryBudget,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            zone: String::new(),
            hash: Hash::default(),
            deadline: Duration::from_secs(1),
            attempt: Duration::from_millis(400),
            connect_within: Duration::from_millis(250),
            refresh: Duration::from_secs(5),
            connections: 0,
            requests_max: 8192,
            request_bytes_max: 64 * 1024 * 1024,
            answer_bytes_max: 64 * 1024 * 1024,
            retries: RetryBudget::default(),
        }
    }
}

impl Options {
    /// What each server's link must know of it.
    pub(super) fn link(&self) -> LinkTerms {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        LinkTerms {
            connections: if self.connections == 0 { cores() } else { self.connections },
            connect_within: self.connect_within,
            // Nobody waits any longer by then.
            silent_for_max: self.deadline.max(self.attempt) * 2,
            requests_max: self.requests_max.max(1),
            request_bytes_max: self.request_bytes_max,
            answer_bytes_max: self.answer_bytes_max,
        }
    }
}
