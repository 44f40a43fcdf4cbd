//! Interleaved rounds: in each, every contestant of a row is measured once; and the figures that are made of them.
//!
//! Must not know what a row is about.

use std::io::{Error, Result};
use std::time::Duration;

use crate::speed::generator::{Generator, Keys};
use crate::speed::processes::cpu_seconds;
use crate::speed::targets::Target;
use crate::speed::workloads::Workload;

/// How long and how often is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Before each measuring, on the same connections.
    pub(crate) warm_up: Duration,
    pub(crate) measuring: Duration,
}

impl Plan {
    pub(crate) const FULL: Self =
        Self { rounds: 7, warm_up: Duration::from_millis(200), measuring: Duration::from_millis(1000) };
    /// For trying it out.
    pub(crate) const QUICK: Self =
        Self { rounds: 3, warm_up: Duration::from_millis(100), measuring: Duration::from_millis(300) };
}

/// What was seen of one target in one round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) operations: u64,
    pub(crate) seconds: f64,
    /// Of all the target's processes.
    pub(crate) cpu_seconds: f64,
    /// Of the generator.
    pub(crate) generator_seconds: f64,
}

impl Sample {
    pub(crate) fn micros_each(&self) -> f64 {
        1e6 * self.cpu_seconds / self.operations as f64
    }

    /// What an operation costs the generator: where that is more than it costs the target, the target has to wait.
    pub(crate) fn generator_micros_each(&self) -> f64 {
        1e6 * self.generator_seconds / self.operations as f64
    }

    pub(crate) fn kops(&self) -> f64 {
        self.operations as f64 / self.seconds / 1e3
    }

    pub(crate) fn busy(&self) -> f64 {
        self.cpu_seconds / self.seconds
    }
}

/// One target's samples, a round each.
pub(crate) type Samples = Vec<Sample>;

/// A ratio's median over the rounds, and its least and most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// Measures every target in every round, A B C A B C. An error tells the target and the workload.
pub(crate) fn interleaved(plan: &Plan, targets: &[(&Target, &Workload)]) -> Result<Vec<Samples>> {
    let mut all = vec![Samples::new(); targets.len()];
    for round in 0..plan.rounds {
        for ((target, workload), samples) in targets.iter().zip(&mut all) {
            let failed = |error| Error::other(format!("{}, {}: {error}", workload.name, target.name));
            samples.push(measure(plan, target, workload, round as u64).map_err(failed)?);
        }
    }
    Ok(all)
}

fn measure(plan: &Plan, target: &Target, workload: &Workload, seed: u64) -> Result<Sample> {
    let keys = Keys::random(workload.items, seed);
    let mut generator = Generator::connect(workload, &target.addresses, target.order, keys)?;
    generator.run(plan.warm_up)?;
    let own = [std::process::id()];
    let (before, generator_before) = (cpu_seconds(&target.pids)?, cpu_seconds(&own)?);
    let (operations, seconds) = generator.run(plan.measuring)?;
    let (after, generator_after) = (cpu_seconds(&target.pids)?, cpu_seconds(&own)?);
    generator.drain()?;
    if operations == 0 {
        return Err(Error::other("not one operation was answered"));
    }
    let generator_seconds = generator_after - generator_before;
    Ok(Sample { operations, seconds, cpu_seconds: after - before, generator_seconds })
}

/// The middle one, or the mean of the two in the middle. There is at least one.
pub(crate) fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 }
}

/// A figure of one target over the same figure of another, round by round.
pub(crate) fn ratio(ours: &[Sample], theirs: &[Sample], figure: impl Fn(&Sample) -> f64) -> Ratio {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| figure(ours) / figure(theirs)).collect();
    Ratio {
        median: median(ratios.iter().copied()),
        least: ratios.iter().copied().fold(f64::INFINITY, f64::min),
        most: ratios.iter().copied().fold(0.0, f64::max),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ratio, Sample, median, ratio};

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let sample = |cpu_seconds| Sample { operations: 100, seconds: 2.0, cpu_seconds, generator_seconds: 0.5 };
        let ours: Vec<Sample> = [1.0, 2.0, 3.0].map(sample).to_vec();
        let theirs: Vec<Sample> = [2.0, 2.0, 2.0].map(sample).to_vec();
        assert_eq!(ratio(&ours, &theirs, Sample::micros_each), Ratio { median: 1.0, least: 0.5, most: 1.5 });
        assert_eq!((ours[0].micros_each(), ours[0].kops(), ours[0].busy()), (10_000.0, 0.05, 0.5));
        assert_eq!(ours[0].generator_micros_each(), 5_000.0);
    }
}
