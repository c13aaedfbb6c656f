//! What ingest tells about itself.

use crate::lifecycle::{Counter, Gauge, Histogram};

/// The closed set of `ingest_requests_total{code}`.
pub const CODES: [u16; 12] = [200, 202, 400, 404, 405, 408, 409, 413, 415, 422, 500, 503];

/// The closed set of `ingest_events_total{result}`: stored, refused for want of room, refused as invalid, failed (storage, shutdown),
/// there before, refused because an id was another event's.
pub const RESULTS: [&str; 6] = ["accepted", "full", "invalid", "failed", "duplicate", "conflict"];

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
    /// Connections to the socket from users who are not in `ingest.allow_uids`, closed at once.
    pub refused_connections: Counter,
}

/// What became of events; the order is that of [`RESULTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventResult {
    Accepted,
    Full,
    Invalid,
    Failed,
    Duplicate,
    Conflict,
}

impl IngestStats {
    /// Counts a reply; a status outside [`CODES`] would be a bug and counts as 500.
    pub(super) fn count_reply(&self, status: u16) {
        let index = CODES.iter().position(|code| *code == status).unwrap_or(INTERNAL_ERROR);
        self.requests[index].add(1);
    }

    /// Counts what became of the events of a request.
    pub(super) fn count_events(&self, result: EventResult, events: u32) {
        self.events[result as usize].add(u64::from(events));
    }
}

/// Where 500 stands in [`CODES`].
const INTERNAL_ERROR: usize = 10;
const _: () = assert!(CODES[INTERNAL_ERROR] == 500);

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: each result is counted under its own label.
    #[test]
    fn labels() {
        let stats = IngestStats::default();
        for (result, label) in [
            (EventResult::Accepted, "accepted"),
            (EventResult::Full, "full"),
            (EventResult::Invalid, "invalid"),
            (EventResult::Failed, "failed"),
            (EventResult::Duplicate, "duplicate"),
            (EventResult::Conflict, "conflict"),
        ] {
            stats.count_events(result, 1);
            assert_eq!(RESULTS[result as usize], label);
        }
        for code in CODES {
            stats.count_reply(code);
        }
        assert!(stats.events.iter().chain(&stats.requests).all(|counter| counter.get() == 1));
    }
}
