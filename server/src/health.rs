//! What the probes say: `/livez`, `/readyz` and `/startupz`.
//!
//! Each looks at this process alone: a probe that depended on others would take all nodes out of service at once. Must not
//! know HTTP.

use std::time::Duration;

use memring_engine::node::DrainState;
use memring_engine::now::Mono;

/// Event loops turn at least once a second; one that has not for this long hangs.
const LOOP_SILENT_MAX: Duration = Duration::from_secs(5);

/// After this a start counts as done even if the node is not synced, so that a rolling restart goes on.
const STARTUP_MAX: Duration = Duration::from_secs(5 * 60);

/// Whether the event loops turn, by when each last did: else the process is to be started anew.
pub(crate) fn live(now: Mono, mut turned: impl Iterator<Item = Mono>) -> Result<(), String> {
    match turned.position(|turned| now.since(turned) > LOOP_SILENT_MAX) {
        None => Ok(()),
        Some(number) => Err(format!("event loop {number} hangs")),
    }
}

/// Whether clients may be sent here: there is a ring with this node in it, and it is not leaving.
pub(crate) fn ready(is_stopping: bool, drain: DrainState, has_ring: bool) -> Result<(), String> {
    let why = match (is_stopping, drain, has_ring) {
        (true, _, _) => "stopping",
        (_, _, true) => return Ok(()),
        (_, DrainState::Drained, _) => "drained",
        _ => "no ring yet",
    };
    Err(why.to_owned())
}

/// Whether the next node of a rolling restart may go: this one holds all that it should, or has tried for long.
pub(crate) fn started(now: Mono, is_settled: bool) -> Result<(), String> {
    if is_settled || now.since(Mono(0)) >= STARTUP_MAX { Ok(()) } else { Err("not synced yet".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    fn said(verdict: Result<(), String>) -> String {
        verdict.map_or_else(|why| why, |()| "ok".to_owned())
    }

    #[test]
    fn a_loop_that_has_not_turned_for_five_seconds_hangs() {
        for (turned, expected) in [
            (vec![], "ok"),
            (vec![100 * S, 95 * S], "ok"),
            (vec![100 * S, 95 * S - 1], "event loop 1 hangs"),
            (vec![0, 0, 100 * S], "event loop 0 hangs"),
            (vec![101 * S], "ok"),
        ] {
            let verdict = live(Mono(100 * S), turned.iter().map(|turned| Mono(*turned)));
            assert_eq!(said(verdict), expected, "{turned:?}");
        }
    }

    #[test]
    fn a_node_is_ready_while_it_is_in_a_ring_and_stays() {
        for (is_stopping, drain, has_ring, expected) in [
            (false, DrainState::None, false, "no ring yet"),
            (false, DrainState::None, true, "ok"),
            // Its share is on the way to others: until they have it, clients are served here.
            (false, DrainState::Draining, true, "ok"),
            (false, DrainState::Drained, false, "drained"),
            (true, DrainState::None, true, "stopping"),
            (true, DrainState::Draining, true, "stopping"),
            (true, DrainState::Drained, false, "stopping"),
        ] {
            assert_eq!(said(ready(is_stopping, drain, has_ring)), expected, "{is_stopping} {drain:?} {has_ring}");
        }
    }

    #[test]
    fn a_start_is_done_when_all_is_held_or_after_five_minutes() {
        for (seconds, is_settled, expected) in [
            (0, false, "not synced yet"),
            (0, true, "ok"),
            (299, false, "not synced yet"),
            (300, false, "ok"),
            (300, true, "ok"),
        ] {
            assert_eq!(said(started(Mono(seconds * S), is_settled)), expected, "{seconds} s, {is_settled}");
        }
    }
}
