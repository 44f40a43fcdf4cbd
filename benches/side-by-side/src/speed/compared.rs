//! Rows of two or three targets under one load, and the table that is made of them.
//!
//! Must not know how a target is started.

use std::io::Result;

use crate::report::{Table, verdict};
use crate::speed::Request;
use crate::speed::rounds::{Plan, Sample, Samples, interleaved, median, ratio};
use crate::speed::targets::Target;
use crate::speed::workloads::Workload;

/// A load, and the most that our processor time an operation may be, as a share of the yardstick's.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) workload: Workload,
    pub(crate) bar: f64,
}

/// What was seen in a row: ours, the yardstick's, and others' where they took part.
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) generator: &'static str,
    pub(crate) bar: f64,
    pub(crate) columns: Vec<Samples>,
}

/// This program.
pub(crate) const OWN_GENERATOR: &str = "own";

impl Request {
    /// Those rows that were asked for.
    pub(crate) fn wanted(&self, rows: Vec<Row>) -> Vec<Row> {
        rows.into_iter().filter(|row| row.name.contains(&self.only)).collect()
    }
}

/// Measures rows, and tells each on standard error as it comes.
pub(crate) fn measured(plan: &Plan, targets: &[Target], rows: &[Row]) -> Result<Vec<Seen>> {
    let measure = |row: &Row| {
        let turns: Vec<_> = targets.iter().map(|target| (target, &row.workload)).collect();
        let columns = interleaved(plan, &turns)?;
        let seen = Seen { name: row.name.clone(), generator: OWN_GENERATOR, bar: row.bar, columns };
        tell(&seen);
        Ok(seen)
    };
    rows.iter().map(measure).collect()
}

/// On standard error, with what an operation cost the generator.
pub(crate) fn tell(seen: &Seen) {
    let load = median(seen.columns.iter().flatten().map(Sample::generator_micros_each));
    eprintln!("side-by-side: {}  (generator: {load:.2} us/op)", seen.cells(seen.columns.len()).join("  "));
}

/// The first name is ours, the second the yardstick's.
pub(crate) fn table(names: &[String], rows: &[Seen]) -> String {
    let mut header = vec!["load".to_owned(), "generator".to_owned()];
    header.extend(names.iter().map(|name| format!("{name}: us/op, kops/s, busy")));
    header.extend(names[2..].iter().map(|name| format!("{name}: ratio")));
    header.extend(["ratio (least-most)", "kops/s ratio", "bar", "bar reached"].map(str::to_owned));
    let mut table = Table::new(header);
    rows.iter().for_each(|row| table.row(row.cells(names.len())));
    table.to_string()
}

impl Seen {
    /// For so many columns, of which those that took no part are dashes.
    fn cells(&self, columns: usize) -> Vec<String> {
        let (ours, yardstick) = (&self.columns[0], &self.columns[1]);
        let shown = |at: usize, text: fn(&Samples, &Samples) -> String| {
            self.columns.get(at).map_or("-".to_owned(), |samples| text(samples, yardstick))
        };
        let mut cells = vec![self.name.clone(), self.generator.to_owned()];
        cells.extend((0..columns).map(|at| shown(at, |samples, _| figures(samples))));
        cells.extend((2..columns).map(|at| shown(at, cpu_ratio)));
        let kops = ratio(ours, yardstick, Sample::kops).median;
        let cpu = ratio(ours, yardstick, Sample::micros_each).median;
        // As it is shown.
        let is_reached = (100.0 * cpu).round() <= (100.0 * self.bar).round();
        cells.extend([cpu_ratio(ours, yardstick), format!("{kops:.2}")]);
        cells.extend([format!("{:.2}", self.bar), verdict(is_reached).to_owned()]);
        cells
    }
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

#[cfg(test)]
mod tests {
    use super::{OWN_GENERATOR, Seen, table};
    use crate::speed::rounds::Sample;

    #[test]
    fn a_row_shows_figures_ratios_and_whether_the_bar_is_reached() {
        let sample = |cpu_seconds| Sample { operations: 100_000, seconds: 1.0, cpu_seconds, generator_seconds: 0.0 };
        let columns = vec![vec![sample(0.4), sample(0.5), sample(0.6)], vec![sample(0.5); 3]];
        let row = Seen { name: "GET".to_owned(), generator: OWN_GENERATOR, bar: 0.95, columns };
        let ours = ["5.00, 100.0, 50 %", "5.00, 100.0, 50 %", "-", "-", "1.00 (0.80-1.20)", "1.00", "0.95", "MISSED"];
        assert_eq!(row.cells(3)[2..], ours);
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(table(&names, &[row]).lines().count(), 3);
    }
}
