//! Zipf's distribution: the key of rank r is asked for in proportion to 1 / r^exponent.
//!
//! Must not draw: the number between 0 and 1 is an argument.

/// The distribution of ranks from 0 to keys − 1.
pub(crate) struct Zipf {
    /// Element r is the share of requests for ranks 0 to r, times the last element.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// `keys` is above 0.
    pub(crate) fn new(keys: u32, exponent: f64) -> Self {
        assert!(keys > 0, "a distribution over no key");
        let mut total = 0.0;
        let weight = |rank: u32| {
            total += f64::from(rank).powf(-exponent);
            total
        };
        Self { cumulative: (1..=keys).map(weight).collect() }
    }

    /// The rank, from 0, for a number in [0, 1).
    pub(crate) fn rank(&self, unit: f64) -> u32 {
        let total = self.cumulative[self.cumulative.len() - 1];
        let rank = self.cumulative.partition_point(|up_to| *up_to <= unit * total);
        rank.min(self.cumulative.len() - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::Zipf;
    use crate::chance::Chance;

    #[test]
    fn each_rank_is_drawn_in_proportion_to_its_weight() {
        const DRAWS: u32 = 400_000;
        let (zipf, mut chance, mut counts) = (Zipf::new(100, 0.9), Chance::new(3), [0u32; 100]);
        (0..DRAWS).for_each(|_| counts[zipf.rank(chance.unit()) as usize] += 1);
        let total: f64 = (1..=100).map(|rank| f64::from(rank).powf(-0.9)).sum();
        for rank in [1u32, 2, 3, 10, 50, 100] {
            let expected = f64::from(DRAWS) * f64::from(rank).powf(-0.9) / total;
            let drawn = f64::from(counts[rank as usize - 1]);
            assert!((drawn - expected).abs() < 5.0 * expected.sqrt(), "rank {rank}: {drawn} and not {expected}");
        }
    }

    #[test]
    fn the_ends_of_the_unit_interval_are_the_first_and_the_last_rank() {
        let zipf = Zipf::new(10, 0.9);
        assert_eq!((zipf.rank(0.0), zipf.rank(1.0 - f64::EPSILON)), (0, 9));
    }
}
