//! Where two lists of versions differ, and which of it is to be mended.
//!
//! Must not know keys: a token stands for its key, and where several keys have one, all of them are sent.

use memring_protocol::message::List;
use memring_protocol::version::{Stamp, Version};

/// Token and version of an entry.
type Listed = (u64, Version);

/// What is to be mended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Differing {
    /// Tokens of what this home lacks or holds in an older version.
    pub lacks: Vec<u64>,
    /// Tokens of what the other one lacks or holds in an older version.
    pub gives: Vec<u64>,
    /// How many differ that are too young to be judged.
    pub young: u32,
}

/// Compares a list from another home with what this one holds of the same buckets and tokens, both in the order of tokens.
/// Up to the stamp `evicted`, this one may have dropped what it had.
pub fn differing(list: &List, mine: &[Listed], evicted: Stamp) -> Differing {
    let mut found = Differing::default();
    let gone = Gone { here: list.agreed.max(evicted), there: list.agreed.max(list.evicted) };
    let (mut theirs, mut mine) = (&list.entries[..], mine);
    loop {
        let token = match (theirs.first(), mine.first()) {
            (Some((one, _)), Some((other, _))) => *one.min(other),
            (Some((token, _)), None) | (None, Some((token, _))) => *token,
            (None, None) => return found,
        };
        let (of_theirs, rest_of_theirs) = split(theirs, token);
        let (of_mine, rest_of_mine) = split(mine, token);
        (theirs, mine) = (rest_of_theirs, rest_of_mine);
        found.note(list.upto, gone, token, of_theirs, of_mine);
    }
}

/// Up to which stamps what is absent was there before.
#[derive(Clone, Copy)]
struct Gone {
    here: Stamp,
    there: Stamp,
}

impl Differing {
    fn note(&mut self, upto: Stamp, gone: Gone, token: u64, theirs: &[Listed], mine: &[Listed]) {
        let (their_newest, my_newest) = (newest_beside(theirs, mine), newest_beside(mine, theirs));
        let newer = match (their_newest, my_newest) {
            (None, None) => return,
            // Two keys of one token: which is whose is not known.
            (Some(one), Some(other)) if theirs.len().max(mine.len()) > 1 => {
                self.judge(upto, one, absent_up_to(mine, gone.here), |found| found.lacks.push(token));
                return self.judge(upto, other, absent_up_to(theirs, gone.there), |found| found.gives.push(token));
            }
            (their_newest, my_newest) => their_newest.max(my_newest),
        };
        let Some(version) = newer else { return };
        if newer == their_newest {
            self.judge(upto, version, absent_up_to(mine, gone.here), |found| found.lacks.push(token));
        } else {
            self.judge(upto, version, absent_up_to(theirs, gone.there), |found| found.gives.push(token));
        }
    }

    /// Mends what is neither young nor was there before.
    fn judge(&mut self, upto: Stamp, version: Version, gone: Stamp, mend: impl FnOnce(&mut Self)) {
        if version.stamp > upto {
            self.young += 1;
        } else if version.stamp > gone {
            mend(self);
        }
    }
}

/// Up to which stamp a home is taken to have had what it does not hold; what it holds an older version of, it never had.
fn absent_up_to(held: &[Listed], gone: Stamp) -> Stamp {
    if held.is_empty() { gone } else { Stamp::ZERO }
}

/// The entries of a token, which is not above the first one's, and the rest.
fn split(entries: &[Listed], token: u64) -> (&[Listed], &[Listed]) {
    entries.split_at(entries.iter().take_while(|(of, _)| *of == token).count())
}

/// The newest version that the other list does not have.
fn newest_beside(entries: &[Listed], others: &[Listed]) -> Option<Version> {
    entries.iter().filter(|entry| !others.contains(entry)).map(|(_, version)| *version).max()
}

#[cfg(test)]
mod tests {
    use memring_protocol::key::Partition;
    use memring_protocol::version::{Ballot, Stamp};

    use super::*;

    fn at(token: u64, stamp: u64) -> (u64, Version) {
        (token, Version { ballot: Ballot(1), stamp: Stamp(stamp) })
    }

    /// Everything up to 10 is agreed upon; everything above 90 is too young; up to 15 this home has evicted.
    fn found(theirs: &[Listed], mine: &[Listed]) -> (Vec<u64>, Vec<u64>, u32) {
        let list = List {
            partition: Partition::new(1).unwrap(),
            buckets: u64::MAX,
            first: 0,
            last: u64::MAX,
            agreed: Stamp(10),
            evicted: Stamp(5),
            upto: Stamp(90),
            all: false,
            entries: theirs.to_vec(),
        };
        let Differing { lacks, gives, young } = differing(&list, mine, Stamp(15));
        (lacks, gives, young)
    }

    #[test]
    fn the_newer_version_goes_to_where_the_older_one_is() {
        assert_eq!(found(&[at(1, 20), at(2, 21)], &[at(1, 20), at(2, 21)]), (vec![], vec![], 0));
        assert_eq!(found(&[at(1, 20), at(2, 31)], &[at(1, 30), at(2, 21)]), (vec![2], vec![1], 0));
        assert_eq!(found(&[at(1, 9)], &[at(1, 3)]), (vec![1], vec![], 0), "stale is mended, however old");
    }

    #[test]
    fn what_is_absent_was_missed_if_it_is_not_agreed_upon_and_evicted_if_it_is() {
        assert_eq!(found(&[at(1, 16), at(2, 15)], &[]), (vec![1], vec![], 0));
        assert_eq!(found(&[], &[at(1, 11), at(2, 10)]), (vec![], vec![1], 0));
        assert_eq!(found(&[at(3, 50)], &[at(1, 50), at(5, 50)]), (vec![3], vec![1, 5], 0));
    }

    #[test]
    fn what_is_young_may_be_on_its_way() {
        assert_eq!(found(&[at(1, 91), at(2, 20)], &[at(2, 92)]), (vec![], vec![], 2));
        assert_eq!(found(&[at(1, 90)], &[at(2, 90)]), (vec![1], vec![2], 0));
    }

    #[test]
    fn keys_of_one_token_are_sent_together() {
        assert_eq!(found(&[at(1, 20), at(1, 30)], &[at(1, 20), at(1, 30)]), (vec![], vec![], 0));
        assert_eq!(found(&[at(1, 20), at(1, 30)], &[at(1, 20)]), (vec![1], vec![], 0));
        assert_eq!(found(&[at(1, 20), at(1, 30)], &[at(1, 20), at(1, 40)]), (vec![1], vec![1], 0));
    }
}
