//! How much may be on its way to Kafka at once. Pure.
//!
//! Memory, at its worst: an outstanding event costs librdkafka about 0.9 kB beside its value (message, key, headers; measured), and
//! its value is held twice, in the leased frame and in librdkafka's copy. 16,384 × 0.9 kB + 2 × 8 MiB is 31 MiB, chosen so that the
//! process stays under 64 MiB whatever the backlog (`dualstream bench --only rss`; with 24,576 events its peak was 67 MiB). Speed: 16,384 events on
//! the way are 400,000 events a second at 40 ms from sending to acknowledgement, and 8 MiB are 40 MB a second at 200 ms; within a
//! data centre the broker is the limit long before.

/// The limits. An event larger than `bytes` still passes, alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Most events sent and not yet reported.
    pub(super) events: usize,
    /// Bytes of stored records sent and not yet reported; exceeded by at most one event.
    pub(super) bytes: usize,
    /// How far sending may run ahead of the oldest event that Kafka does not have, in events: bounds the books of what was
    /// acknowledged out of order while one partition stands still.
    pub(super) span: usize,
}

impl Default for Window {
    fn default() -> Self {
        Self { events: 16_384, bytes: 8 << 20, span: 4 * 16_384 }
    }
}

impl Window {
    /// One event at a time.
    pub(super) fn single() -> Self {
        Self { events: 1, ..Self::default() }
    }

    /// Whether one more event may be sent.
    pub(super) fn admits(&self, events: usize, bytes: usize, span: usize) -> bool {
        events < self.events && bytes < self.bytes && span < self.span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: memory is bounded whatever the backlog, and one huge event still goes through.
    #[test]
    fn each_limit_closes_the_window() {
        let window = Window { events: 2, bytes: 100, span: 8 };
        assert!(window.admits(0, 0, 0));
        assert!(window.admits(1, 99, 7));
        assert!(!window.admits(2, 10, 3));
        assert!(!window.admits(1, 100, 1));
        assert!(!window.admits(1, 10, 8));
    }
}
