//! The files of parked events, every byte but what only their key can tell. Reads only.

use super::super::OpenError;
use super::super::inspect::look::Look;
use super::super::log::recovery::io_error;
use super::super::log::storage::Storage;
use super::super::parked::{self, Unread};
use super::{Finding, Severity};
use std::io::ErrorKind;

const THEN: &str = "the file is moved to quarantine/ and its waiting events are reported lost";

/// What is parked, for the books.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parked {
    /// Events that wait, and can be read.
    pub(super) waiting: u64,
    /// Events that wait, and cannot.
    pub(super) unreadable: u64,
    /// Dead letters of which no mark says that they ended.
    pub(super) dead: u64,
    /// Anything may be parked: what the cursor does not count as ended is not missing.
    pub(super) is_any: bool,
}

pub(super) fn check(storage: &dyn Storage, look: &Look, findings: &mut Vec<Finding>) -> Result<Parked, OpenError> {
    let survey = &look.parked;
    let mut parked = Parked { dead: survey.dead(), is_any: !parked::names(storage)?.is_empty(), ..Parked::default() };
    for file in &survey.damaged {
        let what = format!("parked events are damaged: {}", file.what);
        findings.push(Finding::new(Severity::Damage, &file.name, what, THEN));
    }
    for file in &survey.files {
        match parked::verify(storage, &file.name) {
            Ok(()) | Err(Unread::Locked(_)) => parked.waiting += file.alive,
            // Sent, and removed since.
            Err(Unread::Io(error)) if error.kind() == ErrorKind::NotFound => {}
            Err(Unread::Io(source)) => return Err(io_error(storage, "read", &file.name, source)),
            Err(Unread::Damaged(what)) => {
                parked.unreadable += file.alive;
                let what = format!("{} parked events are damaged: {what}", file.alive);
                findings.push(Finding::new(Severity::Damage, &file.name, what, THEN).of(Some((file.first, file.last))));
            }
        }
    }
    Ok(parked)
}
