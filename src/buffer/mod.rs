//! Stage 2: events survive on disk, bounded. Takes batches from ingest, gives events in seq order to the drain, promises that what
//! it answered is on disk.
//!
//! Policy is here (admission, group commit, leases, marks); the mechanism that only stores is in [`log`].
//!
//! Invariants: nothing is answered before an `fdatasync` that covers it; nothing is leased before it is durable; a segment is
//! reused only when the durable cursor is past it; allocated bytes never exceed `max_bytes`.

mod error;
pub mod log;
mod stats;

use crate::event::{Batch, Seq};
use crate::lifecycle::Receipt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

pub use error::{AppendError, FullDetail, OpenError, ReadError};
pub use stats::BufferSnapshot;

/// What an append asks for besides being stored.
#[derive(Debug)]
pub struct AppendOptions {
    /// Wait for room no longer than this.
    pub deadline: Instant,
    /// Told when Kafka has acknowledged every event of the batch.
    pub receipts: Option<oneshot::Sender<Vec<Receipt>>>,
}

/// A batch that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Seq of the first event.
    pub first_seq: Seq,
    /// Number of events.
    pub count: u32,
    /// Whether the volume keeps what was synced (false on tmpfs and overlay).
    pub durable: bool,
}

/// The write side of the buffer; clones share it.
#[derive(Clone, Debug)]
pub struct Appender {
    shared: Arc<Shared>,
}

impl Appender {
    /// Stores a batch: whole or not at all. Returns once an `fdatasync` covers it.
    ///
    /// Not cancel-safe in the sense that a dropped future may still store: run it to its end in a task of its own.
    ///
    /// # Errors
    /// [`AppendError::Full`] when there was no room before the deadline; then nothing is stored.
    pub async fn append(&self, batch: Batch, options: AppendOptions) -> Result<Appended, AppendError> {
        let _ = (&self.shared, batch, options);
        std::future::pending().await
    }

    /// Largest payload that one batch may have, in bytes (a batch never spans segments).
    pub fn max_batch_bytes(&self) -> u64 {
        0
    }
}

/// What the stages share; stands in until the buffer is built.
#[derive(Debug, Default)]
pub struct Shared {}

/// One frame's events, leased to the drain.
#[derive(Clone, Debug)]
pub struct Leased {
    /// Seq of the first record in `payload`.
    pub first_seq: Seq,
    /// Number of records.
    pub count: u32,
    /// When the batch was accepted, in milliseconds since the Unix epoch: the Kafka timestamp.
    pub accepted_ms: u64,
    /// Encoded records, read with [`crate::event::Records`].
    pub payload: Arc<Vec<u8>>,
}

/// The read side of the buffer, owned by the drain thread. Blocking; no other reader exists.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
}

impl Reader {
    /// The next durable frame in seq order, or `None` when all that is durable was handed out.
    ///
    /// Rotted frames are set aside, their seqs reported lost in the ledger, and skipped: they never come out of here.
    pub fn next(&mut self) -> Result<Option<Leased>, ReadError> {
        let _ = &self.shared;
        Ok(None)
    }

    /// Whether Kafka already has this event (acked out of order before a rewind or a restart): it must not be sent again.
    pub fn is_acked(&self, seq: Seq) -> bool {
        let _ = seq;
        false
    }

    /// Blocks until something durable is there to hand out, the timeout passes, or [`ReaderWaker::wake`] is called.
    pub fn wait(&self, timeout: Duration) {
        let _ = timeout;
    }

    /// Marks events as acknowledged, in any order. Already acknowledged ones are ignored (returns how many were new).
    pub fn ack(&mut self, seqs: &[Seq]) -> usize {
        seqs.len()
    }

    /// Goes back to the first event that is not acknowledged; [`Reader::next`] starts there again.
    pub fn rewind(&mut self) -> Result<(), ReadError> {
        Ok(())
    }

    /// The contiguous frontier: every event up to and including it is at its end.
    pub fn acked(&self) -> Seq {
        Seq(0)
    }

    /// Everything up to and including this seq is durable.
    pub fn durable(&self) -> Seq {
        Seq(0)
    }

    /// Remembers the newest acked place of a partition, for the checkpoint.
    pub fn mark_partition(&mut self, topic: &Arc<str>, partition: i32, seq: Seq, offset: i64) {
        let _ = (topic, partition, seq, offset);
    }
}

/// A look at the buffer, for ops; clones share it.
#[derive(Clone, Debug)]
pub struct Gauges {
    shared: Arc<Shared>,
}

impl Gauges {
    /// The buffer now.
    pub fn snapshot(&self) -> BufferSnapshot {
        let _ = &self.shared;
        BufferSnapshot::default()
    }
}
