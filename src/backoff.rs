//! How long to wait before the next attempt: exponential, jittered; pure and seeded.
//!
//! Half of the delay is fixed and half is chance: thousands of sidecars that lost the same Kafka or Redis at the same moment come back
//! spread out, and none of them comes back at once. Why no crate does this: `docs/decisions/0003-backoff.md`.

use std::time::Duration;

/// The delays of one series of attempts.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// Delays that double from about `min` to about `max` and then stay there.
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// The next delay: a random point in the upper half of the current step.
    pub(crate) fn next_delay(&mut self, rng: &mut fastrand::Rng) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.max);
        step.mul_f64(0.5 + 0.5 * rng.f64())
    }

    /// Starts over: something worked.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(5);

    fn delays(seed: u64) -> Vec<Duration> {
        let (mut backoff, mut rng) = (Backoff::new(MIN, MAX), fastrand::Rng::with_seed(seed));
        (0..20).map(|_| backoff.next_delay(&mut rng)).collect()
    }

    // Goal: delays grow from 100 ms to 5 s, never beyond, and never below half of their step.
    #[test]
    fn stays_within_its_bounds() {
        for seed in 0..200 {
            let mut step = MIN;
            for delay in delays(seed) {
                assert!(delay >= step / 2 && delay <= step, "{delay:?} at step {step:?}");
                step = (step * 2).min(MAX);
            }
        }
    }

    // Goal: two relays do not come back at the same moments; one seed always gives the same delays.
    #[test]
    fn jitter_differs_by_seed_only() {
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }

    // Goal: after a success the next failure is met quickly again.
    #[test]
    fn starts_over_after_a_success() {
        let (mut backoff, mut rng) = (Backoff::new(MIN, MAX), fastrand::Rng::with_seed(7));
        for _ in 0..10 {
            backoff.next_delay(&mut rng);
        }
        backoff.reset();
        assert!(backoff.next_delay(&mut rng) <= MIN);
    }
}
