//! Delays between attempts: exponential, jittered, for ever. Pure.
//!
//! Thousands of sidecars share one Kafka; without the jitter they would come back in one moment.

use std::time::Duration;

/// A sequence of delays.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Delays that double from about `min` to about `max` and then stay there.
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// The next delay: a random point in the upper half of the current step.
    pub(super) fn next_delay(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.max);
        step.mul_f64(0.5 + 0.5 * rng.f64())
    }

    /// Starts over; to be called when an attempt got somewhere.
    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: an outage of any length is waited out without ever hammering Kafka or sleeping much past its end.
    #[test]
    fn grows_to_its_limit_and_starts_over() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(10));
        let mut backoff = Backoff::new(min, max);
        let mut rng = fastrand::Rng::with_seed(7);
        let mut step = min;
        for _ in 0..20 {
            let delay = backoff.next_delay(&mut rng);
            assert!(delay >= step / 2 && delay <= step, "{delay:?} for {step:?}");
            step = (step * 2).min(max);
        }
        backoff.reset();
        assert!(backoff.next_delay(&mut rng) <= min);
    }
}
