//! The client library on real nodes and on memcached: see `tests/src/real/straight.rs`. Run by `scripts/client.sh`.
//!
//! `MEMRING_BIN` names the program; `MEMCACHED_BIN` that of memcached, without which its test says that it was left out.

use std::path::{Path, PathBuf};

use memring_tests::real::straight;

#[expect(clippy::disallowed_methods, reason = "a test's own knobs")]
fn knob(name: &str, otherwise: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

/// Runs a story of the program, in a folder that goes with it if it ends well.
#[track_caller]
fn tell(name: &str, binary: &str, story: impl FnOnce(&str, &Path) -> Result<(), String>) {
    let logs: PathBuf = std::env::temp_dir().join(format!("memring-client-{name}-{}", std::process::id()));
    if let Err(why) = story(binary, &logs) {
        panic!("{name}: {why}; logs in {}", logs.display());
    }
    let _ = std::fs::remove_dir_all(logs);
}

fn memring() -> String {
    knob("MEMRING_BIN", concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/memring"))
}

#[test]
#[ignore = "real processes: scripts/client.sh"]
fn gets_at_level_one_go_straight_to_a_home_before_and_after_a_node_is_added() {
    tell("straight", &memring(), straight::straight);
}

#[test]
#[ignore = "real processes: scripts/client.sh"]
fn a_node_that_is_killed_costs_no_read() {
    tell("killed", &memring(), straight::killed);
}

#[test]
#[ignore = "real processes: scripts/client.sh"]
fn every_call_does_what_it_says_on_a_cluster() {
    tell("calls", &memring(), straight::every_call);
}

#[test]
#[ignore = "real processes: scripts/client.sh"]
fn every_call_does_what_it_says_on_memcached_servers() {
    let binary = knob("MEMCACHED_BIN", concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/bin/memcached"));
    if !Path::new(&binary).exists() {
        println!("client: memcached left out: there is no {binary}");
        return;
    }
    tell("memcached", &binary, straight::memcached);
}
