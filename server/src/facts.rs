//! What the process knows of itself, gathered for the engine's statistics.
//!
//! Must not know how they are shown.

use std::sync::Arc;
use std::time::Duration;

use memring_engine::node::{ProcessFacts, Shared};

use crate::backlog::Backlog;
use crate::clock::Clock;
use crate::gauges::{Connections, Traffic};
use crate::large::LargeValues;
use crate::link::Room;
use crate::process;

/// How often the engine is told without being asked.
const FACTS_EVERY: Duration = Duration::from_secs(1);

/// What the facts are gathered from.
pub(crate) struct FactSources {
    pub(crate) clock: Clock,
    pub(crate) connections: Arc<Connections>,
    /// One a worker.
    pub(crate) traffic: Vec<Arc<Traffic>>,
    pub(crate) large: Arc<LargeValues>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) room: Arc<Room>,
    pub(crate) conn_limit: usize,
}

impl FactSources {
    /// Tells the engine how things are now: before `stats` is answered, so that its figures are those of this moment.
    pub(crate) fn tell(&self, shared: &Shared) {
        shared.set_process_facts(self.gather());
    }

    /// Tells the engine again and again, for ever.
    pub(crate) async fn keep_telling(&self, shared: &Shared) {
        loop {
            self.tell(shared);
            tokio::time::sleep(FACTS_EVERY).await;
        }
    }

    fn gather(&self) -> ProcessFacts {
        let now = self.clock.now();
        let cpu = process::cpu_time();
        let (read, written) = self
            .traffic
            .iter()
            .map(|traffic| traffic.bytes())
            .fold((0, 0), |(read, written), bytes| (read + bytes.0, written + bytes.1));
        let connections = &self.connections;
        ProcessFacts {
            pid: std::process::id(),
            uptime_s: now.mono.0 / 1_000_000,
            rusage_user_us: cpu.user_us,
            rusage_system_us: cpu.system_us,
            unix_s: now.cluster.seconds(),
            threads: self.traffic.len() as u16,
            curr_connections: connections.current(),
            max_connections: self.conn_limit as u64,
            total_connections: connections.total(),
            rejected_connections: connections.rejected(),
            idle_kicks: connections.idle_kicks.value(),
            auth_cmds: connections.logins.value(),
            auth_errors: connections.failed_logins.value(),
            accepting: connections.is_accepting(),
            listen_disabled_num: connections.pauses(),
            listen_disabled_us: connections.paused_us(),
            bytes_read: read,
            bytes_written: written,
            slow_senders_closed: connections.slow_senders.value(),
            slow_readers_closed: connections.slow_readers.value(),
            unsent_reply_bytes: self.backlog.bytes() as u64,
            large_bytes_in: self.large.received_bytes() as u64,
            large_bytes_out: self.large.sent_bytes() as u64,
            large_reads_missed: self.large.missed.value(),
            links_given_up: self.room.links_given_up.value(),
        }
    }
}
