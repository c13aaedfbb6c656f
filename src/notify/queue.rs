//! The bounded queue between drain and Redis; drops the oldest, counts what it dropped.
//!
//! Bounded twice: by count (`redis.queue`), which is what people think in, and by [`MAX_BYTES`], because identifiers may be a
//! kilobyte long. 16 MiB holds the default count of usual notifications (about 110 bytes each, and 50 for the entry), and leaves
//! the relay within its 64 MiB whatever clients send.
//!
//! The oldest are dropped, not the newest: a subscriber that was cut off wants to know that a source changed, and the newest
//! notification of a source says it best.

use super::message::{Composer, Notification};
use super::stats::{DropReason, NotifyStats};
use crate::event::{EventRef, Seq};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most memory that waiting notifications may hold, in bytes.
pub(super) const MAX_BYTES: usize = 16 << 20;

/// Most notifications in one pipeline.
pub(super) const BATCH_MAX: usize = 512;

/// Most text in one pipeline, in bytes (unless a single notification is larger): it must be written and answered within the
/// response timeout, also on a slow link.
const BATCH_BYTES: usize = 1 << 20;

/// The drain's end: never blocks, never fails.
#[derive(Clone, Debug)]
pub struct NotifyQueue {
    /// `None`: notifications are off.
    shared: Option<Arc<Shared>>,
}

/// The worker's end.
#[derive(Debug)]
pub(super) struct Waiting {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    composer: Composer,
    max_entries: usize,
    stats: Arc<NotifyStats>,
    state: Mutex<State>,
    wake: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Notification>,
    /// Sum of the entries' footprints.
    bytes: usize,
    /// The worker waits to be woken.
    asleep: bool,
    /// Nobody will take anything any more.
    closed: bool,
}

impl State {
    fn pop(&mut self) -> Option<Notification> {
        let oldest = self.entries.pop_front()?;
        self.bytes -= oldest.footprint();
        Some(oldest)
    }

    /// Adds the newest and returns how many had to go for it: the oldest, or itself when it alone is too large.
    fn push(&mut self, newest: Notification, max_entries: usize) -> u64 {
        self.bytes += newest.footprint();
        self.entries.push_back(newest);
        let mut dropped = 0;
        while (self.entries.len() > max_entries || self.bytes > MAX_BYTES) && self.pop().is_some() {
            dropped += 1;
        }
        dropped
    }
}

/// A queue of at most `max_entries`.
pub(super) fn queue(composer: Composer, max_entries: usize, stats: Arc<NotifyStats>) -> (NotifyQueue, Waiting) {
    let shared = Arc::new(Shared { composer, max_entries, stats, state: Mutex::default(), wake: tokio::sync::Notify::new() });
    (NotifyQueue { shared: Some(Arc::clone(&shared)) }, Waiting { shared })
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NotifyQueue {
    /// A queue for when notifications are off: handing over costs nothing.
    pub fn disabled() -> Self {
        Self { shared: None }
    }

    /// Hands over an event that Kafka has acknowledged.
    pub fn acked(&self, seq: Seq, event: &EventRef<'_>) {
        let Some(shared) = &self.shared else { return };
        let notification = shared.composer.compose(seq, event);
        let mut state = shared.state();
        if state.closed {
            shared.stats.dropped(DropReason::Shutdown).add(1);
            return;
        }
        let dropped = state.push(notification, shared.max_entries);
        let wake = std::mem::take(&mut state.asleep);
        shared.stats.queued.set(state.entries.len() as u64);
        drop(state);
        if dropped > 0 {
            shared.stats.dropped(DropReason::QueueFull).add(dropped);
        }
        if wake {
            shared.wake.notify_one();
        }
    }
}

impl Waiting {
    /// Resolves when there is something to take. Safe to drop.
    pub(super) async fn ready(&self) {
        loop {
            {
                let mut state = self.shared.state();
                if !state.entries.is_empty() {
                    return;
                }
                // Set under the lock that a push takes: either that push is seen here, or it sees this and wakes us.
                state.asleep = true;
            }
            self.shared.wake.notified().await;
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.shared.state().entries.is_empty()
    }

    /// Replaces the content of `batch` by the oldest notifications, at most `max`.
    pub(super) fn take(&self, batch: &mut Vec<Notification>, max: usize) {
        batch.clear();
        let mut batch_bytes = 0;
        let mut state = self.shared.state();
        while batch.len() < max
            && let Some(next) = state.entries.front()
            && (batch.is_empty() || batch_bytes + next.len() <= BATCH_BYTES)
        {
            batch_bytes += next.len();
            batch.extend(state.pop());
        }
        self.shared.stats.queued.set(state.entries.len() as u64);
    }

    /// Closes the queue for good; what still waits, and all that comes later, is counted as dropped by the shutdown.
    pub(super) fn close(&self) {
        let left = {
            let mut state = self.shared.state();
            state.closed = true;
            state.bytes = 0;
            std::mem::take(&mut state.entries)
        };
        self.shared.stats.dropped(DropReason::Shutdown).add(left.len() as u64);
        self.shared.stats.queued.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::{composer, event};
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    fn sized(max_entries: usize) -> (NotifyQueue, Waiting, Arc<NotifyStats>) {
        let stats = Arc::new(NotifyStats::default());
        let (queue, waiting) = queue(composer(), max_entries, Arc::clone(&stats));
        (queue, waiting, stats)
    }

    fn take_all(waiting: &Waiting) -> Vec<String> {
        let (mut all, mut batch) = (Vec::new(), Vec::new());
        loop {
            waiting.take(&mut batch, BATCH_MAX);
            if batch.is_empty() {
                return all;
            }
            all.extend(batch.iter().map(|one| one.message().to_owned()));
        }
    }

    fn message(id: &str) -> String {
        format!(r#"{{"id":"{id}","type":"created","source_id":"s"}}"#)
    }

    // Goal: with Redis away the newest stay, in order, and each dropped one is counted.
    #[test]
    fn drops_the_oldest_by_count() {
        let (queue, waiting, stats) = sized(3);
        for id in ["1", "2", "3", "4", "5"] {
            queue.acked(Seq(1), &event(id, "s"));
        }
        assert_eq!(stats.dropped(DropReason::QueueFull).get(), 2);
        assert_eq!(stats.queued.get(), 3);
        assert_eq!(take_all(&waiting), ["3", "4", "5"].map(message));
        assert_eq!(stats.queued.get(), 0);
    }

    // Goal: long identifiers do not make the queue outgrow its memory, however many entries are allowed.
    #[test]
    fn drops_the_oldest_by_bytes() {
        let (queue, waiting, stats) = sized(usize::MAX);
        let long = "x".repeat(64 << 10);
        for _ in 0..400 {
            queue.acked(Seq(1), &event(&long, "s"));
            assert!(waiting.shared.state().bytes <= MAX_BYTES);
        }
        let kept = take_all(&waiting).len() as u64;
        assert!(kept > 200, "the bound is used, not undercut: {kept}");
        assert_eq!(stats.dropped(DropReason::QueueFull).get(), 400 - kept);
        assert_eq!(waiting.shared.state().bytes, 0, "the books close");
    }

    // Goal: the default count of usual notifications fits into the bytes.
    #[test]
    fn usual_notifications_fit() {
        let (queue, _waiting, stats) = sized(100_000);
        for _ in 0..100_000 {
            queue.acked(Seq(1), &event("0192d2f4-7d3e-7c3a-9d70-1f2e3d4c5b6a", "user-123"));
        }
        assert_eq!((stats.dropped_total(), stats.queued.get()), (0, 100_000));
    }

    // Goal: a queue of zero, or one notification larger than all memory, drops and counts instead of failing.
    #[test]
    fn keeps_nothing_when_nothing_fits() {
        let (queue, waiting, stats) = sized(0);
        queue.acked(Seq(1), &event("1", "s"));
        assert_eq!((take_all(&waiting).len(), stats.dropped_total()), (0, 1));
        let (queue, waiting, stats) = sized(10);
        queue.acked(Seq(1), &event(&"x".repeat(MAX_BYTES), "s"));
        assert_eq!((take_all(&waiting).len(), stats.dropped_total()), (0, 1));
    }

    // Goal: one pipeline is bounded in commands and in bytes, and always makes progress.
    #[test]
    fn takes_bounded_batches() {
        let (queue, waiting, _stats) = sized(10_000);
        let mut batch = Vec::new();
        for _ in 0..600 {
            queue.acked(Seq(1), &event("1", "s"));
        }
        waiting.take(&mut batch, BATCH_MAX);
        assert_eq!(batch.len(), BATCH_MAX);
        waiting.take(&mut batch, BATCH_MAX);
        assert_eq!(batch.len(), 600 - BATCH_MAX);
        let long = "x".repeat(BATCH_BYTES * 2 / 3);
        for id in [long.as_str(), "y", &long] {
            queue.acked(Seq(1), &event(id, "s"));
        }
        waiting.take(&mut batch, BATCH_MAX);
        assert_eq!(batch.len(), 2);
        let huge = "x".repeat(BATCH_BYTES * 2);
        queue.acked(Seq(1), &event(&huge, "s"));
        waiting.take(&mut batch, BATCH_MAX);
        waiting.take(&mut batch, BATCH_MAX);
        assert_eq!(batch.len(), 1, "larger than a batch, and taken all the same");
    }

    // Goal: the worker sleeps while there is nothing and wakes for the first notification, wherever it comes from.
    #[tokio::test(start_paused = true)]
    async fn wakes_for_the_first() {
        let (queue, waiting, _stats) = sized(10);
        assert!(timeout(Duration::from_secs(60), waiting.ready()).await.is_err());
        let pusher = std::thread::spawn(move || queue.acked(Seq(1), &event("1", "s")));
        waiting.ready().await;
        assert!(pusher.join().is_ok());
        assert!(!waiting.is_empty());
    }

    // Goal: pushes from one thread while another takes lose nothing and keep their order.
    #[tokio::test]
    async fn keeps_order_under_concurrency() {
        const COUNT: usize = 20_000;
        let (queue, waiting, _stats) = sized(COUNT);
        let pusher = std::thread::spawn(move || (0..COUNT).for_each(|n| queue.acked(Seq(1), &event(&n.to_string(), "s"))));
        let mut seen = Vec::new();
        while seen.len() < COUNT {
            waiting.ready().await;
            seen.extend(take_all(&waiting));
        }
        assert!(pusher.join().is_ok());
        assert!(seen.iter().enumerate().all(|(n, text)| *text == message(&n.to_string())));
    }

    // Goal: after the stop nothing piles up, and the late ones are counted too.
    #[test]
    fn closed_means_counted() {
        let (queue, waiting, stats) = sized(10);
        queue.acked(Seq(1), &event("1", "s"));
        waiting.close();
        queue.acked(Seq(1), &event("2", "s"));
        assert_eq!(stats.dropped(DropReason::Shutdown).get(), 2);
        assert!(waiting.is_empty());
    }

    // Goal: without redis.url the drain's call does nothing at all.
    #[test]
    fn off_is_free() {
        NotifyQueue::disabled().acked(Seq(1), &event("1", "s"));
    }
}
