//! What can go wrong in the buffer, one enum per operation.

use super::dead_letters::DeadLetterError;
use super::log::cipher::KeyFileError;
use super::log::whole::Failed;
use crate::event::Seq;
use std::path::PathBuf;
use std::time::Duration;

/// Why a batch was not stored. In every case nothing of it is on disk to be delivered.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// No room before the deadline.
    #[error("the buffer is full")]
    Full(Box<FullDetail>),
    /// The batch can never fit in a segment.
    #[error(
        "the batch needs {bytes} bytes but a segment of this buffer holds {max} (raise buffer.max_bytes or buffer.segment_bytes, or send smaller batches)"
    )]
    TooLarge {
        /// What the batch needs.
        bytes: u64,
        /// What a segment holds.
        max: u64,
    },
    /// An id that is known, with another body.
    #[error("{}", conflict_summary(.0))]
    Conflict(Vec<Conflict>),
    /// The relay is stopping.
    #[error("the relay is shutting down")]
    ShuttingDown,
    /// A write or sync failed; the buffer refuses everything until the relay is restarted.
    #[error("the buffer's storage failed: {reason}")]
    StorageFailed {
        /// The first failure, in words.
        reason: String,
    },
}

/// An event whose id is another event's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Its position in the request.
    pub position: usize,
    /// The other event, when it was accepted before; else it stands earlier in the same request.
    pub accepted_as: Option<Seq>,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.accepted_as {
            Some(seq) => write!(f, "was accepted before, as event {seq}, with another body"),
            None => f.write_str("stands in this request twice, with different bodies"),
        }
    }
}

fn conflict_summary(conflicts: &[Conflict]) -> String {
    match conflicts {
        [one] => format!("the id of event {} {one}", one.position),
        [first, ..] => format!("{} ids were used before, with other bodies; the id of event {} {first}", conflicts.len(), first.position),
        [] => "an id was used before".to_owned(),
    }
}

/// The numbers that go with a refusal (guarantee G8).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FullDetail {
    /// Backlog in events.
    pub depth_events: u64,
    /// Allocated bytes.
    pub bytes: u64,
    /// The bound on them.
    pub max_bytes: u64,
    /// Events acknowledged per second, lately.
    pub drain_rate: f64,
    /// Estimated time until there is room; `None` while nothing drains.
    pub time_to_room: Option<Duration>,
}

/// Why a buffer directory cannot be opened. Damage is never a reason: it is set aside and reported.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{dir} is in use by another relay (its LOCK file is held)")]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// There is nothing to look at.
    #[error("{dir} is empty: no relay has made a buffer there; is it the right directory?")]
    NoBuffer {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory holds something else.
    #[error("{dir} is not a dualstream buffer: it holds {found:?}; choose an empty directory or one that a relay made")]
    NotABuffer {
        /// The directory.
        dir: PathBuf,
        /// A file that does not belong.
        found: String,
    },
    /// Written by a later version.
    #[error("{file} has buffer format version {version}, this dualstream reads up to {max}; use the newer release that wrote it")]
    ForeignVersion {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: u32,
        /// The newest we know.
        max: u32,
    },
    /// The volume forgets.
    #[error("{dir} is on {filesystem}, where a sync does not make data durable, and buffer.require_durable is set; mount a volume there")]
    NotDurable {
        /// The directory.
        dir: PathBuf,
        /// Its file system.
        filesystem: String,
    },
    /// `buffer.encryption_key_file` cannot be read.
    #[error("cannot read the key file {path} (buffer.encryption_key_file)")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `buffer.encryption_key_file` holds something else.
    #[error("the key file {path} (buffer.encryption_key_file)")]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyFileError,
    },
    /// Events that were encrypted with a key that is not there.
    #[error(
        "{file} holds events that are encrypted with key {key_id:08x}, which is not in {}; add that key to the file, after the one that \
         is used for new events, until they have drained (nothing was changed or deleted)",
        key_file.as_ref().map_or_else(|| "buffer.encryption_key_file (which is not set)".to_owned(), |path| path.display().to_string())
    )]
    UnknownKey {
        /// The segment.
        file: PathBuf,
        /// Which key it needs.
        key_id: u32,
        /// Where keys are looked for.
        key_file: Option<PathBuf>,
    },
    /// Events that cannot be shown without their key.
    #[error(
        "{file} holds events that are encrypted with key {key_id:08x}, which is not among the keys that were given: name the settings \
         whose buffer.encryption_key_file has it (--config)"
    )]
    Encrypted {
        /// The segment.
        file: PathBuf,
        /// Which key it needs.
        key_id: u32,
    },
    /// Somebody copied the directory of another relay.
    #[error(
        "{dir} is a copy of another buffer directory: two relays on copies of one would deliver everything in it twice. If the original is \
         gone for good, `dualstream buffer adopt --dir {dir} --yes` makes this one the original; nothing was changed"
    )]
    Copied {
        /// The directory.
        dir: PathBuf,
    },
    /// The dead letters.
    #[error("the dead letters")]
    DeadLetters(#[from] DeadLetterError),
    /// Settings that cannot work together.
    #[error("{0}")]
    Settings(String),
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
}

impl From<Failed> for OpenError {
    fn from(Failed { action, path, source }: Failed) -> Self {
        Self::Io { action, path, source }
    }
}

/// Why the next events could not be read. Rot is not among them: it is reported and skipped.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system said no, repeatedly.
    #[error("cannot read {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
}
