//! Copying what this node lacks from the other homes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use memring_protocol::message::{FetchReply, FetchRequest, FetchWant, FetchedPartition, Request};
use memring_protocol::ring::Epoch;
use memring_protocol::version::{Slot, Stamp};

use super::super::effect::Effect;
use super::{Asked, Control};
use crate::cluster::recovery::SourceStanding;
use crate::now::{Mono, Now};

/// Bytes of entries that a node fetches in a second, about, while it takes its share: half a gigabit's line, and a small part
/// of what one core copies, so that clients come first.
const FETCH_BYTES_A_SECOND: u64 = 64 << 20;

/// No more is saved up than for so long: as often as the control thread looks.
const FETCH_BURST: Duration = Duration::from_millis(100);

/// How often it is looked which partitions are wanted most.
const PREFER_EVERY: Duration = Duration::from_secs(1);

/// How fast copies are fetched, and in which order.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    /// Bytes that may be fetched now; below zero once a page has taken more.
    room: i64,
    paced_at: Mono,
    prefer_at: Mono,
}

impl Control {
    /// Makes room for what time allows, and puts what clients want most in front.
    fn pace_fetches(&mut self, now: Now) {
        let Fetching { room, paced_at, prefer_at } = &mut self.fetching;
        let elapsed = now.mono.since(*paced_at).min(FETCH_BURST);
        *paced_at = now.mono;
        let allowed = |time: Duration| (u128::from(FETCH_BYTES_A_SECOND) * time.as_micros() / 1_000_000) as i64;
        *room = (*room + allowed(elapsed)).min(allowed(FETCH_BURST));
        if *prefer_at <= now.mono {
            *prefer_at = now.mono.after(PREFER_EVERY);
            self.recovery.prefer(self.shared.wanted.look());
        }
    }

    /// Asks the homes for what is missing.
    pub(super) fn fetch(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.recovery.is_empty() {
            return;
        }
        self.pace_fetches(now);
        if self.fetching.room <= 0 {
            return;
        }
        let topology = std::sync::Arc::clone(&self.shared.topology());
        let members = topology.layout().into_iter().flat_map(|layout| &layout.config.members);
        let reachable = members.map(|member| member.slot).filter(|slot| self.shared.is_usable(&topology, *slot));
        let fetches = self.recovery.fetches(now.mono, reachable);
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

    /// Applies a page, entries by version alone, for this copy is not counted yet; and asks for the next.
    pub(super) fn on_page(&mut self, now: Now, from: Slot, page: FetchReply, effects: &mut Vec<Effect>) {
        self.shared.take_flush(page.flush);
        let bytes: usize = page.entries.iter().map(|(key, entry)| key.len() + entry.value_len()).sum();
        self.fetching.room -= bytes as i64;
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
        self.empty_outdated(&page.partitions);
        self.recovery_moved = true;
        self.fetch(now, effects);
    }

    /// Where a home has had no room for what it deleted while this one was away, what this one has held since may be of that.
    fn empty_outdated(&mut self, partitions: &[FetchedPartition]) {
        for fetched in partitions {
            let partition = fetched.partition;
            let has_dropped = fetched.state.as_ref().is_ok_and(|state| state.dropped > Stamp::ZERO);
            if has_dropped && self.recovery.must_empty(partition) {
                let promised = self.shared.store.promised(partition);
                self.shared.store.clear_partition(partition);
                self.shared.store.raise_promised(partition, promised);
                self.shared.counters.control.partitions_emptied.increment();
            }
        }
    }

    /// Counts what is complete, and tells the keeper when all is. At each tick: a page more or less does not matter.
    pub(super) fn settle_recovery(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let epoch = self.shared.topology().epoch();
        let standings = self.source_standings(now);
        let news = std::mem::take(&mut self.recovery_moved) || standings != self.judged_standings;
        // Thousands of partitions are looked through: not where nothing can have changed.
        if news && !self.recovery.is_empty() {
            let recovered = self.recovery.settle(|slot| standing_in(&standings, slot));
            for recovered in &recovered {
                // Before the number changes: whoever hears the new one compares with what is known of it.
                self.repair.copied(recovered.partition);
                let latest = self.shared.clock.latest();
                self.shared.standings.set_copied(recovered.partition, latest.0);
                self.shared.store.distrust_settled(recovered.partition, latest);
                // The cold start of a new ring, where nobody has anything, is no loss.
                let lost = recovered.refounded && (recovered.sources > 0 || epoch > Epoch(1));
                self.shared.counters.control.partitions_refounded.add(u64::from(lost));
            }
            self.judged_standings = standings;
            if !recovered.is_empty() {
                self.count_synced();
            }
        }
        if self.recovery.is_empty() && self.synced_told < epoch && self.shared.topology().me().is_some() {
            self.synced_told = epoch;
            let mut out = Vec::new();
            self.keeper.on_synced(now.mono, epoch, &mut out);
            self.take_ring(now, out, effects);
        }
    }

    fn source_standings(&self, now: Now) -> BTreeMap<Slot, SourceStanding> {
        let topology = self.shared.topology();
        let members = topology.layout().into_iter().flat_map(|layout| &layout.config.members);
        members.map(|member| (member.slot, self.source_standing(now, member.slot))).collect()
    }

    pub(super) fn count_synced(&mut self) {
        let owned = self.owned.iter().filter(|owned| **owned).count();
        let copied = owned - self.recovery.len().min(owned);
        self.shared.wanted.set_counting(copied < owned);
        let permille = (copied * 1000).checked_div(owned).unwrap_or(1000);
        self.shared.synced_permille.store(permille as u16, Ordering::Relaxed);
    }
}

/// A home that is no member any more gives nothing; the next config names other sources.
fn standing_in(standings: &BTreeMap<Slot, SourceStanding>, slot: Slot) -> SourceStanding {
    standings.get(&slot).copied().unwrap_or(SourceStanding::Away)
}
