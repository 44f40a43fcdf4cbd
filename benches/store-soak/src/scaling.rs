//! Two threads on keys of their own: on one store, and on a store each. What one store gives less than two is what its
//! locks and its shared counters cost.
//!
//! Must not know what is evicted: all is held.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use memring_engine::store::Store;
use memring_protocol::entry::Expiry;
use memring_protocol::key::Key;

use super::Bars;
use super::load::{BEGIN, Chance, Writer, get, key, set, store_of};
use super::measure::{median, moment, waited};

/// Rounds of all three settings, one after the other: what else the machine does meets all alike.
const ROUNDS: usize = 9;

/// How long each setting runs in a round.
const WINDOW: Duration = Duration::from_millis(500);

/// Keys of each thread.
const KEYS: u64 = 20_000;

const VALUE_BYTES: usize = 1 << 10;

/// Gets for each set, and the set.
const CYCLE: u64 = 10;

/// Operations between two looks at the clock.
const STRIDE: u64 = 256;

/// What one store must give of what two stores give, both with two threads: disjoint keys share little but locks.
const RATIO_MIN: f64 = 0.9;

/// A thread's keys and writes, kept from round to round.
struct Client {
    keys: Vec<Key>,
    writer: Writer,
    chance: Chance,
}

pub(crate) fn run(memory_bytes: usize, bars: &mut Bars) {
    let shared = store_of(memory_bytes);
    let own = [store_of(memory_bytes), store_of(memory_bytes)];
    let mut clients = [0, 1].map(|number| Client {
        keys: (number * KEYS..(number + 1) * KEYS).map(key).collect(),
        writer: Writer::new(),
        chance: Chance(number),
    });
    for (client, own) in clients.iter_mut().zip(&own) {
        for key in &client.keys {
            for store in [&shared, own] {
                set(store, BEGIN, key, client.writer.entry(VALUE_BYTES, Expiry::NEVER));
            }
        }
    }
    let (mut alone, mut together, mut apart) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let [first, second] = &mut clients;
        alone.push(per_second(vec![(&shared, first)]));
        together.push(per_second(vec![(&shared, first), (&shared, second)]));
        apart.push(per_second(vec![(&own[0], first), (&own[1], second)]));
    }
    let pairs = |above: &[f64], below: &[f64]| median(above.iter().zip(below).map(|(a, b)| a / b).collect());
    println!("scaling: gets and sets of 1 KB, {} to 1, medians of {ROUNDS} rounds", CYCLE - 1);
    for (name, figures) in [("one thread", &alone), ("two threads, one store", &together), ("two stores", &apart)] {
        println!(
            "  {name}: {:.0} thousand/s, {:.2} of one thread",
            median(figures.clone()) / 1e3,
            pairs(figures, &alone)
        );
    }
    bars.at_least("one store with two threads, of two stores", pairs(&together, &apart), RATIO_MIN);
}

/// Operations a second of all clients together, each in a thread, on its store. While other processes have a thread's
/// processor its clock stands still; while another thread has the lock it does not.
fn per_second(clients: Vec<(&Store, &mut Client)>) -> f64 {
    let barrier = &Barrier::new(clients.len());
    thread::scope(|scope| {
        let start = |(store, client)| scope.spawn(move || measured(store, client, barrier));
        let threads: Vec<_> = clients.into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().expect("a client does not panic")).sum()
    })
}

fn measured(store: &Store, client: &mut Client, barrier: &Barrier) -> f64 {
    let mut reply = Vec::with_capacity(VALUE_BYTES);
    barrier.wait();
    let (begin, waited_before, mut done) = (moment(), waited(), 0);
    loop {
        for _ in 0..STRIDE {
            let key = &client.keys[client.chance.below(KEYS) as usize];
            if done % CYCLE == 0 {
                set(store, BEGIN, key, client.writer.entry(VALUE_BYTES, Expiry::NEVER));
            } else {
                get(store, BEGIN, key, &mut reply);
                assert_eq!(reply.len(), VALUE_BYTES, "all are held");
            }
            done += 1;
        }
        let took = begin.elapsed();
        if took >= WINDOW {
            return done as f64 / took.saturating_sub(waited() - waited_before).as_secs_f64();
        }
    }
}
