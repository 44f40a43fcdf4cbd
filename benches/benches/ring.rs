//! What placement costs: the walk of the ring once a config, and the way from a key to its homes once a request.
//!
//! Must not know liveness or the engine.

use std::hint::black_box;

use memring_benches::{KEYS, key_bytes, keys, quick};
use memring_protocol::key::Key;
use memring_protocol::ring::{Epoch, NodeName, Placement, RingConfig, RingId, RingMember, Share, Standing};
use memring_protocol::version::Slot;

fn main() {
    let mut criterion = quick();
    let mut group = criterion.benchmark_group("ring");
    for nodes in [3, 10, 100] {
        let config = config_of(nodes);
        group.bench_function(format!("placement of {nodes} nodes"), |bencher| {
            bencher.iter(|| Placement::current(black_box(&config)));
        });
    }
    let bytes = key_bytes(0);
    group.bench_function("key of 30 bytes", |bencher| bencher.iter(|| Key::new(black_box(&bytes).clone())));
    let (placement, keys) = (Placement::current(&config_of(10)), keys(KEYS));
    let mut round = keys.iter().cycle();
    group.bench_function("homes of a key", |bencher| {
        bencher.iter(|| placement.homes(round.next().expect("it goes round").partition())[0]);
    });
    group.finish();
    criterion.final_summary();
}

/// A ring of so many equal nodes at the defaults.
fn config_of(nodes: u16) -> RingConfig {
    let members = (0..nodes).map(|number| RingMember {
        name: NodeName::new(&format!("node-{number:03}")).expect("a legal name"),
        slot: Slot::new(number).expect("few nodes"),
        share: Share { zone: String::new(), weight: 100 },
        standing: Standing::Active,
    });
    RingConfig {
        ring_id: RingId(1),
        epoch: Epoch(1),
        cluster: "memring".to_owned(),
        replicas: 3,
        vnodes: 256,
        members: members.collect(),
    }
}
