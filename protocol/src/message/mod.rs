//! What nodes say to each other over a link, as plain values.
//!
//! Must not know bytes: `frame` and `codec` turn these into frames and back. A link is one TCP connection from a
//! worker (or the control thread) of one node to another node; the side that dialled sends requests and one-way
//! messages, the other side sends replies.

mod compare;
mod mutation;
mod survey;

use serde::{Deserialize, Serialize};

pub use self::compare::{CompareRequest, Holding, Holdings};
pub use self::mutation::{
    Count, Counted, Fetch, Fetched, Invalidate, Mutation, NewValue, Outcome, Remove, Step, Store, StoreMode,
};
pub use self::survey::{Agreed, CopyDigest, Difference, List, Survey, SurveyReply, SurveyRequest, Surveyed};

use crate::entry::{Entry, EntryRef, Seen, UnixMillis};
use crate::flush::FlushState;
use crate::key::{Key, KeyRef, Partition};
use crate::ring::{Epoch, NodeName};
use crate::version::{Ballot, Slot, Stamp, Version};

/// Pairs a reply with its request; unique on the node that asked, and its own business. Acknowledgements are short where the
/// upper 44 bits of ids go up and the lower 20 stay near each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(pub u64);

/// Anything that travels on a link.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// From the side that dialled; answered by exactly one reply, or by the link's end.
    Request(RequestId, Request),
    /// To the side that dialled.
    Reply(RequestId, Reply),
}

/// A request to a peer. Names the epoch of the sender's ring config where placement matters.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// What do you hold for these keys?
    Read(ReadRequest),
    /// Do you hold the same of these keys?
    Compare(CompareRequest),
    /// Order this write: sent by a coordinator to a serializer.
    Write(WriteRequest),
    /// Keep this entry: sent by a serializer to the other homes, by a hint holder, by read repair.
    Replicate(Replicate),
    /// Send the entries of these partitions: sent by a recovering or joining home.
    Fetch(FetchRequest),
    /// Where do our copies differ?
    Survey(SurveyRequest),
    /// Everything rare.
    Control(ControlRequest),
}

/// The answer to a [`Request`] of the same name.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// One result a key, in the order asked.
    Read(Vec<ReadResult>),
    /// Whether the same versions of all keys are held. False also where the home may not say.
    Compare(bool),
    /// What became of the write.
    Write(WriteReply),
    /// Whether the entry is kept.
    Replicate(Acknowledgement),
    /// A page of entries.
    Fetch(FetchReply),
    /// Where copies differ.
    Survey(SurveyReply),
    /// Everything rare.
    Control(ControlReply),
}

/// How much of an entry a reader wants.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Want {
    /// Version and value.
    Value,
    /// The version alone: a digest read (Cassandra's term).
    Digest,
    /// Version and value, after promising this ballot: a serializer's look at a key that its term has not seen yet. What
    /// an earlier term still has in flight is refused from then on, so it cannot slip in behind the look.
    Look(Ballot),
}

/// [`Request::Read`].
#[derive(Clone, PartialEq, Debug)]
pub struct ReadRequest {
    /// The sender's ring config.
    pub epoch: Epoch,
    /// How much of each.
    pub want: Want,
    /// Whether a client reads: the copies take note of it, for eviction and for what meta commands tell.
    pub noticed: bool,
    /// 1 to [`crate::limits::READ_KEYS_MAX`] keys.
    pub keys: Vec<Key>,
}

/// What a home holds for one key.
#[derive(Clone, PartialEq, Debug)]
pub enum ReadResult {
    /// Nothing: never written, evicted, expired, or a tombstone already dropped.
    Absent,
    /// This version of it; the answer to a digest read.
    Digest(Version),
    /// This entry (an item or a tombstone) and how this copy had been read; the answer to a value read.
    Found(Entry, Seen),
    /// It cannot say.
    Refused(Refusal),
    /// The reply was full: ask again. Never the first of its results.
    Later,
}

/// Why a home does not answer as one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// Its copy of the partition is not complete yet.
    Recovering,
    /// Its ring config places the partition differently; this is its epoch.
    Epoch(Epoch),
    /// It is not a home of the partition.
    NotHome,
    /// Its queues are full.
    Busy,
    /// It has promised this higher ballot.
    Fenced(Ballot),
}

/// All home replicas, however many there are when a write is ordered: in a ring that grows there may be more than when it
/// was asked for.
pub const COPIES_ALL: u8 = u8::MAX;

/// [`Request::Write`].
#[derive(Clone, PartialEq, Debug)]
pub struct WriteRequest {
    /// The sender's ring config.
    pub epoch: Epoch,
    /// The key.
    pub key: Key,
    /// What to do to it.
    pub mutation: Mutation,
    /// How many home replicas must hold the result, or [`COPIES_ALL`]; the serializer raises it to a majority.
    pub copies: u8,
    /// Take the partition over even if another home holds its ballot: the sender cannot reach that one.
    pub takeover: bool,
    /// To be ordered in a term above this one only: an earlier attempt may have been ordered up to it.
    pub above: Ballot,
    /// To be ordered in a term up to this one only: a later attempt goes above it, so that this one comes to nothing when
    /// it arrives after that.
    pub upto: Ballot,
    /// How long, in milliseconds, the sender will wait: the serializer gives up then.
    pub patience_ms: u32,
}

/// The answer to a [`WriteRequest`].
#[derive(Clone, PartialEq, Debug)]
pub enum WriteReply {
    /// Ordered, and held by as many homes as asked.
    Done(Outcome),
    /// Nothing was done: ask this home, which holds the ballot.
    Redirect(Slot),
    /// Ordered in a term that ended before enough homes held it: ask this home, which holds the ballot, to do it again. It
    /// may find that it is done.
    Deposed(Slot),
    /// Nothing was done.
    Refused(Refusal),
    /// Perhaps done: so many homes are known to hold it, of so many needed.
    InDoubt {
        /// Acknowledgements that came.
        acknowledged: u8,
        /// Acknowledgements needed.
        needed: u8,
    },
}

/// [`Request::Replicate`].
#[derive(Clone, PartialEq, Debug)]
pub struct Replicate {
    /// The sender's ring config.
    pub epoch: Epoch,
    /// The term that must not be over at the receiver. `None`: keep by version alone (level `one`).
    pub fence: Option<Ballot>,
    /// The key.
    pub key: Key,
    /// What to keep. `None`: only say whether the term still stands (for answers that change nothing).
    pub entry: Option<Entry>,
}

/// A [`Replicate`] whose key and value lie elsewhere: in the bytes that it came in, or where they are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicateRef<'a> {
    /// The sender's ring config.
    pub epoch: Epoch,
    /// As [`Replicate::fence`].
    pub fence: Option<Ballot>,
    /// The key.
    pub key: KeyRef<'a>,
    /// As [`Replicate::entry`].
    pub entry: Option<EntryRef<'a>>,
}

impl ReplicateRef<'_> {
    /// To be kept: key and value are copied, unless the value need not be.
    pub fn to_replicate(&self) -> Replicate {
        let entry = self.entry.as_ref().map(EntryRef::to_entry);
        Replicate { epoch: self.epoch, fence: self.fence, key: self.key.to_key(), entry }
    }
}

impl<'a> From<&'a Replicate> for ReplicateRef<'a> {
    fn from(replicate: &'a Replicate) -> Self {
        let Replicate { epoch, fence, key, entry } = replicate;
        Self { epoch: *epoch, fence: *fence, key: key.into(), entry: entry.as_ref().map(EntryRef::from) }
    }
}

/// The answer to a [`Replicate`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acknowledgement {
    /// It, or something newer, is held.
    Held {
        /// Whether the home's copy of the partition is complete, so that it counts in the current home set.
        synced: bool,
    },
    /// The home has promised this higher ballot; nothing was kept.
    Fenced(Ballot),
    /// The home's config places the partition differently, or it is no home.
    Refused(Refusal),
}

/// [`Request::Fetch`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FetchRequest {
    /// The sender's ring config.
    pub epoch: Epoch,
    /// Partitions, each from a place on; at most [`crate::limits::FETCH_PARTITIONS_MAX`].
    pub wants: Vec<FetchWant>,
}

/// One partition of a fetch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FetchWant {
    /// Which.
    pub partition: Partition,
    /// The digest of what the sender holds of it; when equal there is nothing to send.
    pub digest: u64,
    /// Where to go on: [`FetchedPartition::cursor`] of the page before, 0 at first.
    pub cursor: u64,
}

/// The answer to a [`FetchRequest`]: bounded in bytes, so it may cover fewer partitions than asked.
#[derive(Clone, PartialEq, Debug)]
pub struct FetchReply {
    /// What was covered, in the order asked.
    pub partitions: Vec<FetchedPartition>,
    /// Their entries, tombstones included.
    pub entries: Vec<(Key, Entry)>,
    /// The flush floor of the answering node.
    pub flush: FlushState,
}

/// How much of one partition a page covered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FetchedPartition {
    /// Which.
    pub partition: Partition,
    /// Whether it can be given, and if so, what goes with it.
    pub state: Result<PartitionState, Refusal>,
    /// Where to go on; `None` when the partition is complete.
    pub cursor: Option<u64>,
}

/// What goes with a partition beside its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartitionState {
    /// The highest ballot this home has promised or seen.
    pub promised: Ballot,
    /// Digest of the entries it holds.
    pub digest: u64,
    /// Tombstones up to this stamp have gone here before all homes were known to have them: who was away must not count with
    /// anything older than this answer.
    pub dropped: Stamp,
}

/// Rare requests, in bincode.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ControlRequest {
    /// Are you there, and how are you? Answered by [`ControlReply::Pong`].
    Ping(NodeStatus),
    /// Will you follow me in these terms? Answered by [`ControlReply::Promises`], in the same order; at most
    /// [`crate::limits::PREPARE_PARTITIONS_MAX`].
    Prepare {
        /// The sender's ring config.
        epoch: Epoch,
        /// Partition and the ballot asked for.
        proposals: Vec<(Partition, Ballot)>,
    },
    /// First round of flush_all: the highest stamp you have made or seen. Answered by [`ControlReply::FlushStamp`].
    FlushProbe,
    /// Second round of flush_all. Answered by [`ControlReply::Done`].
    FlushCommit(FlushState),
    /// Membership of the ring: see `ring_message`. Answered by [`ControlReply::Done`] at once; what follows from it comes
    /// as requests of its own.
    Ring {
        /// Who says it.
        from: NodeName,
        /// What.
        message: crate::ring_message::RingMessage,
    },
    /// What have you counted? Answered by [`ControlReply::Stats`].
    Stats,
}

/// Rare replies, in bincode.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ControlReply {
    /// To [`ControlRequest::Ping`].
    Pong(NodeStatus),
    /// To [`ControlRequest::Prepare`].
    Promises(Vec<PromiseReply>),
    /// To [`ControlRequest::FlushProbe`].
    FlushStamp(Stamp),
    /// Done, or taken note of.
    Done,
    /// Cannot be done.
    Refused(Refusal),
    /// To [`ControlRequest::Stats`]: names and counts; at most [`crate::limits::STATS_MAX`].
    Stats(Vec<(String, u64)>),
    /// No reply yet, and not the last word to this request: what it takes is large and moves. Only where items above
    /// [`crate::limits::FRAME_BYTES_MAX`] are allowed.
    Working,
}

/// One partition's answer to a prepare.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PromiseReply {
    /// Lower ballots are refused from now on.
    Promised {
        /// Whether the home's copy is complete, so that its promise counts in the current home set.
        synced: bool,
        /// Digest of what it holds at this moment: equal digests spare the new serializer its first look at each key.
        digest: u64,
        /// The highest stamp it has made or seen: the new serializer's clock goes above it.
        stamp: Stamp,
    },
    /// It has promised this higher (or equal, not the sender's) ballot.
    Outbid(Ballot),
    /// It cannot say.
    Refused(Refusal),
}

/// What a node tells of itself in pings.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Who.
    pub name: NodeName,
    /// Its start: the wall clock's milliseconds then. A higher one at the same name is a later life.
    pub generation: u64,
    /// Its ring config.
    pub epoch: Epoch,
    /// Thousandths of its partitions whose copies are complete.
    pub synced_permille: u16,
    /// The time it goes by, when this was sent.
    pub now: UnixMillis,
    /// Whether that is the cluster's time. Until a node that starts has heard others' clocks it is just its own.
    pub settled: bool,
    /// Its flush state.
    pub flush: FlushState,
}
