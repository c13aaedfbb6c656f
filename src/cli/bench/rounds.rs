//! Alternate rounds of two sides, and their medians: what disturbs the machine for a while disturbs both.

use super::error::BenchError;
use super::histogram::Latencies;
use super::plan::Plan;

/// What one round of one side gave.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// Events per second.
    pub(super) rate: f64,
    /// Of single requests, where there are any.
    pub(super) latencies: Option<Latencies>,
    /// Processor time that the server took per event, in microseconds, where the server is a process of its own.
    pub(super) cpu_us: Option<f64>,
}

/// What all rounds of one side gave.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    /// Events per second, round by round.
    pub(super) rates: Vec<f64>,
    /// Of all rounds together.
    pub(super) latencies: Option<Latencies>,
    /// Processor time per event in microseconds, round by round.
    pub(super) cpu_us: Vec<f64>,
}

impl Side {
    /// Adds a round.
    pub(super) fn add(&mut self, sample: Sample) {
        self.rates.push(sample.rate);
        self.cpu_us.extend(sample.cpu_us);
        if let Some(latencies) = sample.latencies {
            self.latencies.get_or_insert_default().merge(&latencies);
        }
    }

    /// The middle of all rounds.
    pub(super) fn median(&self) -> f64 {
        median(&self.rates)
    }

    /// The same of the processor time.
    pub(super) fn median_cpu_us(&self) -> Option<f64> {
        (!self.cpu_us.is_empty()).then(|| median(&self.cpu_us))
    }
}

/// Runs `ours` and `bare` in turn.
pub(super) fn alternate(
    plan: &Plan,
    mut ours: impl FnMut() -> Result<Sample, BenchError>,
    mut bare: impl FnMut() -> Result<Sample, BenchError>,
) -> Result<(Side, Side), BenchError> {
    let mut sides = (Side::default(), Side::default());
    for _ in 0..plan.rounds {
        plan.go_on()?;
        sides.0.add(ours()?);
        plan.go_on()?;
        sides.1.add(bare()?);
    }
    Ok(sides)
}

/// The middle value; the mean of the two middle ones of an even number; 0 of none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Events per second.
#[expect(clippy::cast_precision_loss, reason = "a rate")]
pub(super) fn rate(events: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { events as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: one disturbed round does not change the figure.
    #[test]
    fn medians() {
        for (values, expect) in [(vec![], 0.0), (vec![3.0], 3.0), (vec![9.0, 1.0], 5.0), (vec![5.0, 1.0, 4.0], 4.0)] {
            assert!((median(&values) - expect).abs() < f64::EPSILON, "{values:?}");
        }
    }
}
