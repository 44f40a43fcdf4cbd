//! Offline LRU and S3-FIFO on key and value bytes without any overhead: what a policy could reach on a trace.
//!
//! Must not know servers. Keys are numbers below the key count given at the start, so that tables are arrays.

use std::collections::VecDeque;

/// A cache that keeps items of known sizes within a number of bytes.
pub(crate) trait Policy {
    /// Whether the key is held; counts as a use of it.
    fn get(&mut self, key: u32) -> bool;

    /// Takes in a key that is not held.
    fn set(&mut self, key: u32, bytes: u32);
}

const NONE: u32 = u32::MAX;

/// Evicts what was used longest ago.
pub(crate) struct Lru {
    capacity_bytes: u64,
    used_bytes: u64,
    /// Of a key that is held its size, else 0.
    bytes: Vec<u32>,
    newer: Vec<u32>,
    older: Vec<u32>,
    newest: u32,
    oldest: u32,
}

impl Lru {
    pub(crate) fn new(keys: u32, capacity_bytes: u64) -> Self {
        let none = || vec![NONE; keys as usize];
        let bytes = vec![0; keys as usize];
        Self { capacity_bytes, used_bytes: 0, bytes, newer: none(), older: none(), newest: NONE, oldest: NONE }
    }

    fn unlink(&mut self, key: u32) {
        let (newer, older) = (self.newer[key as usize], self.older[key as usize]);
        *self.newer_than(older) = newer;
        *self.older_than(newer) = older;
    }

    fn link_newest(&mut self, key: u32) {
        let before = self.newest;
        self.older[key as usize] = before;
        self.newer[key as usize] = NONE;
        *self.newer_than(before) = key;
        self.newest = key;
    }

    /// The link to what is newer than `key`, or the list's end if there is no key.
    fn newer_than(&mut self, key: u32) -> &mut u32 {
        if key == NONE { &mut self.oldest } else { &mut self.newer[key as usize] }
    }

    fn older_than(&mut self, key: u32) -> &mut u32 {
        if key == NONE { &mut self.newest } else { &mut self.older[key as usize] }
    }
}

impl Policy for Lru {
    fn get(&mut self, key: u32) -> bool {
        let is_held = self.bytes[key as usize] > 0;
        if is_held {
            self.unlink(key);
            self.link_newest(key);
        }
        is_held
    }

    fn set(&mut self, key: u32, bytes: u32) {
        assert!(bytes > 0 && self.bytes[key as usize] == 0, "key {key} is held already, or empty");
        while self.used_bytes + u64::from(bytes) > self.capacity_bytes && self.oldest != NONE {
            let victim = self.oldest;
            self.unlink(victim);
            self.used_bytes -= u64::from(std::mem::take(&mut self.bytes[victim as usize]));
        }
        self.used_bytes += u64::from(bytes);
        self.bytes[key as usize] = bytes;
        self.link_newest(key);
    }
}

/// Where S3-FIFO has a key.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Nowhere,
    Small,
    Main,
    Ghost,
}

/// What S3-FIFO knows of a key.
#[derive(Clone, Copy)]
struct Known {
    place: Place,
    /// Uses since the key came to its queue; stops at 3, which is two bits.
    uses: u8,
    bytes: u32,
    /// Which of the ghosts is this key's latest: an earlier one of the same key in the queue is void.
    ghost: u32,
}

/// A queue of keys and the bytes that they stand for.
#[derive(Default)]
struct Queue {
    keys: VecDeque<u32>,
    bytes: u64,
}

impl Queue {
    fn push(&mut self, key: u32, bytes: u32) {
        self.keys.push_back(key);
        self.bytes += u64::from(bytes);
    }

    fn pop(&mut self, known: &[Known]) -> Option<u32> {
        let key = self.keys.pop_front()?;
        self.bytes -= u64::from(known[key as usize].bytes);
        Some(key)
    }
}

/// S3-FIFO (Yang and others: "FIFO queues are all you need for cache eviction", SOSP 2023): a small queue of a tenth of
/// the bytes that new keys pass, a main queue for those used more than once in it, and a ghost queue of keys without values
/// that stand for as many bytes as main may hold. A key that comes back while it is a ghost goes to main at once.
pub(crate) struct S3Fifo {
    capacity_bytes: u64,
    known: Vec<Known>,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
}

/// The keys that small let go, in their order. Some entries may be void: keys that have come back since.
#[derive(Default)]
struct Ghosts {
    queue: VecDeque<(u32, u32)>,
    /// What the entries that are not void stand for.
    bytes: u64,
    made: u32,
}

impl S3Fifo {
    pub(crate) fn new(keys: u32, capacity_bytes: u64) -> Self {
        let known = vec![Known { place: Place::Nowhere, uses: 0, bytes: 0, ghost: 0 }; keys as usize];
        Self { capacity_bytes, known, small: Queue::default(), main: Queue::default(), ghosts: Ghosts::default() }
    }

    fn small_bytes_max(&self) -> u64 {
        self.capacity_bytes / 10
    }

    fn evict_from_small(&mut self) {
        let Some(key) = self.small.pop(&self.known) else { return };
        let known = &mut self.known[key as usize];
        if std::mem::take(&mut known.uses) > 1 {
            known.place = Place::Main;
            self.main.push(key, known.bytes);
            return;
        }
        known.place = Place::Ghost;
        known.ghost = self.ghosts.made;
        self.ghosts.queue.push_back((key, self.ghosts.made));
        self.ghosts.made += 1;
        self.ghosts.bytes += u64::from(known.bytes);
        self.forget_ghosts();
    }

    fn forget_ghosts(&mut self) {
        while self.ghosts.bytes > self.capacity_bytes - self.small_bytes_max() {
            let Some((key, ghost)) = self.ghosts.queue.pop_front() else { return };
            let known = &mut self.known[key as usize];
            if known.place == Place::Ghost && known.ghost == ghost {
                known.place = Place::Nowhere;
                self.ghosts.bytes -= u64::from(known.bytes);
            }
        }
    }

    fn evict_from_main(&mut self) {
        while let Some(key) = self.main.pop(&self.known) {
            let known = &mut self.known[key as usize];
            if known.uses == 0 {
                known.place = Place::Nowhere;
                return;
            }
            known.uses -= 1;
            self.main.push(key, known.bytes);
        }
    }
}

impl Policy for S3Fifo {
    fn get(&mut self, key: u32) -> bool {
        let known = &mut self.known[key as usize];
        let is_held = matches!(known.place, Place::Small | Place::Main);
        if is_held {
            known.uses = (known.uses + 1).min(3);
        }
        is_held
    }

    fn set(&mut self, key: u32, bytes: u32) {
        let known = &mut self.known[key as usize];
        assert!(bytes > 0 && !matches!(known.place, Place::Small | Place::Main), "key {key} is held already, or empty");
        // Before room is made, which may forget the ghost.
        let was_ghost = known.place == Place::Ghost;
        if was_ghost {
            known.place = Place::Nowhere;
            self.ghosts.bytes -= u64::from(known.bytes);
        }
        while self.small.bytes + self.main.bytes + u64::from(bytes) > self.capacity_bytes {
            if self.small.bytes >= self.small_bytes_max() || self.main.keys.is_empty() {
                self.evict_from_small();
            } else {
                self.evict_from_main();
            }
        }
        let (place, queue) = if was_ghost { (Place::Main, &mut self.main) } else { (Place::Small, &mut self.small) };
        queue.push(key, bytes);
        let known = &mut self.known[key as usize];
        (known.place, known.uses, known.bytes) = (place, 0, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::{Lru, Place, Policy, S3Fifo};

    /// Reads the key through the policy; every item is of ten bytes.
    fn read(policy: &mut impl Policy, key: u32) -> bool {
        let hit = policy.get(key);
        if !hit {
            policy.set(key, 10);
        }
        hit
    }

    #[test]
    fn lru_drops_what_was_used_longest_ago() {
        let mut lru = Lru::new(10, 30);
        (0..3).for_each(|key| assert!(!read(&mut lru, key)));
        assert!(read(&mut lru, 0));
        assert!(!read(&mut lru, 3), "takes the place of 1");
        assert_eq!([0, 1, 2, 3].map(|key| lru.get(key)), [true, false, true, true]);
    }

    #[test]
    fn lru_drops_as_many_small_items_as_a_large_one_needs() {
        let mut lru = Lru::new(10, 30);
        (0..3).for_each(|key| assert!(!read(&mut lru, key)));
        lru.set(3, 15);
        assert_eq!([0, 1, 2, 3].map(|key| lru.get(key)), [false, false, true, true]);
        assert_eq!(lru.used_bytes, 25);
    }

    #[test]
    fn a_key_used_twice_in_small_goes_to_main_and_one_used_once_does_not() {
        let mut policy = S3Fifo::new(100, 100);
        (0..10).for_each(|key| assert!(!read(&mut policy, key)));
        (0..2).for_each(|_| assert!(policy.get(0)));
        assert!(policy.get(1));
        (10..12).for_each(|key| assert!(!read(&mut policy, key)));
        assert!(policy.known[0].place == Place::Main, "used twice");
        assert!(policy.known[1].place == Place::Ghost, "used once");
        assert!(policy.known[2].place == Place::Ghost, "not used");
    }

    #[test]
    fn a_ghost_that_comes_back_goes_to_main_and_a_scan_does_not_drive_it_out() {
        let mut policy = S3Fifo::new(100, 100);
        (0..11).for_each(|key| assert!(!read(&mut policy, key)));
        assert!(policy.known[0].place == Place::Ghost);
        assert!(!read(&mut policy, 0), "a ghost has no value");
        assert!(policy.known[0].place == Place::Main);
        (20..99).for_each(|key| assert!(!read(&mut policy, key)));
        assert!(policy.get(0), "main keeps what a scan does not use");
    }

    #[test]
    fn ghosts_are_forgotten_when_they_stand_for_more_than_main_may_hold() {
        let mut policy = S3Fifo::new(1000, 100);
        (0..1000).for_each(|key| assert!(!read(&mut policy, key)));
        let ghosts: Vec<usize> = (0..1000).filter(|key| policy.known[*key].place == Place::Ghost).collect();
        assert_eq!((ghosts.len(), policy.ghosts.bytes), (9, 90));
        assert_eq!(ghosts, (981..990).collect::<Vec<_>>(), "the latest ones that left small");
    }

    #[test]
    fn main_lets_go_what_was_not_used_since_its_last_turn() {
        let mut policy = S3Fifo::new(100, 100);
        // Ghosts that come back fill main with 0 to 8.
        (0..19).for_each(|key| assert!(!read(&mut policy, key)));
        (0..9).for_each(|key| assert!(!read(&mut policy, key), "{key}"));
        assert!(policy.get(0), "used, so it outlives 1");
        (30..40).for_each(|key| assert!(!read(&mut policy, key)));
        (30..32).for_each(|key| assert!(!read(&mut policy, key), "ghosts: main takes small's room, then gives up one"));
        assert!(policy.get(0));
        assert!(policy.known[1].place == Place::Nowhere);
    }

    #[test]
    fn s3_fifo_never_holds_more_than_its_capacity() {
        let mut policy = S3Fifo::new(500, 1000);
        let mut chance = crate::chance::Chance::new(5);
        for _ in 0..20_000 {
            // Small numbers more often.
            let up_to = chance.below(499) + 1;
            let key = chance.below(up_to) as u32;
            if !policy.get(key) {
                policy.set(key, 1 + key % 60);
            }
            let held = policy.known.iter().filter(|known| matches!(known.place, Place::Small | Place::Main));
            let bytes: u64 = held.map(|known| u64::from(known.bytes)).sum();
            assert_eq!(bytes, policy.small.bytes + policy.main.bytes);
            assert!(bytes <= 1000);
        }
    }
}
