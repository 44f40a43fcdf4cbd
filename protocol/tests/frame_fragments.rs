//! Messages in fragments: whatever comes between them, the same messages come out, and each limit holds.
//!
//! What the bytes are is `frame_golden`'s.

mod messages;

use bytes::{BufMut, Bytes, BytesMut};
use memring_protocol::entry::{Body, Entry, Expiry, Item, Marks, Seen};
use memring_protocol::frame::{
    FRAGMENT_FIELDS_BYTES, FrameError, HEADER_BYTES, Leave, LongMessage, Streams, Taken, decode, encode,
    encode_in_pieces, put_leave,
};
use memring_protocol::key::Key;
use memring_protocol::limits::{
    FRAGMENT_FRAME_BYTES_MAX, FRAME_BYTES_MAX, ITEM_BYTES_MAX, MESSAGE_BYTES_MAX, OPENING_BYTES_MAX, STREAMS_MAX,
    WHOLE_BYTES_MAX,
};
use memring_protocol::message::{Message, ReadResult, Replicate, Reply, Request, RequestId};
use memring_protocol::ring::Epoch;
use memring_protocol::version::{Ballot, Version};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use proptest::test_runner::Config;

const REPLICATE: u8 = 0x03;
const READ_REPLY: u8 = 0x81;
const OF_REQUEST: u8 = 0x06;
const OF_REPLY: u8 = 0x86;

proptest! {
    // Each case moves megabytes.
    #![proptest_config(Config { cases: 24, ..Config::default() })]

    #[test]
    fn any_interleaving_gives_the_same_messages(
        sizes in vec(WHOLE_BYTES_MAX..4 * WHOLE_BYTES_MAX, 1..5), small in vec(messages::message(), 0..12),
        turns in vec(any::<u8>(), 64), cut in 1..100_000_usize,
    ) {
        let long: Vec<Message> = sizes.iter().enumerate().map(|(id, size)| replicate(id as u64, *size)).collect();
        let (mut queue, mut small_left) = (Vec::new(), small.iter());
        let mut wire = BytesMut::new();
        for message in &long {
            let pieces = encode_in_pieces(message, &mut wire).expect("within the limits");
            queue.push((pieces.expect("above the limit of one frame"), false));
        }
        let (mut streams, mut arrived, mut seen_small) = (Streams::default(), Vec::new(), Vec::new());
        for turn in turns.iter().cycle() {
            if queue.is_empty() && wire.is_empty() {
                break;
            }
            if turn % 3 == 0 && let Some(message) = small_left.next() {
                encode(message, &mut wire).expect("within the limits");
            } else if !queue.is_empty() {
                let at = usize::from(*turn) % queue.len();
                let (message, may_go_on) = &mut queue[at];
                if *may_go_on || message.unsent_bytes() == message.body_len() {
                    put(message, &mut wire);
                }
                queue.retain(|(message, _)| message.unsent_bytes() > 0);
            }
            // The link cuts wherever it likes.
            let mut input = wire.split_to(wire.len().min(cut));
            input.unsplit(std::mem::take(&mut wire));
            while let Some(taken) = streams.take(&mut input).expect("as sent") {
                match taken {
                    Taken::Begun(id, bytes) => {
                        prop_assert!(bytes > WHOLE_BYTES_MAX && streams.go_on(id));
                        queue.iter_mut().filter(|(message, _)| message.id() == id).for_each(|(_, go)| *go = true);
                    }
                    Taken::Message(message) if long.contains(&message) => arrived.push(message),
                    Taken::Message(message) => seen_small.push(message),
                    Taken::Part(_) => {}
                    Taken::Leave(..) => prop_assert!(false, "nobody has given leave"),
                }
            }
            wire = input;
        }
        let sent_small: Vec<Message> = small[..small.len() - small_left.len()].to_vec();
        prop_assert_eq!(seen_small, sent_small, "whole frames keep their order");
        prop_assert_eq!(arrived.len(), long.len());
        prop_assert!(long.iter().all(|message| arrived.contains(message)));
        prop_assert_eq!(streams.held_bytes(), 0);
    }

    #[test]
    fn what_fits_in_one_frame_is_encoded_as_ever(message in messages::message()) {
        let mut bytes = BytesMut::new();
        prop_assert!(encode_in_pieces(&message, &mut bytes).expect("within the limits").is_none());
        prop_assert_eq!(bytes, messages::encoded(&message));
    }
}

#[test]
fn a_fragment_that_is_cut_anywhere_waits_for_its_rest() {
    let mut message = long(&replicate(7, 2 * WHOLE_BYTES_MAX));
    let mut wire = BytesMut::new();
    put(&mut message, &mut wire);
    for cut in (0..HEADER_BYTES + 12).chain([wire.len() - 1]) {
        let (mut streams, mut input) = (Streams::default(), BytesMut::from(&wire[..cut]));
        assert!(matches!(streams.take(&mut input), Ok(None)), "{cut}");
        input.extend_from_slice(&wire[cut..]);
        assert!(matches!(streams.take(&mut input), Ok(Some(Taken::Begun(RequestId(7), _)))), "{cut}");
    }
}

#[test]
fn a_large_value_is_copied_neither_into_fragments_nor_out_of_what_they_make() {
    let value = Bytes::from(vec![b'v'; 3 * WHOLE_BYTES_MAX]);
    let mut message = long(&replicate_of(1, &value));
    let within = |part: &Bytes| value.as_ptr_range().contains(&part.as_ptr());
    let (mut streams, mut wire) = (Streams::default(), BytesMut::new());
    while message.unsent_bytes() > 0 {
        let fragment = message.next_fragment();
        assert!(fragment.iter().filter(|part| within(part)).map(Bytes::len).sum::<usize>() > 0);
        let length: usize = fragment.iter().map(Bytes::len).sum();
        assert!(length <= FRAGMENT_FRAME_BYTES_MAX);
        fragment.iter().for_each(|part| wire.put_slice(part));
        match streams.take(&mut wire).expect("as sent").expect("whole") {
            Taken::Begun(id, bytes) => assert!(bytes == message.body_len() && streams.go_on(id)),
            Taken::Part(_) => {}
            Taken::Message(Message::Request(_, Request::Replicate(got))) => {
                let Some(Entry { body: Body::Item(item), .. }) = got.entry else { panic!("an item was sent") };
                assert_eq!(item.value, value);
                assert!(message.unsent_bytes() == 0 && item.value.is_unique(), "nothing else holds it");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_peer_that_does_not_know_fragments_gets_one_frame_or_nothing() {
    for (size, fits) in [(2 * WHOLE_BYTES_MAX, true), (FRAME_BYTES_MAX - 1024, true), (FRAME_BYTES_MAX, false)] {
        let message = replicate(9, size);
        let mut whole = BytesMut::new();
        match (long(&message).into_frame(), encode(&message, &mut BytesMut::new())) {
            (Ok(frame), Ok(())) => {
                assert!(fits);
                frame.iter().for_each(|part| whole.put_slice(part));
                assert_eq!(decode(&mut whole), Ok(Some(message)));
            }
            (Err(FrameError::TooLong(_)), Err(FrameError::TooLong(_))) => assert!(!fits),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_reply_of_many_values_goes_in_fragments_too() {
    let value = Bytes::from(vec![b'v'; 10_000]);
    let found = |_| ReadResult::Found(entry(&value), Seen::default());
    let message = Message::Reply(RequestId(3), Reply::Read((0..200).map(found).collect()));
    let (mut wire, mut streams) = (BytesMut::from(&b""[..]), Streams::default());
    let mut message_in_pieces = long(&message);
    let mut last = None;
    while message_in_pieces.unsent_bytes() > 0 {
        put(&mut message_in_pieces, &mut wire);
        last = streams.take(&mut wire).expect("as sent");
        if let Some(Taken::Begun(id, _)) = last {
            assert!(streams.go_on(id));
        }
    }
    assert_eq!(last, Some(Taken::Message(message)));
}

#[test]
fn nothing_half_received_costs_more_than_was_sent_before_there_is_leave() {
    let mut streams = Streams::default();
    for id in 0..STREAMS_MAX as u64 {
        let opening = fragment(OF_REQUEST, id, REPLICATE, MESSAGE_BYTES_MAX, 0, 100);
        assert!(matches!(streams.take(&mut opening.clone()), Ok(Some(Taken::Begun(..)))));
    }
    assert_eq!(streams.held_bytes(), STREAMS_MAX * 100);
    let mut one_more = fragment(OF_REQUEST, 99, REPLICATE, 1000, 0, 100);
    assert!(matches!(streams.take(&mut one_more), Err(FrameError::Fragment(_))));
    streams.decline(RequestId(0));
    let mut one_more = fragment(OF_REQUEST, 99, REPLICATE, 1000, 0, 100);
    assert!(matches!(streams.take(&mut one_more), Ok(Some(Taken::Begun(..)))));
    // Room for a gigabyte is address space until its bytes come.
    assert!(streams.go_on(RequestId(1)) && !streams.go_on(RequestId(1)) && streams.is_promised_more());
    assert_eq!(streams.held_bytes(), STREAMS_MAX * 100);
}

#[test]
fn fragments_that_no_node_sends_end_the_link() {
    let opening = || fragment(OF_REQUEST, 7, REPLICATE, 1000, 0, 100);
    let bad: [(&str, bool, BytesMut); 14] = [
        ("too long", false, fragment(OF_REQUEST, 7, REPLICATE, MESSAGE_BYTES_MAX + 1, 0, 100)),
        ("empty", false, fragment(OF_REQUEST, 7, REPLICATE, 1000, 0, 0)),
        ("no beginning", false, fragment(OF_REQUEST, 7, REPLICATE, 1000, 100, 100)),
        ("all at once", false, fragment(OF_REQUEST, 7, REPLICATE, 100, 0, 100)),
        ("too much at first", false, fragment(OF_REQUEST, 7, REPLICATE, ITEM_BYTES_MAX, 0, OPENING_BYTES_MAX + 1)),
        ("too large", false, fragment(OF_REQUEST, 7, REPLICATE, ITEM_BYTES_MAX, 0, FRAGMENT_FRAME_BYTES_MAX)),
        ("a reply's", false, fragment(OF_REQUEST, 7, READ_REPLY, 1000, 0, 100)),
        ("a request's", false, fragment(OF_REPLY, 7, REPLICATE, 1000, 0, 100)),
        ("of a fragment", false, fragment(OF_REQUEST, 7, OF_REQUEST, 1000, 0, 100)),
        ("of nothing known", false, fragment(OF_REQUEST, 7, 0x7f, 1000, 0, 100)),
        ("another length", true, fragment(OF_REQUEST, 7, REPLICATE, 1001, 100, 100)),
        ("a gap", true, fragment(OF_REQUEST, 7, REPLICATE, 1000, 101, 100)),
        ("again", true, fragment(OF_REQUEST, 7, REPLICATE, 1000, 0, 100)),
        ("past the end", true, fragment(OF_REQUEST, 7, REPLICATE, 1000, 100, 901)),
    ];
    for (name, after_opening, mut bytes) in bad {
        let mut streams = Streams::default();
        if after_opening {
            assert!(matches!(streams.take(&mut opening()), Ok(Some(Taken::Begun(..)))));
            assert!(streams.go_on(RequestId(7)));
        }
        let error = streams.take(&mut bytes).expect_err(name);
        assert!(error.ends_link(), "{name}: {error}");
    }
    // In its place, but nobody has given leave.
    let mut streams = Streams::default();
    assert!(matches!(streams.take(&mut opening()), Ok(Some(Taken::Begun(..)))));
    assert!(streams.take(&mut fragment(OF_REQUEST, 7, REPLICATE, 1000, 100, 100)).is_err());
    // A message that is no such message.
    let mut streams = Streams::default();
    assert!(matches!(streams.take(&mut opening()), Ok(Some(Taken::Begun(..)))) && streams.go_on(RequestId(7)));
    assert!(streams.take(&mut fragment(OF_REQUEST, 7, REPLICATE, 1000, 100, 900)).is_err());
}

#[test]
fn a_leave_comes_back_and_a_malformed_one_ends_the_link() {
    for (leave, of_reply) in [(Leave::GoOn, false), (Leave::Never, false), (Leave::GoOn, true), (Leave::Never, true)] {
        let mut bytes = BytesMut::new();
        put_leave(RequestId(5), of_reply, leave, &mut bytes);
        assert_eq!(Streams::default().take(&mut bytes.clone()), Ok(Some(Taken::Leave(RequestId(5), leave))));
        bytes[HEADER_BYTES] = 3;
        assert!(Streams::default().take(&mut bytes).is_err());
    }
}

fn long(message: &Message) -> LongMessage {
    encode_in_pieces(message, &mut BytesMut::new()).expect("within the limits").expect("above the limit of one frame")
}

fn put(message: &mut LongMessage, wire: &mut BytesMut) {
    message.next_fragment().iter().for_each(|part| wire.put_slice(part));
}

/// A fragment of `length` zeros at `at` of a body of `body_len`.
fn fragment(frame_kind: u8, id: u64, kind: u8, body_len: usize, at: usize, length: usize) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u32_le(0);
    bytes.put_slice(&[1, frame_kind, 0, 0]);
    bytes.put_u64_le(id);
    bytes.put_u8(kind);
    bytes.put_u32_le(body_len as u32);
    bytes.put_u32_le(at as u32);
    assert_eq!(bytes.len(), FRAGMENT_FIELDS_BYTES);
    bytes.put_bytes(0, length);
    messages::set_length(&mut bytes);
    bytes
}

fn entry(value: &Bytes) -> Entry {
    let (value, marks) = (value.clone(), Marks::NONE);
    Entry {
        version: Version::default(),
        body: Body::Item(Item { value, flags: 1, cas: 2, expiry: Expiry::NEVER, marks }),
    }
}

fn replicate(id: u64, size: usize) -> Message {
    replicate_of(id, &Bytes::from(vec![id as u8; size]))
}

fn replicate_of(id: u64, value: &Bytes) -> Message {
    let key = Key::copy_from(b"k").expect("legal");
    let replicate = Replicate { epoch: Epoch(1), fence: Some(Ballot(1)), key, entry: Some(entry(value)) };
    Message::Request(RequestId(id), Request::Replicate(replicate))
}
