//! What the files themselves show: names, headers, seals, the cursor's slots, and what a scan found in a segment.

use super::super::OpenError;
use super::super::inspect::look::{Look, Opened};
use super::super::log::cursor::{self, CURSOR_NAME, Slot};
use super::super::log::names;
use super::super::log::recovery::io_error;
use super::super::log::segment::{self, DATA_START, SEAL_AT};
use super::super::log::storage::{OpenMode, Storage, read_full};
use super::books::Books;
use super::segment::Scan;
use super::{Finding, NOTHING, SET_ASIDE, Severity};

const MOVED: &str = "the file is moved to quarantine/";
const WRITTEN_ANEW: &str = "it is written anew";

/// Everything but the frames. Leaves out of `look` what is a copy of another segment.
pub(super) fn findings(storage: &dyn Storage, look: &mut Look) -> Result<Vec<Finding>, OpenError> {
    let unreadable = look.unreadable.iter().map(|(name, why)| {
        let what = format!("this segment cannot be used: {why}; nothing in it can be told from chance");
        Finding::new(Severity::Damage, name, what, MOVED)
    });
    let mut findings: Vec<Finding> = unreadable.collect();
    for name in look.names.iter().filter(|name| !names::is_known(name)) {
        findings.push(Finding::new(Severity::Note, name, "not a file of a buffer", "it is left alone"));
    }
    findings.extend(cursor_findings(storage, look)?);
    findings.extend(remove_copies(look));
    for opened in &look.segments {
        let fail = |source| io_error(storage, "read", &opened.name, source);
        findings.extend(front_findings(opened).map_err(fail)?);
    }
    Ok(findings)
}

fn cursor_findings(storage: &dyn Storage, look: &Look) -> Result<Vec<Finding>, OpenError> {
    let lost = "everything that is still in the segments is delivered again, and nothing is lost";
    if !look.has_cursor {
        let what = "the cursor is missing: how far Kafka has come is not known";
        let missing = Finding::new(Severity::Damage, CURSOR_NAME, what, lost);
        return Ok(if look.segments.is_empty() { Vec::new() } else { vec![missing] });
    }
    let fail = |source| io_error(storage, "read", CURSOR_NAME, source);
    let file = storage.open(CURSOR_NAME, OpenMode::Read).map_err(fail)?;
    let mut findings = Vec::new();
    for number in 0..2 {
        let slot = cursor::read_slot(&*file, number);
        let (at, bytes) = cursor::slot_place(number);
        if matches!(slot, Slot::Damaged) && look.marks.is_some() {
            let what = "one of the cursor's two slots does not verify; the other one counts";
            findings.push(Finding::new(Severity::Note, CURSOR_NAME, what, WRITTEN_ANEW).at(at, bytes));
        }
    }
    if look.marks.is_none() && !look.segments.is_empty() {
        let what = "neither of the cursor's slots verifies: how far Kafka has come is not known";
        findings.push(Finding::new(Severity::Damage, CURSOR_NAME, what, lost));
    }
    Ok(findings)
}

/// Of two files of one segment, the one whose name fits stays.
fn remove_copies(look: &mut Look) -> Vec<Finding> {
    let fits = |opened: &Opened| segment::segment_name(opened.header.segment_id) == opened.name;
    // The sort keeps order, so that of equals the one with the fitting name comes first.
    look.segments.sort_by_key(|opened| (opened.header.segment_id, !fits(opened)));
    let mut findings = Vec::new();
    let mut last = None;
    look.segments.retain(|opened| {
        let copy = last.replace(opened.header.segment_id) == Some(opened.header.segment_id);
        if copy {
            findings.push(Finding::new(Severity::Damage, &opened.name, "a copy of another segment", MOVED));
        }
        !copy
    });
    findings
}

/// Header page, seal page, and the file's length.
fn front_findings(opened: &Opened) -> std::io::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut front = vec![0_u8; usize::try_from(DATA_START).unwrap_or_default()];
    let read = read_full(&*opened.file, &mut front, 0)?;
    let (header, seal) = front[..read].split_at(read.min(usize::try_from(SEAL_AT).unwrap_or_default()));
    let blank = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let seal_bytes = DATA_START - SEAL_AT;
    if opened.seal.is_none() && !blank(seal) {
        let finding =
            Finding::new(Severity::Damage, &opened.name, "the seal does not verify", "the segment is read through and sealed again");
        findings.push(finding.at(SEAL_AT, seal_bytes));
    }
    for (page, at, used) in [(header, 0, segment::HEADER_LEN), (seal, SEAL_AT, segment::SEAL_LEN)] {
        let rest = page.get(used..).unwrap_or_default();
        if (at == 0 || opened.seal.is_some()) && !blank(rest) {
            let what = "bytes that mean nothing are not zero";
            findings.push(Finding::new(Severity::Note, &opened.name, what, NOTHING).at(at + used as u64, rest.len() as u64));
        }
    }
    let size = opened.file.size()?;
    if size != opened.header.capacity {
        let what = format!("the file is {size} bytes long, its header says {}", opened.header.capacity);
        findings.push(Finding::new(Severity::Note, &opened.name, what, NOTHING));
    }
    Ok(findings)
}

/// What a scan found, in the light of which events are still needed.
pub(super) fn of_scan(name: &str, scan: &Scan, books: &Books, in_use: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    for piece in &scan.pieces {
        let lost = piece.seqs.and_then(|seqs| books.lost_in(seqs));
        if in_use && lost.is_none() {
            // The file may be written over while it is read.
            continue;
        }
        let finding = if lost.is_some() {
            Finding::new(Severity::Damage, name, format!("{}: accepted events are damaged", piece.what), SET_ASIDE)
        } else {
            Finding::new(Severity::Note, name, format!("{}: nothing that is still needed", piece.what), NOTHING)
        };
        findings.push(finding.at(piece.offset, piece.bytes).of(lost.or(piece.seqs)));
    }
    if let Some(torn) = scan.torn
        && in_use
    {
        let finding = Finding::new(Severity::Note, name, "a write is in progress, or was when the relay was last killed", NOTHING);
        findings.push(finding.at(torn.offset, torn.bytes));
    } else if let Some(torn) = scan.torn {
        let what = "the last write before a crash is unfinished: nobody was told that it was stored (if the disk is failing, events of the \
                    last moments before the crash are possibly lost)";
        let then = "the bytes are copied to quarantine/ and cut off";
        findings.push(Finding::new(Severity::Torn, name, what, then).at(torn.offset, torn.bytes).of(torn.seqs));
    }
    for &(offset, seqs) in &scan.malformed {
        let severity = if books.all_ended(seqs) { Severity::Note } else { Severity::Damage };
        let what = "the checksum is right, but the events do not decode";
        let then = "they would stop the line: keep a copy of the directory, report it, and purge them by seq";
        findings.push(Finding { offset: Some(offset), ..Finding::new(severity, name, what, then).of(Some(seqs)) });
    }
    for &offset in &scan.unpadded {
        let what = "the bytes between this frame and the next one are not zero";
        findings.push(Finding { offset: Some(offset), ..Finding::new(Severity::Note, name, what, NOTHING) });
    }
    findings
}
