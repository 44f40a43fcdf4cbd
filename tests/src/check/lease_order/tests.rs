//! Histories that keep the promises of leases, and histories that break them.

use super::{Action, Operation, Outcome, Reader, Saw, check_leases};

const PLAIN: Action = Action::Read(Reader::Plain);
const CREATES: Action = Action::Read(Reader::Creates);
const STALE: Action = Action::Invalidate { expires: false };

type Line = (Action, u64, u64, Outcome);

fn check(lines: &[Line], legal: bool) {
    let history: Vec<Operation> = lines
        .iter()
        .map(|(action, begun_us, ended_us, outcome)| {
            let (action, outcome) = (*action, *outcome);
            Operation { key: 0, action, node: 0, begun_us: *begun_us, ended_us: *ended_us, outcome }
        })
        .collect();
    assert_eq!(check_leases(&history, 1).0.is_empty(), legal, "{history:?}");
}

fn store(number: u64, token: u64, begun_us: u64, ended_us: u64) -> Line {
    let action = Action::Store { number, classic: false, expires: false };
    (action, begun_us, ended_us, Outcome::Done(Some(token)))
}

fn invalidate(begun_us: u64, ended_us: u64) -> Line {
    (STALE, begun_us, ended_us, Outcome::Done(None))
}

/// A read that shows this number, this token, and these of `W`, `X`, `Z`.
fn read(action: Action, number: u64, token: u64, marks: &str, begun_us: u64, ended_us: u64) -> Line {
    let (won, stale, lost) = (marks.contains('W'), marks.contains('X'), marks.contains('Z'));
    (action, begun_us, ended_us, Outcome::Saw(Saw { number, token, won, stale, lost }))
}

fn stale_item() -> Vec<Line> {
    vec![store(1, 10, 0, 5), invalidate(10, 15)]
}

fn after_stale(lines: &[Line], legal: bool) {
    check(&[stale_item(), lines.to_vec()].concat(), legal);
}

#[test]
fn one_reader_of_a_stale_item_wins() {
    let winner = read(PLAIN, 1, 20, "WX", 20, 30);
    after_stale(&[winner, read(PLAIN, 1, 20, "ZX", 20, 30), read(PLAIN, 1, 20, "ZX", 40, 50)], true);
    after_stale(&[winner, read(PLAIN, 1, 20, "WX", 20, 30)], false);
    after_stale(&[winner, read(PLAIN, 1, 20, "WX", 40, 50)], false);
    after_stale(&[winner, invalidate(32, 35), read(PLAIN, 1, 21, "WX", 40, 50)], true);
    after_stale(&[winner, read(PLAIN, 1, 20, "X", 40, 50)], false);
}

#[test]
fn one_reader_creates_an_absent_item() {
    check(&[read(CREATES, 0, 9, "W", 0, 9), read(CREATES, 0, 9, "Z", 0, 9), read(PLAIN, 0, 9, "Z", 10, 19)], true);
    check(&[read(CREATES, 0, 9, "W", 0, 9), read(CREATES, 0, 9, "W", 0, 9)], false);
    check(&[read(CREATES, 0, 9, "W", 0, 9), (PLAIN, 10, 19, Outcome::Missing)], false);
    check(&[(CREATES, 0, 9, Outcome::Missing)], false);
}

#[test]
fn a_loser_has_a_winner_before_it_or_one_in_doubt() {
    let loser = read(PLAIN, 1, 20, "ZX", 40, 50);
    after_stale(&[loser], false);
    after_stale(&[loser, read(PLAIN, 1, 20, "WX", 60, 70)], false);
    after_stale(&[loser, read(PLAIN, 1, 20, "WX", 45, 70)], true);
    after_stale(&[(PLAIN, 20, u64::MAX, Outcome::InDoubt), loser], true);
    // One in doubt, which may have been tried again, is at most two winners.
    let doubtful = (PLAIN, 20, u64::MAX, Outcome::InDoubt);
    let twice = [doubtful, loser, invalidate(60, 65), read(PLAIN, 1, 30, "ZX", 70, 80), invalidate(90, 95)];
    after_stale(&twice, true);
    after_stale(&[&twice[..], &[read(PLAIN, 1, 40, "ZX", 97, 99)]].concat(), false);
}

#[test]
fn a_stale_value_is_served_as_such_until_it_is_stored() {
    after_stale(&[read(PLAIN, 1, 10, "", 20, 30)], false);
    after_stale(&[read(PLAIN, 1, 20, "W", 20, 30)], false);
    after_stale(&[store(2, 30, 20, 30), read(PLAIN, 2, 30, "", 40, 50)], true);
    for marks in ["WX", "X", "ZX", "W", "Z"] {
        after_stale(&[store(2, 30, 20, 30), read(PLAIN, 2, 30, marks, 40, 50)], false);
    }
    after_stale(&[store(2, 30, 20, 45), read(PLAIN, 1, 20, "WX", 40, 50)], true);
    // Classic reads see no marks, but the value.
    after_stale(&[read(Action::Read(Reader::Classic), 1, 20, "", 20, 30)], true);
    after_stale(&[read(Action::Read(Reader::Touches), 1, 20, "", 20, 30), read(PLAIN, 1, 20, "WX", 40, 50)], true);
    after_stale(&[read(Action::Read(Reader::Touches), 1, 20, "", 20, 30), read(PLAIN, 1, 20, "ZX", 40, 50)], false);
    after_stale(&[read(Action::Read(Reader::Classic), 2, 20, "", 20, 30)], false);
}

#[test]
fn what_the_winner_stores_counts_only_for_what_it_was_asked_for() {
    let winner = read(PLAIN, 1, 20, "WX", 20, 30);
    let fill = |token, older, outcome| (Action::StoreIf { number: 2, token, older, expires: false }, 40, 50, outcome);
    let done = Outcome::Done(Some(40));
    after_stale(&[winner, fill(20, false, done), read(PLAIN, 2, 40, "", 60, 70)], true);
    after_stale(&[winner, fill(20, false, done), read(PLAIN, 2, 40, "ZX", 60, 70)], false);
    after_stale(&[winner, invalidate(32, 35), fill(20, false, Outcome::Differs)], true);
    after_stale(&[winner, invalidate(32, 35), fill(20, false, done)], false);
    let refilled = [winner, invalidate(32, 35), fill(20, true, done)];
    after_stale(&[&refilled[..], &[read(PLAIN, 2, 40, "WX", 60, 70)]].concat(), true);
    after_stale(&[&refilled[..], &[read(PLAIN, 2, 40, "", 60, 70)]].concat(), false);
}

#[test]
fn an_item_that_ends_is_won_by_a_reader_that_wants_it_longer() {
    let recaches = Action::Read(Reader::Recaches);
    let ending = (Action::Store { number: 1, classic: false, expires: true }, 0, 5, Outcome::Done(Some(10)));
    check(&[ending, read(recaches, 1, 10, "W", 10, 20), read(PLAIN, 1, 10, "Z", 30, 40)], true);
    check(&[ending, read(recaches, 1, 10, "W", 10, 20), read(recaches, 1, 10, "W", 30, 40)], false);
    check(&[store(1, 10, 0, 5), read(recaches, 1, 10, "W", 10, 20)], false);
}

#[test]
fn a_store_that_was_tried_again_may_come_back_three_times_and_no_more() {
    let retried = |comebacks: u64| {
        let mut lines = vec![store(1, 100, 0, 200)];
        for round in 0..comebacks {
            let at = 10 + 20 * round;
            lines.push(store(2, at, at, at + 5));
            lines.push(read(PLAIN, 1, at + 7, "", at + 7, at + 9));
        }
        lines
    };
    check(&retried(3), true);
    check(&retried(5), false);
}
