//! How long to wait before the next attempt: exponential, jittered; pure and seeded.
//!
//! Half of the delay is fixed and half is chance: thousands of sidecars that lost the same Redis at the same moment come back
//! spread out, and none of them comes back at once. Why no crate does this: `docs/decisions/0003-backoff.md`.

use std::time::Duration;

/// The delays of one series of attempts.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    cap: Duration,
    ceiling: Duration,
    rng: fastrand::Rng,
}

impl Backoff {
    /// A series whose delays start at most at `first` and never exceed `cap`.
    pub(super) fn new(first: Duration, cap: Duration, seed: u64) -> Self {
        Self { first, cap, ceiling: first, rng: fastrand::Rng::with_seed(seed) }
    }

    /// The next delay, between half of the current ceiling and the whole; the ceiling doubles up to the cap.
    pub(super) fn next_delay(&mut self) -> Duration {
        let delay = self.ceiling.mul_f64(0.5 + self.rng.f64() / 2.0);
        self.ceiling = self.ceiling.saturating_mul(2).min(self.cap);
        delay
    }

    /// Starts over: something worked.
    pub(super) fn reset(&mut self) {
        self.ceiling = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(5);

    fn delays(seed: u64) -> Vec<Duration> {
        let mut backoff = Backoff::new(FIRST, CAP, seed);
        (0..20).map(|_| backoff.next_delay()).collect()
    }

    // Goal: delays grow from 100 ms to 5 s, never beyond, and never below half of their step.
    #[test]
    fn stays_within_its_bounds() {
        for seed in 0..200 {
            let mut ceiling = FIRST;
            for delay in delays(seed) {
                assert!(delay >= ceiling / 2 && delay <= ceiling, "{delay:?} at ceiling {ceiling:?}");
                ceiling = (ceiling * 2).min(CAP);
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
        let mut backoff = Backoff::new(FIRST, CAP, 7);
        for _ in 0..10 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= FIRST);
    }
}
