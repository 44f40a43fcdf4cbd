//! Single gets of 100 bytes, asked by 64 tasks or threads on one core: memring's client beside the crate `memcache`.
//!
//! `memring-compare-clients ADDRESS [ROUNDS]`; start it pinned to one core, and the server to another. Each round measures each
//! client once, so that what disturbs the machine disturbs all alike; medians and their ratio are told, of gets a second, and of
//! the processor time that a get costs this process, which hardly depends on what else the machine does. Must not know
//! servers: any that speaks memcached's protocol does.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use memring_client::Options;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Tasks, or threads, that ask.
const ASKERS: usize = 64;

/// Keys that are asked for, one after the other.
const KEYS: usize = 10_000;

const VALUE: [u8; 100] = [b'v'; 100];

/// How long each client is measured in a round, and how long it runs before that.
const MEASURED: Duration = Duration::from_secs(2);
const WARM: Duration = Duration::from_millis(500);

/// Rounds by default.
const ROUNDS: usize = 7;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("compare-clients: {failure}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let address = words.next().ok_or("the address of a server is missing")?;
    let rounds = words.next().map_or(Ok(ROUNDS), |rounds| rounds.parse())?.max(1);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ours = runtime.block_on(ours(&address))?;
    // Its pool hands out whole connections: with as many as threads nobody waits; ten are usual; one shares as ours does.
    let pools = [64u32, 10, 1];
    let mut theirs = Vec::new();
    for size in pools {
        let url = format!("memcache://{address}?protocol=ascii&tcp_nodelay=true");
        theirs.push(memcache::Client::builder().add_server(url.as_str())?.with_max_pool_size(size).build()?);
    }
    let mut rates = vec![Vec::new(); 1 + pools.len()];
    for round in 0..rounds {
        rates[0].push(runtime.block_on(rate_of_ours(&ours))?);
        for (place, client) in theirs.iter().enumerate() {
            rates[place + 1].push(rate_of_theirs(client)?);
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    let medians: Vec<Rate> = rates.into_iter().map(median).collect();
    println!("single gets of 100 B, {ASKERS} at a time, one core for the client, median of {rounds}");
    let tell = |who: &str, rate: &Rate| {
        println!("  {who}: {:.0} a second, {:.2} us of processor each", rate.a_second, rate.processor_us);
    };
    tell(&format!("memring-client, {ASKERS} tasks, 1 connection"), &medians[0]);
    for (size, rate) in pools.iter().zip(&medians[1..]) {
        tell(&format!("memcache 0.21, {ASKERS} threads, {size} connections"), rate);
    }
    let best = medians[1..].iter().map(|rate| rate.a_second).fold(0.0, f64::max);
    let cheapest = medians[1..].iter().map(|rate| rate.processor_us).fold(f64::INFINITY, f64::min);
    let (faster, cheaper) = (medians[0].a_second / best, cheapest / medians[0].processor_us);
    println!(
        "clients: {faster:.2} times as fast as the crate memcache at its best, at 1/{cheaper:.2} of its processor time"
    );
    drop_in(runtime, ours);
    Ok(())
}

/// What a client came to.
#[derive(Clone, Copy)]
struct Rate {
    a_second: f64,
    processor_us: f64,
}

impl Rate {
    fn of(gets: u64, took: Duration, processor: Duration) -> Self {
        let gets = gets.max(1) as f64;
        Self { a_second: gets / took.as_secs_f64(), processor_us: processor.as_secs_f64() * 1e6 / gets }
    }
}

/// Processor time of this process so far, in steps of 10 ms: fields 14 and 15 of proc(5)'s stat, in USER_HZ, which is 100.
fn processor() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let behind_name = stat.rsplit_once(") ").ok_or("/proc/self/stat is malformed")?.1;
    let ticks: u64 = behind_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 10))
}

/// A client's tasks end in its runtime.
fn drop_in(runtime: Runtime, client: memring_client::Client) {
    let _entered = runtime.enter();
    drop(client);
}

async fn ours(address: &str) -> Result<memring_client::Client, Failure> {
    let options = Options { connections: 1, ..Options::default() };
    let client = memring_client::Client::connect_with([address], options).await?;
    for number in 0..KEYS {
        client.set(key(number), VALUE, 0, 0).await?;
    }
    Ok(client)
}

async fn rate_of_ours(client: &memring_client::Client) -> Result<Rate, Failure> {
    let counts = Arc::new(AtomicBool::new(false));
    let is_over = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for asker in 0..ASKERS {
        let (client, counts, is_over) = (client.clone(), Arc::clone(&counts), Arc::clone(&is_over));
        tasks.spawn(async move {
            let mut count = 0u64;
            let mut number = asker * (KEYS / ASKERS);
            while !is_over.load(Ordering::Relaxed) {
                number = (number + 1) % KEYS;
                let value = client.get(key(number)).await?.ok_or("a get missed")?;
                if value.bytes.len() != VALUE.len() {
                    return Err(Failure::from("a value of another length"));
                }
                count += u64::from(counts.load(Ordering::Relaxed));
            }
            Ok(count)
        });
    }
    tokio::time::sleep(WARM).await;
    counts.store(true, Ordering::Relaxed);
    let (began, processor_before) = (Instant::now(), processor()?);
    tokio::time::sleep(MEASURED).await;
    is_over.store(true, Ordering::Relaxed);
    let (took, spent) = (began.elapsed(), processor()? - processor_before);
    let mut sum = 0;
    for count in tasks.join_all().await {
        sum += count?;
    }
    Ok(Rate::of(sum, took, spent))
}

fn rate_of_theirs(client: &memcache::Client) -> Result<Rate, Failure> {
    let counts = AtomicBool::new(false);
    let is_over = AtomicBool::new(false);
    let ask = |asker: usize| {
        let mut count = 0u64;
        let mut number = asker * (KEYS / ASKERS);
        while !is_over.load(Ordering::Relaxed) {
            number = (number + 1) % KEYS;
            let value: Vec<u8> = client.get(&key(number)).map_err(|error| error.to_string())?.ok_or("a get missed")?;
            if value.len() != VALUE.len() {
                return Err("a value of another length".to_owned());
            }
            count += u64::from(counts.load(Ordering::Relaxed));
        }
        Ok(count)
    };
    let (sum, took, spent) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..ASKERS).map(|asker| scope.spawn(move || ask(asker))).collect();
        std::thread::sleep(WARM);
        counts.store(true, Ordering::Relaxed);
        let (began, processor_before) = (Instant::now(), processor());
        std::thread::sleep(MEASURED);
        is_over.store(true, Ordering::Relaxed);
        let (took, processor_after) = (began.elapsed(), processor());
        let sum =
            threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum::<Result<u64, String>>();
        (sum, took, processor_after.and_then(|after| Ok(after - processor_before?)))
    });
    Ok(Rate::of(sum?, took, spent?))
}

fn key(number: usize) -> String {
    format!("compare-{number}")
}

/// Of each figure by itself.
fn median(rates: Vec<Rate>) -> Rate {
    let middle = |of: fn(&Rate) -> f64| {
        let mut figures: Vec<f64> = rates.iter().map(of).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Rate { a_second: middle(|rate| rate.a_second), processor_us: middle(|rate| rate.processor_us) }
}
