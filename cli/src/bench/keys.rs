//! Which key a request is for: evenly, or by Zipf's law.
//!
//! Must not know what is done with a key. The n-th most asked key is always the n-th key.

use std::fmt;

use super::random::Random;

/// Digits of a key's number: all keys are equally long.
const DIGITS: usize = 10;

/// The most keys: what the digits can number.
pub(super) const KEYS_MAX: u64 = 10_000_000_000;

/// How often which key is asked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Distribution {
    /// Each as often as the other.
    Uniform,
    /// The n-th key n^-exponent times as often as the first.
    Zipf {
        /// Above 0.
        exponent: f64,
    },
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Zipf { exponent } => write!(f, "zipf:{exponent}"),
        }
    }
}

/// The keys of a load, all equally long.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Names {
    prefix: Vec<u8>,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.as_bytes().to_vec() }
    }

    /// Bytes of each key.
    pub(super) fn len(&self) -> usize {
        self.prefix.len() + DIGITS
    }

    /// Writes the key of a number behind what is there.
    pub(super) fn put(&self, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        let mut digits = [b'0'; DIGITS];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

/// Draws numbers of keys, from 0 to below their count.
#[derive(Clone, Debug)]
pub(super) enum Sampler {
    Uniform { count: u64 },
    Zipf(Zipf),
}

impl Sampler {
    pub(super) fn new(distribution: Distribution, count: u64) -> Self {
        match distribution {
            Distribution::Uniform => Self::Uniform { count },
            Distribution::Zipf { exponent } => Self::Zipf(Zipf::new(count, exponent)),
        }
    }

    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        match self {
            Self::Uniform { count } => random.below(*count),
            Self::Zipf(zipf) => zipf.rank(random) - 1,
        }
    }
}

/// Zipf's law by rejection-inversion (Hörmann, Derflinger: Rejection-inversion to generate variates from monotone discrete
/// distributions, 1996): no table, and less than two tries a number whatever the count.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    count: f64,
    exponent: f64,
    /// H(1.5) - h(1): where the hat's area begins.
    area_from: f64,
    /// H(count + 0.5): where it ends.
    area_to: f64,
    /// So far right of its lower edge a number is taken without a look at the density.
    squeeze: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let count = count as f64;
        let area_from = hat(1.5, exponent) - 1.0;
        let area_to = hat(count + 0.5, exponent);
        let squeeze = 2.0 - hat_inverse(hat(2.5, exponent) - density(2.0, exponent), exponent);
        Self { count, exponent, area_from, area_to, squeeze }
    }

    /// From 1 to the count.
    fn rank(&self, random: &mut Random) -> u64 {
        loop {
            let area = self.area_to + random.unit() * (self.area_from - self.area_to);
            let place = hat_inverse(area, self.exponent);
            let rank = (place + 0.5).floor().clamp(1.0, self.count);
            if rank - place <= self.squeeze || area >= hat(rank + 0.5, self.exponent) - density(rank, self.exponent) {
                return rank as u64;
            }
        }
    }
}

/// h(x) = x^-s.
fn density(place: f64, exponent: f64) -> f64 {
    (-exponent * place.ln()).exp()
}

/// H(x), an integral of h: (x^(1-s) - 1) / (1 - s), or ln x where s is 1.
fn hat(place: f64, exponent: f64) -> f64 {
    let log = place.ln();
    let power = (1.0 - exponent) * log;
    // expm1(t) / t goes to 1 where t goes to 0; the next term of its series is enough below this.
    let factor = if power.abs() > 1e-8 { power.exp_m1() / power } else { 1.0 + power / 2.0 };
    factor * log
}

/// The place whose hat that is.
fn hat_inverse(area: f64, exponent: f64) -> f64 {
    // Below -1 only by rounding.
    let power = (area * (1.0 - exponent)).max(-1.0);
    let factor = if power.abs() > 1e-8 { power.ln_1p() / power } else { 1.0 - power / 2.0 };
    (factor * area).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 200_000;

    /// How often each key is drawn.
    fn drawn(distribution: Distribution, count: u64) -> Vec<f64> {
        let (sampler, mut random) = (Sampler::new(distribution, count), Random::new(1, 1));
        let mut seen = vec![0.0; count as usize];
        for _ in 0..DRAWS {
            seen[sampler.draw(&mut random) as usize] += 1.0;
        }
        seen
    }

    #[test]
    fn zipf_draws_each_rank_as_often_as_the_law_says() {
        for exponent in [0.5, 0.99, 1.0, 1.2, 2.5] {
            for count in [1, 2, 10, 1000] {
                let seen = drawn(Distribution::Zipf { exponent }, count);
                let all: f64 = (1..=count).map(|rank| (rank as f64).powf(-exponent)).sum();
                for (rank, seen) in (1..=count).zip(seen) {
                    let expected = DRAWS as f64 * (rank as f64).powf(-exponent) / all;
                    // Five standard deviations of a count that is binomial.
                    let slack = 5.0 * expected.sqrt() + 1.0;
                    assert!((seen - expected).abs() <= slack, "{exponent} of {count}, {rank}: {seen}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn zipf_of_many_keys_stays_among_them() {
        let (sampler, mut random) = (Sampler::new(Distribution::Zipf { exponent: 0.7 }, KEYS_MAX), Random::new(3, 0));
        let highest = (0..100_000).map(|_| sampler.draw(&mut random)).max();
        assert!(highest.is_some_and(|highest| (KEYS_MAX / 2..KEYS_MAX).contains(&highest)), "{highest:?}");
    }

    #[test]
    fn uniform_draws_each_key_alike() {
        let seen = drawn(Distribution::Uniform, 20);
        assert!(seen.iter().all(|count| (9_500.0..10_500.0).contains(count)), "{seen:?}");
    }

    #[test]
    fn keys_are_equally_long() {
        let names = Names::new("bench:");
        let name = |number| {
            let mut out = Vec::new();
            names.put(number, &mut out);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(
            [name(0), name(KEYS_MAX - 1), name(1234)],
            ["bench:0000000000", "bench:9999999999", "bench:0000001234"]
        );
        assert_eq!(names.len(), name(0).len());
    }
}
