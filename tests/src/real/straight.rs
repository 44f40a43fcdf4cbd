//! The client library on real nodes: do its gets go straight to homes, before and after a node was added; what does a kill cost
//! its reads; and does it work with memcached.
//!
//! What goes straight is told by the servers: `reads_forwarded` counts keys that a node was asked for and is no home of.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use memring_client::{CasOutcome, Client, Error, Hash, Options};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::clock::{now_us, seconds_since, wait_for};
use super::cluster::{Cluster, NODES, Place};
use super::node::Node;

/// Keys of all runs.
const KEYS: usize = 2000;

/// Gets of each key in a round.
const GETS_A_KEY: usize = 10;

/// Tasks that ask at a time.
const TASKS: usize = 64;

/// Of a thousand gets, those that may meet a node that is no home.
const FORWARDED_PERMILLE_MAX: u64 = 10;

/// How long the reads go on before a node is killed, and after it.
const AROUND_A_KILL: Duration = Duration::from_secs(3);

/// How long a client may take to know of a new node.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);

/// Gets at level one go straight to a home: on three nodes with two copies, where one node of three is none, and on four.
pub fn straight(binary: &str, logs: &Path) -> Result<(), String> {
    // Two copies are read and written at level one.
    let more = ["--replicas", "2"];
    let mut cluster = started(binary, &more, &logs.join("straight"))?;
    let runtime = runtime()?;
    let client = connect(&runtime, &cluster)?;
    runtime.block_on(fill(&client))?;
    check_round("three nodes", &runtime, &client, &cluster)?;

    cluster.add(binary, &more)?.start()?;
    cluster.wait_whole()?;
    let epoch = |client: &Client| {
        client.topology().ring().map(|ring| (ring.config().members.len(), ring.config().is_in_transition()))
    };
    wait_for(KNOWN_WITHIN, || {
        // The client's tasks run only while the runtime does.
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
        if epoch(&client) == Some((NODES + 1, false)) { Ok(()) } else { Err(format!("it knows {:?}", epoch(&client))) }
    })
    .map_err(|why| format!("the client does not know of the new node {why}"))?;
    check_round("four nodes", &runtime, &client, &cluster)?;
    let gets = cluster.nodes[NODES].stats()?.get("cmd_get").copied().unwrap_or_default();
    if gets == 0 { Err("the new node was never asked".to_owned()) } else { Ok(()) }
}

/// Reads every key some times, and asks the nodes how many they had to forward.
fn check_round(what: &str, runtime: &Runtime, client: &Client, cluster: &Cluster) -> Result<(), String> {
    let counts = || -> Result<(u64, u64), String> {
        let mut sums = (0, 0);
        for node in &cluster.nodes {
            let stats = node.stats()?;
            sums.0 += stats.get("reads_forwarded").copied().ok_or("reads_forwarded is not told")?;
            sums.1 += stats.get("cmd_get").copied().unwrap_or_default();
        }
        Ok(sums)
    };
    let before = counts()?;
    let began = now_us();
    runtime.block_on(read_all(client))?;
    let seconds = seconds_since(began);
    let after = counts()?;
    let (forwarded, gets) = (after.0 - before.0, after.1 - before.1);
    println!("client: {what}: {gets} gets in {seconds:.1} s, {forwarded} met a node that is no home");
    if gets < KEYS as u64 || forwarded * 1000 > gets * FORWARDED_PERMILLE_MAX {
        return Err(format!("{what}: {forwarded} of {gets} gets were forwarded"));
    }
    Ok(())
}

/// At the defaults, with three copies at quorum: no read fails or misses while a node is killed and while it comes back.
pub fn killed(binary: &str, logs: &Path) -> Result<(), String> {
    let mut cluster = started(binary, &[], &logs.join("killed"))?;
    let seeds: Vec<String> = cluster.clients().iter().map(SocketAddr::to_string).collect();
    let is_over = Arc::new(AtomicBool::new(false));
    let (ready, filled) = std::sync::mpsc::channel();
    let reads = {
        let is_over = Arc::clone(&is_over);
        move || -> Result<Reads, String> {
            let runtime = runtime()?;
            runtime.block_on(async move {
                let client = Client::connect(seeds).await.map_err(told)?;
                fill(&client).await?;
                let _ = ready.send(());
                Ok(read_until(&client, &is_over).await)
            })
        }
    };
    let (reads, outcome) = std::thread::scope(|scope| {
        let reads = scope.spawn(reads);
        let mut faults = || -> Result<(), String> {
            filled.recv().map_err(|_| "the reader ended before it began")?;
            super::clock::pause(AROUND_A_KILL);
            cluster.nodes[1].kill();
            super::clock::pause(AROUND_A_KILL);
            cluster.nodes[1].start()?;
            cluster.wait_whole()?;
            super::clock::pause(AROUND_A_KILL);
            Ok(())
        };
        let outcome = faults();
        is_over.store(true, Ordering::Relaxed);
        (reads.join().expect("the reader does not panic"), outcome)
    });
    outcome?;
    let Reads { count, failed, missed, longest_us, repeats, first_failure } = reads?;
    println!(
        "client: a node killed and back: {count} reads, {failed} failed, {missed} missed, {repeats} asked again, the longest \
         {} ms",
        longest_us / 1000
    );
    match first_failure {
        Some(failure) => Err(format!("{failed} reads failed, the first: {failure}")),
        None if missed > 0 => Err(format!("{missed} of {count} reads missed what had been written")),
        None if count < KEYS => Err(format!("only {count} reads")),
        None => Ok(()),
    }
}

/// What readers saw.
#[derive(Debug, Default)]
struct Reads {
    count: usize,
    failed: usize,
    missed: usize,
    longest_us: u64,
    repeats: u64,
    first_failure: Option<String>,
}

async fn read_until(client: &Client, is_over: &Arc<AtomicBool>) -> Reads {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (client, is_over, next) = (client.clone(), Arc::clone(is_over), Arc::clone(&next));
        tasks.spawn(async move {
            let mut seen = Reads::default();
            while !is_over.load(Ordering::Relaxed) {
                let began = now_us();
                let read = client.get(key(next.fetch_add(1, Ordering::Relaxed) % KEYS)).await;
                seen.count += 1;
                seen.longest_us = seen.longest_us.max(now_us() - began);
                match read {
                    Ok(Some(_)) => {}
                    Ok(None) => seen.missed += 1,
                    Err(error) => {
                        seen.failed += 1;
                        seen.first_failure.get_or_insert_with(|| told(error));
                    }
                }
            }
            seen
        });
    }
    let mut all = Reads { repeats: 0, ..Reads::default() };
    for seen in tasks.join_all().await {
        all.count += seen.count;
        all.failed += seen.failed;
        all.missed += seen.missed;
        all.longest_us = all.longest_us.max(seen.longest_us);
        all.first_failure = all.first_failure.or(seen.first_failure);
    }
    all.repeats = client.calls_and_repeats().1;
    all
}

/// Every call against memcached servers, whose keys are spread by either hash.
pub fn memcached(binary: &str, logs: &Path) -> Result<(), String> {
    std::fs::create_dir_all(logs).map_err(|error| error.to_string())?;
    let mut servers = Vec::new();
    for number in 0..3 {
        let port = free_port()?;
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let words = [binary, "-p", &port.to_string(), "-U", "0", "-l", "127.0.0.1", "-u", "root"].map(str::to_owned);
        let mut server = Node::new(format!("memcached-{number}"), address, address, words.to_vec(), logs);
        server.start()?;
        wait_for(Duration::from_secs(10), || server.stats().map(|_| ()))?;
        servers.push(server);
    }
    let runtime = runtime()?;
    for hash in [Hash::Ketama, Hash::Jump] {
        let seeds = servers.iter().map(|server| server.client.to_string());
        runtime.block_on(async {
            let client = Client::connect_with(seeds, Options { hash, ..Options::default() }).await.map_err(told)?;
            if client.topology().is_one_cache() {
                return Err("three memcached servers were taken for one cache".to_owned());
            }
            client.flush_all(None).await.map_err(told)?;
            fill(&client).await?;
            read_all(&client).await?;
            say_everything(&client).await.map_err(told)?.map_err(str::to_owned)
        })?;
    }
    for server in &servers {
        let items = server.stats()?.get("curr_items").copied().unwrap_or_default();
        if items < KEYS as u64 / 10 {
            return Err(format!("{} has {items} of {KEYS} items", server.name));
        }
    }
    println!("client: memcached: {KEYS} keys on three servers by ketama and by jump hash, and every call");
    Ok(())
}

/// Every call once, in a way that tells whether it did what it says. The inner error names the one that did not.
async fn say_everything(client: &Client) -> Result<Result<(), &'static str>, Error> {
    let check = |holds: bool, what: &'static str| if holds { Ok(()) } else { Err(what) };
    let all = async {
        client.delete("e").await?;
        let mut seen = vec![check(!client.replace("e", "x", 0, 0).await?, "replace of nothing")];
        seen.push(check(!client.append("e", "x").await?, "append to nothing"));
        seen.push(check(client.add("e", "b", 7, 0).await?, "add"));
        seen.push(check(!client.add("e", "b", 7, 0).await?, "add of what is there"));
        seen.push(check(client.append("e", "c").await? && client.prepend("e", "a").await?, "append and prepend"));
        let value = client.gets("e").await?;
        let token = value.as_ref().and_then(|value| value.cas).unwrap_or_default();
        seen.push(check(value.is_some_and(|value| value.bytes == "abc" && value.flags == 7), "gets"));
        seen.push(check(client.cas("e", "1", 0, 0, token).await? == CasOutcome::Stored, "cas"));
        seen.push(check(client.cas("e", "1", 0, 0, token).await? == CasOutcome::Exists, "cas of an old token"));
        seen.push(check(client.increase("e", 41).await? == Some(42), "increase"));
        seen.push(check(client.decrease("e", 2).await? == Some(40), "decrease"));
        seen.push(check(client.touch("e", 60).await?, "touch"));
        seen.push(check(client.replace("e", "r", 0, 0).await?, "replace"));
        seen.push(check(client.delete("e").await? && !client.delete("e").await?, "delete"));
        seen.push(check(client.cas("e", "1", 0, 0, token).await? == CasOutcome::NotFound, "cas of nothing"));
        seen.push(check(client.increase("e", 1).await?.is_none(), "increase of nothing"));
        let at_all = client.at(memring_client::Level::All);
        at_all.set("e", "5", 3, 0).await?;
        seen.push(check(at_all.increase("e", 1).await? == Some(6), "increase at a level"));
        let value = at_all.gets("e").await?;
        seen.push(check(value.is_some_and(|value| value.bytes == "6" && value.cas.is_some()), "gets at a level"));
        seen.push(check(at_all.touch("e", 60).await? && at_all.delete("e").await?, "touch and delete at a level"));
        seen.push(check(client.stats("").await?.iter().all(|(_, stats)| stats.is_ok()), "stats"));
        Ok(seen.into_iter().collect::<Result<(), &'static str>>())
    };
    all.await
}

/// The same calls against a memring cluster at its defaults.
pub fn every_call(binary: &str, logs: &Path) -> Result<(), String> {
    let cluster = started(binary, &[], &logs.join("calls"))?;
    let runtime = runtime()?;
    let client = connect(&runtime, &cluster)?;
    runtime.block_on(async {
        say_everything(&client).await.map_err(told)?.map_err(str::to_owned)?;
        fill(&client).await?;
        client.flush_all(None).await.map_err(told)?;
        match client.get(key(1)).await.map_err(told)? {
            None => Ok(()),
            Some(_) => Err("flush_all left something".to_owned()),
        }
    })
}

fn started(binary: &str, more: &[&str], logs: &Path) -> Result<Cluster, String> {
    let mut random = StdRng::seed_from_u64(u64::from(std::process::id()) ^ now_us());
    let mut cluster = Cluster::new([binary; NODES], Place::Loopback, more, logs, &mut random)?;
    cluster.start()?;
    Ok(cluster)
}

fn runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

fn connect(runtime: &Runtime, cluster: &Cluster) -> Result<Client, String> {
    // One node is enough to find the others.
    runtime.block_on(Client::connect([cluster.nodes[0].client.to_string()])).map_err(told)
}

fn told(error: Error) -> String {
    match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn key(number: usize) -> String {
    format!("straight-{number}")
}

async fn fill(client: &Client) -> Result<(), String> {
    for number in 0..KEYS {
        client.set(key(number), format!("value of {number}"), 0, 0).await.map_err(told)?;
    }
    Ok(())
}

/// Gets all keys some times, [`TASKS`] at a time, and by multi-gets once.
async fn read_all(client: &Client) -> Result<(), String> {
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let client = client.clone();
        tasks.spawn(async move {
            for number in (0..KEYS * GETS_A_KEY).skip(task).step_by(TASKS) {
                let (number, value) = (number % KEYS, client.get(key(number % KEYS)).await.map_err(told)?);
                if value.is_none_or(|value| value.bytes != format!("value of {number}")) {
                    return Err(format!("{} is not what was set", key(number)));
                }
            }
            Ok(())
        });
    }
    for outcome in tasks.join_all().await {
        outcome?;
    }
    let keys: Vec<String> = (0..KEYS).map(key).collect();
    let found = client.get_many(&keys).await.map_err(|error| error.to_string())?;
    let is_right = |(number, value): (usize, &Option<memring_client::Value>)| {
        value.as_ref().is_some_and(|value| value.bytes == format!("value of {number}"))
    };
    if found.iter().enumerate().all(is_right) { Ok(()) } else { Err("a multi-get is not what was set".to_owned()) }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    Ok(listener.local_addr().map_err(|error| error.to_string())?.port())
}
