//! The loop of kills: nodes at the defaults, killed and started again one after the other, and frozen for a while in between.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use super::clock::{Deadline, now_us, pause, seconds_since};
use super::cluster::{Cluster, NODES, Place};
use super::copies::create_counters;
use super::gauges::Gauges;
use super::scene::{Scene, Unmet};
use super::stories::{Options, between, conclude, play, tell_speed};

/// A loop of kills has so many at least, …
const KILLS_MIN: u64 = 5;

/// … and one for so many of the writes that are asked for.
const WRITES_A_KILL: u64 = 50_000;

/// Writes a second in the loop of kills, so that a history of many kills can be searched. Without a limit two cores do twice
/// as many.
const KILLS_WRITES_PER_S: u64 = 30_000;

/// No run takes longer.
const RUN_MAX: Duration = Duration::from_secs(45 * 60);

/// What has been done to nodes in the loop of kills.
#[derive(Debug, Default)]
struct Strikes {
    rounds: u64,
    kills: u64,
    /// Of a node that had not yet copied everything from the others.
    again: u64,
    /// With another one frozen meanwhile, so that there was no majority.
    beside: u64,
    freezes: u64,
    longest_return_s: f64,
}

impl Strikes {
    fn freeze(&mut self, cluster: &Cluster, random: &mut StdRng) -> Result<(), String> {
        let node = &cluster.nodes[random.random_range(0..NODES)];
        node.freeze()?;
        pause(between(random, 300, 4000));
        self.freezes += 1;
        node.go_on()
    }

    /// Kills a node, and waits until it is whole again. No other one dies meanwhile: that is more than is promised for.
    fn kill(&mut self, cluster: &mut Cluster, gauges: &mut Gauges, random: &mut StdRng) -> Result<(), String> {
        let victim = random.random_range(0..NODES);
        let other = (victim + random.random_range(1..NODES)) % NODES;
        let (again, beside) = (self.rounds % 3 == 1, self.rounds % 3 == 2);
        self.rounds += 1;
        gauges.look_last(cluster, victim);
        if beside {
            cluster.nodes[other].freeze()?;
        }
        cluster.nodes[victim].kill();
        pause(between(random, 100, 3000));
        if beside {
            cluster.nodes[other].go_on()?;
        }
        cluster.nodes[victim].start()?;
        if again {
            pause(between(random, 20, 600));
            cluster.nodes[victim].kill();
            cluster.nodes[victim].start()?;
        }
        self.kills += 1 + u64::from(again);
        self.again += u64::from(again);
        self.beside += u64::from(beside);
        let started_us = now_us();
        cluster.wait_whole()?;
        self.longest_return_s = self.longest_return_s.max(seconds_since(started_us));
        Ok(())
    }
}

/// Nodes at the defaults, killed and started again one after the other, and stopped for a while in between.
pub fn kills(options: &Options) -> Result<(), String> {
    let mut cluster = options.cluster("kills", Place::Loopback, Unmet::Miss)?;
    let scene = Scene::new(cluster.clients(), Unmet::Miss, options.seed).paced(KILLS_WRITES_PER_S);
    create_counters(scene.clients[0])?;
    let kills_min = KILLS_MIN.max(options.writes / WRITES_A_KILL);
    let (mut random, mut gauges, begin_us) = (options.random("kills"), Gauges::of(&cluster), now_us());
    let mut strikes = Strikes::default();
    let (tale, ()) = play(&scene, || {
        let deadline = Deadline::after(RUN_MAX);
        while scene.acknowledged.load(Ordering::Relaxed) < options.writes || strikes.kills < kills_min {
            if deadline.is_over() {
                return Err(format!("only {} writes", scene.acknowledged.load(Ordering::Relaxed)));
            }
            gauges.watch(&cluster, between(&mut random, 300, 1500));
            strikes.freeze(&cluster, &mut random)?;
            gauges.watch(&cluster, between(&mut random, 300, 1500));
            strikes.kill(&mut cluster, &mut gauges, &mut random)?;
        }
        Ok(())
    })?;
    tell_speed("kills", &scene, seconds_since(begin_us));
    let Strikes { kills, freezes, longest_return_s, .. } = strikes;
    println!(
        "kills: {kills} kills, {} of them of a node that was coming back, {} with another one frozen; {freezes} nodes frozen alone",
        strikes.again, strikes.beside
    );
    println!("kills: a node was whole again {longest_return_s:.1} s after its start at most");
    conclude("kills", &mut cluster, &scene, tale, gauges)
}
