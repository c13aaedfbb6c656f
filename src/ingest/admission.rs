//! How many bytes of request bodies may be in memory at once.
//!
//! A body takes its share before it is read and gives it back when its events are in the buffer's hands (or refused). While the
//! buffer is full this is what bounds the memory of all who wait for room.
//!
//! Two lanes: bodies up to [`SMALL_BODY_BYTES`] do not queue behind large ones. A body of unknown length starts in the small lane
//! and, once it outgrows it, takes a whole `max_body_bytes` of the large lane; since nobody in the large lane waits for a lane, that
//! cannot deadlock. Each lane is first come, first served.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

/// Bytes of request bodies held at once, both lanes together; more only if a single body may be larger than its lane.
pub(super) const INFLIGHT_BYTES_MAX: usize = 32 << 20;

/// Bodies up to this size take the small lane.
pub(super) const SMALL_BODY_BYTES: usize = 64 << 10;

/// The memory for request bodies.
#[derive(Debug)]
pub(super) struct Budget {
    small: Semaphore,
    large: Semaphore,
    max_body_bytes: usize,
}

/// A share of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Share<'b> {
    permit: SemaphorePermit<'b>,
}

impl Budget {
    /// A budget of `total` bytes, a quarter of it for small bodies, for bodies up to `max_body_bytes`.
    pub(super) fn new(total: usize, max_body_bytes: usize) -> Self {
        let small = (total / 4).max(SMALL_BODY_BYTES);
        let large = total.saturating_sub(small).max(max_body_bytes).min(Semaphore::MAX_PERMITS);
        Self { small: Semaphore::new(small), large: Semaphore::new(large), max_body_bytes }
    }

    /// Takes a share for a body of this length, or of a length yet unknown. `None`: there was none before the deadline.
    pub(super) async fn admit(&self, length: Option<usize>, deadline: Instant) -> Option<Share<'_>> {
        match length.unwrap_or(SMALL_BODY_BYTES) {
            small @ 0..=SMALL_BODY_BYTES => Share::take(&self.small, small, deadline).await,
            large => Share::take(&self.large, large, deadline).await,
        }
    }

    /// Takes a share for the largest body there may be.
    pub(super) async fn admit_largest(&self, deadline: Instant) -> Option<Share<'_>> {
        Share::take(&self.large, self.max_body_bytes, deadline).await
    }
}

impl<'b> Share<'b> {
    async fn take(lane: &'b Semaphore, bytes: usize, deadline: Instant) -> Option<Self> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        // Nearly always there is room, and then no timer is made.
        let permit = match lane.try_acquire_many(permits) {
            Ok(permit) => permit,
            Err(_) => timeout_at(deadline, lane.acquire_many(permits)).await.ok()?.ok()?,
        };
        Some(Self { permit })
    }

    /// Gives back all but `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        drop(self.permit.split(self.permit.num_permits().saturating_sub(bytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MIB: usize = 1 << 20;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(10)
    }

    // Goal: memory for bodies is bounded, and what is given back serves the next.
    #[tokio::test(start_paused = true)]
    async fn bounded() {
        let budget = Budget::new(4 * MIB, MIB);
        let mut first = budget.admit(Some(2 * MIB), soon()).await.unwrap();
        let _second = budget.admit(Some(MIB), soon()).await.unwrap();
        assert!(budget.admit(Some(MIB), soon()).await.is_none());
        first.shrink_to(MIB);
        assert!(budget.admit(Some(MIB), soon()).await.is_some());
    }

    // Goal: my one small event does not wait for somebody's upload.
    #[tokio::test(start_paused = true)]
    async fn small_bodies_do_not_queue_behind_large_ones() {
        let budget = Budget::new(4 * MIB, MIB);
        let _large = budget.admit(Some(3 * MIB), soon()).await.unwrap();
        assert!(budget.admit_largest(soon()).await.is_none());
        assert!(budget.admit(Some(300), soon()).await.is_some());
        assert!(budget.admit(None, soon()).await.is_some());
    }

    // Goal: whatever limits are configured, the largest allowed body can be admitted.
    #[tokio::test(start_paused = true)]
    async fn the_largest_body_always_fits() {
        for (total, max_body) in [(0, MIB), (MIB, 64 * MIB), (64 * MIB, 1)] {
            let budget = Budget::new(total, max_body);
            assert!(budget.admit(Some(max_body), soon()).await.is_some());
            assert!(budget.admit_largest(soon()).await.is_some());
            assert!(budget.admit(None, soon()).await.is_some());
        }
    }
}
