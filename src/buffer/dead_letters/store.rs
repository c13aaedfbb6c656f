//! The directory of the dead letters: written, listed, read, removed.
//!
//! Order, which nothing may change: a file is synced before it gets its name, the name is synced before its event counts as ended; a name is
//! removed for good only after the cursor on disk knows of the end (the callers see to that).

use super::super::log::cipher::Keyring;
use super::super::log::quarantine;
use super::super::log::recovery::random_bytes;
use super::super::log::sealed::{MARK_LEN, Problem};
use super::super::log::storage::{OpenMode, Storage, StorageFile, read_full, write_full};
use super::super::log::whole::{self, BLOCK, Failed};
use super::super::purge::Selection;
use super::super::shared::lock;
use super::format::{self, BODY_AT, COPIED_AT, Header, MARK_AT};
use super::index::{Index, Victim};
use super::{Copied, DeadLetter, DeadLetterError, Kept, Usage};
use crate::config::WhenFull;
use crate::sync::Mutex;
use std::io;
use std::sync::Arc;

/// The directory under the buffer's.
pub(in crate::buffer) const DEAD_LETTERS_DIR: &str = "dead-letters";
const SUFFIX: &str = ".dead";
/// Nothing stored is larger than a segment.
const MAX_FILE_BYTES: u64 = 1 << 31;

/// The dead letters of an open buffer.
#[derive(Debug)]
pub(in crate::buffer) struct Store {
    storage: Arc<dyn Storage>,
    keyring: Keyring,
    relay_id: [u8; 16],
    max_bytes: u64,
    when_full: WhenFull,
    index: Mutex<Index>,
}

/// What opening found.
#[derive(Debug, Default)]
pub(in crate::buffer) struct Survey {
    /// The seqs of all dead letters, damaged ones included, in order.
    pub(in crate::buffer) seqs: Vec<u64>,
    /// Retries that were begun: the letter's seq, and the seq from which on it may stand in the log again.
    pub(in crate::buffer) retries: Vec<(u64, u64)>,
    /// Damaged ones that were moved to quarantine.
    pub(in crate::buffer) quarantined: u64,
}

/// Removes what was never finished, and sets aside what does not verify. Under the lock.
pub(in crate::buffer) fn survey(storage: &dyn Storage) -> Result<Survey, DeadLetterError> {
    let mut survey = Survey::default();
    whole::remove_unfinished(storage, DEAD_LETTERS_DIR)?;
    for seq in seqs(storage)? {
        survey.seqs.push(seq);
        let name = name_of(seq);
        match verify(storage, seq) {
            Ok(Some(from_seq)) => survey.retries.push((seq, from_seq)),
            Ok(None) => {}
            Err(DeadLetterError::Damaged { what, .. }) => {
                tracing::error!(seq, what, "a dead letter is damaged: its file is moved to quarantine");
                survey.quarantined += 1;
                quarantine::move_aside(storage, &name).map_err(|source| Failed::new(storage, "set aside", &name, source))?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(survey)
}

/// Checks a whole file but for what only its key can tell; returns its retry mark.
fn verify(storage: &dyn Storage, seq: u64) -> Result<Option<u64>, DeadLetterError> {
    let bytes = load(storage, seq)?;
    match format::decode(&bytes, &Keyring::default()) {
        Ok(_) | Err(Problem::Locked(_)) => {}
        Err(Problem::Damaged(what)) => return Err(damaged(storage, seq, what)),
    }
    let header = Header::decode(&bytes).ok().filter(|header| header.seq == seq);
    let header = header.ok_or_else(|| damaged(storage, seq, "it is not what its name says"))?;
    Ok(format::decode_mark(&bytes, &header))
}

impl Store {
    /// The letters that a survey found.
    pub(in crate::buffer) fn new(
        storage: Arc<dyn Storage>,
        keyring: Keyring,
        relay_id: [u8; 16],
        max_bytes: u64,
        when_full: WhenFull,
    ) -> Result<Self, Failed> {
        let mut index = Index::default();
        for seq in seqs(&*storage)? {
            index.insert(seq, whole::allocated(&*storage, &name_of(seq)), is_copied(&*storage, seq));
        }
        Ok(Self { storage, keyring, relay_id, max_bytes, when_full, index: Mutex::new(index) })
    }

    /// Keeps a letter for good; one of that seq that is there already stays.
    pub(in crate::buffer) fn add(&self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        if self.holds(letter.seq) {
            return Ok(());
        }
        self.take_stray_back()?;
        let file = format::encode(letter, &self.keyring, self.relay_id, random_bytes(&*self.storage));
        self.make_room((file.len() as u64).next_multiple_of(BLOCK))?;
        let name = name_of(letter.seq);
        if let Err(error) = whole::write(&*self.storage, DEAD_LETTERS_DIR, &name, &file) {
            // It may have got its name all the same. Its event still waits, and may be delivered after all.
            lock(&self.index).stray = Some(letter.seq);
            if let Err(error) = self.take_stray_back() {
                tracing::warn!(%error, seq = letter.seq, "cannot take back the file of a dead letter, trying again before the next one");
            }
            return Err(error.into());
        }
        let bytes = whole::allocated(&*self.storage, &name);
        lock(&self.index).insert(letter.seq, bytes, false);
        Ok(())
    }

    /// Removes what a failed write may have left, of an event that is none of the letters.
    pub(in crate::buffer) fn take_stray_back(&self) -> Result<(), DeadLetterError> {
        let Some(seq) = lock(&self.index).stray else { return Ok(()) };
        remove(&*self.storage, &[seq])?;
        lock(&self.index).stray = None;
        Ok(())
    }

    fn make_room(&self, need: u64) -> Result<(), DeadLetterError> {
        loop {
            let (bytes, victim) = {
                let index = lock(&self.index);
                (index.usage(self.max_bytes).bytes, index.victim(self.when_full == WhenFull::DropOldest))
            };
            if bytes + need <= self.max_bytes {
                return Ok(());
            }
            let victim = if need <= self.max_bytes { victim } else { Victim::None };
            match victim {
                Victim::None => return Err(DeadLetterError::Full { need, bytes, max_bytes: self.max_bytes }),
                Victim::Copied(seq) => {
                    tracing::info!(seq, "the dead letters are full: one that the dead-letter topic has gives way");
                    self.remove(&[seq])?;
                }
                Victim::Oldest(seq) => {
                    tracing::error!(seq, "the dead letters are full: the oldest is removed for good (buffer.dead_letters_full)");
                    self.remove(&[seq])?;
                }
            }
            lock(&self.index).gone(victim);
        }
    }

    /// The letters that had to make room since the last call: whoever adds one asks.
    pub(in crate::buffer) fn take_gone(&self) -> Vec<u64> {
        lock(&self.index).take_gone()
    }

    /// Removes letters for good.
    pub(in crate::buffer) fn remove(&self, seqs: &[u64]) -> Result<(), DeadLetterError> {
        let removed = remove(&*self.storage, seqs);
        let mut index = lock(&self.index);
        for seq in seqs.iter().filter(|seq| removed.is_ok() || !exists(&*self.storage, **seq)) {
            index.remove(*seq);
        }
        removed
    }

    /// Notes, durably, that a letter's event is appended again, at `from_seq` or later.
    pub(in crate::buffer) fn begin_retry(&self, seq: u64, from_seq: u64) -> Result<(), DeadLetterError> {
        self.write_mark(seq, MARK_AT, |header| format::encode_mark(header, from_seq))
    }

    /// Notes, durably, that the dead-letter topic has a letter's event. Only for an end that the cursor on disk knows of: such a letter may go at any
    /// time. One that is removed meanwhile is nobody's business any more.
    pub(in crate::buffer) fn copied(&self, seq: u64, how: Copied) -> Result<(), DeadLetterError> {
        match self.write_mark(seq, COPIED_AT, |header| format::encode_copied(header, how)) {
            Err(error) if error.is_gone() => {}
            written => written?,
        }
        lock(&self.index).copied(seq);
        Ok(())
    }

    fn write_mark(&self, seq: u64, at: u64, mark: impl FnOnce(&Header) -> [u8; MARK_LEN]) -> Result<(), DeadLetterError> {
        let name = name_of(seq);
        let fail = |source| Failed::new(&*self.storage, "write", &name, source);
        let file = self.storage.open(&name, OpenMode::ReadWrite).map_err(fail)?;
        let front = front(&*file).map_err(fail)?;
        let header = Header::decode(&front).map_err(|_| damaged(&*self.storage, seq, "its header does not verify"))?;
        write_full(&*file, &mark(&header), at).map_err(fail)?;
        Ok(file.sync_data().map_err(fail)?)
    }

    /// From here on letters are copied to a topic, and those that are there give way to newer ones.
    pub(in crate::buffer) fn copying(&self) {
        lock(&self.index).copying();
    }

    /// The first letter from `from` on that no dead-letter topic has.
    pub(in crate::buffer) fn first_uncopied(&self, from: u64) -> Option<u64> {
        lock(&self.index).first_uncopied(from)
    }

    /// One letter; `None` when there is none of that seq.
    pub(in crate::buffer) fn get(&self, seq: u64) -> Result<Option<Kept>, DeadLetterError> {
        if self.holds(seq) { read(&*self.storage, &self.keyring, seq) } else { Ok(None) }
    }

    /// Whether there is one of that seq.
    pub(in crate::buffer) fn holds(&self, seq: u64) -> bool {
        lock(&self.index).holds(seq)
    }

    /// The seqs from `from` on, in order, at most `limit`.
    pub(in crate::buffer) fn seqs(&self, from: u64, limit: usize) -> Vec<u64> {
        lock(&self.index).seqs(from, limit)
    }

    pub(in crate::buffer) fn usage(&self) -> Usage {
        lock(&self.index).usage(self.max_bytes)
    }
}

/// The seqs of all dead letters in a directory, in order.
pub(in crate::buffer) fn seqs(storage: &dyn Storage) -> Result<Vec<u64>, Failed> {
    Ok(seqs_in(&whole::names(storage, DEAD_LETTERS_DIR)?))
}

fn seqs_in(names: &[String]) -> Vec<u64> {
    let mut seqs: Vec<u64> = names.iter().filter_map(|name| name.strip_suffix(SUFFIX)?.parse().ok()).collect();
    seqs.sort_unstable();
    seqs
}

/// Bytes allocated for dead letters, and how many there are.
pub(in crate::buffer) fn usage(storage: &dyn Storage) -> Result<(u64, u64), Failed> {
    let names = whole::names(storage, DEAD_LETTERS_DIR)?;
    let bytes = |name: &String| storage.open(&format!("{DEAD_LETTERS_DIR}/{name}"), OpenMode::Read).and_then(|file| file.allocated_bytes());
    Ok((names.iter().filter_map(|name| bytes(name).ok()).sum(), seqs_in(&names).len() as u64))
}

/// Shows the dead letters of a directory in seq order, from `from` on, until `show` returns `false`. Takes no lock and changes nothing.
///
/// # Errors
/// [`DeadLetterError`] at the first that cannot be read; one that is removed meanwhile is passed over.
pub fn list(storage: &dyn Storage, keyring: &Keyring, from: u64, show: &mut dyn FnMut(&Kept) -> bool) -> Result<(), DeadLetterError> {
    show_each(seqs(storage)?.into_iter().filter(|seq| *seq >= from), |seq| read(storage, keyring, seq), show)
}

/// Reads and shows letters one at a time, until `show` returns `false`; one that is gone is passed over.
pub(super) fn show_each(
    seqs: impl IntoIterator<Item = u64>,
    read: impl Fn(u64) -> Result<Option<Kept>, DeadLetterError>,
    show: &mut dyn FnMut(&Kept) -> bool,
) -> Result<(), DeadLetterError> {
    for seq in seqs {
        if let Some(kept) = read(seq)?
            && !show(&kept)
        {
            break;
        }
    }
    Ok(())
}

/// The seqs of a selection's letters in a directory, in order.
///
/// # Errors
/// [`DeadLetterError`]
pub(in crate::buffer) fn select(storage: &dyn Storage, keyring: &Keyring, selection: &Selection) -> Result<Vec<u64>, DeadLetterError> {
    let mut selected = Vec::new();
    if selection.source.is_none() && selection.before_ms.is_none() {
        // By seq alone nothing has to be read: what cannot be read can be removed, too.
        return Ok(seqs(storage)?.into_iter().filter(|seq| selection.holds(*seq, 0, None)).collect());
    }
    list(storage, keyring, selection.from_seq, &mut |Kept { letter, .. }| {
        if selection.holds(letter.seq, letter.accepted_ms, letter.event().as_ref()) {
            selected.push(letter.seq);
        }
        true
    })?;
    Ok(selected)
}

/// One letter of a directory; `None` when there is none of that seq.
///
/// # Errors
/// [`DeadLetterError`]
pub fn read(storage: &dyn Storage, keyring: &Keyring, seq: u64) -> Result<Option<Kept>, DeadLetterError> {
    let bytes = match load(storage, seq) {
        Ok(bytes) => bytes,
        Err(error) if error.is_gone() => return Ok(None),
        Err(error) => return Err(error),
    };
    match format::decode(&bytes, keyring) {
        Ok(letter) => {
            let copied = Header::decode(&bytes).ok().and_then(|header| format::decode_copied(&bytes, &header));
            Ok(Some(Kept { letter, copied }))
        }
        Err(Problem::Locked(key_id)) => Err(DeadLetterError::Locked { path: storage.dir().join(name_of(seq)), key_id }),
        Err(Problem::Damaged(what)) => Err(damaged(storage, seq, what)),
    }
}

/// Removes letters of a directory for good.
///
/// # Errors
/// [`DeadLetterError::Io`]; some may be gone then.
pub fn remove(storage: &dyn Storage, seqs: &[u64]) -> Result<(), DeadLetterError> {
    let names: Vec<String> = seqs.iter().map(|seq| name_of(*seq)).collect();
    Ok(whole::remove(storage, DEAD_LETTERS_DIR, &names)?)
}

fn load(storage: &dyn Storage, seq: u64) -> Result<Vec<u8>, DeadLetterError> {
    let name = name_of(seq);
    let read = whole::load(storage, &name, MAX_FILE_BYTES);
    Ok(read.map_err(|source| Failed::new(storage, "read", &name, source))?)
}

/// The bytes before the body.
fn front(file: &dyn StorageFile) -> io::Result<Vec<u8>> {
    let mut front = vec![0; BODY_AT];
    let read = read_full(file, &mut front, 0)?;
    front.truncate(read);
    Ok(front)
}

/// What cannot be read, or does not verify, is copied again.
fn is_copied(storage: &dyn Storage, seq: u64) -> bool {
    let front = storage.open(&name_of(seq), OpenMode::Read).and_then(|file| front(&*file)).unwrap_or_default();
    Header::decode(&front).is_ok_and(|header| format::decode_copied(&front, &header).is_some())
}

fn exists(storage: &dyn Storage, seq: u64) -> bool {
    storage.open(&name_of(seq), OpenMode::Read).is_ok()
}

fn name_of(seq: u64) -> String {
    format!("{DEAD_LETTERS_DIR}/{seq:020}{SUFFIX}")
}

fn damaged(storage: &dyn Storage, seq: u64, what: &'static str) -> DeadLetterError {
    DeadLetterError::Damaged { path: storage.dir().join(name_of(seq)), what }
}
