//! A buffer made of numbers, for the tests of this folder.

use super::peek::Peek;
use super::source::BufferView;
use crate::buffer::BufferSnapshot;
use crate::buffer::inspect::WaitingEvent;
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
