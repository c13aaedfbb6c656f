//! Every byte of a buffer directory, and its books, checked without its lock: running or stopped. Reads only.
//!
//! Segment headers, seals, frame headers, payloads, padding and end marks, both cursor slots, seqs without gaps, and the ledger: events
//! are counted one by one on disk and compared with what the cursor says (guarantee G9). Damage that touches only events which are at
//! their end is a note: nobody needs those bytes any more.
//!
//! Beside a running relay figures move. The cursor is read before and after, and a verdict of damage is believed when it was reached
//! [`LIVE_ATTEMPTS`] times.

mod books;
mod files;
mod finding;
mod parked;
mod segment;
mod unseen;

use super::OpenError;
use super::inspect::in_use;
use super::inspect::look::{Look, Opened, ended_by, read_marks};
use super::log::quarantine;
use super::log::recovery::io_error;
use super::log::segment::DATA_START;
use super::log::storage::Storage;
use books::Books;
use segment::{Expected, Scan, scan};

pub use finding::{Finding, OfflineLedger, Report, Severity, Verdict};

/// How often damage must be seen in a directory that is in use.
const LIVE_ATTEMPTS: u32 = 3;

/// What a repair, or the relay itself, does about damaged bytes.
const SET_ASIDE: &str = "the bytes are copied to quarantine/ and the events are reported lost";
const NOTHING: &str = "nothing has to be done";

/// Checks the directory behind `storage`.
///
/// # Errors
/// [`OpenError`] when it is not a buffer, is from a later version, or cannot be read at all. Damage is no error.
pub fn verify(storage: &dyn Storage) -> Result<Report, OpenError> {
    let mut attempt = 1;
    loop {
        let report = check(storage, in_use(storage))?;
        if report.verdict != Verdict::Damaged || !report.in_use || attempt == LIVE_ATTEMPTS {
            return Ok(report);
        }
        attempt += 1;
    }
}

/// A segment and what is in it.
struct Scanned {
    name: String,
    scan: Scan,
}

/// One reading of everything; `in_use` says whether somebody else may be writing.
pub(super) fn check(storage: &dyn Storage, in_use: bool) -> Result<Report, OpenError> {
    let mut look = Look::open(storage)?;
    let mut findings = files::findings(storage, &mut look)?;
    let scanned = scan_all(storage, &look, in_use)?;
    let marks = if in_use && look.has_cursor { read_marks(storage)? } else { look.marks.clone() };
    let durable = scanned.iter().map(|scanned| scanned.scan.proof.max(scanned.scan.seal.last_seq));
    let prepared = look.segments.iter().map(|opened| opened.header.base_seq.saturating_sub(1));
    let parked = parked::check(storage, &look, &mut findings)?;
    let proven = look.marks.as_ref().map_or(0, |marks| marks.durable_seq).max(look.parked.last());
    let books = Books::new(durable.chain(prepared).fold(proven, u64::max), marks.as_ref(), &scanned, (&look.parked, parked));
    for Scanned { name, scan } in &scanned {
        findings.extend(files::of_scan(name, scan, &books, in_use));
    }
    findings.extend(books.findings(&scanned, in_use));
    // What is being written is not there yet, and nothing is in doubt after a clean stop.
    let is_open = !in_use && marks.as_ref().is_none_or(|marks| !marks.clean);
    let possibly = if is_open { unseen::possibly_lost(storage, &look, &scanned, books.durable())? } else { None };
    let possibly_lost = possibly.as_ref().and_then(|finding| finding.seqs);
    findings.extend(possibly);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let verdict = match findings.first().map(|finding| finding.severity) {
        Some(Severity::Damage) => Verdict::Damaged,
        Some(Severity::Torn) => Verdict::Torn,
        Some(Severity::Note) | None => Verdict::Sound,
    };
    let sum = |part: fn(&Scan) -> u64| scanned.iter().map(|scanned| part(&scanned.scan)).sum();
    Ok(Report {
        verdict,
        relay_id: look.relay_id(),
        in_use,
        clean: marks.map(|marks| marks.clean),
        segments: scanned.len() as u64,
        frames: sum(|scan| scan.seal.frames),
        events: sum(|scan| scan.seal.events),
        checked_bytes: sum(|scan| scan.seal.end.max(DATA_START)),
        quarantined: quarantine::usage(storage).entries,
        ledger: books.ledger(in_use),
        lost_seqs: books.missing,
        possibly_lost,
        findings,
    })
}

fn scan_all(storage: &dyn Storage, look: &Look, live: bool) -> Result<Vec<Scanned>, OpenError> {
    let cursor_lost = look.marks.is_none();
    let durable = look.marks.as_ref().map_or(0, |marks| marks.durable_seq);
    let (mut in_log, mut unended) = (0, look.frontier() + 1);
    let mut scanned: Vec<Scanned> = Vec::new();
    for (index, opened) in look.segments.iter().enumerate() {
        // Without a cursor, what was durable before the oldest event that is left may have been delivered and freed.
        let nothing_yet = scanned.iter().all(|scanned| scanned.scan.seal.events == 0);
        let later = if cursor_lost && nothing_yet { &[] } else { &look.segments[index + 1..] };
        let proof = later.iter().map(|opened| opened.header.base_seq.saturating_sub(1)).fold(durable, u64::max);
        let ceiling = look.segments[index + 1..].iter().find_map(first_seq_in).unwrap_or(u64::MAX);
        let scan = scan(opened, Expected { in_log, unended, proof, ceiling, live });
        let scan = scan.map_err(|source| io_error(storage, "read", &opened.name, source))?;
        in_log = in_log.max(scan.seal.last_seq + 1);
        let damaged = scan.pieces.iter().filter_map(|piece| piece.seqs).map(|(_, to)| to).max().unwrap_or(0);
        unended = unended.max(scan.seal.last_seq.max(damaged) + 1);
        scanned.push(Scanned { name: opened.name.clone(), scan });
    }
    Ok(scanned)
}

/// The first seq in a segment, as far as it can be told without reading all of it.
fn first_seq_in(opened: &Opened) -> Option<u64> {
    if let Some(seal) = opened.seal {
        return (seal.events > 0).then_some(seal.first_seq);
    }
    let mut first = None;
    let _ = opened.walk(&mut |header, _| {
        first = Some(header.first_seq);
        false
    });
    first
}

/// The parts of `wanted` that are in none of the ascending, disjoint `ranges`.
fn without(wanted: (u64, u64), ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let (mut from, to) = wanted;
    let mut left = Vec::new();
    for &(a, b) in ranges.iter().filter(|&&(a, b)| b >= wanted.0 && a <= to) {
        if from < a {
            left.push((from, a - 1));
        }
        from = from.max(b + 1);
    }
    if from <= to {
        left.push((from, to));
    }
    left
}

#[cfg(test)]
mod tests;
