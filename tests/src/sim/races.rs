//! Keys that everyone adds to, swaps, replaces and deletes at once: their histories must be linearizable.
//!
//! The search follows Lowe, "Testing for Linearizability" (2017), just-in-time linearization: events in the order of time,
//! and after each the states that the key may be in. An operation in doubt may take effect any time after it began, or
//! never.

use std::collections::{BTreeMap, BTreeSet};

use super::checks::Violation;
use super::workload::{Action, Operation, Outcome};

/// More states than these at a time are not followed: the history counts as legal then.
const STATES_MAX: usize = 3_000;

/// The key's number, and which of the operations that are still open, or will never end, have taken effect.
type State = (Option<u64>, BTreeSet<usize>);

/// Some order of each race's operations explains what its clients were told.
pub fn check_races(history: &[Operation], keys: std::ops::Range<usize>) -> Vec<Violation> {
    keys.filter_map(|key| {
        let operations: Vec<&Operation> = history.iter().filter(|operation| operation.key == key).collect();
        let stuck = find_unexplained(&operations)?;
        let near = |other: &&&Operation| {
            other.begun_us <= stuck.ended_us && other.ended_us.saturating_add(20_000) >= stuck.begun_us
        };
        let near: Vec<String> = operations.iter().filter(near).map(|other| format!("\n    {other:?}")).collect();
        Some(Violation(format!("race {key}: no order of operations explains {stuck:?}; beside it: {}", near.concat())))
    })
    .collect()
}

/// The first operation that nothing explains. A delete may have been tried again, and have taken effect twice before it ended.
fn find_unexplained(operations: &[&Operation]) -> Option<Operation> {
    const BEGINS: u8 = 0;
    const ENDS: u8 = 1;
    const LAPSES: u8 = 2;
    let tried_again = |operation: &&Operation| operation.action == Action::Erase;
    let again: Vec<Operation> = operations
        .iter()
        .copied()
        .filter(tried_again)
        .map(|operation| Operation { outcome: Outcome::InDoubt, ..operation.clone() })
        .collect();
    let told = operations.len();
    let operations: Vec<&Operation> = operations.iter().copied().chain(&again).collect();
    let mut events = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        events.push((operation.begun_us, BEGINS, index));
        if operation.ended_us != u64::MAX {
            events.push((operation.ended_us, if index < told { ENDS } else { LAPSES }, index));
        }
    }
    events.sort_unstable();
    let mut open = BTreeSet::new();
    let mut states: BTreeSet<State> = [(None, BTreeSet::new())].into();
    for (_, what, index) in events {
        match what {
            BEGINS => {
                open.insert(index);
            }
            ENDS => {
                states = explain(&operations, &open, states, index)?;
                if states.is_empty() {
                    return Some(operations[index].clone());
                }
                open.remove(&index);
            }
            _ => {
                open.remove(&index);
                let without = |(number, mut done): State| {
                    done.remove(&index);
                    (number, done)
                };
                states = states.into_iter().map(without).collect();
            }
        }
    }
    None
}

/// The states in which operation `ending` has taken effect; none if nothing explains it. `None`: too many to follow.
fn explain(
    operations: &[&Operation],
    open: &BTreeSet<usize>,
    states: BTreeSet<State>,
    ending: usize,
) -> Option<BTreeSet<State>> {
    let doubtful = |index: &usize| operations[*index].outcome == Outcome::InDoubt;
    let mut ended = Minimal::default();
    let mut seen = states.clone();
    let mut unexplored: Vec<State> = states.into_iter().collect();
    while let Some((number, mut done)) = unexplored.pop() {
        if done.contains(&ending) {
            done.remove(&ending);
            ended.insert(number, done, doubtful);
            continue;
        }
        for index in open.iter().filter(|index| !done.contains(index)) {
            let Some(after) = effect(operations[*index], number) else { continue };
            if doubtful(index) && after == number {
                continue;
            }
            let mut done = done.clone();
            done.insert(*index);
            let state = (after, done);
            if seen.insert(state.clone()) {
                unexplored.push(state);
            }
        }
        if seen.len() > STATES_MAX {
            return None;
        }
    }
    Some(ended.states())
}

/// States of which none has used more operations in doubt than another that is the same otherwise.
#[derive(Default)]
struct Minimal(BTreeMap<State, Vec<BTreeSet<usize>>>);

impl Minimal {
    fn insert(&mut self, number: Option<u64>, done: BTreeSet<usize>, doubtful: impl Fn(&usize) -> bool) {
        let (in_doubt, certain) = done.into_iter().partition(|index| doubtful(index));
        let known = self.0.entry((number, certain)).or_default();
        if !known.iter().any(|fewer| fewer.is_subset(&in_doubt)) {
            known.retain(|more| !in_doubt.is_subset(more));
            known.push(in_doubt);
        }
    }

    fn states(self) -> BTreeSet<State> {
        let with = |((number, certain), all): (State, Vec<BTreeSet<usize>>)| {
            all.into_iter().map(move |in_doubt| (number, &certain | &in_doubt))
        };
        self.0.into_iter().flat_map(with).collect()
    }
}

/// What the key is after the operation, if it can take effect on `number` with the outcome it had.
fn effect(operation: &Operation, number: Option<u64>) -> Option<Option<u64>> {
    use Outcome::{Acknowledged, Differs, InDoubt, Missing, Saw, Unread};
    match (operation.action, operation.outcome, number) {
        (Action::Read, Saw(seen), _) => (seen == number).then_some(number),
        (_, Unread, _) => None,
        (Action::Add(new), Acknowledged | InDoubt, None) => Some(Some(new)),
        (Action::Add(_), Differs, Some(_)) => Some(number),
        (Action::Replace(new), Acknowledged | InDoubt, Some(_)) => Some(Some(new)),
        (Action::Replace(_), Missing, None) => Some(number),
        (Action::Swap { from, to }, Acknowledged | InDoubt, Some(held)) if held == from => Some(Some(to)),
        (Action::Swap { from, .. }, Differs, Some(held)) if held != from => Some(number),
        (Action::Swap { .. }, Missing, None) => Some(number),
        // A delete that was tried again says DELETED whatever it met the second time.
        (Action::Erase, Acknowledged | InDoubt, _) => Some(None),
        (Action::Erase, Missing, None) => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(action: Action, begun_us: u64, ended_us: u64, outcome: Outcome) -> Operation {
        Operation { key: 0, action, node: 0, begun_us, ended_us, outcome }
    }

    fn check(operations: &[(Action, u64, u64, Outcome)], legal: bool) {
        let history: Vec<Operation> = operations
            .iter()
            .map(|(action, begun, ended, outcome)| operation(*action, *begun, *ended, *outcome))
            .collect();
        assert_eq!(check_races(&history, 0..1).is_empty(), legal, "{history:?}");
    }

    #[test]
    fn of_two_swaps_of_one_number_one_wins() {
        let (first, second) = (Action::Swap { from: 1, to: 2 }, Action::Swap { from: 1, to: 3 });
        let add = (Action::Add(1), 0, 5, Outcome::Acknowledged);
        check(&[add, (first, 10, 20, Outcome::Acknowledged), (second, 10, 20, Outcome::Differs)], true);
        check(&[add, (first, 10, 20, Outcome::Acknowledged), (second, 10, 20, Outcome::Acknowledged)], false);
        check(&[add, (first, 10, 20, Outcome::Differs), (second, 10, 20, Outcome::Differs)], false);
    }

    #[test]
    fn what_is_in_doubt_explains_what_comes_after_and_may_never_have_been() {
        let doubtful = (Action::Add(1), 0, u64::MAX, Outcome::InDoubt);
        check(&[doubtful, (Action::Add(2), 10, 20, Outcome::Differs)], true);
        check(&[doubtful, (Action::Add(2), 10, 20, Outcome::Acknowledged)], true);
        check(&[(Action::Add(2), 10, 20, Outcome::Differs)], false);
    }

    #[test]
    fn an_add_does_not_come_true_beside_what_is_there_and_a_delete_is_seen() {
        let add = (Action::Add(1), 0, 5, Outcome::Acknowledged);
        let erase = (Action::Erase, 10, 20, Outcome::Acknowledged);
        check(&[add, erase, (Action::Read, 30, 40, Outcome::Saw(Some(1)))], false);
        check(&[add, erase, (Action::Read, 15, 40, Outcome::Saw(Some(1)))], true);
        check(&[add, (Action::Add(2), 10, 20, Outcome::Acknowledged)], false);
        check(&[add, (Action::Replace(2), 10, 20, Outcome::Missing)], false);
    }
}
