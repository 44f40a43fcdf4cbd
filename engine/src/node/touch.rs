//! Who has answered this node's pings of late: whether it knows enough of the others to order writes.
//!
//! A flush is acknowledged once a majority of the homes of every partition has taken it, and those that have not are silent
//! (`flush`). Pings carry flushes. So a home that orders writes only while a majority of the partition's homes, itself
//! included, has answered a ping sent within [`IN_TOUCH`] never orders on what an acknowledged flush has removed. A read
//! needs no such care: at quorum it meets a home that knows of the flush, differs from it, and asks for an order.
//! Must not send pings: that is the control thread's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use memring_protocol::key::Partition;
use memring_protocol::level::majority;
use memring_protocol::version::{SLOTS_MAX, Slot};

use super::shared::Shared;
use super::topology::Topology;
use crate::now::Mono;

/// How long a ring member is in touch after it was sent a ping that it answered: nine pings may be lost.
pub(crate) const IN_TOUCH: Duration = Duration::from_secs(1);

/// Until when, on this process's monotonic clock, members are in touch.
#[derive(Debug)]
pub(crate) struct Touch {
    /// All of them: so that the many are not looked at one by one.
    all: AtomicU64,
    each: Box<[AtomicU64]>,
}

impl Touch {
    pub(crate) fn new() -> Self {
        Self { all: AtomicU64::new(0), each: (0..SLOTS_MAX).map(|_| AtomicU64::new(0)).collect() }
    }

    /// A member has answered the ping that it was sent at `sent`.
    pub(crate) fn note(&self, slot: Slot, sent: Mono) {
        self.each[slot.index()].fetch_max(sent.after(IN_TOUCH).0, Ordering::Relaxed);
    }

    /// Nothing is known of whoever has a slot in the ring config to come.
    pub(crate) fn forget(&self) {
        self.all.store(0, Ordering::Relaxed);
        self.each.iter().for_each(|until| until.store(0, Ordering::Relaxed));
    }

    /// Looks who the others are.
    pub(crate) fn sum_up(&self, others: impl Iterator<Item = Slot>) {
        let until = others.map(|slot| self.each[slot.index()].load(Ordering::Relaxed)).min();
        self.all.store(until.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn is(&self, now: Mono, slot: Slot) -> bool {
        now.0 <= self.each[slot.index()].load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Whether this node is in touch with a majority of a partition's homes, of which it is one.
    #[inline]
    pub(crate) fn is_in_touch(&self, now: Mono, topology: &Topology, partition: Partition) -> bool {
        now.0 <= self.touch.all.load(Ordering::Relaxed) || self.is_in_touch_with_enough(now, topology, partition)
    }

    #[cold]
    fn is_in_touch_with_enough(&self, now: Mono, topology: &Topology, partition: Partition) -> bool {
        let (Some(layout), me) = (topology.layout(), topology.me()) else { return false };
        let homes = layout.homes(partition);
        let in_touch = homes.iter().filter(|home| Some(**home) == me || self.touch.is(now, **home));
        in_touch.count() >= majority(homes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_in_touch_for_as_long_as_each_of_them_is() {
        let (touch, slots) = (Touch::new(), [1, 2].map(|number| Slot::new(number).expect("a slot")));
        let all = |touch: &Touch| touch.all.load(Ordering::Relaxed);
        touch.note(slots[0], Mono(5_000_000));
        touch.sum_up(slots.into_iter());
        assert_eq!(all(&touch), 0);
        touch.note(slots[1], Mono(4_000_000));
        touch.sum_up(slots.into_iter());
        assert_eq!(all(&touch), 5_000_000);
        // An answer that was overtaken is no news.
        touch.note(slots[0], Mono(1_000_000));
        assert!(touch.is(Mono(6_000_000), slots[0]) && !touch.is(Mono(6_000_001), slots[0]));
        assert!(touch.is(Mono(5_000_000), slots[1]) && !touch.is(Mono(5_000_001), slots[1]));
        touch.sum_up(std::iter::empty());
        assert_eq!(all(&touch), u64::MAX, "nobody else");
        touch.forget();
        assert!(all(&touch) == 0 && !touch.is(Mono(1), slots[0]));
    }
}
