//! When to say that something fails, so that neither a long outage nor a flapping one fills the log; pure.
//!
//! One kind of failure is said when it begins, then at most every 30 seconds with a count, and once when it is over. One that comes
//! and goes all the time is said every 5 seconds at most; what stays unsaid is counted in the next line.

use std::time::Duration;
use tokio::time::Instant;

/// Least time between two lines about a failure that goes on.
const QUIET: Duration = Duration::from_secs(30);

/// Least time between the last line about a failure and one about its coming back.
const QUIET_BEFORE_NEXT: Duration = Duration::from_secs(5);

/// One kind of failure: whether it goes on, and what was said about it.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    since: Option<Instant>,
    /// Whether this occurrence was said, so that only then its end is.
    announced: bool,
    last_said: Option<Instant>,
    /// Failures not yet told.
    untold: u64,
}

/// The end of a failure that was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over {
    /// How long it lasted.
    pub(super) lasted: Duration,
    /// Failures since the last line about it.
    pub(super) untold: u64,
}

impl Trouble {
    /// Notes `count` failures. `Some(n)`: say so now; `n` is the number since the last line.
    pub(super) fn failed(&mut self, now: Instant, count: u64) -> Option<u64> {
        self.since.get_or_insert(now);
        self.untold += count;
        let quiet = if self.announced { QUIET } else { QUIET_BEFORE_NEXT };
        if self.last_said.is_some_and(|said| now < said + quiet) {
            return None;
        }
        self.announced = true;
        self.last_said = Some(now);
        Some(std::mem::take(&mut self.untold))
    }

    /// Notes that it works. `Some`: a failure that was said is over, say that too.
    pub(super) fn over(&mut self, now: Instant) -> Option<Over> {
        let since = self.since.take()?;
        std::mem::take(&mut self.announced).then(|| Over { lasted: now - since, untold: std::mem::take(&mut self.untold) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    // Goal: an hour's outage with an attempt a second is about 120 lines, each with its count, and one at the end.
    #[test]
    fn a_long_outage_is_said_every_half_minute() {
        let (start, mut trouble) = (Instant::now(), Trouble::default());
        let said: Vec<u64> = (0..3600).filter_map(|n| trouble.failed(start + secs(n), 1)).collect();
        assert_eq!(said[..3], [1, 30, 30]);
        assert_eq!(said.len(), 120);
        assert_eq!(trouble.over(start + secs(3600)), Some(Over { lasted: secs(3600), untold: 29 }));
        assert_eq!(trouble.over(start + secs(3601)), None, "said once");
    }

    // Goal: a connection that flaps five times a second gives two lines in five seconds, and every failure is counted in one.
    #[test]
    fn flapping_is_not_spam() {
        let (start, mut trouble) = (Instant::now(), Trouble::default());
        let (mut lines, mut told) = (0, 0);
        for n in 0..300 {
            let now = start + Duration::from_millis(200) * n;
            if let Some(count) = trouble.failed(now, 1) {
                (lines, told) = (lines + 1, told + count);
            }
            if let Some(over) = trouble.over(now) {
                (lines, told) = (lines + 1, told + over.untold);
            }
        }
        assert_eq!((lines, told), (24, 276), "twelve times begun and over; the 24 after the last are still to be told");
    }

    // Goal: a new outage a moment after the last is said at once, with its own reason.
    #[test]
    fn a_new_outage_is_said_at_once() {
        let (start, mut trouble) = (Instant::now(), Trouble::default());
        assert_eq!(trouble.failed(start, 3), Some(3));
        assert!(trouble.over(start + secs(1)).is_some());
        assert_eq!(trouble.failed(start + secs(6), 1), Some(1));
    }
}
