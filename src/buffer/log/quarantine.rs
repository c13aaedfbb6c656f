//! Damaged bytes are set aside with the reason, within a budget; the oldest go first. Nothing is ever deleted to make the buffer open.

use super::storage::{OpenMode, Storage, StorageFile, read_full, write_full};
use serde::Serialize;
use std::io;

/// Directory under the buffer's.
pub(crate) const QUARANTINE_DIR: &str = "quarantine";
const NOTE_SUFFIX: &str = ".json";
const COPY_CHUNK: usize = 1 << 18;

/// Why bytes were set aside.
#[derive(Debug, Serialize)]
pub(crate) struct Note<'a> {
    /// Plain words.
    pub(crate) reason: &'a str,
    /// The file they were in.
    pub(crate) file: &'a str,
    /// Their offset there.
    pub(crate) offset: u64,
    /// How many.
    pub(crate) bytes: u64,
    /// Inclusive range of the seqs that were lost with them, if any.
    pub(crate) lost_seqs: Option<(u64, u64)>,
    /// When, Unix milliseconds.
    pub(crate) at_ms: u64,
}

/// Copies a range of `file` into quarantine and writes the note beside it. At most `budget` bytes are kept in all.
pub(crate) fn set_aside(storage: &dyn Storage, file: &dyn StorageFile, note: &Note<'_>, budget: u64) -> io::Result<()> {
    storage.create_dir(QUARANTINE_DIR)?;
    let bytes = note.bytes.min(budget / 2);
    make_room(storage, budget.saturating_sub(bytes + 2 * 4096))?;
    let stem = format!("{QUARANTINE_DIR}/{:013}-{}-{:x}", note.at_ms, note.file.trim_end_matches(".log"), note.offset);
    let copy = storage.open(&format!("{stem}.bytes"), OpenMode::Create)?;
    let mut chunk = vec![0_u8; COPY_CHUNK];
    let mut done = 0;
    while done < bytes {
        let want = usize::try_from((bytes - done).min(COPY_CHUNK as u64)).unwrap_or(COPY_CHUNK);
        // Unreadable bytes cannot be copied; the note still says where they were.
        let Ok(n @ 1..) = read_full(file, &mut chunk[..want], note.offset + done) else { break };
        write_full(&*copy, &chunk[..n], done)?;
        done += n as u64;
    }
    copy.sync_data()?;
    let text = serde_json::to_vec_pretty(note).map_err(io::Error::other)?;
    let json = storage.open(&format!("{stem}{NOTE_SUFFIX}"), OpenMode::Create)?;
    write_full(&*json, &text, 0)?;
    json.sync_data()?;
    storage.sync_dir(QUARANTINE_DIR)
}

/// Moves a whole file into quarantine.
pub(crate) fn move_aside(storage: &dyn Storage, name: &str) -> io::Result<()> {
    storage.create_dir(QUARANTINE_DIR)?;
    storage.rename(name, &format!("{QUARANTINE_DIR}/{:013}-{name}", storage.now_ms()))?;
    storage.sync_dir(QUARANTINE_DIR)?;
    storage.sync_dir("")
}

/// Bytes allocated in quarantine and number of entries with a note or a whole file.
pub(crate) fn usage(storage: &dyn Storage) -> (u64, u64) {
    let names = storage.list(QUARANTINE_DIR).unwrap_or_default();
    let entries = names.iter().filter(|name| !name.ends_with(NOTE_SUFFIX)).count() as u64;
    (names.iter().map(|name| allocated(storage, name)).sum(), entries)
}

fn allocated(storage: &dyn Storage, name: &str) -> u64 {
    storage.open(&format!("{QUARANTINE_DIR}/{name}"), OpenMode::Read).and_then(|file| file.allocated_bytes()).unwrap_or(0)
}

/// Removes the oldest entries until at most `keep` bytes are left.
pub(crate) fn make_room(storage: &dyn Storage, keep: u64) -> io::Result<()> {
    let mut names = storage.list(QUARANTINE_DIR).unwrap_or_default();
    // Names begin with the time.
    names.sort_unstable();
    let mut used: u64 = names.iter().map(|name| allocated(storage, name)).sum();
    for name in names {
        if used <= keep {
            break;
        }
        used = used.saturating_sub(allocated(storage, &name));
        tracing::warn!(file = name, "quarantine is over its budget: the oldest entry is removed");
        storage.remove(&format!("{QUARANTINE_DIR}/{name}"))?;
    }
    Ok(())
}

/// Removes everything in quarantine for good; returns the entries and the bytes that they held.
pub(crate) fn clear(storage: &dyn Storage) -> io::Result<(u64, u64)> {
    let (bytes, entries) = usage(storage);
    for name in storage.list(QUARANTINE_DIR).unwrap_or_default() {
        storage.remove(&format!("{QUARANTINE_DIR}/{name}"))?;
    }
    if entries > 0 {
        storage.sync_dir(QUARANTINE_DIR)?;
    }
    Ok((entries, bytes))
}
