//! Comparing this node's copies with those of the other homes, in the background and when there is reason to.
//!
//! The repair room decides what is compared next; this file asks, and hands the answers over. What is found to be missing is
//! sent by a worker, as hints are (`replay`). Must not touch entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use memring_protocol::key::Partition;
use memring_protocol::limits::{BUCKETS, SURVEYED_PARTITIONS_MAX};
use memring_protocol::message::{Request, Survey, SurveyReply, SurveyRequest, Surveyed};
use memring_protocol::version::Slot;

use super::super::effect::Effect;
use super::super::surveying::{Listed, has_room, lists, owe};
use super::super::topology::Layout;
use super::{Asked, Control};
use crate::cluster::repair::{Pair, Question};
use crate::now::Now;

/// What was asked of a home and is not answered yet.
#[derive(Debug)]
enum Surveying {
    Digests(Vec<Partition>),
    Buckets(Vec<Partition>),
    Lists(Vec<Listed>),
}

/// What of comparing lasts from tick to tick.
#[derive(Debug, Default)]
pub(super) struct Comparing {
    /// What was asked of each home.
    surveys: BTreeMap<Slot, Surveying>,
    /// The homes that could be compared with at the last tick.
    comparable: BTreeSet<Slot>,
    /// Homes that ask in their pair with this node, and have missed something while they were away: they are to compare
    /// everything when they are back.
    suspected_away: BTreeSet<Slot>,
}

impl Control {
    /// At each tick: who is back, what is suspected, and the next question to each home.
    pub(super) fn repair(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.pass_on_suspects(now, effects);
        let topology = Arc::clone(&self.shared.topology());
        let usable: BTreeSet<Slot> =
            self.repair.peers().into_iter().filter(|slot| self.shared.is_usable(&topology, *slot)).collect();
        for slot in &usable {
            if let (false, Some(pair)) = (self.comparing.comparable.contains(slot), self.repair.pair(*slot)) {
                pair.mark_all();
            }
        }
        self.comparing.comparable = usable.clone();
        for slot in usable {
            self.survey(now, slot, effects);
        }
        self.shared.repairs_pending.store(self.repair.pending(), Ordering::Relaxed);
    }

    /// The partitions that this node compares with others, in a new placement.
    pub(super) fn share_repair(&mut self, now: Now, layout: &Layout, me: Option<Slot>) {
        let mut shared: BTreeMap<Slot, BTreeSet<Partition>> = BTreeMap::new();
        let mut agreements = self.shared.agreements.lock();
        for partition in Partition::all() {
            let all = layout.all_homes(partition);
            let others = all.iter().copied().filter(|slot| me.is_some_and(|me| *slot != me && all.contains(&me)));
            self.shared.store.set_settled(partition, agreements.share(partition, others));
            let homes = layout.homes(partition);
            let Some(me) = me.filter(|me| homes.contains(me)) else { continue };
            // Of each pair the lower slot asks.
            for other in homes.iter().filter(|other| **other > me) {
                shared.entry(*other).or_default().insert(partition);
            }
        }
        drop(agreements);
        self.comparing.surveys.retain(|slot, _| shared.contains_key(slot));
        self.repair.share(now.mono, shared);
    }

    /// Asks a home the next question, if it is time.
    fn survey(&mut self, now: Now, slot: Slot, effects: &mut Vec<Effect>) {
        let topology = Arc::clone(&self.shared.topology());
        let (Some(peer), Some(me)) = (topology.peer(slot), topology.me()) else { return };
        let shared = Arc::clone(&self.shared);
        let is_ready = |partition| shared.standings.is_synced(partition) && !shared.owes(slot, partition);
        let Some(pair) = self.repair.pair(slot) else { return };
        let Some(question) = pair.question(now.mono, has_room(&shared), is_ready) else { return };
        let (what, surveying) = match question {
            Question::Digests(agreed) => {
                let partitions = agreed.iter().map(|agreed| agreed.partition).collect();
                (Survey::Digests(agreed), Surveying::Digests(partitions))
            }
            Question::Buckets(partitions) => (Survey::Buckets(partitions.clone()), Surveying::Buckets(partitions)),
            Question::Lists(wanted) => {
                let (lists, asked) = lists(&shared, now.cluster, &wanted);
                pair.listed(now.mono, lists.iter().map(|list| list.entries.len()).sum());
                (Survey::Lists(lists), Surveying::Lists(asked))
            }
        };
        self.comparing.surveys.insert(slot, surveying);
        let request = SurveyRequest { epoch: topology.epoch(), sender: me, latest: shared.clock.latest(), what };
        self.call(now, peer.address, Asked::Survey(slot), Request::Survey(request), effects);
    }

    /// A home's answer; `None` if it cannot answer such a question.
    pub(super) fn on_surveyed(&mut self, now: Now, from: Slot, reply: Option<SurveyReply>, effects: &mut Vec<Effect>) {
        let (Some(pair), Some(asked)) = (self.repair.pair(from), self.comparing.surveys.remove(&from)) else { return };
        let Some(SurveyReply { latest, found }) = reply else { return pair.on_refused(now.mono) };
        self.shared.clock.observe(latest);
        pair.on_answer(now.mono, latest);
        let store = &self.shared.store;
        let counters = &self.shared.counters.control;
        let agree = |pair: &Pair, partition| {
            self.shared.agree(partition, from, pair.agreed(partition).unwrap_or_default());
        };
        match (asked, found) {
            (Surveying::Digests(partitions), Surveyed::Digests(digests)) => {
                counters.partitions_compared.add(digests.iter().flatten().count() as u64);
                for (partition, theirs) in partitions.into_iter().zip(digests) {
                    pair.on_digest(now.mono, partition, store.digest(partition), theirs);
                    agree(pair, partition);
                }
            }
            (Surveying::Buckets(partitions), Surveyed::Buckets(buckets)) => {
                for (partition, theirs) in partitions.into_iter().zip(buckets) {
                    let mine = store.bucket_digests(now.cluster, partition);
                    let theirs = theirs.map(|theirs| <[u64; BUCKETS]>::try_from(theirs).unwrap_or([0; BUCKETS]));
                    let differs = pair.on_buckets(partition, &mine, theirs);
                    counters.partitions_differing.add(u64::from(differs));
                    agree(pair, partition);
                }
            }
            (Surveying::Lists(asked), Surveyed::Lists(differences)) => {
                let topology = self.shared.topology();
                for (Listed { partition, next, all }, difference) in asked.into_iter().zip(differences) {
                    let lacks = difference.as_ref().map_or(&[][..], |difference| &difference.lacks);
                    let owed = owe(&self.shared, &topology, from, partition, lacks, all);
                    pair.on_difference(now.mono, partition, next, difference, owed);
                    agree(pair, partition);
                }
            }
            _ => {}
        }
        self.survey(now, from, effects);
    }

    /// A question was lost.
    pub(super) fn on_survey_lost(&mut self, now: Now, from: Slot) {
        self.comparing.surveys.remove(&from);
        if let Some(pair) = self.repair.pair(from) {
            pair.on_lost(now.mono);
        }
    }

    /// What is suspected to differ is compared by this node, or by the other home if it is the one that asks.
    fn pass_on_suspects(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let suspects = std::mem::take(&mut *self.shared.suspects.lock());
        let mut others: BTreeMap<Slot, Vec<Partition>> = BTreeMap::new();
        for (slot, partition) in suspects {
            match self.repair.pair(slot) {
                Some(pair) => pair.mark(partition),
                None => others.entry(slot).or_default().push(partition),
            }
        }
        let topology = Arc::clone(&self.shared.topology());
        let (Some(layout), Some(me)) = (topology.layout(), topology.me()) else { return };
        for slot in self.comparing.suspected_away.extract_if(.., |slot| self.shared.is_usable(&topology, *slot)) {
            let is_shared =
                |partition: &Partition| [slot, me].iter().all(|home| layout.homes(*partition).contains(home));
            others.insert(slot, Partition::all().filter(is_shared).collect());
        }
        for (slot, partitions) in others {
            let Some(peer) = topology.peer(slot).filter(|_| self.shared.is_usable(&topology, slot)) else {
                // It may not know that it was away: a process that was stopped does not.
                if layout.config.member(slot).is_some() {
                    self.comparing.suspected_away.insert(slot);
                }
                continue;
            };
            for partitions in partitions.chunks(SURVEYED_PARTITIONS_MAX) {
                let (epoch, latest) = (topology.epoch(), self.shared.clock.latest());
                let what = Survey::Start(partitions.to_vec());
                let request = Request::Survey(SurveyRequest { epoch, sender: me, latest, what });
                self.call(now, peer.address, Asked::Start, request, effects);
            }
        }
    }
}
