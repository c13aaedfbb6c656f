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
mod dedup;
mod error;
#[cfg(test)]
mod failing;
mod gather;
mod gauges;
#[cfg(test)]
mod golden;
pub mod inspect;
mod keeper;
mod known;
#[cfg(test)]
mod life;
pub mod log;
mod mark_book;
#[cfg(test)]
mod memory;
pub mod offline;
mod open;
pub mod parked;
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
use log::storage::DiskStorage;
use std::time::Instant;
use tokio::sync::oneshot;

pub use appender::Appender;
pub use committer::Committer;
pub use dead_letters::{DeadLetter, DeadLetterError, DeadLetters};
pub use error::{AppendError, Conflict, FullDetail, OpenError, ReadError};
pub use gauges::Gauges;
pub use keeper::Keeper;
pub use log::cipher::Keyring;
pub use open::{Buffer, Closer, keyring};
pub use parked::{ParkError, ParkedEvent, ParkedLine, ParkedTopic, ParkedUsage, ParkedWaker};
pub use purge::Purger;
pub use reader::{Leased, Reader, ReaderWaker};
pub use stats::BufferSnapshot;

/// The file that says who writes here.
pub(crate) const LOCK_NAME: &str = "LOCK";

/// Largest payload of one batch in a buffer of these settings, in bytes; `wanted` is the largest that ingest means to append, `window` the
/// number of events whose ids are remembered.
///
/// # Errors
/// The sentence with which opening would refuse the settings.
pub fn largest_batch(config: &BufferConfig, wanted: u64, window: usize) -> Result<u64, String> {
    let overhead = keyring(config).map_err(|error| chain(&error))?.overhead_bytes();
    let parked = parked::bytes_there(&DiskStorage::new(&config.dir)).map_err(|error| chain(&error))?;
    let plan = open::plan(config, wanted + overhead, open::window_limit(config, window), parked)?;
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Seq of the first event that was stored; of the first one's original, when all were repeats.
    pub first_seq: Seq,
    /// Number of events that were stored.
    pub count: u32,
    /// Whether the volume keeps what was synced (false on tmpfs, overlay, network and FUSE file systems).
    pub durable: bool,
    /// Events that were there before, by position, ascending: not stored again.
    pub repeats: Vec<Repeat>,
}

/// An event that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// Its position in the request.
    pub position: usize,
    /// The first one's seq.
    pub seq: Seq,
}

impl Appended {
    /// Seq of the last event that was stored; of the last one's original, when all were repeats.
    pub fn last_seq(&self) -> Seq {
        match (self.count, self.repeats.last()) {
            (0, Some(repeat)) => repeat.seq,
            (count, _) => Seq(self.first_seq.0 + u64::from(count.saturating_sub(1))),
        }
    }

    /// The seqs of all events of the request, in order.
    pub fn seqs(&self) -> impl Iterator<Item = Seq> {
        let (mut repeats, mut stored) = (self.repeats.iter().peekable(), self.first_seq);
        (0..self.count as usize + self.repeats.len()).map(move |position| {
            if let Some(repeat) = repeats.next_if(|repeat| repeat.position == position) {
                return repeat.seq;
            }
            stored = stored.next();
            Seq(stored.0 - 1)
        })
    }
}
