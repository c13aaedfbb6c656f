//! The files of `parked/`: named, written, read, marked, set aside. One call, one file; nothing here knows the books.
//!
//! Order, which nothing may change: a file is synced before it gets its name, and its name before it is spoken of.

use super::super::log::cipher::Keyring;
use super::super::log::sealed::Problem;
use super::super::log::storage::{OpenMode, Storage, read_full, write_full};
use super::super::log::whole::{self, Failed};
use super::ParkError;
use super::format::{self, Content, Entry, Header, MARK_AT, MAX_FILE_BYTES, TABLE_AT};
use std::io;

/// The directory under the buffer's.
pub(in crate::buffer) const PARKED_DIR: &str = "parked";
const SUFFIX: &str = ".parked";

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
            Self::Io(source) => Failed::new(storage, "read", name, source).into(),
            Self::Damaged(what) => Failed::new(storage, "read", name, io::Error::new(io::ErrorKind::InvalidData, what)).into(),
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
pub(in crate::buffer) fn names(storage: &dyn Storage) -> Result<Vec<String>, Failed> {
    let names = whole::names(storage, PARKED_DIR)?.into_iter().map(|name| format!("{PARKED_DIR}/{name}"));
    let mut names: Vec<String> = names.filter(|name| queue_in(name).is_some()).collect();
    names.sort_unstable();
    Ok(names)
}

/// Bytes that the files of a directory need: all of them, and room to write the largest once more.
pub(in crate::buffer) fn bytes_there(storage: &dyn Storage) -> Result<u64, Failed> {
    let bytes: Vec<u64> = names(storage)?.iter().map(|name| whole::allocated(storage, name)).collect();
    Ok(bytes.iter().sum::<u64>() + bytes.iter().max().unwrap_or(&0))
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
    Ok(format::decode(&whole::load(storage, name, MAX_FILE_BYTES)?, keyring)?)
}

/// Checks a whole file but for what only its key can tell.
pub(in crate::buffer) fn verify(storage: &dyn Storage, name: &str) -> Result<(), Unread> {
    match format::decode(&whole::load(storage, name, MAX_FILE_BYTES)?, &Keyring::default()) {
        Ok(_) | Err(Problem::Locked(_)) => Ok(()),
        Err(problem) => Err(problem.into()),
    }
}

/// Writes a whole file under a name, in place of one that is there.
pub(super) fn write(storage: &dyn Storage, name: &str, bytes: &[u8]) -> Result<(), Failed> {
    whole::write(storage, PARKED_DIR, name, bytes)
}

/// Removes what was being written when somebody stopped.
pub(super) fn remove_unfinished(storage: &dyn Storage) -> Result<(), Failed> {
    whole::remove_unfinished(storage, PARKED_DIR)
}

/// Removes files for good. One that is gone already is fine.
pub(super) fn remove(storage: &dyn Storage, names: &[String]) -> Result<(), Failed> {
    whole::remove(storage, PARKED_DIR, names)
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
