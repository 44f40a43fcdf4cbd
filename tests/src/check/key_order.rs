//! What memcached's commands promise of one key, as a sequential key: histories of its clients must be those of such a key.
//!
//! The key holds nothing, or a value with its flags, its cas token, and whether it ends some day. Every answer says what it
//! was: so a lost or doubled change, a torn value, a token that is used twice and an answer that is no longer true are all
//! histories without an order. An operation in doubt may have taken effect at any time after it began, once or never; one
//! that nodes may try again may have taken effect more than once before it ended. Must not know clusters.

use std::collections::BTreeMap;

use super::checks::Violation;
use super::order::{Told, Verdict, judge};

/// What was asked of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Read.
    Read,
    /// Read, and make it end some day.
    ReadAndTouch,
    /// Store number so and so, whatever is there.
    Set(u64),
    /// Store it if nothing is there.
    Add(u64),
    /// Store it if something is there.
    Replace(u64),
    /// Store it if what is there has this cas token.
    Swap {
        /// The number.
        to: u64,
        /// The token.
        token: u64,
    },
    /// Write it behind what is there.
    Append(u64),
    /// Write it before what is there.
    Prepend(u64),
    /// Count up by so much.
    Increment(u64),
    /// Count down by so much, not below 0.
    Decrement(u64),
    /// Make it end some day.
    Touch,
    /// Delete it.
    Delete,
}

/// What a reader was shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saw {
    /// The value.
    pub value: String,
    /// The client's flags.
    pub flags: u32,
    /// The cas token.
    pub token: u64,
    /// Whether the item ends some day.
    pub expires: bool,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Not known: no answer, or one that says so.
    InDoubt,
    /// A reader's answer.
    Saw(Saw),
    /// Done; with the new cas token, if it was told.
    Done(Option<u64>),
    /// Counted: the new number, and the new cas token, if it was told.
    Counted(u64, Option<u64>),
    /// Not done: something else is there, or nothing where there should be something.
    NotStored,
    /// Not done: the cas token is another.
    Exists,
    /// Nothing is there.
    Missing,
    /// What is there is no number.
    NotNumeric,
    /// An answer that the command does not have.
    Odd,
}

impl Outcome {
    /// The cas token that was told.
    pub fn token(&self) -> Option<u64> {
        match self {
            Self::Saw(saw) => Some(saw.token),
            Self::Done(token) | Self::Counted(_, token) => *token,
            _ => None,
        }
    }
}

/// One operation of one client.
pub type Operation = super::Operation<Action, Outcome>;

/// An item.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Held {
    value: String,
    flags: u32,
    /// `None` until someone is told.
    token: Option<u64>,
    expires: bool,
}

/// The flags that are stored with a number, so that values and flags of two writes are known to be mixed.
pub fn flags_of(number: u64) -> u32 {
    (number % 1_000_003) as u32 + 7
}

/// Whether an item that is stored with this number is to end some day.
pub fn expires(number: u64) -> bool {
    number.is_multiple_of(3)
}

/// What is written before or behind a value.
pub fn piece(number: u64) -> String {
    format!("<{number}>")
}

fn stored(number: u64) -> Held {
    Held { value: number.to_string(), flags: flags_of(number), token: None, expires: expires(number) }
}

impl Action {
    /// The key afterwards, and what the client is told, but for tokens and what it sees.
    fn apply(self, held: Option<&Held>) -> (Option<Held>, Outcome) {
        let done = |after: Held| (Some(after), Outcome::Done(None));
        let as_it_was = |outcome: Outcome| (held.cloned(), outcome);
        let missing = match self {
            Self::Replace(_) | Self::Append(_) | Self::Prepend(_) => Outcome::NotStored,
            _ => Outcome::Missing,
        };
        match (self, held) {
            (Self::Set(number), _) | (Self::Add(number), None) => done(stored(number)),
            (_, None) => as_it_was(missing),
            (Self::Add(_), Some(_)) => as_it_was(Outcome::NotStored),
            (Self::Replace(number), Some(_)) => done(stored(number)),
            (Self::Swap { to, token }, Some(held)) if held.token == Some(token) => done(stored(to)),
            (Self::Swap { .. }, Some(_)) => as_it_was(Outcome::Exists),
            (Self::Append(number), Some(held)) => {
                done(Held { value: format!("{}{}", held.value, piece(number)), token: None, ..held.clone() })
            }
            (Self::Prepend(number), Some(held)) => {
                done(Held { value: format!("{}{}", piece(number), held.value), token: None, ..held.clone() })
            }
            (Self::Increment(by), Some(held)) => count(held, |number| number.wrapping_add(by)),
            (Self::Decrement(by), Some(held)) => count(held, |number| number.saturating_sub(by)),
            (Self::Touch, Some(held)) => done(Held { expires: true, ..held.clone() }),
            (Self::ReadAndTouch, Some(held)) => done(Held { expires: true, ..held.clone() }),
            (Self::Read, Some(held)) => done(held.clone()),
            (Self::Delete, Some(_)) => (None, Outcome::Done(None)),
        }
    }
}

/// A number ends at the first space. The text never gets shorter: spaces fill it up.
fn count(held: &Held, step: impl Fn(u64) -> u64) -> (Option<Held>, Outcome) {
    let digits = held.value.split(' ').next().unwrap_or_default();
    let Ok(number) = digits.parse().map(step) else {
        return (Some(held.clone()), Outcome::NotNumeric);
    };
    let value = format!("{:<width$}", number, width = held.value.len());
    (Some(Held { value, token: None, ..held.clone() }), Outcome::Counted(number, None))
}

impl Told for Operation {
    type State = Option<Held>;

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
        match self.outcome {
            Outcome::Saw(_) => self.action == Action::Read,
            Outcome::Missing | Outcome::NotStored | Outcome::Exists | Outcome::NotNumeric => true,
            _ => false,
        }
    }

    fn again(&self) -> Option<Self> {
        let repeated = matches!(self.action, Action::Set(_) | Action::Delete | Action::Touch | Action::ReadAndTouch);
        repeated.then(|| Self { outcome: Outcome::InDoubt, ..self.clone() })
    }

    /// Nodes try again after each of three doubts.
    fn repeats_max(&self) -> usize {
        3
    }

    fn effect(&self, held: &Self::State) -> Option<Self::State> {
        let (after, told) = self.action.apply(held.as_ref());
        let explained = match (&self.outcome, &told) {
            (Outcome::InDoubt, _) => return Some(after),
            // One that was tried again says so whatever it met the second time.
            (Outcome::Done(_), Outcome::Missing) => return (self.action == Action::Delete).then_some(None),
            (Outcome::Done(_), Outcome::Done(_)) => !matches!(self.action, Action::Read | Action::ReadAndTouch),
            (Outcome::Counted(number, _), Outcome::Counted(expected, _)) => number == expected,
            (Outcome::Saw(saw), Outcome::Done(_)) => after.as_ref().is_some_and(|held| self.shows(held, saw)),
            (outcome, told) => outcome == told,
        };
        let token = self.outcome.token();
        explained.then(|| after.map(|held| Held { token: token.or(held.token), ..held }))
    }
}

impl Operation {
    /// Who touches an item is shown when it ended before, or when it ends now.
    fn shows(&self, held: &Held, saw: &Saw) -> bool {
        (&held.value, held.flags) == (&saw.value, saw.flags)
            && (held.expires == saw.expires || self.action == Action::ReadAndTouch)
            && held.token.is_none_or(|token| token == saw.token)
    }
}

/// Some order of each key's operations explains what its clients were told, and no cas token stands for two values. Also how
/// many keys could not be judged, since too many of their operations are in doubt.
pub fn check_keys(history: &[Operation], keys: usize) -> (Vec<Violation>, usize) {
    let mut by_key = vec![Vec::new(); keys];
    for operation in history {
        by_key[operation.key].push(operation.clone());
    }
    let (mut violations, mut unknown) = (Vec::new(), 0);
    for (key, operations) in by_key.iter().enumerate() {
        violations.extend(check_tokens(key, operations));
        match judge(operations) {
            Verdict::Explained => {}
            Verdict::Unknown => unknown += 1,
            Verdict::Unexplained(stuck) => {
                let near: Vec<String> = operations
                    .iter()
                    .filter(|other| other.begun_us <= stuck.ended_us)
                    .map(|other| format!("\n    {other:?}"))
                    .collect();
                let text = format!("key {key}: no order of operations explains {stuck:?}; so far: {}", near.concat());
                violations.push(Violation(text));
            }
        }
    }
    (violations, unknown)
}

/// Also where a history has too many doubts to be judged.
fn check_tokens(key: usize, operations: &[Operation]) -> Vec<Violation> {
    let mut values = BTreeMap::new();
    let mut violations = Vec::new();
    for operation in operations {
        let Outcome::Saw(saw) = &operation.outcome else { continue };
        let shown = (saw.value.clone(), saw.flags);
        let before = values.entry(saw.token).or_insert_with(|| shown.clone());
        if *before != shown {
            let token = saw.token;
            violations
                .push(Violation(format!("key {key}: cas token {token} stood for {before:?}, then for {shown:?}")));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    type Line = (Action, u64, u64, Outcome);

    fn check(lines: &[Line], legal: bool) {
        let history: Vec<Operation> = lines
            .iter()
            .cloned()
            .map(|(action, begun_us, ended_us, outcome)| Operation {
                key: 0,
                action,
                node: 0,
                begun_us,
                ended_us,
                outcome,
            })
            .collect();
        assert_eq!(check_keys(&history, 1).0.is_empty(), legal, "{history:#?}");
    }

    fn done(action: Action, at: u64) -> Line {
        (action, at, at + 5, Outcome::Done(None))
    }

    fn not(action: Action, at: u64, outcome: Outcome) -> Line {
        (action, at, at + 5, outcome)
    }

    fn doubtful(action: Action, at: u64) -> Line {
        (action, at, u64::MAX, Outcome::InDoubt)
    }

    fn saw(value: &str, number: u64, token: u64, at: u64) -> Line {
        let (flags, expires) = (flags_of(number), expires(number));
        not(Action::Read, at, Outcome::Saw(Saw { value: value.to_owned(), flags, token, expires }))
    }

    #[test]
    fn of_two_swaps_of_one_token_one_wins() {
        let (first, second) = (Action::Swap { to: 2, token: 9 }, Action::Swap { to: 4, token: 9 });
        let begin = || vec![done(Action::Add(1), 0), saw("1", 1, 9, 10)];
        let with =
            |one: Outcome, other: Outcome| [begin(), vec![(first, 20, 30, one), (second, 20, 30, other)]].concat();
        check(&with(Outcome::Done(None), Outcome::Exists), true);
        check(&with(Outcome::Done(None), Outcome::Done(None)), false);
        check(&with(Outcome::Exists, Outcome::Exists), false);
    }

    #[test]
    fn what_is_in_doubt_explains_what_comes_after_and_may_never_have_been() {
        let doubt = doubtful(Action::Add(1), 0);
        check(&[doubt.clone(), not(Action::Add(2), 10, Outcome::NotStored)], true);
        check(&[doubt, done(Action::Add(2), 10)], true);
        check(&[not(Action::Add(2), 10, Outcome::NotStored)], false);
    }

    #[test]
    fn an_add_does_not_come_true_beside_what_is_there_and_a_delete_is_seen() {
        let begin = || vec![done(Action::Add(1), 0), done(Action::Delete, 10)];
        check(&[begin(), vec![saw("1", 1, 9, 30)]].concat(), false);
        check(&[begin(), vec![not(Action::Read, 30, Outcome::Missing), saw("1", 1, 9, 40)]].concat(), false);
        check(&[begin(), vec![not(Action::Delete, 30, Outcome::Missing)]].concat(), true);
        check(&[done(Action::Add(1), 0), done(Action::Add(2), 10)], false);
        check(&[done(Action::Add(1), 0), not(Action::Replace(2), 10, Outcome::NotStored)], false);
    }

    #[test]
    fn counts_and_pieces_are_neither_lost_nor_doubled() {
        let counted = |by: u64, number: u64, at: u64| not(Action::Increment(by), at, Outcome::Counted(number, None));
        let begin = || vec![done(Action::Set(10), 0)];
        check(&[begin(), vec![counted(1, 11, 10), counted(1, 12, 20)]].concat(), true);
        check(&[begin(), vec![counted(1, 11, 10), counted(1, 11, 20)]].concat(), false);
        check(&[begin(), vec![doubtful(Action::Increment(1), 10), counted(1, 12, 20)]].concat(), true);
        check(&[begin(), vec![doubtful(Action::Increment(1), 10), counted(1, 13, 20)]].concat(), false);
        let fewer = not(Action::Decrement(1), 10, Outcome::Counted(9, None));
        check(&[begin(), vec![fewer.clone(), saw("9 ", 10, 5, 20)]].concat(), true);
        check(&[begin(), vec![fewer, saw("9", 10, 5, 20)]].concat(), false);
        let joined = || [begin(), vec![done(Action::Append(4), 10), done(Action::Prepend(5), 20)]].concat();
        check(&[joined(), vec![saw("<5>10<4>", 10, 5, 30)]].concat(), true);
        check(&[joined(), vec![saw("<5>10<4><4>", 10, 5, 30)]].concat(), false);
        check(&[joined(), vec![saw("10<4>", 10, 5, 30)]].concat(), false);
        check(&[joined(), vec![not(Action::Increment(1), 30, Outcome::NotNumeric)]].concat(), true);
    }

    #[test]
    fn a_value_comes_with_its_own_flags_expiry_and_token() {
        let two = || vec![done(Action::Set(1), 0), saw("1", 1, 8, 5), done(Action::Set(2), 10)];
        check(&[two(), vec![saw("2", 2, 9, 20)]].concat(), true);
        check(&[two(), vec![saw("2", 1, 9, 20)]].concat(), false);
        check(&[two(), vec![saw("2", 2, 8, 20)]].concat(), false);
        check(&[two(), vec![done(Action::Touch, 20), saw("2", 2, 9, 30)]].concat(), false);
        let doubt: Vec<Line> = (0..40).map(|number| doubtful(Action::Increment(number), 1)).collect();
        let torn = [doubt, two(), vec![saw("1", 1, 8, 20), saw("2", 2, 8, 21)]].concat();
        check(&torn, false);
    }
}
