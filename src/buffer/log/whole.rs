//! Folders of files that are each written whole, and later marked, set aside or removed, one by one.
//!
//! Order, which nothing may change: a file is synced before it gets its name, and its name before it is spoken of.

use super::storage::{OpenMode, Storage, read_full, write_full};
use std::io;
use std::path::PathBuf;

/// Files take whole blocks.
pub(crate) const BLOCK: u64 = 4096;
/// A file that is being written.
const NEW_NAME: &str = "new";

/// What could not be done.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}")]
pub(crate) struct Failed {
    pub(crate) action: &'static str,
    pub(crate) path: PathBuf,
    #[source]
    pub(crate) source: io::Error,
}

impl Failed {
    pub(crate) fn new(storage: &dyn Storage, action: &'static str, name: &str, source: io::Error) -> Self {
        Self { action, path: storage.dir().join(name), source }
    }
}

/// What is in a folder; nothing, when nothing was ever put there. A folder that cannot be read is never taken for an empty one.
pub(crate) fn names(storage: &dyn Storage, folder: &str) -> Result<Vec<String>, Failed> {
    match storage.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed.map_err(|source| Failed::new(storage, "list", folder, source)),
    }
}

/// Writes a whole file under a name in `folder`, in place of one that is there.
pub(crate) fn write(storage: &dyn Storage, folder: &str, name: &str, bytes: &[u8]) -> Result<(), Failed> {
    let fail = |action| move |source| Failed::new(storage, action, folder, source);
    storage.create_dir(folder).map_err(fail("create"))?;
    write_new(storage, folder, bytes).map_err(fail("write into"))?;
    storage.rename(&unfinished(folder), name).map_err(fail("rename in"))?;
    // The folder itself is new at the first one.
    storage.sync_dir("").and_then(|()| storage.sync_dir(folder)).map_err(fail("sync"))
}

fn write_new(storage: &dyn Storage, folder: &str, bytes: &[u8]) -> io::Result<()> {
    // What a failed attempt left may be longer.
    remove_if_there(storage, &unfinished(folder))?;
    let file = storage.open(&unfinished(folder), OpenMode::Create)?;
    write_full(&*file, bytes, 0)?;
    file.sync_data()
}

fn unfinished(folder: &str) -> String {
    format!("{folder}/{NEW_NAME}")
}

/// One that is gone already is fine.
fn remove_if_there(storage: &dyn Storage, name: &str) -> io::Result<()> {
    match storage.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes what was being written when somebody stopped.
pub(crate) fn remove_unfinished(storage: &dyn Storage, folder: &str) -> Result<(), Failed> {
    let removed = remove_if_there(storage, &unfinished(folder));
    removed.map_err(|source| Failed::new(storage, "remove what is unfinished in", folder, source))
}

/// Removes files for good. One that is gone already is fine.
pub(crate) fn remove<N: AsRef<str>>(storage: &dyn Storage, folder: &str, names: &[N]) -> Result<(), Failed> {
    for name in names.iter().map(AsRef::as_ref) {
        remove_if_there(storage, name).map_err(|source| Failed::new(storage, "remove", name, source))?;
    }
    let synced = if names.is_empty() { Ok(()) } else { storage.sync_dir(folder) };
    synced.map_err(|source| Failed::new(storage, "sync", folder, source))
}

/// A whole file, but no more than `max_bytes` of it: a forged length must not take all memory.
pub(crate) fn load(storage: &dyn Storage, name: &str, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = storage.open(name, OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.size()?.min(max_bytes)).unwrap_or_default()];
    let read = read_full(&*file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Bytes allocated for a file.
pub(crate) fn allocated(storage: &dyn Storage, name: &str) -> u64 {
    let file = storage.open(name, OpenMode::Read);
    file.and_then(|file| file.allocated_bytes()).unwrap_or(0).max(BLOCK)
}
