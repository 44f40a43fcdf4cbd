//! Which peers this node avoids, and which it asks last: judged once a tick from pings and from what workers have seen.
//!
//! Must not know gossip's verdicts, nor what workers do about these.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use memring_protocol::version::Slot;

use super::{Control, TICK};
use crate::cluster::health::PeerHealth;
use crate::cluster::pace::{Pace, WINDOW};
use crate::now::{Mono, Now};

/// A tick that comes so late tells that this node itself has slept, or waited for its turn.
const BEAT_MISSED: Duration = Duration::from_millis(3 * TICK.as_millis() as u64);

/// With fewer replies in a window, pings say how quick a peer is.
const REPLIES_MIN: u64 = 8;

/// Of one peer.
#[derive(Debug, Default)]
struct Watched {
    health: PeerHealth,
    /// Replies, and what they took, when the last window ended.
    replies_before: (u64, u64),
    /// Answered pings of this window, and what they took, in microseconds.
    pongs: (u64, u64),
}

/// What the control thread has seen of its peers.
#[derive(Debug, Default)]
pub(super) struct Watch {
    peers: BTreeMap<SocketAddr, Watched>,
    pace: Pace<SocketAddr>,
    window_ends: Mono,
    ticked_at: Mono,
    /// Since when no tick has come late.
    awake_since: Mono,
}

impl Watch {
    /// Whether a ping is due; it is taken to be sent then.
    pub(super) fn wants_ping(&mut self, now: Mono, peer: SocketAddr) -> bool {
        let health = &mut self.peers.entry(peer).or_default().health;
        let wants = health.wants_ping(now);
        if wants {
            health.on_ping(now);
        }
        wants
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&SocketAddr) -> bool) {
        self.peers.retain(|peer, _| keep(peer));
        self.pace.retain(keep);
    }
}

impl Control {
    /// A connection to a peer was refused, reset or ended.
    pub(super) fn lose(&mut self, now: Now, peer: SocketAddr) {
        self.change(peer, |watched| watched.health.on_lost(now.mono));
    }

    /// The ping sent to `from` at `sent` was answered.
    pub(super) fn hear_pong(&mut self, now: Now, from: SocketAddr, sent: Mono) {
        // First what came first: a link that a worker has lost meanwhile makes this an answer from before.
        self.take_lost();
        self.change(from, |watched| {
            watched.health.on_pong(now.mono, sent);
            watched.pongs.0 += 1;
            watched.pongs.1 += now.mono.since(sent).as_micros() as u64;
        });
    }

    fn take_lost(&mut self) {
        for (peer, at) in self.shared.peers.take_lost() {
            self.change(peer, |watched| watched.health.on_lost(at));
        }
    }

    /// Judges all peers: once a tick.
    pub(super) fn judge_health(&mut self, now: Now) {
        if now.mono.since(self.watch.ticked_at) >= BEAT_MISSED {
            self.watch.awake_since = now.mono;
        }
        self.watch.ticked_at = now.mono;
        self.take_lost();
        let (slots, awake_since) = (self.slots(), self.watch.awake_since);
        for peer in self.watch.peers.keys().copied().collect::<Vec<_>>() {
            let asked_since = slots.get(&peer).and_then(|slot| self.shared.peers.asked_since(*slot));
            self.change(peer, |watched| watched.health.judge(now.mono, asked_since, awake_since));
        }
        if now.mono >= self.watch.window_ends {
            self.watch.window_ends = now.mono.after(WINDOW);
            self.judge_pace(&slots);
        }
    }

    fn judge_pace(&mut self, slots: &BTreeMap<SocketAddr, Slot>) {
        let Watch { peers, pace, .. } = &mut self.watch;
        for (peer, watched) in peers.iter_mut() {
            let Some(slot) = slots.get(peer) else { continue };
            let (took, sums) = self.shared.pace_since(*slot, watched.replies_before, REPLIES_MIN);
            watched.replies_before = sums;
            let (count, took_us) = std::mem::take(&mut watched.pongs);
            let pinged = (count > 0).then(|| Duration::from_micros(took_us / count.max(1)));
            if let Some(took) = took.or(pinged) {
                pace.note(*peer, took);
            }
        }
        pace.judge();
        let slow: Vec<SocketAddr> = pace.slow().collect();
        for peer in peers.keys() {
            self.shared.peers.set_slow(*peer, slow.contains(peer));
        }
    }

    fn slots(&self) -> BTreeMap<SocketAddr, Slot> {
        let topology = self.shared.topology();
        let members = topology.layout().map_or(&[][..], |layout| &layout.config.members);
        let address = |slot| Some((topology.peer(slot)?.address, slot));
        members.iter().filter_map(|member| address(member.slot)).collect()
    }

    /// Something was seen of a peer: the workers are told what to think of it.
    fn change<T>(&mut self, peer: SocketAddr, what: impl FnOnce(&mut Watched) -> T) {
        let watched = self.watch.peers.entry(peer).or_default();
        let before = (watched.health.trips(), watched.health.trust());
        what(watched);
        let (trips, trust) = (watched.health.trips(), watched.health.trust());
        // Not otherwise: a worker may have lost its link since.
        if (trips, trust) != before {
            tracing::debug!(%peer, ?trust, "peer judged by its answers");
            self.shared.peers.set_trust(peer, trust);
            self.shared.peers.trips.fetch_add(trips - before.0, Ordering::Relaxed);
        }
    }
}
