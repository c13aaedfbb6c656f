//! The write side: admission in order, waiting for room up to a deadline, and the answer once a sync covers the batch.
//!
//! A batch whose events are known ([`super::dedup`]) is not admitted with them: first they must be durable, since the answer says so, then
//! what is left of the batch is submitted again. Invariant: a request is refused only while nothing of it is stored. Fair: nobody overtakes
//! a batch that waits for room; one that waits and turns out to hold a known event begins anew.

use super::dedup::{Durable, Seen};
use super::error::AppendError;
use super::known::Known;
use super::log::frame;
use super::reply::{Answer, Told, reply};
use super::shared::{Held, Shared, Submission, Waiter, lock};
use super::{AppendOptions, Appended};
use crate::event::{Batch, Seq, id_hash};
use crate::lifecycle::History;
use std::sync::Arc;
use tokio::time::Instant;

/// The write side of the buffer; clones share it.
#[derive(Clone, Debug)]
pub struct Appender {
    shared: Arc<Shared>,
}

/// What became of a submission.
enum Submitted {
    Admitted(Answer),
    Waits(Answer, u64),
    /// Nothing of it is stored: it holds events that are known.
    Seen(Submission, Vec<Seen>),
}

/// What became of a batch.
enum Stored {
    Whole(Appended),
    /// Nothing: it holds events that are known; none are named when it has to be looked at again.
    Nothing(Submission, Vec<Seen>),
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

    /// Stores a batch: whole or not at all, but for events that are known. Returns once an `fdatasync` covers all of them.
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
        let deadline = Instant::from_std(options.deadline);
        let mut known = Known::default();
        let mut submission = Submission { batch, accepted_ms: 0, receipts: options.receipts };
        loop {
            submission.accepted_ms = self.shared.storage.now_ms();
            let seen = match self.store(submission, deadline).await? {
                Stored::Whole(appended) => return Ok(known.complete(appended)),
                Stored::Nothing(back, seen) => {
                    submission = back;
                    seen
                }
            };
            known.check(&seen)?;
            if seen.is_empty() || !self.durable(&seen).await {
                // The first one was refused, or nobody said which it is: look again.
                continue;
            }
            submission.batch = known.take_out(&seen, &submission.batch);
            if submission.batch.count() == 0 {
                return Ok(known.all(self.shared.volume.durable));
            }
        }
    }

    /// Largest payload that one batch may have, in bytes (a batch never spans segments).
    pub fn max_batch_bytes(&self) -> u64 {
        self.shared.plan.max_payload() - self.shared.keyring.overhead_bytes()
    }

    /// The event with this id, when it is among the newest.
    pub fn find(&self, id: &str) -> Option<Seq> {
        lock(&self.shared.window).find(id_hash(id))
    }

    /// What became of the newest events.
    pub fn history(&self) -> &History {
        self.shared.acks.history()
    }

    /// Waits until it is decided whether known events become durable, and says so.
    async fn durable(&self, seen: &[Seen]) -> bool {
        let durable = lock(&self.shared.window).durable_all(seen);
        match durable {
            Durable::Yes => true,
            Durable::No => false,
            Durable::NotYet(decision) => decision.await.unwrap_or(false),
        }
    }

    /// Submits a batch and waits for its room, then for its sync.
    async fn store(&self, submission: Submission, deadline: Instant) -> Result<Stored, AppendError> {
        let told = match self.submit(submission)? {
            Submitted::Seen(back, seen) => return Ok(Stored::Nothing(back, seen)),
            Submitted::Admitted(answer) => answer.await,
            Submitted::Waits(mut answer, ticket) => {
                let place = Place { shared: &self.shared, ticket };
                let told = tokio::select! {
                    biased;
                    told = &mut answer => Some(told),
                    () = tokio::time::sleep_until(deadline) => {
                        if place.leave() {
                            return Err(AppendError::Full(Box::new(self.shared.full_detail())));
                        }
                        None
                    }
                };
                match told {
                    Some(told) => told,
                    None => answer.await,
                }
            }
        };
        match told {
            Some(Told::Done(result)) => result.map(Stored::Whole),
            Some(Told::Again(back)) => Ok(Stored::Nothing(back, Vec::new())),
            None => Err(self.gone()),
        }
    }

    fn submit(&self, submission: Submission) -> Result<Submitted, AppendError> {
        let stored_len = frame::stored_len(submission.batch.payload().len() as u64 + self.shared.keyring.overhead_bytes());
        let (reply, answer) = reply();
        let mut queue = lock(&self.shared.queue);
        if let Some(reason) = &queue.failed {
            return Err(AppendError::StorageFailed { reason: reason.clone() });
        }
        if queue.closed {
            return Err(AppendError::ShuttingDown);
        }
        let admitted = if queue.waiters.is_empty() {
            self.shared.admit(&mut queue, stored_len, submission, reply)
        } else {
            Err((Held::NoRoom, submission, reply))
        };
        let (submission, reply) = match admitted {
            Ok(()) => {
                let wakes = queue.wakes_committer();
                // Not while the lock is held: the committer would wake up only to wait for it.
                drop(queue);
                if wakes {
                    self.shared.queue_changed.notify_one();
                }
                return Ok(Submitted::Admitted(answer));
            }
            Err((Held::Seen(seen), submission, _)) => return Ok(Submitted::Seen(submission, seen)),
            Err((Held::NoRoom, submission, reply)) => (submission, reply),
        };
        // What is known needs no room.
        let seen = lock(&self.shared.window).look(submission.batch.fingerprints());
        if !seen.is_empty() {
            return Ok(Submitted::Seen(submission, seen));
        }
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        queue.waiters.push_back(Waiter { ticket, stored_len, submission, reply });
        drop(queue);
        self.shared.poke_keeper();
        Ok(Submitted::Waits(answer, ticket))
    }

    /// Why an answer never came.
    fn gone(&self) -> AppendError {
        match &lock(&self.shared.queue).failed {
            Some(reason) => AppendError::StorageFailed { reason: reason.clone() },
            None => AppendError::ShuttingDown,
        }
    }
}
