//! The seam to the buffer: what ingest needs of it, so that the HTTP layer can be tested without a disk.

use crate::buffer::{AppendError, AppendOptions, Appended, Appender};
use crate::event::{Batch, Seq};
use crate::lifecycle::History;
use std::future::Future;

/// Stores batches; clones share one store.
pub trait Append: Clone + Send + Sync + 'static {
    /// Stores a batch whole or not at all, and returns once it is synced.
    ///
    /// May be dropped at any time: a batch that was taken is stored all the same, one that still waits for room is not.
    fn append(&self, batch: Batch, options: AppendOptions) -> impl Future<Output = Result<Appended, AppendError>> + Send;

    /// The event with this id, when it is among the newest.
    fn find(&self, id: &str) -> Option<Seq>;

    /// What became of the newest events.
    fn history(&self) -> &History;
}

impl Append for Appender {
    fn append(&self, batch: Batch, options: AppendOptions) -> impl Future<Output = Result<Appended, AppendError>> + Send {
        Self::append(self, batch, options)
    }

    fn find(&self, id: &str) -> Option<Seq> {
        Self::find(self, id)
    }

    fn history(&self) -> &History {
        Self::history(self)
    }
}
