//! The order of one connection's replies, and which of its commands may run at the same time.
//!
//! Replies leave in the order of the requests, whenever they come. The next command may start while earlier ones are in
//! flight only if nobody can tell: it shares no key with one of them where either writes, and neither it nor any of them
//! is a barrier. Pure: must not know sockets, commands or what a reply is.

use std::collections::{BTreeMap, VecDeque};

use smallvec::SmallVec;

/// The most requests of one connection at once, answered ones behind an unanswered one included. Clients pipeline tens.
pub(crate) const PIPELINE_REQUESTS_MAX: usize = 256;

/// The most keys of one connection in flight: with [`PIPELINE_REQUESTS_MAX`] it bounds what replies can come to.
pub(crate) const PIPELINE_KEYS_MAX: usize = 1024;

/// A key, hashed. Two keys that share a mark only wait for each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct KeyMark(pub(crate) u64);

/// What a command touches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Footprint {
    /// No key.
    Nothing,
    /// These keys.
    Keys {
        /// Each, duplicates allowed.
        marks: SmallVec<[KeyMark; 2]>,
        /// Whether it may change them.
        writes: bool,
    },
    /// Everything: it runs alone.
    Barrier,
}

impl Footprint {
    fn key_count(&self) -> usize {
        match self {
            Self::Keys { marks, .. } => marks.len(),
            Self::Nothing | Self::Barrier => 0,
        }
    }
}

/// Requests in flight that touch one key.
#[derive(Clone, Copy, Default, Debug)]
struct Touched {
    readers: u32,
    writers: u32,
}

#[derive(Debug)]
struct Slot<T, R> {
    tag: T,
    /// Taken when the reply comes.
    footprint: Option<Footprint>,
    reply: Option<R>,
    reply_bytes: usize,
}

/// The requests of one connection that are not fully answered. Each keeps a tag of its caller's until its reply is taken.
#[derive(Debug)]
pub(crate) struct Pipeline<T, R> {
    slots: VecDeque<Slot<T, R>>,
    /// The number of the next request. Slots are numbered without gaps up to it.
    next: u64,
    in_flight: usize,
    barriers: usize,
    keys_in_flight: usize,
    touched: BTreeMap<KeyMark, Touched>,
    waiting_bytes: usize,
}

impl<T: Copy, R> Pipeline<T, R> {
    pub(crate) fn new() -> Self {
        Self {
            slots: VecDeque::new(),
            next: 0,
            in_flight: 0,
            barriers: 0,
            keys_in_flight: 0,
            touched: BTreeMap::new(),
            waiting_bytes: 0,
        }
    }

    /// The number that the next request gets.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Whether every request has been answered and its reply taken.
    pub(crate) fn is_idle(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many requests wait for their answers.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Bytes of replies that wait for earlier ones.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether a command with this footprint may start now.
    pub(crate) fn may_start(&self, footprint: &Footprint) -> bool {
        if self.slots.is_empty() {
            return true;
        }
        if self.slots.len() >= PIPELINE_REQUESTS_MAX || self.barriers > 0 {
            return false;
        }
        match footprint {
            Footprint::Nothing => true,
            Footprint::Barrier => self.in_flight == 0,
            Footprint::Keys { marks, writes } => {
                let fits = self.in_flight == 0 || self.keys_in_flight + marks.len() <= PIPELINE_KEYS_MAX;
                let free = |mark: &KeyMark| {
                    self.touched
                        .get(mark)
                        .is_none_or(|touched| touched.writers == 0 && !(*writes && touched.readers > 0))
                };
                fits && marks.iter().all(free)
            }
        }
    }

    /// Whether a request waits for its reply.
    pub(crate) fn awaits(&self, sequence: u64) -> bool {
        let first = self.next - self.slots.len() as u64;
        let index = sequence.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.slots.get(index)).is_some_and(|slot| slot.footprint.is_some())
    }

    /// Counts a request that was answered at once while nothing else was here: it never enters.
    pub(crate) fn pass(&mut self) {
        debug_assert!(self.slots.is_empty());
        self.next += 1;
    }

    /// Starts a request, and returns its number.
    pub(crate) fn start(&mut self, tag: T, footprint: Footprint) -> u64 {
        self.in_flight += 1;
        self.keys_in_flight += footprint.key_count();
        match &footprint {
            Footprint::Nothing => {}
            Footprint::Barrier => self.barriers += 1,
            Footprint::Keys { marks, writes } => {
                for &mark in marks {
                    let touched = self.touched.entry(mark).or_default();
                    if *writes { touched.writers += 1 } else { touched.readers += 1 }
                }
            }
        }
        self.push(Slot { tag, footprint: Some(footprint), reply: None, reply_bytes: 0 })
    }

    /// Puts a reply that is already known in its place.
    pub(crate) fn push_answered(&mut self, tag: T, reply: R, reply_bytes: usize) {
        self.waiting_bytes += reply_bytes;
        self.push(Slot { tag, footprint: None, reply: Some(reply), reply_bytes });
    }

    /// Takes a reply in, and returns its request's tag; `None` if this request does not wait for one.
    pub(crate) fn answer(&mut self, sequence: u64, reply: R, reply_bytes: usize) -> Option<T> {
        let first = self.next - self.slots.len() as u64;
        let index = sequence.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        let slot = index.and_then(|index| self.slots.get_mut(index))?;
        let footprint = slot.footprint.take()?;
        let tag = slot.tag;
        slot.reply = Some(reply);
        slot.reply_bytes = reply_bytes;
        self.waiting_bytes += reply_bytes;
        self.in_flight -= 1;
        self.keys_in_flight -= footprint.key_count();
        self.release(&footprint);
        Some(tag)
    }

    /// The next reply in order, once it is there.
    pub(crate) fn take_next(&mut self) -> Option<(T, R)> {
        self.slots.front()?.reply.as_ref()?;
        let slot = self.slots.pop_front()?;
        self.waiting_bytes -= slot.reply_bytes;
        if self.slots.is_empty() {
            // An idle connection keeps no memory for a burst that it once had.
            self.slots = VecDeque::new();
        }
        slot.reply.map(|reply| (slot.tag, reply))
    }

    fn push(&mut self, slot: Slot<T, R>) -> u64 {
        let sequence = self.next;
        self.next += 1;
        self.slots.push_back(slot);
        sequence
    }

    fn release(&mut self, footprint: &Footprint) {
        match footprint {
            Footprint::Nothing => {}
            Footprint::Barrier => self.barriers -= 1,
            Footprint::Keys { marks, writes } => {
                for mark in marks {
                    let Some(touched) = self.touched.get_mut(mark) else { continue };
                    if *writes {
                        touched.writers -= 1
                    } else {
                        touched.readers -= 1
                    }
                    if touched.readers == 0 && touched.writers == 0 {
                        self.touched.remove(mark);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r:1,2` reads keys 1 and 2, `w:1` writes key 1, `n` touches nothing, `b` is a barrier.
    fn footprint(text: &str) -> Footprint {
        let keys = |list: &str| list.split(',').map(|key| KeyMark(key.parse().expect("a number"))).collect();
        match text.split_once(':') {
            Some((kind, list)) => Footprint::Keys { marks: keys(list), writes: kind == "w" },
            None if text == "n" => Footprint::Nothing,
            None => Footprint::Barrier,
        }
    }

    #[test]
    fn a_command_starts_only_if_nobody_can_tell() {
        for (in_flight, next, may_start) in [
            ("", "w:1", true),
            ("", "b", true),
            ("r:1", "r:1", true),
            ("r:1", "w:1", false),
            ("w:1", "r:1", false),
            ("w:1", "w:1", false),
            ("w:1", "w:2", true),
            ("w:1", "r:2,3", true),
            ("w:1", "r:2,1", false),
            ("r:1,2 w:3", "w:2", false),
            ("r:1,1", "w:1", false),
            ("w:1", "n", true),
            ("n", "w:1", true),
            ("r:1", "b", false),
            ("b", "r:1", false),
            ("b", "n", false),
            ("n", "b", false),
        ] {
            let mut pipeline = Pipeline::<(), ()>::new();
            for text in in_flight.split_whitespace() {
                pipeline.start((), footprint(text));
            }
            assert_eq!(pipeline.may_start(&footprint(next)), may_start, "{next} behind {in_flight:?}");
        }
    }

    #[test]
    fn an_answered_request_stands_in_nobodys_way() {
        let mut pipeline = Pipeline::new();
        let read = pipeline.start((), footprint("r:1"));
        let write = pipeline.start((), footprint("w:2,2"));
        assert!(pipeline.answer(write, "write", 5).is_some());
        assert!(pipeline.may_start(&footprint("r:2")) && !pipeline.may_start(&footprint("b")));
        assert!(pipeline.answer(read, "read", 4).is_some());
        assert!(pipeline.may_start(&footprint("b")) && pipeline.touched.is_empty());
    }

    #[test]
    fn replies_leave_in_order() {
        let mut pipeline = Pipeline::new();
        pipeline.pass();
        let first = pipeline.start((), footprint("r:1"));
        let second = pipeline.start((), footprint("r:2"));
        pipeline.push_answered((), "error", 7);
        let third = pipeline.start((), footprint("n"));
        assert_eq!((first, second, third), (1, 2, 4));
        assert!(pipeline.answer(second, "second", 10).is_some());
        assert_eq!((pipeline.take_next(), pipeline.waiting_bytes()), (None, 17));
        assert!(pipeline.answer(first, "first", 1).is_some());
        for expected in [Some("first"), Some("second"), Some("error"), None] {
            assert_eq!(pipeline.take_next(), expected.map(|reply| ((), reply)));
        }
        assert!(!pipeline.is_idle());
        assert!(pipeline.answer(third, "third", 0).is_some());
        assert_eq!(
            (pipeline.take_next(), pipeline.is_idle(), pipeline.waiting_bytes()),
            (Some(((), "third")), true, 0)
        );
    }

    #[test]
    fn answers_that_nobody_waits_for_are_dropped() {
        let mut pipeline = Pipeline::new();
        let only = pipeline.start((), footprint("r:1"));
        pipeline.push_answered((), "error", 0);
        assert!(pipeline.answer(only + 1, "to an answered one", 0).is_none());
        assert!(pipeline.answer(only + 2, "to one that never was", 0).is_none());
        assert!(pipeline.answer(only, "yes", 0).is_some() && pipeline.answer(only, "twice", 0).is_none());
        while pipeline.take_next().is_some() {}
        assert!(pipeline.answer(only, "late", 0).is_none());
    }

    #[test]
    fn the_number_in_flight_is_bounded() {
        let mut pipeline = Pipeline::<(), ()>::new();
        for _ in 0..PIPELINE_REQUESTS_MAX {
            assert!(pipeline.may_start(&Footprint::Nothing));
            pipeline.start((), Footprint::Nothing);
        }
        assert!(!pipeline.may_start(&Footprint::Nothing));

        let many = |count: usize| Footprint::Keys { marks: (0..count as u64).map(KeyMark).collect(), writes: false };
        let mut pipeline = Pipeline::<(), ()>::new();
        // A single request may be larger: whoever starts it bounds it.
        assert!(pipeline.may_start(&many(PIPELINE_KEYS_MAX + 1)));
        pipeline.start((), many(PIPELINE_KEYS_MAX));
        assert!(!pipeline.may_start(&many(1)) && pipeline.may_start(&Footprint::Nothing));
    }
}
