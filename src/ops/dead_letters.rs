//! Dead letters: the seam to the buffer.

use crate::buffer::dead_letters::{DeadLetterError, DeadLetterView, Retried, Usage};
use crate::buffer::purge::{Purged, Selection};

/// What can be done about events that Kafka will never take. Blocking, but for [`KeepDeadLetters::usage`]: called on a thread of its own, at
/// most one call at a time.
pub trait KeepDeadLetters: Send + Sync {
    /// How many there are. Must not wait for I/O.
    fn usage(&self) -> Usage;

    /// Up to `limit` of them with a seq of at least `from`, in seq order; only of `source`, when one is named.
    ///
    /// # Errors
    /// [`DeadLetterError`]
    fn list(&self, from: u64, limit: usize, source: Option<&str>) -> Result<Vec<DeadLetterView>, DeadLetterError>;

    /// One of them, whole.
    ///
    /// # Errors
    /// [`DeadLetterError`]
    fn get(&self, seq: u64) -> Result<Option<DeadLetterView>, DeadLetterError>;

    /// Removes those of a selection for good, or says what that would do.
    ///
    /// # Errors
    /// [`DeadLetterError`]
    fn purge(&self, selection: &Selection, dry_run: bool) -> Result<Purged, DeadLetterError>;

    /// Appends those of a selection to the buffer again, or says what that would do.
    ///
    /// # Errors
    /// [`DeadLetterError`]
    fn retry(&self, selection: &Selection, dry_run: bool) -> Result<Retried, DeadLetterError>;
}
