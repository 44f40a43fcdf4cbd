//! Checkers: what clients of a cluster must never see, whatever went wrong.
//!
//! Pure functions of a history; each is itself tested on histories known to be bad.

/// What a client asked for is done or given up by all nodes within this time, with the longest pause of a node.
const SETTLED_US: u64 = 20_000_000;

/// What was asked of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Store this number.
    Write(u64),
    /// Delete, as write number so and so.
    Delete(u64),
    /// Read.
    Read,
    /// Add one.
    Increment,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Not known: no answer, or one that says so.
    InDoubt,
    /// Done.
    Acknowledged,
    /// A read's answer.
    Saw(Option<u64>),
    /// A read that was not answered, or not by enough replicas.
    Unread,
}

/// One operation of one client.
pub type Operation = super::Operation<Action, Outcome>;

/// A promise broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation(pub String);

/// Every read of a register sees the newest write that was acknowledged before the read began, or a later one, or one
/// whose fate is not known. So no acknowledged write is lost, none comes back, and reads are never stale. Of a write in doubt
/// that was given up before the newest one began nothing must be seen any more: what was overwritten or deleted stays so.
pub fn check_registers(history: &[Operation], registers: usize) -> Vec<Violation> {
    (0..registers).flat_map(|key| check_register(history, key)).collect()
}

struct WriteSeen {
    number: u64,
    value: Option<u64>,
    begun_us: u64,
    acknowledged_us: Option<u64>,
}

fn check_register(history: &[Operation], key: usize) -> Vec<Violation> {
    let of_key = || history.iter().filter(|operation| operation.key == key);
    let writes: Vec<WriteSeen> = of_key()
        .filter_map(|operation| {
            let (number, value) = match operation.action {
                Action::Write(number) => (number, Some(number)),
                Action::Delete(number) => (number, None),
                _ => return None,
            };
            let acknowledged_us = (operation.outcome == Outcome::Acknowledged).then_some(operation.ended_us);
            Some(WriteSeen { number, value, begun_us: operation.begun_us, acknowledged_us })
        })
        .collect();
    let mut violations = Vec::new();
    for read in of_key() {
        let Outcome::Saw(seen) = read.outcome else { continue };
        let before = |write: &&WriteSeen| write.acknowledged_us.is_some_and(|at| at < read.begun_us);
        let newest = writes.iter().filter(before).max_by_key(|write| write.number);
        let (newest, newest_begun_us) = newest.map_or((0, 0), |write| (write.number, write.begun_us));
        let unwritten = newest == 0 && seen.is_none();
        let pending = |write: &WriteSeen| {
            write.acknowledged_us.is_none() && newest_begun_us < write.begun_us.saturating_add(SETTLED_US)
        };
        let explained =
            unwritten || writes.iter().any(|write| write.value == seen && (write.number >= newest || pending(write)));
        if !explained {
            violations.push(Violation(format!(
                "register {key}: a read through node {} from {} us to {} us saw {seen:?}, though write {newest} was \
                 acknowledged before",
                read.node, read.begun_us, read.ended_us
            )));
        }
    }
    violations
}

/// Two reads of a register, one begun after the other ended, never go back, unless to a write whose fate is not known.
pub fn check_monotonic(history: &[Operation], registers: usize) -> Vec<Violation> {
    let mut violations = Vec::new();
    for key in 0..registers {
        let doubtful = |number: u64| {
            history.iter().any(|operation| {
                operation.key == key
                    && operation.action == Action::Write(number)
                    && operation.outcome == Outcome::InDoubt
            })
        };
        let mut reads: Vec<(u64, u64, u64)> = history
            .iter()
            .filter(|operation| operation.key == key)
            .filter_map(|operation| match operation.outcome {
                Outcome::Saw(Some(number)) if !doubtful(number) => {
                    Some((operation.begun_us, operation.ended_us, number))
                }
                _ => None,
            })
            .collect();
        reads.sort_unstable();
        for (index, (begun, _, number)) in reads.iter().enumerate() {
            let earlier = reads[..index].iter().filter(|(_, ended, _)| ended < begun).map(|(.., number)| *number).max();
            if earlier.is_some_and(|earlier| earlier > *number) {
                violations.push(Violation(format!("register {key}: reads went back from {earlier:?} to {number}")));
            }
        }
    }
    violations
}

/// A counter ends between the increments that were acknowledged and those that were tried.
pub fn check_counter(history: &[Operation], key: usize, finally: u64) -> Vec<Violation> {
    let increments =
        || history.iter().filter(|operation| operation.key == key && operation.action == Action::Increment);
    let tried = increments().count() as u64;
    let acknowledged = increments().filter(|operation| operation.outcome == Outcome::Acknowledged).count() as u64;
    if (acknowledged..=tried).contains(&finally) {
        Vec::new()
    } else {
        let text = format!("counter {key}: ends at {finally}, with {acknowledged} acknowledged of {tried} increments");
        vec![Violation(text)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(action: Action, begun_us: u64, ended_us: u64, outcome: Outcome) -> Operation {
        Operation { key: 0, action, node: 0, begun_us, ended_us, outcome }
    }

    fn acknowledged(number: u64, begun_us: u64, ended_us: u64) -> Operation {
        operation(Action::Write(number), begun_us, ended_us, Outcome::Acknowledged)
    }

    fn saw(value: Option<u64>, begun_us: u64, ended_us: u64) -> Operation {
        operation(Action::Read, begun_us, ended_us, Outcome::Saw(value))
    }

    #[test]
    fn a_lost_or_stale_write_is_caught() {
        let two = || vec![acknowledged(1, 0, 10), acknowledged(2, 20, 30)];
        for (seen, bad) in [(Some(2), false), (Some(1), true), (None, true), (Some(7), true)] {
            let history = [two(), vec![saw(seen, 40, 50)]].concat();
            assert_eq!(!check_registers(&history, 1).is_empty(), bad, "saw {seen:?}");
        }
        let concurrent = [two(), vec![saw(Some(1), 25, 50)]].concat();
        assert_eq!(check_registers(&concurrent, 1), [], "the read began before the second write was acknowledged");
    }

    #[test]
    fn what_was_deleted_must_stay_so_and_what_is_in_doubt_may_be_seen() {
        let deleted = operation(Action::Delete(2), 20, 30, Outcome::Acknowledged);
        let history = vec![acknowledged(1, 0, 10), deleted, saw(Some(1), 40, 50)];
        assert_eq!(check_registers(&history, 1).len(), 1);
        let doubtful = operation(Action::Write(2), 20, u64::MAX, Outcome::InDoubt);
        let history = vec![acknowledged(1, 0, 10), doubtful, saw(Some(2), 40, 50), saw(Some(1), 60, 70)];
        assert_eq!(check_registers(&history, 1), []);
        assert_eq!(check_monotonic(&history, 1), []);
    }

    #[test]
    fn what_was_given_up_before_the_newest_write_began_must_not_come_back() {
        let doubtful = operation(Action::Write(1), 0, u64::MAX, Outcome::InDoubt);
        for (begun_us, bad) in [(SETTLED_US - 1, false), (SETTLED_US, true)] {
            let deleted = operation(Action::Delete(2), begun_us, begun_us + 5, Outcome::Acknowledged);
            let history = vec![doubtful.clone(), deleted, saw(Some(1), begun_us + 10, begun_us + 20)];
            assert_eq!(!check_registers(&history, 1).is_empty(), bad, "a delete at {begun_us} us");
        }
    }

    #[test]
    fn reads_that_go_back_are_caught() {
        let history = vec![saw(Some(2), 0, 10), saw(Some(1), 20, 30)];
        assert_eq!(check_monotonic(&history, 1).len(), 1);
        assert_eq!(check_monotonic(&[saw(Some(2), 0, 10), saw(Some(1), 5, 30)], 1), []);
    }

    #[test]
    fn a_counter_that_lost_or_invented_increments_is_caught() {
        let history = vec![
            operation(Action::Increment, 0, 10, Outcome::Acknowledged),
            operation(Action::Increment, 0, u64::MAX, Outcome::InDoubt),
        ];
        assert_eq!([0, 1, 2, 3].map(|finally| check_counter(&history, 0, finally).len()), [1, 0, 0, 1]);
    }
}
