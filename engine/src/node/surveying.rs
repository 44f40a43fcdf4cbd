//! Comparing copies with another home, from the store's side: digests, buckets, lists, and what is missing there.
//!
//! Both sides of a survey are here; whether and when to compare is the repair room's. Must not wait for anyone.

use memring_protocol::entry::UnixMillis;
use memring_protocol::key::{Partition, Token};
use memring_protocol::limits::LISTED_ENTRIES_MAX;
use memring_protocol::message::{
    Agreed, CopyDigest, Difference, List, Refusal, Survey, SurveyReply, SurveyRequest, Surveyed,
};
use memring_protocol::ring::Epoch;
use memring_protocol::version::{Slot, Version};

use super::replica::admit;
use super::shared::{REPAIR_QUEUE_BYTES_MAX, Shared};
use super::topology::Topology;
use crate::cluster::quorum::Slots;
use crate::cluster::repair::{Owed, Wanted, differing};
use crate::store::Versions;

/// With less room than this in a message, no list is begun.
const LIST_ENTRIES_MIN: usize = 64;

/// Who asks, and by which ring config.
#[derive(Clone, Copy)]
struct Asker {
    slot: Slot,
    epoch: Epoch,
}

/// What this home says to another one that compares.
pub(crate) fn answer(shared: &Shared, topology: &Topology, now: UnixMillis, request: SurveyRequest) -> SurveyReply {
    shared.clock.observe(request.latest);
    let asker = Asker { slot: request.sender, epoch: request.epoch };
    let found = match request.what {
        Survey::Digests(asked) => {
            Surveyed::Digests(asked.iter().map(|agreed| digest(shared, topology, asker, agreed)).collect())
        }
        Survey::Buckets(partitions) => {
            Surveyed::Buckets(partitions.iter().map(|of| buckets(shared, topology, now, asker, *of)).collect())
        }
        Survey::Lists(lists) => {
            Surveyed::Lists(lists.iter().map(|list| survey_list(shared, topology, now, asker, list)).collect())
        }
        Survey::Start(partitions) => {
            let mut suspects = shared.suspects.lock();
            let homes = partitions.into_iter().filter(|of| stands(shared, topology, asker, *of).is_ok());
            suspects.extend(homes.map(|partition| (asker.slot, partition)));
            Surveyed::Noted
        }
    };
    // Last: what is made from now on is above it.
    SurveyReply { latest: shared.clock.latest(), found }
}

/// Whether both are homes of the partition, and this one's copy is complete.
fn stands(shared: &Shared, topology: &Topology, asker: Asker, partition: Partition) -> Result<(), Refusal> {
    admit(topology, asker.epoch, partition)?;
    if !topology.layout().is_some_and(|layout| layout.homes(partition).contains(&asker.slot)) {
        return Err(Refusal::NotHome);
    }
    if shared.standings.is_synced(partition) { Ok(()) } else { Err(Refusal::Recovering) }
}

fn digest(shared: &Shared, topology: &Topology, asker: Asker, agreed: &Agreed) -> Result<CopyDigest, Refusal> {
    let partition = agreed.partition;
    stands(shared, topology, asker, partition)?;
    shared.agree(partition, asker.slot, agreed.upto);
    if shared.owes(asker.slot, partition) {
        // What is on its way would be found missing, and sent twice.
        return Err(Refusal::Busy);
    }
    // The number first: a copy that is made anew in between is met by its old number, which is asked about again.
    let copy = shared.standings.copy(partition);
    Ok(CopyDigest { digest: shared.store.digest(partition), copy })
}

fn buckets(
    shared: &Shared,
    topology: &Topology,
    now: UnixMillis,
    asker: Asker,
    partition: Partition,
) -> Result<Vec<u64>, Refusal> {
    stands(shared, topology, asker, partition)?;
    Ok(shared.store.bucket_digests(now, partition).to_vec())
}

fn survey_list(
    shared: &Shared,
    topology: &Topology,
    now: UnixMillis,
    asker: Asker,
    list: &List,
) -> Result<Difference, Refusal> {
    let partition = list.partition;
    stands(shared, topology, asker, partition)?;
    if !has_room(shared) {
        return Err(Refusal::Busy);
    }
    let mine = shared.store.versions(now, partition, list.buckets, Token(list.first), usize::MAX);
    let covered = mine.entries.into_iter().take_while(|(token, _)| token.0 <= list.last);
    let covered: Vec<(u64, Version)> = covered.map(|(token, version)| (token.0, version)).collect();
    let found = differing(list, &covered, mine.evicted);
    let Owed { count: gives, left, whole } = owe(shared, topology, asker.slot, partition, &found.gives, list.all);
    Ok(Difference { lacks: found.lacks, gives, young: found.young, left, whole })
}

/// A list that was sent.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) partition: Partition,
    /// Where the next one of the partition goes on.
    pub(crate) next: Option<u64>,
    /// See [`List::all`].
    pub(crate) all: bool,
}

/// The lists that are wanted, as many as fit a message.
pub(crate) fn lists(shared: &Shared, now: UnixMillis, wanted: &[Wanted]) -> (Vec<List>, Vec<Listed>) {
    let (mut lists, mut asked) = (Vec::new(), Vec::new());
    let mut room = LISTED_ENTRIES_MAX;
    for Wanted { partition, buckets, first, agreed, upto, all } in wanted.iter().copied() {
        if room < LIST_ENTRIES_MIN {
            break;
        }
        let Versions { entries, next, evicted } = shared.store.versions(now, partition, buckets, Token(first), room);
        let entries: Vec<_> = entries.into_iter().map(|(token, version)| (token.0, version)).collect();
        room = room.saturating_sub(entries.len());
        let next = next.map(|token| token.0);
        let last = next.map_or(u64::MAX, |next| next - 1);
        lists.push(List { partition, buckets, first, last, agreed, evicted, upto, all, entries });
        asked.push(Listed { partition, next, all });
    }
    (lists, asked)
}

/// Takes it upon this node to send what is held under these tokens to another home; but, unless `all` is to be sent, not
/// what a third one has made that can be asked: that one sends it. Made has it who stamped it, and who confirmed it in a later
/// term.
pub(crate) fn owe(
    shared: &Shared,
    topology: &Topology,
    target: Slot,
    partition: Partition,
    tokens: &[u64],
    all: bool,
) -> Owed {
    let mut owed = Owed { count: 0, left: 0, whole: true };
    if tokens.is_empty() {
        return owed;
    }
    let homes = topology.layout().map_or(&[][..], |layout| layout.homes(partition));
    let others = homes.iter().copied().filter(|slot| Some(*slot) != topology.me() && *slot != target);
    let others: Slots = others.filter(|slot| shared.is_usable(topology, *slot)).collect();
    let mut tokens: Vec<Token> = tokens.iter().copied().map(Token).collect();
    tokens.sort_unstable();
    let found = shared.store.keys_of(partition, &tokens);
    let mut repairs = shared.repairs.lock();
    for (key, version) in found {
        let makers = [Some(version.stamp.slot()), version.ballot.holder()];
        let is_made_here = topology.me().is_some_and(|me| makers.contains(&Some(me)));
        if !all && !is_made_here && others.iter().any(|other| makers.contains(&Some(*other))) {
            owed.left += 1;
        } else {
            owed.count += 1;
            owed.whole &= repairs.keep(target, &key, version);
        }
    }
    owed
}

/// Whether what a list may find to be missing has room.
pub(crate) fn has_room(shared: &Shared) -> bool {
    shared.repairs.lock().bytes() <= REPAIR_QUEUE_BYTES_MAX / 2
}
