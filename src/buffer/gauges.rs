//! A look at the buffer from outside; never on the hot path.

use super::shared::{Shared, lock};
use super::stats::BufferSnapshot;
use std::sync::Arc;

/// A look at the buffer, for ops; clones share it.
#[derive(Clone, Debug)]
pub struct Gauges {
    shared: Arc<Shared>,
}

impl Gauges {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The failure after which nothing more is stored, in words.
    pub fn failed(&self) -> Option<String> {
        lock(&self.shared.queue).failed.clone()
    }

    /// Events durable and not yet at an end.
    pub fn backlog(&self) -> u64 {
        lock(&self.shared.marks).waiting()
    }

    /// The buffer now.
    #[expect(clippy::cast_precision_loss, reason = "shares and times, not ledgers")]
    pub fn snapshot(&self) -> BufferSnapshot {
        let shared = &*self.shared;
        let rate = lock(&shared.rates).now();
        let (waiters, free_bytes, events, ready, failed) = {
            let queue = lock(&shared.queue);
            let capacity = &queue.capacity;
            (queue.waiters.len() as u64, capacity.free_bytes(), capacity.events(), capacity.ready(), queue.failed.clone())
        };
        let (segments, growable_bytes) = {
            let segments = lock(&shared.segments);
            let bytes = segments.bytes(shared.plan.segment_bytes);
            let bound = shared.plan.max_segments * shared.plan.segment_bytes;
            let spares = segments.spares.len() as u64 * shared.plan.segment_bytes;
            (segments.live.len() as u64, bound.saturating_sub(bytes) + spares)
        };
        let now_ms = shared.storage.now_ms();
        let mut marks = lock(&shared.marks);
        let backlog = marks.waiting();
        let oldest_ms = marks.oldest_ms();
        let ledger = crate::lifecycle::Ledger { accepted: marks.durable, ends: marks.ends, backlog };
        let (durable_seq, acked_seq) = (marks.durable, marks.watermark.frontier());
        drop(marks);
        let oldest_ms = oldest_ms.into_iter().chain(shared.parked.oldest_ms()).min();

        let room = free_bytes + growable_bytes;
        let bound = shared.plan.max_segments * shared.plan.segment_bytes;
        let fill_bytes = 1.0 - room.min(bound) as f64 / bound as f64;
        let fill_events = if shared.max_events > 0 { events as f64 / shared.max_events as f64 } else { 0.0 };
        let fill = if backlog == 0 { 0.0 } else { fill_bytes.max(fill_events).min(1.0) };
        let grows = rate.stored - rate.acked;
        let bytes_per_event = shared.meters.stored_bytes.get() as f64 / shared.meters.stored_events.get().max(1) as f64;
        let events_left = if shared.max_events > 0 { shared.max_events.saturating_sub(events) as f64 } else { f64::INFINITY };
        let events_to_full = (room as f64 / bytes_per_event.max(1.0)).min(events_left);
        BufferSnapshot {
            relay_id: uuid::Uuid::from_bytes(shared.relay_id).to_string(),
            ledger,
            durable_seq,
            acked_seq,
            bytes: shared.meters.allocated.get(),
            max_bytes: shared.max_bytes,
            fill,
            oldest_age_seconds: oldest_ms.map_or(0.0, |ms| now_ms.saturating_sub(ms) as f64 / 1000.0),
            seconds_to_full: (grows > 0.0).then(|| events_to_full / grows),
            seconds_to_empty: (backlog > 0 && grows < 0.0).then(|| backlog as f64 / -grows),
            rate_in: rate.stored,
            rate_out: rate.acked,
            waiters,
            segments,
            durable: shared.volume.durable,
            filesystem: shared.volume.filesystem.clone(),
            torn_bytes: shared.meters.torn_bytes.get(),
            quarantined: shared.meters.quarantined.get(),
            failed,
            full: waiters > 0 || (ready == 0 && room < shared.plan.segment_bytes / 8) || fill_events >= 1.0,
            fsync_seconds: shared.meters.fsync_seconds.snapshot(),
            full_detail: Some(shared.full_detail()),
            parked: shared.parked.usage(),
        }
    }
}
