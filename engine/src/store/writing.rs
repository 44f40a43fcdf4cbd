//! Keeping entries: in place where they fit, at the head of a queue where they do not.
//!
//! Must not know how room is made, nor who ordered the entries.

use memring_protocol::entry::{BodyRef, EntryRef};
use memring_protocol::key::KeyRef;
use memring_protocol::version::{Stamp, Version};

use super::counting::Counted;
use super::evict::Need;
use super::record::{History, Home, Record, Term, second_of};
use super::segments::EXPIRIES_BYTES;
use super::shape::{Shape, Written};
use super::shard::{Moment, NoRoom, Queue, Shard};

/// An entry about to be written.
struct Draft<'a> {
    key: &'a KeyRef<'a>,
    entry: &'a EntryRef<'a>,
    term: Term,
    shape: Shape,
    is_large: bool,
    /// Whether it is the held item changed in place.
    amends: bool,
    history: History,
}

impl Draft<'_> {
    fn write_head(&self, into: &mut [u8], home: Home) {
        let written = Written { term: self.term, home, history: self.history };
        self.shape.write_head(into, self.key, self.entry, &written);
    }

    /// What is counted of the item once it is written.
    fn counted(&self, queue: u8) -> Counted {
        let value_len = self.entry.value_len();
        Counted {
            size: super::item_size(self.key.len(), value_len),
            bytes: (self.shape.head_len + value_len) as u64,
            small: u64::from(queue == Queue::Small as u8),
        }
    }

    fn value(&self) -> &[u8] {
        match &self.entry.body {
            BodyRef::Item(item) if !self.is_large => &item.value,
            BodyRef::Item(_) | BodyRef::Tombstone => &[],
        }
    }
}

impl Shard {
    /// Keeps an entry in place of `held`, the record of its key and its version, and says where. If it `amends` a live
    /// item, it is that item changed in place: how it was read goes on, and it does not count as stored. On an error
    /// nothing is changed but what had to go for room, which may be `held` itself.
    pub(super) fn keep(
        &mut self,
        moment: Moment,
        key: &KeyRef<'_>,
        held: Option<(u32, Version)>,
        entry: &EntryRef<'_>,
        amends: bool,
    ) -> Result<u32, NoRoom> {
        let is_item = matches!(entry.body, BodyRef::Item(_));
        if is_item && key.len() + entry.value_len() > self.item_bytes_max {
            self.stats.too_large += 1;
            return Err(NoRoom::TooLarge);
        }
        let place = match held.and_then(|(place, version)| self.overwrite(moment, key, place, version, entry, amends)) {
            Some(place) => return Ok(place),
            None => self.append(moment, key, held.map(|(place, _)| place), entry, amends)?,
        };
        self.cap_tombstones(moment);
        self.give_back_excess();
        Ok(place)
    }

    /// Writes an item over the held one, where that stands: if both are in the log and of one term, and it is not longer.
    fn overwrite(
        &mut self,
        moment: Moment,
        key: &KeyRef<'_>,
        place: u32,
        version: Version,
        entry: &EntryRef<'_>,
        amends: bool,
    ) -> Option<u32> {
        let BodyRef::Item(item) = &entry.body else { return None };
        let (number, offset) = self.segments.split(place);
        let segment = self.segments.get(number);
        let (record, queue) = (segment.record(offset), segment.queue);
        let (is_large, term) = (item.value.len() > self.log_value_max, record.term());
        let shape = Shape::of(key, entry, term, is_large);
        let fits = shape.len() <= record.len() && shape.head_len <= record.bytes().len();
        let is_alike = !record.is_tombstone() && !is_large && record.large().is_none();
        if !is_alike || !fits || version.ballot != entry.version.ballot {
            return None;
        }
        if shape.expires() && !self.can_note_expiry(number) {
            return None;
        }
        let amends = amends && !moment.is_dead(record);
        let history = history(moment, Some(record), amends);
        let draft = Draft { key, entry, term, shape, is_large, amends, history };
        let bytes = (record.head_len() + record.value_len()) as u64;
        let small = u64::from(queue == Queue::Small as u8);
        let from = Counted { size: super::item_size(record.key_len(), record.value_len()), bytes, small };
        let write_head = |into: &mut [u8]| draft.write_head(into, Home::Log);
        let log = &mut self.logs[usize::from(queue)];
        log.overwrite(&mut self.segments, place, shape.head_len, write_head, &item.value);
        self.index.note_exchange(key.digest().token(), version, entry.version);
        self.recount(&from, &draft.counted(queue));
        self.stats.total_items += u64::from(!amends);
        self.settle(moment, place, &draft);
        Some(place)
    }

    /// Writes a record at the head of its queue.
    #[inline(never)]
    fn append(
        &mut self,
        moment: Moment,
        key: &KeyRef<'_>,
        held: Option<u32>,
        entry: &EntryRef<'_>,
        amends: bool,
    ) -> Result<u32, NoRoom> {
        let is_item = matches!(entry.body, BodyRef::Item(_));
        let held_item = held.map(|place| self.record(place)).filter(|held| is_item && !held.is_tombstone());
        let amends = amends && held_item.is_some_and(|held| !moment.is_dead(held));
        let history = history(moment, held_item, amends);
        let is_large = entry.value_len() > self.log_value_max;
        let ballot = entry.version.ballot;
        let term = self.terms.enter(ballot).map_or(Term::Whole(ballot), Term::Number);
        let shape = Shape::of(key, entry, term, is_large);
        let mut draft = Draft { key, entry, term, shape, is_large, amends, history };
        let place = self.append_draft(moment, held, &mut draft).ok_or_else(|| self.refuse(&draft))?;
        self.stats.total_items += u64::from(is_item && !amends);
        Ok(place)
    }

    /// [`Shard::append`], all being known. `None` if there is no room.
    fn append_draft(&mut self, moment: Moment, held: Option<u32>, draft: &mut Draft<'_>) -> Option<u32> {
        let queue = self.queue_for(held, draft);
        let mut need = Need {
            queue,
            head_len: draft.shape.head_len,
            len: draft.shape.len(),
            extra: self.index.growth(draft.key.digest().token()),
            amends: draft.amends,
        };
        if draft.is_large {
            need.extra += self.larges.cost(draft.entry.value_len());
        }
        if draft.shape.expires() {
            need.extra += EXPIRIES_BYTES;
        }
        // What had to go, or moved, may have been the record of this key.
        let was_held = held.is_some();
        let held = if self.make_room(moment, &need)? { self.find(draft.key) } else { held };
        if was_held && held.is_none() {
            draft.history = History::beginning(moment.now);
        }
        let draft = &*draft;
        let home = match &draft.entry.body {
            BodyRef::Item(item) if draft.is_large => Home::Large(self.larges.insert(item.value)),
            BodyRef::Item(_) | BodyRef::Tombstone => Home::Log,
        };
        let write_head = |into: &mut [u8]| draft.write_head(into, home);
        let (head_len, log) = (draft.shape.head_len, &mut self.logs[queue as usize]);
        let place = log.append(&mut self.segments, moment.floors.everywhere, head_len, write_head, draft.value());
        if let Home::Large(number) = home {
            self.large_bytes[queue as usize] += self.larges.weight(number);
        }
        self.index.note_change(draft.key.digest().token(), draft.entry.version);
        self.count_in(place);
        if let Some(held) = held {
            self.count_out(held);
            self.index.note_change(draft.key.digest().token(), self.version(held));
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
        if matches!(draft.entry.body, BodyRef::Tombstone) {
            return Queue::Tombstones;
        }
        match held.map(|place| self.queue(place)) {
            Some(queue @ (Queue::Small | Queue::Main)) => queue,
            _ if self.ghost.take(self.index.hash(draft.key.digest().token())) => Queue::Main,
            _ => Queue::Small,
        }
    }

    /// Notes of a record that has just been written when it will be over.
    #[inline(always)]
    fn settle(&mut self, moment: Moment, place: u32, draft: &Draft<'_>) {
        if draft.shape.expires() {
            self.note_expiry(place, second_of(moment.now));
            self.give_back_excess();
        }
        if moment.flushes(draft.key.partition(), draft.entry.version.stamp) {
            // It is flushed already: a sweep is to find it.
            let (number, _) = self.segments.split(place);
            self.segments.get_mut(number).floor = Stamp::ZERO;
        }
    }

    #[cold]
    fn refuse(&mut self, draft: &Draft<'_>) -> NoRoom {
        if let Term::Number(number) = draft.term {
            self.terms.leave(number);
        }
        self.stats.out_of_memory += 1;
        if matches!(draft.entry.body, BodyRef::Item(_)) {
            let size = super::item_size(draft.key.len(), draft.entry.value_len());
            self.classes.of_size(size).out_of_memory += 1;
        }
        NoRoom::OutOfMemory
    }
}

/// How a record that takes the place of an item will have been read.
#[inline(always)]
fn history(moment: Moment, held: Option<Record<'_>>, amends: bool) -> History {
    match held.map(Record::history) {
        Some(earlier) if amends => earlier,
        // How often it is read says more than when it was last written.
        Some(earlier) => History { frequency: earlier.frequency, ..History::beginning(moment.now) },
        None => History::beginning(moment.now),
    }
}
