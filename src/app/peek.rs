//! Joins the buffer's read-only look with the ops route that shows waiting events.

use crate::buffer::Keyring;
use crate::buffer::inspect::{self, WaitingEvent};
use crate::buffer::log::storage::Storage;
use crate::error::chain;
use crate::event::EventRef;
use crate::ops::{PEEK_MAX_VALUE_BYTES, Peek};
use std::sync::Arc;

/// Reads the buffer's own directory from outside.
#[derive(Debug)]
pub(super) struct DirectoryPeek {
    storage: Arc<dyn Storage>,
    keyring: Keyring,
}

impl DirectoryPeek {
    /// A look at the directory behind `storage`.
    pub(super) fn new(storage: Arc<dyn Storage>, keyring: Keyring) -> Self {
        Self { storage, keyring }
    }
}

impl Peek for DirectoryPeek {
    fn peek(&self, from: u64, limit: usize, source: Option<&str>) -> Result<Vec<WaitingEvent>, String> {
        let mut events = Vec::new();
        let mut value_bytes = 0;
        let mut show = |seq: u64, accepted_ms: u64, event: &EventRef<'_>, parked: Option<&str>| {
            if source.is_none_or(|wanted| event.is_of_source(wanted)) {
                value_bytes += event.value.len() as u64;
                let waiting = WaitingEvent::new(seq, accepted_ms, event, value_bytes <= PEEK_MAX_VALUE_BYTES);
                events.push(WaitingEvent { parked: parked.map(ToOwned::to_owned), ..waiting });
            }
            events.len() < limit
        };
        if limit > 0 {
            inspect::waiting(&*self.storage, &self.keyring, from, &mut show).map_err(|error| chain(&error))?;
        }
        Ok(events)
    }
}
