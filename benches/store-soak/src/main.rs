//! What criterion does not show of the store: how two threads share it, and what minutes of overwrites do to its memory
//! and its slowest calls. `make bench-store` runs it: `memring-store-soak <minutes> [<MiB>]`; 0 minutes leave the soak out.
//!
//! Must not know the cluster. Prints what it measured beside its bar, and fails when a bar is missed.
//!
//! ```text
//! soak      a full store, overwritten for minutes            load      keys, sizes, reads and writes by number
//! scaling   two threads on one store, and on one each        measure   clock, memory, percentiles, slowest calls
//! ```

mod load;
mod measure;
mod scaling;
mod soak;

use std::process::ExitCode;

/// The store's memory, in MiB, unless one is given: sixteen shards, and more than any cache of a processor.
const MEMORY_MIB: usize = 256;

fn main() -> ExitCode {
    let numbers: Option<Vec<usize>> = std::env::args().skip(1).map(|argument| argument.parse().ok()).collect();
    let (minutes, memory_mib) = match numbers.as_deref() {
        Some(&[minutes]) => (minutes, MEMORY_MIB),
        Some(&[minutes, memory_mib]) => (minutes, memory_mib),
        _ => {
            eprintln!("memring-store-soak: <minutes> [<MiB>]");
            return ExitCode::from(2);
        }
    };
    let mut bars = Bars::default();
    // First, while the process's memory is that of one store alone.
    if minutes > 0 {
        soak::run(memory_mib << 20, minutes, &mut bars);
    }
    scaling::run(memory_mib << 20, &mut bars);
    if bars.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Figures that must not be worse than something.
#[derive(Default)]
struct Bars {
    missed: u32,
}

impl Bars {
    /// A figure that may be so much at most.
    fn at_most(&mut self, name: &str, figure: f64, bar: f64) {
        self.tell(name, figure, bar, figure <= bar);
    }

    /// A figure that must be so much at least.
    fn at_least(&mut self, name: &str, figure: f64, bar: f64) {
        self.tell(name, figure, bar, figure >= bar);
    }

    fn tell(&mut self, name: &str, figure: f64, bar: f64, is_met: bool) {
        let verdict = if is_met { "met" } else { "MISSED" };
        println!("bar: {name}: {figure:.3} (bar {bar:.3}): {verdict}");
        self.missed += u32::from(!is_met);
    }
}
