//! Compares memring with memcached through the protocol: `memring-side-by-side memory|hits [--quick] --memring BINARY
//! --memcached BINARY [--older BINARY]`. `make bench-memory` and `make bench-hits` build and install what it needs.
//!
//! ```text
//! memory, hits    the two comparisons       servers  start, stop, resident memory
//! memory_report   the tables of `memory`    wire     a client that pipelines
//! traces, zipf    what is asked for         policies LRU and S3-FIFO without a server
//! items, chance   keys, sizes, seeds        report   tables
//! ```
//!
//! Tables go to standard output, progress to standard error. Must not depend on memring's crates: it sees of each server
//! what a client and the kernel see.

mod chance;
mod clock;
mod hits;
mod items;
mod memory;
mod memory_report;
mod policies;
mod report;
mod servers;
mod speed;
mod traces;
mod wire;
mod zipf;

use std::io::Result;
use std::path::Path;
use std::process::ExitCode;

use clock::Stopwatch;
use servers::{Contestant, Kind};

const USAGE: &str = "memring-side-by-side memory|hits [--quick] --memring BINARY --memcached BINARY [--older BINARY]";

/// What was asked for on the command line.
#[derive(Debug, Default, PartialEq)]
struct Order {
    what: String,
    is_quick: bool,
    memring: String,
    memcached: String,
    /// `speed`: rounds, if another number than the plan's is wanted.
    rounds: Option<usize>,
    /// `speed`: only rows whose names hold this.
    only: String,
    /// Another memcached, for a column of its own; empty if there is none.
    older: String,
}

fn main() -> ExitCode {
    let Some(order) = order_in(std::env::args().skip(1)) else {
        eprintln!("usage: {USAGE}");
        return ExitCode::from(2);
    };
    let watch = Stopwatch::start();
    match carry_out(&order) {
        Ok(()) => {
            eprintln!("side-by-side: {:.0} s", watch.seconds());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("side-by-side: {error}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(order: &Order) -> Result<()> {
    let mut contestants = vec![
        Contestant::new(Kind::Memring, Path::new(&order.memring))?,
        Contestant::new(Kind::Memcached, Path::new(&order.memcached))?,
    ];
    if !order.older.is_empty() {
        contestants.push(Contestant::new(Kind::Memcached, Path::new(&order.older))?);
    }
    match (order.what.as_str(), order.is_quick) {
        ("memory", false) => memory_report::run(&contestants, memory::Plan::FULL),
        ("memory", true) => memory_report::run(&contestants, memory::Plan::QUICK),
        ("speed", is_quick) => {
            let mut plan = if is_quick { speed::Plan::QUICK } else { speed::Plan::FULL };
            plan.rounds = order.rounds.unwrap_or(plan.rounds);
            speed::run(&contestants, &speed::Request { plan, only: order.only.clone() })
        }
        (_, false) => hits::run(&contestants, hits::Plan::FULL),
        (_, true) => hits::run(&contestants, hits::Plan::QUICK),
    }
}

/// Nothing if the words are not an order.
fn order_in(mut words: impl Iterator<Item = String>) -> Option<Order> {
    let mut order = Order { what: words.next()?, ..Order::default() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => order.rounds = Some(words.next()?.parse().ok().filter(|rounds| *rounds > 0)?),
            "--only" => order.only = words.next()?,
            "--quick" => order.is_quick = true,
            "--memring" => order.memring = words.next()?,
            "--memcached" => order.memcached = words.next()?,
            "--older" => order.older = words.next()?,
            _ => return None,
        }
    }
    let is_whole = !order.memring.is_empty() && !order.memcached.is_empty();
    (["speed", "memory", "hits"].contains(&order.what.as_str()) && is_whole).then_some(order)
}

#[cfg(test)]
mod tests {
    use super::{Order, order_in};

    fn order(line: &str) -> Option<Order> {
        order_in(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn an_order_names_what_to_compare_and_two_binaries() {
        let found = order("hits --memcached /b --quick --memring /a").expect("an order");
        assert_eq!((found.what.as_str(), found.is_quick, found.older.as_str()), ("hits", true, ""));
        assert_eq!((found.memring.as_str(), found.memcached.as_str()), ("/a", "/b"));
    }

    #[test]
    fn what_is_not_an_order_is_refused() {
        for line in ["hits", "sped --memring /a --memcached /b", "hits --memring /a", "memory --memring"] {
            assert_eq!(order(line), None, "{line}");
        }
    }
}
