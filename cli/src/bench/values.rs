//! How large values are, and what is in them.
//!
//! Must not know keys beyond their numbers. A key's value always has the same size, so that what is filled in and what is set
//! later is alike; and bytes that do not compress.

use std::fmt;

use memring_server::config;

use super::random::{Random, mixed};

/// The largest value: more is not a load that anybody has.
pub(super) const VALUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The most sizes in a list.
const SIZES_MAX: usize = 64;

/// Sizes of values in bytes.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Sizes {
    /// All alike.
    Fixed(usize),
    /// From and to, each size as likely as the other.
    Range(usize, usize),
    /// Sizes, and the sum of their weights up to each.
    Weighted(Vec<(usize, u64)>),
}

impl Sizes {
    /// `SIZE`, `SIZE..SIZE` or `SIZE:WEIGHT,…`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some((from, to)) = text.split_once("..") {
            let (from, to) = (size(from)?, size(to)?);
            return if from <= to { Ok(Self::Range(from, to)) } else { Err("the range is empty".to_owned()) };
        }
        if !text.contains(':') {
            return size(text).map(Self::Fixed);
        }
        let mut sizes = Vec::new();
        let mut sum = 0u64;
        for part in text.split(',') {
            let (size_text, weight) = part.split_once(':').ok_or("expected SIZE:WEIGHT,…")?;
            let weight = weight.parse::<u32>().ok().filter(|weight| *weight > 0);
            sum += u64::from(weight.ok_or("a weight is a whole number above 0")?);
            sizes.push((size(size_text)?, sum));
        }
        if sizes.len() > SIZES_MAX {
            return Err(format!("{} sizes are more than {SIZES_MAX}", sizes.len()));
        }
        Ok(Self::Weighted(sizes))
    }

    /// The size of a key's value.
    pub(super) fn of(&self, key: u64, seed: u64) -> usize {
        let random = || Random::new(seed, mixed(key));
        match self {
            Self::Fixed(size) => *size,
            Self::Range(from, to) => from + random().below((to - from + 1) as u64) as usize,
            Self::Weighted(sizes) => {
                let drawn = random().below(sizes.last().map_or(1, |(_, sum)| *sum));
                sizes.iter().find(|(_, sum)| drawn < *sum).map_or(0, |(size, _)| *size)
            }
        }
    }

    /// The largest there can be.
    pub(super) fn largest(&self) -> usize {
        match self {
            Self::Fixed(size) | Self::Range(_, size) => *size,
            Self::Weighted(sizes) => sizes.iter().map(|(size, _)| *size).max().unwrap_or(0),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Range(from, to) => write!(f, "{from}..{to}"),
            Self::Weighted(sizes) => {
                let mut before = 0;
                for (at, (size, sum)) in sizes.iter().enumerate() {
                    write!(f, "{}{size}:{}", if at == 0 { "" } else { "," }, sum - before)?;
                    before = *sum;
                }
                Ok(())
            }
        }
    }
}

fn size(text: &str) -> Result<usize, String> {
    let size = usize::try_from(config::bytes(text, 1)?).unwrap_or(usize::MAX);
    if size > VALUE_BYTES_MAX {
        return Err(format!("{text}: more than {}m", VALUE_BYTES_MAX >> 20));
    }
    Ok(size)
}

/// Bytes that any value is the beginning of.
pub(super) fn block(bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed, u64::MAX);
    let mut block = Vec::with_capacity(bytes.next_multiple_of(8));
    while block.len() < bytes {
        block.extend_from_slice(&random.next().to_le_bytes());
    }
    block.truncate(bytes);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed_and_shown() {
        for (text, shown, largest) in [
            ("100", "100", 100),
            ("1k", "1024", 1024),
            ("0", "0", 0),
            ("100..10k", "100..10240", 10_240),
            ("100:70,1k:20,10k:10", "100:70,1024:20,10240:10", 10_240),
            ("64m", "67108864", 67_108_864),
        ] {
            let sizes = Sizes::parse(text).expect(text);
            assert_eq!((sizes.to_string().as_str(), sizes.largest()), (shown, largest), "{text}");
        }
        for text in ["", "10k..100", "1:0", "1:2,3", "65m", "x", "1:x", "..", "1..x"] {
            assert!(Sizes::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_s_value_always_has_the_same_size() {
        let sizes = Sizes::parse("100..10k").expect("a range");
        let all: Vec<usize> = (0..10_000).map(|key| sizes.of(key, 1)).collect();
        assert_eq!(all, (0..10_000).map(|key| sizes.of(key, 1)).collect::<Vec<_>>());
        assert!(all.iter().all(|size| (100..=10_240).contains(size)));
        let mean = all.iter().sum::<usize>() / all.len();
        assert!((5_000..5_340).contains(&mean), "{mean}");
        assert_ne!(all, (0..10_000).map(|key| sizes.of(key, 2)).collect::<Vec<_>>());
    }

    #[test]
    fn weights_are_kept() {
        let sizes = Sizes::parse("1:70,2:20,3:10").expect("a list");
        let count = |wanted| (0..10_000).filter(|key| sizes.of(*key, 1) == wanted).count();
        assert!((6_800..7_200).contains(&count(1)) && (850..1_150).contains(&count(3)));
    }

    #[test]
    fn a_block_is_as_long_as_asked_and_hardly_repeats() {
        let bytes = block(1001, 1);
        assert_eq!((bytes.len(), block(1001, 1) == bytes, block(0, 1).len()), (1001, true, 0));
        assert!(bytes.iter().collect::<std::collections::BTreeSet<_>>().len() > 200);
    }
}
