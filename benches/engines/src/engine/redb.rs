//! redb, with its defaults but for the size of the cache: one file, one write transaction per batch, committed with
//! `Durability::Immediate`, which is one `fdatasync`.

use std::ops::Range;
use std::path::Path;

use ::redb::{Database, Durability, ReadableDatabase, TableDefinition};
use anyhow::{Context, Result};

use super::Limits;
use super::keyed::KeyValue;

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

/// The database; events are in one table.
pub(crate) struct Store {
    db: Database,
}

impl Store {
    /// Creates the database in `dir`.
    pub(crate) fn open(dir: &Path, limits: &Limits) -> Result<Self> {
        let db = Database::builder()
            .set_cache_size(usize::try_from(limits.cache_bytes)?)
            .create(dir.join("events.redb"))
            .context("create the redb file")?;
        Ok(Self { db })
    }
}

impl KeyValue for Store {
    fn commit(&mut self, remove: Range<u64>, first: u64, events: &[&[u8]]) -> Result<()> {
        let mut transaction = self.db.begin_write().context("begin a redb transaction")?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(EVENTS).context("open the redb table")?;
            if !remove.is_empty() {
                table.retain_in(remove, |_, _| false).context("remove from redb")?;
            }
            for (key, event) in (first..).zip(events) {
                table.insert(key, *event).context("insert into redb")?;
            }
        }
        transaction.commit().context("commit to redb")
    }

    fn scan(&mut self, keys: Range<u64>, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let transaction = self.db.begin_read().context("begin a redb read")?;
        let table = transaction.open_table(EVENTS).context("open the redb table")?;
        for entry in table.range(keys).context("read from redb")? {
            let (_, value) = entry.context("read from redb")?;
            visit(value.value());
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        self.db.close().context("close redb")
    }
}
