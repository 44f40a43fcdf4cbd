//! What strangers send: decoding neither panics nor makes a message that could not have been sent.
//!
//! `MEMRING_CASES=1000000 cargo test --release -p memring-protocol --test frame_hostile` is the long run; the cases are
//! the same in every run. Coverage-guided search is in `fuzz/`.

mod messages;

use bytes::{BufMut, BytesMut};
use memring_protocol::frame::{
    Batch, HEADER_BYTES, InPlace, PREAMBLE_BYTES_MAX, Preamble, Streams, Taken, WIRE_VERSION, decode, decode_preamble,
    encode, encode_preamble, read_in_place,
};
use memring_protocol::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};
use memring_protocol::message::{Message, Request};
use proptest::prelude::Strategy;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use self::messages::{encoded, set_length};

/// Hostile frames per run unless MEMRING_CASES says more.
const CASES: u64 = 20_000;

const KINDS: [u8; 15] = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88];

#[test]
fn hostile_frames_never_panic_and_never_become_what_could_not_be_sent() {
    let mut random = SplitMix(0x6d65_6d72_696e_6701);
    let corpus = corpus(512);
    let mut decoded = 0_u64;
    let cases = cases();
    for case in 0..cases {
        let bytes = match case % 4 {
            0 => random_bytes(&mut random),
            1 => random_body(&mut random),
            _ => mutated(&corpus[random.below(corpus.len())], &corpus, &mut random),
        };
        decoded += u64::from(check_hostile(&bytes));
        check_hostile_streams(&bytes);
        check_hostile_in_place(&bytes);
        check_hostile_preamble(&bytes);
    }
    // A loop whose frames are all refused at the header would prove little.
    assert!(decoded > cases / 100, "only {decoded} of {cases} hostile frames were messages");
}

/// Whether the bytes were a message; and if so, that it is one that could have been sent.
fn check_hostile(bytes: &[u8]) -> bool {
    let mut buffer = BytesMut::from(bytes);
    match decode(&mut buffer) {
        Ok(Some(message)) => {
            let consumed = bytes.len() - buffer.len();
            assert!(consumed >= HEADER_BYTES && bytes.ends_with(&buffer));
            let mut again = BytesMut::new();
            encode(&message, &mut again).expect("what was decoded can be encoded");
            assert!(again.len() <= consumed, "a decoded message grew");
            assert_eq!(decode(&mut again).expect("a frame"), Some(message));
            true
        }
        Ok(None) => {
            assert_eq!(&buffer[..], bytes);
            assert!(bytes.len() < HEADER_BYTES + FRAME_BYTES_MAX);
            false
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// What is read in place is what is decoded, or acknowledgements that could have been sent.
fn check_hostile_in_place(bytes: &[u8]) {
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
            for (id, acknowledgement) in read.clone() {
                batch.push(id, acknowledgement, &mut again);
            }
            batch.end(&mut again);
            assert!(again.len() <= frame_len, "a batch grew");
            let Ok(Some((InPlace::Acknowledgements(back), _))) = read_in_place(&again) else { panic!("not a batch") };
            assert!(back.eq(read) && frame_len <= bytes.len());
        }
        Ok(None) => {}
        Err(error) => assert!(error.ends_link()),
    }
}

/// A link takes frame after frame; what is half here costs no more than was sent.
fn check_hostile_streams(bytes: &[u8]) {
    let (mut streams, mut buffer) = (Streams::default(), BytesMut::from(bytes));
    loop {
        let before = buffer.len();
        match streams.take(&mut buffer) {
            Ok(Some(Taken::Begun(id, bytes))) => {
                assert!(bytes <= MESSAGE_BYTES_MAX);
                if id.0 % 2 == 0 { assert!(streams.go_on(id)) } else { streams.decline(id) }
            }
            Ok(Some(Taken::Message(message))) => assert!(encode(&message, &mut BytesMut::new()).is_ok()),
            Ok(Some(Taken::Part(_) | Taken::Leave(..))) => {}
            Ok(None) => break,
            Err(error) if error.ends_link() => break,
            Err(_) => {}
        }
        assert!(buffer.len() < before && streams.held_bytes() <= bytes.len());
    }
}

fn check_hostile_preamble(bytes: &[u8]) {
    let mut buffer = BytesMut::from(bytes);
    match decode_preamble(&mut buffer) {
        Ok(Some(preamble)) => {
            let mut again = BytesMut::new();
            encode_preamble(&preamble, &mut again);
            assert_eq!(decode_preamble(&mut again).expect("a preamble"), Some(preamble));
        }
        Ok(None) => assert!(bytes.len() < PREAMBLE_BYTES_MAX),
        Err(_) => {}
    }
}

/// Messages to mutate, and preambles; the same in every run.
fn corpus(count: usize) -> Vec<BytesMut> {
    let mut runner = TestRunner::deterministic();
    let strategy = messages::message().prop_map(|message| encoded(&message));
    let preamble = messages::node_name().prop_map(|sender| {
        let mut bytes = BytesMut::new();
        encode_preamble(&Preamble::new("memring", sender, 1), &mut bytes);
        bytes
    });
    let mut corpus = Vec::new();
    while corpus.len() < count {
        // Short frames are mutated thousands of times faster, and have the same fields.
        let bytes = strategy.new_tree(&mut runner).expect("no filter rejects it").current();
        if bytes.len() <= 1024 {
            corpus.push(bytes);
        }
        if corpus.len() % 16 == 0 {
            corpus.push(preamble.new_tree(&mut runner).expect("a name").current());
        }
    }
    corpus
}

fn random_bytes(random: &mut SplitMix) -> BytesMut {
    let length = random.below(200);
    (0..length).map(|_| random.next() as u8).collect()
}

/// A true header before a random body, of small numbers for the most part: counts and choices are small.
fn random_body(random: &mut SplitMix) -> BytesMut {
    let mut bytes = BytesMut::zeroed(HEADER_BYTES);
    bytes[4] = WIRE_VERSION;
    bytes[5] = KINDS[random.below(KINDS.len())];
    for _ in 0..random.below(120) {
        let byte = random.next() as u8;
        bytes.put_u8(if random.below(3) > 0 { byte % 14 } else { byte });
    }
    set_length(&mut bytes);
    bytes
}

fn mutated(original: &[u8], corpus: &[BytesMut], random: &mut SplitMix) -> BytesMut {
    let mut bytes = BytesMut::from(original);
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 250, 251, 253, 0xff][random.below(8)],
            2 => bytes[at] = random.next() as u8,
            3 => bytes.truncate(at),
            4 => {
                let from = random.below(bytes.len());
                let piece = bytes.split_off(from);
                bytes.put_slice(&piece[piece.len() / 2..]);
            }
            5 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len());
                bytes.truncate(at);
                bytes.put_slice(&other[from..]);
            }
            _ => bytes.put_bytes(random.next() as u8, random.below(20)),
        }
    }
    // Most must get past the length, or the bodies would not be reached.
    if bytes.len() >= HEADER_BYTES && random.below(4) > 0 {
        set_length(&mut bytes);
    }
    bytes
}

#[expect(clippy::disallowed_methods, reason = "a test's length is chosen from outside; it configures no node")]
fn cases() -> u64 {
    std::env::var("MEMRING_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES)
}

/// Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators" (2014).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}
