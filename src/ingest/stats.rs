//! What ingest tells about itself.

use crate::lifecycle::{Counter, Gauge, Histogram};

/// The closed set of `ingest_requests_total{code}`.
pub const CODES: [u16; 12] = [200, 202, 400, 404, 405, 408, 409, 413, 415, 422, 500, 503];

/// The closed set of `ingest_events_total{result}`: stored, refused for want of room, refused as invalid, failed (storage, shutdown).
pub const RESULTS: [&str; 4] = ["accepted", "full", "invalid", "failed"];

/// Counters of the stage.
#[derive(Debug, Default)]
pub struct IngestStats {
    /// Replies by status, in the order of [`CODES`].
    pub requests: [Counter; CODES.len()],
    /// Events by result, in the order of [`RESULTS`].
    pub events: [Counter; RESULTS.len()],
    /// From a decoded request to its durable answer.
    pub append_seconds: Histogram,
    /// Connections open now.
    pub connections: Gauge,
}
