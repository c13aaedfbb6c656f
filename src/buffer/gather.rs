//! Decides whether the committer waits a moment before it takes a group: for writers that it has just answered and that will be back.
//!
//! Writers who await each answer fall into two alternating groups: one forms while the other is synced, and each sync covers only half of
//! them. Where a sync takes longer than the writers need to come back, waiting for them makes one sync do for all. The wait ends as soon
//! as as many batches are there as writers were seen, takes at most as long as a sync, and is given up, for a while that doubles, where
//! fewer than a third of the missing ones come in that time (writers with other things to do). Where syncs are fast and the processor is what
//! is short, the wait makes fewer and larger groups of the same requests: a sync, and the thread changes around it, cost more than they do. A
//! lone writer is never kept waiting. `PostgreSQL` knows the same as `commit_delay`, set by hand.

use std::time::Duration;

/// Longest wait: on a disk with slow syncs, writers that come back at all do so within this.
const WAIT_MAX: Duration = Duration::from_millis(2);
/// A wait was worth it when one in so many of the missing writers came.
const WORTH_IT: usize = 3;
/// After that many fruitless waits in a row the pause stops growing: 2^6 groups.
const FRUITLESS_MAX: u32 = 6;

/// The decider; it has no clock.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// Smoothed length of a sync.
    sync: Duration,
    /// Batches of the last group, and those that came while it was synced: the writers that are at work.
    writers: usize,
    /// Fruitless waits in a row.
    fruitless: u32,
    /// Groups to take without a wait.
    pause: u32,
}

/// A wait that is worth trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// Over when this many batches are there,
    pub(super) batches: usize,
    /// or after this long.
    pub(super) at_most: Duration,
}

impl Gather {
    /// Whether to wait, now that `pending` batches are there.
    pub(super) fn before(&mut self, pending: usize) -> Option<Wait> {
        if pending >= self.writers {
            return None;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return None;
        }
        Some(Wait { batches: self.writers, at_most: self.sync.min(WAIT_MAX) })
    }

    /// A wait is over: `before` batches became `after`.
    pub(super) fn waited(&mut self, wait: Wait, before: usize, after: usize) {
        let came = after.saturating_sub(before);
        let missing = wait.batches.saturating_sub(before);
        if came * WORTH_IT >= missing {
            self.fruitless = 0;
        } else {
            self.fruitless = (self.fruitless + 1).min(FRUITLESS_MAX);
            self.pause = 1 << self.fruitless;
        }
    }

    /// Nobody has come for a while.
    pub(super) fn idle(&mut self) {
        self.writers = 0;
    }

    /// A group of `batches` was synced in `took`; `pending` have come meanwhile.
    pub(super) fn synced(&mut self, batches: usize, took: Duration, pending: usize) {
        self.writers = batches + pending;
        self.sync = if self.sync.is_zero() { took } else { (self.sync * 7 + took) / 8 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(800);

    fn after(batches: usize, pending: usize) -> Gather {
        let mut gather = Gather::default();
        gather.synced(batches, SYNC, pending);
        gather
    }

    // Goal: a single client's answer never waits for others.
    #[test]
    fn a_lone_writer_does_not_wait() {
        assert_eq!(Gather::default().before(1), None);
        assert_eq!(after(1, 0).before(1), None);
    }

    // Goal: two halves that alternate become one whole group, and stay one.
    #[test]
    fn alternating_halves_become_one_group() {
        let mut gather = after(16, 16);
        let wait = gather.before(16);
        assert_eq!(wait, Some(Wait { batches: 32, at_most: SYNC }));
        gather.waited(wait.unwrap(), 16, 32);
        gather.synced(32, SYNC, 0);
        assert_eq!(gather.before(1).map(|wait| wait.batches), Some(32));
    }

    // Goal: where the writers do not come back, waits become rare, and one that pays brings them back.
    #[test]
    fn fruitless_waits_become_rare() {
        let mut gather = after(16, 16);
        let mut waits = 0;
        for _ in 0..1000 {
            if let Some(wait) = gather.before(16) {
                waits += 1;
                gather.waited(wait, 16, 17);
            }
        }
        assert!(waits < 25, "{waits}");
        let wait = (0..=64).find_map(|_| gather.before(16)).unwrap();
        gather.waited(wait, 16, 32);
        assert!(gather.before(16).is_some());
    }

    // Goal: writers who are slower than the disk, and come one after the other, are synced in groups and not one by one.
    #[test]
    fn slow_writers_become_groups() {
        let mut gather = after(7, 7);
        for _ in 0..1000 {
            let wait = gather.before(5).unwrap();
            gather.waited(wait, 5, 8);
            gather.synced(8, SYNC, 5);
        }
    }

    // Goal: on a disk with syncs of a second nobody waits for another one.
    #[test]
    fn a_wait_is_bounded() {
        let mut gather = Gather::default();
        gather.synced(8, Duration::from_secs(1), 8);
        assert_eq!(gather.before(8).unwrap().at_most, WAIT_MAX);
        gather.idle();
        assert_eq!(gather.before(1), None);
    }
}
