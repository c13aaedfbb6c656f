//! Opening a buffer directory after a clean stop, a crash, or damage. It always opens, never deletes data, never appends to an old segment.
//!
//! The cases, in the order they are met:
//! 1. **Something else's directory**, or a later format: refused, untouched.
//! 2. **Page cache that never reached the disk** (kill -9): every kept file is synced before it is believed.
//! 3. **Cursor damaged or missing**: start at the oldest segment; everything in it is delivered again.
//! 4. **Segment header damaged**: the file is moved to quarantine; the seqs that are missing then are reported lost. When it may have been
//!    the last one, [`unseen`] says how far its seqs went.
//! 5. **Segment wholly behind the cursor**: reused. A crash between cursor and rename leaves these; so does a directory update that was lost.
//! 6. **Sealed segment**: taken as it is; its frames are verified when they are read.
//! 7. **Unsealed segment**: scanned. At a place that does not verify:
//!    - something proves that data beyond it was durable (a later frame's `durable_seq`, the cursor, a later segment): acknowledged data
//!      rotted. It is set aside, its seqs are reported lost, the scan goes on behind it;
//!    - nothing does: an unfinished write. The data ends here. Nobody was told that these events were stored. The bytes are kept in
//!      quarantine and counted, since rot within the last moments before a crash looks the same.
//!
//!    Then it is sealed as recovered. New events go to a new segment.
//!
//! Idempotent: a crash in here is just another crash.

use super::cursor::{self, CURSOR_NAME, Found as CursorFound, Marks};
use super::frame;
use super::names::{is_known, is_ours};
use super::quarantine::{self, Note};
use super::scan::{Found, Scanner};
use super::segment::{self, DATA_START, HeaderProblem, SEAL_RECOVERED, Seal, Segment};
use super::storage::{OpenMode, Storage, StorageFile, read_full};
use super::unseen::{self, Held};
use crate::buffer::OpenError;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Most bytes of an unfinished write that are kept for inspection.
const TORN_KEEP_BYTES: u64 = 1 << 16;

/// What opening found.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) marks: Marks,
    pub(crate) generation: u64,
    /// Segments that hold events above the frontier, oldest first.
    pub(crate) segments: VecDeque<Arc<Segment>>,
    /// Names of files to reuse.
    pub(crate) spares: Vec<String>,
    pub(crate) next_segment_id: u64,
    pub(crate) next_seq: u64,
    /// Oldest acceptance time known per segment: `(first seq, Unix ms)`.
    pub(crate) ages: Vec<(u64, u64)>,
    pub(crate) report: Report,
}

/// What an operator should know about the opening.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) unclean: bool,
    pub(crate) cursor_lost: bool,
    pub(crate) torn_bytes: u64,
    /// Acknowledged seqs that are gone, as inclusive ranges, in order and apart; some of them may have been at their end.
    pub(crate) lost: Vec<(u64, u64)>,
    pub(crate) quarantined: u64,
}

struct Candidate {
    name: String,
    segment: Segment,
}

impl Candidate {
    /// Everything up to this seq was durable when the segment was prepared.
    fn durable_before(&self) -> u64 {
        self.segment.header.base_seq.saturating_sub(1)
    }
}

/// Opens what is there. The lock is held and the directory exists.
pub(crate) fn recover(storage: &dyn Storage, quarantine_budget: u64) -> Result<Recovered, OpenError> {
    let names = list(storage)?;
    let (marks, generation, cursor_lost) = read_cursor(storage, &names, quarantine_budget)?;
    let mut report = Report { unclean: !marks.clean, cursor_lost, ..Report::default() };
    let mut spares: Vec<String> = names.iter().filter(|name| segment::number_in(name, "spare-").is_some()).cloned().collect();
    let (mut kept, mut damaged) = open_segments(storage, &names, &mut report)?;
    let mut marks = adopt_marks(storage, marks, cursor_lost, &kept);

    let was_durable = kept.iter().map(Candidate::durable_before).fold(marks.durable_seq, u64::max);
    // A file may have been copied under a name that is not its own: no new segment may ever be given that name.
    let numbers = kept.iter().filter_map(|c| segment::number_in(&c.name, "seg-")).filter(|number| *number < frame::SEQ_MAX / 2);
    let next_segment_id = kept.iter().map(|c| c.segment.id()).chain(numbers).chain([marks.segment_id]).max().unwrap_or(0) + 1;
    // Nor that of a file that was just set aside.
    let next_segment_id = next_segment_id + u64::from(damaged.iter().any(|(id, _)| *id == next_segment_id));
    let capacities: Vec<u64> = kept.iter().map(|c| c.segment.header.capacity).collect();
    // The last segment with events, and one with events that its writer did not finish.
    let (mut last, mut tail) = (0, None);
    let mut segments = VecDeque::new();
    let mut ages = Vec::new();
    let mut next_seq = marks.frontier + 1;
    let mut next_in_log = 0;
    while !kept.is_empty() {
        let candidate = kept.remove(0);
        let seal = if let Some(seal) = candidate.segment.seal() {
            seal
        } else {
            // Without a cursor, what was durable before the oldest event that is left may have been delivered and freed.
            let later = if cursor_lost && segments.is_empty() { &[] } else { kept.as_slice() };
            let proof = later.iter().map(Candidate::durable_before).fold(marks.durable_seq, u64::max);
            let ceiling = kept.iter().find_map(first_seq_in).unwrap_or(u64::MAX);
            let expected = Expected { in_log: next_in_log, unended: next_seq, proof: proof.min(ceiling.saturating_sub(1)), ceiling };
            let (seal, behind) = scan_unsealed(storage, &candidate.segment, expected, quarantine_budget, &mut report)?;
            damaged.push((candidate.segment.id(), behind));
            tail = tail.or((seal.events > 0).then_some(candidate.segment.id()));
            seal
        };
        if seal.events > 0 {
            last = candidate.segment.id();
        }
        next_in_log = next_in_log.max(seal.last_seq + 1);
        // What is reported lost keeps its seqs: an event that got one of them would count as lost, too.
        let after_lost = report.lost.iter().map(|(_, to)| to + 1).max().unwrap_or(0);
        if seal.events == 0 || seal.last_seq <= marks.frontier {
            spares.push(candidate.name);
            next_seq = next_seq.max(after_lost);
            continue;
        }
        if seal.first_seq > next_seq && cursor_lost && segments.is_empty() {
            // What came before the oldest event that is left was delivered, or reported: only the cursor knew.
            begin_after(&mut marks, seal.first_seq - 1);
        } else if seal.first_seq > next_seq {
            tracing::error!(before = candidate.name, "a part of the buffer is missing");
            report.lost.push((next_seq, seal.first_seq - 1));
        }
        next_seq = next_seq.max(seal.last_seq + 1).max(after_lost);
        candidate.segment.set_durable_end(seal.end);
        ages.push((seal.first_seq, first_accepted_ms(&candidate.segment)));
        segments.push_back(Arc::new(candidate.segment));
    }
    let was_durable = if marks.clean {
        was_durable
    } else {
        // A segment before the last one, or one that was only prepared, had no seqs that nothing else tells of.
        let may_be_tail = |id: u64| id >= last && id <= next_segment_id && tail.is_none_or(|tail| tail == id);
        let held = damaged.into_iter().filter(|(id, _)| may_be_tail(*id)).map(|(_, held)| held);
        reached(was_durable.max(next_seq - 1), held, &capacities).max(was_durable)
    };
    if was_durable >= next_seq {
        // The cursor, or whoever prepared a segment, has seen them durable, and no segment holds them any more.
        if cursor_lost && segments.is_empty() {
            begin_after(&mut marks, was_durable);
        } else {
            tracing::error!("the end of the buffer is missing");
            report.lost.push((next_seq, was_durable));
        }
        // Never used again: consumers take a lower seq for one that they have seen.
        next_seq = was_durable + 1;
    }
    report.lost = merged(report.lost);
    report.quarantined = quarantine::usage(storage).entries;
    Ok(Recovered { marks, generation, segments, spares, next_segment_id, next_seq, ages, report })
}

/// The highest seq that may have been given out.
fn reached(known: u64, held: impl Iterator<Item = Held>, capacities: &[u64]) -> u64 {
    let highest = unseen::highest(known, held, capacities.iter().copied());
    if highest > known {
        tracing::error!(
            known,
            highest,
            "the segment that was being written is damaged: what was accepted after the highest known seq is possibly lost, and counted as lost \
             up to the highest seq that it can have had"
        );
    }
    highest
}

fn list(storage: &dyn Storage) -> Result<Vec<String>, OpenError> {
    let names = storage.list("").map_err(|source| io_error(storage, "list", "", source))?;
    match names.iter().find(|name| !is_known(name)) {
        Some(found) if !names.iter().any(|name| is_ours(name)) => {
            Err(OpenError::NotABuffer { dir: storage.dir().to_owned(), found: found.clone() })
        }
        Some(found) => {
            tracing::warn!(file = found.as_str(), "a file in the buffer directory is not ours: left alone");
            Ok(names)
        }
        None => Ok(names),
    }
}

fn read_cursor(storage: &dyn Storage, names: &[String], budget: u64) -> Result<(Marks, u64, bool), OpenError> {
    if !names.iter().any(|name| name == CURSOR_NAME) {
        let fresh = !names.iter().any(|name| segment::number_in(name, "seg-").is_some());
        return Ok((Marks { clean: fresh, ..Marks::default() }, 0, !fresh));
    }
    let fail = |source| io_error(storage, "read", CURSOR_NAME, source);
    let file = storage.open(CURSOR_NAME, OpenMode::ReadWrite).map_err(fail)?;
    file.sync_data().map_err(fail)?;
    match cursor::read(&*file) {
        CursorFound::Marks(marks, generation) => Ok((*marks, generation, false)),
        CursorFound::Nothing => {
            // Without segments it is one that was just being made.
            if names.iter().any(|name| segment::number_in(name, "seg-").is_some()) {
                keep_cursor(storage, &*file, budget);
            }
            Ok((Marks::default(), 0, true))
        }
        CursorFound::Foreign(version) => Err(foreign(storage, CURSOR_NAME, version)),
    }
}

/// Keeps what there is of a cursor of which no slot can be read: it will be written over.
fn keep_cursor(storage: &dyn Storage, file: &dyn StorageFile, budget: u64) {
    let reason = "no slot of the cursor can be read";
    let bytes = file.size().unwrap_or(0);
    let note = Note { reason, file: CURSOR_NAME, offset: 0, bytes, lost_seqs: None, at_ms: storage.now_ms() };
    if let Err(error) = quarantine::set_aside(storage, file, &note, budget) {
        tracing::warn!(%error, "cannot keep a copy of the damaged cursor in quarantine");
    }
}

/// Files that do not belong to the log, by the number in their name, and what may have been in them.
type Damaged = Vec<(u64, Held)>;

/// Opens and syncs every segment file; sets those without a usable header aside. In id order.
fn open_segments(storage: &dyn Storage, names: &[String], report: &mut Report) -> Result<(Vec<Candidate>, Damaged), OpenError> {
    let mut kept: Vec<Candidate> = Vec::new();
    let mut damaged = Damaged::new();
    let mut set_aside = |name: &str, held: Held| {
        damaged.extend(segment::number_in(name, "seg-").map(|number| (number, held)));
        quarantine::move_aside(storage, name).map_err(|source| io_error(storage, "set aside", name, source))
    };
    for name in names.iter().filter(|name| segment::number_in(name, "seg-").is_some()) {
        let fail = |source| io_error(storage, "open", name, source);
        let file = storage.open(name, OpenMode::ReadWrite).map_err(fail)?;
        file.sync_data().map_err(fail)?;
        match segment::read_header(&*file) {
            Ok(Ok((header, seal))) => {
                let segment = Segment::new(name.clone(), header, file, DATA_START, seal);
                // A copy of a segment under another name: the one whose name fits its header is the original.
                if let Some(twin) = kept.iter_mut().find(|other| other.segment.id() == segment.id()) {
                    let ours = segment::segment_name(segment.id()) == *name;
                    let copy = if ours { std::mem::replace(twin, Candidate { name: name.clone(), segment }).name } else { name.clone() };
                    tracing::error!(file = copy.as_str(), "two files claim to be the same segment: the copy is moved to quarantine");
                    // A segment of that name may have been there before.
                    set_aside(&copy, Held::Unknown(0))?;
                    continue;
                }
                kept.push(Candidate { name: name.clone(), segment });
            }
            Ok(Err(HeaderProblem::Foreign(version))) => return Err(foreign(storage, name, version)),
            Ok(Err(HeaderProblem::Invalid)) | Err(_) => {
                tracing::error!(file = name.as_str(), "a segment's header is damaged: the file is moved to quarantine");
                set_aside(name, unseen::without_header(&*file))?;
                report.unclean = true;
            }
        }
    }
    storage.sync_dir("").map_err(|source| io_error(storage, "sync", "", source))?;
    kept.sort_by_key(|candidate| candidate.segment.id());
    Ok((kept, damaged))
}

/// Completes the marks where the cursor is missing or the directory is new.
fn adopt_marks(storage: &dyn Storage, mut marks: Marks, cursor_lost: bool, kept: &[Candidate]) -> Marks {
    if cursor_lost && let Some(oldest) = kept.first() {
        tracing::error!("the cursor is damaged or missing: everything still in the buffer is delivered again");
        let first = oldest.segment.seal().filter(|seal| seal.events > 0).map_or(oldest.segment.header.base_seq, |seal| seal.first_seq);
        begin_after(&mut marks, first.saturating_sub(1));
        marks.relay_id = oldest.segment.header.relay_id;
    }
    if marks.relay_id == [0; 16] {
        marks.relay_id = uuid::Builder::from_random_bytes(random_bytes(storage)).into_uuid().into_bytes();
    }
    marks
}

/// Begins the ledger anew: what is up to `seq` was delivered, or reported.
fn begin_after(marks: &mut Marks, seq: u64) {
    marks.frontier = seq;
    marks.ends.acked = seq;
}

/// 16 random bytes from the world.
pub(crate) fn random_bytes(storage: &dyn Storage) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&storage.random().to_le_bytes());
    bytes[8..].copy_from_slice(&storage.random().to_le_bytes());
    bytes
}

/// What a scan may expect to find, in seqs.
#[derive(Clone, Copy, Debug)]
struct Expected {
    /// The log goes on here: no frame begins with a lower one.
    in_log: u64,
    /// The first that is neither found so far nor at its end: what is missing from here on is lost. The frontier may be in the middle
    /// of a segment, and of a frame.
    unended: u64,
    /// Every seq up to this one is known to have been durable.
    proof: u64,
    /// A later segment begins with this seq. What is here with it, or a higher one, was cut off or refused, and the seq given away again.
    ceiling: u64,
}

/// The first seq in a segment, as far as that can be told without looking through all of it.
fn first_seq_in(candidate: &Candidate) -> Option<u64> {
    if let Some(seal) = candidate.segment.seal() {
        return (seal.events > 0).then_some(seal.first_seq);
    }
    let (file, seed) = (&*candidate.segment.file, candidate.segment.header.seed());
    let limit = file.size().ok()?;
    let mut scanner = Scanner::default();
    match scanner.frame_at(file, seed, DATA_START, limit).ok()? {
        Found::Frame(header, _) | Found::BadPayload(header) => Some(header.first_seq),
        Found::NoFrame { blank: true } => None,
        Found::NoFrame { blank: false } => scanner.resync(file, seed, DATA_START, limit, 0).ok()?.map(|(_, header)| header.first_seq),
    }
}

/// Ranges in order, those that touch or overlap made one.
fn merged(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in ranges {
        match merged.last_mut() {
            Some(last) if from <= last.1 + 1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    merged
}

/// Scans a segment that was being written and seals it; also says what may have been behind its end.
fn scan_unsealed(
    storage: &dyn Storage,
    segment: &Segment,
    expected: Expected,
    budget: u64,
    report: &mut Report,
) -> Result<(Seal, Held), OpenError> {
    let fail = |source| io_error(storage, "read", &segment.name, source);
    let (file, seed) = (&*segment.file, segment.header.seed());
    let limit = file.size().map_err(fail)?;
    let mut scanner = Scanner::default();
    let mut seal = Seal { end: DATA_START, flags: SEAL_RECOVERED, ..Seal::default() };
    // What the disk does not give is damage: nothing may keep the buffer from opening.
    scanner.insist(false);
    let Expected { in_log, unended, proof, ceiling } = expected;
    let mut in_log = in_log.max(segment.header.base_seq);
    let mut unended = unended.max(in_log);
    let mut at = DATA_START;
    let stopped_at_bytes = loop {
        let found = scanner.frame_at(file, seed, at, limit).map_err(fail)?;
        let found_bytes = if let Found::BadPayload(header) = &found { header.stored_len() } else { frame::HEADER_LEN as u64 };
        if let Found::Frame(header, _) = &found {
            // A lower seq than expected is a stray copy, whatever its checksums say.
            if header.first_seq >= in_log && header.next_seq() <= ceiling {
                if header.first_seq > unended && seal.events > 0 {
                    report.lost.push((unended, header.first_seq - 1));
                }
                account(&mut seal, header, at);
                in_log = header.next_seq();
                unended = unended.max(in_log);
                at += header.stored_len();
                continue;
            }
        }
        let resumed = scanner.resync(file, seed, at, limit, in_log).map_err(fail)?.filter(|(_, header)| header.next_seq() <= ceiling);
        let was_durable = proof >= unended || (resumed.is_some() && is_proven(&mut scanner, segment, at, limit, unended).map_err(fail)?);
        match resumed {
            // Nothing is missing when the next good frame carries on where we are: only a mark, or what Kafka has, was damaged.
            Some((good, header)) if header.first_seq <= unended || was_durable => {
                set_aside(storage, segment, at, good - at, (unended, header.first_seq.saturating_sub(1)), "damaged", budget, report);
                at = good;
            }
            _ if proof >= unended => {
                // The file may have been cut off before its first frame.
                let bytes = limit.saturating_sub(at).min(TORN_KEEP_BYTES);
                set_aside(storage, segment, at, bytes, (unended, proof), "damaged up to the end of the data", budget, report);
                break found_bytes;
            }
            _ => {
                // Behind a blank place there may still be the end of an unfinished write.
                let is_clean = matches!(found, Found::NoFrame { blank: true }) && resumed.is_none();
                if !is_clean && at + frame::HEADER_LEN as u64 <= limit {
                    set_torn_aside(storage, segment, at, &found, limit, budget, report);
                }
                break found_bytes;
            }
        }
    };
    let behind = unseen::behind_the_end(file, &segment.header, seal.end, at, stopped_at_bytes);
    segment.write_seal(seal).map_err(|source| io_error(storage, "seal", &segment.name, source))?;
    Ok((seal, behind))
}

/// Whether a frame behind `at` says that `seq` was durable when it was written. Those next to a damaged one often cannot say so: they were
/// written together with it.
fn is_proven(scanner: &mut Scanner, segment: &Segment, mut at: u64, limit: u64, seq: u64) -> io::Result<bool> {
    while let Some((good, header)) = scanner.resync(&*segment.file, segment.header.seed(), at, limit, seq)? {
        if header.durable_seq >= seq {
            return Ok(true);
        }
        // The search begins 8 bytes further.
        at = good + header.stored_len() - 8;
    }
    Ok(false)
}

/// Counts a frame into a seal.
pub(crate) fn account(seal: &mut Seal, header: &frame::FrameHeader, at: u64) {
    seal.frames += 1;
    if header.count > 0 {
        if seal.events == 0 {
            seal.first_seq = header.first_seq;
        }
        seal.events += u64::from(header.count);
        seal.last_seq = header.next_seq() - 1;
    }
    // The payload checksum stands for the frame; order matters.
    seal.headers_crc = crc32c::crc32c_append(seal.headers_crc, &header.payload_crc.to_le_bytes());
    seal.end = at + header.stored_len();
}

#[expect(clippy::too_many_arguments, reason = "one call site each in two functions; a struct would only rename them")]
fn set_aside(
    storage: &dyn Storage,
    segment: &Segment,
    offset: u64,
    bytes: u64,
    (from, to): (u64, u64),
    reason: &str,
    budget: u64,
    report: &mut Report,
) {
    let lost_seqs = (from <= to).then_some((from, to));
    let file = segment.name.as_str();
    if lost_seqs.is_some() {
        tracing::error!(file, offset, bytes, ?lost_seqs, reason, "acknowledged data on disk is damaged");
    } else {
        // A crash while a segment was being made from one that Kafka has leaves this, too.
        tracing::warn!(file, offset, bytes, reason, "something that no event needs does not verify: set aside");
    }
    report.lost.extend(lost_seqs);
    let note = Note { reason, file: &segment.name, offset, bytes, lost_seqs, at_ms: storage.now_ms() };
    keep(storage, segment, &note, budget);
}

fn set_torn_aside(storage: &dyn Storage, segment: &Segment, at: u64, found: &Found, limit: u64, budget: u64, report: &mut Report) {
    let bytes = match found {
        Found::BadPayload(header) => header.stored_len().min(limit - at),
        _ => (limit - at).min(TORN_KEEP_BYTES),
    };
    report.torn_bytes += bytes;
    tracing::warn!(
        file = segment.name.as_str(),
        offset = at,
        bytes,
        "the last write before the crash is incomplete: cut off; nobody was told that its events were stored"
    );
    let note = Note {
        reason: "an unfinished write, or damage within the last moments before a crash (then possibly lost)",
        file: &segment.name,
        offset: at,
        bytes,
        lost_seqs: None,
        at_ms: storage.now_ms(),
    };
    keep(storage, segment, &note, budget);
}

/// Quarantine is a service to whoever investigates: failing to write it must not stop the relay.
fn keep(storage: &dyn Storage, segment: &Segment, note: &Note<'_>, budget: u64) {
    if let Err(error) = quarantine::set_aside(storage, &*segment.file, note, budget) {
        tracing::warn!(%error, "cannot keep a copy of damaged bytes in quarantine");
    }
}

/// When the first frame was accepted, or a little before that when its header cannot be read. One small read per segment.
fn first_accepted_ms(segment: &Segment) -> u64 {
    let mut bytes = [0_u8; frame::HEADER_LEN];
    let read = read_full(&*segment.file, &mut bytes, DATA_START);
    let header = read.ok().and_then(|n| frame::FrameHeader::decode(&bytes[..n], segment.header.seed(), DATA_START));
    header.map_or(segment.header.created_ms, |header| header.accepted_ms)
}

/// The refusal of a file from a later version.
pub(in crate::buffer) fn foreign(storage: &dyn Storage, name: &str, version: u32) -> OpenError {
    OpenError::ForeignVersion { file: storage.dir().join(name), version, max: segment::FORMAT_VERSION }
}

pub(crate) fn io_error(storage: &dyn Storage, action: &'static str, name: &str, source: io::Error) -> OpenError {
    OpenError::Io { action, path: storage.dir().join(name), source }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
