//! Reads at quorum on a ring of three, by keys that all nodes hold: the coordinator's own copy, and one peer's version.
//!
//! Must not know sockets: see `cluster`.

use bytes::Bytes;
use memring_protocol::text::{Command, Response, Step, TextLimits, parse};

use super::cluster::{COORDINATOR, Ring};

const LIMITS: TextLimits = TextLimits { item_bytes_max: 1 << 20, get_line_bytes_max: 8 << 20 };

const VALUE_BYTES: usize = 1 << 10;

/// Keys that requests go round.
const HELD: usize = 2_000;

/// Keys of one large request.
const MANY: usize = 100;

/// Gets that one read of a socket brings.
const PIPELINED: usize = 32;

/// Runs a case; false if it is none of these. `-replica` is what the peers alone do for the same requests.
pub(crate) fn run(case: &str, times: usize) -> bool {
    let (keys_each, replica) = match case {
        "cluster-get-quorum" => (1, false),
        "cluster-get-quorum-replica" => (1, true),
        "cluster-mget-quorum" => (MANY, false),
        "cluster-mget-quorum-replica" => (MANY, true),
        "cluster-get-quorum-pipelined" => return pipelined(times),
        _ => return false,
    };
    let mut ring = filled();
    let lines: Vec<String> = (0..HELD / keys_each).map(|number| get_line(number * keys_each, keys_each)).collect();
    let gets: Vec<Command<'_>> = lines.iter().map(|line| command(line)).collect();
    if replica {
        answer(&mut ring, &gets, times);
    } else {
        for get in gets.iter().cycle().take(times) {
            ring.begin(get);
            let mut responses = ring.carry();
            assert!(responses.next().is_some_and(|response| has_values(&response, keys_each)));
        }
    }
    true
}

/// Whether the response has so many values.
fn has_values(response: &Response, count: usize) -> bool {
    match response {
        Response::Values { values, .. } => values.len() == count,
        Response::Blocks(blocks) => (count * VALUE_BYTES..count * (VALUE_BYTES + 64)).contains(&blocks.len()),
        _ => false,
    }
}

/// One key's part of [`PIPELINED`] gets that come together.
fn pipelined(times: usize) -> bool {
    assert!(times.is_multiple_of(PIPELINED), "whole pipelines");
    let mut ring = filled();
    let lines: Vec<String> = (0..HELD / PIPELINED * PIPELINED).map(|number| get_line(number, 1)).collect();
    let gets: Vec<Command<'_>> = lines.iter().map(|line| command(line)).collect();
    for together in gets.chunks(PIPELINED).cycle().take(times / PIPELINED) {
        ring.begin_together(together);
        assert_eq!(ring.carry().count(), PIPELINED, "all are answered");
    }
    true
}

/// What peers do with the questions of all requests, again and again.
fn answer(ring: &mut Ring, gets: &[Command<'_>], times: usize) {
    let peers = (0..=2).filter(|node| *node != COORDINATOR);
    let mut questions: Vec<Vec<(usize, Bytes)>> = Vec::new();
    for get in gets {
        ring.begin(get);
        let asked = peers.clone().map(|peer| (peer, Bytes::copy_from_slice(ring.waiting_for(peer))));
        questions.push(asked.filter(|(_, frames)| !frames.is_empty()).collect());
        assert_eq!(ring.carry().count(), 1, "all are answered");
    }
    for asked in questions.iter().cycle().take(times) {
        for (peer, frames) in asked {
            assert!(!ring.answer(*peer, frames).is_empty());
        }
    }
}

fn filled() -> Ring {
    let mut ring = Ring::founded();
    let value = "v".repeat(VALUE_BYTES);
    for number in 0..HELD {
        let line = format!("set {} 0 0 {VALUE_BYTES}\r\n{value}\r\n", key(number));
        assert_eq!(ring.write(&command(&line)), Response::Stored);
    }
    ring
}

fn get_line(first: usize, count: usize) -> String {
    let keys: Vec<String> = (first..first + count).map(key).collect();
    format!("get {}\r\n", keys.join(" "))
}

fn key(number: usize) -> String {
    format!("bench:object:{number:017}")
}

fn command(line: &str) -> Command<'_> {
    let Step::Command { command, .. } = parse(line.as_bytes(), &LIMITS) else { panic!("not a command: {line:?}") };
    command
}
