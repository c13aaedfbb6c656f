//! A directory opened for reading only: its cursor, its segments in order, and what could not be read.
//!
//! The cursor is read first. In a directory that is being written the segments are then at least as new as it is, so nothing seems to
//! be missing; a segment that was freed in between held only events that are at their end.

use super::super::dead_letters;
use super::super::error::OpenError;
use super::super::log::cipher::{Cipher, Keyring};
use super::super::log::cursor::{self, CURSOR_NAME, Found as CursorFound, Marks};
use super::super::log::frame::{FrameHeader, Kind};
use super::super::log::names;
use super::super::log::recovery::{account, foreign, io_error};
use super::super::log::scan::{Found, Scanner};
use super::super::log::segment::{self, DATA_START, HeaderProblem, Seal, SegmentHeader};
use super::super::log::storage::{OpenMode, Storage, StorageFile};
use super::super::parked::{self, Outside};
use super::super::watermark::Watermark;
use super::ShowParked;
use crate::event::{EventRef, Records};
use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;

/// A segment file that can be read.
pub(in crate::buffer) struct Opened {
    pub(in crate::buffer) name: String,
    pub(in crate::buffer) header: SegmentHeader,
    pub(in crate::buffer) file: Arc<dyn StorageFile>,
    pub(in crate::buffer) seal: Option<Seal>,
}

/// The directory.
pub(in crate::buffer) struct Look {
    /// Whether there is a cursor file.
    pub(in crate::buffer) has_cursor: bool,
    /// What the cursor says, if it can be read.
    pub(in crate::buffer) marks: Option<Marks>,
    /// The segments, oldest first.
    pub(in crate::buffer) segments: Vec<Opened>,
    /// Segment files that cannot be read, and why.
    pub(in crate::buffer) unreadable: Vec<(String, String)>,
    /// What is parked.
    pub(in crate::buffer) parked: parked::Survey,
    /// All names in the directory.
    pub(in crate::buffer) names: Vec<String>,
    dir: PathBuf,
}

/// Shown an event: its seq, when it was accepted, itself. Says whether to go on.
pub(in crate::buffer) type Show<'a> = dyn FnMut(u64, u64, &EventRef<'_>) -> bool + 'a;

impl Look {
    /// Opens what is there.
    pub(in crate::buffer) fn open(storage: &dyn Storage) -> Result<Self, OpenError> {
        let names = storage.list("").map_err(|source| io_error(storage, "list", "", source))?;
        check_names(storage, &names)?;
        let has_cursor = names.iter().any(|name| name == CURSOR_NAME);
        let marks = if has_cursor { read_marks(storage)? } else { None };
        let frontier = marks.as_ref().map_or(0, |marks| marks.frontier);
        let dead = dead_letters::seqs(storage)?;
        let parked = parked::look(storage, &parked::Opener { keyring: None, key_file: None, dead: &dead, frontier })?;
        let (segments, unreadable) = (Vec::new(), Vec::new());
        let mut look = Self { has_cursor, marks, segments, unreadable, parked, names, dir: storage.dir().to_owned() };
        // Listed again: what was prepared since is needed to find what the cursor speaks of.
        look.names = storage.list("").map_err(|source| io_error(storage, "list", "", source))?;
        for name in look.names.clone().into_iter().filter(|name| segment::number_in(name, "seg-").is_some()) {
            look.open_segment(storage, name)?;
        }
        look.segments.sort_by_key(|opened| opened.header.segment_id);
        Ok(look)
    }

    fn open_segment(&mut self, storage: &dyn Storage, name: String) -> Result<(), OpenError> {
        // Freed between the listing and now: nothing to see.
        let Ok(file) = storage.open(&name, OpenMode::Read) else { return Ok(()) };
        match segment::read_header(&*file) {
            Ok(Ok((header, seal))) => self.segments.push(Opened { name, header, file, seal }),
            Ok(Err(HeaderProblem::Foreign(version))) => return Err(foreign(storage, &name, version)),
            Ok(Err(HeaderProblem::Invalid)) => self.unreadable.push((name, "its header is damaged".to_owned())),
            Err(error) => self.unreadable.push((name, error.to_string())),
        }
        Ok(())
    }

    /// Everything up to this seq is at its end; 0 when no cursor says so.
    pub(in crate::buffer) fn frontier(&self) -> u64 {
        self.marks.as_ref().map_or(0, |marks| marks.frontier)
    }

    /// The same where no cursor says so: what came before the oldest event that is left was delivered, or reported.
    pub(in crate::buffer) fn frontier_or_begin(&self) -> u64 {
        let begin = || self.segments.iter().map(Opened::seal_or_scan).find(|seal| seal.events > 0).map_or(0, |seal| seal.first_seq - 1);
        self.marks.as_ref().map_or_else(begin, |marks| marks.frontier)
    }

    /// Which events are at their end, or parked: out of the log.
    pub(in crate::buffer) fn ended(&self) -> Watermark {
        let mut ended = self.marks.as_ref().map_or_else(Watermark::default, ended_by);
        self.parked.take_out_of(&mut ended);
        ended
    }

    /// The relay-id, unless nothing tells it.
    pub(in crate::buffer) fn relay_id(&self) -> Option<String> {
        let id = self.marks.as_ref().map(|marks| marks.relay_id).or(self.segments.first().map(|opened| opened.header.relay_id));
        id.map(|id| uuid::Uuid::from_bytes(id).to_string())
    }

    /// Shows the events that are not at their end, in the log and parked, in seq order from `from` on.
    pub(in crate::buffer) fn visit_all(
        &self,
        storage: &dyn Storage,
        keyring: &Keyring,
        from: u64,
        show: &mut ShowParked<'_>,
    ) -> Result<(), OpenError> {
        let mut parked = Outside::new(storage, keyring, &self.parked, from);
        let (mut stopped, mut failed) = (false, None);
        let mut show_below = |end: u64, show: &mut ShowParked<'_>| loop {
            match parked.next_below(end) {
                Ok(None) => return true,
                Ok(Some((topic, parked))) => {
                    let event = Records::new(&parked.record).next().and_then(Result::ok);
                    if event.is_some_and(|event| !show(parked.seq, parked.accepted_ms, &event, Some(&topic))) {
                        return false;
                    }
                }
                Err(error) => {
                    failed = Some(error);
                    return false;
                }
            }
        };
        self.visit(keyring, from, &mut |seq, accepted_ms, event| {
            stopped = !show_below(seq, show) || !show(seq, accepted_ms, event, None);
            !stopped
        })?;
        if !stopped {
            let _ = show_below(u64::MAX, show);
        }
        failed.map_or(Ok(()), Err)
    }

    /// When the oldest event that is not at its end was accepted. Needs no key.
    pub(in crate::buffer) fn oldest_ms(&self) -> Option<u64> {
        self.oldest_in_log().into_iter().chain(self.parked.oldest_ms()).min()
    }

    fn oldest_in_log(&self) -> Option<u64> {
        let ended = self.ended();
        let mut oldest = None;
        for opened in &self.segments {
            let done = opened.walk(&mut |header, _| {
                let waits = ended.ended_in(header.first_seq, header.next_seq() - 1) < u64::from(header.count);
                oldest = waits.then_some(header.accepted_ms);
                !waits
            });
            if done {
                break;
            }
        }
        oldest
    }

    /// Shows the events that are not at their end, in seq order from `from` on. Those that are encrypted need their key.
    pub(in crate::buffer) fn visit(&self, keyring: &Keyring, from: u64, show: &mut Show<'_>) -> Result<(), OpenError> {
        let (ended, from) = (self.ended(), from.max(self.frontier() + 1));
        for opened in &self.segments {
            if opened.seal.is_some_and(|seal| seal.events == 0 || seal.last_seq < from) {
                continue;
            }
            let cipher = keyring.cipher(&opened.header);
            let mut locked = false;
            let done = opened.walk(&mut |header, stored| {
                if header.next_seq() <= from {
                    return true;
                }
                let Some(payload) = plain(cipher.as_ref(), header, stored, &mut locked) else { return !locked };
                let records = (header.first_seq..).zip(Records::new(&payload).map_while(Result::ok));
                let waiting = records.filter(|(seq, _)| *seq >= from && !ended.ended(*seq));
                let mut waiting = waiting.map(|(seq, record)| show(seq, header.accepted_ms, &record));
                waiting.all(|go_on| go_on)
            });
            if locked {
                let (file, key_id) = (self.dir.join(&opened.name), opened.header.key_id);
                return Err(OpenError::Encrypted { file, key_id });
            }
            if done {
                break;
            }
        }
        Ok(())
    }
}

/// The payload as it was accepted; `None` when it cannot be had, which is `locked` when the key is missing and damage otherwise.
fn plain(cipher: Option<&Cipher>, header: &FrameHeader, stored: &[u8], locked: &mut bool) -> Option<Bytes> {
    if !header.encrypted {
        return Some(Bytes::copy_from_slice(stored));
    }
    *locked = cipher.is_none();
    cipher?.open(header, stored)
}

impl Opened {
    /// Where the data ends, as far as it is known.
    pub(in crate::buffer) fn limit(&self) -> u64 {
        self.seal.map_or(self.header.capacity, |seal| seal.end)
    }

    /// Walks the frames with events that verify; `true` when the visitor ended it.
    pub(in crate::buffer) fn walk(&self, visitor: &mut dyn FnMut(&FrameHeader, &[u8]) -> bool) -> bool {
        let (file, seed, limit) = (&*self.file, self.header.seed(), self.limit());
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
                Ok(Found::NoFrame { blank: true }) if self.seal.is_none() => return false,
                Ok(Found::NoFrame { .. }) => match scanner.resync(file, seed, at, limit, 0) {
                    Ok(Some((good, _))) => at = good,
                    _ => return false,
                },
                Err(_) => return false,
            }
        }
        false
    }

    /// What the seal says, or would say.
    pub(in crate::buffer) fn seal_or_scan(&self) -> Seal {
        self.seal.unwrap_or_else(|| {
            let mut seal = Seal { end: DATA_START, ..Seal::default() };
            let mut end = DATA_START;
            let _ = self.walk(&mut |header, _| {
                account(&mut seal, header, end);
                end += header.stored_len();
                true
            });
            seal
        })
    }
}

/// Which events are at their end by a cursor.
pub(in crate::buffer) fn ended_by(marks: &Marks) -> Watermark {
    Watermark::restore(marks.frontier, &marks.ended_above, &marks.lost_above)
}

/// The newest marks; `None` when no slot verifies.
pub(in crate::buffer) fn read_marks(storage: &dyn Storage) -> Result<Option<Marks>, OpenError> {
    let fail = |source| io_error(storage, "read", CURSOR_NAME, source);
    let file = storage.open(CURSOR_NAME, OpenMode::Read).map_err(fail)?;
    match cursor::read(&*file) {
        CursorFound::Marks(marks, _) => Ok(Some(*marks)),
        CursorFound::Nothing => Ok(None),
        CursorFound::Foreign(version) => Err(foreign(storage, CURSOR_NAME, version)),
    }
}

fn check_names(storage: &dyn Storage, names: &[String]) -> Result<(), OpenError> {
    let dir = || storage.dir().to_owned();
    if names.iter().any(|name| names::is_ours(name)) {
        return Ok(());
    }
    match names.iter().find(|name| !names::is_known(name)) {
        Some(found) => Err(OpenError::NotABuffer { dir: dir(), found: found.clone() }),
        None if names.iter().all(|name| names::is_furniture(name)) => Err(OpenError::NoBuffer { dir: dir() }),
        // A relay began here, and stored nothing.
        None => Ok(()),
    }
}
