//! Damaged bytes are set aside with the reason, within a budget; the oldest go first. Nothing is ever deleted to make the buffer open.
//!
//! A whole file that was moved here is no copy: it is all there is of its events. It does not count against the budget and never gives way to
//! a copy; it takes the room of segments, until the buffer could not work beside it any more.

use super::storage::{OpenMode, Storage, StorageFile, read_full, write_full};
use super::whole;
use serde::Serialize;
use std::io;

/// Directory under the buffer's.
pub(crate) const QUARANTINE_DIR: &str = "quarantine";
const NOTE_SUFFIX: &str = ".json";
const COPY_SUFFIX: &str = ".bytes";
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

/// What is in quarantine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Copies and whole files.
    pub(crate) entries: u64,
    /// Allocated by copies and notes.
    pub(crate) copied_bytes: u64,
    /// Allocated by whole files.
    pub(crate) whole_bytes: u64,
}

impl Usage {
    /// Allocated in all.
    pub(crate) fn bytes(&self) -> u64 {
        self.copied_bytes + self.whole_bytes
    }

    /// What takes the room of segments, when copies have a `budget` of their own.
    pub(crate) fn beyond(&self, budget: u64) -> u64 {
        self.whole_bytes + self.copied_bytes.saturating_sub(budget)
    }

    fn part_of(&mut self, name: &str) -> &mut u64 {
        if is_whole(name) { &mut self.whole_bytes } else { &mut self.copied_bytes }
    }
}

/// Whether this is a file that was moved here, and not a copy or a note.
fn is_whole(name: &str) -> bool {
    !name.ends_with(COPY_SUFFIX) && !name.ends_with(NOTE_SUFFIX)
}

/// Copies a range of `file` into quarantine and writes the note beside it. At most `budget` bytes of copies and notes are kept in all.
pub(crate) fn set_aside(storage: &dyn Storage, file: &dyn StorageFile, note: &Note<'_>, budget: u64) -> io::Result<()> {
    storage.create_dir(QUARANTINE_DIR)?;
    let bytes = note.bytes.min(budget / 2);
    drop_copies(storage, budget.saturating_sub(bytes + 2 * 4096))?;
    let stem = format!("{QUARANTINE_DIR}/{:013}-{}-{:x}", note.at_ms, note.file.trim_end_matches(".log"), note.offset);
    let copy = storage.open(&format!("{stem}{COPY_SUFFIX}"), OpenMode::Create)?;
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

/// Moves a whole file, of the buffer's directory or of a folder in it, into quarantine.
pub(crate) fn move_aside(storage: &dyn Storage, name: &str) -> io::Result<()> {
    let (folder, plain) = name.rsplit_once('/').unwrap_or(("", name));
    storage.create_dir(QUARANTINE_DIR)?;
    storage.rename(name, &format!("{QUARANTINE_DIR}/{:013}-{plain}", storage.now_ms()))?;
    storage.sync_dir(QUARANTINE_DIR)?;
    storage.sync_dir(folder)
}

/// What is in quarantine now.
pub(crate) fn usage(storage: &dyn Storage) -> Usage {
    usage_of(storage, &storage.list(QUARANTINE_DIR).unwrap_or_default())
}

fn names(storage: &dyn Storage) -> io::Result<Vec<String>> {
    whole::names(storage, QUARANTINE_DIR).map_err(|failed| failed.source)
}

fn usage_of(storage: &dyn Storage, names: &[String]) -> Usage {
    let mut usage = Usage::default();
    for name in names {
        usage.entries += u64::from(!name.ends_with(NOTE_SUFFIX));
        *usage.part_of(name) += allocated(storage, name);
    }
    usage
}

fn allocated(storage: &dyn Storage, name: &str) -> u64 {
    storage.open(&format!("{QUARANTINE_DIR}/{name}"), OpenMode::Read).and_then(|file| file.allocated_bytes()).unwrap_or(0)
}

/// Removes the oldest copies until at most `keep` bytes of them are left.
fn drop_copies(storage: &dyn Storage, keep: u64) -> io::Result<()> {
    remove_oldest(storage, |usage, name| usage.copied_bytes > keep && !is_whole(name))
}

/// Removes the oldest entries until they take no more than `room` from segments. Whole files go, too: without room there is no buffer.
pub(crate) fn give_way(storage: &dyn Storage, budget: u64, room: u64) -> io::Result<()> {
    // Copies within their budget take nobody's room.
    remove_oldest(storage, |usage, name| usage.beyond(budget) > room && (is_whole(name) || usage.copied_bytes > budget))
}

/// Removes entries, the oldest first, that are in the way of what is wanted.
fn remove_oldest(storage: &dyn Storage, is_in_the_way: impl Fn(&Usage, &str) -> bool) -> io::Result<()> {
    let mut names = names(storage)?;
    // Names begin with the time.
    names.sort_unstable();
    let mut usage = usage_of(storage, &names);
    for name in names {
        if !is_in_the_way(&usage, &name) {
            continue;
        }
        let bytes = allocated(storage, &name);
        tracing::warn!(file = name, bytes, "quarantine is over its budget: the oldest entry is removed");
        storage.remove(&format!("{QUARANTINE_DIR}/{name}"))?;
        let part = usage.part_of(&name);
        *part = part.saturating_sub(bytes);
    }
    Ok(())
}

/// Removes everything in quarantine for good; returns the entries and the bytes that they held.
pub(crate) fn clear(storage: &dyn Storage) -> io::Result<(u64, u64)> {
    let found = usage(storage);
    let (bytes, entries) = (found.bytes(), found.entries);
    for name in names(storage)? {
        storage.remove(&format!("{QUARANTINE_DIR}/{name}"))?;
    }
    if entries > 0 {
        storage.sync_dir(QUARANTINE_DIR)?;
    }
    Ok((entries, bytes))
}

#[cfg(test)]
mod tests {
    use super::super::storage::DiskStorage;
    use super::*;

    const FILE: &str = "seg-0000000000000007.log";
    const BYTES: u64 = 64 << 10;

    /// A directory with a whole file in quarantine, and another file to copy from.
    fn made() -> (tempfile::TempDir, DiskStorage, std::sync::Arc<dyn StorageFile>) {
        let dir = tempfile::tempdir().unwrap();
        let storage = DiskStorage::new(dir.path());
        for name in [FILE, "rotten"] {
            let file = storage.open(name, OpenMode::Create).unwrap();
            write_full(&*file, &vec![7; usize::try_from(BYTES).unwrap()], 0).unwrap();
            file.sync_data().unwrap();
        }
        move_aside(&storage, FILE).unwrap();
        let rotten = storage.open("rotten", OpenMode::Read).unwrap();
        (dir, storage, rotten)
    }

    fn copy(storage: &DiskStorage, file: &dyn StorageFile, n: u64, budget: u64) {
        let note = Note { reason: "r", file: "rotten", offset: n * 8, bytes: 8 << 10, lost_seqs: None, at_ms: storage.now_ms() + n };
        set_aside(storage, file, &note, budget).unwrap();
    }

    // Goal: a segment that was set aside whole is all there is of its events: however much damage is copied later, it stays.
    #[test]
    fn a_whole_file_never_gives_way_to_copies() {
        let (_dir, storage, rotten) = made();
        let whole = usage(&storage).whole_bytes;
        assert!(whole >= BYTES);
        for n in 1..=40 {
            copy(&storage, &*rotten, n, BYTES);
            let used = usage(&storage);
            assert_eq!(used.whole_bytes, whole, "after copy {n}");
            assert!(used.copied_bytes <= BYTES && used.beyond(BYTES) == whole, "after copy {n}: {used:?}");
        }
        assert!(usage(&storage).entries > 2, "copies are kept within the budget");
    }

    // Goal: it goes only when the buffer would have no room to work, and then copies stay within what is set apart for them.
    #[test]
    fn a_whole_file_gives_way_to_the_last_segments() {
        let (_dir, storage, rotten) = made();
        let whole = usage(&storage).whole_bytes;
        copy(&storage, &*rotten, 1, BYTES);
        let before = usage(&storage);
        give_way(&storage, BYTES, whole).unwrap();
        assert_eq!(usage(&storage), before, "there is room for it");
        give_way(&storage, BYTES, whole - 1).unwrap();
        let after = usage(&storage);
        assert_eq!((after.whole_bytes, after.copied_bytes, after.entries), (0, before.copied_bytes, 1));
    }
}
