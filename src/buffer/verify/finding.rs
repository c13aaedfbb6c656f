//! What a verification says, in words and in figures.

use crate::lifecycle::Ends;
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; nothing that is still needed is touched.
    Note,
    /// An unfinished write of a crash: nobody was told that it was stored.
    Torn,
    /// Something that was promised is damaged or missing, or would be treated wrongly by what reads it.
    Damage,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Plain words.
    pub what: String,
    /// In which file, below the directory.
    pub file: String,
    /// Where in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// How many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Which events, inclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seqs: Option<(u64, u64)>,
    /// What a repair, or the relay's next start, does about it.
    pub then: &'static str,
}

impl Finding {
    pub(super) fn new(severity: Severity, file: &str, what: impl Into<String>, then: &'static str) -> Self {
        Self { severity, what: what.into(), file: file.to_owned(), offset: None, bytes: None, seqs: None, then }
    }

    pub(super) fn at(self, offset: u64, bytes: u64) -> Self {
        Self { offset: Some(offset), bytes: Some(bytes), ..self }
    }

    pub(super) fn of(self, seqs: Option<(u64, u64)>) -> Self {
        Self { seqs, ..self }
    }
}

/// The answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that was promised is there.
    Sound,
    /// The same, after a crash in the middle of a write.
    Torn,
    /// Not everything that was promised can be read, or the books do not balance.
    Damaged,
}

/// The books, checked without the relay: `accepted = acked + dead-lettered + purged + lost + waiting + damaged now`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OfflineLedger {
    /// The highest seq that is known to have been durable: events are numbered from 1 without gaps.
    pub accepted: u64,
    /// How they ended, as the cursor says.
    #[serde(flatten)]
    pub ends: Ends,
    /// Counted one by one on disk: readable, and not at their end.
    pub waiting: u64,
    /// Not at their end and not readable: a start or a repair reports them lost.
    pub unreadable: u64,
    /// What is left over: 0, or somebody miscounted. Absent when the cursor is gone, which alone knows the ends.
    pub error: Option<i64>,
}

/// Everything about a directory.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The answer in one word.
    pub verdict: Verdict,
    /// The relay-id; absent when nothing readable tells it.
    pub relay_id: Option<String>,
    /// A relay holds the lock: figures move while they are read, and its last write may be half done.
    pub in_use: bool,
    /// Whether the last stop was clean; absent when the cursor cannot be read.
    pub clean: Option<bool>,
    /// Segment files that were read.
    pub segments: u64,
    /// Frames that verify.
    pub frames: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes that were read and checked.
    pub checked_bytes: u64,
    /// Entries in quarantine.
    pub quarantined: u64,
    /// The books.
    pub ledger: OfflineLedger,
    /// Accepted events that cannot be read and are not at their end, as inclusive ranges.
    pub lost_seqs: Vec<(u64, u64)>,
    /// Events that may have been accepted in a damaged end of the log, of which nothing else tells: a start or a repair counts them as lost, as
    /// many as there can have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub possibly_lost: Option<(u64, u64)>,
    /// What is not as it should be, worst first.
    pub findings: Vec<Finding>,
}
