//! Random numbers for spreading what many clients do alike over time. Must not be used where anybody could gain by guessing.

use std::hash::{BuildHasher, RandomState};

/// From 0 to 1, below 1: each process begins at another point.
pub(crate) fn chance() -> f64 {
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::chance;

    #[test]
    fn chances_are_between_0_and_1_and_differ() {
        let chances: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(chances.iter().all(|chance| (0.0..1.0).contains(chance)));
        let low = chances.iter().filter(|&&chance| chance < 0.5).count();
        assert!((10..90).contains(&low), "{low} of a hundred are in the lower half");
    }
}
