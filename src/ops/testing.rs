//! A buffer made of numbers, for the tests of this folder.

use super::dead_letters::KeepDeadLetters;
use super::peek::Peek;
use super::source::BufferView;
use crate::buffer::BufferSnapshot;
use crate::buffer::dead_letters::{DeadLetterError, DeadLetterView, Retried, Usage};
use crate::buffer::inspect::WaitingEvent;
use crate::buffer::purge::{Purged, Selection};
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
pub(super) struct FakeBuffer {
    snapshot: Mutex<BufferSnapshot>,
    pub(super) events: Mutex<Vec<WaitingEvent>>,
}

impl FakeBuffer {
    /// A healthy, empty buffer, changed as the test wants.
    pub(super) fn shared(change: impl FnOnce(&mut BufferSnapshot)) -> Arc<Self> {
        let fake = Self::default();
        fake.change(|buffer| {
            buffer.relay_id = "relay-1".into();
            buffer.durable = true;
            buffer.filesystem = "ext4".into();
            (buffer.bytes, buffer.max_bytes) = (4096, 1 << 20);
        });
        fake.change(change);
        Arc::new(fake)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut BufferSnapshot)) {
        change(&mut self.snapshot.lock().unwrap());
    }
}

impl BufferView for FakeBuffer {
    fn snapshot(&self) -> BufferSnapshot {
        self.snapshot.lock().unwrap().clone()
    }
}

impl Peek for FakeBuffer {
    fn peek(&self, from: u64, limit: usize, source: Option<&str>) -> Result<Vec<WaitingEvent>, String> {
        if source == Some("broken") {
            return Err("cannot read segment 7".into());
        }
        let wanted = |event: &&WaitingEvent| event.seq >= from && source.is_none_or(|source| event.source_id == source);
        Ok(self.events.lock().unwrap().iter().filter(wanted).take(limit).cloned().collect())
    }
}

impl KeepDeadLetters for FakeBuffer {
    fn usage(&self) -> Usage {
        Usage { count: 2, bytes: 8192, max_bytes: 65_536, dropped: 1, gave_way: 3, uncopied: 1 }
    }

    fn list(&self, _: u64, _: usize, _: Option<&str>) -> Result<Vec<DeadLetterView>, DeadLetterError> {
        Ok(Vec::new())
    }

    fn get(&self, _: u64) -> Result<Option<DeadLetterView>, DeadLetterError> {
        Ok(None)
    }

    fn purge(&self, _: &Selection, _: bool) -> Result<Purged, DeadLetterError> {
        Ok(Purged::default())
    }

    fn retry(&self, _: &Selection, _: bool) -> Result<Retried, DeadLetterError> {
        Ok(Retried::default())
    }
}
