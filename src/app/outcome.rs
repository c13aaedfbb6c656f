//! How a run ended.

use crate::drain::DrainReport;
use crate::notify::NotifyReport;

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What the drain did after it was told to finish.
    pub drained: DrainReport,
    /// Events still on disk.
    pub left: u64,
    /// What notify did in all.
    pub notified: NotifyReport,
    /// A failure that ended the run, in words.
    pub failed: Option<String>,
}

impl Outcome {
    pub(super) fn log(&self) {
        let Self { drained, left, notified, failed } = self;
        let (acked, in_doubt) = (drained.acked, drained.in_doubt);
        let (published, dropped) = (notified.published, notified.dropped);
        match failed {
            Some(reason) => tracing::error!(
                reason,
                left,
                acked,
                in_doubt,
                published,
                dropped,
                "stopped after a failure; events that are left stay on disk"
            ),
            None if *left > 0 => {
                tracing::warn!(left, acked, in_doubt, published, dropped, "stopped at the deadline; the events that are left stay on disk");
            }
            None => tracing::info!(left, acked, published, dropped, "stopped; the buffer is empty"),
        }
    }
}
