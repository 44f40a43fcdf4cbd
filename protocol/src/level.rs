//! Levels: how many replicas a read or a write waits for.

use std::fmt;
use std::num::NonZeroU8;
use std::str::FromStr;

/// One, a majority, all, or a number of the home replicas.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Level {
    /// Any one replica: fastest, last write wins, no promise beyond that.
    One,
    /// More than half of the home replicas.
    Quorum,
    /// Every home replica.
    All,
    /// A number of home replicas.
    Count(NonZeroU8),
}

impl Level {
    /// How many of `homes` replicas must answer. A count above `homes` stays what it is, and so cannot be met.
    pub fn needed(self, homes: usize) -> usize {
        match self {
            Self::One => 1,
            Self::Quorum => majority(homes),
            Self::All => homes.max(1),
            Self::Count(count) => usize::from(count.get()),
        }
    }

    /// Whether it asks for one replica only.
    pub fn is_one(self) -> bool {
        self.needed(usize::MAX / 2) == 1
    }
}

/// The smallest number that is more than half of `homes`.
pub fn majority(homes: usize) -> usize {
    homes / 2 + 1
}

/// Why a word is not a level.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a level is one, quorum, all or a number from 1 to 255")]
pub struct LevelError;

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "one" => Ok(Self::One),
            "quorum" => Ok(Self::Quorum),
            "all" => Ok(Self::All),
            number => number.parse().map(Self::Count).map_err(|_| LevelError),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One => f.write_str("one"),
            Self::Quorum => f.write_str("quorum"),
            Self::All => f.write_str("all"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_says_how_many_replicas_it_needs() {
        for (word, homes, needed) in [
            ("one", 3, 1),
            ("quorum", 1, 1),
            ("quorum", 2, 2),
            ("quorum", 3, 2),
            ("quorum", 5, 3),
            ("all", 3, 3),
            ("2", 3, 2),
        ] {
            assert_eq!(word.parse::<Level>().unwrap().needed(homes), needed, "{word} of {homes}");
            assert_eq!(word.parse::<Level>().unwrap().to_string(), word);
        }
        for word in ["", "0", "256", "most", "One"] {
            assert_eq!(word.parse::<Level>(), Err(LevelError), "{word}");
        }
        assert!(Level::One.is_one() && "1".parse::<Level>().unwrap().is_one() && !Level::Quorum.is_one());
    }
}
