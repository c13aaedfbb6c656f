//! The write side: admission in order, waiting for room up to a deadline, and the answer once a sync covers the batch.
//!
//! Invariant: a request is refused only while nothing of it is stored. Fair: nobody overtakes a batch that waits for room.

use super::error::AppendError;
use super::log::frame;
use super::reply::{Reply, reply};
use super::shared::{Pending, Shared, Waiter, lock};
use super::{AppendOptions, Appended};
use crate::event::Batch;
use std::sync::Arc;
use tokio::time::Instant;

/// The write side of the buffer; clones share it.
#[derive(Clone, Debug)]
pub struct Appender {
    shared: Arc<Shared>,
}

/// What became of a submission.
enum Submitted {
    Admitted,
    Waits(u64),
}

/// Takes a waiter out of line when its request goes away.
struct Place<'a> {
    shared: &'a Shared,
    ticket: u64,
}

impl Place<'_> {
    /// Leaves the line; `false` when the batch was admitted meanwhile.
    fn leave(&self) -> bool {
        let mut queue = lock(&self.shared.queue);
        let Some(at) = queue.waiters.iter().position(|waiter| waiter.ticket == self.ticket) else { return false };
        let _ = queue.waiters.remove(at);
        // Whoever was behind may fit where this one did not.
        self.shared.grant(&mut queue);
        true
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let _ = self.leave();
    }
}

impl Appender {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Stores a batch: whole or not at all. Returns once an `fdatasync` covers it.
    ///
    /// May be dropped at any time: while the batch waits for room nothing is stored; once it is admitted it is stored whether or not
    /// anybody still waits for the answer.
    ///
    /// # Errors
    /// [`AppendError::Full`] when there was no room before the deadline; in every error nothing is stored.
    pub async fn append(&self, batch: Batch, options: AppendOptions) -> Result<Appended, AppendError> {
        let bytes = batch.payload().len() as u64;
        let max = self.max_batch_bytes();
        if bytes > max {
            return Err(AppendError::TooLarge { bytes, max });
        }
        let (reply, mut answer) = reply();
        let deadline = Instant::from_std(options.deadline);
        if let Submitted::Waits(ticket) = self.submit(batch, options, reply)? {
            let place = Place { shared: &self.shared, ticket };
            tokio::select! {
                biased;
                answered = &mut answer => return answered.unwrap_or_else(|| Err(self.gone())),
                () = tokio::time::sleep_until(deadline) => {
                    if place.leave() {
                        return Err(AppendError::Full(Box::new(self.shared.full_detail())));
                    }
                }
            }
        }
        answer.await.unwrap_or_else(|| Err(self.gone()))
    }

    /// Largest payload that one batch may have, in bytes (a batch never spans segments).
    pub fn max_batch_bytes(&self) -> u64 {
        self.shared.plan.max_payload() - self.shared.keyring.overhead_bytes()
    }

    fn submit(&self, batch: Batch, options: AppendOptions, reply: Reply) -> Result<Submitted, AppendError> {
        let stored_len = frame::stored_len(batch.payload().len() as u64 + self.shared.keyring.overhead_bytes());
        let accepted_ms = self.shared.storage.now_ms();
        let receipts = options.receipts;
        let mut queue = lock(&self.shared.queue);
        if let Some(reason) = &queue.failed {
            return Err(AppendError::StorageFailed { reason: reason.clone() });
        }
        if queue.closed {
            return Err(AppendError::ShuttingDown);
        }
        let slot = if queue.waiters.is_empty() { queue.capacity.admit(stored_len, u64::from(batch.count())) } else { None };
        if let Some(slot) = slot {
            queue.pending.push_back(Pending { batch, slot, accepted_ms, receipts, reply });
            let wakes = queue.wakes_committer();
            // Not while the lock is held: the committer would wake up only to wait for it.
            drop(queue);
            if wakes {
                self.shared.queue_changed.notify_one();
            }
            return Ok(Submitted::Admitted);
        }
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiters.push_back(Waiter { ticket, stored_len, batch, accepted_ms, receipts, reply });
        drop(queue);
        self.shared.poke_keeper();
        Ok(Submitted::Waits(ticket))
    }

    /// Why an answer never came.
    fn gone(&self) -> AppendError {
        match &lock(&self.shared.queue).failed {
            Some(reason) => AppendError::StorageFailed { reason: reason.clone() },
            None => AppendError::ShuttingDown,
        }
    }
}
