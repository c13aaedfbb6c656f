//! The window after a start: what the journal says, and for what it does not cover, the segments themselves.
//!
//! Reads at most the segments that hold the newest `limit` events. Those that the cursor has passed are among them, until they are written
//! over: a crash may come between the cursor and the journal. What is damaged is passed over here, and dealt with when it is read for
//! delivery.

use super::journal::{self, JOURNAL_NAME, Journal, Loaded, NEW_NAME};
use super::window::{Entry, Window};
use crate::buffer::OpenError;
use crate::buffer::log::cipher::Keyring;
use crate::buffer::log::recovery::{Recovered, io_error};
use crate::buffer::log::scan::{Found, Scanner};
use crate::buffer::log::segment::{self, DATA_START, Seal, SegmentHeader};
use crate::buffer::log::storage::{OpenMode, Storage, StorageFile, is_full};
use crate::event::Records;
use crate::sync::Mutex;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;

/// What opening gives.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) window: Mutex<Window>,
    /// Absent without a window, and while the volume has no room for it.
    pub(crate) journal: Option<Journal>,
}

/// The events from `first` on, as far as they are known.
struct Table {
    first: u64,
    entries: VecDeque<Entry>,
}

impl Table {
    fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    /// Whether an event of these seqs is not known.
    fn has_gap(&mut self, from: u64, to: u64) -> bool {
        let end = self.first + self.entries.len() as u64;
        (from.max(self.first)..(to + 1).min(end)).any(|seq| self.entry(seq).is_some_and(|entry| !entry.is_known()))
    }
}

/// Brings the window back, before any file of `recovered` is written over: up to the `durable` event, without those that are `lost`.
pub(crate) fn restore(
    storage: &dyn Storage,
    keyring: &Keyring,
    recovered: &Recovered,
    (durable, lost): (u64, &[(u64, u64)]),
    limit: u64,
) -> Result<Restored, OpenError> {
    drop(storage.remove(NEW_NAME));
    if limit == 0 {
        // What it says would be wrong once seqs go on without it.
        drop(storage.remove(JOURNAL_NAME));
        return Ok(Restored { window: Mutex::new(Window::off()), journal: None });
    }
    let fail = |source| io_error(storage, "open", JOURNAL_NAME, source);
    let relay_id = &recovered.marks.relay_id;
    let loaded = journal::load(storage, keyring, relay_id).map_err(fail)?;
    let first = (durable + 1).saturating_sub(limit).max(1);
    let mut table = Table { first, entries: (first..=durable).map(|seq| loaded.entry(seq)).collect() };
    let read = read_missing(storage, keyring, recovered, &mut table);
    for &(from, to) in lost {
        for seq in from.max(first)..=to.min(durable) {
            table.entry(seq).map(std::mem::take);
        }
    }
    report(&loaded, read, &table);
    let window = Mutex::new(Window::new(limit, table.entries, durable));
    let journal = match Journal::open(storage, keyring, relay_id, &loaded, &window) {
        Ok(journal) => Some(journal),
        Err(error) if is_full(&error) => {
            tracing::warn!(%error, "no room for the journal of ids: after a crash now, repeats of events that Kafka has are stored again");
            drop(storage.remove(NEW_NAME));
            None
        }
        Err(error) => return Err(fail(error)),
    };
    Ok(Restored { window, journal })
}

fn report(loaded: &Loaded, read: u64, table: &Table) {
    let known = table.entries.iter().filter(|entry| entry.is_known()).count();
    if loaded.damaged > 0 {
        tracing::info!(blocks = loaded.damaged, "blocks of the journal of ids do not verify: unfinished writes, or damage; left out");
    }
    tracing::info!(known, read_from_segments = read, "ids of the newest events are known");
}

/// Fills the gaps from the segments; returns how many events it found there.
fn read_missing(storage: &dyn Storage, keyring: &Keyring, recovered: &Recovered, table: &mut Table) -> u64 {
    let passed = recovered.spares.iter().filter(|name| segment::number_in(name, "seg-").is_some());
    let live = recovered.segments.iter().map(|segment| &segment.name);
    let mut found = 0;
    for name in passed.chain(live) {
        // Not a file of ours to fail on: recovery has read it, or does not need it.
        let Ok(file) = storage.open(name, OpenMode::Read) else { continue };
        let Ok(Ok((header, Some(seal)))) = segment::read_header(&*file) else { continue };
        if seal.events > 0 && table.has_gap(seal.first_seq, seal.last_seq) {
            match read_segment(&*file, keyring, &header, &seal, table) {
                Ok(events) => found += events,
                Err(error) => {
                    tracing::warn!(file = name.as_str(), %error, "cannot read ids from a segment: repeats of its events are not known");
                }
            }
        }
    }
    found
}

fn read_segment(file: &dyn StorageFile, keyring: &Keyring, header: &SegmentHeader, seal: &Seal, table: &mut Table) -> io::Result<u64> {
    let (seed, cipher) = (header.seed(), keyring.cipher(header));
    let mut scanner = Scanner::default();
    scanner.insist(false);
    let (mut at, mut next_seq, mut found) = (DATA_START, seal.first_seq, 0);
    while at < seal.end {
        let frame = match scanner.frame_at(file, seed, at, seal.end)? {
            Found::Frame(frame, stored) => {
                at += frame.stored_len();
                Some((frame, stored))
            }
            Found::BadPayload(frame) => {
                at += frame.stored_len();
                None
            }
            Found::NoFrame { .. } => {
                let Some((good, _)) = scanner.resync(file, seed, at, seal.end, next_seq)? else { break };
                at = good;
                None
            }
        };
        let Some((frame, stored)) = frame.filter(|(frame, _)| frame.count > 0 && frame.first_seq >= next_seq) else { continue };
        next_seq = frame.next_seq();
        let payload = match &cipher {
            _ if !frame.encrypted => Some(stored),
            Some(cipher) => cipher.open(&frame, &stored),
            None => None,
        };
        found += payload.map_or(0, |payload| take(&payload, frame.first_seq, table));
    }
    Ok(found)
}

fn take(payload: &Bytes, first_seq: u64, table: &mut Table) -> u64 {
    let (mut records, mut found) = (Records::new(payload), 0);
    for seq in first_seq.. {
        let Some(Ok((_, fingerprint))) = records.next_fingerprint() else { break };
        if let Some(entry) = table.entry(seq) {
            *entry = fingerprint.into();
            found += 1;
        }
    }
    found
}
