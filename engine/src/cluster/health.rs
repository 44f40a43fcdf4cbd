//! In-band health of one peer: how this node's own traffic finds out, sooner than gossip, that a peer is best avoided.
//!
//! A circuit breaker (Nygard, "Release It!", 2007). A lost connection opens it at once; so does silence: anything asked
//! that stays unanswered for [`SILENCE_MAX`]. While it is open only pings go there. A ping that was sent after the loss and
//! answered in time half-opens it: the peer lives, but is on trial. [`GOOD_ANSWERS`] such in a row, over a time that
//! doubles with each relapse, close it: so one that flaps is let back ever later, up to [`TRIAL_MAX`]. Must not know gossip:
//! its verdict is the cluster's, this one is this node's alone and moves no data.

use std::time::Duration;

use crate::now::Mono;

/// How long a peer may leave unanswered what it could answer at once before it is avoided. With [`PING_EVERY`] and the
/// caller's tick, within half a second of its last word.
pub const SILENCE_MAX: Duration = Duration::from_millis(350);

/// How often a peer is pinged.
pub const PING_EVERY: Duration = Duration::from_millis(100);

/// So many pings in a row must be answered in time before a peer that was avoided is asked again.
pub const GOOD_ANSWERS: u32 = 3;

/// How long they must take at least, …
pub const TRIAL_MIN: Duration = Duration::from_millis(200);

/// … twice as long after each relapse, up to this.
pub const TRIAL_MAX: Duration = Duration::from_secs(3);

/// A peer that was well for so long has no relapse, but fails for the first time.
pub const FORGIVEN_AFTER: Duration = Duration::from_secs(10);

/// How far a peer is trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// It is asked: the breaker is closed.
    Trusted,
    /// On trial, or its connection was lost a moment ago: asked only where no other is left. Whatever it will not answer
    /// it refuses at once.
    Doubted,
    /// It has not said a word: whoever asks it would wait in vain.
    Silent,
}

/// Since the breaker opened.
#[derive(Clone, Copy, Debug)]
struct Open {
    since: Mono,
    is_silent: bool,
    /// Pings answered in time, in a row, and when the first of them was.
    good: u32,
    good_since: Mono,
}

/// What this node has seen of one peer.
#[derive(Clone, Debug, Default)]
pub struct PeerHealth {
    /// Unanswered since; the oldest ping in flight.
    waiting_since: Option<Mono>,
    last_ping: Option<Mono>,
    open: Option<Open>,
    /// When it was last closed.
    closed_at: Option<Mono>,
    relapses: u32,
    trips: u64,
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
    pub fn on_pong(&mut self, now: Mono, sent: Mono) {
        self.waiting_since = None;
        let trial = self.trial();
        let Some(open) = self.open.as_mut().filter(|open| sent >= open.since) else { return };
        open.is_silent = false;
        if now.since(sent) >= SILENCE_MAX {
            // It lives; what waited for it while it did not says nothing of how it is.
            open.good = 0;
            return;
        }
        if open.good == 0 {
            open.good_since = now;
        }
        open.good += 1;
        if open.good >= GOOD_ANSWERS && now.since(open.good_since) >= trial {
            self.open = None;
            self.closed_at = Some(now);
        }
    }

    /// A connection to it was refused, reset or ended.
    pub fn on_lost(&mut self, now: Mono) {
        self.trip(now, false);
    }

    /// Whether it is trusted. `asked_since`: since when something that it could answer at once has been unanswered, and
    /// nothing else was answered; `awake_since`: since when this node itself has not missed a beat, for who sleeps hears
    /// no answers.
    pub fn judge(&mut self, now: Mono, asked_since: Option<Mono>, awake_since: Mono) -> Trust {
        // What has waited since before it opened has told its story.
        let is_news = |since: &Mono| self.open.is_none_or(|open| *since > open.since);
        let mut waits = [self.waiting_since, asked_since].into_iter().flatten().filter(is_news);
        if waits.any(|since| now.since(since.max(awake_since)) >= SILENCE_MAX) {
            self.trip(now, true);
            // The pings that are on their way are judged anew, by the moment of this.
            self.waiting_since = None;
        }
        self.trust()
    }

    /// Whether it was trusted when it was last judged, or heard of.
    pub fn trust(&self) -> Trust {
        match self.open {
            None => Trust::Trusted,
            Some(open) if open.is_silent => Trust::Silent,
            Some(_) => Trust::Doubted,
        }
    }

    /// How often it has opened.
    pub fn trips(&self) -> u64 {
        self.trips
    }

    fn trip(&mut self, now: Mono, is_silent: bool) {
        if self.open.is_none() {
            self.trips += 1;
            let is_relapse = self.closed_at.is_some_and(|at| now.since(at) < FORGIVEN_AFTER);
            self.relapses = if is_relapse { self.relapses.saturating_add(1) } else { 0 };
        }
        // Only a word of its own breaks the silence.
        let is_silent = is_silent || self.open.is_some_and(|open| open.is_silent);
        self.open = Some(Open { since: now, is_silent, good: 0, good_since: now });
    }

    fn trial(&self) -> Duration {
        TRIAL_MIN.saturating_mul(1 << self.relapses.min(8)).min(TRIAL_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono(ms * 1000)
    }

    /// Pings it every 100 ms and has each answered after `delay_ms`, until it is trusted; when that is.
    fn heal(health: &mut PeerHealth, from_ms: u64, delay_ms: u64, upto_ms: u64) -> Option<u64> {
        for ms in (from_ms..upto_ms).step_by(100) {
            health.on_ping(at(ms));
            health.on_pong(at(ms + delay_ms), at(ms));
            if health.judge(at(ms + delay_ms), None, at(0)) == Trust::Trusted {
                return Some(ms + delay_ms);
            }
        }
        None
    }

    #[test]
    fn a_lost_connection_is_doubted_until_three_later_pings_are_answered() {
        let mut health = PeerHealth::default();
        health.on_ping(at(1));
        assert_eq!(health.judge(at(10), None, at(0)), Trust::Trusted);
        health.on_lost(at(20));
        health.on_pong(at(21), at(1));
        assert_eq!(health.judge(at(30), None, at(0)), Trust::Doubted, "the answer to an earlier ping proves nothing");
        assert_eq!(heal(&mut health, 120, 1, 5_000), Some(321));
        assert_eq!(health.trips(), 1);
    }

    #[test]
    fn silence_is_noticed_by_pings_and_by_requests() {
        let mut health = PeerHealth::default();
        assert!(health.wants_ping(at(1)));
        for ms in [1, 101, 201, 301] {
            health.on_ping(at(ms));
            assert_eq!(health.judge(at(ms), None, at(0)), Trust::Trusted);
            assert!(!health.wants_ping(at(ms + 99)) && health.wants_ping(at(ms + 100)));
        }
        assert_eq!(health.judge(at(351), None, at(0)), Trust::Silent);
        health.on_ping(at(401));
        health.on_pong(at(402), at(401));
        assert_eq!(health.judge(at(402), None, at(0)), Trust::Doubted, "it lives");

        let mut health = PeerHealth::default();
        health.on_ping(at(5));
        health.on_pong(at(6), at(5));
        assert_eq!(health.judge(at(359), Some(at(10)), at(0)), Trust::Trusted);
        assert_eq!(health.judge(at(360), Some(at(10)), at(0)), Trust::Silent, "requests wait, whatever pings say");
        assert_eq!(heal(&mut health, 400, 1, 5_000), Some(601), "that request is held against it once");
        assert_eq!(health.judge(at(700), Some(at(10)), at(0)), Trust::Silent, "unless nothing gave it up");
    }

    #[test]
    fn a_node_that_slept_holds_its_own_silence_against_nobody() {
        let mut health = PeerHealth::default();
        health.on_ping(at(1));
        assert_eq!(health.judge(at(30_000), Some(at(2)), at(29_990)), Trust::Trusted);
        assert_eq!(health.judge(at(30_340), Some(at(2)), at(29_990)), Trust::Silent);
    }

    #[test]
    fn what_a_stopped_peer_answers_late_brings_it_on_trial_and_not_back() {
        let mut health = PeerHealth::default();
        health.on_ping(at(1));
        assert_eq!(health.judge(at(400), None, at(0)), Trust::Silent);
        (500..900).step_by(100).for_each(|ms| health.on_ping(at(ms)));
        (500..900).step_by(100).for_each(|ms| health.on_pong(at(10_000), at(ms)));
        assert_eq!(health.judge(at(10_000), None, at(0)), Trust::Doubted);
        assert_eq!(heal(&mut health, 10_100, 1, 20_000), Some(10_301));
    }

    #[test]
    fn a_peer_that_flaps_is_let_back_ever_later_up_to_a_bound_and_forgiven_in_the_end() {
        let mut health = PeerHealth::default();
        let (mut now_ms, mut trials) = (1_000, Vec::new());
        for _ in 0..7 {
            health.on_lost(at(now_ms));
            let back_ms = heal(&mut health, now_ms + 1, 1, now_ms + 60_000).expect("it is let back");
            trials.push(back_ms - now_ms);
            now_ms = back_ms + 500;
        }
        assert_eq!(trials, [202, 402, 802, 1602, 3002, 3002, 3002]);
        now_ms += FORGIVEN_AFTER.as_millis() as u64;
        health.on_lost(at(now_ms));
        assert_eq!(heal(&mut health, now_ms + 1, 1, now_ms + 60_000), Some(now_ms + 202));
    }
}
