//! In-band health of one peer: how this node's own traffic finds out, sooner than gossip, that a peer is best avoided.
//!
//! A lost connection says so at once; so does a ping that stays unanswered for [`SILENCE_MAX`]. Only the answer to a ping
//! sent after that clears it, so a peer that flaps is not asked in between. Must not know gossip: its verdict is the
//! cluster's, this one is this node's alone and moves no data.

use std::time::Duration;

use crate::now::Mono;

/// How long a peer may be silent before it is avoided.
pub const SILENCE_MAX: Duration = Duration::from_millis(500);

/// How often a peer is pinged.
pub const PING_EVERY: Duration = Duration::from_millis(150);

/// What this node has seen of one peer.
#[derive(Clone, Debug, Default)]
pub struct PeerHealth {
    /// Unanswered since; the oldest ping in flight.
    waiting_since: Option<Mono>,
    last_ping: Option<Mono>,
    /// Avoided since this moment.
    avoided_since: Option<Mono>,
}

impl PeerHealth {
    /// Whether a ping is due.
    pub fn wants_ping(&self, now: Mono) -> bool {
        self.last_ping.is_none_or(|last| now.since(last) >= PING_EVERY)
    }

    /// A ping was sent.
    pub fn on_ping(&mut self, now: Mono) {
        self.last_ping = Some(now);
        self.waiting_since.get_or_insert(now);
    }

    /// The ping sent at `sent` was answered.
    pub fn on_pong(&mut self, sent: Mono) {
        self.waiting_since = None;
        if self.avoided_since.is_some_and(|since| sent >= since) {
            self.avoided_since = None;
        }
    }

    /// A connection to it was refused, reset or ended.
    pub fn on_lost(&mut self, now: Mono) {
        self.avoided_since = Some(now);
    }

    /// Whether it is best not asked now.
    pub fn is_avoided(&mut self, now: Mono) -> bool {
        if self.waiting_since.is_some_and(|since| now.since(since) >= SILENCE_MAX) {
            self.avoided_since.get_or_insert(now);
        }
        self.avoided_since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(ms * 1000)
    }

    #[test]
    fn a_lost_connection_is_avoided_until_a_later_ping_is_answered() {
        let mut health = PeerHealth::default();
        health.on_ping(at(0));
        assert!(!health.is_avoided(at(10)));
        health.on_lost(at(20));
        health.on_pong(at(0));
        assert!(health.is_avoided(at(30)), "the answer to an earlier ping proves nothing");
        health.on_ping(at(160));
        health.on_pong(at(160));
        assert!(!health.is_avoided(at(170)));
    }

    #[test]
    fn silence_is_noticed_within_half_a_second() {
        let mut health = PeerHealth::default();
        assert!(health.wants_ping(at(0)));
        for ms in [0, 150, 300, 450] {
            health.on_ping(at(ms));
            assert!(!health.is_avoided(at(ms)) && !health.wants_ping(at(ms + 100)));
        }
        assert!(health.is_avoided(at(500)));
        health.on_ping(at(600));
        health.on_pong(at(600));
        assert!(!health.is_avoided(at(601)));
    }
}
