//! System calls an operation, counted by strace(1) on a running server.
//!
//! A traced server is slow, so it is never idle; and nothing is on its way when tracing begins and ends, so that the calls
//! are those of the operations. Must not know how a table is laid out.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Error, Read, Result};
use std::process::{Command, Stdio};

use crate::report::{Table, verdict};
use crate::speed::generator::{Generator, Keys};
use crate::speed::rounds::Plan;
use crate::speed::targets::Target;
use crate::speed::workloads::{GET_100, GET_PIPELINE, MULTIGET_1K, SET_100, SET_PIPELINE, Workload};

/// Loads, and how many calls an operation may cost.
const ROWS: [(Workload, f64); 5] =
    [(GET_100, 2.1), (SET_100, 2.1), (GET_PIPELINE, 0.08), (SET_PIPELINE, 0.08), (MULTIGET_1K, 4.0)];

/// Calls by their name.
type Calls = BTreeMap<String, u64>;

/// The loads whose name holds `only`, with their bars.
pub(crate) fn wanted(only: &str) -> Vec<(Workload, f64)> {
    ROWS.into_iter().filter(|(load, _)| name(load).contains(only)).collect()
}

/// The first target is ours.
pub(crate) fn table(plan: &Plan, targets: &[Target], rows: &[(Workload, f64)]) -> Result<String> {
    let mut header = vec!["load".to_owned()];
    header.extend(targets.iter().map(|target| format!("{}: calls an operation", target.name)));
    header.extend(["bar", "bar reached"].map(str::to_owned));
    let mut table = Table::new(header);
    for (workload, bar) in rows {
        let mut cells = vec![name(workload)];
        let mut is_reached = true;
        for (at, target) in targets.iter().enumerate() {
            let (calls, operations) = traced(plan, target, workload)?;
            let each = calls.values().sum::<u64>() as f64 / operations as f64;
            is_reached &= at > 0 || each <= *bar;
            cells.push(format!("{each:.3} ({})", most_frequent(&calls, operations)));
        }
        cells.extend([format!("{bar:.2}"), verdict(is_reached).to_owned()]);
        eprintln!("side-by-side: {}", cells.join("  "));
        table.row(cells);
    }
    Ok(table.to_string())
}

fn name(workload: &Workload) -> String {
    format!("system calls: {}", workload.name)
}

fn traced(plan: &Plan, target: &Target, workload: &Workload) -> Result<(Calls, u64)> {
    let keys = Keys::random(workload.items, 1);
    let mut generator = Generator::connect(workload, &target.addresses, target.order, keys)?;
    generator.run(plan.warm_up)?;
    generator.drain()?;
    let pid = target.pids[0].to_string();
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-p", &pid])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Error::other(format!("strace: {error}")))?;
    let mut lines = BufReader::new(strace.stderr.take().expect("is piped"));
    let mut said = String::new();
    // It says so of each thread; the first one's line names them all.
    if lines.read_line(&mut said)? == 0 || !said.contains("attached") {
        return Err(Error::other(format!("strace cannot attach: {said}")));
    }
    let before = generator.operations();
    generator.run(plan.measuring)?;
    generator.drain()?;
    let operations = generator.operations() - before;
    Command::new("kill").args(["-INT", &strace.id().to_string()]).status()?;
    let mut summary = String::new();
    lines.read_to_string(&mut summary)?;
    strace.wait()?;
    let calls = calls_in(&summary);
    if calls.is_empty() || operations == 0 {
        return Err(Error::other(format!("strace counted nothing: {summary}")));
    }
    Ok((calls, operations))
}

/// The rows of `strace -c`: share of time, seconds, microseconds a call, calls, errors if there were any, name.
fn calls_in(summary: &str) -> Calls {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_row = (5..=6).contains(&words.len()) && words[0].parse::<f64>().is_ok();
        let name = words.last().filter(|name| is_row && **name != "total")?;
        Some(((*name).to_owned(), words[3].parse().ok()?))
    };
    summary.lines().filter_map(row).collect()
}

/// The three that were made most often, each an operation.
fn most_frequent(calls: &Calls, operations: u64) -> String {
    let mut sorted: Vec<(&String, &u64)> = calls.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let shown = |(name, count): &(&String, &u64)| format!("{name} {:.3}", **count as f64 / operations as f64);
    sorted.iter().take(3).map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::{calls_in, most_frequent};

    const SUMMARY: &str = "strace: Process 9 detached\n% time     seconds  usecs/call     calls    errors syscall\n\
        ------ ----------- ----------- --------- --------- ----------------\n \
        60.00    0.060000           6     10000           sendto\n \
        39.90    0.039900           3     10100       100 read\n  \
        0.10    0.000100           1       100           epoll_wait\n\
        ------ ----------- ----------- --------- --------- ----------------\n\
        100.00    0.100000           4     20200       100 total\n";

    #[test]
    fn the_table_of_strace_is_read_with_and_without_errors() {
        let calls = calls_in(SUMMARY);
        assert_eq!(calls.values().sum::<u64>(), 20_200);
        assert_eq!(most_frequent(&calls, 10_000), "read 1.010, sendto 1.000, epoll_wait 0.010");
    }
}
