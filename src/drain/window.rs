//! How much may be on its way to Kafka at once. Pure.
//!
//! Memory, at its worst: every outstanding event costs librdkafka about 0.6 kB beside its value (message, key, headers) and its value
//! is held twice, in the leased frame and in librdkafka's copy. 32,768 × 0.6 kB + 2 × 8 MiB is 36 MiB, so the process stays under
//! 64 MiB whatever the backlog. Speed: 8 MiB on the way is 400,000 events of 300 bytes a second at a round trip of 70 ms, and
//! 40 MB a second at 200 ms; within a data centre the broker is the limit long before.

/// The limits. An event larger than `max_bytes` still passes, alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Most events sent and not yet reported.
    pub(super) max_events: usize,
    /// Bytes of stored records sent and not yet reported; exceeded by at most one event.
    pub(super) max_bytes: usize,
    /// How far sending may run ahead of the oldest event that Kafka does not have, in events: bounds the books of what was
    /// acknowledged out of order while one partition stands still.
    pub(super) max_span: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { max_events: 32_768, max_bytes: 8 << 20, max_span: 4 * 32_768 }
    }
}

impl Window {
    /// Whether one more event may be sent.
    pub(super) fn admits(&self, events: usize, bytes: usize, span: usize) -> bool {
        events < self.max_events && bytes < self.max_bytes && span < self.max_span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: memory is bounded whatever the backlog, and one huge event still goes through.
    #[test]
    fn each_limit_closes_the_window() {
        let window = Window { max_events: 2, max_bytes: 100, max_span: 8 };
        assert!(window.admits(0, 0, 0));
        assert!(window.admits(1, 99, 7));
        assert!(!window.admits(2, 10, 3));
        assert!(!window.admits(1, 100, 1));
        assert!(!window.admits(1, 10, 8));
    }
}
