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

/// More operations open at a time, or without an end, are not followed.
const PLACES: usize = 256;

/// Which of the operations that are still open, or will never end, have taken effect: a bit for the place of each.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Places([u64; PLACES / 64]);

impl Places {
    fn has(&self, place: usize) -> bool {
        self.0[place / 64] >> (place % 64) & 1 == 1
    }

    fn with(mut self, place: usize) -> Self {
        self.0[place / 64] |= 1 << (place % 64);
        self
    }

    fn without(mut self, place: usize) -> Self {
        self.0[place / 64] &= !(1 << (place % 64));
        self
    }

    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|word| with(self.0[word], other.0[word])))
    }

    fn is_within(self, other: Self) -> bool {
        self.zip(other, |mine, others| mine & !others) == Self::default()
    }
}

/// What the key holds, by number, and what has taken effect.
type Reached = (u32, Places);

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
    let mut search = Search::new(operations);
    let mut states: BTreeSet<Reached> = [(0, Places::default())].into();
    for (_, what, index) in events {
        if what == BEGINS {
            if !search.begin(index) {
                return Verdict::Unknown;
            }
            continue;
        }
        let place = search.end(index);
        if what == ENDS {
            let Some(explained) = search.explain(states, (index, place)) else { return Verdict::Unknown };
            states = explained;
            if states.is_empty() {
                return Verdict::Unexplained(search.operations[index].clone());
            }
        } else {
            states = states.into_iter().map(|(state, done)| (state, done.without(place))).collect();
        }
    }
    Verdict::Explained
}

/// The operations of a history, and the states that were met, each with what every operation makes of it.
struct Search<'a, T: Told> {
    operations: Vec<&'a T>,
    /// Those that are open, each with its place.
    open: BTreeMap<usize, usize>,
    /// The places of those whose fate is not known.
    doubtful: Places,
    free: BTreeSet<usize>,
    states: Vec<T::State>,
    numbers: BTreeMap<T::State, u32>,
    effects: Vec<Vec<Effect>>,
}

/// What an operation makes of a state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nobody has asked yet.
    Unasked,
    /// It cannot take effect there.
    None,
    /// This state.
    To(u32),
}

impl<'a, T: Told> Search<'a, T> {
    fn new(operations: Vec<&'a T>) -> Self {
        let mut search = Self {
            operations,
            open: BTreeMap::new(),
            doubtful: Places::default(),
            free: (0..PLACES).collect(),
            states: Vec::new(),
            numbers: BTreeMap::new(),
            effects: Vec::new(),
        };
        search.number(T::State::default());
        search
    }

    /// False if there is no place for it.
    fn begin(&mut self, index: usize) -> bool {
        let Some(place) = self.free.pop_first() else { return false };
        self.open.insert(index, place);
        self.doubtful = match self.operations[index].is_doubtful() {
            true => self.doubtful.with(place),
            false => self.doubtful.without(place),
        };
        true
    }

    /// The place that it had. It is open until what follows from its end has been [explained](Self::explain).
    fn end(&mut self, index: usize) -> usize {
        let place = self.open.remove(&index).expect("what ends has begun");
        self.free.insert(place);
        place
    }

    fn number(&mut self, state: T::State) -> u32 {
        if let Some(number) = self.numbers.get(&state) {
            return *number;
        }
        let number = self.states.len() as u32;
        self.states.push(state.clone());
        self.numbers.insert(state, number);
        self.effects.push(vec![Effect::Unasked; self.operations.len()]);
        number
    }

    fn effect(&mut self, state: u32, index: usize) -> Option<u32> {
        if self.effects[state as usize][index] == Effect::Unasked {
            let after = self.operations[index].effect(&self.states[state as usize]);
            let effect = after.map_or(Effect::None, |after| Effect::To(self.number(after)));
            self.effects[state as usize][index] = effect;
        }
        match self.effects[state as usize][index] {
            Effect::To(after) => Some(after),
            Effect::Unasked | Effect::None => None,
        }
    }

    /// What changed nothing and fits may as well have been now: that saves the search from asking when.
    fn settled(&mut self, open: &[(usize, usize)], (state, mut done): Reached) -> Reached {
        for (index, place) in open {
            if self.operations[*index].changed_nothing() && self.effect(state, *index) == Some(state) {
                done = done.with(*place);
            }
        }
        (state, done)
    }

    /// The states in which the operation that ends has taken effect; none if nothing explains it. `None`: too many to
    /// follow.
    fn explain(&mut self, states: BTreeSet<Reached>, ending: (usize, usize)) -> Option<BTreeSet<Reached>> {
        let open: Vec<(usize, usize)> =
            self.open.iter().map(|(index, place)| (*index, *place)).chain([ending]).collect();
        let mut ended = Minimal { doubtful: self.doubtful, known: BTreeMap::new() };
        let mut seen: BTreeSet<Reached> = states.into_iter().map(|state| self.settled(&open, state)).collect();
        let mut unexplored: Vec<Reached> = seen.iter().copied().collect();
        while let Some((state, done)) = unexplored.pop() {
            if done.has(ending.1) {
                ended.insert(state, done.without(ending.1));
                continue;
            }
            for (index, place) in open.iter().filter(|(_, place)| !done.has(*place)) {
                let Some(after) = self.effect(state, *index) else { continue };
                if self.doubtful.has(*place) && after == state {
                    continue;
                }
                let reached = self.settled(&open, (after, done.with(*place)));
                if seen.insert(reached) {
                    unexplored.push(reached);
                }
            }
            if seen.len() > STATES_MAX {
                return None;
            }
        }
        Some(ended.states())
    }
}

/// States of which none has used more operations in doubt than another that is the same otherwise.
struct Minimal {
    doubtful: Places,
    /// For a state, and what has taken effect for certain: what else has.
    known: BTreeMap<Reached, Vec<Places>>,
}

impl Minimal {
    fn insert(&mut self, state: u32, done: Places) {
        let in_doubt = done.zip(self.doubtful, |done, doubtful| done & doubtful);
        let certain = done.zip(self.doubtful, |done, doubtful| done & !doubtful);
        let known = self.known.entry((state, certain)).or_default();
        if !known.iter().any(|fewer| fewer.is_within(in_doubt)) {
            known.retain(|more| !in_doubt.is_within(*more));
            known.push(in_doubt);
        }
    }

    fn states(self) -> BTreeSet<Reached> {
        let with = |((state, certain), all): (Reached, Vec<Places>)| {
            all.into_iter().map(move |in_doubt| (state, certain.zip(in_doubt, |one, other| one | other)))
        };
        self.known.into_iter().flat_map(with).collect()
    }
}
