//! When the bytes of one segment end: a small histogram, so that a sweep visits the segments where it pays.
//!
//! Must not know items or segments. Seconds are cluster time.
//!
//! ```text
//! bucket      0      1      2      3      4       5        …  31               32
//! seconds     0…2    3      4…5    6…7    8…11    12…15    …  98,304…131,071   131,072… (beyond)
//! ```
//!
//! Two buckets an octave, counted from the base: the second of [`Expiries::clear`]. Within a bucket bytes are taken to
//! end evenly, so [`Expiries::due`] is off by no more than the bytes of the one bucket that `now` lies in, and 64 for
//! each bucket with anything in it. That is coarse when the base is long ago: whoever has walked the segment should clear
//! it and add again what is left, which makes the base new, and must where [`Expiries::is_outlived`].

/// Octaves from 2 seconds on, up to 2^17: a day and a half.
const OCTAVES: u32 = 16;

/// Two an octave, and one for what ends later.
const BUCKETS: usize = OCTAVES as usize * 2 + 1;

/// The last bucket: never due.
const BEYOND: usize = BUCKETS - 1;

/// Bytes that a count of 1 stands for: a count of 16 bits can tell 4 MiB, more than a segment holds.
const UNIT: i32 = 64;

/// See the top of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Expiries {
    base_s: u32,
    /// Bytes added that no count tells yet; below 0 when counts tell more.
    rest: i16,
    /// Saturating.
    counts: [u16; BUCKETS],
}

impl Expiries {
    pub(super) fn new(now_s: u32) -> Self {
        Self { base_s: now_s, rest: 0, counts: [0; BUCKETS] }
    }

    /// Starts over, with nothing in it and now as its base.
    pub(super) fn clear(&mut self, now_s: u32) {
        *self = Self::new(now_s);
    }

    /// Takes in bytes that end at a second; what ended before the base counts as ending then. Items that never end are
    /// not added.
    pub(super) fn add(&mut self, at_s: u32, bytes: u32) {
        let count = &mut self.counts[bucket_of(at_s.saturating_sub(self.base_s))];
        // What does not fill a unit is left for the next item, wherever that ends: the sum stays right. But a bucket
        // with anything in it says so.
        let total = i32::from(self.rest).saturating_add_unsigned(bytes);
        let units = (total / UNIT).max(i32::from(*count == 0 && bytes > 0));
        self.rest = (total - units * UNIT) as i16;
        *count = count.saturating_add(u16::try_from(units).unwrap_or(u16::MAX));
    }

    /// Bytes that have ended by now, about: see the top of the file. Above 0 once anything in a bucket that has passed
    /// as a whole was added; 0 before [`Expiries::next`].
    pub(super) fn due(&self, now_s: u32) -> u32 {
        let Some(age_s) = now_s.checked_sub(self.base_s) else { return 0 };
        let last = bucket_of(age_s);
        let passed: u32 = self.counts[..last].iter().map(|&count| u32::from(count)).sum();
        if last == BEYOND {
            return passed * UNIT as u32;
        }
        let (start_s, end_s) = (start_of(last), start_of(last + 1));
        // Something that ends at a second has ended when it begins.
        let share = u64::from(self.counts[last]) * u64::from(age_s - start_s + 1) * UNIT as u64;
        passed * UNIT as u32 + (share / u64::from(end_s - start_s)) as u32
    }

    /// A second before which nothing ends; `None` when nothing was added. What has ended stays in it until
    /// [`Expiries::clear`].
    pub(super) fn next(&self) -> Option<u32> {
        let first = self.counts.iter().position(|&count| count > 0)?;
        Some(self.base_s.saturating_add(start_of(first)))
    }

    /// Whether something may have ended that [`Expiries::due`] does not tell, for it lay beyond the last octave: then
    /// the segment must be walked, and what is left added again after [`Expiries::clear`].
    pub(super) fn is_outlived(&self, now_s: u32) -> bool {
        self.counts[BEYOND] > 0 && now_s.saturating_sub(self.base_s) >= start_of(BEYOND)
    }
}

/// The bucket of a second after the base.
fn bucket_of(after_s: u32) -> usize {
    let after_s = after_s.max(2);
    let octave = after_s.ilog2();
    let half = after_s >> (octave - 1) & 1;
    ((octave - 1) * 2 + half).min(BEYOND as u32) as usize
}

/// The first second of a bucket after the base.
fn start_of(bucket: usize) -> u32 {
    if bucket == 0 {
        return 0;
    }
    let (octave, half) = (bucket as u32 / 2 + 1, bucket as u32 % 2);
    (2 + half) << (octave - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE_S: u32 = 1_800_000_000;

    #[test]
    fn it_is_small_and_its_buckets_have_no_gaps() {
        assert!(size_of::<Expiries>() <= 72);
        for bucket in 0..BUCKETS {
            let start_s = start_of(bucket);
            assert_eq!(bucket_of(start_s), bucket);
            if bucket > 0 {
                assert_eq!(bucket_of(start_s - 1), bucket - 1);
            }
        }
        assert_eq!((start_of(BEYOND), bucket_of(u32::MAX)), (1 << 17, BEYOND));
    }

    #[test]
    fn a_single_small_item_is_due_when_its_bucket_has_passed_and_not_before_it() {
        for after_s in [0, 1, 2, 3, 5, 10, 59, 600, 3600, 86_400, 131_071] {
            let mut expiries = Expiries::new(BASE_S);
            assert_eq!((expiries.next(), expiries.due(u32::MAX)), (None, 0));
            expiries.add(BASE_S + after_s, 1);
            let bucket = bucket_of(after_s);
            let (start_s, end_s) = (BASE_S + start_of(bucket), BASE_S + start_of(bucket + 1));
            assert_eq!(expiries.next(), Some(start_s));
            assert!(start_s <= BASE_S + after_s);
            assert_eq!(expiries.due(start_s - 1), 0, "{after_s} s");
            assert!(expiries.due(end_s) > 0 && expiries.due(end_s - 1) > 0, "{after_s} s");
        }
    }

    #[test]
    fn what_ends_beyond_the_last_octave_is_never_due_but_outlived() {
        let mut expiries = Expiries::new(BASE_S);
        expiries.add(BASE_S + (1 << 17) - 1, 1000);
        assert!(!expiries.is_outlived(u32::MAX));
        expiries.clear(BASE_S);
        expiries.add(u32::MAX, 1000);
        assert_eq!((expiries.due(u32::MAX), expiries.next()), (0, Some(BASE_S + (1 << 17))));
        assert!(!expiries.is_outlived(BASE_S + (1 << 17) - 1) && expiries.is_outlived(BASE_S + (1 << 17)));
    }

    #[test]
    fn a_bucket_that_is_full_stays_full() {
        let mut expiries = Expiries::new(BASE_S);
        for _ in 0..10 {
            expiries.add(BASE_S + 5, 1 << 20);
        }
        assert_eq!(expiries.due(BASE_S + 6), u32::from(u16::MAX) * 64);
        expiries.add(BASE_S + 5, u32::MAX);
        assert_eq!(expiries.due(BASE_S + 6), u32::from(u16::MAX) * 64);
    }

    fn added(items: &[(u32, u32)]) -> Expiries {
        let mut expiries = Expiries::new(BASE_S);
        for &(after_s, bytes) in items {
            expiries.add(BASE_S + after_s, bytes);
        }
        expiries
    }

    fn truth(items: &[(u32, u32)], now_after_s: u32) -> u32 {
        items.iter().filter(|&&(after_s, _)| after_s <= now_after_s).map(|&(_, bytes)| bytes).sum()
    }

    proptest! {
        #[test]
        fn the_estimate_is_off_by_no_more_than_the_bucket_of_now_and_64_bytes_for_each(
            items in prop::collection::vec(
                (prop_oneof![10..=600u32, 0..=100_000u32, Just(300u32)], prop_oneof![1..=200u32, 1..=10_240u32]),
                0..200,
            ),
            now_after_s in prop_oneof![0..700u32, 0..140_000u32],
        ) {
            let (expiries, truth) = (added(&items), truth(&items, now_after_s));
            let due = expiries.due(BASE_S + now_after_s);
            let in_bucket = |&&(after_s, _): &&(u32, u32)| bucket_of(after_s) == bucket_of(now_after_s);
            let of_now: u32 = items.iter().filter(in_bucket).map(|&(_, bytes)| bytes).sum();
            let used = expiries.counts.iter().filter(|&&count| count > 0).count() as u32;
            let allowed = of_now + 64 * (used + 1);
            prop_assert!(due.abs_diff(truth) <= allowed, "{due} for {truth}, allowed {allowed}");
            let next = expiries.next();
            prop_assert_eq!(next.is_none(), items.is_empty());
            if let Some(next) = next {
                prop_assert!(items.iter().all(|&(after_s, _)| BASE_S + after_s >= next));
            }
        }

        /// A full segment of items with usual TTLs: what the interpolation is for.
        #[test]
        fn of_many_items_of_10_to_600_s_the_estimate_is_within_a_twentieth_of_all_bytes(
            items in prop::collection::vec((10..=600u32, 40..=2_000u32), 500..1_000),
            now_after_s in 0..700u32,
        ) {
            let (expiries, truth) = (added(&items), truth(&items, now_after_s));
            let all: u32 = items.iter().map(|&(_, bytes)| bytes).sum();
            let due = expiries.due(BASE_S + now_after_s);
            // The last bucket runs to 767 s, though nothing ends after 600: its own part is taken to end more slowly.
            let off = if now_after_s >= 512 { all / 6 } else { all / 20 };
            prop_assert!(due.abs_diff(truth) <= off, "{due} for {truth} of {all} at {now_after_s}");
        }
    }
}
