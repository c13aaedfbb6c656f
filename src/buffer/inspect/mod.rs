//! Looking into a buffer directory without the lock: running or stopped, healthy or not. Reads only.
//!
//! Frames verify themselves, so a look at a directory that is being written sees whole events or stops cleanly. A segment that is freed
//! under the look simply ends it.

pub(super) mod look;
mod waiting;

use super::dead_letters;
use super::error::OpenError;
use super::log::cipher::Keyring;
use super::log::quarantine;
use super::log::segment::DATA_START;
use super::log::storage::{OpenMode, Storage};
use super::log::whole;
use super::parked::{self, ParkedTopic};
use crate::event::EventRef;
use crate::lifecycle::Ends;
use look::Look;
use serde::Serialize;

pub use waiting::WaitingEvent;

/// Shown a waiting event: its seq, when it was accepted, itself, and the topic for which it is parked, if it is. Says whether to go on.
pub type ShowParked<'a> = dyn FnMut(u64, u64, &EventRef<'_>, Option<&str>) -> bool + 'a;

/// A directory at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct DirectoryInfo {
    /// The relay-id; absent when neither a cursor nor a segment could be read.
    pub relay_id: Option<String>,
    /// Whether a relay holds the lock now.
    pub in_use: bool,
    /// Whether the last stop was clean; absent when the cursor cannot be read.
    pub clean: Option<bool>,
    /// The acked frontier as of the last checkpoint.
    pub acked_seq: u64,
    /// Highest seq found on disk.
    pub last_seq: u64,
    /// Events on disk above the frontier, by the last checkpoint: some may have been acked since.
    pub backlog: u64,
    /// When the oldest of them was accepted, Unix milliseconds.
    pub oldest_ms: Option<u64>,
    /// The ledger's ends as of the last checkpoint.
    pub ends: Ends,
    /// Allocated bytes of everything.
    pub bytes: u64,
    /// Entries in quarantine.
    pub quarantined: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// What is parked, by topic; part of the backlog.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parked: Vec<ParkedTopic>,
    /// The segments, oldest first.
    pub segments: Vec<SegmentInfo>,
    /// What could not be read, in words.
    pub problems: Vec<String>,
}

/// One segment file.
#[derive(Clone, Debug, Serialize)]
pub struct SegmentInfo {
    /// File name.
    pub file: String,
    /// First and last seq, when there are any.
    pub seqs: Option<(u64, u64)>,
    /// Events in it.
    pub events: u64,
    /// Bytes of frames.
    pub bytes: u64,
    /// Whether it is finished; the unfinished one was scanned.
    pub sealed: bool,
}

/// Looks at a directory as a whole.
///
/// # Errors
/// [`OpenError`] when it is not a buffer, is from a later version, or cannot be read at all.
pub fn inspect(storage: &dyn Storage) -> Result<DirectoryInfo, OpenError> {
    let look = Look::open(storage)?;
    let (letter_bytes, dead_letters) = dead_letters::usage(storage)?;
    let (marks, frontier) = (look.marks.as_ref(), look.frontier());
    let mut info = DirectoryInfo {
        relay_id: look.relay_id(),
        in_use: in_use(storage),
        clean: marks.map(|marks| marks.clean),
        acked_seq: frontier,
        last_seq: frontier.max(look.parked.last()),
        backlog: look.parked.alive(),
        oldest_ms: None,
        ends: marks.map(|marks| marks.ends).unwrap_or_default(),
        bytes: allocated(storage)? + letter_bytes,
        quarantined: quarantine::usage(storage).entries,
        dead_letters,
        parked: look.parked.by_topic(),
        segments: Vec::new(),
        problems: problems(&look),
    };
    let ended = look.ended();
    for opened in &look.segments {
        let seal = opened.seal_or_scan();
        let seqs = (seal.events > 0).then_some((seal.first_seq, seal.last_seq));
        if let Some((first, last)) = seqs {
            info.backlog += last - first + 1 - ended.ended_in(first, last);
            info.last_seq = info.last_seq.max(last);
        }
        let sealed = opened.seal.is_some();
        info.segments.push(SegmentInfo { file: opened.name.clone(), seqs, events: seal.events, bytes: seal.end - DATA_START, sealed });
    }
    info.oldest_ms = look.oldest_ms();
    Ok(info)
}

/// Shows the events that are not at their end, in seq order from `from` on, to `show(seq, accepted_ms, event)`, until it returns `false`.
///
/// # Errors
/// As [`inspect`], and [`OpenError::Encrypted`] for encrypted events whose key is not in `keyring`. Damaged frames are passed over.
pub fn peek(
    storage: &dyn Storage,
    keyring: &Keyring,
    from: u64,
    show: &mut dyn FnMut(u64, u64, &EventRef<'_>) -> bool,
) -> Result<(), OpenError> {
    waiting(storage, keyring, from, &mut |seq, accepted_ms, event, _| show(seq, accepted_ms, event))
}

/// [`peek`], and `show` is told, last, for which topic an event is parked, if it is.
///
/// # Errors
/// As [`peek`].
pub fn waiting(storage: &dyn Storage, keyring: &Keyring, from: u64, show: &mut ShowParked<'_>) -> Result<(), OpenError> {
    Look::open(storage)?.visit_all(storage, keyring, from, show)
}

/// Whether a relay, or a tool that changes the directory, holds the lock now.
pub(super) fn in_use(storage: &dyn Storage) -> bool {
    matches!(storage.lock_state(super::LOCK_NAME), Ok(true))
}

fn problems(look: &Look) -> Vec<String> {
    let mut problems: Vec<String> = look.unreadable.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    if look.has_cursor && look.marks.is_none() {
        problems.push("cursor: both slots are damaged; everything in the segments would be delivered again".to_owned());
    }
    problems.extend(look.parked.damaged.iter().map(|file| format!("{}: parked events are damaged: {}", file.name, file.what)));
    problems
}

/// Bytes allocated, but for those of dead letters.
fn allocated(storage: &dyn Storage) -> Result<u64, OpenError> {
    let names = whole::names(storage, "")?;
    let files: u64 = names
        .iter()
        .filter(|name| ![quarantine::QUARANTINE_DIR, dead_letters::DEAD_LETTERS_DIR, parked::PARKED_DIR].contains(&name.as_str()))
        .filter_map(|name| storage.open(name, OpenMode::Read).and_then(|file| file.allocated_bytes()).ok())
        .sum();
    let parked: u64 = parked::names(storage)?.iter().map(|name| whole::allocated(storage, name)).sum();
    Ok(files + quarantine::usage(storage).bytes() + parked)
}
