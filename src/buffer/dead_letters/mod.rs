//! Dead letters: events that Kafka will never take, kept with the reason until an operator retries or removes them.
//!
//! One file each in `dead-letters/`, named by the event's seq: few are expected, and each is listed, shown, retried and removed by itself. A file
//! is written whole and synced before its name is, and only then does its event count as ended: after a crash the file is what counts, and
//! opening books its event even where the cursor on disk is older.
//!
//! Bounded: `buffer.dead_letter_bytes` of allocated disk, apart from the log's share. When they are full the drain waits
//! (`buffer.dead_letters_full = "block"`), or the oldest go (`"drop-oldest"`, each counted and logged). Where letters are copied to a topic
//! (`copies.rs`), those that are there already go first, and that is no loss.
//!
//! Deliberately absent: waiting events. A dead letter is at its end as far as the log is concerned; a retry is a new event with a new seq.

mod copies;
#[cfg(test)]
mod copies_tests;
mod format;
mod index;
mod live;
mod resume;
mod store;
#[cfg(test)]
mod tests;

use super::AppendError;
use super::inspect::WaitingEvent;
use super::log::whole::Failed;
use crate::event::{EventRef, Records};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub use copies::Copies;
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
}

/// How the dead-letter topic has an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// As it is.
    Whole,
    /// Without its value, which that topic does not take.
    WithoutValue,
}

impl Copied {
    fn number(self) -> u32 {
        match self {
            Self::Whole => 1,
            Self::WithoutValue => 2,
        }
    }

    fn of_number(number: u32) -> Option<Self> {
        [Self::Whole, Self::WithoutValue].into_iter().find(|how| how.number() == number)
    }
}

/// A dead letter as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The letter.
    pub letter: DeadLetter,
    /// How the dead-letter topic has it; `None` while it does not, as far as the file says.
    pub copied: Option<Copied>,
}

impl Kept {
    /// For people and programs: `with_value` says whether the whole event is shown.
    pub fn view(&self, with_value: bool) -> Option<DeadLetterView> {
        let letter = &self.letter;
        let event = WaitingEvent::new(letter.seq, letter.accepted_ms, &letter.event()?, with_value);
        Some(DeadLetterView { cause: letter.cause.clone(), copied: self.copied.is_some(), event })
    }
}

/// A dead letter as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetterView {
    /// Why it is dead.
    pub cause: Cause,
    /// Whether the dead-letter topic has it.
    #[serde(default)]
    pub copied: bool,
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
    /// Removed for the same reason when the dead-letter topic had them, which is no loss; since the process started.
    #[serde(default)]
    pub gave_way: u64,
    /// Those on disk that the dead-letter topic does not have, as far as their files say.
    #[serde(default)]
    pub uncopied: u64,
}

impl From<Failed> for DeadLetterError {
    fn from(Failed { action, path, source }: Failed) -> Self {
        Self::Io { action, path, source }
    }
}

impl DeadLetterError {
    /// Whether there is no such file any more: somebody removed the letter meanwhile.
    pub(in crate::buffer) fn is_gone(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
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
