//! Joins the buffer's read-only look with the ops route that shows waiting events.

use crate::buffer::inspect;
use crate::buffer::log::storage::Storage;
use crate::error::chain;
use crate::event::EventRef;
use crate::ops::{PEEK_MAX_VALUE_BYTES, Peek, PeekedEvent};
use serde_json::value::RawValue;
use std::sync::Arc;

/// Reads the buffer's own directory from outside.
#[derive(Debug)]
pub struct DirectoryPeek {
    storage: Arc<dyn Storage>,
}

impl DirectoryPeek {
    /// A look at the directory behind `storage`.
    pub fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage }
    }
}

impl Peek for DirectoryPeek {
    fn peek(&self, from: u64, limit: usize, source: Option<&str>) -> Result<Vec<PeekedEvent>, String> {
        let mut events = Vec::new();
        let mut value_bytes = 0;
        let mut show = |seq: u64, accepted_ms: u64, event: &EventRef<'_>| {
            if source.is_none_or(|wanted| matches(event, wanted)) {
                value_bytes += event.value.len() as u64;
                events.push(peeked(seq, accepted_ms, event, value_bytes <= PEEK_MAX_VALUE_BYTES));
            }
            events.len() < limit
        };
        if limit > 0 {
            inspect::peek(&*self.storage, from, &mut show).map_err(|error| chain(&error))?;
        }
        Ok(events)
    }
}

fn matches(event: &EventRef<'_>, wanted: &str) -> bool {
    event.source_id == wanted || wanted.split_once('/').is_some_and(|(kind, id)| event.source_type == kind && event.source_id == id)
}

fn peeked(seq: u64, accepted_ms: u64, event: &EventRef<'_>, with_value: bool) -> PeekedEvent {
    let value = with_value.then(|| String::from_utf8(event.value.to_vec()).ok().and_then(|text| RawValue::from_string(text).ok()));
    PeekedEvent {
        seq,
        accepted_ms,
        id: event.id.to_owned(),
        kind: event.kind.to_owned(),
        source_type: event.source_type.to_owned(),
        source_id: event.source_id.to_owned(),
        bytes: event.value.len() as u64,
        value: value.flatten(),
    }
}
