//! The demo's own events: a number is all there is to know about one; pure.
//!
//! Sources take turns, so that the numbers of a source only rise, and what a source's consumer sees tells its order.

use serde::Deserialize;
use std::fmt::Write;

/// How many sources the events have.
pub(super) const SOURCES: usize = 8;

/// What the ids begin with.
const PREFIX: &str = "demo-";

/// The id of an event.
pub(super) fn id(number: u32) -> String {
    format!("{PREFIX}{number:06}")
}

/// Which of the [`SOURCES`] an event has.
pub(super) fn source(number: u32) -> usize {
    number as usize % SOURCES
}

/// Appends an event as JSON, the way an application would post it.
pub(super) fn write_json(number: u32, out: &mut String) {
    let (id, source) = (id(number), source(number));
    let written = write!(
        out,
        r#"{{"id":"{id}","type":"order.created","source_type":"user","source_id":"{source}","payload":{{"number":{number}}}}}"#
    );
    debug_assert!(written.is_ok(), "a String takes everything");
}

/// The number of an event, from its Kafka record or its notification; `None` when it is not one of the demo's `events`.
pub(super) fn number(json: &[u8], events: u32) -> Option<u32> {
    #[derive(Deserialize)]
    struct Identified {
        id: String,
    }
    let Identified { id } = serde_json::from_slice(json).ok()?;
    id.strip_prefix(PREFIX)?.parse().ok().filter(|number| *number < events)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: what is sent is recognised when it arrives, and events made by hand are not taken for it.
    #[test]
    fn events_are_recognised() {
        for expect in [0, 7, 99_999] {
            let mut json = String::new();
            write_json(expect, &mut json);
            assert_eq!(number(json.as_bytes(), 100_000), Some(expect), "{json}");
        }
        for other in [r#"{"id":"a1"}"#, r#"{"id":"demo-100000"}"#, r#"{"id":"demo-x"}"#, "{}", "", "[1]"] {
            assert_eq!(number(other.as_bytes(), 100_000), None, "{other}");
        }
    }
}
