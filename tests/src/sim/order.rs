//! Is there an order of one key's operations that explains what every client was told?
//!
//! The search follows Lowe, "Testing for Linearizability" (2017), just-in-time linearization: events in the order of time,
//! and after each the states that the key may be in. An operation in doubt may take effect any time after it began, or
//! never. Must not know what operations do: they say so themselves.

use std::collections::{BTreeMap, BTreeSet};

/// More states than these at a time are not followed.
const STATES_MAX: usize = 3_000;

/// One operation of one client, and what the client was told.
pub trait Told: Clone {
    /// What the key holds; absent by default.
    type State: Clone + Ord + Default;

    /// When it began.
    fn begun_us(&self) -> u64;

    /// When it ended; `u64::MAX` if it never did, or its fate is not known.
    fn ended_us(&self) -> u64;

    /// Whether its fate is not known.
    fn is_doubtful(&self) -> bool;

    /// Whether what the client was told says that it changed nothing.
    fn changed_nothing(&self) -> bool;

    /// The same in doubt, where it may have been tried again, and so have taken effect more than once before it ended.
    fn again(&self) -> Option<Self>;

    /// How often that may have been.
    fn repeats_max(&self) -> usize {
        1
    }

    /// What the key holds after it, if it can take effect on `state` with what the client was told.
    fn effect(&self, state: &Self::State) -> Option<Self::State>;
}

/// What the search found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict<T> {
    /// Some order explains everything.
    Explained,
    /// Nothing explains this operation.
    Unexplained(T),
    /// There are too many states to follow.
    Unknown,
}

/// What the key holds, and which of the operations that are still open, or will never end, have taken effect.
type Reached<S> = (S, BTreeSet<usize>);

/// Judges the operations of one key. One repeat of an operation explains nearly all; more are tried where it does not,
/// since every one makes the search longer.
pub fn judge<T: Told>(told: &[T]) -> Verdict<T> {
    match judge_with(told, 1) {
        Verdict::Unexplained(_) => judge_with(told, usize::MAX),
        verdict => verdict,
    }
}

fn judge_with<T: Told>(told: &[T], repeats: usize) -> Verdict<T> {
    const BEGINS: u8 = 0;
    const ENDS: u8 = 1;
    const LAPSES: u8 = 2;
    // What is done once more ends with the operation that it is part of.
    let (again, repeated): (Vec<T>, Vec<u64>) = told
        .iter()
        .filter_map(|one| Some(((one.again()?, one.ended_us()), one.repeats_max().min(repeats))))
        .flat_map(|(repeat, count)| std::iter::repeat_n(repeat, count))
        .unzip();
    let operations: Vec<&T> = told.iter().chain(&again).collect();
    let mut events = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        events.push((operation.begun_us(), BEGINS, index));
        let (ended_us, how) = match index.checked_sub(told.len()) {
            None => (operation.ended_us(), ENDS),
            Some(repeat) => (repeated[repeat], LAPSES),
        };
        if ended_us != u64::MAX {
            events.push((ended_us, how, index));
        }
    }
    events.sort_unstable();
    let mut open = BTreeSet::new();
    let mut states: BTreeSet<Reached<T::State>> = [Default::default()].into();
    for (_, what, index) in events {
        match what {
            BEGINS => {
                open.insert(index);
            }
            ENDS => {
                let Some(explained) = explain(&operations, &open, states, index) else { return Verdict::Unknown };
                states = explained;
                if states.is_empty() {
                    return Verdict::Unexplained(operations[index].clone());
                }
                open.remove(&index);
            }
            _ => {
                open.remove(&index);
                let without = |(state, mut done): Reached<T::State>| {
                    done.remove(&index);
                    (state, done)
                };
                states = states.into_iter().map(without).collect();
            }
        }
    }
    Verdict::Explained
}

/// The states in which operation `ending` has taken effect; none if nothing explains it. `None`: too many to follow.
fn explain<T: Told>(
    operations: &[&T],
    open: &BTreeSet<usize>,
    states: BTreeSet<Reached<T::State>>,
    ending: usize,
) -> Option<BTreeSet<Reached<T::State>>> {
    let doubtful = |index: &usize| operations[*index].is_doubtful();
    // What changed nothing and fits may as well have been now: that saves the search from asking when.
    let settled = |(state, mut done): Reached<T::State>| {
        let fits = |index: &&usize| {
            let operation = operations[**index];
            operation.changed_nothing() && operation.effect(&state).as_ref() == Some(&state)
        };
        done.extend(open.iter().filter(fits));
        (state, done)
    };
    let mut ended = Minimal(BTreeMap::new());
    let mut seen: BTreeSet<Reached<T::State>> = states.into_iter().map(settled).collect();
    let mut unexplored: Vec<Reached<T::State>> = seen.iter().cloned().collect();
    while let Some((state, mut done)) = unexplored.pop() {
        if done.contains(&ending) {
            done.remove(&ending);
            ended.insert(state, done, doubtful);
            continue;
        }
        for index in open.iter().filter(|index| !done.contains(index)) {
            let Some(after) = operations[*index].effect(&state) else { continue };
            if doubtful(index) && after == state {
                continue;
            }
            let mut done = done.clone();
            done.insert(*index);
            let reached = settled((after, done));
            if seen.insert(reached.clone()) {
                unexplored.push(reached);
            }
        }
        if seen.len() > STATES_MAX {
            return None;
        }
    }
    Some(ended.states())
}

/// States of which none has used more operations in doubt than another that is the same otherwise.
struct Minimal<S>(BTreeMap<Reached<S>, Vec<BTreeSet<usize>>>);

impl<S: Clone + Ord> Minimal<S> {
    fn insert(&mut self, state: S, done: BTreeSet<usize>, doubtful: impl Fn(&usize) -> bool) {
        let (in_doubt, certain) = done.into_iter().partition(|index| doubtful(index));
        let known = self.0.entry((state, certain)).or_default();
        if !known.iter().any(|fewer| fewer.is_subset(&in_doubt)) {
            known.retain(|more| !in_doubt.is_subset(more));
            known.push(in_doubt);
        }
    }

    fn states(self) -> BTreeSet<Reached<S>> {
        let with = |((state, certain), all): (Reached<S>, Vec<BTreeSet<usize>>)| {
            all.into_iter().map(move |in_doubt| (state.clone(), &certain | &in_doubt))
        };
        self.0.into_iter().flat_map(with).collect()
    }
}
