//! Tells a buffer directory from a copy of it.
//!
//! Two relays on copies of one directory would both deliver what waits there, under one relay-id: consumers would take the events of one for
//! repeats of the other's. So `LOCK` remembers its own inode, which a copy (`cp`, `rsync`, a restored backup) does not have, and opening refuses
//! a copy until somebody says that the original is gone (`dualstream buffer adopt`).
//!
//! Deliberately absent: any way to tell a block-for-block clone of a volume, or a snapshot that keeps inodes; and any check where the volume is
//! not durable, since inodes may change there by themselves.

use super::LOCK_NAME;
use super::error::OpenError;
use super::log::recovery::io_error;
use super::log::storage::{OpenMode, Storage, read_full, write_full};
use serde::{Deserialize, Serialize};

/// A mark is far shorter.
const MAX_BYTES: usize = 512;

/// What `LOCK` says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    inode: u64,
}

/// Refuses a copy; marks a directory that has no mark yet. Under the lock.
pub(super) fn check(storage: &dyn Storage) -> Result<(), OpenError> {
    match (read(storage)?, inode(storage)?) {
        (_, None) => Ok(()),
        (None, Some(inode)) => write(storage, &Mark { inode }),
        (Some(mark), Some(inode)) if mark.inode == inode => Ok(()),
        (Some(_), Some(_)) => Err(OpenError::Copied { dir: storage.dir().to_owned() }),
    }
}

/// Whether the directory is a copy of another, as far as can be told.
pub(super) fn is_copy(storage: &dyn Storage) -> Result<bool, OpenError> {
    Ok(matches!((read(storage)?, inode(storage)?), (Some(mark), Some(inode)) if mark.inode != inode))
}

/// Makes a copy an original. Under the lock.
pub(super) fn adopt(storage: &dyn Storage) -> Result<(), OpenError> {
    inode(storage)?.map_or(Ok(()), |inode| write(storage, &Mark { inode }))
}

fn inode(storage: &dyn Storage) -> Result<Option<u64>, OpenError> {
    storage.identity(LOCK_NAME).map_err(|source| io_error(storage, "examine", LOCK_NAME, source))
}

/// `None` where there is none, and where it is not understood: a mark is a help, not a condition.
fn read(storage: &dyn Storage) -> Result<Option<Mark>, OpenError> {
    let fail = |source| io_error(storage, "read", LOCK_NAME, source);
    let file = storage.open(LOCK_NAME, OpenMode::Read).map_err(fail)?;
    let mut bytes = vec![0; MAX_BYTES];
    let read = read_full(&*file, &mut bytes, 0).map_err(fail)?;
    Ok(serde_json::from_slice(&bytes[..read]).ok())
}

fn write(storage: &dyn Storage, mark: &Mark) -> Result<(), OpenError> {
    let fail = |source| io_error(storage, "write", LOCK_NAME, source);
    let mut text = serde_json::to_string(mark).unwrap_or_default();
    // Whatever stood there before was no longer.
    text.push_str(&" ".repeat(64_usize.saturating_sub(text.len())));
    text.push('\n');
    let file = storage.open(LOCK_NAME, OpenMode::ReadWrite).map_err(fail)?;
    write_full(&*file, text.as_bytes(), 0).and_then(|()| file.sync_data()).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::super::Buffer;
    use super::super::log::storage::DiskStorage;
    use super::super::offline;
    use super::*;
    use crate::config::BufferConfig;
    use crate::lifecycle::AckWaiters;
    use std::path::Path;
    use std::sync::Arc;

    fn open(dir: &Path) -> Result<Buffer, OpenError> {
        let config = BufferConfig { dir: dir.to_owned(), max_bytes: 1 << 20, min_free_bytes: 0, ..BufferConfig::default() };
        Buffer::open(&config, Arc::new(DiskStorage::new(dir)), Arc::new(AckWaiters::default()), 0)
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap().flatten() {
            let _ = std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }

    // Goal: a second relay on a copy of a buffer is refused, with what to do; the original, wherever it is moved to, is not.
    #[test]
    fn a_copy_is_refused_until_it_is_adopted() {
        let dir = tempfile::tempdir().unwrap();
        let (original, copied, moved) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        drop(open(&original).unwrap());
        if !DiskStorage::new(&original).volume().unwrap().durable {
            // Nothing can be told here.
            copy(&original, &copied);
            assert!(open(&copied).is_ok());
            return;
        }
        copy(&original, &copied);
        let refused = open(&copied).unwrap_err();
        assert!(matches!(&refused, OpenError::Copied { dir } if *dir == copied), "{refused}");
        assert!(refused.to_string().contains("buffer adopt"), "{refused}");
        std::fs::rename(&original, &moved).unwrap();
        drop(open(&moved).unwrap());
        assert!(offline::adopt(&DiskStorage::new(&copied), false).unwrap());
        assert!(open(&copied).is_err(), "a look changes nothing");
        assert!(offline::adopt(&DiskStorage::new(&copied), true).unwrap());
        drop(open(&copied).unwrap());
        assert!(!offline::adopt(&DiskStorage::new(&copied), true).unwrap(), "it is no copy any more");
    }
}
