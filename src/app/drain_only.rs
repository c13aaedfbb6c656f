//! A run without ingest: when to ask for its end.

use crate::buffer::Gauges;
use crate::config::ShutdownConfig;
use crate::shutdown::{Trigger, Urgency};
use std::time::{Duration, Instant};

/// How often the backlog is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often the log tells how far it is.
const TELL: Duration = Duration::from_secs(10);

/// When a run without ingest ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DrainOnly {
    /// The end is asked for after this long, whatever is left.
    stop_after: Option<Duration>,
}

impl DrainOnly {
    /// Fits the phases of stopping into `timeout`: nobody has to be given time to stop sending us something.
    pub(super) fn new(shutdown: &mut ShutdownConfig, timeout: Option<Duration>) -> Self {
        shutdown.linger = Duration::ZERO;
        let stop_after = timeout.map(|timeout| {
            shutdown.grace = shutdown.grace.min(timeout / 2);
            timeout.saturating_sub(shutdown.grace)
        });
        Self { stop_after }
    }

    /// Asks for the end when nothing is left, or when it is time.
    pub(super) async fn run(self, gauges: Gauges, trigger: Trigger) {
        let began = Instant::now();
        let mut told = began;
        let mut every = tokio::time::interval(LOOK);
        loop {
            let _ = every.tick().await;
            let left = gauges.backlog();
            if left == 0 {
                tracing::info!("the buffer is empty");
                break;
            }
            if self.stop_after.is_some_and(|stop_after| began.elapsed() >= stop_after) {
                tracing::warn!(left, "time is up: sending what still fits into the shutdown");
                break;
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                tracing::info!(left, acked_per_second = gauges.snapshot().rate_out, "draining");
            }
        }
        trigger.ask(Urgency::Stop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a timeout is kept as a whole: sending and stopping together take no longer.
    #[test]
    fn stopping_fits_into_the_timeout() {
        let seconds = Duration::from_secs;
        for (grace, timeout, stop_after, shortened) in [(25, 60, 35, 25), (25, 10, 5, 5), (1, 10, 9, 1)] {
            let mut shutdown = ShutdownConfig { grace: seconds(grace), linger: seconds(3) };
            let plan = DrainOnly::new(&mut shutdown, Some(seconds(timeout)));
            assert_eq!((plan.stop_after, shutdown.grace), (Some(seconds(stop_after)), seconds(shortened)));
            assert_eq!(shutdown.linger, Duration::ZERO);
        }
        assert_eq!(DrainOnly::new(&mut ShutdownConfig::default(), None).stop_after, None);
    }
}
