//! `[shutdown]`

use super::super::kind::Time;
use super::section;
use std::time::Duration;

section! {
    /// How the relay stops.
    pub struct ShutdownConfig in shutdown {
        /// Everything is over after this long; what is not sent stays on disk. Keep it under the pod's
        /// `terminationGracePeriodSeconds`, and over `linger`.
        grace: Duration = Duration::from_secs(25), Time { min_ms: 100, max_ms: 3_600_000 };

        /// Keep accepting for this long after the signal: the application stops later than the relay hears of it.
        linger: Duration = Duration::ZERO, Time { min_ms: 0, max_ms: 3_600_000 };
    }
}
