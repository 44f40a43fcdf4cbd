//! This node's part in cluster time: it listens to others' clocks before it goes by any, and follows them from then on.
//!
//! Until it has settled on a time, a node adopts no ring config, so it gives no stamps, takes in no flush, and counts in
//! nothing. Must not read or move a clock: the server counts the time that it is given.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use memring_protocol::entry::UnixMillis;
use memring_protocol::message::{ControlReply, NodeStatus, Reply};
use memring_protocol::ring::{NodeName, RingConfig};

use super::super::effect::Effect;
use super::Control;
use crate::cluster::clocks::{APART_MAX_MS, Clocks, Start};
use crate::now::{ClusterTime, Mono, Now};

/// How often it is said that no ring is founded, and why.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How long a node that was told of a ring waits for the clock of anyone in it.
const ALONE_FOR: Duration = Duration::from_secs(10);

/// What the control thread knows of time.
#[derive(Debug, Default)]
pub(super) struct Timekeeping {
    clocks: Clocks,
    /// The base of this node's own clock, and the time it goes by; `None` before the first turn.
    own: Option<(u64, ClusterTime)>,
    /// Whether that is the cluster's time.
    pub(super) settled: bool,
    /// A config that came before, and since when there has been one.
    held: Option<(Arc<RingConfig>, Mono)>,
    told_apart_at: Option<Mono>,
    warned: bool,
}

impl Control {
    /// At each tick, and before anything else at the first turn.
    pub(super) fn keep_time(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let shown = now.cluster.0.saturating_sub(now.mono.0 / 1000);
        let (own, time) = *self.time.own.get_or_insert((shown, ClusterTime::of_base(shown)));
        if self.time.settled {
            let time = time.met(now.mono);
            let base = self.time.clocks.follow(now.mono, time.base(now.mono));
            let moved = base.map_or(time, |base| time.moved_to(base, now.mono));
            return self.go_by(now, moved, effects);
        }
        if !self.shared.settings().joining {
            // There are no others whose time it could be.
            return self.settle_time(now, own, effects);
        }
        match self.weigh_founding(now, own) {
            // Whoever told of the ring has a clock.
            _ if self.is_told_but_hears_nobody(now) => {}
            Start::Settle(base) if self.time.clocks.has_settled() || self.time.held.is_some() => {
                self.settle_time(now, base, effects);
            }
            // They were near each other when the ring was founded.
            Start::Apart(_) if self.time.held.is_some() => self.settle_time(now, own, effects),
            Start::Apart(why) if self.time.told_apart_at.is_none_or(|at| now.mono.since(at) >= TELL_EVERY) => {
                self.time.told_apart_at = Some(now.mono);
                tracing::error!("{why}");
            }
            Start::Settle(_) | Start::Apart(_) | Start::Listen => {}
        }
    }

    /// Whether a ring of others is known and none of their clocks.
    fn is_told_but_hears_nobody(&self, now: Now) -> bool {
        self.time.held.as_ref().is_some_and(|(config, since)| {
            config.members.len() > 1 && self.time.clocks.is_silent(now.mono) && now.mono.since(*since) < ALONE_FOR
        })
    }

    /// What a node that starts may do; it founds a ring only by clocks that it has heard and that agree.
    fn weigh_founding(&mut self, now: Now, own: u64) -> Start {
        let start = self.time.clocks.start(now.mono, own);
        self.keeper.hold_founding(!matches!(start, Start::Settle(_)));
        start
    }

    /// From here on this node's time is the cluster's. It has given no stamp yet, so it may move either way.
    fn settle_time(&mut self, now: Now, base: u64, effects: &mut Vec<Effect>) {
        self.time.settled = true;
        self.go_by(now, ClusterTime::of_base(base), effects);
        if let Some((config, _)) = self.time.held.take() {
            self.adopt(now, config);
        }
    }

    fn go_by(&mut self, now: Now, time: ClusterTime, effects: &mut Vec<Effect>) {
        let Some((own, before)) = self.time.own.replace((self.own_base(), time)) else { return };
        if time != before {
            effects.push(Effect::Time(time));
        }
        let base = time.base(now.mono);
        let offset = (base as i64).saturating_sub(own as i64);
        self.shared.clock_offset_ms.store(offset, Ordering::Relaxed);
        if base.abs_diff(own) > APART_MAX_MS && !self.time.warned {
            self.time.warned = true;
            tracing::warn!(
                "this node's clock is {:.1} s {} the other nodes': it goes by theirs",
                offset.abs() as f64 / 1000.0,
                if offset > 0 { "behind" } else { "ahead of" },
            );
        }
    }

    fn own_base(&self) -> u64 {
        self.time.own.map_or(0, |(own, _)| own)
    }

    /// A config is adopted once the node knows what time it is.
    pub(super) fn adopt_in_time(&mut self, now: Now, config: Arc<RingConfig>) {
        if self.time.settled {
            self.adopt(now, config);
        } else {
            let since = self.time.held.take().map_or(now.mono, |(_, since)| since);
            self.time.held = Some((config, since));
        }
    }

    /// What a pong says of its sender's clock.
    pub(super) fn hear_clock(&mut self, now: Now, sent: Mono, status: &NodeStatus) {
        self.time.clocks.hear(&status.name, status.now, status.settled, sent, now.mono);
    }

    /// These other nodes are seen now: one that is new must be heard before any ring is founded.
    pub(super) fn see_clocks<'a>(&mut self, now: Now, names: impl Iterator<Item = &'a NodeName>) {
        self.time.clocks.see(now.mono, names);
        if let (false, Some((own, _))) = (self.time.settled, self.time.own) {
            self.weigh_founding(now, own);
        }
    }

    /// The moment by which a reply's claims about time are judged. A node that does not know the time yet takes that of
    /// the one who answers.
    pub(super) fn judges_by(&self, now: Now, reply: &Reply) -> UnixMillis {
        match reply {
            Reply::Control(ControlReply::Pong(status)) if !self.time.settled => now.cluster.max(status.now),
            _ => now.cluster,
        }
    }
}
