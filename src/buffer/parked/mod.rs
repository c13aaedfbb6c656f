//! Parked events: those of a topic that Kafka refuses for now, moved out of the log so that the others can go on (`kafka.on_blocked = "park"`).
//!
//! A parked event still waits: it counts as backlog, keeps its seq, and is sent, in order, when its topic takes events again. It lies in a file of
//! `parked/`, one queue of files per topic; a file is written whole and synced, then its name, and only then does its event leave the log.
//!
//! Invariants: an event is in the log or parked, never in neither (after a crash it may be in both: then it counts as parked); within a topic the queue is in
//! seq order, and everything in it is older than what the log still has of that topic; a file is removed only when the cursor on disk knows the
//! ends of its events.
//!
//! Bounded: `buffer.parked_bytes` of allocated disk, apart from the log's share, and [`MAX_TOPICS`] topics. What does not fit holds the line.
//!
//! Deliberately absent: an order between topics, and a topic's name by any other rule than `kafka.topic` had when the event was parked.

#[cfg(test)]
mod bench;
mod books;
mod files;
mod format;
#[cfg(test)]
mod format_tests;
mod index;
mod keep;
mod leave;
mod line;
#[cfg(test)]
mod model;
#[cfg(test)]
mod offline_tests;
mod outside;
mod purge;
mod settle;
mod spans;
mod store;
mod survey;
#[cfg(test)]
mod tests;
mod varint;

use super::log::whole::Failed;
use crate::config::BufferConfig;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub(in crate::buffer) use files::{PARKED_DIR, Unread, bytes_there, names, verify};
pub use line::{ParkedLine, ParkedWaker};
pub(in crate::buffer) use outside::Outside;
pub(in crate::buffer) use purge::{cuts, select};
pub(in crate::buffer) use settle::{Settled, settle};
pub(in crate::buffer) use store::Store;
pub(in crate::buffer) use survey::{Opener, Survey, look, survey};

/// Most topics that can be parked at a time.
pub const MAX_TOPICS: usize = 64;

/// What `buffer.parked_bytes` should be: what the settings say, or a quarter of `buffer.max_bytes`, when blocked topics are to be parked; else none.
pub fn budget(config: &BufferConfig, parks: bool) -> Option<u64> {
    parks.then(|| config.parked_bytes.unwrap_or((config.max_bytes / 4).max(1 << 16)))
}

/// An event on its way out of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Its seq; it keeps it.
    pub seq: u64,
    /// When it was accepted, Unix milliseconds.
    pub accepted_ms: u64,
    /// The stored record: one, as [`crate::event::Records`] reads it.
    pub record: Bytes,
}

/// The events of one topic that are parked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedTopic {
    /// The topic's name.
    pub topic: String,
    /// How many.
    pub events: u64,
    /// Bytes allocated for them.
    pub bytes: u64,
    /// When the oldest was accepted, Unix milliseconds; absent when there is none.
    pub oldest_ms: Option<u64>,
}

/// All that is parked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedUsage {
    /// Parked events.
    pub events: u64,
    /// Bytes allocated for them.
    pub bytes: u64,
    /// The bound on `bytes`; 0: nothing is parked.
    pub max_bytes: u64,
    /// By topic, those that wait although nothing is parked for them included.
    pub topics: Vec<ParkedTopic>,
}

/// Why events were not parked, or a parked one cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ParkError {
    /// The budget is used up.
    #[error(
        "the place for parked events is full ({bytes} of {max_bytes} bytes, {need} more are needed): mend the topic, purge, or raise buffer.parked_bytes"
    )]
    Full {
        /// What these need.
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
    /// Encrypted, and the key is not there.
    #[error("{path} is encrypted with key {key_id:08x}, which is not in buffer.encryption_key_file")]
    Locked {
        /// The file.
        path: PathBuf,
        /// Which key it needs.
        key_id: u32,
    },
}

impl From<Failed> for ParkError {
    fn from(Failed { action, path, source }: Failed) -> Self {
        Self::Io { action, path, source }
    }
}
