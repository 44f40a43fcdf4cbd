//! What operators do and machines suffer, each mixed with another fault, in six simulated nodes and in thirty. `SIM_EVENTS=n`
//! chooses how many seeds, `SIM_SEED=x` replays one, and `SIM_FROM=x` leaves out those before it.

use memring_tests::sim::events::{KINDS, six_nodes, thirty_nodes};
use memring_tests::sim::seeds::{live, must_have_met, number};

/// So many seeds meet everything.
const MEETS_ALL: u64 = 150;

/// Thirty nodes take some ten times as long to simulate as six.
fn seeds(of_thirty: bool) -> u64 {
    let some = number("SIM_SEEDS").unwrap_or(20) / 6;
    number("SIM_EVENTS").unwrap_or(if of_thirty { some.div_ceil(6) } else { some })
}

#[test]
fn no_event_in_six_nodes_breaks_a_promise() {
    let met = live("sim events", seeds(false), six_nodes);
    must_have_met("sim events", &met, &KINDS, seeds(false) >= MEETS_ALL);
}

#[test]
fn no_event_in_thirty_nodes_breaks_a_promise() {
    let met = live("sim thirty", seeds(true), thirty_nodes);
    must_have_met("sim thirty", &met, &KINDS, seeds(true) >= MEETS_ALL);
}
