//! How even the ring is and how little moves when it grows, over many random sets of node names.
//!
//! Figures to compare with: replica load of 10 nodes with 256 vnodes strays to max/mean 1.10 in one ring of twenty.

use memring_protocol::key::{PARTITIONS, Partition, Token};
use memring_protocol::ring::{Epoch, NodeName, Placement, RingConfig, RingId, RingMember, Share, Standing};
use memring_protocol::version::Slot;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const SETS: u64 = 30;
const KEYS: usize = 1_000_000;
const NODES: usize = 10;
const REPLICAS: u8 = 3;
const VNODES: u16 = 256;
/// 95 % of 30 sets, rounded up.
const EVEN_SETS_MIN: usize = 29;
const MAX_TO_MEAN_MAX: f64 = 1.11;

fn ring(names: &[String]) -> RingConfig {
    let members = names.iter().enumerate().map(|(slot, name)| RingMember {
        name: NodeName::new(name).expect("a legal name"),
        slot: Slot::new(slot as u16).expect("few nodes"),
        share: Share { zone: String::new(), weight: 100 },
        standing: Standing::Active,
    });
    RingConfig {
        ring_id: RingId(1),
        epoch: Epoch(1),
        cluster: "memring".to_owned(),
        replicas: REPLICAS,
        vnodes: VNODES,
        members: members.collect(),
    }
}

/// Random names of `count` nodes.
fn random_names(seed: u64, count: usize) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count).map(|_| format!("node-{:012x}", random.next_u64() >> 16)).collect()
}

/// How many of the keys lie in each partition.
fn keys_by_partition() -> Vec<u64> {
    let mut counts = vec![0; usize::from(PARTITIONS)];
    for key in 0..KEYS {
        counts[Token::of(format!("key:{key}").as_bytes()).partition().index()] += 1;
    }
    counts
}

/// Keys that each node keeps a copy of.
fn load(placement: &Placement, keys: &[u64], nodes: usize) -> Vec<u64> {
    let mut load = vec![0; nodes];
    for partition in Partition::all() {
        for home in placement.homes(partition) {
            load[home.index()] += keys[partition.index()];
        }
    }
    load
}

#[test]
fn copies_are_spread_evenly_and_few_move() {
    let keys = keys_by_partition();
    let mut even_sets = 0;
    let mut worst = 0.0_f64;
    let mut shares = Vec::new();
    for seed in 0..SETS {
        let names = random_names(seed, NODES + 1);
        let before = Placement::current(&ring(&names[..NODES]));
        let after = Placement::current(&ring(&names));

        let load_before = load(&before, &keys, NODES);
        let mean = (KEYS * usize::from(REPLICAS) / NODES) as f64;
        let max_to_mean = *load_before.iter().max().expect("nodes") as f64 / mean;
        even_sets += usize::from(max_to_mean <= MAX_TO_MEAN_MAX);
        worst = worst.max(max_to_mean);

        let newcomer = Slot::new(NODES as u16).expect("small");
        let mut moved = 0;
        for partition in Partition::all() {
            let old = before.homes(partition);
            for home in after.homes(partition).iter().filter(|home| !old.contains(home)) {
                assert_eq!(*home, newcomer, "seed {seed}: a copy moved between old nodes in {partition:?}");
                moved += keys[partition.index()];
            }
        }
        let share = moved as f64 / (KEYS * usize::from(REPLICAS)) as f64 * (NODES + 1) as f64;
        println!("seed {seed:2}: max/mean {max_to_mean:.3}, copies moved by node 11: {share:.3} of 1/11");
        shares.push(share);
    }
    let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
    let most = shares.iter().copied().fold(0.0, f64::max);
    println!(
        "max/mean <= {MAX_TO_MEAN_MAX}: {even_sets} of {SETS} sets, worst {worst:.3}; moved {least:.3} to {most:.3} of 1/11"
    );
    assert!(even_sets >= EVEN_SETS_MIN);
    assert!(shares.iter().all(|share| (0.9..=1.1).contains(share)));
}
