//! fjall, with its defaults but for the size of the block cache: one keyspace, one write batch per append, committed with
//! `PersistMode::SyncData`, which is one `fdatasync` of the journal.

use std::ops::Range;
use std::path::Path;

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use anyhow::{Context, Result};

use super::Limits;
use super::keyed::KeyValue;

/// The database; events are in one keyspace.
pub(crate) struct Store {
    db: Database,
    events: Keyspace,
}

impl Store {
    /// Creates the database in `dir`.
    pub(crate) fn open(dir: &Path, limits: &Limits) -> Result<Self> {
        let db = Database::builder(dir.join("fjall")).cache_size(limits.cache_bytes).open().context("open fjall")?;
        let events = db.keyspace("events", KeyspaceCreateOptions::default).context("create the fjall keyspace")?;
        Ok(Self { db, events })
    }
}

impl KeyValue for Store {
    fn commit(&mut self, remove: Range<u64>, first: u64, events: &[&[u8]]) -> Result<()> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for key in remove {
            batch.remove(&self.events, key.to_be_bytes());
        }
        for (key, event) in (first..).zip(events) {
            batch.insert(&self.events, key.to_be_bytes(), *event);
        }
        batch.commit().context("commit to fjall")
    }

    fn scan(&mut self, keys: Range<u64>, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        for entry in self.events.range(keys.start.to_be_bytes()..keys.end.to_be_bytes()) {
            visit(&entry.value().context("read from fjall")?);
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        self.db.persist(PersistMode::SyncAll).context("persist fjall")
    }
}
