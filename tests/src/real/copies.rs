//! Are the copies equal? With three nodes and three copies each holds every item: what each lists and serves by itself.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::clock::{now_us, pause, seconds_since};
use super::history::counters;
use super::registers::{REGISTERS, Seen, key_name, outcome_of_read};
use super::wire::{Ends, Reply, Wire};
use crate::check::checks::{Action, Operation, Outcome};

/// How long after a fault all copies must be equal.
pub const EQUAL_WITHIN: Duration = Duration::from_secs(10);

/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Reads that are under way at a time.
const PIPELINE: usize = 256;

/// Copies that have become equal.
#[derive(Debug)]
pub struct Equal {
    /// Seconds that it took, from when it was first looked at.
    pub seconds: f64,
    /// Items of each node.
    pub items: usize,
    /// Those that differed at the first look.
    pub differed: Vec<String>,
}

/// Waits until all nodes list the same items with the same cas tokens, expiries and sizes.
pub fn wait_equal(nodes: &[SocketAddr]) -> Result<Equal, String> {
    let (begin_us, mut differed) = (now_us(), None);
    loop {
        let listings = nodes.iter().map(|node| listing(*node)).collect::<Result<Vec<_>, _>>()?;
        let seconds = seconds_since(begin_us);
        let differing: Vec<String> = listings[1..].iter().flat_map(|other| differing(&listings[0], other)).collect();
        if differing.is_empty() {
            return Ok(Equal { seconds, items: listings[0].len(), differed: differed.unwrap_or_default() });
        }
        if seconds > EQUAL_WITHIN.as_secs_f64() {
            let (count, some) = (differing.len(), &differing[..differing.len().min(5)]);
            return Err(format!("n1 lists {count} items unlike others after {seconds:.1} s, as {some:?}"));
        }
        differed.get_or_insert(differing);
        pause(LOOK_EVERY);
    }
}

type Listing = BTreeMap<String, String>;

/// What a node itself holds: by key its expiry, cas token and size.
fn listing(node: SocketAddr) -> Result<Listing, String> {
    let lines = Wire::connect(node).and_then(|mut wire| wire.lines("lru_crawler metadump all"));
    let lines = lines.map_err(|error| format!("{node} lru_crawler metadump: {error}"))?;
    let told = ["exp=", "cas=", "size="];
    let row = |line: &String| {
        let mut words = line.split(' ');
        let key = words.next()?.to_owned();
        let facts: Vec<&str> = words.filter(|word| told.iter().any(|name| word.starts_with(name))).collect();
        (facts.len() == told.len()).then(|| (key, facts.join(" ")))
    };
    // It begins with OK.
    lines.iter().skip(1).map(|line| row(line).ok_or_else(|| format!("{node} lists {line:?}"))).collect()
}

fn differing(one: &Listing, other: &Listing) -> Vec<String> {
    let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
    let differs = keys.filter(|key| one.get(*key) != other.get(*key));
    differs.map(|key| format!("{key}: {:?} and {:?}", one.get(key), other.get(key))).collect()
}

/// Registers and counters whose values the nodes, each reading its own copy, do not serve alike.
pub fn values_that_differ(nodes: &[SocketAddr]) -> Result<usize, String> {
    let mut all = Vec::new();
    for node in nodes {
        all.push(read(*node, 0..counters().end, "v f Lone")?);
    }
    let unlike = |key: &usize| all.iter().any(|replies| replies[*key] != all[0][*key]);
    Ok((0..counters().end).filter(unlike).count())
}

/// Reads every register and counter through every node.
pub fn read_everything(nodes: &[SocketAddr]) -> Result<Seen, String> {
    let mut seen = Seen::default();
    for (number, node) in nodes.iter().enumerate() {
        let begun_us = now_us();
        for (key, reply) in read(*node, 0..counters().end, "v f")?.iter().enumerate() {
            let outcome = outcome_of_read(key, reply).unwrap_or_else(|torn| {
                seen.torn.push(torn);
                Outcome::Unread
            });
            if outcome == Outcome::Unread {
                seen.odd.push(format!("a calm cluster answered a read of {}: {}", key_name(key), reply.line));
            }
            let ended_us = now_us();
            seen.history.push(Operation { key, action: Action::Read, node: number, begun_us, ended_us, outcome });
        }
    }
    Ok(seen)
}

fn read(node: SocketAddr, keys: std::ops::Range<usize>, flags: &str) -> Result<Vec<Reply>, String> {
    let told = |error: std::io::Error| format!("{node}: {error}");
    let mut wire = Wire::connect(node).map_err(told)?;
    let mut replies = Vec::with_capacity(keys.len());
    let keys: Vec<usize> = keys.collect();
    for some in keys.chunks(PIPELINE) {
        let requests: String = some.iter().map(|key| format!("mg {} {flags}\r\n", key_name(*key))).collect();
        wire.send(requests.as_bytes()).map_err(told)?;
        for _ in some {
            replies.push(wire.read(Ends::AtOnce).map_err(told)?);
        }
    }
    Ok(replies)
}

/// Creates the counters at 0.
pub fn create_counters(node: SocketAddr) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{node}: {error}");
    let mut wire = Wire::connect(node).map_err(told)?;
    for key in REGISTERS..counters().end {
        let reply = wire.ask(&format!("set {} 0 0 1\r\n0", key_name(key)), Ends::AtOnce).map_err(told)?;
        if reply.line != "STORED" {
            return Err(format!("a calm cluster answered a set: {}", reply.line));
        }
    }
    Ok(())
}
