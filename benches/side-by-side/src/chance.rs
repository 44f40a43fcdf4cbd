//! Seeded numbers: what every load and trace draws from. Written out, since a trace must stay the same whatever version a
//! library has.
//!
//! Must not know what is drawn.

/// SplitMix64's increment: the golden ratio in 64 bits (Steele, Lea, Flood: "Fast splittable pseudorandom number
/// generators", 2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A well-mixed function of a number: the output function of SplitMix64.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The upper 53 bits of a mixed number as one in [0, 1).
pub(crate) fn unit(mixed: u64) -> f64 {
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

/// A stream of numbers from a seed.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        let mixed = mix(self.0);
        self.0 = self.0.wrapping_add(GOLDEN);
        mixed
    }

    /// In [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        unit(self.next())
    }

    /// In 0 .. `limit`, which is above 0; biased by less than limit / 2^64.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::{Chance, mix};

    /// From the authors' reference: seed 0 gives these.
    #[test]
    fn the_numbers_are_splitmix64s() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mix(0x9e37_79b9_7f4a_7c15), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn one_seed_gives_one_stream_and_another_seed_another() {
        let draw = |seed| {
            let mut chance = Chance::new(seed);
            (0..100).map(|_| chance.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn numbers_below_a_limit_are_spread_evenly() {
        let (mut chance, mut counts) = (Chance::new(1), [0u32; 10]);
        (0..100_000).for_each(|_| counts[chance.below(10) as usize] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }
}
