//! How much is sent, how fast, and when Kafka goes away and comes back; pure.

use std::time::Duration;

/// Most events of a run. All of them fit into the mock broker's bounds (5 MiB a partition, then it drops the oldest), so that a slow
/// reader finds everything.
pub(super) const MAX_EVENTS: u32 = 100_000;

/// About what a relay takes to reconnect after an outage.
const NOTICE: Duration = Duration::from_secs(2);

/// The run as the flags ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// How many events are sent in all.
    pub(super) events: u32,
    /// How many a second.
    pub(super) rate: u32,
    /// How long Kafka is away.
    pub(super) outage: Duration,
}

impl Plan {
    /// Events that are sent before Kafka goes away: a quarter.
    pub(super) fn before_outage(&self) -> u32 {
        self.events / 4
    }

    /// Events that may be sent before Kafka is back: the last quarter is kept, however fast the producer is.
    pub(super) fn before_return(&self) -> u32 {
        self.events - self.events / 4
    }

    /// What the backlog may grow to, in events: what is sent until the relay has noticed that Kafka is back.
    pub(super) fn expected_depth(&self) -> f64 {
        let in_time = f64::from(self.rate) * (self.outage + NOTICE).as_secs_f64();
        in_time.min(f64::from(self.events - self.before_outage()))
    }

    /// Time between two rows of the table, so that a usual run has about two dozen and a long one not thousands.
    pub(super) fn row_every(&self) -> Duration {
        let sending = f64::from(self.events) / f64::from(self.rate);
        let expected = sending.max(self.outage.as_secs_f64());
        Duration::from_secs_f64((expected / 24.0).clamp(0.5, 10.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: however the flags are set, some events are sent before the outage, some during it and some after it.
    #[test]
    fn every_act_has_events() {
        for events in [100, 101, 5_000, MAX_EVENTS] {
            let plan = Plan { events, rate: 500, outage: Duration::from_secs(5) };
            assert!(0 < plan.before_outage() && plan.before_outage() < plan.before_return() && plan.before_return() < events, "{plan:?}");
            assert!(plan.expected_depth() >= 1.0, "{plan:?}");
        }
    }

    // Goal: the table of a usual run moves twice a second, that of an hour does not fill the screen thousands of times.
    #[test]
    fn rows() {
        let every = |events, rate| Plan { events, rate, outage: Duration::from_secs(5) }.row_every().as_secs_f64();
        assert!((every(5_000, 500) - 0.5).abs() < 1e-9);
        assert!((every(100_000, 10) - 10.0).abs() < 1e-9);
    }
}
