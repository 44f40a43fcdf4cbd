//! What is to be woken, and when: a timing wheel (Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", 1987).
//!
//! Whoever holds a timer notes its moment; an entry whose moment is not that any more was cancelled and is passed over.
//! Buckets count those that are not cancelled: most timers guard against what does not happen, and a bucket of such is
//! emptied at once, so that nobody wakes for it. Must not know operations: the caller says which entries stand.

use std::collections::VecDeque;

use super::Timer;
use crate::now::Mono;

/// A bucket of the lowest level is 2^10 microseconds wide, about a millisecond.
const TICK_BITS: u32 = 10;

/// Each level has 64 buckets, one bit each in a word, and each of them is as wide as the whole level below.
const LEVEL_BITS: u32 = 6;
const BUCKETS: usize = 1 << LEVEL_BITS;

/// Three levels reach 65 milliseconds, 4 seconds and 4 minutes; what is farther waits in one bucket more.
const LEVELS: usize = 3;

/// So many entries a bucket has room for from the start: which of the many is filled next is a matter of time, and a
/// request should not be the one that pays for it.
const ROOM: usize = 16;

/// So many entries of a bucket are kept whether or not they were cancelled.
const SWEPT_ABOVE: usize = 32;

/// One timer. It stands for as long as its holder has noted this very moment.
#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Mono,
    timer: Timer,
}

#[derive(Debug)]
struct Bucket {
    entries: Vec<Entry>,
    /// At least as many as have not been cancelled.
    standing: usize,
    /// No entry's moment is before this.
    earliest: Mono,
}

impl Bucket {
    fn new() -> Self {
        Self { entries: Vec::with_capacity(ROOM), standing: 0, earliest: Mono(u64::MAX) }
    }

    /// Drops what was cancelled, and counts anew.
    fn sweep(&mut self, stands: impl Fn(Mono, Timer) -> bool) {
        self.entries.retain(|entry| stands(entry.at, entry.timer));
        self.standing = self.entries.len();
        self.earliest = self.entries.iter().map(|entry| entry.at).min().unwrap_or(Mono(u64::MAX));
    }

    fn clear(&mut self) {
        self.entries.clear();
        // Memory that a burst left behind, unless the next one is likely to need it.
        if self.entries.capacity() > 16 * SWEPT_ABOVE {
            self.entries = Vec::new();
        }
        (self.standing, self.earliest) = (0, Mono(u64::MAX));
    }
}

/// All timers of a machine.
#[derive(Debug)]
pub(super) struct Timers {
    /// Everything up to this moment has been given out.
    past: Mono,
    /// All levels' buckets, and one for what is beyond them.
    buckets: Vec<Bucket>,
    /// A bit for each bucket of a level that is not empty.
    occupied: [u64; LEVELS + 1],
    /// Given out of the wheel, but not to the caller yet.
    due: VecDeque<Entry>,
}

impl Timers {
    pub(super) fn new() -> Self {
        let buckets = (0..=LEVELS * BUCKETS).map(|_| Bucket::new()).collect();
        Self { past: Mono(0), buckets, occupied: [0; LEVELS + 1], due: VecDeque::new() }
    }

    /// Sets a timer, and says for when: what is over already is due in the next turn. `stands` says of others' entries
    /// whether they have not been cancelled.
    pub(super) fn insert(&mut self, at: Mono, timer: Timer, stands: impl Fn(Mono, Timer) -> bool) -> Mono {
        let at = at.max(Mono(self.past.0.saturating_add(1)));
        let (level, index) = self.bucket_of(at);
        let bucket = &mut self.buckets[level * BUCKETS + index];
        let entries = bucket.entries.len();
        if entries >= SWEPT_ABOVE && entries == bucket.entries.capacity() && bucket.standing <= entries / 2 {
            bucket.sweep(stands);
        }
        bucket.entries.push(Entry { at, timer });
        bucket.standing += 1;
        bucket.earliest = bucket.earliest.min(at);
        self.occupied[level] |= 1 << index;
        at
    }

    /// The timer that was set for this moment stands no more; its holder has told.
    pub(super) fn cancel(&mut self, at: Mono) {
        if at <= self.past {
            return;
        }
        let (level, index) = self.bucket_of(at);
        let bucket = &mut self.buckets[level * BUCKETS + index];
        bucket.standing = bucket.standing.saturating_sub(1);
        if bucket.standing == 0 {
            bucket.clear();
            self.occupied[level] &= !(1 << index);
        }
    }

    /// The next timer that is due by `now` and stands: in the order of their moments, then as they were set.
    pub(super) fn pop_due(&mut self, now: Mono, stands: impl Fn(Mono, Timer) -> bool) -> Option<(Mono, Timer)> {
        if self.due.is_empty() && now > self.past {
            self.pass(now, &stands);
        }
        while let Some(Entry { at, timer }) = self.due.pop_front() {
            if stands(at, timer) {
                return Some((at, timer));
            }
        }
        None
    }

    /// Not after the moment of any timer that stands. Before it only if one was cancelled whose bucket still has others;
    /// passing that moment drops it.
    pub(super) fn next_deadline(&self) -> Option<Mono> {
        if !self.due.is_empty() {
            return Some(self.past);
        }
        self.first().map(|(level, index)| self.buckets[level * BUCKETS + index].earliest)
    }

    /// The bucket of a moment that is not past: of the lowest level that `past` is in with it.
    fn bucket_of(&self, at: Mono) -> (usize, usize) {
        let (tick, past) = (at.0 >> TICK_BITS, self.past.0 >> TICK_BITS);
        let level = match tick ^ past {
            0..0x40 => 0,
            0x40..0x1000 => 1,
            0x1000..0x4_0000 => 2,
            _ => return (LEVELS, 0),
        };
        (level, (tick >> (LEVEL_BITS * level as u32)) as usize % BUCKETS)
    }

    /// The first bucket in time that is not empty: what is in a lower level comes before all that is in a higher one.
    fn first(&self) -> Option<(usize, usize)> {
        let level = self.occupied.iter().position(|bits| *bits != 0)?;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// When the first bucket begins, and when it ends.
    fn span(&self, level: usize, index: usize) -> (Mono, Mono) {
        let width = TICK_BITS + LEVEL_BITS * level as u32;
        let begins = if level == LEVELS {
            // What is beyond all levels is spread when they reach the first of it.
            self.buckets[LEVELS * BUCKETS].earliest.0 >> width << width
        } else {
            let level_begins = self.past.0 >> (width + LEVEL_BITS) << (width + LEVEL_BITS);
            level_begins + ((index as u64) << width)
        };
        (Mono(begins), Mono(begins | ((1 << width) - 1)))
    }

    /// Goes on to `now`: what is due by then is given out, and buckets that have begun are spread over lower levels.
    fn pass(&mut self, now: Mono, stands: &impl Fn(Mono, Timer) -> bool) {
        while let Some((level, index)) = self.first() {
            let (begins, ends) = self.span(level, index);
            let bucket = &mut self.buckets[level * BUCKETS + index];
            if begins > now || (level == 0 && bucket.earliest > now) {
                break;
            }
            bucket.sweep(stands);
            let (mut due, later): (Vec<Entry>, Vec<Entry>) = bucket.entries.iter().partition(|entry| entry.at <= now);
            bucket.clear();
            self.occupied[level] &= !(1 << index);
            // All before this bucket has been passed; all of a lowest one by now.
            let reached = if level == 0 { ends.min(now) } else { begins };
            self.past = self.past.max(reached);
            for entry in later {
                self.insert(entry.at, entry.timer, stands);
            }
            due.sort_by_key(|entry| entry.at);
            self.due.extend(due);
        }
        self.past = self.past.max(now);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// Timers with their holders, and a set beside them that says what they ought to do.
    #[derive(Default)]
    struct World {
        timers: Option<Timers>,
        noted: BTreeMap<u64, Mono>,
        model: BTreeSet<(Mono, u64)>,
        now: Mono,
    }

    impl World {
        fn new() -> Self {
            Self { timers: Some(Timers::new()), ..Self::default() }
        }

        fn timers(&mut self) -> &mut Timers {
            self.timers.as_mut().expect("made with the world")
        }

        fn set(&mut self, id: u64, after: u64) {
            self.clear(id);
            let noted = &self.noted;
            let stands = |at, timer| matches!(timer, Timer::Op(id) if noted.get(&id) == Some(&at));
            let timers = self.timers.as_mut().expect("made with the world");
            let at = timers.insert(Mono(self.now.0 + after), Timer::Op(id), stands);
            self.noted.insert(id, at);
            self.model.insert((at, id));
        }

        fn clear(&mut self, id: u64) {
            if let Some(at) = self.noted.remove(&id) {
                self.timers().cancel(at);
                self.model.remove(&(at, id));
            }
        }

        /// What fires by `now`, in order.
        fn fire(&mut self, now: Mono) -> Vec<(Mono, u64)> {
            self.now = now;
            let mut fired = Vec::new();
            loop {
                let noted = &self.noted;
                let stands = |at, timer| matches!(timer, Timer::Op(id) if noted.get(&id) == Some(&at));
                let timers = self.timers.as_mut().expect("made with the world");
                let Some((at, Timer::Op(id))) = timers.pop_due(now, stands) else { return fired };
                self.noted.remove(&id);
                fired.push((at, id));
            }
        }

        fn entries(&mut self) -> usize {
            self.timers().buckets.iter().map(|bucket| bucket.entries.len()).sum()
        }
    }

    #[test]
    fn timers_of_one_moment_fire_as_they_were_set_however_far_it_was() {
        let mut world = World::new();
        let moment = 700_000_000;
        for id in (0..50).rev() {
            world.set(id, moment - world.now.0);
            world.fire(Mono(world.now.0 + moment / 51));
        }
        let fired: Vec<u64> = world.fire(Mono(moment)).into_iter().map(|(_, id)| id).collect();
        assert_eq!(fired, (0..50).rev().collect::<Vec<u64>>());
    }

    #[test]
    fn what_was_cancelled_wakes_nobody_and_takes_no_room() {
        let mut world = World::new();
        for id in 0..100_000 {
            world.set(id, 100_000);
            world.now.0 += 7;
            if id >= 3 {
                world.clear(id - 3);
            }
            assert!(world.entries() <= 16 * SWEPT_ABOVE, "{} for three that stand", world.entries());
        }
        (99_997..100_000).for_each(|id| world.clear(id));
        assert_eq!((world.timers().next_deadline(), world.entries()), (None, 0));
    }

    #[test]
    fn a_timer_that_is_over_when_it_is_set_is_due_in_the_next_turn() {
        let mut world = World::new();
        world.fire(Mono(5_000_000));
        world.timers().insert(Mono(3), Timer::Replay, |_, _| true);
        assert_eq!(world.timers().pop_due(Mono(5_000_000), |_, _| true), None);
        assert_eq!(world.timers().next_deadline(), Some(Mono(5_000_001)));
        assert_eq!(world.timers().pop_due(Mono(5_000_001), |_, _| true), Some((Mono(5_000_001), Timer::Replay)));
    }

    proptest! {
        #[test]
        fn it_fires_what_a_sorted_set_would(
            steps in proptest::collection::vec((0..8_u8, 0..12_u64, 0..34_u32, any::<u64>()), 1..400),
        ) {
            let mut world = World::new();
            for (step, id, bits, random) in steps {
                let wait = random & ((1 << bits) - 1);
                match step {
                    0..=3 => world.set(id, wait),
                    4 | 5 => world.clear(id),
                    6 => {
                        let now = Mono(world.now.0 + wait);
                        let due: Vec<_> = world.model.range(..=(now, u64::MAX)).copied().collect();
                        let mut fired = world.fire(now);
                        prop_assert!(fired.is_sorted_by_key(|(at, _)| *at), "{:?}", fired);
                        fired.sort_unstable();
                        prop_assert_eq!(&fired, &due);
                        world.model.retain(|timer| !due.contains(timer));
                    }
                    _ => if let Some(deadline) = world.timers().next_deadline() {
                        let now = deadline.max(world.now);
                        let fired = world.fire(now);
                        world.model.retain(|timer| !fired.contains(timer));
                        let next = world.timers().next_deadline();
                        prop_assert!(next.is_none_or(|next| next > now), "a server would not sleep");
                    },
                }
                let (next, first) = (world.timers().next_deadline(), world.model.first().copied());
                prop_assert!(first.is_none_or(|(at, _)| next.is_some_and(|next| next <= at)), "{:?} {:?}", next, first);
            }
            let left: Vec<_> = world.model.iter().copied().collect();
            let mut fired = world.fire(Mono(1 << 40));
            fired.sort_unstable();
            prop_assert_eq!(fired, left);
            prop_assert_eq!(world.entries(), 0);
        }
    }
}
