//! Finding what is over without a get: segment by segment, by what is known of when their bytes end.
//!
//! Must not know who asked for it.

use super::record::second_of;
use super::segments::EXPIRIES_BYTES;
use super::segments::Segment;
use super::shard::{Moment, Queue, Shard};

/// The part of a segment that must have ended for tidying to look through it.
const WORTH_SHARE: usize = 32;

/// Bytes of live records that one tidying moves, at most, to clean what is dead: well under a millisecond.
const CLEANED_BYTES_MAX: usize = 128 << 10;

/// Seconds after which what is known of hot keys counts half.
const HOT_LIFE_S: u32 = 60;

/// Where a sweep goes on: a segment, and an offset in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cursor {
    segment: u32,
    /// The life of the segment that the offset is of.
    life: u32,
    offset: u32,
}

/// What one tidying of a shard came to.
pub(super) struct Tidied {
    /// Segments gone past.
    pub(super) segments: usize,
    /// Bytes of those looked through.
    pub(super) bytes: usize,
    /// Records removed.
    pub(super) removed: usize,
    /// Whether it came past the last segment.
    pub(super) finished: bool,
}

/// What one sweep of a shard came to.
#[derive(Default)]
pub(super) struct Swept {
    /// Places looked at.
    pub(super) examined: usize,
    /// Records removed.
    pub(super) removed: usize,
    /// Whether it came past the last segment.
    pub(super) finished: bool,
}

impl Shard {
    /// Looks at up to `places_max` places, segments and records, from where the last sweep stopped, up to the last one.
    pub(super) fn sweep(&mut self, moment: Moment, places_max: usize) -> Swept {
        let mut swept = Swept::default();
        let Cursor { segment: mut number, life, mut offset } = self.sweep_from;
        if offset > 0 && self.segments.get(number).life != life {
            offset = 0;
        }
        while number < self.segments.end() && swept.examined < places_max {
            if offset == 0 && self.is_in_use(number) {
                swept.examined += 1;
            }
            if self.is_in_use(number) && (offset > 0 || self.may_hold_dead(moment, number)) {
                let (from, left) = (offset, places_max - swept.examined);
                let end = self.look_through(moment, number, &mut offset, left, &mut swept);
                if !end {
                    break;
                }
                if from == 0 {
                    self.looked_through(moment, number);
                }
            }
            (number, offset) = (number + 1, 0);
        }
        swept.finished = number >= self.segments.end();
        self.sweep_from = if swept.finished {
            Cursor::default()
        } else {
            Cursor { segment: number, life: self.segments.get(number).life, offset }
        };
        swept
    }

    /// Goes past up to `segments_max` segments from where the last tidying stopped, up to the last one, and looks through
    /// those that are worth it, about `bytes_max` bytes of them. Then cleans dead bytes, if there are many.
    pub(super) fn tidy(&mut self, moment: Moment, segments_max: usize, bytes_max: usize) -> Tidied {
        let mut swept = Swept::default();
        let (end, size) = (self.segments.end(), self.segments.size());
        let (from, mut bytes) = (self.tidy_from.min(end), 0);
        let mut number = from;
        while number < end && ((number - from) as usize) < segments_max && bytes < bytes_max {
            if self.is_worth_a_look(moment, number) {
                self.look_through(moment, number, &mut 0, usize::MAX, &mut swept);
                self.looked_through(moment, number);
                bytes += size;
            }
            number += 1;
        }
        let finished = number == end;
        self.tidy_from = if finished { 0 } else { number };
        self.drop_old_tombstones(moment);
        self.cap_tombstones(moment);
        self.clean_dead(moment, CLEANED_BYTES_MAX);
        if second_of(moment.now) >= self.hot_age_at_s {
            self.hot_age_at_s = second_of(moment.now) + HOT_LIFE_S;
            self.hot.age();
        }
        Tidied { segments: (number - from) as usize, bytes, removed: swept.removed, finished }
    }

    /// Whether what is known of a segment's expiries is there, or can be paid for.
    pub(super) fn can_note_expiry(&self, number: u32) -> bool {
        let is_there = self.segments.get(number).expiries.is_some();
        is_there || self.segments.free() > 0 || self.used() + EXPIRIES_BYTES <= self.budget
    }

    /// Notes when the bytes of a record will end.
    pub(super) fn note_expiry(&mut self, place: u32, now_s: u32) {
        let record = self.record(place);
        let Some(at_s) = record.expiry().unix_seconds() else { return };
        let len = record.len() as u32;
        let (number, _) = self.segments.split(place);
        self.segments.note_expiry(number, now_s, at_s, len);
    }

    /// Whether a record in this segment could be dead, or a tombstone too old.
    fn may_hold_dead(&self, moment: Moment, number: u32) -> bool {
        let segment = self.segments.get(number);
        let next = segment.expiries.as_ref().and_then(|expiries| expiries.next());
        let ends = next.is_some_and(|second| second <= second_of(moment.now));
        // While a paced flush goes on, any record up to its stamp.
        ends || segment.floor < moment.floors.highest || segment.queue == Queue::Tombstones as u8
    }

    fn is_worth_a_look(&self, moment: Moment, number: u32) -> bool {
        let segment = self.segments.get(number);
        let worth = self.segments.size() / WORTH_SHARE;
        let now_s = second_of(moment.now);
        let is_due = segment
            .expiries
            .as_ref()
            .is_some_and(|expiries| expiries.due(now_s) as usize >= worth || expiries.is_outlived(now_s));
        self.is_in_use(number) && (segment.floor < moment.floors.everywhere || is_due)
    }

    fn is_in_use(&self, number: u32) -> bool {
        self.segments.is_mapped(number) && self.segments.get(number).used > 0
    }

    /// Removes what is over among the records of a segment from `offset` on, `left` of them at most. True at its end; if
    /// not, `offset` says where to go on.
    fn look_through(&mut self, moment: Moment, number: u32, offset: &mut u32, left: usize, swept: &mut Swept) -> bool {
        let mut left = left;
        while let Some(at) = self.segments.get(number).record_from(*offset) {
            *offset = at;
            if left == 0 {
                return false;
            }
            left = left.saturating_sub(1);
            swept.examined += 1;
            let place = self.segments.place(number, at);
            let (record, behind) = (self.record(place), self.segments.get(number).behind(at));
            *offset = behind;
            if record.is_dead() {
                continue;
            }
            let over = moment.is_dead(record) || (record.is_tombstone() && self.is_outlived(record, moment));
            if self.count_look(place, over) {
                self.reclaim(moment, place);
                swept.removed += 1;
            }
        }
        true
    }

    /// A segment holds nothing that is over now: what is known of it is made anew.
    fn looked_through(&mut self, moment: Moment, number: u32) {
        let now_s = second_of(moment.now);
        let segment = self.segments.get_mut(number);
        segment.floor = moment.floors.everywhere;
        let Some(mut expiries) = segment.expiries.take() else { return };
        expiries.clear(now_s);
        for (at_s, len) in ends(segment) {
            expiries.add(at_s, len);
        }
        segment.expiries = Some(expiries);
    }
}

/// When the live records that begin in a segment end, and their bytes.
fn ends(segment: &Segment) -> impl Iterator<Item = (u32, u32)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(offset) = segment.record_from(at) {
            at = segment.behind(offset);
            let record = segment.record(offset);
            if let (false, Some(at_s)) = (record.is_dead(), record.expiry().unix_seconds()) {
                return Some((at_s, record.len() as u32));
            }
        }
        None
    })
}
