//! A rolling restart of three real nodes with one copy of each item, as an orchestrator does it: SIGTERM, wait for the end, start,
//! wait for `/startupz`. Nearly all items must be there afterwards, and reads must not wait for the node that is away.

use std::net::SocketAddr;
use std::time::Duration;

use super::clock::{now_us, pause, seconds_since, wait_for};
use super::cluster::{Cluster, NODES, Place};
use super::stories::Options;
use super::wire::{Ends, Wire};

/// Items of [`VALUE_BYTES`].
const ITEMS: usize = 200_000;

const VALUE_BYTES: usize = 1024;

/// Requests that are sent before their replies are read.
const TOGETHER: usize = 500;

/// How long a node may take to take its share back.
const RETURNS_WITHIN: Duration = Duration::from_secs(60);

/// A node that cannot lend waits for at least so long; the others are found to have failed later than that.
const WAITS: Duration = Duration::from_millis(500);

/// And ends so soon when it is told again.
const AT_ONCE: Duration = Duration::from_secs(3);

/// The share of items in thousandths that must be there after each node has been restarted.
const KEPT_PERMILLE: usize = 900;

/// Restarts each node in turn, and counts what is left.
pub fn restarts(options: &Options) -> Result<(), String> {
    let mut random = options.random("restarts");
    let more = ["--replicas", "1", "--memory-limit", "512m"];
    let logs = options.logs.join("restarts");
    let mut cluster = Cluster::new([options.binary.as_str(); NODES], Place::Loopback, &more, &logs, &mut random)?;
    cluster.start()?;
    fill(cluster.nodes[0].client).map_err(|error| format!("filling: {error}"))?;
    for number in 0..NODES {
        let other = cluster.nodes[(number + 1) % NODES].client;
        let began = now_us();
        let node = &mut cluster.nodes[number];
        node.stop()?;
        let stopped = seconds_since(began);
        let away = kept(other).map_err(|error| format!("reading while {} is away: {error}", node.name))?;
        let began = now_us();
        node.start()?;
        wait_for(RETURNS_WITHIN, || match node.admin("/startupz")? {
            (200, _) => Ok(()),
            (status, body) => Err(format!("{} /startupz: {status} {body}", node.name)),
        })?;
        let back = seconds_since(began);
        println!(
            "restarts: {} stopped after {stopped:.1} s, {away} of {ITEMS} held meanwhile, back after {back:.1} s",
            node.name
        );
    }
    for node in &cluster.nodes {
        let kept = kept(node.client).map_err(|error| format!("reading in the end: {error}"))?;
        println!(
            "restarts: {kept} of {ITEMS} items through {} ({:.2} %)",
            node.name,
            kept as f64 * 100.0 / ITEMS as f64
        );
        if kept * 1000 < ITEMS * KEPT_PERMILLE {
            return Err(format!("only {kept} of {ITEMS} items were kept"));
        }
    }
    second_signal(&mut cluster)
}

/// A node that cannot lend, for nobody answers, waits; told again, it stops at once.
fn second_signal(cluster: &mut Cluster) -> Result<(), String> {
    cluster.nodes[1].freeze()?;
    cluster.nodes[2].freeze()?;
    let node = &mut cluster.nodes[0];
    node.tell_to_stop()?;
    pause(WAITS);
    if node.has_died() {
        return Err(format!("{} did not wait for its share to be lent", node.name));
    }
    node.tell_to_stop()?;
    let ended = || if node.has_died() { Ok(()) } else { Err("it goes on".to_owned()) };
    wait_for(AT_ONCE, ended).map_err(|why| format!("{} was told twice to stop: {why}", node.name))
}

fn fill(node: SocketAddr) -> std::io::Result<()> {
    let mut wire = Wire::connect(node)?;
    let value = "x".repeat(VALUE_BYTES);
    for first in (0..ITEMS).step_by(TOGETHER) {
        let set = |item: usize| format!("set item-{item} 0 0 {VALUE_BYTES}\r\n{value}\r\n");
        wire.send((first..first + TOGETHER).map(set).collect::<String>().as_bytes())?;
        for _ in 0..TOGETHER {
            let reply = wire.read(Ends::AtOnce)?;
            if reply.line != "STORED" {
                return Err(std::io::Error::other(reply.line));
            }
        }
    }
    Ok(())
}

/// How many items are there.
fn kept(node: SocketAddr) -> std::io::Result<usize> {
    let mut wire = Wire::connect(node)?;
    let mut found = 0;
    for first in (0..ITEMS).step_by(TOGETHER) {
        wire.send((first..first + TOGETHER).map(|item| format!("get item-{item}\r\n")).collect::<String>().as_bytes())?;
        for _ in 0..TOGETHER {
            let reply = wire.read(Ends::WithEnd)?;
            found += usize::from(reply.block.is_some_and(|block| block.len() == VALUE_BYTES));
        }
    }
    Ok(found)
}
