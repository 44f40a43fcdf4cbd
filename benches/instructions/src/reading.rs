//! Reading one request from its bytes.
//!
//! Must not know what becomes of it.

use std::hint::black_box;

use memring_protocol::key::KeyRef;
use memring_protocol::text::{Command, Step, TextLimits, parse};

const LIMITS: TextLimits = TextLimits { item_bytes_max: 1 << 20, get_line_bytes_max: 8 << 20 };

/// As long as the keys of the other benchmarks.
const KEY: &str = "bench:object:00000000000000001";

/// Runs a case; false if it is none of these.
pub(crate) fn run(case: &str, times: usize) -> bool {
    if case == "digest" {
        for _ in 0..times {
            black_box(KeyRef::new(black_box(KEY.as_bytes())).expect("a key"));
        }
        return true;
    }
    let Some(request) = request(case) else { return false };
    if case == "copy" {
        (0..times).for_each(|_| drop(black_box(request.to_vec())));
        return true;
    }
    assert!(is_whole(&parse(&request, &LIMITS), request.len()), "not what was sent");
    let request = &request[..];
    for _ in 0..times {
        let step = parse(black_box(request), &LIMITS);
        black_box(&step);
    }
    true
}

/// `copy` reads nothing: it allocates once a time, so that the script sees whether it counts allocations at all.
fn request(case: &str) -> Option<Vec<u8>> {
    let request = match case {
        "get" | "copy" => format!("get {KEY}\r\n"),
        "get-100" => format!("get{}\r\n", format!(" {KEY}").repeat(100)),
        "mg" => format!("mg {KEY} v t\r\n"),
        "set" => format!("set {KEY} 0 0 100\r\n{}\r\n", "v".repeat(100)),
        "ms" => format!("ms {KEY} 100 T0 F5\r\n{}\r\n", "v".repeat(100)),
        _ => return None,
    };
    Some(request.into_bytes())
}

/// Whether the request was read as one command, and as what it is.
fn is_whole(step: &Step<'_>, bytes: usize) -> bool {
    let Step::Command { consumed, command } = step else { return false };
    let is_right = match command {
        Command::Get { keys, .. } => keys.iter().all(|key| key == KEY.as_bytes()),
        Command::MetaGet(request) | Command::MetaSet { request, .. } => {
            request.key().to_key().as_bytes() == KEY.as_bytes()
        }
        Command::Store { key, .. } => *key == KEY.as_bytes(),
        _ => false,
    };
    is_right && *consumed == bytes
}
