//! What the frames between nodes cost: messages to bytes, and bytes to messages.
//!
//! Must not know links or what a message is for.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion};
use memring_benches::{ballot, entry, key, keys, quick, value};
use memring_protocol::entry::Seen;
use memring_protocol::frame::{decode, encode};
use memring_protocol::message::{
    Acknowledgement, Message, ReadRequest, ReadResult, Replicate, Reply, Request, RequestId, Want,
};
use memring_protocol::ring::Epoch;

/// A multi-get of Grafana's clients, all its keys on one home.
const MANY: usize = 100;

const ID: RequestId = RequestId(7);

fn main() {
    let mut criterion = quick();
    let messages = [
        ("replicate of 1 KB", replicate_of(1 << 10)),
        ("acknowledgement", Message::Reply(ID, Reply::Replicate(Acknowledgement::Held { synced: true }))),
        ("read of 1 key", read_of(1)),
        ("read of 100 keys", read_of(MANY)),
        ("reply of 100 values of 1 KB", found(MANY, 1 << 10)),
    ];
    encoding(&mut criterion, &messages);
    decoding(&mut criterion, &messages);
    criterion.final_summary();
}

fn encoding(criterion: &mut Criterion, messages: &[(&str, Message)]) {
    let mut group = criterion.benchmark_group("frame/encode");
    for (name, message) in messages {
        let mut out = BytesMut::with_capacity(1 << 18);
        group.bench_function(*name, |bencher| {
            bencher.iter(|| {
                out.clear();
                encode(black_box(message), &mut out).expect("within all limits");
                out.len()
            });
        });
    }
    group.finish();
}

fn decoding(criterion: &mut Criterion, messages: &[(&str, Message)]) {
    let mut group = criterion.benchmark_group("frame/decode");
    for (name, message) in messages {
        let mut bytes = BytesMut::new();
        encode(message, &mut bytes).expect("within all limits");
        group.bench_function(*name, |bencher| {
            // Decoding eats its buffer, so each turn gets one of its own; filling it is not measured.
            bencher.iter_batched_ref(
                || bytes.clone(),
                |buffer| decode(buffer).expect("as encoded").expect("the whole frame"),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn replicate_of(bytes: usize) -> Message {
    let entry = Some(entry(0, &value(bytes)));
    let replicate = Replicate { epoch: Epoch(1), fence: Some(ballot()), key: key(0), entry };
    Message::Request(ID, Request::Replicate(replicate))
}

fn read_of(count: usize) -> Message {
    let read = ReadRequest { epoch: Epoch(1), want: Want::Value, noticed: true, keys: keys(count) };
    Message::Request(ID, Request::Read(read))
}

fn found(count: usize, bytes: usize) -> Message {
    let value = value(bytes);
    let results = (0..count).map(|number| ReadResult::Found(entry(number as u64, &value), Seen::default())).collect();
    Message::Reply(ID, Reply::Read(results))
}
