//! Strategies for every message between nodes, in one place for all tests of frames.
//!
//! Must not know what the tests check.

use bytes::{Bytes, BytesMut};
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, Seen, UnixMillis};
use memring_protocol::flush::{FlushState, PacedFlush};
use memring_protocol::frame::{HEADER_BYTES, encode};
use memring_protocol::key::{KEY_BYTES_MAX, Key, PARTITIONS, Partition};
use memring_protocol::message::{
    Acknowledgement, Agreed, CompareRequest, ControlReply, ControlRequest, CopyDigest, Count, Counted, Difference,
    Fetch, FetchReply, FetchRequest, FetchWant, Fetched, FetchedPartition, Holdings, Invalidate, List, Message,
    Mutation, NewValue, NodeStatus, Outcome, PartitionState, PromiseReply, ReadRequest, ReadResult, Refusal, Remove,
    Replicate, Reply, Request, RequestId, Step, Store, StoreMode, Survey, SurveyReply, SurveyRequest, Surveyed, Want,
    WriteReply, WriteRequest,
};
use memring_protocol::ring::{Epoch, NODE_NAME_BYTES_MAX, NodeName};
use memring_protocol::version::{Ballot, SLOTS_MAX, Slot, Stamp, Version};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};

/// The longest value made here: a few pages, so that many cases stay cheap.
const VALUE_BYTES_MAX: usize = 4096;

/// Lists made here; the limits have tests of their own.
const LIST_MAX: usize = 12;

/// One frame of a message that passes no limit.
pub(crate) fn encoded(message: &Message) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode(message, &mut bytes).expect("within the limits");
    bytes
}

/// Makes the header tell the length that the frame has.
pub(crate) fn set_length(bytes: &mut BytesMut) {
    let body_len = (bytes.len() - HEADER_BYTES) as u32;
    bytes[..4].copy_from_slice(&body_len.to_le_bytes());
}

/// Any message; every variant of every reply and request can come.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    let id = any::<u64>().prop_map(RequestId);
    let either = prop_oneof![request().prop_map(Side::Request), reply().prop_map(Side::Reply)];
    (id, either).prop_map(|(id, side)| match side {
        Side::Request(request) => Message::Request(id, request),
        Side::Reply(reply) => Message::Reply(id, reply),
    })
}

#[derive(Clone, Debug)]
enum Side {
    Request(Request),
    Reply(Reply),
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        read_request().prop_map(Request::Read),
        compare_request().prop_map(Request::Compare),
        write_request().prop_map(Request::Write),
        replicate().prop_map(Request::Replicate),
        fetch_request().prop_map(Request::Fetch),
        survey_request().prop_map(Request::Survey),
        control_request().prop_map(Request::Control),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        vec(read_result(), 0..LIST_MAX).prop_map(Reply::Read),
        any::<bool>().prop_map(Reply::Compare),
        write_reply().prop_map(Reply::Write),
        acknowledgement().prop_map(Reply::Replicate),
        fetch_reply().prop_map(Reply::Fetch),
        survey_reply().prop_map(Reply::Survey),
        control_reply().prop_map(Reply::Control),
    ]
}

fn read_request() -> impl Strategy<Value = ReadRequest> {
    let want =
        prop_oneof![Just(Want::Value), Just(Want::Digest), any::<u64>().prop_map(|ballot| Want::Look(Ballot(ballot)))];
    (epoch(), want, any::<bool>(), vec(key(), 1..LIST_MAX)).prop_map(|(epoch, want, noticed, keys)| ReadRequest {
        epoch,
        want,
        noticed,
        keys,
    })
}

fn compare_request() -> impl Strategy<Value = CompareRequest> {
    (epoch(), any::<bool>(), vec((key(), option::of(version())), 1..LIST_MAX)).prop_map(|(epoch, noticed, held)| {
        let keys: Vec<u8> = held.iter().flat_map(|(key, _)| key.as_bytes()).copied().collect();
        let mut holdings = Holdings::of_keys_in(keys.into(), held.len());
        let mut start = 0;
        for (key, version) in &held {
            assert!(holdings.push(start, (key.into(), *version)));
            start += key.len();
        }
        CompareRequest { epoch, noticed, holdings }
    })
}

fn read_result() -> impl Strategy<Value = ReadResult> {
    prop_oneof![
        Just(ReadResult::Absent),
        version().prop_map(ReadResult::Digest),
        (entry(), seen()).prop_map(|(entry, seen)| ReadResult::Found(entry, seen)),
        refusal().prop_map(ReadResult::Refused),
        Just(ReadResult::Later),
    ]
}

fn write_request() -> impl Strategy<Value = WriteRequest> {
    (epoch(), key(), mutation(), any::<u8>(), any::<bool>(), ballot(), ballot(), any::<u32>()).prop_map(
        |(epoch, key, mutation, copies, takeover, above, upto, patience_ms)| WriteRequest {
            epoch,
            key,
            mutation,
            copies,
            takeover,
            above,
            upto,
            patience_ms,
        },
    )
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        store().prop_map(Mutation::Store),
        count().prop_map(Mutation::Count),
        fetch().prop_map(Mutation::Fetch),
        expiry().prop_map(Mutation::GetAndTouch),
        expiry().prop_map(Mutation::Touch),
        remove().prop_map(Mutation::Remove),
        Just(Mutation::Confirm),
    ]
}

fn store() -> impl Strategy<Value = Store> {
    let mode = prop_oneof![
        Just(StoreMode::Set),
        Just(StoreMode::Add),
        Just(StoreMode::Replace),
        Just(StoreMode::Append),
        Just(StoreMode::Prepend),
    ];
    (mode, new_value(), token(), any::<bool>(), token(), any::<bool>()).prop_map(
        |(mode, new, compare, accept_older, token, create)| Store { mode, new, compare, accept_older, token, create },
    )
}

fn count() -> impl Strategy<Value = Count> {
    let step = prop_oneof![any::<u64>().prop_map(Step::Up), any::<u64>().prop_map(Step::Down)];
    (step, token(), token(), option::of(expiry()), option::of((any::<u64>(), expiry())))
        .prop_map(|(step, compare, token, expiry, create)| Count { step, compare, token, expiry, create })
}

fn fetch() -> impl Strategy<Value = Fetch> {
    let expiry = || option::of(expiry());
    (expiry(), expiry(), any::<bool>(), expiry(), token(), any::<bool>()).prop_map(
        |(expiry, recache, recache_after_touch, create, token, unnoticed)| Fetch {
            expiry,
            recache,
            recache_after_touch,
            create,
            token,
            unnoticed,
        },
    )
}

fn remove() -> impl Strategy<Value = Remove> {
    let instead = (any::<bool>(), option::of(any::<u32>()), option::of(expiry()), token())
        .prop_map(|(stale, empty, expiry, token)| Invalidate { stale, empty, expiry, token });
    (token(), option::of(instead)).prop_map(|(compare, instead)| Remove { compare, instead })
}

/// A cas token, or none.
fn token() -> impl Strategy<Value = Option<u64>> {
    option::of(any::<u64>())
}

fn write_reply() -> impl Strategy<Value = WriteReply> {
    prop_oneof![
        4 => outcome().prop_map(WriteReply::Done),
        1 => slot().prop_map(WriteReply::Redirect),
        1 => slot().prop_map(WriteReply::Deposed),
        1 => refusal().prop_map(WriteReply::Refused),
        1 => any::<(u8, u8)>().prop_map(|(acknowledged, needed)| WriteReply::InDoubt { acknowledged, needed }),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        any::<(u64, u32)>().prop_map(|(token, bytes)| Outcome::Stored { token, bytes }),
        Just(Outcome::NotStored),
        Just(Outcome::Exists),
        Just(Outcome::NotFound),
        Just(Outcome::Deleted),
        Just(Outcome::Touched),
        counted().prop_map(Outcome::Number),
        fetched().prop_map(Outcome::Item),
        Just(Outcome::Miss),
        Just(Outcome::NonNumeric),
        Just(Outcome::TooLarge),
        Just(Outcome::OutOfMemory),
    ]
}

fn counted() -> impl Strategy<Value = Counted> {
    (any::<u64>(), any::<u64>(), expiry(), expiry()).prop_map(|(number, token, before, expiry)| Counted {
        number,
        token,
        before,
        expiry,
    })
}

fn fetched() -> impl Strategy<Value = Fetched> {
    (item(), seen(), expiry(), any::<[bool; 2]>()).prop_map(|(item, seen, before, [won, created])| Fetched {
        item,
        seen,
        before,
        won,
        created,
    })
}

fn replicate() -> impl Strategy<Value = Replicate> {
    (epoch(), option::of(ballot()), key(), option::of(entry())).prop_map(|(epoch, fence, key, entry)| Replicate {
        epoch,
        fence,
        key,
        entry,
    })
}

pub(crate) fn acknowledgement() -> impl Strategy<Value = Acknowledgement> {
    prop_oneof![
        any::<bool>().prop_map(|synced| Acknowledgement::Held { synced }),
        ballot().prop_map(Acknowledgement::Fenced),
        refusal().prop_map(Acknowledgement::Refused),
    ]
}

fn fetch_request() -> impl Strategy<Value = FetchRequest> {
    let want = (partition(), any::<u64>(), any::<u64>()).prop_map(|(partition, digest, cursor)| FetchWant {
        partition,
        digest,
        cursor,
    });
    (epoch(), vec(want, 0..LIST_MAX)).prop_map(|(epoch, wants)| FetchRequest { epoch, wants })
}

fn fetch_reply() -> impl Strategy<Value = FetchReply> {
    let state = (ballot(), any::<u64>(), stamp()).prop_map(|(promised, digest, dropped)| PartitionState {
        promised,
        digest,
        dropped,
    });
    let state = prop_oneof![state.prop_map(Ok), refusal().prop_map(Err)];
    let fetched = (partition(), state, option::of(any::<u64>()))
        .prop_map(|(partition, state, cursor)| FetchedPartition { partition, state, cursor });
    (vec(fetched, 0..LIST_MAX), vec((key(), entry()), 0..LIST_MAX), flush())
        .prop_map(|(partitions, entries, flush)| FetchReply { partitions, entries, flush })
}

fn survey_request() -> impl Strategy<Value = SurveyRequest> {
    let agreed = (partition(), stamp()).prop_map(|(partition, upto)| Agreed { partition, upto });
    let entries = || vec((any::<u64>(), version()), 0..LIST_MAX);
    let list = (partition(), any::<[u64; 3]>(), [stamp(), stamp(), stamp()], any::<bool>(), entries()).prop_map(
        |(partition, [buckets, first, last], [agreed, evicted, upto], all, entries)| List {
            partition,
            buckets,
            first,
            last,
            agreed,
            evicted,
            upto,
            all,
            entries,
        },
    );
    let what = prop_oneof![
        vec(agreed, 0..LIST_MAX).prop_map(Survey::Digests),
        vec(partition(), 0..LIST_MAX).prop_map(Survey::Buckets),
        vec(list, 0..LIST_MAX).prop_map(Survey::Lists),
        vec(partition(), 0..LIST_MAX).prop_map(Survey::Start),
    ];
    (epoch(), slot(), stamp(), what).prop_map(|(epoch, sender, latest, what)| SurveyRequest {
        epoch,
        sender,
        latest,
        what,
    })
}

fn survey_reply() -> impl Strategy<Value = SurveyReply> {
    let digest = any::<(u64, u64)>().prop_map(|(digest, copy)| CopyDigest { digest, copy });
    let digest = prop_oneof![digest.prop_map(Ok), refusal().prop_map(Err)];
    let buckets = prop_oneof![vec(any::<u64>(), 0..LIST_MAX).prop_map(Ok), refusal().prop_map(Err)];
    let difference = (vec(any::<u64>(), 0..LIST_MAX), any::<[u32; 3]>(), any::<bool>())
        .prop_map(|(lacks, [gives, young, left], whole)| Difference { lacks, gives, young, left, whole });
    let difference = prop_oneof![difference.prop_map(Ok), refusal().prop_map(Err)];
    let found = prop_oneof![
        vec(digest, 0..LIST_MAX).prop_map(Surveyed::Digests),
        vec(buckets, 0..LIST_MAX).prop_map(Surveyed::Buckets),
        vec(difference, 0..LIST_MAX).prop_map(Surveyed::Lists),
        Just(Surveyed::Noted),
    ];
    (stamp(), found).prop_map(|(latest, found)| SurveyReply { latest, found })
}

fn control_request() -> impl Strategy<Value = ControlRequest> {
    let prepare = (epoch(), vec((partition(), ballot()), 0..LIST_MAX))
        .prop_map(|(epoch, proposals)| ControlRequest::Prepare { epoch, proposals });
    prop_oneof![
        status().prop_map(ControlRequest::Ping),
        prepare,
        Just(ControlRequest::FlushProbe),
        flush().prop_map(ControlRequest::FlushCommit),
    ]
}

fn control_reply() -> impl Strategy<Value = ControlReply> {
    let promised = (any::<bool>(), any::<u64>(), stamp()).prop_map(|(synced, digest, stamp)| PromiseReply::Promised {
        synced,
        digest,
        stamp,
    });
    let promise =
        prop_oneof![promised, ballot().prop_map(PromiseReply::Outbid), refusal().prop_map(PromiseReply::Refused)];
    prop_oneof![
        status().prop_map(ControlReply::Pong),
        vec(promise, 0..LIST_MAX).prop_map(ControlReply::Promises),
        stamp().prop_map(ControlReply::FlushStamp),
        Just(ControlReply::Done),
        Just(ControlReply::Working),
        refusal().prop_map(ControlReply::Refused),
    ]
}

fn status() -> impl Strategy<Value = NodeStatus> {
    (node_name(), any::<u64>(), epoch(), any::<u16>(), any::<u64>(), any::<bool>(), flush()).prop_map(
        |(name, generation, epoch, synced_permille, now, settled, flush)| NodeStatus {
            name,
            generation,
            epoch,
            synced_permille,
            now: UnixMillis(now),
            settled,
            flush,
        },
    )
}

fn flush() -> impl Strategy<Value = FlushState> {
    let pending = (stamp(), any::<u64>().prop_map(UnixMillis));
    let paced = (stamp(), any::<u64>().prop_map(UnixMillis), any::<u64>())
        .prop_map(|(stamp, from, over_ms)| PacedFlush { stamp, from, over_ms });
    (stamp(), option::of(pending), option::of(paced)).prop_map(|(floor, pending, paced)| FlushState {
        floor,
        pending,
        paced,
    })
}

/// Any node name.
pub(crate) fn node_name() -> impl Strategy<Value = NodeName> {
    let letter = (b'!'..=b'~').prop_filter("a comma separates names", |&letter| letter != b',').prop_map(char::from);
    vec(letter, 1..=NODE_NAME_BYTES_MAX)
        .prop_map(|letters| NodeName::new(&letters.into_iter().collect::<String>()).expect("legal"))
}

/// Any key: of any bytes, and of both extreme lengths.
pub(crate) fn key() -> impl Strategy<Value = Key> {
    let bytes = prop_oneof![
        6 => vec(any::<u8>(), 1..40),
        1 => vec(any::<u8>(), 1..=1),
        1 => vec(any::<u8>(), KEY_BYTES_MAX..=KEY_BYTES_MAX),
    ];
    bytes.prop_map(|bytes| Key::new(Bytes::from(bytes)).expect("legal"))
}

/// Any entry.
pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    let body = prop_oneof![3 => item().prop_map(Body::Item), 1 => Just(Body::Tombstone)];
    (version(), body).prop_map(|(version, body)| Entry { version, body })
}

fn item() -> impl Strategy<Value = Item> {
    (value(), any::<u32>(), any::<u64>(), expiry(), marks()).prop_map(|(value, flags, cas, expiry, marks)| Item {
        value,
        flags,
        cas,
        expiry,
        marks,
    })
}

fn marks() -> impl Strategy<Value = Marks> {
    any::<[bool; 3]>().prop_map(|chosen| {
        let marks = [Marks::STALE, Marks::WON, Marks::BINARY_KEY].into_iter().zip(chosen);
        marks.filter(|&(_, is_chosen)| is_chosen).fold(Marks::NONE, |all, (mark, _)| all.with(mark))
    })
}

fn seen() -> impl Strategy<Value = Seen> {
    any::<(bool, u32)>().prop_map(|(fetched, idle_s)| Seen { fetched, idle_s })
}

fn new_value() -> impl Strategy<Value = NewValue> {
    (value(), any::<u32>(), expiry(), any::<bool>()).prop_map(|(value, flags, expiry, binary_key)| NewValue {
        value,
        flags,
        expiry,
        binary_key,
    })
}

fn value() -> impl Strategy<Value = Bytes> {
    // One byte repeated is as good for a codec as random bytes, and a thousand times cheaper to make and to shrink.
    prop_oneof![
        vec(any::<u8>(), 0..64).prop_map(Bytes::from),
        (any::<u8>(), 0..VALUE_BYTES_MAX).prop_map(|(byte, length)| Bytes::from(vec![byte; length])),
    ]
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![Just(Expiry::NEVER), Just(Expiry::PAST), any::<u32>().prop_map(Expiry::at)]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(Refusal::Recovering),
        epoch().prop_map(Refusal::Epoch),
        Just(Refusal::NotHome),
        Just(Refusal::Busy),
        any::<u64>().prop_map(|ballot| Refusal::Fenced(Ballot(ballot))),
    ]
}

fn version() -> impl Strategy<Value = Version> {
    (ballot(), stamp()).prop_map(|(ballot, stamp)| Version { ballot, stamp })
}

fn epoch() -> impl Strategy<Value = Epoch> {
    any::<u64>().prop_map(Epoch)
}

fn ballot() -> impl Strategy<Value = Ballot> {
    any::<u64>().prop_map(Ballot)
}

fn stamp() -> impl Strategy<Value = Stamp> {
    any::<u64>().prop_map(Stamp)
}

fn slot() -> impl Strategy<Value = Slot> {
    (0..SLOTS_MAX).prop_map(|number| Slot::new(number).expect("below the limit"))
}

fn partition() -> impl Strategy<Value = Partition> {
    (0..PARTITIONS).prop_map(|number| Partition::new(number).expect("below the limit"))
}
