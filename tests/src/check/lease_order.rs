//! What leases promise, as a sequential key: histories of their clients must be those of such a key.
//!
//! The key holds nothing, or a value with its cas token, whether it is stale, whether a reader has been told to fetch
//! it anew (won), and whether it ends some day. A stale item, one that ends too soon for its reader, or an absent one that
//! the reader creates, makes exactly one reader win; until it is stored or invalidated again all others have lost. So:
//!
//! - between two stores, creations or invalidations at most one client gets `W`, and none without cause;
//! - a `Z` has a `W` before it, which was given, or whose reader is in doubt;
//! - `X` is on every value served between an invalidation and a store, and on no other;
//! - after a store is acknowledged nobody sees `W`, `Z` or `X` before the next invalidation.
//!
//! An operation in doubt may have taken effect at any time after it began, once or never; a set, delete or read that was
//! tried again may have taken effect more than once before it ended. Must not know clusters.

use super::checks::Violation;
use super::order::{Told, Verdict, judge};

/// How a key is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// `mg`.
    Plain,
    /// `mg` with `N`: creates what is absent.
    Creates,
    /// `mg` with `R`: later than any item of these clients ends that ends.
    Recaches,
    /// `gets`: sees no marks.
    Classic,
    /// `gats`: sees no marks, and makes the item end some day.
    Touches,
}

/// What was asked of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Read.
    Read(Reader),
    /// `ms`, or `set`.
    Store {
        /// The value's number.
        number: u64,
        /// Whether by `set`.
        classic: bool,
        /// Whether the item ends some day.
        expires: bool,
    },
    /// `ms` with `C`, and `I` if an older token will do.
    StoreIf {
        /// The value's number.
        number: u64,
        /// The cas token the item must have.
        token: u64,
        /// Whether the item may have a newer one.
        older: bool,
        /// Whether the item ends some day.
        expires: bool,
    },
    /// `ms` with `ME`.
    Add {
        /// The value's number.
        number: u64,
    },
    /// `md` with `I`, and `T` if the item is to end.
    Invalidate {
        /// Whether it is.
        expires: bool,
    },
    /// `md`.
    Remove,
}

/// What a reader was shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Saw {
    /// The value's number.
    pub number: u64,
    /// The cas token.
    pub token: u64,
    /// `W`.
    pub won: bool,
    /// `X`.
    pub stale: bool,
    /// `Z`.
    pub lost: bool,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Not known: no answer, or one that says so.
    InDoubt,
    /// A reader's answer.
    Saw(Saw),
    /// Done; with the new cas token, if it was told.
    Done(Option<u64>),
    /// Not done: something else is there.
    Differs,
    /// Nothing is there.
    Missing,
    /// An answer that the command does not have, or a torn value.
    Odd,
}

impl Outcome {
    /// The cas token that was told.
    pub fn token(self) -> Option<u64> {
        match self {
            Self::Saw(saw) => Some(saw.token),
            Self::Done(token) => token,
            _ => None,
        }
    }
}

/// One operation of one client.
pub type Operation = super::Operation<Action, Outcome>;

/// An item.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Held {
    number: u64,
    /// `None` until someone is told.
    token: Option<u64>,
    stale: bool,
    won: bool,
    expires: bool,
}

impl Held {
    fn new(number: u64, token: Option<u64>, expires: bool) -> Self {
        Self { number, token, stale: false, won: false, expires }
    }
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
            Outcome::Saw(saw) => !saw.won && self.action != Action::Read(Reader::Touches),
            outcome => matches!(outcome, Outcome::Differs | Outcome::Missing),
        }
    }

    fn again(&self) -> Option<Self> {
        let repeated = match self.action {
            Action::Store { .. } | Action::Remove | Action::Read(Reader::Touches) => true,
            // Who may have won before is not told to wait for another.
            Action::Read(Reader::Plain | Reader::Creates | Reader::Recaches) => {
                !matches!(self.outcome, Outcome::Saw(Saw { lost: true, .. }))
            }
            _ => false,
        };
        repeated.then(|| Self { outcome: Outcome::InDoubt, ..self.clone() })
    }

    /// Nodes try a blind write again after each of three doubts.
    fn repeats_max(&self) -> usize {
        if matches!(self.action, Action::Store { .. } | Action::Remove) { 3 } else { 1 }
    }

    fn effect(&self, held: &Self::State) -> Option<Self::State> {
        let store = |after: Held| match self.outcome {
            Outcome::Done(token) => Some(Some(Held { token, ..after })),
            Outcome::InDoubt => Some(Some(after)),
            _ => None,
        };
        let refused = |outcome: Outcome| (self.outcome == outcome).then(|| held.clone());
        match (self.action, held) {
            (Action::Read(reader), _) => self.read(reader, held),
            (Action::Store { number, expires, .. }, _) => store(Held::new(number, None, expires)),
            (Action::StoreIf { .. }, None) => refused(Outcome::Missing),
            (Action::StoreIf { number, token, older, expires }, Some(held)) => {
                if held.token == Some(token) {
                    store(Held::new(number, None, expires))
                } else if older && held.token.is_none_or(|newer| token < newer) {
                    // Tokens rise, and one that nobody was told is newer than one that somebody was.
                    store(Held { stale: true, won: held.won, ..Held::new(number, None, held.expires) })
                } else {
                    refused(Outcome::Differs)
                }
            }
            (Action::Add { number }, None) => store(Held::new(number, None, false)),
            (Action::Add { .. }, Some(_)) => refused(Outcome::Differs),
            (Action::Invalidate { .. } | Action::Remove, None) if self.outcome == Outcome::Missing => Some(None),
            (Action::Invalidate { .. }, None) => None,
            (Action::Invalidate { expires }, Some(held)) => {
                let expires = expires || held.expires;
                store(Held { stale: true, won: false, expires, token: None, ..held.clone() })
            }
            // A delete that was tried again says HD whatever it met the second time.
            (Action::Remove, _) => matches!(self.outcome, Outcome::Done(_) | Outcome::InDoubt).then_some(None),
        }
    }
}

impl Operation {
    fn read(&self, reader: Reader, held: &Option<Held>) -> Option<Option<Held>> {
        let (before, creates) = match (held, reader) {
            (Some(held), _) => (held.clone(), false),
            (None, Reader::Creates) => (Held::new(0, None, true), true),
            (None, _) => return matches!(self.outcome, Outcome::Missing | Outcome::InDoubt).then_some(None),
        };
        let cause = creates || before.stale || (reader == Reader::Recaches && before.expires);
        let blind = matches!(reader, Reader::Classic | Reader::Touches);
        let wins = cause && !before.won && !blind;
        let expires = before.expires || reader == Reader::Touches;
        let after = Held { won: before.won || wins, expires, ..before.clone() };
        match self.outcome {
            Outcome::InDoubt => Some(Some(after)),
            Outcome::Saw(saw) => {
                let marks = if blind { (false, false, false) } else { (wins, before.stale, before.won) };
                let explained = (saw.number, (saw.won, saw.stale, saw.lost)) == (before.number, marks)
                    && before.token.is_none_or(|token| token == saw.token);
                explained.then_some(Some(Held { token: Some(saw.token), ..after }))
            }
            _ => None,
        }
    }
}

/// Some order of each key's operations explains what its clients were told. Also how many keys could not be judged, since
/// too many of their operations are in doubt.
pub fn check_leases(history: &[Operation], keys: usize) -> (Vec<Violation>, usize) {
    let mut by_key = vec![Vec::new(); keys];
    for operation in history {
        by_key[operation.key].push(operation.clone());
    }
    let (mut violations, mut unknown) = (Vec::new(), 0);
    for (key, operations) in by_key.iter().enumerate() {
        match judge(operations) {
            Verdict::Explained => {}
            Verdict::Unknown => unknown += 1,
            Verdict::Unexplained(stuck) => {
                let near: Vec<String> = operations
                    .iter()
                    .filter(|other| other.begun_us <= stuck.ended_us)
                    .map(|other| format!("\n    {other:?}"))
                    .collect();
                let text = format!("lease {key}: no order of operations explains {stuck:?}; so far: {}", near.concat());
                violations.push(Violation(text));
            }
        }
    }
    (violations, unknown)
}

#[cfg(test)]
mod tests;
