//! What an operator does to the directory of a stopped relay: under its lock, after the same recovery as a start.
//!
//! Nothing that might be data is deleted: damaged bytes are copied to quarantine without its usual budget, whole files are moved there.
//! Only [`Repair::delete_quarantined`] removes anything, because it was asked to.

use super::copied;
use super::dead_letters;
use super::error::OpenError;
use super::inspect::look::Look;
use super::log::cipher::Keyring;
use super::log::cursor::Cursor;
use super::log::quarantine::{self, Note};
use super::log::recovery::{self, Recovered, io_error};
use super::log::segment::Segment;
use super::log::storage::Storage;
use super::mark_book::MarkBook;
use super::open::{marks_of, take_lock};
use super::parked::{self, Unread};
use super::purge::{PurgeError, Purged, Selection, select};
use super::verify::{Severity, check};
use super::watermark::events_in;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// A directory that belongs to us until this is dropped.
struct Held<'a> {
    storage: &'a dyn Storage,
    recovered: Recovered,
    marks: MarkBook,
    parked: parked::Survey,
    _lock: Arc<dyn fmt::Debug + Send + Sync>,
}

/// What to do besides setting damage aside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Remove everything in quarantine for good, once the rest is done.
    pub delete_quarantined: bool,
}

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// Events that are reported lost since this repair.
    pub lost_events: u64,
    /// Bytes of an unfinished write that were cut off.
    pub torn_bytes: u64,
    /// Entries that are in quarantine now.
    pub quarantined: u64,
    /// Entries of quarantine that were removed.
    pub deleted: u64,
}

/// Sets all damage aside, seals what a crash left open, and writes the cursor anew. The relay finds a sound directory after it.
///
/// # Errors
/// [`OpenError`], [`OpenError::Locked`] while a relay runs.
pub fn repair(storage: &dyn Storage, how: Repair) -> Result<Repaired, OpenError> {
    let lost_before = ledger_lost(storage)?;
    let mut held = Held::open(storage)?;
    held.write_cursor()?;
    held.set_damage_aside()?;
    held.write_cursor()?;
    let mut repaired = Repaired {
        lost_events: held.marks.ends.lost.saturating_sub(lost_before),
        torn_bytes: held.recovered.report.torn_bytes,
        quarantined: quarantine::usage(storage).entries,
        deleted: 0,
    };
    if how.delete_quarantined {
        let cleared = quarantine::clear(storage).map_err(|source| io_error(storage, "empty", quarantine::QUARANTINE_DIR, source))?;
        (repaired.deleted, repaired.quarantined) = (cleared.0, 0);
    }
    Ok(repaired)
}

/// Makes a copy of a buffer directory an original, or only looks; returns whether it is, or was, a copy.
///
/// # Errors
/// [`OpenError`], [`OpenError::Locked`] while a relay runs.
pub fn adopt(storage: &dyn Storage, yes: bool) -> Result<bool, OpenError> {
    let _ = Look::open(storage)?;
    let copy = copied::is_copy(storage)?;
    if copy && yes {
        let _lock = take_lock(storage)?;
        copied::adopt(storage)?;
    }
    Ok(copy)
}

/// Gives up the events of a selection, for good.
///
/// # Errors
/// [`PurgeError`]; nothing was purged then.
pub fn purge(storage: &dyn Storage, keyring: &Keyring, selection: &Selection) -> Result<Purged, PurgeError> {
    // Nothing of ours is made in a directory that is none.
    let _ = Look::open(storage)?;
    let mut held = Held::open(storage)?;
    held.write_cursor()?;
    let selected = select(storage, keyring, selection)?;
    let Some(purged) = held.marks.purge(&selected.ranges) else { return Err(selected.too_scattered(&held.marks.watermark)) };
    let (parked, cuts) = parked::cuts(storage, keyring, selection, &held.parked)?;
    let _ = held.marks.end_parked(parked.events, |ends| &mut ends.purged);
    held.write_cursor()?;
    if parked.events > 0 {
        // Its older slot, too: then the files may go.
        held.write_cursor()?;
        cuts.make(storage, keyring, held.recovered.marks.relay_id)?;
    }
    Ok(selected.summary(events_in(&purged)).and(&parked))
}

/// Removes the dead letters of a selection for good, or says what that would do.
///
/// # Errors
/// [`OpenError`], [`OpenError::Locked`] while a relay runs.
pub fn purge_dead_letters(storage: &dyn Storage, keyring: &Keyring, selection: &Selection, dry_run: bool) -> Result<Purged, OpenError> {
    let _ = Look::open(storage)?;
    if dry_run {
        return Ok(Purged::of(&dead_letters::select(storage, keyring, selection)?));
    }
    let mut held = Held::open(storage)?;
    // Once their files are gone, only the cursor says that these events are at their end.
    held.write_cursor()?;
    held.write_cursor()?;
    let seqs = dead_letters::select(storage, keyring, selection)?;
    dead_letters::remove(storage, &seqs)?;
    Ok(Purged::of(&seqs))
}

/// Lost events as the cursor counts them; refuses what is no buffer before anything is made in it.
fn ledger_lost(storage: &dyn Storage) -> Result<u64, OpenError> {
    Ok(Look::open(storage)?.marks.map_or(0, |marks| marks.ends.lost))
}

impl<'a> Held<'a> {
    fn open(storage: &'a dyn Storage) -> Result<Self, OpenError> {
        let lock = take_lock(storage)?;
        copied::check(storage)?;
        let recovered = recovery::recover(storage, u64::MAX)?;
        let survey = dead_letters::survey(storage)?;
        // Without keys: the books need none.
        let opener = parked::Opener { keyring: None, key_file: None, dead: &survey.seqs, frontier: recovered.marks.frontier };
        let parked = parked::survey(storage, &opener)?;
        let (marks, _) = marks_of(&recovered, &survey, &parked);
        Ok(Self { storage, recovered, marks, parked, _lock: lock })
    }

    /// Reads everything; what does not verify and is still needed goes to quarantine and is reported lost.
    fn set_damage_aside(&mut self) -> Result<(), OpenError> {
        let report = check(self.storage, false)?;
        for (finding, offset) in report.findings.iter().filter_map(|finding| Some((finding, finding.offset?))) {
            let segment = self.recovered.segments.iter().find(|segment| segment.name == finding.file);
            if let Some(segment) = segment.filter(|_| finding.severity == Severity::Damage) {
                let bytes = finding.bytes.unwrap_or_default();
                let lost_seqs = finding.seqs.filter(|(from, to)| report.lost_seqs.iter().any(|(a, b)| a <= to && b >= from));
                self.keep(
                    segment,
                    &Note { reason: &finding.what, file: &finding.file, offset, bytes, lost_seqs, at_ms: self.storage.now_ms() },
                )?;
            }
        }
        self.set_parked_aside()?;
        for (from, to) in report.lost_seqs {
            let lost = self.marks.watermark.lose(from, to);
            self.marks.ends.lost += lost;
            self.marks.backlog = self.marks.backlog.saturating_sub(lost);
        }
        Ok(())
    }

    /// Parked events that do not verify; those of which not even the front does were set aside when the directory was opened.
    fn set_parked_aside(&mut self) -> Result<(), OpenError> {
        let fail = |action, name: &str, source| io_error(self.storage, action, name, source);
        for file in &self.parked.files {
            match parked::verify(self.storage, &file.name) {
                Ok(()) | Err(Unread::Locked(_)) => {}
                Err(Unread::Io(source)) => return Err(fail("read", &file.name, source)),
                Err(Unread::Damaged(_)) => {
                    quarantine::move_aside(self.storage, &file.name).map_err(|source| fail("set aside", &file.name, source))?;
                    let _ = self.marks.end_parked(file.alive, |ends| &mut ends.lost);
                }
            }
        }
        Ok(())
    }

    fn keep(&self, segment: &Segment, note: &Note<'_>) -> Result<(), OpenError> {
        let kept = quarantine::set_aside(self.storage, &*segment.file, note, u64::MAX);
        kept.map_err(|source| io_error(self.storage, "copy damaged bytes to", quarantine::QUARANTINE_DIR, source))
    }

    fn write_cursor(&mut self) -> Result<(), OpenError> {
        let Recovered { marks, generation, next_segment_id, .. } = &mut self.recovered;
        let fail = |source| io_error(self.storage, "write", "cursor", source);
        let marks = self.marks.to_cursor(marks.relay_id, *next_segment_id - 1, marks.clean);
        Cursor::open(self.storage, *generation).and_then(|mut cursor| cursor.write(&marks)).map_err(fail)?;
        *generation += 1;
        self.storage.sync_dir("").map_err(|source| io_error(self.storage, "sync", "", source))
    }
}
