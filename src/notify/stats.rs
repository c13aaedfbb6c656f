//! What notify tells about itself.

use crate::lifecycle::{Counter, Gauge};
use std::sync::Mutex;

/// The closed set of `notify_dropped_total{reason}`: the queue was full, Redis failed or refused the command, shutdown cut it short.
pub const DROP_REASONS: [&str; 4] = ["queue_full", "failed", "refused", "shutdown"];

/// Counters of the stage.
#[derive(Debug, Default)]
pub struct NotifyStats {
    /// Notifications that Redis took.
    pub published: Counter,
    /// Notifications that it never got, by reason (see [`DROP_REASONS`]).
    pub dropped: [Counter; DROP_REASONS.len()],
    /// 1 while Redis answers.
    pub up: Gauge,
    /// Notifications waiting.
    pub queued: Gauge,
    /// The newest error, with Unix milliseconds.
    pub last_error: Mutex<Option<(u64, String)>>,
}
