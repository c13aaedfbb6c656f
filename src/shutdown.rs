//! How the relay ends: who asks for it, the ordered phases, one deadline for all of them.
//!
//! | phase | until |
//! |---|---|
//! | not ready; still accepting (the application stops later than we hear of it) | `shutdown.linger` |
//! | stop accepting, finish requests | half of what is left, at most [`REQUESTS_AT_MOST`] |
//! | drain until the buffer is empty; last confirmations | [`NOTIFY_RESERVE`] before the end |
//! | last notifications, checkpoint, close; ops last | `shutdown.grace` |
//!
//! What is cut short is logged with counts, and stays on disk. A second signal forces: every phase ends at once.

use crate::config::ShutdownConfig;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Requests in progress may take this long to finish; the rest of the time belongs to the drain.
pub const REQUESTS_AT_MOST: Duration = Duration::from_secs(5);
/// Kept at the end for the last notifications and the checkpoint.
pub const NOTIFY_RESERVE: Duration = Duration::from_millis(700);

/// How urgently the end is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Not at all.
    #[default]
    Running,
    /// In order, within the grace period.
    Stop,
    /// At once; what is not sent stays on disk.
    Force,
}

/// Asks for the end, and tells who waits for it; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Trigger {
    urgency: Arc<watch::Sender<Urgency>>,
}

impl Trigger {
    /// Asks for the end; asking for less than was asked before changes nothing.
    pub fn ask(&self, wanted: Urgency) {
        let _ = self.urgency.send_if_modified(|now| {
            let more = wanted > *now;
            *now = wanted.max(*now);
            more
        });
    }

    /// What was asked for so far.
    pub fn urgency(&self) -> Urgency {
        *self.urgency.borrow()
    }

    /// Resolves once at least this much was asked for.
    pub async fn reached(&self, wanted: Urgency) {
        // The sender is `self`: it cannot be gone.
        drop(self.urgency.subscribe().wait_for(|now| *now >= wanted).await);
    }

    /// Turns SIGTERM and SIGINT into requests: the first stops, the second forces. Runs for ever.
    ///
    /// # Errors
    /// When the signals cannot be heard.
    pub async fn listen_to_signals(&self) -> io::Result<()> {
        self.hear_signals()?.await;
        Ok(())
    }

    /// The same, but they are heard from this call on, which must be made within a runtime.
    ///
    /// # Errors
    /// When the signals cannot be heard.
    pub fn hear_signals(&self) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let trigger = self.clone();
        Ok(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if trigger.urgency() == Urgency::Running {
                    tracing::info!(signal = name, "stopping; a second signal forces");
                    trigger.ask(Urgency::Stop);
                } else {
                    tracing::warn!(signal = name, "forced: what is not sent stays on disk");
                    trigger.ask(Urgency::Force);
                }
            }
        })
    }
}

/// When each phase ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Accepting ends.
    pub linger: Instant,
    /// Requests in progress are cut off.
    pub requests: Instant,
    /// The drain returns.
    pub drained: Instant,
    /// Everything is over.
    pub end: Instant,
}

impl Deadlines {
    /// The phases of a stop that was asked for at `now`.
    pub fn new(now: Instant, config: &ShutdownConfig) -> Self {
        let end = now + config.grace;
        let linger = now + config.linger.min(config.grace);
        let left = end.saturating_duration_since(linger);
        let requests = linger + (left / 2).min(REQUESTS_AT_MOST);
        let drained = end.checked_sub(NOTIFY_RESERVE.min(left / 4)).unwrap_or(end);
        Self { linger, requests, drained, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: the phases follow each other within the grace period, whatever the settings.
    #[test]
    fn phases_are_in_order() {
        let now = Instant::now();
        for (grace, linger) in [(25_000, 0), (25_000, 5_000), (1_000, 900), (100, 0), (0, 0), (1_000, 5_000)] {
            let config = ShutdownConfig { grace: Duration::from_millis(grace), linger: Duration::from_millis(linger) };
            let phases = Deadlines::new(now, &config);
            assert!(now <= phases.linger && phases.linger <= phases.requests, "{grace} {linger}");
            assert!(phases.requests <= phases.drained && phases.drained <= phases.end, "{grace} {linger}");
            assert_eq!(phases.end, now + config.grace);
        }
    }

    // Goal: a second request can only hurry.
    #[tokio::test]
    async fn urgency_only_rises() {
        let trigger = Trigger::default();
        trigger.ask(Urgency::Force);
        trigger.ask(Urgency::Stop);
        trigger.reached(Urgency::Force).await;
        assert_eq!(trigger.urgency(), Urgency::Force);
    }
}
