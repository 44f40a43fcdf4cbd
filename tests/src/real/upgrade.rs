//! A rolling upgrade: nodes of one release are replaced by nodes of another, one after the other, with clients at work; and
//! back again.

use std::process::Command;
use std::time::Duration;

use super::clock::{now_us, seconds_since};
use super::cluster::{NODES, Place};
use super::copies::create_counters;
use super::gauges::Gauges;
use super::scene::{Scene, Unmet};
use super::stories::{Options, conclude, play, tell_speed};

/// Writes a second, so that the history can be searched.
const WRITES_PER_S: u64 = 10_000;

/// How long the cluster works with each mixture of releases.
const MIXED_FOR: Duration = Duration::from_secs(2);

/// Upgrades in both orders of nodes, and the way back: every pair of neighbours mixes, each way.
pub fn upgrade(options: &Options) -> Result<(), String> {
    let Some((older, _)) = &options.older else { return Err("--older PATH names the release before".to_owned()) };
    let first_to_last: Vec<usize> = (0..NODES).collect();
    let last_to_first: Vec<usize> = (0..NODES).rev().collect();
    for (name, from, to, order) in [
        ("upgrade", older, &options.binary, &first_to_last),
        ("upgrade, last first", older, &options.binary, &last_to_first),
        ("way back", &options.binary, older, &first_to_last),
    ] {
        println!("{name}: from {} to {}", version(from)?, version(to)?);
        replace(options, name, (from, to), order)?;
    }
    Ok(())
}

fn replace(options: &Options, name: &str, (from, to): (&str, &str), order: &[usize]) -> Result<(), String> {
    let all_from = Options { binary: from.to_owned(), older: None, ..options.clone() };
    let mut cluster = all_from.cluster(name, Place::Loopback, Unmet::Miss)?;
    let scene = Scene::new(cluster.clients(), Unmet::Miss, options.seed).paced(WRITES_PER_S);
    create_counters(scene.clients[0])?;
    let (mut gauges, begin_us) = (Gauges::of(&cluster), now_us());
    let (tale, ()) = play(&scene, || {
        for node in order {
            gauges.watch(&cluster, MIXED_FOR);
            gauges.look_last(&cluster, *node);
            cluster.nodes[*node].stop()?;
            cluster.nodes[*node].run_program(from, to);
            cluster.nodes[*node].start()?;
            cluster.wait_whole()?;
        }
        gauges.watch(&cluster, MIXED_FOR);
        Ok(())
    })?;
    tell_speed(name, &scene, seconds_since(begin_us));
    conclude(name, &mut cluster, &scene, tale, gauges)
}

fn version(program: &str) -> Result<String, String> {
    let told = |error: std::io::Error| format!("{program}: {error}");
    let output = Command::new(program).arg("--version").output().map_err(told)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
