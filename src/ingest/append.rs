//! The seam to the buffer: what ingest needs of it, so that the HTTP layer can be tested without a disk.

use crate::buffer::{AppendError, AppendOptions, Appended, Appender};
use crate::event::Batch;
use std::future::Future;

/// Stores batches; clones share one store.
pub trait Append: Clone + Send + Sync + 'static {
    /// Stores a batch whole or not at all, and returns once it is synced.
    ///
    /// May be dropped at any time: a batch that was taken is stored all the same, one that still waits for room is not.
    fn append(&self, batch: Batch, options: AppendOptions) -> impl Future<Output = Result<Appended, AppendError>> + Send;
}

impl Append for Appender {
    fn append(&self, batch: Batch, options: AppendOptions) -> impl Future<Output = Result<Appended, AppendError>> + Send {
        Self::append(self, batch, options)
    }
}
