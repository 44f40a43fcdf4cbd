//! Properties of frames: every message comes back, whole, from any split, and stops at every limit.
//!
//! What strangers send is `frame_hostile`'s; what the bytes are is `frame_golden`'s.

mod messages;

use bytes::{BufMut, Bytes, BytesMut};
use memring_protocol::codec;
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, Seen};
use memring_protocol::flush::FlushState;
use memring_protocol::frame::{
    FrameError, HEADER_BYTES, PREAMBLE_BYTES_MAX, Preamble, WIRE_VERSION, decode, decode_preamble, encode,
    encode_preamble, fetched_entry_len,
};
use memring_protocol::key::{Key, Partition};
use memring_protocol::limits::{
    BUCKETS, FETCH_PARTITIONS_MAX, FRAME_BYTES_MAX, LISTED_ENTRIES_MAX, LISTED_PARTITIONS_MAX, PREPARE_PARTITIONS_MAX,
    READ_KEYS_MAX, SURVEYED_BUCKETS_MAX, SURVEYED_PARTITIONS_MAX,
};
use memring_protocol::message::{
    Agreed, ControlReply, ControlRequest, Difference, FetchReply, FetchRequest, FetchWant, FetchedPartition, List,
    Message, Mutation, NewValue, PromiseReply, ReadRequest, ReadResult, Refusal, Reply, Request, RequestId, Store,
    Survey, SurveyReply, SurveyRequest, Surveyed, Want, WriteRequest,
};
use memring_protocol::ring::Epoch;
use memring_protocol::version::{Ballot, Slot, Stamp, Version};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

use self::messages::{encoded, set_length};

proptest! {
    #[test]
    fn every_message_comes_back_and_leaves_what_follows(
        first in messages::message(), second in messages::message(), partial in 0..HEADER_BYTES,
    ) {
        let mut buffer = BytesMut::new();
        encode(&first, &mut buffer).expect("within the limits");
        encode(&second, &mut buffer).expect("within the limits");
        buffer.put_bytes(0, partial);
        prop_assert_eq!(decode(&mut buffer).expect("a frame"), Some(first));
        prop_assert_eq!(decode(&mut buffer).expect("a frame"), Some(second));
        prop_assert!(matches!(decode(&mut buffer), Ok(None)));
        prop_assert_eq!(buffer.len(), partial);
    }

    #[test]
    fn a_frame_may_be_split_anywhere(message in messages::message(), split in any::<proptest::sample::Index>()) {
        let bytes = encoded(&message);
        // Every place in and around the header, and one anywhere.
        for split in (0..=HEADER_BYTES + 1).chain([split.index(bytes.len()), bytes.len() - 1]) {
            let split = split.min(bytes.len() - 1);
            let mut buffer = BytesMut::from(&bytes[..split]);
            prop_assert!(matches!(decode(&mut buffer), Ok(None)), "{} of {} bytes", split, bytes.len());
            prop_assert_eq!(buffer.len(), split);
            buffer.extend_from_slice(&bytes[split..]);
            prop_assert_eq!(decode(&mut buffer).expect("a frame"), Some(message.clone()));
            prop_assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_body_with_a_byte_more_or_less_is_refused(message in messages::message(), extra in any::<u8>()) {
        let bytes = encoded(&message);
        let mut longer = bytes.clone();
        longer.put_u8(extra);
        set_length(&mut longer);
        prop_assert!(decode(&mut longer).is_err());
        let mut shorter = bytes;
        if shorter.len() > HEADER_BYTES {
            shorter.truncate(shorter.len() - 1);
            set_length(&mut shorter);
            prop_assert!(decode(&mut shorter).is_err());
        }
    }

    #[test]
    fn every_preamble_comes_back(
        sender in messages::node_name(), wire_version: u8, features: u64, cluster: u64, generation: u64,
    ) {
        let sent = Preamble { wire_version, features, cluster, sender, generation };
        let mut buffer = BytesMut::new();
        encode_preamble(&sent, &mut buffer);
        prop_assert!(buffer.len() <= PREAMBLE_BYTES_MAX);
        prop_assert_eq!(decode_preamble(&mut buffer).expect("a preamble"), Some(sent));
    }

    #[test]
    fn a_page_of_a_fetch_can_be_counted(
        entries in proptest::collection::vec((messages::key(), messages::entry()), 0..8),
    ) {
        let empty = encoded(&fetch_reply(Vec::new(), Vec::new())).len();
        let counted: usize = entries.iter().map(|(key, entry)| fetched_entry_len(key, entry)).sum();
        prop_assert_eq!(encoded(&fetch_reply(Vec::new(), entries)).len(), empty + counted);
    }
}

#[test]
fn lists_of_reads_stop_at_their_limit_in_both_directions() {
    let key = Key::copy_from(b"k").expect("legal");
    let read = |count| {
        let keys = vec![key.clone(); count];
        request(Request::Read(ReadRequest { epoch: Epoch(1), want: Want::Value, noticed: true, keys }))
    };
    let results = |count| reply(Reply::Read(vec![ReadResult::Absent; count]));
    let count = (READ_KEYS_MAX as u16 + 1).to_le_bytes();
    let over_keys = [&[0; 8], &[1, 1][..], &count, &[1, b'k'].repeat(READ_KEYS_MAX + 1)].concat();
    check_list(&read, READ_KEYS_MAX, (0x01, over_keys));
    check_list(&results, READ_KEYS_MAX, (0x81, [&count[..], &[1; READ_KEYS_MAX + 1]].concat()));

    assert!(matches!(encode(&read(0), &mut BytesMut::new()), Err(FrameError::Count { count: 0, .. })));
    let no_keys = [&[0; 8], &[1, 1][..], &[0, 0]].concat();
    assert!(matches!(decode(&mut frame(0x01, &no_keys)), Err(FrameError::Count { count: 0, .. })));
}

#[test]
fn lists_of_partitions_stop_at_their_limit_in_both_directions() {
    let partition = Partition::new(1).expect("legal");
    let want = FetchWant { partition, digest: 0, cursor: 0 };
    let fetch = |count| FetchRequest { epoch: Epoch(1), wants: vec![want.clone(); count] };
    check_list(
        &|count| request(Request::Fetch(fetch(count))),
        FETCH_PARTITIONS_MAX,
        (0x04, coded(&fetch(FETCH_PARTITIONS_MAX + 1))),
    );
    let fetched = FetchedPartition { partition, state: Err(Refusal::Busy), cursor: None };
    let pages = |count| vec![fetched.clone(); count];
    check_list(
        &|count| fetch_reply(pages(count), Vec::new()),
        FETCH_PARTITIONS_MAX,
        (0x84, coded(&(pages(FETCH_PARTITIONS_MAX + 1), FlushState::default(), 0_u32))),
    );
    let prepare = |count| ControlRequest::Prepare { epoch: Epoch(1), proposals: vec![(partition, Ballot(1)); count] };
    check_list(
        &|count| request(Request::Control(prepare(count))),
        PREPARE_PARTITIONS_MAX,
        (0x05, coded(&prepare(PREPARE_PARTITIONS_MAX + 1))),
    );
    let promises = |count| ControlReply::Promises(vec![PromiseReply::Outbid(Ballot(1)); count]);
    check_list(
        &|count| reply(Reply::Control(promises(count))),
        PREPARE_PARTITIONS_MAX,
        (0x85, coded(&promises(PREPARE_PARTITIONS_MAX + 1))),
    );
}

#[test]
fn lists_of_surveys_stop_at_their_limit_in_both_directions() {
    let (partition, sender) = (Partition::new(1).expect("legal"), Slot::new(1).expect("legal"));
    let ask = |what| SurveyRequest { epoch: Epoch(1), sender, latest: Stamp(1), what };
    let list = |entries| List {
        partition,
        buckets: 1,
        first: 0,
        last: 1,
        agreed: Stamp(1),
        evicted: Stamp(1),
        upto: Stamp(1),
        all: false,
        entries: vec![(1, Version::default()); entries],
    };
    type Ask<'a> = &'a dyn Fn(usize) -> Survey;
    let agreed = Agreed { partition, upto: Stamp(1) };
    let asks: [(Ask<'_>, usize); 5] = [
        (&|count| Survey::Digests(vec![agreed; count]), SURVEYED_PARTITIONS_MAX),
        (&|count| Survey::Buckets(vec![partition; count]), SURVEYED_BUCKETS_MAX),
        (&|count| Survey::Start(vec![partition; count]), SURVEYED_PARTITIONS_MAX),
        (&|count| Survey::Lists(vec![list(1); count]), LISTED_PARTITIONS_MAX),
        (&|count| Survey::Lists(vec![list(count - 1), list(1)]), LISTED_ENTRIES_MAX),
    ];
    for (what, max) in asks {
        let message = |count| request(Request::Survey(ask(what(count))));
        check_list(&message, max, (0x0a, coded(&ask(what(max + 1)))));
    }
    let say = |found| SurveyReply { latest: Stamp(1), found };
    type Say<'a> = &'a dyn Fn(usize) -> Surveyed;
    let lacking = |count| Ok(Difference { lacks: vec![1; count], ..Difference::default() });
    let says: [(Say<'_>, usize); 5] = [
        (&|count| Surveyed::Digests(vec![Err(Refusal::Busy); count]), SURVEYED_PARTITIONS_MAX),
        (&|count| Surveyed::Buckets(vec![Err(Refusal::Busy); count]), SURVEYED_BUCKETS_MAX),
        (&|count| Surveyed::Buckets(vec![Ok(vec![1; count])]), BUCKETS),
        (&|count| Surveyed::Lists(vec![lacking(1); count]), LISTED_PARTITIONS_MAX),
        (&|count| Surveyed::Lists(vec![lacking(count - 1), lacking(1)]), LISTED_ENTRIES_MAX),
    ];
    for (found, max) in says {
        let message = |count| reply(Reply::Survey(say(found(count))));
        check_list(&message, max, (0x8a, coded(&say(found(max + 1)))));
    }
}

#[test]
fn a_message_that_passes_the_frame_leaves_the_buffer_alone() {
    let set = |length| {
        let value = Bytes::from(vec![b'v'; length]);
        let new = NewValue { value, flags: 0, expiry: Expiry::NEVER, binary_key: false };
        let mutation = Mutation::Store(Store::set(new));
        let key = Key::copy_from(b"k").expect("legal");
        request(Request::Write(WriteRequest {
            epoch: Epoch(1),
            key,
            mutation,
            copies: 1,
            takeover: false,
            above: Ballot(1),
            upto: Ballot(2),
            patience_ms: 0,
        }))
    };
    let beside = encoded(&set(0)).len() - HEADER_BYTES;
    let longest = set(FRAME_BYTES_MAX - beside);
    let mut buffer = encoded(&longest);
    assert_eq!(buffer.len(), HEADER_BYTES + FRAME_BYTES_MAX);
    assert_eq!(decode(&mut buffer).expect("a frame"), Some(longest));

    let too_long = set(FRAME_BYTES_MAX - beside + 1);
    // Long lists of short entries pass the limit without one long value.
    let tombstone = Entry { version: Version::default(), body: Body::Tombstone };
    let value = Bytes::from(vec![b'v'; FRAME_BYTES_MAX / 2]);
    let item = Item { value, flags: 0, cas: 0, expiry: Expiry::NEVER, marks: Marks::NONE };
    let half = ReadResult::Found(Entry { version: Version::default(), body: Body::Item(item) }, Seen::default());
    let entries = vec![(Key::copy_from(b"k").expect("legal"), tombstone); FRAME_BYTES_MAX / 19 + 1];
    for message in [too_long, fetch_reply(Vec::new(), entries), reply(Reply::Read(vec![half.clone(), half]))] {
        let mut buffer = BytesMut::from(&b"before"[..]);
        assert!(matches!(encode(&message, &mut buffer), Err(FrameError::TooLong(_))));
        assert_eq!(&buffer[..], b"before");
    }
}

#[test]
fn a_header_alone_tells_what_ends_the_link() {
    let header = |length: u32, version: u8, kind: u8, flags: u16| {
        let mut bytes = BytesMut::new();
        bytes.put_u32_le(length);
        bytes.put_slice(&[version, kind]);
        bytes.put_u16_le(flags);
        bytes.put_u64_le(7);
        decode(&mut bytes)
    };
    let too_long = FRAME_BYTES_MAX as u32 + 1;
    assert!(matches!(header(too_long, WIRE_VERSION, 1, 0), Err(FrameError::TooLong(_))));
    assert!(matches!(decode(&mut BytesMut::from(&too_long.to_le_bytes()[..])), Err(FrameError::TooLong(_))));
    assert!(matches!(header(9, WIRE_VERSION + 1, 1, 0), Err(FrameError::Version(2))));
    assert!(matches!(header(9, WIRE_VERSION, 0xff, 0), Err(FrameError::Kind(0xff))));
    assert!(matches!(header(9, WIRE_VERSION, 0, 0), Err(FrameError::Kind(0))));
    assert!(matches!(header(9, WIRE_VERSION, 1, 0x0100), Err(FrameError::Flags(0x0100))));
    assert!(matches!(header(9, WIRE_VERSION, 1, 0x00ff), Ok(None)));
    assert!(matches!(header(9, WIRE_VERSION, 0x7f, 0), Ok(None)));
}

#[test]
fn an_unknown_request_is_consumed_so_that_the_link_can_go_on() {
    let known = request(Request::Control(ControlRequest::FlushProbe));
    let mut buffer = BytesMut::new();
    buffer.put_slice(&[3, 0, 0, 0, WIRE_VERSION, 0x7f, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, b'n', b'e', b'w']);
    encode(&known, &mut buffer).expect("within the limits");
    let error = decode(&mut buffer).expect_err("an unknown request");
    assert!(matches!(error, FrameError::UnknownRequest { id: RequestId(7), kind: 0x7f }) && !error.ends_link());
    assert_eq!(decode(&mut buffer).expect("a frame"), Some(known));
}

/// Over the limit: `message(max + 1)` when encoded, and a frame of `kind` with this body when decoded.
fn check_list(message: &dyn Fn(usize) -> Message, max: usize, (kind, over): (u8, Vec<u8>)) {
    assert_eq!(decode(&mut encoded(&message(max))).expect("a frame"), Some(message(max)));
    let mut out = BytesMut::new();
    assert!(matches!(encode(&message(max + 1), &mut out), Err(FrameError::Count { .. })));
    assert!(out.is_empty());
    assert!(matches!(decode(&mut frame(kind, &over)), Err(FrameError::Count { .. })), "kind {kind:#04x}");
}

fn frame(kind: u8, body: &[u8]) -> BytesMut {
    let mut bytes = BytesMut::zeroed(HEADER_BYTES);
    bytes[4] = WIRE_VERSION;
    bytes[5] = kind;
    bytes.put_slice(body);
    set_length(&mut bytes);
    bytes
}

fn coded<T: serde::Serialize>(body: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode(body, &mut bytes).expect("within the limits");
    bytes
}

fn request(request: Request) -> Message {
    Message::Request(RequestId(7), request)
}

fn reply(reply: Reply) -> Message {
    Message::Reply(RequestId(7), reply)
}

fn fetch_reply(partitions: Vec<FetchedPartition>, entries: Vec<(Key, Entry)>) -> Message {
    reply(Reply::Fetch(FetchReply { partitions, entries, flush: FlushState::default() }))
}
