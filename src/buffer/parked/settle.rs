//! The books after a stop: what the cursor counts, and what the files hold. Pure.
//!
//! Of `out_of_log` events the cursor says how `ends` of them ended; the rest should be parked. A cursor is older than the files: what was
//! acknowledged and not yet marked is sent again, what became a dead letter is known by its letter, and what is in no file is lost.

use crate::lifecycle::Ends;

/// The books to go on with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::buffer) struct Settled {
    pub(in crate::buffer) ends: Ends,
    /// Counted as ended, and parked still: they are sent again.
    pub(in crate::buffer) again: u64,
    /// Counted as parked, and dead letters.
    pub(in crate::buffer) dead: u64,
    /// Counted as parked, and nowhere.
    pub(in crate::buffer) lost: u64,
}

/// Makes `out_of_log = ends + alive` hold; `dead` events stand in a parked file and are dead letters.
pub(in crate::buffer) fn settle(ends: Ends, out_of_log: u64, alive: u64, dead: u64) -> Settled {
    let mut settled = Settled { ends, ..Settled::default() };
    let waiting = i128::from(out_of_log) - i128::from(ends.total());
    if alive == 0 && waiting <= 0 {
        // Nothing is parked, and these books are not ours to mend.
        return settled;
    }
    let surplus = u64::try_from(waiting - i128::from(alive)).unwrap_or(0);
    settled.dead = surplus.min(dead);
    settled.lost = surplus - settled.dead;
    settled.ends.dead_lettered += settled.dead;
    settled.ends.lost += settled.lost;
    settled.again = u64::try_from(i128::from(alive) - waiting).unwrap_or(0);
    let mut left = settled.again;
    let Ends { acked, dead_lettered, purged, lost } = &mut settled.ends;
    // Nearly always acknowledged ones; a crash in the middle of a purge leaves purged ones as well.
    for part in [acked, purged, lost, dead_lettered] {
        let taken = left.min(*part);
        *part -= taken;
        left -= taken;
    }
    settled
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // Goal: whatever a crash leaves, the books balance afterwards, and nothing that is parked counts as ended.
        #[test]
        fn the_books_balance(acked in 0_u64..50, dead_lettered in 0_u64..5, purged in 0_u64..5, lost in 0_u64..5, parked in 0_u64..50, alive in 0_u64..80, dead in 0_u64..4) {
            let ends = Ends { acked, dead_lettered, purged, lost };
            let out_of_log = (ends.total() + parked).max(alive);
            let settled = settle(ends, out_of_log, alive, dead);
            prop_assert_eq!(settled.ends.total() + alive, out_of_log);
            prop_assert_eq!(settled.lost > 0, out_of_log - ends.total().min(out_of_log) > alive + dead);
            prop_assert!(settled.again == 0 || settled.lost + settled.dead == 0);
        }
    }
}
