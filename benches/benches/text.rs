//! What the memcached grammar costs: commands from bytes, responses to bytes.
//!
//! Must not know a node: what a command does is measured elsewhere.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{Criterion, Throughput};
use memring_benches::{item, key_bytes, quick, value};
use memring_protocol::text::{Command, Response, Step, StoreVerb, TextLimits, encode_get, encode_store, parse};

const LIMITS: TextLimits = TextLimits { item_bytes_max: 1 << 20, get_line_bytes_max: 8 << 20 };

/// A multi-get of Grafana's clients.
const MANY: usize = 100;

fn main() {
    let mut criterion = quick();
    parsing(&mut criterion);
    encoding(&mut criterion);
    criterion.final_summary();
}

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text/parse");
    for (name, input) in [
        ("get of 1 key", get_of(1)),
        ("get of 100 keys", get_of(MANY)),
        ("mg k v t", meta_get_of()),
        ("set of 1 KB", set_of(1 << 10)),
        ("set of 10 KB", set_of(10 << 10)),
    ] {
        group.throughput(Throughput::Bytes(input.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| bytes_named(&parse(black_box(&input), &LIMITS))));
    }
    group.finish();
}

fn encoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("text/encode");
    for (name, response) in [
        ("STORED", Response::Stored),
        ("number", Response::Number(1_234_567)),
        ("miss", values_of(0, 0)),
        ("1 value of 1 KB", values_of(1, 1 << 10)),
        ("1 value of 10 KB", values_of(1, 10 << 10)),
        ("100 values of 100 B", values_of(MANY, 100)),
    ] {
        let mut out = BytesMut::with_capacity(1 << 16);
        response.encode(&mut out);
        group.throughput(Throughput::Bytes(out.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                black_box(&response).encode(&mut out);
                out.len()
            });
        });
    }
    group.finish();
}

fn get_of(count: usize) -> BytesMut {
    let keys: Vec<_> = (0..count).map(key_bytes).collect();
    let mut out = BytesMut::new();
    encode_get(keys.iter().map(|key| &key[..]), false, &mut out);
    out
}

fn meta_get_of() -> BytesMut {
    BytesMut::from(&[b"mg ", &key_bytes(0)[..], b" v t\r\n"].concat()[..])
}

fn set_of(bytes: usize) -> BytesMut {
    let mut out = BytesMut::new();
    encode_store(StoreVerb::Set, &key_bytes(0), 0, 0, &value(bytes), false, &mut out);
    out
}

fn values_of(count: usize, bytes: usize) -> Response {
    let value = value(bytes);
    let values = (0..count).map(|number| (key_bytes(number), item(&value))).collect();
    Response::Values { with_cas: false, values }
}

/// Looks at all that a command names: keys are cut out of the line only when they are asked for.
fn bytes_named(step: &Step<'_>) -> usize {
    match step {
        Step::Command { command: Command::Get { keys, .. }, .. } => keys.iter().map(<[u8]>::len).sum(),
        Step::Command { command: Command::Store { key, value, .. }, .. } => key.len() + value.len(),
        Step::Command { command: Command::MetaGet(request), .. } => usize::from(black_box(request).wants_value()),
        other => panic!("not what was sent: {other:?}"),
    }
}
