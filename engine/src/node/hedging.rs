//! When a read that waits asks one more home than it needs, and how often that may be (hedged requests: Dean and Barroso,
//! "The Tail at Scale", 2013).
//!
//! A read is hedged once it has waited longer than 19 of 20 reads do; a bucket of tokens keeps hedged reads below
//! one in [`READS_A_HEDGE`], so that a cluster that is slow as a whole gets no more to do. Must not know homes or messages.

use std::time::Duration;

/// No read is hedged sooner: a turn of a busy thread takes as long.
pub(super) const HEDGE_AFTER_MIN: Duration = Duration::from_millis(2);

/// Every read may be hedged after this, and all are at first.
pub(super) const HEDGE_AFTER_MAX: Duration = Duration::from_millis(100);

/// So many reads earn one hedge: 5 %.
const READS_A_HEDGE: u32 = 20;

/// Hedges that quiet times may save up: those of a large get.
const SAVED_HEDGES_MAX: u32 = 100;

/// The time that one in so many reads exceeds is what is looked for.
const EXCEEDED_BY_ONE_IN: u64 = 20;

/// How far one read that took longer moves the time looked for: a 16th of it. Reads that did not move it back by as much
/// together.
const STEP_SHIFT: u32 = 4;

/// A time in microseconds, in 256ths of one.
const FRACTION_BITS: u32 = 8;

/// One thread's.
#[derive(Debug)]
pub(super) struct Hedging {
    /// The estimated time, in 256ths of a microsecond. (A stochastic approximation of a quantile: Robbins and Monro, 1951.)
    after: u64,
    /// In [`READS_A_HEDGE`]ths of a hedge.
    earned: u32,
}

impl Hedging {
    pub(super) fn new() -> Self {
        Self { after: (HEDGE_AFTER_MAX.as_micros() as u64) << FRACTION_BITS, earned: SAVED_HEDGES_MAX * READS_A_HEDGE }
    }

    /// How long a read waits before it is hedged.
    #[inline]
    pub(super) fn after(&self) -> Duration {
        Duration::from_micros(self.after >> FRACTION_BITS)
    }

    /// So many keys are read from other nodes.
    #[inline]
    pub(super) fn on_begun(&mut self, keys: usize) {
        let earned = u32::try_from(keys).unwrap_or(u32::MAX).saturating_add(self.earned);
        self.earned = earned.min(SAVED_HEDGES_MAX * READS_A_HEDGE);
    }

    /// A read has taken so long.
    #[inline]
    pub(super) fn on_ended(&mut self, took: Duration) {
        let took = (took.as_micros() as u64) << FRACTION_BITS;
        let step = self.after >> STEP_SHIFT;
        let after = if took > self.after { self.after + step } else { self.after - step / (EXCEEDED_BY_ONE_IN - 1) };
        let bounds = [HEDGE_AFTER_MIN, HEDGE_AFTER_MAX].map(|bound| (bound.as_micros() as u64) << FRACTION_BITS);
        self.after = after.clamp(bounds[0], bounds[1]);
    }

    /// Takes one hedge, if there is one.
    pub(super) fn spend(&mut self) -> bool {
        let left = self.earned.checked_sub(READS_A_HEDGE);
        self.earned = left.unwrap_or(self.earned);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn reads_are_hedged_after_what_nineteen_of_twenty_take() {
        let mut hedging = Hedging::new();
        assert_eq!(hedging.after(), HEDGE_AFTER_MAX);
        // From 1 to 40 ms, evenly.
        (0..40_000).for_each(|number| hedging.on_ended(ms(number * 7 % 40 + 1)));
        assert!((ms(32)..ms(44)).contains(&hedging.after()), "{:?}", hedging.after());
        (0..40_000).for_each(|_| hedging.on_ended(Duration::from_micros(300)));
        assert_eq!(hedging.after(), HEDGE_AFTER_MIN);
        (0..40_000).for_each(|_| hedging.on_ended(ms(900)));
        assert_eq!(hedging.after(), HEDGE_AFTER_MAX);
    }

    #[test]
    fn hedges_are_one_in_twenty_of_what_is_read() {
        let mut hedging = Hedging::new();
        let saved = (0..1000).filter(|_| hedging.spend()).count();
        assert_eq!(saved, SAVED_HEDGES_MAX as usize);
        let mut spent = 0;
        for _ in 0..2000 {
            hedging.on_begun(1);
            spent += usize::from(hedging.spend());
        }
        assert_eq!(spent, 100);
        hedging.on_begun(usize::MAX);
        assert_eq!((0..1000).filter(|_| hedging.spend()).count(), SAVED_HEDGES_MAX as usize, "no more is saved");
    }
}
