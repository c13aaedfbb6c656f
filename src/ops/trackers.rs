//! What one look cannot tell: how long something has lasted, and whether it is still so at the next look. Pure, clocks are given.

use std::time::{Duration, Instant};

/// How long events have waited without progress.
///
/// Progress is counted, not dated, so a stepping wall clock or an old backlog found at start-up cannot fake a stall.
#[derive(Debug, Default)]
pub(super) struct Stall {
    /// Events at their end at the last progress, and when that was seen.
    last: Option<(u64, Instant)>,
}

impl Stall {
    /// Looks at the number of waiting events and of those that reached an end.
    pub(super) fn look(&mut self, now: Instant, backlog: u64, ended: u64) -> Duration {
        match self.last {
            Some((before, since)) if backlog > 0 && ended == before => now.saturating_duration_since(since),
            _ => {
                self.last = Some((ended, now));
                Duration::ZERO
            }
        }
    }
}

/// How long a condition has held.
#[derive(Debug, Default)]
pub(super) struct Holds {
    since: Option<Instant>,
}

impl Holds {
    /// `None` while the condition does not hold.
    pub(super) fn look(&mut self, now: Instant, condition: bool) -> Option<Duration> {
        if !condition {
            self.since = None;
            return None;
        }
        Some(now.saturating_duration_since(*self.since.get_or_insert(now)))
    }
}

/// Two looks at the books closer together than this count as one.
const APART: Duration = Duration::from_millis(100);

/// The conservation error, believed only when two looks in a row see it: the books are read one after the other without a lock, so
/// a single look may fall between two of them.
#[derive(Debug, Default)]
pub(super) struct Books {
    last: Option<(i64, Instant)>,
    confirmed: i64,
}

impl Books {
    /// The error that both this look and the one before saw, in the smaller of their amounts; 0 when either saw none.
    pub(super) fn look(&mut self, now: Instant, error: i64) -> i64 {
        if error == 0 {
            self.last = Some((0, now));
            self.confirmed = 0;
            return 0;
        }
        match self.last {
            Some((_, at)) if now.saturating_duration_since(at) < APART => {}
            Some((before, _)) if before.signum() == error.signum() => {
                self.confirmed = if before.unsigned_abs() < error.unsigned_abs() { before } else { error };
                self.last = Some((error, now));
            }
            _ => {
                self.confirmed = 0;
                self.last = Some((error, now));
            }
        }
        self.confirmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(base: Instant, seconds: u64) -> Instant {
        base + Duration::from_secs(seconds)
    }

    // Goal: "Kafka has acknowledged nothing for 40 s" is true: it counts from the last progress while events wait.
    #[test]
    fn a_stall_counts_from_the_last_progress_with_a_backlog() {
        let base = Instant::now();
        let mut stall = Stall::default();
        // (second, backlog, ended, stalled for)
        let looks = [
            (0, 0, 5, 0),    // idle for a long time is no stall
            (100, 0, 5, 0),  //
            (101, 3, 5, 1),  // events come: at most one look too early
            (131, 3, 5, 31), // nobody takes them
            (132, 3, 6, 0),  // one is taken
            (140, 9, 6, 8),  // more come, none is taken
            (141, 0, 15, 0), // all are taken
        ];
        for (second, backlog, ended, expected) in looks {
            assert_eq!(stall.look(at(base, second), backlog, ended), Duration::from_secs(expected), "second {second}");
        }
    }

    // Goal: a restart on an old backlog gives Kafka the full patience again.
    #[test]
    fn a_backlog_found_at_start_is_not_stalled_yet() {
        assert_eq!(Stall::default().look(Instant::now(), 1_000_000, 7), Duration::ZERO);
    }

    // Goal: Redis is called down for as long as it has been down this time.
    #[test]
    fn a_condition_is_timed_from_when_it_began() {
        let base = Instant::now();
        let mut holds = Holds::default();
        for (second, condition, expected) in
            [(0, false, None), (1, true, Some(0)), (4, true, Some(3)), (5, false, None), (6, true, Some(0))]
        {
            assert_eq!(holds.look(at(base, second), condition), expected.map(Duration::from_secs), "second {second}");
        }
    }

    // Goal: no false alarm from reading moving books, and no missed alarm when an event really is unaccounted for.
    #[test]
    fn an_error_is_believed_at_the_second_look() {
        let base = Instant::now();
        let mut books = Books::default();
        // (second, seen, believed)
        for (second, seen, believed) in
            [(0, 0, 0), (1, 7, 0), (2, 0, 0), (3, 7, 0), (4, -7, 0), (5, -2, -2), (6, -5, -2), (7, -5, -5), (8, 0, 0)]
        {
            assert_eq!(books.look(at(base, second), seen), believed, "second {second}");
        }
    }

    // Goal: two scrapes in the same millisecond are not two witnesses.
    #[test]
    fn two_looks_at_once_count_as_one() {
        let base = Instant::now();
        let mut books = Books::default();
        assert_eq!(books.look(base, 4), 0);
        assert_eq!(books.look(base + Duration::from_millis(1), 4), 0);
        assert_eq!(books.look(base + Duration::from_millis(101), 4), 4);
        assert_eq!(books.look(base + Duration::from_millis(102), 4), 4);
    }
}
