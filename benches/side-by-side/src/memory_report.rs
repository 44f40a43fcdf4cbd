//! `memory`: runs every load on every server and prints what was seen beside the bars.
//!
//! Must not know how it is measured.

use std::fmt::Write as _;
use std::io::Result;

use crate::memory::{Aged, Flipped, Load, Plan, Sight, age, flip};
use crate::report::{Table, verdict};
use crate::servers::Contestant;

/// An aged store must keep so much of what a static fill must.
const AGED: f64 = 0.9;

/// One server's figures.
#[derive(Default)]
struct Column {
    aged: Vec<Result<Aged>>,
    flipped: Option<Result<Flipped>>,
}

/// The phases of a load: their names, what was seen, and the share of the static fill's bar that they must reach.
type Phase = (&'static str, fn(&Aged) -> Sight, f64);

const PHASES: [Phase; 3] = [
    ("static fill", |aged| aged.filled, 1.0),
    ("overwritten", |aged| aged.overwritten, AGED),
    ("overwritten, half with TTL", |aged| aged.expiring, AGED),
];

type Turn = (&'static str, fn(&Flipped) -> Sight);

const TURNS: [Turn; 5] = [
    ("size flip: full of 10 KB", |flipped| flipped.large),
    ("size flip: 100 B over it", |flipped| flipped.small),
    ("size flip: 100 B over it, the new keys alone", |flipped| flipped.small_alone),
    ("size flip: 10 KB again", |flipped| flipped.back),
    ("size flip: 10 KB again, the new keys alone", |flipped| flipped.back_alone),
];

/// The first contestant is memring: its figures are held against the bars.
pub(crate) fn run(contestants: &[Contestant], plan: Plan) -> Result<()> {
    let loads = plan.loads();
    let mut columns: Vec<Column> = contestants.iter().map(|_| Column::default()).collect();
    for load in &loads {
        for (contestant, column) in contestants.iter().zip(&mut columns) {
            column.aged.push(told(contestant, age(contestant, &plan, load)));
        }
    }
    for (contestant, column) in contestants.iter().zip(&mut columns) {
        column.flipped = Some(told(contestant, flip(contestant, &plan)));
    }
    let tables = Tables { contestants, plan, loads: &loads, columns: &columns };
    tables.print();
    Ok(())
}

/// A failure is one cell's, and told at once.
fn told<T>(contestant: &Contestant, outcome: Result<T>) -> Result<T> {
    if let Err(error) = &outcome {
        eprintln!("side-by-side: {}: {error}", contestant.name);
    }
    outcome
}

struct Tables<'a> {
    contestants: &'a [Contestant],
    plan: Plan,
    loads: &'a [Load],
    columns: &'a [Column],
}

impl Tables<'_> {
    fn print(&self) {
        println!(
            "Key and value bytes held, as a share of the cap (-m {}), by asking for every key\n",
            self.plan.cap_mib
        );
        println!("{}", self.shares());
        println!("Resident memory at that moment (VmRSS), and its growth from idle as a share of the cap\n");
        println!("{}", self.resident());
        println!("Bytes an item beyond its key and value: of a full store, the cap less what is held;");
        println!("of one that is 0.6 full, the growth of resident memory from idle less what is held\n");
        println!("{}", self.overheads());
        println!("Resident memory when idle, MB\n");
        println!("{}", self.idle());
        println!("{}", self.notes());
    }

    fn table(&self, first: &str, with_bar: bool) -> Table {
        let mut header = vec![first.to_owned()];
        header.extend(self.contestants.iter().map(|contestant| contestant.name.clone()));
        if with_bar {
            header.extend(["bar", "memring"].map(str::to_owned));
        }
        Table::new(header)
    }

    fn shares(&self) -> Table {
        let mut table = self.table("load", true);
        for (at, load) in self.loads.iter().enumerate() {
            for (name, sight, aged) in PHASES {
                let bar = load.share_bar * aged;
                let shares = self.of_load(at, |seen| sight(seen).share(&self.plan));
                table.row(with_bar(
                    format!("{}: {name}", load.name),
                    &shares,
                    3,
                    Some((bar, |share, bar| share >= bar)),
                ));
            }
        }
        for (name, sight) in TURNS {
            let shares = self.of_flip(|seen| sight(seen).share(&self.plan));
            table.row(with_bar(name.to_owned(), &shares, 3, None));
        }
        table
    }

    fn resident(&self) -> Table {
        let mut table = self.table("load", false);
        let cell = |sight: Sight, idle_bytes| {
            let growth = sight.growth_share(idle_bytes, &self.plan);
            format!("{:.0} MB, {growth:.3}", megabytes(sight.resident_bytes))
        };
        for (at, load) in self.loads.iter().enumerate() {
            for (name, sight, _) in PHASES {
                let mut row = vec![format!("{}: {name}", load.name)];
                row.extend(dashed(self.of_load(at, |seen| cell(sight(seen), seen.idle_bytes))));
                table.row(row);
            }
        }
        for (name, sight) in TURNS.into_iter().filter(|(name, _)| !name.ends_with("alone")) {
            let mut row = vec![name.to_owned()];
            row.extend(dashed(self.of_flip(|seen| cell(sight(seen), seen.idle_bytes))));
            table.row(row);
        }
        table
    }

    fn overheads(&self) -> Table {
        let mut table = self.table("load", true);
        for (at, load) in self.loads.iter().enumerate() {
            let bar = load.overhead_bar.map(|bar| (bar, (|bytes, bar| bytes <= bar) as fn(f64, f64) -> bool));
            let growths = self.of_load(at, |seen| seen.partly.overhead_of_growth(seen.idle_bytes));
            table.row(with_bar(format!("{}: 0.6 full", load.name), &growths, 0, bar));
            for (name, sight, _) in PHASES {
                let overheads = self.of_load(at, |seen| sight(seen).overhead_of_cap(&self.plan));
                // Aged stores are held against their share; what expired is not an item's overhead.
                let bar = bar.filter(|_| name == PHASES[0].0);
                table.row(with_bar(format!("{}: {name}", load.name), &overheads, 0, bar));
            }
        }
        table
    }

    fn idle(&self) -> Table {
        let mut table = self.table("", false);
        let mut row = vec!["idle".to_owned()];
        row.extend(dashed(self.of_load(0, |seen| format!("{:.1}", megabytes(seen.idle_bytes)))));
        table.row(row);
        table
    }

    /// What was planned, and where it was not reached.
    fn notes(&self) -> String {
        let mut notes = String::new();
        for (at, load) in self.loads.iter().enumerate() {
            let _ = writeln!(notes, "{}: {} random overwrites, twice", load.name, load.overwrites);
            for (contestant, column) in self.contestants.iter().zip(self.columns) {
                let Ok(seen) = &column.aged[at] else { continue };
                let _ = write!(notes, "{}", shortfall(&contestant.name, load, seen));
            }
        }
        for (contestant, column) in self.contestants.iter().zip(self.columns) {
            if let Some(Ok(seen)) = &column.flipped {
                let refused = refusals(&[seen.large, seen.small, seen.back]);
                let _ = write!(notes, "{}", refusal(&contestant.name, "of the size flip ", refused));
            }
            let failures = column.aged.iter().filter_map(|aged| aged.as_ref().err());
            let failures = failures.chain(column.flipped.iter().filter_map(|flipped| flipped.as_ref().err()));
            for error in failures {
                let _ = writeln!(notes, "  {}: {error}", contestant.name);
            }
        }
        notes
    }

    fn of_load<T>(&self, at: usize, figure: impl Fn(&Aged) -> T) -> Vec<Option<T>> {
        self.columns.iter().map(|column| column.aged[at].as_ref().ok().map(&figure)).collect()
    }

    fn of_flip<T>(&self, figure: impl Fn(&Flipped) -> T) -> Vec<Option<T>> {
        let seen = |column: &'_ Column| column.flipped.as_ref().and_then(|flipped| flipped.as_ref().ok().map(&figure));
        self.columns.iter().map(seen).collect()
    }
}

/// Lines for phases that time ended, and for writes that were refused.
fn shortfall(name: &str, load: &Load, seen: &Aged) -> String {
    let mut lines = String::new();
    for (phase, stored) in [("overwrites", seen.overwritten.stored), ("overwrites with TTL", seen.expiring.stored)] {
        if stored.writes < load.overwrites {
            let _ = writeln!(lines, "  {name}: only {} {phase} in the time there was", stored.writes);
        }
    }
    let refused = refusals(&[seen.partly, seen.filled, seen.overwritten, seen.expiring]);
    lines + &refusal(name, "", refused)
}

fn refusals(sights: &[Sight]) -> u64 {
    sights.iter().map(|sight| sight.stored.refused).sum()
}

fn refusal(name: &str, which: &str, refused: u64) -> String {
    if refused == 0 {
        return String::new();
    }
    format!("  {name}: {refused} writes {which}were not answered STORED\n")
}

/// Whether a figure reaches a bar.
type Bar = (f64, fn(f64, f64) -> bool);

fn with_bar(name: String, figures: &[Option<f64>], digits: usize, bar: Option<Bar>) -> Vec<String> {
    let mut row = vec![name];
    row.extend(figures.iter().map(|figure| figure.map_or("-".to_owned(), |figure| format!("{figure:.digits$}"))));
    let (limit, outcome) = match (bar, figures.first().copied().flatten()) {
        (None, _) => ("-".to_owned(), "-"),
        (Some((limit, _)), None) => (format!("{limit:.digits$}"), "-"),
        (Some((limit, is_reached)), Some(figure)) => (format!("{limit:.digits$}"), verdict(is_reached(figure, limit))),
    };
    row.extend([limit, outcome.to_owned()]);
    row
}

fn dashed(cells: Vec<Option<String>>) -> impl Iterator<Item = String> {
    cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned()))
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::with_bar;

    #[test]
    fn a_row_holds_memrings_figure_against_the_bar() {
        let at_least = Some((0.75, (|share, bar| share >= bar) as fn(f64, f64) -> bool));
        let row = with_bar("100 B".to_owned(), &[Some(0.7512), Some(0.68), None], 3, at_least);
        assert_eq!(row, ["100 B", "0.751", "0.680", "-", "0.750", "ok"]);
        assert_eq!(with_bar("100 B".to_owned(), &[Some(0.7)], 2, at_least)[2..], ["0.75", "MISSED"]);
        assert_eq!(with_bar("flip".to_owned(), &[Some(0.7)], 2, None)[2..], ["-", "-"]);
    }
}
