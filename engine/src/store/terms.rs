//! Ballots in two bytes: a shard's records name their term by a small number, and this says which ballot that is.
//!
//! Must not know records or partitions. A number lives while somebody uses it; then another ballot may get it.

use hashbrown::HashTable;
use memring_protocol::version::Ballot;

use super::accounting::allocation;
use super::hash::table_hash;

/// Ballots that a shard can name at a time. A partition has one term at a time, and items of earlier terms are overwritten
/// or evicted: enough for every partition of a store of four shards (64 MiB), and sixteen terms of each at 1 GiB. A
/// smaller store whose partitions all have terms of their own must do something about [`Terms::enter`] saying no.
pub(super) const TERMS_MAX: usize = 4096;

/// Terms that the first allocation has room for.
const TERMS_MIN: usize = 4;

/// Ends the list of free numbers.
const NO_TERM: u16 = u16::MAX;

/// Ballots are made by nodes, not by clients: no secret is needed to spread them.
const SEED: u64 = 0;

#[derive(Clone, Copy, Debug)]
struct Term {
    ballot: Ballot,
    /// Records, each tens of bytes: fewer than 32 bits can count. 0: the number is free.
    users: u32,
    /// The next free number, if it is free.
    next_free: u16,
}

/// See the top of the file.
#[derive(Debug)]
pub(super) struct Terms {
    /// By number.
    terms: Vec<Term>,
    /// Numbers in use, by their ballot.
    numbers: HashTable<u16>,
    /// The number entered last: the next record is often of the same term.
    last: u16,
    first_free: u16,
    bytes: usize,
}

impl Terms {
    pub(super) fn new() -> Self {
        Self { terms: Vec::new(), numbers: HashTable::new(), last: NO_TERM, first_free: NO_TERM, bytes: 0 }
    }

    /// Counts one more user of a ballot, and says its number; `None`, and nothing is changed, when it would be one more
    /// than [`TERMS_MAX`].
    pub(super) fn enter(&mut self, ballot: Ballot) -> Option<u16> {
        if let Some(term) = self.terms.get_mut(usize::from(self.last))
            && term.ballot == ballot
            && term.users > 0
        {
            term.users += 1;
            return Some(self.last);
        }
        self.enter_other(ballot)
    }

    /// One user less.
    ///
    /// # Panics
    ///
    /// When the number has no users.
    pub(super) fn leave(&mut self, number: u16) {
        let term = &mut self.terms[usize::from(number)];
        assert!(term.users > 0, "who leaves has entered");
        term.users -= 1;
        if term.users == 0 {
            self.free(number);
        }
    }

    /// The ballot of a number in use.
    pub(super) fn ballot(&self, number: u16) -> Ballot {
        let term = &self.terms[usize::from(number)];
        debug_assert!(term.users > 0, "a record has entered its term");
        term.ballot
    }

    /// Bytes of its memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    #[inline(never)]
    fn enter_other(&mut self, ballot: Ballot) -> Option<u16> {
        let hash = table_hash(ballot.0, SEED);
        let held = self.numbers.find(hash, |&number| self.terms[usize::from(number)].ballot == ballot).copied();
        let number = match held {
            Some(number) => number,
            None => {
                let number = self.unused()?;
                self.terms[usize::from(number)].ballot = ballot;
                let terms = &self.terms;
                self.numbers.insert_unique(hash, number, |&other| table_hash(terms[usize::from(other)].ballot.0, SEED));
                self.bytes = terms_bytes(self.terms.capacity()) + allocation(self.numbers.allocation_size());
                number
            }
        };
        self.terms[usize::from(number)].users += 1;
        self.last = number;
        Some(number)
    }

    /// A number that nobody uses.
    fn unused(&mut self) -> Option<u16> {
        if self.first_free != NO_TERM {
            let number = self.first_free;
            self.first_free = self.terms[usize::from(number)].next_free;
            return Some(number);
        }
        let number = self.terms.len();
        if number == TERMS_MAX {
            return None;
        }
        if number == self.terms.capacity() {
            self.terms.reserve_exact(grown(number) - number);
        }
        self.terms.push(Term { ballot: Ballot::NONE, users: 0, next_free: NO_TERM });
        Some(number as u16)
    }

    #[inline(never)]
    fn free(&mut self, number: u16) {
        let term = &mut self.terms[usize::from(number)];
        term.next_free = self.first_free;
        self.first_free = number;
        let held = self.numbers.find_entry(table_hash(term.ballot.0, SEED), |&held| held == number);
        held.expect("every number in use is in the table").remove();
    }
}

/// The capacity after `capacity`.
fn grown(capacity: usize) -> usize {
    (capacity * 2).clamp(TERMS_MIN, TERMS_MAX)
}

fn terms_bytes(capacity: usize) -> usize {
    allocation(capacity * size_of::<Term>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn a_ballot_has_one_number_while_it_is_used_and_the_number_is_used_again() {
        let mut terms = Terms::new();
        let (one, two) = (terms.enter(Ballot(1)).expect("room"), terms.enter(Ballot(2)).expect("room"));
        assert_ne!(one, two);
        assert_eq!((terms.enter(Ballot(1)), terms.enter(Ballot(2))), (Some(one), Some(two)));
        terms.leave(one);
        assert_eq!(terms.ballot(one), Ballot(1));
        terms.leave(one);
        assert_eq!(terms.enter(Ballot(3)), Some(one));
        assert_eq!((terms.ballot(one), terms.ballot(two)), (Ballot(3), Ballot(2)));
    }

    #[test]
    fn the_ballot_entered_last_is_not_taken_for_used_when_all_have_left() {
        let mut terms = Terms::new();
        let number = terms.enter(Ballot(1)).expect("room");
        terms.leave(number);
        let again = terms.enter(Ballot(1)).expect("room");
        terms.leave(again);
        let (two, one) = (terms.enter(Ballot(2)).expect("room"), terms.enter(Ballot(1)).expect("room"));
        assert_ne!(one, two);
        assert_eq!((terms.ballot(one), terms.ballot(two)), (Ballot(1), Ballot(2)));
    }

    #[test]
    fn a_term_too_many_is_refused_until_one_is_left() {
        let mut terms = Terms::new();
        for round in 0..TERMS_MAX as u64 {
            assert!(terms.enter(Ballot(round)).is_some());
        }
        let bytes = terms.bytes();
        assert_eq!((terms.enter(Ballot(u64::MAX)), terms.bytes()), (None, bytes));
        let known = terms.enter(Ballot(7)).expect("it is known");
        terms.leave(known);
        terms.leave(known);
        assert_eq!(terms.enter(Ballot(u64::MAX)), Some(known));
    }

    #[test]
    fn any_order_of_entering_and_leaving_keeps_ballots_counts_and_bytes() {
        let mut random = StdRng::seed_from_u64(3);
        let mut terms = Terms::new();
        let mut users: Vec<(u64, u16)> = Vec::new();
        for step in 0..200_000u64 {
            // Waves, so that it grows, empties and grows again, with ever new ballots.
            let enters = random.random_ratio(if step / 20_000 % 2 == 0 { 2 } else { 1 }, 3);
            if enters {
                let ballot = step / 50_000 * 3_000 + random.random_range(0..3_000);
                let number = terms.enter(Ballot(ballot));
                users.extend(number.map(|number| (ballot, number)));
            } else if !users.is_empty() {
                let (_, number) = users.swap_remove(random.random_range(0..users.len()));
                terms.leave(number);
            }
            if step % 1_000 == 0 {
                let mut by_ballot = BTreeMap::new();
                for &(ballot, number) in &users {
                    assert_eq!(
                        (terms.ballot(number), *by_ballot.entry(ballot).or_insert(number)),
                        (Ballot(ballot), number)
                    );
                }
                assert_eq!(terms.numbers.len(), by_ballot.len());
            }
        }
    }
}
