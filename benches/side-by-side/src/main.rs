//! Compares memring with memcached through the protocol. `make bench`, `make bench-memory` and `make bench-hits` build and
//! install what it needs.
//!
//! ```text
//! speed           what an operation costs   servers  start, stop, resident memory
//! memory, hits    what is kept              clock    limits of time
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

const USAGE: &str =
    "memring-side-by-side memory|hits|speed [--quick] --memring BINARY --memcached BINARY [--older BINARY]
  speed also takes
  --rounds NUMBER      measures every server so many times in each row
  --only NAME          only rows whose name holds this
  --syscalls           only counts system calls
  --nutcracker BINARY  a column of this proxy beside the cluster of three nodes
  --mc-crusher BINARY  rows driven by this generator
  --write FILE         also puts the tables of a whole run into this page, between its marks";

/// What was asked for on the command line; what may be left out is then empty.
#[derive(Debug, Default, PartialEq)]
struct Order {
    what: String,
    is_quick: bool,
    memring: String,
    memcached: String,
    /// Another memcached, for a column of its own.
    older: String,
    /// Rounds, if another number than the plan's is wanted.
    rounds: Option<usize>,
    only: String,
    syscalls_alone: bool,
    nutcracker: String,
    mc_crusher: String,
    page: String,
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
        ("speed", _) => speed::run(&contestants, &request(order)),
        (_, false) => hits::run(&contestants, hits::Plan::FULL),
        (_, true) => hits::run(&contestants, hits::Plan::QUICK),
    }
}

fn request(order: &Order) -> speed::Request {
    let plan = if order.is_quick { speed::Plan::QUICK } else { speed::Plan::FULL };
    speed::Request {
        plan: speed::Plan { rounds: order.rounds.unwrap_or(plan.rounds), ..plan },
        only: order.only.clone(),
        syscalls_alone: order.syscalls_alone,
        nutcracker: order.nutcracker.clone(),
        mc_crusher: order.mc_crusher.clone(),
        page: page(order),
        command: command(order),
    }
}

/// Only a whole run is worth keeping.
fn page(order: &Order) -> String {
    let is_whole = !order.is_quick && order.only.is_empty() && !order.syscalls_alone;
    if !is_whole && !order.page.is_empty() {
        eprintln!("side-by-side: {} stays as it is: this is not the whole run", order.page);
    }
    if is_whole { order.page.clone() } else { String::new() }
}

/// What to type for the same tables, on any machine.
fn command(order: &Order) -> String {
    let driven = if order.mc_crusher.is_empty() { "" } else { "MC_CRUSHER=mc-crusher " };
    let mut command = format!("{driven}scripts/side-by-side.sh speed");
    let rounds = order.rounds.map(|rounds| format!(" --rounds {rounds}"));
    let only = (!order.only.is_empty()).then(|| format!(" --only '{}'", order.only));
    let flag = |is_given: bool, flag: &str| is_given.then(|| flag.to_owned());
    let words = [flag(order.is_quick, " --quick"), rounds, only, flag(order.syscalls_alone, " --syscalls")];
    words.into_iter().flatten().for_each(|word| command += &word);
    command
}

/// Nothing if the words are not an order.
fn order_in(mut words: impl Iterator<Item = String>) -> Option<Order> {
    let mut order = Order { what: words.next()?, ..Order::default() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => order.rounds = Some(words.next()?.parse().ok().filter(|rounds| *rounds > 0)?),
            "--only" => order.only = words.next()?,
            "--syscalls" => order.syscalls_alone = true,
            "--nutcracker" => order.nutcracker = words.next()?,
            "--mc-crusher" => order.mc_crusher = words.next()?,
            "--write" => order.page = words.next()?,
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
    use super::{Order, command, order_in, page};

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
    fn a_command_for_people_has_what_changes_the_figures_and_no_path() {
        let line = "speed --memring /a --rounds 9 --memcached /b --only GET --write /page --quick";
        let found = order(line).expect("an order");
        assert_eq!(command(&found), "scripts/side-by-side.sh speed --quick --rounds 9 --only 'GET'");
        assert_eq!((found.page.as_str(), found.syscalls_alone), ("/page", false));
    }

    #[test]
    fn a_command_for_people_says_that_another_generator_took_part() {
        let found = order("speed --memring /a --memcached /b --mc-crusher /c/d").expect("an order");
        assert_eq!(command(&found), "MC_CRUSHER=mc-crusher scripts/side-by-side.sh speed");
    }

    #[test]
    fn a_page_keeps_whole_runs_alone() {
        let line = "speed --memring /a --memcached /b --write /page";
        assert_eq!(page(&order(line).expect("an order")), "/page");
        for more in ["--quick", "--only GET", "--syscalls"] {
            assert_eq!(page(&order(&format!("{line} {more}")).expect("an order")), "", "{more}");
        }
    }

    #[test]
    fn what_is_not_an_order_is_refused() {
        for line in [
            "hits",
            "speed --rounds 0 --memring /a --memcached /b",
            "sped --memring /a --memcached /b",
            "hits --memring /a",
            "memory --memring",
        ] {
            assert_eq!(order(line), None, "{line}");
        }
    }
}
