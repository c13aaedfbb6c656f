//! What the buffer tells about itself.

use super::{FullDetail, ParkedUsage};
use crate::lifecycle::{HistogramSnapshot, Ledger};
use serde::Serialize;

/// The buffer at one moment; read by ops, never on the hot path.
#[derive(Clone, Debug, Default, Serialize)]
pub struct BufferSnapshot {
    /// The relay-id: born with the directory.
    pub relay_id: String,
    /// Accepted, ended and waiting events.
    pub ledger: Ledger,
    /// Highest durable seq.
    pub durable_seq: u64,
    /// The contiguous acked frontier.
    pub acked_seq: u64,
    /// Allocated on disk, everything included.
    pub bytes: u64,
    /// The bound on `bytes`.
    pub max_bytes: u64,
    /// How full, 0 to 1, by what limits first (bytes or events).
    pub fill: f64,
    /// Age of the oldest event that is not acked, in seconds; 0 when there is none.
    pub oldest_age_seconds: f64,
    /// Seconds until full at the rates of the last half minute; `None` while it does not fill.
    pub seconds_to_full: Option<f64>,
    /// Seconds until empty at those rates; `None` while it does not drain.
    pub seconds_to_empty: Option<f64>,
    /// Events stored per second, lately.
    pub rate_in: f64,
    /// Events acknowledged per second, lately.
    pub rate_out: f64,
    /// Requests waiting for room.
    pub waiters: u64,
    /// Segments in use (head to tail).
    pub segments: u64,
    /// Whether a sync on this volume means anything.
    pub durable: bool,
    /// The volume's file system.
    pub filesystem: String,
    /// Bytes cut off as an unfinished write when the buffer was opened.
    pub torn_bytes: u64,
    /// Pieces of damage set aside in `quarantine/`.
    pub quarantined: u64,
    /// The failure after which nothing more is stored, in words.
    pub failed: Option<String>,
    /// Whether a write would have to wait for room now.
    pub full: bool,
    /// Duration of syncs.
    #[serde(skip)]
    pub fsync_seconds: HistogramSnapshot,
    /// What is parked.
    pub parked: ParkedUsage,
    /// The numbers that a refusal would carry now.
    #[serde(skip)]
    pub full_detail: Option<FullDetail>,
}
