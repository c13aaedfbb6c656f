//! Log lines that a client can cause are written at most every few seconds, with the number of those left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shortest time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// Decides whether one kind of line is due.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// When the last line was written, and how many were left out since.
    last: Mutex<Option<(Instant, u64)>>,
}

impl Quiet {
    /// Whether a line is due; if so, how many were left out before it.
    pub(super) fn due(&self, now: Instant) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *last {
            Some((at, left_out)) if now.duration_since(*at) < INTERVAL => {
                *left_out += 1;
                None
            }
            _ => Some(last.replace((now, 0)).map_or(0, |(_, left_out)| left_out)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a misbehaving client does not fill the log, and nothing is left out unsaid.
    #[test]
    fn at_most_one_per_interval() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        assert_eq!(quiet.due(start), Some(0));
        assert_eq!(quiet.due(start + Duration::from_secs(1)), None);
        assert_eq!(quiet.due(start + Duration::from_secs(2)), None);
        assert_eq!(quiet.due(start + INTERVAL), Some(2));
        assert_eq!(quiet.due(start + INTERVAL * 3), Some(0));
    }
}
