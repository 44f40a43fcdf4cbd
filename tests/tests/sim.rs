//! Whole clusters through seeded faults. `SIM_SEEDS=n` chooses how many, `SIM_SEED=x` replays one, and
//! `SIM_FROM=x` leaves out those before it.

use memring_tests::sim::faults::KINDS;
use memring_tests::sim::lives::{contest_through_splits, lease_through_faults, live_through_faults};
use memring_tests::sim::seeds::{live, must_have_met, number};

/// So many seeds meet everything that can go wrong.
const MEETS_ALL: u64 = 100;

#[test]
fn no_acknowledged_write_is_lost_and_no_quorum_read_is_stale_under_faults() {
    let count = number("SIM_SEEDS").unwrap_or(20);
    let met = live("sim", count, live_through_faults);
    must_have_met("sim", &met, &KINDS, count >= MEETS_ALL);
}

/// Level `all` in a ring that grew; a deposed serializer that looked and looked; a touch that was told to have missed, and had
/// not; a ring that was heard of before any clock of it; a home that was stopped, knew nothing of it, and was never told what
/// its hints had no room for; a version confirmed by another than who had made it, missed, and without room for its hint.
const FOUND_SOMETHING: [u64; 6] = [51, 52, 2449, 3027, 4839, 6105];

#[test]
fn seeds_that_have_found_something_hold() {
    for seed in FOUND_SOMETHING {
        assert_eq!(live_through_faults(seed).violations.len(), 0, "seed {seed}");
    }
}

#[test]
fn contested_keys_have_one_order_in_stable_clusters_on_the_majoritys_side_and_with_rival_serializers() {
    live("sim order", number("SIM_SEEDS").unwrap_or(20).div_ceil(6), contest_through_splits);
}

#[test]
fn each_lease_is_won_once_whichever_nodes_are_asked_under_faults() {
    live("sim leases", number("SIM_SEEDS").unwrap_or(20).div_ceil(6), lease_through_faults);
}
