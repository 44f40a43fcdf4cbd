//! What a node answers as a home replica: at once, from what it holds.
//!
//! Must not wait for anyone: requests that do (writes) go to the serializer.

use memring_protocol::entry::UnixMillis;
use memring_protocol::key::{Key, KeyRef, Partition};
use memring_protocol::limits::{FETCH_REPLY_BYTES, FRAME_BYTES_MAX};
use memring_protocol::message::{
    Acknowledgement, CompareRequest, ControlReply, ControlRequest, FetchReply, FetchRequest, FetchWant,
    FetchedPartition, PartitionState, PromiseReply, ReadRequest, ReadResult, Refusal, ReplicateRef, Reply, Request,
    RequestId, Want,
};
use memring_protocol::ring::Epoch;
use memring_protocol::text::WatchKinds;
use memring_protocol::version::Ballot;
use smallvec::SmallVec;

use super::Node;
use super::asks::How;
use super::compare::holds_the_same;
use super::effect::{Effect, LinkId};
use super::plausible::is_plausible_replicate;
use super::shared::Shared;
use super::stats;
use super::surveying;
use super::topology::Topology;
use crate::now::Now;
use crate::store::{Applied, Store, WARMED_MAX};

/// Bytes of values after which the reply to a read ends: what is left is asked for again. One value may pass it.
const READ_REPLY_BYTES: usize = FRAME_BYTES_MAX / 4;

impl Node {
    /// As [`Node::on_peer_request`] for a replicate, whose key and value may lie where the link has them.
    pub fn on_peer_replicate(
        &mut self,
        now: Now,
        link: LinkId,
        id: RequestId,
        replicate: &ReplicateRef<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let acknowledgement = if is_plausible_replicate(now.cluster, replicate) {
            let view = self.view.get_or_insert_with(|| self.shared.follow_topology());
            keep(&self.shared, view.load(), now.cluster, replicate)
        } else {
            Acknowledgement::Refused(Refusal::Busy)
        };
        effects.push(Effect::Acknowledge(link, id, acknowledgement));
        if self.shared.watched().has(WatchKinds::EVICTIONS) {
            self.turn(now, effects, |_, _| {});
        }
    }
}

/// Whether this node stands to the partition as the sender thinks.
pub(crate) fn admit(topology: &Topology, epoch: Epoch, partition: Partition) -> Result<(), Refusal> {
    let (Some(layout), Some(me)) = (topology.layout(), topology.me()) else { return Err(Refusal::Epoch(Epoch(0))) };
    if !topology.agrees(epoch, partition) {
        return Err(Refusal::Epoch(topology.epoch()));
    }
    let home =
        layout.homes(partition).contains(&me) || layout.next_homes(partition).is_some_and(|homes| homes.contains(&me));
    if home { Ok(()) } else { Err(Refusal::NotHome) }
}

/// The answer to any request but a write, which must be ordered, and pings and ring messages, which are the control
/// thread's.
pub(crate) fn answer(shared: &Shared, topology: &Topology, now: UnixMillis, request: Request) -> Option<Reply> {
    match request {
        Request::Compare(compare) => {
            let CompareRequest { epoch, noticed, holdings } = &compare;
            let same = holds_the_same(shared, topology, now, (*epoch, *noticed), holdings.iter());
            Some(Reply::Compare(same))
        }
        Request::Read(read) => Some(Reply::Read(answer_read(shared, topology, now, &read))),
        Request::Replicate(replicate) => Some(Reply::Replicate(keep(shared, topology, now, &(&replicate).into()))),
        Request::Fetch(fetch) => Some(Reply::Fetch(answer_fetch(shared, topology, now, &fetch))),
        Request::Survey(survey) => Some(Reply::Survey(surveying::answer(shared, topology, now, survey))),
        Request::Control(ControlRequest::Prepare { epoch, proposals }) => {
            let promise =
                |(partition, ballot): &(Partition, Ballot)| promise(shared, topology, epoch, *partition, *ballot);
            Some(Reply::Control(ControlReply::Promises(proposals.iter().map(promise).collect())))
        }
        Request::Control(ControlRequest::FlushProbe) => {
            Some(Reply::Control(ControlReply::FlushStamp(shared.clock.latest())))
        }
        Request::Control(ControlRequest::FlushCommit(flush)) => {
            shared.take_flush(flush);
            Some(Reply::Control(ControlReply::Done))
        }
        Request::Control(ControlRequest::Stats) => {
            Some(Reply::Control(ControlReply::Stats(stats::summable(shared, now))))
        }
        Request::Write(_) | Request::Control(ControlRequest::Ping(_) | ControlRequest::Ring { .. }) => None,
    }
}

fn answer_read(shared: &Shared, topology: &Topology, now: UnixMillis, read: &ReadRequest) -> Vec<ReadResult> {
    let how = How { epoch: read.epoch, want: read.want, noticed: read.noticed };
    let mut results = Vec::with_capacity(read.keys.len());
    let mut room = READ_REPLY_BYTES;
    for together in read.keys.chunks(WARMED_MAX) {
        if room > 0 {
            warm(&shared.store, together.iter());
        }
        for key in together {
            let result = if room == 0 { ReadResult::Later } else { read_key(shared, topology, now, how, key) };
            if let ReadResult::Found(entry, _) = &result {
                room = room.saturating_sub(entry.value_len());
            }
            results.push(result);
        }
    }
    results
}

/// Has the store look ahead for the first [`WARMED_MAX`] of these keys, if they are several.
pub(crate) fn warm<'a>(store: &Store, keys: impl Iterator<Item = &'a Key>) {
    let keys: SmallVec<[KeyRef<'_>; WARMED_MAX]> = keys.take(WARMED_MAX).map(KeyRef::from).collect();
    if keys.len() > 1 {
        store.warm(&keys);
    }
}

/// What this node holds for one key, if it may say so.
pub(crate) fn read_key(shared: &Shared, topology: &Topology, now: UnixMillis, how: How, key: &Key) -> ReadResult {
    if let Err(refusal) = admit(topology, how.epoch, key.partition()) {
        return ReadResult::Refused(refusal);
    }
    if !shared.standings.is_synced(key.partition()) {
        return ReadResult::Refused(Refusal::Recovering);
    }
    if let Want::Look(ballot) = how.want {
        let promised = shared.store.promised(key.partition());
        if promised > ballot {
            return ReadResult::Refused(Refusal::Fenced(promised));
        }
        shared.store.raise_promised(key.partition(), ballot);
    }
    match how.want {
        Want::Value | Want::Look(_) => {
            let found = shared.store.read(now, key, how.noticed);
            found.map_or(ReadResult::Absent, |(entry, seen)| ReadResult::Found(entry, seen))
        }
        Want::Digest => shared.store.version(now, key, how.noticed).map_or(ReadResult::Absent, ReadResult::Digest),
    }
}

/// Keeps an entry of another home, or says why not.
pub(crate) fn keep(
    shared: &Shared,
    topology: &Topology,
    now: UnixMillis,
    replicate: &ReplicateRef<'_>,
) -> Acknowledgement {
    let partition = replicate.key.partition();
    if let Err(refusal) = admit(topology, replicate.epoch, partition) {
        return Acknowledgement::Refused(refusal);
    }
    let held = Acknowledgement::Held { synced: shared.standings.is_synced(partition) };
    let Some(entry) = &replicate.entry else {
        let Some(fence) = replicate.fence else { return held };
        let promised = shared.store.promised(partition);
        if promised > fence {
            return Acknowledgement::Fenced(promised);
        }
        shared.store.raise_promised(partition, fence);
        return held;
    };
    shared.clock.observe(entry.version.stamp);
    match shared.store.apply(now, replicate.key, replicate.fence, *entry) {
        // Whoever has copied from here since the view was taken may have missed it.
        Applied::Stored | Applied::Superseded if !shared.is_current(topology) => {
            Acknowledgement::Refused(Refusal::Epoch(shared.epoch()))
        }
        Applied::Stored | Applied::Superseded => held,
        Applied::Fenced(ballot) => Acknowledgement::Fenced(ballot),
        // A node with less room keeps what it can: for it the entry is evicted at once.
        Applied::TooLarge | Applied::OutOfMemory => Acknowledgement::Refused(Refusal::Busy),
    }
}

fn promise(shared: &Shared, topology: &Topology, epoch: Epoch, partition: Partition, ballot: Ballot) -> PromiseReply {
    if let Err(refusal) = admit(topology, epoch, partition) {
        return PromiseReply::Refused(refusal);
    }
    match shared.store.promise(partition, ballot) {
        Ok(digest) => {
            let synced = shared.standings.is_synced(partition);
            PromiseReply::Promised { synced, digest, stamp: shared.clock.latest() }
        }
        Err(higher) => PromiseReply::Outbid(higher),
    }
}

fn answer_fetch(shared: &Shared, topology: &Topology, now: UnixMillis, fetch: &FetchRequest) -> FetchReply {
    let mut reply = FetchReply { partitions: Vec::new(), entries: Vec::new(), flush: shared.store.flush() };
    let mut room = FETCH_REPLY_BYTES;
    for want in &fetch.wants {
        let before = reply.entries.len();
        reply.partitions.push(fetch_partition(shared, topology, now, fetch.epoch, want, room, &mut reply.entries));
        let bytes: usize = reply.entries[before..].iter().map(|(key, entry)| key.len() + entry.value_len() + 64).sum();
        room = room.saturating_sub(bytes);
        if room == 0 {
            break;
        }
    }
    reply
}

fn fetch_partition(
    shared: &Shared,
    topology: &Topology,
    now: UnixMillis,
    epoch: Epoch,
    want: &FetchWant,
    room: usize,
    entries: &mut Vec<(Key, memring_protocol::entry::Entry)>,
) -> FetchedPartition {
    let partition = want.partition;
    let refused = |refusal| FetchedPartition { partition, state: Err(refusal), cursor: None };
    if let Err(refusal) = admit(topology, epoch, partition) {
        return refused(refusal);
    }
    if !shared.standings.is_synced(partition) {
        return refused(Refusal::Recovering);
    }
    // Promised before the digest is taken: what is written later under this ballot also goes to the fetching home.
    let promised = shared.store.promised(partition);
    let (digest, dropped) = (shared.store.digest(partition), shared.store.dropped(partition));
    let state = PartitionState { promised, digest, dropped };
    if want.cursor == 0 && want.digest == state.digest {
        return FetchedPartition { partition, state: Ok(state), cursor: None };
    }
    let (page, cursor) = shared.store.page(now, partition, want.cursor, room);
    entries.extend(page);
    FetchedPartition { partition, state: Ok(state), cursor }
}
