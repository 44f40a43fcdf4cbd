//! Metric families as plain data, and how they are written.
//!
//! Must not know where a value comes from. Names are those of the samples, as people query them: `…_total` for a counter.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// What a family is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Only ever rises; its name ends in `_total`.
    Counter,
    /// The same, under a name of memcached_exporter's that OpenMetrics does not let counters have: there its type is left
    /// open.
    BareCounter,
    Gauge,
    Histogram,
}

/// The value of one series.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Value {
    Whole(u64),
    Number(f64),
    Histogram {
        /// Of all that was measured.
        sum: f64,
        /// Upper bound and number in this bucket alone; the last bound is infinite.
        buckets: Vec<(f64, u64)>,
    },
}

/// Names and values that tell the series of one family apart.
pub(super) type Labels = Vec<(&'static str, Cow<'static, str>)>;

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    series: Vec<(Labels, Value)>,
}

/// All families, in the order they were added.
#[derive(Debug, Default)]
pub(super) struct Families {
    all: Vec<Family>,
}

impl Families {
    /// A family; nothing if it has no series.
    pub(super) fn add(
        &mut self,
        (name, kind, help): (&'static str, Kind, &'static str),
        series: impl IntoIterator<Item = (Labels, Value)>,
    ) {
        debug_assert_eq!(kind == Kind::Counter, name.ends_with("_total"), "{name}");
        let series: Vec<_> = series.into_iter().collect();
        if !series.is_empty() {
            self.all.push(Family { name, help, kind, series });
        }
    }

    /// One that has a single series.
    pub(super) fn add_one(&mut self, family: (&'static str, Kind, &'static str), value: Value) {
        self.add(family, [(Labels::new(), value)]);
    }

    /// OpenMetrics 1.0.
    pub(super) fn open_metrics(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut written = String::new();
        text::encode(&mut written, &registry)?;
        Ok(written)
    }

    /// The text format 0.0.4 of Prometheus, which differs in what it calls counters, and in having no end.
    pub(super) fn text(self) -> Result<String, fmt::Error> {
        let kinds: Vec<(&str, Kind)> = self.all.iter().map(|family| (family.name, family.kind)).collect();
        let open_metrics = self.open_metrics()?;
        let mut written = String::with_capacity(open_metrics.len());
        let mut kinds = kinds.into_iter();
        let mut current = ("", Kind::Gauge);
        for line in open_metrics.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                current = kinds.next().ok_or(fmt::Error)?;
                let help = rest.split_once(' ').map_or("", |(_, help)| help);
                written += &format!("# HELP {} {help}\n", current.0);
            } else if line.starts_with("# TYPE ") {
                written += &format!("# TYPE {} {}\n", current.0, current.1.in_text());
            } else if line != "# EOF" {
                written += line;
                written.push('\n');
            }
        }
        Ok(written)
    }
}

impl Kind {
    fn in_text(self) -> &'static str {
        match self {
            Self::Counter | Self::BareCounter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }

    fn in_open_metrics(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::BareCounter => MetricType::Unknown,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
        }
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in &self.all {
            let name = match family.kind {
                Kind::Counter => family.name.trim_end_matches("_total"),
                _ => family.name,
            };
            let mut metric = encoder.encode_descriptor(name, family.help, None, family.kind.in_open_metrics())?;
            for (labels, value) in &family.series {
                if labels.is_empty() {
                    write(&mut metric, family.kind, value)?;
                } else {
                    let labels = Pairs(labels);
                    write(&mut metric.encode_family(&labels)?, family.kind, value)?;
                }
            }
        }
        Ok(())
    }
}

fn write(metric: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> Result<(), fmt::Error> {
    match (kind, value) {
        (Kind::Counter, Value::Whole(count)) => metric.encode_counter::<NoLabelSet, u64, u64>(count, None),
        (Kind::Counter, Value::Number(count)) => metric.encode_counter::<NoLabelSet, f64, u64>(count, None),
        (Kind::Histogram, Value::Histogram { sum, buckets }) => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            metric.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
        (_, Value::Whole(number)) => metric.encode_gauge(number),
        (_, Value::Number(number)) => metric.encode_gauge(number),
        (_, Value::Histogram { .. }) => Err(fmt::Error),
    }
}

struct Pairs<'a>(&'a Labels);

impl EncodeLabelSet for Pairs<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, value) in self.0 {
            (*name, value.as_ref()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn families() -> Families {
        let mut families = Families::default();
        let label = |value: &'static str| vec![("of", Cow::Borrowed(value))];
        families.add(
            ("a_total", Kind::Counter, "Counted."),
            [(label("x"), Value::Whole(7)), (label("a\"b\\c\nd"), Value::Number(0.5))],
        );
        families.add_one(("b_seconds", Kind::BareCounter, "Bare."), Value::Whole(3));
        families.add_one(("c", Kind::Gauge, "Now."), Value::Number(-1.5));
        let buckets = vec![(0.00005, 2), (0.1, 1), (f64::INFINITY, 4)];
        families.add(("d_seconds", Kind::Histogram, "Long."), [(label("x"), Value::Histogram { sum: 1.25, buckets })]);
        families
    }

    const SERIES: &str = r#"a_total{of="x"} 7
a_total{of="a\"b\\c\nd"} 0.5
"#;

    const HISTOGRAM: &str = r#"d_seconds_sum{of="x"} 1.25
d_seconds_count{of="x"} 7
d_seconds_bucket{le="0.00005",of="x"} 2
d_seconds_bucket{le="0.1",of="x"} 3
d_seconds_bucket{le="+Inf",of="x"} 7
"#;

    #[test]
    fn open_metrics_tells_counters_by_the_name_without_their_suffix() {
        let expected = format!(
            "# HELP a Counted.\n# TYPE a counter\n{SERIES}# HELP b_seconds Bare.\n# TYPE b_seconds unknown\nb_seconds 3\n\
             # HELP c Now.\n# TYPE c gauge\nc -1.5\n# HELP d_seconds Long.\n# TYPE d_seconds histogram\n{HISTOGRAM}# EOF\n"
        );
        assert_eq!(families().open_metrics().expect("written"), expected);
    }

    #[test]
    fn the_text_format_tells_every_type_by_the_samples_name() {
        let expected = format!(
            "# HELP a_total Counted.\n# TYPE a_total counter\n{SERIES}# HELP b_seconds Bare.\n# TYPE b_seconds counter\n\
             b_seconds 3\n# HELP c Now.\n# TYPE c gauge\nc -1.5\n# HELP d_seconds Long.\n# TYPE d_seconds histogram\n{HISTOGRAM}"
        );
        assert_eq!(families().text().expect("written"), expected);
    }
}
