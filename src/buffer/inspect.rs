//! Looking into a buffer directory without the lock: running or stopped, healthy or not. Reads only.
//!
//! Frames verify themselves, so a look at a directory that is being written sees whole events or stops cleanly. A segment that is freed
//! under the look simply ends it.

use super::error::OpenError;
use super::log::cursor::{self, CURSOR_NAME, Found as CursorFound, Marks};
use super::log::frame::Kind;
use super::log::quarantine;
use super::log::recovery::io_error;
use super::log::scan::{Found, Scanner};
use super::log::segment::{self, DATA_START, HeaderProblem, Seal, SegmentHeader};
use super::log::storage::{OpenMode, Storage, StorageFile};
use crate::event::{EventRef, Records};
use crate::lifecycle::Ends;
use serde::Serialize;
use std::sync::Arc;

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

struct Opened {
    name: String,
    header: SegmentHeader,
    file: Arc<dyn StorageFile>,
    seal: Option<Seal>,
}

/// Looks at a directory as a whole.
///
/// # Errors
/// [`OpenError`] when it is not a buffer, is from a later version, or cannot be read at all.
pub fn inspect(storage: &dyn Storage) -> Result<DirectoryInfo, OpenError> {
    let mut problems = Vec::new();
    let segments = open_segments(storage, &mut problems)?;
    let marks = read_marks(storage, &mut problems)?;
    let frontier = marks.as_ref().map_or(0, |marks| marks.frontier);
    let mut info = DirectoryInfo {
        relay_id: marks
            .as_ref()
            .map(|marks| marks.relay_id)
            .or(segments.first().map(|s| s.header.relay_id))
            .map(|id| uuid::Uuid::from_bytes(id).to_string()),
        in_use: matches!(storage.lock_state(super::LOCK_NAME), Ok(true)),
        clean: marks.as_ref().map(|marks| marks.clean),
        acked_seq: frontier,
        last_seq: frontier,
        backlog: 0,
        oldest_ms: None,
        ends: marks.as_ref().map(|marks| marks.ends).unwrap_or_default(),
        bytes: allocated(storage),
        quarantined: quarantine::usage(storage).1,
        segments: Vec::new(),
        problems,
    };
    for opened in &segments {
        let seal = opened.seal.unwrap_or_else(|| scan(opened));
        let seqs = (seal.events > 0).then_some((seal.first_seq, seal.last_seq));
        if let Some((first, last)) = seqs.filter(|(_, last)| *last > frontier) {
            info.backlog += last - first.max(frontier + 1) + 1;
            info.last_seq = info.last_seq.max(last);
        }
        let sealed = opened.seal.is_some();
        info.segments.push(SegmentInfo { file: opened.name.clone(), seqs, events: seal.events, bytes: seal.end - DATA_START, sealed });
    }
    let acked_above = marks.as_ref().map_or(0, |marks| marks.ended_above.iter().map(|word| u64::from(word.count_ones())).sum());
    info.backlog = info.backlog.saturating_sub(acked_above);
    let mut oldest = None;
    visit(&segments, frontier + 1, &mut |_, accepted_ms, _| {
        oldest = Some(accepted_ms);
        false
    });
    info.oldest_ms = oldest;
    Ok(info)
}

/// Shows events in seq order from `from` on, to `show(seq, accepted_ms, event)`, until it returns `false`.
///
/// # Errors
/// As [`inspect`]. Damaged frames are passed over.
pub fn peek(storage: &dyn Storage, from: u64, show: &mut dyn FnMut(u64, u64, &EventRef<'_>) -> bool) -> Result<(), OpenError> {
    let mut problems = Vec::new();
    let segments = open_segments(storage, &mut problems)?;
    let frontier = read_marks(storage, &mut problems)?.map_or(0, |marks| marks.frontier);
    visit(&segments, from.max(frontier + 1), show);
    Ok(())
}

fn visit(segments: &[Opened], from: u64, show: &mut dyn FnMut(u64, u64, &EventRef<'_>) -> bool) {
    for opened in segments {
        if opened.seal.is_some_and(|seal| seal.events == 0 || seal.last_seq < from) {
            continue;
        }
        let done = walk(opened, &mut |header, payload| {
            if header.next_seq() <= from {
                return true;
            }
            let records = (header.first_seq..).zip(Records::new(payload).map_while(Result::ok));
            records.filter(|(seq, _)| *seq >= from).all(|(seq, record)| show(seq, header.accepted_ms, &record))
        });
        if done {
            return;
        }
    }
}

/// Walks the frames that verify; `true` when the visitor ended it.
fn walk(opened: &Opened, visitor: &mut dyn FnMut(&super::log::frame::FrameHeader, &[u8]) -> bool) -> bool {
    let (file, seed) = (&*opened.file, opened.header.seed());
    let limit = opened.seal.map_or(opened.header.capacity, |seal| seal.end);
    let mut scanner = Scanner::default();
    let mut at = DATA_START;
    while at < limit {
        match scanner.frame_at(file, seed, at, limit) {
            Ok(Found::Frame(header, payload)) => {
                if header.kind == Kind::Data && !visitor(&header, &payload) {
                    return true;
                }
                at += header.stored_len();
            }
            Ok(Found::BadPayload(header)) => at += header.stored_len(),
            // The end of what was written so far; behind it lie only stale bytes.
            Ok(Found::NoFrame { blank: true }) if opened.seal.is_none() => return false,
            Ok(Found::NoFrame { .. }) => match scanner.resync(file, seed, at, limit, 0) {
                Ok(Some((good, _))) => at = good,
                _ => return false,
            },
            Err(_) => return false,
        }
    }
    false
}

/// What the seal of an unfinished segment would say.
fn scan(opened: &Opened) -> Seal {
    let mut seal = Seal { end: DATA_START, ..Seal::default() };
    let mut end = DATA_START;
    let _ = walk(opened, &mut |header, _| {
        super::log::recovery::account(&mut seal, header, end);
        end += header.stored_len();
        true
    });
    seal
}

fn open_segments(storage: &dyn Storage, problems: &mut Vec<String>) -> Result<Vec<Opened>, OpenError> {
    let names = storage.list("").map_err(|source| io_error(storage, "list", "", source))?;
    let ours = |name: &String| name == CURSOR_NAME || segment::number_in(name, "seg-").is_some() || name == super::LOCK_NAME;
    if let Some(found) = names.iter().find(|name| !ours(name)).filter(|_| !names.iter().any(ours)) {
        return Err(OpenError::NotABuffer { dir: storage.dir().to_owned(), found: found.clone() });
    }
    let mut segments = Vec::new();
    for name in names.into_iter().filter(|name| segment::number_in(name, "seg-").is_some()) {
        // Freed between the listing and now: nothing to see.
        let Ok(file) = storage.open(&name, OpenMode::Read) else { continue };
        match segment::read_header(&*file) {
            Ok(Ok((header, seal))) => segments.push(Opened { name, header, file, seal }),
            Ok(Err(HeaderProblem::Foreign(version))) => {
                return Err(OpenError::ForeignVersion { file: storage.dir().join(&name), version, max: segment::FORMAT_VERSION });
            }
            Ok(Err(HeaderProblem::Invalid)) => problems.push(format!("{name}: the header is damaged")),
            Err(error) => problems.push(format!("{name}: {error}")),
        }
    }
    segments.sort_by_key(|opened| opened.header.segment_id);
    Ok(segments)
}

fn read_marks(storage: &dyn Storage, problems: &mut Vec<String>) -> Result<Option<Marks>, OpenError> {
    let Ok(file) = storage.open(CURSOR_NAME, OpenMode::Read) else { return Ok(None) };
    match cursor::read(&*file) {
        CursorFound::Marks(marks, _) => Ok(Some(*marks)),
        CursorFound::Nothing => {
            problems.push("cursor: both slots are damaged; everything in the segments would be delivered again".to_owned());
            Ok(None)
        }
        CursorFound::Foreign(version) => {
            Err(OpenError::ForeignVersion { file: storage.dir().join(CURSOR_NAME), version, max: segment::FORMAT_VERSION })
        }
    }
}

fn allocated(storage: &dyn Storage) -> u64 {
    let names = storage.list("").unwrap_or_default();
    let files: u64 = names
        .iter()
        .filter(|name| *name != quarantine::QUARANTINE_DIR)
        .filter_map(|name| storage.open(name, OpenMode::Read).and_then(|file| file.allocated_bytes()).ok())
        .sum();
    files + quarantine::usage(storage).0
}
