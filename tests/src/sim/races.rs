//! Keys that everyone adds to, swaps, replaces and deletes at once: their histories must be linearizable.

use super::checks::Violation;
use super::order::{Told, Verdict, judge};
use super::workload::{Action, Operation, Outcome};

/// Some order of each race's operations explains what its clients were told.
pub fn check_races(history: &[Operation], keys: std::ops::Range<usize>) -> Vec<Violation> {
    keys.filter_map(|key| {
        let operations: Vec<Operation> = history.iter().filter(|operation| operation.key == key).cloned().collect();
        let Verdict::Unexplained(stuck) = judge(&operations) else { return None };
        let near = |other: &&Operation| {
            other.begun_us <= stuck.ended_us && other.ended_us.saturating_add(20_000) >= stuck.begun_us
        };
        let near: Vec<String> = operations.iter().filter(near).map(|other| format!("\n    {other:?}")).collect();
        Some(Violation(format!("race {key}: no order of operations explains {stuck:?}; beside it: {}", near.concat())))
    })
    .collect()
}

impl Told for Operation {
    type State = Option<u64>;

    fn begun_us(&self) -> u64 {
        self.begun_us
    }

    fn ended_us(&self) -> u64 {
        self.ended_us
    }

    fn is_doubtful(&self) -> bool {
        self.outcome == Outcome::InDoubt
    }

    fn changed_nothing(&self) -> bool {
        matches!(self.outcome, Outcome::Saw(_) | Outcome::Differs | Outcome::Missing)
    }

    /// A delete may have been tried again.
    fn again(&self) -> Option<Self> {
        (self.action == Action::Erase).then(|| Self { outcome: Outcome::InDoubt, ..self.clone() })
    }

    fn effect(&self, number: &Self::State) -> Option<Self::State> {
        effect(self, *number)
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
