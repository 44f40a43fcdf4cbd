//! Copying what this node lacks from the other homes.

use std::sync::atomic::Ordering;

use memring_protocol::message::{FetchReply, FetchRequest, FetchWant, Request};
use memring_protocol::ring::Epoch;
use memring_protocol::version::Slot;

use super::super::effect::Effect;
use super::{Asked, Control};
use crate::now::Now;

impl Control {
    /// Asks the homes for what is missing.
    pub(super) fn fetch(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.recovery.is_empty() {
            return;
        }
        let mut recovery = std::mem::take(&mut self.recovery);
        let fetches = recovery.fetches(now.mono, |slot| self.source_standing(now, slot));
        self.recovery = recovery;
        let topology = std::sync::Arc::clone(&self.shared.topology());
        for (slot, wants) in fetches {
            let Some(peer) = topology.peer(slot) else { continue };
            let wants = wants
                .into_iter()
                .map(|(partition, cursor)| FetchWant { partition, digest: self.shared.store.digest(partition), cursor })
                .collect();
            let request = Request::Fetch(FetchRequest { epoch: topology.epoch(), wants });
            self.call(now, peer.address, Asked::Fetch(slot), request, effects);
        }
    }

    /// Applies a page: entries by version alone, for this copy is not counted yet.
    pub(super) fn on_page(&mut self, now: Now, from: Slot, page: FetchReply) {
        self.shared.clock.observe(page.flush.floor);
        self.shared.store.merge_flush(page.flush);
        for (key, entry) in &page.entries {
            if self.owned[key.partition().index()] {
                self.shared.clock.observe(entry.version.stamp);
                self.shared.store.apply(now.cluster, key, None, entry);
            }
        }
        for fetched in &page.partitions {
            if let (Ok(state), true) = (fetched.state, self.owned[fetched.partition.index()]) {
                self.shared.store.raise_promised(fetched.partition, state.promised);
            }
        }
        self.recovery.on_page(now.mono, from, &page.partitions);
    }

    /// Counts what is complete, and tells the keeper when all is.
    pub(super) fn settle_recovery(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let epoch = self.shared.topology().epoch();
        if !self.recovery.is_empty() {
            let mut recovery = std::mem::take(&mut self.recovery);
            let recovered = recovery.settle(|slot| self.source_standing(now, slot));
            self.recovery = recovery;
            for recovered in &recovered {
                self.shared.standings.set_synced(recovered.partition, true);
                // The cold start of a new ring, where nobody has anything, is no loss.
                let lost = recovered.refounded && (recovered.sources > 0 || epoch > Epoch(1));
                self.shared.counters.partitions_refounded.add(u64::from(lost));
            }
            if !recovered.is_empty() {
                self.count_synced();
                self.fetch(now, effects);
            }
        }
        if self.recovery.is_empty() && self.synced_told < epoch && self.shared.topology().me().is_some() {
            self.synced_told = epoch;
            let mut out = Vec::new();
            self.keeper.on_synced(now.mono, epoch, &mut out);
            self.take_ring(now, out, effects);
        }
    }

    pub(super) fn count_synced(&mut self) {
        let owned = self.owned.iter().filter(|owned| **owned).count();
        let copied = owned - self.recovery.len().min(owned);
        let permille = (copied * 1000).checked_div(owned).unwrap_or(1000);
        self.shared.synced_permille.store(permille as u16, Ordering::Relaxed);
    }
}
