//! The files of `parked/`: named, written, read, marked, set aside. One call, one file; nothing here knows the books.
//!
//! Order, which nothing may change: a file is synced before it gets its name, and its name before it is spoken of.

use super::super::log::cipher::Keyring;
use super::super::log::quarantine::QUARANTINE_DIR;
use super::super::log::storage::{OpenMode, Storage, read_full, write_full};
use super::ParkError;
use super::format::{self, Content, Entry, Header, MARK_AT, MAX_FILE_BYTES, Problem, TABLE_AT};
use std::io;

/// The directory under the buffer's.
pub(in crate::buffer) const PARKED_DIR: &str = "parked";
/// A file that is being written.
const NEW_NAME: &str = "parked/new";
const SUFFIX: &str = ".parked";
/// Files take whole blocks.
pub(super) const BLOCK: u64 = 4096;

/// The front of a file: all that is not encrypted.
#[derive(Clone, Debug)]
pub(in crate::buffer) struct Front {
    pub(in crate::buffer) header: Header,
    /// Everything up to and including this seq is at its end; 0 when no mark says so.
    pub(in crate::buffer) mark: u64,
    pub(in crate::buffer) entries: Vec<Entry>,
}

impl Front {
    /// The events that its mark does not end.
    pub(in crate::buffer) fn unmarked(&self) -> impl Iterator<Item = &Entry> {
        let mark = self.mark;
        self.entries.iter().filter(move |entry| entry.seq > mark)
    }
}

/// Why a file was not read.
#[derive(Debug)]
pub(in crate::buffer) enum Unread {
    /// The disk did not give it.
    Io(io::Error),
    /// What it gave does not verify.
    Damaged(&'static str),
    /// Its key is not here.
    Locked(u32),
}

impl From<Problem> for Unread {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Damaged(what) => Self::Damaged(what),
            Problem::Locked(key_id) => Self::Locked(key_id),
        }
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Unread {
    /// What it is for whoever parks; damage is an invalid file there.
    pub(super) fn into_error(self, storage: &dyn Storage, name: &str) -> ParkError {
        match self {
            Self::Io(source) => failed(storage, "read", name, source),
            Self::Damaged(what) => failed(storage, "read", name, io::Error::new(io::ErrorKind::InvalidData, what)),
            Self::Locked(key_id) => ParkError::Locked { path: storage.dir().join(name), key_id },
        }
    }
}

/// The name of a file whose first event has this seq.
pub(super) fn name_of(first_seq: u64, queue: u64) -> String {
    format!("{PARKED_DIR}/{first_seq:020}-{queue:016x}{SUFFIX}")
}

/// The queue in a name; `None` when it is no name of such a file.
fn queue_in(name: &str) -> Option<u64> {
    let (seq, queue) = name.strip_prefix(PARKED_DIR)?.strip_prefix('/')?.strip_suffix(SUFFIX)?.split_once('-')?;
    let _: u64 = seq.parse().ok()?;
    u64::from_str_radix(queue, 16).ok()
}

/// The names of all files, in the order of the seqs with which they began.
pub(in crate::buffer) fn names(storage: &dyn Storage) -> Vec<String> {
    let names = storage.list(PARKED_DIR).unwrap_or_default().into_iter().map(|name| format!("{PARKED_DIR}/{name}"));
    let mut names: Vec<String> = names.filter(|name| queue_in(name).is_some()).collect();
    names.sort_unstable();
    names
}

/// Bytes allocated for a file.
pub(in crate::buffer) fn allocated(storage: &dyn Storage, name: &str) -> u64 {
    let file = storage.open(name, OpenMode::Read);
    file.and_then(|file| file.allocated_bytes()).unwrap_or(0).max(BLOCK)
}

/// Bytes that the files of a directory need: all of them, and room to write the largest once more.
pub(in crate::buffer) fn bytes_there(storage: &dyn Storage) -> u64 {
    let bytes: Vec<u64> = names(storage).iter().map(|name| allocated(storage, name)).collect();
    bytes.iter().sum::<u64>() + bytes.iter().max().unwrap_or(&0)
}

/// The front of a file, verified, and that it is what its name says.
pub(in crate::buffer) fn read_front(storage: &dyn Storage, name: &str) -> Result<Front, Unread> {
    let file = storage.open(name, OpenMode::Read)?;
    let mut front = vec![0; TABLE_AT];
    let read = read_full(&*file, &mut front, 0)?;
    let header = Header::decode(&front[..read])?;
    if queue_in(name) != Some(header.queue) {
        return Err(Unread::Damaged("it is not what its name says"));
    }
    front.resize(header.body_at(), 0);
    let read = read_full(&*file, &mut front[TABLE_AT..], TABLE_AT as u64)?;
    front.truncate(TABLE_AT + read);
    let entries = format::decode_table(&front, &header)?;
    Ok(Front { header, mark: format::decode_mark(&front, &header), entries })
}

/// A whole file, verified.
pub(super) fn read(storage: &dyn Storage, name: &str, keyring: &Keyring) -> Result<Content, Unread> {
    Ok(format::decode(&load(storage, name)?, keyring)?)
}

/// Checks a whole file but for what only its key can tell.
pub(in crate::buffer) fn verify(storage: &dyn Storage, name: &str) -> Result<(), Unread> {
    match format::decode(&load(storage, name)?, &Keyring::default()) {
        Ok(_) | Err(Problem::Locked(_)) => Ok(()),
        Err(problem) => Err(problem.into()),
    }
}

fn load(storage: &dyn Storage, name: &str) -> io::Result<Vec<u8>> {
    let file = storage.open(name, OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.size()?.min(MAX_FILE_BYTES)).unwrap_or_default()];
    let read = read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes a whole file under a name, in place of one that is there.
pub(super) fn write(storage: &dyn Storage, name: &str, bytes: &[u8]) -> Result<(), ParkError> {
    let fail = |action| move |source| failed(storage, action, PARKED_DIR, source);
    storage.create_dir(PARKED_DIR).map_err(fail("create"))?;
    write_new(storage, bytes).map_err(fail("write into"))?;
    storage.rename(NEW_NAME, name).map_err(fail("rename in"))?;
    // The directory itself is new at the first one.
    storage.sync_dir("").and_then(|()| storage.sync_dir(PARKED_DIR)).map_err(fail("sync"))
}

fn write_new(storage: &dyn Storage, bytes: &[u8]) -> io::Result<()> {
    // What a failed attempt left may be longer.
    remove_unfinished(storage)?;
    let file = storage.open(NEW_NAME, OpenMode::Create)?;
    write_full(&*file, bytes, 0)?;
    file.sync_data()
}

/// Removes what was being written when somebody stopped.
pub(in crate::buffer) fn remove_unfinished(storage: &dyn Storage) -> io::Result<()> {
    let names = storage.list(PARKED_DIR).unwrap_or_default();
    if names.iter().any(|name| NEW_NAME.ends_with(&format!("/{name}"))) { storage.remove(NEW_NAME) } else { Ok(()) }
}

/// Removes files for good. One that is gone already is fine.
pub(super) fn remove(storage: &dyn Storage, names: &[String]) -> io::Result<()> {
    for name in names {
        match storage.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    if names.is_empty() { Ok(()) } else { storage.sync_dir(PARKED_DIR) }
}

/// Notes, durably, that everything of a file up to and including `seq` is at its end.
pub(super) fn mark(storage: &dyn Storage, name: &str, seq: u64) -> io::Result<()> {
    let file = storage.open(name, OpenMode::ReadWrite)?;
    let mut front = vec![0; TABLE_AT];
    let read = read_full(&*file, &mut front, 0)?;
    let header = Header::decode(&front[..read]).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    write_full(&*file, &format::encode_mark(&header, seq), MARK_AT)?;
    file.sync_data()
}

/// Moves a file to quarantine, whole.
pub(in crate::buffer) fn set_aside(storage: &dyn Storage, name: &str) -> io::Result<()> {
    let plain = name.rsplit('/').next().unwrap_or(name);
    storage.create_dir(QUARANTINE_DIR)?;
    storage.rename(name, &format!("{QUARANTINE_DIR}/{:013}-{plain}", storage.now_ms()))?;
    storage.sync_dir(QUARANTINE_DIR)?;
    storage.sync_dir(PARKED_DIR)
}

pub(super) fn failed(storage: &dyn Storage, action: &'static str, name: &str, source: io::Error) -> ParkError {
    ParkError::Io { action, path: storage.dir().join(name), source }
}
