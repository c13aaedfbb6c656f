//! Joins the buffer's dead letters with the ops routes about them.

use crate::buffer::DeadLetters;
use crate::buffer::dead_letters::{DeadLetterError, DeadLetterView, Retried, Usage};
use crate::buffer::purge::{Purged, Selection};
use crate::ops::{KeepDeadLetters, PEEK_MAX_VALUE_BYTES};

/// The dead letters of this process's buffer.
#[derive(Debug)]
pub(super) struct BufferDeadLetters(pub(super) DeadLetters);

impl KeepDeadLetters for BufferDeadLetters {
    fn usage(&self) -> Usage {
        self.0.usage()
    }

    fn list(&self, from: u64, limit: usize, source: Option<&str>) -> Result<Vec<DeadLetterView>, DeadLetterError> {
        let (mut letters, mut value_bytes) = (Vec::new(), 0);
        self.0.list(from, &mut |kept| {
            if source.is_none_or(|source| kept.letter.event().is_some_and(|event| event.is_of_source(source))) {
                value_bytes += kept.letter.record.len() as u64;
                letters.extend(kept.view(value_bytes <= PEEK_MAX_VALUE_BYTES));
            }
            letters.len() < limit
        })?;
        Ok(letters)
    }

    fn get(&self, seq: u64) -> Result<Option<DeadLetterView>, DeadLetterError> {
        Ok(self.0.get(seq)?.and_then(|kept| kept.view(true)))
    }

    fn purge(&self, selection: &Selection, dry_run: bool) -> Result<Purged, DeadLetterError> {
        self.0.purge(selection, dry_run)
    }

    fn retry(&self, selection: &Selection, dry_run: bool) -> Result<Retried, DeadLetterError> {
        self.0.retry(selection, dry_run)
    }
}
