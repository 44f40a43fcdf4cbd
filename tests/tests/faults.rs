//! Real clusters through faults, each run a program of its own: see `tests/src/real`. Run by `scripts/faults.sh`.
//!
//! `MEMRING_BIN` names the program, `FAULT_SEED` the seed, `WRITES` the writes of the loop of kills.

use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "a test's own knobs")]
fn knob(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

/// Tells one story; its lines are figures for people.
#[track_caller]
fn tell(story: &str) {
    let binary = knob("MEMRING_BIN", concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/memring"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_faults"));
    command.args(["--binary", &binary, "--seed", &knob("FAULT_SEED", "1"), "--writes", &knob("WRITES", "100000")]);
    let status = command.args(["--seconds", &knob("SECONDS_A_FAULT", "5"), story]).status();
    assert!(status.expect("the program of the stories starts").success(), "{story}: see above");
}

#[test]
#[ignore = "real processes: scripts/faults.sh"]
fn the_checkers_see_what_real_nodes_at_level_one_do_not_promise() {
    tell("weak");
}

#[test]
#[ignore = "real processes: scripts/faults.sh"]
fn real_nodes_that_are_killed_and_stopped_lose_nothing_and_serve_nothing_stale() {
    tell("kills");
}

#[test]
#[ignore = "real processes: scripts/faults.sh"]
fn a_rolling_restart_of_real_nodes_with_one_copy_keeps_the_cache() {
    tell("restarts");
}

#[test]
#[ignore = "real processes in network namespaces, root: scripts/faults.sh"]
fn a_real_node_that_is_cut_off_answers_nothing_falsely_and_is_equal_within_ten_seconds() {
    tell("minority");
}

#[test]
#[ignore = "real processes in network namespaces, root: scripts/faults.sh"]
fn real_nodes_keep_their_promises_over_links_that_fail_one_way_in_part_or_now_and_then() {
    tell("partitions");
}

#[test]
#[ignore = "real processes: scripts/faults.sh"]
fn real_nodes_keep_their_promises_over_links_that_delay_reorder_and_double() {
    tell("relay");
}
