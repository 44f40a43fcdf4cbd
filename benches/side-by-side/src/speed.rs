//! `speed`: what an operation costs memring and memcached, by their processor time, under the same load.
//!
//! ```text
//! workloads   what is asked for            rounds     interleaved measuring, medians, ratios
//! generator   connections and their loop   processes  processor time, cores
//! requests    written once, patched        replies    checked as they come
//! ```

mod generator;
mod processes;
mod replies;
mod requests;
mod rounds;
mod workloads;

use std::io::Result;

use crate::report::{Table, verdict};
use crate::servers::{Contestant, Server, Settings};
use generator::{Generator, Keys};
use replies::Order;
pub(crate) use rounds::Plan;
use rounds::{Sample, Samples, Target, interleaved, median, ratio};
use workloads::{Items, LARGE, MEDIUM, SINGLE, SMALL, Workload};

/// Where servers run.
const SERVER_CORE: &str = "0";

/// Where the generator runs.
const GENERATOR_CORE: &str = "1";

/// Room for all items of all sizes, three times.
const CAP_MIB: u64 = 1024;

/// Of every server.
const CONNECTIONS_MAX: u32 = 1024;

/// What was asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    pub(crate) plan: Plan,
    /// Only rows whose name holds this.
    pub(crate) only: String,
}

/// The first contestant is memring, the second the yardstick.
pub(crate) fn run(contestants: &[Contestant], request: &Request) -> Result<()> {
    processes::stay_on(GENERATOR_CORE)?;
    single(contestants, request)
}

fn single(contestants: &[Contestant], request: &Request) -> Result<()> {
    let rows: Vec<&(Workload, f64)> = SINGLE.iter().filter(|(row, _)| row.name.contains(&request.only)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let settings =
        Settings { cap_mib: CAP_MIB, threads: 1, connections_max: CONNECTIONS_MAX, cores: Some(SERVER_CORE) };
    let servers: Vec<Server> = contestants.iter().map(|one| one.start(&settings)).collect::<Result<_>>()?;
    let targets: Vec<Target> = contestants.iter().zip(&servers).map(|(one, server)| target(one, server)).collect();
    for target in &targets {
        for items in [SMALL, MEDIUM, LARGE] {
            fill(target, items)?;
        }
    }
    let mut header = vec!["workload".to_owned()];
    header.extend(targets.iter().map(|target| format!("{}: us/op, kops/s, busy", target.name)));
    header.extend(targets[2..].iter().map(|target| format!("{} ratio", target.name)));
    header.extend(["memring: CPU ratio (min-max)", "kops ratio", "bar", ""].map(str::to_owned));
    let mut table = Table::new(header);
    for (workload, bar) in rows {
        let turns: Vec<_> = targets.iter().map(|target| (target, workload)).collect();
        let samples = interleaved(&request.plan, &turns)?;
        let mut cells = vec![workload.name.to_owned()];
        cells.extend(samples.iter().map(figures));
        cells.extend(samples[2..].iter().map(|other| cpu_ratio(other, &samples[1])));
        let cpu = ratio(&samples[0], &samples[1], Sample::micros_each);
        let kops = ratio(&samples[0], &samples[1], Sample::kops);
        cells.extend([cpu_ratio(&samples[0], &samples[1]), format!("{:.2}", kops.median), format!("{bar:.2}")]);
        cells.push(verdict(cpu.median <= *bar).to_owned());
        eprintln!("side-by-side: {}", cells.join("  "));
        table.row(cells);
    }
    println!("{table}");
    Ok(())
}

fn target(contestant: &Contestant, server: &Server) -> Target {
    let (addresses, pids) = (vec![server.address()], vec![server.pid()]);
    Target { name: contestant.name.clone(), addresses, pids, order: Order::AsAsked }
}

/// Sets all items of a size, and sees that they are there.
fn fill(target: &Target, items: Items) -> Result<()> {
    for workload in [Workload::filling(items), Workload::checking(items)] {
        let keys = Keys::in_order(items);
        let mut generator = Generator::connect(&workload, &target.addresses[..1], target.order, keys)?;
        generator.run_batches(u64::from(items.count) / workload.batch.keys() as u64)?;
    }
    Ok(())
}

fn figures(samples: &Samples) -> String {
    let middle = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
    let (micros, kops, busy) = (middle(Sample::micros_each), middle(Sample::kops), middle(Sample::busy));
    format!("{micros:.2}, {kops:.1}, {:.0} %", 100.0 * busy)
}

fn cpu_ratio(ours: &Samples, theirs: &Samples) -> String {
    let ratio = ratio(ours, theirs, Sample::micros_each);
    format!("{:.2} ({:.2}-{:.2})", ratio.median, ratio.least, ratio.most)
}
