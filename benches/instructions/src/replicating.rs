//! Sets of 1 KB at quorum in a ring of three, as busy links carry them: so many at a time.
//!
//! Must not know how a message is laid out, but for the header of its frame.

use bytes::BytesMut;
use memring_protocol::frame::{Batch, HEADER_BYTES};
use memring_protocol::message::{Acknowledgement, RequestId};
use memring_protocol::text::{Command, Step, StoreVerb, TextLimits, encode_store, parse};

use crate::ring::{NODES, Ring};

const LIMITS: TextLimits = TextLimits { item_bytes_max: 1 << 20, get_line_bytes_max: 8 << 20 };

const VALUE_BYTES: usize = 1 << 10;

/// Keys that are gone round. All are written before anything is counted, so that every term has begun.
const KEYS: usize = 600;

/// Sets that a link's task meets in one turn: a busy server's.
const AT_ONCE: usize = 20;

/// Sets whose frames are recorded for the case of the replica, in every run, so that all start alike.
const RECORDED: usize = 2000;

/// Runs a case; false if it is none of these.
pub(crate) fn run(case: &str, times: usize) -> bool {
    match case {
        "cluster-set-quorum" => quorum(times),
        "cluster-set-coordinator" => coordinator(times),
        "cluster-set-replica" => replica(times),
        _ => return false,
    }
    true
}

/// All that the three nodes do, for sets that one of them is asked for: it leads the partitions of a third of the keys.
fn quorum(times: usize) {
    let requests = requests();
    let commands = commands(&requests);
    let mut ring = Ring::founded();
    write_all(&mut ring, &commands);
    let before = ring.answered;
    for (number, command) in commands.iter().cycle().take(times).enumerate() {
        ring.request(0, command);
        if (number + 1) % AT_ONCE == 0 {
            ring.settle();
        }
    }
    ring.settle();
    assert_eq!(ring.answered - before, times as u64, "every set is answered");
}

/// What the node does that is asked and leads the partitions: the other two's acknowledgements are made up.
fn coordinator(times: usize) {
    let requests = requests();
    let commands = commands(&requests);
    let mut ring = Ring::founded();
    write_all(&mut ring, &commands);
    let led = led_by_the_first(&mut ring, &commands);
    let before = ring.answered;
    for (number, command) in led.iter().copied().cycle().take(times).enumerate() {
        ring.request(0, command);
        if (number + 1) % AT_ONCE == 0 {
            for home in 1..NODES {
                acknowledge(&mut ring, home);
            }
        }
    }
    assert_eq!(ring.answered - before, times as u64, "every set is answered");
}

/// What another home does.
fn replica(times: usize) {
    assert!(times <= RECORDED, "so many are recorded");
    let requests = requests();
    let commands = commands(&requests);
    let mut ring = Ring::founded();
    write_all(&mut ring, &commands);
    let led = led_by_the_first(&mut ring, &commands);
    let mut recorded = Vec::new();
    for (number, command) in led.iter().copied().cycle().take(RECORDED).enumerate() {
        ring.request(0, command);
        if (number + 1) % AT_ONCE == 0 {
            recorded.push(ring.take_requests(0, 1));
            ring.settle();
        }
    }
    for frames in &recorded[..times / AT_ONCE] {
        ring.put_requests(0, 1, frames);
        assert!(ring.hear_requests(0, 1));
        assert!(ring.drop_replies(1, 0) > 0, "they are acknowledged");
    }
}

/// Writes every key through the first node, which begins the terms.
fn write_all(ring: &mut Ring, commands: &[Command<'_>]) {
    for command in commands {
        ring.request(0, command);
        ring.settle();
    }
    assert_eq!(ring.answered, commands.len() as u64, "every term has begun");
}

/// The sets that the first node orders itself: those of which both others hear at once.
fn led_by_the_first<'a, 'b>(ring: &mut Ring, commands: &'a [Command<'b>]) -> Vec<&'a Command<'b>> {
    let is_led = |command: &&Command<'_>| {
        ring.request(0, command);
        let frames: Vec<BytesMut> = (1..NODES).map(|home| ring.take_requests(0, home)).collect();
        for (frames, home) in frames.iter().zip(1..) {
            ring.put_requests(0, home, frames);
        }
        ring.settle();
        frames.iter().all(|frames| !frames.is_empty())
    };
    let led: Vec<_> = commands.iter().filter(is_led).collect();
    assert!(led.len() > KEYS / 5, "it leads about a third: {}", led.len());
    led
}

/// Acknowledges all that is on the way to `home`, in place of it, and lets the first node hear it.
fn acknowledge(ring: &mut Ring, home: usize) {
    let (mut batch, mut said) = (Batch::default(), BytesMut::new());
    ring.show_requests(0, home, |mut rest| {
        while let Some((header, _)) = rest.split_first_chunk::<HEADER_BYTES>() {
            let number =
                |at: usize| header[at..].iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
            batch.push(RequestId(number(8)), Acknowledgement::Held { synced: true }, &mut said);
            rest = &rest[HEADER_BYTES + (number(0) as u32) as usize..];
        }
    });
    batch.end(&mut said);
    ring.put_replies(home, 0, &said);
    assert!(ring.hear_replies(home, 0));
}

fn requests() -> Vec<BytesMut> {
    let value = vec![b'v'; VALUE_BYTES];
    let request = |number: usize| {
        let mut out = BytesMut::new();
        encode_store(StoreVerb::Set, format!("bench:object:{number:017}").as_bytes(), 0, 0, &value, false, &mut out);
        out
    };
    (0..KEYS).map(request).collect()
}

fn commands(requests: &[BytesMut]) -> Vec<Command<'_>> {
    let command = |request| match parse(request, &LIMITS) {
        Step::Command { command, .. } => command,
        other => panic!("not a command: {other:?}"),
    };
    requests.iter().map(|request| command(&request[..])).collect()
}
