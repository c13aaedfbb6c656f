//! The values that travel between the stages: an event as the drain and notify see it, its seq, and a batch of stored records.
//!
//! Deliberately absent: JSON. An event is scanned once, in ingest; from there on only spans into its bytes travel.

mod fingerprint;
#[cfg(test)]
mod fuzz;
mod record;

use std::fmt;

pub use fingerprint::{Fingerprint, body_hash, body_hash_of, id_hash};
pub use record::{Batch, BatchBuilder, EventParts, Field, RecordError, Records};

/// The position of an event in the buffer: strictly rising from 1, never reused within a buffer directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The seq after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The seq `n` places after this one.
    #[must_use]
    pub fn plus(self, n: u64) -> Self {
        Self(self.0 + n)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One stored event, borrowed from the bytes that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// The event's id, as text (JSON escapes resolved).
    pub id: &'a str,
    /// The event's `type`.
    pub kind: &'a str,
    /// What kind of thing the source is (`user`, `repo`).
    pub source_type: &'a str,
    /// Which one: the Kafka key.
    pub source_id: &'a str,
    /// The W3C `traceparent` of the request that brought it, if any.
    pub traceparent: Option<&'a str>,
    /// The full event as JSON: the Kafka value.
    pub value: &'a [u8],
}

impl EventRef<'_> {
    /// Whether its source is the one that an operator names: by its id, or as `type/id`. Types and ids may hold slashes.
    pub fn is_of_source(&self, source: &str) -> bool {
        let with_type = || source.strip_prefix(self.source_type)?.strip_prefix('/');
        self.source_id == source || with_type().is_some_and(|id| id == self.source_id)
    }
}

/// Where Kafka put an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Topic name, shared between all events of one topic.
    pub topic: std::sync::Arc<str>,
    /// Partition within the topic.
    pub partition: i32,
    /// Offset within the partition; `-1` when the broker recognised a retry it already had and did not say where.
    pub offset: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: events of one source can be picked by its id alone or by type and id, even when types and ids contain slashes.
    #[test]
    fn sources() {
        let event = |source_type| EventRef { id: "", kind: "", source_type, source_id: "a/b", traceparent: None, value: b"{}" };
        for (source, expect) in [("a/b", true), ("repo/a/b", true), ("b", false), ("repo", false), ("repo/a", false), ("rep/a/b", false)] {
            assert_eq!(event("repo").is_of_source(source), expect, "{source}");
        }
        assert!(event("git/repo").is_of_source("git/repo/a/b"));
        assert!(!event("git/repo").is_of_source("git/a/b"));
    }
}
