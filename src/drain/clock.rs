//! Time, as the drain sees it; injected so that tests need not wait for it.

use super::stop::DrainStop;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the drain gets the time from.
pub trait Clock {
    /// Monotonic now.
    fn now(&self) -> Instant;
    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> u64;
    /// Lets time pass; ends early when the drain is told to finish.
    fn pause(&self, stop: &DrainStop, duration: Duration);
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn unix_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn pause(&self, stop: &DrainStop, duration: Duration) {
        stop.wait(duration);
    }
}
