//! Which names in a directory are a buffer's.

use super::cursor::CURSOR_NAME;
use super::quarantine::QUARANTINE_DIR;
use super::segment::number_in;
use crate::buffer::dead_letters::DEAD_LETTERS_DIR;
use crate::buffer::dedup::journal::{JOURNAL_NAME, NEW_NAME};
use crate::buffer::parked::PARKED_DIR;

/// Whether only a buffer has an entry of this name.
pub(crate) fn is_ours(name: &str) -> bool {
    name == CURSOR_NAME || number_in(name, "seg-").is_some() || number_in(name, "spare-").is_some()
}

/// Whether an entry of this name is no surprise in a buffer directory; `lost+found` is the file system's.
pub(crate) fn is_known(name: &str) -> bool {
    is_ours(name)
        || is_furniture(name)
        || [crate::buffer::LOCK_NAME, QUARANTINE_DIR, DEAD_LETTERS_DIR, PARKED_DIR, JOURNAL_NAME, NEW_NAME].contains(&name)
}

/// What a new, empty volume may hold.
pub(crate) fn is_furniture(name: &str) -> bool {
    name == "lost+found"
}
