//! Stage 2: events survive on disk, bounded. Takes batches from ingest, gives events in seq order to the drain, promises that what
//! it answered is on disk.
//!
//! Policy is here (admission, group commit, leases, marks); the mechanism that only stores is in [`log`].
//! ```text
//! Appender ──▶ queue (capacity, waiters) ──▶ Committer: write, fdatasync, publish, answer      thread "buffer-commit"
//! Reader   ◀── durable mark, recent frames, segments;   acks ──▶ watermark                     the drain's thread
//! Keeper:  cursor, freeing and preparing segments                                              thread "buffer-keep"
//! ```
//! For operators: [`inspect`] and [`verify`] read a directory without its lock, [`offline`] changes one on which no relay runs, [`purge`]
//! gives up events.
//!
//! Invariants: nothing is answered before an `fdatasync` that covers it; nothing is leased before it is durable; a segment is
//! reused only when the durable cursor is past it; allocated bytes never exceed `max_bytes`; a request is stored whole or not at all.

mod appender;
mod capacity;
mod committer;
mod copied;
pub mod dead_letters;
mod error;
mod gather;
mod gauges;
#[cfg(test)]
mod golden;
pub mod inspect;
mod keeper;
#[cfg(test)]
mod life;
pub mod log;
#[cfg(test)]
mod memory;
pub mod offline;
mod open;
#[cfg(test)]
mod power_failure;
pub mod purge;
mod rates;
mod reader;
mod reply;
mod shared;
mod stats;
#[cfg(test)]
mod tests;
pub mod verify;
mod watermark;
mod zeros;

use crate::config::BufferConfig;
use crate::error::chain;
use crate::event::Seq;
use crate::lifecycle::Receipt;
use std::time::Instant;
use tokio::sync::oneshot;

pub use appender::Appender;
pub use committer::Committer;
pub use dead_letters::{DeadLetter, DeadLetterError, DeadLetters};
pub use error::{AppendError, FullDetail, OpenError, ReadError};
pub use gauges::Gauges;
pub use keeper::Keeper;
pub use log::cipher::Keyring;
pub use open::{Buffer, Closer, keyring};
pub use purge::Purger;
pub use reader::{Leased, Reader, ReaderWaker};
pub use stats::BufferSnapshot;

/// The file that says who writes here.
pub(crate) const LOCK_NAME: &str = "LOCK";

/// Largest payload of one batch in a buffer of these settings, in bytes; `wanted` is the largest that ingest means to append.
///
/// # Errors
/// The sentence with which opening would refuse the settings.
pub fn largest_batch(config: &BufferConfig, wanted: u64) -> Result<u64, String> {
    let overhead = keyring(config).map_err(|error| chain(&error))?.overhead_bytes();
    let plan = capacity::Plan::new(config.max_bytes, config.segment_bytes, config.dead_letter_bytes, wanted + overhead)?;
    Ok(plan.max_payload() - overhead)
}

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
    /// Whether the volume keeps what was synced (false on tmpfs, overlay, network and FUSE file systems).
    pub durable: bool,
}
