//! Giving up waiting events: the seam to the buffer.

use crate::buffer::purge::{PurgeError, Purged, Selection};

/// Gives up waiting events, because somebody who may asked for it.
pub trait Purge: Send + Sync {
    /// Gives up what `selection` holds, for good, or says what it would do. Blocking: it is called on a thread of its own, at most one
    /// call at a time.
    ///
    /// # Errors
    /// [`PurgeError`]
    fn purge(&self, selection: &Selection, dry_run: bool) -> Result<Purged, PurgeError>;
}
