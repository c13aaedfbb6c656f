//! sled 0.34, with its defaults but for the size of the cache.
//!
//! **Its durability is weaker than the others'.** `flush()` promises an fsync, but on Linux sled 0.34.7 calls
//! `sync_file_range` (`pagecache/iobuf.rs`): the pages reach the device, but neither the device's cache nor the file's size
//! is made to survive a power loss. Only the background thread (every 500 ms) syncs, and it merely logs a failure. So the
//! figures of this row flatter sled.
//!
//! Events are inserted and removed one at a time, then flushed together: with `apply_batch` sled is slower and its memory
//! grows several times as much (measured: 64 MB of backlog, 325 MB of memory against 66 MB). A crash may leave a part of a batch.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};

use super::Limits;
use super::keyed::KeyValue;

/// The database; events are in its default tree.
pub(crate) struct Store {
    db: ::sled::Db,
}

impl Store {
    /// Creates the database in `dir`.
    pub(crate) fn open(dir: &Path, limits: &Limits) -> Result<Self> {
        let db = ::sled::Config::new().path(dir.join("sled")).cache_capacity(limits.cache_bytes).open().context("open sled")?;
        Ok(Self { db })
    }
}

impl KeyValue for Store {
    fn commit(&mut self, remove: Range<u64>, first: u64, events: &[&[u8]]) -> Result<()> {
        for key in remove {
            self.db.remove(key.to_be_bytes()).context("remove from sled")?;
        }
        for (key, event) in (first..).zip(events) {
            self.db.insert(key.to_be_bytes(), *event).context("insert into sled")?;
        }
        self.db.flush().context("flush sled")?;
        Ok(())
    }

    fn scan(&mut self, keys: Range<u64>, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        for entry in self.db.range(keys.start.to_be_bytes()..keys.end.to_be_bytes()) {
            let (_, value) = entry.context("read from sled")?;
            visit(&value);
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        self.db.flush().context("flush sled")?;
        Ok(())
    }
}
