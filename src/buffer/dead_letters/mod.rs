//! Dead letters: events that Kafka will never take, kept with the reason until an operator retries or removes them.
//!
//! One file each in `dead-letters/`, named by the event's seq: few are expected, and each is listed, shown, retried and removed by itself. A file
//! is written whole and synced before its name is, and only then does its event count as ended: after a crash the file is what counts, and
//! opening books its event even where the cursor on disk is older.
//!
//! Bounded: `buffer.dead_letter_bytes` of allocated disk, apart from the log's share. When they are full the drain waits
//! (`buffer.dead_letters_full = "block"`), or the oldest go (`"drop-oldest"`, each counted and logged).
//!
//! Deliberately absent: waiting events. A dead letter is at its end as far as the log is concerned; a retry is a new event with a new seq.

mod format;
mod live;
mod resume;
mod store;
#[cfg(test)]
mod tests;

use super::AppendError;
use super::inspect::WaitingEvent;
use crate::event::{EventRef, Records};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub use live::{Appending, DeadLetters, Retried, Wait};
pub(in crate::buffer) use resume::finish_retries;
pub(in crate::buffer) use store::{DEAD_LETTERS_DIR, Store, Survey, select, seqs, survey, usage};
pub use store::{list, read, remove};

/// Why an event is dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// A short label from a closed set: the metric's `reason`.
    pub reason: String,
    /// What it means and what would help, then what Kafka said.
    pub text: String,
    /// How often Kafka refused it.
    pub attempts: u32,
    /// When it was refused first, Unix milliseconds.
    pub first_refused_ms: u64,
    /// When it was given up, Unix milliseconds.
    pub dead_ms: u64,
}

/// An event that Kafka will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The seq that it had in the log.
    pub seq: u64,
    /// When it was accepted, Unix milliseconds.
    pub accepted_ms: u64,
    /// Why it is dead.
    pub cause: Cause,
    /// The stored record: one, as [`Records`] reads it.
    pub record: Bytes,
}

impl DeadLetter {
    /// The event; `None` when the record does not decode.
    pub fn event(&self) -> Option<EventRef<'_>> {
        Records::new(&self.record).next()?.ok()
    }

    /// For people and programs: `with_value` says whether the whole event is shown.
    pub fn view(&self, with_value: bool) -> Option<DeadLetterView> {
        let event = WaitingEvent::new(self.seq, self.accepted_ms, &self.event()?, with_value);
        Some(DeadLetterView { cause: self.cause.clone(), event })
    }
}

/// A dead letter as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetterView {
    /// Why it is dead.
    pub cause: Cause,
    /// The event.
    pub event: WaitingEvent,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Dead letters on disk.
    pub count: u64,
    /// Bytes allocated for them.
    pub bytes: u64,
    /// The bound on `bytes`.
    pub max_bytes: u64,
    /// Removed because there was no room for newer ones, since the process started.
    pub dropped: u64,
}

/// Why a dead letter was not stored, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The budget is used up.
    #[error(
        "the dead letters are full ({bytes} of {max_bytes} bytes, {need} more are needed): retry or purge some (`dualstream dead-letters`), or \
         raise buffer.dead_letter_bytes"
    )]
    Full {
        /// What this one needs.
        need: u64,
        /// What is used.
        bytes: u64,
        /// The bound.
        max_bytes: u64,
    },
    /// The file system said no.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// The file does not verify.
    #[error("{path} is damaged: {what}; the next start of the relay moves it to quarantine/")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// Encrypted, and the key is not there.
    #[error("{path} is encrypted with key {key_id:08x}, which is not in buffer.encryption_key_file")]
    Locked {
        /// The file.
        path: PathBuf,
        /// Which key it needs.
        key_id: u32,
    },
    /// The buffer did not take a retried event.
    #[error("a retried event was not taken; it stays a dead letter")]
    NotTaken(#[source] AppendError),
    /// What was done before is not durable yet.
    #[error("the dead letters cannot be changed now: {0}")]
    NotDurable(String),
}
