//! Joins the buffer's purge with the ops route that asks for it.

use crate::buffer::Purger;
use crate::buffer::purge::{PurgeError, Purged, Selection};
use crate::ops::Purge;

/// Purges the buffer of this process.
#[derive(Debug)]
pub(super) struct BufferPurge(pub(super) Purger);

impl Purge for BufferPurge {
    fn purge(&self, selection: &Selection, dry_run: bool) -> Result<Purged, PurgeError> {
        if dry_run { self.0.plan(selection) } else { self.0.purge(selection) }
    }
}
