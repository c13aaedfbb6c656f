//! The figures of one run of the workload, and the median of several.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one engine did in one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Did the backlog stand before the time was up?
    pub(crate) backlog_reached: bool,
    /// Was everything drained before the time was up?
    pub(crate) emptied: bool,
    /// Durable appends, nothing removed.
    pub(crate) fill: Rate,
    /// Durable appends with as much removed.
    pub(crate) held: Rate,
    /// Reads and acks until empty.
    pub(crate) drain: Rate,
    /// How long one append took, in both phases that append.
    pub(crate) append_us: LatencySummary,
    /// Growth of the peak resident set since before the engine was opened.
    pub(crate) rss_growth_bytes: u64,
    /// Allocated on disk at the end of the held phase,
    pub(crate) disk_held_bytes: u64,
    /// at most (looked at ten times a second),
    pub(crate) disk_peak_bytes: u64,
    /// after the drain,
    pub(crate) disk_empty_bytes: u64,
    /// and after an orderly close.
    pub(crate) disk_closed_bytes: u64,
    /// Bytes written to disk for each byte of events.
    pub(crate) written_per_event_byte: f64,
}

/// Events over time.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rate {
    pub(crate) events: u64,
    pub(crate) seconds: f64,
}

impl Rate {
    /// Counts more events in more time.
    pub(crate) fn add(&mut self, events: u64, elapsed: Duration) {
        self.events += events;
        self.seconds += elapsed.as_secs_f64();
    }

    /// Events per second; 0 when nothing happened.
    pub(crate) fn per_second(self) -> f64 {
        if self.events == 0 { 0.0 } else { self.events as f64 / self.seconds }
    }
}

/// Every latency, until they are summed up.
#[derive(Default)]
pub(crate) struct Latency(Vec<u32>);

/// Latency in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct LatencySummary {
    pub(crate) p50: u32,
    pub(crate) p99: u32,
    pub(crate) max: u32,
}

impl Latency {
    /// Notes one.
    pub(crate) fn add(&mut self, elapsed: Duration) {
        self.0.push(u32::try_from(elapsed.as_micros()).unwrap_or(u32::MAX));
    }

    /// The quantiles, by nearest rank.
    pub(crate) fn summary(&self) -> LatencySummary {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let at = |percent: usize| match (sorted.len() * percent).div_ceil(100) {
            0 => 0,
            rank => sorted[rank - 1],
        };
        LatencySummary { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// The median of what `figure` says about each sample; of an even number, the mean of the two in the middle.
pub(crate) fn median(samples: &[Sample], figure: impl Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let mut latency = Latency::default();
        (1..=200).rev().for_each(|us| latency.add(Duration::from_micros(us)));
        let LatencySummary { p50, p99, max } = latency.summary();
        assert_eq!((p50, p99, max), (100, 198, 200));
        assert_eq!(Latency::default().summary().p99, 0);
    }
}
