//! Does one thing so many times: `memring-instructions <case> <times>`. scripts/instructions.sh runs it under callgrind
//! with two numbers of times, and the difference is what doing it once costs, whatever starting up does.
//!
//! Must not measure anything itself, nor know the limits.

mod alone;
mod cluster;
mod quorum;
mod reading;
mod replicating;
mod ring;
mod storing;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(case), Some(Ok(times))) = (arguments.next(), arguments.next().map(|times| times.parse::<usize>())) else {
        eprintln!("memring-instructions: <case> <times>");
        return ExitCode::from(2);
    };
    let runs = [reading::run, storing::run, alone::run, replicating::run, quorum::run];
    if runs.iter().any(|run| run(&case, times)) {
        return ExitCode::SUCCESS;
    }
    eprintln!("memring-instructions: unknown case {case}");
    ExitCode::from(2)
}
