//! Frames of replication and comparison, read where they lie: the same as decoded, and many acknowledgements in a frame.
//!
//! What strangers send is `frame_hostile`'s; what the bytes are is `frame_golden`'s.

mod messages;

use bytes::BytesMut;
use memring_protocol::frame::{Batch, FrameError, HEADER_BYTES, InPlace, Streams, decode, read_in_place};
use memring_protocol::limits::ACKNOWLEDGEMENTS_BYTES_MAX;
use memring_protocol::message::{Acknowledgement, Message, Request, RequestId};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

use self::messages::{acknowledgement, encoded, set_length};

const HELD: Acknowledgement = Acknowledgement::Held { synced: true };

type Word = (RequestId, Acknowledgement);

proptest! {
    #[test]
    fn every_acknowledgement_of_a_batch_comes_back_in_its_order(words in vec(word(), 1..200)) {
        let mut frames = batched(&words);
        let mut back: Vec<Word> = Vec::new();
        while !frames.is_empty() {
            let Ok(Some((InPlace::Acknowledgements(read), frame_len))) = read_in_place(&frames) else {
                panic!("a batch that is not read");
            };
            back.extend(read);
            let _ = frames.split_to(frame_len);
        }
        prop_assert_eq!(back, words);
    }

    #[test]
    fn a_message_is_read_in_place_as_it_is_decoded(message in messages::message()) {
        let bytes = encoded(&message);
        match (read_in_place(&bytes).expect("what was sent"), message) {
            (Some((InPlace::Replicate(id, view), frame_len)), Message::Request(sent, Request::Replicate(replicate))) => {
                prop_assert_eq!((id, frame_len), (sent, bytes.len()));
                prop_assert_eq!(view.to_replicate(), replicate);
            }
            (Some((InPlace::Compare(id, view), frame_len)), Message::Request(sent, Request::Compare(compare))) => {
                prop_assert_eq!((id, frame_len), (sent, bytes.len()));
                prop_assert_eq!(view.to_request(), compare);
            }
            (None, message) => {
                let in_place = matches!(message, Message::Request(_, Request::Replicate(_) | Request::Compare(_)));
                prop_assert!(!in_place, "{:?}", message);
            }
            (Some(read), message) => panic!("{message:?} was read as {read:?}"),
        }
    }

    #[test]
    fn a_part_of_a_batch_waits_for_the_rest(words in vec(word(), 1..20), split in any::<proptest::sample::Index>()) {
        let frames = batched(&words);
        let part = &frames[..split.index(frames.len())];
        prop_assert!(matches!(read_in_place(part), Ok(None)));
        let mut buffer = BytesMut::from(part);
        prop_assert_eq!(Streams::default().take(&mut buffer), Ok(None));
        prop_assert_eq!(&buffer[..], part);
    }

    #[test]
    fn a_batch_with_a_byte_less_is_refused_or_ends_with_a_whole_word(words in vec(word(), 1..20)) {
        let mut frames = batched(&words);
        frames.truncate(frames.len() - 1);
        set_length(&mut frames);
        if let Ok(read) = read_in_place(&frames) {
            let Some((InPlace::Acknowledgements(read), _)) = read else { panic!("not a batch: {read:?}") };
            prop_assert_eq!(read.collect::<Vec<_>>(), &words[..words.len() - 1]);
        }
    }
}

#[test]
fn what_a_turn_acknowledges_takes_two_bytes_each() {
    // Every third call went there, and places were taken in some order.
    let id = |number: u64| RequestId((1 << 48) | ((number * 3) << 20) | ((number * 37) % 100));
    let words: Vec<Word> = (0..100).map(|number| (id(number), HELD)).collect();
    assert_eq!(batched(&words).len(), HEADER_BYTES + 2 * words.len());
}

#[test]
fn a_full_batch_is_followed_by_another() {
    let words: Vec<Word> = (0..10_000).map(|number| (RequestId(number << 20), HELD)).collect();
    let (mut frames, mut count, mut back) = (batched(&words), 0, Vec::new());
    while let Some((InPlace::Acknowledgements(read), frame_len)) = read_in_place(&frames).expect("batches") {
        assert!(frame_len <= HEADER_BYTES + ACKNOWLEDGEMENTS_BYTES_MAX);
        back.extend(read);
        let _ = frames.split_to(frame_len);
        count += 1;
    }
    assert_eq!((back, frames.is_empty()), (words, true));
    assert_eq!(count, 5, "a frame has room for two thousand");
}

#[test]
fn an_empty_batch_and_one_above_the_limit_are_refused() {
    let mut frame = batched(&[(RequestId(7), HELD)]);
    frame.truncate(HEADER_BYTES);
    set_length(&mut frame);
    assert!(matches!(read_in_place(&frame), Err(FrameError::Count { count: 0, .. })));
    frame.resize(HEADER_BYTES + ACKNOWLEDGEMENTS_BYTES_MAX + 1, 0);
    set_length(&mut frame);
    // As soon as its header is there.
    assert!(matches!(read_in_place(&frame[..HEADER_BYTES]), Err(FrameError::TooLong(_))));
}

#[test]
fn an_id_past_the_last_is_refused() {
    for (id, count, place) in [(u64::MAX, 1, 0), (u64::MAX, 0, 1), (7 << 20, 0, 0xff)] {
        let mut frame = batched(&[(RequestId(id), HELD)]);
        (frame[HEADER_BYTES], frame[HEADER_BYTES + 1]) = (count, place);
        assert!(matches!(read_in_place(&frame), Err(FrameError::Value { .. })), "{count} and {place} from {id:#x}");
    }
}

#[test]
fn an_older_reader_takes_a_batch_for_the_end() {
    let mut frame = batched(&[(RequestId(7), HELD)]);
    assert_eq!(decode(&mut frame), Err(FrameError::Kind(0x88)));
}

fn batched(words: &[Word]) -> BytesMut {
    let (mut batch, mut out) = (Batch::default(), BytesMut::new());
    for (id, acknowledgement) in words {
        batch.push(*id, *acknowledgement, &mut out);
    }
    batch.end(&mut out);
    out
}

/// Ids near each other, as a link has them, and any others.
fn word() -> impl Strategy<Value = Word> {
    let near = (1_u64 << 28..(1 << 28) + 600, 0_u64..300).prop_map(|(count, place)| count << 20 | place);
    let id = prop_oneof![4 => near, 1 => any::<u64>()].prop_map(RequestId);
    let said = prop_oneof![3 => proptest::strategy::Just(HELD), 1 => acknowledgement()];
    (id, said)
}
