//! The figures that nodes show of themselves, looked at while a story goes on, and their limits.

use std::time::Duration;

use super::clock::{Deadline, pause};
use super::cluster::{Cluster, NODES};

pub(super) const MIB: u64 = 1024 * 1024;

/// Resident memory a node may have at `-m 64m`, the default: its items and what belongs to them, hints up to their limit of
/// 64 MB, and the program with its connections and queues.
const RESIDENT_BYTES_MAX: u64 = (64 + 64 + 32) * MIB;

/// Hints a node may keep by default.
const HINT_BYTES_MAX: u64 = 64 * MIB;

/// How often nodes' gauges are read.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What nodes' gauges have shown since the first look.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) resident_bytes: u64,
    pub(super) hint_bytes: u64,
    pub(super) evictions: u64,
    unmet: [Counter; NODES],
    refounded: [Counter; NODES],
}

/// A counter that starts again with its process.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    last: u64,
    sum: u64,
}

impl Counter {
    fn read(&mut self, now: u64) {
        self.sum += now.checked_sub(self.last).unwrap_or(now);
        self.last = now;
    }
}

impl Gauges {
    /// Of a cluster that has just begun: what its start has counted is not counted here.
    pub(super) fn of(cluster: &Cluster) -> Self {
        let mut gauges = Self::default();
        gauges.look(cluster);
        for counter in gauges.unmet.iter_mut().chain(&mut gauges.refounded) {
            counter.sum = 0;
        }
        gauges
    }

    pub(super) fn look(&mut self, cluster: &Cluster) {
        for number in 0..NODES {
            self.look_at(cluster, number);
        }
    }

    /// A node that does not answer now is looked at the next time.
    fn look_at(&mut self, cluster: &Cluster, number: usize) {
        let node = &cluster.nodes[number];
        self.resident_bytes = self.resident_bytes.max(node.resident_bytes());
        let Ok(stats) = node.stats() else { return };
        let stat = |name: &str| stats.get(name).copied().unwrap_or_default();
        self.hint_bytes = self.hint_bytes.max(stat("hint_bytes"));
        self.evictions = self.evictions.max(stat("evictions"));
        self.unmet[number].read(stat("reads_unmet"));
        self.refounded[number].read(stat("partitions_refounded"));
    }

    /// Looks again and again for so long.
    pub(super) fn watch(&mut self, cluster: &Cluster, time: Duration) {
        let deadline = Deadline::after(time);
        while !deadline.is_over() {
            self.look(cluster);
            pause(LOOK_EVERY.min(time));
        }
    }

    /// Whether a node has gone beyond its limits, or has evicted what there was room for.
    pub(super) fn is_beyond(&self) -> bool {
        self.resident_bytes > RESIDENT_BYTES_MAX || self.hint_bytes > HINT_BYTES_MAX || self.evictions > 0
    }

    /// The last look before a node's process ends.
    pub(super) fn look_last(&mut self, cluster: &Cluster, number: usize) {
        self.look_at(cluster, number);
        self.unmet[number].last = 0;
        self.refounded[number].last = 0;
    }

    pub(super) fn unmet(&self) -> u64 {
        self.unmet.iter().map(|counter| counter.sum).sum()
    }

    pub(super) fn refounded(&self) -> u64 {
        self.refounded.iter().map(|counter| counter.sum).sum()
    }
}
