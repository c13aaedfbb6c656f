//! What a connection is at, as its bytes and the service tell: in a request's head, answering, still writing, or idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shared by the two ends of HTTP on one connection, its bytes and the service; clones are the same one.
///
/// Only the connection's own task reads and writes it, so no ordering between the parts is needed.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    /// One turn is taken when a head is complete, one when its answer is: odd while answering.
    turns: AtomicU64,
    /// The turn in which bytes last came; while it is the current one, and even, a head is incomplete.
    received_in: AtomicU64,
    /// The last write could not be finished.
    write_blocked: AtomicBool,
}

impl Default for Parts {
    fn default() -> Self {
        Self { turns: AtomicU64::new(0), received_in: AtomicU64::new(u64::MAX), write_blocked: AtomicBool::new(false) }
    }
}

impl Activity {
    /// A request's head is complete, or its answer is.
    pub(super) fn take_turn(&self) {
        self.0.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes came.
    pub(super) fn received(&self) {
        self.0.received_in.store(self.turns(), Ordering::Relaxed);
    }

    /// A write was tried; `done` unless the client must read first.
    pub(super) fn wrote(&self, done: bool) {
        self.0.write_blocked.store(!done, Ordering::Relaxed);
    }

    /// How many turns were taken: a number that changes with every request.
    pub(super) fn turns(&self) -> u64 {
        self.0.turns.load(Ordering::Relaxed)
    }

    /// Whether some bytes of a request head came, and not all.
    pub(super) fn is_within_head(&self) -> bool {
        let turns = self.turns();
        turns.is_multiple_of(2) && self.0.received_in.load(Ordering::Relaxed) == turns
    }

    /// Whether nothing is going on: no head, no answer, nothing left to write.
    pub(super) fn is_idle(&self) -> bool {
        self.turns().is_multiple_of(2) && !self.is_within_head() && !self.0.write_blocked.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Goal: a connection counts as idle exactly between requests.
    #[test]
    fn a_request() {
        let activity = Activity::default();
        let is = |within_head, idle| assert_eq!((activity.is_within_head(), activity.is_idle()), (within_head, idle));
        is(false, true);
        activity.received();
        is(true, false);
        activity.take_turn();
        is(false, false);
        activity.received();
        is(false, false);
        activity.take_turn();
        is(false, true);
        activity.wrote(false);
        is(false, false);
        activity.wrote(true);
        is(false, true);
    }
}
