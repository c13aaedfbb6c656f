//! What nothing tells of any more: events that may have been in a damaged end of the log. Reads only.
//!
//! A start judges the same files in the same way, by code of its own (`log/recovery.rs`); how far their seqs can have gone, both ask
//! `log/unseen.rs`.

use super::super::OpenError;
use super::super::inspect::look::Look;
use super::super::log::recovery::io_error;
use super::super::log::segment::number_in;
use super::super::log::storage::{OpenMode, Storage};
use super::super::log::unseen::{self, Held};
use super::{Finding, Scanned, Severity};

const THEN: &str = "they are counted as lost, as many as there can have been, and their seqs are not used again";

/// The events behind the highest `known` seq that may have been accepted.
pub(super) fn possibly_lost(storage: &dyn Storage, look: &Look, scanned: &[Scanned], known: u64) -> Result<Option<Finding>, OpenError> {
    let nothing_left = look.marks.is_none() && scanned.iter().all(|scanned| scanned.scan.seal.events == 0);
    if nothing_left {
        return Ok(None);
    }
    let mut held = of_files(storage, look)?;
    let unsealed = look.segments.iter().zip(scanned).filter_map(|(opened, scanned)| Some((opened, scanned, scanned.scan.behind?)));
    held.extend(unsealed.clone().map(|(opened, scanned, behind)| (opened.header.segment_id, scanned.name.clone(), behind)));
    let with_events = |scanned: &Scanned| scanned.scan.seal.events > 0;
    let tail = unsealed.clone().find(|(_, scanned, _)| with_events(scanned)).map(|(opened, ..)| opened.header.segment_id);
    let last =
        look.segments.iter().zip(scanned).filter(|(_, scanned)| with_events(scanned)).map(|(opened, _)| opened.header.segment_id).max();
    // A segment before the last one, or beyond the next one, had no seqs that nothing else tells of; and a healthy tail is the tail.
    let next = next_id(look, &held);
    held.retain(|(id, ..)| *id >= last.unwrap_or(0) && *id <= next && tail.is_none_or(|tail| tail == *id));
    let capacities = || look.segments.iter().map(|opened| opened.header.capacity);
    let reach = |held: Held| unseen::highest(known, std::iter::once(held), capacities());
    let farthest = held.into_iter().map(|(_, name, held)| (reach(held), name)).max();
    Ok(farthest.filter(|(highest, _)| *highest > known).map(|(highest, name)| {
        let what = "this may have been the segment that was being written: events behind the highest known seq are possibly lost";
        Finding::new(Severity::Damage, &name, what, THEN).of(Some((known + 1, highest)))
    }))
}

/// Files that a start sets aside: without a usable header, or copies of another segment.
fn of_files(storage: &dyn Storage, look: &Look) -> Result<Vec<(u64, String, Held)>, OpenError> {
    let mut held = Vec::new();
    for name in &look.names {
        let Some(id) = number_in(name, "seg-").filter(|_| look.segments.iter().all(|opened| opened.name != *name)) else { continue };
        let is_copy = look.unreadable.iter().all(|(unreadable, _)| unreadable != name);
        let file = storage.open(name, OpenMode::Read).map_err(|source| io_error(storage, "open", name, source))?;
        held.push((id, name.clone(), if is_copy { Held::Unknown(0) } else { unseen::without_header(&*file) }));
    }
    Ok(held)
}

/// The number that a start would give to the next segment.
fn next_id(look: &Look, held: &[(u64, String, Held)]) -> u64 {
    let ids = look.segments.iter().map(|opened| opened.header.segment_id);
    let marked = look.marks.as_ref().map(|marks| marks.segment_id);
    let next = ids.chain(marked).max().unwrap_or(0) + 1;
    next + u64::from(held.iter().any(|(id, ..)| *id == next))
}
