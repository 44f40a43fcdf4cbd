//! Keeping entries: in place where they fit, at the head of a queue where they do not.
//!
//! Must not know how room is made, nor who ordered the entries.

use memring_protocol::entry::{Body, Entry};
use memring_protocol::key::Key;
use memring_protocol::version::Stamp;

use super::evict::Need;
use super::record::{History, Home, Shape, Term, second_of};
use super::shard::{Moment, NoRoom, Queue, Shard};

/// An entry about to be written.
struct Draft<'a> {
    key: &'a Key,
    entry: &'a Entry,
    term: Term,
    shape: Shape,
    is_large: bool,
    history: History,
}

impl Draft<'_> {
    fn value(&self) -> &[u8] {
        match &self.entry.body {
            Body::Item(item) if !self.is_large => &item.value,
            Body::Item(_) | Body::Tombstone => &[],
        }
    }
}

impl Shard {
    /// Keeps an entry in place of `held`, the record of its key, and says where. If it `amends` a live item, it is that
    /// item changed in place: how it was read goes on, and it does not count as stored. On an error nothing is changed
    /// but what had to go for room, which may be `held` itself.
    pub(super) fn keep(
        &mut self,
        moment: Moment,
        key: &Key,
        held: Option<u32>,
        entry: &Entry,
        amends: bool,
    ) -> Result<u32, NoRoom> {
        let is_item = matches!(entry.body, Body::Item(_));
        if is_item && key.len() + entry.value_len() > self.item_bytes_max {
            self.stats.too_large += 1;
            return Err(NoRoom::TooLarge);
        }
        let held_item = held.filter(|&place| is_item && !self.record(place).is_tombstone());
        let amends = amends && held_item.is_some_and(|place| !moment.is_dead(self.record(place)));
        let history = held_item.map_or(History::beginning(moment.now), |place| {
            let earlier = self.record(place).history();
            // How often it is read says more than when it was last written.
            if amends { earlier } else { History { frequency: earlier.frequency, ..History::beginning(moment.now) } }
        });
        let term = self.terms.enter(entry.version.ballot).map_or(Term::Whole(entry.version.ballot), Term::Number);
        let is_large = entry.value_len() > self.log_value_max;
        let draft = Draft { key, entry, term, shape: Shape::of(key, entry, term, is_large), is_large, history };
        let place = match held_item {
            Some(place) if self.fits_in_place(place, &draft) => self.overwrite(moment, place, &draft),
            _ => self.append(moment, held, &draft).ok_or_else(|| self.refuse(&draft))?,
        };
        self.stats.total_items += u64::from(is_item && !amends);
        self.cap_tombstones(moment);
        // A table that shrinks may need a little more for a while.
        while self.used() > self.budget && self.segments.unmap() {}
        assert!(self.used() <= self.budget, "room was made for all that a write adds");
        Ok(place)
    }

    /// Whether a record can take the place of the held item without moving. A large value is not in the log.
    fn fits_in_place(&self, place: u32, draft: &Draft<'_>) -> bool {
        let held = self.record(place);
        !draft.is_large
            && held.large().is_none()
            && draft.shape.len() <= held.len()
            && draft.shape.head_len <= held.0.len()
    }

    fn overwrite(&mut self, moment: Moment, place: u32, draft: &Draft<'_>) -> u32 {
        self.count_out(place);
        self.index.note_change(self.record(place).token(), self.version(place));
        self.leave_term(place);
        let head = draft.shape.head(draft.key, draft.entry, draft.term, Home::Log, draft.history);
        let queue = self.segments.queue(place);
        self.logs[usize::from(queue)].overwrite(&mut self.segments, place, head.as_bytes(), draft.value());
        self.settle(moment, place, draft);
        place
    }

    /// Writes a record at the head of its queue. `None` if there is no room.
    fn append(&mut self, moment: Moment, held: Option<u32>, draft: &Draft<'_>) -> Option<u32> {
        let queue = self.queue_for(held, draft);
        let mut need = Need {
            queue,
            head_len: draft.shape.head_len,
            len: draft.shape.len(),
            extra: self.index.growth(draft.key.digest().token()),
        };
        if draft.is_large {
            need.extra += self.larges.cost(draft.entry.value_len());
        }
        // What had to go, or moved, may have been the record of this key.
        let held = if self.make_room(moment, &need)? { self.find(draft.key) } else { held };
        let home = match &draft.entry.body {
            Body::Item(item) if draft.is_large => Home::Large(self.larges.insert(&item.value)),
            Body::Item(_) | Body::Tombstone => Home::Log,
        };
        let head = draft.shape.head(draft.key, draft.entry, draft.term, home, draft.history);
        let log = &mut self.logs[queue as usize];
        let place = log.append(&mut self.segments, moment.floor, head.as_bytes(), draft.value());
        if let Home::Large(number) = home {
            self.large_bytes[queue as usize] += self.larges.weight(number);
        }
        if let Some(held) = held {
            self.count_out(held);
            self.index.note_change(self.record(held).token(), self.version(held));
            self.index.replace(&self.segments, held, place);
            self.bury(held);
        } else {
            self.index.insert(&self.segments, place);
        }
        self.settle(moment, place, draft);
        Some(place)
    }

    /// Where a record starts: an item in the queue that it is in already; a new one on probation, unless the ghost queue
    /// remembers its key.
    fn queue_for(&mut self, held: Option<u32>, draft: &Draft<'_>) -> Queue {
        if matches!(draft.entry.body, Body::Tombstone) {
            return Queue::Tombstones;
        }
        match held.map(|place| self.queue(place)) {
            Some(queue @ (Queue::Small | Queue::Main)) => queue,
            _ if self.ghost.take(self.index.hash(draft.key.digest().token())) => Queue::Main,
            _ => Queue::Small,
        }
    }

    /// Counts a record that has just been written.
    fn settle(&mut self, moment: Moment, place: u32, draft: &Draft<'_>) {
        self.index.note_change(draft.key.digest().token(), draft.entry.version);
        self.count_in(place);
        self.note_expiry(place, second_of(moment.now));
        if draft.entry.version.stamp <= moment.floor {
            // It is flushed already: a sweep is to find it.
            let (number, _) = self.segments.split(place);
            self.segments.get_mut(number).floor = Stamp::ZERO;
        }
    }

    fn refuse(&mut self, draft: &Draft<'_>) -> NoRoom {
        if let Term::Number(number) = draft.term {
            self.terms.leave(number);
        }
        self.stats.out_of_memory += 1;
        if matches!(draft.entry.body, Body::Item(_)) {
            let size = super::item_size(draft.key.len(), draft.entry.value_len());
            self.classes.of_size(size).out_of_memory += 1;
        }
        NoRoom::OutOfMemory
    }
}
