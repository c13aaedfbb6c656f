//! What notify tells about itself.

use crate::lifecycle::{Counter, Gauge};
use std::sync::{Mutex, PoisonError};

/// The closed set of `notify_dropped_total{reason}`: the queue was full, Redis failed or refused the command, shutdown cut it short.
pub const DROP_REASONS: [&str; 4] = ["queue_full", "failed", "refused", "shutdown"];

/// Why a notification never reached Redis; the index into [`DROP_REASONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Redis was too slow or away for too long: newer ones took its place.
    QueueFull,
    /// The connection broke or timed out while it was under way; Redis may or may not have published it.
    Failed,
    /// Redis answered the command with an error.
    Refused,
    /// The relay stopped first.
    Shutdown,
}

/// Counters of the stage.
#[derive(Debug, Default)]
pub struct NotifyStats {
    /// Notifications that Redis took.
    pub published: Counter,
    /// Notifications that it never got, by reason (see [`DROP_REASONS`]).
    pub dropped: [Counter; DROP_REASONS.len()],
    /// 1 while Redis answers and takes what is published.
    pub up: Gauge,
    /// Notifications waiting.
    pub queued: Gauge,
    /// The newest error, with Unix milliseconds.
    pub last_error: Mutex<Option<(u64, String)>>,
}

impl NotifyStats {
    /// How many were dropped for one reason.
    pub fn dropped(&self, reason: DropReason) -> &Counter {
        &self.dropped[reason as usize]
    }

    /// How many were dropped, whatever the reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(Counter::get).sum()
    }

    /// Keeps an error as the newest one.
    pub(super) fn set_last_error(&self, text: String) {
        let now_ms = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some((now_ms, text));
    }
}
