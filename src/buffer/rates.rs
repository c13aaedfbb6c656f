//! Events per second in and out, averaged over about ten seconds. Pure: the caller brings the clock.

use std::time::{Duration, Instant};

/// Time over which an old rate fades to a third.
const MEMORY: Duration = Duration::from_secs(10);
/// Rates are not recomputed more often than this.
const STEP: Duration = Duration::from_millis(200);

/// Two rates, in events per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    /// Made durable.
    pub(crate) stored: f64,
    /// Reached their end.
    pub(crate) acked: f64,
}

/// Exponentially weighted rates of two counters that only rise.
#[derive(Debug)]
pub(crate) struct Rates {
    last: Instant,
    stored: u64,
    acked: u64,
    rate: Rate,
    /// Weight gathered so far, so that the first seconds are not averaged with nothing.
    weight: f64,
}

impl Rates {
    pub(crate) fn new(now: Instant, stored: u64, acked: u64) -> Self {
        Self { last: now, stored, acked, rate: Rate::default(), weight: 0.0 }
    }

    /// Takes the counters as they are at `now`.
    pub(crate) fn observe(&mut self, now: Instant, stored: u64, acked: u64) {
        let elapsed = now.saturating_duration_since(self.last);
        if elapsed < STEP {
            return;
        }
        let fade = (-elapsed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        #[expect(clippy::cast_precision_loss, reason = "a rate, not a ledger")]
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / elapsed.as_secs_f64();
        let (old, new) = (self.weight * fade, 1.0 - fade);
        let mix = |before: f64, now: f64| (before * old + now * new) / (old + new);
        self.rate = Rate { stored: mix(self.rate.stored, rate(stored, self.stored)), acked: mix(self.rate.acked, rate(acked, self.acked)) };
        self.weight = old + new;
        (self.last, self.stored, self.acked) = (now, stored, acked);
    }

    /// The rates at the last observation.
    pub(crate) fn now(&self) -> Rate {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a steady rate is shown as it is from the first second on, and fades when the flow stops.
    #[test]
    fn steady_then_silent() {
        let start = Instant::now();
        let mut rates = Rates::new(start, 0, 0);
        for second in 1..=5 {
            rates.observe(start + Duration::from_secs(second), second * 1000, second * 10);
            assert!((rates.now().stored - 1000.0).abs() < 1.0 && (rates.now().acked - 10.0).abs() < 0.1);
        }
        for second in 6..=60 {
            rates.observe(start + Duration::from_secs(second), 5000, 50);
        }
        assert!(rates.now().stored < 10.0);
    }
}
