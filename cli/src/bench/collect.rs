//! What all threads tell, put together: seconds when every thread has told them, and the whole.
//!
//! Must not know threads or channels: it is handed what they say.

use std::collections::BTreeMap;

use super::report::Row;
use super::tally::Interval;

/// The whole so far.
#[derive(Debug)]
pub(super) struct Collector {
    threads: usize,
    has_due_times: bool,
    total: Interval,
    /// By second: how many threads have told it, and what.
    open: BTreeMap<u32, (usize, Interval)>,
    series: Vec<Row>,
    last_answer: u64,
}

impl Collector {
    pub(super) fn new(threads: usize, has_due_times: bool) -> Self {
        let total = Interval::new(has_due_times);
        Self { threads, has_due_times, total, open: BTreeMap::new(), series: Vec::new(), last_answer: 0 }
    }

    /// A thread has told a second: the second's row, if it was the last to tell it.
    pub(super) fn on_interval(&mut self, second: u32, interval: &Interval) -> Option<&Row> {
        self.total.add(interval);
        let (seen, sum) = self.open.entry(second).or_insert_with(|| (0, Interval::new(self.has_due_times)));
        sum.add(interval);
        *seen += 1;
        if *seen < self.threads {
            return None;
        }
        let (_, sum) = self.open.remove(&second)?;
        self.series.push(Row::new(second, &sum));
        self.series.last()
    }

    /// A thread has ended.
    pub(super) fn on_ended(&mut self, last_answer: u64) {
        self.last_answer = self.last_answer.max(last_answer);
    }

    /// All of it, the series in order, and when the last answer came.
    pub(super) fn finish(mut self) -> (Interval, Vec<Row>, u64) {
        let rest = std::mem::take(&mut self.open);
        self.series.extend(rest.into_iter().map(|(second, (_, sum))| Row::new(second, &sum)));
        self.series.sort_by_key(|row| row.second);
        (self.total, self.series, self.last_answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sets(count: u64) -> Interval {
        let mut interval = Interval::new(false);
        interval.tally.sets = count;
        interval
    }

    #[test]
    fn a_second_is_complete_when_every_thread_has_told_it() {
        let mut collector = Collector::new(2, false);
        assert!(collector.on_interval(0, &sets(1)).is_none());
        assert!(collector.on_interval(1, &sets(10)).is_none());
        assert_eq!(collector.on_interval(0, &sets(2)).map(|row| row.second), Some(1));
        // The other thread had ended before the second second was over.
        collector.on_ended(7);
        collector.on_ended(5);
        let (total, series, last_answer) = collector.finish();
        assert_eq!((total.tally.sets, last_answer), (13, 7));
        let seconds: Vec<u32> = series.iter().map(|row| row.second).collect();
        assert_eq!(seconds, [1, 2]);
    }
}
