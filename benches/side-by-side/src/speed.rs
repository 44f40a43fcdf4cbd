//! `speed`: what an operation costs memring and memcached, by their processor time, under the same load.
//!
//! ```text
//! workloads   what is asked for            rounds     interleaved measuring, medians, ratios
//! generator   connections and their loop   compared   rows of targets, their table
//! requests    written once, patched        targets    servers, clusters, proxies
//! replies     checked as they come         processes  processor time, cores
//! syscalls    by strace                    idle       memory of idle connections
//! crusher     mc-crusher's load            page       docs/performance.md
//! ```

mod compared;
mod crusher;
mod generator;
mod idle;
mod page;
mod processes;
mod replies;
mod requests;
mod rounds;
mod syscalls;
mod targets;
mod workloads;

use std::collections::BTreeSet;
use std::io::Result;
use std::path::Path;

use crate::servers::{Contestant, Settings};
use compared::{Row, Seen, measured};
pub(crate) use rounds::Plan;
use targets::Target;
use workloads::{GET_1K, GET_PIPELINE, Items, MULTIGET_1K, SET_1K, SINGLE, Workload};

/// Where servers run.
const SERVER_CORE: &str = "0";

/// Where the generator runs.
const GENERATOR_CORE: &str = "1";

/// Where both run when two workers are measured.
const BOTH_CORES: &str = "0,1";

/// Room for all items of all sizes, three times.
const CAP_MIB: u64 = 1024;

/// One thread a server, all servers on one core.
const SETTINGS: Settings = Settings { cap_mib: CAP_MIB, threads: 1, connections_max: 1024, cores: Some(SERVER_CORE) };

/// Our columns' names where they are not a contestant's.
const CLUSTER: &str = "memring cluster, all nodes";

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) plan: Plan,
    /// Only rows whose name holds this.
    pub(crate) only: String,
    /// Only the counts of system calls.
    pub(crate) syscalls_alone: bool,
    /// Programs that may be missing, and the page to write; each empty if there is none.
    pub(crate) nutcracker: String,
    pub(crate) mc_crusher: String,
    pub(crate) page: String,
    /// How people would ask for the same.
    pub(crate) command: String,
}

/// The first contestant is memring, the second the yardstick. Whatever answers wrongly ends the run with an error.
pub(crate) fn run(contestants: &[Contestant], request: &Request) -> Result<()> {
    processes::stay_on(GENERATOR_CORE)?;
    let mut parts = Vec::new();
    if !request.syscalls_alone {
        parts.extend(one_server(contestants, request)?);
        parts.extend(cluster(contestants, request)?);
        parts.extend(workers(contestants, request)?);
    }
    parts.extend(syscalls(contestants, request)?);
    if !request.syscalls_alone {
        parts.extend(titled("Idle connections", idle::table(contestants, &request.only)?));
    }
    let names: Vec<String> = contestants.iter().map(|contestant| contestant.name.clone()).collect();
    let text = format!("{}\n{}", page::facts(&names, &request.command), parts.join("\n"));
    println!("{text}");
    if request.page.is_empty() { Ok(()) } else { page::write(Path::new(&request.page), &text) }
}

fn titled(title: &str, table: Option<String>) -> Option<String> {
    table.map(|table| format!("### {title}\n\n{table}"))
}

/// A part of the page, or nothing if no row was asked for.
fn part(title: &str, names: &[String], rows: &[Seen]) -> Option<String> {
    titled(title, (!rows.is_empty()).then(|| compared::table(names, rows)))
}

/// With the items that the rows ask for.
fn filled<'a>(targets: Vec<Target>, loads: impl Iterator<Item = &'a Workload>) -> Result<Vec<Target>> {
    let sizes: BTreeSet<Items> = loads.map(|workload| workload.items).collect();
    for target in &targets {
        sizes.iter().try_for_each(|items| target.fill(*items))?;
    }
    Ok(targets)
}

fn loads(rows: &[Row]) -> impl Iterator<Item = &Workload> {
    rows.iter().map(|row| &row.workload)
}

/// Servers alone, and where it is at hand another generator's load on the first two.
fn one_server(contestants: &[Contestant], request: &Request) -> Result<Vec<String>> {
    let row = |(workload, bar): (Workload, f64)| Row { name: workload.name.to_owned(), workload, bar };
    let rows = request.wanted(SINGLE.map(row).to_vec());
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let targets: Vec<Target> =
        contestants.iter().map(|contestant| Target::alone(contestant, &SETTINGS)).collect::<Result<_>>()?;
    let targets = filled(targets, loads(&rows))?;
    let names: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
    let seen = measured(&request.plan, &targets, &rows)?;
    let mut parts: Vec<String> = part("One server", &names, &seen).into_iter().collect();
    if !request.mc_crusher.is_empty() {
        let driven = crusher::measured(&request.plan, Path::new(&request.mc_crusher), &targets[..2], &rows)?;
        parts.extend(part("One server, driven by mc-crusher", &names[..2], &driven));
        parts.extend(titled("Both generators' ratios", crusher::side_by_side(&seen, &driven)));
    }
    Ok(parts)
}

/// Nodes with three copies of each item, beside one server that is asked directly. Each cluster by itself, since nodes talk
/// to each other even when nobody asks them.
fn cluster(contestants: &[Contestant], request: &Request) -> Result<Option<String>> {
    let row = |name: &str, workload, bar| Row { name: name.to_owned(), workload, bar };
    let settings: [(usize, &str, bool, Vec<Row>); 3] = [
        (3, "--read one", false, vec![row("3 nodes: GET 1 KB at one", GET_1K, 1.10)]),
        (
            3,
            "--read quorum --write quorum",
            true,
            vec![
                row("3 nodes: GET 1 KB at quorum", GET_1K, 2.2),
                row("3 nodes: SET 1 KB at quorum", SET_1K, 2.7),
                row("3 nodes: GET 100 B at quorum, pipeline 32", GET_PIPELINE, 2.0),
                row("3 nodes: multi-get 100 x 1 KB at quorum", MULTIGET_1K, 1.9),
            ],
        ),
        (6, "--read one", false, vec![row("6 nodes: GET 1 KB at one", GET_1K, 1.6)]),
    ];
    let mut names = vec![CLUSTER.to_owned(), format!("{} asked directly", contestants[1].name)];
    let mut seen = Vec::new();
    for (nodes, more, is_proxied, rows) in settings {
        let rows = request.wanted(rows);
        if rows.is_empty() {
            continue;
        }
        let ours = Target::cluster(&contestants[0], &SETTINGS, nodes, more)?.named(CLUSTER);
        let mut targets = vec![ours, Target::alone(&contestants[1], &SETTINGS)?];
        if is_proxied && request.nutcracker.is_empty() {
            eprintln!("side-by-side: no nutcracker: a column less");
        } else if is_proxied {
            let proxied = Target::proxied(Path::new(&request.nutcracker), &contestants[1], &SETTINGS)?;
            names.push(proxied.name.clone());
            targets.push(proxied);
        }
        seen.extend(measured(&request.plan, &filled(targets, loads(&rows))?, &rows)?);
    }
    Ok(part("Clusters", &names, &seen))
}

/// Two workers beside one, with neither servers nor generator bound to a core.
fn workers(contestants: &[Contestant], request: &Request) -> Result<Option<String>> {
    let row = |workload: Workload| Row { name: format!("two workers: {}", workload.name), workload, bar: 1.10 };
    let rows = request.wanted([GET_1K, SET_1K].map(row).to_vec());
    if rows.is_empty() {
        return Ok(None);
    }
    let names = ["memring -t 2", "memring -t 1"].map(str::to_owned);
    let start = |(name, threads): (&String, u32)| {
        let settings = Settings { threads, cores: Some(BOTH_CORES), ..SETTINGS };
        Ok(Target::alone(&contestants[0], &settings)?.named(name))
    };
    let targets = names.iter().zip([2, 1]).map(start).collect::<Result<_>>()?;
    let targets = filled(targets, loads(&rows))?;
    processes::stay_on(BOTH_CORES)?;
    let seen = measured(&request.plan, &targets, &rows);
    processes::stay_on(GENERATOR_CORE)?;
    Ok(part("Two workers", &names, &seen?))
}

fn syscalls(contestants: &[Contestant], request: &Request) -> Result<Option<String>> {
    let rows = syscalls::wanted(&request.only);
    if rows.is_empty() {
        return Ok(None);
    }
    let start = |contestant| Target::alone(contestant, &SETTINGS);
    let targets = contestants.iter().take(2).map(start).collect::<Result<_>>()?;
    let targets = filled(targets, rows.iter().map(|(workload, _)| workload))?;
    Ok(titled("System calls", Some(syscalls::table(&request.plan, &targets, &rows)?)))
}
