//! What was seen against what was promised: the checkers' verdicts, counted by kind, with the history around each.

use std::fmt;

use super::registers::{COUNTERS, REGISTERS, Seen, key_name};
use super::scene::Unmet;
use crate::check::checks::{Action, Operation, Outcome, Violation, check_counter, check_monotonic, check_registers};
use crate::check::key_order::{Operation as Contested, check_keys};

/// Details of so many violations are told.
const DETAILS_MAX: usize = 8;

/// Operations told around one.
const NEIGHBOURS_MAX: usize = 16;

/// What a run showed.
#[derive(Debug, Default)]
pub struct Findings {
    /// Reads of registers and counters that were answered.
    pub reads: usize,
    /// Sets and deletes that were acknowledged, …
    pub writes: usize,
    /// … and those in doubt.
    pub in_doubt: usize,
    /// Reads that missed what was acknowledged, where a miss may also say that too few copies answered.
    pub misses: u64,
    /// Reads that missed what was acknowledged.
    pub lost: usize,
    /// Reads of an older value than was acknowledged.
    pub stale: usize,
    /// Reads of what had been deleted.
    pub resurrected: usize,
    /// Reads that went back in time.
    pub backward: usize,
    /// Values that nobody has written.
    pub torn: usize,
    /// Answers that cannot be true.
    pub odd: usize,
    /// Counters outside their bounds.
    pub miscounted: usize,
    /// Contested keys.
    pub contested: usize,
    /// Operations on them.
    pub rivalries: usize,
    /// Those with a history that no order explains.
    pub disordered: usize,
    /// Those with too many doubts to be judged.
    pub unjudged: usize,
    /// The first violations.
    pub details: Vec<String>,
}

impl Findings {
    /// Judges all that clients saw. From `calm_us` on a miss says that nothing is there.
    pub fn of(seen: Vec<Seen>, contested: &[Contested], keys: usize, unmet: Unmet, calm_us: u64) -> Self {
        let mut found = Self { contested: keys, rivalries: contested.len(), ..Self::default() };
        let mut history = Vec::new();
        for seen in seen {
            found.torn += seen.torn.len();
            found.odd += seen.odd.len();
            found.details.extend(seen.torn.into_iter().map(|text| format!("torn: {text}")));
            found.details.extend(seen.odd.into_iter().map(|text| format!("odd: {text}")));
            history.extend(seen.history);
        }
        history.sort_by_key(|operation| operation.key);
        for of_key in history.chunk_by(|one, other| one.key == other.key) {
            found.count(of_key);
            if of_key[0].key < REGISTERS {
                found.judge_register(of_key, unmet, calm_us);
            } else {
                found.judge_counter(of_key, calm_us);
            }
        }
        let (disorder, unjudged) = check_keys(contested, keys);
        (found.disordered, found.unjudged) = (disorder.len(), unjudged);
        found.details.extend(disorder.into_iter().map(|violation| violation.0));
        found
    }

    /// Promises broken; misses that unmet reads may explain are not among them.
    pub fn violations(&self) -> usize {
        let of_registers = self.lost + self.stale + self.resurrected + self.backward + self.torn;
        of_registers + self.odd + self.miscounted + self.disordered
    }

    /// The first of them.
    pub fn told(&self) -> String {
        self.details.iter().take(DETAILS_MAX).map(|detail| format!("  {detail}\n")).collect()
    }

    fn count(&mut self, of_key: &[Operation]) {
        for operation in of_key {
            match (operation.action, operation.outcome) {
                (_, Outcome::Saw(_)) => self.reads += 1,
                (Action::Write(_) | Action::Delete(_), Outcome::Acknowledged) => self.writes += 1,
                (Action::Write(_) | Action::Delete(_), _) => self.in_doubt += 1,
                _ => {}
            }
        }
    }

    fn judge_register(&mut self, of_key: &[Operation], unmet: Unmet, calm_us: u64) {
        let (name, history) = (key_name(of_key[0].key), first_key(of_key));
        for violation in check_monotonic(&history, 1) {
            self.backward += 1;
            self.details.push(format!("back in time: {name}: {}", violation.0));
        }
        if check_registers(&history, 1).is_empty() {
            return;
        }
        let is_read = |operation: &&Operation| matches!(operation.outcome, Outcome::Saw(_));
        let writes: Vec<Operation> = history.iter().filter(|operation| !is_read(operation)).cloned().collect();
        for read in history.iter().filter(is_read) {
            let with_it = [writes.clone(), vec![read.clone()]].concat();
            let Some(violation) = check_registers(&with_it, 1).into_iter().next() else { continue };
            let kind = if read.outcome != Outcome::Saw(None) {
                let newest = newest_before(&writes, read.begun_us);
                let deleted = newest.is_some_and(|write| matches!(write.action, Action::Delete(_)));
                let count = if deleted { &mut self.resurrected } else { &mut self.stale };
                *count += 1;
                if deleted { "resurrected" } else { "stale" }
            } else if unmet == Unmet::Miss && read.begun_us < calm_us {
                self.misses += 1;
                continue;
            } else {
                self.lost += 1;
                "lost"
            };
            self.details.push(format!("{kind}: {name}: {}{}", violation.0, around(&history, read)));
        }
    }

    fn judge_counter(&mut self, of_key: &[Operation], calm_us: u64) {
        let (name, history) = (key_name(of_key[0].key), first_key(of_key));
        for read in history.iter().filter(|operation| operation.begun_us >= calm_us) {
            let violations = match read.outcome {
                Outcome::Saw(Some(finally)) => check_counter(&history, 0, finally),
                Outcome::Saw(None) => vec![Violation("it is gone".to_owned())],
                _ => continue,
            };
            self.miscounted += violations.len();
            self.details.extend(violations.into_iter().map(|violation| format!("{name}: {}", violation.0)));
        }
    }
}

/// The counters' keys.
pub fn counters() -> std::ops::Range<usize> {
    REGISTERS..REGISTERS + COUNTERS
}

fn first_key(of_key: &[Operation]) -> Vec<Operation> {
    let mut history: Vec<Operation> =
        of_key.iter().map(|operation| Operation { key: 0, ..operation.clone() }).collect();
    history.sort_by_key(|operation| operation.begun_us);
    history
}

fn newest_before(writes: &[Operation], begun_us: u64) -> Option<&Operation> {
    let before = |write: &&Operation| write.outcome == Outcome::Acknowledged && write.ended_us < begun_us;
    writes.iter().filter(before).max_by_key(|write| match write.action {
        Action::Write(number) | Action::Delete(number) => number,
        _ => 0,
    })
}

/// The operations before and after one.
fn around(history: &[Operation], one: &Operation) -> String {
    let at = history.iter().position(|other| std::ptr::eq(other, one)).unwrap_or_default();
    let near = history.iter().skip(at.saturating_sub(NEIGHBOURS_MAX * 3 / 4)).take(NEIGHBOURS_MAX);
    near.map(|operation| format!("\n      {operation:?}")).collect()
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} writes acknowledged, {} in doubt, {} reads: {} lost, {} stale, {} resurrected, {} torn, {} back in time, \
             {} odd, {} miscounted; {} operations on {} contested keys: {} without an order, {} not judged",
            self.writes,
            self.in_doubt,
            self.reads,
            self.lost,
            self.stale,
            self.resurrected,
            self.torn,
            self.backward,
            self.odd,
            self.miscounted,
            self.rivalries,
            self.contested,
            self.disordered,
            self.unjudged,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(action: Action, begun_us: u64, outcome: Outcome) -> Operation {
        Operation { key: 7, action, node: 0, begun_us, ended_us: begun_us + 5, outcome }
    }

    fn judged(read: Outcome, unmet: Unmet) -> Findings {
        let history = vec![
            operation(Action::Write(1), 0, Outcome::Acknowledged),
            operation(Action::Delete(2), 10, Outcome::Acknowledged),
            operation(Action::Read, 20, read),
            operation(Action::Write(3), 30, Outcome::Acknowledged),
            operation(Action::Read, 40, read),
        ];
        Findings::of(vec![Seen { history, ..Seen::default() }], &[], 0, unmet, 100)
    }

    #[test]
    fn what_was_seen_is_counted_by_the_promise_that_it_breaks() {
        let old = judged(Outcome::Saw(Some(1)), Unmet::Error);
        assert_eq!((old.resurrected, old.stale, old.lost, old.violations()), (1, 1, 0, 2));
        let gone = judged(Outcome::Saw(None), Unmet::Error);
        assert_eq!((gone.resurrected, gone.stale, gone.lost, gone.violations()), (0, 0, 1, 1));
        let perhaps = judged(Outcome::Saw(None), Unmet::Miss);
        assert_eq!((perhaps.lost, perhaps.misses), (0, 1));
    }

    #[test]
    fn a_counter_is_read_when_all_is_calm() {
        let counted = |read: Outcome| {
            let mut history = vec![
                operation(Action::Increment, 0, Outcome::Acknowledged),
                operation(Action::Read, 20, Outcome::Saw(Some(9))),
                operation(Action::Read, 200, read),
            ];
            history.iter_mut().for_each(|operation| operation.key = REGISTERS);
            Findings::of(vec![Seen { history, ..Seen::default() }], &[], 0, Unmet::Miss, 100).miscounted
        };
        assert_eq!([Some(1), Some(0), Some(2), None].map(|read| counted(Outcome::Saw(read))), [0, 1, 1, 1]);
    }
}
