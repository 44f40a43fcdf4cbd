//! The task that keeps a client's view: asks how the cluster is, every few seconds and at once after a failure, and tries
//! servers whose breaker is open.
//!
//! Must not know calls. It ends when the last clone of the client is gone.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::options::Options;
use super::view::View;
use crate::chance::chance;
use crate::error::Error;
use crate::link::{Asking, Fits, Link};
use crate::pipeline::Pipeline;
use crate::topology::{Discovered, Topology, discover};

/// Between two refreshes that failures ask for: a cluster in trouble is not asked more than this by one client.
const REFRESH_APART: Duration = Duration::from_millis(100);

/// While failures go on, the cluster is asked this often: gossip takes some seconds to agree on what happened.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How many refreshes follow a failure that soon.
const REFRESHES_AFTER_FAILURE: u32 = 5;

/// The first view: what the first seed that answers tells.
pub(super) async fn find(seeds: &[String], options: &Options, alarm: &Arc<Notify>) -> Result<View, Error> {
    if seeds.is_empty() {
        return Err(Error::NotSent("no server was named"));
    }
    let mut failure = Error::NotSent("no server was named");
    let mut links = Vec::new();
    for seed in seeds {
        let link = Arc::new(Link::new(seed, options.link(), alarm));
        match discover(&link, &known(seeds, options, None)).await {
            Ok(topology) => {
                links.push(link);
                return Ok(View::of(topology, &links, options.link(), alarm));
            }
            Err(error) => failure = error,
        }
        links.push(link);
    }
    Err(failure)
}

fn known<'a>(seeds: &'a [String], options: &Options, before: Option<&'a Topology>) -> Discovered<'a> {
    Discovered { seeds, hash: options.hash, before, within: options.attempt.min(options.deadline) }
}

/// Runs until the client is gone.
pub(super) async fn tend(client: Weak<Shared>, alarm: Arc<Notify>) {
    let mut round = 0;
    let mut after_failure = 0;
    let mut refresh_at = None;
    loop {
        let (wake_at, due) = {
            let Some(shared) = client.upgrade() else { return };
            let due = *refresh_at.get_or_insert_with(|| Instant::now() + jittered(shared.options.refresh));
            let trials = shared.view.load().links().filter_map(|link| link.trial_at()).min();
            (trials.map_or(due, |trial| trial.min(due)), due)
        };
        let is_alarm = tokio::select! {
            () = sleep_until(wake_at) => false,
            () = alarm.notified() => true,
        };
        let Some(shared) = client.upgrade() else { return };
        let now = Instant::now();
        if is_alarm {
            after_failure = REFRESHES_AFTER_FAILURE;
            refresh_at = Some(due.min(now + REFRESH_APART));
        }
        try_servers(&shared, now);
        if refresh_at.is_some_and(|at| at <= now) {
            refresh(&shared, round).await;
            round += 1;
            let soon = after_failure > 0;
            after_failure = after_failure.saturating_sub(1);
            let next = if soon { shared.options.refresh.min(AFTER_FAILURE) } else { shared.options.refresh };
            refresh_at = Some(Instant::now() + jittered(next));
        }
    }
}

/// Three quarters of a time to five quarters of it, so that clients that began together do not stay together.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.75 + chance() / 2.0)
}

/// Asks servers that callers may not ask, where that is due, whether they are back.
fn try_servers(shared: &Shared, now: Instant) {
    for link in shared.view.load().links() {
        if link.trial_at().is_some_and(|at| at <= now) && link.begin_trial() {
            let (link, within) = (Arc::clone(link), shared.options.attempt);
            tokio::spawn(async move {
                let mut request = Pipeline::new();
                request.version();
                let (bytes, expected) = request.into_only();
                // What comes of it, the link knows.
                let _ = link
                    .call(Asking::Say { bytes, expected, fits: Fits::If(|_| true) }, Instant::now() + within, within)
                    .await;
                link.end_trial();
            });
        }
    }
}

/// Asks one server after the other, another one first each time, until one tells; then the seeds.
async fn refresh(shared: &Shared, round: usize) {
    let view = shared.view.load_full();
    let links: Vec<Arc<Link>> = view.links().cloned().collect();
    let known = known(&shared.seeds, &shared.options, Some(&view.topology));
    for turn in 0..links.len() {
        let link = &links[(round + turn) % links.len()];
        if !link.is_open_to_calls() {
            continue;
        }
        if let Ok(topology) = discover(link, &known).await {
            return take(shared, &view, topology);
        }
    }
    for seed in shared.seeds.iter().filter(|seed| !links.iter().any(|link| link.address() == *seed)) {
        let link = Link::new(seed, shared.options.link(), &Arc::new(Notify::new()));
        if let Ok(topology) = discover(&link, &known).await {
            return take(shared, &view, topology);
        }
    }
}

/// Works from a new topology, unless it is the one there is, or an earlier one of the same ring.
fn take(shared: &Shared, view: &View, topology: Topology) {
    if topology == *view.topology || is_outdated(&view.topology, &topology) {
        return;
    }
    let links: Vec<Arc<Link>> = view.links().cloned().collect();
    shared.view.store(Arc::new(View::of(topology, &links, shared.options.link(), &shared.alarm)));
}

/// Whether a node that is behind has told the new one.
fn is_outdated(old: &Topology, new: &Topology) -> bool {
    match (old.ring(), new.ring()) {
        (Some(old), Some(new)) => {
            old.config().ring_id == new.config().ring_id && old.config().epoch > new.config().epoch
        }
        // It has just started and knows of no ring yet, or is of an earlier release: others know.
        (Some(_), None) => true,
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use memring_protocol::ring::{RingId, Standing};

    use super::*;
    use crate::topology::{Hash, Ring, ring_tests::told};

    #[test]
    fn what_a_node_tells_that_is_behind_is_not_taken() {
        let ring = |epoch, id| {
            let mut told = told(epoch, &[("", Standing::Active)]);
            told.config.ring_id = RingId(id);
            Topology::of_ring(Ring::of(told, None))
        };
        let list = ["a:1".to_owned()];
        for (old, new, outdated) in [
            (ring(3, 1), ring(2, 1), true),
            (ring(3, 1), ring(3, 1), false),
            (ring(3, 1), ring(4, 1), false),
            (ring(3, 1), ring(1, 2), false),
            (ring(3, 1), Topology::of_any_node(&list), true),
            (ring(3, 1), Topology::of_memcached(&list, Hash::Jump), true),
            (Topology::of_any_node(&list), ring(1, 1), false),
        ] {
            assert_eq!(is_outdated(&old, &new), outdated, "{old:?} -> {new:?}");
        }
    }
}
