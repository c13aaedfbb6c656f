//! A look at waiting events: the seam to the buffer's read-only inspector.

use crate::buffer::inspect::WaitingEvent;

/// Most events in one answer.
pub const PEEK_MAX_EVENTS: usize = 1000;

/// Most bytes of event values in one answer; beyond it events come without `value`.
pub const PEEK_MAX_VALUE_BYTES: u64 = 4 << 20;

/// Reads waiting events without taking them.
pub trait Peek: Send + Sync {
    /// Up to `limit` events with a seq of at least `from`, in seq order; only those whose source is `source` when one is named, as
    /// `source_id` or as `source_type/source_id`.
    ///
    /// Blocking: it is called on a thread of its own, at most one call at a time. Implementations keep to [`PEEK_MAX_VALUE_BYTES`].
    ///
    /// # Errors
    /// One sentence for the reply.
    fn peek(&self, from: u64, limit: usize, source: Option<&str>) -> Result<Vec<WaitingEvent>, String>;
}

/// Drops the values that do not fit in an answer, whatever the implementation did.
pub(super) fn bound_values(events: &mut [WaitingEvent]) {
    let mut left = PEEK_MAX_VALUE_BYTES;
    for event in events {
        let Some(value) = &event.value else { continue };
        match left.checked_sub(value.get().len() as u64) {
            Some(rest) => left = rest,
            None => event.value = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    // Goal: looking at huge events cannot make the relay's memory or the answer huge.
    #[test]
    fn values_beyond_the_bound_are_left_out() {
        let big = RawValue::from_string(format!("\"{}\"", "x".repeat(3 << 20))).unwrap();
        let event = |seq| WaitingEvent {
            seq,
            accepted_ms: 1,
            id: String::new(),
            kind: String::new(),
            source_type: String::new(),
            source_id: String::new(),
            traceparent: None,
            bytes: 3 << 20,
            parked: None,
            value: Some(big.clone()),
        };
        let mut events = [event(1), event(2)];
        bound_values(&mut events);
        assert!(events[0].value.is_some() && events[1].value.is_none());
        assert!(!serde_json::to_string(&events[1]).unwrap().contains("value"));
    }
}
