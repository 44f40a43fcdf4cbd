//! Frames from a peer: whatever decodes could have been sent, and a split changes nothing.
//!
//! Must not know what messages are for.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use memring_protocol::frame::{
    Batch, FrameError, HEADER_BYTES, InPlace, PREAMBLE_BYTES_MAX, Streams, Taken, WIRE_VERSION, decode, decode_preamble,
    encode, encode_preamble, read_in_place,
};
use memring_protocol::message::{Message, Request};

fuzz_target!(|bytes: &[u8]| {
    check_preamble(bytes);
    check_stream(bytes);
    check_fragments(bytes);
    check_in_place(bytes);
    // Once more with a header that gets past the length and the version, so that most inputs reach a body.
    if bytes.len() >= HEADER_BYTES {
        let mut framed = bytes.to_vec();
        framed[..4].copy_from_slice(&((bytes.len() - HEADER_BYTES) as u32).to_le_bytes());
        framed[4] = WIRE_VERSION;
        check_preamble(&framed);
        check_stream(&framed);
        check_fragments(&framed);
        check_in_place(&framed);
    }
});

/// What a receiver has room for, in bytes: a server never gives leave to more than it has.
const ROOM_BYTES: usize = 16 << 20;

/// Takes frame after frame, fragments too: what is half here costs no more than was sent.
fn check_fragments(bytes: &[u8]) {
    let (mut streams, mut buffer) = (Streams::default(), BytesMut::from(bytes));
    loop {
        let before = buffer.len();
        match streams.take(&mut buffer) {
            Ok(Some(Taken::Begun(id, len))) if id.0 % 2 == 0 && len <= ROOM_BYTES => assert!(streams.go_on(id)),
            Ok(Some(Taken::Begun(id, _))) => streams.decline(id),
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) if error.ends_link() => return,
            Err(_) => {}
        }
        assert!(buffer.len() < before && streams.held_bytes() <= bytes.len());
    }
}

/// Takes frame after frame, as a link does.
fn check_stream(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    loop {
        let before = buffer.clone();
        let outcome = decode(&mut buffer);
        let consumed = before.len() - buffer.len();
        assert!(before.ends_with(&buffer), "more than the front was taken");
        match outcome {
            Ok(Some(message)) => {
                let mut again = BytesMut::new();
                encode(&message, &mut again).expect("what was decoded can be encoded");
                assert!(again.len() <= consumed, "a decoded message grew");
                assert_eq!(decode(&mut again), Ok(Some(message)));
                assert!(again.is_empty());
                check_split(&before, consumed);
            }
            Ok(None) => {
                assert_eq!(consumed, 0);
                return;
            }
            Err(error) => {
                assert_eq!(error.ends_link(), !matches!(error, FrameError::UnknownRequest { .. }));
                if error.ends_link() {
                    return;
                }
            }
        }
        assert!(consumed >= HEADER_BYTES);
    }
}

/// What is read in place is what is decoded, or acknowledgements that come back.
fn check_in_place(bytes: &[u8]) {
    match read_in_place(bytes) {
        Ok(Some((InPlace::Replicate(id, view), frame_len))) => {
            let message = Message::Request(id, Request::Replicate(view.to_replicate()));
            assert_eq!(decode(&mut BytesMut::from(&bytes[..frame_len])), Ok(Some(message)));
        }
        Ok(Some((InPlace::Compare(id, view), frame_len))) => {
            assert_eq!(view.holdings().count(), view.len());
            let message = Message::Request(id, Request::Compare(view.to_request()));
            assert_eq!(decode(&mut BytesMut::from(&bytes[..frame_len])), Ok(Some(message)));
        }
        Ok(Some((InPlace::Acknowledgements(read), frame_len))) => {
            let (mut batch, mut again) = (Batch::default(), BytesMut::new());
            read.clone().for_each(|(id, acknowledgement)| batch.push(id, acknowledgement, &mut again));
            batch.end(&mut again);
            // A frame may be fuller than a batch gets, which keeps room for the longest word: then there are two.
            assert!(again.len() <= frame_len + HEADER_BYTES, "a batch grew");
            let (mut rest, mut back) = (&again[..], Vec::new());
            while !rest.is_empty() {
                let Ok(Some((InPlace::Acknowledgements(words), len))) = read_in_place(rest) else {
                    panic!("not a batch")
                };
                back.extend(words);
                rest = &rest[len..];
            }
            assert!(back.into_iter().eq(read));
        }
        Ok(None) => {}
        Err(error) => assert!(error.ends_link()),
    }
}

/// A frame that came in two pieces is the frame that came in one.
fn check_split(bytes: &[u8], frame_len: usize) {
    let split = usize::from(bytes[HEADER_BYTES - 1]) * frame_len / 256;
    let mut buffer = BytesMut::from(&bytes[..split]);
    assert_eq!(decode(&mut buffer), Ok(None));
    assert_eq!(&buffer[..], &bytes[..split]);
    buffer.extend_from_slice(&bytes[split..]);
    assert_eq!(decode(&mut buffer), decode(&mut BytesMut::from(bytes)));
    assert_eq!(buffer.len(), bytes.len() - frame_len);
}

fn check_preamble(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    match decode_preamble(&mut buffer) {
        Ok(Some(preamble)) => {
            let mut again = BytesMut::new();
            encode_preamble(&preamble, &mut again);
            assert!(again.len() <= bytes.len() - buffer.len(), "a preamble grew");
            assert_eq!(decode_preamble(&mut again), Ok(Some(preamble)));
        }
        Ok(None) => assert!(buffer == bytes && bytes.len() < PREAMBLE_BYTES_MAX),
        Err(error) => assert!(error.ends_link()),
    }
}
