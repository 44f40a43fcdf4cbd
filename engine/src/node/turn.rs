//! One turn of a machine: the moment, the view, and where effects go.

use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use bytes::Bytes;
use memring_protocol::entry::UnixMillis;

use super::Node;
use super::effect::Effect;
use super::topology::Topology;
use crate::now::{Mono, Now};

/// The view that one thread works from, which follows the shared one: while that stays, to look at it is one load, and
/// its count of references, which all threads share, is left alone.
pub(crate) type TopologyView = Cache<Arc<ArcSwap<Topology>>, Arc<Topology>>;

/// What every step of one turn shares.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) topology: &'a Topology,
    pub(crate) effects: &'a mut Vec<Effect>,
    /// What the command of this turn was read from, if values are to be parts of it and not copies.
    pub(crate) frame: Option<&'a Bytes>,
}

impl Node {
    /// One turn: the step itself, then what it has left to do at once.
    pub(crate) fn turn(&mut self, now: Now, effects: &mut Vec<Effect>, step: impl FnOnce(&mut Self, &mut Turn<'_>)) {
        self.turn_over(now, None, effects, step);
    }

    /// A turn for a command that was read from `frame`.
    pub(crate) fn turn_over(
        &mut self,
        now: Now,
        frame: Option<&Bytes>,
        effects: &mut Vec<Effect>,
        step: impl FnOnce(&mut Self, &mut Turn<'_>),
    ) {
        // Taken out, so that the turn can borrow from it while the rest of the node works.
        let mut view = self.view.take().unwrap_or_else(|| self.shared.follow_topology());
        let mut turn = Turn { now, topology: view.load(), effects, frame };
        step(self, &mut turn);
        loop {
            if self.asks.are_due() {
                self.send_asks(&mut turn);
            } else if let Some((attempt, reply)) = self.local_replies.pop_front() {
                self.on_local_reply(&mut turn, attempt, reply);
            } else {
                break;
            }
        }
        self.tell_evictions(&mut turn);
        self.view = Some(view);
    }
}

impl Turn<'_> {
    pub(crate) fn mono(&self) -> Mono {
        self.now.mono
    }

    /// A command's value, to be kept: a part of the command's own frame if it has one. Else it is copied, for a slice of
    /// the connection's buffer would pin all of it for as long as the write is on its way.
    pub(crate) fn owned(&self, value: &[u8]) -> Bytes {
        match self.frame {
            Some(frame) => frame.slice_ref(value),
            None => Bytes::copy_from_slice(value),
        }
    }

    pub(crate) fn cluster(&self) -> UnixMillis {
        self.now.cluster
    }
}

#[cfg(test)]
mod tests {
    use memring_protocol::ring::NodeName;

    use super::*;
    use crate::node::{Settings, Shared};

    #[test]
    fn each_turn_sees_the_newest_view_and_no_turn_counts_its_references() {
        let shared = Shared::new(Settings::alone(NodeName::new("n1").expect("a legal name")));
        let (mut node, now) = (Node::new(Arc::clone(&shared), 0), Now { mono: Mono(0), cluster: UnixMillis(0) });
        let count = || Arc::strong_count(&shared.topology());
        let mut is_newest_and_uncounted = || {
            let mut seen = (false, 0);
            node.turn(now, &mut Vec::new(), |_, turn| {
                seen = (std::ptr::eq(turn.topology, Arc::as_ptr(&shared.topology())), count());
            });
            seen == (true, count())
        };
        assert!(is_newest_and_uncounted());
        shared.set_topology(Topology::default());
        assert!(is_newest_and_uncounted());
        assert!(is_newest_and_uncounted());
    }

    #[test]
    fn a_value_is_a_part_of_its_frame_or_a_copy() {
        let frame = Bytes::from(b"set k 0 0 5\r\nvalue\r\n".to_vec());
        let value = &frame[13..18];
        let (topology, now) = (&Topology::default(), Now { mono: Mono(0), cluster: UnixMillis(0) });
        let mut turn = Turn { now, topology, effects: &mut Vec::new(), frame: Some(&frame) };
        assert_eq!((turn.owned(value).as_ptr(), &turn.owned(value)[..]), (value.as_ptr(), &b"value"[..]));
        turn.frame = None;
        assert_ne!(turn.owned(value).as_ptr(), value.as_ptr());
        assert_eq!(turn.owned(value), "value");
    }
}
