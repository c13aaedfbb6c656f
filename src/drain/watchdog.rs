//! Notices a handle that stands still although Kafka is there. Pure.
//!
//! librdkafka can stall for good after a topic was deleted and made again (it takes the lower leader epoch for a stale one). Nothing
//! but a new handle helps. A new handle may repeat what is in flight, so the watchdog is slow, counts only time during which a broker
//! was connected, and doubles its patience for as long as the same event stays the oldest.

use crate::event::Seq;
use std::time::{Duration, Instant};

/// First patience; doubles up to [`MAX_PATIENCE`].
const PATIENCE: Duration = Duration::from_secs(120);
const MAX_PATIENCE: Duration = Duration::from_secs(1920);

/// Watches the oldest event that Kafka does not have.
#[derive(Debug)]
pub(super) struct Watchdog {
    patience: Duration,
    oldest: Option<Seq>,
    connected_since: Option<Instant>,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self { patience: PATIENCE, oldest: None, connected_since: None }
    }
}

impl Watchdog {
    /// Whether to give up on the handle: the oldest event was sent, and a broker has been connected, for longer than the patience.
    pub(super) fn stalled(&mut self, now: Instant, connected: bool, oldest: Option<(Seq, Instant)>) -> bool {
        if connected {
            let _ = self.connected_since.get_or_insert(now);
        } else {
            self.connected_since = None;
        }
        let Some((seq, sent)) = oldest else { return false };
        if self.oldest.replace(seq) != Some(seq) {
            self.patience = PATIENCE;
        }
        let stalled = self.connected_since.is_some_and(|since| now.duration_since(since.max(sent)) >= self.patience);
        if stalled {
            self.patience = (self.patience * 2).min(MAX_PATIENCE);
            self.connected_since = None;
        }
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a handle that stands still while Kafka answers is replaced, ever less often, and a plain outage is not mistaken for it.
    #[test]
    fn fires_only_while_connected_and_ever_more_slowly() {
        let start = Instant::now();
        let minute = |n: u64| start + Duration::from_secs(60 * n);
        let oldest = Some((Seq(1), start));
        let mut dog = Watchdog::default();
        assert!(!dog.stalled(minute(0), false, oldest));
        assert!(!dog.stalled(minute(60), false, oldest), "an outage");
        assert!(!dog.stalled(minute(61), true, oldest), "just back");
        assert!(dog.stalled(minute(63), true, oldest));
        let again = Some((Seq(1), minute(63)));
        assert!(!dog.stalled(minute(63), true, again));
        assert!(!dog.stalled(minute(66), true, again), "twice as patient");
        assert!(dog.stalled(minute(67), true, again));
        let next = Some((Seq(2), minute(67)));
        assert!(!dog.stalled(minute(67), true, next));
        assert!(dog.stalled(minute(69), true, next), "progress resets the patience");
        assert!(!dog.stalled(minute(300), true, None), "nothing in flight");
    }
}
