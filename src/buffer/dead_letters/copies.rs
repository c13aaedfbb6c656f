//! The letters of the open buffer that a dead-letter topic does not have yet: for the thread that copies them there.
//!
//! Invariant: a letter is marked as copied only when the cursor on disk knows of its end. Copied letters may therefore be removed at any time, also
//! by the drain's thread, which must not wait for a cursor. A crash between Kafka's answer and the mark makes a repeat in the topic, never a gap.

use super::super::shared::{Shared, lock};
use super::{Copied, DeadLetterError, Kept};
use std::sync::Arc;

/// What is to be copied; made by [`super::DeadLetters::copies`].
#[derive(Debug)]
pub struct Copies {
    shared: Arc<Shared>,
}

impl Copies {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        shared.dead_letters.copying();
        Self { shared }
    }

    /// The first letter, in seq order, that is not copied; `None` when there is none. Reads it.
    ///
    /// # Errors
    /// [`DeadLetterError`] when it cannot be read.
    pub fn first(&self) -> Result<Option<Kept>, DeadLetterError> {
        // Its name is there a moment before its end is booked.
        let booked = |seq: &u64| lock(&self.shared.marks).watermark.ended(*seq);
        let mut from = 0;
        while let Some(seq) = self.shared.dead_letters.first_uncopied(from).filter(booked) {
            let kept = self.shared.dead_letters.get(seq)?;
            if kept.is_some() {
                return Ok(kept);
            }
            // Being removed.
            from = seq + 1;
        }
        Ok(None)
    }

    /// Whether there is still one of that seq: an operator may have removed it meanwhile.
    pub fn holds(&self, seq: u64) -> bool {
        self.shared.dead_letters.holds(seq)
    }

    /// Notes, durably, that the dead-letter topic has it. Blocks until the cursor on disk knows of its end, and for a sync.
    ///
    /// # Errors
    /// [`DeadLetterError`]; it counts as not copied then.
    pub fn copied(&self, seq: u64, how: Copied) -> Result<(), DeadLetterError> {
        self.shared.until_dead_ends_are_on_disk()?;
        self.shared.dead_letters.copied(seq, how)
    }
}
