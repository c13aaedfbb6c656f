//! Latencies in few bytes, whatever their number: 32 buckets per power of two, so a quantile is right to 3 %. Pure.

use std::time::Duration;

/// Buckets per power of two, as a power of two.
const FINE_BITS: u32 = 5;
const FINE: u64 = 1 << FINE_BITS;
/// Nanoseconds up to 2^36, a minute; what is longer counts as that.
const BUCKETS: usize = ((36 - FINE_BITS + 1) as usize) << FINE_BITS;

/// Counts of durations.
#[derive(Clone, Debug)]
pub(super) struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Latencies {
    /// Counts one.
    pub(super) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos).min(BUCKETS - 1)] += 1;
        self.total += 1;
    }

    /// Adds all of another.
    pub(super) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// The latency that a share `q` of all does not exceed, in milliseconds; 0 without any.
    pub(super) fn quantile_ms(&self, q: f64) -> f64 {
        // A share such as 0.07 of 100 is a little above 7 in floating point, which must not ask for the eighth.
        #[expect(clippy::cast_precision_loss, reason = "a rank, right to 3 % anyway")]
        let rank = q * self.total as f64 - 1e-6;
        let mut seen = 0_u64;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            if *count > 0 && seen as f64 >= rank {
                return upper_bound(index) / 1e6;
            }
        }
        0.0
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < FINE {
        return usize::try_from(nanos).unwrap_or_default();
    }
    let magnitude = nanos.ilog2() - FINE_BITS;
    let index = u64::from(magnitude) * FINE + (nanos >> magnitude);
    usize::try_from(index).unwrap_or(BUCKETS)
}

/// The largest duration of a bucket, in nanoseconds.
fn upper_bound(index: usize) -> f64 {
    let magnitude = u32::try_from(index >> FINE_BITS).unwrap_or(u32::MAX).saturating_sub(1);
    let step = index as u64 - (u64::from(magnitude) << FINE_BITS);
    #[expect(clippy::cast_precision_loss, reason = "right to 3 % anyway")]
    let bound = (((step + 1) << magnitude) - 1) as f64;
    bound
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // Goal: a quantile is what sorting all latencies would give, to 4 %.
        #[test]
        fn quantiles_are_right(mut nanos in prop::collection::vec(1_u64..(1 << 35), 1..200), percent in 1_usize..=100) {
            let mut latencies = Latencies::default();
            for nanos in &nanos {
                latencies.record(Duration::from_nanos(*nanos));
            }
            nanos.sort_unstable();
            #[expect(clippy::cast_precision_loss, reason = "a test to 4 %")]
            let (expect, q) = (nanos[(nanos.len() * percent).div_ceil(100) - 1] as f64 / 1e6, percent as f64 / 100.0);
            let found = latencies.quantile_ms(q);
            prop_assert!(found >= expect * 0.999 && found <= expect * 1.04 + 1e-6, "{} is not {}", found, expect);
        }
    }

    // Goal: an endless latency, or none at all, is no panic.
    #[test]
    fn extremes() {
        let mut latencies = Latencies::default();
        assert!(latencies.quantile_ms(0.5).abs() < f64::EPSILON);
        latencies.record(Duration::MAX);
        assert!(latencies.quantile_ms(0.99) > 60_000.0);
    }
}
