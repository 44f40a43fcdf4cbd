//! What a load has shown: an object for programs, tables for people.
//!
//! Must not know clocks or sockets.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::options::{Loop, Plan};
use super::tally::{ErrorKind, Interval, Latencies};

/// Seconds of the series that people are shown: the first of them.
const SECONDS_SHOWN_MAX: usize = 60;

/// What was asked and what came of it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Report {
    asked: Asked,
    interrupted: bool,
    seconds: f64,
    operations: u64,
    operations_per_second: f64,
    gets: u64,
    sets: u64,
    hits: u64,
    misses: u64,
    errors_total: u64,
    errors: BTreeMap<&'static str, u64>,
    /// What a server said when it first refused or failed.
    first_error: Option<String>,
    bytes_sent: u64,
    bytes_received: u64,
    latency_us: Times,
    series: Vec<Row>,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
struct Asked {
    servers: Vec<String>,
    #[serde(rename = "loop")]
    requests: &'static str,
    rate: Option<u64>,
    pipeline: Option<usize>,
    connections: usize,
    threads: usize,
    keys: u64,
    distribution: String,
    value_size: String,
    ratio: String,
    multi_get: u16,
    seed: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
struct Times {
    /// In an open loop: from when a request was due.
    from_due: Option<Kinds>,
    from_sent: Kinds,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
struct Kinds {
    all: Percentiles,
    get: Percentiles,
    set: Percentiles,
}

/// In microseconds.
#[derive(Clone, PartialEq, Debug, Serialize)]
struct Percentiles {
    count: u64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p99_9: f64,
    max: f64,
}

/// A second of the series.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(super) struct Row {
    /// From 1; the time at which answers came.
    pub(super) second: u32,
    operations: u64,
    hits: u64,
    misses: u64,
    errors: u64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

impl Report {
    pub(super) fn new(plan: &Plan, total: &Interval, seconds: f64, interrupted: bool, series: Vec<Row>) -> Self {
        let tally = &total.tally;
        let operations = tally.operations();
        Self {
            asked: Asked::new(plan),
            interrupted,
            seconds: rounded(seconds),
            operations,
            operations_per_second: if seconds > 0.0 { rounded(operations as f64 / seconds) } else { 0.0 },
            gets: tally.gets,
            sets: tally.sets,
            hits: tally.hits,
            misses: tally.misses,
            errors_total: tally.errors(),
            errors: ErrorKind::ALL.iter().map(|kind| (kind.name(), tally.errors[*kind as usize])).collect(),
            first_error: tally.words.clone(),
            bytes_sent: tally.bytes_sent,
            bytes_received: tally.bytes_received,
            latency_us: Times {
                from_due: total.from_due.as_ref().map(Kinds::new),
                from_sent: Kinds::new(&total.from_sent),
            },
            series,
        }
    }

    /// Whether anything was answered as it should.
    pub(super) fn has_answers(&self) -> bool {
        self.operations > 0
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// For people.
    pub(super) fn tables(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{}\n", self.asked.sentence())?;
        let ended = if self.interrupted { ", interrupted" } else { "" };
        let (operations, rate) = (self.operations, self.operations_per_second);
        writeln!(out, "{operations} requests in {:.2} s{ended}: {rate:.0} a second", self.seconds)?;
        let asked_for = self.hits + self.misses;
        if asked_for > 0 {
            let percent = self.hits as f64 * 100.0 / asked_for as f64;
            writeln!(out, "{} gets, {percent:.2} % of {asked_for} keys found; {} sets", self.gets, self.sets)?;
        } else {
            writeln!(out, "{} sets", self.sets)?;
        }
        let per_second = |bytes: u64| bytes as f64 / self.seconds.max(f64::MIN_POSITIVE) / 1e6;
        let (sent, received) = (per_second(self.bytes_sent), per_second(self.bytes_received));
        writeln!(out, "{sent:.1} MB/s sent, {received:.1} MB/s received")?;
        if self.errors_total == 0 {
            writeln!(out, "no errors")?;
        } else {
            let kinds = self.errors.iter().filter(|(_, count)| **count > 0);
            let kinds: Vec<String> = kinds.map(|(kind, count)| format!("{count} {kind}")).collect();
            let words = self.first_error.as_deref().map_or(String::new(), |words| format!(" (first: {words})"));
            writeln!(out, "{} errors: {}{words}", self.errors_total, kinds.join(", "))?;
        }
        let Times { from_due, from_sent } = &self.latency_us;
        writeln!(out, "\nlatency, µs              p50       p90       p99     p99.9       max      mean")?;
        if let Some(from_due) = from_due {
            from_due.write("from due", out)?;
        }
        from_sent.write("from sent", out)?;
        writeln!(out, "\nsecond   requests  found %   errors       p50       p99       max")?;
        for row in self.series.iter().take(SECONDS_SHOWN_MAX) {
            writeln!(out, "{}", row.line())?;
        }
        if let Some(more) = self.series.len().checked_sub(SECONDS_SHOWN_MAX).filter(|more| *more > 0) {
            writeln!(out, "… {more} more: --json has all")?;
        }
        Ok(())
    }
}

impl Asked {
    fn new(plan: &Plan) -> Self {
        let (requests, rate, pipeline) = match plan.requests {
            Loop::Closed { pipeline } => ("closed", None, Some(pipeline)),
            Loop::Open { rate } => ("open", Some(rate), None),
        };
        Self {
            servers: plan.servers.clone(),
            requests,
            rate,
            pipeline,
            connections: plan.connections,
            threads: plan.threads,
            keys: plan.keys,
            distribution: plan.distribution.to_string(),
            value_size: plan.sizes.to_string(),
            ratio: format!("{}:{}", plan.gets, plan.sets),
            multi_get: plan.keys_per_get,
            seed: plan.seed,
        }
    }

    fn sentence(&self) -> String {
        let pace = match (self.rate, self.pipeline) {
            (Some(rate), _) => format!("{rate} requests a second (open loop)"),
            (None, Some(1) | None) => "closed loop".to_owned(),
            (None, Some(pipeline)) => format!("closed loop, pipelines of {pipeline}"),
        };
        let keys_a_get = if self.multi_get > 1 { format!(", {} keys a get", self.multi_get) } else { String::new() };
        format!(
            "{}: {pace} on {} connections, gets to sets {}{keys_a_get}, {} keys {}, values of {} bytes",
            self.servers.join(","),
            self.connections,
            self.ratio,
            self.keys,
            self.distribution,
            self.value_size
        )
    }
}

impl Kinds {
    fn new(latencies: &Latencies) -> Self {
        Self {
            all: Percentiles::of(&latencies.all()),
            get: Percentiles::of(&latencies.gets),
            set: Percentiles::of(&latencies.sets),
        }
    }

    fn write(&self, from: &str, out: &mut String) -> std::fmt::Result {
        for (kind, times) in [("all", &self.all), ("gets", &self.get), ("sets", &self.set)] {
            let Percentiles { p50, p90, p99, p99_9, max, mean, .. } = times;
            // One kind alone is all.
            if times.count > 0 && (kind == "all" || times.count < self.all.count) {
                let name = format!("{from}, {kind}");
                writeln!(out, "{name:<16}{p50:>12.1}{p90:>10.1}{p99:>10.1}{p99_9:>10.1}{max:>10.1}{mean:>10.1}")?;
            }
        }
        Ok(())
    }
}

impl Percentiles {
    fn of(nanos: &Histogram<u64>) -> Self {
        let at = |quantile| micros(nanos.value_at_quantile(quantile));
        Self {
            count: nanos.len(),
            mean: rounded(nanos.mean() / 1000.0),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: micros(nanos.max()),
        }
    }
}

impl Row {
    pub(super) fn new(second: u32, interval: &Interval) -> Self {
        let (tally, felt) = (&interval.tally, interval.felt().all());
        Self {
            second: second + 1,
            operations: tally.operations(),
            hits: tally.hits,
            misses: tally.misses,
            errors: tally.errors(),
            p50_us: micros(felt.value_at_quantile(0.5)),
            p99_us: micros(felt.value_at_quantile(0.99)),
            max_us: micros(felt.max()),
        }
    }

    /// For whoever watches.
    pub(super) fn sentence(&self) -> String {
        let Self { second, operations, errors, p50_us, p99_us, .. } = self;
        format!("{second} s: {operations} requests, p50 {p50_us:.0} µs, p99 {p99_us:.0} µs, {errors} errors")
    }

    /// A line of the table.
    fn line(&self) -> String {
        let Self { second, operations, errors, p50_us, p99_us, max_us, .. } = self;
        let asked_for = self.hits + self.misses;
        let found = match asked_for {
            0 => "-".to_owned(),
            _ => format!("{:.1}", self.hits as f64 * 100.0 / asked_for as f64),
        };
        format!("{second:>6}{operations:>11}{found:>9}{errors:>9}{p50_us:>10.1}{p99_us:>10.1}{max_us:>10.1}")
    }
}

/// Nanoseconds as microseconds.
fn micros(nanos: u64) -> f64 {
    rounded(nanos as f64 / 1000.0)
}

/// Three digits after the point: what is measured is not known better.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::super::options::command;
    use super::super::replies::{Outcome, Waiting};
    use super::super::schedule::Timeline;
    use super::super::tally::Recorder;
    use super::super::workload::Request;
    use super::*;

    fn report(words: &str, interrupted: bool) -> Report {
        let words = std::iter::once("bench").chain(words.split_whitespace());
        let matches = command().try_get_matches_from(words).expect("legal flags");
        let plan = Plan::from_arguments(&matches).expect("a plan");
        let is_open = matches!(plan.requests, Loop::Open { .. });
        let mut recorder = Recorder::new(Timeline::new(Duration::ZERO, None), is_open);
        for at in 1..=1000u64 {
            let waiting = Waiting { request: Request::Get { keys: 2 }, due: 0, sent: 1000 * at };
            recorder.answered(waiting, Outcome::Values { hits: 1 }, 1000 * at + 50_000);
        }
        let set = Waiting { request: Request::Set, due: 0, sent: 0 };
        recorder.answered(set, Outcome::Stored, 2_000_000);
        recorder.answered(set, Outcome::Failed(b"out of memory"), 2_000_000);
        let (second, interval) = recorder.take();
        Report::new(&plan, &interval, 2.0, interrupted, vec![Row::new(second, &interval)])
    }

    #[test]
    fn the_object_has_both_latencies_counts_and_the_series() {
        let report: Value = serde_json::from_str(&report("--rate 500", false).json()).expect("JSON");
        let at = |path: &str| report.pointer(path).cloned().unwrap_or_else(|| panic!("no {path} in {report}"));
        assert_eq!((at("/operations"), at("/operations_per_second")), (1001.into(), 500.5.into()));
        assert_eq!((at("/hits"), at("/misses"), at("/sets")), (1000.into(), 1000.into(), 1.into()));
        assert_eq!((at("/errors/failed"), at("/errors_total"), at("/errors/lost")), (1.into(), 1.into(), 0.into()));
        assert_eq!((at("/first_error"), at("/interrupted")), ("out of memory".into(), false.into()));
        assert_eq!(
            (at("/asked/loop"), at("/asked/rate"), at("/asked/pipeline")),
            ("open".into(), 500.into(), Value::Null)
        );
        let near = |path: &str, expected: f64| {
            let value = at(path).as_f64().expect("a number");
            assert!((value - expected).abs() <= expected / 500.0, "{path}: {value}");
        };
        near("/latency_us/from_sent/get/p50", 50.0);
        near("/latency_us/from_due/get/p50", 550.0);
        near("/latency_us/from_due/get/p99.9", 1049.0);
        near("/latency_us/from_due/all/max", 2000.0);
        near("/latency_us/from_sent/set/mean", 2000.0);
        assert_eq!((at("/series/0/second"), at("/series/0/operations")), (1.into(), 1001.into()));
        near("/series/0/p99_us", 1040.0);
    }

    #[test]
    fn a_closed_loop_has_one_latency() {
        let report: Value = serde_json::from_str(&report("--pipeline 4", true).json()).expect("JSON");
        assert_eq!((&report["latency_us"]["from_due"], &report["asked"]["pipeline"]), (&Value::Null, &4.into()));
        assert_eq!((&report["interrupted"], &report["asked"]["rate"]), (&true.into(), &Value::Null));
    }

    #[test]
    fn people_read_tables() {
        let tables = report("--rate 500 --multi-get 2", true).tables();
        let lines: Vec<&str> = tables.lines().collect();
        assert_eq!(
            lines[0],
            "127.0.0.1:11211: 500 requests a second (open loop) on 16 connections, gets to sets 9:1, 2 keys a get, 100000 \
             keys zipf:0.99, values of 100 bytes"
        );
        assert_eq!(lines[2], "1001 requests in 2.00 s, interrupted: 500 a second");
        assert_eq!(lines[3], "1000 gets, 50.00 % of 2000 keys found; 1 sets");
        assert_eq!(lines[5], "1 errors: 1 failed (first: out of memory)");
        for (line, begin) in lines[8..14].iter().zip([
            "from due, all ",
            "from due, gets ",
            "from due, sets ",
            "from sent, all ",
            "from sent, gets ",
            "from sent, sets ",
        ]) {
            assert!(line.starts_with(begin), "{line}");
            assert_eq!(line.chars().count(), lines[7].chars().count(), "{line}");
        }
        assert_eq!(lines[16].chars().count(), lines[15].chars().count(), "{tables}");
    }
}
