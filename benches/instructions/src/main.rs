//! Reads one request so many times: `memring-instructions <case> <times>`. scripts/instructions.sh runs it under callgrind
//! with two numbers of times, and the difference is what reading it costs, whatever starting up does.
//!
//! Must not measure anything itself, nor know the limits.

use std::hint::black_box;
use std::process::ExitCode;

use memring_protocol::text::{Command, Step, TextLimits, parse};

const LIMITS: TextLimits = TextLimits { item_bytes_max: 1 << 20, get_line_bytes_max: 8 << 20 };

/// As long as the keys of the other benchmarks.
const KEY: &str = "bench:object:00000000000000001";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(case), Some(Ok(times))) = (arguments.next(), arguments.next().map(|times| times.parse::<u64>())) else {
        eprintln!("memring-instructions: <case> <times>");
        return ExitCode::from(2);
    };
    let Some(request) = request(&case) else {
        eprintln!("memring-instructions: unknown case {case}");
        return ExitCode::from(2);
    };
    let mut bytes_named = 0;
    for _ in 0..times {
        bytes_named += match &case[..] {
            "copy" => black_box(request.to_vec()).len(),
            _ => read(black_box(&request)),
        };
    }
    black_box(bytes_named);
    ExitCode::SUCCESS
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

/// Looks at all that the request names, keys included: they are cut out of the line only when they are asked for.
fn read(request: &[u8]) -> usize {
    match parse(request, &LIMITS) {
        Step::Command { command: Command::Get { keys, .. }, .. } => keys.iter().map(<[u8]>::len).sum(),
        Step::Command { command: Command::MetaGet(request), .. } => usize::from(black_box(&request).wants_value()),
        Step::Command { command: Command::Store { key, value, .. }, .. } => key.len() + value.len(),
        Step::Command { command: Command::MetaSet { request, value, .. }, .. } => {
            usize::from(black_box(&request).is_quiet()) + value.len()
        }
        other => panic!("not what was sent: {other:?}"),
    }
}
