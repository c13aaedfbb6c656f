//! A buffer directory, read without its lock and without changing anything.

use super::super::exit::Failure;
use super::place::failure;
use crate::buffer::Keyring;
use crate::buffer::inspect::{DirectoryInfo, WaitingEvent, inspect, peek, waiting};
use crate::buffer::log::storage::DiskStorage;
use crate::event::EventRef;
use std::path::Path;

/// Looks at a directory as a whole.
pub(super) fn info(dir: &Path) -> Result<DirectoryInfo, Failure> {
    inspect(&DiskStorage::new(dir)).map_err(|error| failure(&error))
}

/// Up to `limit` waiting events from seq `from` on; only those of `source`, an id or `type/id`, when one is named.
pub(super) fn events(dir: &Path, keyring: &Keyring, from: u64, limit: usize, source: Option<&str>) -> Result<Vec<WaitingEvent>, Failure> {
    let mut found = Vec::new();
    let storage = DiskStorage::new(dir);
    let looked = waiting(&storage, keyring, from, &mut |seq, accepted_ms, event, parked| {
        if source.is_none_or(|source| event.is_of_source(source)) {
            found.push(WaitingEvent { parked: parked.map(ToOwned::to_owned), ..WaitingEvent::new(seq, accepted_ms, event, true) });
        }
        found.len() < limit
    });
    looked.map_err(|error| failure(&error))?;
    Ok(found)
}

/// Shows every waiting event from seq `from` on, with its exact bytes, until `show` says that it has seen enough.
pub(super) fn each(dir: &Path, keyring: &Keyring, from: u64, show: &mut dyn FnMut(u64, u64, &EventRef<'_>) -> bool) -> Result<(), Failure> {
    peek(&DiskStorage::new(dir), keyring, from, show).map_err(|error| failure(&error))
}

#[cfg(test)]
mod tests {
    use super::super::super::exit::Exit;
    use super::*;

    // Goal: a directory that is none is refused with its name, and so is one in which no relay ever was: it is the wrong one.
    #[test]
    fn no_directory() {
        let absent = info(Path::new("/absent/buffer")).unwrap_err();
        assert_eq!(absent.exit, Exit::Failed);
        assert!(absent.message.contains("/absent/buffer"), "{absent}");
        let dir = tempfile::tempdir().unwrap();
        for name in ["", "lost+found", "photo.jpg"] {
            if !name.is_empty() {
                std::fs::write(dir.path().join(name), "").unwrap();
            }
            let wrong = info(dir.path()).unwrap_err();
            assert_eq!(wrong.exit, Exit::Usage, "{name}");
            assert!(wrong.message.contains(dir.path().to_str().unwrap()), "{wrong}");
        }
    }
}
