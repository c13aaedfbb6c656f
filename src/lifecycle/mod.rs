//! The states of an event, their counters, and the conservation check (guarantee G9).
//!
//! ```text
//! accepted (durable) ──▶ acked by Kafka
//!        │──────────────▶ dead letter      (Kafka will never take it; kept on disk with the reason)
//!        │──────────────▶ purged           (an operator said so)
//!        └──────────────▶ lost             (rotted disk: reported by seq range)
//! ```
//! `accepted = acked + dead-lettered + purged + lost + backlog`. The left side is counted by the committer, the backlog by the
//! buffer's space accounting, the ends by the watermark: three independent books, so the check can fail.

mod heartbeat;
mod history;
mod meter;
mod receipts;

use serde::{Deserialize, Serialize};

pub use heartbeat::{Heartbeat, Heartbeats};
pub use history::{Fate, History, Stage};
pub use meter::{BUCKET_BOUNDS_SECONDS, Counter, Gauge, Histogram, HistogramSnapshot};
pub use receipts::{AckWaiters, Receipt, ReceiptWaiter};

/// How many events reached each end since the buffer directory was born. Kept in the cursor, so it survives restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// Acknowledged by Kafka.
    pub acked: u64,
    /// Kept as dead letters.
    pub dead_lettered: u64,
    /// Removed by an operator.
    pub purged: u64,
    /// Reported lost: their bytes rotted on disk.
    pub lost: u64,
}

impl Ends {
    /// All events that need nothing more from the buffer.
    pub fn total(&self) -> u64 {
        self.acked + self.dead_lettered + self.purged + self.lost
    }
}

/// The ledger at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Events made durable since the directory was born.
    pub accepted: u64,
    /// Where they ended.
    #[serde(flatten)]
    pub ends: Ends,
    /// Durable and not yet at an end.
    pub backlog: u64,
}

impl Ledger {
    /// `accepted − (ends + backlog)`: zero, or somebody miscounted.
    pub fn conservation_error(&self) -> i64 {
        let ended = self.ends.total().saturating_add(self.backlog);
        i64::try_from(i128::from(self.accepted) - i128::from(ended)).unwrap_or(i64::MAX)
    }
}
