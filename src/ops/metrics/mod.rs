//! The scrape: every metric of [`TABLE`], read from one snapshot, as `OpenMetrics` text.
//!
//! The table is the only place that knows a metric; this file renders it for Prometheus and `reference` renders it for people, so the
//! two cannot disagree. Deliberately absent: a registry that stages write into. They count in plain atomics, without a label lookup.

mod reference;
mod table;

use super::status::StatusSnapshot;
use crate::lifecycle::{BUCKET_BOUNDS_SECONDS, HistogramSnapshot};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::borrow::Cow;
use std::fmt;

pub use reference::markdown;
pub use table::TABLE;

/// The `Content-Type` of a scrape.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, from 0 at the start of the process.
    Counter,
    /// Only rises, where a gauge has the name that a counter's family would have: type `unknown`.
    Tally,
    /// Rises and falls.
    Gauge,
    /// Durations in fixed buckets.
    Histogram,
    /// Always 1; the labels say it.
    Info,
}

/// One metric.
pub struct Metric {
    /// The name to query, `_total` and `_info` included (for a histogram without `_bucket`, `_sum`, `_count`).
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// `bytes` or `seconds`, when the name ends in it.
    pub unit: Option<&'static str>,
    /// What it means, on one line, without a full stop.
    pub help: &'static str,
    /// Names of the labels.
    pub labels: &'static [&'static str],
    /// Where the numbers come from.
    read: fn(&StatusSnapshot) -> Samples,
}

/// A number of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Count(u64),
    Signed(i64),
    Real(f64),
}

/// All numbers of a metric in one scrape.
#[derive(Clone, Debug, PartialEq)]
enum Samples {
    /// Not known now: the metric is left out of the scrape.
    Absent,
    One(Value),
    /// One per value of the metric's only label.
    Each(Vec<(Cow<'static, str>, Value)>),
    Buckets(HistogramSnapshot),
    Info(Vec<(&'static str, String)>),
}

impl Metric {
    /// The family's name: without the suffix that belongs to its samples.
    pub fn family(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram | Kind::Tally => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }

    fn encode(&self, snapshot: &StatusSnapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let samples = (self.read)(snapshot);
        if samples == Samples::Absent {
            return Ok(());
        }
        let (kind, unit) = (self.kind.metric_type(), self.unit.map(|unit| Unit::Other(unit.to_owned())));
        // The encoder appends the unit to the name again.
        let base = self.unit.and_then(|unit| self.family().strip_suffix(unit)?.strip_suffix('_')).unwrap_or(self.family());
        let mut metric = encoder.encode_descriptor(base, self.help, unit.as_ref(), kind)?;
        match samples {
            Samples::Absent => Ok(()),
            Samples::One(value) => self.encode_value(&mut metric, value),
            Samples::Each(each) => each.into_iter().try_for_each(|(label, value)| {
                let labels = [(self.labels.first().copied().unwrap_or_default(), label.as_ref())];
                self.encode_value(&mut metric.encode_family(&labels)?, value)
            }),
            Samples::Buckets(snapshot) => encode_buckets(&mut metric, &snapshot),
            Samples::Info(labels) => metric.encode_info(&labels),
        }
    }

    fn encode_value(&self, metric: &mut MetricEncoder<'_>, value: Value) -> fmt::Result {
        match (self.kind, value) {
            (Kind::Counter, Value::Count(n)) => metric.encode_counter::<NoLabelSet, _, u64>(&n, None),
            (_, Value::Count(n)) => metric.encode_gauge(&n),
            (_, Value::Signed(n)) => metric.encode_gauge(&n),
            (_, Value::Real(x)) => metric.encode_gauge(&x),
        }
    }
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metric").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Kind {
    /// Its name in the format and in the reference.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Tally => "unknown",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    const fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Tally => MetricType::Unknown,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
            Self::Info => MetricType::Info,
        }
    }
}

fn encode_buckets(metric: &mut MetricEncoder<'_>, snapshot: &HistogramSnapshot) -> fmt::Result {
    let bounds = BUCKET_BOUNDS_SECONDS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(snapshot.buckets).collect();
    metric.encode_histogram::<NoLabelSet>(snapshot.sum_seconds, snapshot.count(), &buckets, None)
}

/// A snapshot on its way to a scrape.
#[derive(Debug)]
struct Scrape(StatusSnapshot);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        TABLE.iter().try_for_each(|metric| metric.encode(&self.0, &mut encoder))
    }
}

/// Renders a scrape, to be sent with [`CONTENT_TYPE`].
///
/// # Errors
/// None in practice: writing to a string does not fail.
pub fn render(snapshot: StatusSnapshot) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(snapshot)));
    let mut out = String::with_capacity(16 << 10);
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
