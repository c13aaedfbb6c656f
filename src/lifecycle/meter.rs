//! Counters, gauges and histograms as plain atomics: a stage updates them without looking up a label, ops reads them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        let _ = self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that rises and falls.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets, in seconds: 50 µs (one fast sync) to 10 s (something is wrong). Above is `+Inf`.
pub const BUCKET_BOUNDS_SECONDS: [f64; 16] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Durations in fixed buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKET_BOUNDS_SECONDS.len() + 1],
    sum_nanos: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramSnapshot {
    /// Observations per bucket (not cumulative); the last is `+Inf`.
    pub buckets: [u64; BUCKET_BOUNDS_SECONDS.len() + 1],
    /// Sum of all observations in seconds.
    pub sum_seconds: f64,
}

impl HistogramSnapshot {
    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// An upper bound of the quantile `q` in seconds (the bound of its bucket); 0 without observations.
    pub fn quantile_seconds(&self, q: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "an estimate anyway")]
        let wanted = q * self.count() as f64;
        let mut seen = 0_u64;
        for (bound, n) in BUCKET_BOUNDS_SECONDS.iter().zip(self.buckets) {
            seen += n;
            #[expect(clippy::cast_precision_loss, reason = "an estimate anyway")]
            if seen > 0 && seen as f64 >= wanted {
                return *bound;
            }
        }
        if self.count() == 0 { 0.0 } else { f64::INFINITY }
    }
}

impl Histogram {
    /// Records one duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let index = BUCKET_BOUNDS_SECONDS.partition_point(|bound| *bound < seconds);
        let _ = self.buckets[index].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let _ = self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The counts so far.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let sum = Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed));
        HistogramSnapshot { buckets: std::array::from_fn(|i| self.buckets[i].load(Ordering::Relaxed)), sum_seconds: sum.as_secs_f64() }
    }
}
