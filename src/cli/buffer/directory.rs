//! A buffer directory, read without its lock and without changing anything.

use super::super::exit::{Exit, Failure};
use super::WaitingEvent;
use crate::buffer::OpenError;
use crate::buffer::inspect::{DirectoryInfo, inspect, peek};
use crate::buffer::log::storage::DiskStorage;
use crate::error::chain;
use crate::event::EventRef;
use serde_json::value::RawValue;
use std::path::Path;

/// Looks at a directory as a whole.
pub(super) fn info(dir: &Path) -> Result<DirectoryInfo, Failure> {
    inspect(&DiskStorage::new(dir)).map_err(|error| failure(&error))
}

/// Up to `limit` waiting events from seq `from` on; only those of `source`, an id or `type/id`, when one is named.
pub(super) fn events(dir: &Path, from: u64, limit: usize, source: Option<&str>) -> Result<Vec<WaitingEvent>, Failure> {
    let mut found = Vec::new();
    let mut take = |seq, accepted_ms, event: &EventRef<'_>| {
        if source.is_none_or(|source| is_of(event, source)) {
            found.push(waiting(seq, accepted_ms, event));
        }
        found.len() < limit
    };
    peek(&DiskStorage::new(dir), from, &mut take).map_err(|error| failure(&error))?;
    Ok(found)
}

fn is_of(event: &EventRef<'_>, source: &str) -> bool {
    event.source_id == source
        || source.strip_prefix(event.source_type).and_then(|rest| rest.strip_prefix('/')).is_some_and(|id| id == event.source_id)
}

fn waiting(seq: u64, accepted_ms: u64, event: &EventRef<'_>) -> WaitingEvent {
    let value = std::str::from_utf8(event.value).ok().and_then(|text| RawValue::from_string(text.to_owned()).ok());
    WaitingEvent {
        seq,
        accepted_ms,
        id: event.id.to_owned(),
        kind: event.kind.to_owned(),
        source_type: event.source_type.to_owned(),
        source_id: event.source_id.to_owned(),
        bytes: event.value.len() as u64,
        value,
    }
}

fn failure(error: &OpenError) -> Failure {
    Failure::new(Exit::Failed, chain(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: events of one source can be picked by its id alone or by type and id, even when ids contain slashes.
    #[test]
    fn sources() {
        let event = EventRef { id: "", kind: "", source_type: "repo", source_id: "a/b", traceparent: None, value: b"{}" };
        for (source, expect) in [("a/b", true), ("repo/a/b", true), ("b", false), ("repo", false), ("repo/a", false), ("rep/a/b", false)] {
            assert_eq!(is_of(&event, source), expect, "{source}");
        }
    }

    // Goal: a directory that is none is refused with its name.
    #[test]
    fn no_directory() {
        let failure = info(Path::new("/absent/buffer")).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.message.contains("/absent/buffer"), "{failure}");
    }
}
